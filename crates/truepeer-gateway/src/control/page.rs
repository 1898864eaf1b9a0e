//! The status page for people: one document, and the parts of it that change, told to all open pages at once.
//!
//! It runs on the control thread and reads the server's view as monitoring does; no worker waits for it. Each second at
//! most it looks once, whatever the number of pages, and what it has drawn is shared by all of them. It is given a view
//! and nothing else: nothing can be ordered here.
//!
//! Memory: the history (160 KiB), and four times what a page has at most (60 KB): drawn, told, and as news; each open page has a connection and its socket's
//! buffer, 64 KiB at most.

mod draw;
mod hide;
mod history;
mod sight;
mod todo;
mod words;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use hyper::body::Bytes;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, watch};

use crate::config::StatusPage;
use crate::engine::later;
use crate::facts::machine;
use crate::server::View;
use draw::Parts;
use history::History;

/// The policy that a browser keeps for the document.
pub(super) const POLICY: &str = draw::POLICY;
/// Between two looks, while pages are open.
const LOOK: Duration = Duration::from_secs(1);
/// So many pages get news each second; where more are open, each gets them less often.
const PAGES_A_SECOND: u32 = 100;
/// A page that has not taken its last news for so long is dropped.
const PATIENCE: Duration = Duration::from_secs(5);
/// Silence after which an open page is sent a sign of life, so that one that is gone is noticed.
const SILENCE: Duration = Duration::from_secs(15);

/// What all pages share; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Pages(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    view: View,
    wanted: watch::Receiver<StatusPage>,
    places: Arc<Semaphore>,
    most: usize,
    drawn: Mutex<Drawn>,
    news: watch::Sender<News>,
    /// Somebody has opened a page, who was told nothing yet.
    opened: Notify,
    is_new: AtomicBool,
}

#[derive(Debug, Default)]
struct Drawn {
    history: History,
    parts: Parts,
    /// The parts that open pages have.
    told: Parts,
    document: Bytes,
    /// When that was.
    at: Option<Instant>,
    /// And what it was allowed to show.
    page: StatusPage,
}

/// What open pages are told.
#[derive(Debug, Clone, Default)]
struct News {
    number: u64,
    /// The parts that differ from the ones before.
    changed: Bytes,
    /// All parts.
    all: Bytes,
}

/// The right to follow the news; dropping it gives the place back.
#[derive(Debug)]
pub(super) struct Seat(#[expect(dead_code, reason = "held")] OwnedSemaphorePermit);

impl Pages {
    /// Pages as `wanted` says now and later.
    pub(super) fn new(view: View, wanted: watch::Receiver<StatusPage>) -> Self {
        let most = machine::max_pages(machine::descriptors().max);
        let (news, _) = watch::channel(News::default());
        let places = Arc::new(Semaphore::new(most));
        let (drawn, opened, is_new) = (Mutex::default(), Notify::new(), AtomicBool::new(false));
        Self(Arc::new(Inner { view, wanted, places, most, drawn, news, opened, is_new }))
    }

    /// Keeps the history, and news while somebody follows them, as long as pages are wanted.
    ///
    /// # Cancel safety
    /// Dropping the future ends both.
    pub(super) async fn keep(self) {
        let mut wanted = self.0.wanted.clone();
        loop {
            let page = *wanted.borrow_and_update();
            if page == StatusPage::None {
                self.drawn().history.clear();
                // Whoever follows is told by the end of the news.
                self.0.news.send_replace(News::default());
                if wanted.changed().await.is_err() {
                    return;
                }
                continue;
            }
            let now = Instant::now();
            self.sample(now);
            if self.open() > 0 {
                self.draw(page, now);
                self.publish();
            }
            tokio::select! {
                () = tokio::time::sleep_until(later(now, self.pause()).into()) => {}
                // From now on there is a page.
                () = self.0.opened.notified() => {
                    tokio::time::sleep_until(later(now, self.pause()).into()).await;
                }
                changed = wanted.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Whether there is a page.
    pub(super) fn page(&self) -> StatusPage {
        *self.0.wanted.borrow()
    }

    /// The document, at most a second old.
    pub(super) fn document(&self) -> Bytes {
        let now = Instant::now();
        let (page, fresh) = (self.page(), |at: Instant| now.saturating_duration_since(at) < LOOK);
        {
            let drawn = self.drawn();
            if drawn.page == page && drawn.at.is_some_and(fresh) && !drawn.document.is_empty() {
                return drawn.document.clone();
            }
        }
        self.draw(page, now);
        self.drawn().document.clone()
    }

    /// A place among those who follow the news; `None` where all are taken.
    pub(super) fn seat(&self) -> Option<Seat> {
        Arc::clone(&self.0.places).try_acquire_owned().ok().map(Seat)
    }

    /// Tells a page all that there is, and then what changes, until it leaves, does not take it, or pages end.
    ///
    /// # Cancel safety
    /// Dropping the future ends the news; the page asks again.
    pub(super) async fn tell(&self, seat: Seat, page: mpsc::Sender<Bytes>) {
        let mut news = self.0.news.subscribe();
        let mut seen = news.borrow_and_update().number;
        let mut is_new = true;
        self.0.is_new.store(true, Ordering::Relaxed);
        self.0.opened.notify_one();
        let hello = format!("retry: 3000\nevent: version\ndata: {}\n\n", draw::VERSION);
        let mut next = Bytes::from(hello);
        loop {
            // There is room for one: it waits until the one before was written.
            match tokio::time::timeout(PATIENCE, page.send(next)).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => break,
            }
            let changed = tokio::time::timeout(SILENCE, news.wait_for(|news| news.number != seen));
            next = match changed.await {
                // There are no pages any more.
                Ok(Ok(news)) if news.number == 0 => break,
                Ok(Ok(news)) => {
                    let is_next = !is_new && news.number == seen.wrapping_add(1);
                    (seen, is_new) = (news.number, false);
                    if is_next { news.changed.clone() } else { news.all.clone() }
                }
                Ok(Err(_)) => break,
                Err(_) => Bytes::from_static(b": still here\n\n"),
            };
        }
        drop(seat);
    }

    /// Until the next look: the more pages there are, the longer.
    fn pause(&self) -> Duration {
        match self.open() {
            0 => History::EVERY,
            open => LOOK.saturating_mul(open.div_ceil(PAGES_A_SECOND)).min(History::EVERY),
        }
    }

    /// Pages that follow.
    fn open(&self) -> u32 {
        let open = self.0.most.saturating_sub(self.0.places.available_permits());
        u32::try_from(open).unwrap_or(u32::MAX)
    }

    fn sample(&self, now: Instant) {
        let mut drawn = self.drawn();
        if drawn.history.is_due(now) {
            let mut sum = crate::observe::metrics::Counts::default();
            self.0.view.totals().iter().for_each(|totals| sum.add(&totals.counts));
            drawn.history.push(now, sum);
        }
    }

    /// Looks, and draws.
    fn draw(&self, page: StatusPage, now: Instant) {
        let mut drawn = self.drawn();
        let mut sight = sight::look(&self.0.view, &drawn.history, page, now, SystemTime::now());
        todo::gather(&mut sight, &self.0.view);
        drawn.parts = draw::parts(&sight);
        drawn.document = draw::document(&sight, &drawn.parts).into();
        (drawn.at, drawn.page) = (Some(now), page);
    }

    /// Tells open pages what has changed since they were told last, and new ones everything.
    fn publish(&self) {
        let mut drawn = self.drawn();
        let is_new = self.0.is_new.swap(false, Ordering::Relaxed);
        let changed: Vec<_> = drawn.parts.iter().filter(|part| !drawn.told.contains(part)).collect();
        if changed.is_empty() && !is_new {
            return;
        }
        let (changed, all) = (event(changed), event(drawn.parts.iter()));
        drawn.told = drawn.parts.clone();
        drop(drawn);
        self.0.news.send_modify(|news| {
            *news = News { number: news.number.wrapping_add(1).max(1), changed, all };
        });
    }

    fn drawn(&self) -> MutexGuard<'_, Drawn> {
        self.0.drawn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Parts as one event: a JSON object, which has no line end.
fn event<'a>(parts: impl IntoIterator<Item = &'a (&'static str, String)>) -> Bytes {
    let parts: serde_json::Map<_, _> =
        parts.into_iter().map(|(id, text)| ((*id).to_owned(), text.as_str().into())).collect();
    format!("event: parts\ndata: {}\n\n", serde_json::Value::Object(parts)).into()
}
