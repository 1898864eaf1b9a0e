//! What each opening means to a port that expects a header: one row each.

use truepeer_proto::decode;

use super::{Advice, Opening};
use crate::change::{CHECKS, SEND, WHOLE};
use crate::fault;
use crate::{Class, Confidence, Side};

/// The row of `opening`; none for a whole header.
pub(crate) fn of(opening: Opening, bytes: &[u8]) -> Option<Advice> {
    use Confidence::{Certain, Likely, Possible};
    let miss = |cause, change| row(Class::Miss, Side::Front, cause, change, Certain);
    Some(match opening {
        Opening::Header => return None,
        Opening::Nothing => row(
            Class::Mix,
            Side::Front,
            "the peer connected and closed without a byte: a TCP health check that sends no header",
            CHECKS,
            Likely,
        ),
        Opening::HeaderPiece => row(
            Class::Unex,
            Side::Front,
            "a header came in pieces, and the receiver looks at the first piece only",
            WHOLE,
            Likely,
        ),
        Opening::BrokenHeader => broken(bytes),
        Opening::Tls => miss(
            "TLS came where a header was due: the proxy passes TLS through without a header, or the client came without the proxy",
            SEND,
        ),
        Opening::Http => row(
            Class::Miss,
            Side::Front,
            "HTTP came where a header was due: the proxy speaks HTTP to this port without a header, or a client came without the proxy",
            SEND,
            Certain,
        ),
        Opening::HttpCheck => row(
            Class::Mix,
            Side::Front,
            "a health check, or the check of a certificate client, reached this port without a header",
            CHECKS,
            Certain,
        ),
        Opening::Smtp | Opening::Imap | Opening::Pop3 | Opening::ManageSieve => miss(
            "a mail client's command came where a header was due: the proxy sends no header, or the client came without the proxy",
            SEND,
        ),
        Opening::Greeting => row(
            Class::Dir,
            Side::Both,
            "a server's greeting came where a header was due: the connection is the wrong way round, or the port of a server was named as that of a client",
            "compare the two addresses: the proxy connects to the port that expects the header, and speaks first",
            Likely,
        ),
        Opening::Unknown => {
            row(Class::Miss, Side::Front, "bytes that are no header came where one was due", SEND, Possible)
        }
        Opening::Http2
        | Opening::Ssh
        | Opening::Sip
        | Opening::Rtsp
        | Opening::Mqtt
        | Opening::Amqp
        | Opening::Postgresql
        | Opening::Redis
        | Opening::Minecraft
        | Opening::Rdp
        | Opening::Ldap
        | Opening::Socks
        | Opening::Mongodb => miss(
            "a client's own protocol came where a header was due: the proxy sends no header, or the client came without the proxy",
            SEND,
        ),
    })
}

/// What breaks a header, as far as the bytes tell.
fn broken(bytes: &[u8]) -> Advice {
    let fault = decode(bytes).err().and_then(|wrong| fault::of(&wrong, bytes));
    match fault {
        Some(fault) => row(fault.class, Side::Front, fault.cause, fault.change, Confidence::Certain),
        None => row(
            Class::Unex,
            Side::Front,
            "the header is malformed",
            "`truepeer explain` shows the byte that is wrong; update the sender, or let it send version 2",
            Confidence::Likely,
        ),
    }
}

const fn row(
    class: Class,
    side: Side,
    cause: &'static str,
    change: &'static str,
    confidence: Confidence,
) -> Advice {
    Advice { class, side, cause, change, confidence }
}
