//! Headers to judge: valid ones of every kind, and what becomes of them when bytes go wrong.
//!
//! Seeded, so that a finding can be had again from its number.
use super::crc32c_of;

/// A small generator of numbers (xorshift*), the same on every machine.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// From a seed; each seed has its own sequence.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: usize) -> usize {
        (self.number() % end as u64) as usize
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    fn byte(&mut self) -> u8 {
        self.number() as u8
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.byte()).collect()
    }
}

/// One input: a header, perhaps damaged, perhaps cut, perhaps with bytes behind it.
pub fn input(random: &mut Random) -> Vec<u8> {
    let mut bytes = if random.below(2) == 0 { line(random) } else { block(random) };
    for _ in 0..random.one_of(&[0, 0, 0, 1, 1, 1, 2, 5]) {
        damage(random, &mut bytes);
    }
    match random.below(6) {
        0 => bytes.truncate(random.below(bytes.len() + 1)),
        1 | 2 => {
            let tail = random.one_of(&[
                &b"EHLO x\r\n"[..],
                b"\n",
                b"\r\n",
                b" ",
                b"PROXY ",
                b"\r\n\r\n\0",
                b"\0\0\0",
            ]);
            bytes.extend_from_slice(tail);
        }
        _ => {}
    }
    bytes
}

fn damage(random: &mut Random, bytes: &mut Vec<u8>) {
    let at = random.below(bytes.len() + 1);
    let interesting = random.one_of(b"\r\n \0:.0159afF%[-+PTCUx\xff\x03\x05\x20\x21\x11\x30");
    match random.below(7) {
        0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
        1 if at < bytes.len() => bytes[at] = interesting,
        2 => bytes.insert(at, interesting),
        3 if at < bytes.len() => drop(bytes.remove(at)),
        4 if bytes.len() > 15 => bytes[15] = bytes[15].wrapping_add(random.one_of(&[1, 2, 3, 0xff, 0xfe])),
        5 if at < bytes.len() => {
            let from = random.below(bytes.len());
            bytes[at] = bytes[from];
        }
        _ => {
            let end = (at + random.below(8)).min(bytes.len());
            let piece = bytes[at..end].to_vec();
            bytes.splice(at..at, piece);
        }
    }
}

/// A v1 line, valid but for what the generator of its words dares.
fn line(random: &mut Random) -> Vec<u8> {
    match random.below(8) {
        0 => {
            let len = random.one_of(&[0, 1, 5, 60, 91, 92, 93, 94]);
            let mut line = b"PROXY UNKNOWN ".to_vec();
            line.extend((0..len).map(|_| random.one_of(b"x 0:\xff\0")));
            line.extend_from_slice(b"\r\n");
            line
        }
        1..4 => {
            let words = [ip4(random), ip4(random), port(random), port(random)];
            format!("PROXY TCP4 {}\r\n", words.join(" ")).into_bytes()
        }
        4 => {
            let either = |random: &mut Random| if random.below(2) == 0 { ip4(random) } else { ip6(random) };
            let words = [either(random), either(random), port(random), port(random)];
            format!("PROXY TCP{} {}\r\n", random.one_of(&[4, 6]), words.join(" ")).into_bytes()
        }
        _ => {
            let words = [ip6(random), ip6(random), port(random), port(random)];
            format!("PROXY TCP6 {}\r\n", words.join(" ")).into_bytes()
        }
    }
}

fn port(random: &mut Random) -> String {
    match random.below(12) {
        0 => random.one_of(&["0", "00", "65535", "65536", "065", "99999", "", "+1", "4294967321"]).to_owned(),
        _ => (random.number() as u16).to_string(),
    }
}

fn ip4(random: &mut Random) -> String {
    match random.below(12) {
        0 => random
            .one_of(&["0.0.0.0", "255.255.255.255", "1.2.3", "256.1.1.1", "01.2.3.4", "1.2.3.4.5"])
            .to_owned(),
        _ => std::net::Ipv4Addr::from(random.number() as u32).to_string(),
    }
}

fn ip6(random: &mut Random) -> String {
    let groups: Vec<String> = (0..8)
        .map(|_| match random.below(4) {
            0 => "0".to_owned(),
            1 => format!("{:04x}", random.number() as u16),
            2 => format!("{:X}", random.number() as u16),
            _ => format!("{:x}", random.number() as u8),
        })
        .collect();
    let gap = random.below(9);
    let end = gap + random.below(9 - gap);
    match random.below(6) {
        0 => groups.join(":"),
        1 => format!("{}:{}", groups[..6].join(":"), ip4(random)),
        2 => format!("{}::{}", groups[..gap.min(5)].join(":"), ip4(random)),
        3 => random
            .one_of(&["::", "::1", "1::", ":", ":::", "1:2:3:4:5:6:7::", "::1:2:3:4:5:6:7", "1:"])
            .to_owned(),
        _ => format!("{}::{}", groups[..gap].join(":"), groups[end..].join(":")),
    }
}

/// A v2 block with its length and, mostly, its checksum right.
fn block(random: &mut Random) -> Vec<u8> {
    let mut bytes = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    bytes.push(random.one_of(&[0x21, 0x21, 0x21, 0x21, 0x20]));
    let octet = random.one_of(&[0x11, 0x11, 0x21, 0x21, 0x12, 0x22, 0x31, 0x32, 0x00]);
    bytes.push(octet);
    bytes.extend([0, 0]);
    let addresses = [0, 12, 36, 216][usize::from(octet >> 4)];
    bytes.extend(random.bytes(addresses));
    let mut checksum = None;
    for _ in 0..random.below(6) {
        let (kind, value) = item(random);
        if kind == 3 && value.len() == 4 {
            checksum = Some(bytes.len() + 3);
        }
        push(&mut bytes, kind, &value);
    }
    let length = (bytes.len() - 16) as u16;
    bytes[14..16].copy_from_slice(&length.to_be_bytes());
    if let Some(at) = checksum
        && random.below(8) > 0
    {
        bytes[at..at + 4].fill(0);
        let value = crc32c_of(&bytes).to_be_bytes();
        bytes[at..at + 4].copy_from_slice(&value);
    }
    bytes
}

fn push(bytes: &mut Vec<u8>, kind: u8, value: &[u8]) {
    bytes.push(kind);
    bytes.extend((value.len() as u16).to_be_bytes());
    bytes.extend(value);
}

fn item(random: &mut Random) -> (u8, Vec<u8>) {
    let len = random.one_of(&[0, 1, 2, 4, 5, 8, 9, 30]);
    match random.below(8) {
        0 | 1 => (3, vec![0; random.one_of(&[4, 4, 4, 4, 4, 3, 5, 0])]),
        2 => (5, random.bytes(random.clone().one_of(&[8, 36, 128, 129]))),
        3 | 4 => {
            let mut value = random.bytes(5);
            value[0] &= 7;
            for _ in 0..random.below(4) {
                let kind = random.one_of(&[0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27, 0x28]);
                let sub = random.bytes(len);
                push(&mut value, kind, &sub);
            }
            if random.below(10) == 0 {
                value.truncate(random.below(value.len()));
            }
            (0x20, value)
        }
        5 => (random.one_of(&[0xe0, 0xe1, 0xea, 0xee]), random.bytes(len)),
        6 => (random.one_of(&[1, 2, 4, 0x30]), random.bytes(len)),
        _ => (random.byte(), random.bytes(len)),
    }
}
