//! What to do beside the configuration, in order: each step with the command that proves it and the way back.

use super::look::Dovecot;
use super::{Answers, Found, GivenAnswers, Service};
use crate::config::DEFAULT_PATH;
use crate::doctor::snippet::ProxyProduct;

/// One step. Everything in it is to copy; lines that begin with `#` say what a person has to do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InitStep {
    /// What changes, and what does not.
    pub title: String,
    /// The commands, on this machine as root unless the title names another.
    pub commands: Vec<String>,
    /// What shows that it works.
    pub proof: Vec<String>,
    /// The way back.
    pub back: Vec<String>,
}

/// What our lines in other programs' files stand between.
const BEGIN: &str = "# truepeer init: begin";
const END: &str = "# truepeer init: end";

/// All of them: servers first, the proxy last, for nobody may be sent to what does not listen yet.
pub(super) fn steps(found: &Found, answers: &Answers, lines: &str, path: &str) -> Vec<InitStep> {
    let mut steps = Vec::new();
    let of_server =
        |kind| answers.services.iter().copied().filter(|s| s.server(found) == Some(kind)).collect::<Vec<_>>();
    if let [service, ..] = of_server("postfix")[..] {
        steps.push(postfix(service));
    }
    if let [service, ..] = of_server("exim")[..] {
        steps.push(exim(service));
    }
    if let (Some(version), mailboxes @ [_, ..]) = (found.dovecot, &of_server("dovecot")[..]) {
        steps.push(dovecot(version, mailboxes));
    }
    steps.push(truepeer(found, path));
    steps.push(proxy(answers, lines));
    if answers.is_local() {
        steps.push(moving(found, answers));
    }
    steps
}

fn strings<const N: usize>(lines: [&str; N]) -> Vec<String> {
    lines.map(str::to_owned).into()
}

/// The check that every server's port passes: a header for an address of the documentation, a greeting, a goodbye.
fn greets(service: Service, tls: &str) -> String {
    format!("truepeer send --protocol {}{tls} 127.0.0.1:{}", service.protocol(), service.server_port())
}

fn postfix(service: Service) -> InitStep {
    let at = format!("127.0.0.1:{}", service.server_port());
    InitStep {
        title: format!(
            "Postfix gets one more port, {at}, that reads the header; what it serves now stays as it is"
        ),
        commands: vec![
            format!("postconf -M '{at}/inet={at} inet n - n - - smtpd'"),
            format!("postconf -P '{at}/inet/smtpd_upstream_proxy_protocol=haproxy'"),
            "postfix reload".to_owned(),
        ],
        proof: vec![greets(service, "")],
        back: vec![format!("postconf -MX '{at}/inet'"), "postfix reload".to_owned()],
    }
}

fn exim(service: Service) -> InitStep {
    let port = service.server_port();
    InitStep {
        title: format!(
            "Exim listens at port {port} as well, and reads the header there from this machine alone"
        ),
        commands: vec![
            "# in the main section of its configuration:".to_owned(),
            format!("#   daemon_smtp_ports = 25 : {port}"),
            format!("#   hosts_proxy = ${{if eq{{$received_port}}{{{port}}} {{127.0.0.1}}{{}}}}"),
            "systemctl restart exim4".to_owned(),
        ],
        proof: vec![greets(service, "")],
        back: strings(["# remove both lines", "systemctl restart exim4"]),
    }
}

fn dovecot(version: Dovecot, services: &[Service]) -> InitStep {
    const FILE: &str = "/etc/dovecot/conf.d/99-truepeer.conf";
    let address = match version {
        Dovecot::V2_3 => "address",
        Dovecot::V2_4 => "listen",
    };
    let mut commands = vec![
        format!("cat >{FILE} <<'END'"),
        "# If another file has this setting, its networks belong here as well: the last one holds."
            .to_owned(),
        "haproxy_trusted_networks = 127.0.0.1".to_owned(),
        "service imap-login {".to_owned(),
    ];
    for service in services {
        let tls = if *service == Service::Imaps { "    ssl = yes\n" } else { "" };
        commands.extend(
            format!(
                "  inet_listener {}_truepeer {{\n    {address} = 127.0.0.1\n    port = {}\n{tls}    haproxy = yes\n  }}",
                service.name(),
                service.server_port()
            )
            .lines()
            .map(str::to_owned),
        );
    }
    commands.extend(strings(["}", "END", "doveadm reload"]));
    let ports: Vec<_> =
        services.iter().map(|service| format!("127.0.0.1:{}", service.server_port())).collect();
    InitStep {
        title: format!(
            "Dovecot gets {} that reads the header; what it serves now stays as it is",
            ports.join(" and ")
        ),
        commands,
        proof: services
            .iter()
            .map(|service| greets(*service, if *service == Service::Imaps { " --tls" } else { "" }))
            .collect(),
        back: vec![format!("rm {FILE}"), "doveadm reload".to_owned()],
    }
}

fn truepeer(found: &Found, path: &str) -> InitStep {
    let file = if path == DEFAULT_PATH { String::new() } else { format!(" --config {path}") };
    let (start, stop) = match (found.unit, file.is_empty()) {
        (true, true) => {
            (strings(["systemctl enable --now truepeer"]), strings(["systemctl disable --now truepeer"]))
        }
        _ => (
            vec![
                "mkdir -p /run/truepeer /var/lib/truepeer".to_owned(),
                format!("truepeer run{file} &     # as a service: docs/deploy-systemd.md"),
            ],
            strings(["kill %1"]),
        ),
    };
    InitStep {
        title: "truepeer listens on ports that are free; at its start it tests that each server reads the header"
            .to_owned(),
        commands: [vec![format!("truepeer check{file}")], start].concat(),
        proof: vec![
            format!("truepeer status{file}"),
            "# other users of this machine reach the servers' new ports as well: docs/init.md has the line that keeps them out"
                .to_owned(),
        ],
        back: stop,
    }
}

fn proxy(answers: &Answers, lines: &str) -> InitStep {
    let name = GivenAnswers::word(answers.product);
    let local = answers.is_local();
    let ports: Vec<_> =
        answers.services.iter().map(|service| answers.front_port(*service).to_string()).collect();
    let (file, reload) = match answers.product {
        ProxyProduct::Haproxy => (
            "/etc/haproxy/haproxy.cfg",
            "haproxy -c -q -f /etc/haproxy/haproxy.cfg && systemctl reload-or-restart haproxy",
        ),
        ProxyProduct::Nginx => ("/etc/nginx/nginx.conf", "nginx -t -q && systemctl reload-or-restart nginx"),
        ProxyProduct::Traefik | ProxyProduct::Envoy | ProxyProduct::Caddy => ("", ""),
    };
    let mut commands = Vec::new();
    if file.is_empty() {
        commands.push(format!("# in {name}'s configuration:"));
        commands.extend(lines.lines().map(|line| format!("#   {line}")));
    } else {
        if answers.product == ProxyProduct::Nginx {
            commands
                .push("# NGINX's `stream` is a package of its own in Debian: libnginx-mod-stream".to_owned());
        }
        commands.push(format!("cat >>{file} <<'END'"));
        commands.push(BEGIN.to_owned());
        commands.extend(lines.lines().map(str::to_owned));
        commands.extend([END.to_owned(), "END".to_owned(), reload.to_owned()]);
    }
    let back = match file {
        "" => vec!["# remove these lines".to_owned()],
        file => vec![format!("sed -i '/^{BEGIN}$/,/^{END}$/d' {file}"), reload.to_owned()],
    };
    let through = |service: &Service| {
        let host = if local { " --source 127.0.0.99 127.0.0.1" } else { " THE.PROXYS.ADDRESS" };
        let tls = if *service == Service::Imaps { " --tls" } else { "" };
        format!(
            "truepeer send --version none --protocol {}{tls}{host}:{}",
            service.protocol(),
            answers.front_port(*service)
        )
    };
    let mut proof: Vec<_> = answers.services.iter().map(through).collect();
    proof.push(match local {
        true => "tail -n 5 /var/log/mail.log || journalctl -n 5 -t postfix/smtpd -t dovecot     # the client is 127.0.0.99"
            .to_owned(),
        false => "truepeer connections; journalctl -u truepeer -n 5     # the client's address, not the proxy's".to_owned(),
    });
    let place = if local { "this machine" } else { "the proxy's machine" };
    InitStep {
        title: format!(
            "{name} on {place}: clients come to port {}, and it tells truepeer who they are",
            ports.join(" and ")
        ),
        commands,
        proof,
        back,
    }
}

/// From the ports for trying to the usual ones, once everything works.
fn moving(found: &Found, answers: &Answers) -> InitStep {
    let name = GivenAnswers::word(answers.product);
    let (file, reload) = match answers.product {
        ProxyProduct::Nginx => ("/etc/nginx/nginx.conf", "systemctl reload nginx"),
        _ => ("/etc/haproxy/haproxy.cfg", "systemctl reload haproxy"),
    };
    let is_ours = matches!(answers.product, ProxyProduct::Haproxy | ProxyProduct::Nginx);
    let between = |from: u16, to: u16| format!("sed -i '/^{BEGIN}$/,/^{END}$/s/\\b{from}\\b/{to}/' {file}");
    let mut step = InitStep {
        title: format!(
            "When all that works: {name} takes the usual ports, and the servers give them up, in one moment"
        ),
        ..InitStep::default()
    };
    // Who takes a port waits until the other has let go of it, on the way there and on the way back: a reload returns
    // before it has happened.
    let is_free = |service: Service| {
        format!(
            "timeout 10 sh -c 'while {}; do sleep 0.1; done' >/dev/null 2>&1",
            comes_to(service, service.port())
        )
    };
    let (mut take, mut give_back) = (Vec::new(), Vec::new());
    let mailboxes: Vec<_> =
        answers.services.iter().copied().filter(|s| s.server(found) == Some("dovecot")).collect();
    for service in answers.services.iter().copied() {
        let (port, trial) = (service.port(), service.trial_port());
        match service.server(found) {
            Some("postfix") => {
                const BEFORE: &str = "/etc/postfix/truepeer-init.smtp";
                step.commands.push(format!("postconf -M smtp/inet >{BEFORE}"));
                step.commands.extend(strings(["postconf -MX smtp/inet", "postfix reload"]));
                give_back.push(is_free(service));
                give_back.push(format!("postconf -M \"smtp/inet=$(cat {BEFORE})\" && rm {BEFORE}"));
                give_back.push("postfix reload".to_owned());
            }
            // All its ports in one file, with the first.
            Some("dovecot") if mailboxes.first() == Some(&service) => {
                step.commands.extend(closed(&mailboxes));
                give_back.extend(mailboxes.iter().copied().map(is_free));
                give_back.extend([format!("rm {MOVED}"), "doveadm reload".to_owned()]);
            }
            Some("dovecot") => {}
            server => {
                let (server, name) = (server.unwrap_or("the server"), service.name());
                step.commands.push(format!("# {server} gives up port {port} ({name})"));
                give_back.push(format!("# {server} takes port {port} again ({name})"));
            }
        }
        take.push(is_free(service));
        if is_ours {
            take.push(between(trial, port));
            step.back.push(between(port, trial));
        }
        step.proof.push(comes_to(service, port));
    }
    if is_ours {
        take.push(reload.to_owned());
        step.back.push(reload.to_owned());
    }
    step.commands.extend(take);
    step.back.extend(give_back);
    step
}

/// Where Dovecot's usual ports are closed.
const MOVED: &str = "/etc/dovecot/conf.d/99-truepeer-moved.conf";

/// Dovecot without its usual ports.
fn closed(services: &[Service]) -> Vec<String> {
    let mut lines = vec![format!("cat >{MOVED} <<'END'"), "service imap-login {".to_owned()];
    for service in services {
        lines.push(format!("  inet_listener {} {{", service.name()));
        lines.extend(strings(["    port = 0", "  }"]));
    }
    lines.extend(strings(["}", "END", "doveadm reload"]));
    lines
}

/// A client without a header on this machine, who is greeted and says goodbye.
fn comes_to(service: Service, port: u16) -> String {
    let tls = if service == Service::Imaps { " --tls" } else { "" };
    format!("truepeer send --version none --protocol {}{tls} 127.0.0.1:{port}", service.protocol())
}
