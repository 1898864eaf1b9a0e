//! `axum::serve` on a listener of ours, and `ConnectInfo<Client>` in handlers.
//!
//! `axum::serve` waits inside `accept` and spawns only afterwards, so everything depends on an accept that waits for
//! nobody: that is the listener's promise, and nothing is added here.

use core::fmt;
use core::net::SocketAddr;
use std::io;

use axum::extract::connect_info::Connected;
use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use axum::serve::{IncomingStream, Listener, ListenerExt, TapIo};

use super::find::find;
use crate::{Accept, Caller, Client, ClientStream, Connection, PeerAddress, ProxyListener};

/// For `axum::serve`: clients only. The address is the peer's; the client is `ConnectInfo<Client>`.
impl<L: Accept> Listener for ProxyListener<L> {
    type Io = ClientStream<L::Stream>;
    type Addr = PeerAddress;

    async fn accept(&mut self) -> (Self::Io, PeerAddress) {
        let stream = Self::accept(self).await;
        let peer = stream.client().identity().peer();
        (stream, peer)
    }

    fn local_addr(&self) -> io::Result<PeerAddress> {
        bound(self)
    }
}

impl<L: Accept> Connected<IncomingStream<'_, ProxyListener<L>>> for Client {
    fn connect_info(stream: IncomingStream<'_, ProxyListener<L>>) -> Self {
        stream.io().client().clone()
    }
}

impl<L, F> Connected<IncomingStream<'_, TapIo<ProxyListener<L>, F>>> for Client
where
    L: Accept,
    F: FnMut(&mut ClientStream<L::Stream>) + Send + 'static,
{
    fn connect_info(stream: IncomingStream<'_, TapIo<ProxyListener<L>, F>>) -> Self {
        stream.io().client().clone()
    }
}

/// A listener for `axum::serve` that serves proxies' own connections as well: health checks over HTTP.
///
/// Handlers ask for `ConnectInfo<Caller>` and have to look which it is. Made by [`ProxyListener::with_proxy_own`], and
/// by `TlsListener::with_proxy_own`.
#[derive(Debug)]
pub struct WithProxyOwn<T>(T);

impl<L: Accept> ProxyListener<L> {
    /// Serves proxies' own connections as well as clients, through `axum::serve`.
    ///
    /// ```no_run
    /// # use axum::{Router, extract::ConnectInfo, routing::get};
    /// # use truepeer::{Caller, ProxyListener};
    /// # async fn serve(listener: ProxyListener) -> std::io::Result<()> {
    /// async fn hello(ConnectInfo(caller): ConnectInfo<Caller>) -> String {
    ///     match caller {
    ///         Caller::Client(client) => format!("hello {client}\n"),
    ///         Caller::ProxyOwn(own) => format!("healthy, {own}\n"),
    ///     }
    /// }
    /// let app = Router::new().route("/", get(hello)).into_make_service_with_connect_info::<Caller>();
    /// axum::serve(listener.with_proxy_own(), app).await
    /// # }
    /// ```
    #[must_use]
    pub fn with_proxy_own(self) -> WithProxyOwn<Self> {
        WithProxyOwn(self)
    }
}

impl<L: Accept> Listener for WithProxyOwn<ProxyListener<L>> {
    type Io = Connection<L::Stream>;
    type Addr = PeerAddress;

    async fn accept(&mut self) -> (Self::Io, PeerAddress) {
        let connection = self.0.accept_any().await;
        let peer = connection.peer();
        (connection, peer)
    }

    fn local_addr(&self) -> io::Result<PeerAddress> {
        bound(&self.0)
    }
}

impl<L: Accept> Connected<IncomingStream<'_, WithProxyOwn<ProxyListener<L>>>> for Caller {
    fn connect_info(stream: IncomingStream<'_, WithProxyOwn<ProxyListener<L>>>) -> Self {
        stream.io().caller()
    }
}

impl<L, F> Connected<IncomingStream<'_, TapIo<WithProxyOwn<ProxyListener<L>>, F>>> for Caller
where
    L: Accept,
    F: FnMut(&mut Connection<L::Stream>) + Send + 'static,
{
    fn connect_info(stream: IncomingStream<'_, TapIo<WithProxyOwn<ProxyListener<L>>, F>>) -> Self {
        stream.io().caller()
    }
}

/// A listener for `axum::serve` whose connect info is the client's plain socket address. Made by
/// [`ProxyListener::with_socket_addr`], and by `TlsListener::with_socket_addr`.
#[derive(Debug)]
pub struct WithSocketAddr<T>(T);

/// Does nothing to a connection. axum lets nobody but a `TapIo` have a foreign type such as `SocketAddr` as connect
/// info.
pub type Untouched<T> = TapIo<WithSocketAddr<T>, fn(&mut <WithSocketAddr<T> as Listener>::Io)>;

impl<L: Accept> ProxyListener<L> {
    /// Serves through `axum::serve` with `ConnectInfo<SocketAddr>`, the **client's** address, for rate limiters and
    /// extractors that know no other. Its port is 0 where none was told. Proxies' own connections are closed.
    ///
    /// To have [`Client`] as well, keep `ConnectInfo<Client>` and add `ClientLayer`, which brings both.
    ///
    /// ```no_run
    /// # use std::net::SocketAddr;
    /// # use axum::{Router, extract::ConnectInfo, routing::get};
    /// # async fn serve(listener: truepeer::ProxyListener) -> std::io::Result<()> {
    /// async fn hello(ConnectInfo(client): ConnectInfo<SocketAddr>) -> String {
    ///     format!("hello {client}\n")
    /// }
    /// let app = Router::new().route("/", get(hello)).into_make_service_with_connect_info::<SocketAddr>();
    /// axum::serve(listener.with_socket_addr(), app).await
    /// # }
    /// ```
    #[must_use]
    pub fn with_socket_addr(self) -> Untouched<Self> {
        WithSocketAddr(self).tap_io(|_| ())
    }
}

impl<L: Accept> Listener for WithSocketAddr<ProxyListener<L>> {
    type Io = ClientStream<L::Stream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        let stream = self.0.accept().await;
        let client = stream.client().endpoint().to_socket_addr(0);
        (stream, client)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        bound_socket(&self.0)
    }
}

/// Why an extractor has no [`Client`] or no [`Caller`] for a handler. As an answer it is a status and this sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientRejection {
    /// Nobody told who is calling: 500, since that is a mistake of the server's.
    NotTold,
    /// The proxy calls for itself, and the handler is for clients: 403. A handler that takes an `Option<Client>` or a
    /// [`Caller`] may answer health checks.
    ProxyOwn,
}

impl fmt::Display for ClientRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotTold => {
                "nobody told who is calling: serve a ProxyListener with \
                 into_make_service_with_connect_info::<Client>()"
            }
            Self::ProxyOwn => "this is for clients, and the proxy is calling for itself",
        })
    }
}

impl core::error::Error for ClientRejection {}

impl IntoResponse for ClientRejection {
    fn into_response(self) -> Response {
        let status = match self {
            Self::NotTold => StatusCode::INTERNAL_SERVER_ERROR,
            Self::ProxyOwn => StatusCode::FORBIDDEN,
        };
        (status, self.to_string()).into_response()
    }
}

/// The client as an argument of a handler, from a `ConnectInfo` of it or from the layer.
impl<S: Sync> FromRequestParts<S> for Client {
    type Rejection = ClientRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ClientRejection> {
        match find(&parts.extensions).ok_or(ClientRejection::NotTold)? {
            Caller::Client(client) => Ok(client),
            Caller::ProxyOwn(_) => Err(ClientRejection::ProxyOwn),
        }
    }
}

/// `None` for a proxy's own request.
impl<S: Sync> OptionalFromRequestParts<S> for Client {
    type Rejection = ClientRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, ClientRejection> {
        find(&parts.extensions).ok_or(ClientRejection::NotTold).map(|caller| caller.client().cloned())
    }
}

/// Who is calling as an argument of a handler.
impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = ClientRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ClientRejection> {
        find(&parts.extensions).ok_or(ClientRejection::NotTold)
    }
}

#[cfg(feature = "tokio-rustls")]
mod tls {
    use super::*;
    use crate::{TlsConnection, TlsListener};
    use tokio_rustls::server::TlsStream;

    /// For `axum::serve`: header first, then TLS, then HTTP.
    impl<L: Accept> Listener for TlsListener<L> {
        type Io = TlsStream<ClientStream<L::Stream>>;
        type Addr = PeerAddress;

        async fn accept(&mut self) -> (Self::Io, PeerAddress) {
            let stream = Self::accept(self).await;
            let peer = stream.get_ref().0.client().identity().peer();
            (stream, peer)
        }

        fn local_addr(&self) -> io::Result<PeerAddress> {
            bound(self.as_listener())
        }
    }

    impl<L: Accept> Connected<IncomingStream<'_, TlsListener<L>>> for Client {
        fn connect_info(stream: IncomingStream<'_, TlsListener<L>>) -> Self {
            stream.io().get_ref().0.client().clone()
        }
    }

    impl<L, F> Connected<IncomingStream<'_, TapIo<TlsListener<L>, F>>> for Client
    where
        L: Accept,
        F: FnMut(&mut TlsStream<ClientStream<L::Stream>>) + Send + 'static,
    {
        fn connect_info(stream: IncomingStream<'_, TapIo<TlsListener<L>, F>>) -> Self {
            stream.io().get_ref().0.client().clone()
        }
    }

    impl<L: Accept> TlsListener<L> {
        /// Serves proxies' own connections as well as clients, through `axum::serve`: health checks over HTTPS.
        #[must_use]
        pub fn with_proxy_own(self) -> WithProxyOwn<Self> {
            WithProxyOwn(self)
        }
    }

    impl<L: Accept> TlsListener<L> {
        /// As [`ProxyListener::with_socket_addr`], behind TLS.
        #[must_use]
        pub fn with_socket_addr(self) -> Untouched<Self> {
            WithSocketAddr(self).tap_io(|_| ())
        }
    }

    impl<L: Accept> Listener for WithSocketAddr<TlsListener<L>> {
        type Io = TlsStream<ClientStream<L::Stream>>;
        type Addr = SocketAddr;

        async fn accept(&mut self) -> (Self::Io, SocketAddr) {
            let stream = self.0.accept().await;
            let client = stream.get_ref().0.client().endpoint().to_socket_addr(0);
            (stream, client)
        }

        fn local_addr(&self) -> io::Result<SocketAddr> {
            bound_socket(self.0.as_listener())
        }
    }

    impl<L: Accept> Listener for WithProxyOwn<TlsListener<L>> {
        type Io = TlsConnection<L::Stream>;
        type Addr = PeerAddress;

        async fn accept(&mut self) -> (Self::Io, PeerAddress) {
            let connection = self.0.accept_any().await;
            let peer = connection.peer();
            (connection, peer)
        }

        fn local_addr(&self) -> io::Result<PeerAddress> {
            bound(self.0.as_listener())
        }
    }

    impl<L: Accept> Connected<IncomingStream<'_, WithProxyOwn<TlsListener<L>>>> for Caller {
        fn connect_info(stream: IncomingStream<'_, WithProxyOwn<TlsListener<L>>>) -> Self {
            stream.io().caller()
        }
    }

    impl<L, F> Connected<IncomingStream<'_, TapIo<WithProxyOwn<TlsListener<L>>, F>>> for Caller
    where
        L: Accept,
        F: FnMut(&mut TlsConnection<L::Stream>) + Send + 'static,
    {
        fn connect_info(stream: IncomingStream<'_, TapIo<WithProxyOwn<TlsListener<L>>, F>>) -> Self {
            stream.io().caller()
        }
    }
}

/// The address that is listened on, where there is one.
fn bound_socket<L: Accept>(listener: &ProxyListener<L>) -> io::Result<SocketAddr> {
    let listener = listener.as_listener().ok_or(io::ErrorKind::NotConnected)?;
    listener.local_addr()?.ok_or(io::ErrorKind::Unsupported.into())
}

/// axum has one type for peers and for the address listened on.
fn bound<L: Accept>(listener: &ProxyListener<L>) -> io::Result<PeerAddress> {
    let addr = listener.as_listener().ok_or(io::ErrorKind::NotConnected)?.local_addr()?;
    Ok(addr.map_or(PeerAddress::Unix { uid: None }, PeerAddress::tcp))
}
