//! Prometheus: one server that scrapes every second, and `promtool`.
//!
//! Called by `cases`. It must not know what the numbers mean.

use core::fmt::Write as _;
use core::time::Duration;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Instant;

use serde_json::Value;

use crate::client::{Client, Place};
use crate::feed::{Feed, PATIENCE};
use crate::port::Port;
use crate::program::Program;
use crate::servers::{find, make_dir, write};
use crate::verdict::{During, Result, failed};

/// Between two questions for a number that the next scrape brings: nothing announces a scrape.
const PAUSE: Duration = Duration::from_millis(50);

/// A running Prometheus.
#[derive(Debug)]
pub(crate) struct Prometheus {
    program: Program,
    port: Port,
}

impl Prometheus {
    /// Starts Prometheus with these rules; each job is a name and where to scrape.
    pub(crate) fn start(dir: &Path, rules: &Path, jobs: &[(&str, SocketAddr)]) -> Result<Self> {
        let prometheus = find("prometheus")?;
        make_dir(dir)?;
        let mut text = format!(
            "global: {{ scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s }}\n\
             rule_files: ['{}']\nscrape_configs:\n",
            rules.display()
        );
        for (job, addr) in jobs {
            writeln!(text, "  - job_name: {job}\n    static_configs: [{{ targets: ['{addr}'] }}]")
                .during("write the Prometheus configuration")?;
        }
        let config = dir.join("prometheus.yml");
        write(&config, &text)?;
        let port = Port::free(IpAddr::V4(Ipv4Addr::LOCALHOST))?;
        let mut command = Command::new(prometheus);
        command
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", dir.join("data").display()))
            .arg(format!("--web.listen-address={}", port.addr()))
            .current_dir(dir);
        let started = Self { program: Program::start("prometheus", &mut command)?, port };
        started.program.wait_started(|line| line.contains("Server is ready to receive web requests"))?;
        Ok(started)
    }

    /// What Prometheus logs.
    pub(crate) fn log(&self) -> &Feed {
        self.program.log()
    }

    /// Waits until the first sample of `query` has this value.
    pub(crate) fn wait_value(&self, query: &str, value: &str) -> Result {
        let deadline = Instant::now().checked_add(PATIENCE);
        loop {
            let answer = self.ask(query)?;
            if first_value(&answer).as_deref() == Some(value) {
                return Ok(());
            }
            if deadline.is_none_or(|deadline| Instant::now() > deadline) {
                return failed(format!("expected {query} to become {value}, Prometheus has {answer}"));
            }
            thread::park_timeout(PAUSE);
        }
    }

    /// What a job said a family's type is. Only OpenMetrics knows the type info.
    pub(crate) fn type_of(&self, job: &str, family: &str) -> Result<String> {
        let path = format!("/api/v1/targets/metadata?match_target=%7Bjob%3D%22{job}%22%7D&metric={family}");
        let body = get(self.port.addr(), &path, "*/*")?.1;
        let answer: Value = serde_json::from_str(&body).during("read the answer of Prometheus")?;
        match answer.pointer("/data/0/type").and_then(Value::as_str) {
            Some(name) => Ok(name.to_owned()),
            None => failed(format!("{job} said nothing about {family}: {answer}")),
        }
    }

    /// Its answer to one query now.
    fn ask(&self, query: &str) -> Result<Value> {
        let mut encoded = String::new();
        for byte in query.bytes() {
            write!(encoded, "%{byte:02x}").during("encode a query")?;
        }
        let body = get(self.port.addr(), &format!("/api/v1/query?query={encoded}"), "*/*")?.1;
        serde_json::from_str(&body).during("read the answer of Prometheus")
    }
}

fn first_value(answer: &Value) -> Option<String> {
    answer.pointer("/data/result/0/value/1")?.as_str().map(str::to_owned)
}

/// One request of HTTP/1.0, so that the answer comes as it is; its head and its body.
pub(crate) fn get(addr: SocketAddr, path: &str, accept: &str) -> Result<(String, String)> {
    let mut client = Client::dial(Place::Here(addr.ip()), addr)?;
    client.send(format!("GET {path} HTTP/1.0\r\nHost: {addr}\r\nAccept: {accept}\r\n\r\n").as_bytes())?;
    let answer = client.rest("the end of an HTTP answer")?;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.contains(" 200 ") => Ok((head.to_ascii_lowercase(), body.to_owned())),
        _ => failed(format!("GET {path}: {answer}")),
    }
}

/// What `promtool` says, to `input` if it reads one.
pub(crate) fn promtool(dir: &Path, args: &[&str], input: &str) -> Result<String> {
    let mut tool = Command::new(find("promtool")?)
        .args(args)
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .during("start promtool")?;
    if let Some(mut stdin) = tool.stdin.take() {
        // What it does not want to read shows in what it says.
        let _unread = stdin.write_all(input.as_bytes());
    }
    let output = tool.wait_with_output().during("promtool")?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).trim_end().to_owned();
    if output.status.success() { Ok(said) } else { failed(format!("promtool {}: {said}", args.join(" "))) }
}
