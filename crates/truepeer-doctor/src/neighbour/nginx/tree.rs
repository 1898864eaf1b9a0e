//! nginx' syntax: words up to `;`, or a block in braces. `include` is followed among the texts at hand.

use super::super::{File, Place, Unread};

/// One directive.
#[derive(Debug, Clone)]
pub(super) struct Directive {
    pub(super) words: Vec<String>,
    pub(super) place: Place,
    pub(super) block: Vec<Directive>,
}

/// Blocks in one another, includes among them, are followed so far.
const MAX_DEPTH: usize = 24;
/// The most directives that are kept: includes can multiply what is written.
const MAX_DIRECTIVES: usize = 100_000;
/// Stands before each file in what `nginx -T` prints.
const MARK: &str = "# configuration file ";

impl Directive {
    pub(super) fn word(&self, index: usize) -> &str {
        self.words.get(index).map_or("", String::as_str)
    }

    pub(super) fn has(&self, word: &str) -> bool {
        self.words.iter().any(|each| each == word)
    }
}

/// A file, its text, and the line before its first.
#[derive(Debug, Clone, Copy)]
struct Part<'t> {
    name: &'t str,
    text: &'t str,
    /// Whether another file includes it.
    included: bool,
    /// Whether nginx printed it, with every file that is included.
    dumped: bool,
}

/// All directives of the first text and of those that no other one includes.
pub(super) fn read(files: &[File<'_>], unread: &mut Vec<Unread>) -> Vec<Directive> {
    let mut parts: Vec<Part<'_>> = files.iter().flat_map(parts).collect();
    let mut reader = Reader { left: MAX_DIRECTIVES, unread };
    let mut all = Vec::new();
    for index in 0..parts.len() {
        if let Some(part) = parts.get(index).copied().filter(|part| !part.included) {
            let mut tokens = Tokens { rest: part.text, line: 1 };
            all.extend(reader.block(&mut tokens, part, &mut parts, MAX_DEPTH));
        }
    }
    all
}

/// The files in what `nginx -T` printed, or the text itself.
fn parts<'t>(file: &File<'t>) -> Vec<Part<'t>> {
    let mut found = Vec::new();
    let mut begin = None;
    let mut at = 0_usize;
    for line in file.text.split_inclusive('\n') {
        let end = at.saturating_add(line.len());
        if let Some(name) = line.trim_end().strip_prefix(MARK).and_then(|rest| rest.strip_suffix(':')) {
            found.extend(begin.map(|(name, from)| part(name, file.text.get(from..at))));
            begin = Some((name, end));
        }
        at = end;
    }
    match begin {
        Some((name, from)) => found.push(part(name, file.text.get(from..))),
        None => found.push(Part { dumped: false, ..part(file.name, Some(file.text)) }),
    }
    found
}

fn part<'t>(name: &'t str, text: Option<&'t str>) -> Part<'t> {
    Part { name, text: text.unwrap_or_default(), included: false, dumped: true }
}

struct Reader<'u> {
    left: usize,
    unread: &'u mut Vec<Unread>,
}

impl Reader<'_> {
    /// The directives up to the end of a block or of the text.
    fn block(
        &mut self,
        tokens: &mut Tokens<'_>,
        part: Part<'_>,
        parts: &mut Vec<Part<'_>>,
        depth: usize,
    ) -> Vec<Directive> {
        let mut found = Vec::new();
        let mut words: Vec<String> = Vec::new();
        let mut line = tokens.line;
        loop {
            let token = tokens.next();
            let place = |words: &[String], line| Place::new(part.name, line, &words.join(" "));
            match token {
                Some(Token::Word(word)) => {
                    if words.is_empty() {
                        line = tokens.line;
                    }
                    words.push(word);
                    continue;
                }
                Some(Token::End) if words.first().is_some_and(|word| word == "include") => {
                    let place = place(&words, line);
                    let pattern = words.get(1).cloned().unwrap_or_default();
                    found.extend(self.include(&pattern, &place, part.dumped, parts, depth));
                }
                Some(Token::End) if !words.is_empty() => {
                    let place = place(&words, line);
                    found.push(Directive { words: std::mem::take(&mut words), place, block: Vec::new() });
                }
                Some(Token::Open) => {
                    let place = place(&words, line);
                    let Some(depth) = depth.checked_sub(1) else { return found };
                    let block = self.block(tokens, part, parts, depth);
                    found.push(Directive { words: std::mem::take(&mut words), place, block });
                }
                Some(Token::Close) | None => return found,
                Some(Token::End) => {}
            }
            words.clear();
            let Some(left) = self.left.checked_sub(1) else { return found };
            self.left = left;
        }
    }

    fn include(
        &mut self,
        pattern: &str,
        place: &Place,
        dumped: bool,
        parts: &mut Vec<Part<'_>>,
        depth: usize,
    ) -> Vec<Directive> {
        let mut found = Vec::new();
        let matching: Vec<usize> = (0..parts.len())
            .filter(|index| parts.get(*index).is_some_and(|part| matches(pattern, part.name)))
            .collect();
        // What holds no addresses and no switches is left out without a word.
        const HARMLESS: &[&str] =
            &["mime.types", "_params", "modules-enabled", "fastcgi", "ssl-dhparams", "options-ssl"];
        // In what nginx prints, a pattern without a file has none.
        let none_there = dumped && pattern.contains(['*', '?', '[']);
        if matching.is_empty() && !none_there && !HARMLESS.iter().any(|word| pattern.contains(word)) {
            self.unread.push(Unread {
                place: place.clone(),
                why: "the included files are not at hand; `nginx -T` prints them all".to_owned(),
            });
        }
        for index in matching {
            let (Some(part), Some(depth)) = (parts.get_mut(index), depth.checked_sub(1)) else { continue };
            part.included = true;
            let part = *part;
            let mut tokens = Tokens { rest: part.text, line: 1 };
            found.extend(self.block(&mut tokens, part, parts, depth));
        }
        found
    }
}

/// Whether a file is meant by the pattern of an `include`, which may be relative to nginx' directory.
fn matches(pattern: &str, name: &str) -> bool {
    if pattern.starts_with('/') {
        return fits(pattern.as_bytes(), name.as_bytes());
    }
    let starts = std::iter::once(0).chain(name.match_indices('/').map(|(at, _)| at.saturating_add(1)));
    starts.filter_map(|at| name.get(at..)).any(|tail| fits(pattern.as_bytes(), tail.as_bytes()))
}

/// `*` stands for anything but a slash, `?` for one byte.
fn fits(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0_usize, 0_usize);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        let (want, have) = (pattern.get(p), name.get(n));
        if want == Some(&b'*') {
            star = Some((p, n));
            p = p.saturating_add(1);
        } else if want.is_some() && (want == have || want == Some(&b'?')) {
            (p, n) = (p.saturating_add(1), n.saturating_add(1));
        } else if let Some((at, from)) = star.filter(|(_, from)| name.get(*from) != Some(&b'/')) {
            star = Some((at, from.saturating_add(1)));
            (p, n) = (at.saturating_add(1), from.saturating_add(1));
        } else {
            return false;
        }
    }
    pattern.get(p..).unwrap_or_default().iter().all(|byte| *byte == b'*')
}

enum Token {
    Word(String),
    Open,
    Close,
    End,
}

struct Tokens<'t> {
    rest: &'t str,
    line: usize,
}

impl Tokens<'_> {
    fn next(&mut self) -> Option<Token> {
        loop {
            let c = self.take()?;
            match c {
                '#' => {
                    while self.peek().is_some_and(|c| c != '\n') {
                        self.take();
                    }
                }
                '{' => return Some(Token::Open),
                '}' => return Some(Token::Close),
                ';' => return Some(Token::End),
                c if c.is_whitespace() => {}
                '"' | '\'' => return Some(Token::Word(self.quoted(c))),
                c => return Some(Token::Word(self.bare(c))),
            }
        }
    }

    fn quoted(&mut self, quote: char) -> String {
        let mut word = String::new();
        while let Some(c) = self.take() {
            match c {
                '\\' => word.extend(self.take()),
                c if c == quote => break,
                c => word.push(c),
            }
        }
        word
    }

    fn bare(&mut self, first: char) -> String {
        let mut word = String::from(first);
        while let Some(c) = self.peek() {
            // `${name}` is one word; a brace elsewhere begins a block.
            let in_name =
                c == '{' && word.ends_with('$') || c == '}' && word.contains("${") && !word.ends_with('}');
            if !in_name && (c.is_whitespace() || matches!(c, ';' | '{' | '}')) {
                break;
            }
            self.take();
            if c == '\\' { word.extend(self.take()) } else { word.push(c) }
        }
        word
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn take(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.rest = self.rest.get(c.len_utf8()..).unwrap_or_default();
        self.line = self.line.saturating_add(usize::from(c == '\n'));
        Some(c)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn includes_are_found_by_their_pattern() {
        for (pattern, name, found) in [
            ("/etc/nginx/conf.d/*.conf", "/etc/nginx/conf.d/a.conf", true),
            ("/etc/nginx/conf.d/*.conf", "/etc/nginx/conf.d/x/a.conf", false),
            ("conf.d/*.conf", "/etc/nginx/conf.d/a.conf", true),
            ("sites-enabled/*", "/etc/nginx/sites-enabled/default", true),
            ("mail.conf", "/etc/nginx/mail.conf", true),
            ("mail.conf", "/etc/nginx/email.conf", false),
        ] {
            assert_eq!(matches(pattern, name), found, "{pattern} {name}");
        }
    }

    #[test]
    fn what_nginx_prints_is_taken_apart_and_put_together() {
        let text = "nginx: the configuration file is ok\n\
                    # configuration file /etc/nginx/nginx.conf:\n\
                    stream {\n  include stream.d/*.conf; # all\n}\n\
                    # configuration file /etc/nginx/stream.d/a.conf:\n\
                    server { listen 25;\n proxy_pass \"127.0.0.1:${port}\"; }\n";
        let mut unread = Vec::new();
        let all = read(&[File { name: "nginx -T", text }], &mut unread);
        assert!(unread.is_empty());
        let server = &all[0].block[0];
        assert_eq!(server.block[0].place.to_string(), "/etc/nginx/stream.d/a.conf:1: listen 25");
        assert_eq!(server.block[1].place.line, 2);
        assert_eq!(server.block[1].word(1), "127.0.0.1:${port}");
    }

    #[test]
    fn includes_in_a_circle_end() {
        let mut unread = Vec::new();
        let text = "include a.conf; include a.conf;";
        assert!(read(&[File { name: "a.conf", text }], &mut unread).len() <= MAX_DIRECTIVES);
        let nested = "a {".repeat(10_000);
        read(&[File { name: "a.conf", text: &nested }], &mut unread);
    }
}
