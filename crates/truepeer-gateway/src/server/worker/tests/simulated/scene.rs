//! The server of one schedule: a worker with everything that it shares with others, in a simulated world.

use std::cell::RefCell;
use std::fs::File;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::{Duration, Instant, UNIX_EPOCH};

use arc_swap::ArcSwap;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use tokio::sync::{mpsc, watch};
use truepeer_testkit::reference::{self, Profile};

use super::visitor::stream;
use super::{Dice, expect};
use crate::config::{self, Config, Surroundings};
use crate::door::{Door, OwnAddresses, OwnCount, WorkerContext, ids_of};
use crate::engine::simulated::{DialBegins, Theirs, WireRead, World, connection};
use crate::engine::{Address, Admission, Bell, Lingering, Listening, PendingHeaders, Tasks, now};
use crate::facts::outcome::Outcome;
use crate::observe::log::Log;
use crate::observe::metrics::{Metrics, Shard};
use crate::rooms::backend::{Pool, Readiness};
use crate::rooms::bans::denied::Denied;
use crate::rooms::identify::RecentPeers;
use crate::rooms::limits::Limits;
use crate::server::doors::{self, Common};
use crate::server::registry::Registry;
use crate::server::worker::{POSTS_QUEUED, PortCommand, Post, Stop, Tools, work};

/// How long a header may take in every variant, in seconds.
pub(super) const HEADER_SECONDS: u64 = 5;
/// How long a backend may take to answer an attempt.
const CONNECT_SECONDS: u64 = 3;
/// Connections that one client may have.
pub(super) const PER_CLIENT: usize = 2;

/// One configuration: what tells it from the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Variant {
    pub(super) protocol: &'static str,
    pub(super) handoff: &'static str,
    pub(super) unlisted: &'static str,
    pub(super) own: &'static str,
    pub(super) requires_secure: bool,
}

const fn variant(
    protocol: &'static str,
    handoff: &'static str,
    unlisted: &'static str,
    own: &'static str,
) -> Variant {
    Variant { protocol, handoff, unlisted, own, requires_secure: false }
}

pub(super) const VARIANTS: [Variant; 7] = [
    variant("tcp", "proxy-v2", "direct", "forward"),
    variant("tcp", "proxy-v1", "direct", "refuse"),
    variant("tcp", "proxy-v2", "refuse", "forward"),
    variant("smtp", "proxy-v2", "direct", "answer"),
    variant("smtp", "proxy-v1", "refuse", "forward"),
    variant("smtp", "proxy-v2", "direct", "refuse"),
    Variant { requires_secure: true, ..variant("tcp", "proxy-v2", "direct", "forward") },
];

/// The variants as configurations; read once.
pub(super) fn configs() -> Vec<Config> {
    let read = |variant: &Variant| {
        let Variant { protocol, handoff, unlisted, own, requires_secure } = variant;
        let text = format!(
            "[server]\nhostname = \"mx.example\"\nproxy.trusted-networks = [\"10.0.0.0/24\"]\n\
             proxy.hop-networks = [\"10.9.0.1\"]\nproxy.unlisted = \"{unlisted}\"\nproxy.own = \"{own}\"\nproxy.header-timeout = \"{HEADER_SECONDS}s\"\n\
             [server.listener.in]\nbind = \"127.0.0.1:2525\"\nprotocol = \"{protocol}\"\nbackend = \"b\"\n\
             idle-timeout = \"1h\"\nrequire-secure = {requires_secure}\n\
             [backend.b]\nhandoff = \"{handoff}\"\naddress = [\"127.0.0.8:25\", \"127.0.0.9:25\"]\n\
             connect-timeout = \"{CONNECT_SECONDS}s\"\n\
             [access]\ndeny = [\"198.51.100.0/24\"]\n\
             [limits]\nconnections-per-client = {PER_CLIENT}\n"
        );
        config::resolve(&text, "simulated.toml", &Surroundings::default())
            .map_err(|wrong| wrong.to_string())
            .unwrap()
    };
    VARIANTS.iter().map(read).collect()
}

/// How a connection to a backend begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It stands, or may come to stand.
    Open,
    /// Nobody has answered.
    Unanswered,
    /// This was said.
    Failed(Errno),
}

/// One attempt of ours to reach a backend.
pub(super) struct Meeting {
    /// What was to be written first, and whom it names.
    pub(super) opening: Vec<u8>,
    pub(super) client: Option<SocketAddr>,
    pub(super) fate: Fate,
    pub(super) began: Instant,
    /// Whether it was answered when we may have given up.
    pub(super) is_late: bool,
    pub(super) theirs: Option<Theirs>,
    pub(super) room: usize,
    pub(super) body: Vec<u8>,
    pub(super) sent: usize,
    pub(super) heard: Vec<u8>,
    pub(super) heard_last: WireRead,
    pub(super) is_finished: bool,
    pub(super) broke: bool,
}

impl Meeting {
    pub(super) fn send(&mut self, most: usize) {
        let Some(theirs) = self.theirs.as_ref().filter(|_| !self.is_finished) else { return };
        let end = self.body.len().min(self.sent.saturating_add(most));
        self.sent += theirs.write(&self.body[self.sent..end]);
    }

    pub(super) fn hear(&mut self, most: usize) {
        if let Some(theirs) = &self.theirs {
            self.heard_last = theirs.read(most, &mut self.heard);
        }
    }

    /// Answers our attempt.
    pub(super) fn answer(&mut self, now: Instant) {
        if let Some(theirs) = &self.theirs {
            theirs.answer();
            self.fate = Fate::Open;
            self.is_late =
                expect::is_before(now, self.began + Duration::from_secs(CONNECT_SECONDS)) != Some(true);
        }
    }

    pub(super) fn finish(&mut self) {
        if let Some(theirs) = self.theirs.as_ref().filter(|theirs| !theirs.is_connecting()) {
            theirs.finish();
            self.is_finished = true;
        }
    }
}

/// Whom the header at the head of `opening` names, by the reference decoder, and how long it is.
pub(super) fn named(opening: &[u8]) -> Option<(SocketAddr, usize)> {
    match reference::judge(opening, Profile::default()) {
        reference::Verdict::Accept(header) => {
            let (client, _) = header.ends?;
            Some((client.parse().ok()?, header.consumed))
        }
        reference::Verdict::NeedMore(_) | reference::Verdict::Reject(..) => None,
    }
}

pub(super) type Meetings = Rc<RefCell<Vec<Meeting>>>;

/// The backends' side: answers each attempt as the dice fall.
pub(super) fn network(mut dice: Dice, meetings: Meetings) -> impl FnMut(&Address, &[u8]) -> DialBegins {
    // Some networks are good.
    let trouble = dice.below(3);
    move |_: &Address, opening: &[u8]| {
        let room = 1 + usize::try_from(dice.size(4000)).unwrap();
        let (theirs, ours) = connection(room);
        let fails = match dice.below(24) {
            0 if trouble > 0 => Some(Errno::CONNREFUSED),
            1 if trouble > 0 => Some(Errno::HOSTUNREACH),
            2 if trouble > 1 => Some(Errno::MFILE),
            3 if trouble > 1 => Some(Errno::ADDRNOTAVAIL),
            _ => None,
        };
        let stands = dice.below(2) == 0;
        let mut body = b"220 mx.example ESMTP\r\n".to_vec();
        body.extend(stream(b'A', usize::try_from(dice.size(2000)).unwrap()));
        let fate = match (fails, stands) {
            (Some(errno), _) => Fate::Failed(errno),
            (None, true) => Fate::Open,
            (None, false) => Fate::Unanswered,
        };
        meetings.borrow_mut().push(Meeting {
            opening: opening.to_vec(),
            client: named(opening).map(|(client, _)| client),
            fate,
            began: now(),
            is_late: false,
            theirs: fails.is_none().then_some(theirs),
            room,
            body,
            sent: 0,
            heard: Vec::new(),
            heard_last: WireRead::Nothing,
            is_finished: false,
            broke: false,
        });
        match (fails, stands) {
            (Some(errno), _) => DialBegins::Fails(errno),
            (None, true) => DialBegins::Stands(ours),
            (None, false) => DialBegins::Begins(ours.connecting()),
        }
    }
}

/// What is needed of the system once for all schedules.
pub(super) struct Ground {
    pub(super) configs: Vec<Config>,
    pub(super) log: Log,
    stand_in: File,
}

impl Ground {
    pub(super) fn new(log: Log) -> Self {
        Self { configs: configs(), log, stand_in: File::open("/dev/null").unwrap() }
    }
}

/// The doors of the configurations that were taken, and the pools behind them.
struct Doors {
    pools: Vec<Arc<Pool>>,
    made: Vec<Option<Arc<Door>>>,
    common: (OwnCount, Arc<Limits>, Denied),
    /// Whether backends were proved, and do not only accept connections.
    is_proved: bool,
}

impl Doors {
    fn door(&mut self, configs: &[Config], variant: usize) -> Arc<Door> {
        if let Some(made) = &self.made[variant] {
            return Arc::clone(made);
        }
        let config = &configs[variant];
        let pools = doors::pools(config, &self.pools, &Bell::default(), &Default::default());
        for pool in pools.iter().filter(|pool| pool.targets().is_empty()) {
            pool.set_addresses([8, 9].map(|last| Address::Tcp(([127, 0, 0, last], 25).into())).to_vec());
            let how = if self.is_proved { Readiness::Proved } else { Readiness::Unproven };
            pool.targets().iter().for_each(|target| pool.note(target, how.clone()));
        }
        let (own, limits, denied) = self.common.clone();
        let addresses = OwnAddresses::default();
        let common = Common::new(config, &[], own, addresses, limits, denied, Default::default());
        let door = Arc::new(common.door(&config.listeners[0], &pools).unwrap());
        self.pools.extend(pools);
        self.made[variant] = Some(Arc::clone(&door));
        door
    }
}

/// A door for whoever needs one and no schedule.
pub(in crate::server::worker::tests) fn any_door() -> Arc<Door> {
    let common = (OwnCount::default(), Limits::new(1, now()), Denied::default());
    let mut doors = Doors { pools: Vec::new(), made: vec![None; VARIANTS.len()], common, is_proved: true };
    doors.door(&configs(), 0)
}

/// The server.
pub(super) struct Scene {
    pub(super) world: World,
    pub(super) meetings: Meetings,
    pub(super) admission: Admission,
    pub(super) registry: Registry,
    pub(super) limits: Arc<Limits>,
    pub(super) denied: Denied,
    pub(super) own: OwnCount,
    pub(super) metrics: Arc<Metrics>,
    pub(super) pending: Arc<AtomicU32>,
    pub(super) lingering: Arc<AtomicU32>,
    pub(super) cut: Arc<AtomicU32>,
    pub(super) max_pending: u32,
    pub(super) stop: watch::Sender<Stop>,
    /// One for each configuration that was taken so far.
    doors: RefCell<Doors>,
    door: Arc<ArcSwap<Door>>,
    told: watch::Sender<PortCommand>,
    /// How many workers listen: one or none.
    pub(super) open: Arc<AtomicU32>,
    _posts: mpsc::Sender<Post>,
    pub(super) worker: Tasks,
}

impl Scene {
    /// Inside the loop.
    pub(super) fn new(
        ground: &Ground,
        world: World,
        meetings: Meetings,
        variant: usize,
        dice: &mut Dice,
    ) -> Self {
        let max_pending = 1 + u32::from(dice.small(8));
        let (stop, told_stop) = watch::channel(Stop::No);
        let (limits, denied, own) = (Limits::new(1024, now()), Denied::default(), OwnCount::default());
        let (pending, lingering) = (Arc::<AtomicU32>::default(), Arc::<AtomicU32>::default());
        let mut doors = Doors {
            pools: Vec::new(),
            made: vec![None; VARIANTS.len()],
            common: (own.clone(), Arc::clone(&limits), denied.clone()),
            is_proved: dice.below(3) > 0,
        };
        let tools = Tools {
            admission: Admission::new(1 + u32::from(dice.small(8))),
            registry: Registry::default(),
            log: ground.log.clone(),
            metrics: Arc::default(),
            trouble: Arc::default(),
            worker: 0,
            stop: told_stop,
            cut: Arc::default(),
            queued: Arc::default(),
        };
        let desk = WorkerContext {
            pending: PendingHeaders::new(max_pending, Arc::clone(&pending)),
            lingering: Lingering::new(16, Arc::clone(&lingering)),
            recent: RecentPeers::default(),
            ids: ids_of(UNIX_EPOCH, 0),
            log: ground.log.clone(),
        };
        let door = Arc::new(ArcSwap::new(doors.door(&ground.configs, variant)));
        let (told, orders) = watch::channel(PortCommand::Listen);
        let (posts, received) = mpsc::channel(POSTS_QUEUED);
        let stand_in = OwnedFd::from(ground.stand_in.try_clone().unwrap());
        let listening = Listening::simulated(stand_in);
        let open = Arc::<AtomicU32>::default();
        let post = Post { listening, door: Arc::clone(&door), told: orders, open: Arc::clone(&open) };
        posts.try_send(post).unwrap();
        let worker = Tasks::default();
        let (admission, registry, metrics) =
            (tools.admission.clone(), tools.registry.clone(), Arc::clone(&tools.metrics));
        let cut = Arc::clone(&tools.cut);
        worker.spawn(work(received, desk, tools));
        Self {
            world,
            meetings,
            admission,
            registry,
            limits,
            denied,
            own,
            metrics,
            pending,
            lingering,
            cut,
            max_pending,
            stop,
            doors: RefCell::new(doors),
            door,
            told,
            open,
            _posts: posts,
            worker,
        }
    }

    /// A new configuration, as a reload brings it.
    pub(super) fn reload(&self, ground: &Ground, variant: usize) {
        self.door.store(self.doors.borrow_mut().door(&ground.configs, variant));
        self.told.send_replace(PortCommand::Listen);
    }

    /// The port is shut, as where no backend can be reached, or opened again.
    pub(super) fn tell(&self, what: PortCommand) {
        self.told.send_replace(what);
    }

    /// The keeper has found every backend well.
    pub(super) fn mend(&self) {
        for pool in &self.doors.borrow().pools {
            for target in pool.targets().iter().filter(|target| !target.readiness().may_serve()) {
                pool.note(target, Readiness::Proved);
            }
        }
    }

    pub(super) fn shard(&self) -> Arc<Shard> {
        self.metrics.shard(0, &"in".into())
    }

    /// How often a connection ended so.
    pub(super) fn ended_as(&self, outcome: Outcome) -> u64 {
        self.shard().ended_as(outcome)
    }
}
