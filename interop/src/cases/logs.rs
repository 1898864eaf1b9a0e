//! What becomes of the log file, and how one finds a connection in it.
//!
//! Called by `cases`.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Case, PROXY, case, hello, told_client, told_destination};
use crate::client::Client;
use crate::header;
use crate::lab::Lab;
use crate::port::Port;
use crate::servers::truepeer::Truepeer;
use crate::servers::{ask, find, need_root, write};
use crate::verdict::{During, Result, ensure, failed};

/// Every case.
pub(super) fn cases() -> Vec<Case> {
    vec![
        case("logrotate_rotates_the_log_by_the_snippet_and_no_record_is_lost", rotation),
        case("logrotate_by_the_snippet_gains_nothing_for_the_owner_of_the_folder", links),
        case("the_documented_commands_lead_from_a_postfix_line_to_its_connection", postfix_line),
        case("a_dovecot_line_names_the_client_of_a_session_whose_start_is_in_the_log", dovecot_line),
        case("the_documented_jq_commands_say_who_was_refused_and_what_a_proxy_did_wrong", refusals),
    ]
}

/// A truepeer of its own that logs into a file, with these backend lines.
struct Logging {
    /// Ends with it.
    truepeer: Truepeer,
    dir: PathBuf,
}

impl Logging {
    fn start(lab: &Lab, name: &str, backend: &str, log: &str) -> Result<Self> {
        let dir = lab.fresh_dir(name)?;
        let port = Port::free(IpAddr::from([127, 0, 0, 1]))?;
        let addr = port.addr();
        let text = format!(
            "[server]\nhostname = \"truepeer.interop.test\"\nproxy.trusted-networks = [\"127.0.0.1\"]\n\
             [server.listener.smtp]\nbind = \"{addr}\"\nprotocol = \"smtp\"\nbackend = \"mail\"\n\
             [backend.mail]\n{backend}\n[admin]\nsocket = \"{}\"\n",
            dir.join("admin.sock").display()
        );
        drop(port);
        // Its start is heard on standard error; the file comes with a reload.
        let truepeer = Truepeer::start_as_written(lab.program()?, &dir, &text, ("smtp", addr))?;
        lab.watch(name, truepeer.log());
        let file = dir.join("truepeer.log");
        let text = format!("{text}[log]\nfile = \"{}\"\n{log}", file.display());
        write(&dir.join("truepeer.toml"), &text)?;
        let started = Self { truepeer, dir };
        started.command(lab, &["reload"])?;
        lab.wait_until_served(addr)?;
        Ok(started)
    }

    fn command(&self, lab: &Lab, words: &[&str]) -> Result<String> {
        let socket = self.dir.join("admin.sock");
        let socket = socket.to_string_lossy();
        ask(lab.program()?, &[words, &["--socket", &socket][..]].concat())
    }

    /// One session of the client with this port.
    fn visit(&self, port: u16) -> Result {
        let mut client = Client::dial(PROXY, self.truepeer.port("smtp")?)?;
        client.send(&header::v2(told_client(port), told_destination(), &[]))?;
        hello(&mut client)
    }

    /// Comes back when nothing is open any more and every record is in the file.
    fn wait_until_written(&self, lab: &Lab) -> Result {
        // Each try is a program that runs, so this is bounded in time.
        const TRIES: usize = 400;
        for _ in 0..TRIES {
            if self.command(lab, &["connections", "--json"])?.is_empty() {
                // When a reload has answered, everything that was said before is written.
                return self.command(lab, &["reload"]).map(|_| ());
            }
        }
        failed("connections stay open")
    }

    fn records(&self, name: &str, port: u16) -> usize {
        let text = fs::read_to_string(self.dir.join(name)).unwrap_or_default();
        let client = format!(" client={} ", told_client(port));
        text.lines().filter(|line| line.contains(&client) && line.contains(" outcome=done ")).count()
    }
}

fn rotation(lab: &Lab) -> Result {
    // Enough for a signal to arrive: each try is a session.
    const TRIES: u16 = 2000;
    let logrotate = find("logrotate")?;
    need_root("logrotate")?;
    let logging = Logging::start(lab, "logrotate", "kind = \"whoami\"", "")?;
    let status = logging.command(lab, &["status", "--json"])?;
    let status: serde_json::Value = serde_json::from_str(&status).during("read the status")?;
    let Some(pid) = status.get("pid") else { return failed(format!("no pid in {status}")) };
    let log = logging.dir.join("truepeer.log");
    let apart = lab.fresh_dir("logrotate-conf")?;
    snippet(&apart, &log, &format!("kill -HUP {pid}"))?;
    logging.visit(1)?;
    // A client has its last answer before the record of it is written.
    logging.wait_until_written(lab)?;
    // As in a folder of truepeer's own user.
    for owned in [&logging.dir, &log] {
        chown(owned, Some(SERVICE), Some(SERVICE)).during("give a file away")?;
    }
    rotate(&logrotate, &apart)?;
    let mut port = 1_u16;
    while fs::metadata(&log).during("see the new file")?.len() == 0 {
        port = port.saturating_add(1);
        ensure(port < TRIES, || "the new file stays empty".to_owned())?;
        logging.visit(port)?;
    }
    let last = port.saturating_add(1);
    logging.visit(last)?;
    logging.wait_until_written(lab)?;
    for port in 1..=last {
        let (old, new) = (logging.records("truepeer.log.1", port), logging.records("truepeer.log", port));
        ensure(old.saturating_add(new) == 1, || {
            format!("visit {port}: {old} in the old file, {new} in the new")
        })?;
    }
    ensure(logging.records("truepeer.log.1", 1) == 1, || {
        "the first visit is not in the old file".to_owned()
    })?;
    ensure(logging.records("truepeer.log", last) == 1, || {
        "the last visit is not in the new file".to_owned()
    })?;
    for file in [log, logging.dir.join("truepeer.log.1")] {
        let mode = fs::metadata(&file).during("see a file's mode")?.permissions().mode() & 0o777;
        ensure(mode == 0o640, || format!("{}: mode {mode:o}", file.display()))?;
        let owner = fs::metadata(&file).during("see a file's owner")?.uid();
        ensure(owner == SERVICE, || format!("{} belongs to {owner}", file.display()))?;
    }
    // The second rotation compresses what the first one moved.
    rotate(&logrotate, &apart)?;
    ensure(logging.dir.join("truepeer.log.2.gz").is_file(), || "nothing was compressed".to_owned())
}

/// Stands for truepeer's user, whose folder it is: nobody.
const SERVICE: u32 = 65534;

/// The snippet for `log` in `apart`, a folder of root's, run as nobody; `after` is done in place of its signal, since there is
/// no service manager here.
fn snippet(apart: &Path, log: &Path, after: &str) -> Result {
    const SNIPPET: &str = include_str!("../../../packaging/logrotate/truepeer");
    let mut text = SNIPPET.to_owned();
    for (from, to) in [
        ("/var/log/truepeer/truepeer.log {", &*format!("{} {{", log.display())),
        ("su truepeer truepeer", "su nobody nogroup"),
        ("systemctl kill --signal=HUP --kill-who=main truepeer.service", after),
    ] {
        ensure(text.contains(from), || format!("the snippet does not say `{from}`"))?;
        text = text.replace(from, to);
    }
    write(&apart.join("conf"), &text)
}

/// Whoever has truepeer's user puts links to root's file wherever logrotate reads, writes, renames or compresses.
fn links(lab: &Lab) -> Result {
    const SECRET: &str = "only root may read this";
    let logrotate = find("logrotate")?;
    need_root("logrotate")?;
    let (apart, dir) = (lab.fresh_dir("logrotate-apart")?, lab.fresh_dir("logrotate-links")?);
    chown(&dir, Some(SERVICE), Some(SERVICE)).during("give a folder away")?;
    let (secret, log) = (apart.join("secret"), dir.join("truepeer.log"));
    write(&secret, SECRET)?;
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).during("keep a secret")?;
    snippet(&apart, &log, "true")?;
    let names = ["truepeer.log", "truepeer.log.1", "truepeer.log.1.gz", "truepeer.log.2.gz"];
    for linked in names.map(|name| dir.join(name)) {
        for name in names.map(|name| dir.join(name)) {
            let _none_there = fs::remove_file(&name);
            if name == linked {
                symlink(&secret, &name).during("make a link")?;
            } else {
                write(&name, "a line\n")?;
            }
            lchown(&name, Some(SERVICE), Some(SERVICE)).during("give a file away")?;
        }
        for _ in 0..2 {
            // It may well complain of what it finds.
            let state = apart.join("state");
            let mut command = Command::new(&logrotate);
            command.args(["--force", "--state"]).args([&state, &apart.join("conf")]);
            command.output().during("run logrotate")?;
        }
        let found = fs::metadata(&secret).during("see the secret")?;
        let is_kept = found.permissions().mode() & 0o777 == 0o600 && found.uid() == 0;
        let text = fs::read_to_string(&secret).during("read the secret")?;
        ensure(is_kept && text == SECRET, || format!("{}: {found:?} {text}", linked.display()))?;
        for entry in fs::read_dir(&dir).during("look around")? {
            let path = entry.during("look around")?.path();
            let is_link = fs::symlink_metadata(&path).during("see a file")?.is_symlink();
            let text = Command::new(find("zcat")?).arg("-f").arg(&path).output().during("read a file")?;
            let is_told = !is_link && String::from_utf8_lossy(&text.stdout).contains(SECRET);
            ensure(!is_told, || format!("{}: the secret is in {}", linked.display(), path.display()))?;
        }
    }
    Ok(())
}

/// The commands of one kind of block of the page, in their order.
fn documented(kind: &str) -> Vec<String> {
    const PAGE: &str = include_str!("../../../docs/logs.md");
    let blocks = PAGE.split("```").skip(1).step_by(2);
    blocks.filter_map(|block| block.strip_prefix(kind)?.strip_prefix('\n')).map(str::to_owned).collect()
}

/// The first documented command that holds `part`, run with `(from, to)` put in, on a log.
fn run(kind: &str, part: &str, (from, to): (&str, &str), log: &Path) -> Result<String> {
    if kind == "jq" {
        find("jq")?;
    }
    let Some(command) = documented(kind).into_iter().find(|command| command.contains(part)) else {
        return failed(format!("no {kind} command on the page holds `{part}`"));
    };
    let command = format!("log='{}'\n{}", log.display(), command.replace(from, to));
    ask(&find("sh")?, &["-c", &command])
}

fn postfix_line(lab: &Lab) -> Result {
    for (kind, format) in [("sh", "format = \"text\"\n"), ("jq", "format = \"json\"\n")] {
        let postfix = lab.postfix()?;
        let backend = format!("kind = \"postfix\"\naddress = \"{}\"", postfix.header_port());
        let logging = Logging::start(lab, "postfix-line", &backend, format)?;
        let mark = postfix.log().mark();
        for port in 101..105 {
            logging.visit(port)?;
        }
        logging.wait_until_written(lab)?;
        let line = postfix.log().wait_line(mark, "Postfix logs a client", |line| {
            line.contains(": connect from ") && line.ends_with("]:103")
        })?;
        // `unknown[203.0.113.9]:103`
        let Some((address, port)) = line.rsplit_once('[').and_then(|(_, rest)| rest.split_once("]:")) else {
            return failed(format!("not as the page says: {line}"));
        };
        let (of_page, found) = ("203.0.113.7:38424", format!("{address}:{port}"));
        let said = run(kind, of_page, (of_page, &found), &logging.dir.join("truepeer.log"))?;
        // That connection alone, and its proxy was this harness.
        ensure(said.lines().count() == 3, || format!("not one connection: {said}"))?;
        ensure(said.contains("127.0.0.1:") && said.contains("smtp"), || format!("no peer: {said}"))?;
    }
    Ok(())
}

fn dovecot_line(lab: &Lab) -> Result {
    let dovecot = lab.dovecot()?;
    let truepeer = lab.truepeer()?;
    let (mark, seen) = (dovecot.log().mark(), truepeer.log().mark());
    let mut client = Client::dial(PROXY, truepeer.port("imap4")?)?;
    client.send(&header::v2(told_client(4177), told_destination(), &[]))?;
    let greeting = client.line("an IMAP greeting")?;
    ensure(greeting.starts_with("* OK"), || format!("expected `* OK`, got `{greeting}`"))?;
    // While the session is open, its beginning is in the log.
    let is_start = |line: &str| line.contains("\"event\":\"connected\"") && line.contains("203.0.113.9:4177");
    let started = truepeer.log().wait_line(seen, "truepeer logs the start", is_start)?;
    client.imap("a1", "LOGOUT")?;
    drop(client);
    let words = crate::servers::dovecot::words(told_client(4177));
    dovecot.log().wait_line(mark, "Dovecot logs the client", |line| line.contains(&words))?;
    let record = truepeer.record_of(seen, told_client(4177))?;
    ensure(started.contains(&record.text("id")), || format!("another id: {started}"))
}

fn refusals(lab: &Lab) -> Result {
    find("jq")?;
    let log = "format = \"json\"\n[access]\ndeny = \"203.0.113.9\"\n";
    let logging = Logging::start(lab, "refusals", "kind = \"whoami\"", log)?;
    let to = logging.truepeer.port("smtp")?;
    let mut denied = Client::dial(PROXY, to)?;
    denied.send(&header::v2(told_client(5), told_destination(), &[]))?;
    denied.expect_reply("554")?;
    let mut broken = Client::dial(PROXY, to)?;
    broken.send(b"EHLO x\r\n")?;
    // Its end is a reset or not, depending on what arrives first.
    let _end = broken.rest("the end of a connection without a header");
    drop((denied, broken));
    logging.wait_until_written(lab)?;
    let log = logging.dir.join("truepeer.log");
    let said = run("jq", "select(.rule)", ("$log", "$log"), &log)?;
    ensure(said.contains("access_denied\t203.0.113.9:5\tdeny "), || format!("who was refused: {said}"))?;
    let said = run("jq", "test(", ("$log", "$log"), &log)?;
    ensure(said.contains("\theader_missing\t") && said.contains("127.0.0.1:"), || {
        format!("what a proxy did wrong: {said}")
    })
}

fn rotate(logrotate: &Path, apart: &Path) -> Result {
    let (state, conf) = (apart.join("state"), apart.join("conf"));
    let (state, conf) = (state.to_string_lossy(), conf.to_string_lossy());
    let said = ask(logrotate, &["--force", "--verbose", "--state", &state, &conf])?;
    if said.contains("error:") { failed(said) } else { Ok(()) }
}
