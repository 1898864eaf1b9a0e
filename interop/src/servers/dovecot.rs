//! Dovecot: one instance whose IMAP service has a port that reads a header and one that does not.
//!
//! Called by `lab`. It must not know who connects.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use crate::feed::Feed;
use crate::port::Port;
use crate::program::Program;
use crate::servers::newer::{Release, tool};
use crate::servers::{answer, ask, find, make_dir, need_root, write};
use crate::verdict::{Result, failed};

/// The password of every user.
pub(crate) const PASSWORD: &str = "interop";

/// How Dovecot names `client` in its log.
pub(crate) fn words(client: SocketAddr) -> String {
    format!("rip={}, rport={},", client.ip(), client.port())
}

/// Where the Dovecot that is started in `dir` answers Postfix about passwords.
pub(crate) fn sasl_socket(dir: &Path) -> PathBuf {
    dir.join("run/postfix")
}

/// Whom it believes when it is told of a client in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Believes {
    /// Nobody.
    Nobody,
    /// Whoever connects from 127.0.0.1; then its users may log in from 203.0.113.0/24 and 2001:db8::/32 only.
    Truepeer,
    /// Nobody; its users may log in from the same networks only, in clear text.
    ItsOwnEyes,
}

/// From where users may log in where that is limited.
const NETS: &str = "203.0.113.0/24,2001:db8::/32";

/// A running Dovecot.
#[derive(Debug)]
pub(crate) struct Dovecot {
    confirms: bool,
    breaks_by_names: bool,
    config: PathBuf,
    program: Program,
    header: Port,
    plain: Port,
}

impl Dovecot {
    /// Starts Dovecot with everything it writes below `dir`; `pair` is the file with certificate and key.
    pub(crate) fn start(dir: &Path, pair: &Path, believes: Believes) -> Result<Self> {
        Self::start_with(dir, pair, believes, "127.0.0.1", "")
    }

    /// Starts it with this list of proxies, and further lines.
    pub(crate) fn start_with(
        dir: &Path,
        pair: &Path,
        believes: Believes,
        trusted: &str,
        lines: &str,
    ) -> Result<Self> {
        let more = |header, plain| format!("{}{lines}", ports(header, plain, trusted));
        Self::start_between(Release::Ours, dir, pair, believes, &more)
    }

    /// Starts Debian 13's, which believes truepeer's header and nothing else.
    pub(crate) fn start_newer(dir: &Path, pair: &Path) -> Result<Self> {
        let more = |header, plain| ports(header, plain, "127.0.0.1");
        Self::start_between(Release::Newer, dir, pair, Believes::Nobody, &more)
    }

    /// Starts it with what `more` makes of two ports.
    fn start_between(
        release: Release,
        dir: &Path,
        pair: &Path,
        believes: Believes,
        more: &dyn Fn(SocketAddr, SocketAddr) -> String,
    ) -> Result<Self> {
        need_root("Dovecot")?;
        let version = answer(tool(release, dir, "dovecot")?.arg("--version"))?;
        for dir in [dir, &dir.join("run"), &dir.join("state"), &dir.join("mail")] {
            make_dir(dir)?;
        }
        ask(&find("chown")?, &["nobody", &dir.join("mail").to_string_lossy()])?;
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let (header, plain) = (Port::free(loopback)?, Port::free(loopback)?);
        let (dir_text, pair_text) = (dir.to_string_lossy(), pair.to_string_lossy());
        let dialect = match version.get(..3) {
            Some("2.3") => dialect_2_3(&dir_text, &pair_text, believes),
            Some("2.4") => dialect_2_4(&dir_text, &pair_text, believes),
            _ => return failed(format!("no configuration is written for Dovecot {version}")),
        };
        let config = dir.join("dovecot.conf");
        let more = more(header.addr(), plain.addr());
        write(&config, &format!("{dialect}{}{more}", common(&dir_text)))?;
        let mut command = tool(release, dir, "dovecot")?;
        command.arg("-F").arg("-c").arg(&config).env("LC_ALL", "C");
        let program = Program::start("dovecot", &mut command)?;
        let started = Self {
            confirms: !version.starts_with("2.3"),
            breaks_by_names: ["2.4.0", "2.4.1"].iter().any(|number| version.starts_with(number)),
            config,
            program,
            header,
            plain,
        };
        started.program.wait_started(|line| line.contains("starting up"))?;
        Ok(started)
    }

    /// Starts it with this text for its ports and proxies.
    pub(crate) fn start_as_written(dir: &Path, pair: &Path, text: &str) -> Result<Self> {
        let none = "service imap-login {\n  inet_listener imap {\n    port = 0\n  }\n  inet_listener imaps {\n    port = \
                    0\n  }\n}\n";
        Self::start_between(Release::Ours, dir, pair, Believes::Nobody, &|_, _| {
            format!("listen = 127.0.0.1\n{none}{text}\n")
        })
    }

    /// What it prints of its own configuration: `doveconf -n`.
    pub(crate) fn printed(&self) -> Result<String> {
        ask(&find("doveconf")?, &["-n", "-c", &self.config.to_string_lossy()])
    }

    /// What Dovecot logs.
    pub(crate) fn log(&self) -> &Feed {
        self.program.log()
    }

    /// Whether it uses a host or protocol name of a header after it was freed, as 2.4.0 and 2.4.1 do.
    pub(crate) fn breaks_by_names(&self) -> bool {
        self.breaks_by_names
    }

    /// Whether it says that it believes an ID.
    pub(crate) fn confirms(&self) -> bool {
        self.confirms
    }

    /// The port with `haproxy = yes`.
    pub(crate) fn header_port(&self) -> SocketAddr {
        self.header.addr()
    }

    /// The port without it.
    pub(crate) fn plain_port(&self) -> SocketAddr {
        self.plain.addr()
    }
}

/// What both versions write alike.
fn common(dir: &str) -> String {
    format!(
        "\
base_dir = {dir}/run
state_dir = {dir}/state
log_path = /dev/stderr
auth_mechanisms = plain
auth_failure_delay = 0 secs
mail_uid = nobody
mail_gid = nogroup
first_valid_uid = 1
# No waiting after wrong passwords: clients of the harness share the machine's time.
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service auth {{
  unix_listener postfix {{
    mode = 0666
  }}
}}
"
    )
}

/// One port that reads a header, and one that does not.
fn ports(header: SocketAddr, plain: SocketAddr, trusted: &str) -> String {
    format!(
        "\
listen = {ip}
protocols = imap
haproxy_trusted_networks = {trusted}
service imap-login {{
  inet_listener imap {{
    port = {plain}
  }}
  inet_listener imaps {{
    port = 0
  }}
  inet_listener imap_header {{
    port = {header}
    haproxy = yes
  }}
}}
",
        ip = header.ip(),
        plain = plain.port(),
        header = header.port(),
    )
}

fn dialect_2_3(dir: &str, pair: &str, believes: Believes) -> String {
    let nets = format!(" allow_nets={NETS}");
    let (trusted, secure, nets) = match believes {
        Believes::Nobody => ("", "yes", ""),
        Believes::Truepeer => ("login_trusted_networks = 127.0.0.1\n", "yes", nets.as_str()),
        Believes::ItsOwnEyes => ("", "no", nets.as_str()),
    };
    format!(
        "\
{trusted}disable_plaintext_auth = {secure}
ssl = yes
ssl_cert = <{pair}
ssl_key = <{pair}
login_log_format_elements = user=<%u> method=%m rip=%r rport=%b lip=%l lport=%a %c
mail_location = maildir:{dir}/mail/%u
passdb {{
  driver = static
  args = password={PASSWORD}{nets}
}}
userdb {{
  driver = static
  args = uid=nobody gid=nogroup home={dir}/mail/%u
}}
"
    )
}

/// `ssl = required`, because in this version any header counts as secured under `ssl = yes`.
///
/// A Dovecot that believes truepeer must take passwords on that way, so there it is `ssl = yes`.
fn dialect_2_4(dir: &str, pair: &str, believes: Believes) -> String {
    let nets = format!("\n  fields {{\n    allow_nets = {NETS}\n  }}");
    let (ssl, clear, trusted, nets) = match believes {
        Believes::Nobody => ("required", "no", "", ""),
        Believes::Truepeer => ("yes", "no", "login_trusted_networks = 127.0.0.1\n", nets.as_str()),
        Believes::ItsOwnEyes => ("yes", "yes", "", nets.as_str()),
    };
    format!(
        "\
dovecot_config_version = 2.4.0
dovecot_storage_version = 2.4.0
{trusted}auth_allow_cleartext = {clear}
ssl = {ssl}
ssl_server_cert_file = {pair}
ssl_server_key_file = {pair}
login_log_format_elements = user=<%{{user}}> method=%{{mechanism}} rip=%{{remote_ip}} rport=%{{remote_port}} \
lip=%{{local_ip}} lport=%{{local_port}} %{{secured}}
mail_driver = maildir
mail_path = {dir}/mail/%{{user}}
passdb static {{
  password = {PASSWORD}{nets}
}}
userdb static {{
  fields {{
    uid = nobody
    gid = nogroup
    home = {dir}/mail/%{{user}}
  }}
}}
"
    )
}
