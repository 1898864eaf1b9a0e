//! A listener as a stream of connections, for servers that ask for one: tonic, warp, hyper-util and others.
//!
//! Items are `Result`s that cannot fail, because that is what such servers take.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;

use crate::{Accept, ClientStream, Connection, ProxyListener};

/// Clients as a stream that ends where the listener does, for `serve_with_incoming` and the like. Made by
/// [`ProxyListener::into_stream`], and by `TlsListener::into_stream`.
///
/// A proxy's own connections are closed: anyone who checks this server's health with a header takes it for dead. See
/// [`CallersStream`].
#[derive(Debug)]
pub struct ClientsStream<T>(T);

/// Clients and proxies' own connections as a stream that ends where the listener does. Made by
/// [`ProxyListener::into_stream_any`], and by `TlsListener::into_stream_any`.
#[derive(Debug)]
pub struct CallersStream<T>(T);

impl<L: Accept> ProxyListener<L> {
    /// The clients as a stream, for tonic's `serve_with_incoming` and the like.
    #[must_use]
    pub fn into_stream(self) -> ClientsStream<Self> {
        ClientsStream(self)
    }

    /// The clients and proxies' own connections as a stream: health checks over the protocol that is served.
    #[must_use]
    pub fn into_stream_any(self) -> CallersStream<Self> {
        CallersStream(self)
    }
}

impl<L: Accept + Unpin> Stream for ClientsStream<ProxyListener<L>> {
    type Item = Result<ClientStream<L::Stream>, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next(cx).map(|next| next.map(Ok))
    }
}

impl<L: Accept + Unpin> Stream for CallersStream<ProxyListener<L>> {
    type Item = Result<Connection<L::Stream>, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next_any(cx).map(|next| next.map(Ok))
    }
}

#[cfg(feature = "tokio-rustls")]
mod tls {
    use super::*;
    use crate::{TlsConnection, TlsListener};

    impl<L: Accept> TlsListener<L> {
        /// The clients whose handshake is done as a stream: header first, then TLS. Each item is a
        /// [`TlsConnection::Client`], which tonic takes without a TLS feature of its own.
        #[must_use]
        pub fn into_stream(self) -> ClientsStream<Self> {
            ClientsStream(self)
        }

        /// The clients and proxies' own connections whose handshake is done as a stream: health checks over TLS.
        #[must_use]
        pub fn into_stream_any(self) -> CallersStream<Self> {
            CallersStream(self)
        }
    }

    impl<L: Accept + Unpin> Stream for ClientsStream<TlsListener<L>> {
        type Item = Result<TlsConnection<L::Stream>, Infallible>;

        fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            self.0.poll_next(cx).map(|next| next.map(|stream| Ok(TlsConnection::Client(stream))))
        }
    }

    impl<L: Accept + Unpin> Stream for CallersStream<TlsListener<L>> {
        type Item = Result<TlsConnection<L::Stream>, Infallible>;

        fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            self.0.poll_next_any(cx).map(|next| next.map(Ok))
        }
    }
}
