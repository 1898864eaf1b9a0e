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
