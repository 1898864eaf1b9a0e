//! A layer that puts the client into request extensions and takes forged forwarding fields out of the request.
//!
//! For axum, tonic and hyper alike. It believes the connection, never the request.

use std::task::{Context, Poll};

use http::{HeaderMap, HeaderName, Request};
use tower_layer::Layer;
use tower_service::Service;

use super::find::find;
use crate::{Client, IdentitySource};

/// Puts the [`Client`] into the extensions of each request, and removes the fields by which proxies name a client.
///
/// These are everything that begins with `X-Forwarded-` or `X-Original-Forwarded-`, everything that ends as
/// [`CLIENT_FIELD_ENDINGS`](ClientLayer::CLIENT_FIELD_ENDINGS) says, and
/// [`CLIENT_FIELDS`](ClientLayer::CLIENT_FIELDS), in any case, with dashes or underscores. No list can have the names
/// that are invented next; a field of your own which ends so is taken out as well.
/// They are removed from **all** requests by default. A direct client has made them up itself. And a proxy
/// that sends a header usually moves bytes without looking at them, so that behind it, too, they are the client's.
/// See [`ClientLayer::keep_fields_of_proxies`] for the other kind.
///
/// What others ask for is there, too: with the feature `axum` a `ConnectInfo<SocketAddr>`, which rate limiters and
/// extractors of other crates look for, and with `tonic` what `Request::remote_addr()` answers. Both are the client's
/// address, with port 0 where none was told.
///
/// Requests whose client is not known, because the server was not given a `ProxyListener`,
/// pass without an extension, and without the fields.
#[derive(Debug, Clone, Default)]
pub struct ClientLayer {
    client: Option<Client>,
    fields: Fields,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Fields {
    #[default]
    RemoveAll,
    KeepProxies,
}

impl ClientLayer {
    /// Fields by which some proxy or network names a client, and which some framework therefore believes.
    /// [`CLIENT_FIELD_ENDINGS`](Self::CLIENT_FIELD_ENDINGS) has their kin.
    pub const CLIENT_FIELDS: &'static [&'static str] = &[
        "forwarded",
        "x-forwarded",
        "x-envoy-external-address",
        "x-azure-socketip",
        "cf-connecting-ipv6",
        "cf-pseudo-ipv4",
        "x-vercel-proxied-for",
    ];

    /// How the names of such fields end, no matter who invented them: `X-Real-IP` as well as `Ali-CDN-Real-IP`,
    /// `True-Client-IP` as well as `WL-Proxy-Client-IP`.
    pub const CLIENT_FIELD_ENDINGS: &'static [&'static str] = &[
        "client-ip",
        "clientip",
        "real-ip",
        "remote-ip",
        "remote-addr",
        "originating-ip",
        "connecting-ip",
        "connection-ip",
        "user-ip",
        "viewer-address",
        "forwarded-for",
    ];

    /// Takes the client from the request's extensions, where tonic and axum's `ConnectInfo` put it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// For one connection, where the server does not fill extensions: hyper.
    #[must_use]
    pub fn for_client(client: Client) -> Self {
        Self { client: Some(client), fields: Fields::default() }
    }

    /// Keeps the fields in requests that came through a trusted proxy.
    ///
    /// Right only if **every** trusted proxy speaks HTTP and replaces these fields instead of adding to them.
    #[must_use]
    pub fn keep_fields_of_proxies(mut self) -> Self {
        self.fields = Fields::KeepProxies;
        self
    }
}

impl<S> Layer<S> for ClientLayer {
    type Service = ClientService<S>;

    fn layer(&self, inner: S) -> ClientService<S> {
        ClientService { inner, layer: self.clone() }
    }
}

/// The service that [`ClientLayer`] makes.
#[derive(Debug, Clone)]
pub struct ClientService<S> {
    inner: S,
    layer: ClientLayer,
}

impl<S, B> Service<Request<B>> for ClientService<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        let found = || find(request.extensions()).and_then(|caller| caller.client().cloned());
        let client = self.layer.client.clone().or_else(found);
        let proxied = client
            .as_ref()
            .is_some_and(|client| matches!(client.identity().source(), IdentitySource::Header(_)));
        if !(proxied && self.layer.fields == Fields::KeepProxies) {
            remove_forwarding_fields(request.headers_mut());
        }
        if let Some(client) = client {
            #[cfg(feature = "tonic")]
            request.extensions_mut().insert(tonic::transport::server::TcpConnectInfo {
                local_addr: client.identity().destination().map(|told| told.to_socket_addr(0)),
                remote_addr: Some(client.endpoint().to_socket_addr(0)),
            });
            #[cfg(feature = "axum")]
            request.extensions_mut().insert(axum::extract::ConnectInfo(client.endpoint().to_socket_addr(0)));
            request.extensions_mut().insert(client);
        }
        self.inner.call(request)
    }
}

fn remove_forwarding_fields(headers: &mut HeaderMap) {
    let forged: Vec<HeaderName> =
        headers.keys().filter(|name| is_forwarding_field(name.as_str())).cloned().collect();
    for name in forged {
        headers.remove(name);
    }
}

/// `name`: in lower case, as `http` keeps it. An underscore counts as a dash: many frameworks see no difference.
fn is_forwarding_field(name: &str) -> bool {
    const BEGINNINGS: [&str; 2] = ["x-forwarded-", "x-original-forwarded-"];
    let name = name.as_bytes();
    let begins = |field: &str| name.get(..field.len()).is_some_and(|begin| same(begin, field));
    let ends = |field: &str| {
        let at = name.len().checked_sub(field.len());
        at.and_then(|at| name.get(at..)).is_some_and(|end| same(end, field))
    };
    BEGINNINGS.into_iter().any(begins)
        || ClientLayer::CLIENT_FIELDS.iter().any(|field| same(name, field))
        || ClientLayer::CLIENT_FIELD_ENDINGS.iter().any(|field| ends(field))
}

/// Whether `name` is `field`, but for underscores.
fn same(name: &[u8], field: &str) -> bool {
    name.len() == field.len()
        && name.iter().zip(field.bytes()).all(|(is, wanted)| *is == wanted || (*is == b'_' && wanted == b'-'))
}
