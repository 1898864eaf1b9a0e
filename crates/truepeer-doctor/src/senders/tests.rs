//! Each row against what was recorded of that sender, and the pages made from the rows.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;
use truepeer_proto::{Addresses, Command, Decode, Decoder, Header, TlvType};

use super::*;

/// One recording: which row it belongs to, what was done, and the bytes.
struct Recording {
    sender: &'static Sender,
    case: String,
    file: String,
    bytes: Vec<u8>,
}

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

fn recordings() -> Vec<Recording> {
    let index = std::fs::read_to_string(project("vectors/captures/index.json")).unwrap();
    let entries: Vec<Value> = serde_json::from_str(&index).unwrap();
    let text = |entry: &Value, field: &str| entry[field].as_str().unwrap().to_owned();
    let of = |entry: &Value| {
        let (proxy, case) = (text(entry, "proxy"), text(entry, "case"));
        let title = match (proxy.as_str(), case.starts_with("mail")) {
            ("nginx", true) => "NGINX mail",
            ("nginx", false) => "NGINX stream",
            (other, _) => {
                return SENDERS.iter().find(|sender| sender.product.name() == other);
            }
        };
        SENDERS.iter().find(|sender| sender.title == title)
    };
    // Clients that write headers for tests have no row.
    let known = entries.iter().filter_map(|entry| of(entry).map(|sender| (sender, entry)));
    let read = known.map(|(sender, entry)| {
        let file = text(entry, "file");
        let bytes = std::fs::read(project("vectors/captures").join(&file)).unwrap();
        Recording { sender, case: text(entry, "case"), file, bytes }
    });
    read.collect()
}

fn header(bytes: &[u8]) -> Option<Header<'_>> {
    match Decoder::default().decode(bytes) {
        Ok(Decode::Complete { header, .. }) => Some(header),
        _ => None,
    }
}

fn name_of(kind: TlvType) -> String {
    for (known, name) in [
        (TlvType::SSL, "SSL"),
        (TlvType::ALPN, "ALPN"),
        (TlvType::AUTHORITY, "AUTHORITY"),
        (TlvType::UNIQUE_ID, "UNIQUE_ID"),
        (TlvType::CRC32C, "CRC32C"),
    ] {
        if kind == known {
            return name.to_owned();
        }
    }
    "any".to_owned()
}

#[test]
fn every_recorded_header_is_one_that_its_row_allows() {
    let recordings = recordings();
    assert!(recordings.len() > 150, "{}", recordings.len());
    for Recording { sender, case, file, bytes } in &recordings {
        let Some(header) = header(bytes) else {
            // One that nobody would read: addresses of two families in a line.
            if case.contains("realip") || case.contains("v6listener") {
                continue;
            }
            let silent = sender.versions.is_empty()
                || case.ends_with("xclient-only")
                || case.contains("health")
                || case.contains("noheader");
            assert!(silent, "{file}: no header, and {} has no reason for that", sender.title);
            continue;
        };
        assert!(sender.sends(header.version()), "{file}: another version");
        assert!(header.as_bytes().len() <= sender.longest, "{file}: longer than any");
        for tlv in header.tlvs() {
            let name = name_of(tlv.kind);
            assert!(
                sender.tlvs.iter().any(|known| known.starts_with(&name)),
                "{file}: {name} is not in its row"
            );
        }
        let unnamed = header.command() == Command::Local || header.addresses() == Addresses::Unspecified;
        if case.contains("unixfront") {
            assert_eq!(unnamed, sender.unix_client == Own::Unnamed, "{file}");
        } else if case.contains("check") || case.contains("smtpchk") {
            assert!(sender.checks.iter().any(|check| check.sends == CheckSends::Header), "{file}");
        } else {
            assert!(!unnamed, "{file}: a client without an address");
        }
        if let Some(source) = header.addresses().source() {
            assert_eq!(source.port() != 0, sender.tells_ports, "{file}");
            if case.ends_with("mapped") {
                let mapped = source.is_ipv6();
                let row = if mapped { Mapped::AsIpv6 } else { Mapped::AsIpv4 };
                assert_eq!(sender.mapped, row, "{file}");
            }
            if case.contains("chain-local") || case.contains("chain-unknown") {
                assert_eq!(sender.own_received, Own::Peer, "{file}");
                assert!(source.ip().is_loopback(), "{file}");
            }
        }
    }
}

#[test]
fn every_row_has_the_length_and_the_versions_that_were_recorded_and_no_others() {
    let recordings = recordings();
    for sender in SENDERS {
        let headers = recordings.iter().filter(|recording| recording.sender.title == sender.title);
        let headers: Vec<_> = headers.filter_map(|recording| header(&recording.bytes)).collect();
        let longest = headers.iter().map(|header| header.as_bytes().len()).max().unwrap_or(0);
        assert_eq!(longest, sender.longest, "{}", sender.title);
        for version in [Version::V1, Version::V2] {
            let recorded = headers.iter().any(|header| header.version() == version);
            // Varnish' version 1 was not recorded.
            let known = sender.sends(version) && sender.product != Product::Varnish;
            assert!(recorded || !known, "{}: {version:?} was never recorded", sender.title);
        }
        assert!(!sender.seen.is_empty() && !sender.patience.is_empty(), "{}", sender.title);
    }
}

#[test]
fn the_documented_table_of_senders_is_that_of_the_program() {
    keep("docs/neighbours/README.md", "senders", &table());
    for (page, product) in [
        ("haproxy", Product::Haproxy),
        ("nginx", Product::Nginx),
        ("traefik", Product::Traefik),
        ("envoy", Product::Envoy),
        ("caddy", Product::Caddy),
    ] {
        keep(&format!("docs/neighbours/{page}.md"), &format!("sender {page}"), &limits(product));
    }
}

/// Compares what stands in a page with what it should be, or writes it there.
fn keep(page: &str, name: &str, text: &str) {
    let path = project(page);
    let written = std::fs::read_to_string(&path).unwrap();
    let (begin, end) = (format!("<!-- generated: {name} -->\n"), format!("<!-- end: {name} -->"));
    let (before, rest) = written.split_once(&begin).unwrap();
    let (_, after) = rest.split_once(&end).unwrap();
    let current = format!("{before}{begin}{text}{end}{after}");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &current).unwrap();
    } else {
        assert!(written == current, "{page} is stale: run the tests with UPDATE=1");
    }
}

fn versions(sender: &Sender) -> String {
    let names: Vec<_> =
        sender.versions.iter().map(|version| if *version == Version::V1 { "v1" } else { "v2" }).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn leaves(sender: &Sender) -> &'static str {
    match sender.leaves {
        Leaves::AtOnce => "at once",
        Leaves::WithRequest => "with the first request",
        Leaves::AfterTls => "after the TLS handshake",
        Leaves::AfterLogin => "after the client's login",
    }
}

fn own(form: Own) -> &'static str {
    match form {
        Own::Unnamed => "UNKNOWN, LOCAL",
        Own::LocalOrItself => "itself, LOCAL",
        Own::Peer => "its peer, as a client",
        Own::Untold => "not tried",
    }
}

fn mapped(sender: &Sender) -> &'static str {
    match sender.mapped {
        Mapped::AsIpv6 => "`::ffff:a.b.c.d`",
        Mapped::AsIpv4 => "IPv4",
        Mapped::Untold => "not tried",
    }
}

fn sends(check: &CheckKind) -> &'static str {
    match check.sends {
        CheckSends::Header => "a header: LOCAL, in v1 the proxy's own address",
        CheckSends::NoHeader => "no header",
        CheckSends::Nothing => "not a byte",
        CheckSends::Fails => "nothing, and always fails",
    }
}

fn checks(sender: &Sender) -> String {
    let forms: Vec<_> =
        sender.checks.iter().map(|check| format!("{}: {}", check.form, sends(check))).collect();
    if forms.is_empty() { "none of its own".to_owned() } else { forms.join("; ") }
}

fn or_none(text: &str) -> &str {
    if text.is_empty() { "nothing" } else { text }
}

fn table() -> String {
    let mut text = "| sender | headers | leaves | made to wait by | longest seen, bytes | TLVs | for a client of a UNIX socket (v1, v2) | of LOCAL and UNKNOWN received it makes | IPv4 client of a listener for both | health checks | seen on |\n|---|---|---|---|---:|---|---|---|---|---|---|\n".to_owned();
    for sender in SENDERS {
        writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            sender.title,
            versions(sender),
            leaves(sender),
            or_none(sender.waits),
            sender.longest,
            if sender.tlvs.is_empty() { "none".to_owned() } else { sender.tlvs.join(", ") },
            own(sender.unix_client),
            own(sender.own_received),
            mapped(sender),
            checks(sender),
            sender.seen
        )
        .unwrap();
    }
    text
}

fn limits(product: Product) -> String {
    let mut text = String::new();
    for sender in SENDERS.iter().filter(|sender| sender.product == product) {
        let tlvs = if sender.tlvs.is_empty() { "none".to_owned() } else { sender.tlvs.join(", ") };
        let ports = if sender.tells_ports { "told" } else { "not told: port 0, and no address" };
        write!(
            text,
            "As {} sends, seen on {}:\n\n| what | is so |\n|---|---|\n| setting | {} |\n| versions | {} |\n| leaves | {} |\n| made to wait for the client by | {} |\n| longest header seen | {} bytes |\n| TLVs | {tlvs} |\n| TLVs that it receives | passed on: {} |\n| ports and destination | {ports} |\n| client of a UNIX socket (v1, v2) | {} |\n| LOCAL and UNKNOWN received become | {} |\n| IPv4 client of a listener for both families | {} |\n| its health checks | {} |\n| waits for a header itself | {} |\n\n",
            sender.title,
            sender.seen,
            sender.setting,
            versions(sender),
            leaves(sender),
            or_none(sender.waits),
            sender.longest,
            sender.passes_tlvs,
            own(sender.unix_client),
            own(sender.own_received),
            mapped(sender),
            checks(sender),
            sender.patience
        )
        .unwrap();
    }
    text
}
