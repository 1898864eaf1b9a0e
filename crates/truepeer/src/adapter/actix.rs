//! actix-web behind a proxy: the first service of its server reads the header, the second is actix's own HTTP.
//!
//! actix-server accepts by itself and gives each connection a task, so that a silent peer delays nobody. It bounds their
//! number as well (`max_concurrent_connections`), which here takes the place of `max_pending`.

use core::net::SocketAddr;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::future::{Ready, ready};
use std::io;
use std::rc::Rc;

use actix_http::error::DispatchError;
use actix_http::{Extensions, Protocol};
use actix_service::{Service, ServiceFactory};
use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, error};
use tokio::net::TcpStream;

use crate::{Caller, Client, Connection, Incoming, ListenerEvent, ListenerOptions, PeerAddress, TrustPolicy};

/// For `actix_server`: identifies each connection, and hands it with the **client's** address to an
/// `actix_http::HttpService`, so that `HttpRequest::peer_addr` is the client's. Handlers ask for a [`Client`].
///
/// Proxies' own connections are closed and reported, unless [`with_proxy_own`](Self::with_proxy_own) lets them in.
/// `actix_web::HttpServer` cannot stand behind it: it wants sockets. Nor do handlers go on believing
/// `ConnectionInfo::realip_remote_addr`, which is what the client wrote into `Forwarded` or `X-Forwarded-For`.
///
/// ```no_run
/// use actix_http::HttpService;
/// use actix_service::{ServiceFactoryExt, map_config};
/// use actix_web::{App, dev::AppConfig, web};
/// use truepeer::{Client, IdentifyForActix, ListenerOptions, TrustedNetworks};
///
/// async fn hello(client: Client) -> String {
///     format!("hello {client}\n")
/// }
///
/// # async fn serve(listener: std::net::TcpListener) -> Result<(), Box<dyn std::error::Error>> {
/// let identify = IdentifyForActix::new(TrustedNetworks::parse(["192.0.2.10"])?, ListenerOptions::new());
/// let server = actix_server::Server::build().listen("web", listener, move || {
///     let app = App::new().route("/", web::get().to(hello));
///     let http = HttpService::build()
///         .on_connect_ext(IdentifyForActix::on_connect)
///         .finish(map_config(app, |_| AppConfig::default()));
///     identify.clone().and_then(http)
/// })?;
/// server.run().await?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct IdentifyForActix {
    policy: TrustPolicy,
    options: ListenerOptions,
    own: Own,
}

/// What happens to proxies' own connections.
#[derive(Debug, Clone, Copy)]
enum Own {
    Closed,
    Served,
}

impl IdentifyForActix {
    /// Peers in trusted networks must send a header.
    pub fn new(policy: impl Into<TrustPolicy>, options: ListenerOptions) -> Self {
        Self { policy: policy.into(), options, own: Own::Closed }
    }

    /// Serves proxies' own connections as well, such as health checks: their handlers ask for a [`Caller`], and a
    /// request of theirs has no `peer_addr`.
    #[must_use]
    pub fn with_proxy_own(mut self) -> Self {
        self.own = Own::Served;
        self
    }

    /// For `HttpServiceBuilder::on_connect_ext`: who is calling, for every request of the connection.
    pub fn on_connect(connection: &Connection<TcpStream>, extensions: &mut Extensions) {
        extensions.insert(connection.caller());
    }

    async fn identify(&self, socket: TcpStream) -> Result<Identified, DispatchError> {
        let refused = |event: ListenerEvent| {
            let error = io::Error::new(io::ErrorKind::PermissionDenied, event.to_string());
            self.options.report(event);
            DispatchError::Io(error)
        };
        let peer = PeerAddress::tcp(socket.peer_addr().map_err(DispatchError::Io)?);
        let reached = socket.local_addr().ok();
        let incoming = Incoming::new(socket, peer, reached, &self.policy, &self.options)
            .map_err(|refusal| refused(refusal.into()))?;
        let connection = incoming.identify().await.map_err(|refusal| refused(refusal.into()))?;
        let client = match (&connection, self.own) {
            (Connection::Client(stream), _) => Some(stream.client().endpoint().to_socket_addr(0)),
            (Connection::ProxyOwn(_), Own::Served) => None,
            (Connection::ProxyOwn(stream), Own::Closed) => {
                return Err(refused(ListenerEvent::ProxyOwnClosed(stream.own())));
            }
        };
        Ok((connection, Protocol::Http1, client))
    }
}

/// What actix's HTTP takes: the stream, its protocol, and the address that requests say.
type Identified = (Connection<TcpStream>, Protocol, Option<SocketAddr>);

impl ServiceFactory<TcpStream> for IdentifyForActix {
    type Response = Identified;
    type Error = DispatchError;
    type Config = ();
    type Service = IdentifyOne;
    type InitError = ();
    type Future = Ready<Result<IdentifyOne, ()>>;

    fn new_service(&self, (): ()) -> Self::Future {
        ready(Ok(IdentifyOne(Rc::new(self.clone()))))
    }
}

/// One worker's share of an [`IdentifyForActix`]; made by actix.
#[derive(Debug)]
pub struct IdentifyOne(Rc<IdentifyForActix>);

impl Service<TcpStream> for IdentifyOne {
    type Response = Identified;
    type Error = DispatchError;
    type Future = Pin<Box<dyn Future<Output = Result<Identified, DispatchError>>>>;

    fn poll_ready(&self, _: &mut Context<'_>) -> Poll<Result<(), DispatchError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&self, socket: TcpStream) -> Self::Future {
        let identify = self.0.clone();
        Box::pin(async move { identify.identify(socket).await })
    }
}

/// The client, in a handler's arguments. Answers 403 to a proxy's own request, 500 where no [`IdentifyForActix`] is.
impl FromRequest for Client {
    type Error = error::Error;
    type Future = Ready<Result<Self, error::Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(caller(request).and_then(|caller| match caller {
            Caller::Client(client) => Ok(client.clone()),
            Caller::ProxyOwn(own) => Err(error::ErrorForbidden(format!("{own} is no client"))),
        }))
    }
}

/// Who is calling, in a handler's arguments. Answers 500 where no [`IdentifyForActix`] is.
impl FromRequest for Caller {
    type Error = error::Error;
    type Future = Ready<Result<Self, error::Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(caller(request).cloned())
    }
}

fn caller(request: &HttpRequest) -> Result<&Caller, error::Error> {
    request.conn_data().ok_or_else(|| {
        error::ErrorInternalServerError("the caller is unknown: `IdentifyForActix::on_connect` is missing")
    })
}
