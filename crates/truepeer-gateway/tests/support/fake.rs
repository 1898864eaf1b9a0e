//! Backends that do one thing, each connection on a thread of its own, and tell at the end what they heard.
//!
//! Written without our codec: what they report is what came over the wire.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

use super::{PATIENCE, eventually};

/// A backend whose connections are served by one function.
pub struct Fake {
    pub address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Vec<u8>>>,
}

impl Fake {
    /// `serve` returns what a connection heard.
    pub fn start(serve: impl Fn(TcpStream) -> Vec<u8> + Clone + Send + 'static) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap(), serve)
    }

    pub fn on(listener: TcpListener, serve: impl Fn(TcpStream) -> Vec<u8> + Clone + Send + 'static) -> Self {
        let address = listener.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut connections = Vec::new();
            for stream in listener.incoming() {
                if told.load(Ordering::SeqCst) {
                    break;
                }
                let (stream, serve) = (stream.unwrap(), serve.clone());
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                stream.set_write_timeout(Some(PATIENCE)).unwrap();
                connections.push(std::thread::spawn(move || serve(stream)));
            }
            drop(listener);
            connections.into_iter().map(|connection| connection.join().unwrap()).collect()
        });
        Self { address, stop, thread }
    }

    /// Stops listening, waits for every connection to end, and returns what each has heard, in order of arrival.
    pub fn finish(self) -> Vec<Vec<u8>> {
        self.stop.store(true, Ordering::SeqCst);
        // Whether it still listens or not, this is the end of its loop.
        let _ = TcpStream::connect(self.address);
        self.thread.join().unwrap()
    }
}

/// An address that refuses every connection, and that nobody else can take meanwhile.
pub struct Nobody(Socket);

impl Nobody {
    pub fn new() -> Self {
        Self::at(([127, 0, 0, 1], 0).into())
    }

    /// In the place of `backend`, which ends.
    pub fn instead_of(backend: Fake) -> Self {
        let address = backend.address;
        backend.finish();
        Self::at(address)
    }

    pub fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap().as_socket().unwrap()
    }

    /// Listens there after all.
    pub fn come_back(self) -> TcpListener {
        self.0.listen(128).unwrap();
        self.0.into()
    }

    fn at(address: SocketAddr) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        // A test beside this one may be starting a program, which has every socket of ours until it is that program.
        assert!(eventually(|| socket.bind(&address.into()).is_ok()), "{address} is taken");
        Self(socket)
    }
}

/// Greets without waiting for anything and answers every line in SMTP, as a Postfix port without the option does.
pub fn deaf_smtp(mut stream: TcpStream) -> Vec<u8> {
    let _ = stream.write_all(b"220 mx.example ESMTP Postfix\r\n");
    answer_lines(stream, |line| match line {
        b"" => "500 5.5.2 Error: bad syntax\r\n",
        line if line.eq_ignore_ascii_case(b"QUIT") => "221 2.0.0 Bye\r\n",
        _ => "502 5.5.2 Error: command not recognized\r\n",
    })
}

/// The same in IMAP.
pub fn deaf_imap(mut stream: TcpStream) -> Vec<u8> {
    let _ = stream.write_all(b"* OK [CAPABILITY IMAP4rev1] ready\r\n");
    answer_lines(stream, |line| {
        if line.ends_with(b"LOGOUT") {
            "* BYE Logging out\r\na OK Logout completed\r\n"
        } else {
            "* BAD Error in IMAP command received by server.\r\n"
        }
    })
}

/// Reads a v1 line, says nothing before it, then echoes.
pub fn echo_behind_v1(stream: TcpStream) -> Vec<u8> {
    let mut writer = stream.try_clone().unwrap();
    let mut reader = BufReader::new(stream);
    let mut heard = Vec::new();
    if !matches!(reader.read_until(b'\n', &mut heard), Ok(1..)) {
        return heard;
    }
    loop {
        let Ok(bytes) = reader.fill_buf() else { return heard };
        if bytes.is_empty() {
            return heard;
        }
        heard.extend_from_slice(bytes);
        let len = bytes.len();
        if writer.write_all(bytes).is_err() {
            return heard;
        }
        reader.consume(len);
    }
}

/// Says nothing and reads to the end.
pub fn listens(mut stream: TcpStream) -> Vec<u8> {
    let mut heard = Vec::new();
    let _ = stream.read_to_end(&mut heard);
    heard
}

/// Reads a v1 line, then resets the connection.
pub fn resets_behind_v1(stream: TcpStream) -> Vec<u8> {
    let mut heard = Vec::new();
    let _ = BufReader::new(&stream).read_until(b'\n', &mut heard);
    reset(stream);
    heard
}

/// Closes with a reset instead of an end of stream.
pub fn reset(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
}

/// Answers each line as `answer` says until the connection ends or QUIT or LOGOUT was answered; returns every byte.
pub fn answer_lines(mut stream: TcpStream, answer: impl Fn(&[u8]) -> &'static str) -> Vec<u8> {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut heard = Vec::new();
    loop {
        let before = heard.len();
        if !matches!(reader.read_until(b'\n', &mut heard), Ok(1..)) {
            return heard;
        }
        let line = heard[before..].trim_ascii();
        let bye = line.eq_ignore_ascii_case(b"QUIT") || line.ends_with(b"LOGOUT");
        if stream.write_all(answer(line).as_bytes()).is_err() || bye {
            return heard;
        }
    }
}

/// Reads a v1 line, greets with `greeting`, and answers SMTP.
pub fn smtp_behind_v1(greeting: &'static str) -> impl Fn(TcpStream) -> Vec<u8> + Clone + Send + 'static {
    move |mut stream| {
        let mut heard = Vec::new();
        // Byte by byte, so that nothing behind the line is taken from the answering part.
        let mut byte = [0];
        while !heard.ends_with(b"\n") {
            match stream.read(&mut byte) {
                Ok(1..) => heard.extend_from_slice(&byte),
                _ => return heard,
            }
        }
        if stream.write_all(greeting.as_bytes()).is_err() {
            return heard;
        }
        heard.extend(answer_lines(stream, |line| match line {
            line if line.eq_ignore_ascii_case(b"QUIT") => "221 bye\r\n",
            _ => "250 ok\r\n",
        }));
        heard
    }
}

/// Reads a v1 line, greets with `greeting`, and answers one line with `bye`.
pub fn greets_behind_v1(
    greeting: &'static str,
    bye: &'static str,
) -> impl Fn(TcpStream) -> Vec<u8> + Clone + Send + 'static {
    move |mut stream| {
        let mut heard = Vec::new();
        for say in [greeting, bye] {
            let before = heard.len();
            // Byte by byte, so that nothing behind the line is taken from the next.
            let mut byte = [0];
            while !heard[before..].ends_with(b"\n") {
                match stream.read(&mut byte) {
                    Ok(1..) => heard.extend_from_slice(&byte),
                    _ => return heard,
                }
            }
            let _ = stream.write_all(say.as_bytes());
        }
        heard
    }
}
