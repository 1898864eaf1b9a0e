//! Manual pages and completions are made from the arguments, and lie in `packaging/`; `UPDATE=1` writes them anew.
//!
//! Checked in, so that packages are built without running what they hold, and the program carries no generator.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory as _};
use clap_complete::{Generator, Shell};
use clap_mangen::Man;

use super::Arguments;
use crate::config;

const MANUAL: &str = "truepeer";

type Files = BTreeMap<String, Vec<u8>>;

#[test]
fn documented_tables_have_their_manual_pages_and_completions_beside_them() {
    expect("man", &pages());
    expect("completions", &completions());
}

#[test]
fn every_manual_page_names_what_it_is_about_in_one_line() {
    for (file, text) in pages() {
        let text = String::from_utf8(text).unwrap();
        let name = text.lines().skip_while(|line| *line != ".SH NAME").nth(1).unwrap_or_default();
        // What `apropos` shows: the name of the page, a dash, one sentence.
        let (command, about) = name.split_once(r" \- ").unwrap_or_else(|| panic!("{file}: {name:?}"));
        assert!(file.starts_with(&format!("{}.", command.replace(r"\-", "-"))), "{file}: {name:?}");
        assert!(about.len() > 10 && !about.contains(r" \- "), "{file}: {name:?}");
    }
}

/// The files in `packaging/NAME` are these, and no others.
fn expect(name: &str, wanted: &Files) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging").join(name);
    let there = || -> Vec<PathBuf> {
        let entries = fs::read_dir(&folder).into_iter().flatten();
        entries.map(|entry| entry.unwrap().path()).collect()
    };
    if std::env::var_os("UPDATE").is_some() {
        fs::create_dir_all(&folder).unwrap();
        for old in there() {
            fs::remove_file(old).unwrap();
        }
        for (file, text) in wanted {
            fs::write(folder.join(file), text).unwrap();
        }
    }
    let read =
        |path: PathBuf| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(&path).unwrap());
    let found: Files = there().into_iter().map(read).collect();
    let names = |files: &Files| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&found), names(wanted), "packaging/{name} is stale: run the tests with UPDATE=1");
    for (file, text) in wanted {
        assert!(found[file] == *text, "packaging/{name}/{file} is stale: run the tests with UPDATE=1");
    }
}

fn completions() -> Files {
    let made = |shell: Shell| {
        let mut text = Vec::new();
        clap_complete::generate(shell, &mut Arguments::command(), "truepeer", &mut text);
        (shell.file_name("truepeer"), text)
    };
    [Shell::Bash, Shell::Zsh, Shell::Fish].map(made).into()
}

fn pages() -> Files {
    let mut all = Arguments::command().disable_help_subcommand(true);
    all.build();
    let mut files = Files::new();
    // The parts of `import` and `snippet` are on the page of their command.
    let commands: Vec<_> = all.get_subcommands().cloned().collect();
    let mut see: Vec<_> = commands.iter().map(display_name).collect();
    see.push("truepeer.toml".to_owned());
    let (name, text) = page(all, &see);
    files.insert(name, text);
    for command in commands {
        let (name, text) = page(command, &["truepeer".to_owned(), "truepeer.toml".to_owned()]);
        files.insert(name, text);
    }
    files.insert("truepeer.toml.5".to_owned(), settings().into_bytes());
    files
}

fn display_name(command: &Command) -> String {
    command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned()
}

/// The name and the text of one command's page.
fn page(command: Command, see: &[String]) -> (String, Vec<u8>) {
    let version = format!("truepeer {}", env!("CARGO_PKG_VERSION"));
    let is_whole = command.get_name() == "truepeer";
    let parts: Vec<_> = command.get_subcommands().filter(|_| !is_whole).cloned().collect();
    let mut after: Vec<_> = std::iter::once(&command).chain(&parts).filter_map(said_after).collect();
    // Parts that are alike say the same.
    after.dedup();
    let man = Man::new(command).source(version).manual(MANUAL);
    let file = man.get_filename();
    let mut text = Vec::new();
    man.render_title(&mut text).unwrap();
    man.render_name_section(&mut text).unwrap();
    man.render_synopsis_section(&mut text).unwrap();
    man.render_description_section(&mut text).unwrap();
    man.render_options_section(&mut text).unwrap();
    if is_whole {
        man.render_subcommands_section(&mut text).unwrap();
    }
    for part in parts {
        text.extend(format!(".SH \"{}\"\n", roff(&part.get_name().to_uppercase())).as_bytes());
        let man = Man::new(part.disable_help_flag(true));
        let mut body = Vec::new();
        man.render_description_section(&mut body).unwrap();
        man.render_options_section(&mut body).unwrap();
        // One heading for each part is enough.
        let body = String::from_utf8(body).unwrap();
        text.extend(body.replace(".SH DESCRIPTION\n", "").replace(".SH OPTIONS\n", ".PP\n").as_bytes());
    }
    // Once for each page, not for each section.
    let mut end = format!("{QUOTE}{}", String::from_utf8(text).unwrap().replace(QUOTE, ""));
    for after in after {
        end.push_str(&notes(&after));
    }
    if is_whole {
        end.push_str(FILES);
    }
    let list: Vec<_> = see
        .iter()
        .map(|name| format!("\\fB{}\\fR({})", roff(name), if name.ends_with(".toml") { 5 } else { 1 }))
        .collect();
    let _ = write!(end, ".SH \"SEE ALSO\"\n{}\n", list.join(", "));
    (file, end.into_bytes())
}

fn said_after(command: &Command) -> Option<String> {
    command.get_after_long_help().or_else(|| command.get_after_help()).map(ToString::to_string)
}

/// What pages begin with: how an apostrophe is written, in groff and elsewhere.
const QUOTE: &str = ".ie \\n(.g .ds Aq \\(aq\n.el .ds Aq '\n";

const FILES: &str = "\
.SH FILES
.TP
\\fI/etc/truepeer/truepeer.toml\\fR
The configuration that is read where no other is named.
.TP
\\fI/run/truepeer/admin.sock\\fR
Where the commands about a running front door reach it, if `[admin] socket` says so.
";

/// What stands below the options: prose is filled, and what is indented is an example and stays as it is.
fn notes(text: &str) -> String {
    let mut out = ".SH NOTES\n".to_owned();
    let mut is_literal = false;
    for line in text.lines() {
        let literal = line.starts_with("  ");
        match (is_literal, literal) {
            (false, true) => out.push_str(".PP\n.nf\n"),
            (true, false) => out.push_str(".fi\n"),
            _ => {}
        }
        is_literal = literal;
        if line.trim().is_empty() {
            out.push_str(".PP\n");
        } else {
            let _ = writeln!(out, "{}", line_start(&roff(line)));
        }
    }
    if is_literal {
        out.push_str(".fi\n");
    }
    out
}

/// `docs/config.md` as a page of section 5.
fn settings() -> String {
    let mut page = format!(
        "{QUOTE}.TH truepeer.toml 5 \"\" \"truepeer {}\" {MANUAL}\n\
         .SH NAME\ntruepeer.toml \\- the configuration of truepeer: every setting\n.SH DESCRIPTION\n",
        env!("CARGO_PKG_VERSION")
    );
    for line in config::reference().lines().skip(1).filter(|line| !line.starts_with("<!--")) {
        if let Some(heading) = line.strip_prefix("### ") {
            let _ = writeln!(page, ".SS \"{}\"", plain(heading));
        } else if let Some(heading) = line.strip_prefix("## ") {
            let _ = writeln!(page, ".SH \"{}\"", plain(heading));
        } else if let Some(item) = line.strip_prefix("- ") {
            let _ = writeln!(page, ".IP \\(bu 2\n{}", marked(item));
        } else if line.is_empty() {
            if !page.ends_with(".PP\n") {
                page.push_str(".PP\n");
            }
        } else {
            let _ = writeln!(page, "{}", marked(line));
        }
    }
    page.push_str(".SH \"SEE ALSO\"\n\\fBtruepeer\\fR(1), \\fBtruepeer\\-check\\fR(1)\n");
    page.replace(".PP\n.SH", ".SH").replace(".PP\n.SS", ".SS")
}

/// A heading: no marks, no quotes.
fn plain(text: &str) -> String {
    roff(&text.replace('`', "")).replace('"', "\\(dq")
}

/// What stands between backticks in bold.
fn marked(text: &str) -> String {
    let mut out = String::new();
    for (at, part) in text.split('`').enumerate() {
        let part = roff(part);
        if at % 2 == 1 {
            let _ = write!(out, "\\fB{part}\\fR");
        } else {
            out.push_str(&part);
        }
    }
    line_start(&out)
}

/// Text whose characters mean themselves.
fn roff(text: &str) -> String {
    text.replace('\\', "\\e")
        .replace('-', "\\-")
        .replace('\'', "\\(aq")
        .replace('^', "\\(ha")
        .replace('~', "\\(ti")
}

/// A line that begins like a request is none.
fn line_start(line: &str) -> String {
    if line.starts_with(['.', '\'']) { format!("\\&{line}") } else { line.to_owned() }
}
