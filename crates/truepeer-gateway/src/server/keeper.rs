//! The keeper: keeps each backend's addresses fresh and asks those that are not known to be ready.
//!
//! Slow, rare things on a thread of their own: names are resolved, addresses proved, and what changes is said once.
//! Connections only read what the keeper has found out.

mod names;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::engine::later;
use crate::rooms::backend::BackendAddress;
use crate::rooms::backend::{Pool, Readiness, Target, Unready};
use crate::server::prober;

use names::Names;

/// How often host names are looked up.
const LOOKUP: Duration = Duration::from_secs(30);
/// How long one look-up may take.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);
/// The first pause before an address that is not ready is asked again; it doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// How often addresses that serve are asked whether they still do, where a listener shows it to balancers.
const WATCH: Duration = Duration::from_secs(5);

/// Keeps one pool until its future is dropped. `asked` turns true once every address was asked at least once.
///
/// Runs inside a `LocalSet`.
///
/// # Cancel safety
/// Dropping the future stops the keeping; what was found out stays.
pub async fn keep(pool: Arc<Pool>, asked: watch::Sender<bool>) {
    let named = pool.backend.addresses.iter().any(|address| matches!(address, BackendAddress::Host { .. }));
    let mut names = Names::default();
    let mut next_lookup = Instant::now();
    let mut next_watch = later(Instant::now(), WATCH);
    let mut pause = FIRST_PAUSE;
    loop {
        let now = Instant::now();
        if now >= next_lookup {
            look_up(&pool, &mut names).await;
            next_lookup = later(now, LOOKUP);
        }
        // At once, so that an address that stays silent does not delay the others.
        let mut asking = JoinSet::new();
        let ask_all = pool.take_ask_all();
        let watch = pool.is_asked_regularly() && now >= next_watch;
        if watch {
            next_watch = later(now, WATCH);
        }
        for target in pool.targets().iter() {
            let anew = ask_all || !target.readiness().may_serve();
            if anew || watch {
                let (pool, target) = (Arc::clone(&pool), Arc::clone(target));
                asking.spawn_local(async move {
                    if anew || !prober::still_serves(&pool, &target.address).await {
                        ask(&pool, &target).await;
                    }
                });
            }
        }
        while asking.join_next().await.is_some() {}
        let all_ready = pool.targets().iter().all(|target| target.readiness().may_serve());
        asked.send_replace(true);
        let mut wake_at = if named { Some(next_lookup) } else { None };
        if pool.is_asked_regularly() {
            wake_at = Some(wake_at.map_or(next_watch, |at| at.min(next_watch)));
        }
        if !all_ready || pool.targets().is_empty() {
            let retry = later(Instant::now(), pause);
            pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
            wake_at = Some(wake_at.map_or(retry, |at| at.min(retry)));
        } else {
            pause = FIRST_PAUSE;
        }
        tokio::select! {
            () = pool.needs_asking().woken() => {
                pool.targets().iter().for_each(|target| say(&pool, target));
                // An address that refuses is asked no more often than so, however many clients find it out.
                tokio::time::sleep(FIRST_PAUSE).await;
            }
            () = sleep_until(wake_at) => {}
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

async fn ask(pool: &Pool, target: &Target) {
    let readiness = prober::ask(pool, &target.address).await;
    if matches!(readiness, Readiness::Unready(Unready::NotAsked { .. })) && target.readiness().may_serve() {
        // What this host lacks says nothing about the address: what was found out stays.
        return;
    }
    pool.note(target, readiness);
    say(pool, target);
}

/// Says what is new about an address.
fn say(pool: &Pool, target: &Target) {
    let Some(news) = target.news() else { return };
    let backend = &*pool.backend.id;
    let address = target.address.to_string();
    match &*news {
        Readiness::Proved => {
            tracing::info!(event = "backend_proved", backend, address, "the backend reads our header");
        }
        Readiness::Unproven => {
            let cause = "whether it reads our header cannot be asked: its client speaks first";
            tracing::info!(event = "backend_unproven", backend, address, cause);
        }
        Readiness::Unready(why) => {
            let (event, cause, remedy) = (why.code(), why.to_string(), remedy(pool, why));
            tracing::warn!(event, backend, address, cause, remedy);
        }
        Readiness::Unasked => {}
    }
}

fn remedy(pool: &Pool, why: &Unready) -> &'static str {
    match why {
        Unready::IgnoresHeader { .. } | Unready::RefusesHeader { .. } => pool.backend.kind.facts().remedy,
        Unready::Unreachable { .. } => {
            "start the backend, or correct `address`; clients are asked to come back later"
        }
        Unready::NotAsked { .. } => {
            "raise the limit that is reached (LimitNOFILE=, net.ipv4.ip_local_port_range); it is asked again and again"
        }
    }
}

/// Looks names up and gives the pool what they stand for now. The built-in backend has its addresses from elsewhere.
async fn look_up(pool: &Pool, names: &mut Names) {
    if pool.backend.addresses.is_empty() {
        return;
    }
    let complain = |name: &str, cause: String| {
        let (backend, remedy) = (&*pool.backend.id, "the last good answer is kept, if there was one");
        tracing::warn!(event = "backend_name_unresolved", backend, name, cause, remedy);
    };
    pool.set_addresses(names.look_up(&pool.backend.addresses, resolve, complain).await);
}

async fn resolve(name: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    let lookup = tokio::net::lookup_host((name, port));
    match tokio::time::timeout(LOOKUP_TIMEOUT, lookup).await {
        Ok(Ok(found)) => Ok(found.collect()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {} s", LOOKUP_TIMEOUT.as_secs())),
    }
}
