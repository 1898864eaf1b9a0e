//! Destinations that are slow, full, stuck or replaced, and what becomes of the lines.

#![allow(clippy::arithmetic_side_effects, reason = "numbers in tests are small")]

use std::io::ErrorKind;
use std::sync::Condvar;

use super::*;

/// Nothing in a test takes longer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Something to write to whose mood the test sets; clones are the same one.
#[derive(Clone, Default)]
struct Paper(Arc<(Mutex<Sheet>, Condvar)>);

#[derive(Default)]
struct Sheet {
    bytes: Vec<u8>,
    mood: Mood,
    /// Writes that failed or had to wait.
    troubles: u32,
    is_gone: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Mood {
    #[default]
    Takes,
    /// Takes so many bytes more, then fails.
    Full { room: usize },
    /// Asks to be tried again.
    Busy,
    /// A write does not return.
    Stuck,
}

impl Paper {
    fn set(&self, mood: Mood) {
        self.0.0.lock().unwrap().mood = mood;
        self.0.1.notify_all();
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.0.lock().unwrap().bytes.clone()).unwrap()
    }

    fn lines(&self) -> Vec<String> {
        self.text().lines().map(str::to_owned).collect()
    }

    #[track_caller]
    fn wait_until(&self, is_so: impl Fn(&Sheet) -> bool) {
        let sheet = self.0.0.lock().unwrap();
        let waited = self.0.1.wait_timeout_while(sheet, PATIENCE, |sheet| !is_so(sheet)).unwrap();
        assert!(!waited.1.timed_out(), "{:?}", waited.0.bytes.escape_ascii().to_string());
    }

    #[track_caller]
    fn wait_for(&self, text: &str) {
        let bytes = text.as_bytes();
        self.wait_until(|sheet| sheet.bytes.windows(bytes.len()).any(|window| window == bytes));
    }
}

/// The end of it that the writer holds.
struct Pen(Paper);

impl Write for Pen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (sheet, changed) = &*self.0.0;
        let mut sheet = sheet.lock().unwrap();
        while sheet.mood == Mood::Stuck {
            sheet.troubles += 1;
            changed.notify_all();
            sheet = changed.wait(sheet).unwrap();
        }
        let len = match sheet.mood {
            Mood::Full { room: 0 } => {
                sheet.troubles += 1;
                changed.notify_all();
                return Err(ErrorKind::StorageFull.into());
            }
            Mood::Busy => {
                sheet.troubles += 1;
                changed.notify_all();
                return Err(ErrorKind::WouldBlock.into());
            }
            Mood::Full { room } => {
                let len = room.min(bytes.len());
                sheet.mood = Mood::Full { room: room - len };
                len
            }
            Mood::Takes | Mood::Stuck => bytes.len(),
        };
        sheet.bytes.extend_from_slice(&bytes[..len]);
        changed.notify_all();
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Pen {
    fn drop(&mut self) {
        self.0.0.0.lock().unwrap().is_gone = true;
        self.0.0.1.notify_all();
    }
}

fn start(paper: &Paper) -> (Log, Writer) {
    Log::start(LogFormat::Text, RefusalLines::Fold, Pen(paper.clone())).unwrap()
}

fn say(log: &Log, text: &str) {
    log.line(|_, line| line.push_str(text));
}

#[test]
fn a_line_that_was_written_in_part_is_finished_and_nothing_is_lost() {
    let paper = Paper::default();
    let (log, writer) = start(&paper);
    paper.set(Mood::Full { room: 4 });
    for line in ["first", "second", "third"] {
        say(&log, line);
    }
    paper.wait_until(|sheet| sheet.troubles > 0);
    assert_eq!(paper.text(), "firs");
    paper.set(Mood::Takes);
    paper.wait_for("third\n");
    drop(writer);
    // That it recovered stands behind what was taken with the first line: whether that was more is a matter of luck.
    let (told, lines): (Vec<_>, Vec<_>) =
        paper.lines().into_iter().partition(|line| line.contains(" level=warn event=log_recovered cause="));
    assert_eq!(lines, ["first", "second", "third"]);
    assert_eq!((told.len(), log.lost()), (1, 0));
}

#[test]
fn a_stuck_destination_stops_nobody_and_the_gap_is_told_where_it_is() {
    let paper = Paper::default();
    let (log, writer) = start(&paper);
    paper.set(Mood::Stuck);
    say(&log, "0");
    // From here on the writer hangs in a write.
    paper.wait_until(|sheet| sheet.troubles > 0);
    for number in 1..=3 * LINES {
        say(&log, &number.to_string());
    }
    let lost = 2 * LINES;
    assert_eq!(log.lost(), lost as u64);
    paper.set(Mood::Takes);
    paper.wait_for("lines_lost");
    say(&log, "later");
    drop(writer);
    let lines = paper.lines();
    let kept: Vec<_> = (0..=LINES).map(|number| number.to_string()).collect();
    assert_eq!(lines[..=LINES], kept);
    let gap = &lines[LINES + 1];
    assert!(gap.contains(&format!(" level=warn event=lines_lost lines={lost} ")), "{gap}");
    assert_eq!(lines[LINES + 2..], ["later"]);
}

#[test]
fn the_end_does_not_wait_for_a_stuck_destination_longer_than_its_bound() {
    let paper = Paper::default();
    let (log, writer) = start(&paper);
    paper.set(Mood::Stuck);
    for number in 0..2 * LINES {
        say(&log, &number.to_string());
    }
    paper.wait_until(|sheet| sheet.troubles > 0);
    let begun = Instant::now();
    drop(writer);
    assert!(begun.elapsed() >= LAST_LINES, "a slow destination is given time");
    assert!(!paper.0.0.lock().unwrap().is_gone);
    // What is left behind ends by itself.
    paper.set(Mood::Takes);
    paper.wait_until(|sheet| sheet.is_gone);
}

#[test]
fn the_end_does_not_wait_for_a_destination_that_fails() {
    let paper = Paper::default();
    let (log, writer) = start(&paper);
    paper.set(Mood::Full { room: 0 });
    say(&log, "nowhere");
    paper.wait_until(|sheet| sheet.troubles > 0);
    drop(writer);
    assert!(paper.0.0.lock().unwrap().is_gone, "the writer has ended");
    assert_eq!(paper.text(), "");
}

#[test]
fn the_end_asks_a_busy_destination_again_and_again_but_not_without_a_pause() {
    let paper = Paper::default();
    let (log, writer) = start(&paper);
    paper.set(Mood::Busy);
    say(&log, "never");
    paper.wait_until(|sheet| sheet.troubles > 0);
    drop(writer);
    // A pause that ends late makes fewer; half as long would make twice as many.
    let most = LAST_LINES.as_millis() / 10;
    let troubles = u128::from(paper.0.0.lock().unwrap().troubles);
    assert!((2..most).contains(&troubles), "{troubles} writes");
    paper.set(Mood::Takes);
    paper.wait_until(|sheet| sheet.is_gone);
    assert!(paper.text().starts_with("never\n"));
}

#[test]
fn a_switch_under_load_loses_doubles_and_splits_nothing() {
    const THREADS: usize = 4;
    const EACH: usize = 1500;
    const EVERY: usize = 200;
    let papers: Vec<_> = (0..8).map(|_| Paper::default()).collect();
    let (log, writer) = start(&papers[0]);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (log, papers) = (log.clone(), &papers);
            scope.spawn(move || {
                for number in 0..EACH {
                    log.line(|format, line| line.push_str(&format!("{thread} {number} {format:?}")));
                    if thread == 0 && number > 0 && number % EVERY == 0 {
                        let next = number / EVERY;
                        let format = if next.is_multiple_of(2) { LogFormat::Text } else { LogFormat::Json };
                        log.switch(Some(Box::new(Pen(papers[next].clone()))), format).unwrap();
                        // Nothing comes to the old one any more, and everything said before is there.
                        let before = papers[next - 1].text();
                        assert!(before.contains(&format!("0 {number} ")), "{before}");
                        assert!(papers[next - 1].0.0.lock().unwrap().is_gone);
                    }
                }
            });
        }
    });
    drop(writer);
    assert_eq!(log.lost(), 0);
    let mut next = [0; THREADS];
    for (at, paper) in papers.iter().enumerate() {
        assert!(paper.text().ends_with('\n') || paper.text().is_empty());
        for line in paper.lines() {
            let words: Vec<_> = line.split(' ').collect();
            let [thread, number, format] = words[..] else { panic!("{line}") };
            let (thread, number): (usize, usize) = (thread.parse().unwrap(), number.parse().unwrap());
            assert_eq!(number, next[thread], "{line} in {at}");
            next[thread] += 1;
            assert_eq!(format, if at.is_multiple_of(2) { "Text" } else { "Json" }, "{line} in {at}");
        }
    }
    assert_eq!(next, [EACH; THREADS]);
}

#[test]
fn a_full_destination_is_left_for_the_next_which_begins_with_a_whole_line() {
    let (full, next) = (Paper::default(), Paper::default());
    let (log, writer) = start(&full);
    full.set(Mood::Full { room: 8 });
    for line in ["first", "second", "third"] {
        say(&log, line);
    }
    full.wait_until(|sheet| sheet.troubles > 0);
    log.switch(Some(Box::new(Pen(next.clone()))), LogFormat::Text).unwrap();
    say(&log, "fourth");
    drop(writer);
    assert_eq!(full.text(), "first\nse");
    let lines: Vec<_> = next.lines().into_iter().filter(|line| !line.contains("log_recovered")).collect();
    assert_eq!(lines, ["second", "third", "fourth"]);
}

#[test]
fn a_stuck_destination_is_left_as_soon_as_it_takes_a_line_and_only_the_latest_switch_counts() {
    let papers: [Paper; 3] = Default::default();
    let (log, writer) = start(&papers[0]);
    papers[0].set(Mood::Stuck);
    say(&log, "first");
    papers[0].wait_until(|sheet| sheet.troubles > 0);
    for paper in &papers[1..] {
        let switched = log.switch(Some(Box::new(Pen(paper.clone()))), LogFormat::Text);
        assert_eq!(switched, Err(NotYet));
        say(&log, "next");
    }
    papers[0].set(Mood::Takes);
    papers[2].wait_for("next\n");
    drop(writer);
    assert_eq!(papers.map(|paper| paper.text()), ["first\nnext\n", "", "next\n"]);
}

#[test]
fn a_change_of_the_format_does_not_take_back_a_destination_that_waits() {
    let (stuck, next) = (Paper::default(), Paper::default());
    let (log, writer) = start(&stuck);
    stuck.set(Mood::Stuck);
    say(&log, "first");
    stuck.wait_until(|sheet| sheet.troubles > 0);
    // As a reload does it: the file is opened anew, then the new format holds.
    assert_eq!(log.switch(Some(Box::new(Pen(next.clone()))), LogFormat::Text), Err(NotYet));
    assert_eq!(log.switch(None, LogFormat::Json), Err(NotYet));
    log.line(|format, line| line.push_str(&format!("{format:?}")));
    stuck.set(Mood::Takes);
    next.wait_for("Json\n");
    drop(writer);
    assert_eq!((stuck.text(), next.text()), ("first\n".to_owned(), "Json\n".to_owned()));
}
