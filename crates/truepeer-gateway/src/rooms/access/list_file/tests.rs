use super::*;

fn parse(text: impl AsRef<[u8]>) -> ListFile {
    ListFile::parse(Path::new("deny.txt"), text.as_ref()).unwrap()
}

const NO_ADDRESS: BadLineReason = BadLineReason::Network(NetworkError::NotAnAddress);

#[test]
fn lines_that_are_read_and_lines_that_say_nothing() {
    for (text, entries) in [
        (&b""[..], 0),
        (b"\n\r\n  \t\n", 0),
        (b"# comment\n; comment\n   # indented\n", 0),
        (b"192.0.2.1", 1),
        (b"192.0.2.1\n", 1),
        (b"192.0.2.1\r\n198.51.100.0/24\r\n", 2),
        (b"  192.0.2.1\t\n", 1),
        (b"192.0.2.1 # with reason\n192.0.2.2; SBL1\n192.0.2.3#x\n192.0.2.4 ; \xe9 in Latin-1\n", 4),
        (b"\xef\xbb\xbf192.0.2.1\n", 1),
        (b"\xef\xbb\xbf# comment\n192.0.2.1\n", 1),
        (b"2001:db8::/32\n::ffff:192.0.2.1\n", 2),
        (b"192.0.2.1\n192.0.2.1\n", 2),
    ] {
        let file = parse(text);
        assert_eq!((file.entries(), file.skipped()), (entries, 0), "{}", text.escape_ascii());
    }
}

#[test]
fn bad_lines_are_skipped_and_named() {
    let long = "1".repeat(MAX_LINE + 1);
    let prefix = BadLineReason::Network(NetworkError::PrefixLength { most: 32 });
    for (line, reason) in [
        (&b"mail.example.org"[..], NO_ADDRESS),
        (b"<html>", NO_ADDRESS),
        (b"192.0.2.1,spam", NO_ADDRESS),
        (b"192.0.2.1-192.0.2.9", NO_ADDRESS),
        (b"192.0.2.0/33", prefix),
        (b"192.0.2.0 192.0.2.255 24", BadLineReason::Trailing),
        (b"192.0.2.1 spam", BadLineReason::Trailing),
        (b"192.0.2.1\xe9", BadLineReason::Encoding),
        (b"\xef\xbb\xbf192.0.2.1", NO_ADDRESS),
        (long.as_bytes(), BadLineReason::TooLong),
    ] {
        let text = [b"192.0.2.1\n", line, b"\n192.0.2.2\n"].concat();
        let file = parse(&text);
        let name = line.escape_ascii();
        assert_eq!((file.entries(), file.skipped()), (2, 1), "{name}");
        assert_eq!(file.bad_lines(), [BadLine { line: 2, reason }], "{name}");
    }
}

#[test]
fn a_line_of_the_greatest_length_is_read() {
    let padded = format!("192.0.2.1{}\n192.0.2.2", " ".repeat(MAX_LINE - 9));
    assert_eq!((parse(&padded).entries(), parse(&padded).skipped()), (2, 0));
    // At the end of the file, too, and without a line feed.
    let cut = format!("192.0.2.2\n{}", "#".repeat(10 * MAX_LINE));
    assert_eq!(parse(&cut).bad_lines(), [BadLine { line: 2, reason: BadLineReason::TooLong }]);
}

#[test]
fn only_the_first_bad_lines_are_named() {
    let file = parse("bad\n".repeat(MAX_NAMED_LINES + 3));
    assert_eq!((file.skipped(), file.bad_lines().len()), (MAX_NAMED_LINES + 3, MAX_NAMED_LINES));
}

#[test]
fn the_report_is_one_sentence() {
    assert_eq!(parse("192.0.2.1\n192.0.2.2\n").to_string(), "deny.txt: 2 entries");
    assert_eq!(
        parse("bad\n192.0.2.1\n192.0.2.0/99\n").to_string(),
        "deny.txt: 1 entries, 2 lines skipped: line 1: not an IP address or network; \
         line 3: the prefix length must be a number from 0 to 32"
    );
    assert_eq!(
        parse("<html>\n".repeat(9)).to_string().split("; ").skip(4).collect::<Vec<_>>(),
        ["line 5: not an IP address or network", "and more", "no line is a network: is this the right file?"]
    );
}

#[test]
fn an_entry_that_shuts_out_half_the_world_is_an_error() {
    for (text, line, network) in [
        ("0.0.0.0/0", 1, "0.0.0.0/0"),
        ("192.0.2.1\n\n10.0.0.0/7\n", 3, "10.0.0.0/7"),
        ("::/0\n", 1, "::/0"),
        ("2000::/15\n", 1, "2000::/15"),
        ("::ffff:0:0/96\n", 1, "0.0.0.0/0"),
    ] {
        let error = ListFile::parse(Path::new("deny.txt"), text.as_bytes()).unwrap_err();
        let ListFileError::TooWide { line: at, network: found, .. } = &error else { panic!("{error:?}") };
        assert_eq!((*at, found.to_string().as_str()), (line, network), "{text}");
        assert!(error.to_string().starts_with(&format!("deny.txt, line {line}: {network} is wider than /8")));
    }
    assert_eq!(parse("10.0.0.0/8\n2001::/16\n").entries(), 2);
}

#[test]
fn a_missing_file_is_an_error_with_its_cause() {
    let dir = std::env::temp_dir();
    let missing = dir.join("truepeer-list-that-does-not-exist");
    let error = ListFile::read(&missing).unwrap_err();
    let ListFileError::Unreadable { path, cause } = &error else { panic!("{error:?}") };
    assert_eq!((path, cause.kind()), (&missing, io::ErrorKind::NotFound));

    let error = ListFile::read(&dir).unwrap_err();
    assert!(matches!(&error, ListFileError::NotAFile { path } if *path == dir), "{error:?}");
    assert!(matches!(ListFile::read(Path::new("/dev/zero")), Err(ListFileError::NotAFile { .. })));
}

#[test]
fn a_file_is_read_from_disk() {
    let path = std::env::temp_dir().join(format!("truepeer-list-{}", std::process::id()));
    std::fs::write(&path, "192.0.2.1\nbad\n").unwrap();
    let file = ListFile::read(&path);
    std::fs::remove_file(&path).unwrap();
    let file = file.unwrap();
    assert_eq!((file.entries(), file.skipped()), (1, 1));
    assert_eq!(file.into_list().source(), &ListSource::File(path.as_path().into()));
}
