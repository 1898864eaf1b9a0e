//! `truepeer run`: serve until told to stop.

mod moves;
mod orphans;
mod reading;
mod reload;
mod said;

use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tracing_subscriber::layer::SubscriberExt;

use crate::cli::{FAILED, NOT_STARTED};
use crate::config::{self, Colour, Config, Loaded, Origin};
use crate::control::admin::{Order, Reloaded};
use crate::control::manager::{Manager, Watchdog};
use crate::control::{Control, Sockets};
use crate::engine::Given;
use crate::facts::bind::Bind;
use crate::observe::log::{Configured, Events, Refusals, Writer};
use crate::rooms::bans::denied::Denied;
use crate::server::Server;
use orphans::Orphans;
use reading::{NotRead, Reading};
use reload::AtStart;
use said::Said;

/// Serves with the configuration at `path`, or the default one.
pub(super) fn run(path: Option<&Path>) -> ExitCode {
    let Loaded { config, origin } = match config::load(path) {
        Ok(loaded) => loaded,
        Err(errors) => {
            complain(&errors.render(Colour::for_stderr()));
            return ExitCode::from(FAILED);
        }
    };
    match start(&config, &origin).and_then(|running| running.serve(path)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("error: {error}"));
            ExitCode::from(NOT_STARTED)
        }
    }
}

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

/// A server, and what tells it to stop.
struct Running {
    server: Server,
    /// Answers while the server drains, too.
    control: Control,
    calls: Calls,
    at_start: AtStart,
    /// The addresses of the latest configuration.
    binds: Vec<(String, Bind)>,
    /// A reading that may hang.
    reading: Reading,
    said: Said,
    log: Configured,
    manager: Manager,
    /// Ends with the process: a drain is to be seen alive, too.
    watchdog: Option<Watchdog>,
    runtime: Runtime,
    /// Dropped last: writes out what is queued.
    _writer: Writer,
}

fn start(config: &Config, origin: &Origin) -> Fallible<Running> {
    let given = Given::take()?;
    let manager = Manager::of_this_process().map_err(|error| format!("NOTIFY_SOCKET: {error}"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (log, writer) = Configured::start(&config.log, Refusals::Fold)?;
    let events = tracing_subscriber::registry().with(Events::new(log.log().clone()));
    tracing::subscriber::set_global_default(events)?;
    if matches!(origin, Origin::Demonstration) {
        tracing::info!(event = "demonstration", "demonstration on loopback: no mail is served");
    }
    let mut said = Said::default();
    said.advice(&config.advice);
    // Watched before anything listens, so that no signal finds the default action.
    let signals = {
        let _context = runtime.enter();
        Signals::watch()?
    };
    given.check(&config::binds(config))?;
    let sockets = Sockets::bind(config, &given)?;
    let mut server = Server::start_given(config, log.log(), given)?;
    // Once more, with what only the sockets show.
    said.advice(&server.advice());
    let (control, orders) = sockets.serve(server.view())?;
    said.addresses(&server, &control);
    tracing::info!(event = "ready");
    manager.ready(&status(&server));
    let watchdog = match (server.take_pulse(), Manager::patience()) {
        (Some(pulse), Some(patience)) => Some(Watchdog::start(pulse, manager.clone(), patience)?),
        _ => None,
    };
    let at_start = AtStart::of(config);
    let binds = config::binds(config);
    let calls = Calls { signals, orders };
    Ok(Running {
        server,
        control,
        calls,
        at_start,
        binds,
        reading: Reading::default(),
        said,
        log,
        manager,
        watchdog,
        runtime,
        _writer: writer,
    })
}

impl Running {
    /// Serves until the first signal to stop, then drains; a second one ends the drain.
    fn serve(mut self, path: Option<&Path>) -> Fallible<()> {
        while let Wanted::Reload(asker) = self.runtime.block_on(self.calls.next()) {
            self.manager.reloading();
            let reloaded = match self.reload(path) {
                Ok(reloaded) => Ok(reloaded),
                Err(NotRead::Because(cause)) => Err(cause),
                Err(NotRead::Stop) => {
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
                // Whoever asked may have gone; the log has it, too.
                let _ = asker.send(reloaded);
            }
        }
        let Self {
            mut server,
            control: _control,
            calls,
            at_start: _,
            binds: _,
            reading: _,
            said: _,
            log: _,
            manager,
            watchdog: _watchdog,
            runtime,
            _writer,
        } = self;
        // Whoever orders now is told that the server is stopping.
        let Calls { mut signals, orders } = calls;
        drop(orders);
        let cutter = server.cutter();
        let denied = server.view().denied;
        // First: whoever reads the line and asks whether we are ready hears no.
        let open = u64::from(server.stop_accepting());
        tracing::info!(event = "draining", open);
        let drain_timeout = server.drain_timeout();
        let until = format!("draining {open} connections for at most {} s", drain_timeout.as_secs());
        manager.stopping(drain_timeout, &until);
        let (tell, drained) = oneshot::channel();
        let drain = std::thread::Builder::new().name("drain".to_owned()).spawn(move || {
            // Nobody listens only if this command is already ending.
            let _ = tell.send(server.drain());
        })?;
        let drained = runtime.block_on(async {
            let mut drained = std::pin::pin!(drained);
            loop {
                tokio::select! {
                    result = &mut drained => break result,
                    asked = signals.next() => if asked == Asked::Stop { cutter.cut() },
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
}

/// Where it hears that.
struct Calls {
    signals: Signals,
    orders: mpsc::Receiver<Order>,
}

impl Calls {
    async fn next(&mut self) -> Wanted {
        tokio::select! {
            asked = self.signals.next() => match asked {
                Asked::Stop => Wanted::Stop,
                Asked::Reload => Wanted::Reload(None),
            },
            // Without an admin socket nobody ever orders.
            Some(Order::Reload(asker)) = self.orders.recv() => Wanted::Reload(Some(asker)),
        }
    }
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
            never = self.orphans.bury() => match never {},
        }
    }
}

#[expect(clippy::print_stderr, reason = "a command speaks to its user")]
fn complain(text: &str) {
    eprintln!("{text}");
}
