//! A mail server that knows nothing of headers: it greets at once and takes a header for commands.
//!
//! It behaves as Postfix and Dovecot were seen to without their PROXY setting. A v1 header costs one error and the
//! session goes on with the proxy as client; the QUIT inside a v2 signature ends an SMTP session, and its broken lines
//! end an IMAP session as too many errors.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use super::inbox::Inbox;
use super::server::{Conversation, Loopback, Server, Session};

/// What it speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailLanguage {
    /// SMTP; it even takes mail, so that a test can show what would have been relayed.
    Smtp,
    /// IMAP.
    Imap,
}

/// A mail server without PROXY support. Dropping it ends it.
#[derive(Debug)]
pub struct PlainMailServer {
    /// Who connected, as soon as the greeting is written.
    pub greeted: Inbox<SocketAddr>,
    /// Every byte of each connection, at its end.
    pub sessions: Inbox<Session>,
    server: Server,
}

/// How many commands that it does not know an IMAP server takes before it ends the session.
const MAX_BAD: usize = 3;

impl PlainMailServer {
    /// The greeting of the SMTP server.
    pub const SMTP_GREETING: &str = "220 fake.example ESMTP\r\n";
    /// The greeting of the IMAP server.
    pub const IMAP_GREETING: &str = "* OK fake.example ready\r\n";

    /// Starts one.
    #[must_use]
    pub fn start(loopback: Loopback, language: MailLanguage) -> Self {
        let (greet, greeted) = Inbox::new("a greeted connection");
        let (ended, sessions) = Inbox::new("the end of a connection");
        let server = Server::start(loopback, move |stream: Arc<TcpStream>| {
            let peer = stream.peer_addr();
            let conversation = Conversation::new(stream);
            conversation.send(match language {
                MailLanguage::Smtp => Self::SMTP_GREETING.as_bytes(),
                MailLanguage::Imap => Self::IMAP_GREETING.as_bytes(),
            });
            if let Ok(peer) = peer {
                let _ = greet.try_send(peer);
            }
            let _ = ended.try_send(converse(conversation, language));
        });
        Self { greeted, sessions, server }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }
}

fn converse(mut conversation: Conversation, language: MailLanguage) -> Session {
    let (mut unread, mut bad) = (Vec::new(), 0);
    loop {
        let piece = conversation.receive();
        if piece.is_empty() {
            return conversation.ended();
        }
        unread.extend(piece);
        while let Some(end) = unread.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = unread.drain(..=end).collect();
            let line = line.trim_ascii_end().to_vec();
            let (answer, last) = match language {
                MailLanguage::Smtp => smtp(&line),
                MailLanguage::Imap => imap(&line, &mut bad),
            };
            conversation.send(answer.as_bytes());
            if last {
                return conversation.end();
            }
        }
    }
}

/// The answer, and whether it is the last one.
fn smtp(line: &[u8]) -> (String, bool) {
    let verb = line.split(|byte| *byte == b' ').next().unwrap_or_default().to_ascii_uppercase();
    match verb.as_slice() {
        b"EHLO" | b"HELO" => ("250 fake.example\r\n".to_owned(), false),
        b"MAIL" | b"RCPT" | b"NOOP" | b"RSET" => ("250 2.0.0 Ok\r\n".to_owned(), false),
        b"QUIT" => ("221 2.0.0 Bye\r\n".to_owned(), true),
        _ => ("500 5.5.2 Error: bad syntax\r\n".to_owned(), false),
    }
}

/// The answer, and whether it is the last one.
fn imap(line: &[u8], bad: &mut usize) -> (String, bool) {
    let text = String::from_utf8_lossy(line);
    let (tag, command) = text.split_once(' ').unwrap_or((&text, ""));
    match command.to_ascii_uppercase().as_str() {
        "CAPABILITY" => (format!("* CAPABILITY IMAP4rev1\r\n{tag} OK done\r\n"), false),
        "NOOP" => (format!("{tag} OK done\r\n"), false),
        "LOGOUT" => (format!("* BYE Logging out\r\n{tag} OK done\r\n"), true),
        _ => {
            *bad += 1;
            if *bad >= MAX_BAD {
                return ("* BYE Too many invalid IMAP commands.\r\n".to_owned(), true);
            }
            let tag = if tag.is_empty() { "*" } else { tag };
            (format!("{tag} BAD Error in IMAP command received by server.\r\n"), false)
        }
    }
}
