//! What a listener reports, as events of `tracing`: structured fields, and a message that is always the same.
//!
//! What a stranger can bring about is `info`, however bad it is; `warn` is for the operator.

use super::{ListenerEvent, Refusal};

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
