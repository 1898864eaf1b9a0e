//! The thread on which backends are kept: one keeper for each pool, started and forgotten as configurations come.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet, LocalSet};

use crate::demo::whoami::Whoami;
use crate::door::OwnAddresses;
use crate::engine::{Address, Bell};
use crate::rooms::backend::Pool;
use crate::rooms::handoff::kind::Kind;
use crate::rooms::trust::Named;
use crate::server::names::{self, Attending};
use crate::server::prober::Prober;
use crate::server::worker::Post;
use crate::server::{health, keeper};

use super::doors::addresses_of;
use super::shutters::{self, Shuttered};
use super::supervised::supervised;

/// How often the addresses of this machine are looked at.
const LOOK_AROUND: Duration = Duration::from_secs(30);
/// Orders that may wait for the thread.
const ORDERS: usize = 64;

/// The thread that keeps backends. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Keepers {
    own_addresses: OwnAddresses,
    orders: Option<mpsc::Sender<Order>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
enum Order {
    /// Keep these pools, and no others; answer once each was asked, or the time is over.
    Keep(Vec<Arc<Pool>>, Duration, SyncSender<io::Result<()>>),
    /// Shut and open these addresses, and no others; answer once it is so.
    Shut(Vec<Shuttered>, SyncSender<()>),
    /// Look these names up, and no others; answer once each was asked, or the time is over.
    Names(Vec<Arc<Named>>, Attending, Duration, SyncSender<()>),
    /// Answer health checks there.
    Check(Box<Post>, health::HealthContext),
}

impl Keepers {
    /// Starts the thread, with nothing to keep.
    ///
    /// `changed` rings when a backend may have come or gone.
    pub(super) fn start(changed: Bell) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (orders, received) = mpsc::channel(ORDERS);
        let own_addresses = OwnAddresses::default();
        let current = own_addresses.clone();
        let body = move || {
            // The engine's futures stay on one thread.
            let local = LocalSet::new();
            runtime.block_on(local.run_until(follow(received, changed, current)));
            drop(local);
            // A name server that does not answer must not hold up the end.
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new().name("keeper".to_owned()).spawn(body)?;
        Ok(Self { own_addresses, orders: Some(orders), thread: Some(thread) })
    }

    /// The addresses of this machine and of the pools that are kept, current as long as the thread lives.
    pub(super) fn own_addresses(&self) -> &OwnAddresses {
        &self.own_addresses
    }

    /// Keeps `pools` from now on, and no others. Returns once each address was asked, at the latest after `patience`.
    pub(super) fn keep(&self, pools: Vec<Arc<Pool>>, patience: Duration) -> io::Result<()> {
        let (report, answer) = sync_channel(1);
        let gone = || io::Error::other("the keeper's thread has ended");
        let orders = self.orders.as_ref().ok_or_else(gone)?;
        orders.blocking_send(Order::Keep(pools, patience, report)).map_err(|_| gone())?;
        answer.recv().map_err(|_| gone())?
    }

    /// Looks `names` up from now on, and no others. What is returned hears when each was asked, at the latest after
    /// `patience`.
    pub(super) fn name(&self, names: Vec<Arc<Named>>, how: Attending, patience: Duration) -> Receiver<()> {
        let (report, answer) = sync_channel(1);
        if let Some(orders) = &self.orders {
            // A thread that is gone has panicked and said so.
            let _ = orders.blocking_send(Order::Names(names, how, patience, report));
        }
        answer
    }

    /// Answers health checks at `post`, until it is told to leave.
    pub(super) fn check(&self, post: Post, desk: health::HealthContext) {
        if let Some(orders) = &self.orders {
            // A thread that is gone has panicked and said so.
            let _ = orders.blocking_send(Order::Check(Box::new(post), desk));
        }
    }

    /// Shuts and opens these addresses from now on, and no others. Once it returns, nobody but the caller tells the
    /// workers of others anything.
    pub(super) fn shut(&self, shuttered: Vec<Shuttered>) {
        let (report, answer) = sync_channel(1);
        if let Some(orders) = &self.orders
            && orders.blocking_send(Order::Shut(shuttered, report)).is_ok()
        {
            // A thread that is gone has panicked and said so.
            let _ = answer.recv();
        }
    }
}

impl Drop for Keepers {
    fn drop(&mut self) {
        drop(self.orders.take());
        if let Some(thread) = self.thread.take() {
            // If it panicked it has said so.
            let _ = thread.join();
        }
    }
}

/// One pool being kept.
struct Kept {
    pool: Arc<Pool>,
    asked: watch::Receiver<bool>,
    end: AbortHandle,
}

async fn follow(mut orders: mpsc::Receiver<Order>, changed: Bell, own: OwnAddresses) {
    let moved = Bell::default();
    let mut moves = moved.subscribe();
    let mut checks = JoinSet::new();
    let mut shutters = JoinSet::new();
    let mut keepers = JoinSet::new();
    let mut kept: Vec<Kept> = Vec::new();
    let mut names = JoinSet::new();
    let mut whoami = None;
    loop {
        let order = tokio::select! {
            order = orders.recv() => match order {
                Some(order) => order,
                None => return,
            },
            () = moves.heard() => {
                own.set(addresses_of(kept.iter().map(|kept| &kept.pool)));
                continue;
            }
            // Interfaces come and go without telling.
            () = tokio::time::sleep(LOOK_AROUND) => {
                own.set(addresses_of(kept.iter().map(|kept| &kept.pool)));
                continue;
            }
        };
        // Those that a reload has ended.
        while checks.try_join_next().is_some() || keepers.try_join_next().is_some() {}
        let (pools, patience, report) = match order {
            Order::Check(post, desk) => {
                checks.spawn_local(health::attend(*post, desk));
                continue;
            }
            Order::Names(wanted, how, patience, report) => {
                names.shutdown().await;
                attend_names(&mut names, wanted, &how, patience, report);
                continue;
            }
            Order::Keep(pools, patience, report) => (pools, patience, report),
            Order::Shut(shuttered, report) => {
                shutters.shutdown().await;
                let shuttered = shutters::begin(shuttered);
                shutters.spawn_local(shutters::attend(shuttered, changed.clone()));
                let _ = report.send(());
                continue;
            }
        };
        // First, since nothing else can fail: what is kept stays kept then.
        let mut built_in = pools.iter().filter(|pool| pool.backend.kind == Kind::Whoami);
        if let Err(error) = built_in.try_for_each(|pool| start_whoami(&mut whoami, pool)) {
            let _ = report.send(Err(error));
            continue;
        }
        let still = |pool: &Arc<Pool>| pools.iter().any(|wanted| Arc::ptr_eq(wanted, pool));
        kept.retain(|keeper| {
            let stays = still(&keeper.pool);
            if stays {
                // A new configuration may follow changes at the backends.
                keeper.pool.ask_again();
            } else {
                keeper.end.abort();
            }
            stays
        });
        for pool in pools {
            if kept.iter().any(|keeper| Arc::ptr_eq(&keeper.pool, &pool)) {
                continue;
            }
            let (tell, asked) = watch::channel(false);
            let (about, moved) = (pool.backend.id.to_string(), moved.clone());
            let keep = {
                let pool = Arc::clone(&pool);
                move || keeper::keep(Arc::clone(&pool), Prober, tell.clone(), moved.clone())
            };
            let end = keepers.spawn_local(async move { supervised("keeper", &about, keep).await });
            kept.push(Kept { pool, asked, end });
        }
        let all_asked = async {
            for keeper in &mut kept {
                // A keeper that is gone will not ask any more.
                let _ = keeper.asked.wait_for(|asked| *asked).await;
            }
        };
        let _ = tokio::time::timeout(patience, all_asked).await;
        own.set(addresses_of(kept.iter().map(|kept| &kept.pool)));
        // The caller may have stopped waiting.
        let _ = report.send(Ok(()));
    }
}

/// Begins to look up `wanted`; `report` hears when each was asked, or the time is over.
fn attend_names(
    names: &mut JoinSet<()>,
    wanted: Vec<Arc<Named>>,
    how: &Attending,
    patience: Duration,
    report: SyncSender<()>,
) {
    let mut heard = Vec::with_capacity(wanted.len());
    for named in wanted {
        let (tell, asked) = watch::channel(false);
        heard.push(asked);
        let (about, how) = (named.name.to_string(), how.clone());
        let attend = move || names::attend(Arc::clone(&named), how.clone(), names::resolve, tell.clone());
        names.spawn_local(async move { supervised("names", &about, attend).await });
    }
    names.spawn_local(async move {
        let all = async {
            for asked in &mut heard {
                let _ = asked.wait_for(|asked| *asked).await;
            }
        };
        let _ = tokio::time::timeout(patience, all).await;
        // The caller may have stopped waiting.
        let _ = report.send(());
    });
}

/// Gives a pool the address of the built-in backend, which is started when it is first wanted.
fn start_whoami(whoami: &mut Option<Whoami>, pool: &Pool) -> io::Result<()> {
    let started = match whoami.take() {
        Some(started) => started,
        None => Whoami::start()?,
    };
    pool.set_addresses(vec![Address::Tcp(started.address(pool.protocol))]);
    *whoami = Some(started);
    Ok(())
}
