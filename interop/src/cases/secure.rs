//! HAProxy ends TLS in front of two services of Postfix that know nothing of TLS: one offers AUTH, the other does not.
//!
//! Called by `cases`. Postfix reads no TLV, so only the choice of the service can tell it who came over TLS.

use super::{Case, PROXY, case};
use crate::client::{Client, Place};
use crate::lab::Lab;
use crate::port::Port;
use crate::servers::Front;
use crate::servers::dovecot::PASSWORD;
use crate::servers::haproxy::{Frontend, Haproxy};
use crate::servers::truepeer::{Backend, Listener, Truepeer};
use crate::verdict::{Result, ensure};

/// All of it.
pub(super) fn cases() -> Vec<Case> {
    vec![
        case("auth_is_offered_exactly_to_clients_who_came_over_tls", auth),
        case("require_secure_refuses_who_came_in_clear_through_the_same_haproxy", required),
    ]
}

/// One HAProxy with a port for TLS and one in clear, both in front of the same listener.
struct House {
    // In the order in which they end.
    _haproxy: Haproxy,
    truepeer: Truepeer,
    tls: Port,
    clear: Port,
}

impl House {
    fn build(lab: &Lab, lines: &str) -> Result<Self> {
        // Postfix asks it which mechanisms there are.
        lab.dovecot()?;
        let postfix = lab.postfix()?;
        let listener =
            Listener { id: "submission", ip: PROXY.ip(), protocol: "submission", backend: "clear", lines };
        let mut backends =
            vec![Backend { id: "clear", kind: "postfix", handoff: None, addr: postfix.header_port() }];
        if lines.contains("\"auth\"") {
            backends.push(Backend { id: "auth", kind: "postfix", handoff: None, addr: postfix.auth_port() });
        }
        let truepeer = lab.start_truepeer("truepeer-secure", &[listener], &backends)?;
        for Backend { id, .. } in &backends {
            truepeer.wait_event(crate::feed::Mark::default(), "backend_proved", id)?;
        }
        let (tls, clear) = (Port::free(PROXY.ip())?, Port::free(PROXY.ip())?);
        let frontend = |name: &str, port: &Port, bind: String| {
            Ok(Frontend {
                name: name.to_owned(),
                front: Front { listen: port.addr(), to: truepeer.port("submission")? },
                bind,
                server: "send-proxy-v2-ssl".to_owned(),
                lines: String::new(),
            })
        };
        let frontends = [
            frontend("submissions", &tls, format!("ssl crt {}", lab.pair()?.display()))?,
            frontend("submission", &clear, String::new())?,
        ];
        let haproxy = Haproxy::start(&lab.fresh_dir("haproxy-secure")?, &frontends)?;
        lab.watch("haproxy-secure", haproxy.log());
        Ok(Self { _haproxy: haproxy, truepeer, tls, clear })
    }

    fn over_tls(&self, lab: &Lab) -> Result<Client> {
        Client::dial_tls(Place::Here(lab.fresh_source()), self.tls.addr())
    }

    fn in_clear(&self, lab: &Lab) -> Result<Client> {
        Client::dial(Place::Here(lab.fresh_source()), self.clear.addr())
    }

    /// What the record of this client's connection says of its backend.
    fn backend_of(&self, client: Client) -> Result<String> {
        let addr = client.addr();
        drop(client);
        Ok(self.truepeer.record_of(crate::feed::Mark::default(), addr)?.text("backend"))
    }
}

fn auth(lab: &Lab) -> Result {
    let house = House::build(lab, "backend-when-secure = \"auth\"\n")?;
    let mut client = house.over_tls(lab)?;
    client.expect_reply("220")?;
    let offered = client.smtp("EHLO client.interop.test", "250")?;
    ensure(offered.lines().any(|line| line.contains("AUTH PLAIN")), || {
        format!("no AUTH over TLS: {offered}")
    })?;
    // Not only offered: "\0someone\0interop" in base64.
    ensure(PASSWORD == "interop", || "the encoded password is another".to_owned())?;
    client.smtp("AUTH PLAIN AHNvbWVvbmUAaW50ZXJvcA==", "235 2.7.0")?;
    client.smtp("QUIT", "221")?;
    let backend = house.backend_of(client)?;
    ensure(backend == "auth", || format!("a client over TLS went to `{backend}`"))?;

    let direct = Client::dial(Place::Here(lab.fresh_source()), house.truepeer.port("submission")?)?;
    for mut client in [house.in_clear(lab)?, direct] {
        client.expect_reply("220")?;
        let offered = client.smtp("EHLO client.interop.test", "250")?;
        ensure(!offered.contains("AUTH"), || format!("AUTH in clear: {offered}"))?;
        client.smtp("AUTH PLAIN AHNvbWVvbmUAaW50ZXJvcA==", "503 5.5.1")?;
        client.smtp("QUIT", "221")?;
        let backend = house.backend_of(client)?;
        ensure(backend == "clear", || format!("a client in clear went to `{backend}`"))?;
    }
    Ok(())
}

fn required(lab: &Lab) -> Result {
    let house = House::build(lab, "require-secure = true\n")?;
    let mut client = house.over_tls(lab)?;
    super::hello(&mut client)?;
    let mut client = house.in_clear(lab)?;
    let heard = client.rest("truepeer refuses and closes")?;
    let addr = client.addr();
    drop(client);
    ensure(heard == "554 5.7.0 truepeer.interop.test this service takes TLS connections only\r\n", || {
        format!("the client in clear heard `{heard}`")
    })?;
    let record = house.truepeer.record_of(crate::feed::Mark::default(), addr)?;
    ensure(record.text("outcome") == "secure_required" && record.text("backend").is_empty(), || {
        format!("{record:?}")
    })
}
