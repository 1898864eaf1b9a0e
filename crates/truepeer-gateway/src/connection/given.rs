//! A client whose very connection is given to a program: no relay, and nothing of ours in between.
//!
//! Called by the walk in place of connecting and relaying. Whatever the client sends from now on is the program's to
//! judge; what is there already is looked at once, so that a proxy that sends two headers is told, and a client that
//! forges one is turned away before anything is started for it.

use std::sync::Arc;
use std::time::Instant;

use truepeer::{ClientIdentity, FirstBytes, HeaderReader, Verdict};

use crate::connection::met::Met;
use crate::connection::{misfit, speak};
use crate::door::{Door, OwnPermit, WorkerContext};
use crate::engine::label::NotSaid;
use crate::engine::program::{Running, With};
use crate::engine::{self, Reading, Received, Socket, receive_as};
use crate::facts::outcome::Outcome;
use crate::facts::program::Exit;
use crate::rooms::backend::{Exec, Pool, Reached, connect};
use crate::rooms::handoff::Introduction;
use crate::rooms::identify;
use crate::rooms::limits::Permit;
use crate::rooms::record::Ended;

/// How a client meets its backend.
pub(crate) enum Meeting {
    /// Over a second connection: what the relay needs.
    Relayed(Met),
    /// By its own: it is given away.
    GivenAway(GivenAway),
}

/// A client that a program has.
pub(crate) struct GivenAway {
    running: Running,
    /// What counts it until the program ends.
    _counted: (Option<OwnPermit>, Option<Permit>),
}

/// Who is at the client's end.
pub(super) struct Client<'a> {
    pub(super) socket: Socket,
    pub(super) identity: &'a ClientIdentity,
    /// When a header would have had to be there.
    pub(super) header_deadline: Instant,
    /// What counts it.
    pub(super) counted: (Option<OwnPermit>, Option<Permit>),
}

/// Gives `client` to a program of `exec`; `id` is its connection's, `presumed` whether it is taken for the client for want
/// of a header.
///
/// # Errors
/// How the connection ends without one.
pub(super) async fn give(
    client: Client<'_>,
    (pool, exec): (&Pool, &Exec),
    introduction: Introduction,
    (id, presumed): (&str, bool),
    door: &Door,
    desk: &WorkerContext,
) -> Result<GivenAway, Ended> {
    no_second_header(&client, presumed, door).await?;
    let Client { socket, identity, counted, .. } = client;
    let with = {
        let (backend, id) = (pool.backend.id.clone(), Arc::<str>::from(id));
        move |slot| With {
            holds: Box::new(slot),
            said: Box::new(move |line: &str| {
                let (backend, id) = (&*backend, &*id);
                tracing::info!(event = "program_said", backend, id, line);
            }),
        }
    };
    match connect::to_program(pool, exec, &introduction, &socket, with).await {
        Ok(running) => {
            // A UNIX socket names nobody, and so nobody wrong.
            if let Some(why) = running.not_said().filter(|why| **why != NotSaid::NoAddress) {
                pool.note_unlabelled(&why.to_string());
            }
            Ok(GivenAway { running, _counted: counted })
        }
        Err(failure) => {
            let ended = misfit::not_connected(pool, &failure);
            speak::not_connected(socket, door, desk, identity, &failure).await;
            Err(ended)
        }
    }
}

/// Looks at what is there, without waiting for more.
async fn no_second_header(client: &Client<'_>, presumed: bool, door: &Door) -> Result<(), Ended> {
    let Client { socket, identity, header_deadline: deadline, .. } = client;
    let mut first = Vec::new();
    let now = engine::now();
    match receive_as(Reading::Exactly, socket, &mut first, now, None).await {
        Received::Failed(_) => return Err(Outcome::ClientFailed.into()),
        Received::Bytes(_) | Received::Ended | Received::Expired | Received::Evicted => {}
    }
    let own_header = door.pool_for(identity).backend.handoff.facts().own_header;
    if !matches!(FirstBytes::new(own_header, *deadline).inspect(&first, now), Verdict::Header(_)) {
        return Ok(());
    }
    // Read on within the header's cap and deadline, only to say what it was.
    let reader = HeaderReader::new(door.listener.header.clone(), identity.peer(), *deadline);
    let found = identify::read_on(socket, Reading::Exactly, &reader, first).await;
    Err(misfit::second_header(&door.listener.id, presumed, identity, &found))
}

impl GivenAway {
    /// Whom the connection was given to; what a cut of it ends is with it.
    pub(super) fn reached(&self, pool: &Pool, exec: &Exec) -> Arc<Reached> {
        let (backend, address) = (Arc::clone(&pool.backend.id), exec.program.to_string().into());
        Arc::new(Reached { backend, address, program: Some(self.running.life()) })
    }

    /// Waits until the program has ended; returns how it did, and what that makes of the connection.
    pub(super) async fn ended(self) -> (Option<Exit>, Outcome) {
        let exit = self.running.ended().await;
        let outcome = match exit {
            // What a status means is the program's affair: many say how their client behaved.
            Some(Exit::Status(_)) => Outcome::Done,
            Some(Exit::Signal(_)) => Outcome::BackendFailed,
            None => Outcome::Internal,
        };
        (exit, outcome)
    }
}
