use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use super::*;

fn read(stream: &mut ScriptedStream, room: usize) -> Poll<Vec<u8>> {
    let mut bytes = vec![0; room];
    let mut buf = ReadBuf::new(&mut bytes);
    match Pin::new(stream).poll_read(&mut Context::from_waker(Waker::noop()), &mut buf) {
        Poll::Ready(Ok(())) => Poll::Ready(buf.filled().to_vec()),
        Poll::Ready(Err(error)) => Poll::Ready(error.kind().to_string().into_bytes()),
        Poll::Pending => Poll::Pending,
    }
}

#[test]
fn a_script_is_followed_step_by_step() {
    let (mut stream, handle) = ScriptedStream::new([
        Step::Bytes(b"abc".to_vec()),
        Step::Yield,
        Step::Wait,
        Step::Bytes(b"d".to_vec()),
        Step::Eof,
    ]);
    assert_eq!(read(&mut stream, 2), Poll::Ready(b"ab".to_vec()));
    assert_eq!(read(&mut stream, 2), Poll::Ready(b"c".to_vec()));
    assert_eq!(read(&mut stream, 2), Poll::Pending);
    assert_eq!(read(&mut stream, 2), Poll::Pending);
    assert_eq!(read(&mut stream, 2), Poll::Pending);
    handle.release();
    assert_eq!(read(&mut stream, 2), Poll::Ready(b"d".to_vec()));
    assert_eq!(read(&mut stream, 2), Poll::Ready(Vec::new()));
    assert_eq!(read(&mut stream, 2), Poll::Ready(Vec::new()));
    assert_eq!(handle.reads_polled(), 8);
}

#[test]
fn pieces_have_pauses_between_them_and_lose_nothing() {
    let (mut stream, _handle) = ScriptedStream::in_pieces(b"abcdef", &[1, 4]);
    let mut seen = Vec::new();
    let mut pauses = 0;
    while seen.len() < 6 {
        match read(&mut stream, 16) {
            Poll::Ready(bytes) => seen.extend(bytes),
            Poll::Pending => pauses += 1,
        }
    }
    assert_eq!((seen.as_slice(), pauses), (&b"abcdef"[..], 2));
}

#[test]
fn writes_are_recorded_call_by_call() {
    let (mut stream, handle) = ScriptedStream::silent();
    let cx = &mut Context::from_waker(Waker::noop());
    handle.delay_writes(1);
    assert!(Pin::new(&mut stream).poll_write(cx, b"abc").is_pending());
    handle.limit_writes(2);
    assert!(matches!(Pin::new(&mut stream).poll_write(cx, b"abc"), Poll::Ready(Ok(2))));
    assert_eq!(handle.writes(), [b"ab".to_vec()]);
    let mut closed = pin!(handle.closed());
    assert!(closed.as_mut().poll(cx).is_pending());
    drop(stream);
    assert!(closed.as_mut().poll(cx).is_ready());
}
