//! What each opening means to a port that expects a header: one row each.

use super::{Advice, Opening};
use crate::change::{CHECKS, SEND, WHOLE};
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
            "switch the PROXY protocol on at the proxy for this port (HAProxy: `send-proxy-v2` on the server line; nginx: `proxy_protocol on;`); the header goes before the TLS bytes",
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
    use Confidence::{Certain, Likely};
    let front = |class, cause, change| row(class, Side::Front, cause, change, Certain);
    let line = bytes.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
    let text = std::str::from_utf8(line).unwrap_or_default();
    let words: Vec<_> = text.split(' ').collect();
    if text.starts_with("proxy") || text.starts_with("Proxy") {
        return front(
            Class::Syn,
            "the word PROXY is not in capital letters",
            "write `PROXY TCP4 ...` in capitals, with single spaces and \\r\\n at the end",
        );
    }
    if let [_, family, source, destination, ..] = words[..] {
        let v6 = |addr: &str| addr.contains(':');
        if v6(source) != v6(destination) {
            return front(
                Class::Fam,
                "the header has one IPv4 and one IPv6 address, and no family holds both (nginx stream writes that after `set_real_ip_from`)",
                "give the proxy a listener of each family: `listen 25;` and `listen [::]:25 ipv6only=on;`, or let truepeer rewrite the header",
            );
        }
        if v6(source) != (family == "TCP6") {
            return front(
                Class::Fam,
                "the family and the addresses of the header disagree: TCP4 has IPv4 addresses, TCP6 IPv6 ones",
                "update the sender, or let it send version 2",
            );
        }
    }
    if bytes.get(line.len()) == Some(&b'\n') {
        return front(
            Class::Syn,
            "the line ends in LF alone, as checks written by hand do",
            "end it with \\r\\n: `printf 'PROXY TCP4 192.0.2.1 192.0.2.2 4711 25\\r\\n'`",
        );
    }
    row(
        Class::Unex,
        Side::Front,
        "the header is malformed",
        "`truepeer explain` shows the byte that is wrong; update the sender, or let it send version 2",
        Likely,
    )
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
