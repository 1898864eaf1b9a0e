//! What we say ourselves: a refusal to a client, an answer to a proxy's own connection.
//!
//! The words are `refuse`'s and `answer`'s; this brings them onto the wire. Into TLS that passes through, nothing is
//! ever written in plain text.

use std::time::Duration;

use truepeer::ClientIdentity;

use crate::door::{Door, WorkerContext};
use crate::engine::{self, Received, Socket};
use crate::facts::address::ClientIp;
use crate::facts::outcome::Outcome;
use crate::facts::protocol::ClientTls;
use crate::rooms::backend::connect::NotConnected;
use crate::rooms::own::{Answer, Asker, BackendState, Then};
use crate::rooms::refuse::{Reason, Refusal, refuse};

/// How long one of the proxy's own connections may last: a check takes milliseconds.
const OWN_LIMIT: Duration = Duration::from_secs(60);

/// Tells a client in its own protocol why it is turned away.
pub(crate) async fn turn_away(
    client: Socket,
    door: &Door,
    desk: &WorkerContext,
    identity: &ClientIdentity,
    why: Reason,
) {
    let listener = &*door.listener;
    if listener.tls == ClientTls::Implicit {
        return;
    }
    let refusal = Refusal {
        why,
        hostname: &door.hostname,
        client: identity.client().map(ClientIp::from),
        text: listener.refusal_text.as_ref(),
    };
    if let Some(words) = refuse(listener.protocol, &refusal) {
        engine::say_and_close(client, &words, Some(&desk.lingering)).await;
    }
}

/// Tells a client why no backend is connected with it: in the backend's own words, if it turned this client away.
pub(crate) async fn not_connected(
    client: Socket,
    door: &Door,
    desk: &WorkerContext,
    identity: &ClientIdentity,
    failure: &NotConnected,
) {
    match &failure.words {
        Some(words) => engine::say_and_close(client, words, Some(&desk.lingering)).await,
        None => turn_away(client, door, desk, identity, Reason::BackendUnavailable).await,
    }
}

/// Answers one of the proxy's own connections; no byte of it reaches a backend.
pub(crate) async fn answer(client: Socket, early: Vec<u8>, door: &Door) -> Outcome {
    let listener = &*door.listener;
    if listener.tls == ClientTls::None {
        let open = door.is_open_for_clients();
        let backend = if open { BackendState::Reachable } else { BackendState::Unreachable };
        let dialogue = Answer::new(listener.protocol, &door.hostname, backend, Asker::Proxy);
        if converse(client, early, dialogue, OWN_LIMIT).await == OtherEnd::Client {
            return Outcome::OwnNoCheck;
        }
    }
    Outcome::OwnAnswered
}

/// Who was at the other end, as far as it shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OtherEnd {
    /// Somebody who says what checks say.
    Check,
    /// Somebody who began to send mail or to log in.
    Client,
}

/// Speaks until either side ends it, or `limit` has passed; `early` is what was received already.
pub(crate) async fn converse(
    client: Socket,
    early: Vec<u8>,
    mut dialogue: Answer,
    limit: Duration,
) -> OtherEnd {
    speak(client, early, &mut dialogue, limit).await;
    if dialogue.heard_a_client() { OtherEnd::Client } else { OtherEnd::Check }
}

async fn speak(client: Socket, early: Vec<u8>, dialogue: &mut Answer, limit: Duration) {
    let deadline = engine::later(engine::now(), limit);
    if let Some(greeting) = dialogue.greeting()
        && engine::say(&client, &greeting, deadline).await.is_err()
    {
        return;
    }
    let mut then = dialogue.after_greeting();
    let mut heard = early;
    while then == Then::GoOn {
        let reply = dialogue.receive(&heard);
        then = reply.then;
        heard.clear();
        if engine::say(&client, &reply.bytes, deadline).await.is_err() {
            return;
        }
        if then == Then::GoOn {
            let Received::Bytes(_) = engine::receive(&client, &mut heard, deadline, None).await else {
                return;
            };
        }
    }
    // A client that was quicker to send than we to end it hears the last words all the same.
    engine::say_and_close(client, &[], None).await;
}
