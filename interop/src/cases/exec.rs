//! Programs that are given connections: they log and decide by the client that their environment names, or their socket.
//!
//! Called by `cases`. truepeer starts them; nothing here runs beside it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;

use super::labels::possible;
use super::{Case, PROXY, case, told_client, told_destination};
use crate::client::{Client, Place};
use crate::feed::Mark;
use crate::header;
use crate::lab::Lab;
use crate::port::Port;
use crate::servers::truepeer::Truepeer;
use crate::servers::{ask, fetched_dir, find, find_fetched, make_dir, need_root, write};
use crate::verdict::{During, Result, ensure, failed};

/// All of them.
pub(super) fn cases() -> Vec<Case> {
    vec![
        case("exec_rsync_logs_and_decides_by_the_client", rsync),
        case("exec_git_daemon_logs_the_client_and_serves_it", git),
        case("exec_sshd_logs_and_decides_by_the_client", sshd),
        case("exec_exim_decides_by_the_client_and_is_refused_until_it_can", exim),
    ]
}

/// What the file says of the backend `server`, behind the listener `door`.
fn text(port: &Port, protocol: &str, command: &[&str], more: &str) -> String {
    let words: Vec<_> = command.iter().map(|word| format!("{word:?}")).collect();
    format!(
        "[log]\nformat = \"json\"\n\
         [server]\nhostname = \"truepeer.interop.test\"\nproxy.trusted-networks = [\"127.0.0.1\"]\n\
         [server.listener.door]\nbind = \"{}\"\nprotocol = \"{protocol}\"\nbackend = \"server\"\n\
         [backend.server]\nhandoff = \"exec\"\nexec.command = [{}]\n{more}",
        port.addr(),
        words.join(", ")
    )
}

/// A truepeer that gives `command` its connections.
fn truepeer(lab: &Lab, protocol: &str, command: &[&str], more: &str) -> Result<Truepeer> {
    let port = Port::free(PROXY.ip())?;
    let (text, addr) = (text(&port, protocol, command, more), port.addr());
    drop(port);
    let dir = lab.fresh_dir("truepeer-exec")?;
    let truepeer = Truepeer::start_as_written(lab.program()?, &dir, &text, ("door", addr))?;
    lab.watch("truepeer-exec", truepeer.log());
    Ok(truepeer)
}

/// A client of the proxy in front of `truepeer`.
fn client(truepeer: &Truepeer, told: SocketAddr) -> Result<Client> {
    let mut client = Client::dial(PROXY, truepeer.port("door")?)?;
    client.send(&header::v1(told, told_destination()))?;
    Ok(client)
}

/// Waits for a line of the program that holds `words`.
fn wait_said(truepeer: &Truepeer, mark: Mark, words: &str) -> Result<String> {
    truepeer.wait_event(mark, "program_said", words)
}

/// The last word of each case: since `mark` the program has spoken of nobody under the proxy's address.
fn nobody_is_the_proxy(truepeer: &Truepeer, mark: Mark) -> Result {
    let said = truepeer.log().lines(mark).into_iter().filter(|line| line.contains("program_said"));
    let proxy = said.into_iter().find(|line| line.contains("127.0.0.1"));
    ensure(proxy.is_none(), || format!("a client appears as the proxy: {proxy:?}"))
}

/// `rsync --server --daemon`, which takes the client from `REMOTE_HOST`, with `hosts allow`.
fn rsync(lab: &Lab) -> Result {
    let rsync = find("rsync")?;
    let dir = lab.fresh_dir("rsync")?;
    let (config, shared) = (dir.join("rsyncd.conf"), dir.join("shared"));
    make_dir(&shared)?;
    write(&shared.join("file"), "a file\n")?;
    let text = format!(
        "use chroot = no\nreverse lookup = no\nlog file = /dev/stderr\n[shared]\npath = {}\nread only = yes\n\
         hosts allow = 203.0.113.0/24\n",
        shared.display()
    );
    write(&config, &text)?;
    let (program, option) = (rsync.to_string_lossy(), format!("--config={}", config.display()));
    let truepeer = truepeer(lab, "tcp", &[&program, "--server", "--daemon", &option, "."], "")?;
    let mark = truepeer.log().mark();
    let refused = SocketAddr::from((Ipv4Addr::new(198, 51, 100, 9), 4780));
    for (told, answer) in [(told_client(4780), "@RSYNCD: OK"), (refused, "@ERROR: access denied")] {
        let mut user = client(&truepeer, told)?;
        let greeting = user.line("rsync's greeting")?;
        let version = greeting.split(' ').nth(1).unwrap_or_default().to_owned();
        ensure(greeting.starts_with("@RSYNCD: "), || greeting)?;
        user.send(format!("@RSYNCD: {version} md5 md4\nshared\n").as_bytes())?;
        let said = user.line("an answer")?;
        ensure(said.starts_with(answer), || format!("{told}: {said}"))?;
        drop(user);
        wait_said(&truepeer, mark, &format!("({})", told.ip()))?;
        let record = truepeer.record_of(mark, told)?;
        ensure(record.text("outcome") == "done" && record.text("handoff") == "exec", || {
            format!("{record:?}")
        })?;
    }
    nobody_is_the_proxy(&truepeer, mark)
}

/// `git daemon --inetd`, which takes the client from `REMOTE_ADDR` and `REMOTE_PORT`.
fn git(lab: &Lab) -> Result {
    let git = find("git")?;
    let dir = lab.fresh_dir("git")?;
    ask(&git, &["init", "-q", "--bare", &dir.join("it.git").to_string_lossy()])?;
    let base = format!("--base-path={}", dir.display());
    let program = git.to_string_lossy();
    let command = ["daemon", "--inetd", "--verbose", "--export-all", "--log-destination=stderr", &base];
    let command: Vec<&str> = [&*program].into_iter().chain(command).collect();
    let truepeer = truepeer(lab, "tcp", &command, "")?;
    let (mark, told) = (truepeer.log().mark(), told_client(4781));
    let mut user = client(&truepeer, told)?;
    user.send(b"0023git-upload-pack /it.git\0host=x\0")?;
    let said = user.bytes(8, "what it has")?;
    ensure(said.get(4..).is_some_and(|name| name == b"0000"), || {
        String::from_utf8_lossy(&said).into_owned()
    })?;
    user.send(b"0000")?;
    user.rest("git closes")?;
    wait_said(&truepeer, mark, &format!("Connection from {told}"))?;
    let record = truepeer.record_of(mark, told)?;
    ensure(record.text("exit") == "0", || format!("{record:?}"))?;
    nobody_is_the_proxy(&truepeer, mark)
}

/// `sshd -i` asks its socket: it logs the client, lets in who is in `AllowUsers`, and serves a whole session.
fn sshd(lab: &Lab) -> Result {
    possible()?;
    let (sshd, ssh) = (find("sshd")?, find("ssh")?);
    need_root("sshd")?;
    let dir = lab.fresh_dir("sshd-i")?;
    std::fs::create_dir_all("/run/sshd").during("make /run/sshd")?;
    let (host, user) = (dir.join("host"), dir.join("user"));
    for key in [&host, &user] {
        ask(&find("ssh-keygen")?, &["-q", "-t", "ed25519", "-N", "", "-f", &key.to_string_lossy()])?;
    }
    let config = dir.join("sshd_config");
    let text = format!(
        "HostKey {}\nAuthorizedKeysFile {}.pub\nStrictModes no\nPermitRootLogin yes\nPidFile none\nUsePAM no\n\
         LogLevel VERBOSE\nAllowUsers root@203.0.113.0/24 root@127.9.0.0/16\n",
        host.display(),
        user.display()
    );
    write(&config, &text)?;
    let program = sshd.to_string_lossy();
    let command = [&program, "-i", "-e", "-f", &config.to_string_lossy()];
    let truepeer = truepeer(lab, "tcp", &command, "exec.label = true\nlabel.destination = true\n")?;
    let (mark, source) = (truepeer.log().mark(), lab.fresh_source());
    let port = truepeer.port("door")?.port().to_string();
    let session = |more: &[&str]| {
        let mut session = Command::new(&ssh);
        session.args(["-F", "none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no"]);
        session.args(["-o", "UserKnownHostsFile=/dev/null", "-p", &port, "-i"]).arg(&user).args(more);
        session.args(["root@127.0.0.1", "echo $SSH_CLIENT; yes truepeer | head -c 3000000 | wc -c"]);
        session.stdin(std::process::Stdio::null()).output().during("run ssh")
    };
    let is_whole = |output: &std::process::Output, whom: &str| {
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let is_whole = said.starts_with(&format!("{whom} ")) && said.trim_end().ends_with("3000000");
        ensure(output.status.success() && is_whole, || {
            format!("{said} {}", String::from_utf8_lossy(&output.stderr))
        })
    };
    // Whoever comes directly is itself.
    is_whole(&session(&["-b", &source.to_string()])?, &source.to_string())?;
    let record =
        truepeer.record(mark, "the record of a session", |record| record.is_from("client", source))?;
    // sshd says 255 whoever ends a session.
    ensure(record.text("outcome") == "done" && record.text("source") == "direct", || format!("{record:?}"))?;

    // Whoever comes through the proxy is the client: let in from one network, and from no other.
    let through_the_proxy = |told: SocketAddr| {
        let header = String::from_utf8_lossy(&header::v1(told, told_destination())).replace("\r\n", "\\r\\n");
        let way = format!(
            "ProxyCommand=bash -c 'trap : HUP; exec 3<>/dev/tcp/127.0.0.1/{port}; printf \"{header}\" >&3; cat <&3 & cat >&3; kill $!'"
        );
        session(&["-o", &way])
    };
    let mark = truepeer.log().mark();
    let told = told_client(4782);
    is_whole(&through_the_proxy(told)?, &told.ip().to_string())?;
    let to = told_destination();
    let words =
        format!("Connection from {} port {} on {} port {}", told.ip(), told.port(), to.ip(), to.port());
    wait_said(&truepeer, mark, &words)?;
    let stranger = SocketAddr::from((Ipv4Addr::new(198, 51, 100, 9), 4784));
    let refused = through_the_proxy(stranger)?;
    ensure(!refused.status.success(), || "sshd let in whom it must not".to_owned())?;
    wait_said(&truepeer, mark, &format!("User root from {} not allowed", stranger.ip()))?;
    nobody_is_the_proxy(&truepeer, mark)
}

/// `exim -bs` asks its socket, so that it could relay for the proxy: without a word about that nothing starts, and with
/// `exec.label` it decides by the client.
fn exim(lab: &Lab) -> Result {
    possible()?;
    need_root("Exim")?;
    let exim = find_fetched("exim/usr/sbin/exim4")?;
    let dir = lab.fresh_dir("exim-bs")?;
    let config = exim_configuration(&dir, &exim)?;
    let libraries = format!("LD_LIBRARY_PATH={}", fetched_dir().join("exim/libraries").display());
    let (program, config) = (exim.to_string_lossy(), config.to_string_lossy());
    let command = ["/usr/bin/env", &libraries, &program, "-C", &config, "-bs"];
    match truepeer(lab, "smtp", &command, "") {
        Ok(_) => return failed("truepeer started, although nobody said that Exim finds the client"),
        Err(error) => {
            let said = format!("{error:?}");
            ensure(said.contains("may take the proxy for the client of every mail"), || said)?;
        }
    }
    // What docs/handoff.md warns of: Exim takes the proxy for the client, which may send mail anywhere.
    let unsaid = "exec.reads-environment = true\nexec.label = false\n";
    for (more, told, named, answer) in [
        ("exec.label = true\n", told_client(4783), told_client(4783).ip(), "550"),
        (unsaid, told_client(4785), PROXY.ip(), "250"),
    ] {
        let truepeer = truepeer(lab, "smtp", &command, more)?;
        // Whoever comes directly is itself, to Exim as well.
        let source = lab.fresh_source();
        let mut direct = Client::dial(Place::Here(source), truepeer.port("door")?)?;
        direct.expect_reply("220")?;
        let hello = direct.smtp("EHLO client.interop.test", "250")?;
        ensure(hello.contains(&format!("[{source}]")), || hello)?;
        direct.smtp("QUIT", "221")?;
        let mark = truepeer.log().mark();
        let mut proxied = client(&truepeer, told)?;
        proxied.expect_reply("220")?;
        let hello = proxied.smtp("EHLO client.interop.test", "250")?;
        ensure(hello.contains(&format!("[{named}]")), || hello)?;
        proxied.smtp("MAIL FROM:<a@interop.test>", "250")?;
        proxied.smtp("RCPT TO:<b@elsewhere.example>", answer)?;
        proxied.smtp("QUIT", "221")?;
        drop(proxied);
        let record = truepeer.record_of(mark, told)?;
        ensure(record.text("exit") == "0", || format!("{record:?}"))?;
    }
    Ok(())
}

fn exim_configuration(dir: &Path, exim: &Path) -> Result<std::path::PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let (config, spool, at) = (dir.join("exim.conf"), dir.join("spool"), dir.display());
    let text = format!(
        "exim_path = {}\nexim_user = nobody\nexim_group = nogroup\nspool_directory = {at}/spool\n\
         log_file_path = {at}/%slog\nprimary_hostname = exim.interop.test\nhost_lookup =\nrfc1413_hosts =\n\
         acl_smtp_connect = connect\nacl_smtp_rcpt = rcpt\nbegin acl\nconnect:\n  accept\nrcpt:\n  accept hosts = 127.0.0.1\n  \
         deny message = relay not permitted\n",
        exim.display()
    );
    write(&config, &text)?;
    make_dir(&spool)?;
    for dir in [dir, &spool] {
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o777))
            .during("open a directory to Exim")?;
    }
    Ok(config)
}
