//! The status page in a real browser, on a bad day: what it says, to whom it is legible, and what it does not let run.
//!
//! Called by `cases`. With `TRUEPEER_PICTURES=DIR` the pictures are written there; with `--all` as well the day lasts a
//! quarter of an hour, so that its charts have something to show. Those of `docs/see.md` are from such a day, made smaller
//! by `cwebp -near_lossless 40 -m 6`.

use core::time::Duration;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Instant;

use serde_json::Value;

use super::{Case, Extent, PROXY, case, told_destination};
use crate::client::{Client, Place};
use crate::feed::Mark;
use crate::header;
use crate::lab::Lab;
use crate::port::Port;
use crate::servers::chromium::{Chromium, Theme};
use crate::servers::prometheus::get;
use crate::servers::truepeer::Truepeer;
use crate::verdict::{During, Result, ensure};

/// Text in headers that a browser would run if it were let.
const HOSTILE: &str = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">";
/// A refusal shows within it.
const SOON: Duration = Duration::from_secs(2);
/// Rounds of the day, each of which takes a few seconds where pictures are wanted.
const ROUNDS: u16 = 90;
const TAB: char = '\u{e004}';
const ENTER: char = '\u{e007}';

/// All of it.
pub(super) fn cases() -> Vec<Case> {
    vec![
        case("page_shows_a_bad_day_to_eyes_keyboards_and_screen_readers", bad_day),
        case("page_lets_no_text_of_others_run", hostile),
    ]
}

/// A front door on a bad day.
struct Day {
    truepeer: Truepeer,
    smtp: SocketAddr,
    submission: SocketAddr,
    imap: SocketAddr,
    status: SocketAddr,
}

impl Day {
    fn begin(lab: &Lab, name: &str, more: &str) -> Result<Self> {
        let ip = PROXY.ip();
        let ports = [Port::free(ip)?, Port::free(ip)?, Port::free(ip)?, Port::free(ip)?, Port::free(ip)?];
        let [smtp, submission, imap, status, nobody] = ports.map(|port| port.addr());
        let dir = lab.fresh_dir(name)?;
        let good = lab.postfix()?.header_port();
        let text = format!(
            "[server]\nhostname = \"mx.example.org\"\nproxy.trusted-networks = [\"127.0.0.1\", \"127.0.0.2\"]\n\
             [server.listener.smtp]\nbind = \"{smtp}\"\nprotocol = \"smtp\"\nbackend = \"postfix\"\n\
             [server.listener.submission]\nbind = \"{submission}\"\nprotocol = \"submission\"\nbackend = \"postfix\"\nrequire-secure = true\n\
             [server.listener.imap]\nbind = \"{imap}\"\nprotocol = \"imap\"\nbackend = \"dovecot\"\n\
             [backend.postfix]\nkind = \"postfix\"\naddress = \"{good}\"\n\
             [backend.dovecot]\nkind = \"dovecot\"\naddress = \"{nobody}\"\n\
             [access]\ndeny = [\"198.51.100.0/24\"]\n\
             [limits]\nrate-per-client = \"20/1h\"\n\
             [log]\nformat = \"json\"\n\
             [admin]\nsocket = \"{}\"\n\
             [status]\nbind = \"{status}\"\n{more}",
            dir.join("admin.sock").display()
        );
        let truepeer = Truepeer::start_as_written(lab.program()?, &dir, &text, ("smtp", smtp))?;
        lab.watch(name, truepeer.log());
        truepeer.wait_event(Mark::default(), "backend_proved", "postfix")?;
        Ok(Self { truepeer, smtp, submission, imap, status })
    }

    fn url(&self) -> String {
        format!("http://{}/", self.status)
    }

    /// What goes wrong, once: `number` tells rounds apart.
    fn go_wrong(&self, number: u16) -> Result {
        // Clients as they should be, most of them over TLS.
        for client in 0..6_u16 {
            let addr = client_at([203, 0, 113], number.wrapping_mul(7).wrapping_add(client) % 200, 4711);
            let tls: &[(u8, &[u8])] =
                &[(0x20, b"\x01\x00\x00\x00\x00\x21\x00\x07TLSv1.3"), (0x02, b"mx.example.org")];
            let header = match client {
                0 => header::v1(addr, told_destination()),
                1 => header::v2(addr, told_destination(), &[]),
                _ => header::v2(addr, told_destination(), tls),
            };
            serve(self.smtp, &header)?;
        }
        // One client that comes too often, and some that a list keeps out.
        let eager = client_at([192, 0, 2], 66, 4711);
        for _ in 0..(number % 4).saturating_mul(2) {
            hear(PROXY, self.smtp, &header::v2(eager, told_destination(), &[]), b"QUIT\r\n")?;
        }
        for client in 0..number % 5 {
            let denied = client_at([198, 51, 100], number.wrapping_add(client) % 23, 4711);
            hear(PROXY, self.smtp, &header::v2(denied, told_destination(), &[]), b"")?;
        }
        // A trusted proxy that sends no header, and one that nobody has listed.
        if number.is_multiple_of(3) {
            let silent = Place::Here(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)));
            hear(silent, self.smtp, b"EHLO proxy.example.org\r\n", b"")?;
            let unlisted = Place::Here(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 3)));
            hear(unlisted, self.smtp, &header::v1(eager, told_destination()), b"")?;
        }
        // A backend that is not there, and clients without TLS where it is required.
        let reader = client_at([203, 0, 113], number % 40, 4712);
        hear(PROXY, self.imap, &header::v2(reader, told_destination(), &[]), b"")?;
        if number.is_multiple_of(4) {
            hear(PROXY, self.submission, &header::v2(reader, told_destination(), &[]), b"")?;
        }
        // Hostile text in a header that is right, and in one that is broken.
        let hostile = header::v2(reader, told_destination(), &[(0x02, HOSTILE.as_bytes())]);
        serve(self.smtp, &hostile)?;
        if number.is_multiple_of(7) {
            let mut broken = header::v2(
                reader,
                told_destination(),
                &[(0x02, b"<script>alert(1)</script>"), (0x03, b"0000")],
            );
            broken.extend_from_slice(b"QUIT\r\n");
            hear(PROXY, self.smtp, &broken, b"")?;
        }
        Ok(())
    }
}

fn client_at([a, b, c]: [u8; 3], d: u16, port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(a, b, c, u8::try_from(d.max(1)).unwrap_or(1)), port))
}

/// A whole session of a client that is served.
fn serve(to: SocketAddr, header: &[u8]) -> Result {
    let mut client = Client::dial(PROXY, to)?;
    client.send(header)?;
    client.expect_reply("220")?;
    client.smtp("QUIT", "221").map(drop)
}

/// A client that may be turned away, and what it hears.
fn hear(from: Place<'_>, to: SocketAddr, header: &[u8], then: &[u8]) -> Result<String> {
    let mut client = Client::dial(from, to)?;
    client.send(&[header, then].concat())?;
    client.rest("the end of a refusal")
}

fn bad_day(lab: &Lab) -> Result {
    let day = Day::begin(lab, "truepeer-bad-day", "")?;
    let browser = Chromium::start(&lab.fresh_dir("chromium")?)?;
    browser.look(1200, 900, Theme::Light)?;
    let pictures = std::env::var_os("TRUEPEER_PICTURES").map(PathBuf::from);
    let is_long = pictures.is_some() && lab.extent() == Extent::All;
    for number in 1..=if is_long { ROUNDS } else { 12 } {
        day.go_wrong(number)?;
        if is_long {
            // A day that fills its charts; nothing is waited for.
            std::thread::park_timeout(Duration::from_secs(8));
        }
    }
    browser.open(&day.url())?;
    wait(&browser, "document.getElementById('live').textContent.includes('live')")?;
    tells(&browser)?;
    comes_soon(&day, &browser)?;
    is_legible(&browser)?;
    is_reached_by_keyboard(&browser)?;
    asks_nobody(&browser)?;
    // Without scripts it is the same document.
    let (_, document) = get(day.status, "/", "*/*")?;
    for words in ["a list names the client", "start the backend, or correct", "<caption>"] {
        ensure(document.contains(words), || format!("without scripts the page lacks {words:?}"))?;
    }
    ensure(!document.contains("203.0.113.") && !document.contains("198.51.100."), || {
        "the page names clients".to_owned()
    })?;
    browser
        .run("document.querySelector('details').open = false; document.activeElement.blur(); return true")?;
    for (name, width, most, theme) in [
        ("light", 1200, 3000, Theme::Light),
        ("dark", 1200, 1000, Theme::Dark),
        ("phone", 390, 2000, Theme::Light),
    ] {
        browser.look(width, 900, theme)?;
        let tall = browser.run("return document.documentElement.scrollHeight")?.as_u64().unwrap_or_default();
        let wide = browser.run("return document.documentElement.scrollWidth")?.as_u64().unwrap_or_default();
        ensure(wide <= width.into(), || format!("at {width} pixels the page is {wide} wide"))?;
        let picture = browser.picture(width, u32::try_from(tall).unwrap_or(most).min(most))?;
        ensure(picture.len() > 10_000, || format!("{name}: a picture of {} bytes", picture.len()))?;
        if let Some(dir) = &pictures {
            std::fs::write(dir.join(format!("see-{name}.png")), picture).during("write a picture")?;
        }
    }
    drop(browser);
    ensure(get(day.status, "/healthz", "*/*")?.1 == "ok\n", || "it does not answer any more".to_owned())?;
    drop(day.truepeer);
    Ok(())
}

/// From the page alone: what happened, who was affected, what to change.
fn tells(browser: &Chromium) -> Result {
    let text = browser.run("return document.body.innerText")?;
    let text = text.as_str().unwrap_or_default();
    for words in [
        "not ready: imap; every client is turned away: submission",
        "dovecot at 127.0.0.1",
        "start the backend, or correct",
        "127.0.0.3 is not trusted",
        "A deny list names the client",
        "from 1 peer",
        "clients",
        "One client connects too often",
        "add 127.0.0.3 to server.listener.smtp.proxy.trusted-networks",
        "A trusted peer sent something that is no header",
        "TLS is required here, and the header tells of none",
        "no client has reached a backend here since the start",
        "proved",
        "unreachable",
    ] {
        ensure(text.contains(words), || format!("the page does not say {words:?}:\n{text}"))?;
    }
    Ok(())
}

/// A refusal of a new cause shows with what to change.
fn comes_soon(day: &Day, browser: &Chromium) -> Result {
    const CODE: &str = "own_no_check";
    ensure(!says(browser, CODE)?, || format!("{CODE} is there already"))?;
    let began = Instant::now();
    let mut client = Client::dial(PROXY, day.smtp)?;
    client.send(&header::v2_local())?;
    client.expect_reply("220")?;
    client.smtp("EHLO client.example.org", "250")?;
    client.smtp("MAIL FROM:<a@example.org>", "4")?;
    drop(client);
    wait(browser, &format!("document.getElementById('refused').innerText.includes('{CODE}')"))?;
    let took = began.elapsed();
    ensure(took < SOON, || format!("it took {took:?}"))?;
    let row = browser.run(&format!(
        "return [...document.querySelectorAll('#refused tr')].find(row => row.innerText.includes('{CODE}')).innerText"
    ))?;
    ensure(row.as_str().unwrap_or_default().contains("find what sends mail through"), || {
        format!("it shows without what to change: {row}")
    })
}

fn says(browser: &Chromium, words: &str) -> Result<bool> {
    let found = browser.run(&format!("return document.body.innerText.includes('{words}')"))?;
    Ok(found == Value::Bool(true))
}

/// Waits for what the page's script brings.
fn wait(browser: &Chromium, condition: &str) -> Result {
    let body = format!(
        "const done = arguments[0]; const is = () => {condition}; if (is()) return done(true); \
         const watch = new MutationObserver(() => {{ if (is()) {{ watch.disconnect(); done(true); }} }}); \
         watch.observe(document.body, {{subtree: true, childList: true, characterData: true}}); \
         setTimeout(() => done(false), 10000);"
    );
    ensure(browser.run_until(&body)? == Value::Bool(true), || format!("in vain for {condition}"))
}

/// Every letter stands out from what is behind it, in both themes and at both widths.
fn is_legible(browser: &Chromium) -> Result {
    const FAINT: &str = r"
        const parse = (text) => text.match(/[\d.]+/g).map(Number);
        const light = ([r, g, b]) => [r, g, b].map((v) => { v /= 255; return v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; })
            .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
        const behind = (element) => {
            for (let at = element; at; at = at.parentElement) {
                const colour = parse(getComputedStyle(at).backgroundColor);
                if (colour.length < 4 || colour[3] > 0) return colour;
            }
            return [255, 255, 255];
        };
        const faint = []; let seen = 0;
        const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
        while (walk.nextNode()) {
            const text = walk.currentNode.data.trim(), element = walk.currentNode.parentElement;
            if (!text || element.closest('script, style') || !element.getClientRects().length) continue;
            const style = getComputedStyle(element);
            const ink = parse(element.closest('svg') ? style.fill : style.color);
            const [a, b] = [light(ink), light(behind(element))].sort((one, other) => other - one);
            const ratio = (a + .05) / (b + .05); seen += 1;
            if (ratio < 4.5) faint.push(ratio.toFixed(2) + ' ' + text.slice(0, 40));
        }
        return [seen, faint];";
    for (width, theme) in [(1200, Theme::Light), (1200, Theme::Dark), (390, Theme::Light), (390, Theme::Dark)]
    {
        browser.look(width, 900, theme)?;
        let found = browser.run(FAINT)?;
        ensure(number_at(&found, 0) > Some(100), || format!("{width} {theme:?}: {found}"))?;
        let faint = found.get(1).cloned().unwrap_or_default();
        ensure(faint.as_array().is_some_and(Vec::is_empty), || {
            format!("at {width} pixels, {theme:?}: {faint}")
        })?;
    }
    // For those who hear it: landmarks, and tables that say what they are.
    let lacks = browser.run(
        "return ['header', 'nav[aria-label]', 'main', 'footer', 'h1', '[role=status]', 'a.skip'].filter((what) => document.querySelectorAll(what).length !== 1)\
         .concat([...document.querySelectorAll('table')].filter((table) => !table.caption || [...table.querySelectorAll('th')].some((th) => !th.scope)).map((table) => table.outerHTML.slice(0, 80)))\
         .concat([...document.querySelectorAll('section')].filter((section) => !document.getElementById(section.getAttribute('aria-labelledby'))).map((section) => section.id))\
         .concat([...document.querySelectorAll('svg')].filter((svg) => !svg.ariaHidden && !svg.ariaLabel).map(() => 'a picture without words'))",
    )?;
    ensure(lacks.as_array().is_some_and(Vec::is_empty), || format!("for screen readers: {lacks}"))?;
    browser.look(1200, 900, Theme::Light)
}

/// Whatever can be used is reached by Tab, in order, and shows it; nothing holds the focus.
fn is_reached_by_keyboard(browser: &Chromium) -> Result {
    const REACHED: &str = "
        const all = [...document.querySelectorAll('a[href], summary, button, input, select, [tabindex=\"0\"]')]
            .filter((one) => one.checkVisibility());
        const at = document.activeElement;
        return [all.indexOf(at), getComputedStyle(at).outlineStyle, all.length, at.tagName, at.outerHTML.slice(0, 80)];";
    browser.run("document.activeElement.blur(); window.scrollTo(0, 0); return true")?;
    let mut number = 0;
    loop {
        browser.press(TAB)?;
        let mut at = browser.run(REACHED)?;
        ensure(number_at(&at, 0) == Some(number) && at.get(1).is_some_and(|style| style == "solid"), || {
            format!("the Tab number {number} leads to {at}")
        })?;
        if at.get(3).is_some_and(|tag| tag == "SUMMARY") {
            // What it opens can be reached from then on.
            browser.press(ENTER)?;
            at = browser.run(REACHED)?;
        }
        number = number.saturating_add(1);
        if number_at(&at, 2) == Some(number) {
            return ensure(number > 10, || format!("only {number} can be reached"));
        }
    }
}

/// A number in an array that a script returned.
fn number_at(found: &Value, place: usize) -> Option<u64> {
    found.get(place)?.as_u64()
}

/// The page has asked its own server for news, and nobody for anything else.
fn asks_nobody(browser: &Chromium) -> Result {
    let asked = browser.run(
        "return performance.getEntriesByType('resource').map((entry) => entry.name).filter((name) => name !== location.origin + '/events')",
    )?;
    let asked: Vec<_> = asked.as_array().cloned().unwrap_or_default();
    // A browser asks for this by itself, for its tab.
    let asked: Vec<_> = asked.iter().filter(|name| !name.to_string().contains("favicon.ico")).collect();
    ensure(asked.is_empty(), || format!("it asked for {asked:?}"))?;
    complains_of_nothing(browser)
}

/// The browser had nothing to keep from running, and nothing was not there.
fn complains_of_nothing(browser: &Chromium) -> Result {
    let complaints = browser.complaints()?;
    // Of its own empty page, and of the picture for its tab, it complains in any case.
    let is_ours = |said: &&String| !said.starts_with("chrome:") && !said.contains("favicon.ico");
    let complaints: Vec<_> = complaints.iter().filter(is_ours).collect();
    ensure(complaints.is_empty(), || format!("the browser complains: {complaints:?}"))
}

fn hostile(lab: &Lab) -> Result {
    // With addresses it shows what was seen, too: text of others at its worst.
    let day = Day::begin(lab, "truepeer-hostile", "addresses = true\n")?;
    let browser = Chromium::start(&lab.fresh_dir("chromium-hostile")?)?;
    browser.open(&day.url())?;
    wait(&browser, "document.getElementById('live').textContent.includes('live')")?;
    let title = browser.run("return document.title")?;
    day.go_wrong(7)?;
    hear(PROXY, day.smtp, HOSTILE.as_bytes(), b"\r\n")?;
    // Its first bytes are shown, as text.
    wait(&browser, "document.body.innerText.includes('<script>document.title=')")?;
    for round in ["by news", "as it is loaded"] {
        let found = browser.run(
            "return [document.title, document.scripts.length, document.images.length, document.querySelectorAll('[onerror]').length]",
        )?;
        let expected = Value::from(vec![title.clone(), 1.into(), 0.into(), 0.into()]);
        ensure(found == expected, || format!("hostile text, {round}: {found}"))?;
        browser.open(&day.url())?;
        ensure(says(&browser, "<script>document.title=")?, || "it is not there any more".to_owned())?;
    }
    complains_of_nothing(&browser)
}
