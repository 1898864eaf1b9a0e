//! Runs the cases of `vectors/` through every codec.
use std::error::Error;
use std::panic::catch_unwind;

use serde_json::Value;

use crate::peers::{PEERS, Verdict};

/// How one codec did on the stream cases.
#[derive(Debug, Default, Clone)]
pub struct Score {
    pub agrees: usize,
    /// Refuses what is right.
    pub refuses: Vec<String>,
    /// Accepts what is wrong.
    pub accepts: Vec<String>,
    /// Waits for more where nothing could help, or ends where more was to come.
    pub waits: Vec<String>,
    /// Accepts, but another length or source.
    pub differs: Vec<String>,
    pub panics: Vec<String>,
}

/// The cases, and a score for each codec in order.
pub fn scores() -> Result<(usize, Vec<Score>), Box<dyn Error>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../vectors/vectors.json");
    let cases: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(path)?)?;
    let cases: Vec<&Value> = cases.iter().filter(|case| case["transport"] == "stream").collect();
    // A panic is a result here, not an event.
    std::panic::set_hook(Box::new(|_| {}));
    let scores = PEERS.iter().map(|peer| score(&cases, peer.verdict)).collect();
    let _ = std::panic::take_hook();
    Ok((cases.len(), scores))
}

fn score(cases: &[&Value], verdict: fn(&[u8]) -> Verdict) -> Score {
    let mut score = Score::default();
    for case in cases {
        let id = case["id"].as_str().unwrap_or_default().to_owned();
        let hex = case["hex"].as_str().unwrap_or_default();
        let bytes: Vec<u8> = (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap_or(0))
            .collect();
        let Ok(found) = catch_unwind(|| verdict(&bytes)) else {
            score.panics.push(id);
            continue;
        };
        match (case["expect"].as_str().unwrap_or_default(), found) {
            ("accept", Verdict::Accept(len, source)) => {
                let source_is_right = match case["src"].as_str() {
                    Some(text) if !text.starts_with("unix:") => {
                        source.map(|it| it.to_string()).as_deref() == Some(text)
                    }
                    _ => source.is_none(),
                };
                let len_is_right = len.is_none_or(|len| case["consumed"] == len);
                if source_is_right && len_is_right { score.agrees += 1 } else { score.differs.push(id) }
            }
            ("reject", Verdict::Reject) | ("incomplete", Verdict::Incomplete) => score.agrees += 1,
            ("accept", Verdict::Reject) => score.refuses.push(id),
            ("reject", Verdict::Accept(..)) => score.accepts.push(id),
            _ => score.waits.push(id),
        }
    }
    score
}

pub fn print() -> Result<(), Box<dyn Error>> {
    let (cases, scores) = scores()?;
    for (peer, score) in PEERS.iter().zip(scores) {
        println!("{} agrees on {} of {cases}: {score:?}", peer.name, score.agrees);
    }
    Ok(())
}
