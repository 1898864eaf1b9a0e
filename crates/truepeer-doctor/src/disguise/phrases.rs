//! Phrases behind which a program writes the one byte that it read as a type, a version or a packet's number.
//!
//! One small number says little, so each phrase names a thing that only a broken connection shows. Only data.

use truepeer_proto::Version;

use super::{Around, Guise, Near, Reading};

/// The first byte of a header of each version, and the second: a `P` and an `R`, a CR and an LF.
const FIRST: [(Version, u8); 2] = [(Version::V1, b'P'), (Version::V2, b'\r')];
const SECOND: [(Version, u8); 2] = [(Version::V1, b'R'), (Version::V2, b'\n')];
/// And the fourth: an `X` and an LF.
const FOURTH: [(Version, u8); 2] = [(Version::V1, b'X'), (Version::V2, b'\n')];
/// A `P` alone: a version 13 of something is nothing remarkable.
const P: [(Version, u8); 1] = [(Version::V1, b'P')];

/// Each phrase, and the bytes that it is asked for.
pub(super) fn forms() -> Vec<Guise> {
    let mut forms = Vec::new();
    let mut add = |phrase: &str, version, reading, around| {
        forms.push(Guise { text: phrase.to_owned(), version, reading, around });
    };
    for phrase in LENGTHS {
        add(phrase, Version::V1, Reading::Number, Around::ThenNot(b'P', Near::Expected));
    }
    add("protocol version", Version::V1, Reading::Number, Around::ThenNot(b'P', Near::Unsupported));
    add("proto type", Version::V1, Reading::Number, Around::ThenNot(b'R', Near::Unsupported));
    for (phrases, bytes) in
        [(TYPES, &FIRST[..]), (VERSIONS, &P[..]), (NUMBERS, &SECOND[..]), (SEQUENCES, &FOURTH[..])]
    {
        for (phrase, (version, byte)) in
            phrases.iter().flat_map(|phrase| bytes.iter().map(move |byte| (phrase, byte)))
        {
            add(phrase, *version, Reading::Number, Around::Then(*byte));
        }
    }
    for (phrase, (version, byte)) in
        TAGS.iter().flat_map(|phrase| FIRST.iter().map(move |byte| (phrase, byte)))
    {
        add(phrase, *version, Reading::Number, Around::ThenNot(*byte, Near::Expected));
    }
    for (phrase, version, near) in TOGETHER {
        add(phrase, *version, Reading::Number, Around::With(*near));
    }
    // MQTT: the second byte is the length of what remains.
    add("remaining length", Version::V1, Reading::Number, Around::ThenNot(b'R', Near::FirstPacket));
    for phrase in REST {
        add(phrase, Version::V1, Reading::Text, Around::Addresses);
    }
    forms
}

/// The first byte is a type, or a version that is told as no other is.
const TYPES: &[&str] = &[
    "unsupported_record_type",
    "unsupported record type",
    "unexpected record type",
    "unknown record type",
    "invalid record type",
    "unknown packet type",
    "invalid packet type",
    "unexpected packet type",
    "unrecognized rpc byte",
    "expected hello, got",
    "frontend message type",
    "tls record type",
    "ssl record type",
    "unknown message type",
    "invalid message type",
    "unexpected message type",
    "unknown frame type",
    "invalid opcode",
    "unknown opcode",
    "bad opcode",
    "invalid first byte",
    "unexpected first byte",
    "invalid magic byte",
    "bad magic byte",
    "invalid version of beats protocol",
    "invalid or unsupported protocol version (",
];
/// The first byte is a version, or a type that others have a use for, too.
const VERSIONS: &[&str] = &[
    "unsupported protocol version",
    "invalid protocol version",
    "unknown protocol version",
    "bad protocol version",
    "wrong type",
    "illegal type",
    "pdu of type",
    "unrecognized pdu type",
    "unknown pdu type",
    "invalid pdu type",
    "unknown lpd command",
    "unrecognized command code",
    "unknown command code",
    "invalid command code",
    "unsupported proto version",
    "unknown proto version",
    "invalid proto version",
];
/// The first byte is the tag of something that could have been of one kind only.
const TAGS: &[&str] = &["message (tag", "ber tag", "unexpected tag", "invalid tag", "wrong tag"];
/// The first byte is a length or a version, beside the one that was due.
const LENGTHS: &[&str] = &[
    "protocol length",
    "bad length",
    "invalid length",
    "unexpected length",
    "unsupported version",
    "unknown version",
    "invalid version",
    "wrong version",
    "bad version",
];
/// What the first byte is called, and what a text must speak of besides: MQTT reads a `P` as PUBREC, MessagePack as the
/// number 80.
const TOGETHER: &[(&str, Version, Near)] = &[
    ("pubrec", Version::V1, Near::FirstPacket),
    ("msg=80", Version::V1, Near::Broken),
    ("msg=13", Version::V2, Near::Broken),
];
/// HTTP takes the first two words of a version 1 line for method and path, and its rest for this.
const REST: &[&str] = &[
    "http protocol",
    "http version",
    "http_version",
    "protocol version",
    "invalid version",
    "unsupported version",
    "unrecognized version",
    "unknown version",
    "malformed version",
    "bad version",
];
/// The first byte is a length, and the second a packet's number or a frame's type.
const NUMBERS: &[&str] =
    &["bad packet id", "unknown packet id", "invalid packet id", "invalid frame type, received"];
/// The first three bytes are a length, and the fourth is a packet's place in a row.
const SEQUENCES: &[&str] =
    &["invalid sequence, received", "invalid packet sequence", "unexpected sequence number"];
