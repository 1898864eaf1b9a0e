//! Has programs print their configurations, or reads their files, and makes neighbours of them.

use std::time::Duration;

use truepeer_doctor::neighbour::{File, Neighbour, read};
use truepeer_doctor::survey::{Program, Way};
use truepeer_doctor::{Product, excerpt};

use super::includes;
use super::root::Root;
use super::run::{self, Bounds};
use super::unseen::{Unseen, quoted};

/// Bytes of one file, or of what one command prints.
const MAX_CONFIG: u64 = 4 * 1024 * 1024;
/// Bytes of all texts of one program.
const MAX_TEXTS: usize = 16 * 1024 * 1024;
/// Files of one folder.
const MAX_FILES: usize = 256;
/// How long a program may take to print.
const PATIENCE: Duration = Duration::from_secs(10);

/// A program and what its configuration says.
#[derive(Debug)]
pub(super) struct Configured {
    /// Which program.
    pub(super) program: Program,
    /// What was read, by name.
    pub(super) texts: Vec<(String, String)>,
    /// What that says; one text may hold several.
    pub(super) neighbours: Vec<Neighbour>,
}

/// Reads the configuration of `program`; what could not be seen is added to `unseen`.
#[must_use]
pub(super) fn read_configuration(root: &Root, program: Program, unseen: &mut Vec<Unseen>) -> Configured {
    let mut look = Look { root, program: &program, missing: Vec::new() };
    let texts = match look.texts(&program.sources) {
        Ok(texts) => texts,
        Err((way, why)) => look.otherwise(&way, &why, unseen),
    };
    for missing in look.missing {
        unseen.push(Unseen {
            what: format!("{}: the included {}", title(&program), excerpt(missing.as_bytes())),
            command: Some(format!("sudo cat {}", quoted(&missing))),
        });
    }
    let files: Vec<_> = texts.iter().map(|(name, text)| File { name, text }).collect();
    let neighbours = if files.is_empty() { Vec::new() } else { read(program.product, &files) };
    Configured { program, texts, neighbours }
}

/// How the program is called in sentences.
pub(super) fn title(program: &Program) -> String {
    match program.pids.first() {
        Some(pid) => format!("{} (process {pid})", program.product),
        None => format!("{} (does not run)", program.product),
    }
}

type Texts = Vec<(String, String)>;

/// One program's configuration, being read.
struct Look<'a> {
    root: &'a Root,
    program: &'a Program,
    /// Included files that could not be read.
    missing: Vec<String>,
}

impl Look<'_> {
    /// All texts of `ways`, or which of them cannot be had and why.
    fn texts(&mut self, ways: &[Way]) -> Result<Texts, (String, String)> {
        let mut found = Texts::new();
        for way in ways {
            let shown = way_shown(way);
            match way {
                Way::Print { program: name, args, chosen } => {
                    let printed = print(self.root, self.program, name, args, *chosen);
                    found.push((shown.clone(), printed.map_err(|why| (shown.clone(), why))?));
                }
                Way::File(path) => {
                    found.extend(self.files(path).map_err(|why| (shown.clone(), why))?);
                }
            }
            if found.iter().map(|(_, text)| text.len()).fold(0, usize::saturating_add) > MAX_TEXTS {
                return Err((shown, format!("more than {MAX_TEXTS} bytes")));
            }
        }
        Ok(found)
    }

    /// What is read where `way` did not work, and what is to be said about that.
    fn otherwise(&mut self, way: &str, why: &str, unseen: &mut Vec<Unseen>) -> Texts {
        let title = title(self.program);
        let instead = match self.program.otherwise.is_empty() {
            true => None,
            false => self.texts(&self.program.otherwise).ok(),
        };
        let printed = matches!(self.program.sources.first(), Some(Way::Print { .. }));
        let what = match &instead {
            // These are read with all that they include, as nginx itself would.
            Some(_) if self.program.product == Product::Nginx => return instead.unwrap_or_default(),
            Some(_) => format!(
                "{title}: `{way}` did not work ({why}); its files were read, without what they include"
            ),
            None => format!("{title}: its configuration ({why})"),
        };
        let command = if printed { format!("sudo {way}") } else { format!("sudo cat {way}") };
        unseen.push(Unseen { what, command: Some(command) });
        instead.unwrap_or_default()
    }

    /// A file, or the files of a folder.
    fn files(&mut self, path: &str) -> Result<Texts, String> {
        if self.program.product == Product::Nginx {
            let (text, missing) = includes::nginx(self.root, path, MAX_CONFIG)?;
            self.missing = missing;
            return Ok(vec![("nginx -T".to_owned(), text)]);
        }
        let names = match self.root.is_folder(path) {
            false => vec![path.to_owned()],
            true => {
                let path = path.trim_end_matches('/');
                let names = self.root.names(path, MAX_FILES).into_iter();
                let kept =
                    names.filter(|name| self.program.product != Product::Haproxy || name.ends_with(".cfg"));
                kept.map(|name| format!("{path}/{name}")).collect()
            }
        };
        let text = |name: String| {
            let text = self.root.text(&name, MAX_CONFIG).map_err(|error| error.to_string())?;
            Ok((excerpt(name.as_bytes()), text))
        };
        names.into_iter().map(text).collect()
    }
}

fn way_shown(way: &Way) -> String {
    match way {
        Way::Print { program, args, .. } => {
            let words: Vec<_> = args.iter().map(|word| quoted(word)).collect();
            format!("{program} {}", words.join(" "))
        }
        Way::File(path) => quoted(path),
    }
}

fn print(
    root: &Root,
    program: &Program,
    name: &str,
    args: &[String],
    chosen: bool,
) -> Result<String, String> {
    if root.is_recorded() {
        let command = format!("{name} {}", args.join(" "));
        return root.printed(&command, MAX_CONFIG).map_err(|error| error.to_string());
    }
    // A process may call itself anything and name any file; what programs do with files may be more than reading.
    if chosen && !program.vouched(rustix::process::geteuid().as_raw()) {
        return Err("it belongs to another user, whose words are not handed to a program".to_owned());
    }
    let exe = program.exe.as_deref().filter(|_| program.vouched(rustix::process::geteuid().as_raw()));
    let file = run::find(name, exe).ok_or_else(|| format!("there is no `{name}` to run"))?;
    let bounds = Bounds { bytes: usize::try_from(MAX_CONFIG).unwrap_or(usize::MAX), time: PATIENCE };
    let printed = run::printed(&file, args, bounds)?;
    Ok(String::from_utf8_lossy(&printed).into_owned())
}
