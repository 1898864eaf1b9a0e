//! `truepeer explain`: what a header says and who would take it; what a log line means.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};
use truepeer_doctor::header::{self, Explained};
use truepeer_doctor::logs::{self, LogReader, LogReport};

use super::reach::{Failure, answer, complain};
use super::{FAILED, NOT_REACHED};
use crate::doctor::capture::{self, Start};
use crate::doctor::input::{self, InputFormat};

mod progress;
pub(super) mod show;

use progress::Progress;

const EXAMPLES: &str = "\
Exit codes: 0 the header is right, or the log says nothing about the PROXY protocol; 1 it is broken, there is none, or \
something was found; 2 wrong arguments; 3 the input cannot be read.

Examples:
  truepeer explain 'PROXY TCP4 203.0.113.7 198.51.100.25 4711 25\\r\\n'
  truepeer explain 0d0a0d0a000d0a515549540a2111000ccb007107c6336419126700190a
  truepeer explain header.bin
  tcpdump -c 200 -w - port 25 | truepeer explain --json
  truepeer explain --log 'haproxy read: timeout error'
  truepeer explain --log /var/log/mail.log /var/log/nginx/error.log
  journalctl --since -1h | truepeer explain --log
  docker compose logs | truepeer explain --log --json | jq -r .change";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// The header as text, or a file that holds it; with --log, lines or files. `-` or nothing: standard input
    #[arg(value_name = "HEADER|FILE")]
    input: Vec<OsString>,
    /// The input is a log, or an error text of another program
    #[arg(long)]
    log: bool,
    /// How the header is written down
    #[arg(long, value_enum, default_value_t = InputFormat::Auto, conflicts_with = "log")]
    format: InputFormat,
    /// Answer in JSON, one object a line (docs/json.md)
    #[arg(long)]
    json: bool,
}

/// Explains and prints.
pub(super) fn explain(arguments: &Arguments) -> ExitCode {
    answer(|out| if arguments.log { logs(arguments, out) } else { headers(arguments, out) })
}

/// The input that an argument names.
enum Input {
    Text(Vec<u8>),
    File(File, String),
    Standard,
}

impl Input {
    /// A file, if there is one of that name; text otherwise.
    fn of(argument: &OsString) -> Result<Self, Failure> {
        let path = Path::new(argument);
        if argument == "-" {
            return Ok(Self::Standard);
        }
        match File::open(path) {
            Ok(file) => Ok(Self::File(file, path.display().to_string())),
            Err(error) if path.exists() => Err(unreadable(&path.display().to_string(), &error)),
            Err(missing) => {
                let text = argument.to_string_lossy();
                // Nobody writes a header or a log line like that.
                let is_path =
                    !text.contains(' ') && (text.starts_with(['/', '.', '~']) || is_named_file(&text));
                if is_path {
                    return Err(unreadable(&text, &missing));
                }
                Ok(Self::Text(text.into_owned().into_bytes()))
            }
        }
    }
}

fn is_named_file(text: &str) -> bool {
    ["pcap", "pcapng", "bin", "log", "txt", "hex"]
        .iter()
        .any(|ending| text.rsplit_once('.').is_some_and(|(_, found)| found == *ending))
}

fn unreadable(name: &str, error: &io::Error) -> Failure {
    let name = truepeer_doctor::excerpt(name.as_bytes());
    Failure { text: format!("error: {name}: {error}"), code: NOT_REACHED }
}

fn headers(arguments: &Arguments, out: &mut dyn Write) -> Result<u8, Failure> {
    let input = match &arguments.input[..] {
        [] => Input::Standard,
        [one] => Input::of(one)?,
        // A header whose words the shell took apart.
        many => {
            let words: Vec<_> = many.iter().map(|word| word.to_string_lossy()).collect();
            Input::Text(words.join(" ").into_bytes())
        }
    };
    match input {
        Input::Text(text) => header(arguments, &text, out),
        Input::File(file, name) => from_reader(arguments, file, &name, out),
        Input::Standard => from_reader(arguments, io::stdin(), "standard input", out),
    }
}

/// A capture as a stream, anything else as a whole.
fn from_reader(
    arguments: &Arguments,
    mut reader: impl Read + Send,
    name: &str,
    out: &mut dyn Write,
) -> Result<u8, Failure> {
    let mut head = Vec::new();
    (&mut reader).take(4).read_to_end(&mut head).map_err(|error| unreadable(name, &error))?;
    let is_capture = arguments.format == InputFormat::Pcap
        || (arguments.format == InputFormat::Auto && capture::is_capture(&head));
    let whole = io::Cursor::new(head).chain(reader);
    if is_capture {
        return from_capture(arguments, whole, name, out);
    }
    let text = input::read_all(whole).map_err(|error| unreadable(name, &error))?;
    header(arguments, &text, out)
}

fn header(arguments: &Arguments, text: &[u8], out: &mut dyn Write) -> Result<u8, Failure> {
    let bytes = input::bytes(text, arguments.format)
        .map_err(|error| Failure { text: format!("error: the input is {error}"), code: FAILED })?;
    let explained = header::explain(&bytes);
    if arguments.json {
        writeln!(out, "{}", to_json(&explained)?)?;
    } else {
        show::explained(&explained, out)?;
        let is_log = || logs::explain(text).findings.iter().any(|noted| !noted.id.starts_with("header-"));
        if matches!(&explained, Explained::Broken(broken) if !broken.is_header()) && is_log() {
            writeln!(
                out,
                "\nThis looks like a line of a log: `truepeer explain --log` knows what it means."
            )?;
        }
    }
    Ok(if explained.is_header() { 0 } else { FAILED })
}

fn to_json(explained: &Explained) -> Result<Value, Failure> {
    serde_json::to_value(explained).map_err(|error| Failure { text: format!("error: {error}"), code: FAILED })
}

fn from_capture(
    arguments: &Arguments,
    file: impl Read + Send,
    name: &str,
    out: &mut dyn Write,
) -> Result<u8, Failure> {
    let (mut right, mut broken, mut without) = (0_u64, 0_u64, 0_u64);
    let mut failed = None;
    let mut tell = |start: Start| {
        if failed.is_some() {
            return;
        }
        let explained = header::explain(&start.bytes);
        match &explained {
            Explained::Header(_) => right = right.saturating_add(1),
            Explained::Broken(broken_header) => {
                let is_header = broken_header.is_header();
                // The middle of a stream whose beginning is not in the capture may be anything.
                if !is_header && !start.from_the_beginning {
                    return;
                }
                let counter = if is_header { &mut broken } else { &mut without };
                *counter = counter.saturating_add(1);
            }
        }
        failed = stream(arguments, &start, &explained, out).err();
    };
    let counts = capture::read(file, is_decided, &mut tell);
    if let Some(failure) = failed {
        return Err(failure);
    }
    if !arguments.json {
        let packets =
            counts.as_ref().map_or_else(|_| String::new(), |counts| format!("{} packets: ", counts.packets));
        writeln!(
            out,
            "{packets}{right} streams with a header, {broken} with a broken one, {without} without"
        )?;
    }
    let counts = counts.map_err(|error| {
        // What was whole has been told.
        let _ = out.flush();
        unreadable(name, &error)
    })?;
    if counts.unread > 0 {
        complain(&format!(
            "note: {} packets were of a kind that is not read, or cut too short",
            counts.unread
        ));
    }
    Ok(if right > 0 && broken == 0 { 0 } else { FAILED })
}

fn stream(
    arguments: &Arguments,
    start: &Start,
    explained: &Explained,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    if !arguments.json {
        return Ok(show::stream(start, explained, out)?);
    }
    let mut object = to_json(explained)?;
    if let Some(names) = object.as_object_mut() {
        let stream = json!({
            "from": start.from.to_string(),
            "to": start.to.to_string(),
            "from_the_beginning": start.from_the_beginning,
        });
        names.insert("stream".to_owned(), stream);
    }
    Ok(writeln!(out, "{object}")?)
}

/// Whether more bytes of a stream would change nothing.
fn is_decided(bytes: &[u8]) -> bool {
    match header::explain(bytes) {
        Explained::Header(_) => true,
        Explained::Broken(broken) => broken.error != "incomplete",
    }
}

fn logs(arguments: &Arguments, out: &mut dyn Write) -> Result<u8, Failure> {
    let mut reader = LogReader::new();
    let inputs: Vec<_> = arguments.input.iter().map(Input::of).collect::<Result<_, _>>()?;
    if inputs.is_empty() {
        feed(&mut reader, io::stdin(), "standard input", None)?;
    }
    for input in inputs {
        match input {
            Input::Text(text) => reader.feed(&text),
            Input::File(file, name) => {
                let len = file.metadata().ok().filter(std::fs::Metadata::is_file).map(|meta| meta.len());
                feed(&mut reader, file, &name, len)?;
            }
            Input::Standard => feed(&mut reader, io::stdin(), "standard input", None)?,
        }
        // The next input begins a line of its own.
        reader.feed(b"\n");
    }
    let report = reader.finish();
    if arguments.json {
        for noted in &report.findings {
            writeln!(out, "{}", serde_json::to_string(&noted.finding).unwrap_or_default())?;
        }
        if report.findings.is_empty() {
            complain(&show::unknown(&report));
        }
    } else {
        show::report(&report, out)?;
    }
    Ok(code(&report))
}

fn code(report: &LogReport) -> u8 {
    if report.findings.is_empty() { 0 } else { FAILED }
}

/// Reads to the end, with a bar on a terminal.
fn feed(reader: &mut LogReader, mut input: impl Read, name: &str, len: Option<u64>) -> Result<(), Failure> {
    const PIECE: usize = 256 * 1024;
    let mut progress = Progress::new(io::stderr().is_terminal(), len);
    let mut buf = vec![0; PIECE];
    loop {
        match input.read(&mut buf) {
            Ok(0) => return Ok(()),
            Ok(read) => {
                reader.feed(buf.get(..read).unwrap_or_default());
                progress.add(read);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(unreadable(name, &error)),
        }
    }
}
