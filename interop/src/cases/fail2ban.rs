//! fail2ban reads the log of a Dovecot behind HAProxy and truepeer, and bans at the front door.
//!
//! Called by `cases`. The firewall could not do it: every packet comes from HAProxy's address.

use std::fs::OpenOptions;
use std::net::{IpAddr, SocketAddr};

use super::{Case, PROXY, case};
use crate::client::{Client, Place};
use crate::feed::Mark;
use crate::lab::Lab;
use crate::port::Port;
use crate::servers::Front;
use crate::servers::dovecot::PASSWORD;
use crate::servers::fail2ban::{Fail2ban, empty_log, is_complaint};
use crate::servers::haproxy::{Frontend, Haproxy};
use crate::servers::truepeer::{Backend, Listener, Truepeer};
use crate::verdict::{During, Result, ensure, failed};

/// All of it.
pub(super) fn cases() -> Vec<Case> {
    vec![
        case("three_bad_passwords_and_fail2ban_keeps_that_client_out_and_nobody_else", bad_passwords),
        case("what_fail2ban_orders_is_what_truepeer_does_until_fail2ban_stops", orders),
    ]
}

/// HAProxy with TLS, truepeer, Dovecot, and a fail2ban that reads Dovecot's log.
struct House {
    // In the order in which they end.
    fail2ban: Fail2ban,
    _haproxy: Haproxy,
    truepeer: Truepeer,
    front: Port,
}

impl House {
    fn build(lab: &Lab) -> Result<Self> {
        let dovecot = lab.dovecot()?;
        let listener =
            Listener { id: "imap", ip: PROXY.ip(), protocol: "imap", backend: "dovecot", lines: "" };
        let backend = Backend { id: "dovecot", kind: "dovecot", handoff: None, addr: dovecot.header_port() };
        let truepeer = lab.start_truepeer("truepeer-banning", &[listener], &[backend])?;
        lab.wait_until_served(truepeer.port("imap")?)?;
        let front = Port::free(PROXY.ip())?;
        let frontend = Frontend {
            name: "imaps".to_owned(),
            front: Front { listen: front.addr(), to: truepeer.port("imap")? },
            bind: format!("ssl crt {}", lab.pair()?.display()),
            server: "send-proxy-v2-ssl".to_owned(),
            lines: String::new(),
        };
        let haproxy = Haproxy::start(&lab.fresh_dir("haproxy-banning")?, &[frontend])?;
        lab.watch("haproxy-banning", haproxy.log());

        // Dovecot's own lines with its own time, in a file as a log daemon would keep it.
        let dir = lab.fresh_dir("fail2ban")?;
        let log = empty_log(&dir)?;
        dovecot.log().copy_to(OpenOptions::new().append(true).open(&log).during("open the watched log")?);
        let action = format!(
            "truepeer[truepeer=\"{}\", options=\"--config {}\"]",
            lab.program()?.display(),
            truepeer.file("truepeer.toml").display()
        );
        let fail2ban = Fail2ban::start(&dir, &log, &action)?;
        lab.watch("fail2ban", fail2ban.log());
        Ok(Self { fail2ban, _haproxy: haproxy, truepeer, front })
    }

    fn dial(&self, ip: IpAddr) -> Result<Client> {
        Client::dial_tls(Place::Here(ip), self.front.addr())
    }

    /// Logs in with `password` and expects `answer`.
    fn log_in(&self, ip: IpAddr, password: &str, answer: &str) -> Result {
        let mut client = self.dial(ip)?;
        greeted(&mut client)?;
        let said = client.imap("a1", &format!("LOGIN someone {password}"))?;
        ensure(said.lines().any(|line| line.starts_with(answer)), || {
            format!("expected `{answer}`, got `{said}`")
        })?;
        client.imap("a2", "LOGOUT")?;
        // Only then is the line in Dovecot's log.
        client.rest("Dovecot closes after LOGOUT").map(|_| ())
    }

    /// A new connection of `ip` is refused in IMAP's own words, and reaches nobody.
    fn is_out(&self, ip: IpAddr) -> Result {
        let mark = self.truepeer.log().mark();
        let mut client = self.dial(ip)?;
        let heard = client.rest("truepeer refuses and closes")?;
        ensure(heard.starts_with("* BYE ") && heard.ends_with("\r\n"), || format!("{ip} heard `{heard}`"))?;
        let record = self.truepeer.record_of(mark, client.addr())?;
        ensure(
            record.text("outcome") == "access_denied" && record.text("rule").contains("fail2ban dovecot"),
            || format!("{record:?}"),
        )
    }

    /// fail2ban was content with everything that truepeer answered.
    fn no_complaint(&self) -> Result {
        let lines = self.fail2ban.log().lines(Mark::default());
        match lines.iter().find(|line| is_complaint(line)) {
            Some(line) => failed(format!("fail2ban complains: {line}")),
            None => Ok(()),
        }
    }
}

fn greeted(client: &mut Client) -> Result {
    let greeting = client.line("Dovecot's greeting")?;
    ensure(greeting.starts_with("* OK"), || format!("expected `* OK`, got `{greeting}`"))
}

fn bad_passwords(lab: &Lab) -> Result {
    let house = House::build(lab)?;
    let (bad, good) = (lab.fresh_source(), lab.fresh_source());
    let (mark, found) = (house.truepeer.log().mark(), house.fail2ban.log().mark());
    let mut open = house.dial(bad)?;
    greeted(&mut open)?;
    let mut other = house.dial(good)?;
    greeted(&mut other)?;
    for _ in 0..3 {
        house.log_in(bad, "wrong", "a1 NO [AUTHENTICATIONFAILED]")?;
    }
    let is_ban = |line: &str| line.contains(&format!("Ban {bad}"));
    house.fail2ban.log().wait_line(found, "fail2ban finds three bad passwords", is_ban)?;
    let event = house.truepeer.wait_event(mark, "denied", &bad.to_string())?;
    ensure(event.contains("\"cut\":1"), || format!("the open connection was not cut: {event}"))?;
    open.rest("truepeer cuts the open connection")?;
    let record = house.truepeer.record_of(mark, open.addr())?;
    ensure(record.text("outcome") == "cut", || format!("{record:?}"))?;

    house.is_out(bad)?;
    let ended = other.imap("a1", "NOOP")?;
    ensure(ended.starts_with("a1 "), || format!("another client behind the proxy was cut: {ended}"))?;
    house.log_in(good, PASSWORD, "a1 OK")?;

    house.fail2ban.set(&["unbanip", &bad.to_string()])?;
    house.truepeer.wait_event(mark, "undenied", &bad.to_string())?;
    house.log_in(bad, PASSWORD, "a1 OK")?;
    house.no_complaint()
}

fn orders(lab: &Lab) -> Result {
    let house = House::build(lab)?;
    let (first, second) = (lab.fresh_source(), lab.fresh_source());
    let mark = house.truepeer.log().mark();
    let ban = |words: &str, network: &str| {
        house.fail2ban.set(&["banip", words])?;
        house.truepeer.wait_event(mark, "denied", network)
    };
    let (first_network, second_network) = (format!("{first}/32"), format!("{second}/32"));
    ban(&first.to_string(), &first_network)?;
    // A client of IPv6 has a whole /64.
    ban("2001:db8:0:7::9", "2001:db8:0:7::/64")?;
    // For ever is a year.
    house.fail2ban.set(&["bantime", "-1"])?;
    ban(&second.to_string(), &second_network)?;
    let bans = house.truepeer.denied()?;
    let left = |network: &str| {
        let ban = bans.iter().find(|ban| ban.get("network").is_some_and(|of| of == network));
        ban.and_then(|ban| ban.get("seconds_left")?.as_u64())
    };
    for (network, least, most) in [
        (first_network.as_str(), 500, 601),
        ("2001:db8:0:7::/64", 500, 601),
        (second_network.as_str(), 31_535_900, 31_536_001),
    ] {
        ensure(left(network).is_some_and(|left| (least..=most).contains(&left)), || {
            format!("{network} has {:?} seconds left", left(network))
        })?;
    }

    // A ban that has ended already is no error.
    let lifted = house.truepeer.command(&["undeny", &first_network])?;
    ensure(lifted.status.success(), || String::from_utf8_lossy(&lifted.stderr).into_owned())?;
    let found = house.fail2ban.log().mark();
    house.fail2ban.set(&["unbanip", &first.to_string()])?;
    let is_unban = |line: &str| line.contains(&format!("Unban {first}"));
    house.fail2ban.log().wait_line(found, "fail2ban lifts the ban", is_unban)?;
    house.is_out(second)?;

    // The address of the proxy is refused, and fail2ban says that its action failed.
    house.no_complaint()?;
    house.fail2ban.set(&["banip", &PROXY.ip().to_string()])?;
    let is_refusal = |line: &str| is_complaint(line) && line.contains("127.0.0.1/32 holds a trusted proxy");
    house.fail2ban.log().wait_line(found, "fail2ban logs why the proxy is not banned", is_refusal)?;

    let House { fail2ban, _haproxy, truepeer, front } = house;
    let front: SocketAddr = front.addr();
    drop(fail2ban);
    let left = truepeer.denied()?;
    ensure(left.is_empty(), || format!("fail2ban has stopped, and its bans stay: {left:?}"))?;
    let mut client = Client::dial_tls(Place::Here(second), front)?;
    greeted(&mut client)
}
