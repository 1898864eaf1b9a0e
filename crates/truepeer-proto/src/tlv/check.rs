//! The rules that the TLVs of a header must keep.
//!
//! Called once per v2 header by `v2.rs`, so that nobody who holds a `Header` meets a malformed item.
use super::{Ssl, TlvType, UNIQUE_ID_MAX_LEN, behind_items, split_item};
use crate::{Checksum, Command, DecodeError, DecodeErrorKind, Header, crc32c};

/// Checks the TLV area of `header`; under LOCAL a malformed one is opaque and is dropped instead.
///
/// # Errors
/// The TLV kinds, at the first item that breaks a rule; a wrong checksum after all others.
///
/// Source: PROXY protocol 2.2, type-length-value, and 2.2.3 to 2.2.6.
pub(crate) fn check(header: &mut Header<'_>, checksum: Checksum) -> Result<(), DecodeError> {
    let is_local = header.command == Command::Local;
    if is_local && !behind_items(header.tlvs).is_empty() {
        header.tlvs = &[];
        return Ok(());
    }
    let raw = header.raw;
    // Counts from the header's end, since the area ends with it.
    let wrong = |kind, rest: &[u8], skip: usize| {
        Err(DecodeError::new(kind, raw.len().wrapping_sub(rest.len()).wrapping_add(skip), raw))
    };
    let mut rest = header.tlvs;
    let mut crc: Option<(u32, usize)> = None;
    while !rest.is_empty() {
        let Some((tlv, next)) = split_item(rest) else {
            // Stray bytes are wrong where they begin, an overrun where its length stands.
            return wrong(DecodeErrorKind::TlvTruncated, rest, usize::from(rest.len() >= 3));
        };
        match tlv.kind {
            TlvType::CRC32C => {
                if crc.is_some() {
                    return wrong(DecodeErrorKind::TlvDuplicateChecksum, rest, 0);
                }
                let Ok(value) = <[u8; 4]>::try_from(tlv.value) else {
                    return wrong(DecodeErrorKind::TlvChecksum, rest, 1);
                };
                let value_at = raw.len().wrapping_sub(next.len()).wrapping_sub(4);
                crc = Some((u32::from_be_bytes(value), value_at));
            }
            TlvType::UNIQUE_ID if tlv.value.len() > UNIQUE_ID_MAX_LEN && !is_local => {
                return wrong(DecodeErrorKind::TlvUniqueId, rest, 1);
            }
            TlvType::SSL if !is_local => {
                if let Err(at) = Ssl::check(tlv.value) {
                    return wrong(DecodeErrorKind::TlvSsl, rest, at);
                }
            }
            _ => {}
        }
        rest = next;
    }
    match (crc, checksum) {
        (Some((value, at)), Checksum::Verify) if crc32c::of_header(raw, at) != value => {
            Err(DecodeError::new(DecodeErrorKind::TlvChecksum, at, raw))
        }
        _ => Ok(()),
    }
}
