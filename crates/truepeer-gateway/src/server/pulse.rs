//! The pulse: asks every worker whether its executor still turns.
//!
//! A question is a number that a worker's executor sees and answers between the steps of its connections, so that a
//! step which does not end leaves it unanswered. Nobody asks, nothing is done. Asked by the watchdog; answered beside
//! [`crate::server::worker`], which knows nothing of it.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use tokio::sync::watch;

/// The asking side.
#[derive(Debug)]
pub struct Pulse {
    asked: watch::Sender<u64>,
    /// Workers that have not left.
    there: BTreeSet<usize>,
    news: Receiver<News>,
    end: End,
}

/// One worker's side.
#[derive(Debug)]
pub struct Beat {
    worker: usize,
    asked: watch::Receiver<u64>,
    tell: SyncSender<News>,
}

/// Ends the asking.
#[derive(Debug, Clone)]
pub struct End(SyncSender<News>);

#[derive(Debug)]
enum News {
    Answer { worker: usize, question: u64 },
    Left(usize),
    End,
}

/// What the asking side hears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// This worker answers the latest question.
    Answer(usize),
    /// This worker has ended in order, and will not answer any more.
    Left(usize),
    /// Nothing within the time.
    Nothing,
    /// Asking is over.
    End,
}

impl Pulse {
    /// A pulse for so many workers, and the side of each.
    #[must_use]
    pub fn new(workers: usize) -> (Self, Vec<Beat>) {
        // An answer and a farewell for each worker, since no question is asked before the last one is answered; and
        // the end. Nobody ever finds it full.
        let (tell, news) = sync_channel(workers.saturating_mul(2).saturating_add(1));
        let (asked, seen) = watch::channel(0);
        let beat = |worker| Beat { worker, asked: seen.clone(), tell: tell.clone() };
        let beats = (0..workers).map(beat).collect();
        (Self { asked, there: (0..workers).collect(), news, end: End(tell) }, beats)
    }

    /// Asks every worker; returns those whose answer is waited for.
    pub fn ask(&mut self) -> BTreeSet<usize> {
        self.asked.send_modify(|question| *question = question.wrapping_add(1));
        self.there.clone()
    }

    /// Waits for the next piece of news, without `time` for as long as it takes.
    pub fn hear(&mut self, time: Option<Duration>) -> Heard {
        loop {
            let news = match time {
                Some(time) => self.news.recv_timeout(time),
                None => self.news.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            return match news {
                Ok(News::Answer { question, .. }) if question != *self.asked.borrow() => continue,
                Ok(News::Answer { worker, .. }) => Heard::Answer(worker),
                Ok(News::Left(worker)) => {
                    self.there.remove(&worker);
                    Heard::Left(worker)
                }
                Ok(News::End) | Err(RecvTimeoutError::Disconnected) => Heard::End,
                Err(RecvTimeoutError::Timeout) => Heard::Nothing,
            };
        }
    }

    /// Something that ends the asking.
    #[must_use]
    pub fn end(&self) -> End {
        self.end.clone()
    }
}

impl End {
    /// Ends it.
    pub fn tell(&self) {
        // Nobody listens only if it is over already.
        let _ = self.0.try_send(News::End);
    }
}

impl Beat {
    /// Does `work`, and answers on its executor meanwhile. A worker that panics never answers again.
    ///
    /// # Cancel safety
    /// That of `work`.
    pub async fn during<T>(mut self, work: impl Future<Output = T>) -> T {
        let answers = async {
            // Without anybody who asks, there is nothing to answer.
            while self.asked.changed().await.is_ok() {
                let question = *self.asked.borrow_and_update();
                let _ = self.tell.try_send(News::Answer { worker: self.worker, question });
            }
            std::future::pending().await
        };
        let done = tokio::select! {
            // One that has ended says farewell, not that it is there.
            biased;
            done = work => done,
            never = answers => never,
        };
        let _ = self.tell.try_send(News::Left(self.worker));
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    #[test]
    fn a_worker_answers_each_question_once_and_says_farewell() {
        let (mut pulse, beats) = Pulse::new(2);
        let (let_go, held) = tokio::sync::oneshot::channel::<()>();
        let mut beats = beats.into_iter();
        let (first, second) = (beats.next().unwrap(), beats.next().unwrap());
        let thread = std::thread::spawn(move || run(first.during(held)));
        assert_eq!(pulse.ask(), [0, 1].into());
        assert_eq!(pulse.hear(Some(PATIENCE)), Heard::Answer(0));
        run(second.during(std::future::ready(())));
        assert_eq!(pulse.hear(Some(PATIENCE)), Heard::Left(1));
        assert_eq!(pulse.ask(), [0].into());
        assert_eq!(pulse.hear(Some(PATIENCE)), Heard::Answer(0));
        assert_eq!(pulse.hear(Some(Duration::ZERO)), Heard::Nothing);
        let_go.send(()).unwrap();
        thread.join().unwrap().unwrap();
        assert_eq!(pulse.hear(Some(PATIENCE)), Heard::Left(0));
        pulse.end().tell();
        assert_eq!(pulse.hear(None), Heard::End);
    }
}
