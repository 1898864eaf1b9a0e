//! The sample configurations are what their programs accept and understand.
//!
//! Called by `cases`.

use std::fs;
use std::path::PathBuf;

use super::{Case, case};
use crate::lab::Lab;
use crate::servers::{ask, find, need_root, nginx, write};
use crate::verdict::{During, Result, ensure};

/// One case per program.
pub(super) fn cases() -> Vec<Case> {
    vec![
        case("truepeer_accepts_the_example", truepeer),
        case("haproxy_accepts_the_example", haproxy),
        case("nginx_accepts_the_example", nginx),
        case("postfix_reads_headers_by_the_example", postfix),
        case("dovecot_reads_headers_by_the_example", dovecot),
    ]
}

fn truepeer(lab: &Lab) -> Result {
    let text = include_str!("../../../packaging/examples/mail-host/truepeer.toml");
    let file = file(lab, "truepeer.toml", text)?;
    ask(lab.program()?, &["check", "--config", &file.to_string_lossy()]).map(|_| ())
}

fn haproxy(lab: &Lab) -> Result {
    let text = include_str!("../../../packaging/examples/mail-host/haproxy.cfg");
    let text = text.replace("/etc/haproxy/mail.pem", &lab.pair()?.to_string_lossy());
    let file = file(lab, "haproxy.cfg", &text)?;
    ask(&find("haproxy")?, &["-c", "-f", &file.to_string_lossy()]).map(|_| ())
}

fn nginx(lab: &Lab) -> Result {
    let nginx = find("nginx")?;
    need_root("NGINX, which binds the ports of a configuration that it tests,")?;
    let module = nginx::module()?;
    let text = include_str!("../../../packaging/examples/mail-host/nginx-stream.conf");
    let dir = lab.fresh_dir("nginx-example")?;
    let pid = dir.join("nginx.pid");
    let text = format!("load_module {module};\npid {};\nevents {{}}\n{text}", pid.display());
    let file = dir.join("nginx.conf");
    write(&file, &text)?;
    ask(&nginx, &["-t", "-e", "stderr", "-c", &file.to_string_lossy()]).map(|_| ())
}

fn postfix(lab: &Lab) -> Result {
    let postconf = find("postconf")?;
    let text = include_str!("../../../packaging/examples/mail-host/postfix-master.cf");
    let dir = lab.fresh_dir("postfix-example")?;
    write(&dir.join("master.cf"), text)?;
    write(&dir.join("main.cf"), "")?;
    let said = ask(&postconf, &["-c", &dir.to_string_lossy(), "-P"])?;
    let wanted = "127.0.0.1:10025/inet/smtpd_upstream_proxy_protocol = haproxy";
    ensure(said.lines().any(|line| line == wanted), || format!("expected `{wanted}`, got `{said}`"))
}

fn dovecot(lab: &Lab) -> Result {
    let version = ask(&find("dovecot")?, &["--version"])?;
    let head = if version.starts_with("2.4") {
        "dovecot_config_version = 2.4.0\ndovecot_storage_version = 2.4.0\n"
    } else {
        ""
    };
    let text = include_str!("../../../packaging/examples/mail-host/dovecot.conf");
    let file = file(lab, "dovecot.conf", &format!("{head}{text}"))?;
    let said = ask(&find("doveconf")?, &["-n", "-c", &file.to_string_lossy()])?;
    for wanted in ["haproxy_trusted_networks = 127.0.0.1", "haproxy = yes", "port = 10143"] {
        ensure(said.lines().any(|line| line.trim() == wanted), || {
            format!("expected `{wanted}`, got `{said}`")
        })?;
    }
    Ok(())
}

fn file(lab: &Lab, name: &str, text: &str) -> Result<PathBuf> {
    let file = lab.fresh_dir("example")?.join(name);
    write(&file, text)?;
    fs::canonicalize(&file).during("find what was just written")
}
