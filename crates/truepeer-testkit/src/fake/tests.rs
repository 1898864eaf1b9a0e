//! The fakes keep what their documentation promises; otherwise tests that use them prove nothing.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};

use super::{
    Afterwards, End, HalfClosingServer, HeaderBackend, Loopback, MailLanguage, PlainMailServer, ResetWhen,
    ResettingServer, SilentServer, WAIT,
};

const V1: &[u8] = b"PROXY TCP4 203.0.113.7 192.0.2.25 4711 25\r\n";
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x10\xcb\0\x71\x07\xc0\0\x02\x19\x12\x67\0\x19\x04\0\x01x";
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
const V6: &[u8] = b"PROXY TCP6 2001:db8::7 2001:db8::25 4711 25\r\n";

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(WAIT)).unwrap();
    stream
}

/// Writes `bytes`, finishes, and reads to the end.
fn exchange(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = connect(address);
    stream.write_all(bytes).unwrap();
    let _ = stream.shutdown(Shutdown::Write);
    let mut said = Vec::new();
    stream.read_to_end(&mut said).unwrap();
    said
}

#[test]
fn a_header_backend_reports_the_header_and_echoes_what_follows() {
    for loopback in [Loopback::V4, Loopback::V6] {
        let backend = HeaderBackend::start(loopback, b"220 hi\r\n", Afterwards::Echo);
        for (header, version, client, tlv) in [
            (V1, 1, Some("203.0.113.7:4711"), None),
            (V2, 2, Some("203.0.113.7:4711"), Some(&b"x"[..])),
            (LOCAL, 2, None, None),
            (b"PROXY UNKNOWN\r\n", 1, None, None),
            (V6, 1, Some("[2001:db8::7]:4711"), None),
        ] {
            let said = exchange(backend.address(), &[header, b"EHLO x\r\n"].concat());
            assert_eq!(said, b"220 hi\r\nEHLO x\r\n");
            let seen = backend.headers.next();
            assert_eq!((seen.raw.as_slice(), seen.version), (header, version));
            assert_eq!(seen.client(), client.map(|client| client.parse().unwrap()));
            assert_eq!(seen.tlv(4), tlv);
            let session = backend.sessions.next();
            assert_eq!((session.bytes.as_slice(), session.end), (&b"EHLO x\r\n"[..], End::Eof));
        }
        assert_eq!(backend.refused.try_next(), None);
    }
}

#[test]
fn a_header_backend_greets_nobody_without_a_right_header() {
    let backend = HeaderBackend::start(Loopback::V4, b"220 hi\r\n", Afterwards::Drain);
    for bytes in [
        &b""[..],
        b"EHLO x\r\n",
        b"PROXY TCP4 203.0.113.7",
        b"PROXY TCP4 203.0.113.07 192.0.2.25 4711 25\r\n",
        b"PROXY TCP4 203.0.113.7 192.0.2.25 04711 25\r\n",
        b"PROXY TCP4 203.0.113.7 192.0.2.25 4711 25\n",
        b"PROXY TCP4 2001:db8::7 2001:db8::25 4711 25\r\n",
        b"PROXY TCP6 2001:0db8::7 2001:db8::25 4711 25\r\n",
        b"PROXY UNKNOWN \r\n",
        &V2[..V2.len() - 1],
        b"\r\n\r\n\0\r\nQUIT\n\x21\x00\0\0",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x12\0\x0c\xcb\0\x71\x07\xc0\0\x02\x19\x12\x67\0\x19",
        b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\x03\x04\0\x01",
    ] {
        let mut stream = connect(backend.address());
        stream.write_all(bytes).unwrap();
        // It may have closed at the first byte already.
        let _ = stream.shutdown(Shutdown::Write);
        let mut said = Vec::new();
        let _ = stream.read_to_end(&mut said);
        assert_eq!(said, b"", "{bytes:?}");
        let refused = backend.refused.next();
        assert!(bytes.starts_with(&refused.bytes), "{refused:?}");
    }
    assert_eq!(backend.headers.try_next(), None);
}

#[test]
fn a_header_backend_sends_much_and_takes_much() {
    let much: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    let backend = HeaderBackend::start(Loopback::V4, b"", Afterwards::Send(much.clone()));
    assert!(exchange(backend.address(), V1) == much, "bytes differ");
    let backend = HeaderBackend::start(Loopback::V4, b"", Afterwards::Drain);
    exchange(backend.address(), &[V1, &much].concat());
    let session = backend.sessions.next();
    assert_eq!((session.total, session.bytes.len()), (3_000_000, 1 << 20));
    let backend = HeaderBackend::start(Loopback::V4, b"bye", Afterwards::Close);
    assert_eq!(exchange(backend.address(), V1), b"bye");
    assert_eq!(backend.sessions.next().end, End::Own);
}

#[test]
fn a_plain_mail_server_takes_a_header_for_commands() {
    let error = "500 5.5.2 Error: bad syntax\r\n";
    let bad = "BAD Error in IMAP command received by server.\r\n";
    for (language, bytes, answers) in [
        // One error, then the session goes on as the proxy's own.
        (
            MailLanguage::Smtp,
            [V1, b"EHLO x\r\nMAIL FROM:<a@example.com>\r\nQUIT\r\n"].concat(),
            format!("{error}250 fake.example\r\n250 2.0.0 Ok\r\n221 2.0.0 Bye\r\n"),
        ),
        // The QUIT in the signature is obeyed.
        (MailLanguage::Smtp, V2.to_vec(), format!("{error}{error}{error}221 2.0.0 Bye\r\n")),
        (
            MailLanguage::Imap,
            [V1, b"a LOGOUT\r\n"].concat(),
            format!("PROXY {bad}* BYE Logging out\r\na OK done\r\n"),
        ),
        (MailLanguage::Imap, V2.to_vec(), format!("* {bad}* {bad}* BYE Too many invalid IMAP commands.\r\n")),
    ] {
        let server = PlainMailServer::start(Loopback::V4, language);
        let greeting = match language {
            MailLanguage::Smtp => PlainMailServer::SMTP_GREETING,
            MailLanguage::Imap => PlainMailServer::IMAP_GREETING,
        };
        let mut stream = connect(server.address());
        // It greets before a byte is sent.
        let mut said = vec![0; greeting.len()];
        stream.read_exact(&mut said).unwrap();
        assert_eq!(server.greeted.next(), stream.local_addr().unwrap());
        stream.write_all(&bytes).unwrap();
        stream.read_to_end(&mut said).unwrap();
        assert_eq!(String::from_utf8(said).unwrap(), format!("{greeting}{answers}"));
        let session = server.sessions.next();
        assert_eq!((session.bytes, session.end), (bytes, End::Own));
    }
}

#[test]
fn a_silent_server_listens_and_says_nothing() {
    let server = SilentServer::start(Loopback::V6);
    assert_eq!(exchange(server.address(), b"hello?"), b"");
    let session = server.sessions.next();
    assert_eq!((session.bytes.as_slice(), session.end), (&b"hello?"[..], End::Eof));
}

#[test]
fn a_resetting_server_resets() {
    for (when, first, heard, second) in [
        (ResetWhen::FirstByte, V1, &b""[..], &b""[..]),
        (ResetWhen::BehindHeader(b"220 hi\r\n".to_vec()), V1, b"220 hi\r\n", b"EHLO x\r\n"),
    ] {
        let server = ResettingServer::start(Loopback::V4, when);
        let mut stream = connect(server.address());
        stream.write_all(first).unwrap();
        let mut said = vec![0; heard.len()];
        stream.read_exact(&mut said).unwrap();
        assert_eq!(said, heard);
        stream.write_all(second).unwrap();
        assert_eq!(server.reset.next(), stream.local_addr().unwrap());
        let error = stream.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
}

#[test]
fn a_half_closing_server_still_listens() {
    let server = HalfClosingServer::start(Loopback::V4, b"that is all\r\n");
    let mut stream = connect(server.address());
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    assert_eq!(said, "that is all\r\n");
    stream.write_all(b"but I").unwrap();
    drop(stream);
    let session = server.sessions.next();
    assert_eq!((session.bytes.as_slice(), session.end), (&b"but I"[..], End::Eof));
}

#[test]
fn dropping_a_fake_ends_open_connections_and_closes_the_port() {
    let server = SilentServer::start(Loopback::V4);
    let address = server.address();
    let mut stream = connect(address);
    stream.write_all(b"x").unwrap();
    drop(server);
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    assert_eq!(rest, b"");
    assert!(TcpStream::connect(address).is_err(), "still accepts");
}
