//! What a backend says last arrives, whatever of ours it leaves unread.

use std::io::Write;
use std::net::TcpListener;
use std::sync::mpsc::sync_channel;
use std::thread;

use super::*;
use crate::engine::{Received, receive, run};

const PATIENCE: Duration = Duration::from_secs(20);

/// What a client hears of `words`, each in a write of its own, of a backend that reads nothing and then closes, which makes
/// its kernel reset the connection. Ours are `opening`, and `early` before the backend says a word.
fn heard(opening: &'static [u8], early: &'static [u8], words: &'static [&'static [u8]]) -> Vec<u8> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = Address::Tcp(listener.local_addr().unwrap());
    let (all_is_there, is_there) = sync_channel(1);
    let backend = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        is_there.recv_timeout(PATIENCE).unwrap();
        words.iter().for_each(|word| stream.write_all(word).unwrap());
    });
    let heard = run(async move {
        let socket = dial(&address, opening, PATIENCE).await.unwrap();
        if !early.is_empty() {
            say(&socket, early, later(now(), PATIENCE)).await.unwrap();
        }
        // On one host what was written is there.
        all_is_there.send(()).unwrap();
        let mut heard = Vec::new();
        while let Received::Bytes(_) = receive(&socket, &mut heard, later(now(), PATIENCE), None).await {}
        heard
    });
    backend.join().unwrap();
    heard.unwrap()
}

#[test]
fn last_words_arrive_of_a_backend_that_reads_nothing() {
    let words: &[&[u8]] = &[b"220-teaser\r\n", b"521 no\r\n", b"221 bye\r\n"];
    for (opening, early) in
        [(&b"header"[..], &b""[..]), (b"header", b"EHLO early\r\n"), (b"", b"EHLO early\r\n")]
    {
        assert_eq!(heard(opening, early, words), words.concat(), "{opening:?} {early:?}");
    }
}
