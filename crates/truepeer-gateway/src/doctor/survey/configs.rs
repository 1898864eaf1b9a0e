//! Has programs print their configurations, or reads their files, and makes neighbours of them.

use std::path::Path;
use std::time::Duration;

use truepeer_doctor::neighbour::{File, Neighbour, read};
use truepeer_doctor::survey::{Program, Way};
use truepeer_doctor::{Product, excerpt};

use super::includes::{self, Named, Style};
use super::machine::Located;
use super::unseen::{NotSeen, quoted};
use crate::doctor::run::{self, Around, Bounds};

/// Bytes of one file, or of what one command prints.
const MAX_CONFIG: u64 = 4 * 1024 * 1024;
/// Bytes of all texts of one program.
const MAX_TEXTS: usize = 16 * 1024 * 1024;
/// Files of one folder.
const MAX_FILES: usize = 256;
/// How long a program may take to print.
const PATIENCE: Duration = Duration::from_secs(10);

/// What makes a neighbour of truepeer's own configuration, which is read in another way than all others.
pub type ReadOurs = fn(&Path) -> Result<Neighbour, String>;

/// A program and what its configuration says.
#[derive(Debug)]
pub(super) struct Configured {
    /// Which program.
    pub(super) program: Program,
    /// How it is called in sentences.
    pub(super) title: String,
    /// Whether its files are a container's.
    pub(super) is_contained: bool,
    /// What was read, by name.
    pub(super) texts: Vec<Named>,
    /// What that says; one text may hold several.
    pub(super) neighbours: Vec<Neighbour>,
}

/// Reads the configuration of a program; what could not be seen is added to `unseen`.
#[must_use]
pub(super) fn read_configuration(
    located: Located,
    read_ours: ReadOurs,
    unseen: &mut Vec<NotSeen>,
) -> Configured {
    let title = title(&located);
    let mut look = Look { located: &located, title: &title, missing: Vec::new() };
    let mut texts = match look.texts(&located.program.sources) {
        Ok(texts) => texts,
        Err((way, why)) => look.otherwise(&way, &why, unseen),
    };
    for missing in look.missing {
        let reader = match &located.container {
            Some(container) => format!("docker exec {container} cat"),
            None => "sudo cat".to_owned(),
        };
        unseen.push(NotSeen {
            what: format!("{title}: the included {}", excerpt(missing.as_bytes())),
            command: Some(format!("{reader} {}", quoted(&missing))),
        });
    }
    // As `docker cp` would write it.
    if let Some(container) = &located.container {
        for (name, _) in &mut texts {
            name.insert_str(0, &format!("{container}:"));
        }
    }
    let Located { program, root, container } = located;
    let neighbours = match (program.product, program.sources.first()) {
        (Product::Truepeer, Some(Way::File(path))) if container.is_none() && !texts.is_empty() => {
            match read_ours(&root.place(path)) {
                Ok(neighbour) => vec![neighbour],
                Err(why) => {
                    let command = Some(format!("sudo truepeer check {}", quoted(path)));
                    unseen.push(NotSeen { what: format!("{title}: its configuration ({why})"), command });
                    Vec::new()
                }
            }
        }
        _ if texts.is_empty() => Vec::new(),
        _ => {
            let files: Vec<_> = texts.iter().map(|(name, text)| File { name, text }).collect();
            read(program.product, &files)
        }
    };
    Configured { program, title, is_contained: container.is_some(), texts, neighbours }
}

/// How a program is called in sentences.
fn title(Located { program, container, .. }: &Located) -> String {
    match (program.pids.first(), container) {
        (Some(pid), None) => format!("{} (process {pid})", program.product),
        (Some(pid), Some(container)) => format!("{} (process {pid}, container {container})", program.product),
        (None, _) => format!("{} (does not run)", program.product),
    }
}

/// One program's configuration, being read.
struct Look<'a> {
    located: &'a Located,
    title: &'a str,
    /// Included files that could not be read.
    missing: Vec<String>,
}

impl Look<'_> {
    /// All texts of `ways`, or which of them cannot be had and why.
    fn texts(&mut self, ways: &[Way]) -> Result<Vec<Named>, (String, String)> {
        let mut found = Vec::new();
        for way in ways {
            let shown = way_shown(way);
            match way {
                Way::Print { program: name, args, chosen } => {
                    let printed = print(self.located, name, args, *chosen);
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
    fn otherwise(&mut self, way: &str, why: &str, unseen: &mut Vec<NotSeen>) -> Vec<Named> {
        let program = &self.located.program;
        let instead = match program.otherwise.is_empty() {
            true => None,
            false => self.texts(&program.otherwise).ok(),
        };
        // They were read with all that they include.
        if let Some(texts) = instead {
            return texts;
        }
        let printed = matches!(program.sources.first(), Some(Way::Print { .. }));
        let command = match (&self.located.container, printed) {
            (Some(container), true) => format!("docker exec {container} {way}"),
            (Some(container), false) => format!("docker exec {container} cat {way}"),
            (None, true) => format!("sudo {way}"),
            (None, false) => format!("sudo cat {way}"),
        };
        unseen.push(NotSeen {
            what: format!("{}: its configuration ({why})", self.title),
            command: Some(command),
        });
        Vec::new()
    }

    /// A file with all that it includes, or the files of a folder.
    fn files(&mut self, path: &str) -> Result<Vec<Named>, String> {
        let Located { program, root, .. } = self.located;
        let style = match program.product {
            Product::Nginx => Some(Style::Nginx),
            Product::Dovecot => Some(Style::Dovecot),
            _ => None,
        };
        if let Some(style) = style {
            let (texts, missing) = includes::whole(root, path, MAX_CONFIG, style)?;
            self.missing.extend(missing);
            return Ok(texts.into_iter().map(|(name, text)| (excerpt(name.as_bytes()), text)).collect());
        }
        let names = match root.is_folder(path) {
            false => vec![path.to_owned()],
            true => {
                let path = path.trim_end_matches('/');
                let names = root.names(path, MAX_FILES).into_iter();
                let kept = names.filter(|name| program.product != Product::Haproxy || name.ends_with(".cfg"));
                kept.map(|name| format!("{path}/{name}")).collect()
            }
        };
        let text = |name: String| {
            let text = root.text(&name, MAX_CONFIG).map_err(|error| error.to_string())?;
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

fn print(located: &Located, name: &str, args: &[String], chosen: bool) -> Result<String, String> {
    let Located { program, root, .. } = located;
    if root.is_within() {
        return Err("a container's programs are not run from here".to_owned());
    }
    if root.is_recorded() {
        let command = format!("{name} {}", args.join(" "));
        return root.printed(&command, MAX_CONFIG).map_err(|error| error.to_string());
    }
    // A process may call itself anything and name any file; what programs do with files may be more than reading.
    let vouched = program.vouched(rustix::process::geteuid().as_raw());
    if chosen && !vouched {
        return Err("it belongs to another user, whose words are not handed to a program".to_owned());
    }
    let exe = program.exe.as_deref().filter(|_| vouched);
    let file = run::find(name, exe).ok_or_else(|| format!("there is no `{name}` to run"))?;
    let bounds = Bounds { bytes: usize::try_from(MAX_CONFIG).unwrap_or(usize::MAX), time: PATIENCE };
    let printed = run::printed(&file, args, bounds, Around::Nothing)?;
    Ok(String::from_utf8_lossy(&printed).into_owned())
}
