use super::*;

/// A directory of its own for each test, gone at its end.
pub(in crate::rooms::bans) struct Dir(PathBuf);

impl Dir {
    pub(in crate::rooms::bans) fn new(test: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("truepeer-bans-{}-{test}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        Self(dir)
    }

    pub(in crate::rooms::bans) fn state(&self) -> PathBuf {
        self.0.join("bans")
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(&self.0)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(in crate::rooms::bans) fn ban(network: &str, since: u64, until: u64, reason: &str) -> Ban {
    Ban {
        network: network.parse().unwrap(),
        since: time(since),
        until: time(until),
        reason: BanReason::new(reason),
        node: None,
    }
}

fn some_bans() -> Vec<Ban> {
    vec![
        ban("192.0.2.7/32", 1_700_000_000, 1_700_003_600, "fail2ban sshd"),
        ban("198.51.100.0/24", 1_700_000_001, 1_700_003_601, ""),
        ban("2001:db8:1:2::/64", 1_700_000_002, 1_700_003_602, "tab\there, line\nthere, \u{e9}"),
    ]
}

fn read(text: impl AsRef<[u8]>) -> LoadedBans {
    decode(text.as_ref(), None).unwrap().unwrap()
}

#[test]
fn the_text_of_the_file() {
    let mut text = Vec::new();
    encode(&mut text, &some_bans(), None).unwrap();
    assert_eq!(
        String::from_utf8(text).unwrap(),
        "truepeer-bans 1\n\
         192.0.2.7/32\t1700000000\t1700003600\tfail2ban sshd\n\
         198.51.100.0/24\t1700000001\t1700003601\t\n\
         2001:db8:1:2::/64\t1700000002\t1700003602\ttab\\there, line\\nthere, \u{e9}\n"
    );
}

#[test]
fn what_was_saved_is_loaded() {
    let dir = Dir::new("roundtrip");
    for bans in [Vec::new(), some_bans(), some_bans().split_off(1)] {
        save(&dir.state(), &bans, None).unwrap();
        assert_eq!(load(&dir.state()).unwrap(), LoadedBans { bans, ..LoadedBans::default() });
        assert_eq!(dir.names(), ["bans"]);
    }
}

#[test]
fn the_file_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let dir = Dir::new("mode");
    save(&dir.state(), &some_bans(), None).unwrap();
    assert_eq!(std::fs::metadata(dir.state()).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn the_longest_line_is_read_back() {
    let longest = ban(
        "2001:db8:1234:5678:9abc:def0:1234:5678/128",
        u64::MAX,
        u64::MAX,
        &"\u{e9}".repeat(BanReason::MAX_LEN),
    );
    let mut text = Vec::new();
    encode(&mut text, std::slice::from_ref(&longest), None).unwrap();
    assert_eq!(read(&text).bans, [longest]);
}

#[test]
fn a_missing_and_an_empty_file_hold_no_bans() {
    let dir = Dir::new("missing");
    assert_eq!(load(&dir.state()).unwrap(), LoadedBans::default());
    std::fs::write(dir.state(), "").unwrap();
    assert_eq!(load(&dir.state()).unwrap(), LoadedBans::default());
}

#[test]
fn a_crash_while_saving_leaves_the_old_bans_and_the_next_save_works() {
    let dir = Dir::new("crash");
    let bans = some_bans();
    save(&dir.state(), &bans, None).unwrap();
    let mut text = Vec::new();
    encode(&mut text, &bans[..1], None).unwrap();
    for kept in [0, 5, text.len() / 2, text.len()] {
        std::fs::write(temporary(&dir.state()), &text[..kept]).unwrap();
        assert_eq!(load(&dir.state()).unwrap().bans, bans, "{kept} bytes of the temporary file");
    }
    save(&dir.state(), &bans[1..], None).unwrap();
    assert_eq!(load(&dir.state()).unwrap().bans, &bans[1..]);
    assert_eq!(dir.names(), ["bans"]);
}

#[test]
fn a_temporary_file_that_is_a_link_is_not_followed() {
    let dir = Dir::new("link");
    let elsewhere = dir.0.join("elsewhere");
    std::fs::write(&elsewhere, "precious").unwrap();
    std::os::unix::fs::symlink(&elsewhere, temporary(&dir.state())).unwrap();
    save(&dir.state(), &some_bans(), None).unwrap();
    assert_eq!(std::fs::read_to_string(&elsewhere).unwrap(), "precious");
    assert_eq!(load(&dir.state()).unwrap().bans, some_bans());
}

#[test]
fn a_save_that_fails_leaves_the_old_file_and_nothing_beside_it() {
    let dir = Dir::new("fails");
    // A directory with something in it cannot be replaced by a file.
    std::fs::create_dir(dir.state()).unwrap();
    std::fs::write(dir.state().join("kept"), "").unwrap();
    save(&dir.state(), &some_bans(), None).unwrap_err();
    assert_eq!(dir.names(), ["bans"]);
    let missing = dir.0.join("missing").join("bans");
    assert_eq!(save(&missing, &some_bans(), None).unwrap_err().kind(), io::ErrorKind::NotFound);
}

#[test]
fn bad_lines_are_skipped_and_the_others_kept() {
    for (line, reason) in [
        (&b""[..], BadStateReason::Fields),
        (b"192.0.2.7/32\t1\t2", BadStateReason::Fields),
        (b"192.0.2.7/32\t1\t2\tx\tno name", BadStateReason::Fields),
        (b"192.0.2.7/32\t1\t2\tx\tmx2\tz", BadStateReason::Fields),
        (b"nonsense\t1\t2\tx", BadStateReason::Network),
        (b"192.0.2.7/33\t1\t2\tx", BadStateReason::Network),
        (b"192.0.2.7/32\t\t2\tx", BadStateReason::Time),
        (b"192.0.2.7/32\t1\t-2\tx", BadStateReason::Time),
        (b"192.0.2.7/32\t1\t2\t\xff", BadStateReason::Encoding),
        (b"\0\0\0\0", BadStateReason::Fields),
        (&[b'x'; 2 * MAX_LINE], BadStateReason::Encoding),
    ] {
        let text =
            [b"truepeer-bans 1\n192.0.2.1/32\t1\t2\tfirst\n", line, b"\n192.0.2.3/32\t1\t2\tlast\n"].concat();
        let loaded = read(&text);
        let name = line.escape_ascii();
        assert_eq!(
            loaded.bans,
            [ban("192.0.2.1/32", 1, 2, "first"), ban("192.0.2.3/32", 1, 2, "last")],
            "{name}"
        );
        assert_eq!(
            (loaded.skipped, &*loaded.bad_lines),
            (1, &[BadStateLine { line: 3, reason }][..]),
            "{name}"
        );
    }
}

#[test]
fn only_the_first_bad_lines_are_named() {
    let loaded = read(format!("truepeer-bans 1\n{}", "bad\n".repeat(MAX_NAMED_LINES + 3)));
    assert_eq!((loaded.skipped, loaded.bad_lines.len()), (MAX_NAMED_LINES + 3, MAX_NAMED_LINES));
    assert_eq!(loaded.bad_lines[0].to_string(), "line 2: not four fields");
}

#[test]
fn a_file_cut_off_anywhere_keeps_every_whole_line_and_invents_none() {
    let bans = some_bans();
    let mut text = Vec::new();
    encode(&mut text, &bans, None).unwrap();
    for kept in 0..text.len() {
        let cut = &text[..kept];
        let lines = cut.iter().filter(|byte| **byte == b'\n').count();
        let whole = lines.saturating_sub(1);
        let loaded = read(cut);
        assert_eq!(loaded.bans, &bans[..whole], "{kept} bytes");
        let ends_whole = kept == 0 || cut.ends_with(b"\n");
        assert_eq!(loaded.skipped, usize::from(!ends_whole), "{kept} bytes");
    }
}

#[test]
fn a_file_of_somebody_else_is_not_touched() {
    let dir = Dir::new("foreign");
    for text in [
        "# deny list\n192.0.2.1\n",
        "truepeer-bans 2\n",
        "truepeer-bans 10\n",
        "\n",
        "x",
        " truepeer-bans 1\n",
    ] {
        std::fs::write(dir.state(), text).unwrap();
        let error = load(&dir.state()).unwrap_err();
        assert!(
            matches!(&error, StateError::NotOurs { path } if *path == dir.state()),
            "{text:?}: {error:?}"
        );
    }
    std::fs::remove_file(dir.state()).unwrap();
    std::fs::create_dir(dir.state()).unwrap();
    let error = load(&dir.state()).unwrap_err();
    assert!(matches!(&error, StateError::Unreadable { path, .. } if *path == dir.state()), "{error:?}");
}
