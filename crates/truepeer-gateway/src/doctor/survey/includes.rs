//! nginx's files as `nginx -T` would print them, for users whom it refuses to: it opens logs and keys first.

use std::fmt::Write as _;

use super::root::Root;

/// Files that are read.
const MAX_FILES: usize = 256;
/// Entries of a folder that are compared with a pattern.
const MAX_NAMES: usize = 4096;

/// The file at `path` with all that it includes, each behind the line by which `nginx -T` names it.
///
/// The included files that could not be read come beside it.
///
/// # Errors
/// In a sentence, if the first cannot be read or together they are too long.
pub(super) fn nginx(root: &Root, path: &str, most: u64) -> Result<(String, Vec<String>), String> {
    // Relative paths count from the folder of the first file.
    let prefix = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let (mut waiting, mut seen) = (vec![path.to_owned()], vec![path.to_owned()]);
    let (mut whole, mut missing) = (String::new(), Vec::new());
    while let Some(file) = waiting.pop() {
        let text = match root.text(&file, most) {
            Ok(text) => text,
            Err(error) if file == path => return Err(error.to_string()),
            Err(_) => {
                missing.push(file);
                continue;
            }
        };
        for included in text.lines().filter_map(included) {
            let included =
                if included.starts_with('/') { included.to_owned() } else { format!("{prefix}/{included}") };
            for found in matching(root, &included) {
                if !seen.contains(&found) && seen.len() < MAX_FILES {
                    seen.push(found.clone());
                    waiting.push(found);
                }
            }
        }
        let _ = writeln!(whole, "# configuration file {file}:\n{text}");
        if u64::try_from(whole.len()).is_ok_and(|len| len > most) {
            return Err(format!("longer than {most} bytes with all that it includes"));
        }
    }
    Ok((whole, missing))
}

/// What a line includes.
fn included(line: &str) -> Option<&str> {
    let rest = line.trim_start().strip_prefix("include")?;
    let value = rest.starts_with([' ', '\t']).then(|| rest.trim_start())?;
    let (value, _) = value.split_once(';')?;
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
        assert_eq!(included("  include /etc/nginx/conf.d/*.conf;"), Some("/etc/nginx/conf.d/*.conf"));
        assert_eq!(included("include \"a b\"; # x"), Some("a b"));
        for line in ["# include x;", "included x;", "include", "include x"] {
            assert_eq!(included(line), None, "{line}");
        }
    }
}
