//! What the last hour of the machine's logs says: the journal, and the files that configurations name.

use std::collections::BTreeSet;
use std::io::{Read, Seek, SeekFrom};
use std::time::{Duration, SystemTime};

use truepeer_doctor::logs::{LogReader, Noted};
use truepeer_doctor::survey::recent;
use truepeer_doctor::{Finding, excerpt};

use super::root::Root;
use super::unseen::{NotSeen, quoted};
use crate::doctor::run::{self, Around, Bounds};

/// Bytes of the end of one log.
const MAX_LOG: u64 = 16 * 1024 * 1024;
/// Bytes of the journal.
const MAX_JOURNAL: usize = 64 * 1024 * 1024;
/// Lines of the journal, the newest ones.
const MAX_JOURNAL_LINES: usize = 200_000;
/// How long the journal may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Log files that are read.
const MAX_LOGS: usize = 64;

/// Where distributions and programs log when nothing says otherwise.
const USUAL: [&str; 10] = [
    "/var/log/mail.log",
    "/var/log/mail.err",
    "/var/log/maillog",
    "/var/log/haproxy.log",
    "/var/log/nginx/error.log",
    "/var/log/exim4/mainlog",
    "/var/log/exim/main.log",
    "/var/log/dovecot.log",
    "/var/log/syslog",
    "/var/log/messages",
];

/// Directives behind which the path of a log stands.
const NAMED_BY: [&str; 8] = [
    "error_log",
    "log_path",
    "info_log_path",
    "debug_log_path",
    "maillog_file",
    "log_file_path",
    "logfile",
    "filePath:",
];

/// What the logs of the last `since` say, each kind of finding once.
#[must_use]
pub(super) fn read_logs<'t>(
    root: &Root,
    configurations: impl Iterator<Item = &'t str>,
    since: Duration,
    unseen: &mut Vec<NotSeen>,
) -> Vec<Finding> {
    let mut found: Vec<(Noted, String)> = Vec::new();
    let journal = read_journal(root, since, unseen);
    if let Some(text) = &journal {
        add(&mut found, text, "the journal");
    }
    for path in paths(configurations) {
        match end_of(root, &path, since) {
            Ok(Some(End { text, since, is_whole })) => match recent(&text, since.as_secs()) {
                Some(kept) => {
                    add(&mut found, kept, &excerpt(path.as_bytes()));
                    if !is_whole && kept.len() == text.len() {
                        unseen.push(NotSeen {
                            what: format!("{path}: what is before its last {MAX_LOG} bytes"),
                            command: Some(format!("truepeer explain --log {}", quoted(&path))),
                        });
                    }
                }
                None => unseen.push(NotSeen {
                    what: format!("{path}: its lines have no time, so that it cannot be said which are new"),
                    command: Some(format!("truepeer explain --log {}", quoted(&path))),
                }),
            },
            Ok(None) => {}
            Err(error) => unseen.push(NotSeen {
                what: format!("{path}: {error}"),
                command: Some(format!("sudo truepeer explain --log {}", quoted(&path))),
            }),
        }
    }
    found.sort_by_key(|(noted, _)| noted.finding.confidence);
    found.into_iter().map(finding).collect()
}

fn finding((noted, source): (Noted, String)) -> Finding {
    let times = match noted.count {
        1 => "once".to_owned(),
        count => format!("{count} times"),
    };
    let seen = format!("{} ({times}, {source})", noted.finding.seen);
    Finding { seen, ..noted.finding }
}

/// Adds what `text` says; what another log says as well is the same.
fn add(found: &mut Vec<(Noted, String)>, text: &[u8], source: &str) {
    let mut reader = LogReader::new();
    reader.feed(text);
    for noted in reader.finish().findings {
        let is_same = |other: &Noted| {
            other.id == noted.id
                && other.finding.product == noted.finding.product
                && other.finding.cause == noted.finding.cause
        };
        match found.iter_mut().find(|(other, _)| is_same(other)) {
            // Services log into the journal and a file alike: the larger number is the true one.
            Some((other, _)) => other.count = other.count.max(noted.count),
            None => found.push((noted, source.to_owned())),
        }
    }
}

fn read_journal(root: &Root, since: Duration, unseen: &mut Vec<NotSeen>) -> Option<Vec<u8>> {
    if root.is_recorded() {
        return root.printed("journalctl", MAX_LOG).ok().map(String::into_bytes);
    }
    let has_journal = ["/var/log/journal", "/run/log/journal"].iter().any(|path| root.is_folder(path));
    let journalctl = run::find("journalctl", None).filter(|_| has_journal)?;
    let seconds = since.as_secs();
    let args = [
        format!("--since=-{seconds}s"),
        "--no-pager".to_owned(),
        "--quiet".to_owned(),
        format!("--lines={MAX_JOURNAL_LINES}"),
    ];
    let command = format!("journalctl --since=-{seconds}s | truepeer explain --log");
    match run::printed(&journalctl, &args, Bounds { bytes: MAX_JOURNAL, time: PATIENCE }, Around::Nothing) {
        Ok(text) => {
            if !rustix::process::geteuid().is_root() {
                unseen.push(NotSeen {
                    what:
                        "lines of the journal that only root and the groups adm and systemd-journal may read"
                            .to_owned(),
                    command: Some(format!("sudo {command}")),
                });
            }
            if text.iter().filter(|byte| **byte == b'\n').count() >= MAX_JOURNAL_LINES {
                unseen.push(NotSeen {
                    what: format!("the journal: what is before its last {MAX_JOURNAL_LINES} lines"),
                    command: Some(command),
                });
            }
            Some(text)
        }
        Err(why) => {
            unseen.push(NotSeen {
                what: format!("the journal: {why}"),
                command: Some(format!("sudo {command}")),
            });
            None
        }
    }
}

/// The logs that configurations name, and the usual ones.
fn paths<'t>(configurations: impl Iterator<Item = &'t str>) -> Vec<String> {
    let mut paths = BTreeSet::new();
    for line in configurations.flat_map(str::lines) {
        let mut words = line.split([' ', '\t', '=', ';', ',', '"', '\'']).filter(|word| !word.is_empty());
        if words.next().is_some_and(|word| NAMED_BY.contains(&word))
            && let Some(path) =
                words.next().filter(|path| path.starts_with('/') && !path.starts_with("/dev/"))
        {
            // Exim writes its logs' names with a place for the kind.
            paths.insert(path.replace("%s", "main"));
        }
    }
    paths.extend(USUAL.map(str::to_owned));
    paths.into_iter().take(MAX_LOGS).collect()
}

/// The end of a log.
struct End {
    text: Vec<u8>,
    /// How far back from its last line is new.
    since: Duration,
    is_whole: bool,
}

/// The end of a log that was written to lately; `None` if there is none.
fn end_of(root: &Root, path: &str, since: Duration) -> std::io::Result<Option<End>> {
    let mut file = match root.open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let meta = file.metadata()?;
    let age = meta.modified().ok().and_then(|time| SystemTime::now().duration_since(time).ok());
    // What was recorded is as old as it is.
    let age = age.filter(|_| !root.is_recorded()).unwrap_or_default();
    if age > since || meta.len() == 0 {
        return Ok(None);
    }
    let skipped = meta.len().saturating_sub(MAX_LOG);
    file.seek(SeekFrom::Start(skipped))?;
    let mut text = Vec::new();
    file.take(MAX_LOG).read_to_end(&mut text)?;
    if skipped > 0 {
        // It begins somewhere in a line.
        let line = text.iter().position(|byte| *byte == b'\n').map_or(text.len(), |at| at.saturating_add(1));
        text.drain(..line);
    }
    Ok(Some(End { text, since: since.saturating_sub(age), is_whole: skipped == 0 }))
}
