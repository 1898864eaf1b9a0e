//! The ways to tell a backend who the client is.

/// `backend.<id>.handoff`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Handoff {
    /// A v2 header.
    ProxyV2,
    /// A v1 header.
    ProxyV1,
    /// Nothing: the backend sees us as the client.
    None,
}

impl Handoff {
    /// The word in the configuration and in logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ProxyV2 => "proxy-v2",
            Self::ProxyV1 => "proxy-v1",
            Self::None => "none",
        }
    }
}
