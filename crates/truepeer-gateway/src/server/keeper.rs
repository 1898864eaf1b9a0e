//! The keeper: keeps each backend's addresses fresh and asks those that are not known to be ready.
//!
//! Slow, rare things on a thread of their own: names are resolved, addresses proved, and what changes is said once.
//! Connections only read what the keeper has found out.

mod names;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;
use truepeer_doctor::change;

use crate::engine::Bell;
use crate::rooms::backend::{Check, Pool, Readiness, Target, Unready};
use crate::server::prober::{Leave, Questions, Still};

use names::{Name, Names};

/// How often host names are looked up.
const LOOKUP: Duration = Duration::from_secs(30);
/// How long one look-up may take.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);
/// The first pause before an address that is not ready is asked again; it doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// How often addresses that serve are asked whether they still do, where a listener shows it to balancers.
const WATCH: Duration = Duration::from_secs(5);
/// How often they are asked elsewhere: a backend may lose its option in a restart that nobody notices.
const RECHECK: Duration = Duration::from_secs(600);
/// When it is said that a backend takes long to answer; it is listened to all the same.
const NOTABLE: Duration = Duration::from_secs(10);

/// One address, and when it is asked next.
struct Kept {
    target: Arc<Target>,
    /// The question that is on its way.
    asking: Option<AbortHandle>,
    /// Whether it was answered once.
    answered: bool,
    /// Whether it is to be asked in full although it serves.
    anew: bool,
    /// When it is asked, while it does not serve.
    next: Instant,
    pause: Duration,
    /// When it may be asked about clients of the other family again.
    next_family: Instant,
}

impl Kept {
    fn new(target: &Arc<Target>, now: Instant) -> Self {
        let target = Arc::clone(target);
        Self {
            target,
            asking: None,
            answered: false,
            anew: false,
            next: now,
            pause: FIRST_PAUSE,
            next_family: now,
        }
    }

    /// Takes note of a question that has been answered.
    fn settle(&mut self, now: Instant) {
        if self.asking.take_if(|asking| asking.is_finished()).is_none() {
            return;
        }
        self.answered = true;
        if self.target.readiness().may_serve() {
            self.pause = FIRST_PAUSE;
        } else {
            self.next = later(now, self.pause);
            self.pause = self.pause.saturating_mul(2).min(LONGEST_PAUSE);
        }
    }
}

/// Keeps one pool until its future is dropped; its addresses are asked by `prober`. `asked` turns true once every name was looked up and every address asked
/// at least once; `moved` is rung when its addresses have become others.
///
/// Each address is asked apart, so that one that takes minutes delays no other.
/// Runs inside a `LocalSet`.
///
/// # Cancel safety
/// Dropping the future stops the keeping; what was found out stays.
pub(super) async fn keep<Q>(pool: Arc<Pool>, prober: Q, asked: watch::Sender<bool>, moved: Bell)
where
    Q: Questions + Clone + 'static,
{
    let names = Names::of(&pool.backend.addresses);
    let mut known = Names::default();
    let mut looking: JoinSet<(Name, Result<Vec<SocketAddr>, String>)> = JoinSet::new();
    set_addresses(&pool, &known, &moved);
    let mut next_lookup = Instant::now();
    let mut next_watch = later(Instant::now(), WATCH);
    let mut next_recheck = later(Instant::now(), RECHECK);
    let mut kept: Vec<Kept> = Vec::new();
    let mut asking: JoinSet<Option<Leave>> = JoinSet::new();
    let mut leaving = JoinSet::new();
    loop {
        let now = Instant::now();
        if now >= next_lookup {
            // Beside each other, and each once: a name server that hangs holds up nothing but its own name.
            if looking.is_empty() {
                for name in &names {
                    let name = name.clone();
                    looking.spawn_local(async move { (name.clone(), resolve(&name.0, name.1).await) });
                }
            }
            next_lookup = later(now, LOOKUP);
        }
        let targets = pool.targets();
        kept.retain(|kept| targets.iter().any(|target| Arc::ptr_eq(target, &kept.target)));
        for target in targets.iter() {
            if !kept.iter().any(|kept| Arc::ptr_eq(target, &kept.target)) {
                kept.push(Kept::new(target, now));
            }
        }
        if pool.take_ask_all() {
            kept.iter_mut().for_each(|kept| (kept.anew, kept.next) = (true, now));
        }
        let watch = pool.is_asked_regularly() && now >= next_watch;
        let recheck = pool.is_provable() && now >= next_recheck;
        if watch {
            next_watch = later(now, WATCH);
        }
        if recheck {
            next_recheck = later(now, RECHECK);
        }
        for kept in kept.iter_mut().filter(|kept| kept.asking.is_none()) {
            let serves = kept.target.readiness().may_serve();
            if kept.target.take_suspicion()
                && *kept.target.readiness() == Readiness::Proved
                && now >= kept.next_family
            {
                kept.next_family = later(now, RECHECK);
                let (pool, prober, target) = (Arc::clone(&pool), prober.clone(), Arc::clone(&kept.target));
                kept.asking = Some(asking.spawn_local(async move {
                    ask_about_family(&pool, &prober, &target).await;
                    None
                }));
                continue;
            }
            if serves && pool.check() == Check::None {
                // Its clients show whether it works.
                kept.anew = false;
                continue;
            }
            let in_part = matches!(*kept.target.readiness(), Readiness::InPart { .. });
            let anew = kept.anew || !serves || (in_part && recheck);
            // A client that was just connected shows more than a question.
            let watch = watch && !kept.target.take_reached();
            let is_due = if serves { kept.anew || watch || recheck } else { now >= kept.next };
            if is_due {
                kept.anew = false;
                let (pool, prober, target) = (Arc::clone(&pool), prober.clone(), Arc::clone(&kept.target));
                kept.asking = Some(asking.spawn_local(async move {
                    if !anew && let (Still::Serves, leave) = prober.still_serves(&pool, &target.address).await
                    {
                        return leave;
                    }
                    ask(&pool, &prober, &target).await
                }));
            }
        }
        if known.are_answered(&names) && kept.iter().all(|kept| kept.answered) {
            asked.send_replace(true);
        }
        let waiting = |kept: &&Kept| kept.asking.is_none() && !kept.target.readiness().may_serve();
        let wake_at = [
            (!names.is_empty()).then_some(next_lookup),
            pool.is_asked_regularly().then_some(next_watch),
            pool.is_provable().then_some(next_recheck),
            // Somebody gives the built-in backend its addresses.
            kept.is_empty().then(|| later(now, FIRST_PAUSE)),
            kept.iter().filter(waiting).map(|kept| kept.next).min(),
        ];
        tokio::select! {
            Some(answered) = asking.join_next(), if !asking.is_empty() => {
                if let Ok(Some(leave)) = answered {
                    // Its answer is there; what is left is courtesy, and nobody waits for that.
                    let pool = Arc::clone(&pool);
                    leaving.spawn_local(async move { leave.take(&pool).await });
                }
                let now = Instant::now();
                kept.iter_mut().for_each(|kept| kept.settle(now));
            }
            Some(looked_up) = looking.join_next(), if !looking.is_empty() => {
                if let Ok((name, answer)) = looked_up {
                    take_answer(&pool, &mut known, name, answer);
                    set_addresses(&pool, &known, &moved);
                }
            }
            Some(_) = leaving.join_next(), if !leaving.is_empty() => {}
            () = pool.needs_asking().woken() => {
                let soon = later(Instant::now(), FIRST_PAUSE);
                for kept in &mut kept {
                    say(&pool, &kept.target);
                    // An address that refuses is asked no more often than so, however many clients find it out.
                    if kept.target.readiness().may_serve() || kept.pause == FIRST_PAUSE {
                        kept.next = soon;
                    }
                }
            }
            () = sleep_until(wake_at.into_iter().flatten().min()) => {}
        }
    }
}

/// A time that cannot be told is now: asked too early beats never.
fn later(instant: Instant, by: Duration) -> Instant {
    instant.checked_add(by).unwrap_or(instant)
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

async fn ask(pool: &Pool, prober: &impl Questions, target: &Target) -> Option<Leave> {
    let known = target.readiness();
    let question = prober.ask(pool, &target.address, &known);
    tokio::pin!(question);
    let (readiness, leave) = match tokio::time::timeout(NOTABLE, &mut question).await {
        Ok(asked) => asked,
        Err(_) => {
            if !target.readiness().may_serve() {
                let saw = format!("no whole answer within {} s, it is still listened to", NOTABLE.as_secs());
                pool.note(target, Readiness::Unready(Unready::Slow { saw }));
                say(pool, target);
            }
            question.await
        }
    };
    let proves_nothing =
        matches!(readiness, Readiness::Unready(Unready::NotAsked { .. } | Unready::Slow { .. }));
    if proves_nothing && target.readiness().may_serve() {
        // What this host lacks, or an answer that does not come, says nothing: what was found out stays.
        return leave;
    }
    pool.note(target, readiness);
    say(pool, target);
    leave
}

/// A client of the other family found the end right behind our header: the backend may take none of them.
async fn ask_about_family(pool: &Pool, prober: &impl Questions, target: &Target) {
    let refuses = target.asked_family().other();
    let Some(saw) = prober.refuses_family(pool, &target.address, refuses).await else { return };
    // One that turns everybody away at present says nothing of a family.
    let (still, _) = prober.still_serves(pool, &target.address).await;
    if still == Still::Serves && *target.readiness() == Readiness::Proved {
        pool.note(target, Readiness::InPart { refuses, saw });
        say(pool, target);
    }
}

/// Says what is new about an address.
fn say(pool: &Pool, target: &Target) {
    let Some(news) = target.news() else { return };
    let backend = &*pool.backend.id;
    let address = pool.name_of(&target.address);
    match &*news {
        Readiness::Proved => {
            tracing::info!(event = "backend_proved", backend, address, "the backend takes our handoff");
        }
        Readiness::InPart { refuses, saw } => {
            let cause =
                format!("it turns {refuses} clients away ({saw}); here they hear a temporary refusal");
            let remedy = change::BOTH_FAMILIES;
            tracing::warn!(event = "backend_proved_in_part", backend, address, cause, remedy);
        }
        Readiness::Unproven => {
            let question = pool.backend.handoff.facts().question;
            let cause = if pool.backend.has_range() {
                "the ports of a range are not tested: only clients may connect there".to_owned()
            } else {
                format!("{question} does not show in what it says without a client")
            };
            tracing::info!(event = "backend_unproven", backend, address, cause);
        }
        Readiness::Unready(why) => {
            let (event, cause, remedy) = (why.code(), why.to_string(), pool.remedy(why));
            tracing::warn!(event, backend, address, cause, remedy);
        }
        Readiness::Unasked => {}
    }
}

/// Gives the pool the addresses that are known now. The built-in backend has its addresses from elsewhere.
fn set_addresses(pool: &Pool, known: &Names, moved: &Bell) {
    if pool.backend.addresses.is_empty() {
        return;
    }
    let found = known.stand_for(&pool.backend.addresses);
    let is_same = pool.targets().iter().map(|target| &target.address).eq(&found);
    if !is_same {
        pool.set_addresses(found);
        moved.ring();
    }
}

fn take_answer(pool: &Pool, known: &mut Names, name: Name, answer: Result<Vec<SocketAddr>, String>) {
    let host = name.0.clone();
    if let Err(cause) = known.take(name, answer) {
        let (backend, remedy) = (&*pool.backend.id, "the last good answer is kept, if there was one");
        tracing::warn!(event = "backend_name_unresolved", backend, name = host, cause, remedy);
    }
}

async fn resolve(name: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    let lookup = tokio::net::lookup_host((name, port));
    match tokio::time::timeout(LOOKUP_TIMEOUT, lookup).await {
        Ok(Ok(found)) => Ok(found.collect()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {} s", LOOKUP_TIMEOUT.as_secs())),
    }
}

#[cfg(test)]
mod tests;
