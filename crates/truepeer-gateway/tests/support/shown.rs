//! Backends that are shown the client by their own socket, whichever way it is done: by its source, or by a label.

use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use socket2::{Domain, Socket, Type};

use super::fake::Fake;
use super::{House, PATIENCE, Plan, expect};

/// Headers that name the client of each family.
pub const V4: &[u8] = b"PROXY TCP4 203.0.113.7 198.51.100.25 4711 25\r\n";
pub const V6: &[u8] = b"PROXY TCP6 2001:db8::7 2001:db8::25 4711 25\r\n";

/// A client of the proxy, which has said this header.
pub fn client(house: &House, header: &[u8]) -> TcpStream {
    let mut client = house.connect();
    client.write_all(header).unwrap();
    client
}

/// Whatever a client said came from its own address. `backend` tells of each connection from where it came, a space, and
/// what it heard.
#[track_caller]
pub fn assert_nobody_is_us(backend: Fake) {
    for heard in backend.finish() {
        let heard = String::from_utf8(heard).unwrap();
        let (from, said) = heard.split_once(' ').unwrap();
        let is_us = from.parse::<IpAddr>().unwrap().is_loopback();
        assert!(!is_us || said.is_empty(), "a client appears as us: {heard}");
    }
}

/// Four threads of clients, each of which says who it is; the backend on `listener` compares that with what its accept
/// and its socket say. `TRUEPEER_STRESS` is how many clients each thread plays.
#[track_caller]
pub fn assert_nobody_is_another(listener: &TcpListener, mut plan: Plan) {
    const THREADS: u8 = 4;
    let each = std::env::var("TRUEPEER_STRESS").map_or(500, |text| text.parse::<u32>().unwrap());
    let (wrong, right) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    for _ in 0..THREADS {
        let (listener, wrong, right) =
            (listener.try_clone().unwrap(), Arc::clone(&wrong), Arc::clone(&right));
        std::thread::spawn(move || {
            while let Ok((stream, accepted)) = listener.accept() {
                let asked = stream.peer_addr().map(|asked| asked.to_string());
                let mut said = String::new();
                let _ = BufReader::new(&stream).read_line(&mut said);
                // A question of the front door has nothing to say.
                let count = match said.trim_end() {
                    "" => continue,
                    said if said == accepted.to_string() && asked.is_ok_and(|asked| asked == said) => &right,
                    _ => &wrong,
                };
                count.fetch_add(1, Ordering::SeqCst);
                let _ = (&stream).write_all(b"heard\n");
            }
        });
    }
    plan.trusted = vec!["127.0.0.0/8"];
    let house = plan.start();
    let door = house.address();
    let clients = (0..THREADS).map(|thread| {
        std::thread::spawn(move || {
            for count in 0..each {
                let [_, high, middle, low] = count.to_be_bytes();
                // Its own address and port, through a proxy of many addresses: ports of this host are few.
                let client = format!("100.{}.{middle}.{low}", 64 + thread);
                let port = 1024 + u32::from(high);
                let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
                socket.bind(&SocketAddr::from(([127, 2, thread, low.max(1)], 0)).into()).unwrap();
                socket.connect(&door.into()).unwrap();
                let mut stream = TcpStream::from(socket);
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                let header = format!("PROXY TCP4 {client} 198.51.100.25 {port} 25\r\n{client}:{port}\n");
                stream.write_all(header.as_bytes()).unwrap();
                expect(&stream, b"heard\n");
            }
        })
    });
    clients.collect::<Vec<_>>().into_iter().for_each(|client| client.join().unwrap());
    house.finish();
    assert_eq!(wrong.load(Ordering::SeqCst), 0, "a client appears as us, or as another");
    assert_eq!(right.load(Ordering::SeqCst), u32::from(THREADS) * each);
}
