//! Balancers find out whether a listener's clients would be served, by the lines of `docs/health-checks.md`.
//!
//! Called by `cases`. Each case has a Postfix of its own, which it stops and starts again.

use std::net::SocketAddr;
use std::time::Instant;

use super::{Case, PROXY, case, hello, told_client, told_destination};
use crate::client::{Client, Place};
use crate::feed::{Feed, Mark, PATIENCE};
use crate::header;
use crate::lab::Lab;
use crate::page;
use crate::port::Port;
use crate::servers::envoy::Envoy;
use crate::servers::haproxy::{HEAD, Haproxy};
use crate::servers::nginx::Nginx;
use crate::servers::postfix::Postfix;
use crate::servers::traefik::Traefik;
use crate::servers::truepeer::Truepeer;
use crate::verdict::{Result, ensure};

/// What the page leaves to its reader; checks come faster than anybody would have them.
pub(super) const FASTER: &str = "  default-server inter 100ms\n";

/// One case per question of the page that a real balancer can be asked.
pub(super) fn cases() -> Vec<Case> {
    vec![
        case("haproxy_smtpchk_without_a_header_sees_the_backend_go_and_come", smtpchk),
        case("haproxy_connect_check_sees_a_closed_listener_and_comes_back", connect_check),
        case("nginx_passes_over_a_closed_listener_and_serves_every_client", passive),
        case("traefik_checks_the_health_port_and_sees_the_backend_go", traefik),
        case("envoy_checks_with_a_header_and_sees_the_backend_go", envoy),
    ]
}

/// A listener that shows balancers whether its backend can be reached, and that backend.
pub(super) struct House {
    /// Ends before the backend does.
    pub(super) truepeer: Truepeer,
    pub(super) postfix: Postfix,
    pub(super) door: SocketAddr,
    pub(super) health: SocketAddr,
    /// Its status page.
    pub(super) status: SocketAddr,
}

impl House {
    /// Starts both, truepeer with the configuration that stands under `heading`.
    pub(super) fn start(lab: &Lab, heading: &str) -> Result<Self> {
        Self::start_with(lab, heading, |text| text)
    }

    /// The same, with a change of that configuration.
    pub(super) fn start_with(lab: &Lab, heading: &str, change: impl Fn(String) -> String) -> Result<Self> {
        let postfix = lab.start_postfix("postfix-that-goes")?;
        let (door, health, status) =
            (Port::free(PROXY.ip())?, Port::free(PROXY.ip())?, Port::free(PROXY.ip())?);
        let (door_addr, health_addr, status_addr) = (door.addr(), health.addr(), status.addr());
        let text = change(block(heading, "toml")?)
            .replace("192.0.2.10", &PROXY.ip().to_string())
            .replace("127.0.0.1:10025", &postfix.header_port().to_string());
        let text = format!(
            "{}[log]\nformat = \"json\"\n[status]\nbind = \"{status_addr}\"\n",
            on_ports(&text, door_addr, health_addr)
        );
        // Given up only now, since truepeer asks for its ports exclusively.
        drop((door, health, status));
        let dir = lab.fresh_dir("truepeer-checked")?;
        let truepeer = Truepeer::start_as_written(lab.program()?, &dir, &text, ("smtp", door_addr))?;
        lab.watch("truepeer-checked", truepeer.log());
        // A start does not wait for a backend that takes its time, and a listener that closes opens only then.
        truepeer.wait_event(Mark::default(), "backend_proved", "postfix")?;
        let (words, events) = (door_addr.to_string(), ["\"listening\"", "\"listener_opened\""]);
        let is_it = |line: &str| line.contains(&words) && events.iter().any(|event| line.contains(event));
        truepeer.log().wait_line(Mark::default(), "truepeer listens", is_it)?;
        Ok(Self { truepeer, postfix, door: door_addr, health: health_addr, status: status_addr })
    }

    /// A client that comes through `front` is served, and is the one that Postfix logs.
    pub(super) fn serves(&self, lab: &Lab, front: SocketAddr) -> Result {
        let mark = self.postfix.log().mark();
        let mut client = Client::dial(Place::Here(lab.fresh_source()), front)?;
        hello(&mut client)?;
        self.postfix.wait_connect(mark, client.addr())
    }

    /// Postfix ends, and a client hears so; thereby truepeer knows, too.
    pub(super) fn loses_postfix(&mut self) -> Result {
        self.postfix.stop();
        let mut client = Client::dial(PROXY, self.door)?;
        client.send(&header::v2(told_client(4711), told_destination(), &[]))?;
        client.expect_reply("421").map(|_| ())
    }

    /// Postfix ends, and the listener closes.
    pub(super) fn loses_postfix_and_closes(&mut self) -> Result {
        // Enough for the workers to obey: each try is a connection.
        const TRIES: usize = 2000;
        let mark = self.truepeer.log().mark();
        // The client finds out, unless truepeer has just asked by itself and is closed already.
        let _heard = self.loses_postfix();
        self.truepeer.wait_event(mark, "listener_closed", &self.door.to_string())?;
        let closed = (0..TRIES).any(|_| Client::dial(PROXY, self.door).is_err());
        ensure(closed, || "a closed listener takes connections".to_owned())
    }
}

/// A HAProxy that checks with the lines that stand under a heading.
struct Checking {
    haproxy: Haproxy,
    front: SocketAddr,
}

impl Checking {
    fn start(lab: &Lab, heading: &str, house: &House) -> Result<Self> {
        let front = Port::free(PROXY.ip())?;
        let lines = on_ports(&block(heading, "haproxy")?, house.door, house.health);
        let text = format!("{HEAD}{FASTER}{}", lines.replace("bind :25", &format!("bind {}", front.addr())));
        let haproxy = Haproxy::start_as_written(&lab.fresh_dir("haproxy-checks")?, &text)?;
        lab.watch("haproxy-checks", haproxy.log());
        Ok(Self { haproxy, front: front.addr() })
    }

    /// Waits for a line of its log with these words.
    fn says(&self, mark: Mark, words: &str) -> Result {
        let is_it = |line: &str| line.contains(words);
        self.log().wait_line(mark, &format!("HAProxy says `{words}`"), is_it).map(|_| ())
    }

    fn log(&self) -> &Feed {
        self.haproxy.log()
    }
}

fn smtpchk(lab: &Lab) -> Result {
    let heading = "My balancer cannot send a header in its checks";
    let mut house = House::start(lab, heading)?;
    let checking = Checking::start(lab, heading, &house)?;
    house.serves(lab, checking.front)?;

    let mark = checking.log().mark();
    house.loses_postfix()?;
    checking.says(mark, "Server smtp/mx1 is DOWN, reason: Layer7 wrong status, code: 421")?;
    is_closed(lab, checking.front)?;

    let mark = checking.log().mark();
    house.postfix.start_again()?;
    lab.watch("postfix-started-again", house.postfix.log());
    checking.says(mark, "Server smtp/mx1 is UP, reason: Layer7 check passed, code: 221")?;
    house.serves(lab, checking.front)
}

/// Nobody but truepeer itself finds out here.
fn connect_check(lab: &Lab) -> Result {
    let heading = "My balancer's check only connects";
    let mut house = House::start(lab, heading)?;
    let checking = Checking::start(lab, heading, &house)?;
    house.serves(lab, checking.front)?;

    let mark = checking.log().mark();
    house.postfix.stop();
    checking.says(mark, "Server smtp/mx1 is DOWN, reason: Layer4 connection problem")?;
    is_closed(lab, checking.front)?;

    let mark = checking.log().mark();
    house.postfix.start_again()?;
    lab.watch("postfix-started-again", house.postfix.log());
    checking.says(mark, "Server smtp/mx1 is UP, reason: Layer4 check passed")?;
    house.serves(lab, checking.front)
}

fn passive(lab: &Lab) -> Result {
    // More than the two servers between which NGINX alternates.
    const CLIENTS: usize = 5;
    let heading = "My balancer does not check at all";
    let (other, stays) = (lab.truepeer()?.port("smtp4")?, lab.postfix()?);
    let mut house = House::start(lab, "My balancer's check only connects")?;
    let front = Port::free(PROXY.ip())?;
    let text = on_ports(&block(heading, "nginx")?, house.door, house.health)
        .replace("192.0.2.21:25", &other.to_string())
        .replace("listen 25", &format!("listen {}", front.addr()));
    let nginx = Nginx::start_as_written(&lab.fresh_dir("nginx-passive")?, &text)?;
    lab.watch("nginx-passive", nginx.log());
    let visit = || -> Result<SocketAddr> {
        let mut client = Client::dial(Place::Here(lab.fresh_source()), front.addr())?;
        hello(&mut client)?;
        Ok(client.addr())
    };
    // The first of the two is the first to be asked.
    let mark = house.postfix.log().mark();
    house.postfix.wait_connect(mark, visit()?)?;

    house.loses_postfix_and_closes()?;
    let refused = nginx.log().mark();
    for _ in 0..CLIENTS {
        let mark = stays.log().mark();
        stays.wait_connect(mark, visit()?)?;
    }
    let words = house.door.to_string();
    let is_it = |line: &str| line.contains("Connection refused") && line.contains(&words);
    nginx.log().wait_line(refused, "NGINX tries the closed listener", is_it).map(|_| ())
}

fn traefik(lab: &Lab) -> Result {
    let mut house = House::start(lab, "My balancer cannot send a header in its checks")?;
    let front = Port::free(PROXY.ip())?.addr();
    let text = on_ports(&block("Traefik", "yaml")?, house.door, house.health);
    let traefik = Traefik::start(&lab.fresh_dir("traefik")?, front, &often(&text))?;
    lab.watch("traefik", traefik.log());
    wait_until_greeted(front)?;
    house.serves(lab, front)?;

    let mark = traefik.log().mark();
    house.loses_postfix()?;
    let is_it = |line: &str| line.contains("Propagating new DOWN status");
    traefik.log().wait_line(mark, "Traefik takes the server out", is_it)?;
    is_closed(lab, front)
}

fn envoy(lab: &Lab) -> Result {
    let mut house = House::start(lab, "My balancer's check only connects")?;
    let front = Port::free(PROXY.ip())?;
    let text = block("Envoy", "yaml")?
        .replace("192.0.2.20, port_value: 25}", &yaml(house.door))
        .replace("0.0.0.0, port_value: 25}", &yaml(front.addr()));
    let envoy = Envoy::start(&lab.fresh_dir("envoy")?, &often(&text))?;
    lab.watch("envoy", envoy.log());
    wait_until_greeted(front.addr())?;
    house.serves(lab, front.addr())?;

    let mark = envoy.log().mark();
    house.loses_postfix_and_closes()?;
    let is_it = |line: &str| line.contains("eject_unhealthy_event");
    envoy.log().wait_line(mark, "Envoy takes the server out", is_it)?;
    is_closed(lab, front.addr())
}

/// Comes back when somebody is greeted at `front`: Envoy says that it serves a moment before it listens, and Traefik
/// listens a moment before it knows its routes.
pub(super) fn wait_until_greeted(front: SocketAddr) -> Result {
    let begin = Instant::now();
    loop {
        let greeted = Client::dial(PROXY, front).and_then(|mut client| client.expect_reply("220"));
        match greeted {
            Err(_) if begin.elapsed() < PATIENCE => std::thread::yield_now(),
            other => return other.map(|_| ()),
        }
    }
}

/// A client that comes while the balancer has no server is closed without a word.
pub(super) fn is_closed(lab: &Lab, front: SocketAddr) -> Result {
    let mut client = Client::dial(Place::Here(lab.fresh_source()), front)?;
    let heard = client.rest("what a balancer says without a server")?;
    ensure(heard.is_empty(), || format!("a client heard `{heard}` from a balancer without a server"))
}

/// Checks come faster than anybody would have them.
pub(super) fn often(text: &str) -> String {
    text.replace("interval: 5s", "interval: 0.3s")
}

/// The end of an address as Envoy writes it.
pub(super) fn yaml(addr: SocketAddr) -> String {
    format!("{}, port_value: {}}}", addr.ip(), addr.port())
}

/// The first block in this `language` under the heading of the page.
pub(super) fn block(heading: &str, language: &str) -> Result<String> {
    page::block(include_str!("../../../docs/health-checks.md"), heading, language)
}

/// The lines of the page on the ports of a case.
pub(super) fn on_ports(text: &str, door: SocketAddr, health: SocketAddr) -> String {
    text.replace("192.0.2.20:25", &door.to_string())
        .replace("192.0.2.20:8025", &health.to_string())
        .replace("port 8025", &format!("port {}", health.port()))
        .replace("port: 8025", &format!("port: {}", health.port()))
}
