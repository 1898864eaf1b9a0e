//! `truepeer explain`, as a person or a script runs it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test fails by panicking"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::support::shapes::kind;
use serde_json::Value;

/// The program.
const BINARY: &str = env!("CARGO_BIN_EXE_truepeer");
const V1: &str = r"PROXY TCP4 203.0.113.7 198.51.100.25 4711 25\r\n";
/// With AUTHORITY, an SSL TLV with a version, and padding: 241 bytes.
const SSL: &[u8] = b"\x20\x00\x0f\x01\x00\x00\x00\x00\x21\x00\x07TLSv1.3";

fn run(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(BINARY)
        .arg("explain")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Who does not read all of its input closes it.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn objects(output: &Output) -> Vec<Value> {
    text(output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn large() -> Vec<u8> {
    let mut bytes =
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\xe1\xcb\x00\x71\x07\xc6\x33\x64\x19\x12\x67\x00\x19".to_vec();
    bytes.extend(b"\x02\x00\x04mx.x");
    bytes.extend(SSL);
    let padding = 241 - bytes.len() - 3;
    bytes.extend([4, 0, u8::try_from(padding).unwrap()]);
    bytes.resize(241, 0);
    bytes
}

#[test]
fn a_header_is_the_same_in_every_form() {
    let bytes = large();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let spaced: Vec<String> = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
    let escaped: String = bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect();
    let folder = std::env::temp_dir().join(format!("truepeer-explain-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join("header.bin");
    fs::write(&file, &bytes).unwrap();
    let whole = objects(&run(&["--json"], &bytes));
    assert_eq!(whole.len(), 1);
    let header = &whole[0];
    assert_eq!(header["version"], 2);
    assert_eq!(header["command"], "PROXY");
    assert_eq!(header["source"], "203.0.113.7:4711");
    assert_eq!(header["destination"], "198.51.100.25:25");
    assert_eq!(header["verdict"], "accepted");
    assert_eq!(header["length"], 241);
    assert_eq!(header["tlvs"][1]["value"]["items"][0]["value"], "TLSv1.3");
    for output in [
        run(&["--json", &hex], b""),
        run(&["--json", &spaced.join(" ")], b""),
        run(&["--json", "-"], hex.as_bytes()),
        run(&["--json", &escaped], b""),
        run(&["--json", file.to_str().unwrap()], b""),
        run(&["--json", "--format", "raw"], &bytes),
    ] {
        assert_eq!(objects(&output), whole);
        assert_eq!(output.status.code(), Some(0));
    }
    let told = text(&run(&[], &bytes));
    assert!(told.contains("Exim: refused (too large, 241 > 232)"), "{told}");
    assert!(told.contains("Postfix smtpd and postscreen: accepted"), "{told}");
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_broken_header_says_where_and_fails() {
    let output = run(&["--json", r"PROXY TCP4 203.0.113.999 198.51.100.25 4711 25\r\n"], b"");
    assert_eq!(output.status.code(), Some(1));
    let object = &objects(&output)[0];
    assert_eq!((object["error"].as_str(), object["offset"].as_u64()), (Some("v1_address"), Some(23)));
    let told = text(&run(&[r"GET / HTTP/1.1\r\n"], b""));
    assert!(told.contains("this is:  an HTTP request") && told.contains("MISS (certain)"), "{told}");
}

#[test]
fn a_log_is_explained_and_what_says_nothing_is_unknown() {
    let line = "Nov 23 13:50:27 mx postfix/smtpd[272]: warning: haproxy read: timeout error";
    for output in [
        run(&["--log", "--json", line], b""),
        run(&["--log", "--json"], format!("{line}\n{line}\n").as_bytes()),
    ] {
        assert_eq!(output.status.code(), Some(1));
        let objects = objects(&output);
        assert_eq!(objects.len(), 1);
        assert_eq!(
            (objects[0]["class"].as_str(), objects[0]["side"].as_str()),
            (Some("MISS"), Some("front"))
        );
        assert_eq!(objects[0]["product"], "postfix");
    }
    let unknown = run(&["--log", "--json", "hello world"], b"");
    assert_eq!((unknown.status.code(), text(&unknown)), (Some(0), String::new()));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("unknown"));
    assert!(text(&run(&["--log", "hello world"], b"")).contains("unknown"));
    let hint = text(&run(&[line], b""));
    assert!(hint.contains("explain --log"), "{hint}");
}

#[test]
fn terminal_escapes_of_strangers_are_shown_not_obeyed() {
    let line = b"haproxy read: timeout error \x1b[2J\x1b]0;x\x07\n";
    let output = run(&["--log"], line);
    assert!(!output.stdout.contains(&0x1b) && text(&output).contains("\\x1b[2J"), "{}", text(&output));
    let header = run(&[], b"PROXY TCP4 \x1b[2J");
    assert!(!header.stdout.contains(&0x1b));
}

#[test]
fn a_file_that_is_not_there_is_an_error_of_its_own() {
    for arguments in [&["/nonexistent/header.bin"][..], &["--log", "/nonexistent/mail.log"], &["mail.pcap"]] {
        let output = run(arguments, b"");
        assert_eq!(output.status.code(), Some(3), "{arguments:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("No such file"), "{output:?}");
    }
    assert_eq!(run(&["--format", "hex", "zz"], b"").status.code(), Some(1));
    assert_eq!(run(&["--wrong"], b"").status.code(), Some(2));
}

/// The head of a capture of raw IP packets.
fn captured() -> Vec<u8> {
    [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65_535, 101].into_iter().flat_map(u32::to_le_bytes).collect()
}

fn packet(port: u16, sequence: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x45, 0];
    packet.extend(u16::try_from(40 + payload.len()).unwrap().to_be_bytes());
    packet.extend([0, 0, 0, 0, 64, 6, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2]);
    packet.extend(port.to_be_bytes());
    packet.extend([0, 25]);
    packet.extend(sequence.to_be_bytes());
    packet.extend([0, 0, 0, 0, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    packet.extend(payload);
    let len = u32::try_from(packet.len()).unwrap();
    let head = [0, 0, len, len].into_iter().flat_map(u32::to_le_bytes);
    head.chain(packet).collect()
}

/// A capture of raw IP packets of two connections, one of which begins with a header.
fn capture() -> Vec<u8> {
    let mut file = captured();
    let mut add = |port, sequence, flags, payload: &[u8]| file.extend(packet(port, sequence, flags, payload));
    add(4711, 9, 2, b"");
    add(4711, 16, 16, b"TCP4 203.0.113.7 198.51.100.25 4711 25\r\n");
    add(4711, 10, 16, b"PROXY ");
    add(4712, 1, 2, b"");
    add(4712, 2, 16, b"EHLO client.example\r\n");
    file
}

#[test]
fn the_start_of_each_stream_of_a_capture_is_explained() {
    let output = run(&["--json"], &capture());
    let found = objects(&output);
    assert_eq!(found.len(), 2);
    assert_eq!(found[0]["source"], "203.0.113.7:4711");
    assert_eq!(found[0]["stream"]["from"], "192.0.2.1:4711");
    assert_eq!(
        (found[1]["error"].as_str(), found[1]["opening"].as_str()),
        (Some("bad_signature"), Some("an SMTP command"))
    );
    assert_eq!(output.status.code(), Some(0));
    let told = text(&run(&[], &capture()));
    assert!(told.contains("1 streams with a header, 0 with a broken one, 1 without"), "{told}");
    // Cut anywhere, it says that it breaks off, after what it has.
    let whole = capture();
    let cut = run(&["--json"], &whole[..whole.len() - 5]);
    assert_eq!((cut.status.code(), objects(&cut).len()), (Some(3), 2));
}

#[test]
fn a_capture_of_any_size_takes_bounded_memory() {
    let folder = std::env::temp_dir().join(format!("truepeer-explain-capture-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join("mail.pcap");
    let mut capture = std::io::BufWriter::new(fs::File::create(&file).unwrap());
    capture.write_all(&captured()).unwrap();
    capture.write_all(&packet(4711, 9, 2, b"")).unwrap();
    // A long letter, then one connection more.
    let letter = [b'x'; 1400];
    for number in 0..60_000_u32 {
        capture.write_all(&packet(4711, 10 + 1400 * number, 16, &letter)).unwrap();
    }
    capture.write_all(&packet(4712, 9, 2, b"")).unwrap();
    capture.write_all(&packet(4712, 10, 16, b"PROXY TCP4 203.0.113.7 198.51.100.25 4711 25\r\n")).unwrap();
    capture.into_inner().unwrap();
    // The whole file is larger than the memory that the process may have.
    let limited = "ulimit -v 60000; exec \"$0\" explain \"$1\"";
    let output = Command::new("sh").args(["-c", limited, BINARY]).arg(&file).output().unwrap();
    assert!(text(&output).contains("1 streams with a header, 0 with a broken one, 1 without"), "{output:?}");
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_million_lines_take_bounded_memory() {
    let folder = std::env::temp_dir().join(format!("truepeer-explain-log-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join("mail.log");
    let mut log = fs::File::create(&file).unwrap();
    let ordinary =
        "Nov 23 13:50:27 mx1 postfix/smtpd[1]: connect from mail.example.org[198.51.100.7]\n".repeat(1000);
    for _ in 0..1000 {
        log.write_all(ordinary.as_bytes()).unwrap();
    }
    log.write_all(b"Nov 23 13:50:27 mx1 postfix/smtpd[1]: warning: haproxy read: EOF\n").unwrap();
    drop(log);
    // The whole file is larger than the memory that the process may have.
    let limited = "ulimit -v 60000; exec \"$0\" explain --log \"$1\"";
    let output = Command::new("sh").args(["-c", limited, BINARY]).arg(&file).output().unwrap();
    assert!(text(&output).contains("where:  line 1000001"), "{output:?}");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    fs::remove_dir_all(folder).unwrap();
}

/// For each heading of `docs/json.md` the names in its table with their types.
fn documented() -> BTreeMap<String, BTreeMap<String, String>> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/json.md");
    let mut shapes: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    let mut heading = String::new();
    for line in fs::read_to_string(page).unwrap().lines() {
        if let Some(name) = line.strip_prefix("## ") {
            heading = name.to_owned();
        }
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        if cells.len() > 3 && cells[1].starts_with('`') {
            shapes
                .entry(heading.clone())
                .or_default()
                .insert(cells[1].trim_matches('`').to_owned(), cells[2].to_owned());
        }
    }
    shapes
}

fn compare(
    shapes: &BTreeMap<String, BTreeMap<String, String>>,
    shape: &str,
    value: &Value,
    wrong: &mut Vec<String>,
) {
    let Some(object) = value.as_object() else { return wrong.push(format!("{shape} is no object: {value}")) };
    let shape_names = &shapes[shape];
    let names: BTreeSet<_> = object.keys().filter(|name| *name != "stream").collect();
    let promised: BTreeSet<_> = shape_names.keys().collect();
    if names != promised {
        wrong.push(format!("{shape} has {names:?}, the page {promised:?}"));
    }
    for (name, value) in object {
        let kind = kind(value);
        if name != "stream"
            && !shape_names.get(name).is_some_and(|kinds| kinds.split(" or ").any(|one| one == kind))
        {
            wrong.push(format!("{shape}.{name} is {kind}"));
        }
        let inner = match (name.as_str(), value) {
            ("tlvs" | "items", _) => "TLV",
            ("fields", _) => "Field",
            ("receivers", _) => "Receiver",
            ("finding", Value::Object(_)) | ("findings", _) => "Finding",
            ("value", Value::Object(_)) => "TLS",
            ("stream", _) => "Stream",
            _ => continue,
        };
        match value {
            Value::Array(values) => values.iter().for_each(|value| compare(shapes, inner, value, wrong)),
            value => compare(shapes, inner, value, wrong),
        }
    }
}

#[test]
fn every_object_has_the_names_and_types_that_the_page_promises() {
    let shapes = documented();
    let mut wrong = Vec::new();
    for (shape, output) in [
        ("Header", run(&["--json", V1], b"")),
        ("Header", run(&["--json"], &large())),
        ("Header", run(&["--json", &format!("{V1}{V1}")], b"")),
        ("Header", run(&["--json", r"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"], b"")),
        ("Broken header", run(&["--json", "GET / HTTP/1.1"], b"")),
        ("Broken header", run(&["--json", "PROXY TCP4 203."], b"")),
        ("Broken header", run(&["--json"], b"")),
        ("Broken header", run(&["--json", r"PROXY TCP6 2001:db8::7 127.0.0.1 4711 25\r\n"], b"")),
        ("Finding", run(&["--json", "--log", "haproxy read: timeout error"], b"")),
        ("Finding", run(&["--json", "--log", "size = 1347571544 is too large"], b"")),
    ] {
        let found = objects(&output);
        assert!(!found.is_empty(), "{output:?}");
        for object in found {
            compare(&shapes, shape, &object, &mut wrong);
        }
    }
    for object in objects(&run(&["--json"], &capture())) {
        let shape = if object.get("error").is_some() { "Broken header" } else { "Header" };
        compare(&shapes, shape, &object, &mut wrong);
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_help_has_examples_and_exit_codes() {
    let help = text(&run(&["--help"], b""));
    for words in ["Examples:", "Exit codes:", "--log", "journalctl", "--json"] {
        assert!(help.contains(words), "{help}");
    }
}
