//! A reload: the whole configuration again, all of it or nothing.

use std::path::{Path, PathBuf};

use super::{Main, Running, Undone, aside};
use crate::config::{self, Advice, Colour, Config, Loaded, Readable};
use crate::control::admin::Reloaded;
use crate::control::predecessors::Predecessors;
use crate::control::succession::Said as SaidBetween;
use crate::facts::lines::LogTarget;
use crate::observe::log::Destination;

/// Settings that a reload cannot change.
pub(super) struct AtStart {
    server: config::ServerSettings,
    /// `admin.state`: what is denied was read from there.
    state: Option<PathBuf>,
}

impl AtStart {
    pub(super) fn of(config: &Config) -> Self {
        Self { server: config.server.clone(), state: config.admin.state.clone() }
    }

    /// The keys that `config` has otherwise.
    fn changed(&self, config: &Config) -> Vec<String> {
        let (had, has) = (&self.server, &config.server);
        let changes = [
            ("admin.state", self.state != config.admin.state),
            ("server.max-connections", had.max_connections != has.max_connections),
            ("server.proxy.max-pending", had.max_pending != has.max_pending),
            ("server.label-pins", had.label_pins != has.label_pins),
            ("limits.max-clients", had.max_clients != has.max_clients),
        ];
        changes.into_iter().filter(|(_, changed)| *changed).map(|(key, _)| key.to_owned()).collect()
    }
}

impl Running {
    /// Reads the configuration again and takes it as a whole; a bad one changes nothing and says why.
    pub(super) fn reload(&mut self, path: Option<&Path>) -> Result<Reloaded, Undone> {
        let Self { server, control, log, said, at_start, before, main, .. } = self;
        let open = |main: &mut Main, target: LogTarget| match main
            .errand(aside::LOG, move || Destination::open(&target))
        {
            Ok(opened) => Ok(opened.map_err(|error| error.to_string())),
            Err(Undone::Because(cause)) => Ok(Err(cause)),
            Err(Undone::Stop) => Err(Undone::Stop),
        };
        // First, and whatever becomes of the configuration: who rotates the log waits for it.
        let mut not_logged = match log.file() {
            Some(file) => log.go_on_in(open(main, file)?).err(),
            None => None,
        };
        reopen_of_others(main, before)?;
        let failed = |cause: String| {
            let remedy = "the old configuration goes on; `truepeer check` shows what is wrong";
            tracing::error!(event = "reload_failed", cause, remedy);
            Undone::Because(cause)
        };
        let path = path.map(Path::to_owned);
        let read = move || config::load_from(path.as_deref(), Readable::Files);
        let loaded = main.errand(aside::CONFIG, read).map_err(|why| match why {
            Undone::Because(cause) => failed(cause),
            Undone::Stop => Undone::Stop,
        })?;
        let Loaded { config, .. } = loaded.map_err(|errors| failed(errors.render(Colour::Plain)))?;
        let destination = match log.elsewhere(&config.log) {
            Some(target) => Some(open(main, target)?.map_err(failed)?),
            None => None,
        };
        // An address may go from one to the other: both listen there for a moment, so that nobody is refused.
        let sockets = control
            .prepare(&config, server.given(), &server.leaving(&config))
            .map_err(|error| failed(error.to_string()))?;
        let leaving = server
            .take_beside(&config, &control.leaving(&config))
            .map_err(|error| failed(error.to_string()))?;
        control.take(sockets);
        drop(leaving);
        if let Err(error) = control.share(&config) {
            let (trouble, cause) = ("thread", error.to_string());
            tracing::warn!(event = "shared_lost", trouble, cause);
        }
        not_logged = log.take(&config.log, destination).err().or(not_logged);

        let advice = server.advice();
        said.advice(&advice);
        said.addresses(server, control);
        for address in server.unused(&config) {
            let remedy = "clients wait there unanswered: remove it from the socket unit, and restart";
            tracing::warn!(event = "given_socket_unused", address, remedy);
        }
        let restart_for = at_start.changed(&config);
        for key in &restart_for {
            let advice = "it is read at start only: restart to apply the change";
            tracing::warn!(event = "advice", key, advice);
        }
        tracing::info!(event = "reloaded");
        let about_log = not_logged.map(|text| Advice { key: "log.file".to_owned(), line: None, text });
        let advice = advice.into_iter().chain(about_log).collect();
        Ok(Reloaded { listening: server.listening(), advice, restart_for })
    }
}

/// Has the processes before this one open their log anew, and waits for them: whoever rotates the log may compress the
/// file that was moved away as soon as the reload is answered.
fn reopen_of_others(main: &mut Main, before: &Predecessors) -> Result<(), Undone> {
    let all = before.clone();
    let told = match main.errand(aside::BEFORE, move || all.have_done(&SaidBetween::Reopen)) {
        Ok(told) => told.map_err(|error| error.to_string()),
        Err(Undone::Because(cause)) => Err(cause),
        Err(Undone::Stop) => return Err(Undone::Stop),
    };
    if let Err(cause) = told {
        let remedy = "the processes before this one may write to the log that was moved away: reload again";
        tracing::warn!(event = "predecessor_deaf", cause, remedy);
    }
    Ok(())
}
