//! `send`, `probe` and `watch` beside real programs.
//!
//! Called by `cases`.

use std::net::SocketAddr;
use std::process::{Command, Output};

use serde_json::Value;

use super::{Case, case, row};
use crate::lab::Lab;
use crate::verdict::{During, Result, ensure};

/// What a probe of a server's port is to find.
struct Probed {
    addr: fn(&Lab) -> Result<SocketAddr>,
    protocol: &'static str,
    expects: &'static str,
    product: &'static str,
    /// The longest header that is served, and the shortest that is not.
    largest: (Option<u64>, Option<u64>),
    /// For how many seconds a header is waited for.
    waits: Option<u64>,
    /// Sentences, in part.
    says: &'static [&'static str],
    code: i32,
}

/// All of them.
pub(super) fn cases() -> Vec<Case> {
    let postfix = Probed {
        addr: |lab| Ok(lab.postfix()?.header_port()),
        protocol: "smtp",
        expects: "required",
        product: "postfix",
        largest: (Some(233), Some(537)),
        waits: Some(5),
        says: &[
            "It reads version 1 and version 2.",
            "It serves the proxy's own connections (LOCAL).",
            "It does not serve `PROXY UNKNOWN`.",
            "It does not take a header in pieces.",
            "It accepted a header naming a documentation address from 127.0.0.1",
        ],
        code: 0,
    };
    let dovecot = Probed {
        addr: |lab| Ok(lab.dovecot()?.header_port()),
        protocol: "imap",
        product: "dovecot",
        largest: (Some(537), Some(1501)),
        waits: Some(3),
        says: &[
            "It reads version 1 and version 2.",
            "It serves `PROXY UNKNOWN`.",
            "It does not take a header in pieces.",
            "It accepted a header naming a documentation address from 127.0.0.1",
        ],
        ..postfix
    };
    let plain = |addr, protocol, product| Probed {
        addr,
        protocol,
        expects: "no",
        product,
        largest: (None, None),
        waits: None,
        says: &["It expects no header from this address: whoever sends one is not served."],
        code: 0,
    };
    vec![
        row("probe_of_a_postfix_that_reads_headers".to_owned(), postfix, probe),
        row("probe_of_a_dovecot_that_reads_headers".to_owned(), dovecot, probe),
        row(
            "probe_of_a_postfix_that_reads_none".to_owned(),
            plain(|lab| Ok(lab.postfix()?.plain_port()), "smtp", "postfix"),
            probe,
        ),
        row(
            "probe_of_a_dovecot_that_reads_none".to_owned(),
            plain(|lab| Ok(lab.dovecot()?.plain_port()), "imap", "dovecot"),
            probe,
        ),
        case("probe_that_expects_a_closed_postfix_finds_it_open", open),
        case("send_is_served_where_headers_are_read_and_only_there", send),
    ]
}

fn command(lab: &Lab, words: &[&str]) -> Result<Output> {
    Command::new(lab.program()?).args(words).output().during("run truepeer")
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn probe(lab: &Lab, probed: &Probed) -> Result {
    let addr = (probed.addr)(lab)?.to_string();
    let output = command(lab, &["probe", &addr, "--protocol", probed.protocol, "--json"])?;
    let text = said(&output);
    ensure(output.status.code() == Some(probed.code), || format!("{}: {text}", output.status))?;
    let last: Value =
        serde_json::from_str(text.lines().last().unwrap_or_default()).during("read the verdict")?;
    for (field, value) in [
        ("expects_header", Value::from(probed.expects)),
        ("product", Value::from(probed.product)),
        ("largest_served", Value::from(probed.largest.0)),
        ("smallest_refused", Value::from(probed.largest.1)),
    ] {
        ensure(last.get(field) == Some(&value), || format!("`{field}` is not {value}: {text}"))?;
    }
    let waits = last.get("waits_ms").and_then(Value::as_u64).and_then(|waits| waits.checked_div(1000));
    ensure(waits == probed.waits, || format!("it waits for {waits:?} s: {text}"))?;
    let sentences = last.get("sentences").map(Value::to_string).unwrap_or_default();
    for words in probed.says {
        ensure(sentences.contains(words), || format!("nothing says `{words}`: {text}"))?;
    }
    Ok(())
}

fn open(lab: &Lab) -> Result {
    let addr = lab.postfix()?.header_port().to_string();
    let words =
        ["probe", &addr, "--protocol", "smtp", "--expect-closed", "--source", "127.0.0.77", "--wait", "1s"];
    let output = command(lab, &words)?;
    let text = said(&output);
    ensure(output.status.code() == Some(1), || format!("{}: {text}", output.status))?;
    ensure(text.contains("FORGE (certain)") && text.contains("from 127.0.0.77"), || text.clone())?;
    // Dovecot has a list, which holds the address of this lab's proxies alone.
    let addr = lab.dovecot()?.header_port().to_string();
    let words =
        ["probe", &addr, "--protocol", "imap", "--expect-closed", "--source", "127.0.0.77", "--wait", "1s"];
    let output = command(lab, &words)?;
    let text = said(&output);
    ensure(output.status.success(), || format!("{}: {text}", output.status))?;
    ensure(text.contains("It is closed to 127.0.0.77"), || text.clone())
}

fn send(lab: &Lab) -> Result {
    let (postfix, dovecot) = (lab.postfix()?, lab.dovecot()?);
    for (addr, protocol, served) in [
        (postfix.header_port(), "smtp", true),
        (dovecot.header_port(), "imap", true),
        (postfix.plain_port(), "smtp", false),
        (dovecot.plain_port(), "imap", false),
    ] {
        let addr = addr.to_string();
        let output = command(lab, &["send", &addr, "--protocol", protocol, "--tlv", "ssl=TLSv1.3"])?;
        ensure(output.status.success() == served, || format!("{addr}: {}", said(&output)))?;
    }
    Ok(())
}
