//! Instructions of the kernel's machine for programs, written as steps with labels, and laid out as bytes.
//!
//! Pure. Covers what the programs of this project use, and nothing else.

use std::fmt;

/// One of its registers. `R0` is what a call returned; it takes `R1` and following, and clobbers them up to the fifth,
/// which nothing here uses; `R10` is the end of a stack of 512 bytes, and read only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Register {
    R0 = 0,
    R1 = 1,
    R2 = 2,
    R3 = 3,
    R4 = 4,
    R6 = 6,
    R7 = 7,
    R8 = 8,
    R9 = 9,
    R10 = 10,
}

/// How much is loaded or stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Width {
    /// 2 bytes.
    Half,
    /// 4 bytes.
    Word,
    /// 8 bytes.
    Double,
}

/// When a jump is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compare {
    /// All 64 bits equal this.
    Is(i32),
    /// All 64 bits differ from this.
    IsNot(i32),
    /// The lower 32 bits differ from this.
    WordIsNot(u32),
    /// All 64 bits differ from those of a register.
    Differs(Register),
    /// It is above a register, both without a sign.
    Above(Register),
}

/// What the kernel offers programs, by number.
pub(crate) mod helper {
    /// The value of a key in a map, or null.
    pub(crate) const MAP_LOOKUP: i32 = 1;
    /// Nanoseconds of the clock that never jumps.
    pub(crate) const KTIME: i32 = 5;
    /// The value that a map keeps beside a socket, or null.
    pub(crate) const SOCKET_STORAGE: i32 = 107;
    /// Which network namespace the socket is in.
    pub(crate) const NETNS_COOKIE: i32 = 122;
}

/// A place in a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct JumpLabel(usize);

/// A jump to a label that stands nowhere, or too far away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoSuchPlace;

impl fmt::Display for NoSuchPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a program jumps to a place that it does not have")
    }
}

impl std::error::Error for NoSuchPlace {}

/// One instruction, 8 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Instruction {
    code: u8,
    into: Register,
    from: u8,
    offset: i16,
    value: i32,
}

/// A program that is being written.
#[derive(Debug, Default)]
pub(crate) struct Assembler {
    code: Vec<Instruction>,
    jumps: Vec<(usize, JumpLabel)>,
    places: Vec<Option<usize>>,
}

/// A register stands where a constant stood in the same instruction.
const FROM_REGISTER: u8 = 0x08;

impl Assembler {
    /// A label that is to be placed.
    pub(crate) fn label(&mut self) -> JumpLabel {
        self.places.push(None);
        JumpLabel(self.places.len().saturating_sub(1))
    }

    /// The next instruction is where `label` stands.
    pub(crate) fn place(&mut self, label: JumpLabel) {
        if let Some(place) = self.places.get_mut(label.0) {
            *place = Some(self.code.len());
        }
    }

    /// Copies 64 bits.
    pub(crate) fn copy(&mut self, into: Register, from: Register) {
        self.push(0xbf, into, from as u8, 0, 0);
    }

    /// Sets all 64 bits, with the value's sign.
    pub(crate) fn set(&mut self, into: Register, value: i32) {
        self.push(0xb7, into, 0, 0, value);
    }

    /// Sets the lower 32 bits to those of `value`, and the others to zero.
    pub(crate) fn set_word(&mut self, into: Register, value: u32) {
        self.push(0xb4, into, 0, 0, value.cast_signed());
    }

    /// Adds a constant.
    pub(crate) fn add(&mut self, into: Register, value: i32) {
        self.push(0x07, into, 0, 0, value);
    }

    /// From this machine's byte order to that of networks, or back; the rest becomes zero.
    pub(crate) fn swap_to_network(&mut self, into: Register, width: Width) {
        let bits = match width {
            Width::Half => 16,
            Width::Word => 32,
            Width::Double => 64,
        };
        self.push(0xdc, into, 0, 0, bits);
    }

    /// Loads from `offset` behind the address in `base`.
    pub(crate) fn load(&mut self, width: Width, into: Register, base: Register, offset: i16) {
        let code = match width {
            Width::Half => 0x69,
            Width::Word => 0x61,
            Width::Double => 0x79,
        };
        self.push(code, into, base as u8, offset, 0);
    }

    /// Stores at `offset` behind the address in `base`.
    pub(crate) fn store(&mut self, width: Width, base: Register, offset: i16, from: Register) {
        let code = match width {
            Width::Half => 0x6b,
            Width::Word => 0x63,
            Width::Double => 0x7b,
        };
        self.push(code, base, from as u8, offset, 0);
    }

    /// Goes on at `label`.
    pub(crate) fn jump(&mut self, label: JumpLabel) {
        self.jumps.push((self.code.len(), label));
        self.push(0x05, Register::R0, 0, 0, 0);
    }

    /// Goes on at `label` if `compare` holds for `register`.
    pub(crate) fn jump_if(&mut self, register: Register, compare: Compare, label: JumpLabel) {
        self.jumps.push((self.code.len(), label));
        let (code, from, value) = match compare {
            Compare::Is(value) => (0x15, 0, value),
            Compare::IsNot(value) => (0x55, 0, value),
            Compare::WordIsNot(value) => (0x56, 0, value.cast_signed()),
            Compare::Differs(other) => (0x55 | FROM_REGISTER, other as u8, 0),
            Compare::Above(other) => (0x25 | FROM_REGISTER, other as u8, 0),
        };
        self.push(code, register, from, 0, value);
    }

    /// Sets `into` to the map of this descriptor.
    pub(crate) fn load_map(&mut self, into: Register, descriptor: i32) {
        const IS_MAP: u8 = 1;
        self.push(0x18, into, IS_MAP, 0, descriptor);
        self.push(0, Register::R0, 0, 0, 0);
    }

    /// Calls one of [`helper`].
    pub(crate) fn call(&mut self, helper: i32) {
        self.push(0x85, Register::R0, 0, 0, helper);
    }

    /// Ends with this result.
    pub(crate) fn end(&mut self, result: i32) {
        self.set(Register::R0, result);
        self.push(0x95, Register::R0, 0, 0, 0);
    }

    /// The program as the kernel of this machine reads it, 8 bytes for each instruction.
    ///
    /// # Errors
    /// [`NoSuchPlace`].
    pub(crate) fn finish(mut self) -> Result<Vec<u8>, NoSuchPlace> {
        for (at, label) in &self.jumps {
            let place = self.places.get(label.0).copied().flatten().ok_or(NoSuchPlace)?;
            let next = at.saturating_add(1);
            let distance = i64::try_from(place).ok().zip(i64::try_from(next).ok());
            let distance = distance.and_then(|(place, next)| i16::try_from(place.checked_sub(next)?).ok());
            if let Some(jump) = self.code.get_mut(*at) {
                jump.offset = distance.ok_or(NoSuchPlace)?;
            }
        }
        Ok(self.code.iter().flat_map(|instruction| instruction.to_bytes()).collect())
    }

    fn push(&mut self, code: u8, into: Register, from: u8, offset: i16, value: i32) {
        self.code.push(Instruction { code, into, from, offset, value });
    }
}

impl Instruction {
    /// The two registers share a byte, in the order of a C bit field.
    fn to_bytes(self) -> [u8; 8] {
        let (into, from) = (self.into as u8, self.from);
        let registers = if cfg!(target_endian = "little") { from << 4 | into } else { into << 4 | from };
        let ([o1, o2], [v1, v2, v3, v4]) = (self.offset.to_ne_bytes(), self.value.to_ne_bytes());
        [self.code, registers, o1, o2, v1, v2, v3, v4]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against what other assemblers write (`llvm-mc -triple bpfel -show-encoding`), as read on this byte order.
    #[test]
    #[cfg(target_endian = "little")]
    fn instructions_are_those_that_other_assemblers_write() {
        use Register::{R0, R1, R2, R6, R7, R10};
        type Write = fn(&mut Assembler);
        let cases: [(&str, Write, &[u8]); 11] = [
            ("r6 = r1", |a| a.copy(R6, R1), &[0xbf, 0x16, 0, 0, 0, 0, 0, 0]),
            ("r1 = -2", |a| a.set(R1, -2), &[0xb7, 1, 0, 0, 0xfe, 0xff, 0xff, 0xff]),
            ("w1 = 4294901760", |a| a.set_word(R1, 0xffff_0000), &[0xb4, 1, 0, 0, 0, 0, 0xff, 0xff]),
            ("r2 += -40", |a| a.add(R2, -40), &[0x07, 2, 0, 0, 0xd8, 0xff, 0xff, 0xff]),
            ("r1 = be16 r1", |a| a.swap_to_network(R1, Width::Half), &[0xdc, 1, 0, 0, 16, 0, 0, 0]),
            ("r1 = *(u32 *)(r6 + 24)", |a| a.load(Width::Word, R1, R6, 24), &[0x61, 0x61, 24, 0, 0, 0, 0, 0]),
            (
                "*(u16 *)(r10 - 8) = r1",
                |a| a.store(Width::Half, R10, -8, R1),
                &[0x6b, 0x1a, 0xf8, 0xff, 0, 0, 0, 0],
            ),
            ("*(u64 *)(r0 + 8) = r7", |a| a.store(Width::Double, R0, 8, R7), &[0x7b, 0x70, 8, 0, 0, 0, 0, 0]),
            (
                "r1 = 5 ll, a map",
                |a| a.load_map(R1, 5),
                &[0x18, 0x11, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            ),
            ("call 107", |a| a.call(helper::SOCKET_STORAGE), &[0x85, 0, 0, 0, 107, 0, 0, 0]),
            ("r0 = 1; exit", |a| a.end(1), &[0xb7, 0, 0, 0, 1, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0]),
        ];
        for (name, write, expected) in cases {
            let mut assembler = Assembler::default();
            write(&mut assembler);
            assert_eq!(assembler.finish().unwrap(), expected, "{name}");
        }
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn jumps_reach_their_places_forwards_and_backwards() {
        let mut a = Assembler::default();
        let (back, out) = (a.label(), a.label());
        a.place(back);
        a.jump_if(Register::R1, Compare::Is(7), out);
        a.jump_if(Register::R1, Compare::Above(Register::R2), back);
        a.jump(back);
        a.place(out);
        a.end(1);
        let bytes = a.finish().unwrap();
        let jumps: Vec<_> = bytes.chunks(8).take(3).collect();
        assert_eq!(jumps[0], [0x15, 1, 2, 0, 7, 0, 0, 0]);
        assert_eq!(jumps[1], [0x2d, 0x21, 0xfe, 0xff, 0, 0, 0, 0]);
        assert_eq!(jumps[2], [0x05, 0, 0xfd, 0xff, 0, 0, 0, 0]);
    }

    #[test]
    fn a_jump_to_nowhere_is_no_program() {
        let mut a = Assembler::default();
        let nowhere = a.label();
        a.jump(nowhere);
        assert_eq!(a.finish(), Err(NoSuchPlace));
    }
}
