//! Reading neighbours' configurations: from files, or from what each program prints of itself. Bounded in size and time.
//!
//! The doctor's crate knows which commands and files; here they are run and opened. Nothing is changed anywhere.

mod print;

use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use truepeer_doctor::neighbour::{File, Neighbour, Source};

/// The longest text that is read, in bytes: a file, or what a program prints.
pub const MAX_TEXT: u64 = 16 * 1024 * 1024;
/// The most files of a directory.
pub const MAX_FILES: usize = 64;
/// What configurations are called.
const EXTENSIONS: &[&str] = &["cf", "cfg", "conf", "env", "json", "toml", "yaml", "yml"];

/// One `--neighbour`: a program, and where its configuration is.
#[derive(Debug, Clone)]
pub struct NamedNeighbour {
    source: &'static Source,
    /// As it was written.
    word: String,
    files: Vec<PathBuf>,
}

/// Why a configuration could not be read at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreachable(String);

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unreachable {}

impl NamedNeighbour {
    /// Reads `PRODUCT` or `PRODUCT:FILE[,FILE...]`.
    ///
    /// # Errors
    /// If there is no reader for that product; it names those that there are.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (word, files) = text.split_once(':').unwrap_or((text, ""));
        let Some(source) = Source::named(&word.to_ascii_lowercase()) else {
            let known: Vec<_> = Source::ALL.iter().map(|source| source.product.name()).collect();
            return Err(format!("`{word}` cannot be read; these can: {}", known.join(", ")));
        };
        let files = files.split(',').filter(|file| !file.is_empty()).map(PathBuf::from).collect();
        Ok(Self { source, word: word.to_owned(), files })
    }

    /// What the program's configuration says: that of the named files, or what it prints itself, or the files in
    /// their usual places.
    ///
    /// # Errors
    /// If a named file cannot be read, or without one, neither the program nor its files are here.
    pub fn read(&self) -> Result<Vec<Neighbour>, Unreachable> {
        let texts = if self.files.is_empty() { self.here()? } else { opened(&self.files)? };
        let files: Vec<File<'_>> = texts.iter().map(|(name, text)| File { name, text }).collect();
        Ok(self.source.read(&files))
    }

    /// Without a file.
    fn here(&self) -> Result<Vec<(String, String)>, Unreachable> {
        let printed: Result<Vec<_>, _> =
            self.source.commands.iter().map(|words| print::printed(words)).collect();
        let why = match printed {
            Ok(texts) if !texts.is_empty() => return Ok(texts),
            Ok(_) => "it does not print its configuration".to_owned(),
            Err(why) => why.to_string(),
        };
        let usual = self.source.files.iter().map(Path::new).find(|path| path.exists());
        match usual {
            Some(path) => opened(&[path.to_owned()]),
            None => Err(Unreachable(format!(
                "{}: {why}; name its configuration: `--neighbour {}:FILE`",
                self.source.product.title(),
                self.word
            ))),
        }
    }
}

fn opened(paths: &[PathBuf]) -> Result<Vec<(String, String)>, Unreachable> {
    let mut texts = Vec::new();
    for path in paths {
        if path.is_dir() {
            for file in configurations(path).map_err(|error| unreadable(path, &error))? {
                texts.push((file.display().to_string(), text(&file)?));
            }
        } else {
            texts.push((path.display().to_string(), text(path)?));
        }
    }
    Ok(texts)
}

/// The files of a directory that look like configurations, in their order.
fn configurations(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        if extension.is_some_and(|extension| EXTENSIONS.contains(&extension)) && path.is_file() {
            found.push(path);
        }
    }
    found.sort();
    if found.len() > MAX_FILES {
        return Err(io::Error::other(format!(
            "there are more than {MAX_FILES} files in it; name those that count"
        )));
    }
    Ok(found)
}

fn text(path: &Path) -> Result<String, Unreachable> {
    let read = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let opened: Box<dyn Read> = match path == Path::new("-") {
            true => Box::new(io::stdin().lock()),
            false => Box::new(fs::File::open(path)?),
        };
        opened.take(MAX_TEXT.saturating_add(1)).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().map_err(|error| unreadable(path, &error))?;
    if u64::try_from(bytes.len()).is_ok_and(|len| len > MAX_TEXT) {
        return Err(Unreachable(format!("{}: longer than {MAX_TEXT} bytes", path.display())));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn unreadable(path: &Path, error: &io::Error) -> Unreachable {
    Unreachable(format!("{}: it cannot be read: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_product_may_have_files_and_an_unknown_one_is_answered_with_those_that_there_are() {
        let asked = NamedNeighbour::parse("postfix:main.cf,master.cf").unwrap();
        assert_eq!(asked.files, [PathBuf::from("main.cf"), PathBuf::from("master.cf")]);
        assert!(NamedNeighbour::parse("HAProxy").unwrap().files.is_empty());
        let why = NamedNeighbour::parse("sendmail:x").unwrap_err();
        assert!(why.starts_with("`sendmail` cannot be read; these can: haproxy, nginx, "), "{why}");
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let why =
            NamedNeighbour::parse("haproxy:/nowhere/haproxy.cfg").unwrap().read().unwrap_err().to_string();
        assert!(why.starts_with("/nowhere/haproxy.cfg: it cannot be read: "), "{why}");
    }
}
