//! What a server says first when it takes a header for its own protocol.
//!
//! Asked with the first bytes that a server had for a client, behind a header of which it is not known whether the
//! server reads it. The rows of NGINX (HTTP/1 and HTTP/2), OpenSSH, MariaDB and Redis are as these programs answer; the
//! others are what their protocols prescribe for a first message that is none. What could as well be an answer to the
//! client is none.

use truepeer_proto::V2_SIGNATURE;

/// Whether the client had said anything before the server did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    /// Not a byte: what the server says about the client's words is about the header.
    Silent,
    /// It had: only what is said of headers counts.
    Spoke,
}

/// What `heard`, the first bytes of a server, shows of it, in words that go on with "it"; `None` if that is nothing.
#[must_use]
pub fn of(heard: &[u8], client: Client) -> Option<&'static str> {
    let found =
        SHAPES.iter().find(|shape| (shape.is)(heard) && (client == Client::Silent || shape.of_headers));
    found.map(|shape| shape.what)
}

/// Whether nothing of a server that follows `heard` can change what it shows: then nobody has to listen any longer.
///
/// What begins as none of the protocols does that the rows are about is no answer of theirs; and of HTTP/1 and TLS the
/// first bytes say all. Where a greeting comes first, the answer to a header may follow it.
#[must_use]
pub fn is_settled(heard: &[u8]) -> bool {
    match heard {
        [b'H', b'T', b'T', b'P', b'/', b'1', ..] => heard.len() >= "HTTP/1.1 400".len(),
        [TLS_HANDSHAKE, 3, ..] => true,
        [TLS_ALERT, 3, ..] => heard.len() >= 7,
        [..] => heard.len() >= TELLING && !OPENINGS.iter().any(|opens| opens(heard)),
    }
}

/// The first bytes of TLS records.
const TLS_ALERT: u8 = 0x15;
const TLS_HANDSHAKE: u8 = 0x16;

/// So many bytes say which protocol a server speaks.
const TELLING: usize = 5;

/// How the protocols begin of which there are rows, greetings of their servers included.
const OPENINGS: &[fn(&[u8]) -> bool] = &[
    // Replies of SMTP and FTP, of POP3 and Redis, of IMAP; a page.
    |heard| matches!(heard, [b'0'..=b'9' | b'+' | b'-' | b'*' | b'<', ..]),
    |heard| WORDS.iter().any(|word| heard.starts_with(word)),
    // Frames of HTTP/2, which are short, and packets of MariaDB and MySQL.
    |heard| matches!(heard, [0, ..] | [_, _, _, 0..=2, 9 | 10 | 0xff, ..]),
    // An error of PostgreSQL, which is short.
    |heard| matches!(heard, [b'E', 0, ..]),
    // Our header as an echo.
    |heard| heard.starts_with(b"\r\n\r\n\0"),
];

const WORDS: &[&[u8]] =
    &[b"PROXY", b"HTTP/", b"SSH-", b"Proto", b"Inval", b"AMQP", b"SIP/2", b"RTSP/", b"ERROR"];

/// Whether a server says that it keeps this host out for connections that did not log in, as MariaDB and MySQL do after
/// `max_connect_errors` of them: error 1129, its only packet.
#[must_use]
pub fn is_locked_out(heard: &[u8]) -> bool {
    const ERROR_1129: [u8; 3] = [0xff, 0x69, 0x04];
    heard.get(4..7) == Some(&ERROR_1129) && contains(heard, b"is blocked because of many connection errors")
}

/// One way to misread.
struct Shape {
    is: fn(&[u8]) -> bool,
    what: &'static str,
    /// Whether it means a header, or is no more likely to mean anything else, where a client has spoken, too.
    of_headers: bool,
}

/// The first that fits is said.
const SHAPES: &[Shape] = &[
    Shape {
        is: |heard| heard.starts_with(b"PROXY TCP") || heard.starts_with(&V2_SIGNATURE),
        what: "sent our header back, as an echo",
        of_headers: true,
    },
    Shape {
        is: |heard| matches!(status(heard), Some(400 | 501 | 505)) || is_page_of_400(heard),
        what: "answered as a web server does that takes a header for a request (400, 501 or 505)",
        of_headers: true,
    },
    Shape {
        is: is_http2_goaway,
        what: "ended HTTP/2 with a protocol error, as it does behind a preface that is none",
        of_headers: true,
    },
    Shape {
        is: is_tls_alert,
        what: "sent a TLS alert, as a server does that takes a header for a TLS record",
        of_headers: true,
    },
    Shape {
        is: |heard| {
            contains(heard, b"Invalid SSH identification string") || contains(heard, b"Protocol mismatch.")
        },
        what: "found no SSH identification where our header was",
        of_headers: true,
    },
    Shape {
        is: |heard| contains(heard, b"Proxy header is not accepted"),
        what: "said that it accepts no header from this host (`proxy-protocol-networks` of MariaDB)",
        of_headers: true,
    },
    Shape {
        is: |heard| contains(heard, b"#08S01") || contains(heard, b"packets out of order"),
        what: "said that packets are out of order, as MariaDB and MySQL do that take a header for one",
        of_headers: true,
    },
    Shape {
        is: |heard| heard.first() == Some(&b'E') && contains(heard, b"FATAL") && contains(heard, b"C08P01"),
        what: "spoke of a protocol violation, as PostgreSQL does that takes a header for a startup packet",
        of_headers: true,
    },
    Shape {
        is: |heard| heard.starts_with(b"AMQP"),
        what: "sent its own AMQP header, as it does to anyone who begins with another",
        of_headers: true,
    },
    Shape {
        is: |heard| heard.starts_with(b"SIP/2.0 400") || heard.starts_with(b"RTSP/1.0 400"),
        what: "answered 400, as a SIP or RTSP server does that takes a header for a request",
        of_headers: true,
    },
    Shape {
        is: |heard| line_starts(heard).any(|line| line.starts_with(b"PROXY ")),
        what: "took the word PROXY for a tag or a command",
        of_headers: true,
    },
    Shape {
        is: |heard| line_starts(heard).any(is_text_error),
        what: "answered with an error before the client had said anything",
        of_headers: false,
    },
];

fn contains(heard: &[u8], words: &[u8]) -> bool {
    // A searcher made for each question would cost more than what is searched, which is short.
    let Some(first) = words.first() else { return true };
    memchr::memchr_iter(*first, heard).any(|at| heard.get(at..).is_some_and(|rest| rest.starts_with(words)))
}

/// What stands behind each beginning of a line, which may be looked for; further lines follow it.
fn line_starts(heard: &[u8]) -> impl Iterator<Item = &[u8]> {
    let starts = std::iter::once(0).chain(memchr::memchr_iter(b'\n', heard).map(|end| end.saturating_add(1)));
    starts.filter_map(|start| heard.get(start..))
}

/// An error of SMTP and FTP about a command, of POP3 and Redis, of IMAP, of memcached.
fn is_text_error(line: &[u8]) -> bool {
    const WORDS: &[&[u8]] = &[b"500", b"501", b"502", b"503", b"554 5.5.", b"-ERR", b"* BAD", b"ERROR"];
    WORDS.iter().any(|word| line.starts_with(word))
}

fn status(heard: &[u8]) -> Option<u16> {
    let rest = heard.strip_prefix(b"HTTP/1.")?;
    std::str::from_utf8(rest.get(2..5)?).ok()?.parse().ok()
}

/// A page without a status line, which servers send to requests that name no version.
fn is_page_of_400(heard: &[u8]) -> bool {
    heard.starts_with(b"<") && contains(heard, b"400 Bad Request")
}

/// Source: RFC 9113, 4.1 (frames), 6.8 (GOAWAY), 7 (error codes).
fn is_http2_goaway(heard: &[u8]) -> bool {
    const GOAWAY: u8 = 0x07;
    const SETTINGS: u8 = 0x04;
    const PROTOCOL_ERROR: [u8; 4] = [0, 0, 0, 1];
    let mut rest = heard;
    // A server begins with its settings; more frames than that come before no such end.
    for _ in 0..4 {
        let [high, mid, low, kind, _flags, 0, 0, 0, 0, body @ ..] = rest else { return false };
        let len = usize::from(*high) << 16 | usize::from(*mid) << 8 | usize::from(*low);
        if *kind == GOAWAY {
            return body.get(4..8) == Some(&PROTOCOL_ERROR);
        }
        if !matches!(*kind, SETTINGS | 0x08) {
            return false;
        }
        let Some(next) = body.get(len..) else { return false };
        rest = next;
    }
    false
}

/// Alerts about a record that is none. Those about certificates, names and ciphers answer a true ClientHello.
/// Source: RFC 8446, 5.1 (records), 6 (alerts).
fn is_tls_alert(heard: &[u8]) -> bool {
    const UNEXPECTED_MESSAGE: u8 = 10;
    const RECORD_OVERFLOW: u8 = 22;
    const DECODE_ERROR: u8 = 50;
    const PROTOCOL_VERSION: u8 = 70;
    matches!(
        heard,
        [
            TLS_ALERT,
            3,
            0..=4,
            0,
            2,
            1 | 2,
            UNEXPECTED_MESSAGE | RECORD_OVERFLOW | DECODE_ERROR | PROTOCOL_VERSION,
            ..
        ]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_that_take_a_header_for_their_own_protocol_show_it() {
        let goaway = b"\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x64\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\x01";
        for (heard, said) in [
            (&b"HTTP/1.1 400 Bad Request\r\nServer: nginx\r\n"[..], "for a request"),
            (b"HTTP/1.0 501 Unsupported method ('PROXY')\r\n", "for a request"),
            (b"<html>\r\n<head><title>400 Bad Request</title></head>\r\n", "for a request"),
            (goaway, "HTTP/2"),
            (b"\x15\x03\x03\x00\x02\x02\x46", "TLS alert"),
            (b"\x15\x03\x01\x00\x02\x02\x16", "TLS alert"),
            (b"SSH-2.0-OpenSSH_9.2\r\nInvalid SSH identification string.\r\n", "SSH identification"),
            (b"\x21\0\0\x01\xff\x84\x04#08S01Got packets out of order", "out of order"),
            (b"d\0\0\0\x0a5.5.5-10.11.19-MariaDB\0\x34\0\0\x01\xffj\x04#HY000Proxy header is not accepted from 192.0.2.1", "no header from this host"),
            (b"E\0\0\0\x8bSFATAL\0VFATAL\0C08P01\0Minvalid length of startup packet\0", "PostgreSQL"),
            (b"AMQP\0\0\x09\x01", "AMQP"),
            (b"* OK ready\r\nPROXY BAD Error in IMAP command\r\n", "word PROXY"),
            (b"PROXY TCP4 203.0.113.7 198.51.100.25 4711 25\r\n", "echo"),
        ] {
            for client in [Client::Silent, Client::Spoke] {
                let found = of(heard, client).unwrap_or_default();
                assert!(found.contains(said), "{found:?} for {}", heard.escape_ascii());
                assert_listened_to_long_enough(heard, client);
            }
        }
        for heard in [
            &b"220 ready\r\n500 5.5.2 Error: bad syntax\r\n"[..],
            b"502 5.5.2 Error: command not recognized\r\n",
            b"-ERR unknown command 'PROXY'\r\n",
            b"220 FTP\r\n500 'PROXY': command not understood.\r\n",
            b"ERROR\r\n",
        ] {
            assert!(of(heard, Client::Silent).is_some(), "{}", heard.escape_ascii());
            assert_listened_to_long_enough(heard, Client::Silent);
            assert_eq!(of(heard, Client::Spoke), None, "the client's words may be meant");
        }
    }

    /// Whoever stops listening to `heard` where it is said to be settled has found what the whole shows.
    fn assert_listened_to_long_enough(heard: &[u8], client: Client) {
        for len in (0..=heard.len()).filter(|len| is_settled(&heard[..*len])) {
            let (begin, whole) = (of(&heard[..len], client), of(heard, client));
            assert_eq!(begin, whole, "{len} bytes of {}", heard.escape_ascii());
        }
    }

    #[test]
    fn a_server_of_another_protocol_is_not_listened_to_for_long() {
        for (heard, enough) in [
            (&b"\x16\x03\x03\0\x7a\x02"[..], 2),
            (b"\x15\x03\x03\x00\x02\x02\x70", 7),
            (b"HTTP/1.1 200 OK\r\n", 12),
            (b"E0000000000000000000000000000000000000000000000000000000000000001", 5),
            (b"\x83\0\0\x01\x8f", 5),
        ] {
            let settled = (0..=heard.len()).find(|len| is_settled(&heard[..*len]));
            assert_eq!(settled, Some(enough), "{}", heard.escape_ascii());
            assert_listened_to_long_enough(heard, Client::Silent);
        }
        for heard in
            [&b"220 mx.example ESMTP\r\n"[..], b"+OK\r\n", b"* OK ready\r\n", b"SSH-2.0-OpenSSH_9.2\r\n"]
        {
            assert!(!is_settled(heard), "an error may follow {}", heard.escape_ascii());
        }
    }

    #[test]
    fn a_host_that_is_locked_out_is_told_by_its_error() {
        let error = b"\x6a\0\0\0\xff\x69\x04Host '192.0.2.1' is blocked because of many connection errors; unblock with";
        assert!(is_locked_out(error));
        assert_eq!(of(error, Client::Silent), None, "it says nothing of headers");
        assert!(!(0..error.len()).any(|len| is_settled(&error[..len])));
        // A page about it is none.
        assert!(!is_locked_out(
            b"HTTP/1.1 200 OK\r\n\r\nHost '192.0.2.1' is blocked because of many connection errors"
        ));
    }

    #[test]
    fn what_servers_say_to_clients_shows_nothing() {
        for heard in [
            &b""[..],
            b"HTTP/1.1 200 OK\r\n",
            b"HTTP/1.1 404 Not Found\r\n",
            b"220 mx.example ESMTP\r\n",
            b"421 4.7.0 too many connections\r\n",
            b"\x16\x03\x03\0\x7a\x02",
            // Handshake failure, and a name that is not known.
            b"\x15\x03\x03\x00\x02\x02\x28",
            b"\x15\x03\x03\x00\x02\x02\x70",
            b"SSH-2.0-OpenSSH_9.2\r\n",
            b"\x4a\0\0\0\x0a10.11.6-MariaDB\0",
            b"\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x64",
            b"\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\0",
            b"E",
        ] {
            assert_eq!(of(heard, Client::Silent), None, "{}", heard.escape_ascii());
        }
    }
}
