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
}

pub const ALL: [Kind; 8] = [
    Kind::HaproxyLog,
    Kind::Truepeer,
    Kind::TruepeerLabel,
    Kind::Haproxy,
    Kind::HaproxySplice,
    Kind::Nginx,
    Kind::Transparent,
    Kind::Exec,
];
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
        }
    }

    /// The first line of what it says about its version.
    pub fn version(self, truepeer: &Path) -> String {
        let (program, flag) = match self {
            Self::Nginx => (Path::new("nginx"), "-v"),
            Self::Truepeer | Self::TruepeerLabel | Self::Transparent | Self::Exec => (truepeer, "--version"),
            _ => (Path::new("haproxy"), "-v"),
        };
        let said = Command::new(program).arg(flag).output();
        let said = said.map(|said| [said.stdout, said.stderr].concat()).unwrap_or_default();
        String::from_utf8_lossy(&said).lines().next().unwrap_or("not installed").to_owned()
    }

    fn configuration(self, room: Room, port: u16, backend: &Backend, folder: &Path) -> String {
        let Backend { port: headers, plain, .. } = backend;
        let haproxy = |global: &str, defaults: &str| {
            format!(
                "global\n nbthread 1\n maxconn 9900\n{global}defaults\n mode tcp\n{defaults} timeout connect 5s\n \
                 timeout client 120s\n timeout server 120s\nfrontend f\n bind 127.0.0.1:{port} accept-proxy\n \
                 default_backend b\nbackend b\n server s 127.0.0.1:{headers} send-proxy-v2\n"
            )
        };
        match self {
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
            Self::Truepeer | Self::TruepeerLabel | Self::Transparent | Self::Exec => format!(
                "[server]\nmax-connections = {connections}\n[server.proxy]\ntrusted-networks = [\"127.0.0.0/8\"]\n\
                 header-timeout = \"30s\"\nmax-pending = {pending}\n[server.listener.f]\nbind = \"127.0.0.1:{port}\"\n\
                 protocol = \"tcp\"\nbackend = \"b\"\n[server.listener.f.limits]\nconnections-per-client = 4000\n\
                 [backend.b]\nkind = \"other\"\n{backend}\
                 [log]\nformat = \"json\"\n",
                backend = match self {
                    Self::TruepeerLabel => format!("handoff = \"label\"\naddress = \"127.0.0.1:{plain}\"\n"),
                    Self::Transparent =>
                        format!("handoff = \"transparent\"\naddress = \"127.0.0.1:{plain}\"\n"),
                    Self::Exec => format!(
                        "handoff = \"exec\"\nexec.command = [{program:?}, \"program\"]\nexec.max = 1000\nexec.rate = \"off\"\n",
                        program = std::env::current_exe().unwrap_or_default(),
                    ),
                    _ => format!("handoff = \"proxy-v2\"\naddress = \"127.0.0.1:{headers}\"\n"),
                },
                connections = if room == Room::Open { 9300 } else { 7000 },
                pending = if room == Room::Open { 1300 } else { 4200 },
            ),
        }
    }
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
        let address = free_address()?;
        let config = folder.join(format!("{}.conf", kind.name()));
        fs::write(&config, kind.configuration(room, address.port(), backend, folder))?;
        let mut command = pinned("1");
        match kind {
            Kind::Truepeer | Kind::TruepeerLabel | Kind::Transparent | Kind::Exec => {
                command.arg(truepeer).arg("run").arg("--config").arg(&config)
            }
            Kind::Nginx => command.args(["nginx", "-p"]).arg(folder).arg("-c").arg(&config),
            _ => command.args(["haproxy", "-db", "-f"]).arg(&config),
        };
        let log = File::create(folder.join(format!("{}.log", kind.name())))?;
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
            if ended.is_some() || began.elapsed() > Duration::from_secs(10) {
                let log =
                    fs::read_to_string(folder.join(format!("{}.log", self.kind.name()))).unwrap_or_default();
                return Err(io::Error::other(format!("{} does not serve: {log}", self.kind.name())));
            }
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
    child: Child,
}

impl Backend {
    pub fn start() -> io::Result<Self> {
        let mut child =
            pinned("0").arg(std::env::current_exe()?).arg("backend").stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        if let Some(said) = child.stdout.take() {
            BufReader::new(said).read_line(&mut line)?;
        }
        let mut ports = line.split_whitespace().map(str::parse);
        let (Some(Ok(port)), Some(Ok(plain))) = (ports.next(), ports.next()) else {
            return Err(io::Error::other("the backend does not start"));
        };
        Ok(Self { port, plain, child })
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

fn free_address() -> io::Result<SocketAddrV4> {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    Ok(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))
}
