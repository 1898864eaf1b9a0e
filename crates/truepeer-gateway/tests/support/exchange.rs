//! Thousands of connections that are neither refused nor cut, with every byte compared.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};

use super::{PATIENCE, expect, read_to_end};

/// A backend that reads a v1 line and sends back what it hears, to thousands and without keeping anything, until the test
/// ends.
pub fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut writer) = stream else { return };
            std::thread::spawn(move || {
                let mut reader = BufReader::new(writer.try_clone().unwrap());
                let mut header = String::new();
                if reader.read_line(&mut header).is_ok() && header.starts_with("PROXY ") {
                    let _ = std::io::copy(&mut reader, &mut writer);
                }
            });
        }
    });
    address
}

/// Bytes that no other connection sends.
pub fn pattern(client: u32, connection: u32, len: usize) -> Vec<u8> {
    let seed = client.wrapping_mul(0x9E37_79B9) ^ connection.wrapping_mul(0x85EB_CA6B) | 1;
    let next = |state: &u32| Some(state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
    std::iter::successors(Some(seed), next).map(|state| (state >> 24) as u8).take(len).collect()
}

/// A connection of the proxy for a client of that number.
pub fn open(address: SocketAddr, client: u32) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("nobody is refused");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "PROXY TCP4 203.0.113.{client} 198.51.100.25 4711 25\r\n").unwrap();
    stream
}

/// One connection, from its beginning to both ends' last byte.
pub fn exchange(address: SocketAddr, client: u32, connection: u32, len: usize) {
    let mut stream = open(address, client);
    let sent = pattern(client, connection, len);
    let bytes = sent.clone();
    let mut sender = stream.try_clone().unwrap();
    let sending = std::thread::spawn(move || {
        sender.write_all(&bytes).unwrap();
        sender.shutdown(Shutdown::Write).unwrap();
    });
    let mut heard = Vec::with_capacity(len);
    stream.read_to_end(&mut heard).expect("nobody is reset");
    sending.join().unwrap();
    assert!(heard == sent, "{} of {len} bytes, or others", heard.len());
}

/// A session of SMTP through the proxy, as [`super::HeaderMailServer`] serves it.
pub fn session(address: SocketAddr) {
    let mut client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.write_all(b"PROXY TCP4 203.0.113.7 198.51.100.25 4711 25\r\n").unwrap();
    expect(&client, b"220 backend ready\r\n");
    client.write_all(b"QUIT\r\n").unwrap();
    assert_eq!(read_to_end(&client), b"221 bye\r\n");
}
