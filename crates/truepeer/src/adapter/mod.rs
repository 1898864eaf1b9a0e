//! The listener in the shapes that servers ask for. Each behind a feature of its name; none decides anything.

#[cfg(feature = "actix")]
pub(crate) mod actix;
#[cfg(feature = "axum")]
pub(crate) mod axum;
#[cfg(any(feature = "axum", feature = "tower"))]
mod find;
#[cfg(feature = "hyper-util")]
pub(crate) mod hyper_util;
#[cfg(feature = "serde")]
mod serde;
#[cfg(feature = "stream")]
pub(crate) mod stream;
#[cfg(feature = "tokio-rustls")]
pub(crate) mod tls;
#[cfg(feature = "tonic")]
pub(crate) mod tonic;
#[cfg(feature = "tower")]
pub(crate) mod tower;
