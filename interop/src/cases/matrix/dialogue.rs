//! What a client says to each server, and what it hears.

use super::{Cell, Content, Receiver};
use crate::client::Client;
use crate::verdict::{Result, ensure};

impl Receiver {
    /// How TLS begins where it does not begin with the connection, as openssl names it.
    pub(super) const fn starttls(self) -> Option<&'static str> {
        match self {
            Self::Postscreen | Self::Exim | Self::Opensmtpd | Self::Submission => Some("smtp"),
            Self::Sieve => Some("sieve"),
            Self::Lmtp => Some("lmtp"),
            Self::Postfix | Self::Imap | Self::Pop3 | Self::Stalwart | Self::Http => None,
        }
    }
}

/// A whole session that asks for nothing; what the server said in it.
pub(super) fn talk(client: &mut Client, cell: Cell) -> Result<String> {
    // After STARTTLS the greeting is behind us.
    let greets = cell.content == Content::Clear || cell.receiver.starttls().is_none();
    match cell.receiver {
        Receiver::Http => {
            client.send(b"GET / HTTP/1.1\r\nHost: web.interop.test\r\nConnection: close\r\n\r\n")?;
            client.rest("the web server answers")
        }
        Receiver::Imap => {
            expect(client, "* OK")?;
            client.imap("a1", "LOGOUT")
        }
        Receiver::Pop3 => {
            expect(client, "+OK")?;
            client.send(b"QUIT\r\n")?;
            expect(client, "+OK")
        }
        Receiver::Sieve => {
            // The capabilities, which a server repeats after STARTTLS, and openssl swallows neither.
            client.send(b"LOGOUT\r\n")?;
            let heard = client.rest("Dovecot closes after LOGOUT")?;
            ensure(heard.contains("OK"), || format!("expected `OK`, got `{heard}`"))?;
            Ok(heard)
        }
        Receiver::Lmtp => smtp(client, greets, "LHLO client.interop.test"),
        _ => smtp(client, greets, "EHLO client.interop.test"),
    }
}

fn smtp(client: &mut Client, greets: bool, hello: &str) -> Result<String> {
    if greets {
        client.expect_reply("220")?;
    }
    client.send(format!("{hello}\r\n").as_bytes())?;
    // openssl shows the last line of what it has read before.
    let mut heard = client.expect_reply("250")?;
    if !greets && !heard.contains('\n') {
        heard = client.expect_reply("250")?;
    }
    client.smtp("QUIT", "221")?;
    Ok(heard)
}

fn expect(client: &mut Client, words: &str) -> Result<String> {
    let line = client.line(words)?;
    ensure(line.starts_with(words), || format!("expected `{words}`, got `{line}`"))?;
    Ok(line)
}
