//! The README's example, word for word: its three files, on other ports.
//!
//! Called by `cases`.

use std::net::{IpAddr, Ipv4Addr};

use super::{Case, case, hello};
use crate::client::{Client, Place};
use crate::lab::Lab;
use crate::port::Port;
use crate::servers::haproxy::Haproxy;
use crate::servers::truepeer::Truepeer;
use crate::verdict::Result;

/// All of it.
pub(super) fn cases() -> Vec<Case> {
    vec![case("the_files_of_the_readme_show_the_client_in_the_log_of_postfix", readme)]
}

fn readme(lab: &Lab) -> Result {
    const HAPROXY: &str = include_str!("../../../packaging/examples/haproxy-postfix/haproxy.cfg");
    const TRUEPEER: &str = include_str!("../../../packaging/examples/haproxy-postfix/truepeer.toml");
    let postfix = lab.postfix()?;
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let (front, door) = (Port::free(loopback)?, Port::free(loopback)?);
    let (front_addr, door_addr) = (front.addr(), door.addr());
    let on_our_ports = |text: &str| {
        text.replace(":2525", &format!(":{}", front_addr.port()))
            .replace("127.0.0.1:2526", &door_addr.to_string())
            .replace("127.0.0.1:10025", &postfix.readme_port().to_string())
    };
    drop(door);
    let dir = lab.fresh_dir("readme")?;
    let truepeer =
        Truepeer::start_as_written(lab.program()?, &dir, &on_our_ports(TRUEPEER), ("smtp", door_addr))?;
    lab.watch("truepeer of the README", truepeer.log());
    drop(front);
    let haproxy = Haproxy::start_as_written(&dir, &on_our_ports(HAPROXY))?;
    lab.watch("haproxy of the README", haproxy.log());

    let mark = postfix.log().mark();
    let mut client = Client::dial(Place::Here(lab.fresh_source()), front_addr)?;
    hello(&mut client)?;
    let words = format!("]: connect from unknown[{}]", client.addr().ip());
    let is_it = |line: &str| line.contains("readme/smtpd[") && line.contains(&words);
    postfix.log().wait_line(mark, "Postfix logs the client of the README", is_it).map(|_| ())
}
