//! Bytes arrive as they were sent: a header in pieces, data right behind it, and much of it.
//!
//! Called by `cases`.

use super::{Case, PROXY, case, hello, imap_hello, row, told_client, told_destination};
use crate::client::Client;
use crate::header;
use crate::lab::Lab;
use crate::servers::dovecot::PASSWORD;
use crate::verdict::{Result, ensure};

/// TLV type of the TLS facts; the value says that there was TLS and no certificate.
const SSL_TLV: (u8, &[u8]) = (0x20, &[0x01, 0, 0, 0, 0]);

/// The size of the letter that goes in and out again: many times any buffer.
const LETTER: usize = 1 << 20;

/// All of it.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = vec![
        case("commands_in_one_segment_with_the_header_are_answered_in_order", early_commands),
        case("a_letter_of_a_mebibyte_goes_in_and_out_unchanged", letter),
    ];
    for listener in ["smtp4", "imap4"] {
        for (version, bytes) in [
            ("v1", header::v1(told_client(4713), told_destination())),
            ("v2", header::v2(told_client(4713), told_destination(), &[])),
        ] {
            let name = format!("a_{version}_header_split_byte_by_byte_passes_on_{listener}");
            cases.push(row(name, (listener, bytes), split));
        }
    }
    cases
}

fn split(lab: &Lab, (listener, bytes): &(&str, Vec<u8>)) -> Result {
    let (postfix, dovecot) = (lab.postfix()?, lab.dovecot()?);
    let mut client = Client::dial(PROXY, lab.truepeer()?.port(listener)?)?;
    let (mark, imap_mark) = (postfix.log().mark(), dovecot.log().mark());
    client.send_split(bytes)?;
    if *listener == "smtp4" {
        hello(&mut client)?;
        return postfix.wait_connect(mark, told_client(4713));
    }
    imap_hello(&mut client)?;
    let is_it = |line: &str| line.contains("rip=203.0.113.9, rport=4713, lip=198.51.100.25, lport=25");
    dovecot.log().wait_line(imap_mark, "Dovecot logs both addresses of the header", is_it).map(|_| ())
}

fn early_commands(lab: &Lab) -> Result {
    let mut client = Client::dial(PROXY, lab.truepeer()?.port("imap4")?)?;
    let mut bytes = header::v2(told_client(4714), told_destination(), &[]);
    bytes.extend(b"a1 CAPABILITY\r\na2 NOOP\r\na3 LOGOUT\r\n");
    client.send(&bytes)?;
    let heard = client.rest("Dovecot closes after LOGOUT")?;
    let answers: Vec<&str> = heard.lines().filter_map(|line| line.get(..5)).collect();
    let tagged: Vec<&str> = answers.into_iter().filter(|word| word.starts_with('a')).collect();
    ensure(tagged == ["a1 OK", "a2 OK", "a3 OK"], || format!("answers out of order: {heard}"))
}

/// Dovecot keeps the letter and gives it back, so both directions are compared with what was sent.
fn letter(lab: &Lab) -> Result {
    let mut client = Client::dial(PROXY, lab.truepeer()?.port("imap4")?)?;
    client.send(&header::v2(told_client(4715), told_destination(), &[SSL_TLV]))?;
    client.line("Dovecot's greeting")?;
    let answer = client.imap("a1", &format!("LOGIN letter {PASSWORD}"))?;
    ensure(answer.contains("a1 OK"), || format!("expected `a1 OK`, got `{answer}`"))?;
    let letter = text(LETTER);
    client.send(format!("a2 APPEND INBOX {{{}}}\r\n", letter.len()).as_bytes())?;
    let go_on = client.line("Dovecot asks for the letter")?;
    ensure(go_on.starts_with('+'), || format!("expected `+`, got `{go_on}`"))?;
    client.send(&letter)?;
    client.send(b"\r\n")?;
    let answer = client.expect_tagged("a2")?;
    ensure(answer.contains("a2 OK"), || format!("expected `a2 OK`, got `{answer}`"))?;
    client.imap("a3", "SELECT INBOX")?;
    client.send(b"a4 FETCH * BODY.PEEK[]\r\n")?;
    let size = format!("{{{}}}", letter.len());
    while !client.line("Dovecot announces the letter")?.ends_with(&size) {}
    let back = client.bytes(letter.len(), "the whole letter")?;
    ensure(back == letter, || "the letter came back changed".to_owned())?;
    client.expect_tagged("a4").map(|_| ())
}

/// Lines that differ from each other, so that a lost or doubled piece shows.
fn text(len: usize) -> Vec<u8> {
    let lines = (0_u32..).flat_map(|count| format!("line {count:>58}\r\n").into_bytes());
    b"Subject: letter\r\n\r\n".iter().copied().chain(lines).take(len).collect()
}
