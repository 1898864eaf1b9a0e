//! XCLIENT: a mail server is told in its own language, between its greeting to us and its greeting to the client.
//!
//! Sans-IO. Only attributes that the server announced are sent, and of these only what we know: HELO, PROTO and LOGIN
//! are the client's to say. The names go along as "none", for ours would stay in their place; the address goes last,
//! because the server weighs the permission anew with it. The answer is the server's greeting to the client.
//!
//! Source: Postfix, XCLIENT_README and smtpd.c (`xclient_cmd`); xtext: RFC 3461 4.

mod reply;

use std::net::IpAddr;

use truepeer::Seen;

use super::about::About;
use super::turn::{Purpose, Turn, Untold};
use crate::facts::protocol::Protocol;
use reply::{NoReply, Reply};

/// Where such a conversation stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Xclient {
    about: About,
    stage: Stage,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Stage {
    /// Its greeting to us is due.
    Greeting,
    /// What it can do is due.
    Abilities,
    /// Its greeting to the client is due.
    Introduced,
    /// It has greeted the one we made up; what it offers to that one is due.
    Again(Vec<u8>),
}

impl Xclient {
    /// A conversation about the client of `about`.
    pub(super) fn new(about: About) -> Self {
        Self { about, stage: Stage::Greeting }
    }

    /// What comes next; `heard` is what the server has said and nobody has used.
    pub(super) fn turn(&mut self, heard: &mut Vec<u8>, purpose: Purpose) -> Turn {
        let reply = match Reply::read(heard) {
            Ok(Some(reply)) => reply,
            Ok(None) => return Turn::Hear(self.awaited()),
            Err(NoReply) => return unfit("does not speak SMTP", heard),
        };
        // Anyone who speaks before it is asked might have its next answer taken for another one.
        let is_asked = matches!(self.stage, Stage::Introduced) || reply.len == heard.len();
        let bytes: Vec<u8> = heard.drain(..reply.len).collect();
        if !is_asked {
            return unfit("speaks before it is asked", heard);
        }
        match &mut self.stage {
            Stage::Greeting if reply.code != 220 => unfit("does not greet us", &bytes),
            Stage::Greeting => {
                self.stage = Stage::Abilities;
                Turn::Say(self.hello())
            }
            Stage::Abilities => match reply.xclient() {
                Some(attributes) if attributes.iter().any(|name| name == "ADDR") => {
                    self.stage = Stage::Introduced;
                    Turn::Say(command(&attributes, &self.about))
                }
                Some(_) => unfit("takes no address in XCLIENT", &bytes),
                None => unfit("does not offer XCLIENT to us", &bytes),
            },
            Stage::Introduced => self.introduced(&reply, bytes, heard, purpose),
            Stage::Again(said) => match reply.xclient() {
                None => Turn::Ready(std::mem::take(said)),
                Some(_) => unfit(
                    "would let a client of no account say who it is: it offers XCLIENT to 192.0.2.1",
                    &bytes,
                ),
            },
        }
    }

    fn introduced(&mut self, reply: &Reply, bytes: Vec<u8>, heard: &mut Vec<u8>, purpose: Purpose) -> Turn {
        match (reply.code, purpose) {
            (220, Purpose::Client) => {
                let mut said = bytes;
                said.append(heard);
                Turn::Ready(said)
            }
            (220, Purpose::Proof) => {
                self.stage = Stage::Again(bytes);
                Turn::Say(self.hello())
            }
            // 5.7.0 and 5.7.14 are Postfix's and Dovecot's words for "not from you".
            (550, _) if reply.says("5.7.0") || reply.says("5.7.14") => {
                unfit("does not let us say who the client is", &bytes)
            }
            (500..=504, _) => Turn::Failed(Untold::Misunderstood { saw: Seen::new(&bytes).to_string() }),
            (400..=599, _) => Turn::Failed(Untold::TurnedAway(bytes)),
            _ => unfit("does not greet the client", &bytes),
        }
    }

    fn hello(&self) -> Vec<u8> {
        let word = if self.about.counter.protocol == Protocol::Lmtp { "LHLO" } else { "EHLO" };
        format!("{word} {}\r\n", self.about.counter.hostname).into_bytes()
    }

    fn awaited(&self) -> &'static str {
        match self.stage {
            Stage::Greeting => "greeting",
            Stage::Abilities | Stage::Again(_) => "answer to our EHLO",
            Stage::Introduced => "greeting to the client",
        }
    }
}

fn unfit(what: &'static str, saw: &[u8]) -> Turn {
    Turn::Failed(Untold::Unfit { what, saw: Seen::new(saw).to_string() })
}

/// The command, of what was announced.
fn command(announced: &[String], about: &About) -> Vec<u8> {
    let known = [
        ("PORT", about.client_port.map(|port| port.to_string())),
        ("DESTADDR", about.destination.map(|to| address(to.ip()))),
        ("DESTPORT", about.destination.filter(|to| to.port() != 0).map(|to| to.port().to_string())),
        ("SESSION", (!about.id.is_empty()).then(|| about.id.clone())),
        ("CLIENT-TRANSPORT", about.secure.then(|| "TLS".to_owned())),
        ("DESTNAME", about.asked_for.clone()),
        ("REVERSE_NAME", Some(UNAVAILABLE.to_owned())),
        ("NAME", Some(UNAVAILABLE.to_owned())),
        ("ADDR", Some(address(about.client))),
    ];
    let mut line = b"XCLIENT".to_vec();
    for (name, value) in known {
        if let Some(value) = value
            && announced.iter().any(|announced| announced == name)
        {
            line.push(b' ');
            line.extend_from_slice(name.as_bytes());
            line.push(b'=');
            xtext(&value, &mut line);
        }
    }
    line.extend_from_slice(b"\r\n");
    line
}

/// The word for "there is none".
const UNAVAILABLE: &str = "[UNAVAILABLE]";

/// An address as RFC 5321 4.1.3 has it, without the brackets.
fn address(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("IPV6:{ip}"),
    }
}

/// Printable ASCII as it is, but for `+` and `=`; everything else as `+` and two digits.
///
/// Source: RFC 3461 4
fn xtext(value: &str, line: &mut Vec<u8>) {
    for byte in value.bytes() {
        match byte {
            b'+' | b'=' => line.extend_from_slice(format!("+{byte:02X}").as_bytes()),
            b'!'..=b'~' => line.push(byte),
            _ => line.extend_from_slice(format!("+{byte:02X}").as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests;
