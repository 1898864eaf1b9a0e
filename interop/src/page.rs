//! The lines that documents show, so that what is run is what is read.
//!
//! Called by `cases` and `servers`. It must not know what the lines mean.

use crate::verdict::{Result, failed};

/// All blocks in this `language` under `heading` of `page`.
pub(crate) fn blocks(page: &str, heading: &str, language: &str) -> Vec<String> {
    let section = page.split("\n## ").find(|section| section.starts_with(heading)).unwrap_or_default();
    let fence = format!("```{language}\n");
    let behind = section.split(&fence).skip(1);
    behind.filter_map(|rest| Some(rest.split_once("```")?.0.to_owned())).collect()
}

/// The first block in this `language` under `heading` of `page`, or anywhere in it where `heading` is empty.
pub(crate) fn block(page: &str, heading: &str, language: &str) -> Result<String> {
    let section = match heading {
        "" => Some(page),
        _ => page.split("\n## ").find(|section| section.starts_with(heading)),
    };
    let fence = format!("```{language}\n");
    let found = section.and_then(|text| text.split_once(&fence)).and_then(|(_, rest)| rest.split_once("```"));
    match found {
        Some((text, _)) => Ok(text.to_owned()),
        None => failed(format!("the page has no {language} under `{heading}`")),
    }
}
