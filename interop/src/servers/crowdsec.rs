//! crowdsec-custom-bouncer, and the part of CrowdSec's API that it asks: the list at its start, then what is new.
//!
//! Called by `cases`. It must not know what is decided.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use serde_json::{Value, json};

use crate::feed::{Feed, PATIENCE};
use crate::program::Program;
use crate::servers::{find, make_dir, write};
use crate::verdict::{During, Result};

/// The API, answered by a thread of the harness; dropping it ends the thread.
#[derive(Debug)]
pub(crate) struct Api {
    addr: SocketAddr,
    news: Arc<Mutex<VecDeque<Value>>>,
    ending: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Api {
    /// Starts to answer; `list` is what holds already.
    pub(crate) fn start(list: Vec<Value>) -> Result<Self> {
        let listener =
            TcpListener::bind((IpAddr::V4(Ipv4Addr::LOCALHOST), 0)).during("listen for the bouncer")?;
        let addr = listener.local_addr().during("read a bound address")?;
        let (news, ending) = (Arc::new(Mutex::new(VecDeque::new())), Arc::new(AtomicBool::new(false)));
        let (to_tell, is_ending) = (Arc::clone(&news), Arc::clone(&ending));
        let thread = thread::spawn(move || {
            for stream in listener.incoming().map_while(core::result::Result::ok) {
                if is_ending.load(Ordering::Acquire) {
                    return;
                }
                // A bouncer that breaks off asks again.
                let _broken = answer(stream, &list, &to_tell);
            }
        });
        Ok(Self { addr, news, ending, thread: Some(thread) })
    }

    /// Tells the bouncer at its next question: `key` is `new` or `deleted`.
    pub(crate) fn tell(&self, key: &str, decision: &Value) {
        let other = if key == "new" { "deleted" } else { "new" };
        let news = json!({ key: [decision], other: null });
        self.news.lock().unwrap_or_else(PoisonError::into_inner).push_back(news);
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Release);
        // Wakes the thread; if nobody can connect, it has ended.
        let _woken = TcpStream::connect(self.addr);
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

fn answer(stream: TcpStream, list: &[Value], news: &Mutex<VecDeque<Value>>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut request = String::new();
    let mut reader = BufReader::new(&stream);
    reader.read_line(&mut request)?;
    let mut line = request.clone();
    while !line.trim_end().is_empty() {
        line.clear();
        reader.read_line(&mut line)?;
    }
    let body = if request.contains("startup=true") {
        json!({ "new": list, "deleted": null })
    } else {
        let next = news.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        next.unwrap_or_else(|| json!({ "new": null, "deleted": null }))
    }
    .to_string();
    write!(
        &stream,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// A running crowdsec-custom-bouncer.
#[derive(Debug)]
pub(crate) struct CustomBouncer {
    program: Program,
}

impl CustomBouncer {
    /// Starts it with the settings that truepeer ships, on top of its own for this `api`; `script` is what it starts.
    pub(crate) fn start(dir: &Path, api: &Api, script: &Path, env: &[(&str, String)]) -> Result<Self> {
        const SHIPPED: &str = include_str!("../../../packaging/crowdsec/crowdsec-custom-bouncer.yaml.local");
        let bouncer = find("crowdsec-custom-bouncer")?;
        make_dir(dir)?;
        let config = dir.join("bouncer.yaml");
        write(
            &config,
            &format!(
                "piddir: {dir}\nupdate_frequency: 1s\ncache_retention_duration: 1s\ndaemonize: false\n\
                 log_mode: stdout\nlog_dir: {dir}\nlog_level: info\napi_url: http://{addr}/\napi_key: key\n\
                 prometheus:\n  enabled: false\n",
                dir = dir.display(),
                addr = api.addr
            ),
        )?;
        let local =
            SHIPPED.replace("/usr/share/truepeer/crowdsec/truepeer-bouncer", &script.to_string_lossy());
        write(&dir.join("bouncer.yaml.local"), &local)?;
        let mut command = Command::new(bouncer);
        command.arg("-c").arg(&config).envs(env.iter().map(|(key, value)| (*key, value)));
        let started = Self { program: Program::start("crowdsec-custom-bouncer", &mut command)? };
        started.program.wait_started(|line| line.contains("Processing new and deleted decisions"))?;
        Ok(started)
    }

    /// What the bouncer logs; not what its script says.
    pub(crate) fn log(&self) -> &Feed {
        self.program.log()
    }
}
