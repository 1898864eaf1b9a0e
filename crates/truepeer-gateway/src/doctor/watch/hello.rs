//! The name that a TLS ClientHello asks for.

/// What a ClientHello says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hello {
    /// The host name, as sent.
    pub(super) server_name: Option<Vec<u8>>,
    /// The protocols that it offers, as sent.
    pub(super) alpn: Vec<Vec<u8>>,
}

/// Reads the first record of `bytes`, as far as it is there; `None` if it is no ClientHello.
///
/// Source: RFC 8446 4.1.2, RFC 6066 3, RFC 7301 3.1.
pub(super) fn read(bytes: &[u8]) -> Option<Hello> {
    const CLIENT_HELLO: u8 = 1;
    let [0x16, 3, _, _, _, handshake @ ..] = bytes else { return None };
    let mut rest = Rest(handshake);
    if rest.byte()? != CLIENT_HELLO {
        return None;
    }
    let mut hello = Hello { server_name: None, alpn: Vec::new() };
    // What is cut off says nothing; what was read stays.
    let _ = extensions(&mut rest, &mut hello);
    Some(hello)
}

fn extensions(rest: &mut Rest<'_>, hello: &mut Hello) -> Option<()> {
    const SERVER_NAME: u16 = 0;
    const ALPN: u16 = 16;
    rest.take(3)?; // length of the handshake message
    rest.take(2 + 32)?; // version and random
    let session = rest.byte()?;
    rest.take(session.into())?;
    let ciphers = rest.short()?;
    rest.take(ciphers.into())?;
    let compressions = rest.byte()?;
    rest.take(compressions.into())?;
    rest.short()?; // length of all extensions
    loop {
        let kind = rest.short()?;
        let len = rest.short()?;
        let mut value = Rest(rest.take(len.into())?);
        match kind {
            SERVER_NAME => hello.server_name = name(&mut value),
            ALPN => {
                value.short()?;
                while let Some(len) = value.byte() {
                    hello.alpn.push(value.take(len.into())?.to_vec());
                }
            }
            _ => {}
        }
    }
}

fn name(value: &mut Rest<'_>) -> Option<Vec<u8>> {
    const HOST_NAME: u8 = 0;
    value.short()?;
    (value.byte()? == HOST_NAME).then_some(())?;
    let len = value.short()?;
    Some(value.take(len.into())?.to_vec())
}

struct Rest<'b>(&'b [u8]);

impl<'b> Rest<'b> {
    fn take(&mut self, count: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn short(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(*self.take(2)?.first_chunk()?))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio_rustls::rustls::crypto::ring;
    use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore};

    use super::*;

    /// What rustls sends.
    fn hello(name: &str, alpn: &[&str]) -> Vec<u8> {
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let mut client =
            ClientConnection::new(Arc::new(config), name.to_owned().try_into().unwrap()).unwrap();
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn the_name_and_the_protocols_are_found() {
        let bytes = hello("mx.example.org", &["imap", "h2"]);
        let read = read(&bytes).unwrap();
        assert_eq!(read.server_name.unwrap(), b"mx.example.org");
        assert_eq!(read.alpn, [b"imap".to_vec(), b"h2".to_vec()]);
    }

    #[test]
    fn without_a_name_there_is_none_and_cut_ones_never_panic() {
        let bytes = hello("192.0.2.1", &[]);
        assert_eq!(read(&bytes).unwrap(), Hello { server_name: None, alpn: Vec::new() });
        let whole = hello("mx.example.org", &["imap"]);
        for end in 0..whole.len() {
            let _ = read(&whole[..end]);
            let mut other = whole.clone();
            other[end] ^= 0xff;
            let _ = read(&other);
        }
        assert_eq!(read(b"EHLO a\r\n"), None);
    }
}
