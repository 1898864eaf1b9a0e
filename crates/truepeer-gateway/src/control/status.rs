//! The status port: numbers and readiness over HTTP, for monitoring and for balancers that ask, and a page for people.
//!
//! Read-only: it is given a [`View`] and nothing else, so that nothing can be ordered here; addresses of clients are told
//! only where the configuration says so. Served on the control thread to anyone who connects, so everything is bounded:
//! connections at once, the bytes of a request's head, and the time that one connection may take. Who is slow makes room
//! for the next one. Open pages have places of their own, and keep no check out.

mod answer;

use std::cell::RefCell;
use std::convert::Infallible;
use std::pin::pin;
use std::time::Duration;

use hyper::body::Bytes;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use crate::control::page::{Pages, Seat};
use crate::control::places::{Place, Places, Stage};
use crate::engine::{AcceptPause, Acceptor, Stream};
use crate::facts::machine::MAX_MONITORS;
use crate::server::View;

pub(super) use answer::Hosts;

/// From accept until the request's head must be there.
const HEAD_TIME: Duration = Duration::from_secs(3);
/// For a whole connection, which is one request; not for an open page.
const CONNECTION_TIME: Duration = Duration::from_secs(10);
/// Bytes of a request's head.
const MAX_HEAD: usize = 16 * 1024;
/// What the kernel keeps of an answer that is not taken; it keeps twice as much, for itself.
const SEND_BUFFER: usize = 16 * 1024;

/// Places for connections, shared by all addresses; the next one takes the place of one that has not asked.
#[derive(Debug, Clone)]
pub(crate) struct StatusPlaces(Places);

impl Default for StatusPlaces {
    fn default() -> Self {
        Self(Places::new(MAX_MONITORS))
    }
}

/// What answers are made from.
#[derive(Debug, Clone)]
pub(crate) struct StatusContext {
    /// The server.
    pub(crate) view: View,
    /// What open pages share.
    pub(crate) pages: Pages,
    /// Which names the page is asked for by.
    pub(crate) hosts: Hosts,
}

/// Answers anyone who connects, until `until` is over and those who have asked by then are answered; open pages end.
///
/// # Cancel safety
/// Dropping the future ends every answer.
pub(crate) async fn serve(
    acceptor: Acceptor,
    context: StatusContext,
    room: StatusPlaces,
    until: impl Future<Output = ()>,
) {
    let mut connections = JoinSet::new();
    let (open, ending) = watch::channel(());
    tokio::select! {
        () = accept(acceptor, context, room, &mut connections, ending) => {}
        () = until => {}
    }
    drop(open);
    while connections.join_next().await.is_some() {}
}

async fn accept(
    acceptor: Acceptor,
    context: StatusContext,
    room: StatusPlaces,
    connections: &mut JoinSet<()>,
    ending: watch::Receiver<()>,
) {
    let mut pause = AcceptPause::default();
    loop {
        let accepted = acceptor.accept().await;
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok(arrival) => {
                pause.succeeded();
                // Held one connection at a time: the others wait in the kernel, not here.
                let place = room.0.take().await;
                let (context, ending) = (context.clone(), ending.clone());
                // Without it there is nobody to answer.
                let Ok(stream) = arrival.socket.into_stream() else { continue };
                connections.spawn_local(async move {
                    match stream {
                        Stream::Tcp(stream) => {
                            // One that cannot be had is the system's own, which is larger.
                            let _ = SockRef::from(&stream).set_send_buffer_size(SEND_BUFFER);
                            attend(stream, context, place, ending).await;
                        }
                        Stream::Unix(stream) => attend(stream, context, place, ending).await,
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

/// One request, one answer; or a page that stays open, which gives its place back for that.
async fn attend(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    context: StatusContext,
    place: Place,
    mut ending: watch::Receiver<()>,
) {
    let mark = place.mark();
    let (opened, mut opens) = oneshot::channel::<(Seat, mpsc::Sender<Bytes>)>();
    let opened = RefCell::new(Some(opened));
    let service = service_fn(|request| {
        mark.reached(Stage::Answered);
        let (answer, news) = answer::to(&request, &context);
        if let (Some(news), Some(opened)) = (news, opened.take()) {
            // Whoever is to hear of it is below.
            let _ = opened.send(news);
        }
        async move { Ok::<_, Infallible>(answer) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(MAX_HEAD)
        // Half-close is how some health checks end their request.
        .half_close(true)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    // Who breaks off or takes too long gets no answer, and needs no line: it may be anybody.
    let (seat, news) = tokio::select! {
        biased;
        _ = connection.as_mut() => return,
        Ok(page) = &mut opens => page,
        () = place.needed() => return,
        () = tokio::time::sleep(CONNECTION_TIME) => return,
    };
    drop(place);
    tokio::select! {
        _ = connection.as_mut() => {}
        () = context.pages.tell(seat, news) => {}
        // A sender that is gone is how it is told.
        _ = ending.changed() => {}
    }
}
