//! What people write who need version 2 over IPv4 and IPv6 and nothing else: the first 16 bytes, then the rest, one
//! deadline over both, the peer compared with the one proxy.

use std::io::{Error, ErrorKind, Read, Result};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt};

pub const DEADLINE: Duration = Duration::from_secs(5);
const PROXY: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// The client of this connection.
pub async fn read<S: AsyncRead + Unpin>(stream: &mut S, peer: SocketAddr) -> Result<SocketAddr> {
    trusted(peer)?;
    let read = async {
        let mut fixed = [0; 16];
        stream.read_exact(&mut fixed).await?;
        let mut rest = vec![0; rest_of(&fixed)?];
        stream.read_exact(&mut rest).await?;
        client(&fixed, &rest)
    };
    tokio::time::timeout(DEADLINE, read).await?
}

/// The same for a blocking socket; each read is given the time that is left.
pub fn read_blocking(stream: &mut TcpStream, peer: SocketAddr) -> Result<SocketAddr> {
    trusted(peer)?;
    let until = Instant::now() + DEADLINE;
    let mut fixed = [0; 16];
    fill(stream, &mut fixed, until)?;
    let mut rest = vec![0; rest_of(&fixed)?];
    fill(stream, &mut rest, until)?;
    stream.set_read_timeout(None)?;
    client(&fixed, &rest)
}

fn fill(stream: &mut TcpStream, mut buf: &mut [u8], until: Instant) -> Result<()> {
    while !buf.is_empty() {
        let left = until.checked_duration_since(Instant::now()).ok_or(ErrorKind::TimedOut)?;
        stream.set_read_timeout(Some(left))?;
        match stream.read(buf)? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            len => buf = &mut buf[len..],
        }
    }
    Ok(())
}

fn trusted(peer: SocketAddr) -> Result<()> {
    if peer.ip() == PROXY { Ok(()) } else { Err(ErrorKind::PermissionDenied.into()) }
}

fn rest_of(fixed: &[u8; 16]) -> Result<usize> {
    let len = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if &fixed[..12] != SIGNATURE || fixed[12] != 0x21 || len > 4096 {
        return Err(Error::new(ErrorKind::InvalidData, "no PROXY header"));
    }
    Ok(len)
}

fn client(fixed: &[u8; 16], rest: &[u8]) -> Result<SocketAddr> {
    let port = |at: usize| u16::from_be_bytes([rest[at], rest[at + 1]]);
    match fixed[13] {
        0x11 if rest.len() >= 12 => {
            let ip = Ipv4Addr::new(rest[0], rest[1], rest[2], rest[3]);
            Ok(SocketAddr::from((ip, port(8))))
        }
        0x21 if rest.len() >= 36 => {
            let ip: [u8; 16] = rest[..16].try_into().unwrap();
            Ok(SocketAddr::from((Ipv6Addr::from(ip), port(32))))
        }
        _ => Err(Error::new(ErrorKind::InvalidData, "no address")),
    }
}
