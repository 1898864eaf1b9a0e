//! gRPC: who is calling in the extensions of every request, here for an access rule in an interceptor. A proxy's own
//! health checks (HAProxy: `option httpchk` with `send-proxy-v2 check check-proto h2`) are answered, too.
//!
//! `cargo run -p truepeer --features tonic --example tonic -- 127.0.0.1:50051 127.0.0.1`: where to listen, and which peers are proxies.
#![allow(clippy::print_stdout, reason = "a small server has no other log")]
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Error, Server};
use tonic::{Request, Status};
use truepeer::{Caller, IpNet, NetworkSet, ProxyListener, TrustedNetworks};

pub(crate) async fn serve(listener: ProxyListener, welcome: NetworkSet) -> Result<(), Error> {
    let (_, health) = tonic_health::server::health_reporter();
    let check = move |request: Request<()>| match request.extensions().get::<Caller>() {
        Some(Caller::Client(client)) if welcome.contains(client.ip()) => Ok(request),
        Some(Caller::Client(client)) => {
            Err(Status::permission_denied(format!("{} is not welcome here", client.ip())))
        }
        Some(Caller::ProxyOwn(_)) => Ok(request),
        None => Err(Status::internal("the server was not given a ProxyListener")),
    };
    Server::builder()
        .add_service(InterceptedService::new(health, check))
        .serve_with_incoming(listener.into_stream_any())
        .await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let addr = args.next().unwrap_or("127.0.0.1:50051".into());
    let trusted = TrustedNetworks::parse(args)?; // your proxies, such as 192.0.2.10, never your network
    let listener = ProxyListener::bind(addr, trusted).await?;
    println!("listening on {}", listener.local_addr()?);
    let welcome = ["203.0.113.0/24".parse::<IpNet>()?].into_iter().collect();
    serve(listener, welcome).await?;
    Ok(())
}
