//! A layer that puts the client into request extensions and takes forged forwarding fields out of the request.
//!
//! For axum, tonic and hyper alike. It believes the connection, never the request.

use std::task::{Context, Poll};

use http::{HeaderMap, HeaderName, Request};
use tower_layer::Layer;
use tower_service::Service;

use crate::{Client, IdentitySource};

/// Puts the [`Client`] into the extensions of each request, and removes the fields by which proxies name a client.
///
/// These are `Forwarded`, `X-Forwarded`, everything that begins with `X-Forwarded-` or `X-Original-Forwarded-`, and
/// [`CLIENT_FIELDS`](ClientLayer::CLIENT_FIELDS), in any case, with dashes or underscores.
/// They are removed from **all** requests by default. A direct client has made them up itself. And a proxy
/// that sends a header usually moves bytes without looking at them, so that behind it, too, they are the client's.
/// See [`ClientLayer::keep_fields_of_proxies`] for the other kind.
///
/// Requests whose client is not known, because the server was not given a [`ProxyListener`](crate::ProxyListener),
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
    /// Fields that some proxy or network names a client by, and that some framework therefore believes.
    pub const CLIENT_FIELDS: [&'static str; 16] = [
        "x-real-ip",
        "x-client-ip",
        "x-cluster-client-ip",
        "x-remote-ip",
        "x-remote-addr",
        "x-originating-ip",
        "x-envoy-external-address",
        "x-azure-clientip",
        "x-azure-socketip",
        "x-appengine-user-ip",
        "client-ip",
        "true-client-ip",
        "cf-connecting-ip",
        "cf-connecting-ipv6",
        "fastly-client-ip",
        "fly-client-ip",
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
        let client = self.layer.client.clone().or_else(|| find(request.extensions()));
        let proxied = client
            .as_ref()
            .is_some_and(|client| matches!(client.identity().source(), IdentitySource::Header(_)));
        if !(proxied && self.layer.fields == Fields::KeepProxies) {
            remove_forwarding_fields(request.headers_mut());
        }
        if let Some(client) = client {
            request.extensions_mut().insert(client);
        }
        self.inner.call(request)
    }
}

fn find(extensions: &http::Extensions) -> Option<Client> {
    if let Some(client) = extensions.get::<Client>() {
        return Some(client.clone());
    }
    if let Some(caller) = extensions.get::<crate::Caller>() {
        return caller.client().cloned();
    }
    #[cfg(feature = "axum")]
    {
        use axum::extract::ConnectInfo;
        if let Some(ConnectInfo(client)) = extensions.get::<ConnectInfo<Client>>() {
            return Some(client.clone());
        }
        if let Some(ConnectInfo(caller)) = extensions.get::<ConnectInfo<crate::Caller>>() {
            return caller.client().cloned();
        }
    }
    None
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
    let name = name.replace('_', "-");
    name == "forwarded"
        || name == "x-forwarded"
        || name.starts_with("x-forwarded-")
        || name.starts_with("x-original-forwarded-")
        || ClientLayer::CLIENT_FIELDS.contains(&name.as_str())
}
