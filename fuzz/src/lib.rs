//! Fuzz properties as plain functions: any bytes in, a panic where a promise is broken.
//!
//! A fuzzer calls them with whatever it invents; `cargo test` replays `corpus/` through every one,
//! together with the cases of `vectors/` and generated headers, so that a stable toolchain is enough.
//! A finding becomes a case in `vectors/` first.
#![allow(
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a broken promise must panic"
)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a broken promise must panic")]

pub mod codec;
pub mod doctor;

/// A property: its name, and the function that holds it against some bytes.
pub type Property = (&'static str, fn(&[u8]));

/// Every property there is.
pub const PROPERTIES: &[Property] = &[
    ("codec_never_reads_past_what_it_consumes", codec::never_reads_past_what_it_consumes),
    ("codec_split_is_whole", codec::split_is_whole),
    ("codec_what_is_asked_for_is_never_too_much", codec::what_is_asked_for_is_never_too_much),
    ("codec_tail_is_untouched", codec::tail_is_untouched),
    ("codec_encode_then_decode_is_identity", codec::encode_then_decode_is_identity),
    ("codec_local_never_yields_an_address", codec::local_never_yields_an_address),
    ("codec_frame_agrees_with_decode", codec::frame_agrees_with_decode),
    ("codec_datagram_agrees_with_stream", codec::datagram_agrees_with_stream),
    ("codec_tlvs_account_for_every_byte", codec::tlvs_account_for_every_byte),
    ("codec_errors_point_into_the_input", codec::errors_point_into_the_input),
    ("doctor_account_agrees_with_decode", doctor::account_agrees_with_decode),
    ("doctor_openings_are_fit_for_a_terminal", doctor::openings_are_fit_for_a_terminal),
    ("doctor_logs_split_is_whole", doctor::logs_split_is_whole),
    ("doctor_what_a_machine_shows_is_read", doctor::what_a_machine_shows_is_read),
];
