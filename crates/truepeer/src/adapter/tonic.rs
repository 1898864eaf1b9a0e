//! gRPC: connections as the stream that tonic wants, and `Client` in the extensions of every request.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use tonic::transport::server::Connected;

use crate::{Accept, Caller, Client, ClientStream, Connection, ProxyListener};

/// Requests carry the [`Client`] in their extensions. With tonic's own TLS it is inside its TLS connect info.
impl<S> Connected for ClientStream<S> {
    type ConnectInfo = Client;

    fn connect_info(&self) -> Client {
        self.client().clone()
    }
}

/// Requests carry the [`Caller`] in their extensions.
impl<S> Connected for Connection<S> {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        self.caller()
    }
}

/// Clients as a stream that ends where the listener does, for `serve_with_incoming`. Made by [`ProxyListener::into_stream`].
#[derive(Debug)]
pub struct ClientsStream<L: Accept>(ProxyListener<L>);

impl<L: Accept> ProxyListener<L> {
    /// The clients as a stream, for tonic's `serve_with_incoming`.
    #[must_use]
    pub fn into_stream(self) -> ClientsStream<L> {
        ClientsStream(self)
    }
}

impl<L: Accept + Unpin> Stream for ClientsStream<L> {
    type Item = Result<ClientStream<L::Stream>, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next(cx).map(|next| next.map(Ok))
    }
}
