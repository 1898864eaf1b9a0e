//! The gateways: how each is configured and started. One event-loop thread each, in front of the same backend.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What stands between client and backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// HAProxy, one thread, without any log.
    Haproxy,
    /// The same with `option tcplog`, written to a file.
    HaproxyLog,
    /// The same as the first, with splicing forced.
    HaproxySplice,
    /// The stream module of NGINX, one worker, without any log.
    Nginx,
    /// Ours: one JSON record per connection to a file, metrics, limits, deadlines, the guard of first bytes.
    Truepeer,
    /// The same, but that the backend's own socket says who the client is, and reads no header.
    TruepeerLabel,
    /// The same, connecting from the client's own address.
    Transparent,
    /// The same, giving each connection to a program.
    Exec,
    /// The same as the first of ours, to the same backend at a UNIX socket.
    UnixSocket,
    /// With as many trusted networks as anybody has ...
    Trusted,
    /// ... and with as many denied ones.
    Denied,
    /// With two workers, one for each CPU.
    TwoWorkers,
}

/// Networks beside the one that the load is in.
const TRUSTED: u32 = 100_000;
const DENIED: u32 = 1_000_000;

pub const ALL: [Kind; 12] = [
    Kind::HaproxyLog,
    Kind::Truepeer,
    Kind::TruepeerLabel,
    Kind::Haproxy,
    Kind::HaproxySplice,
    Kind::Nginx,
    Kind::Transparent,
    Kind::Exec,
    Kind::UnixSocket,
    Kind::Trusted,
    Kind::Denied,
    Kind::TwoWorkers,
];
/// Those of which the cost must not grow with what is configured.
pub const GROWTH: [Kind; 3] = [Kind::Truepeer, Kind::Trusted, Kind::Denied];
/// One worker and two.
pub const WORKERS: [Kind; 2] = [Kind::Truepeer, Kind::TwoWorkers];
/// Ours at the two kinds of socket that a backend on this host can have.
pub const SOCKETS: [Kind; 2] = [Kind::Truepeer, Kind::UnixSocket];
/// Those that are held against each other by how a backend learns who the client is.
pub const HANDOFFS: [Kind; 4] = [Kind::Truepeer, Kind::TruepeerLabel, Kind::Transparent, Kind::Exec];
/// Those that stand beside other programs, as users run them.
pub const GATEWAYS: [Kind; 5] =
    [Kind::HaproxyLog, Kind::Truepeer, Kind::Haproxy, Kind::HaproxySplice, Kind::Nginx];

/// What there is room for: both together may need more descriptors than the machine's hard limit (20,000 where this
/// was written).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// Four thousand unfinished headers.
    Unfinished,
    /// Nine thousand open connections.
    Open,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Haproxy => "haproxy",
            Self::HaproxyLog => "haproxy-log",
            Self::HaproxySplice => "haproxy-splice",
            Self::Nginx => "nginx",
            Self::Truepeer => "truepeer",
            Self::TruepeerLabel => "truepeer-label",
            Self::Transparent => "truepeer-transparent",
            Self::Exec => "truepeer-exec",
            Self::UnixSocket => "truepeer-unix",
            Self::Trusted => "truepeer-trusted-100k",
            Self::Denied => "truepeer-denied-1m",
            Self::TwoWorkers => "truepeer-2-workers",
        }
    }

    /// The first line of what it says about its version.
    pub fn version(self, truepeer: &Path) -> String {
        let (program, flag) = match self {
            Self::Nginx => (Path::new("nginx"), "-v"),
            Self::Haproxy | Self::HaproxyLog | Self::HaproxySplice => (Path::new("haproxy"), "-v"),
            _ => (truepeer, "--version"),
        };
        let said = Command::new(program).arg(flag).output();
        let said = said.map(|said| [said.stdout, said.stderr].concat()).unwrap_or_default();
        String::from_utf8_lossy(&said).lines().next().unwrap_or("not installed").to_owned()
    }

    /// Whether it is ours.
    pub fn is_ours(self) -> bool {
        !matches!(self, Self::Nginx | Self::Haproxy | Self::HaproxyLog | Self::HaproxySplice)
    }

    fn configuration(self, room: Room, port: u16, backend: &Backend, folder: &Path) -> io::Result<String> {
        let Backend { port: headers, plain, path, .. } = backend;
        let path = path.display();
        let haproxy = |global: &str, defaults: &str| {
            format!(
                "global\n nbthread 1\n maxconn 9900\n{global}defaults\n mode tcp\n{defaults} timeout connect 5s\n \
                 timeout client 120s\n timeout server 120s\nfrontend f\n bind 127.0.0.1:{port} accept-proxy\n \
                 default_backend b\nbackend b\n server s 127.0.0.1:{headers} send-proxy-v2\n"
            )
        };
        Ok(match self {
            Self::Haproxy => haproxy("", ""),
            Self::HaproxyLog => haproxy(" log stdout format raw local0\n", " log global\n option tcplog\n"),
            Self::HaproxySplice => haproxy(
                " maxpipes 50\n",
                " option splice-auto\n option splice-request\n option splice-response\n",
            ),
            Self::Nginx => format!(
                "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\nworker_processes 1;\n\
                 worker_rlimit_nofile 20000;\npid {folder}/nginx.pid;\nerror_log stderr error;\ndaemon off;\n\
                 events {{ worker_connections 19900; }}\nstream {{ server {{\n\
                 listen 127.0.0.1:{port} proxy_protocol backlog=4096;\nproxy_pass 127.0.0.1:{headers};\n\
                 proxy_protocol on;\nproxy_timeout 120s;\n}} }}\n",
                folder = folder.display(),
            ),
            _ => format!(
                "[server]\nmax-connections = {connections}\n[server.proxy]\n\
                 trusted-networks = [\"127.0.0.0/8\"{trusted}]\n\
                 header-timeout = \"30s\"\nmax-pending = {pending}\n[server.listener.f]\nbind = \"127.0.0.1:{port}\"\n\
                 protocol = \"tcp\"\nbackend = \"b\"\n[server.listener.f.limits]\nconnections-per-client = 4000\n\
                 [backend.b]\nkind = \"other\"\n{backend}\
                 {access}[log]\nformat = \"json\"\n",
                trusted =
                    if self == Self::Trusted { networks(TRUSTED, ", \"", "/32\"") } else { String::new() },
                access = if self == Self::Denied {
                    let file = folder.join("denied.txt");
                    fs::write(&file, networks(DENIED, "", "\n"))?;
                    format!("[access]\ndeny-files = [{file:?}]\n")
                } else {
                    String::new()
                },
                backend = match self {
                    Self::TruepeerLabel => format!("handoff = \"label\"\naddress = \"127.0.0.1:{plain}\"\n"),
                    Self::Transparent =>
                        format!("handoff = \"transparent\"\naddress = \"127.0.0.1:{plain}\"\n"),
                    Self::Exec => format!(
                        "handoff = \"exec\"\nexec.command = [{program:?}, \"program\"]\nexec.max = 1000\nexec.rate = \"off\"\n",
                        program = std::env::current_exe().unwrap_or_default(),
                    ),
                    Self::UnixSocket => format!("handoff = \"proxy-v2\"\naddress = \"unix:{path}\"\n"),
                    _ => format!("handoff = \"proxy-v2\"\naddress = \"127.0.0.1:{headers}\"\n"),
                },
                connections = if room == Room::Open { 9300 } else { 7000 },
                pending = if room == Room::Open { 1300 } else { 4200 },
            ),
        })
    }
}

/// So many addresses of 10.0.0.0/8, of which none follows another.
fn networks(count: u32, before: &str, behind: &str) -> String {
    let address = |at: u32| Ipv4Addr::from(0x0a00_0000 | (at.wrapping_mul(0x9e_3779) & 0xff_ffff));
    (0..count).map(|at| format!("{before}{}{behind}", address(at))).collect()
}

/// One that runs; dropping it ends it.
pub struct Running {
    pub kind: Kind,
    pub address: SocketAddrV4,
    /// The process that does the work.
    pub pid: u32,
    child: Child,
}

impl Running {
    /// Starts `kind` on the second CPU, with its configuration and its log in `folder`.
    pub fn start(
        kind: Kind,
        room: Room,
        backend: &Backend,
        folder: &Path,
        truepeer: &Path,
    ) -> io::Result<Self> {
        Self::start_under(&[], kind, room, backend, folder, truepeer)
    }

    /// As [`Running::start`], by a program that watches it, such as valgrind; nothing for none.
    pub fn start_under(
        watcher: &[String],
        kind: Kind,
        room: Room,
        backend: &Backend,
        folder: &Path,
        truepeer: &Path,
    ) -> io::Result<Self> {
        let address = free_address()?;
        let config = folder.join(file(kind, address, "conf"));
        fs::write(&config, kind.configuration(room, address.port(), backend, folder)?)?;
        let mut command = pinned(if kind == Kind::TwoWorkers { "0,1" } else { "1" });
        match kind {
            ours if ours.is_ours() => {
                command.args(watcher).arg(truepeer).arg("run").arg("--config").arg(&config)
            }
            Kind::Nginx => command.args(["nginx", "-p"]).arg(folder).arg("-c").arg(&config),
            _ => command.args(["haproxy", "-db", "-f"]).arg(&config),
        };
        let log = File::create(folder.join(file(kind, address, "log")))?;
        let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
        let mut running = Self { kind, address, pid: child.id(), child };
        running.wait(folder)?;
        if kind == Kind::Nginx {
            let children = format!("/proc/{0}/task/{0}/children", running.pid);
            let worker = fs::read_to_string(children)?;
            running.pid =
                worker.split_whitespace().next().and_then(|pid| pid.parse().ok()).unwrap_or(running.pid);
        }
        Ok(running)
    }

    fn wait(&mut self, folder: &Path) -> io::Result<()> {
        let began = Instant::now();
        while TcpStream::connect(self.address).is_err() {
            let ended = self.child.try_wait()?;
            if ended.is_some() || began.elapsed() > STARTS_WITHIN {
                let log = folder.join(file(self.kind, self.address, "log"));
                let log = fs::read_to_string(log).unwrap_or_default();
                return Err(io::Error::other(format!("{} does not serve: {log}", self.kind.name())));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

/// A file of one gateway: another of its kind may run beside it.
fn file(kind: Kind, address: SocketAddrV4, ending: &str) -> String {
    format!("{}-{}.{ending}", kind.name(), address.port())
}

/// A watched one, with a million networks to read, takes its time.
const STARTS_WITHIN: Duration = Duration::from_secs(180);

impl Running {
    /// Ends it and waits for what its watcher writes.
    pub fn end(mut self) -> io::Result<()> {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw) {
            rustix::process::kill_process(pid, rustix::process::Signal::INT)?;
        }
        let began = Instant::now();
        while self.child.try_wait()?.is_none() && began.elapsed() < STARTS_WITHIN {
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // NGINX's master ends its worker on a request to end, not when it is killed.
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::INT);
        }
        let began = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) {
            if began.elapsed() > Duration::from_secs(3) {
                let _ = self.child.kill();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// The backend, on the first CPU with the load.
pub struct Backend {
    /// Where it reads a header ...
    pub port: u16,
    /// ... and where it reads none.
    pub plain: u16,
    /// Its UNIX socket, where it reads a header.
    pub path: PathBuf,
    child: Child,
}

impl Backend {
    /// Starts it with its UNIX socket in `folder`.
    pub fn start(folder: &Path) -> io::Result<Self> {
        let path = folder.join("backend.sock");
        let mut backend = pinned("0");
        backend.arg(std::env::current_exe()?).arg("backend").arg(&path);
        let mut child = backend.stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        if let Some(said) = child.stdout.take() {
            BufReader::new(said).read_line(&mut line)?;
        }
        let mut ports = line.split_whitespace().map(str::parse);
        let (Some(Ok(port)), Some(Ok(plain))) = (ports.next(), ports.next()) else {
            return Err(io::Error::other("the backend does not start"));
        };
        Ok(Self { port, plain, path, child })
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A command that begins on one CPU only and never leaves it.
pub fn pinned(cpu: &str) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", cpu]);
    command
}

/// A place for configurations and logs.
pub fn folder() -> io::Result<PathBuf> {
    let folder = std::env::temp_dir().join(format!("truepeer-bench-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// Where nobody listens.
pub fn free_address() -> io::Result<SocketAddrV4> {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    Ok(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))
}
