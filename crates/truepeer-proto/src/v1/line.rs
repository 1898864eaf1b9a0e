//! A cursor over one line, and the fields that both families share.
//!
//! Called by `v1.rs` and `ip6.rs`. Knows bytes and fields, not what a whole line consists of.
//! `missing` is always the fewest bytes that must follow, up to CRLF, if the line ends here.
use core::net::{IpAddr, Ipv4Addr};

/// Why reading ended before the line did.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stop {
    /// Bytes that must follow at least, CRLF included.
    Short(usize),
    /// Index of a byte that no valid line has there.
    Wrong(usize),
}

/// A position in a line.
#[derive(Clone, Copy)]
pub(super) struct Line<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
}

impl Line<'_> {
    pub(super) fn step(&mut self) {
        self.at = self.at.wrapping_add(1);
    }

    /// Steps over `byte`, and nothing else.
    #[inline(always)]
    pub(super) fn expect(&mut self, byte: u8, missing: usize) -> Result<(), Stop> {
        if self.peek() != Some(byte) {
            return Err(self.stop(missing));
        }
        self.step();
        Ok(())
    }

    /// A decimal number up to `max` without leading zeros, and the byte `end` behind it.
    /// `missing`: from `end` on.
    #[inline(always)]
    pub(super) fn number(&mut self, max: u32, end: u8, missing: usize) -> Result<u32, Stop> {
        let first = self.peek_digit();
        if first > 9 {
            return Err(self.stop(missing.wrapping_add(1)));
        }
        let mut value = first;
        loop {
            self.step();
            let digit = self.peek_digit();
            if digit > 9 {
                self.expect(end, missing)?;
                return Ok(value);
            }
            value = value.wrapping_mul(10).wrapping_add(digit);
            if first == 0 || value > max {
                return Err(self.stop(missing));
            }
        }
    }

    /// Four octets and the space behind them. `missing`: from that space on.
    #[inline(always)]
    pub(super) fn ip4(&mut self, missing: usize) -> Result<Ipv4Addr, Stop> {
        let a = self.number(255, b'.', missing.wrapping_add(".0.0.0".len()))?;
        let b = self.number(255, b'.', missing.wrapping_add(".0.0".len()))?;
        let c = self.number(255, b'.', missing.wrapping_add(".0".len()))?;
        let d = self.number(255, b' ', missing)?;
        Ok(Ipv4Addr::from_bits(a << 24 | b << 16 | c << 8 | d))
    }

    /// Both ports and the CR behind them.
    #[inline(always)]
    pub(super) fn ports(&mut self) -> Result<[u16; 2], Stop> {
        let source = self.number(65_535, b' ', " 0\r\n".len())?;
        let destination = self.number(65_535, b'\r', "\r\n".len())?;
        Ok([source as u16, destination as u16])
    }

    /// Whatever stands before the line end, unread, and the CR.
    pub(super) fn skip_line(&mut self) -> Result<(), Stop> {
        if self.peek() != Some(b'\r') {
            self.expect(b' ', "\r\n".len())?;
        }
        while self.peek().is_some_and(|byte| !matches!(byte, b'\r' | b'\n')) {
            self.step();
        }
        self.expect(b'\r', "\r\n".len())
    }

    /// An address of either family and the space behind it. `missing`: from that space on.
    pub(super) fn ip4_or_ip6(&mut self, missing: usize) -> Result<IpAddr, Stop> {
        let mut line = *self;
        let stop4 = match line.ip4(missing) {
            Ok(address) => {
                *self = line;
                return Ok(address.into());
            }
            Err(stop) => stop,
        };
        // It is wrong where neither family goes on, and ends with whichever takes fewer bytes.
        self.ip6(missing).map(Into::into).map_err(|stop6| match (stop4, stop6) {
            (Stop::Short(four), Stop::Short(six)) => Stop::Short(four.min(six)),
            (Stop::Wrong(four), Stop::Wrong(six)) => Stop::Wrong(four.max(six)),
            (short @ Stop::Short(_), _) | (_, short) => short,
        })
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// The next byte is wrong, or there is none.
    pub(super) fn stop(&self, missing: usize) -> Stop {
        if self.at < self.bytes.len() { Stop::Wrong(self.at) } else { Stop::Short(missing) }
    }

    /// The next byte as a digit; above nine if it is none.
    fn peek_digit(&self) -> u32 {
        self.peek().map_or(u32::MAX, |byte| u32::from(byte).wrapping_sub(u32::from(b'0')))
    }
}
