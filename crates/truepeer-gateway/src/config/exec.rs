//! `backend.<id>.exec`: which program is given the connections, and within which bounds.

use std::num::NonZeroU32;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use super::problem::Problem;
use super::read::Reader;
use super::setting::Setting;
use super::settings::{
    ADDRESS, CHECK, EXEC_COMMAND, EXEC_DIRECTORY, EXEC_LABEL, EXEC_MAX, EXEC_MAX_DEFAULT, EXEC_RATE,
    EXEC_RATE_DEFAULT, EXEC_READS_ENVIRONMENT, EXEC_USER,
};
use super::tree::{Found, Owner, Section};
use crate::facts::program::{Program, SocketLabel, User, is_program_path};
use crate::facts::protocol::Protocol;
use crate::rooms::backend::{BackendAddress, Exec};
use crate::rooms::handoff::Handoff;
use crate::rooms::handoff::kind::Kind;
use crate::rooms::limits::Rate;

static SETTINGS: [&Setting; 7] =
    [&EXEC_COMMAND, &EXEC_MAX, &EXEC_RATE, &EXEC_USER, &EXEC_DIRECTORY, &EXEC_LABEL, &EXEC_READS_ENVIRONMENT];

/// What is said of a program: read whatever the handoff is, so that a wrong value is never overlooked.
#[derive(Debug)]
pub(super) struct Said {
    program: Option<(Program, Range<usize>)>,
    max: NonZeroU32,
    rate: Option<Rate>,
    label: SocketLabel,
    /// The program takes the client from its environment.
    reads_environment: bool,
}

impl Said {
    /// Whether nobody has said that the program finds the client, and not the proxy.
    pub(super) fn may_mistake_the_client(&self) -> bool {
        !self.reads_environment && self.label != SocketLabel::Required
    }
}

/// Reads it. `users` is the text of /etc/passwd.
pub(super) fn read(reader: &mut Reader<'_>, owner: Owner<'_>, handoff: Option<Handoff>, users: &str) -> Said {
    let command = reader.get(&EXEC_COMMAND, owner).and_then(|found| command(reader, found));
    let max = reader.count(reader.get(&EXEC_MAX, owner)).and_then(NonZeroU32::new);
    let (count, period) = EXEC_RATE_DEFAULT;
    let rate = reader.rate(reader.get(&EXEC_RATE, owner)).unwrap_or_else(|| Rate::new(count, period));
    let user = reader.get(&EXEC_USER, owner).and_then(|found| user(reader, found, users));
    let directory = reader.path(reader.get(&EXEC_DIRECTORY, owner)).unwrap_or_else(|| PathBuf::from("/"));
    let reads_environment = reader.flag(reader.get(&EXEC_READS_ENVIRONMENT, owner)) == Some(true);
    let label = match reader.flag(reader.get(&EXEC_LABEL, owner)) {
        None => SocketLabel::IfPossible,
        Some(true) => SocketLabel::Required,
        Some(false) => SocketLabel::Never,
    };
    if handoff.is_some_and(|handoff| handoff != Handoff::Exec) {
        let said: Vec<_> = SETTINGS.into_iter().filter_map(|setting| reader.get(setting, owner)).collect();
        for found in said {
            reader.advise(
                &found.key,
                &found.value.span(),
                "has no effect: only with `handoff = \"exec\"` is a program started",
            );
        }
    }
    let program = command.map(|(path, arguments, at)| (Program { path, arguments, directory, user }, at));
    Said { program, max: max.unwrap_or(EXEC_MAX_DEFAULT), rate, label, reads_environment }
}

/// The place of a backend that is a program.
pub(super) fn address(
    reader: &mut Reader<'_>,
    section: &Section<'_>,
    kind: Option<Kind>,
    said: &Said,
) -> Option<Vec<(BackendAddress, Range<usize>)>> {
    let owner = Owner::Backend(section.id);
    if let Some(found) = reader.get(&ADDRESS, owner) {
        reader.problem(
            Problem::new(format!("`{}`: a program that is given connections has no address", found.key))
                .at(found.value.span(), "nothing is connected to with `handoff = \"exec\"`")
                .help("remove the address, or say another `handoff`"),
        );
    }
    if kind == Some(Kind::Whoami) {
        reader.problem(
            Problem::new(format!("backend `{}` is built in, and no program", section.id))
                .at(section.at.clone(), "`kind = \"whoami\"` with `handoff = \"exec\"`")
                .help("remove one of the two"),
        );
    }
    if let Some(found) = reader.get(&CHECK, owner) {
        let text = "has no effect: of a program it is only asked whether it may be run";
        reader.advise(&found.key, &found.value.span(), text);
    }
    if reader.get(&EXEC_COMMAND, owner).is_none() {
        reader.problem(
            Problem::new(format!("backend `{}` has no `exec.command`", section.id))
                .if_all_lines()
                .at(section.at.clone(), "nothing says which program is given the connections")
                .help(format!("`exec.command` is {}", EXEC_COMMAND.shape.allowed())),
        );
    }
    let (program, at) = said.program.as_ref()?;
    let exec = Exec { program: Arc::new(program.clone()), max: said.max, rate: said.rate, label: said.label };
    Some(vec![(BackendAddress::Program(Arc::new(exec)), at.clone())])
}

/// A program that nobody has said to read its environment, behind a listener for mail.
pub(super) fn check_mail(
    reader: &mut Reader<'_>,
    (listener, protocol, from): (&str, Option<Protocol>, &Range<usize>),
    (id, deaf): (&str, Option<&Range<usize>>),
) {
    let Some(at) = deaf.filter(|_| protocol.is_some_and(Protocol::is_mail)) else { return };
    reader.problem(
        Problem::new(format!("backend `{id}` may take the proxy for the client of every mail"))
            .if_all_lines()
            .at(at.clone(), "the client is in the environment, and the proxy at the other end of the socket")
            .also(from.clone(), format!("listener `{listener}` hands mail clients to it"))
            .note("if it asks the socket, and the proxy's address is in its `mynetworks` or the like, it is an open relay")
            .help(format!("if it takes the client from `TCPREMOTEIP` or `REMOTE_ADDR`: `backend.{id}.exec.reads-environment = true`"))
            .help(format!("if it asks the socket, as `exim -bs` does: `backend.{id}.exec.label = true`, with the rights of `handoff = \"label\"`"))
            .help("or let it listen, and tell it by `handoff = \"proxy-v2\"`, `\"label\"` or `\"transparent\"`"),
    );
}

fn command<'t>(
    reader: &mut Reader<'t>,
    found: &'t Found<'t>,
) -> Option<(PathBuf, Vec<String>, Range<usize>)> {
    let words = reader.list(found)?;
    let (first, arguments) = words.split_first()?;
    if !is_program_path(first.text) {
        let problem = reader.wrong_problem(found, found.value);
        reader.problem(
            problem.help("nothing is looked for in folders: write the whole path, as `command -v` prints it"),
        );
        return None;
    }
    if arguments.iter().any(|word| word.text.contains('\0')) {
        return reader.wrong(found, found.value);
    }
    let arguments = arguments.iter().map(|word| word.text.to_owned()).collect();
    Some((PathBuf::from(first.text), arguments, found.value.span()))
}

fn user<'t>(reader: &mut Reader<'t>, found: &'t Found<'t>, users: &str) -> Option<User> {
    let text = reader.text(found)?;
    let numbers = text.text.split_once(':');
    let known = match numbers {
        Some((uid, gid)) => Some((uid, gid)),
        None => users.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let [name, _, uid, gid, ..] = fields.as_slice() else { return None };
            (*name == text.text).then_some((*uid, *gid))
        }),
    };
    let user = known.and_then(|(uid, gid)| Some(User { uid: uid.parse().ok()?, gid: gid.parse().ok()? }));
    if user.is_none() {
        let problem = reader.wrong_problem(found, found.value);
        reader.problem(match numbers {
            Some(_) => problem,
            None => problem.help(format!(
                "/etc/passwd has no user {:?}; one that is known elsewhere has numbers, as `id {}` prints them",
                text.text, text.text
            )),
        });
    }
    user
}
