//! CRC32C (Castagnoli), of a header whose checksum field counts as zero.
//!
//! Called by the TLV checks and by the encoder. By table, eight bytes at a step; the feature
//! `crc32c` hands long runs to the crate of that name, which uses the processor's instruction.
//! Source: PROXY protocol 2.2.3; RFC 4960, Appendix B.

/// CRC32C of `header` with the four bytes at `value_at` taken as zero.
#[inline]
pub(crate) fn of_header(header: &[u8], value_at: usize) -> u32 {
    let (before, rest) = header.split_at_checked(value_at).unwrap_or((header, &[]));
    let (_, after) = rest.split_first_chunk::<4>().unwrap_or((&[0; 4], &[]));
    append(append(append(0, before), &[0; 4]), after)
}

/// CRC32C of what gave `crc`, followed by `bytes`.
#[inline]
pub(crate) fn append(crc: u32, bytes: &[u8]) -> u32 {
    // The set-up of the crate costs more than a few steps of ours.
    #[cfg(feature = "crc32c")]
    if bytes.len() >= 16 {
        return ::crc32c::crc32c_append(crc, bytes);
    }
    append_by_table(crc, bytes)
}

fn append_by_table(crc: u32, bytes: &[u8]) -> u32 {
    let mut state = !crc;
    // Two steps for each turn of the loop.
    let (pairs, rest) = bytes.as_chunks::<16>();
    for &[a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] in pairs {
        state = step(step(state, [a, b, c, d, e, f, g, h]), [i, j, k, l, m, n, o, p]);
    }
    let (chunks, rest) = rest.as_chunks::<8>();
    for chunk in chunks {
        state = step(state, *chunk);
    }
    for byte in rest {
        let [low, ..] = state.to_le_bytes();
        state = state >> 8 ^ pick(&TABLES[0], low ^ byte);
    }
    !state
}

/// The state after eight bytes more.
#[inline(always)]
fn step(state: u32, [a, b, c, d, e, f, g, h]: [u8; 8]) -> u32 {
    let [t0, t1, t2, t3, t4, t5, t6, t7] = &TABLES;
    let [a, b, c, d] = (state ^ u32::from_le_bytes([a, b, c, d])).to_le_bytes();
    pick(t7, a)
        ^ pick(t6, b)
        ^ pick(t5, c)
        ^ pick(t4, d)
        ^ pick(t3, e)
        ^ pick(t2, f)
        ^ pick(t1, g)
        ^ pick(t0, h)
}

/// A byte always finds its entry; the compiler sees it and drops the default.
#[inline(always)]
fn pick(table: &[u32; 256], byte: u8) -> u32 {
    table.get(usize::from(byte)).copied().unwrap_or(0)
}

/// Entry `b` of table `n`: the state that byte `b` leaves after `n` further zero bytes.
static TABLES: [[u32; 256]; 8] = tables();

#[expect(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "evaluated by the compiler")]
const fn tables() -> [[u32; 256]; 8] {
    /// The polynomial 0x1EDC6F41, bits reversed.
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut state = byte as u32;
        let mut bits = 0;
        while bits < 64 {
            state = state >> 1 ^ if state & 1 == 1 { POLYNOMIAL } else { 0 };
            // Overwritten until the last of eight bits.
            tables[bits / 8][byte] = state;
            bits += 1;
        }
        byte += 1;
    }
    tables
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, reason = "a test may fail")]
    use super::*;

    #[test]
    fn check_value_of_the_catalogue_is_met() {
        assert_eq!(append(0, b"123456789"), 0xe306_9283);
        assert_eq!(append_by_table(0, b"123456789"), 0xe306_9283);
    }

    #[test]
    fn pieces_give_the_same_as_the_whole() {
        let bytes: [u8; 61] = core::array::from_fn(|i| (i as u8).wrapping_mul(37));
        for cut in 0..bytes.len() {
            assert_eq!(append(append(0, &bytes[..cut]), &bytes[cut..]), append_by_table(0, &bytes));
        }
    }
}
