//! Give a connection away: start a program that has it as its standard input and output, and learn how it ended.
//!
//! As inetd does it: no byte passes through us. Starting may take as long as the disk that the program is on, and
//! its end as long as the client stays, so that both are the matter of a thread of its own: as many as there are programs,
//! of which `backend.<id>.exec.max` says how many there may be. Workers only hear from it.

mod children;
mod hear;

use std::any::Any;
use std::fmt;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Access, AtFlags, CWD, OFlags, accessat, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, geteuid, kill_process_group, pidfd_open};
use rustix::thread::clear_ambient_capability_set;
use tokio::sync::oneshot;

use super::label::{Label, Labels, NotSaid};
use super::{Socket, in_time, later, now};
use crate::facts::program::{Environment, Exit, Program, User};

pub use children::bury;

/// Where a program that is named without a folder would look for others; all that it inherits from us.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// How long a program that was asked to end may take.
const GRACE: Duration = Duration::from_secs(5);
/// Room for the calls of the thread of one program.
const STACK: usize = 256 * 1024;

/// Whether `program` is there and may be run. What only another user may see, as whom it runs, is not known here: then its
/// start shows it.
///
/// # Errors
/// What the system says against it.
pub fn may_run(program: &Program) -> io::Result<()> {
    let is_anothers = program.user.is_some_and(|user| user.uid != geteuid().as_raw());
    match may_run_as_us(program) {
        Err(error) if is_anothers && error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        found => found,
    }
}

fn may_run_as_us(program: &Program) -> io::Result<()> {
    accessat(CWD, &program.directory, Access::EXEC_OK, AtFlags::EACCESS)?;
    // A folder may be "executed", too.
    if program.path.metadata()?.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    accessat(CWD, &program.path, Access::EXEC_OK, AtFlags::EACCESS)?;
    Ok(())
}

fn command(program: &Program, environment: &Environment, streams: [OwnedFd; 2]) -> Command {
    let [input, output] = streams;
    let mut command = Command::new(&program.path);
    command
        .args(&program.arguments)
        .current_dir(&program.directory)
        .env_clear()
        .env("PATH", PATH)
        .envs(environment.iter().map(|(name, value)| (*name, value)))
        .stdin(Stdio::from(input))
        .stdout(Stdio::from(output))
        .stderr(Stdio::piped())
        // What is sent to us from a terminal is not meant for it, and it can be ended with all that it has started.
        .process_group(0);
    if let Some(User { uid, gid }) = program.user {
        command.uid(uid).gid(gid);
    }
    command
}

/// Why no program has the connection.
#[derive(Debug)]
pub enum NotStarted {
    /// The system does not run it.
    Refused(io::Error),
    /// This host has no process, descriptor or memory left for it.
    NoRoom(io::Error),
    /// It was not running in time; it is ended as soon as it is.
    Late(Duration),
    /// The connection does not say who the client is, and must.
    NotSaid(NotSaid),
}

impl fmt::Display for NotStarted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(error) => write!(f, "cannot be started: {error}"),
            Self::NoRoom(error) => write!(f, "this host has no room for one more program: {error}"),
            Self::NotSaid(why) => write!(f, "its socket cannot be made to say the client: {why}"),
            Self::Late(limit) => write!(f, "not started within {} s", limit.as_secs_f32()),
        }
    }
}

/// What the connection itself is to say of the client, in every process that has it.
#[derive(Debug, Clone)]
pub struct ToSay {
    /// What has sockets say it.
    pub labels: Labels,
    /// What.
    pub label: Label,
    /// Whether nothing is started if it does not.
    pub required: Required,
}

/// Whether something must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Required {
    /// It must.
    Yes,
    /// It may be left out.
    No,
}

/// What goes with a program from its start to its end.
pub struct With {
    /// Given back when it has ended, whoever waits for that or does not.
    pub holds: Box<dyn Any + Send>,
    /// Takes each line that it writes to its standard error.
    pub said: Box<dyn FnMut(&str) + Send>,
}

impl fmt::Debug for With {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("With").finish_non_exhaustive()
    }
}

/// A program that has a connection.
#[derive(Debug)]
pub struct Running {
    ended: oneshot::Receiver<Exit>,
    life: Arc<Life>,
    not_said: Option<NotSaid>,
}

impl Running {
    /// Waits for its end; `None` if that was not seen.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the program to itself: it goes on, and is buried when it ends.
    pub async fn ended(self) -> Option<Exit> {
        self.ended.await.ok()
    }

    /// Why its connection does not say who the client is, if it was to.
    #[must_use]
    pub fn not_said(&self) -> Option<&NotSaid> {
        self.not_said.as_ref()
    }

    /// Its life, for whoever may end it.
    #[must_use]
    pub fn life(&self) -> Arc<Life> {
        Arc::clone(&self.life)
    }
}

/// A process, as long as its number is its own.
#[derive(Debug, Default)]
pub struct Life(Mutex<Group>);

/// A program and all that it has started and not sent away.
#[derive(Debug, Default)]
struct Group {
    leader: Option<Pid>,
    /// Whether it was asked to end: whoever is left when the program has ended is ended then.
    is_unwanted: bool,
}

impl Life {
    /// Asks it, and all that it has started and not sent away, to end; if it has not ended five seconds later, all are
    /// ended.
    pub fn end(self: &Arc<Self>) {
        let ended = {
            let mut group = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            group.is_unwanted = true;
            group.leader.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok())
        };
        self.signal(Signal::TERM);
        // It has ended already, or this kernel is older than 5.3.
        let Some(ended) = ended else { return };
        let life = Arc::clone(self);
        let last = move || {
            let grace = Timespec { tv_sec: GRACE.as_secs().try_into().unwrap_or(i64::MAX), tv_nsec: 0 };
            // Whatever becomes of the waiting: who has ended hears nothing any more.
            let _ = poll(&mut [PollFd::new(&ended, PollFlags::IN)], Some(&grace));
            life.signal(Signal::KILL);
        };
        // Without a thread it has heard the first word only.
        let _ = std::thread::Builder::new().name("ending".to_owned()).stack_size(STACK).spawn(last);
    }

    fn signal(&self, signal: Signal) {
        // Under the lock: while it is not buried, nobody else can have its number.
        let group = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match group.leader.map(|pid| (pid, kill_process_group(pid, signal))) {
            Some((pid, Err(error))) if error != Errno::SRCH => {
                let (pid, cause) = (pid.as_raw_pid(), error.to_string());
                let remedy = "a program that runs as another user (`exec.user`) can be ended with CAP_KILL only: give it to truepeer's service";
                tracing::error!(event = "program_not_ended", pid, cause, remedy);
            }
            Some(_) | None => {}
        }
    }

    fn begin(&self, pid: Option<Pid>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).leader = pid;
    }

    /// The program has ended, and is not buried yet.
    fn finish(&self) {
        if self.0.lock().unwrap_or_else(PoisonError::into_inner).is_unwanted {
            self.signal(Signal::KILL);
        }
        self.begin(None);
    }
}

/// Gives `client` to `program`, which is told `environment`, once it runs; within `patience`. Before that the connection
/// itself is made to say what is `to_say`.
///
/// The very socket becomes its standard input and output, as these programs expect it: one whose calls wait. What the
/// client has sent and we have not taken is its to read. Drop `client` afterwards: the connection ends when the last
/// process closes it.
///
/// # Errors
/// [`NotStarted`]; `client` is still the client's then.
///
/// # Cancel safety
/// Dropping the future ends the program as soon as it runs.
pub async fn give(
    client: &Socket,
    program: &Program,
    environment: &Environment,
    to_say: Option<ToSay>,
    with: With,
    patience: Duration,
) -> Result<Running, NotStarted> {
    // A program may keep it for as long as it likes.
    client.set_lasting();
    let clone = || client.as_fd().try_clone_to_owned();
    let streams = [clone().map_err(NotStarted::NoRoom)?, clone().map_err(NotStarted::NoRoom)?];
    let to_say = match to_say {
        Some(to_say) => Some((clone().map_err(NotStarted::NoRoom)?, to_say)),
        None => None,
    };
    let command = command(program, environment, streams);
    let life = Arc::new(Life::default());
    let (tell_started, started) = oneshot::channel();
    let (tell_ended, ended) = oneshot::channel();
    set_waiting(client, true).map_err(NotStarted::Refused)?;
    let attend = {
        let life = Arc::clone(&life);
        move || attend(command, to_say, &life, with, (tell_started, tell_ended))
    };
    let thread = std::thread::Builder::new().name("program".to_owned()).stack_size(STACK).spawn(attend);
    let outcome = match thread {
        Err(error) => Err(NotStarted::NoRoom(error)),
        Ok(_) => match in_time(later(now(), patience), started).await {
            Some(Ok(Ok(not_said))) => Ok(Running { ended, life, not_said }),
            Some(Ok(Err(error))) => Err(error),
            Some(Err(_)) => Err(NotStarted::Refused(io::ErrorKind::Other.into())),
            None => {
                // It may have begun in this very moment; otherwise its thread ends it.
                life.end();
                Err(NotStarted::Late(patience))
            }
        },
    };
    if outcome.is_err() {
        // It is we who speak to the client now. It fails only on what is no descriptor.
        let _ = set_waiting(client, false);
    }
    outcome
}

/// Whether calls on the connection wait, in every process that has it.
fn set_waiting(client: &Socket, waits: bool) -> io::Result<()> {
    let mut flags = fcntl_getfl(client.as_fd())?;
    flags.set(OFlags::NONBLOCK, !waits);
    fcntl_setfl(client.as_fd(), flags)?;
    Ok(())
}

fn not_started(error: io::Error) -> NotStarted {
    match Errno::from_io_error(&error) {
        Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::AGAIN) => NotStarted::NoRoom(error),
        _ => NotStarted::Refused(error),
    }
}

/// How its thread tells that a program has started, and what its connection does not say; and how it ended.
type Tell = (oneshot::Sender<Result<Option<NotSaid>, NotStarted>>, oneshot::Sender<Exit>);

/// The thread of one program: from its start to its burial.
fn attend(
    mut command: Command,
    to_say: Option<(OwnedFd, ToSay)>,
    life: &Life,
    with: With,
    (tell_started, tell_ended): Tell,
) {
    let With { holds, mut said } = with;
    // What truepeer's service may do (low ports, other users, programs of the kernel) is not the program's. This thread
    // starts nothing else; to become another user it needs what it may do, not what it hands on.
    if let Err(error) = clear_ambient_capability_set()
        && error != Errno::INVAL
    {
        drop(holds);
        let _ = tell_started.send(Err(NotStarted::Refused(error.into())));
        return;
    }
    // Here, since the kernel may have to be asked who listens.
    let not_said = to_say.and_then(|(socket, ToSay { labels, label, required })| {
        Some((labels.give(socket.as_fd(), label).err()?, required))
    });
    let not_said = match not_said {
        Some((why, Required::Yes)) => {
            drop((command, holds));
            let _ = tell_started.send(Err(NotStarted::NotSaid(why)));
            return;
        }
        Some((why, Required::No)) => Some(why),
        None => None,
    };
    let spawned = children::spawn(&mut command);
    // Ours of the connection: whoever waits for its end waits for the program's only.
    drop(command);
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => {
            drop(holds);
            // Nobody listens only if it took too long.
            let _ = tell_started.send(Err(not_started(error)));
            return;
        }
    };
    life.begin(child.pid());
    if tell_started.send(Ok(not_said)).is_err() {
        // Its client has heard that it is not served.
        life.signal(Signal::KILL);
    }
    let ended = child.pid().and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    if let Some(words) = child.take_stderr() {
        hear::lines(words, ended.as_ref().map(AsFd::as_fd), &mut *said);
    }
    child.wait_for_end();
    life.finish();
    let exit = child.bury();
    drop(holds);
    if let Some(exit) = exit {
        // Nobody listens any more to a program whose connection was cut, or that outlives a drain.
        let _ = tell_ended.send(exit);
    }
}
