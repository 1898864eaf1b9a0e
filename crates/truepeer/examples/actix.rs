//! The client's address in an actix-web handler. Health checks by LOCAL header are closed.
//!
//! `cargo run -p truepeer --features actix --example actix -- 127.0.0.1:8080 127.0.0.1`: where to listen, and which peers are proxies.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a small server has no other log")]
use std::io;
use std::net::TcpListener;

use actix_http::HttpService;
use actix_server::Server;
use actix_service::{ServiceFactoryExt, map_config};
use actix_web::dev::AppConfig;
use actix_web::{App, web};
use truepeer::{Client, IdentifyForActix, ListenerOptions, TrustedNetworks};

pub(crate) fn server(listener: TcpListener, identify: IdentifyForActix) -> io::Result<Server> {
    let server = Server::build().workers(1).listen("web", listener, move || {
        let app = App::new().route("/", web::get().to(hello));
        let http = HttpService::build()
            .on_connect_ext(IdentifyForActix::on_connect)
            .finish(map_config(app, |_| AppConfig::default()));
        identify.clone().and_then(http)
    })?;
    Ok(server.run())
}

async fn hello(client: Client) -> String {
    let via = client.identity().peer();
    format!("hello {client}, through {via}\n")
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let listener = TcpListener::bind(args.next().unwrap_or("127.0.0.1:8080".into()))?;
    let trusted = TrustedNetworks::parse(args)?; // your proxies, such as 192.0.2.10, never your network
    println!("listening on {}", listener.local_addr()?);
    let options = ListenerOptions::new().on_event(|event| eprintln!("{}: {event}", event.code()));
    let identify = IdentifyForActix::new(trusted, options);
    actix_web::rt::System::new().block_on(async { server(listener, identify)?.await })?;
    Ok(())
}
