use super::*;

const LISTENER: &str = "[server.listener.smtp]\nbind = \"[::]:25\"\nprotocol = \"smtp\"\n";

fn imported(text: &str) -> Imported {
    import(text, "config.toml", Behind::default()).unwrap_or_else(|error| panic!("{error}"))
}

/// The lines of our configuration that say who is trusted, server-wide first.
fn trusted(done: &Imported) -> Vec<&str> {
    done.config
        .lines()
        .filter(|line| line.contains("trusted-networks = ") && !line.starts_with('#'))
        .collect()
}

#[test]
fn every_spelling_of_the_trusted_networks_means_what_was_meant_and_says_what_stalwart_made_of_it() {
    const SERVER: &str = "trusted-networks = [\"192.0.2.1\", \"::1\"]";
    const OWN: &str = "proxy.trusted-networks = [\"192.0.2.1\", \"::1\"]";
    const SET: &str = "0.7 and later make an error of each entry";
    let listener = |key: &str, value: &str| format!("{LISTENER}{key} = {value}\n");
    let server = |key: &str, value: &str| format!("server.{key} = {value}\n{LISTENER}");
    let cases: &[(String, &[&str], Option<&str>)] = &[
        (server("proxy.trusted-networks", "[\"192.0.2.1\", \"::1\"]"), &[SERVER], None),
        (server("proxy.trusted-networks", "[\n\"192.0.2.1\", # the first\n'::1',\n]"), &[SERVER], None),
        (server("proxy.trusted-networks", "{\"192.0.2.1\", \"::1\"}"), &[SERVER], Some(SET)),
        (server("proxy.trusted-networks", "{\n \"192.0.2.1\",\n \"::1\"\n}"), &[SERVER], Some(SET)),
        (
            format!("[server.proxy.trusted-networks]\n\"192.0.2.1\" = \"\"\n\"::1\" = \"\"\n{LISTENER}"),
            &[SERVER],
            Some(SET),
        ),
        (
            format!(
                "[server.proxy]\ntrusted-networks.0 = \"192.0.2.1\"\ntrusted-networks.1 = \"::1\"\n{LISTENER}"
            ),
            &[SERVER],
            None,
        ),
        (
            server("proxy-trusted-networks", "[\"192.0.2.1\", \"::1\"]"),
            &[SERVER],
            Some("0.5.1 and 0.5.2 only"),
        ),
        (
            server("proxy.trusted-networks", "\"192.0.2.0/28\""),
            &["trusted-networks = [\"192.0.2.0/28\"]"],
            None,
        ),
        (listener("proxy.trusted-networks", "[\"192.0.2.1\", \"::1\"]"), &[OWN], None),
        (listener("proxy.trusted-networks", "{\"192.0.2.1\", \"::1\"}"), &[OWN], Some(SET)),
        (
            listener("proxy.trusted-networks", "\"192.0.2.1\""),
            &["proxy.trusted-networks = [\"192.0.2.1\"]"],
            Some("0.7 to 0.9 ignore it"),
        ),
        (
            format!(
                "[server]\nproxy.trusted-networks = [\"192.0.2.1\", \"::1\"]\n{LISTENER}proxy.trusted-networks = []\n"
            ),
            &[SERVER],
            Some("does not switch it off: the server-wide list holds"),
        ),
        (
            format!(
                "[server]\nproxy.trusted-networks = [\"192.0.2.1\", \"::1\"]\n{LISTENER}proxy.trusted-networks = \"\"\n"
            ),
            &[SERVER, "proxy.trusted-networks = \"off\""],
            Some("which then trusts nobody here"),
        ),
        (
            format!(
                "[server]\nproxy.trusted-networks = [\"192.0.2.1\", \"::1\"]\n{LISTENER}proxy.override = false\n"
            ),
            &[SERVER],
            Some("the server never reads it"),
        ),
    ];
    for (text, expected, told) in cases {
        let done = imported(text);
        assert_eq!(trusted(&done), *expected, "{text}");
        let said = |told: &str| done.notes.iter().any(|note| note.text.contains(told));
        match told {
            Some(told) => assert!(said(told), "{text}: {:?}", done.notes),
            None => {
                let about = |note: &&Note| note.kind == NoteKind::Stalwart;
                assert_eq!(done.notes.iter().filter(about).count(), 0, "{text}: {:?}", done.notes);
            }
        }
    }
}

#[test]
fn what_stalwart_drops_from_a_list_is_not_trusted_here_and_told() {
    for (entry, told) in [
        ("0.0.0.0/0", "no prefix shorter than 8"),
        ("fc00::/7", "no prefix shorter than 8"),
        ("::/0", "no prefix shorter than 8"),
        ("0.0.0.0", "no wildcard"),
        ("::", "no wildcard"),
        ("", "lost its networks"),
        ("traefik", "here `proxy.trusted-names` looks names up"),
        ("10.0.0.0/8,192.0.2.1", "Invalid IP address"),
        ("10.0.0.0/255.0.0.0", "Invalid IP address"),
        ("%{env:PROXY}%", "a macro"),
    ] {
        let done =
            imported(&format!("server.proxy.trusted-networks = [\"{entry}\", \"192.0.2.1\"]\n{LISTENER}"));
        assert_eq!(trusted(&done), ["trusted-networks = [\"192.0.2.1\"]"], "{entry}");
        let note = done.notes.iter().find(|note| note.kind == NoteKind::Left).unwrap();
        assert!(note.text.contains(told), "{entry}: {note}");
        assert_eq!(note.line(), Some(1));
        // At a listener a list of nothing else trusts nobody, whatever the server-wide one says.
        let alone = format!(
            "server.proxy.trusted-networks = [\"192.0.2.1\"]\n{LISTENER}proxy.trusted-networks = [\"{entry}\"]\n"
        );
        assert_eq!(trusted(&imported(&alone))[1], "proxy.trusted-networks = \"off\"", "{entry}");
        // And server-wide it is nobody.
        let nobody = imported(&format!("server.proxy.trusted-networks = [\"{entry}\"]\n{LISTENER}"));
        assert_eq!(trusted(&nobody), [""; 0], "{entry}");
    }
}

#[test]
fn networks_that_hold_more_or_less_than_they_look_like_are_told() {
    for (entry, written, told) in [
        ("10.1.2.3/8", "10.0.0.0/8", "this is all of 10.0.0.0/8"),
        ("::/8", "::/8", "this holds every IPv4 address, too"),
        ("0.0.0.0/8", "0.0.0.0/8", "this holds ::1, too"),
        ("::ffff:192.0.2.0/120", "192.0.2.0/24", ""),
        ("::ffff:192.0.2.1", "192.0.2.1", ""),
    ] {
        let done = imported(&format!("server.proxy.trusted-networks = [\"{entry}\"]\n{LISTENER}"));
        assert_eq!(trusted(&done), [format!("trusted-networks = [\"{written}\"]")], "{entry}");
        let meaning =
            |note: &&Note| note.kind == NoteKind::Meaning && note.key == "server.proxy.trusted-networks";
        let notes: Vec<_> = done.notes.iter().filter(meaning).collect();
        assert_eq!(notes.len(), usize::from(!told.is_empty()), "{notes:?}");
        assert!(notes.iter().all(|note| note.text.contains(told)), "{notes:?}");
    }
}

#[test]
fn tls_is_implicit_only_where_it_is_enabled() {
    let line = "tls.implicit = true";
    assert!(imported(&format!("{LISTENER}tls.implicit = true\n")).config.contains(line));
    assert!(!imported(&format!("{LISTENER}tls.implicit = false\n")).config.contains(line));
    let disabled = imported(&format!("{LISTENER}tls.implicit = true\ntls.enable = false\n"));
    assert!(!disabled.config.contains(line));
    assert!(disabled.notes.iter().any(|note| note.text.contains("TLS is not enabled")));
}

#[test]
fn backends_get_ports_that_nobody_has() {
    let text =
        "[server.listener.a]\nbind = [\"[::]:25\", \"[::]:10025\", \"[::]:60000\"]\nprotocol = \"smtp\"\n";
    let done = imported(text);
    for (listener, address) in
        [("a", "127.0.0.1:20000"), ("a-10025", "127.0.0.1:20025"), ("a-60000", "127.0.0.1:20001")]
    {
        let section = done.config.split(&format!("[backend.stalwart-{listener}]\n")).nth(1).unwrap();
        assert!(section.lines().nth(1).unwrap().contains(address), "{listener}: {}", done.config);
    }
    assert!(done.config.contains("[server.listener.a]\n"));
    assert_eq!(
        done.stalwart[0],
        "server.listener.a.bind = [\"127.0.0.1:20000\", \"127.0.0.1:20025\", \"127.0.0.1:20001\"]"
    );
}

#[test]
fn the_port_that_policies_ask_for_is_told_unless_it_is_kept() {
    let note = |done: &Imported| done.notes.iter().any(|note| note.key == "local_port");
    assert!(note(&imported(LISTENER)));
    let kept = Behind { addr: [192, 0, 2, 99].into(), ports: Ports::Kept };
    let done = import(LISTENER, "config.toml", kept).unwrap();
    assert!(!note(&done));
    assert!(done.config.contains("address = \"192.0.2.99:25\""));
    let asking = imported(&format!("{LISTENER}[session.x]\ny = \"local_port != 25\"\n"));
    assert!(asking.notes.iter().any(|note| note.key == "session.x.y" && note.kind == NoteKind::Meaning));
}

#[test]
fn what_run_would_not_take_is_not_printed() {
    let kept = Behind { ports: Ports::Kept, ..Behind::default() };
    let error = import(LISTENER, "config.toml", kept).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`truepeer run` would not take what comes of it: backend `stalwart-smtp` is truepeer itself"
    );
}

#[test]
fn nothing_in_a_file_is_dropped() {
    // Each entry's line is told, or its value is in the configuration.
    let text = format!(
        "{LISTENER}unknown-word = 1\n[server]\nmore = \"x\"\nlistener.ghost.bind = \"[::]:1\"\n\
         [elsewhere]\nkey = \"\u{202e}\u{1b}[2J\"\n[server.proxy]\nother = 7\n[server.blocked-ip]\nnonsense = \"\"\n"
    );
    let done = imported(&text);
    for key in [
        "server.listener.smtp.unknown-word",
        "server.more",
        "server.listener.ghost.bind",
        "elsewhere.key",
        "server.proxy.other",
        "server.blocked-ip",
    ] {
        assert!(done.notes.iter().any(|note| note.key == key), "{key}: {:#?}", done.notes);
    }
    assert!(!done.config.contains('\u{1b}') && !done.config.contains('\u{202e}'));
}

#[test]
fn no_text_makes_it_panic_or_print_what_run_refuses() {
    // Every prefix and every text with one byte gone or doubled of a file with all forms.
    let text = "\u{feff}[[a]]\nb = {x, \"y\", 'z' = 1}\n[server.listener.\"s m\"]\r\nbind=[\"[::]:25\",\n\"1.2.3.4:5\"]#\n\
                protocol = smtp\nproxy.trusted-networks = {\"\", \"::1\",}\nc = '''\n'\\'''\nd = \"\\t\\\"\"\n";
    let mut texts: Vec<String> = text.char_indices().map(|(at, _)| text[..at].to_owned()).collect();
    for (at, c) in text.char_indices() {
        let behind = &text[at + c.len_utf8()..];
        texts.push(format!("{}{behind}", &text[..at]));
        texts.push(format!("{}{c}{c}{behind}", &text[..at]));
    }
    texts.push("[".repeat(100_000));
    texts.push(format!("a = {}", "[".repeat(100_000)));
    texts.push(format!("a = {}", "{".repeat(100_000)));
    texts.push(format!("[{}", "{\"a\":".repeat(1000)));
    let mut good = 0;
    for text in texts {
        // That what is printed is taken by `run` is asked within.
        good += usize::from(import(&text, "x", Behind::default()).is_ok());
    }
    assert!(good > 50, "{good}");
}
