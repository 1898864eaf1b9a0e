//! IMAP for one client: a login only behind TLS, refusals in the protocol's own words.

use std::io;

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::net::TcpStream;
use truepeer::{Client, ClientStream, ProxyOwnStream};

use super::door::Refusal;

/// A command line that has no literals; servers should take 8,192 octets at least (RFC 7162, 4).
const LINE: u64 = 8_192;

/// RFC 9051, 7.1.5; the codes are those of RFC 5530.
pub(crate) fn refusal(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Denied => "* BYE [NOPERM] imap.example.org does not serve you\r\n",
        Refusal::TooMany => "* BYE [LIMIT] imap.example.org has too many sessions of yours\r\n",
    }
}

/// The proxy asks whether we are there. A login over such a connection would be nobody's.
pub(crate) async fn check(stream: ProxyOwnStream<TcpStream>) -> io::Result<()> {
    talk(BufStream::new(stream), None).await
}

pub(crate) async fn session(stream: ClientStream<TcpStream>, client: Client) -> io::Result<()> {
    talk(BufStream::new(stream), Some(client)).await
}

async fn talk(
    mut stream: impl AsyncBufRead + AsyncWriteExt + Unpin,
    client: Option<Client>,
) -> io::Result<()> {
    // TLS ended at the proxy: only the header can tell whether there was any.
    let secure = client.as_ref().is_some_and(|client| client.identity().is_secure());
    let capability = if secure { "IMAP4rev2 AUTH=PLAIN" } else { "IMAP4rev2 LOGINDISABLED" };
    stream.write_all(format!("* OK [CAPABILITY {capability}] imap.example.org\r\n").as_bytes()).await?;
    loop {
        stream.flush().await?;
        let mut line = Vec::new();
        let read = (&mut stream).take(LINE).read_until(b'\n', &mut line).await?;
        if read == 0 || !line.ends_with(b"\n") {
            return stream.shutdown().await;
        }
        let line = String::from_utf8_lossy(&line);
        let mut words = line.split_whitespace();
        let (tag, command) =
            (words.next().unwrap_or("*"), words.next().unwrap_or_default().to_ascii_uppercase());
        let reply = match (command.as_str(), &client) {
            ("CAPABILITY", _) => format!("* CAPABILITY {capability}\r\n{tag} OK done\r\n"),
            ("NOOP", _) => format!("{tag} OK done\r\n"),
            ("LOGOUT", _) => format!("* BYE bye\r\n{tag} OK done\r\n"),
            ("LOGIN" | "AUTHENTICATE", None) => {
                format!("{tag} NO [UNAVAILABLE] this connection names no client\r\n")
            }
            ("LOGIN" | "AUTHENTICATE", Some(_)) if !secure => {
                format!("{tag} NO [PRIVACYREQUIRED] encryption required\r\n")
            }
            // A failed login counts against the client's address.
            ("LOGIN" | "AUTHENTICATE", Some(client)) => {
                println!("login failed from {}", client.ip());
                format!("{tag} NO [AUTHENTICATIONFAILED] no\r\n")
            }
            _ => format!("{tag} BAD not here\r\n"),
        };
        stream.write_all(reply.as_bytes()).await?;
        if command == "LOGOUT" {
            stream.flush().await?;
            return stream.shutdown().await;
        }
    }
}
