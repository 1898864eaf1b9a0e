//! Dialogues with the checks that proxies make, as data; then the same ones in pieces, and what is no dialogue at all.

use super::{Answer, Asker, BackendState, Reply, Then};
use crate::facts::protocol::Protocol;

const HOST: &str = "mx1.example.org";
const NO: &str = "this connection is the proxy's own, no mail is taken or given over it";

/// What one side says; `<` is the check, `>` is us. `{no}` stands for [`NO`].
struct Dialogue {
    name: &'static str,
    protocols: &'static [Protocol],
    lines: &'static [(char, &'static str)],
    ends: Then,
}

const DIALOGUES: &[Dialogue] = &[
    Dialogue {
        name: "HAProxy `option smtpchk EHLO lab.test`, 2.6 and 3.0, after its LOCAL header",
        protocols: &[Protocol::Smtp, Protocol::Submission],
        lines: &[
            ('>', "220 mx1.example.org ESMTP ready for the proxy's own connections"),
            ('<', "EHLO lab.test"),
            ('>', "250-mx1.example.org"),
            ('>', "250-PIPELINING"),
            ('>', "250 ENHANCEDSTATUSCODES"),
            ('<', "QUIT"),
            ('>', "221 2.0.0 mx1.example.org goodbye"),
        ],
        ends: Then::Close,
    },
    Dialogue {
        name: "HAProxy `option smtpchk` without arguments",
        protocols: &[Protocol::Smtp, Protocol::Submission],
        lines: &[
            ('>', "220 mx1.example.org ESMTP ready for the proxy's own connections"),
            ('<', "HELO localhost"),
            ('>', "250 mx1.example.org"),
            ('<', "QUIT"),
            ('>', "221 2.0.0 mx1.example.org goodbye"),
        ],
        ends: Then::Close,
    },
    Dialogue {
        name: "no mail is taken",
        protocols: &[Protocol::Smtp, Protocol::Submission],
        lines: &[
            ('>', "220 mx1.example.org ESMTP ready for the proxy's own connections"),
            ('<', "helo x"),
            ('>', "250 mx1.example.org"),
            ('<', "MAIL FROM:<a@example.com>"),
            ('>', "451 4.7.1 {no}"),
            ('<', "rcpt TO:<b@example.net>"),
            ('>', "451 4.7.1 {no}"),
            ('<', "DATA"),
            ('>', "502 5.5.1 {no}"),
            ('<', "AUTH PLAIN AGEAYg=="),
            ('>', "454 4.7.0 {no}"),
            ('<', "STARTTLS"),
            ('>', "502 5.5.1 {no}"),
            ('<', "LHLO x"),
            ('>', "502 5.5.1 {no}"),
            ('<', "NOOP"),
            ('>', "250 2.0.0 ok"),
            ('<', "RSET"),
            ('>', "250 2.0.0 ok"),
        ],
        ends: Then::GoOn,
    },
    Dialogue {
        name: "LMTP has its own hello and no other",
        protocols: &[Protocol::Lmtp],
        lines: &[
            ('>', "220 mx1.example.org LMTP ready for the proxy's own connections"),
            ('<', "EHLO x"),
            ('>', "502 5.5.1 {no}"),
            ('<', "HELO x"),
            ('>', "502 5.5.1 {no}"),
            ('<', "LHLO x"),
            ('>', "250-mx1.example.org"),
            ('>', "250-PIPELINING"),
            ('>', "250 ENHANCEDSTATUSCODES"),
            ('<', "MAIL FROM:<>"),
            ('>', "451 4.7.1 {no}"),
            ('<', "QUIT"),
            ('>', "221 2.0.0 mx1.example.org goodbye"),
        ],
        ends: Then::Close,
    },
    Dialogue {
        name: "IMAP: asked, not logged in, goodbye",
        protocols: &[Protocol::Imap],
        lines: &[
            (
                '>',
                "* OK [CAPABILITY IMAP4rev1 LOGINDISABLED] mx1.example.org ready for the proxy's own connections",
            ),
            ('<', "a1 capability"),
            ('>', "* CAPABILITY IMAP4rev1 LOGINDISABLED"),
            ('>', "a1 OK done"),
            ('<', "a2 NOOP"),
            ('>', "a2 OK done"),
            ('<', "a3 LOGIN bob secret"),
            ('>', "a3 NO [UNAVAILABLE] {no}"),
            ('<', "a4"),
            ('>', "a4 BAD a command is due"),
            ('<', "* NOOP"),
            ('>', "* BAD a tag and a command are due"),
            ('<', ". LOGOUT"),
            ('>', "* BYE goodbye"),
            ('>', ". OK done"),
        ],
        ends: Then::Close,
    },
    Dialogue {
        name: "POP3: asked, not logged in, goodbye",
        protocols: &[Protocol::Pop3],
        lines: &[
            ('>', "+OK mx1.example.org ready for the proxy's own connections"),
            ('<', "CAPA"),
            ('>', "+OK capabilities follow"),
            ('>', "PIPELINING"),
            ('>', "RESP-CODES"),
            ('>', "."),
            ('<', "NOOP"),
            ('>', "+OK"),
            ('<', "USER bob"),
            ('>', "-ERR [SYS/TEMP] {no}"),
            ('<', "quit"),
            ('>', "+OK goodbye"),
        ],
        ends: Then::Close,
    },
    Dialogue {
        name: "ManageSieve: asked, not logged in, goodbye",
        protocols: &[Protocol::ManageSieve],
        lines: &[
            ('>', "\"IMPLEMENTATION\" \"truepeer\""),
            ('>', "\"SASL\" \"\""),
            ('>', "\"SIEVE\" \"\""),
            ('>', "\"VERSION\" \"1.0\""),
            ('>', "OK \"mx1.example.org ready for the proxy's own connections\""),
            ('<', "Noop"),
            ('>', "OK \"done\""),
            ('<', "AUTHENTICATE \"PLAIN\""),
            ('>', "NO (TRYLATER) \"{no}\""),
            ('<', "CAPABILITY"),
            ('>', "\"IMPLEMENTATION\" \"truepeer\""),
            ('>', "\"SASL\" \"\""),
            ('>', "\"SIEVE\" \"\""),
            ('>', "\"VERSION\" \"1.0\""),
            ('>', "OK \"done\""),
            ('<', "LOGOUT"),
            ('>', "OK \"goodbye\""),
        ],
        ends: Then::Close,
    },
    Dialogue {
        name: "HTTP: HAProxy `option httpchk`",
        protocols: &[Protocol::Http],
        lines: &[
            ('<', "OPTIONS / HTTP/1.0"),
            ('<', ""),
            ('>', "HTTP/1.1 200 OK"),
            ('>', "Content-Type: text/plain; charset=utf-8"),
            ('>', "Content-Length: 54"),
            ('>', "Cache-Control: no-store"),
            ('>', "Connection: close"),
            ('>', ""),
            ('>', "mx1.example.org ready for the proxy's own connections\n"),
        ],
        ends: Then::Close,
    },
    Dialogue {
        name: "HTTP: HEAD has no body",
        protocols: &[Protocol::Http],
        lines: &[
            ('<', "HEAD /healthz HTTP/1.1"),
            ('<', "Host: x"),
            ('<', "User-Agent: check"),
            ('<', ""),
            ('>', "HTTP/1.1 200 OK"),
            ('>', "Content-Type: text/plain; charset=utf-8"),
            ('>', "Content-Length: 54"),
            ('>', "Cache-Control: no-store"),
            ('>', "Connection: close"),
            ('>', ""),
        ],
        ends: Then::Close,
    },
    Dialogue {
        name: "HTTP: nothing is taken",
        protocols: &[Protocol::Http],
        lines: &[
            ('<', "POST / HTTP/1.1"),
            ('<', "Content-Length: 3"),
            ('<', ""),
            ('>', "HTTP/1.1 405 Method Not Allowed"),
            ('>', "Content-Type: text/plain; charset=utf-8"),
            ('>', "Content-Length: 70"),
            ('>', "Cache-Control: no-store"),
            ('>', "Allow: GET, HEAD, OPTIONS"),
            ('>', "Connection: close"),
            ('>', ""),
            ('>', "{no}\n"),
        ],
        ends: Then::Close,
    },
    Dialogue {
        name: "HTTP: an HTTP/2 preface is refused in HTTP/1",
        protocols: &[Protocol::Http],
        lines: &[
            ('<', "PRI * HTTP/2.0"),
            ('>', "HTTP/1.1 400 Bad Request"),
            ('>', "Content-Type: text/plain; charset=utf-8"),
            ('>', "Content-Length: 25"),
            ('>', "Cache-Control: no-store"),
            ('>', "Connection: close"),
            ('>', ""),
            ('>', "an HTTP/1 request is due\n"),
        ],
        ends: Then::Close,
    },
];

fn reachable(protocol: Protocol) -> Answer {
    Answer::new(protocol, HOST, BackendState::Reachable, Asker::Proxy)
}

/// Everything that one side of a dialogue says. A line that brings its own LF (a page's) gets no CRLF.
fn side(dialogue: &Dialogue, who: char) -> String {
    let lines = dialogue.lines.iter().filter(|(by, _)| *by == who);
    lines
        .map(|(_, line)| line.replace("{no}", NO))
        .map(|line| if line.ends_with('\n') { line } else { format!("{line}\r\n") })
        .collect()
}

fn hold(answer: &mut Answer, pieces: &[&[u8]]) -> (String, Then) {
    let mut said = answer.greeting().unwrap_or_default();
    let mut then = answer.after_greeting();
    for piece in pieces {
        let reply = answer.receive(piece);
        said.extend(reply.bytes);
        then = reply.then;
    }
    (String::from_utf8(said).unwrap(), then)
}

#[test]
fn dialogues_in_turns_pipelined_and_in_pieces_end_alike() {
    for dialogue in DIALOGUES {
        let (asked, expected) = (side(dialogue, '<'), (side(dialogue, '>'), dialogue.ends));
        for protocol in dialogue.protocols {
            let name = dialogue.name;
            let turns: Vec<&[u8]> = asked.split_inclusive('\n').map(str::as_bytes).collect();
            assert_eq!(hold(&mut reachable(*protocol), &turns), expected, "{protocol}: {name}, in turns");
            assert_eq!(hold(&mut reachable(*protocol), &[asked.as_bytes()]), expected, "{name}, pipelined");
            let bytes: Vec<&[u8]> = asked.as_bytes().chunks(1).collect();
            assert_eq!(hold(&mut reachable(*protocol), &bytes), expected, "{name}, byte by byte");
            for at in 1..asked.len() {
                let (head, tail) = asked.as_bytes().split_at(at);
                assert_eq!(hold(&mut reachable(*protocol), &[head, tail]), expected, "{name}, split at {at}");
            }
        }
    }
}

#[test]
fn each_question_is_answered_at_once_not_with_the_next_one() {
    for dialogue in DIALOGUES {
        for protocol in dialogue.protocols {
            let mut answer = reachable(*protocol);
            let mut said = String::from_utf8(answer.greeting().unwrap_or_default()).unwrap();
            for (who, line) in dialogue.lines {
                let line = line.replace("{no}", NO);
                if *who == '<' {
                    assert_eq!(said, "", "{}: unexpected before {line:?}", dialogue.name);
                    said = String::from_utf8(answer.receive(format!("{line}\r\n").as_bytes()).bytes).unwrap();
                } else {
                    let line = if line.ends_with('\n') { line } else { format!("{line}\r\n") };
                    said = said
                        .strip_prefix(&line)
                        .map(str::to_owned)
                        .unwrap_or_else(|| panic!("{}: expected {line:?}, got {said:?}", dialogue.name));
                }
            }
            assert_eq!(said, "", "{}", dialogue.name);
        }
    }
}

#[test]
fn a_lost_backend_is_heard_as_clients_hear_it_and_ends_the_connection() {
    let sentence = "no server is ready for you now, try again later";
    for (protocol, expected) in [
        (Protocol::Smtp, format!("421 4.3.2 {HOST} {sentence}\r\n")),
        (Protocol::Submission, format!("421 4.3.2 {HOST} {sentence}\r\n")),
        (Protocol::Lmtp, format!("421 4.3.2 {HOST} {sentence}\r\n")),
        (Protocol::Imap, format!("* BYE [UNAVAILABLE] {sentence}\r\n")),
        (Protocol::Pop3, format!("-ERR [SYS/TEMP] {sentence}\r\n")),
        (Protocol::ManageSieve, format!("BYE (TRYLATER) \"{sentence}\"\r\n")),
        (Protocol::Tcp, String::new()),
    ] {
        let mut answer = Answer::new(protocol, HOST, BackendState::Unreachable, Asker::Proxy);
        assert_eq!(hold(&mut answer, &[]), (expected, Then::Close), "{protocol}");
        let late = answer.receive(b"QUIT\r\n");
        assert_eq!(late, Reply { bytes: Vec::new(), then: Then::Close }, "{protocol}");
    }
    let mut http = Answer::new(Protocol::Http, HOST, BackendState::Unreachable, Asker::Proxy);
    assert_eq!((http.greeting(), http.after_greeting()), (None, Then::GoOn));
    let reply = http.receive(b"GET / HTTP/1.1\r\n");
    assert!(reply.bytes.starts_with(b"HTTP/1.1 503 Service Unavailable\r\n"), "{reply:?}");
    assert_eq!(reply.then, Then::Close);
    assert_eq!(http.receive(b"\r\n"), Reply { bytes: Vec::new(), then: Then::Close });
}

#[test]
fn nothing_is_answered_behind_the_goodbye() {
    for (protocol, goodbye) in [
        (Protocol::Smtp, "QUIT\r\n"),
        (Protocol::Lmtp, "QUIT\r\n"),
        (Protocol::Imap, "a LOGOUT\r\n"),
        (Protocol::Pop3, "QUIT\r\n"),
        (Protocol::ManageSieve, "LOGOUT\r\n"),
        (Protocol::Http, "GET / HTTP/1.1\r\n\r\n"),
    ] {
        let alone = hold(&mut reachable(protocol), &[goodbye.as_bytes()]);
        let more = format!("{goodbye}MAIL FROM:<a@example.com>\r\na NOOP\r\n");
        let mut answer = reachable(protocol);
        assert_eq!(hold(&mut answer, &[more.as_bytes()]), alone, "{protocol}");
        assert_eq!(answer.receive(b"a NOOP\r\n"), Reply { bytes: Vec::new(), then: Then::Close });
    }
}

#[test]
fn garbage_and_nul_are_refused_and_never_repeated() {
    let clear = "502 5.5.1 ";
    for (protocol, garbage, start) in [
        (Protocol::Smtp, &b"\x16\x03\x01\x02\0\x01\n"[..], clear),
        (Protocol::Smtp, b"\r\n", clear),
        (Protocol::Smtp, b"EHLO\0 x\r\n", clear),
        (Protocol::Smtp, b"QUIT\0\r\n", clear),
        (Protocol::Smtp, b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", clear),
        (Protocol::Lmtp, b"\xff\xfe\r\n", clear),
        (Protocol::Imap, b"\0 NOOP\r\n", "* BAD "),
        (Protocol::Imap, b"\x1b[31m NOOP\r\n", "* BAD "),
        (Protocol::Imap, b"\r\n", "* BAD "),
        (Protocol::Imap, b"a\xff NOOP\r\n", "* BAD "),
        (Protocol::Imap, b"a NOOP\0\r\n", "a NO "),
        (Protocol::Pop3, b"\0\0\0\r\n", "-ERR "),
        (Protocol::ManageSieve, b"\"\\\0\r\n", "NO \""),
        (Protocol::Http, b"\x16\x03\x01 x y\n", "HTTP/1.1 400 "),
        (Protocol::Http, b"GET  HTTP/1.1\r\n", "HTTP/1.1 400 "),
        (Protocol::Http, b"GET / HTTP/1.1 x\r\n", "HTTP/1.1 400 "),
        (Protocol::Http, b"get / HTTP/1.1\r\n", "HTTP/1.1 400 "),
    ] {
        let reply = reachable(protocol).receive(garbage);
        let text = String::from_utf8(reply.bytes).unwrap();
        assert!(text.starts_with(start), "{protocol} {garbage:?}: {text:?}");
        assert!(text.bytes().all(|b| b == b'\r' || b == b'\n' || (b' '..=b'~').contains(&b)), "{text:?}");
    }
    let long = format!("{} NOOP\r\n", "t".repeat(65));
    let reply = reachable(Protocol::Imap).receive(long.as_bytes());
    assert!(reply.bytes.starts_with(b"* BAD "), "{reply:?}");
}

#[test]
fn each_bound_ends_the_dialogue_with_a_word() {
    for (protocol, command, last) in [
        (Protocol::Smtp, "NOOP", format!("421 4.7.0 {HOST} {{}}\r\n")),
        (Protocol::Submission, "NOOP", format!("421 4.7.0 {HOST} {{}}\r\n")),
        (Protocol::Lmtp, "NOOP", format!("421 4.7.0 {HOST} {{}}\r\n")),
        (Protocol::Imap, "a NOOP", "* BYE {}\r\n".to_owned()),
        (Protocol::Pop3, "NOOP", "-ERR {}\r\n".to_owned()),
        (Protocol::ManageSieve, "NOOP", "BYE \"{}\"\r\n".to_owned()),
    ] {
        let long = "x".repeat(Answer::MAX_LINE + 1);
        let commands = format!("{command}\r\n").repeat(usize::try_from(Answer::MAX_COMMANDS).unwrap() + 1);
        let wide = format!("{command} {}\r\n", "x".repeat(1000)).repeat(Answer::MAX_BYTES / 1000 + 1);
        for (asked, why) in
            [(&long, "line too long"), (&commands, "too many commands"), (&wide, "too many bytes")]
        {
            let reply = reachable(protocol).receive(asked.as_bytes());
            let text = String::from_utf8(reply.bytes).unwrap();
            assert_eq!(reply.then, Then::Close, "{protocol}: {why}");
            assert!(text.ends_with(&last.replace("{}", why)), "{protocol}: {why}: {text}");
            // The same byte by byte: no bound depends on how the bytes come.
            let mut slow = reachable(protocol);
            let bytes: Vec<u8> = asked.bytes().flat_map(|byte| slow.receive(&[byte]).bytes).collect();
            assert_eq!(String::from_utf8(bytes).unwrap(), text, "{protocol}: {why}");
        }
    }
    let fields = format!("GET / HTTP/1.1\r\n{}", "A: b\r\n".repeat(64));
    for asked in [fields, format!("GET /{} HTTP/1.1\r\n", "x".repeat(Answer::MAX_LINE))] {
        let reply = reachable(Protocol::Http).receive(asked.as_bytes());
        assert!(reply.bytes.starts_with(b"HTTP/1.1 431 "), "{reply:?}");
        assert_eq!(reply.then, Then::Close);
    }
}

#[test]
fn an_unknown_protocol_is_listened_to_in_silence_up_to_the_bound() {
    let mut answer = reachable(Protocol::Tcp);
    assert_eq!((answer.greeting(), answer.after_greeting()), (None, Then::GoOn));
    let bytes = vec![b'x'; Answer::MAX_BYTES];
    assert_eq!(answer.receive(&bytes), Reply { bytes: Vec::new(), then: Then::GoOn });
    assert_eq!(answer.receive(b"x"), Reply { bytes: Vec::new(), then: Then::Close });
}

#[test]
fn a_flood_of_commands_brings_no_more_than_the_stated_answer() {
    for protocol in Protocol::ALL {
        for command in ["EHLO\n", "LHLO\n", "a CAPABILITY\n", "CAPA\n", "CAPABILITY\n", "\n"] {
            let asked = command.repeat(Answer::MAX_BYTES / command.len());
            let reply = reachable(protocol).receive(asked.as_bytes());
            assert!(reply.bytes.len() <= 16 * 1024, "{protocol} {command:?}: {}", reply.bytes.len());
        }
    }
}
