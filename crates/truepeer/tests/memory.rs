//! What a silent peer costs, counted byte by byte: the figure in the documentation of `ListenerOptions`.
#![cfg(feature = "tokio")]
#![allow(
    unsafe_code,
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    reason = "an allocator that counts is unsafe by its trait; a test fails by panicking"
)]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicIsize, Ordering};

use common::{V2, bytes, drop_after, listener, settle};
use truepeer::{ClientStream, Incoming, ListenerOptions};
use truepeer_testkit::scripted::ScriptedStream;

struct Counting;

static HELD: AtomicIsize = AtomicIsize::new(0);

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.fetch_add(layout.size().cast_signed(), Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size().cast_signed(), Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What `count` pending connections that have sent `sent` hold, each.
async fn each_pending(count: isize, sent: &[u8]) -> isize {
    // Whatever was aborted before is gone.
    settle().await;
    let steps = if sent.is_empty() { vec![] } else { vec![bytes(&[sent])] };
    let (mut listener, door, _) = listener(ListenerOptions::new());
    // Each with an address of its own, which is the most that can be kept of whoever waits.
    let proxy = |n: isize| format!("127.{}.{}.{}:1000", n >> 16 & 255, n >> 8 & 255, n & 255);
    let _peers: Vec<_> = (0..count).map(|n| door.connect(&proxy(n), steps.clone())).collect();
    let before = HELD.load(Ordering::Relaxed);
    assert!(drop_after(32, listener.accept()).await.is_none());
    assert_eq!(listener.pending(), count.cast_unsigned());
    // What was read is no longer held by the script.
    (HELD.load(Ordering::Relaxed) - before) / count + sent.len().cast_signed()
}

/// One test: the count is the whole process's.
#[tokio::test(start_paused = true)]
async fn a_silent_peer_costs_what_is_written_and_a_stream_little_more_than_its_socket() {
    let silent = each_pending(1000, b"").await;
    assert!((200..=1536).contains(&silent), "{silent} bytes for each silent peer");

    // One byte short of a header at the cap, sent in one go: all of it has to be kept.
    let mut almost = [&V2[..14], &[0x10, 0x00], &V2[16..]].concat();
    almost.extend([4, 0x0F, 0xF1]);
    almost.resize(4111, 0);
    let most = each_pending(100, &almost).await;
    assert!((4111..=1536 + 4112 + 511).contains(&most), "{most} bytes for each unfinished header");

    let stream = size_of::<ClientStream<ScriptedStream>>() - size_of::<ScriptedStream>();
    assert!(stream <= 80, "{stream} bytes besides the socket");
    let incoming = size_of::<Incoming<ScriptedStream>>() - size_of::<ScriptedStream>();
    assert!(incoming <= 300, "{incoming} bytes besides the socket");

    #[cfg(feature = "tokio-rustls")]
    {
        let silent = each_handshake(100, b"").await;
        assert!((2000..=8 * 1024).contains(&silent), "{silent} bytes for each silent client");
        // A ClientHello of 48 KiB that lacks its last byte, in records as large as they may be.
        let mut hello = [&[1, 0, 0xC0, 0][..], &[0; 0xBFFF]].concat();
        hello = hello.chunks(16384).fold(Vec::new(), |mut records, piece| {
            records.extend([22, 3, 1]);
            records.extend(u16::try_from(piece.len()).unwrap().to_be_bytes());
            records.extend(piece);
            records
        });
        let most = each_handshake(20, &hello).await;
        assert!((0xC000..=68 * 1024).contains(&most), "{most} bytes for each unfinished handshake");
    }
}

/// What `count` clients hold, each, that sent a header and then `hello`, a handshake that does not go on.
#[cfg(feature = "tokio-rustls")]
async fn each_handshake(count: isize, hello: &[u8]) -> isize {
    use std::sync::Arc;
    use tokio_rustls::{TlsAcceptor, rustls::ServerConfig, rustls::pki_types::PrivatePkcs8KeyDer};

    settle().await;
    let made = rcgen::generate_simple_self_signed(["mx.example.org".to_owned()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let config = ServerConfig::builder().with_no_client_auth();
    let config = config.with_single_cert(vec![made.cert.der().clone()], key.into()).unwrap();
    let (listener, door, events) = listener(ListenerOptions::new());
    let mut listener = truepeer::TlsListener::new(listener, TlsAcceptor::from(Arc::new(config)));
    let sent = [V2, hello].concat();
    let _peers: Vec<_> = (0..count).map(|_| door.connect(common::PROXY, [bytes(&[&sent])])).collect();
    let before = HELD.load(Ordering::Relaxed);
    assert!(drop_after(32, listener.accept()).await.is_none());
    assert!(events.take().is_empty(), "all of them are waited for");
    (HELD.load(Ordering::Relaxed) - before) / count + sent.len().cast_signed()
}
