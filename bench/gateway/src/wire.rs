//! What goes over the wire: the header that every client sends, and bytes that can be checked anywhere.

/// Version 2, TCP over IPv4, with the TLVs ALPN, AUTHORITY and UNIQUE_ID; `number` tells clients apart.
pub fn header(number: u64) -> Vec<u8> {
    let mut tlvs = Vec::new();
    let mut put = |kind: u8, value: &[u8]| {
        tlvs.push(kind);
        tlvs.extend(u16::try_from(value.len()).unwrap_or(0).to_be_bytes());
        tlvs.extend(value);
    };
    put(0x01, b"h2");
    put(0x02, b"www.example.test");
    put(0x05, format!("{number:016x}").as_bytes());
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11".to_vec();
    header.extend(u16::try_from(12 + tlvs.len()).unwrap_or(0).to_be_bytes());
    header.extend([203, 0, 113, u8::try_from(number % 250).unwrap_or(0) + 1, 192, 0, 2, 1]);
    header.extend((1024 + u16::try_from((number / 250) % 60_000).unwrap_or(0)).to_be_bytes());
    header.extend(443_u16.to_be_bytes());
    header.extend(tlvs);
    header
}

/// How long the header at the head of `bytes` is, version 1 or 2: `Ok(None)` if it is not whole yet, an error if it is
/// none.
pub fn header_len(bytes: &[u8]) -> Result<Option<usize>, ()> {
    const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
    let same = |signature: &[u8]| {
        let len = bytes.len().min(signature.len());
        bytes[..len] == signature[..len]
    };
    if same(V2) {
        let whole = bytes.get(14..16).map(|len| 16 + usize::from(u16::from_be_bytes([len[0], len[1]])));
        return Ok(whole.filter(|whole| bytes.len() >= *whole));
    }
    if same(b"PROXY ") {
        return Ok(bytes.iter().position(|byte| *byte == b'\n').map(|at| at + 1));
    }
    Err(())
}

/// Bytes of which each says where in the stream it is, modulo a prime.
pub struct Pattern(Vec<u8>);

/// The most that is sent or compared at once.
pub const CHUNK: usize = 128 * 1024;
const PERIOD: usize = 251;

impl Pattern {
    pub fn new() -> Self {
        Self((0..CHUNK + PERIOD).map(|at| u8::try_from(at % PERIOD).unwrap_or(0)).collect())
    }

    /// The next [`CHUNK`] bytes of a stream of which `position` are gone.
    pub fn from(&self, position: u64) -> &[u8] {
        let at = usize::try_from(position % PERIOD as u64).unwrap_or(0);
        &self.0[at..at + CHUNK]
    }
}

/// Receives one direction's bulk: counts everything, compares one read of [`SAMPLE`] and throws the others away, so
/// that checking costs the load little.
pub struct Checked {
    position: u64,
    reads: u64,
}

const SAMPLE: u64 = 64;

impl Checked {
    /// Of a stream of which `position` bytes were seen.
    pub fn new(position: u64) -> Self {
        Self { position, reads: 0 }
    }

    /// So many bytes more were seen.
    pub fn skip(&mut self, len: usize) {
        self.position += len as u64;
    }

    /// Takes what is there; `None` at the end.
    pub fn take(
        &mut self,
        fd: impl std::os::fd::AsFd,
        buf: &mut [u8],
        pattern: &Pattern,
    ) -> std::io::Result<Option<u64>> {
        self.reads += 1;
        let compare = self.reads % SAMPLE == 1;
        let got =
            if compare { crate::net::receive(fd, &mut buf[..CHUNK])? } else { crate::net::discard(fd, buf)? };
        let Some(len) = got else { return Ok(Some(0)) };
        if compare {
            assert!(buf[..len] == pattern.from(self.position)[..len], "other bytes came than were sent");
        }
        self.position += len as u64;
        Ok((len > 0).then_some(len as u64))
    }
}
