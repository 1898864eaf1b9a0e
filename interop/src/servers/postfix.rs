//! Postfix: one instance with a port that reads a header and two that do not.
//!
//! Called by `lab`. It must not know who connects.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use rustix::process::Pid;

use crate::feed::{Feed, Mark};
use crate::page;
use crate::port::Port;
use crate::program::Program;
use crate::servers::newer::{Release, tool};
use crate::servers::{answer, ask, find, make_dir, need_root, write};
use crate::verdict::{During, Result};

/// How the service that reads a header is named in the log.
const HEADER_PORT: &str = "header/smtpd[";

/// A running Postfix.
#[derive(Debug)]
pub(crate) struct Postfix {
    program: Program,
    release: Release,
    dir: PathBuf,
    header: Port,
    plain: Port,
    slow: Port,
    readme: Port,
    auth: Port,
    screen: Port,
    xclient: Port,
    choosy: Port,
    matrix: [Port; 3],
    ipv4: Port,
}

impl Postfix {
    /// Starts Postfix with its own configuration, queue and data below `dir`; `sasl` is the socket of a Dovecot that
    /// knows passwords, which need not be there yet; `pair` is the file with certificate and key.
    pub(crate) fn start(dir: &Path, sasl: &Path, pair: &Path) -> Result<Self> {
        Self::start_with(dir, sasl, pair, "")
    }

    /// Starts it with these services as well.
    pub(crate) fn start_with(dir: &Path, sasl: &Path, pair: &Path, more: &str) -> Result<Self> {
        Self::start_release(Release::Ours, dir, sasl, pair, more)
    }

    /// Starts that of this release, with these services as well.
    pub(crate) fn start_release(
        release: Release,
        dir: &Path,
        sasl: &Path,
        pair: &Path,
        more: &str,
    ) -> Result<Self> {
        need_root("Postfix")?;
        let daemons = answer(tool(release, dir, "postconf")?.args(["-dh", "daemon_directory"]))?;
        let (config, queue, data) = (dir.join("etc"), dir.join("spool"), dir.join("data"));
        for dir in [dir, &config, &queue, &data] {
            make_dir(dir)?;
        }
        // The two releases may number that user differently.
        answer(tool(release, dir, "chown")?.arg("postfix").arg(&data))?;
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let (header, plain) = (Port::free(loopback)?, Port::free(loopback)?);
        let (slow, readme, auth) = (Port::free(loopback)?, Port::free(loopback)?, Port::free(loopback)?);
        let screen = Port::free(loopback)?;
        let (xclient, choosy, ipv4) = (Port::free(loopback)?, Port::free(loopback)?, Port::free(loopback)?);
        let matrix = [Port::free(loopback)?, Port::free(loopback)?, Port::free(loopback)?];
        write(&config.join("main.cf"), &main_cf(&queue, &data, &daemons, sasl))?;
        let services = [header.addr(), plain.addr(), slow.addr(), readme.addr(), auth.addr()];
        write(&config.join("transport"), "")?;
        let permitted = config.join("permitted");
        write(&permitted, "203.0.113.0/24 permit\n2001:db8::/32 permit\n")?;
        let matrix_addrs = matrix.each_ref().map(Port::addr);
        let master = master_cf(services, screen.addr(), [xclient.addr(), choosy.addr(), ipv4.addr()]);
        let by_page = by_page(matrix_addrs, pair, &permitted)?;
        write(&config.join("master.cf"), &format!("{master}{by_page}{more}"))?;
        let program = launch(release, dir)?;
        Ok(Self {
            program,
            release,
            dir: dir.to_owned(),
            header,
            plain,
            slow,
            readme,
            auth,
            screen,
            xclient,
            choosy,
            matrix,
            ipv4,
        })
    }

    /// From now on it hands letters to `user` to the LMTP server at `addr`. To be said before its first letter.
    pub(crate) fn deliver_by_lmtp_to(&self, user: &str, addr: SocketAddr) -> Result {
        let line = format!("{user} lmtp:inet:[{}]:{}\n", addr.ip(), addr.port());
        write(&self.dir.join("etc/transport"), &line)
    }

    /// Ends it; its ports stay its own, and nobody listens there.
    pub(crate) fn stop(&mut self) {
        // The child is the start script; the master ends the daemons, so it is the one to be told.
        let master = fs::read_to_string(pid_file(&self.dir))
            .during("read master.pid")
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .and_then(Pid::from_raw);
        self.program.end_by(master);
    }

    /// Starts it again after [`Postfix::stop`], as it was; its log begins anew.
    pub(crate) fn start_again(&mut self) -> Result {
        self.program = launch(self.release, &self.dir)?;
        Ok(())
    }

    /// Its file of services.
    pub(crate) fn services(&self) -> PathBuf {
        self.dir.join("etc/master.cf")
    }

    /// What it prints of its own configuration: `postconf -n`, and `postconf -Mf`.
    pub(crate) fn printed(&self) -> Result<[String; 2]> {
        let (postconf, config) = (find("postconf")?, self.dir.join("etc"));
        let of = |option: &str| ask(&postconf, &["-c", &config.to_string_lossy(), option]);
        Ok([of("-n")?, of("-Mf")?])
    }

    /// What Postfix logs.
    pub(crate) fn log(&self) -> &Feed {
        self.program.log()
    }

    /// The port with `smtpd_upstream_proxy_protocol = haproxy`.
    pub(crate) fn header_port(&self) -> SocketAddr {
        self.header.addr()
    }

    /// Waits for the line that says that `client` reached the port which reads a header.
    pub(crate) fn wait_connect(&self, mark: Mark, client: SocketAddr) -> Result {
        let words = format!("]: connect from unknown[{}]:{}", client.ip(), client.port());
        let what = format!("Postfix logs `{words}`");
        let is_it = |line: &str| line.contains(HEADER_PORT) && line.ends_with(&words);
        self.log().wait_line(mark, &what, is_it).map(|_| ())
    }

    /// Every line about somebody who reached the port which reads a header.
    pub(crate) fn connects(&self, mark: Mark) -> Vec<String> {
        let is_it = |line: &String| line.contains(HEADER_PORT) && line.contains("]: connect from ");
        self.log().lines(mark).into_iter().filter(is_it).collect()
    }

    /// The port without it.
    pub(crate) fn plain_port(&self) -> SocketAddr {
        self.plain.addr()
    }

    /// The port that the README's lines for `master.cf` make.
    pub(crate) fn readme_port(&self) -> SocketAddr {
        self.readme.addr()
    }

    /// A port like the first one that offers AUTH, although it knows nothing of TLS.
    pub(crate) fn auth_port(&self) -> SocketAddr {
        self.auth.addr()
    }

    /// A port of postscreen that reads a header and lets every new client wait for 15 seconds behind a first `220-`.
    pub(crate) fn screen_port(&self) -> SocketAddr {
        self.screen.addr()
    }

    /// A port that offers XCLIENT to truepeer's address.
    pub(crate) fn xclient_port(&self) -> SocketAddr {
        self.xclient.addr()
    }

    /// A port like that one that turns 203.0.113.66 away in its greeting.
    pub(crate) fn choosy_port(&self) -> SocketAddr {
        self.choosy.addr()
    }

    /// The ports that the lines of its page make: smtpd, smtpd behind TLS, and postscreen.
    pub(crate) fn page_ports(&self) -> [SocketAddr; 3] {
        self.matrix.each_ref().map(Port::addr)
    }

    /// A port that reads a header, of a service that knows IPv4 only.
    pub(crate) fn ipv4_port(&self) -> SocketAddr {
        self.ipv4.addr()
    }

    /// A port without it that lets every client wait two seconds for its greeting.
    pub(crate) fn slow_port(&self) -> SocketAddr {
        self.slow.addr()
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The services that docs/handoff.md is about: its own for XCLIENT, and one as any Postfix has it.
pub(crate) fn as_the_handoffs_have_it() -> Result<String> {
    let xclient = page::block(include_str!("../../../docs/handoff.md"), "`xclient`", "master.cf")?;
    Ok(format!("127.0.0.1:25 inet n - n - - smtpd\n[::1]:25 inet n - n - - smtpd\n{xclient}"))
}

/// Starts the instance below `dir`, and waits until it listens.
pub(super) fn launch(release: Release, dir: &Path) -> Result<Program> {
    let mut command = tool(release, dir, "postfix")?;
    command.arg("-c").arg(dir.join("etc")).arg("start-fg").env("LC_ALL", "C");
    let mut program = Program::start("postfix", &mut command)?;
    // The child is the start script, and the master leads a session of its own.
    program.guard_by(&pid_file(dir))?;
    program.wait_started(|line| line.contains("daemon started"))?;
    Ok(program)
}

/// Where the master says its number.
pub(super) fn pid_file(dir: &Path) -> PathBuf {
    dir.join("spool/pid/master.pid")
}

/// `mynetworks` holds loopback and the proxy's own address: what a proxy's connection may do, a client outside
/// must not.
fn main_cf(queue: &Path, data: &Path, daemons: &str, sasl: &Path) -> String {
    format!(
        "\
compatibility_level = 3.6
queue_directory = {queue}
data_directory = {data}
daemon_directory = {daemons}
maillog_file = /dev/stdout
myhostname = postfix.interop.test
mydestination = interop.test
inet_interfaces = loopback-only
inet_protocols = all
mynetworks = 127.0.0.0/8 [::1]/128 {proxy}/32
smtpd_relay_restrictions = permit_mynetworks reject_unauth_destination
local_recipient_maps =
local_transport = discard:
default_transport = discard:
transport_maps = texthash:$config_directory/transport
message_size_limit = 0
lmtp_host_lookup = native
alias_maps =
alias_database =
slow_restrictions = sleep 2
choosy_restrictions = check_client_access inline:{{203.0.113.66=reject}}
smtpd_peername_lookup = no
smtpd_client_port_logging = yes
smtpd_tls_security_level = none
smtpd_sasl_type = dovecot
smtpd_sasl_path = {sasl}
",
        queue = queue.display(),
        data = data.display(),
        sasl = sasl.display(),
        proxy = crate::space::PROXY_V4,
    )
}

/// The services of its page, on other ports, and with TLS.
fn by_page([smtpd, wrapped, screen]: [SocketAddr; 3], pair: &Path, permitted: &Path) -> Result<String> {
    const PAGE: &str = include_str!("../../../docs/neighbours/postfix.md");
    let smtpds = page::block(PAGE, "Behind truepeer: smtpd", "master.cf")?;
    let screens = page::block(PAGE, "Behind truepeer: postscreen", "master.cf")?;
    let tls = format!(
        "  -o smtpd_tls_security_level=may\n  -o smtpd_tls_chain_files={}\n  -o syslog_name=page\n",
        pair.display()
    );
    let reads = "  -o smtpd_upstream_proxy_protocol=haproxy\n";
    let smtpds = smtpds
        .replace("127.0.0.1:10025", &smtpd.to_string())
        .replace("127.0.0.1:10465", &wrapped.to_string())
        .replace(reads, &format!("{reads}{tls}"));
    // Strangers would be kept waiting, and one postscreen alone may have the cache of those who waited.
    let lines = format!(
        "  -o postscreen_access_list=permit_mynetworks,cidr:{}\n  -o postscreen_cache_map=\n  -o \
         postscreen_greet_action=drop\n  -o \
         syslog_name=page\n  -o smtpd_service_name=page\n",
        permitted.display()
    );
    let screens = screens
        .replace("127.0.0.1:10026", &screen.to_string())
        .replace("smtpd pass", &format!("{lines}page pass"));
    Ok(format!("{smtpds}{screens}{tls}"))
}

/// What every Postfix has beside its ports.
pub(super) const SERVICES: &str = "\
dnsblog unix - - n - 0 dnsblog
tlsproxy unix - - n - 0 tlsproxy
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
discard unix - - n - - discard
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
";

fn master_cf(
    [header, plain, slow, readme, auth]: [SocketAddr; 5],
    screen: SocketAddr,
    [xclient, choosy, ipv4]: [SocketAddr; 3],
) -> String {
    const README: &str = include_str!("../../../packaging/examples/haproxy-postfix/master.cf");
    let from_readme = README.replace("127.0.0.1:10025", &readme.to_string());
    format!(
        "\
{header} inet n - n - - smtpd
  -o smtpd_upstream_proxy_protocol=haproxy
  -o syslog_name=header
{auth} inet n - n - - smtpd
  -o smtpd_upstream_proxy_protocol=haproxy
  -o smtpd_sasl_auth_enable=yes
  -o syslog_name=auth
{plain} inet n - n - - smtpd
  -o syslog_name=plain
{xclient} inet n - n - - smtpd
  -o syslog_name=xclient
  -o smtpd_authorized_xclient_hosts=127.0.0.1
{choosy} inet n - n - - smtpd
  -o syslog_name=choosy
  -o smtpd_authorized_xclient_hosts=127.0.0.1
  -o smtpd_delay_reject=no
  -o smtpd_client_restrictions=$choosy_restrictions
{ipv4} inet n - n - - smtpd
  -o smtpd_upstream_proxy_protocol=haproxy
  -o inet_protocols=ipv4
  -o syslog_name=ipv4
{from_readme}  -o syslog_name=readme
{slow} inet n - n - - smtpd
  -o syslog_name=slow
  -o smtpd_delay_reject=no
  -o smtpd_client_restrictions=$slow_restrictions
{screen} inet n - n - 1 postscreen
  -o postscreen_upstream_proxy_protocol=haproxy
  -o postscreen_access_list=
  -o postscreen_greet_action=enforce
  -o postscreen_greet_wait=15s
  -o syslog_name=screen
smtpd pass - - n - - smtpd
  -o syslog_name=screened
pickup unix n - n 60 1 pickup
lmtp unix - - n - - lmtp
{SERVICES}"
    )
}
