//! What a backend is told besides addresses, from the configuration to the wire.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]
#![allow(clippy::arithmetic_side_effects, reason = "a test fails by panicking")]

use crate::support;
use std::io::Write;

use crate::program::{Program, field};
use crate::support::House;
use truepeer_gateway::config::{self, Surroundings};
use truepeer_testkit::fake::{Afterwards, FakeHeader, HeaderBackend, Loopback};

/// A version 2 header for 203.0.113.7:4711 with these items.
fn v2(tlvs: &[(u8, &[u8])]) -> Vec<u8> {
    let items: Vec<u8> = tlvs
        .iter()
        .flat_map(|(kind, value)| {
            let len = u16::try_from(value.len()).unwrap().to_be_bytes();
            [&[*kind][..], &len, value].concat()
        })
        .collect();
    let len = u16::try_from(12 + items.len()).unwrap().to_be_bytes();
    let addresses = b"\xcb\0\x71\x07\xc6\x33\x64\x19\x12\x67\0\x19";
    [b"\r\n\r\n\0\r\nQUIT\n\x21\x11", &len[..], addresses, &items].concat()
}

/// What the backend reads when a proxy sends `received` to a listener with these lines in its backend.
fn told(received: &[u8], lines: &str) -> FakeHeader {
    let backend = HeaderBackend::start(Loopback::V4, b"", Afterwards::Echo);
    let text = format!(
        "[server.listener.door]\nbind = \"127.0.0.1:0\"\nprotocol = \"tcp\"\nbackend = \"b\"\n\
         proxy.trusted-networks = [\"127.0.0.1\"]\n[backend.b]\naddress = \"{}\"\n{lines}",
        backend.address()
    );
    let config = config::resolve(&text, "test.toml", &Surroundings::default()).unwrap();
    let house = House::start(&config);
    let mut client = house.connect();
    client.write_all(received).unwrap();
    client.write_all(b"hello").unwrap();
    support::expect(&client, b"hello");
    backend.headers.next()
}

fn types(header: &FakeHeader) -> Vec<u8> {
    header.tlvs.iter().map(|(kind, _)| *kind).collect()
}

#[test]
fn a_kind_gets_what_it_reads_and_a_choice_wins() {
    let received = v2(&[
        (0x01, b"imap"),
        (0x02, b"mail.example"),
        (0x20, b"\x01\0\0\0\0\x21\0\x07TLSv1.3"),
        (0xE7, b"unknown"),
    ]);
    for (lines, expected) in [
        ("kind = \"stalwart\"\n", &[0x20][..]),
        ("kind = \"varnish\"\n", &[0x20, 0x02, 0x01, 0x03]),
        ("kind = \"exim\"\n", &[]),
        ("kind = \"exim\"\ntlvs = [\"alpn\"]\n", &[0x01]),
        ("kind = \"stalwart\"\ntlvs = \"none\"\n", &[]),
        ("handoff = \"proxy-v2\"\ntlvs = \"all\"\n", &[0x20, 0x05, 0x02, 0x01, 0xE7, 0x03]),
    ] {
        let header = told(&received, lines);
        assert_eq!((header.version, types(&header)), (2, expected.to_vec()), "{lines}");
    }
}

/// TLS facts with a certificate of `alice` that the proxy has verified (0) or not.
fn with_certificate(verify: u8) -> Vec<u8> {
    [&[0x03, 0, 0, 0, verify][..], b"\x22\0\x05alice"].concat()
}

#[test]
fn our_own_tlvs_say_what_we_know_and_no_proxy_can_say_it_for_us() {
    let lines = "kind = \"exim\"\ntlvs = \"all\"\nown-tlvs = [\"0xe3 source\", \"0xe0 listener\", \"0xef client-cn\", \"0xe5 id\"]\n";
    let verified = with_certificate(0);
    let received = v2(&[(0xE0, b"forged"), (0xE7, b"unknown"), (0x20, &verified), (0xEF, b"forged")]);
    let header = told(&received, lines);
    let of = |kind: u8| {
        let found: Vec<_> = header.tlvs.iter().filter(|(known, _)| *known == kind).collect();
        assert_eq!(found.len(), 1, "{kind:#x}");
        String::from_utf8_lossy(&found[0].1).into_owned()
    };
    assert_eq!((of(0xE0).as_str(), of(0xE3).as_str(), of(0xEF).as_str()), ("door", "v2", "alice"));
    assert_eq!(of(0xE7), "unknown");
    // Ours, beside the unique id, which would be the proxy's.
    assert_eq!(of(0xE5), of(0x05));

    // Nobody verified it: there is no such TLV, and the forged one does not take its place.
    let unverified = with_certificate(1);
    let header = told(&v2(&[(0x20, &unverified), (0xEF, b"forged")]), lines);
    assert!(!types(&header).contains(&0xEF), "{:?}", types(&header));
}

#[test]
fn the_peer_is_the_proxy_and_a_version_1_header_has_no_room_for_it() {
    let own = "own-tlvs = \"0xe1 peer\"\n";
    let v1_in = b"PROXY TCP4 203.0.113.7 198.51.100.25 4711 25\r\n";
    let header = told(v1_in, &format!("kind = \"exim\"\n{own}"));
    let [(0xE1, peer)] = header.tlvs.as_slice() else { panic!("{:?}", header.tlvs) };
    assert!(String::from_utf8_lossy(peer).starts_with("127.0.0.1:"), "{peer:?}");
    let header = told(v1_in, &format!("kind = \"exim\"\nhandoff = \"proxy-v1\"\n{own}"));
    assert_eq!(header.raw, v1_in);
}

#[test]
fn a_type_or_a_fact_that_cannot_be_is_named_with_what_can() {
    for (entry, title, help) in [
        ("0xe0", "\"0xe0\" is not a type and a fact", "write the type, one space, and what stands in it"),
        ("0x20 listener", "\"0x20\" is no type of your own", "types below 0xe0 have a meaning"),
        ("0xf0 listener", "\"0xf0\" is no type of your own", "are for experiments"),
        ("255 listener", "\"255\" is no type of your own", "are reserved"),
        ("0x100 listener", "\"0x100\" is no type of your own", "a number of one byte"),
        ("0xe0 client-ip", "\"client-ip\" is no fact that truepeer can write", "the nearest is `client-cn`"),
        ("0xe0 $remote", "\"$remote\" is no fact that truepeer can write", "these are: `\"listener\"`"),
        ("224 peer\", \"0xe0 id", "type 0xe0 stands here twice", "give each fact a type of its own"),
    ] {
        let text = format!(
            "[server.listener.door]\nbind = \"127.0.0.1:0\"\nprotocol = \"tcp\"\nbackend = \"b\"\n[backend.b]\n\
             kind = \"exim\"\naddress = \"127.0.0.1:1\"\nown-tlvs = [\"{entry}\"]\n"
        );
        let errors = config::resolve(&text, "test.toml", &Surroundings::default()).unwrap_err();
        let said = errors.render(config::Colour::Plain);
        assert!(said.contains(&format!("`backend.b.own-tlvs`: {title}")) && said.contains(help), "{said}");
    }
}

#[test]
fn one_version_in_and_the_other_out() {
    let v1_in = b"PROXY TCP4 203.0.113.7 198.51.100.25 4711 25\r\n";
    let header = told(v1_in, "kind = \"haproxy\"\n");
    assert_eq!(header.version, 2);
    // There was no id, so it is ours.
    assert_eq!(types(&header), [0x05, 0x03]);
    let header = told(&v2(&[(0x05, b"proxy-id")]), "kind = \"haproxy\"\nhandoff = \"proxy-v1\"\n");
    assert_eq!(header.raw, v1_in);
}

#[test]
fn what_does_not_fit_goes_and_is_said_once() {
    let backend = HeaderBackend::start(Loopback::V4, b"", Afterwards::Echo);
    let mut program = Program::start(&format!(
        "[server.listener.door]\nbind = \"127.0.0.1:0\"\nprotocol = \"tcp\"\nbackend = \"mta\"\n\
         proxy.trusted-networks = [\"127.0.0.1\"]\n\
         [backend.mta]\nkind = \"exim\"\ntlvs = [\"authority\", \"alpn\"]\naddress = \"{}\"\n",
        backend.address()
    ));
    let received = v2(&[(0x01, &[b'p'; 90]), (0x02, &[b'n'; 150])]);
    for _ in 0..3 {
        let mut client = program.connect("door");
        client.write_all(&received).unwrap();
        client.write_all(b"hello").unwrap();
        support::expect(&client, b"hello");
        drop(client);
        let header = backend.headers.next();
        assert_eq!(types(&header), [0x02]);
        assert!(header.raw.len() <= 232);
        program.wait_for("event=connection");
    }
    assert_eq!(program.count("event=tlvs_dropped"), 1);
    let line = program.seen.iter().find(|line| line.contains("event=tlvs_dropped")).unwrap();
    assert_eq!(field(line, "backend"), Some("mta"));
    assert!(line.contains("1 of the TLVs") && line.contains("232 bytes"), "{line}");
}
