//! `truepeer run`: serve until told to stop.

mod aside;
mod heir;
mod last_resort;
mod orphans;
mod reload;
mod said;
mod upgrade;

use std::fmt;
use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tracing_subscriber::layer::SubscriberExt;

use crate::cli::{FAILED, NOT_STARTED};
use crate::config::{self, Colour, ConfigErrors, Loaded, Origin};
use crate::control::admin::{Order, Reloaded, Upgrade, reply};
use crate::control::manager::{Manager, Watchdog};
use crate::control::predecessors::Predecessors;
use crate::control::succession::Said as SaidBetween;
use crate::control::{Control, Sockets};
use crate::engine::{Given, GivenError, later};
use crate::observe::log::{Configured, Destination, Events, RefusalLines, Writer};
use crate::rooms::bans::denied::Denied;
use crate::rooms::bans::state;
use crate::server::{Server, StartError};
use aside::{Aside, Errand};
use heir::Heir;
use orphans::Orphans;
use reload::AtStart;
use said::Said;
use upgrade::{Handed, OwnProgram};

/// Serves with the configuration at `path`, or the default one.
pub(super) fn run(path: Option<&Path>) -> ExitCode {
    let (main, given) = match Main::begin() {
        Ok(begun) => begun,
        Err(error) => return not_started(&error),
    };
    let heir = main.heir.clone();
    let told = |failed: NotStarted| {
        // Whoever asked for the upgrade hears it, too.
        if let Some(heir) = &heir {
            heir.failed(&failed);
        }
        failed
    };
    match main
        .start(given, path)
        .map_err(told)
        .and_then(|running| running.serve(path).map_err(NotStarted::Because))
    {
        // It was told to stop before it had started.
        Ok(()) | Err(NotStarted::Stop) => ExitCode::SUCCESS,
        Err(NotStarted::Because(error)) => not_started(&error),
        Err(NotStarted::Wrong(errors)) => {
            complain(&errors.render(Colour::for_stderr()));
            ExitCode::from(FAILED)
        }
    }
}

fn not_started(error: &dyn fmt::Display) -> ExitCode {
    complain(&format!("error: {error}"));
    ExitCode::from(NOT_STARTED)
}

type Fallible<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Why nothing was started.
enum NotStarted {
    /// Something that was needed could not be had.
    Because(Box<dyn std::error::Error + Send + Sync>),
    /// The configuration is wrong.
    Wrong(ConfigErrors),
    /// The order to stop came first.
    Stop,
}

impl fmt::Display for NotStarted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Because(error) => error.fmt(f),
            Self::Wrong(errors) => f.write_str(&errors.render(Colour::Plain)),
            Self::Stop => f.write_str("it was told to stop"),
        }
    }
}

impl From<String> for NotStarted {
    fn from(cause: String) -> Self {
        Self::Because(cause.into())
    }
}

impl From<Undone> for NotStarted {
    fn from(undone: Undone) -> Self {
        match undone {
            Undone::Because(cause) => Self::Because(cause.into()),
            Undone::Stop => Self::Stop,
        }
    }
}

/// What the main thread hears with, and what works on files for it.
struct Main {
    signals: Signals,
    aside: Aside,
    runtime: Runtime,
    /// Whose place this process takes.
    heir: Option<Heir>,
    /// What was started, before somebody replaces it.
    program: OwnProgram,
}

impl Main {
    fn begin() -> Fallible<(Self, Result<Given, GivenError>)> {
        // Before anything is opened: what the service manager says it gave is told by its numbers alone.
        let given = Given::take();
        let heir = Heir::of_this_process()?;
        let program = OwnProgram::of_this_process();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        // Watched before a file is read or anything listens, so that no signal finds the default action, which PID 1
        // does not have.
        let signals = {
            let _context = runtime.enter();
            Signals::watch()?
        };
        last_resort::watch()?;
        Ok((Self { signals, aside: Aside::default(), runtime, heir, program }, given))
    }

    /// Does `work` on files off this thread.
    fn errand<T: Send + 'static>(
        &mut self,
        errand: Errand,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Undone> {
        let Self { signals, aside, runtime, .. } = self;
        let mut again = false;
        let done = runtime.block_on(async {
            let mut done = std::pin::pin!(aside.run(errand, work));
            loop {
                tokio::select! {
                    // What is done is taken; a signal waits.
                    biased;
                    done = &mut done => break done.map_err(Undone::Because),
                    asked = signals.next() => match asked {
                        Asked::Stop => break Err(Undone::Stop),
                        // The file may have changed behind what was read of it already.
                        Asked::Reload => again = true,
                    },
                }
            }
        });
        signals.again |= again;
        done
    }

    /// Reads what is needed for a start, and starts.
    fn start(mut self, given: Result<Given, GivenError>, path: Option<&Path>) -> Result<Running, NotStarted> {
        let because = |error: Box<dyn std::error::Error + Send + Sync>| NotStarted::Because(error);
        let given = match self.heir.clone() {
            // First: until they are taken, the other process waits.
            Some(heir) => self.errand(heir::SOCKETS, move || heir.receive())??,
            None => given.map_err(|error| because(error.into()))?,
        };
        let read = path.map(Path::to_owned);
        let loaded = self.errand(aside::CONFIG, move || config::load(read.as_deref()))?;
        let Loaded { config, origin } = loaded.map_err(NotStarted::Wrong)?;
        let target = config.log.target.clone();
        let destination = self
            .errand(aside::LOG, move || Destination::open(&target))?
            .map_err(|error| because(error.into()))?;
        let bans = match config.admin.state.clone() {
            Some(file) => self.errand(aside::STATE, move || state::load(&file))?,
            None => Ok(state::LoadedBans::default()),
        };
        let bans = bans.map_err(|error| because(StartError::State(error).into()))?;
        start(self, given, &Loaded { config, origin }, destination, bans).map_err(because)
    }
}

/// Why something on files was not done.
#[derive(Debug)]
enum Undone {
    /// In words.
    Because(String),
    /// The order to stop came first.
    Stop,
}

/// A server, and what tells it to stop.
struct Running {
    server: Server,
    /// Answers while the server drains, too.
    control: Control,
    orders: mpsc::Receiver<Order>,
    at_start: AtStart,
    said: Said,
    log: Configured,
    /// Processes whose place this one has taken.
    before: Predecessors,
    manager: Manager,
    /// Ends with the process: a drain is to be seen alive, too.
    watchdog: Option<Watchdog>,
    main: Main,
    /// Dropped last: writes out what is queued.
    _writer: Writer,
}

fn start(
    main: Main,
    given: Given,
    Loaded { config, origin }: &Loaded,
    destination: Destination,
    bans: state::LoadedBans,
) -> Fallible<Running> {
    let manager = Manager::of_this_process().map_err(|error| format!("NOTIFY_SOCKET: {error}"))?;
    let (log, writer) = Configured::start(&config.log, destination, RefusalLines::Fold)?;
    let events = tracing_subscriber::registry().with(Events::new(log.log().clone()));
    tracing::subscriber::set_global_default(events)?;
    if matches!(origin, Origin::Demonstration) {
        tracing::info!(event = "demonstration", "demonstration on loopback: no mail is served");
    }
    let mut said = Said::default();
    said.advice(&config.advice);
    given.check(&config::binds(config))?;
    let sockets = Sockets::bind(config, &given)?;
    let before = Predecessors::default();
    let succeed = main.heir.as_ref().map(|heir| heir.succeed(given.inherited().clone(), before.clone()));
    let mut server = Server::start_given(config, log.log(), given, bans, succeed)?;
    // Once more, with what only the sockets show.
    said.advice(&server.advice());
    let (mut control, orders) = Control::start(config.status.page, server.view(), before.clone())?;
    control.share(config)?;
    // Then only: whatever is ordered reaches the process before, too.
    if let Some(heir) = &main.heir {
        heir.accepting(&before);
    }
    control.take(sockets);
    said.addresses(&server, &control);
    tracing::info!(event = "ready");
    manager.ready(&status(&server));
    let watchdog = match (server.take_pulse(), Manager::patience()) {
        (Some(pulse), Some(patience)) => Some(Watchdog::start(pulse, manager.clone(), patience)?),
        _ => None,
    };
    let at_start = AtStart::of(config);
    Ok(Running {
        server,
        control,
        orders,
        at_start,
        said,
        log,
        before,
        manager,
        watchdog,
        main,
        _writer: writer,
    })
}

impl Running {
    /// Serves until the first signal to stop, then drains; a second one ends the drain.
    fn serve(mut self, path: Option<&Path>) -> Fallible<()> {
        let mut handed = None;
        loop {
            let asker = match self.next() {
                Wanted::Stop => break,
                Wanted::Reload(asker) => asker,
                Wanted::Upgrade(order, asker) => {
                    match self.upgrade(path, &order) {
                        Ok(done) => {
                            let _ = asker.send(Ok(done.reply.clone()));
                            handed = Some(done);
                            break;
                        }
                        Err(Undone::Because(cause)) => drop(asker.send(Err(cause))),
                        Err(Undone::Stop) => {
                            let _ = asker.send(Err("the server is stopping".to_owned()));
                            break;
                        }
                    }
                    continue;
                }
            };
            self.manager.reloading();
            let reloaded = match self.reload(path) {
                Ok(reloaded) => Ok(reloaded),
                Err(Undone::Because(cause)) => Err(cause),
                Err(Undone::Stop) => {
                    if let Some(asker) = asker {
                        let _ = asker.send(Err("the server is stopping".to_owned()));
                    }
                    break;
                }
            };
            self.manager.ready(&match &reloaded {
                Ok(_) => status(&self.server),
                Err(cause) => format!("the old configuration goes on, the new one is wrong: {cause}"),
            });
            if let Some(asker) = asker {
                // The caller may have gone; the log has it, too.
                let _ = asker.send(reloaded);
            }
        }
        self.end(handed)
    }

    /// Accepts no more, and ends with the last connection; at a signal more, or after its time, before that.
    fn end(self, handed: Option<Handed>) -> Fallible<()> {
        let Self {
            mut server, control: _control, orders, log, before, manager, watchdog, main, _writer, ..
        } = self;
        let Main { mut signals, runtime, .. } = main;
        // An operator who orders now is told that the server is stopping.
        drop(orders);
        let cutter = server.cutter();
        let denied = server.view().denied;
        // First: a monitor that reads the line and asks whether we are ready hears no.
        let open = u64::from(server.stop_accepting());
        tracing::info!(event = "draining", open);
        let limit = server.drain_timeout();
        let (mut shorter, _watchdog) = match handed {
            // It is the other process that is watched from now on, and speaks.
            Some(Handed { line, drain_timeout, .. }) => {
                drop(watchdog);
                upgrade::follow(line, server.view(), cutter.clone(), log)?;
                (Some(drain_timeout), None)
            }
            None => {
                let until = format!("draining {open} connections for at most {} s", limit.as_secs());
                manager.stopping(limit, &until);
                before.tell(&SaidBetween::stop(limit));
                (None, watchdog)
            }
        };
        let (others, others_end) =
            (before.clone(), later(Instant::now(), limit.saturating_add(LAST_OF_BEFORE)));
        let (tell, drained) = oneshot::channel();
        let drain = std::thread::Builder::new().name("drain".to_owned()).spawn(move || {
            // Nobody listens only if this command is already ending.
            let drained = server.drain();
            // With the end of this process, a service manager ends what is left of those before.
            others.wait(others_end);
            let _ = tell.send(drained);
        })?;
        let drained = runtime.block_on(async {
            let mut drained = std::pin::pin!(drained);
            loop {
                tokio::select! {
                    result = &mut drained => break result,
                    asked = signals.next() => match asked {
                        // The first one to a process that has been replaced is the order to end.
                        Asked::Stop => {
                            let limit = shorter.take().unwrap_or_default();
                            cutter.within(limit);
                            before.tell(&SaidBetween::stop(limit));
                        }
                        Asked::Reload => {}
                    },
                }
            }
        });
        // If it panicked it has said so.
        let _ = drain.join();
        follow_clock(denied);
        if let Ok(drained) = drained {
            let [open, done, cut] = [drained.open, drained.done(), drained.cut].map(u64::from);
            tracing::info!(event = "stopped", open, done, cut);
        }
        Ok(())
    }
}

impl Running {
    /// What the main thread is to do next.
    fn next(&mut self) -> Wanted {
        let Self { orders, main: Main { signals, runtime, .. }, .. } = self;
        runtime.block_on(async {
            tokio::select! {
                asked = signals.next() => match asked {
                    Asked::Stop => Wanted::Stop,
                    Asked::Reload => Wanted::Reload(None),
                },
                // Without an admin socket nobody ever orders.
                Some(order) = orders.recv() => match order {
                    Order::Reload(asker) => Wanted::Reload(Some(asker)),
                    Order::Upgrade(order, asker) => Wanted::Upgrade(order, asker),
                },
            }
        })
    }
}

/// How long the end waits for the processes before, whose time is over by then.
const LAST_OF_BEFORE: Duration = Duration::from_secs(5);
/// How long the end waits for the state file.
const LAST_WRITE: Duration = Duration::from_secs(2);

/// The state file outlives this process, so the ends of its bans are to be right by the clock as it is now.
fn follow_clock(denied: Denied) {
    let (tell, done) = sync_channel::<()>(0);
    let write = move || {
        denied.follow_clock();
        drop(tell);
    };
    // A disk that does not answer is not waited for; the thread ends with the process.
    if std::thread::Builder::new().name("state".to_owned()).spawn(write).is_ok() {
        let _ = done.recv_timeout(LAST_WRITE);
    }
}

/// What the service manager shows as our state.
fn status(server: &Server) -> String {
    format!("listening on {} addresses", server.listening().len())
}

/// What the main thread is to do next.
enum Wanted {
    Stop,
    /// And whom to tell how it went.
    Reload(Option<oneshot::Sender<Result<Reloaded, String>>>),
    /// The same, for another process in this one's place.
    Upgrade(Upgrade, oneshot::Sender<Result<reply::Upgraded, String>>),
}

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Stop,
    Reload,
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    orphans: Orphans,
    /// A reload was asked for while another one was reading.
    again: bool,
}

impl Signals {
    fn watch() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            orphans: Orphans::watch()?,
            again: false,
        })
    }

    async fn next(&mut self) -> Asked {
        if std::mem::take(&mut self.again) {
            return Asked::Reload;
        }
        tokio::select! {
            _ = self.terminate.recv() => Asked::Stop,
            _ = self.interrupt.recv() => Asked::Stop,
            _ = self.hangup.recv() => Asked::Reload,
            never = self.orphans.reap() => match never {},
        }
    }
}

#[expect(clippy::print_stderr, reason = "a command speaks to its user")]
fn complain(text: &str) {
    eprintln!("{text}");
}
