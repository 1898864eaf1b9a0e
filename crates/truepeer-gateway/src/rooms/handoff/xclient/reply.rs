//! One reply of a mail server, of one line or several.
//!
//! Source: RFC 5321 4.2

/// A whole reply.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reply {
    /// Its code.
    pub(super) code: u16,
    /// How long it is, with its last line's end.
    pub(super) len: usize,
    /// What stands behind the code of each line, in capitals.
    texts: Vec<String>,
}

/// Something that is no reply.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NoReply;

impl Reply {
    /// The reply at the head of `heard`; `None` until it is whole.
    ///
    /// # Errors
    /// A line that belongs to no reply.
    pub(super) fn read(heard: &[u8]) -> Result<Option<Self>, NoReply> {
        let mut len = 0_usize;
        let mut texts = Vec::new();
        let mut first = None;
        for line in heard.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n")) {
            len = len.saturating_add(line.len());
            let line = line.trim_ascii_end();
            let (code, text) = line.split_at_checked(3).ok_or(NoReply)?;
            if !code.iter().all(u8::is_ascii_digit) || first.is_some_and(|first| first != code) {
                return Err(NoReply);
            }
            first = Some(code);
            let (goes_on, text) = match text.split_first() {
                None => (false, text),
                Some((b' ', text)) => (false, text),
                Some((b'-', text)) => (true, text),
                Some(_) => return Err(NoReply),
            };
            texts.push(String::from_utf8_lossy(text).to_ascii_uppercase());
            if !goes_on {
                let digit = |total: u16, byte: &u8| {
                    total.saturating_mul(10).saturating_add(u16::from(byte.wrapping_sub(b'0')))
                };
                return Ok(Some(Self { code: code.iter().fold(0, digit), len, texts }));
            }
        }
        Ok(None)
    }

    /// The attributes that XCLIENT takes, if it is offered.
    pub(super) fn xclient(&self) -> Option<Vec<String>> {
        // The first line of an answer to EHLO is the server's name.
        let mut offers = self.texts.iter().skip(1).map(|text| text.split_ascii_whitespace());
        let mut offer = offers.find(|words| words.clone().next() == Some("XCLIENT"))?;
        offer.next();
        (self.code == 250).then(|| offer.map(str::to_owned).collect())
    }

    /// Whether its text begins with this word.
    pub(super) fn says(&self, word: &str) -> bool {
        let mut words = self.texts.first().into_iter().flat_map(|text| text.split_ascii_whitespace());
        words.next() == Some(word)
    }
}
