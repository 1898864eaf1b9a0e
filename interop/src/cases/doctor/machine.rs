//! The machine that the doctor visits: HAProxy in front of Postfix, Dovecot and nginx, set up right or wrong in one line.
//!
//! Called by the cases around it, and by those who need a machine of real programs.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use crate::lab::Lab;
use crate::port::Port;
use crate::servers::dovecot::{Believes, Dovecot, sasl_socket};
use crate::servers::haproxy::{HEAD, Haproxy};
use crate::servers::nginx::Nginx;
use crate::servers::postfix::Postfix;
use crate::verdict::Result;

/// How the machine is set up; what is not said is in order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Machine {
    /// Behind the address on HAProxy's line for mail, with `PORT` for Postfix' port, and to which port of Postfix.
    pub(crate) smtp: (&'static str, To),
    /// On which addresses HAProxy takes IMAP, at its own port, 143.
    pub(crate) bind: Bind,
    /// To which service of Dovecot HAProxy's line for IMAP leads, and what stands behind the address there.
    pub(crate) imap: (Service, &'static str),
    /// Behind the address on nginx' `listen`, and in its `server`.
    pub(crate) nginx: (&'static str, &'static str),
    /// In nginx' web server, which reads HAProxy's header.
    pub(crate) web: &'static str,
    /// What its log says.
    pub(crate) log: &'static str,
    /// Dovecot's list of proxies, and what its log has of a login.
    pub(crate) dovecot: (&'static str, &'static str),
    /// What is expected; nothing where all is in order.
    pub(crate) finds: &'static [Finds],
}

/// How HAProxy listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bind {
    /// On one address.
    One,
    /// On one socket for both families.
    Both,
}

/// A service of Dovecot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    Imap,
    Pop3,
}

/// A port of Postfix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum To {
    /// The one that reads a header, on loopback.
    Header,
    /// The one that reads none.
    Plain,
    /// One that reads a header and can be reached from everywhere.
    Open,
}

/// A finding.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Finds {
    pub(crate) class: &'static str,
    pub(crate) side: &'static str,
    pub(crate) product: &'static str,
    /// Part of what is to be written.
    pub(crate) change: &'static str,
    /// Part of the line that is to be changed, as it stands in the file: the one that [`HEALTHY`] has otherwise.
    pub(crate) line: &'static str,
}

/// A machine on which all agree.
pub(crate) const HEALTHY: Machine = Machine {
    smtp: ("send-proxy-v2", To::Header),
    bind: Bind::One,
    imap: (Service::Imap, "send-proxy-v2"),
    nginx: ("", "proxy_protocol on;"),
    web: "set_real_ip_from 127.0.0.1;\n    real_ip_header proxy_protocol;",
    log: "$remote_addr",
    dovecot: ("127.0.0.1", "user=<%u> rip=%r"),
    finds: &[],
};

/// What runs in a case, front to back.
pub(crate) struct Running {
    _haproxy: Haproxy,
    _nginx: Nginx,
    _dovecot: Dovecot,
    pub(crate) postfix: Postfix,
}

/// What a case needs that the lab has.
pub(crate) struct Needs {
    pub(crate) dir: PathBuf,
    pub(crate) pair: PathBuf,
    pub(crate) program: PathBuf,
}

impl Needs {
    pub(crate) fn of(lab: &Lab) -> Result<Self> {
        Ok(Self {
            dir: lab.fresh_dir("doctor")?,
            pair: lab.pair()?.to_owned(),
            program: lab.program()?.to_owned(),
        })
    }
}

pub(crate) fn start(machine: &Machine, needs: &Needs) -> Result<Running> {
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let open = Port::free(IpAddr::V4(Ipv4Addr::UNSPECIFIED))?;
    let services = match machine.smtp.1 {
        To::Open => {
            format!("{} inet n - n - - smtpd\n  -o smtpd_upstream_proxy_protocol=haproxy\n", open.addr())
        }
        To::Header | To::Plain => String::new(),
    };
    let dovecot_dir = needs.dir.join("dovecot");
    let postfix =
        Postfix::start_with(&needs.dir.join("postfix"), &sasl_socket(&dovecot_dir), &needs.pair, &services)?;
    let pop3 = Port::free(loopback)?;
    let (trusted, log) = machine.dovecot;
    let more = format!(
        "login_log_format_elements = {log}\nprotocols = imap pop3\nservice pop3-login {{\n  inet_listener pop3 {{\n    port = 0\n  }}\n  \
         inet_listener pop3s {{\n    port = 0\n  }}\n  inet_listener pop3_header {{\n    port = {}\n    haproxy = yes\n  }}\n}}\n",
        pop3.addr().port()
    );
    let dovecot = Dovecot::start_with(&dovecot_dir, &needs.pair, Believes::Nobody, trusted, &more)?;
    let to = match machine.smtp.1 {
        To::Header => postfix.header_port(),
        To::Plain => postfix.plain_port(),
        To::Open => SocketAddr::new(loopback, open.addr().port()),
    };
    let [smtp, nginx] = [Port::free(loopback)?, Port::free(loopback)?];
    let [web, site] = [Port::free(loopback)?, Port::free(loopback)?];
    // The machine is the case's own, and so are its ports: clients know IMAP by this one.
    let bind = match machine.bind {
        Bind::One => "127.0.0.1:143",
        Bind::Both => ":::143 v4v6",
    };
    let (service, words) = machine.imap;
    let imap = match service {
        Service::Imap => dovecot.header_port(),
        Service::Pop3 => pop3.addr(),
    };
    let text = format!(
        "{HEAD}\
listen smtp
  bind {}
  server postfix {to} {}
listen imap
  bind {bind}
  server dovecot {imap} {words}
listen web
  bind {}
  server nginx {} send-proxy-v2
",
        smtp.addr(),
        machine.smtp.0.replace("PORT", &to.port().to_string()),
        web.addr(),
        site.addr(),
    );
    let haproxy = Haproxy::start_as_written(&needs.dir.join("haproxy"), &text)?;
    let (listen, more) = machine.nginx;
    let dir = needs.dir.join("nginx");
    let at = dir.display();
    let text = format!(
        "stream {{\n  server {{\n    listen {}{listen};\n    proxy_pass {};\n    {more}\n  }}\n}}\nhttp {{\n  \
         client_body_temp_path {at}/b;\n  proxy_temp_path {at}/p;\n  fastcgi_temp_path {at}/f;\n  uwsgi_temp_path {at}/u;\n  \
         scgi_temp_path {at}/s;\n  log_format seen '{}';\n  server {{\n    listen {} proxy_protocol;\n    {}\n    \
         access_log {at}/seen.log seen;\n    return 200 ok;\n  }}\n}}\n",
        nginx.addr(),
        postfix.header_port(),
        machine.log,
        site.addr(),
        machine.web,
    );
    let nginx = Nginx::start_as_written(&dir, &text)?;
    Ok(Running { _haproxy: haproxy, _nginx: nginx, _dovecot: dovecot, postfix })
}
