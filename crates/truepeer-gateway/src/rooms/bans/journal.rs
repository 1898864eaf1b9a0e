//! The state file of a running server: changes are appended, and now and then it is written anew.
//!
//! A list of hundreds of thousands comes in many small batches; writing the whole file for each would cost the square
//! of its length. What is appended is a line like any other, the last line of a network counts, and a line without its
//! line feed does not, so that the file is whole after a crash at any byte. A new process writes it anew before it
//! appends, since it cannot know how the last line ends. Blocks, so never on a worker.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::Ban;
use super::mark::Mark;
use super::state::{self, Change};

/// So many lines are appended at least before the file is written anew; otherwise as many as it held.
const LEAST_APPENDED: usize = 4096;

/// The file, and what was appended to it.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    /// Open for appending; `None` until this process has written the file, and after a failure.
    file: Option<File>,
    /// Bans that the file held when it was last written anew.
    base: usize,
    /// Lines behind them.
    appended: usize,
    /// Where the clocks stood when its last lines were written.
    mark: Option<Mark>,
}

impl Journal {
    /// The journal at `path`; nothing is written yet.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path, file: None, base: 0, appended: 0, mark: None }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps `changes`, after which `all` are in force; it is asked only if the file has to be written anew. `mark` is
    /// where the clocks stand; it is written where one of them was set since.
    ///
    /// # Errors
    /// What the system says; the file holds at least what it held before.
    pub fn keep(
        &mut self,
        changes: &[Change<'_>],
        mark: Option<&Mark>,
        all: impl FnOnce() -> Vec<Ban>,
    ) -> io::Result<()> {
        let room = self.base.max(LEAST_APPENDED).saturating_sub(self.appended);
        if let Some(file) = &mut self.file
            && changes.len() <= room
            && is_at(file, &self.path)
        {
            let mut text = Vec::new();
            let known = self.mark.as_ref();
            let new = mark.filter(|mark| !known.is_some_and(|known| known.is_as_good_as(mark)));
            let written = state::encode_changes(&mut text, changes, new)
                .and_then(|()| file.write_all(&text))
                .and_then(|()| file.sync_data());
            if written.is_ok() {
                self.appended = self.appended.saturating_add(changes.len());
                self.mark = new.cloned().or(self.mark.take());
                return Ok(());
            }
            // Half a line may stand at the end: nothing may follow it.
            self.file = None;
        }
        self.write_anew(&all(), mark)
    }

    /// Replaces the file by one with `all`.
    ///
    /// # Errors
    /// As [`Journal::keep`].
    pub fn write_anew(&mut self, all: &[Ban], mark: Option<&Mark>) -> io::Result<()> {
        self.file = None;
        state::save(&self.path, all, mark)?;
        self.mark = mark.cloned();
        (self.base, self.appended) = (all.len(), 0);
        // It is kept; without a file to append to, the next changes write it anew.
        self.file = OpenOptions::new().append(true).open(&self.path).ok();
        Ok(())
    }
}

/// Whether `file` is still what stands at `path`: somebody may have moved it away.
fn is_at(file: &File, path: &Path) -> bool {
    let identity = |found: std::fs::Metadata| (found.dev(), found.ino());
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(open), Ok(there)) => identity(open) == identity(there),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::rooms::bans::state::tests::{self, Dir};

    fn ban(number: u32) -> Ban {
        let network = format!("{}/32", Ipv4Addr::from(number));
        tests::ban(&network, 1_700_000_000, 1_700_003_600, "test")
    }

    #[test]
    fn what_is_cut_off_at_any_byte_is_what_was_kept_before() {
        let dir = Dir::new("journal-cut");
        let mut journal = Journal::new(dir.state());
        let first = [ban(1), ban(2)];
        journal.keep(&[Change::Added(&first[0])], None, || first.to_vec()).unwrap();
        let whole = std::fs::metadata(journal.path()).unwrap().len();
        let third = ban(3);
        journal.keep(&[Change::Added(&third)], None, || panic!("there is room")).unwrap();
        let with_third = std::fs::metadata(journal.path()).unwrap().len();
        journal.keep(&[Change::Removed(first[0].network)], None, || panic!("there is room")).unwrap();
        let bytes = std::fs::read(journal.path()).unwrap();
        let cut = dir.state().with_extension("cut");
        for len in usize::try_from(whole).unwrap()..=bytes.len() {
            std::fs::write(&cut, &bytes[..len]).unwrap();
            let kept: Vec<_> = state::load(&cut).unwrap().bans.iter().map(|ban| ban.network).collect();
            let mut expected = vec![first[0].network, first[1].network];
            if len >= usize::try_from(with_third).unwrap() {
                expected.push(third.network);
            }
            if len == bytes.len() {
                expected.remove(0);
            }
            assert_eq!(kept, expected, "{len}");
        }
    }

    #[test]
    fn a_new_process_writes_anew_before_it_appends() {
        let dir = Dir::new("journal-new");
        let path = dir.state();
        Journal::new(path.clone()).write_anew(&[ban(1)], None).unwrap();
        // A crash left half a line.
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"0.0.0.9/32\t17").unwrap();
        let mut journal = Journal::new(path.clone());
        let second = ban(2);
        journal.keep(&[Change::Added(&second)], None, || vec![ban(1), second.clone()]).unwrap();
        let loaded = state::load(&path).unwrap();
        assert_eq!((loaded.bans, loaded.skipped), (vec![ban(1), second], 0));
    }

    #[test]
    fn a_clock_that_is_set_between_two_changes_moves_neither() {
        let dir = Dir::new("journal-clock");
        let mut journal = Journal::new(dir.state());
        let mut mark = Mark::now(std::time::SystemTime::now()).unwrap();
        let wall = mark.wall.as_secs();
        let day = std::time::Duration::from_secs(24 * 3600);
        let one = tests::ban("0.0.0.1/32", wall, wall + 3600, "");
        journal.keep(&[], Some(&mark), || vec![one.clone()]).unwrap();
        mark.wall += day;
        let other = tests::ban("0.0.0.2/32", wall + day.as_secs(), wall + day.as_secs() + 3600, "");
        journal.keep(&[Change::Added(&other)], Some(&mark), || panic!("there is room")).unwrap();
        journal.keep(&[Change::Added(&other)], Some(&mark), || panic!("there is room")).unwrap();
        let text = std::fs::read_to_string(journal.path()).unwrap();
        assert_eq!(text.matches("clock\t").count(), 2, "{text}");
        // As long after the change as before it, by a clock that was set back again.
        mark.wall -= day;
        let loaded = state::load_at(journal.path(), Some(&mark)).unwrap().bans;
        let both: Vec<_> = loaded.iter().map(|ban| (ban.since, ban.until)).collect();
        assert_eq!(both, [(one.since, one.until), (one.since, one.until)]);
    }

    #[test]
    fn a_file_that_was_taken_away_is_made_again() {
        let dir = Dir::new("journal-away");
        let mut journal = Journal::new(dir.state());
        journal.write_anew(&[ban(1)], None).unwrap();
        std::fs::remove_file(journal.path()).unwrap();
        let second = ban(2);
        journal.keep(&[Change::Added(&second)], None, || vec![ban(1), second.clone()]).unwrap();
        assert_eq!(state::load(journal.path()).unwrap().bans, [ban(1), second]);
    }

    #[test]
    fn keeping_many_changes_writes_each_ban_a_few_times_however_many_there_are() {
        for count in [10_000_u32, 40_000] {
            let dir = Dir::new(&format!("journal-many-{count}"));
            let mut journal = Journal::new(dir.state());
            let mut all = Vec::new();
            let mut written = 0_usize;
            for batch in 0..count / 1000 {
                let new: Vec<_> = (0..1000).map(|n| ban(batch * 1000 + n)).collect();
                all.extend(new.iter().cloned());
                let changes: Vec<_> = new.iter().map(Change::Added).collect();
                journal
                    .keep(&changes, None, || {
                        written += all.len();
                        all.clone()
                    })
                    .unwrap();
                written += changes.len();
            }
            assert_eq!(state::load(journal.path()).unwrap().bans.len(), all.len());
            assert!(written < 4 * all.len(), "{written} lines for {count} bans");
        }
    }
}
