//! Chromium without a window, driven through chromedriver: WebDriver is JSON over HTTP.
//!
//! Called by `cases::page`. It must not know what is looked at.

use core::time::Duration;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::port::Port;
use crate::program::Program;
use crate::servers::{find, make_dir};
use crate::verdict::{During, Result, failed};

/// How long one step of the browser may take; its start is the longest.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the page is to look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Theme {
    /// Dark letters.
    Light,
    /// Light letters.
    Dark,
}

/// A running browser with one window.
#[derive(Debug)]
pub(crate) struct Chromium {
    /// Ends with the guard's `kill`, and takes the browser with it.
    _driver: Program,
    port: SocketAddr,
    session: String,
}

impl Chromium {
    /// Starts a driver and its browser, which keeps its files in `dir`.
    pub(crate) fn start(dir: &Path) -> Result<Self> {
        let (driver, browser) = (find("chromedriver")?, find("chromium")?);
        make_dir(dir)?;
        let port = Port::free(IpAddr::V4(Ipv4Addr::LOCALHOST))?.addr();
        let mut command = Command::new(driver);
        command.arg(format!("--port={}", port.port())).env("HOME", dir).current_dir(dir);
        let driver = Program::start("chromedriver", &mut command)?;
        driver.wait_started(|line| line.contains("started successfully"))?;
        let arguments = [
            "--headless=new",
            // The harness is root, and the only page is ours.
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--no-first-run",
            "--force-color-profile=srgb",
        ];
        let profile = format!("--user-data-dir={}", dir.join("profile").display());
        let arguments: Vec<&str> = arguments.into_iter().chain([profile.as_str()]).collect();
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": {"binary": browser, "args": arguments},
            "goog:loggingPrefs": {"browser": "ALL"},
        }}});
        let answer = ask(port, "POST", "/session", &wanted)?;
        match text(&answer, "/sessionId") {
            Some(session) => Ok(Self { _driver: driver, port, session: session.to_owned() }),
            None => failed(format!("chromedriver began no session: {answer}")),
        }
    }

    /// Loads a page.
    pub(crate) fn open(&self, url: &str) -> Result {
        self.post("url", &json!({"url": url})).map(drop)
    }

    /// What a function's body returns, run in the page.
    pub(crate) fn run(&self, body: &str) -> Result<Value> {
        self.post("execute/sync", &json!({"script": body, "args": []}))
    }

    /// What `body` passes to its last argument, later.
    pub(crate) fn run_until(&self, body: &str) -> Result<Value> {
        self.post("execute/async", &json!({"script": body, "args": []}))
    }

    /// Presses a key; the letters are those of WebDriver, such as U+E004 for Tab.
    pub(crate) fn press(&self, key: char) -> Result {
        let actions = json!({"actions": [{"type": "key", "id": "keys", "actions": [
            {"type": "keyDown", "value": key.to_string()}, {"type": "keyUp", "value": key.to_string()},
        ]}]});
        self.post("actions", &actions).map(drop)
    }

    /// Gives the window this size and the page this theme.
    pub(crate) fn look(&self, width: u32, height: u32, theme: Theme) -> Result {
        self.develop(
            "Emulation.setDeviceMetricsOverride",
            &json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}),
        )?;
        let value = if theme == Theme::Dark { "dark" } else { "light" };
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": value}]});
        self.develop("Emulation.setEmulatedMedia", &features).map(drop)
    }

    /// The page from its top to `height`, as a PNG picture.
    pub(crate) fn picture(&self, width: u32, height: u32) -> Result<Vec<u8>> {
        let clip = json!({"x": 0, "y": 0, "width": width, "height": height, "scale": 1});
        let answer = self.develop(
            "Page.captureScreenshot",
            &json!({"format": "png", "captureBeyondViewport": true, "clip": clip}),
        )?;
        STANDARD.decode(text(&answer, "/data").unwrap_or_default()).during("decode a picture")
    }

    /// What the browser complains of: scripts that it did not let run, requests that it did not make.
    pub(crate) fn complaints(&self) -> Result<Vec<String>> {
        let all = self.post("se/log", &json!({"type": "browser"}))?;
        let all = all.as_array().cloned().unwrap_or_default();
        Ok(all.iter().map(|entry| text(entry, "/message").unwrap_or_default().to_owned()).collect())
    }

    /// A command of the browser's own tools.
    fn develop(&self, command: &str, parameters: &Value) -> Result<Value> {
        self.post("goog/cdp/execute", &json!({"cmd": command, "params": parameters}))
    }

    fn post(&self, path: &str, body: &Value) -> Result<Value> {
        ask(self.port, "POST", &format!("/session/{}/{path}", self.session), body)
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // The browser ends with its session; the driver with its guard.
        let _gone_already = ask(self.port, "DELETE", &format!("/session/{}", self.session), &json!({}));
    }
}

/// One command of WebDriver: its value, or what the driver says of it.
fn ask(driver: SocketAddr, method: &str, path: &str, body: &Value) -> Result<Value> {
    let body = if method == "DELETE" { String::new() } else { body.to_string() };
    let mut stream = TcpStream::connect(driver).during("connect to chromedriver")?;
    stream.set_read_timeout(Some(PATIENCE)).during("set a read timeout")?;
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {driver}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).during("ask chromedriver")?;
    let answer = whole(&mut stream)?;
    let value: Value =
        serde_json::from_str(&answer).during(&format!("read chromedriver's answer {answer:?}"))?;
    match text(&value, "/value/error") {
        Some(error) => {
            let message = text(&value, "/value/message").unwrap_or_default();
            failed(format!("{method} {path}: {error}: {message}"))
        }
        None => Ok(value.get("value").cloned().unwrap_or_default()),
    }
}

fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer)?.as_str()
}

/// The body of an answer that tells its length; the driver may keep the connection open.
fn whole(stream: &mut TcpStream) -> Result<String> {
    let mut got = Vec::new();
    let mut piece = vec![0; 64 * 1024];
    loop {
        let text = String::from_utf8_lossy(&got);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
            });
            if length.is_some_and(|length| body.len() >= length) {
                return Ok(body.to_owned());
            }
        }
        let read = stream.read(&mut piece).during("hear chromedriver")?;
        match piece.get(..read) {
            None | Some([]) => {
                return failed(format!("chromedriver broke off: {}", String::from_utf8_lossy(&got)));
            }
            Some(more) => got.extend_from_slice(more),
        }
    }
}
