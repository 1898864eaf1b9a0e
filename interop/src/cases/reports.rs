//! Public reports, played: what `docs/cases/` says of a report is done to the real program, and what that program logs
//! or answers is given to `truepeer explain --log`, which must name class, side and line. The healthy twin is done to
//! the same program, set up as that line says; then nothing is found.
//!
//! Called by `cases`. The reports themselves are data.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::{Case, row, setups};
use crate::client::{Client, Place};
use crate::feed::Feed;
use crate::lab::Lab;
use crate::port::{Port, until_listened};
use crate::servers::dovecot::{Believes, Dovecot};
use crate::servers::envoy::Envoy;
use crate::servers::nginx::Nginx;
use crate::servers::sshd::Sshd;
use crate::verdict::{During, Result, ensure, failed};

/// A report with what is to be done.
pub(super) struct Report {
    /// Of its file, with underscores.
    pub(super) name: String,
    /// What the file says.
    pub(super) table: toml::Table,
}

/// Something that is sent to a server, and what shows what the server made of it.
struct Visit<'r> {
    to: &'r str,
    sends: Vec<u8>,
    closes: bool,
    shows: Shows<'r>,
}

/// Where it shows.
#[derive(Clone, Copy)]
enum Shows<'r> {
    /// In the server's log, on a line with this part.
    Log(&'r str),
    /// In what the client hears, which has this part.
    Heard(&'r str),
}

/// Every report that is played here: those whose `real` is a table.
pub(super) fn cases() -> Vec<Case> {
    let dir = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/cases"));
    let mut reports: Vec<Report> = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        let text = fs::read_to_string(&path).unwrap_or_default();
        let (Some(name), Ok(table)) = (path.file_stem(), text.parse::<toml::Table>()) else { continue };
        if table.get("real").is_some_and(toml::Value::is_table) {
            reports.push(Report { name: name.to_string_lossy().replace('-', "_"), table });
        }
    }
    reports.sort_by(|one, other| one.name.cmp(&other.name));
    let starts = |report: &Report| report.table.get("real").is_some_and(|real| real.get("starts").is_some());
    let (setups, visits): (Vec<_>, Vec<_>) = reports.into_iter().partition(starts);
    let mut cases = setups::cases(setups);
    cases.extend(visits.into_iter().map(|report| row(format!("report_{}", report.name), report, play)));
    cases
}

fn play(lab: &Lab, report: &Report) -> Result {
    let Some(real) = report.table.get("real").and_then(toml::Value::as_table) else {
        return failed("nothing to play");
    };
    let Some(healthy) = real.get("healthy").and_then(toml::Value::as_table) else {
        return failed("no healthy twin");
    };
    let (visit, twin) = (visit(real)?, visit(healthy)?);
    let servers = Servers::start(lab, [visit.to, twin.to])?;
    let found = findings(lab, &shown(lab, &servers, &visit)?)?;
    setups::is_named(&found, &report.table, str::to_owned)?;
    let left = findings(lab, &shown(lab, &servers, &twin)?)?;
    ensure(left.is_empty(), || format!("healthy, and still {left:#?}"))
}

fn visit(table: &toml::Table) -> Result<Visit<'_>> {
    let text = |name: &str| table.get(name).and_then(toml::Value::as_str);
    let shows = match (text("log"), text("heard")) {
        (Some(part), None) => Shows::Log(part),
        (None, Some(part)) => Shows::Heard(part),
        _ => return failed("one of `log` and `heard` says where it shows"),
    };
    let (Some(to), Some(sends)) = (text("to"), text("sends")) else { return failed("no `to` or `sends`") };
    let closes = table.get("closes").and_then(toml::Value::as_bool).unwrap_or(false);
    Ok(Visit { to, sends: unescape(sends), closes, shows })
}

/// `\r`, `\n` and `\x0d` as bytes.
pub(super) fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let digits = |digits: &[u8]| {
            std::str::from_utf8(digits).ok().and_then(|digits| u8::from_str_radix(digits, 16).ok())
        };
        let (byte, used) = match (first, behind) {
            (b'\\', [b'r', ..]) => (b'\r', 1),
            (b'\\', [b'n', ..]) => (b'\n', 1),
            (b'\\', [b'x', high, low, ..]) => (digits(&[*high, *low]).unwrap_or(b'?'), 3),
            _ => (*first, 0),
        };
        bytes.push(byte);
        rest = behind.get(used..).unwrap_or_default();
    }
    bytes
}

/// What the visit leaves to read.
fn shown(lab: &Lab, servers: &Servers<'_>, visit: &Visit<'_>) -> Result<String> {
    let (addr, log) = servers.get(visit.to)?;
    let mark = log.mark();
    let mut client = Client::dial(Place::Here(lab.fresh_source()), addr)?;
    if !visit.sends.is_empty() {
        client.send(&visit.sends)?;
    }
    let staying = Some(client).filter(|_| !visit.closes);
    match (visit.shows, staying) {
        (Shows::Log(part), staying) => {
            log.wait_line(mark, &format!("{} logs `{part}`", visit.to), |line| line.contains(part))?;
            drop(staying);
            Ok(log.lines(mark).join("\n"))
        }
        (Shows::Heard(_), None) => failed("who has closed hears nothing"),
        (Shows::Heard(part), Some(mut client)) => {
            let mut heard = String::new();
            // A server that speaks first stays; one that answers closes.
            while !heard.contains(part) {
                heard.push_str(&client.line(&format!("{} says `{part}`", visit.to))?);
                heard.push('\n');
            }
            if visit.to.starts_with("nginx") {
                heard.push_str(&client.rest("the end of the answer")?);
            }
            Ok(heard)
        }
    }
}

/// What `truepeer explain --log` finds in `text`.
fn findings(lab: &Lab, text: &str) -> Result<Vec<Value>> {
    let file = lab.fresh_dir("report")?.join("log");
    fs::create_dir_all(file.parent().unwrap_or(&file)).during("make a directory")?;
    fs::write(&file, text).during("write a log")?;
    let output = Command::new(lab.program()?)
        .args(["explain", "--json", "--log"])
        .arg(&file)
        .stdin(Stdio::null())
        .output()
        .during("run truepeer explain")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().map(|line| serde_json::from_str(line).during("read a finding")).collect()
}

/// Those that a report and its twin need.
struct Servers<'l> {
    lab: &'l Lab,
    nginx: Option<(Nginx, [Port; 4])>,
    envoy: Option<(Envoy, Port)>,
    sshd: Option<Sshd>,
    dovecot: Option<(Dovecot, Port)>,
}

impl<'l> Servers<'l> {
    fn start(lab: &'l Lab, wanted: [&str; 2]) -> Result<Self> {
        let wants = |name: &str| wanted.iter().any(|wanted| wanted.starts_with(name));
        let mut servers = Self { lab, nginx: None, envoy: None, sshd: None, dovecot: None };
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        if wants("nginx") {
            let ports =
                [Port::free(loopback)?, Port::free(loopback)?, Port::free(loopback)?, Port::free(loopback)?];
            let nginx = Nginx::start_as_written(&lab.fresh_dir("nginx-report")?, &http(lab, &ports)?)?;
            lab.watch("nginx-report", nginx.log());
            servers.nginx = Some((nginx, ports));
        }
        if wants("envoy") {
            let port = Port::free(loopback)?;
            let envoy = Envoy::start(&lab.fresh_dir("envoy-report")?, &gateway(port.addr()))?;
            lab.watch("envoy-report", envoy.log());
            // Its workers begin a moment after it has said so.
            until_listened(port.addr())?;
            servers.envoy = Some((envoy, port));
        }
        if wants("sshd") {
            let sshd = Sshd::start(&lab.fresh_dir("sshd-report")?)?;
            lab.watch("sshd-report", sshd.log());
            servers.sshd = Some(sshd);
        }
        if wants("dovecot") {
            let port = Port::free(loopback)?;
            let lines = format!(
                "service imap-login {{\n  inet_listener imap_tls {{\n    port = {}\n    ssl = yes\n  }}\n}}\n",
                port.addr().port()
            );
            let dir = lab.fresh_dir("dovecot-report")?;
            let dovecot = Dovecot::start_with(&dir, lab.pair()?, Believes::Nobody, "127.0.0.0/8", &lines)?;
            lab.watch("dovecot-report", dovecot.log());
            servers.dovecot = Some((dovecot, port));
        }
        Ok(servers)
    }

    fn get(&self, name: &str) -> Result<(SocketAddr, &Feed)> {
        let postfix = || self.lab.postfix();
        Ok(match (name, &self.nginx, &self.envoy, &self.sshd, &self.dovecot) {
            ("nginx", Some((nginx, [port, ..])), ..)
            | ("nginx-plain", Some((nginx, [_, port, ..])), ..)
            | ("nginx-tls", Some((nginx, [_, _, port, _])), ..)
            | ("nginx-tls-plain", Some((nginx, [.., port])), ..) => (port.addr(), nginx.log()),
            ("envoy", _, Some((envoy, port)), ..) => (port.addr(), envoy.log()),
            ("sshd", _, _, Some(sshd), _) => {
                let [v4, _] = sshd.addrs();
                (v4, sshd.log())
            }
            ("dovecot", .., Some((dovecot, _))) => (dovecot.header_port(), dovecot.log()),
            ("dovecot-tls", .., Some((dovecot, port))) => (port.addr(), dovecot.log()),
            ("postfix", ..) => (postfix()?.header_port(), postfix()?.log()),
            ("postscreen", ..) => (postfix()?.screen_port(), postfix()?.log()),
            (other, ..) => return failed(format!("nobody starts {other}")),
        })
    }
}

/// One port that reads a header, one that does not, and the same with TLS.
fn http(lab: &Lab, [header, plain, tls, tls_plain]: &[Port; 4]) -> Result<String> {
    let (dir, pair) = (lab.fresh_dir("nginx-files")?, lab.pair()?.display());
    let at = dir.display();
    let server = |listen: String| format!("  server {{ listen {listen}; return 200 \"served\\n\"; }}\n");
    let servers = [
        server(format!("{} proxy_protocol", header.addr())),
        server(plain.addr().to_string()),
        server(format!("{} ssl proxy_protocol", tls.addr())),
        server(format!("{} ssl", tls_plain.addr())),
    ]
    .concat();
    Ok(format!(
        "http {{\n  access_log off;\n  ssl_certificate {pair};\n  ssl_certificate_key {pair};\n  \
         client_body_temp_path {at}/b;\n  proxy_temp_path {at}/p;\n  fastcgi_temp_path {at}/f;\n  uwsgi_temp_path \
         {at}/u;\n  scgi_temp_path {at}/s;\n{servers}}}\n"
    ))
}

/// An HTTP listener that reads no header, and logs each request.
fn gateway(at: SocketAddr) -> String {
    format!(
        "static_resources:
  listeners:
  - name: gateway
    address: {{socket_address: {{address: \"{}\", port_value: {}}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          \"@type\": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: gateway
          access_log:
          - name: envoy.access_loggers.stdout
            typed_config:
              \"@type\": type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog
              log_format:
                text_format_source:
                  inline_string: \"\\\"%REQ(:METHOD)% %REQ(:PATH)% %PROTOCOL%\\\" %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %DOWNSTREAM_REMOTE_ADDRESS%\\n\"
          route_config:
            virtual_hosts:
            - name: all
              domains: [\"*\"]
              routes:
              - match: {{prefix: \"/\"}}
                direct_response: {{status: 200}}
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              \"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
",
        at.ip(),
        at.port()
    )
}
