//! `axum::serve` on a listener of ours, and `ConnectInfo<Client>` in handlers.
//!
//! `axum::serve` waits inside `accept` and spawns only afterwards, so everything depends on an accept that waits for
//! nobody: that is the listener's promise, and nothing is added here.

use std::io;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener, TapIo};

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

/// axum has one type for peers and for the address listened on.
fn bound<L: Accept>(listener: &ProxyListener<L>) -> io::Result<PeerAddress> {
    let addr = listener.as_listener().ok_or(io::ErrorKind::NotConnected)?.local_addr()?;
    Ok(addr.map_or(PeerAddress::Unix { uid: None }, PeerAddress::tcp))
}
