//! Files with all that they include, where the program does not print them: for ordinary users, to whom nginx refuses
//! it for want of its logs and keys, and for containers, whose programs are not run from here.

use std::collections::VecDeque;

use super::root::Root;

/// Files that are read.
const MAX_FILES: usize = 256;
/// Entries of a folder that are compared with a pattern.
const MAX_NAMES: usize = 4096;

/// A text and where it is from.
pub(super) type Named = (String, String);

/// How a program includes files.
#[derive(Debug, Clone, Copy)]
pub(super) enum Style {
    /// `include PATTERN;`, relative to the first file's folder.
    Nginx,
    /// `!include PATTERN` or `!include_try PATTERN`, relative to the including file's folder.
    Dovecot,
}

/// The file at `path` and all that it includes, each once; those that could not be read come beside them.
///
/// # Errors
/// In a sentence, if the first cannot be read or together they are too long.
pub(super) fn whole(
    root: &Root,
    path: &str,
    most: u64,
    style: Style,
) -> Result<(Vec<Named>, Vec<String>), String> {
    let folder_of = |path: &str| path.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
    let first = folder_of(path);
    let (mut waiting, mut seen) = (VecDeque::from([path.to_owned()]), vec![path.to_owned()]);
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    let mut left = most;
    while let Some(file) = waiting.pop_front() {
        let text = match root.text(&file, left) {
            Ok(text) => text,
            Err(error) if file == path => return Err(error.to_string()),
            Err(_) => {
                missing.push(file);
                continue;
            }
        };
        let len = u64::try_from(text.len()).unwrap_or(u64::MAX);
        left = left
            .checked_sub(len)
            .ok_or_else(|| format!("longer than {most} bytes with all that it includes"))?;
        for included in text.lines().filter_map(|line| included(line, style)) {
            let from = match style {
                Style::Nginx => first.clone(),
                Style::Dovecot => folder_of(&file),
            };
            let included =
                if included.starts_with('/') { included.to_owned() } else { format!("{from}/{included}") };
            for found in matching(root, &included) {
                if !seen.contains(&found) && seen.len() < MAX_FILES {
                    seen.push(found.clone());
                    waiting.push_back(found);
                }
            }
        }
        found.push((file, text));
    }
    Ok((found, missing))
}

/// What a line includes.
fn included(line: &str, style: Style) -> Option<&str> {
    let line = line.trim();
    let rest = match style {
        Style::Nginx => line.strip_prefix("include")?,
        Style::Dovecot => line.strip_prefix("!include_try").or_else(|| line.strip_prefix("!include"))?,
    };
    let value = rest.starts_with([' ', '\t']).then(|| rest.trim_start())?;
    let value = match style {
        Style::Nginx => value.split_once(';')?.0,
        Style::Dovecot => value,
    };
    Some(value.trim().trim_matches(['"', '\'']))
}

/// The files that a path stands for, whose last part may be a pattern.
fn matching(root: &Root, path: &str) -> Vec<String> {
    match path.rsplit_once('/') {
        Some((folder, pattern)) if pattern.contains(['*', '?']) => root
            .names(folder, MAX_NAMES)
            .into_iter()
            .filter(|name| !name.starts_with('.') && fits(pattern.as_bytes(), name.as_bytes()))
            .map(|name| format!("{folder}/{name}"))
            .collect(),
        _ => vec![path.to_owned()],
    }
}

/// Whether a name fits a pattern of `*`, `?` and plain characters.
fn fits(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut of) = (0_usize, 0_usize);
    // Where the last star stands, and how far the name was when it was met.
    let mut star: Option<(usize, usize)> = None;
    loop {
        match (pattern.get(at), name.get(of)) {
            (None, None) => return true,
            (Some(b'*'), _) => {
                star = Some((at, of));
                at = at.saturating_add(1);
            }
            (Some(wanted), Some(found)) if *wanted == b'?' || wanted == found => {
                (at, of) = (at.saturating_add(1), of.saturating_add(1));
            }
            (_, found) => match star {
                Some((star_at, star_of)) if found.is_some() => {
                    let next = star_of.saturating_add(1);
                    star = Some((star_at, next));
                    (at, of) = (star_at.saturating_add(1), next);
                }
                _ => return false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_as_a_shell_s_do() {
        for (pattern, name, expected) in [
            ("*", "a", true),
            ("*.conf", "mail.conf", true),
            ("*.conf", "mail.conf.bak", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("?.conf", "a.conf", true),
            ("?.conf", ".conf", false),
        ] {
            assert_eq!(fits(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn only_directives_include() {
        let nginx = |line| included(line, Style::Nginx);
        assert_eq!(nginx("  include /etc/nginx/conf.d/*.conf;"), Some("/etc/nginx/conf.d/*.conf"));
        assert_eq!(nginx("include \"a b\"; # x"), Some("a b"));
        for line in ["# include x;", "included x;", "include", "include x"] {
            assert_eq!(nginx(line), None, "{line}");
        }
        let dovecot = |line| included(line, Style::Dovecot);
        assert_eq!(dovecot("!include conf.d/*.conf"), Some("conf.d/*.conf"));
        assert_eq!(dovecot("  !include_try local.conf"), Some("local.conf"));
        assert_eq!(dovecot("#!include x"), None);
    }
}
