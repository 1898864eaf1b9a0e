//! The status page: numbers and readiness over HTTP, for monitoring and for balancers that ask.
//!
//! Read-only: it is given a [`View`] and nothing else, so that nothing can be ordered here, and no answer holds an
//! address. Served on the control thread to whoever connects, so everything is bounded: connections at once, the
//! bytes of a request's head, and the time that one connection may take. Who is slow makes room for the next one.

mod answer;

use std::convert::Infallible;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;

use crate::control::places::{Place, Places, Stage};
use crate::engine::{AcceptPause, Acceptor, Stream};
use crate::facts::machine::MAX_MONITORS;
use crate::server::View;

/// From accept until the request's head must be there.
const HEAD_TIME: Duration = Duration::from_secs(3);
/// For a whole connection, which is one request.
const CONNECTION_TIME: Duration = Duration::from_secs(10);
/// Bytes of a request's head.
const MAX_HEAD: usize = 16 * 1024;

/// Places for connections, shared by all addresses; the next one takes the place of one that has not asked.
#[derive(Debug, Clone)]
pub(crate) struct StatusPlaces(Places);

impl Default for StatusPlaces {
    fn default() -> Self {
        Self(Places::new(MAX_MONITORS))
    }
}

/// Answers whoever connects, until `until` is over and those who have asked by then are answered.
///
/// # Cancel safety
/// Dropping the future ends every answer.
pub(crate) async fn serve(
    acceptor: Acceptor,
    view: View,
    room: StatusPlaces,
    until: impl Future<Output = ()>,
) {
    let mut connections = JoinSet::new();
    tokio::select! {
        () = accept(acceptor, view, room, &mut connections) => {}
        () = until => {}
    }
    while connections.join_next().await.is_some() {}
}

async fn accept(acceptor: Acceptor, view: View, room: StatusPlaces, connections: &mut JoinSet<()>) {
    let mut pause = AcceptPause::default();
    loop {
        let accepted = acceptor.accept().await;
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok(arrival) => {
                pause.succeeded();
                // Held one connection at a time: the others wait in the kernel, not here.
                let place = room.0.take().await;
                let view = view.clone();
                // Without it there is nobody to answer.
                let Ok(stream) = arrival.socket.into_stream() else { continue };
                connections.spawn(async move {
                    let attended = async {
                        match stream {
                            Stream::Tcp(stream) => attend(stream, view, &place).await,
                            Stream::Unix(stream) => attend(stream, view, &place).await,
                        }
                    };
                    tokio::select! {
                        () = attended => {}
                        () = place.needed() => {}
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

/// One request, one answer.
async fn attend(stream: impl AsyncRead + AsyncWrite + Unpin, view: View, place: &Place) {
    let service = service_fn(|request| {
        place.reached(Stage::Answered);
        let answer = answer::to(&request, &view);
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
    // Who breaks off or takes too long gets no answer, and needs no line: it may be anybody.
    let _ = tokio::time::timeout(CONNECTION_TIME, connection).await;
}
