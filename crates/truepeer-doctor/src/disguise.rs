//! What a header looks like to a program that takes it for its own protocol.
//!
//! The first bytes of a header, in text, in numbers of any base, and as the length, type or version that the program
//! read out of them. Data for the log reader; knows no program by name but to say who cannot read headers at all.

mod phrases;
mod words;

use std::fmt;

use truepeer_proto::{V1_SIGNATURE, V2_SIGNATURE, Version};

use crate::Product;

pub(crate) use words::{BEGINNING, NAMES, NOBODY_KNOWS, NUMBER_OF, WRONG};

/// How a program wrote the bytes down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Reading {
    /// As the text that they are, perhaps with escapes.
    Text,
    /// In base 16, byte by byte or in words.
    Hexadecimal,
    /// In base 10, byte by byte.
    Decimal,
    /// In base 8, byte by byte.
    Octal,
    /// In base 2, byte by byte.
    Binary,
    /// In base64.
    Base64,
    /// As one number: a length, a size, a version, a type.
    Number,
}

impl Reading {
    /// In words for a person.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Text => "as text",
            Self::Hexadecimal => "in hexadecimal",
            Self::Decimal => "in decimal",
            Self::Octal => "in octal",
            Self::Binary => "in binary",
            Self::Base64 => "in base64",
            Self::Number => "read as one number, such as a length or a version",
        }
    }
}

/// What must stand around a form so that it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Around {
    /// Nothing in particular.
    Anything,
    /// No digit or letter before it, no digit behind it.
    Word,
    /// The same capitals.
    SameCase,
    /// As `Word`, and the text must speak of lengths, versions or the like, or of a mistake: a number alone may be
    /// anything.
    NumberOfSomething,
    /// As `NumberOfSomething`, and of a mistake: a small number is often right.
    WrongNumber,
    /// The same capitals, as a word of its own, and the text must say that nobody knows it.
    NobodyKnows,
    /// No digit behind it, and the text must speak of how a connection begins.
    Beginning,
    /// This number right behind it.
    Then(u8),
    /// This number right behind it, and the text must say what else was due.
    ThenNot(u8, Near),
    /// The text must speak of this.
    With(Near),
    /// The same capitals, as a word of its own.
    Name,
    /// The same capitals, no letter or digit behind it, and the text must speak of a mistake.
    Cut,
    /// Two addresses and two ports right behind it: the rest of a version 1 line.
    Addresses,
}

/// What a text must speak of besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Near {
    /// Something else was due.
    Expected,
    /// It was the first that came.
    FirstPacket,
    /// It was cut where it is no more what it should be.
    Broken,
    /// It is of a kind that is not supported.
    Unsupported,
    /// It is a request that is none.
    Request,
}

impl Near {
    /// Each of them.
    pub(crate) const ALL: [Self; 5] =
        [Self::Expected, Self::FirstPacket, Self::Broken, Self::Unsupported, Self::Request];

    /// The words by which it is known.
    pub(crate) const fn words(self) -> &'static [&'static str] {
        match self {
            Self::Expected => words::EXPECTED,
            Self::FirstPacket => words::FIRST_PACKET,
            Self::Broken => words::BROKEN,
            Self::Unsupported => words::UNSUPPORTED,
            Self::Request => words::REQUEST,
        }
    }
}

/// One way to write the beginning of a header.
#[derive(Debug, Clone)]
pub(crate) struct Guise {
    pub(crate) text: String,
    pub(crate) version: Version,
    pub(crate) reading: Reading,
    pub(crate) around: Around,
}

/// Every guise.
pub(crate) fn forms() -> Vec<Guise> {
    let mut forms = texts();
    forms.extend(phrases::forms());
    let (v1, v2) = (V1_SIGNATURE.split_at(5).0, V2_SIGNATURE.split_at(7).0);
    // What is left where the first bytes were already taken for something.
    let (left_of_v1, left_of_v2) = (b"XY TCP", V2_SIGNATURE.split_at(4).1);
    for (version, bytes) in
        [(Version::V1, v1), (Version::V2, v2), (Version::V1, left_of_v1), (Version::V2, left_of_v2)]
    {
        byte_by_byte(&mut forms, version, bytes);
    }
    megabytes(&mut forms);
    for (version, bytes) in [(Version::V1, [80, 82, 79]), (Version::V2, [13, 10, 13])] {
        first_three(&mut forms, version, bytes);
    }
    for (version, begin) in [(Version::V1, *b"PROXY TC"), (Version::V2, *b"\r\n\r\n\0\r\nQ")] {
        words(&mut forms, version, begin);
        numbers(&mut forms, version, begin);
    }
    forms
}

fn texts() -> Vec<Guise> {
    use Around::{Anything, Cut, Name, NobodyKnows, SameCase};
    let v1 = [
        ("PROXY TCP4", Anything),
        ("PROXY TCP6", Anything),
        ("PROXY UNKNOWN", SameCase),
        // Where the first bytes were already taken for something.
        ("XY TCP4", SameCase),
        ("XY TCP6", SameCase),
        ("PROXY", NobodyKnows),
        ("\"PROX\"", SameCase),
        ("'PROX'", SameCase),
        ("`PROX`", SameCase),
        // IMAP takes it for the tag of a command, and answers with it.
        ("PROXY BAD ", Name),
        ("PROXY NO Error", Name),
        ("PROXY NO Unknown", Name),
        ("PROXY NO Invalid", Name),
        ("PROXY NO Command", Name),
        (": PROX", Cut),
        ("method PROXY is not", SameCase),
        ("command PROXY is not", SameCase),
        ("verb PROXY is not", SameCase),
        // The second word, where a path was due.
        ("\"TCP4\"", Around::With(Near::Request)),
        ("'TCP4'", Around::With(Near::Request)),
        ("\"TCP6\"", Around::With(Near::Request)),
        ("'TCP6'", Around::With(Near::Request)),
        // The first byte beside the one that was due.
        ("got 0x50", Around::With(Near::Expected)),
        ("received 0x50", Around::With(Near::Expected)),
        ("found 0x50", Around::With(Near::Expected)),
        ("was 0x50", Around::With(Near::Expected)),
        ("byte 0x50", Around::With(Near::Expected)),
        // A protocol's name of three letters.
        ("PRO", NobodyKnows),
        ("\"PROXY TC\"", Anything),
        ("'PROXY TC'", Anything),
        ("PROXY%20TCP", Anything),
        ("PROXY+TCP", Anything),
        ("PROXY0x20TCP", Anything),
        ("PROXY\\x20TCP", Anything),
        ("PROXY\\u0020TCP", Anything),
        ("PROXY\\040TCP", Anything),
        ("PROXY&#32;TCP", Anything),
        // `od -c`.
        ("P   R   O   X   Y", Anything),
        // The first four bytes in base 16, as Elasticsearch and its kin print them.
        ("(50,52,4f,58)", Anything),
    ];
    let v2 = [
        // Web servers, Redis and others skip empty lines first.
        r"\0\r\nQUIT",
        r"\x00\r\nQUIT",
        r"\000\r\nQUIT",
        r"\u0000\r\nQUIT",
        r"\\0\\r\\nQUIT",
        r"\\x00\\r\\nQUIT",
        r"\\u0000\\r\\nQUIT",
        "^@^M^JQUIT",
        r#"\r\n\r\n",0"#,
        r"'\x00\x0D\x0A'",
        r"\r\n\r\n\0",
        r"\r\n\r\n\x00",
        r"\r\n\r\n\u0000",
        r"\\r\\n\\r\\n\\0",
        r"\\r\\n\\r\\n\\x00",
        r"\\r\\n\\r\\n\\u0000",
        // `od -c`.
        r"\r  \n  \r  \n  \0",
        "^M^J^M^J^@",
        "<CR><LF><CR><LF>",
        "[CR][LF][CR][LF]",
        "&#13;&#10;&#13;&#10;",
        "␍␊␍␊␀",
        "(d,a,d,a)",
        // The bytes themselves, when their line ends have become spaces.
        "\0 QUIT",
    ];
    let base64 = [("UFJPWFkg", Version::V1), ("UFJPWFlU", Version::V1), ("DQoNCgANClFVSVQK", Version::V2)];
    let text =
        |text: &str, version, reading, around| Guise { text: text.to_owned(), version, reading, around };
    let v1 = v1.iter().map(|(form, around)| text(form, Version::V1, Reading::Text, *around));
    let v2 = v2.iter().map(|form| text(form, Version::V2, Reading::Text, Anything));
    let base64 = base64.iter().map(|(form, version)| text(form, *version, Reading::Base64, SameCase));
    let null = [r"'\x00'", r#""\x00""#, r"'\u0000'", r#""\u0000""#, r"'\0'", r#""\0""#];
    let null = null.iter().map(|form| text(form, Version::V2, Reading::Text, NobodyKnows));
    v1.chain(v2).chain(base64).chain(null).collect()
}

/// Before each byte, between two bytes, behind each.
const STYLES: &[(&str, &str, &str)] = &[
    ("", "", ""),
    ("", " ", ""),
    ("", ":", ""),
    ("", "-", ""),
    ("", ",", ""),
    ("", ", ", ""),
    ("", ".", ""),
    ("\\x", "", ""),
    ("\\\\x", "", ""),
    ("0x", "", ""),
    ("0x", " ", ""),
    ("0x", ",", ""),
    ("0x", ", ", ""),
    ("%", "", ""),
    ("#", "", ""),
    ("=", "", ""),
    ("$", " ", ""),
    ("\\u00", "", ""),
    ("\\\\u00", "", ""),
    ("<", "", ">"),
    ("\\", "", ""),
    ("\\\\", "", ""),
];

/// Bytes one by one, in every base and style in which they can be told apart.
fn byte_by_byte(forms: &mut Vec<Guise>, version: Version, bytes: &[u8]) {
    let mut add = |reading, around, style: &(&str, &str, &str), digits: &dyn Fn(u8) -> String| {
        let (before, between, behind) = style;
        let each: Vec<_> = bytes.iter().map(|byte| format!("{before}{}{behind}", digits(*byte))).collect();
        forms.push(Guise { text: each.join(between), version, reading, around });
    };
    for style in STYLES {
        let separated = *style != ("", "", "");
        let backslash = style.0.ends_with('\\');
        if !backslash {
            add(Reading::Hexadecimal, Around::Anything, style, &|byte| format!("{byte:02x}"));
        }
        if style.0 == "0x" {
            add(Reading::Hexadecimal, Around::Anything, style, &|byte| format!("{byte:x}"));
        }
        if style.0.is_empty() && separated {
            add(Reading::Decimal, Around::Word, style, &|byte| byte.to_string());
        }
        if *style == ("", " ", "") {
            add(Reading::Binary, Around::Word, style, &|byte| format!("{byte:08b}"));
        }
        if (style.0.is_empty() && separated) || backslash {
            let around = if backslash { Around::Anything } else { Around::Word };
            add(Reading::Octal, around, style, &|byte| format!("{byte:03o}"));
        }
    }
}

/// The first three bytes as lists begin; so few count only where a text speaks of how a connection begins.
fn first_three(forms: &mut Vec<Guise>, version: Version, [a, b, c]: [u8; 3]) {
    for between in [" ", ",", ", "] {
        for before in ["[", "(", "{", "<<"] {
            let text = format!("{before}{a}{between}{b}{between}{c}");
            forms.push(Guise { text, version, reading: Reading::Decimal, around: Around::Beginning });
        }
    }
}

/// Dumps in words of two and four bytes, in either order.
fn words(forms: &mut Vec<Guise>, version: Version, [a, b, c, d, e, f, g, h]: [u8; 8]) {
    let mut add = |text: String| {
        forms.push(Guise { text, version, reading: Reading::Hexadecimal, around: Around::Word });
    };
    add(format!("{a:02x}{b:02x} {c:02x}{d:02x} {e:02x}{f:02x}"));
    add(format!("{b:02x}{a:02x} {d:02x}{c:02x} {f:02x}{e:02x}"));
    add(format!("{a:02x}{b:02x}{c:02x}{d:02x} {e:02x}{f:02x}{g:02x}{h:02x}"));
    add(format!("{d:02x}{c:02x}{b:02x}{a:02x} {h:02x}{g:02x}{f:02x}{e:02x}"));
}

/// The first bytes as one number of eight, four, three or two bytes, and what TLS reads as version and length.
fn numbers(forms: &mut Vec<Guise>, version: Version, begin: [u8; 8]) {
    let [a, b, c, d, e, ..] = begin;
    let wide = [u64::from_be_bytes(begin), u64::from_le_bytes(begin)];
    let four = [u32::from_be_bytes([a, b, c, d]), u32::from_le_bytes([a, b, c, d])];
    // NetBIOS and others have their length behind the first byte.
    let three = [[0, a, b, c], [0, c, b, a], [0, b, c, d]].map(u32::from_be_bytes);
    let two = [[a, b], [b, a], [b, c], [c, b], [d, e]].map(u16::from_be_bytes);
    // Netty adds the field's own length before it compares.
    let adjusted = u64::from(u32::from_be_bytes([a, b, c, d])).saturating_add(4);
    let large = wide.into_iter().chain(four.map(u64::from)).chain([adjusted]);
    let small = three.map(u64::from).into_iter().chain(two.map(u64::from));
    let usual = |number: u64| {
        [number.to_string(), format!("0x{number:x}"), format!("0x{number:04x}"), format!("0x{number:08x}")]
    };
    let dumped = |number: &u32| [format!("{number:08x}"), format!("0{number:o}"), format!("0o{number:o}")];
    let large: Vec<String> = large.flat_map(usual).chain(four.iter().flat_map(dumped)).collect();
    let small: Vec<String> = small.flat_map(usual).collect();
    for (mut written, around) in [(large, Around::NumberOfSomething), (small, Around::WrongNumber)] {
        written.sort();
        written.dedup();
        forms.extend(written.into_iter().map(|text| Guise {
            text,
            version,
            reading: Reading::Number,
            around,
        }));
    }
}

/// The first four bytes as the size of a frame, as it is told in megabytes of either kind.
fn megabytes(forms: &mut Vec<Guise>) {
    for (version, begin) in [(Version::V1, *b"PROX"), (Version::V2, *b"\r\n\r\n")] {
        let bytes = u32::from_be_bytes(begin);
        for unit in [1_u32 << 20, 1_000_000] {
            let down = bytes.checked_div(unit).unwrap_or(0);
            let mut whole = [down, down.saturating_add(1)].map(|whole| whole.to_string()).to_vec();
            let thousands =
                |text: &String| text.split_at_checked(1).map(|(head, rest)| format!("{head},{rest}"));
            whole.extend(whole.clone().iter().filter(|text| text.len() == 4).filter_map(thousands));
            forms.extend(whole.into_iter().map(|whole| Guise {
                text: format!("frame size of {whole} mb"),
                version,
                reading: Reading::Number,
                around: Around::WrongNumber,
            }));
        }
    }
}

/// Programs that read no header on any port.
pub(crate) fn reads_none(product: Product) -> bool {
    matches!(product, Product::Openssh | Product::Mysql | Product::Postgresql | Product::Redis)
}

impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_are_those_that_programs_write() {
        let forms = forms();
        for (text, version, reading) in [
            ("1347571544", Version::V1, Reading::Number),
            ("218762506", Version::V2, Reading::Number),
            ("1481593424", Version::V1, Reading::Number),
            ("168626701", Version::V2, Reading::Number),
            ("0x524f", Version::V1, Reading::Number),
            ("0x0a0d", Version::V2, Reading::Number),
            ("5263951", Version::V1, Reading::Number),
            ("50524f5859", Version::V1, Reading::Hexadecimal),
            ("0d 0a 0d 0a 00 0d 0a", Version::V2, Reading::Hexadecimal),
            ("0xd, 0xa, 0xd, 0xa, 0x0, 0xd, 0xa", Version::V2, Reading::Hexadecimal),
            ("0a0d 0a0d 0d00", Version::V2, Reading::Hexadecimal),
            ("80,82,79,88,89", Version::V1, Reading::Decimal),
            ("13, 10, 13, 10, 0, 13, 10", Version::V2, Reading::Decimal),
            ("\\015\\012\\015\\012\\000\\015\\012", Version::V2, Reading::Octal),
            ("120 122 117 130 131", Version::V1, Reading::Octal),
            ("UFJPWFkg", Version::V1, Reading::Base64),
        ] {
            assert!(
                forms
                    .iter()
                    .any(|form| form.text == text && form.version == version && form.reading == reading),
                "{text}"
            );
        }
    }
}
