//! For `tracing`: what a listener reports, as events with structured fields and a message that is always the same; and
//! who is calling, as a span.
//!
//! What a stranger can bring about is `info`, however bad it is; `warn` is for the operator.

use tracing::Span;
use tracing::field::{Empty, display};

use super::{ListenerEvent, Refusal};
use crate::{Caller, Client, Endpoint, ProxyOwn};

impl Client {
    /// A span of target `truepeer` and level `info` for everything that is done for this client:
    /// `serve(stream).instrument(client.span())`.
    ///
    /// Fields: `client`, `peer`, `destination` where it was told, `source` (`direct`, `v1`, `v2`), `secure`.
    #[must_use]
    pub fn span(&self) -> Span {
        let identity = self.identity();
        let (peer, source, secure) = (identity.peer(), identity.source().code(), identity.is_secure());
        let destination = identity.destination().map(display::<Endpoint>);
        let span = tracing::info_span!(
            target: "truepeer", "connection", client = %self, %peer, destination = Empty, source, secure
        );
        if let Some(destination) = destination {
            span.record("destination", destination);
        }
        span
    }
}

impl ProxyOwn {
    /// As [`Client::span`], for a proxy's own connection. Fields: `own`, its code, and `peer`.
    #[must_use]
    pub fn span(&self) -> Span {
        tracing::info_span!(target: "truepeer", "connection", own = self.why().code(), peer = %self.peer())
    }
}

impl Caller {
    /// The span of whichever it is.
    #[must_use]
    pub fn span(&self) -> Span {
        match self {
            Self::Client(client) => client.span(),
            Self::ProxyOwn(own) => own.span(),
        }
    }
}

/// Fields: `code` and `fault` as [`ListenerEvent`] has them, `peer` where there is one, and `reason`, the sentence.
pub(super) fn trace(event: &ListenerEvent) {
    let (code, fault) = (event.code(), event.fault());
    match event {
        ListenerEvent::Refused(refusal) => {
            let peer = Refusal::peer(refusal);
            tracing::info!(target: "truepeer", code, ?fault, %peer, reason = %event, "connection refused");
        }
        ListenerEvent::ProxyOwnClosed(own) => {
            let peer = own.peer();
            tracing::info!(target: "truepeer", code, ?fault, %peer, reason = %event, "proxy's own connection closed");
        }
        ListenerEvent::AcceptFailed { pause, .. } if pause.is_zero() => {
            tracing::info!(target: "truepeer", code, ?fault, reason = %event, "accept failed");
        }
        ListenerEvent::AcceptFailed { .. } => {
            tracing::warn!(target: "truepeer", code, ?fault, reason = %event, "accept failed");
        }
        #[cfg(feature = "tokio-rustls")]
        ListenerEvent::TlsFailed { caller, .. } => {
            tracing::info!(target: "truepeer", code, ?fault, %caller, reason = %event, "TLS handshake failed");
        }
    }
}
