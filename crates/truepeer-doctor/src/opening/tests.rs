use super::*;

#[test]
fn what_comes_where_a_header_was_due_is_named() {
    let v2 = [&V2_SIGNATURE[..], &[0x20, 0, 0, 0]].concat();
    for (bytes, opening) in [
        (&b""[..], Opening::Nothing),
        (b"PROXY TCP4 203.0.113.7 192.0.2.1 4711 25\r\nEHLO", Opening::Header),
        (&v2, Opening::Header),
        (b"PRO", Opening::HeaderPiece),
        (&V2_SIGNATURE[..5], Opening::HeaderPiece),
        (b"proxy tcp4 203.0.113.7 192.0.2.1 4711 25\r\n", Opening::BrokenHeader),
        (b"\x16\x03\x01\x02\x00\x01", Opening::Tls),
        (b"GET / HTTP/1.1\r\nHost: x\r\n", Opening::Http),
        (b"GET /.well-known/acme-challenge/x HTTP/1.1\r\n", Opening::HttpCheck),
        (b"EHLO client.example\r\n", Opening::Smtp),
        (b"220 mx.example ESMTP\r\n", Opening::Greeting),
        (b"a LOGIN u p\r\n", Opening::Imap),
        (b"\x10\x0e\x00\x04MQTT\x04\x02\x00<\x00\x02id", Opening::Mqtt),
        (b"\x10i\x00\x04MQTT", Opening::Mqtt),
        (b"AMQP\x00\x00\x09\x01", Opening::Amqp),
        (b"\x00\x00\x00\x08\x04\xd2\x16\x2f", Opening::Postgresql),
        (b"*1\r\n$4\r\nPING\r\n", Opening::Redis),
        (b"\x03\x00\x00\x13\x0e\xe0\x00\x00\x00\x00\x00\x01\x00\x08", Opening::Rdp),
        (b"\x10\x00\xff\x05\x09localhost\x63\xdd\x01", Opening::Minecraft),
        (b"\x30\x0c\x02\x01\x01\x60\x07\x02\x01\x03\x04\x00\x80\x00", Opening::Ldap),
        (b"\x05\x01\x00", Opening::Socks),
        (b"AUTHENTICATE \"PLAIN\"\r\n", Opening::ManageSieve),
        (b"\x00\x01\x02\x03", Opening::Unknown),
    ] {
        assert_eq!(Opening::of(bytes), opening, "{}", bytes.escape_ascii());
    }
}

#[test]
fn each_opening_but_a_whole_header_has_a_finding() {
    let mixed = b"PROXY TCP6 2001:db8::7 127.0.0.1 4711 25\r\n";
    assert_eq!(Opening::of(mixed).finding(mixed).unwrap().class, Class::Fam);
    let lf = b"PROXY TCP4 203.0.113.7 192.0.2.1 4711 25\n";
    let finding = Opening::of(lf).finding(lf).unwrap();
    assert!(finding.class == Class::Syn && finding.cause.contains("LF alone"), "{finding}");
    let hello = b"\x16\x03\x01\x02\x00\x01";
    let finding = Opening::of(hello).finding(hello).unwrap();
    assert_eq!(
        (finding.class, finding.side, finding.seen.as_str()),
        (Class::Miss, Side::Front, "\\x16\\x03\\x01\\x02\\x00\\x01")
    );
    assert_eq!(Opening::Header.finding(b"PROXY UNKNOWN\r\n"), None);
}
