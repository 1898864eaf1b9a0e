//! A mail client on a socket or behind `openssl s_client`: it sends, and waits for what the server says.
//!
//! Called by `cases`. It must not know what stands between it and the server.

use std::io::Write;
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::process::{Child, ChildStdin, Command, Stdio};

use crate::feed::{Feed, Mark, PATIENCE};
use crate::port::{Port, bound};
use crate::space::Outside;
use crate::verdict::{During, Result, ensure, failed};

/// Where a client sits and which address it uses.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place<'a> {
    /// In the harness's own namespace.
    Here(IpAddr),
    /// In the namespace outside.
    Outside(&'a Outside, IpAddr),
}

impl Place<'_> {
    /// The address that the client uses.
    pub(crate) fn ip(self) -> IpAddr {
        match self {
            Self::Here(ip) | Self::Outside(_, ip) => ip,
        }
    }
}

/// One connection of a client, with everything the server has sent so far.
#[derive(Debug)]
pub(crate) struct Client {
    way: Way,
    addr: SocketAddr,
    inbox: Feed,
    read: Mark,
}

#[derive(Debug)]
enum Way {
    Clear(TcpStream),
    Tls { program: Child, stdin: Option<ChildStdin>, _port: Port },
}

impl Client {
    /// Connects in clear.
    pub(crate) fn dial(place: Place<'_>, to: SocketAddr) -> Result<Self> {
        let stream = at(place, move |ip| {
            let socket = bound(SocketAddr::new(ip, 0))?;
            socket.connect_timeout(&to.into(), PATIENCE).during(&format!("connect to {to}"))?;
            Ok(TcpStream::from(socket))
        })?;
        stream.set_nodelay(true).during("TCP_NODELAY")?;
        stream.set_write_timeout(Some(PATIENCE)).during("set a write timeout")?;
        let addr = stream.local_addr().during("read the client's address")?;
        let inbox = Feed::default();
        inbox.follow(stream.try_clone().during("share a socket")?);
        Ok(Self { way: Way::Clear(stream), addr, inbox, read: Mark::default() })
    }

    /// Connects with TLS from the first byte; the certificate is not looked at.
    pub(crate) fn dial_tls(place: Place<'_>, to: SocketAddr) -> Result<Self> {
        Self::dial_openssl(place, to, Vec::new())
    }

    /// Connects in clear and begins TLS as `protocol` does, such as `smtp`; the certificate is not looked at.
    pub(crate) fn dial_starttls(place: Place<'_>, to: SocketAddr, protocol: &'static str) -> Result<Self> {
        Self::dial_openssl(place, to, vec!["-starttls", protocol])
    }

    fn dial_openssl(place: Place<'_>, to: SocketAddr, words: Vec<&'static str>) -> Result<Self> {
        let (mut program, port) = at(place, move |ip| {
            let port = Port::free(ip)?;
            let program = Command::new("openssl")
                .args(["s_client", "-quiet", "-verify_quiet"])
                .args(words)
                .args(["-bind", &port.addr().to_string(), "-connect", &to.to_string()])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .during("start openssl s_client")?;
            Ok((program, port))
        })?;
        let inbox = Feed::default();
        if let Some(out) = program.stdout.take() {
            inbox.follow(out);
        }
        let (stdin, addr) = (program.stdin.take(), port.addr());
        Ok(Self { way: Way::Tls { program, stdin, _port: port }, addr, inbox, read: Mark::default() })
    }

    /// The address that this client's connection comes from.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Sends `bytes` in one write.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result {
        let written = match &mut self.way {
            Way::Clear(stream) => stream.write_all(bytes),
            Way::Tls { stdin: Some(stdin), .. } => stdin.write_all(bytes).and_then(|()| stdin.flush()),
            Way::Tls { .. } => return failed("openssl s_client has no input"),
        };
        written.during("send")
    }

    /// Sends `bytes` one at a time, each in a segment of its own.
    pub(crate) fn send_split(&mut self, bytes: &[u8]) -> Result {
        bytes.iter().try_for_each(|byte| self.send(core::slice::from_ref(byte)))
    }

    /// The next line, without its end.
    pub(crate) fn line(&mut self, what: &str) -> Result<String> {
        let (line, read) = self.inbox.next_line(self.read, &format!("{what} to {}", self.addr))?;
        self.read = read;
        Ok(line)
    }

    /// The next `len` bytes.
    pub(crate) fn bytes(&mut self, len: usize, what: &str) -> Result<Vec<u8>> {
        let (bytes, read) = self.inbox.next_bytes(self.read, len, what)?;
        self.read = read;
        Ok(bytes)
    }

    /// Whatever else the server says before it closes.
    pub(crate) fn rest(&mut self, what: &str) -> Result<String> {
        let rest = self.inbox.wait_end(self.read, &format!("{what} to {}", self.addr), PATIENCE)?;
        Ok(String::from_utf8_lossy(&rest).into_owned())
    }

    /// Waits for an SMTP reply, all its lines, and expects it to begin with `code`.
    pub(crate) fn expect_reply(&mut self, code: &str) -> Result<String> {
        let mut reply = String::new();
        loop {
            let line = self.line(&format!("an SMTP reply {code}"))?;
            let goes_on = line.as_bytes().get(3) == Some(&b'-');
            reply.push_str(&line);
            if !goes_on {
                break;
            }
            reply.push('\n');
        }
        ensure(reply.starts_with(code), || format!("expected an SMTP reply {code}, got `{reply}`"))?;
        Ok(reply)
    }

    /// Sends one SMTP command and expects `code`.
    pub(crate) fn smtp(&mut self, command: &str, code: &str) -> Result<String> {
        self.send(format!("{command}\r\n").as_bytes())?;
        self.expect_reply(code)
    }

    /// Waits for the line that answers `tag`; the untagged lines before it come along.
    pub(crate) fn expect_tagged(&mut self, tag: &str) -> Result<String> {
        let mut answer = String::new();
        loop {
            let line = self.line(&format!("the IMAP answer {tag}"))?;
            answer.push_str(&line);
            if line.starts_with(&format!("{tag} ")) {
                return Ok(answer);
            }
            answer.push('\n');
        }
    }

    /// Sends one IMAP command and waits for its answer.
    pub(crate) fn imap(&mut self, tag: &str, command: &str) -> Result<String> {
        self.send(format!("{tag} {command}\r\n").as_bytes())?;
        self.expect_tagged(tag)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        match &mut self.way {
            Way::Clear(stream) => {
                let _closed_already = stream.shutdown(Shutdown::Both);
            }
            Way::Tls { program, stdin, .. } => {
                drop(stdin.take());
                let _gone_already = program.kill();
                let _status = program.wait();
            }
        }
    }
}

/// Does `work` with the client's address, where the client sits.
fn at<T: Send + 'static>(
    place: Place<'_>,
    work: impl FnOnce(IpAddr) -> Result<T> + Send + 'static,
) -> Result<T> {
    match place {
        Place::Here(ip) => work(ip),
        Place::Outside(outside, ip) => outside.enter(move || work(ip)),
    }
}
