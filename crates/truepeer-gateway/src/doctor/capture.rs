//! A packet capture becomes the starts of its TCP streams, as far as the side that connected sent them.
//!
//! Read as a stream: memory is bounded by [`Streams::OPEN_MAX`] starts of [`Streams::START_MAX`] bytes, whatever the
//! capture's length. Knows nothing of headers; what a start means is asked elsewhere.

use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr};

use etherparse::{LaxNetSlice, LaxSlicedPacket, TransportSlice};
use pcap_parser::{Block, Linktype, PcapBlockOwned, PcapError, create_reader};

mod streams;

pub use streams::{Enough, Start, Streams};

/// How a TCP segment looks to [`Streams`].
#[derive(Debug, Clone, Copy)]
pub struct Segment<'a> {
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) sequence: u32,
    pub(crate) syn: bool,
    pub(crate) ack: bool,
    /// FIN or RST: no more will come.
    pub(crate) end: bool,
    pub(crate) payload: &'a [u8],
}

/// Whether `bytes` begin as a capture does, of either format and byte order.
#[must_use]
pub fn is_capture(bytes: &[u8]) -> bool {
    matches!(
        bytes.get(..4),
        Some(
            [0xa1, 0xb2, 0xc3, 0xd4]
                | [0xd4, 0xc3, 0xb2, 0xa1]
                | [0xa1, 0xb2, 0x3c, 0x4d]
                | [0x4d, 0x3c, 0xb2, 0xa1]
                | [0x0a, 0x0d, 0x0d, 0x0a]
        )
    )
}

/// What was in a capture besides its streams.
#[derive(Debug, Clone, Copy, Default)]
pub struct CaptureCounts {
    /// Packets in all.
    pub packets: u64,
    /// Packets that could not be read: another link layer, or cut too short.
    pub unread: u64,
}

/// Reads a capture, and tells each start of a stream once it is long enough for `enough`, or ends.
///
/// # Errors
/// Where the file is no capture, or breaks off; what was before has been told.
pub fn read(
    file: impl Read + Send,
    enough: Enough,
    tell: &mut impl FnMut(Start),
) -> io::Result<CaptureCounts> {
    /// Fits the largest packet that is captured, and a block's own fields.
    const BUFFER: usize = 512 * 1024;
    /// More than the header of either format.
    const FIRST: u64 = 64 * 1024;
    // The format is told from the first read alone, which may be short.
    let mut file = file;
    let mut head = Vec::new();
    (&mut file).take(FIRST).read_to_end(&mut head)?;
    let file = io::Cursor::new(head).chain(file);
    let mut reader = create_reader(BUFFER, file).map_err(|error| wrong(&error))?;
    let mut links: Vec<Linktype> = Vec::new();
    let mut streams = Streams::new(enough);
    let mut counts = CaptureCounts::default();
    let result = loop {
        match reader.next() {
            Ok((len, block)) => {
                let packet = match &block {
                    PcapBlockOwned::LegacyHeader(header) => {
                        links = vec![header.network];
                        None
                    }
                    PcapBlockOwned::Legacy(packet) => Some((0, packet.data)),
                    PcapBlockOwned::NG(Block::SectionHeader(_)) => {
                        links.clear();
                        None
                    }
                    PcapBlockOwned::NG(Block::InterfaceDescription(interface)) => {
                        // A file that describes more interfaces than any machine has is not to be stored.
                        if links.len() < 4096 {
                            links.push(interface.linktype);
                        }
                        None
                    }
                    PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => Some((packet.if_id, packet.data)),
                    PcapBlockOwned::NG(Block::SimplePacket(packet)) => Some((0, packet.data)),
                    PcapBlockOwned::NG(_) => None,
                };
                if let Some((interface, data)) = packet {
                    counts.packets = counts.packets.saturating_add(1);
                    let link = usize::try_from(interface).ok().and_then(|index| links.get(index));
                    match link.and_then(|link| sliced(*link, data)) {
                        Some(packet) => {
                            if let Some(segment) = segment(&packet) {
                                streams.take(&segment, tell);
                            }
                        }
                        None => counts.unread = counts.unread.saturating_add(1),
                    }
                }
                reader.consume(len);
            }
            Err(PcapError::Eof) => break Ok(counts),
            Err(PcapError::Incomplete(_)) => match reader.refill() {
                Ok(()) => {}
                Err(error) => break Err(wrong(&error)),
            },
            Err(error) => break Err(wrong(&error)),
        }
    };
    streams.finish(tell);
    result
}

fn wrong<I: std::fmt::Debug>(error: &PcapError<I>) -> io::Error {
    let text = match error {
        PcapError::HeaderNotRecognized => "this is no capture",
        PcapError::UnexpectedEof | PcapError::Incomplete(_) => {
            "the capture breaks off in the middle of a packet"
        }
        PcapError::BufferTooSmall => "a block of the capture is larger than any packet",
        PcapError::ReadError => "reading fails",
        _ => "the capture is damaged",
    };
    io::Error::other(text)
}

/// The layers of a packet; `None` where the link is of a kind that is not read.
fn sliced(link: Linktype, data: &[u8]) -> Option<LaxSlicedPacket<'_>> {
    /// The address family that stands before each packet of a loopback device.
    const FAMILY: usize = 4;
    /// What Linux writes for "any" device, of either version.
    const COOKED: usize = 16;
    const COOKED2: usize = 20;
    match link {
        Linktype::ETHERNET => LaxSlicedPacket::from_ethernet(data).ok(),
        Linktype::NULL | Linktype::LOOP => LaxSlicedPacket::from_ip(data.get(FAMILY..)?).ok(),
        Linktype::LINUX_SLL => LaxSlicedPacket::from_ip(data.get(COOKED..)?).ok(),
        Linktype(276) => LaxSlicedPacket::from_ip(data.get(COOKED2..)?).ok(),
        // Raw IP, by its several numbers.
        Linktype(12 | 14 | 101 | 228 | 229) => LaxSlicedPacket::from_ip(data).ok(),
        _ => None,
    }
}

/// The TCP segment in a packet, if there is one.
fn segment<'a>(packet: &LaxSlicedPacket<'a>) -> Option<Segment<'a>> {
    let (from, to): (IpAddr, IpAddr) = match packet.net.as_ref()? {
        LaxNetSlice::Ipv4(ip) => (ip.header().source_addr().into(), ip.header().destination_addr().into()),
        LaxNetSlice::Ipv6(ip) => (ip.header().source_addr().into(), ip.header().destination_addr().into()),
        LaxNetSlice::Arp(_) => return None,
    };
    let Some(TransportSlice::Tcp(tcp)) = &packet.transport else { return None };
    Some(Segment {
        from: SocketAddr::new(from, tcp.source_port()),
        to: SocketAddr::new(to, tcp.destination_port()),
        sequence: tcp.sequence_number(),
        syn: tcp.syn(),
        ack: tcp.ack(),
        end: tcp.fin() || tcp.rst(),
        payload: tcp.payload(),
    })
}

#[cfg(test)]
mod tests;
