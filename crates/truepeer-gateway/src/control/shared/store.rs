//! The connection to the store, and the handful of things that are asked of it.
//!
//! Redis and Valkey, alone, behind sentinels or as a cluster, are the client library's matter; all keys carry one hash
//! tag, so that a cluster has them on one node. Every answer has a deadline. What the answers mean is the rooms' matter.

use std::path::Path;
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::cluster::ClusterClientBuilder;
use redis::cluster_async::ClusterConnection;
use redis::sentinel::{SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo, RedisResult,
    TlsCertificates, TlsMode, Value,
};

use super::answers::{bytes, list, number, text};
use super::error::StoreError;
use super::scripts;
use crate::config::Shared;
use crate::facts::store::StoreKind;
use crate::rooms::bans::NodeName;
use crate::rooms::bans::shared::{Ordered, SharedOrder, StoreTime, StoreTrouble};

/// For a connection, TLS and password included.
const CONNECT_TIME: Duration = Duration::from_secs(3);
/// For each answer.
const ANSWER_TIME: Duration = Duration::from_secs(2);
/// How long the store may hold an empty answer back until there is a change; orders of this node wait as long.
const WAIT: Duration = Duration::from_millis(100);
/// Changes read at once.
const READ_AT_ONCE: usize = 4096;
/// Entries of a page, about half a megabyte.
const PAGE: usize = 5000;
/// The longest password file.
const MAX_PASSWORD: u64 = 4096;
/// The largest file of certificates.
const MAX_CERTIFICATES: u64 = 1024 * 1024;

/// The store.
pub(super) struct Store {
    line: Line,
    keys: Keys,
}

enum Line {
    Server(MultiplexedConnection),
    Cluster(ClusterConnection),
}

/// What is stored where.
struct Keys {
    /// A hash: network to entry.
    bans: String,
    /// A hash: `life` and `count` of the list of changes.
    about: String,
    /// A stream: the list of changes.
    changes: String,
    /// Who removes what has ended.
    sweeper: String,
    /// A hash: node to its busiest clients.
    clients: String,
}

/// How the store is.
#[derive(Debug, Clone)]
pub(super) struct Look {
    pub(super) clock: StoreClock,
    /// Names this life of the list of changes.
    pub(super) life: Vec<u8>,
    /// Changes so far.
    pub(super) count: u64,
    /// The text of the change that was asked for; empty if it is not there any more.
    pub(super) asked: Vec<u8>,
    /// The text of the last one.
    pub(super) last: Vec<u8>,
    pub(super) entries: u64,
}

/// The store's clock, between two looks at it.
#[derive(Debug, Clone, Copy)]
pub(super) struct StoreClock {
    at: StoreTime,
    read: Instant,
}

impl StoreClock {
    pub(super) fn now(&self) -> StoreTime {
        self.at.after(self.read.elapsed())
    }
}

/// A network and what the store says about it, as bytes of whoever wrote them.
pub(super) type Raw = (Vec<u8>, Vec<u8>);

/// A change, and its number.
pub(super) type Change = (u64, Raw);

/// What became of an order.
#[derive(Debug)]
pub(super) enum Merged {
    /// It is the change of that number.
    Announced(u64),
    /// This is known, which is newer.
    Beaten(Vec<u8>),
}

impl Store {
    /// Connects, whoever is the master now.
    ///
    /// # Cancel safety
    /// Dropping the future ends the connection.
    pub(super) async fn connect(shared: &Shared) -> Result<Self, StoreError> {
        let password = match &shared.password_file {
            Some(path) => Some(password(path).await?),
            None => None,
        };
        let ca = match &shared.ca_file {
            Some(path) => Some(read_file(path, MAX_CERTIFICATES).await?),
            None => None,
        };
        let connected = connect(shared, password, ca);
        let line = match tokio::time::timeout(CONNECT_TIME, connected).await {
            Ok(connected) => connected.map_err(|error| StoreError::connecting(&error))?,
            Err(_) => return Err(StoreError::silent(CONNECT_TIME)),
        };
        let key = |name| format!("{{{}}}:{name}", shared.prefix);
        let keys = Keys {
            bans: key("bans"),
            about: key("about"),
            changes: key("changes"),
            sweeper: key("sweeper"),
            clients: key("clients"),
        };
        Ok(Self { line, keys })
    }

    /// How it is. `number` is the change whose text is asked for.
    pub(super) async fn look(&mut self, number: u64, next_life: &str) -> Result<Look, StoreError> {
        let mut script = self.script(scripts::LOOK);
        script.arg(next_life).arg(number);
        let asked = Instant::now();
        let mut answer = list(self.ask(&script).await?)?.into_iter();
        let read = Instant::now();
        let mut next = || answer.next().unwrap_or(Value::Nil);
        let (now, life, count) = (text(next())?, bytes(next())?, text(next())?);
        let parse = |text: String| text.parse::<u64>().map_err(|_| StoreError::odd());
        // Half of the way there and back: the answer is as old as its way here.
        let way = read.saturating_duration_since(asked).checked_div(2).unwrap_or_default();
        let clock = StoreClock { at: StoreTime(parse(now)?).after(way), read };
        let (asked, last, entries) = (bytes(next())?, bytes(next())?, self::number(next())?);
        Ok(Look { clock, life, count: parse(count)?, asked, last, entries })
    }

    /// Gives it orders; the answers are in their order.
    pub(super) async fn merge(
        &mut self,
        orders: &[SharedOrder],
        own: &str,
        now: StoreTime,
    ) -> Result<Vec<Merged>, StoreError> {
        let mut script = self.script(scripts::MERGE);
        script.arg(now.0);
        for order in orders {
            let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
            let (lasts, reason) = match &order.what {
                Ordered::Ban { lasts, reason } => (lasts.as_secs(), reason.as_str()),
                Ordered::Lift => (0, ""),
            };
            let node = order.node.as_ref().map_or(own, NodeName::as_str);
            script.arg(order.network.to_string()).arg(millis(order.age)).arg(millis(order.left));
            script.arg(lasts).arg(node).arg(reason);
        }
        let answers = list(self.ask(&script).await?)?;
        let merged = answers.into_iter().map(|answer| match answer {
            Value::Int(change) => Ok(Merged::Announced(u64::try_from(change).unwrap_or_default())),
            other => bytes(other).map(Merged::Beaten),
        });
        merged.collect()
    }

    /// The changes behind `number`; waits a moment for one if there is none and `wait` says so.
    pub(super) async fn changes(&mut self, number: u64, wait: bool) -> Result<Vec<Change>, StoreError> {
        let mut command = redis::cmd("XREAD");
        command.arg("COUNT").arg(READ_AT_ONCE);
        if wait {
            command.arg("BLOCK").arg(u64::try_from(WAIT.as_millis()).unwrap_or(1));
        }
        command.arg("STREAMS").arg(&self.keys.changes).arg(format!("{number}-0"));
        let answer = match self.ask(&command).await? {
            Value::Nil => return Ok(Vec::new()),
            answer => list(answer)?,
        };
        // One stream: its key, and its entries.
        let Some(stream) = answer.into_iter().next() else { return Ok(Vec::new()) };
        let entries = list(list(stream)?.pop().unwrap_or(Value::Nil))?;
        entries.into_iter().map(change).collect()
    }

    /// One page of all entries, and where the next one begins; 0 at the end.
    pub(super) async fn page(&mut self, cursor: u64) -> Result<(u64, Vec<Raw>), StoreError> {
        let mut command = redis::cmd("HSCAN");
        command.arg(&self.keys.bans).arg(cursor).arg("COUNT").arg(PAGE);
        let mut answer = list(self.ask(&command).await?)?.into_iter();
        let next = text(answer.next().unwrap_or(Value::Nil))?.parse().map_err(|_| StoreError::odd())?;
        let mut values = list(answer.next().unwrap_or(Value::Nil))?.into_iter();
        let mut page = Vec::with_capacity(values.len() / 2);
        while let (Some(network), Some(value)) = (values.next(), values.next()) {
            page.push((bytes(network)?, bytes(value)?));
        }
        Ok((next, page))
    }

    /// Says which clients are busy here, and hears what other nodes said of theirs.
    pub(super) async fn counts(&mut self, node: &str, busy: &str) -> Result<Vec<String>, StoreError> {
        let mut script = redis::cmd("EVAL");
        let Keys { bans, about, changes, clients, .. } = &self.keys;
        script.arg(scripts::COUNTS).arg(4).arg(bans).arg(about).arg(changes).arg(clients);
        script.arg(node).arg(busy);
        // What is no text says nothing.
        let said = list(self.ask(&script).await?)?.into_iter().filter_map(|said| text(said).ok());
        Ok(said.collect())
    }

    /// Whether this node is to remove what has ended, for so long from now on.
    pub(super) async fn may_sweep(&mut self, node: &str, time: Duration) -> Result<bool, StoreError> {
        let mut command = redis::cmd("SET");
        command.arg(&self.keys.sweeper).arg(node).arg("NX").arg("PX");
        command.arg(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        Ok(self.ask(&command).await? != Value::Nil)
    }

    /// Removes these entries if they are still what they were.
    pub(super) async fn forget(&mut self, ended: &[Raw]) -> Result<(), StoreError> {
        let mut script = self.script(scripts::FORGET);
        for (network, value) in ended {
            script.arg(network.as_slice()).arg(value.as_slice());
        }
        self.ask(&script).await.map(drop)
    }

    fn script(&self, text: &str) -> Cmd {
        let mut command = redis::cmd("EVAL");
        let Keys { bans, about, changes, .. } = &self.keys;
        command.arg(text).arg(3).arg(bans).arg(about).arg(changes);
        command
    }

    async fn ask(&mut self, command: &Cmd) -> Result<Value, StoreError> {
        let asked = async {
            match &mut self.line {
                Line::Server(connection) => command.query_async::<Value>(connection).await,
                Line::Cluster(connection) => command.query_async::<Value>(connection).await,
            }
        };
        match tokio::time::timeout(ANSWER_TIME, asked).await {
            Ok(answer) => answer.map_err(|error| StoreError::asking(&error)),
            Err(_) => Err(StoreError::silent(ANSWER_TIME)),
        }
    }
}

async fn connect(shared: &Shared, password: Option<String>, ca: Option<Vec<u8>>) -> RedisResult<Line> {
    let store = &shared.store;
    let certificates = || TlsCertificates { client_tls: None, root_cert: ca.clone() };
    let address = |(host, port): &(String, u16)| match store.tls {
        false => ConnectionAddr::Tcp(host.clone(), *port),
        true => ConnectionAddr::TcpTls { host: host.clone(), port: *port, insecure: false, tls_params: None },
    };
    let login = || {
        let mut login = RedisConnectionInfo::default().set_db(store.database.into());
        if let Some(user) = &store.user {
            login = login.set_username(user);
        }
        match &password {
            Some(password) => login.set_password(password),
            None => login,
        }
    };
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_TIME))
        .set_response_timeout(Some(ANSWER_TIME));
    let infos = store
        .hosts
        .iter()
        .map(|host| address(host).into_connection_info().map(|info| info.set_redis_settings(login())));
    let mut infos: Vec<_> = infos.collect::<RedisResult<_>>()?;
    match &store.kind {
        StoreKind::Server => {
            let info = infos.swap_remove(0);
            let client =
                if store.tls { Client::build_with_tls(info, certificates())? } else { Client::open(info)? };
            client.get_multiplexed_async_connection_with_config(&config).await.map(Line::Server)
        }
        StoreKind::Sentinels(master) => {
            let hosts: Vec<_> = store.hosts.iter().map(address).collect();
            let mut builder = SentinelClientBuilder::new(hosts, master, SentinelServerType::Master)?
                .set_client_to_redis_db(store.database.into());
            if let Some(user) = &store.user {
                builder = builder.set_client_to_redis_username(user);
            }
            if let Some(password) = &password {
                builder = builder.set_client_to_redis_password(password);
            }
            if store.tls {
                builder = builder
                    .set_client_to_redis_tls_mode(TlsMode::Secure)
                    .set_client_to_sentinel_tls_mode(TlsMode::Secure)
                    .set_client_to_redis_certificates(certificates())
                    .set_client_to_sentinel_certificates(certificates());
            }
            builder.build()?.get_async_connection_with_config(&config).await.map(Line::Server)
        }
        StoreKind::Cluster => {
            let mut builder = ClusterClientBuilder::new(infos)
                .connection_timeout(CONNECT_TIME)
                .response_timeout(ANSWER_TIME)
                .retries(1);
            if let Some(user) = &store.user {
                builder = builder.username(user);
            }
            if let Some(password) = &password {
                builder = builder.password(password);
            }
            if store.tls {
                builder = builder.tls(TlsMode::Secure).certs(certificates());
            }
            builder.build()?.get_async_connection().await.map(Line::Cluster)
        }
    }
}

/// `[id, [network, value]]`, where the id is the number of the change.
fn change(entry: Value) -> Result<Change, StoreError> {
    let mut entry = list(entry)?.into_iter();
    let id = text(entry.next().unwrap_or(Value::Nil))?;
    let number = id.split('-').next().and_then(|number| number.parse().ok()).ok_or_else(StoreError::odd)?;
    let mut fields = list(entry.next().unwrap_or(Value::Nil))?.into_iter();
    let mut next = || fields.next().unwrap_or(Value::Nil);
    Ok((number, (bytes(next())?, bytes(next())?)))
}

async fn password(path: &Path) -> Result<String, StoreError> {
    let bytes = read_file(path, MAX_PASSWORD).await?;
    let text = String::from_utf8(bytes).map_err(|_| StoreError {
        trouble: StoreTrouble::File,
        cause: format!("{}: a password is UTF-8", path.display()),
    })?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// Off this thread: a file may be on a disk that does not answer.
async fn read_file(path: &Path, most: u64) -> Result<Vec<u8>, StoreError> {
    let wrong = |cause: String| StoreError {
        trouble: StoreTrouble::File,
        cause: format!("{}: {cause}", path.display()),
    };
    let read = {
        let path = path.to_owned();
        tokio::task::spawn_blocking(move || read_up_to(&path, most))
    };
    match tokio::time::timeout(CONNECT_TIME, read).await {
        Ok(Ok(read)) => read.map_err(|error| wrong(error.to_string())),
        Ok(Err(error)) => Err(wrong(error.to_string())),
        Err(_) => Err(wrong("it was not read in time".to_owned())),
    }
}

fn read_up_to(path: &Path, most: u64) -> std::io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}
