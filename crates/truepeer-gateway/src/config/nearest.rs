//! Which known word did they mean? Edit distance, for messages only.

/// The candidate nearest to `word`, if one is near enough to be worth a question.
///
/// Case, `_` and `-` do not count as differences: those are spellings, not words.
pub(super) fn nearest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let limit = (word.chars().count() / 3).max(2);
    candidates
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= limit && *distance < candidate.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions and replacements between the two, spellings aside.
pub(super) fn distance(a: &str, b: &str) -> usize {
    strsim::levenshtein(&fold(a), &fold(b))
}

fn fold(word: &str) -> String {
    word.replace('_', "-").to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (a, b, expected) in [
            ("", "", 0),
            ("bind", "bind", 0),
            ("bnd", "bind", 1),
            ("bnid", "bind", 2),
            ("", "abc", 3),
            ("Max_X", "max-x", 0),
        ] {
            assert_eq!(distance(a, b), expected, "{a} {b}");
            assert_eq!(distance(b, a), expected, "{b} {a}");
        }
    }

    #[test]
    fn far_words_are_not_offered() {
        assert_eq!(nearest("smpt", ["smtp", "imap"]), Some("smtp"));
        assert_eq!(nearest("frobnicate", ["smtp", "imap"]), None);
        assert_eq!(nearest("x", ["ab"]), None);
    }
}
