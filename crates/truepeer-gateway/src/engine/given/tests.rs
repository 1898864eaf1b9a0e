use std::net::SocketAddr;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

use socket2::{Domain, SockAddr, Socket, Type};

use super::*;

fn given(name: &str, descriptor: impl Into<OwnedFd>) -> Result<GivenSocket, GivenError> {
    GivenSocket::new(SocketName { number: 3, name: Some(name.to_owned()) }, descriptor.into())
}

fn tcp(addr: SocketAddr, families: Families) -> Bind {
    Bind::Tcp { addr, families }
}

fn wildcard(only_v6: bool) -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::IPV6, Type::STREAM, None).unwrap();
    socket.set_only_v6(only_v6).unwrap();
    socket.bind(&"[::]:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    socket.listen(1).unwrap();
    let addr = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, addr)
}

#[test]
fn a_socket_is_found_by_what_it_is_bound_to_never_by_its_name() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let given = Given::of(vec![given("imap", listener).unwrap()]).unwrap();
    let found = given.find(&tcp(addr, Families::Own)).unwrap().unwrap();
    assert_eq!(found.local_addr().unwrap().as_socket(), Some(addr));
    assert!(rustix::io::fcntl_getfd(found).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
    assert!(found.nonblocking().unwrap());
    let elsewhere = SocketAddr::new("127.0.0.2".parse().unwrap(), addr.port());
    assert!(given.find(&tcp(elsewhere, Families::Own)).unwrap().is_none());
    assert!(given.find(&tcp(([127, 0, 0, 1], 0).into(), Families::Own)).unwrap().is_none());
}

#[test]
fn a_socket_that_no_bind_means_names_both_sides() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let given = Given::of(vec![given("smtp.socket", listener).unwrap()]).unwrap();
    let other = tcp("[::]:25".parse().unwrap(), Families::Both);
    let path = Bind::Unix { path: "/run/door.sock".into(), mode: 0o600 };
    let binds =
        [("server.listener.smtp.bind".to_owned(), other.clone()), ("admin.socket".to_owned(), path.clone())];
    assert_eq!(
        given.check(&binds).unwrap_err().to_string(),
        format!(
            "the service manager gave descriptor 3 (\"smtp.socket\"), which listens on {addr}, but the configuration binds [::]:25 (server.listener.smtp.bind), unix:/run/door.sock (admin.socket): make ListenStream= in the socket unit and `bind` the same address"
        )
    );
    assert_eq!(given.unused(&binds), [addr.to_string()]);
    let wanted = [("server.listener.smtp.bind".to_owned(), tcp(addr, Families::Own))];
    assert_eq!((given.check(&wanted), given.unused(&wanted)), (Ok(()), vec![]));
}

#[test]
fn what_connections_cannot_be_accepted_from_is_refused_by_its_kind() {
    let (connected, _other) = UnixStream::pair().unwrap();
    let raw = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let cases: [(OwnedFd, &str); 5] = [
        (UdpSocket::bind("127.0.0.1:0").unwrap().into(), "a datagram socket"),
        (UnixDatagram::unbound().unwrap().into(), "a datagram socket"),
        (connected.into(), "a stream socket that does not listen"),
        (raw.into(), "a stream socket that does not listen"),
        (std::fs::File::open("/dev/null").unwrap().into(), "no socket"),
    ];
    for (descriptor, seen) in cases {
        let error = given("x", descriptor).unwrap_err();
        let socket = SocketName { number: 3, name: Some("x".to_owned()) };
        assert_eq!(error, GivenError::Kind { socket, seen: seen.to_owned() });
        assert!(error.to_string().contains(&format!("gave descriptor 3 (\"x\"), which is {seen}: ")));
    }
}

#[test]
fn a_wildcard_serves_the_families_that_the_configuration_says() {
    let (socket, addr) = wildcard(true);
    let only_v6 = Given::of(vec![given("x", socket).unwrap()]).unwrap();
    assert!(only_v6.find(&tcp(addr, Families::Own)).unwrap().is_some());
    let error = only_v6.find(&tcp(addr, Families::Both)).unwrap_err().to_string();
    assert!(error.contains("BindIPv6Only=both"), "{error}");
    let (socket, addr) = wildcard(false);
    let both = Given::of(vec![given("x", socket).unwrap()]).unwrap();
    assert!(both.find(&tcp(addr, Families::Both)).unwrap().is_some());
    let error = both.find(&tcp(addr, Families::Own)).unwrap_err().to_string();
    assert!(error.contains("BindIPv6Only=ipv6-only"), "{error}");
}

#[test]
fn a_unix_socket_has_the_mode_that_the_configuration_says() {
    let folder = std::env::temp_dir().join(format!("truepeer-given-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("door.sock");
    let listener = UnixListener::bind(&path).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
    let given = Given::of(vec![given("x", listener).unwrap()]).unwrap();
    let bind = |mode| Bind::Unix { path: path.clone(), mode };
    let error = given.find(&bind(0o600)).unwrap_err().to_string();
    assert!(error.contains("0666") && error.contains("SocketMode=0600"), "{error}");
    assert!(given.find(&bind(0o666)).unwrap().is_some());
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn two_sockets_for_one_address_are_one_too_many() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let sockets = vec![given("a", listener.try_clone().unwrap()).unwrap(), given("b", listener).unwrap()];
    let error = Given::of(sockets).unwrap_err().to_string();
    assert!(error.contains(&format!("two sockets for {addr}")), "{error}");
    assert!(error.contains("\"a\"") && error.contains("\"b\""), "{error}");
}

#[test]
fn a_unix_socket_without_a_path_serves_no_bind() {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    socket.bind(&SockAddr::unix(format!("\0truepeer-given-{}", std::process::id())).unwrap()).unwrap();
    socket.listen(1).unwrap();
    let given = Given::of(vec![given("x", socket).unwrap()]).unwrap();
    let error = given.check(&[]).unwrap_err().to_string();
    assert!(error.contains("a UNIX address without a path, but the configuration binds nothing"), "{error}");
}
