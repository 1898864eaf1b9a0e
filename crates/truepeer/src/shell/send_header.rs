//! The first bytes towards a backend: one header, one write.
//!
//! Called by code that connects to a server that expects a header. The bytes are the sans-IO half's.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;

use tokio::io::AsyncWrite;
use tokio::net::{TcpStream, ToSocketAddrs};

use crate::OutgoingHeader;

/// Connects to a backend that expects a header, and sends it.
///
/// # Errors
/// Those of connecting and of [`send_header`].
///
/// # Cancel safety
/// Dropping the future closes the connection; the backend sees a header or nothing, never a part of one.
pub async fn connect(addr: impl ToSocketAddrs, header: &OutgoingHeader) -> io::Result<TcpStream> {
    let mut backend = TcpStream::connect(addr).await?;
    send_header(&mut backend, header).await?;
    Ok(backend)
}

/// Sends a header in one write, which must be the first on this connection, and flushes: a server that speaks first
/// says nothing before it has the header, whatever buffer lies between.
///
/// # Errors
/// Those of the stream; [`io::ErrorKind::WriteZero`] if it did not take the header whole. Then the connection is of
/// no use: many receivers refuse a header in two pieces.
///
/// # Cancel safety
/// If the future is dropped before it is ready, the stream has taken nothing, or the whole header, which may then wait
/// in its buffer to be flushed. A socket has no such buffer: nothing was written.
pub async fn send_header<S: AsyncWrite + Unpin>(backend: &mut S, header: &OutgoingHeader) -> io::Result<()> {
    let bytes = header.as_bytes();
    let written = poll_fn(|cx| Pin::new(&mut *backend).poll_write(cx, bytes)).await?;
    if written < bytes.len() {
        return Err(io::Error::new(
            io::ErrorKind::WriteZero,
            format!("only {written} of the header's {} bytes could be written at once", bytes.len()),
        ));
    }
    poll_fn(|cx| Pin::new(&mut *backend).poll_flush(cx)).await
}
