//! gRPC: the client in the extensions of every request, here for an access rule in an interceptor.
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Error, Server};
use tonic::{Request, Status};
use truepeer::{Client, IpNet, NetworkSet, ProxyListener, TrustedNetworks};

pub(crate) async fn serve(listener: ProxyListener, welcome: NetworkSet) -> Result<(), Error> {
    let (_, health) = tonic_health::server::health_reporter();
    let check = move |request: Request<()>| match request.extensions().get::<Client>() {
        Some(client) if welcome.contains(client.ip()) => Ok(request),
        Some(client) => Err(Status::permission_denied(format!("{} is not welcome here", client.ip()))),
        None => Err(Status::internal("the server was not given a ProxyListener")),
    };
    Server::builder()
        .add_service(InterceptedService::new(health, check))
        .serve_with_incoming(listener.into_stream())
        .await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let trusted = TrustedNetworks::parse(["192.0.2.10"])?;
    let welcome = ["203.0.113.0/24".parse::<IpNet>()?].into_iter().collect();
    serve(ProxyListener::bind("0.0.0.0:50051", trusted).await?, welcome).await?;
    Ok(())
}
