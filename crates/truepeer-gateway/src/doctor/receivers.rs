//! The lines of a server behind us that fit a backend of ours. Pure.

use std::net::{IpAddr, SocketAddr};

use truepeer_doctor::Product;

use crate::facts::protocol::{ClientTls, Protocol};

/// A server that has a way to learn from us who the client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receiver {
    /// Postfix, smtpd or postscreen.
    Postfix,
    /// Dovecot 2.3 or 2.4.
    Dovecot,
    /// Exim.
    Exim,
    /// Stalwart up to 0.15.
    Stalwart,
    /// NGINX as a web server, or its stream module.
    Nginx,
}

/// What a server has to be told of one backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendFacts {
    /// The backend's name.
    pub id: String,
    /// Its kind's name.
    pub kind: &'static str,
    /// Where it listens: nothing for "on all of its addresses", where only a name is known.
    pub at: Option<IpAddr>,
    /// On which port.
    pub port: u16,
    /// The address from which we connect.
    pub from: IpAddr,
    /// What is spoken.
    pub protocol: Protocol,
    /// What the client's bytes are.
    pub tls: ClientTls,
    /// How it learns who the client is.
    pub told: ToldBy,
}

/// How a server learns who the client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToldBy {
    /// By a header.
    Header,
    /// By XCLIENT.
    Xclient,
    /// By IMAP's ID.
    ImapId,
    /// In a way of this name that is not its own to set up, or not at all.
    Otherwise(&'static str),
}

impl Receiver {
    /// The kinds of backends that it can be.
    #[must_use]
    pub const fn kinds(self) -> &'static [&'static str] {
        match self {
            Self::Postfix => &["postfix", "postscreen"],
            Self::Dovecot => &["dovecot"],
            Self::Exim => &["exim"],
            Self::Stalwart => &["stalwart"],
            Self::Nginx => &["nginx"],
        }
    }

    /// Its name.
    #[must_use]
    pub const fn product(self) -> Product {
        match self {
            Self::Postfix => Product::Postfix,
            Self::Dovecot => Product::Dovecot,
            Self::Exim => Product::Exim,
            Self::Stalwart => Product::Stalwart,
            Self::Nginx => Product::Nginx,
        }
    }

    /// The lines for all of `backends`.
    ///
    /// # Errors
    /// If one of them is told in a way that needs no line, or speaks what this server does not.
    pub fn lines(self, backends: &[BackendFacts]) -> Result<String, String> {
        for behind in backends {
            self.takes(behind)?;
        }
        match self {
            Self::Postfix => Ok(backends.iter().map(postfix).collect()),
            Self::Dovecot => dovecot(backends),
            Self::Exim => Ok(exim(backends)),
            Self::Stalwart => backends.iter().map(stalwart).collect(),
            Self::Nginx => Ok(nginx(backends)),
        }
    }

    fn takes(self, behind: &BackendFacts) -> Result<(), String> {
        let name = match (self, behind.told) {
            (_, ToldBy::Header) => return Ok(()),
            (Self::Postfix, ToldBy::Xclient) if behind.kind == "postfix" => return Ok(()),
            (Self::Dovecot, ToldBy::ImapId) => return Ok(()),
            (_, ToldBy::Xclient) => "xclient",
            (_, ToldBy::ImapId) => "imap-id",
            (_, ToldBy::Otherwise(name)) => name,
        };
        Err(format!(
            "backend `{}` has `handoff = \"{}\"`, for which {} needs no line",
            behind.id,
            name,
            self.product().title()
        ))
    }
}

impl BackendFacts {
    /// As `host:port`, or the port alone.
    fn place(&self) -> String {
        self.at.map_or_else(|| self.port.to_string(), |ip| SocketAddr::new(ip, self.port).to_string())
    }

    fn is_tls(&self) -> bool {
        self.tls == ClientTls::Implicit
    }

    /// A name that every program takes for one.
    fn word(&self) -> String {
        self.id
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' })
            .collect()
    }
}

fn postfix(behind: &BackendFacts) -> String {
    if behind.told == ToldBy::Xclient {
        return format!(
            "# main.cf, for backend `{}`\nsmtpd_authorized_xclient_hosts = {}\n",
            behind.id, behind.from
        );
    }
    let place = behind.place();
    if behind.kind == "postscreen" {
        return format!(
            "# master.cf, for backend `{}`\n{place} inet n - n - 1 postscreen\n  -o \
             postscreen_upstream_proxy_protocol=haproxy\nsmtpd pass - - n - - smtpd\n",
            behind.id
        );
    }
    let tls = if behind.is_tls() { "  -o smtpd_tls_wrappermode=yes\n" } else { "" };
    format!(
        "# master.cf, for backend `{}`\n{place} inet n - n - - smtpd\n  -o \
         smtpd_upstream_proxy_protocol=haproxy\n{tls}",
        behind.id
    )
}

fn dovecot(backends: &[BackendFacts]) -> Result<String, String> {
    let listed = |wanted: &dyn Fn(&BackendFacts) -> bool| {
        let mut from: Vec<String> =
            backends.iter().filter(|behind| wanted(behind)).map(|behind| behind.from.to_string()).collect();
        from.sort();
        from.dedup();
        from.join(" ")
    };
    let by_words = |behind: &BackendFacts| behind.told != ToldBy::Header;
    let (headers, words) = (listed(&|behind| !by_words(behind)), listed(&by_words));
    let mut text = String::new();
    if !headers.is_empty() {
        text.push_str(&format!("haproxy_trusted_networks = {headers}\n"));
    }
    if !words.is_empty() {
        text.push_str(&format!("login_trusted_networks = {words}\n"));
    }
    for behind in backends.iter().filter(|behind| !by_words(behind)) {
        let service = match behind.protocol {
            Protocol::Imap => "imap-login",
            Protocol::Pop3 => "pop3-login",
            Protocol::ManageSieve => "managesieve-login",
            Protocol::Submission => "submission-login",
            Protocol::Lmtp => "lmtp",
            other @ (Protocol::Smtp | Protocol::Http | Protocol::Tcp) => {
                return Err(format!(
                    "Dovecot does not speak what the listener of backend `{}` does ({})",
                    behind.id,
                    other.name()
                ));
            }
        };
        let tls = if behind.is_tls() { "    ssl = yes\n" } else { "" };
        text.push_str(&format!(
            "service {service} {{ # backend {}\n  inet_listener {}_truepeer {{\n    port = {}\n    haproxy = \
             yes\n{tls}  }}\n}}\n",
            behind.word(),
            behind.word(),
            behind.port
        ));
    }
    Ok(text)
}

fn exim(backends: &[BackendFacts]) -> String {
    let joined = |mut all: Vec<String>| {
        all.sort();
        all.dedup();
        all.join(" ; ")
    };
    let ports = |wanted: &dyn Fn(&&BackendFacts) -> bool| {
        joined(backends.iter().filter(wanted).map(|behind| behind.port.to_string()).collect())
    };
    let hosts = joined(backends.iter().filter_map(|behind| Some(behind.at?.to_string())).collect());
    let from = joined(backends.iter().map(|behind| behind.from.to_string()).collect());
    let (all, tls) = (ports(&|_| true), ports(&|behind| behind.is_tls()));
    // Semicolons between, since IPv6 addresses have colons.
    let interfaces =
        if hosts.is_empty() { String::new() } else { format!("local_interfaces = <; {hosts}\n") };
    let tls = if tls.is_empty() { String::new() } else { format!("tls_on_connect_ports = <; {tls}\n") };
    // An address with colons needs another mark between.
    let mark = if from.contains(':') { "<; " } else { "" };
    let asked = match backends {
        [one] => format!("eq{{$received_port}}{{{}}} ", one.port),
        _ => format!("inlist{{$received_port}}{{<; {all}}} "),
    };
    format!(
        "# These ports beside those that Exim has already; the header is a must on these alone.\n{interfaces}\
         daemon_smtp_ports = <; {all}\n{tls}hosts_proxy = {mark}${{if {asked}{{{from}}}{{}}}}\n"
    )
}

fn stalwart(behind: &BackendFacts) -> Result<String, String> {
    let protocol = match behind.protocol {
        Protocol::Smtp | Protocol::Submission => "smtp",
        Protocol::Lmtp => "lmtp",
        Protocol::Imap => "imap",
        Protocol::Pop3 => "pop3",
        Protocol::ManageSieve => "managesieve",
        Protocol::Http => "http",
        Protocol::Tcp => {
            return Err(format!("backend `{}`: say `protocol` at its listener, not `tcp`", behind.id));
        }
    };
    let host = behind.at.map_or_else(
        || "[::]".to_owned(),
        |ip| match ip {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("[{ip}]"),
        },
    );
    let tls = if behind.is_tls() { "tls.implicit = true\n" } else { "" };
    Ok(format!(
        "# config.toml up to 0.15; from 0.16 on the list is `overrideProxyTrustedNetworks` of the \
         listener\n[server.listener.{}]\nbind = [\"{host}:{}\"]\nprotocol = \"{protocol}\"\n{tls}proxy.trusted-networks = \
         [\"{}\"]\n",
        behind.word(),
        behind.port,
        behind.from
    ))
}

fn nginx(backends: &[BackendFacts]) -> String {
    let (web, other): (Vec<_>, Vec<_>) =
        backends.iter().partition(|behind| behind.protocol == Protocol::Http);
    let section = |name: &str, list: &[&BackendFacts]| {
        if list.is_empty() {
            return String::new();
        }
        let servers: String = list.iter().map(|behind| server(behind, name == "http")).collect();
        format!("{name} {{\n{servers}}}\n")
    };
    section("http", &web) + &section("stream", &other)
}

fn server(behind: &BackendFacts, web: bool) -> String {
    let ssl = if behind.is_tls() { " ssl" } else { "" };
    let real = if web { "    real_ip_header proxy_protocol;\n" } else { "" };
    format!(
        "  server {{ # {}\n    listen {}{ssl} proxy_protocol;\n    set_real_ip_from {};\n{real}    # ... what it does \
         for its clients\n  }}\n",
        behind.word(),
        behind.place(),
        behind.from
    )
}
