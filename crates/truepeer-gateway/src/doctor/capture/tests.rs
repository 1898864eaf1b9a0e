#![allow(clippy::arithmetic_side_effects, reason = "sizes of packets that the tests make")]

use super::*;

fn packet(from: &str, to: &str, sequence: u32, flags: &str, payload: &[u8]) -> Vec<u8> {
    let (from, to): (SocketAddr, SocketAddr) = (from.parse().unwrap(), to.parse().unwrap());
    let (IpAddr::V4(a), IpAddr::V4(b)) = (from.ip(), to.ip()) else { panic!("IPv4 only") };
    let total = u16::try_from(40 + payload.len()).unwrap();
    let mut bytes = vec![0x45, 0];
    bytes.extend(total.to_be_bytes());
    bytes.extend([0, 0, 0, 0, 64, 6, 0, 0]);
    bytes.extend(a.octets());
    bytes.extend(b.octets());
    bytes.extend(from.port().to_be_bytes());
    bytes.extend(to.port().to_be_bytes());
    bytes.extend(sequence.to_be_bytes());
    bytes.extend([0, 0, 0, 0, 0x50]);
    bytes.push(
        flags
            .chars()
            .map(|flag| match flag {
                'F' => 1,
                'S' => 2,
                'R' => 4,
                'A' => 16,
                _ => 0,
            })
            .sum(),
    );
    bytes.extend([0xff, 0xff, 0, 0, 0, 0]);
    bytes.extend(payload);
    bytes
}

fn pcap(packets: &[Vec<u8>]) -> Vec<u8> {
    let mut file = Vec::new();
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65_535, 101] {
        file.extend(word.to_le_bytes());
    }
    for packet in packets {
        let len = u32::try_from(packet.len()).unwrap();
        for word in [0, 0, len, len] {
            file.extend(word.to_le_bytes());
        }
        file.extend(packet);
    }
    file
}

fn pcapng(packets: &[Vec<u8>]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut block = |kind: u32, body: &[u8]| {
        let padded = body.len().next_multiple_of(4);
        let len = u32::try_from(12 + padded).unwrap();
        file.extend(kind.to_le_bytes());
        file.extend(len.to_le_bytes());
        file.extend(body);
        file.resize(file.len() + padded - body.len(), 0);
        file.extend(len.to_le_bytes());
    };
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
    block(0x0a0d_0d0a, &words(&[0x1a2b_3c4d, 1, u32::MAX, u32::MAX]));
    block(1, &words(&[101, 65_535]));
    for packet in packets {
        let len = u32::try_from(packet.len()).unwrap();
        block(6, &[words(&[0, 0, 0, len, len]), packet.clone()].concat());
    }
    file
}

fn starts(file: &[u8]) -> Vec<(String, String, bool)> {
    let mut starts = Vec::new();
    let enough = |bytes: &[u8]| bytes.contains(&b'\n');
    read(file, enough, &mut |start| {
        starts.push((start.to.to_string(), start.bytes.escape_ascii().to_string(), start.from_the_beginning));
    })
    .unwrap();
    starts
}

const C: &str = "192.0.2.1:4711";
const S: &str = "192.0.2.2:25";

#[test]
fn the_start_of_each_stream_is_put_together_whatever_the_order() {
    let packets = [
        packet(C, S, 99, "S", b""),
        packet(S, C, 500, "SA", b""),
        packet(S, C, 501, "A", b"220 hello\r\n"),
        packet(C, S, 106, "A", b"TCP4 x\r\nEHLO"),
        packet(C, S, 100, "A", b"PROXY "),
        packet(C, S, 100, "A", b"PROXY T"),
        packet("192.0.2.1:4712", S, 7, "S", b""),
        packet("192.0.2.1:4712", S, 8, "F", b""),
        packet("192.0.2.9:1", S, 1000, "A", b"middle"),
        packet(S, "192.0.2.9:1", 2000, "A", b"other side\n"),
    ];
    let expected = [
        (S.to_owned(), "PROXY TCP4 x\\r\\nEHLO".to_owned(), true),
        (S.to_owned(), String::new(), true),
        (S.to_owned(), "middle".to_owned(), false),
    ];
    assert_eq!(starts(&pcap(&packets)), expected);
    assert_eq!(starts(&pcapng(&packets)), expected);
}

#[test]
fn memory_is_bounded_by_the_number_of_open_streams() {
    let mut streams = Streams::new(|_| false);
    let mut told = 0;
    for number in 0..20_000_u32 {
        let from = SocketAddr::from((number.to_be_bytes(), 1));
        let segment = Segment {
            from,
            to: S.parse().unwrap(),
            sequence: 0,
            syn: true,
            ack: false,
            end: false,
            payload: b"",
        };
        streams.take(&segment, &mut |_| told += 1);
    }
    assert_eq!(told, 20_000 - Streams::OPEN_MAX);
    streams.finish(&mut |_| told += 1);
    assert_eq!(told, 20_000);
}

#[test]
fn damaged_captures_are_said_to_be_and_break_nothing() {
    let whole = pcapng(&[packet(C, S, 99, "S", b""), packet(C, S, 100, "A", b"PROXY UNKNOWN\r\n")]);
    for cut in 0..whole.len() {
        let _ = read(whole.get(..cut).unwrap(), |_| false, &mut |_| {});
    }
    let mut seed = 88_172_645_463_325_252_u64;
    for _ in 0..2_000 {
        let mut damaged = whole.clone();
        for _ in 0..4 {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            let at = usize::try_from(seed % u64::try_from(damaged.len()).unwrap()).unwrap();
            damaged[at] = seed.to_le_bytes()[7];
        }
        let _ = read(&damaged[..], |_| false, &mut |_| {});
    }
    assert!(read(&b"no capture at all, at any rate"[..], |_| false, &mut |_| {}).is_err());
}
