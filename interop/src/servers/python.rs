//! A web server of Python's own library, whose program decides by `client_address`: what accept() said.
//!
//! Called by `cases`. It must not know who connects.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::Command;

use crate::feed::Feed;
use crate::port::Port;
use crate::program::Program;
use crate::servers::{find, make_dir, write};
use crate::verdict::Result;

/// Serves 203.0.113.0/24 and 2001:db8::/32, and refuses everybody else; each request is logged with its client.
const PROGRAM: &str = r#"
import http.server, ipaddress, socket, sys

NETWORKS = [ipaddress.ip_network(network) for network in ("203.0.113.0/24", "2001:db8::/32")]

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        client = ipaddress.ip_address(self.client_address[0])
        allowed = any(client in network for network in NETWORKS)
        self.send_response(204 if allowed else 403)
        self.end_headers()

    def log_message(self, *_):
        pass

    def log_request(self, code="-", size="-"):
        print("served", self.client_address[0], self.client_address[1], int(code), flush=True)

class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET

    def server_bind(self):
        # Without the look-up of its own name.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = sys.argv[1], int(sys.argv[2])

server = Server((sys.argv[1], int(sys.argv[2])), Handler)
print("there", flush=True)
server.serve_forever()
"#;

/// The running program.
#[derive(Debug)]
pub(crate) struct Python {
    program: Program,
    port: Port,
}

impl Python {
    /// Starts it at a port of `ip`.
    pub(crate) fn start(dir: &Path, ip: IpAddr) -> Result<Self> {
        let python = find("python3")?;
        make_dir(dir)?;
        let file = dir.join("server.py");
        write(&file, PROGRAM)?;
        let port = Port::free(ip)?;
        let mut command = Command::new(python);
        command.arg(&file).args([ip.to_string(), port.addr().port().to_string()]);
        let started = Self { program: Program::start("python3", &mut command)?, port };
        started.program.wait_started(|line| line == "there")?;
        Ok(started)
    }

    /// What it prints.
    pub(crate) fn log(&self) -> &Feed {
        self.program.log()
    }

    /// Where it is.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.port.addr()
    }
}
