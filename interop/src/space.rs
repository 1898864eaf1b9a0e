//! Network namespaces: a private one for the whole run, and one "outside" of it whose clients really come from
//! other addresses.
//!
//! Called by `main` and `client`. It must not know what runs inside. Neither namespace has a name: both are gone
//! with the last process in them, so an interrupted run leaves nothing behind.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::feed::PATIENCE;
use crate::servers::find;
use crate::verdict::{During, Result, Verdict, failed};

/// Set for the copy of the harness that runs inside the private namespace.
const INSIDE: &str = "TRUEPEER_INTEROP_INSIDE";

/// Where proxies listen for clients from outside; these are addresses of the private namespace.
pub(crate) const GATE_V4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
/// The same for IPv6.
pub(crate) const GATE_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
/// A proxy's own address that is not loopback.
pub(crate) const PROXY_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// Where proxies connect from to reach truepeer at [`DOOR_V4`], whatever they are: the route says so.
pub(crate) const SENDER_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
/// The same for IPv6.
pub(crate) const SENDER_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 0x10);
/// Where truepeer listens apart from the proxies.
pub(crate) const DOOR_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 20);
/// The same for IPv6.
pub(crate) const DOOR_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 0x20);
/// The addresses of clients outside.
pub(crate) const OUTSIDE_V4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 7);
/// The same for IPv6.
pub(crate) const OUTSIDE_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7);

/// Runs the harness again inside a network namespace of its own, where the machine allows that; returns only
/// where it does not, or inside.
pub(crate) fn move_inside() {
    if std::env::var_os(INSIDE).is_some() {
        // A new namespace begins with its loopback down. If this fails, the first server says so.
        let _shown_by_the_servers = run("ip", &["link", "set", "lo", "up"]);
        return;
    }
    // Without it the loopback of a new namespace would stay down.
    if find("ip").is_err() {
        return;
    }
    let probe = Command::new("unshare").args(["--net", "true"]).stderr(Stdio::null()).status();
    let (Ok(true), Ok(itself)) = (probe.map(|status| status.success()), std::env::current_exe()) else {
        return;
    };
    // Coming back from `exec` means that it failed: then the run goes on without the namespace.
    let _error = Command::new("unshare")
        .args(["--net", "--"])
        .arg(itself)
        .args(std::env::args_os().skip(1))
        .env(INSIDE, "1")
        .exec();
}

/// A namespace with nothing in it but loopback: a machine of its own, as far as sockets go.
#[derive(Debug)]
pub(crate) struct Apart {
    keeper: Child,
    namespace: Arc<File>,
}

impl Apart {
    /// Builds it.
    ///
    /// # Errors
    /// Skipped where the machine does not allow namespaces.
    pub(crate) fn build() -> Result<Self> {
        let (keeper, namespace, _) = shell_apart()?;
        Ok(Self { keeper, namespace })
    }

    /// Does `work` on a thread that is there: sockets it makes and programs it starts stay there.
    pub(crate) fn enter<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let namespace = Arc::clone(&self.namespace);
        let there = thread::spawn(move || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                .during("enter the namespace outside")?;
            work()
        });
        there.join().unwrap_or_else(|_| failed("the thread outside panicked"))
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _status = self.keeper.wait();
    }
}

/// A shell in a namespace of its own whose loopback is up. It reads commands from us, and keeps the namespace alive
/// until our end of the pipe closes.
fn shell_apart() -> Result<(Child, Arc<File>, BufReader<ChildStdout>)> {
    find("ip")?;
    if std::env::var_os(INSIDE).is_none() {
        return Err(Verdict::Skipped("network namespace".to_owned()));
    }
    let mut keeper = Command::new("unshare")
        .args(["--net", "sh"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .during("start the shell outside")?;
    let mut answers = match keeper.stdout.take() {
        Some(out) => BufReader::new(out),
        None => return failed("the shell outside has no output"),
    };
    tell(&mut keeper, &mut answers, "ip link set lo up")?;
    let path = format!("/proc/{}/ns/net", keeper.id());
    let namespace = File::open(path).during("open the namespace outside")?;
    Ok((keeper, Arc::new(namespace), answers))
}

/// The namespace of clients from outside, joined to ours by one virtual cable.
#[derive(Debug)]
pub(crate) struct Outside(Apart);

impl Outside {
    /// Builds it.
    ///
    /// # Errors
    /// Skipped where the machine does not allow namespaces.
    pub(crate) fn build() -> Result<Self> {
        let (mut keeper, namespace, mut answers) = shell_apart()?;
        let pid = keeper.id().to_string();
        run("ip", &["link", "add", "gate", "type", "veth", "peer", "name", "away", "netns", &pid])?;
        for (addr, prefix) in [
            (IpAddr::V4(GATE_V4), "24"),
            (IpAddr::V6(GATE_V6), "64"),
            // A second network on the same card: the proxy speaks to truepeer from here.
            (IpAddr::V4(PROXY_V4), "24"),
        ] {
            run("ip", &add_address(&format!("{addr}/{prefix}"), "gate", addr))?;
        }
        run("ip", &["link", "set", "gate", "up"])?;
        part(IpAddr::V4(SENDER_V4), IpAddr::V4(DOOR_V4))?;
        part(IpAddr::V6(SENDER_V6), IpAddr::V6(DOOR_V6))?;
        for (addr, prefix) in [(IpAddr::V4(OUTSIDE_V4), "24"), (IpAddr::V6(OUTSIDE_V6), "64")] {
            let line = add_address(&format!("{addr}/{prefix}"), "away", addr).join(" ");
            tell(&mut keeper, &mut answers, &format!("ip {line}"))?;
        }
        tell(&mut keeper, &mut answers, "ip link set away up")?;
        Ok(Self(Apart { keeper, namespace }))
    }

    /// Does `work` on a thread that is outside: sockets it makes and programs it starts stay there.
    pub(crate) fn enter<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.0.enter(work)
    }
}

/// Gives this namespace both addresses; whoever connects from it to `door` does so from `sender`.
fn part(sender: IpAddr, door: IpAddr) -> Result {
    let family = if sender.is_ipv4() { "-4" } else { "-6" };
    let prefix = if sender.is_ipv4() { 32 } else { 128 };
    for addr in [sender, door] {
        run("ip", &add_address(&format!("{addr}/{prefix}"), "lo", addr))?;
    }
    let (sender, door) = (sender.to_string(), door.to_string());
    // The route of its own that every local address has would have `door` as the source; the kernel adds one of IPv6 a
    // moment after the address.
    let begin = Instant::now();
    let delete = [family, "route", "del", "local", &door, "dev", "lo", "table", "local"];
    while let Err(why) = run("ip", &delete) {
        if begin.elapsed() > PATIENCE {
            return Err(why);
        }
    }
    run("ip", &[family, "route", "add", "local", &door, "dev", "lo", "table", "local", "src", &sender])
}

/// The arguments of `ip` that give `device` an address, usable at once.
fn add_address<'a>(addr: &'a str, device: &'a str, ip: IpAddr) -> Vec<&'a str> {
    let mut words = vec!["addr", "add", addr, "dev", device];
    if ip.is_ipv6() {
        // Without this the address cannot be bound until the search for duplicates has ended.
        words.push("nodad");
    }
    words
}

/// Has the shell outside run one line, and waits until it is done.
fn tell(keeper: &mut Child, answers: &mut impl BufRead, line: &str) -> Result {
    let Some(stdin) = keeper.stdin.as_mut() else {
        return failed("the shell outside has no input");
    };
    writeln!(stdin, "{line} && echo done || echo no").during("tell the shell outside")?;
    let mut answer = String::new();
    answers.read_line(&mut answer).during("hear the shell outside")?;
    if answer.trim_end() == "done" { Ok(()) } else { failed(format!("outside: `{line}` did not work")) }
}

fn run(program: &str, args: &[&str]) -> Result {
    let output = Command::new(program).args(args).output().during(program)?;
    if output.status.success() {
        return Ok(());
    }
    failed(format!("{program} {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim_end()))
}
