//! A connector for hyper-util's client: to HTTP backends that expect a header.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;

use crate::{OutgoingHeader, connect};

/// Connects to the host and port of a URI and sends a header first, for `hyper_util::client::legacy::Client`.
///
/// A header speaks for one client and a connection has one header, while hyper-util's client keeps connections and
/// sends any request over them. So **one such client for each client that you speak for**, never a shared one: it would
/// send one client's requests in another's name. It is made in no time; `pool_max_idle_per_host(0)` saves what is of no
/// use.
///
/// For HTTPS wrap it, as hyper-rustls' `HttpsConnector` does with any connector: the header comes before TLS.
#[derive(Debug, Clone)]
pub struct HeaderConnector {
    header: OutgoingHeader,
}

impl HeaderConnector {
    /// Every connection begins with `header`.
    #[must_use]
    pub fn new(header: OutgoingHeader) -> Self {
        Self { header }
    }
}

impl Service<Uri> for HeaderConnector {
    type Response = TokioIo<TcpStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TokioIo<TcpStream>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let header = self.header.clone();
        Box::pin(async move {
            let no_host = || io::Error::new(io::ErrorKind::InvalidInput, format!("{uri} names no host"));
            // An IPv6 address stands in brackets there and nowhere else.
            let host = uri.host().ok_or_else(no_host)?.trim_matches(['[', ']']);
            let stream = connect((host, port(&uri)), &header).await?;
            stream.set_nodelay(true)?;
            Ok(TokioIo::new(stream))
        })
    }
}

fn port(uri: &Uri) -> u16 {
    let usual = if uri.scheme_str() == Some("https") { 443 } else { 80 };
    uri.port_u16().unwrap_or(usual)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_without_a_port_means_its_schemes() {
        for (uri, wanted) in [
            ("http://a.example/", 80),
            ("https://a.example/", 443),
            ("http://a.example:8080/", 8080),
            ("https://[2001:db8::1]:8443/", 8443),
        ] {
            assert_eq!(port(&uri.parse().unwrap()), wanted, "{uri}");
        }
    }
}
