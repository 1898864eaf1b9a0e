//! The keeper of trusted names: looks each up again and again, and says what it means now when that changes.
//!
//! Runs on the keeper's thread. Connections only read what it has found out; one name that takes long delays no other,
//! and is not asked twice at once.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::rooms::bans::denied::Denied;
use crate::rooms::trust::{Named, News};

/// How long an answer may take.
pub const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

/// What all names of a configuration have in common.
#[derive(Debug, Clone)]
pub struct Attending {
    /// How often each is looked up.
    pub refresh: Duration,
    /// How long an answer may take before the name counts as failing; it is still taken when it comes.
    pub patience: Duration,
    /// The default gateways of this machine.
    pub gateways: Vec<IpAddr>,
    /// Bans, none of which may hit a proxy.
    pub denied: Denied,
}

/// Looks `named` up by `resolve` until the future is dropped. `asked` turns true at the first answer, or when it is
/// late.
///
/// # Cancel safety
/// Dropping the future stops the looking up; what was found out stays.
pub async fn attend(
    named: Arc<Named>,
    how: Attending,
    resolve: impl AsyncFn(&str) -> Result<Vec<IpAddr>, String>,
    asked: watch::Sender<bool>,
) {
    let take = |answer| {
        let news = named.take(answer, SystemTime::now(), &how.gateways);
        say(&named, &news);
        if !news.added.is_empty() {
            how.denied.release();
        }
        asked.send_replace(true);
    };
    loop {
        let began = Instant::now();
        let mut look_up = std::pin::pin!(resolve(&named.name));
        let answer = match tokio::time::timeout(how.patience, &mut look_up).await {
            Ok(answer) => answer,
            Err(_) => {
                take(Err(format!("no answer within {}", humantime::format_duration(how.patience))));
                // The resolver goes on until it gives up; a second question would only wait behind it.
                look_up.await
            }
        };
        take(answer);
        tokio::time::sleep_until(began.checked_add(how.refresh).unwrap_or(began)).await;
    }
}

/// What the system's resolver says of `name`.
///
/// # Errors
/// Its words.
pub async fn resolve(name: &str) -> Result<Vec<IpAddr>, String> {
    match tokio::net::lookup_host((name, 0)).await {
        Ok(found) => Ok(found.map(|addr| addr.ip()).collect()),
        Err(error) => Err(error.to_string()),
    }
}

/// The names of a configuration; those of `known` are kept, with all that they mean.
pub fn named<'a>(wanted: impl IntoIterator<Item = &'a Arc<str>>, known: &[Arc<Named>]) -> Vec<Arc<Named>> {
    let mut all: Vec<Arc<Named>> = Vec::new();
    for name in wanted {
        if !all.iter().any(|named| named.name == *name) {
            let kept = known.iter().find(|named| named.name == *name).map(Arc::clone);
            all.push(kept.unwrap_or_else(|| Arc::new(Named::new(Arc::clone(name)))));
        }
    }
    all
}

/// What `names` mean at this moment, found out at once and for no longer than the patience of a keeper.
///
/// # Errors
/// The system gives no thread to look them up on.
pub fn look_up_now<'a>(
    names: impl IntoIterator<Item = &'a Arc<str>>,
    gateways: &[IpAddr],
) -> io::Result<Vec<Arc<Named>>> {
    let all = named(names, &[]);
    if all.is_empty() {
        return Ok(all);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut look_ups = JoinSet::new();
        for named in &all {
            let named = Arc::clone(named);
            look_ups.spawn(async move {
                let late = || Err(format!("no answer within {}", humantime::format_duration(LOOKUP_TIMEOUT)));
                let answer = tokio::time::timeout(LOOKUP_TIMEOUT, resolve(&named.name)).await;
                (named, answer.unwrap_or_else(|_| late()))
            });
        }
        while let Some(looked_up) = look_ups.join_next().await {
            if let Ok((named, answer)) = looked_up {
                named.take(answer, SystemTime::now(), gateways);
            }
        }
    });
    runtime.shutdown_background();
    Ok(all)
}

fn say(named: &Named, news: &News) {
    let name = &*named.name;
    let list = |addrs: &[IpAddr]| addrs.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    if !news.added.is_empty() || !news.removed.is_empty() {
        let addresses = list(&named.meaning().addresses);
        let (added, removed) = (list(&news.added), list(&news.removed));
        tracing::info!(event = "trusted_name_changed", name, addresses, added, removed);
    } else if news.recovered {
        let addresses = list(&named.meaning().addresses);
        tracing::info!(event = "trusted_name_recovered", name, addresses);
    }
    if let Some(cause) = &news.fails {
        let remedy = if named.meaning().addresses.is_empty() {
            "nobody is trusted by this name until it has an answer: correct it, or see to the name server"
        } else {
            "the last good answer is kept; see to the name server"
        };
        tracing::warn!(event = "trusted_name_unresolved", name, cause, remedy);
    }
    for surprise in &news.surprises {
        let cause = surprise.to_string();
        tracing::warn!(event = "trusted_name_surprising", name, cause);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::collections::VecDeque;

    use tokio::sync::Notify;

    use super::*;

    fn how(patience: Duration) -> Attending {
        let (gateways, denied) = (Vec::new(), Denied::default());
        Attending { refresh: Duration::from_millis(1), patience, gateways, denied }
    }

    fn addr(last: u8) -> IpAddr {
        IpAddr::from([172, 18, 0, last])
    }

    /// Lets `attending` run until `done`, at most for a time in which it is.
    async fn until(attending: impl Future<Output = ()>, done: impl Fn() -> bool) {
        let watch = async {
            while !done() {
                tokio::task::yield_now().await;
            }
        };
        let both = async {
            tokio::select! { () = attending => {}, () = watch => {} }
        };
        tokio::time::timeout(Duration::from_secs(20), both).await.unwrap();
    }

    #[tokio::test]
    async fn a_name_follows_its_answers_and_keeps_the_last_good_one() {
        let failure = || Err("temporary failure".to_owned());
        let answers = RefCell::new(VecDeque::from([
            failure(),
            Ok(vec![addr(5)]),
            Ok(vec![addr(6), addr(7)]),
            failure(),
            Ok(Vec::new()),
            Ok((1..=65).map(addr).collect()),
            Ok(vec![addr(8)]),
        ]));
        let named = Arc::new(Named::new("traefik".into()));
        let held = RefCell::new(Vec::new());
        let resolve = async |name: &str| {
            assert_eq!(name, "traefik");
            held.borrow_mut().push(named.meaning().addresses.clone());
            let next = answers.borrow_mut().pop_front();
            match next {
                Some(answer) => answer,
                None => std::future::pending().await,
            }
        };
        let (tell, asked) = watch::channel(false);
        let attending = attend(Arc::clone(&named), how(Duration::from_millis(50)), resolve, tell);
        // The last look-up never ends: it fails, and what was known stays.
        let late = || named.meaning().failing.as_ref().is_some_and(|why| why == "no answer within 50ms");
        until(attending, late).await;
        let pair = vec![addr(6), addr(7)];
        let kept =
            [vec![], vec![], vec![addr(5)], pair.clone(), pair.clone(), pair.clone(), pair, vec![addr(8)]];
        assert_eq!(held.into_inner(), kept);
        assert_eq!(named.meaning().addresses, [addr(8)]);
        assert!(*asked.borrow());
    }

    #[tokio::test]
    async fn a_look_up_that_hangs_is_not_asked_again_meanwhile_and_its_answer_is_taken_when_it_comes() {
        let named = Arc::new(Named::new("slow".into()));
        let (questions, answer) = (Cell::new(0), Notify::new());
        let resolve = async |_: &str| {
            questions.set(questions.get() + 1);
            answer.notified().await;
            Ok(vec![addr(5)])
        };
        let (tell, asked) = watch::channel(false);
        let attending = attend(Arc::clone(&named), how(Duration::from_millis(20)), resolve, tell);
        let told = Cell::new(false);
        let known = || {
            if *asked.borrow() && !told.get() {
                // It is late: anyone who waits for the start goes on, and nobody is trusted yet.
                assert!(named.meaning().addresses.is_empty() && named.meaning().failing.is_some());
                assert_eq!(questions.get(), 1);
                told.set(true);
                answer.notify_one();
            }
            named.holds(addr(5))
        };
        until(attending, known).await;
        assert_eq!(named.meaning().failing, None);
        assert!(told.get());
    }

    #[test]
    fn a_name_that_stays_keeps_what_it_means() {
        let names = |texts: &[&str]| texts.iter().map(|text| Arc::from(*text)).collect::<Vec<Arc<str>>>();
        let first = named(&names(&["a", "b", "a"]), &[]);
        assert_eq!(first.len(), 2);
        first[1].take(Ok(vec![addr(5)]), SystemTime::now(), &[]);
        let second = named(&names(&["b", "c"]), &first);
        assert_eq!(second[0].meaning().addresses, [addr(5)]);
        assert!(second[1].meaning().addresses.is_empty());
    }
}
