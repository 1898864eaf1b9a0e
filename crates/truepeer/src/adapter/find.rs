//! Where servers keep who is calling: the extensions of a request, in the form of the layer that put it there.
//!
//! Used by the layer and by the extractors. It believes the connection, never the request.

#[cfg(all(feature = "axum", not(feature = "tower")))]
use axum::http::Extensions;
#[cfg(feature = "tower")]
use http::Extensions;

use crate::{Caller, Client};

/// Who is calling, if a listener of ours has told.
pub(super) fn find(extensions: &Extensions) -> Option<Caller> {
    if let Some(client) = extensions.get::<Client>() {
        return Some(Caller::Client(client.clone()));
    }
    if let Some(caller) = extensions.get::<Caller>() {
        return Some(caller.clone());
    }
    #[cfg(all(feature = "tonic", feature = "tokio-rustls"))]
    if let Some(caller) = extensions.get::<crate::TlsCaller>() {
        return Some(caller.caller().clone());
    }
    #[cfg(feature = "axum")]
    {
        use axum::extract::ConnectInfo;
        if let Some(ConnectInfo(client)) = extensions.get::<ConnectInfo<Client>>() {
            return Some(Caller::Client(client.clone()));
        }
        if let Some(ConnectInfo(caller)) = extensions.get::<ConnectInfo<Caller>>() {
            return Some(caller.clone());
        }
    }
    None
}
