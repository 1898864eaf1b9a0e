//! SMTP for one client: greeting, AUTH only behind TLS, and a Received line that names the client.

use std::io;
use std::net::IpAddr;

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::net::TcpStream;
use truepeer::{Client, ClientStream, ProxyOwnStream};

use super::door::Refusal;

/// RFC 5321, 4.5.3.1.6: a line of text has at most 1,000 octets.
const LINE: u64 = 1_000;

/// RFC 5321, 3.1 and 4.2: 554 is for good, 421 comes back.
pub(crate) fn refusal(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Denied => "554 5.7.1 mx.example.org takes no mail from you\r\n",
        Refusal::TooMany => "421 4.7.0 mx.example.org has too many sessions of yours, try again later\r\n",
    }
}

/// The proxy asks whether we are there. Mail over such a connection would be nobody's, and is put off.
pub(crate) async fn check(stream: ProxyOwnStream<TcpStream>) -> io::Result<()> {
    let mut stream = BufStream::new(stream);
    stream.write_all(b"220 mx.example.org ESMTP\r\n").await?;
    while let Some(line) = line(&mut stream).await? {
        let reply = match verb(&line).as_str() {
            "EHLO" | "HELO" | "NOOP" => "250 mx.example.org\r\n",
            "QUIT" => "221 bye\r\n",
            _ => "421 4.3.0 this connection names no client\r\n",
        };
        stream.write_all(reply.as_bytes()).await?;
        if reply.starts_with("221") || reply.starts_with("421") {
            break;
        }
    }
    stream.shutdown().await
}

pub(crate) async fn session(stream: ClientStream<TcpStream>, client: Client) -> io::Result<()> {
    // TLS ended at the proxy: only the header can tell whether there was any.
    let secure = client.identity().is_secure();
    let mut stream = BufStream::new(stream);
    let (mut name, mut recipient) = (String::new(), None);
    stream.write_all(b"220 mx.example.org ESMTP\r\n").await?;
    while let Some(line) = line(&mut stream).await? {
        let argument = line.split_once(' ').map_or("", |(_, argument)| argument.trim());
        let reply = match verb(&line).as_str() {
            "EHLO" => {
                name = argument.to_owned();
                let auth = if secure { "250-AUTH PLAIN\r\n" } else { "" };
                format!("250-mx.example.org greets {}\r\n{auth}250 8BITMIME\r\n", client.ip())
            }
            "HELO" => {
                name = argument.to_owned();
                format!("250 mx.example.org greets {}\r\n", client.ip())
            }
            "AUTH" if !secure => "538 5.7.11 encryption required\r\n".into(),
            // SPF (RFC 7208) and a block list ask about the client as well, never about the proxy.
            "MAIL" => format!("250 2.1.0 asked {}\r\n", dnsbl(client.ip(), "bl.example.org")),
            "RCPT" => {
                recipient = Some(argument.to_owned());
                "250 2.1.5 ok\r\n".into()
            }
            "DATA" if recipient.is_none() => "503 5.5.1 to whom?\r\n".into(),
            "DATA" => {
                stream.write_all(b"354 go on\r\n").await?;
                while self::line(&mut stream).await?.is_some_and(|line| line != ".\r\n") {}
                recipient = None;
                format!("250 2.0.0 {}\r\n", received(&name, &client, secure))
            }
            "NOOP" => "250 2.0.0 ok\r\n".into(),
            "QUIT" => "221 bye\r\n".into(),
            _ => "502 5.5.1 not here\r\n".into(),
        };
        stream.write_all(reply.as_bytes()).await?;
        if reply.starts_with("221") {
            break;
        }
    }
    stream.shutdown().await
}

/// RFC 5321, 4.4: who said what it was called, and where it really came from. RFC 3848 has the words.
fn received(name: &str, client: &Client, secure: bool) -> String {
    let with = if secure { "ESMTPS" } else { "ESMTP" };
    let literal = match client.ip() {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("IPv6:{ip}"),
    };
    format!("Received: from {name} ([{literal}]) by mx.example.org with {with}")
}

/// RFC 5782, 2.1 and 2.4: the address backwards, by octets or by nibbles.
fn dnsbl(client: IpAddr, zone: &str) -> String {
    let labels: Vec<String> = match client {
        IpAddr::V4(ip) => ip.octets().iter().rev().map(u8::to_string).collect(),
        IpAddr::V6(ip) => {
            ip.octets().iter().rev().map(|byte| format!("{:x}.{:x}", byte & 15, byte >> 4)).collect()
        }
    };
    format!("{}.{zone}", labels.join("."))
}

/// The next line, unless the client left or sent one without an end.
async fn line(stream: &mut (impl AsyncBufRead + AsyncWriteExt + Unpin)) -> io::Result<Option<String>> {
    stream.flush().await?;
    let mut line = Vec::new();
    let len = stream.take(LINE).read_until(b'\n', &mut line).await?;
    Ok((len > 0 && line.ends_with(b"\n")).then(|| String::from_utf8_lossy(&line).into_owned()))
}

fn verb(line: &str) -> String {
    line.split_whitespace().next().unwrap_or_default().to_ascii_uppercase()
}
