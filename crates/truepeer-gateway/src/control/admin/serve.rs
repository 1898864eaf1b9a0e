//! The server's end of the admin socket: one request, one answer, then the end; `feed` takes over where one goes on.
//!
//! Bounds: [`MAX_OPERATORS`] at once, of whom the slow make room; [`MAX_REQUEST`] bytes of request, [`REQUEST_TIME`]
//! for it and [`ANSWER_TIME`] for the answer. A list of connections is written line by line and never held as a whole
//! text.

use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use serde::Serialize;
use tokio::io::{AsyncWriteExt, BufReader, BufWriter};
use tokio::net::UnixStream;
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::lines::{read_line, refusal, say};
use super::reply::Done;
use super::{
    ANSWER_TIME, AdminContext, Filter, MAX_FEEDS, MAX_REQUEST, Order, REQUEST_TIME, Request, UPGRADE_MARGIN,
    Upgrade, before, deny, feed, look, reply, report, why,
};
use crate::control::places::{Place, Places, Stage};
use crate::engine::{AcceptPause, Acceptor, Stream};
use crate::facts::machine::MAX_OPERATORS;
use crate::rooms::bans::HANDED_OVER;

/// Told to the one who loses the place.
const DISPLACED: &[u8] =
    b"{\"ok\":false,\"error\":\"too many ask at once, and this request was not finished: ask again\"}\n";

/// Places for clients and feeds, shared by all places where the socket is or was: a feed outlives a move.
#[derive(Debug, Clone)]
pub(crate) struct AdminPlaces {
    clients: Places,
    feeds: Arc<Semaphore>,
    presence: watch::Receiver<Presence>,
}

/// Whether the latest configuration has an admin socket anywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    /// It has.
    Somewhere,
    /// It has none any more.
    Nowhere,
    /// Another process has it.
    Elsewhere,
}

impl AdminPlaces {
    /// Nobody is in it; feeds end when `presence` does.
    pub(crate) fn new(presence: watch::Receiver<Presence>) -> Self {
        Self { clients: Places::new(MAX_OPERATORS), feeds: Arc::new(Semaphore::new(MAX_FEEDS)), presence }
    }
}

/// Answers anyone who connects, until `until` is over and those who have asked by then are answered.
///
/// # Cancel safety
/// Dropping the future ends every answer.
pub(crate) async fn serve(
    acceptor: Acceptor,
    desk: AdminContext,
    room: AdminPlaces,
    until: impl Future<Output = ()>,
) {
    let mut clients = JoinSet::new();
    tokio::select! {
        () = accept(acceptor, desk, room, &mut clients) => {}
        () = until => {}
    }
    while clients.join_next().await.is_some() {}
}

async fn accept(acceptor: Acceptor, desk: AdminContext, room: AdminPlaces, clients: &mut JoinSet<()>) {
    let mut pause = AcceptPause::default();
    loop {
        while clients.try_join_next().is_some() {}
        match acceptor.accept().await {
            Ok(arrival) => {
                pause.succeeded();
                // One waits here, the others in the kernel.
                let place = room.clients.take().await;
                let (desk, room) = (desk.clone(), room.clone());
                // Without it there is nobody to answer.
                let Ok(stream) = arrival.socket.into_stream() else { continue };
                clients.spawn(async move {
                    if let Stream::Unix(mut stream) = stream {
                        tokio::select! {
                            // A client that does not listen any more misses the answer; nothing else is lost.
                            _ = attend(&mut stream, &desk, &room, &place) => return,
                            () = place.needed() => {}
                        }
                        // A word that finds no room is no reason to stay.
                        let _ = stream.try_write(DISPLACED);
                    }
                });
            }
            Err(error) => {
                if let Some(wait) = pause.after(&error) {
                    AcceptPause::wait(wait).await;
                }
            }
        }
    }
}

async fn attend(
    stream: &mut UnixStream,
    desk: &AdminContext,
    room: &AdminPlaces,
    place: &Place,
) -> io::Result<()> {
    let (read, write) = stream.split();
    let mut read = BufReader::with_capacity(MAX_REQUEST, read);
    let mut write = BufWriter::new(write);
    let request = match timeout(REQUEST_TIME, read_line(&mut read)).await {
        Err(_) => Err("no request came in time".to_owned()),
        Ok(Err(error)) => return Err(error),
        Ok(Ok(line)) => line.and_then(|line| Request::parse(&line)),
    };
    // A feed has no end of its own, so its answers have their time one by one.
    let feed = match request {
        Ok(Request::Feed(open)) => Some((open, room.feeds.try_acquire())),
        _ => None,
    };
    if let Some((open, Ok(_permit))) = feed {
        place.reached(Stage::Working);
        return feed::serve(&mut read, &mut write, desk, open, room.presence.clone()).await;
    }
    // Who comes in this moment is told to ask again: then it is the other process that hears.
    let request = match request {
        Ok(Request::Reload | Request::Upgrade(_) | Request::Deny(..) | Request::Undeny(_))
            if desk.view.denied.is_handed_over() =>
        {
            Err(HANDED_OVER.to_owned())
        }
        request => request,
    };
    let time = match &request {
        Ok(Request::Upgrade(upgrade)) => upgrade.wait.saturating_add(UPGRADE_MARGIN),
        _ => ANSWER_TIME,
    };
    place.reached(match request {
        Ok(Request::Reload | Request::Upgrade(_) | Request::Deny(..) | Request::Undeny(_)) => Stage::Working,
        _ => Stage::Answered,
    });
    let answered = async {
        match request {
            Ok(Request::Connections(filter)) => connections(&mut write, desk, filter).await?,
            Ok(Request::Status) => {
                say(&mut write, &Done::well(report::status(&desk.view, &desk.before, SystemTime::now())))
                    .await?;
            }
            Ok(Request::Reload) => {
                let answer = reload(desk).await;
                place.reached(Stage::Answered);
                say_either(&mut write, answer).await?;
            }
            Ok(Request::Upgrade(upgrade)) => {
                let answer = self::upgrade(desk, upgrade).await;
                place.reached(Stage::Answered);
                say_either(&mut write, answer).await?;
            }
            Ok(Request::Deny(order, open)) => {
                let answer = deny::deny(desk, order, open).await;
                place.reached(Stage::Answered);
                say_either(&mut write, answer).await?;
            }
            Ok(Request::Undeny(network)) => {
                let answer = deny::undeny(desk, network).await;
                place.reached(Stage::Answered);
                say_either(&mut write, answer).await?;
            }
            Ok(Request::Feed(_)) => {
                let full = format!("{MAX_FEEDS} feeds are open already, which is the most: end one of them");
                say(&mut write, &refusal(full)).await?;
            }
            Ok(Request::Page(page)) => {
                say(&mut write, &Done::well(look::connections(&desk.view.registry, &page).await)).await?;
            }
            Ok(Request::Clients(page)) => {
                let arrivals = &desk.view.recent().arrivals;
                let clients = look::clients(&desk.view.registry, arrivals, &page).await;
                say(&mut write, &Done::well(clients)).await?;
            }
            Ok(Request::Refusals(after)) => {
                say(&mut write, &Done::well(look::refusals(&desk.view.recent().refusals, after))).await?;
            }
            Ok(Request::Why(subject)) => {
                say_either(&mut write, why::why(&desk.view, &subject).map(Done::well)).await?;
            }
            Ok(Request::Denied) => {
                let now = SystemTime::now();
                let bans = desk.view.denied.list();
                for ban in &bans {
                    say(&mut write, &reply::Ban::of(ban, now)).await?;
                }
                say(&mut write, &Done::well(reply::Bans { denied: bans.len() })).await?;
            }
            Err(error) => say(&mut write, &refusal(error)).await?,
        }
        write.flush().await
    };
    timeout(time, answered).await?
}

/// A line for each connection, and one that says how many there were: without it the list is not whole.
async fn connections(
    write: &mut (impl AsyncWriteExt + Unpin),
    desk: &AdminContext,
    filter: Filter,
) -> io::Result<()> {
    let now = SystemTime::now();
    let mut connections = 0_u64;
    for entry in desk.view.registry.list() {
        if filter.admits(&entry) {
            say(write, &report::connection(&entry, now)).await?;
            connections = connections.saturating_add(1);
        }
    }
    let (more, unheard) = before::pass_on(write, &desk.before, &Request::Connections(filter)).await?;
    let connections = connections.saturating_add(more);
    say(write, &Done::well(reply::Connections { connections, unheard })).await
}

async fn reload(desk: &AdminContext) -> Result<Done<reply::Reloaded>, String> {
    let reloaded = carried_out(desk, Order::Reload, ("another reload", "nothing was reloaded")).await?;
    Ok(Done::well(reply::Reloaded {
        listening: reloaded.listening.iter().map(reply::Bound::from).collect(),
        advice: reloaded.advice.iter().map(reply::Advice::from).collect(),
        restart_for: reloaded.restart_for,
    }))
}

async fn upgrade(desk: &AdminContext, upgrade: Upgrade) -> Result<Done<reply::Upgraded>, String> {
    let order = |tell| Order::Upgrade(upgrade, tell);
    carried_out(desk, order, ("a reload or an upgrade", "nothing was upgraded")).await.map(Done::well)
}

/// Has the main thread carry out `order`; `words` are for when it is busy, and when it ends before. One that was waiting
/// when another process took this one's place is that one's to carry out.
async fn carried_out<T>(
    desk: &AdminContext,
    order: impl FnOnce(oneshot::Sender<Result<T, String>>) -> Order,
    (busy, undone): (&str, &str),
) -> Result<T, String> {
    let (tell, told) = oneshot::channel();
    let why_not = |why: String| if desk.view.denied.is_handed_over() { HANDED_OVER.to_owned() } else { why };
    let sent = desk.orders.try_send(order(tell));
    sent.map_err(|_| why_not(format!("the server is stopping, or busy with {busy}: ask again")))?;
    told.await.map_err(|_| why_not(format!("the server is stopping: {undone}")))?
}

async fn say_either(
    write: &mut (impl AsyncWriteExt + Unpin),
    answer: Result<impl Serialize, String>,
) -> io::Result<()> {
    match answer {
        Ok(answer) => say(write, &answer).await,
        Err(why) => say(write, &refusal(why)).await,
    }
}
