//! Which programs can be read, and where their configurations come from: as data, for the code that does the IO.

use super::{
    Neighbour, Place, Unread, caddy, compose, dovecot, environment, envoy, exim, haproxy, hitch, kubernetes,
    nginx, opensmtpd, postfix, sslh, stalwart, stunnel, traefik, varnish,
};
use crate::Product;

/// The most ports, and the most connections, of one neighbour that are compared with others.
pub const MAX_PORTS: usize = 5_000;

/// One text: a file, or what a command printed.
#[derive(Debug, Clone, Copy)]
pub struct File<'t> {
    /// Its path, or the command.
    pub name: &'t str,
    /// What it holds.
    pub text: &'t str,
}

/// A program whose configuration can be read.
#[derive(Debug, Clone, Copy)]
pub struct Source {
    /// Which program.
    pub product: Product,
    /// Other words for it on the command line.
    pub also: &'static [&'static str],
    /// Commands that make the program print its configuration; each prints a part, all are needed.
    pub commands: &'static [&'static [&'static str]],
    /// Where its files usually are, where no command prints them; the first that exists.
    pub files: &'static [&'static str],
    reader: fn(&[File<'_>]) -> Vec<Neighbour>,
}

impl Source {
    /// Every program, in the order of the documentation.
    pub const ALL: &[Self] = &[
        Self {
            product: Product::Haproxy,
            also: &[],
            commands: &[],
            files: &["/etc/haproxy/haproxy.cfg", "/usr/local/etc/haproxy/haproxy.cfg"],
            reader: haproxy::read,
        },
        Self {
            product: Product::Nginx,
            also: &[],
            commands: &[&["nginx", "-T"]],
            files: &["/etc/nginx/nginx.conf"],
            reader: nginx::read,
        },
        Self {
            product: Product::Traefik,
            also: &[],
            commands: &[],
            files: &["/etc/traefik/traefik.yml", "/etc/traefik/traefik.yaml", "/etc/traefik/traefik.toml"],
            reader: traefik::read,
        },
        Self {
            product: Product::Envoy,
            also: &[],
            commands: &[],
            files: &["/etc/envoy/envoy.yaml", "/etc/envoy/envoy.json"],
            reader: envoy::read,
        },
        Self {
            product: Product::Caddy,
            also: &[],
            commands: &[&["caddy", "adapt", "--pretty", "--config", "/etc/caddy/Caddyfile"]],
            files: &[],
            reader: caddy::read,
        },
        Self {
            product: Product::Hitch,
            also: &[],
            commands: &[],
            files: &["/etc/hitch/hitch.conf"],
            reader: hitch::read,
        },
        Self {
            product: Product::Stunnel,
            also: &["stunnel4"],
            commands: &[],
            files: &["/etc/stunnel/stunnel.conf"],
            reader: stunnel::read,
        },
        Self {
            product: Product::Sslh,
            also: &[],
            commands: &[],
            files: &["/etc/sslh/sslh.cfg", "/etc/sslh.cfg"],
            reader: sslh::read,
        },
        Self {
            product: Product::Varnish,
            also: &["varnishd"],
            commands: &[],
            files: &[
                "/etc/systemd/system/varnish.service",
                "/usr/lib/systemd/system/varnish.service",
                "/etc/default/varnish",
            ],
            reader: varnish::read,
        },
        Self {
            product: Product::Postfix,
            also: &["postscreen"],
            commands: &[&["postconf", "-n"], &["postconf", "-Mf"]],
            files: &[],
            reader: postfix::read,
        },
        Self {
            product: Product::Dovecot,
            also: &[],
            commands: &[&["doveconf", "-n"]],
            files: &[],
            reader: dovecot::read,
        },
        Self {
            product: Product::Exim,
            also: &["exim4"],
            commands: &[&["exim", "-bP"]],
            files: &["/etc/exim4/exim4.conf", "/etc/exim/exim.conf"],
            reader: exim::read,
        },
        Self {
            product: Product::Opensmtpd,
            also: &["smtpd"],
            commands: &[],
            files: &["/etc/smtpd.conf", "/etc/mail/smtpd.conf", "/etc/opensmtpd/smtpd.conf"],
            reader: opensmtpd::read,
        },
        Self {
            product: Product::Stalwart,
            also: &[],
            commands: &[],
            files: &[
                "/opt/stalwart/etc/config.toml",
                "/opt/stalwart-mail/etc/config.toml",
                "/etc/stalwart/config.toml",
            ],
            reader: stalwart::read,
        },
        Self {
            product: Product::Docker,
            also: &["compose", "docker-compose"],
            commands: &[&["docker", "compose", "config"]],
            files: &["compose.yaml", "compose.yml", "docker-compose.yml"],
            reader: compose::read,
        },
        Self {
            product: Product::Kubernetes,
            also: &["kubectl", "k8s", "ingress-nginx"],
            commands: &[&[
                "kubectl",
                "get",
                "service,configmap,ingress,daemonset",
                "--all-namespaces",
                "-o",
                "yaml",
            ]],
            files: &[],
            reader: kubernetes::read,
        },
        Self {
            product: Product::DockerMailserver,
            also: &["dms"],
            commands: &[],
            files: &["mailserver.env"],
            reader: environment::docker_mailserver,
        },
        Self {
            product: Product::Mailcow,
            also: &[],
            commands: &[],
            files: &["/opt/mailcow-dockerized/mailcow.conf"],
            reader: environment::mailcow,
        },
        Self {
            product: Product::Mailu,
            also: &[],
            commands: &[],
            files: &["/mailu/mailu.env"],
            reader: environment::mailu,
        },
    ];

    /// The program of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        Self::ALL.iter().find(|source| source.product.name() == name || source.also.contains(&name))
    }

    /// The program of that product.
    #[must_use]
    pub fn of(product: Product) -> Option<&'static Self> {
        Self::ALL.iter().find(|source| source.product == product)
    }

    /// What its texts say; of ports and connections [`MAX_PORTS`] each.
    #[must_use]
    pub fn read(&self, files: &[File<'_>]) -> Vec<Neighbour> {
        let mut found = (self.reader)(files);
        for neighbour in &mut found {
            let more = neighbour.listens.len().max(neighbour.connects.len()) > MAX_PORTS;
            neighbour.listens.truncate(MAX_PORTS);
            neighbour.connects.truncate(MAX_PORTS);
            if more {
                let place = Place::new(neighbour.origin.clone(), 0, "");
                let why = format!("there are more than {MAX_PORTS} ports or connections in it");
                neighbour.unread.push(Unread { place, why });
            }
        }
        found
    }
}

/// What the texts of `product` say; a neighbour with everything unread where there is no reader for it.
#[must_use]
pub fn read(product: Product, files: &[File<'_>]) -> Vec<Neighbour> {
    match Source::of(product) {
        Some(source) => source.read(files),
        None => {
            let names: Vec<_> = files.iter().map(|file| file.name).collect();
            let mut neighbour = Neighbour::new(product, names.join(", "));
            neighbour.unread.push(Unread {
                place: Place::new(names.join(", "), 0, ""),
                why: format!("there is no reader for {}'s configuration", product.title()),
            });
            vec![neighbour]
        }
    }
}
