//! NGINX as a web server behind truepeer, by the lines of its page: one port in clear, one with TLS.
//!
//! Called by `cases`. It must not know who connects.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;

use crate::feed::Feed;
use crate::page;
use crate::port::Port;
use crate::program::Program;
use crate::servers::{find, make_dir, write};
use crate::verdict::Result;

/// A running web server, which tells each client its address.
#[derive(Debug)]
pub(crate) struct WebServer {
    program: Program,
    clear: Port,
    tls: Port,
}

impl WebServer {
    /// Starts it; everything it writes lies in `dir`, and `pair` is the file with certificate and key.
    pub(crate) fn start(dir: &Path, pair: &Path) -> Result<Self> {
        let nginx = find("nginx")?;
        make_dir(dir)?;
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let (clear, tls) = (Port::free(loopback)?, Port::free(loopback)?);
        let (at, pair) = (dir.display(), pair.display());
        let lines = page::block(
            include_str!("../../../docs/neighbours/nginx.md"),
            "Behind truepeer",
            "nginx",
        )?
        .replace("127.0.0.1:10080", &clear.addr().to_string())
        .replace("127.0.0.1:10443", &tls.addr().to_string())
        .replace(
            "http {\n",
            &format!(
                "http {{\n  access_log off;\n  ssl_certificate {pair};\n  ssl_certificate_key {pair};\n  \
                 client_body_temp_path {at}/b;\n  proxy_temp_path {at}/p;\n  fastcgi_temp_path {at}/f;\n  \
                 uwsgi_temp_path {at}/u;\n  scgi_temp_path {at}/s;\n"
            ),
        );
        let config = dir.join("nginx.conf");
        let head = format!(
            "daemon off;\nworker_processes 1;\nuser nobody nogroup;\nerror_log stderr info;\npid \
             {at}/nginx.pid;\nevents {{ worker_connections 256; }}\n"
        );
        write(&config, &format!("{head}{lines}"))?;
        let mut command = Command::new(nginx);
        command.arg("-p").arg(dir).arg("-c").arg(&config).arg("-e").arg("stderr");
        let started = Self { program: Program::start("nginx-http", &mut command)?, clear, tls };
        // The ports listen before the worker starts.
        started.program.wait_started(|line| line.contains("start worker process "))?;
        Ok(started)
    }

    /// What NGINX logs.
    pub(crate) fn log(&self) -> &Feed {
        self.program.log()
    }

    /// The port in clear.
    pub(crate) fn clear_port(&self) -> SocketAddr {
        self.clear.addr()
    }

    /// The port with TLS.
    pub(crate) fn tls_port(&self) -> SocketAddr {
        self.tls.addr()
    }
}
