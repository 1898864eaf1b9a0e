//! Public reports whose set-up is put up: the programs of a case in `docs/cases/` are started with its own files, a
//! client sees what the report says, the case's command names the line, and with that line repaired the same client is
//! served and nothing is found.
//!
//! Called by `cases`. The reports themselves are data: those whose `real` has `starts`.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Command, Stdio};
use std::thread;

use serde_json::Value;

use super::reports::{Report, unescape};
use super::{Case, row};
use crate::client::{Client, Place};
use crate::feed::Feed;
use crate::lab::Lab;
use crate::port::Port;
use crate::servers::written::{Files, Written};
use crate::servers::{find, make_dir, write};
use crate::verdict::{During, Result, ensure, failed};

/// Where a client outside connects from.
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7));

/// One for each of these reports.
pub(super) fn cases(reports: Vec<Report>) -> Vec<Case> {
    reports.into_iter().map(|report| row(format!("report_{}", report.name), report, play)).collect()
}

/// A report with what has to be filled in.
struct Play<'r> {
    report: &'r Report,
    real: &'r toml::Table,
    /// What stands in the files, and what really stands there.
    filled: Vec<(String, String)>,
    /// Held until their server binds them.
    _ports: Vec<Port>,
    /// Where the harness itself takes the place of a server, if it does, and what came there.
    caught: Option<Feed>,
}

fn play(lab: &Lab, report: &Report) -> Result {
    lab.outside()?;
    let Some(real) = report.table.get("real").and_then(toml::Value::as_table) else {
        return failed("nothing to play");
    };
    let Some(healthy) = real.get("healthy").and_then(toml::Value::as_table) else {
        return failed("no healthy twin");
    };
    let mut play = Play { report, real, filled: Vec::new(), _ports: Vec::new(), caught: None };
    play.fill(lab)?;
    let files = play.files();
    let shown = play.visits(lab, &files, real, "misfit")?;
    let found = play.findings(lab, &files, &shown)?;
    let (repaired, spots) = play.repaired(&files)?;
    play.judge(&found, &spots)?;
    let shown = play.visits(lab, &repaired, healthy, "repaired")?;
    let left = play.findings(lab, &repaired, &shown)?;
    ensure(left.is_empty(), || format!("repaired, and still {left:#?}"))
}

impl Play<'_> {
    /// Ports that are free, the certificate, and the server that the harness plays.
    fn fill(&mut self, lab: &Lab) -> Result {
        let pair = lab.pair()?.to_string_lossy().into_owned();
        for path in ["/etc/haproxy/mail.pem", "/etc/caddy/mail.pem", "/etc/ssl/mail.pem"] {
            self.filled.push((path.to_owned(), pair.clone()));
        }
        let ports = self.real.get("ports").and_then(toml::Value::as_array);
        for port in ports.into_iter().flatten().filter_map(toml::Value::as_integer) {
            let free = Port::free(IpAddr::V4(Ipv4Addr::UNSPECIFIED))?;
            self.filled.push((port.to_string(), free.addr().port().to_string()));
            self._ports.push(free);
        }
        if let Some(place) = self.real.get("catches").and_then(toml::Value::as_str) {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).during("listen")?;
            let port = listener.local_addr().during("read a bound address")?.port();
            self.filled.push((place.to_owned(), port.to_string()));
            let feed = Feed::default();
            self.caught = Some(feed.clone());
            // Ends with the harness; each connection is answered as a web server would.
            thread::spawn(move || listener.incoming().flatten().for_each(|stream| answer(stream, &feed)));
        }
        Ok(())
    }

    /// `text` with everything filled in; numbers only where they stand alone.
    fn filled(&self, text: &str) -> String {
        self.filled.iter().fold(text.to_owned(), |text, (from, to)| replace(&text, from, to))
    }

    /// The files of the case, or those that only its play has.
    fn files(&self) -> Files {
        let of = |table: &toml::Table| table.get("files").and_then(toml::Value::as_table).cloned();
        let files = of(self.real).or_else(|| of(&self.report.table)).unwrap_or_default();
        let text = |value: &toml::Value| value.as_str().unwrap_or_default().to_owned();
        files.iter().map(|(name, value)| (name.clone(), self.filled(&text(value)) + "\n")).collect()
    }

    /// The files with the healthy twin's lines, and which lines those are.
    fn repaired(&self, files: &Files) -> Result<(Files, Vec<String>)> {
        let of = |table: &toml::Table| {
            table
                .get("healthy")
                .and_then(|healthy| healthy.get("lines"))
                .and_then(toml::Value::as_table)
                .cloned()
        };
        let lines = of(self.real).or_else(|| of(&self.report.table)).unwrap_or_default();
        let (mut files, mut spots) = (files.clone(), Vec::new());
        for (spot, new) in &lines {
            let (name, number) = spot.rsplit_once(':').unwrap_or((spot, ""));
            let line = number.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
            let (Some(file), Some(line)) = (files.get_mut(name), line) else {
                return failed(format!("there is no {spot}"));
            };
            let new = self.filled(new.as_str().unwrap_or_default());
            let lines: Vec<&str> = file
                .lines()
                .enumerate()
                .map(|(at, old)| if at == line { new.as_str() } else { old })
                .collect();
            *file = lines.join("\n") + "\n";
            spots.push(spot.clone());
        }
        Ok((files, spots))
    }

    /// Starts the programs and does what `table` says; what the last visit showed.
    fn visits(&self, lab: &Lab, files: &Files, table: &toml::Table, name: &str) -> Result<String> {
        let dir = lab.fresh_dir(name)?;
        let mut programs: BTreeMap<&str, Written> = BTreeMap::new();
        // Back to front, so that who connects finds somebody.
        let starts = self.real.get("starts").and_then(toml::Value::as_array);
        for product in starts.into_iter().flatten().rev().filter_map(toml::Value::as_str) {
            let started = Written::start(product, files, &dir.join(product), lab.pair()?)?;
            lab.watch(&format!("{product}-{name}"), started.log());
            programs.insert(product, started);
        }
        let mut shown = String::new();
        for visit in table.get("visits").and_then(toml::Value::as_array).into_iter().flatten() {
            let Some(visit) = visit.as_table() else { return failed("a visit is a table") };
            shown = self.visit(lab, &programs, visit)?;
        }
        Ok(shown)
    }

    fn visit(&self, lab: &Lab, programs: &BTreeMap<&str, Written>, visit: &toml::Table) -> Result<String> {
        let text = |name: &str| visit.get(name).and_then(toml::Value::as_str);
        let to: SocketAddr =
            self.filled(text("to").unwrap_or_default()).parse().during("read where a visit goes")?;
        let log = text("in").and_then(|product| programs.get(product)).map(Written::log);
        let mark = log.map(Feed::mark);
        let caught = self.caught.as_ref().map(|feed| (feed, feed.mark()));
        if let Some(words) = visit.get("curl").and_then(toml::Value::as_array) {
            let said = curl(words, to)?;
            if let (Some((feed, mark)), Some(part)) = (caught, text("caught")) {
                feed.wait_line(mark, &format!("`{part}` arrives"), |line| line.contains(part))?;
                return Ok(escaped(&feed.lines(mark)));
            }
            let part = text("heard").unwrap_or_default();
            ensure(said.contains(part), || format!("curl does not say `{part}`: {said}"))?;
            return Ok(said);
        }
        let place = match text("from") {
            Some("outside") => Place::Outside(lab.outside()?, CLIENT),
            _ => Place::Here(lab.fresh_source()),
        };
        let tls = visit.get("tls").and_then(toml::Value::as_bool).unwrap_or(false);
        let mut client = if tls { Client::dial_tls(place, to)? } else { Client::dial(place, to)? };
        if let Some(part) = text("greets") {
            let greeting = client.line("a greeting")?;
            ensure(greeting.contains(part), || format!("greeted by {greeting}"))?;
        }
        let sends = unescape(text("sends").unwrap_or_default());
        if !sends.is_empty() {
            client.send(&sends)?;
        }
        // A server without PIPELINING takes one command after the other.
        if let Some(then) = text("then") {
            client.expect_reply("250")?;
            client.send(&unescape(then))?;
        }
        if let (Some(part), Some(log), Some(mark)) = (text("log"), log, mark) {
            log.wait_line(mark, &format!("the log says `{part}`"), |line| line.contains(part))?;
            return Ok(log.lines(mark).join("\n"));
        }
        if let Some(part) = text("heard") {
            let mut heard = String::new();
            while !heard.contains(part) {
                heard.push_str(&client.line(&format!("`{part}` behind `{heard}`"))?);
                heard.push('\n');
            }
            return Ok(heard);
        }
        let rest = client.rest("the end")?;
        ensure(rest.is_empty(), || format!("heard {rest}"))?;
        Ok(rest)
    }

    /// What the case's command finds, in files or in what a visit showed.
    fn findings(&self, lab: &Lab, files: &Files, shown: &str) -> Result<Vec<Value>> {
        let dir = lab.fresh_dir("report")?;
        make_dir(&dir)?;
        for (name, text) in files {
            write(&dir.join(name), text)?;
        }
        let words = self.report.table.get("command").and_then(toml::Value::as_array);
        let words = words.into_iter().flatten().filter_map(toml::Value::as_str);
        let input = dir.join("input");
        fs::write(&input, shown).during("write what was shown")?;
        let output = Command::new(lab.program()?)
            .args(words)
            .current_dir(&dir)
            .stdin(Stdio::from(fs::File::open(&input).during("read what was shown")?))
            .output()
            .during("run truepeer")?;
        let mut found = Vec::new();
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            let object: Value = serde_json::from_str(line).during("read a finding")?;
            if object.get("class").is_some() {
                found.push(object);
                continue;
            }
            ensure(object.get("unread").is_none(), || format!("not read: {object}"))?;
            found.extend(object.get("findings").and_then(Value::as_array).into_iter().flatten().cloned());
            found.extend(object.get("finding").filter(|finding| finding.is_object()).cloned());
        }
        Ok(found)
    }

    /// The best finding has class, side and change of the report, and names a line that is then repaired.
    fn judge(&self, found: &[Value], spots: &[String]) -> Result {
        let change = is_named(found, &self.report.table, |change| self.filled(change))?;
        let of_files = self.report.table.get("files").is_some();
        ensure(!of_files || spots.iter().any(|spot| change.contains(spot)), || {
            format!("the change names none of {spots:?}: {change}")
        })
    }
}

/// The best of `found` has the class and side of `report`, and its change, once that is `filled`; returns what it says.
pub(super) fn is_named<'f>(
    found: &'f [Value],
    report: &toml::Table,
    filled: impl Fn(&str) -> String,
) -> Result<&'f str> {
    let text = |name: &str| report.get(name).and_then(toml::Value::as_str).unwrap_or_default();
    let Some(first) = found.first() else { return failed("nothing is found") };
    for name in ["class", "side"] {
        ensure(first.get(name).and_then(Value::as_str) == Some(text(name)), || {
            format!("`{name}` is not {}: {found:#?}", text(name))
        })?;
    }
    let change = first.get("change").and_then(Value::as_str).unwrap_or_default();
    let wanted = filled(text("change"));
    ensure(change.contains(&wanted), || format!("the change does not say {wanted}: {change}"))?;
    Ok(change)
}

/// Takes a request to its end and serves it; what came is gathered.
fn answer(mut stream: std::net::TcpStream, feed: &Feed) {
    let mut request = Vec::new();
    let mut piece = [0_u8; 4096];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut piece) {
            Ok(len) if len > 0 => request.extend_from_slice(piece.get(..len).unwrap_or_default()),
            _ => break,
        }
    }
    feed.follow(std::io::Cursor::new(request));
    let _gone =
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nConnection: close\r\n\r\nserved\n");
}

/// What curl says about `http://TO/`, on both of its outputs.
fn curl(words: &[toml::Value], to: SocketAddr) -> Result<String> {
    let output = Command::new(find("curl")?)
        .args(["-sS", "-i", "--max-time", "10", "--noproxy", "*"])
        .args(words.iter().filter_map(toml::Value::as_str))
        .arg(format!("http://{to}/"))
        .stdin(Stdio::null())
        .output()
        .during("run curl")?;
    Ok(format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)))
}

/// Lines as `explain --format escaped` reads them.
fn escaped(lines: &[String]) -> String {
    lines.iter().map(|line| format!("{}\\r\\n", line.trim_end())).collect()
}

/// Replaces a path anywhere, a number only where it stands alone.
fn replace(text: &str, from: &str, to: &str) -> String {
    if from.parse::<u16>().is_err() {
        return text.replace(from, to);
    }
    let joined = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut found = String::new();
    let mut last = 0;
    for (at, _) in text.match_indices(from) {
        let before = text.get(..at).unwrap_or_default();
        let behind = text.get(at.saturating_add(from.len())..).unwrap_or_default();
        if before.ends_with(|c: char| joined(c) || c == '.' || c == '/')
            || behind.starts_with(|c: char| joined(c) || c == '.')
        {
            continue;
        }
        found.push_str(text.get(last..at).unwrap_or_default());
        found.push_str(to);
        last = at.saturating_add(from.len());
    }
    found.push_str(text.get(last..).unwrap_or_default());
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_replaced_where_it_stands_alone() {
        let text =
            "bind 203.0.113.1:80\nserver web 127.0.0.1:8080 8080\nlisten 80; 10.0.0.80 http://[::1]:80/";
        let expected = "bind 203.0.113.1:4711\nserver web 127.0.0.1:8080 8080\nlisten 4711; 10.0.0.80 http://[::1]:4711/";
        assert_eq!(replace(text, "80", "4711"), expected);
        assert_eq!(escaped(&["PROXY x".to_owned(), "GET /\r".to_owned()]), "PROXY x\\r\\nGET /\\r\\n");
    }
}
