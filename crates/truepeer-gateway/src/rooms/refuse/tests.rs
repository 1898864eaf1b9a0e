//! Exact bytes for each reason in each protocol, and what holds for all of them.

use std::fmt::Write as _;
use std::path::Path;

use super::{Permanence, Reason, Refusal, RefusalText, refuse};
use crate::facts::protocol::Protocol;

const CLIENT: &str = "203.0.113.7";

fn spoken(protocol: Protocol, why: Reason) -> String {
    spoken_by(protocol, why, "mx1.example.org", Some(CLIENT))
}

fn spoken_by(protocol: Protocol, why: Reason, hostname: &str, client: Option<&str>) -> String {
    let client = client.map(|client| client.parse().unwrap());
    let bytes = refuse(protocol, &Refusal { why, hostname, client, text: None }).unwrap_or_default();
    String::from_utf8(bytes).unwrap()
}

fn with_text(protocol: Protocol, why: Reason, hostname: &str, client: Option<&str>, text: &str) -> String {
    let (client, text) = (client.map(|client| client.parse().unwrap()), RefusalText::parse(text).unwrap());
    let refusal = Refusal { why, hostname, client, text: Some(&text) };
    String::from_utf8(refuse(protocol, &refusal).unwrap_or_default()).unwrap()
}

#[test]
fn what_the_operator_adds_stands_behind_the_reason_in_each_protocol() {
    let said = "connections from 203.0.113.7 are not accepted here; see https://mx.example/?ip=203.0.113.7";
    for (protocol, line) in [
        (Protocol::Smtp, format!("554 5.7.1 h {said}\r\n")),
        (Protocol::Submission, format!("554 5.7.1 h {said}\r\n")),
        (Protocol::Lmtp, format!("554 5.7.1 h {said}\r\n")),
        (Protocol::Imap, format!("* BYE [ALERT] {said}\r\n")),
        (Protocol::Pop3, format!("-ERR [SYS/PERM] {said}\r\n")),
        (Protocol::ManageSieve, format!("BYE \"{said}\"\r\n")),
    ] {
        let text = "see https://mx.example/?ip={client}";
        assert_eq!(
            with_text(protocol, Reason::Denied, "h", Some("::ffff:203.0.113.7"), text),
            line,
            "{protocol}"
        );
    }
    let http =
        with_text(Protocol::Http, Reason::Denied, "h", Some(CLIENT), "see https://mx.example/?ip={client}");
    assert!(
        http.ends_with(&format!(
            "Content-Length: {}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n{said}\n",
            said.len() + 1
        )),
        "{http}"
    );
    let own = with_text(Protocol::Smtp, Reason::BackendUnavailable, "h", None, "{client} may call us");
    assert_eq!(
        own,
        "421 4.3.2 h no server is ready for you now, try again later; your address may call us\r\n"
    );
    assert_eq!(with_text(Protocol::Tcp, Reason::Denied, "h", Some(CLIENT), "x"), "");
}

#[test]
fn the_longest_text_fits_a_line_of_smtp() {
    let longest = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe";
    let (host, text) = ("a".repeat(300), format!("{{client}}{{client}}{{client}}{}", "x".repeat(33)));
    for why in Reason::ALL {
        for protocol in Protocol::ALL.into_iter().filter(|protocol| protocol.is_mail()) {
            let line = with_text(protocol, why, &host, Some(longest), &text);
            assert!(line.len() <= 512, "{} bytes: {line}", line.len());
        }
    }
}

#[test]
fn documented_lines_are_those_of_the_program() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/refusals.md");
    let written = std::fs::read_to_string(&path).unwrap();
    let (begin, end) = ("<!-- generated: refusals -->\n", "<!-- end: refusals -->");
    let (before, rest) = written.split_once(begin).unwrap();
    let (_, after) = rest.split_once(end).unwrap();
    let mut table = "| protocol | why | what the client hears |\n|---|---|---|\n".to_owned();
    for protocol in Protocol::ALL {
        for (why, words) in [
            (Reason::BackendUnavailable, "no backend can be reached"),
            (Reason::LimitReached, "a limit"),
            (Reason::Denied, "an access rule or a ban"),
            (Reason::SecureRequired, "`require-secure`"),
        ] {
            let said = spoken(protocol, why);
            let said = match protocol {
                Protocol::Tcp => "nothing: a close".to_owned(),
                // The status line and the body.
                Protocol::Http => {
                    let (head, body) = said.split_once("\r\n\r\n").unwrap();
                    let retry = if head.contains("Retry-After: 30") { "`, `Retry-After: 30" } else { "" };
                    format!("`{}{retry}`, then `{}`", head.lines().next().unwrap(), body.trim_end())
                }
                _ => format!("`{}`", said.trim_end()),
            };
            let _ = writeln!(table, "| {protocol} | {words} | {said} |");
        }
    }
    let current = format!("{before}{begin}{table}{end}{after}");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &current).unwrap();
    } else {
        assert!(written == current, "docs/refusals.md is stale: run the tests with UPDATE=1");
    }
}

#[test]
fn each_reason_in_each_protocol_word_for_word() {
    use Protocol::{Imap, Lmtp, ManageSieve, Pop3, Smtp, Submission};
    use Reason::{BackendUnavailable, Denied, Draining, LimitReached, SecureRequired};
    const CASES: &[(&[Protocol], Reason, &str)] = &[
        (
            &[Smtp, Submission, Lmtp],
            BackendUnavailable,
            "421 4.3.2 mx1.example.org no server is ready for you now, try again later\r\n",
        ),
        (
            &[Smtp, Submission, Lmtp],
            LimitReached,
            "421 4.7.0 mx1.example.org too many connections from 203.0.113.7, try again later\r\n",
        ),
        (
            &[Smtp, Submission, Lmtp],
            Draining,
            "421 4.3.2 mx1.example.org this server is going down, try again later\r\n",
        ),
        (
            &[Smtp, Submission, Lmtp],
            Denied,
            "554 5.7.1 mx1.example.org connections from 203.0.113.7 are not accepted here\r\n",
        ),
        (
            &[Smtp, Submission, Lmtp],
            SecureRequired,
            "554 5.7.0 mx1.example.org this service takes TLS connections only\r\n",
        ),
        (
            &[Imap],
            BackendUnavailable,
            "* BYE [UNAVAILABLE] no server is ready for you now, try again later\r\n",
        ),
        (
            &[Imap],
            LimitReached,
            "* BYE [UNAVAILABLE] too many connections from 203.0.113.7, try again later\r\n",
        ),
        (&[Imap], Draining, "* BYE [UNAVAILABLE] this server is going down, try again later\r\n"),
        (&[Imap], Denied, "* BYE [ALERT] connections from 203.0.113.7 are not accepted here\r\n"),
        (&[Imap], SecureRequired, "* BYE [PRIVACYREQUIRED] this service takes TLS connections only\r\n"),
        (&[Pop3], BackendUnavailable, "-ERR [SYS/TEMP] no server is ready for you now, try again later\r\n"),
        (&[Pop3], LimitReached, "-ERR [SYS/TEMP] too many connections from 203.0.113.7, try again later\r\n"),
        (&[Pop3], Draining, "-ERR [SYS/TEMP] this server is going down, try again later\r\n"),
        (&[Pop3], Denied, "-ERR [SYS/PERM] connections from 203.0.113.7 are not accepted here\r\n"),
        (&[Pop3], SecureRequired, "-ERR [SYS/PERM] this service takes TLS connections only\r\n"),
        (
            &[ManageSieve],
            BackendUnavailable,
            "BYE (TRYLATER) \"no server is ready for you now, try again later\"\r\n",
        ),
        (
            &[ManageSieve],
            LimitReached,
            "BYE (TRYLATER) \"too many connections from 203.0.113.7, try again later\"\r\n",
        ),
        (&[ManageSieve], Draining, "BYE (TRYLATER) \"this server is going down, try again later\"\r\n"),
        (&[ManageSieve], Denied, "BYE \"connections from 203.0.113.7 are not accepted here\"\r\n"),
        (&[ManageSieve], SecureRequired, "BYE \"this service takes TLS connections only\"\r\n"),
    ];
    for (protocols, why, expected) in CASES {
        for protocol in *protocols {
            assert_eq!(spoken(*protocol, *why), *expected, "{protocol} {why:?}");
        }
    }
    assert_eq!(CASES.len(), 4 * Reason::ALL.len());
}

#[test]
fn http_answers_with_one_whole_response() {
    const CASES: &[(Reason, &str, &str, &str)] = &[
        (
            Reason::BackendUnavailable,
            "503 Service Unavailable",
            "Retry-After: 30\r\n",
            "no server is ready for you now, try again later\n",
        ),
        (
            Reason::LimitReached,
            "429 Too Many Requests",
            "Retry-After: 30\r\n",
            "too many connections from 203.0.113.7, try again later\n",
        ),
        (
            Reason::Draining,
            "503 Service Unavailable",
            "Retry-After: 30\r\n",
            "this server is going down, try again later\n",
        ),
        (Reason::Denied, "403 Forbidden", "", "connections from 203.0.113.7 are not accepted here\n"),
        (Reason::SecureRequired, "403 Forbidden", "", "this service takes TLS connections only\n"),
    ];
    for (why, status, retry, body) in CASES {
        let expected = format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\
             Cache-Control: no-store\r\n{retry}Connection: close\r\n\r\n{body}",
            body.len()
        );
        assert_eq!(spoken(Protocol::Http, *why), expected, "{why:?}");
    }
    assert_eq!(CASES.len(), Reason::ALL.len());
}

#[test]
fn an_unknown_protocol_is_closed_without_a_byte() {
    for why in Reason::ALL {
        assert_eq!(
            refuse(Protocol::Tcp, &Refusal { why, hostname: "mx1.example.org", client: None, text: None }),
            None
        );
    }
}

#[test]
fn a_temporary_reason_never_sounds_permanent_and_a_permanent_one_never_temporary() {
    const TEMPORARY: &[&str] = &[
        "421 4.",
        "* BYE [UNAVAILABLE]",
        "-ERR [SYS/TEMP]",
        "BYE (TRYLATER)",
        "HTTP/1.1 429",
        "HTTP/1.1 503",
    ];
    const PERMANENT: &[&str] =
        &["554 5.", "* BYE [ALERT]", "* BYE [PRIVACYREQUIRED]", "-ERR [SYS/PERM]", "BYE \"", "HTTP/1.1 403"];
    for protocol in Protocol::ALL.into_iter().filter(|protocol| *protocol != Protocol::Tcp) {
        for why in Reason::ALL {
            let text = spoken(protocol, why);
            let starts = |with: &[&str]| with.iter().any(|start| text.starts_with(start));
            let temporary = why.permanence() == Permanence::Temporary;
            assert_eq!((starts(TEMPORARY), starts(PERMANENT)), (temporary, !temporary), "{protocol}: {text}");
        }
    }
    for why in [Reason::LimitReached, Reason::BackendUnavailable, Reason::Draining] {
        assert_eq!(why.permanence(), Permanence::Temporary, "{why:?}");
    }
}

#[test]
fn every_refusal_is_plain_ascii_in_lines_that_end_with_crlf() {
    let long = "a".repeat(1000);
    for hostname in ["mx1.example.org", "", "x\r\n250 ok", "a b\"c\\d\0é", &long] {
        for client in [None, Some("203.0.113.7"), Some("2001:db8::7"), Some("::ffff:203.0.113.7")] {
            for protocol in Protocol::ALL.into_iter().filter(|p| p.is_mail()) {
                for why in Reason::ALL {
                    let text = spoken_by(protocol, why, hostname, client);
                    let line = text.strip_suffix("\r\n").unwrap();
                    assert!(line.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{text:?}");
                    // RFC 5321 4.5.3.1.5: a reply line has at most 512 octets.
                    assert!(text.len() <= 512, "{} bytes", text.len());
                }
            }
        }
    }
}

#[test]
fn a_host_name_is_spoken_without_what_no_name_has() {
    for (hostname, said) in [
        ("mx1.example.org", "mx1.example.org"),
        ("mx1\r\n250 ok", "mx1250ok"),
        ("[2001:db8::25]", "[2001:db8::25]"),
        ("", "localhost"),
        ("\r\n \0", "localhost"),
    ] {
        let text = spoken_by(Protocol::Smtp, Reason::Draining, hostname, None);
        assert_eq!(text, format!("421 4.3.2 {said} this server is going down, try again later\r\n"));
    }
}

#[test]
fn without_a_client_no_address_is_spoken() {
    for (why, said) in [
        (Reason::LimitReached, "421 4.7.0 h too many connections, try again later\r\n"),
        (Reason::Denied, "554 5.7.1 h connections from your address are not accepted here\r\n"),
    ] {
        assert_eq!(spoken_by(Protocol::Smtp, why, "h", None), said);
    }
    // The folded form of a mapped address is what access lists and logs say.
    let mapped = spoken_by(Protocol::Smtp, Reason::Denied, "h", Some("::ffff:203.0.113.7"));
    assert!(mapped.contains("from 203.0.113.7 are"), "{mapped}");
}
