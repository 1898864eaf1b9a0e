//! A client whose very connection is given to a program: no relay, and nothing of ours in between.
//!
//! Called by the walk in place of connecting and relaying. Whatever the client sends from now on is the program's to
//! judge; what is there already is looked at once, so that a proxy that sends two headers is told, and a client that
//! forges one is turned away before anything is started for it.

use std::time::Instant;

use truepeer::{ClientIdentity, FirstBytes, HeaderReader, PeerAddress, Verdict};

use crate::connection::met::Met;
use crate::connection::{misfit, speak};
use crate::door::{Door, OwnPermit, WorkerContext};
use crate::engine::program::{Running, With};
use crate::engine::{self, Reading, Received, Socket, receive_as};
use crate::facts::lines::ConnectionLines;
use crate::facts::outcome::Outcome;
use crate::facts::program::Exit;
use crate::observe::record::{Observer, start_line};
use crate::rooms::backend::{Exec, Pool, connect};
use crate::rooms::handoff::Introduction;
use crate::rooms::identify;
use crate::rooms::limits::Permit;

/// How a client meets its backend.
pub(super) enum Meeting {
    /// Over a second connection: what the relay needs.
    Relayed(Box<Met>),
    /// By its own: it is given away.
    Given(Given),
}

/// A client that a program has.
pub(super) struct Given {
    running: Running,
    /// What counts it until the program ends.
    _counted: (Option<OwnPermit>, Option<Permit>),
}

/// Who is at the client's end.
pub(super) struct Client {
    pub(super) socket: Socket,
    pub(super) peer: PeerAddress,
    pub(super) identity: ClientIdentity,
    /// When a header would have had to be there.
    pub(super) header_deadline: Instant,
    /// What counts it.
    pub(super) counted: (Option<OwnPermit>, Option<Permit>),
}

/// Gives `client` to a program of `exec`.
///
/// # Errors
/// How the connection ends without one.
pub(super) async fn give(
    client: Client,
    pool: &Pool,
    exec: &Exec,
    introduction: Introduction,
    door: &Door,
    desk: &WorkerContext,
    seen: &mut Observer,
) -> Result<Given, Outcome> {
    let Client { socket, peer, identity, header_deadline, counted } = client;
    no_second_header(&socket, peer, &identity, header_deadline, door, seen).await?;
    let record = &mut seen.record;
    let with = {
        let (backend, id) = (pool.backend.id.clone(), record.entry.id.clone());
        move |slot| With {
            holds: Box::new(slot),
            said: Box::new(move |line: &str| {
                let (backend, id) = (&*backend, &*id);
                tracing::info!(event = "program_said", backend, id, line);
            }),
        }
    };
    let given = connect::to_program(pool, exec, &introduction, &socket, with).await;
    let running = match given {
        Ok(running) => running,
        Err(failure) => {
            misfit::not_connected(record, pool, &failure);
            speak::not_connected(socket, door, desk, &identity, &failure).await;
            return Err(failure.outcome);
        }
    };
    record.reached(&pool.backend.id, exec.program.to_string());
    record.entry.given_to(running.life());
    if door.listener.lines == ConnectionLines::Both {
        desk.log.line(|format| start_line(record, format, engine::wall()));
    }
    Ok(Given { running, _counted: counted })
}

/// Looks at what is there, without waiting for more.
async fn no_second_header(
    client: &Socket,
    peer: PeerAddress,
    identity: &ClientIdentity,
    deadline: Instant,
    door: &Door,
    seen: &mut Observer,
) -> Result<(), Outcome> {
    let mut first = Vec::new();
    let now = engine::now();
    match receive_as(Reading::Exactly, client, &mut first, now, None).await {
        Received::Failed(_) => return Err(Outcome::ClientFailed),
        Received::Bytes(_) | Received::Ended | Received::Expired | Received::Evicted => {}
    }
    let own_header = door.pool_for(identity).backend.handoff.facts().own_header;
    if !matches!(FirstBytes::new(own_header, deadline).inspect(&first, now), Verdict::Header(_)) {
        return Ok(());
    }
    // Read on within the header's cap and deadline, only to say what it was.
    let reader = HeaderReader::new(door.listener.header.clone(), peer, deadline);
    let found = identify::read_on(client, Reading::Exactly, &reader, first).await;
    Err(misfit::second_header(&mut seen.record, identity, &found))
}

impl Given {
    /// Waits until the program has ended.
    pub(super) async fn ended(self, seen: &mut Observer) -> Outcome {
        let begun = engine::now();
        let exit = self.running.ended().await;
        let record = &mut seen.record;
        record.times.relay = Some(engine::now().saturating_duration_since(begun));
        record.exit = exit;
        match exit {
            // What a status means is the program's affair: many say how their client behaved.
            Some(Exit::Status(_)) => Outcome::Done,
            Some(Exit::Signal(_)) => Outcome::BackendFailed,
            None => Outcome::Internal,
        }
    }
}
