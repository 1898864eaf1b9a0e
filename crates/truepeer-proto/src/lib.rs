//! PROXY protocol versions 1 and 2: bytes to meaning and back.
//!
//! A proxy that forwards a connection hides its client: the server sees the proxy's address.
//! The PROXY protocol cures that with one header in front of everything else, and this crate
//! is that header, whole: both versions, every address family, every registered TLV.
//! It reads no socket, allocates nothing, depends on nothing and decides nothing: whether a
//! header may be believed is its caller's question, and so is how long to wait for it.
//!
//! Decoding borrows the received bytes and has three ends:
//! [`Decode::Complete`] with the length of the header, [`Decode::Incomplete`] with the number of
//! bytes that are missing at least, or a [`DecodeError`] with its kind and byte offset.
//! "Need more" is never an error, and no prefix of a valid header is ever refused.
//!
//! ```
//! use truepeer_proto::{Addresses, Decode, Encoder, decode};
//!
//! let received = b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 25\r\nEHLO client.example\r\n";
//! let Decode::Complete { header, len } = decode(received)? else {
//!     return Ok(()); // read more
//! };
//! assert_eq!(header.addresses().source().unwrap().to_string(), "192.0.2.1:56324");
//! assert_eq!(&received[len..], b"EHLO client.example\r\n");
//!
//! let mut out = [0; 64];
//! let written = Encoder::v2(header.addresses()).with_checksum().encode(&mut out)?;
//! assert_eq!(written, 35);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Strict by default: `docs/spec-coverage.md` lists every rule of the specification with the
//! code that holds it and the test that proves it.
//! Where real senders break a rule, a named switch of [`Decoder`] lets that one case in.
//!
//! Needs Rust 1.88; a lint refuses what only a newer one has.
//!
//! No input panics: the lint table forbids unchecked indexing and arithmetic, a test finds no
//! panic routine in the optimised object code, and the oracle test feeds it generated and
//! mutated headers.
#![no_std]
#![forbid(unsafe_code)]
// Items show the feature that they need.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod address;
mod crc32c;
mod decode;
mod encode;
mod error;
mod header;
pub mod spp;
mod tlv;
mod v1;
mod v2;

pub use address::{Addresses, UnixAddress};
pub use decode::{Checksum, Decode, Decoder, MixedFamilies, Versions, decode};
pub use encode::Encoder;
pub use error::{DecodeError, DecodeErrorKind, EncodeError};
pub use header::{Command, Header, Transport, Version};
pub use tlv::{ClientFlags, Ssl, SslFacts, Tlv, TlvType, TlvValue, Tlvs};

/// The twelve bytes that open every version 2 header. Source: PROXY protocol 2.2.
pub const V2_SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// The six bytes that open every version 1 header. Source: PROXY protocol 2.1.
pub const V1_SIGNATURE: [u8; 6] = *b"PROXY ";
/// The longest version 1 line, CRLF included. Source: PROXY protocol 2.1.
pub const V1_MAX_LEN: usize = 107;
/// The fixed part of a version 2 header. Source: PROXY protocol 2.2.
pub const V2_MIN_LEN: usize = 16;
/// The longest version 2 header that the length field can announce. Source: PROXY protocol 2.2.
pub const V2_MAX_LEN: usize = 16 + 65_535;

/// The page of the package compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
