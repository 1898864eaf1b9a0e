//! `truepeer watch`, the real command: what arrives is told field by field, and what is wrong with it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use crate::program::{Answer, BINARY, Folder, write_config};
use crate::support::shapes::assert_documented;
use crate::support::{PATIENCE, eventually, expect, read_to_end};
use serde_json::Value;

/// The command, listening.
struct Watch {
    child: Child,
    address: SocketAddr,
}

impl Watch {
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(BINARY)
            .args(["watch", "--listen", "127.0.0.1:0"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
        let address = line.split(' ').nth(1).unwrap().trim_end_matches(';').parse().unwrap();
        Self { child, address }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Sends `bytes`, then nothing more.
    fn send(&self, bytes: &[u8]) -> TcpStream {
        let mut stream = self.connect();
        stream.write_all(bytes).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        stream
    }

    fn finish(self) -> Answer {
        Answer(self.child.wait_with_output().unwrap())
    }
}

/// What the command tells of one connection that sends `bytes` and closes, and its exit code.
fn told(arguments: &[&str], bytes: &[u8]) -> (Value, Option<i32>) {
    let watch = Watch::start(&[&["--json", "--count", "1", "--wait", "500ms"], arguments].concat());
    let stream = watch.send(bytes);
    let done = watch.finish();
    drop(stream);
    let objects = done.json();
    assert_eq!(objects.len(), 1, "{}", done.out());
    assert_documented("Watched connection", &objects[0]);
    for found in objects[0]["findings"].as_array().unwrap() {
        assert_documented("Finding", found);
    }
    (objects[0].clone(), done.code())
}

fn classes(told: &Value) -> Vec<(&str, &str)> {
    let findings = told["findings"].as_array().unwrap();
    findings
        .iter()
        .map(|found| (found["class"].as_str().unwrap(), found["confidence"].as_str().unwrap()))
        .collect()
}

/// PROXY over TCP and IPv4 for 203.0.113.7:4711 to 198.51.100.1:25, with these items.
fn v2(tlvs: &[u8]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11".to_vec();
    header.extend(u16::try_from(12 + tlvs.len()).unwrap().to_be_bytes());
    header.extend([203, 0, 113, 7, 198, 51, 100, 1, 0x12, 0x67, 0, 25]);
    header.extend(tlvs);
    header
}

#[test]
fn a_header_is_told_field_by_field() {
    let ssl = b"\x20\x00\x1a\x01\x00\x00\x00\x00\x21\x00\x07TLSv1.3\x23\x00\x08\x1b[31mabc\x02\x00\x04mx.a";
    let (told, code) = told(&[], &[v2(ssl).as_slice(), b"EHLO a\r\n"].concat());
    assert_eq!(code, Some(0));
    let header = &told["header"];
    assert_eq!((header["version"].as_u64(), header["command"].as_str()), (Some(2), Some("PROXY")));
    assert_eq!(header["source"], "203.0.113.7:4711");
    assert_eq!(header["destination"], "198.51.100.1:25");
    assert_eq!(header["length"], 28 + ssl.len());
    let (tls, authority) = (&header["tlvs"][0]["value"], &header["tlvs"][1]);
    assert_eq!((&tls["tls"], &tls["verified"]), (&Value::from(true), &Value::from(false)));
    assert_eq!(tls["items"][1]["value"], "\\x1b[31mabc");
    assert_eq!((&authority["name"], &authority["value"]), (&Value::from("AUTHORITY"), &Value::from("mx.a")));
    assert_eq!(told["then"], "an SMTP command: \"EHLO a\\r\\n\"");
    assert_eq!(told["product"], "haproxy");
    assert_eq!(told["findings"], serde_json::json!([]));
}

#[test]
fn what_is_no_fault_draws_no_finding() {
    for (bytes, note) in [
        (&b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"[..], "LOCAL: the proxy speaks for itself"),
        (b"PROXY UNKNOWN\r\n", "UNKNOWN: no client is named"),
        (b"", "it connected and closed without a byte"),
        (b"PROXY TCP4 203.0.113.7 0.0.0.0 0 0\r\n", "a port is 0 or the destination is no address"),
        (
            b"PROXY TCP6 ::ffff:203.0.113.7 ::ffff:198.51.100.1 4711 25\r\n",
            "the addresses are IPv4, mapped into IPv6",
        ),
    ] {
        let (told, code) = told(&[], bytes);
        assert_eq!((code, classes(&told)), (Some(0), Vec::new()), "{told}");
        assert!(told["notes"].to_string().contains(note), "{told}");
    }
    // As long as a header may be, and yet one piece.
    let padding = [&[4, 0x0f, 0xf1][..], &[0; 0x0ff1]].concat();
    let (long, code) = told(&[], &v2(&padding));
    assert_eq!(
        (code, &long["header"]["length"], &long["header_pieces"]),
        (Some(0), &Value::from(4112), &Value::from(1))
    );
    let (caddy, _) = told(&[], b"PROXY TCP4 203.0.113.7 0.0.0.0 0 0\r\n");
    assert_eq!(caddy["product"], "caddy");
}

#[test]
fn what_comes_instead_of_a_header_is_named_with_its_cause() {
    let mixed = b"PROXY TCP6 2001:db8::7 127.0.0.1 4711 25\r\n";
    let two = [v2(b""), v2(b"")].concat();
    let gateway = b"PROXY TCP4 172.18.0.1 198.51.100.1 4711 25\r\n";
    for (bytes, class, confidence, cause) in [
        (
            &b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03"[..],
            "MISS",
            "certain",
            "TLS came where a header was due",
        ),
        (b"GET / HTTP/1.1\r\n\r\n", "MISS", "certain", "HTTP came where a header was due"),
        (b"EHLO a\r\n", "MISS", "certain", "a mail client's command came where a header was due"),
        (b"\x00\x01\x02", "MISS", "possible", "bytes that are no header came"),
        (
            b"proxy tcp4 192.0.2.1 192.0.2.2 1 2\r\n",
            "SYN",
            "certain",
            "the word PROXY is not in capital letters",
        ),
        (b"PROXY TCP4 192.0.2.999 192.0.2.2 1 2\r\n", "UNEX", "likely", "the header is malformed"),
        (mixed, "FAM", "certain", "mixes IPv4 and IPv6"),
        (b"PROXY TCP4 192.0.2.1", "UNEX", "likely", "ended in the middle of a header"),
        (&two, "FORGE", "certain", "a second header follows the first"),
        (gateway, "HOP", "possible", "the gateway of a container network"),
    ] {
        let (told, code) = told(&[], bytes);
        assert_eq!(code, Some(1), "{told}");
        assert_eq!(classes(&told), [(class, confidence)], "{told}");
        let found = &told["findings"][0];
        assert!(found["cause"].as_str().unwrap().contains(cause), "{told}");
        assert!(!found["change"].as_str().unwrap().is_empty(), "{told}");
        assert_eq!(found["side"], "front");
    }
    let (broken, _) = told(&[], b"PROXY TCP4 192.0.2.999 192.0.2.2 1 2\r\n");
    assert_eq!(broken["header"]["offset"], 21);
}

#[test]
fn a_header_in_pieces_is_told_from_a_whole_one() {
    let watch = Watch::start(&["--json", "--count", "1", "--as", "smtp", "--wait", "20s"]);
    let mut stream = watch.connect();
    stream.write_all(b"PROXY TC").unwrap();
    assert!(eventually(|| is_read(&stream)), "the first piece was not read");
    stream.write_all(b"P4 203.0.113.7 198.51.100.1 4711 25\r\n").unwrap();
    expect(&stream, b"220 watch ESMTP ready\r\n");
    stream.write_all(b"QUIT\r\n").unwrap();
    read_to_end(&stream);
    let told = &watch.finish().json()[0];
    assert_eq!(told["header_pieces"], 2);
    assert_eq!(classes(told), [("UNEX", "likely")]);
    assert_eq!(told["findings"][0]["seen"], "a header of 45 bytes in 2 pieces");
}

/// Whether everything sent over a connection on IPv4 loopback has arrived and was read.
fn is_read(stream: &TcpStream) -> bool {
    let hex = |addr: SocketAddr| format!("0100007F:{:04X}", addr.port());
    let (ours, theirs) = (hex(stream.local_addr().unwrap()), hex(stream.peer_addr().unwrap()));
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    // Bytes that are sent and not confirmed, and bytes that are received and not read.
    let queues = |local: &str, peer: &str| {
        let line = table.lines().find(|line| {
            let mut words = line.split_whitespace().skip(1);
            words.next() == Some(local) && words.next() == Some(peer)
        })?;
        let (sent, received) = line.split_whitespace().nth(4)?.split_once(':')?;
        let number = |text| u64::from_str_radix(text, 16).ok();
        number(sent).zip(number(received))
    };
    matches!((queues(&ours, &theirs), queues(&theirs, &ours)), (Some((0, _)), Some((_, 0))))
}

#[test]
fn with_a_protocol_it_greets_behind_the_header_and_after_a_silence() {
    let watch = Watch::start(&["--json", "--count", "2", "--as", "imap", "--wait", "300ms"]);
    let mut with = watch.connect();
    with.write_all(b"PROXY TCP4 203.0.113.7 198.51.100.1 4711 143\r\na CAPABILITY\r\n").unwrap();
    let mut heard = [0; 5];
    (&with).read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"* OK ");
    with.write_all(b"b LOGOUT\r\n").unwrap();
    let said = read_to_end(&with);
    assert!(said.ends_with(b"* BYE goodbye\r\nb OK done\r\n"), "{}", said.escape_ascii());
    // Its command was read with the header, and answered.
    assert!(String::from_utf8_lossy(&said).contains("a OK"), "{}", said.escape_ascii());
    let silent = watch.connect();
    assert!(read_to_end(&silent).starts_with(b"* OK "));
    let done = watch.finish();
    assert_eq!(done.code(), Some(1));
    let told = done.json();
    assert_eq!(classes(&told[0]), []);
    assert_eq!(classes(&told[1]), [("MISS", "likely")]);
    assert_eq!(told[1]["end"], "then silence");
}

#[test]
fn a_configuration_says_whether_it_would_read_the_header() {
    let folder = Folder::new();
    let config = "[server.listener.in]\nbind = \"127.0.0.1:0\"\nprotocol = \"smtp\"\nbackend = \"b\"\n\
                  proxy.trusted-networks = [\"127.0.0.1\"]\n\
                  [server.listener.out]\nbind = \"127.0.0.1:0\"\nprotocol = \"smtp\"\nbackend = \"b\"\n\
                  [backend.b]\nkind = \"whoami\"\n";
    write_config(&folder, config);
    let path = folder.path("truepeer.toml").display().to_string();
    let (header, code) = told(&["--config", &path], &v2(b""));
    assert_eq!(code, Some(1));
    assert_eq!(
        header["trusted"],
        serde_json::json!([
            { "listener": "in", "expects_header": true, "line": 5 },
            { "listener": "out", "expects_header": false, "line": null },
        ])
    );
    assert_eq!(classes(&header), [("HOP", "certain")]);
    let change = header["findings"][0]["change"].as_str().unwrap();
    assert!(change.contains("add 127.0.0.1 to `server.listener.out.proxy.trusted-networks`"), "{change}");
    let (one, code) = told(&["--config", &path, "--listener", "in"], &v2(b""));
    assert_eq!((code, classes(&one)), (Some(0), Vec::new()));
    let (none, _) = told(&["--config", &path, "--listener", "in"], b"EHLO a\r\n");
    assert!(
        none["notes"][0].as_str().unwrap().contains("`in` expects a header of this peer (line 5)"),
        "{none}"
    );
    let wrong =
        Command::new(BINARY).args(["watch", "--config", &path, "--listener", "nowhere"]).output().unwrap();
    assert_eq!(Answer(wrong).code(), Some(1));
}

#[test]
fn no_peer_hangs_floods_or_garbles_it() {
    let watch = Watch::start(&["--count", "3", "--wait", "400ms", "--as", "smtp"]);
    // Colours, titles and a great many bytes.
    let mut flood = watch.connect();
    let _ = flood.write_all(&b"\x1b]0;x\x07\x9b31m\xe2\x80\xae\r\n".repeat(100_000));
    read_to_end(&flood);
    // A header, byte by byte, and never all of it: only the deadline ends it.
    let mut drip = watch.connect();
    drip.set_nodelay(true).unwrap();
    drip.set_read_timeout(Some(std::time::Duration::from_millis(20))).unwrap();
    let mut piece = [0; 64];
    for byte in v2(&[0; 4000]).iter().take(1000) {
        if drip.write_all(&[*byte]).is_err() || matches!(drip.read(&mut piece), Ok(0)) {
            break;
        }
    }
    drop(drip);
    let _silent = watch.connect();
    let done = watch.finish();
    assert_eq!(done.code(), Some(1));
    let out = &done.0.stdout;
    assert!(out.len() < 5000, "{}", done.out());
    assert!(out.iter().all(|byte| *byte == b'\n' || (b' '..=b'~').contains(byte)), "{}", done.out());
}

#[test]
fn more_peers_than_are_watched_at_once_wait_for_their_turn() {
    let watch = Watch::start(&["--json", "--count", "70", "--wait", "300ms"]);
    let all: Vec<_> = (0..70).map(|_| watch.connect()).collect();
    let done = watch.finish();
    assert_eq!(done.json().len(), 70);
    drop(all);
}

#[test]
fn the_end_has_a_code_of_its_own_where_nothing_came() {
    let none = Watch::start(&["--for", "100ms"]).finish();
    assert_eq!((none.code(), none.out().as_str()), (Some(4), ""));
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let refused = Answer(Command::new(BINARY).args(["watch", "--listen", &address]).output().unwrap());
    assert_eq!(refused.code(), Some(3));
    assert!(
        refused.error().starts_with(&format!("error: cannot listen on {address}: ")),
        "{}",
        refused.error()
    );
    let wrong = Answer(Command::new(BINARY).args(["watch", "--as", "gopher"]).output().unwrap());
    assert_eq!(wrong.code(), Some(2));
    let help = Answer(Command::new(BINARY).args(["watch", "--help"]).output().unwrap()).ok().out();
    for text in ["Exit codes: 0", "4 no connection came", "Examples:", "--as imap --count 1"] {
        assert!(help.contains(text), "{text}: {help}");
    }
}
