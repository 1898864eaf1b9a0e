#![allow(clippy::arithmetic_side_effects, reason = "a test that overflows fails")]

use std::future::Future;
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use truepeer::OwnHeader;

use super::*;
use crate::engine::socket::Family;
use crate::facts::protocol::Protocol;

/// A relay between two socket pairs: what the test holds is the client and the backend program.
struct Ends {
    client: UnixStream,
    backend: UnixStream,
}

/// Relays to the end, behind which both connections are closed.
pub(super) async fn to_end(mut relay: Relay, idle: Duration, traffic: &Traffic) -> RelayEnd {
    std::future::poll_fn(|cx| relay.poll(cx, idle, traffic)).await
}

async fn with_relay<T, F: Future<Output = T>>(
    early: &[u8],
    own_header: OwnHeader,
    idle: Duration,
    play: impl FnOnce(Ends) -> F,
) -> (RelayEnd, Traffic, T) {
    let (client, our_client) = UnixStream::pair().unwrap();
    let (backend, our_backend) = UnixStream::pair().unwrap();
    let traffic = Traffic::default();
    let deadline = Instant::now() + Duration::from_secs(1);
    let guard = Guard {
        first_bytes: Some(FirstBytes::new(own_header, deadline)),
        first_lines: None,
        overheard: None,
        after_greeting: false,
    };
    let ours = |end: UnixStream| Socket::accepted(end.into_std().unwrap().into(), Family::Unix).unwrap();
    let pair = Pair { client: ours(our_client), backend: ours(our_backend) };
    let relayed = async {
        let early = Early { of_client: early.to_vec(), ..Early::default() };
        to_end(relay(pair, early, guard), idle, &traffic).await
    };
    let (end, played) = tokio::join!(relayed, play(Ends { client, backend }));
    (end, traffic, played)
}

const LONG: Duration = Duration::from_secs(60);

fn pattern(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|at| u8::try_from((at * 31 + usize::from(seed)) % 251).unwrap()).collect()
}

#[tokio::test]
async fn bytes_are_exact_both_ways_under_back_pressure() {
    const LEN: usize = 4 << 20;
    let (there, back) = (pattern(LEN, 1), pattern(LEN, 2));
    let (end, traffic, (at_backend, at_client)) = with_relay(b"", OwnHeader::Precedes, LONG, |ends| async {
        let (mut client_in, mut client_out) = ends.client.into_split();
        let (mut backend_in, mut backend_out) = ends.backend.into_split();
        // Nobody reads before everything that fits is written: both directions run into back-pressure.
        let write_there = async {
            client_out.write_all(&there).await.unwrap();
            client_out.shutdown().await.unwrap();
        };
        let write_back = async {
            backend_out.write_all(&back).await.unwrap();
            backend_out.shutdown().await.unwrap();
        };
        let (mut at_backend, mut at_client) = (Vec::new(), Vec::new());
        let reads = async {
            tokio::task::yield_now().await;
            let (there, back) =
                tokio::join!(backend_in.read_to_end(&mut at_backend), client_in.read_to_end(&mut at_client));
            (there.unwrap(), back.unwrap())
        };
        tokio::join!(write_there, write_back, reads);
        (at_backend, at_client)
    })
    .await;
    assert!(matches!(end, RelayEnd::Done), "{end:?}");
    assert!(at_backend == there && at_client == back);
    assert_eq!((traffic.bytes_in(), traffic.bytes_out()), (LEN as u64, LEN as u64));
}

#[tokio::test]
async fn half_close_is_passed_on_and_the_answer_still_arrives() {
    let (end, _, answer) = with_relay(b"", OwnHeader::Precedes, LONG, |mut ends| async move {
        ends.client.write_all(b"question").await.unwrap();
        ends.client.shutdown().await.unwrap();
        let mut question = Vec::new();
        ends.backend.read_to_end(&mut question).await.unwrap();
        assert_eq!(question, b"question");
        ends.backend.write_all(b"answer").await.unwrap();
        drop(ends.backend);
        let mut answer = Vec::new();
        ends.client.read_to_end(&mut answer).await.unwrap();
        answer
    })
    .await;
    assert!(matches!(end, RelayEnd::Done), "{end:?}");
    assert_eq!(answer, b"answer");
}

#[tokio::test]
async fn bytes_behind_the_header_come_first() {
    let (_, _, heard) = with_relay(b"EHLO ", OwnHeader::Precedes, LONG, |mut ends| async move {
        ends.client.write_all(b"client.example\r\n").await.unwrap();
        ends.client.shutdown().await.unwrap();
        let mut heard = Vec::new();
        ends.backend.read_to_end(&mut heard).await.unwrap();
        drop(ends.backend);
        heard
    })
    .await;
    assert_eq!(heard, b"EHLO client.example\r\n");
}

#[tokio::test]
async fn a_header_in_the_clients_bytes_never_reaches_the_backend_but_the_banner_flows() {
    for (first, rest) in [(&b"PRO"[..], &b"XY TCP4 192.0.2.9 "[..]), (b"\r\n\r\n\0\r\nQU", b"IT\n\x21\x11")] {
        let (end, traffic, leaked) = with_relay(b"", OwnHeader::Precedes, LONG, |mut ends| async move {
            ends.client.write_all(first).await.unwrap();
            ends.backend.write_all(b"220 hello\r\n").await.unwrap();
            let mut banner = [0; 11];
            ends.client.read_exact(&mut banner).await.unwrap();
            ends.client.write_all(rest).await.unwrap();
            let mut leaked = Vec::new();
            // A reset is as good as an end here: what counts is that nothing arrives.
            let _ = ends.backend.read_to_end(&mut leaked).await;
            leaked
        })
        .await;
        let RelayEnd::Stopped(Stopped::Header(bytes)) = end else { panic!("{end:?}") };
        assert_eq!(bytes, [first, rest].concat());
        assert_eq!(leaked, b"");
        assert_eq!(traffic.bytes_in(), 0);
    }
}

#[tokio::test]
async fn an_answer_to_our_header_ends_the_relay_before_a_byte_of_the_client_goes_on() {
    let (mut client, our_client) = UnixStream::pair().unwrap();
    let (mut backend, our_backend) = UnixStream::pair().unwrap();
    let ours = |end: UnixStream| Socket::accepted(end.into_std().unwrap().into(), Family::Unix).unwrap();
    let pair = Pair { client: ours(our_client), backend: ours(our_backend) };
    let traffic = Traffic::default();
    let first_bytes = Some(FirstBytes::new(OwnHeader::Precedes, Instant::now() + LONG));
    let first_lines = Some(FirstLines::new(Protocol::Smtp));
    let guard = Guard { first_bytes, first_lines, overheard: None, after_greeting: false };
    let relay = to_end(relay(pair, Early::default(), guard), LONG, &traffic);
    let play = async {
        backend.write_all(b"220 mx.example\r\n").await.unwrap();
        let mut greeting = [0; 16];
        client.read_exact(&mut greeting).await.unwrap();
        // Both are there when the relay looks next.
        backend.write_all(b"502 5.5.2 Error: command not recognized\r\n").await.unwrap();
        client.write_all(b"MAIL FROM:<secret@client.example>\r\n").await.unwrap();
    };
    let (end, ()) = tokio::join!(relay, play);
    let RelayEnd::Stopped(Stopped::HeaderAnswered(said)) = end else { panic!("{end:?}") };
    assert_eq!(said, b"502 5.5.2 Error: command not recognized\r\n");
    let (mut leaked, mut heard) = (Vec::new(), Vec::new());
    let _ = backend.read_to_end(&mut leaked).await;
    let _ = client.read_to_end(&mut heard).await;
    assert_eq!((leaked, heard), (Vec::new(), Vec::new()), "neither heard more of the other");
    assert_eq!((traffic.bytes_in(), traffic.bytes_out()), (0, 16));
}

#[tokio::test]
async fn a_held_prefix_is_released_at_the_end_of_the_stream() {
    let (end, _, heard) = with_relay(b"", OwnHeader::Precedes, LONG, |mut ends| async move {
        ends.client.write_all(b"PROX").await.unwrap();
        ends.client.shutdown().await.unwrap();
        let mut heard = Vec::new();
        ends.backend.read_to_end(&mut heard).await.unwrap();
        drop(ends.backend);
        heard
    })
    .await;
    assert!(matches!(end, RelayEnd::Done), "{end:?}");
    assert_eq!(heard, b"PROX");
}

#[tokio::test]
async fn a_held_prefix_is_released_after_a_while_behind_our_header() {
    let (_, _, ()) = with_relay(b"\r\n", OwnHeader::Precedes, LONG, |mut ends| async move {
        let mut heard = [0; 2];
        ends.backend.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"\r\n");
        // And the guard is gone: what would have been the rest of a header is data now.
        ends.client.write_all(b"\r\n\0\r\nQUIT\n").await.unwrap();
        let mut heard = [0; 10];
        ends.backend.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"\r\n\0\r\nQUIT\n");
    })
    .await;
}

#[tokio::test]
async fn without_our_header_a_held_prefix_is_never_released() {
    for then_end in [true, false] {
        let (end, _, leaked) = with_relay(b"PROX", OwnHeader::Absent, LONG, |mut ends| async move {
            if then_end {
                ends.client.shutdown().await.unwrap();
            }
            let mut leaked = Vec::new();
            let _ = ends.backend.read_to_end(&mut leaked).await;
            leaked
        })
        .await;
        assert!(matches!(end, RelayEnd::HeldBack), "{end:?}");
        assert_eq!(leaked, b"");
    }
}

#[tokio::test]
async fn silence_ends_at_the_idle_limit() {
    let idle = Duration::from_millis(50);
    let (end, traffic, ()) = with_relay(b"", OwnHeader::Precedes, idle, |mut ends| async move {
        ends.backend.write_all(b"220 hello\r\n").await.unwrap();
        let mut heard = Vec::new();
        ends.client.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"220 hello\r\n");
    })
    .await;
    assert!(matches!(end, RelayEnd::Idle), "{end:?}");
    assert_eq!(traffic.bytes_out(), 11);
}

#[tokio::test]
async fn last_words_arrive_though_the_client_is_still_sending() {
    let (_, _, heard) = with_relay(b"", OwnHeader::Precedes, LONG, |mut ends| async move {
        ends.backend.write_all(b"421 too much\r\n").await.unwrap();
        drop(ends.backend);
        let flood = vec![b'x'; 48 << 10];
        let (mut client_in, mut client_out) = ends.client.into_split();
        let mut heard = Vec::new();
        let (_, read) = tokio::join!(
            async {
                // Refused at some point; that is the sender's to notice.
                let _ = client_out.write_all(&flood).await;
                drop(client_out);
            },
            client_in.read_to_end(&mut heard)
        );
        read.unwrap();
        heard
    })
    .await;
    assert_eq!(heard, b"421 too much\r\n");
}

#[test]
fn a_relay_holds_no_large_state() {
    assert!(size_of::<Flow>() <= 16, "{}", size_of::<Flow>());
    assert!(size_of::<Relay>() <= 104, "{}", size_of::<Relay>());
}

/// A client that talks before it is greeted, to a backend that is not to hear it before it knows whom it hears.
#[tokio::test]
async fn where_the_greeting_comes_first_the_client_waits_for_it() {
    let (mut client, our_client) = UnixStream::pair().unwrap();
    let (mut backend, our_backend) = UnixStream::pair().unwrap();
    let ours = |end: UnixStream| Socket::accepted(end.into_std().unwrap().into(), Family::Unix).unwrap();
    let pair = Pair { client: ours(our_client), backend: ours(our_backend) };
    let traffic = Traffic::default();
    let guard = Guard { first_bytes: None, first_lines: None, overheard: None, after_greeting: true };
    let early = Early { of_client: b"EHLO ".to_vec(), of_backend: Vec::new() };
    let relay = to_end(relay(pair, early, guard), LONG, &traffic);
    let play = async {
        client.write_all(b"early.example\r\n").await.unwrap();
        client.shutdown().await.unwrap();
        // The relay has had its turns, and nothing is there.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        let mut nothing = [0];
        assert!(backend.try_read(&mut nothing).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock));
        backend.write_all(b"220 mx.example\r\n").await.unwrap();
        let mut heard = Vec::new();
        backend.read_to_end(&mut heard).await.unwrap();
        drop(backend);
        heard
    };
    let (end, heard) = tokio::join!(relay, play);
    assert!(matches!(end, RelayEnd::Done), "{end:?}");
    assert_eq!(heard, b"EHLO early.example\r\n");
}
