//! Promises of the doctor's crate: any bytes are explained, nothing that a terminal obeys is said, and where a log is
//! cut changes nothing.
use truepeer_doctor::header::{self, Explained};
use truepeer_doctor::logs::{LogReader, LogReport};
use truepeer_doctor::{Finding, Opening};

/// The account of a header agrees with the decoder, and its fields lie inside it.
pub fn account_agrees_with_decode(bytes: &[u8]) {
    let decoded = truepeer_proto::decode(bytes);
    match header::explain(bytes) {
        Explained::Header(note) => {
            let Ok(truepeer_proto::Decode::Complete { len, .. }) = decoded else {
                panic!("explained as a header, decoded as {decoded:?}");
            };
            assert_eq!(note.length, len);
            for field in &note.fields {
                assert!(field.offset + field.length <= len, "{field:?} is not inside {len} bytes");
            }
            note.findings.iter().for_each(is_fit_for_a_terminal);
        }
        Explained::Broken(broken) => {
            assert!(!matches!(decoded, Ok(truepeer_proto::Decode::Complete { .. })));
            assert!(broken.offset <= bytes.len());
            broken.finding.iter().for_each(is_fit_for_a_terminal);
        }
    }
}

/// Whatever came is named, and what is said of it can be shown.
pub fn openings_are_fit_for_a_terminal(bytes: &[u8]) {
    let opening = Opening::of(bytes);
    opening.finding(bytes).iter().for_each(is_fit_for_a_terminal);
    assert_eq!(opening == Opening::Nothing, bytes.is_empty());
}

/// A log means the same wherever its pieces are cut.
pub fn logs_split_is_whole(bytes: &[u8]) {
    let read = |step: usize| {
        let mut reader = LogReader::new();
        bytes.chunks(step).for_each(|piece| reader.feed(piece));
        reader.finish()
    };
    let whole = read(bytes.len().max(1));
    for step in [1, 3] {
        assert_eq!(told(&read(step)), told(&whole));
    }
    whole.findings.iter().for_each(|noted| is_fit_for_a_terminal(&noted.finding));
}

fn told(report: &LogReport) -> (Vec<Finding>, u64, u64) {
    let findings = report.findings.iter().map(|noted| noted.finding.clone()).collect();
    (findings, report.lines, report.cut_lines)
}

fn is_fit_for_a_terminal(finding: &Finding) {
    let text = format!("{}{}{}", finding.seen, finding.cause, finding.change);
    assert!(!text.chars().any(char::is_control), "{text:?}");
    assert!(finding.seen.chars().count() <= truepeer_doctor::EXCERPT_MAX);
}

/// What a machine shows of itself is text that anybody on it can write: no table, process or log is too odd to be read.
pub fn what_a_machine_shows_is_read(input: &[u8]) {
    use truepeer_doctor::survey::{Process, own_v4, own_v6, published, recent, recognise, sockets};

    let text = String::from_utf8_lossy(input);
    // As it is, and where a row has everything else that it needs.
    for table in
        [text.to_string(), format!("0: {text} 0A 0:0 0:0 0 0 0 1"), format!("0: 0100007F:0019 {text}")]
    {
        let _ = (sockets(&table), own_v4(&table), own_v6(&table));
    }
    let words: Vec<String> = text.split('\0').map(str::to_owned).collect();
    let named = |name: &str| std::iter::once(name.to_owned()).chain(words.clone()).collect::<Vec<_>>();
    let _ = published(&named("docker-proxy"));
    for name in
        ["haproxy", "nginx", "/postfix/master", "dovecot", "exim4", "caddy", "traefik", "envoy", "truepeer"]
    {
        let process = Process { args: named(name), directory: Some(text.to_string()), ..Process::default() };
        let _ = recognise(&process);
    }
    for line in [text.to_string(), format!("Nov 30 13:17:36 {text}"), format!("2026-11-30T13:{text}")] {
        let log = format!("{line}\nNov 30 13:17:36 mx\n{line}\n");
        let kept = recent(log.as_bytes(), 3600).expect("one line has a time");
        assert!(log.as_bytes().ends_with(kept), "it is the end of the log");
    }
}
