//! Clients that speak before they are greeted: behind a real proxy and truepeer they meet the verdict that they would
//! meet without either.
//!
//! Called by `cases`. Postfix is asked in two releases, since 3.10 ends what 3.7 only logs.

use std::net::SocketAddr;

use super::{Case, PROXY, hello, row, told_client, told_destination};
use crate::client::{Client, Place};
use crate::feed::{Feed, Mark};
use crate::header;
use crate::lab::Lab;
use crate::port::Port;
use crate::servers::Front;
use crate::servers::haproxy::{Frontend, Haproxy};
use crate::servers::newer::Release;
use crate::servers::postfix::Postfix;
use crate::servers::truepeer::{Backend, Listener};
use crate::verdict::{Result, ensure, failed};

/// What the client says too early.
const WORDS: &str = "EHLO early.interop.test";

/// All of it.
pub(super) fn cases() -> Vec<Case> {
    let both = [
        ("postfix_and_its_postscreen_judge_an_early_talker_as_without_truepeer", Release::Ours),
        ("postfix_3_10_and_its_postscreen_judge_an_early_talker_as_without_truepeer", Release::Newer),
    ];
    both.map(|(name, release)| row(name.to_owned(), release, judge)).into()
}

/// A server, where it is reached directly and behind us, and the word of its log that holds its verdict.
struct Judge {
    direct: SocketAddr,
    behind: SocketAddr,
    finds: &'static str,
    says: &'static str,
}

fn judge(lab: &Lab, release: &Release) -> Result {
    let free = || Port::free(PROXY.ip());
    let ports = [free()?, free()?, free()?, free()?];
    let [direct, told, screen, told_screen] = ports.each_ref().map(Port::addr);
    let services = services(direct, told, screen, told_screen);
    let dir = lab.fresh_dir("postfix-of-early-talkers")?;
    let postfix = Postfix::start_release(*release, &dir, &dir.join("nobody"), lab.pair()?, &services)?;
    lab.watch("postfix-of-early-talkers", postfix.log());

    let listener = |id| Listener { id, ip: PROXY.ip(), protocol: "smtp", backend: id, lines: "" };
    let backend = |id, kind, addr| Backend { id, kind, handoff: None, addr };
    let servers = [backend("smtpd", "postfix", told), backend("screen", "postscreen", told_screen)];
    let ids = servers.map(|server| server.id);
    let truepeer = lab.start_truepeer("truepeer-of-early-talkers", &ids.map(listener), &servers)?;
    for id in ids {
        truepeer.wait_event(Mark::default(), "backend_proved", &format!("\"{id}\""))?;
    }
    let mut fronts = Vec::new();
    for id in ids {
        fronts.push(Frontend {
            name: id.to_owned(),
            front: Front { listen: Port::free(PROXY.ip())?.addr(), to: truepeer.port(id)? },
            bind: String::new(),
            server: "send-proxy-v2".to_owned(),
            lines: String::new(),
        });
    }
    let haproxy = Haproxy::start(&lab.fresh_dir("haproxy-of-early-talkers")?, &fronts)?;
    lab.watch("haproxy-of-early-talkers", haproxy.log());
    let [smtpd, screened] = fronts.as_slice() else { return failed("two ways") };
    let (smtpd, screened) = (smtpd.front.listen, screened.front.listen);

    let ends = *release == Release::Newer;
    let judges = [
        Judge {
            direct,
            behind: smtpd,
            finds: "improper command pipelining after CONNECT from ",
            says: if ends {
                "554 5.5.0 Error: SMTP protocol synchronization\r\n"
            } else {
                "250 CHUNKING\r\n"
            },
        },
        Judge { direct: screen, behind: screened, finds: "PREGREET ", says: "521 5.5.1 Protocol error\r\n" },
    ];
    // smtpd looks once, when it takes a client up. Its one process is with somebody else until everything is there.
    let mut through = Client::dial(PROXY, told)?;
    through.send(&header::v2(told_client(4781), told_destination(), &[]))?;
    let mut first = vec![through, Client::dial(PROXY, direct)?];
    first.iter_mut().try_for_each(|client| client.expect_reply("220").map(|_| ()))?;
    let mark = postfix.log().mark();
    let mut waiting = Vec::new();
    for judge in &judges {
        let early = |to| -> Result<Client> {
            let mut client = Client::dial(Place::Here(lab.fresh_source()), to)?;
            client.send(format!("{WORDS}\r\n").as_bytes())?;
            Ok(client)
        };
        waiting.push((judge, early(judge.direct)?, early(judge.behind)?));
    }
    // What was said to postscreen was said last, so that smtpd has its part when postscreen has decided.
    while let Some((judge, mut direct, mut behind)) = waiting.pop() {
        let [without, with] =
            [&mut direct, &mut behind].map(|client| verdict(client, judge, postfix.log(), mark));
        let (without, with) = (without?, with?);
        ensure(without == with && without.0.ends_with(judge.says), || {
            format!("without truepeer {without:?}, with it {with:?}")
        })?;
        first.drain(..).try_for_each(|mut client| client.smtp("QUIT", "221").map(|_| ()))?;
    }
    // Who waits is served, and seen.
    let mark = postfix.log().mark();
    let mut polite = Client::dial(Place::Here(lab.fresh_source()), smtpd)?;
    hello(&mut polite)?;
    postfix.wait_connect(mark, polite.addr())
}

/// What the client heard, and what the log says of it, without its address and the time that it took.
fn verdict(client: &mut Client, judge: &Judge, log: &Feed, mark: Mark) -> Result<(String, String)> {
    let addr = client.addr();
    let is_it = |line: &str| line.contains(judge.finds) && line.contains(&format!("[{}]", addr.ip()));
    let line = log.wait_line(mark, &format!("Postfix finds that {addr} talks early"), is_it)?;
    // Whoever is not turned away takes leave.
    let mut heard = String::new();
    if judge.says.starts_with("250") {
        heard = format!("{}\r\n", client.expect_reply("220")?);
        heard = format!("{heard}{}\r\n", client.expect_reply("250")?);
        client.smtp("QUIT", "221")?;
    } else {
        heard.push_str(&client.rest("Postfix turns it away")?);
    }
    let (_, found) = line.split_once(judge.finds).unwrap_or_default();
    let said = found.rsplit_once(": ").map_or(found, |(_, said)| said);
    Ok((heard, said.to_owned()))
}

/// smtpd with one process, and postscreen that lets strangers wait, which everybody is to it. truepeer asks each what it
/// does without a header, and need not wait long for the answer.
fn services(direct: SocketAddr, told: SocketAddr, screen: SocketAddr, told_screen: SocketAddr) -> String {
    let strict = "-o postscreen_access_list=\n  -o postscreen_greet_action=drop\n  -o postscreen_greet_wait=3s\n  \
                  -o postscreen_cache_map=\n";
    format!(
        "\
{direct} inet n - n - 1 smtpd
{told} inet n - n - 1 smtpd
  -o smtpd_upstream_proxy_protocol=haproxy
  -o smtpd_upstream_proxy_timeout=1s
  -o syslog_name=header
{screen} inet n - n - 1 postscreen
  {strict}{told_screen} inet n - n - 1 postscreen
  -o postscreen_upstream_proxy_protocol=haproxy
  -o postscreen_upstream_proxy_timeout=1s
  {strict}"
    )
}
