//! gRPC: who is calling, in the extensions of every request. The streams of connections are in `stream.rs`.

use tonic::transport::server::Connected;

use crate::{Caller, Client, ClientStream, Connection};

/// Requests carry the [`Client`] in their extensions.
///
/// With tonic's own TLS (`ServerTlsConfig`) it is there as well, beside a `TlsConnectInfo<Client>` that has the
/// certificates. From a `TlsListener` it is in a `TlsCaller`, which has the certificates, too; `ClientLayer` takes the
/// client out of it.
///
/// tonic's `Request::remote_addr()` looks for tonic's own type only and is `None`, unless `ClientLayer` stands before
/// the service: then it is the **client's** address, and `local_addr()` the one that the client connected to.
/// `Request::peer_certs()` is always `None`, since nobody but tonic can make what it looks for.
impl<S> Connected for ClientStream<S> {
    type ConnectInfo = Client;

    fn connect_info(&self) -> Client {
        self.client().clone()
    }
}

/// Requests carry the [`Caller`] in their extensions, with tonic's own TLS beside a `TlsConnectInfo<Caller>`; all else is
/// as with a [`ClientStream`].
impl<S> Connected for Connection<S> {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        self.caller()
    }
}

#[cfg(feature = "tokio-rustls")]
pub(crate) mod tls {
    use std::sync::Arc;

    use tokio_rustls::rustls::pki_types::CertificateDer;

    use super::*;
    use crate::TlsConnection;

    /// Who is calling through TLS, in the extensions of every request of a [`TlsConnection`].
    ///
    /// In place of tonic's `Request::peer_certs()` it has [`peer_certificates`](Self::peer_certificates).
    #[derive(Debug, Clone)]
    pub struct TlsCaller {
        caller: Caller,
        certificates: Option<Arc<[CertificateDer<'static>]>>,
    }

    impl TlsCaller {
        /// A client, or the proxy itself.
        #[must_use]
        pub fn caller(&self) -> &Caller {
            &self.caller
        }

        /// The verified certificates of the other end of TLS, its own first; `None` if it sent none.
        ///
        /// Where a proxy moves bytes this is the client; where it speaks TLS to us, the proxy.
        #[must_use]
        pub fn peer_certificates(&self) -> Option<&[CertificateDer<'static>]> {
            self.certificates.as_deref()
        }
    }

    /// Requests carry the [`TlsCaller`] in their extensions.
    impl<S> Connected for TlsConnection<S> {
        type ConnectInfo = TlsCaller;

        fn connect_info(&self) -> TlsCaller {
            let certificates = self.session().peer_certificates().map(Arc::from);
            TlsCaller { caller: self.caller(), certificates }
        }
    }
}
