//! Programs that are started with somebody's configuration as it is written, completed only by what every machine has.
//!
//! Called by `cases`. It must not know what the configuration is about.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Pid;
use serde_json::{Value, json};

use crate::feed::Feed;
use crate::program::Program;
use crate::servers::dovecot::Dovecot;
use crate::servers::envoy::Envoy;
use crate::servers::exim::Exim;
use crate::servers::haproxy::{HEAD, Haproxy};
use crate::servers::newer::Release;
use crate::servers::nginx::Nginx;
use crate::servers::postfix::{SERVICES, launch, pid_file};
use crate::servers::traefik::Traefik;
use crate::servers::{ask, fetched_dir, find, find_fetched, make_dir, need_root, write};
use crate::verdict::{During, Result, failed};

/// Texts by the name of their file.
pub(crate) type Files = BTreeMap<String, String>;

/// One running program.
#[derive(Debug)]
pub(crate) enum Written {
    /// HAProxy.
    Haproxy(Haproxy),
    /// NGINX.
    Nginx(Nginx),
    /// Traefik.
    Traefik(Traefik),
    /// Envoy.
    Envoy(Envoy),
    /// Dovecot.
    Dovecot(Dovecot),
    /// Exim.
    Exim(Exim),
    /// Postfix, whose master leads a session of its own.
    Postfix(Program, PathBuf),
    /// Another one.
    Other(Program),
}

impl Written {
    /// Starts `product` with those of `files` that are its own, and waits until it listens; `pair` is the file with
    /// certificate and key.
    pub(crate) fn start(product: &str, files: &Files, dir: &Path, pair: &Path) -> Result<Self> {
        make_dir(dir)?;
        let text = |name: &str| files.get(name).map(String::as_str).unwrap_or_default();
        Ok(match product {
            "haproxy" => {
                Self::Haproxy(Haproxy::start_as_written(dir, &format!("{HEAD}{}", text("haproxy.cfg")))?)
            }
            "nginx" => Self::Nginx(Nginx::start_as_written(dir, text("nginx.conf"))?),
            "envoy" => {
                let started = Envoy::start(dir, text("envoy.yaml"))?;
                until_it_listens(text("envoy.yaml"))?;
                Self::Envoy(started)
            }
            "traefik" => Self::Traefik(Traefik::start_as_written(dir, text("traefik.yml"))?),
            "dovecot" => Self::Dovecot(Dovecot::start_as_written(dir, pair, text("dovecot.conf"))?),
            "exim" => Self::Exim(Exim::start_with(dir, text("exim.conf"), "0s")?),
            "caddy" => Self::Other(caddy(dir, text("caddy.json"))?),
            "opensmtpd" => Self::Other(opensmtpd(dir, text("smtpd.conf"), pair)?),
            "postfix" => Self::Postfix(postfix(dir, text("main.cf"), text("master.cf"))?, dir.to_owned()),
            other => return failed(format!("nobody starts {other}")),
        })
    }

    /// What it logs.
    pub(crate) fn log(&self) -> &Feed {
        match self {
            Self::Haproxy(program) => program.log(),
            Self::Nginx(program) => program.log(),
            Self::Traefik(program) => program.log(),
            Self::Envoy(program) => program.log(),
            Self::Dovecot(program) => program.log(),
            Self::Exim(program) => program.log(),
            Self::Postfix(program, _) | Self::Other(program) => program.log(),
        }
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        if let Self::Postfix(program, dir) = self {
            let master = fs::read_to_string(pid_file(dir)).ok();
            program.end_by(master.and_then(|text| text.trim().parse().ok()).and_then(Pid::from_raw));
        }
    }
}

/// Envoy's workers begin to listen a moment after it has said so.
fn until_it_listens(text: &str) -> Result {
    // Each try is a connection, so this is bounded.
    const TRIES: usize = 20_000;
    let behind = text.split_once("port_value: ").map(|(_, behind)| behind).unwrap_or_default();
    let digits: String = behind.chars().take_while(char::is_ascii_digit).collect();
    let port: u16 = digits.parse().during("read Envoy's port")?;
    for _ in 0..TRIES {
        if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(());
        }
    }
    failed(format!("nobody listens on {port}"))
}

/// Caddy, without its admin port.
fn caddy(dir: &Path, text: &str) -> Result<Program> {
    let mut config: Value = serde_json::from_str(text).during("read Caddy's configuration")?;
    if let Some(config) = config.as_object_mut() {
        config.insert("admin".to_owned(), json!({ "disabled": true, "config": { "persist": false } }));
        config.insert("logging".to_owned(), json!({ "logs": { "default": { "level": "DEBUG" } } }));
    }
    let file = dir.join("caddy.json");
    write(&file, &config.to_string())?;
    let mut command = Command::new(find_fetched("bin/caddy")?);
    command.args(["run", "--config"]).arg(&file);
    for name in ["HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"] {
        command.env(name, dir);
    }
    let program = Program::start("caddy", &mut command)?;
    program.wait_started(|line| line.contains("serving initial configuration"))?;
    Ok(program)
}

/// OpenSMTPD, whose key nobody else may read.
fn opensmtpd(dir: &Path, text: &str, pair: &Path) -> Result<Program> {
    need_root("OpenSMTPD")?;
    let smtpd = find_fetched("opensmtpd/usr/sbin/smtpd")?;
    let (config, own) = (dir.join("smtpd.conf"), dir.join("pair.pem"));
    fs::copy(pair, &own).during("copy the certificate")?;
    fs::set_permissions(&own, fs::Permissions::from_mode(0o600)).during("close the key")?;
    write(&config, &text.replace(&*pair.to_string_lossy(), &own.to_string_lossy()))?;
    let script = format!(
        "mount -t tmpfs none /run && mount -t tmpfs none /var/spool && mkdir -m 711 /var/spool/smtpd && exec '{}' -d \
         -f '{}'",
        smtpd.display(),
        config.display()
    );
    let mut command = Command::new(find("unshare")?);
    command.args(["--mount", "sh", "-c"]).arg(script);
    command.env("LD_LIBRARY_PATH", fetched_dir().join("opensmtpd/libraries"));
    let program = Program::start("opensmtpd", &mut command)?;
    program.wait_started(|line| line.contains("OpenSMTPD") && line.contains("starting"))?;
    Ok(program)
}

/// Postfix with these settings and services beside what each has.
fn postfix(dir: &Path, main: &str, master: &str) -> Result<Program> {
    need_root("Postfix")?;
    let daemons = ask(&find("postconf")?, &["-dh", "daemon_directory"])?;
    let (config, queue, data) = (dir.join("etc"), dir.join("spool"), dir.join("data"));
    for dir in [&config, &queue, &data] {
        make_dir(dir)?;
    }
    ask(&find("chown")?, &["postfix", &data.to_string_lossy()])?;
    let usual = format!(
        "compatibility_level = 3.6\nqueue_directory = {}\ndata_directory = {}\ndaemon_directory = {daemons}\n\
         maillog_file = /dev/stdout\nmyhostname = postfix.interop.test\nmydestination = interop.test\n\
         local_recipient_maps =\nlocal_transport = discard:\ndefault_transport = discard:\nalias_maps =\n\
         alias_database =\nsmtpd_peername_lookup = no\nsmtpd_tls_security_level = none\n",
        queue.display(),
        data.display()
    );
    write(&config.join("main.cf"), &format!("{usual}{main}\n"))?;
    write(&config.join("master.cf"), &format!("{}\n{MORE_SERVICES}{SERVICES}", master.trim_end()))?;
    launch(Release::Ours, dir)
}

/// Beside those that every Postfix has.
const MORE_SERVICES: &str = "proxywrite unix - - n - 1 proxymap\nsmtpd pass - - n - - smtpd\n";
