//! MariaDB: one server whose port reads a header from the proxy's address, and its own client program.
//!
//! Called by `cases`. It must not know who stands between the two. It counts connections without a login, and locks out
//! a host that made more than a few; hosts have names for that, since it counts only those that it could look up.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::feed::Feed;
use crate::port::Port;
use crate::program::Program;
use crate::servers::{answer, ask, find, make_dir, need_root, write};
use crate::space::{Outside, PROXY_V4};
use crate::verdict::{During, Result, failed};

/// Connections without a login, after which a host is locked out.
pub(crate) const MAX_CONNECT_ERRORS: usize = 5;
/// The user that clients log in as, without a password.
const USER: &str = "interop";

/// A running MariaDB.
#[derive(Debug)]
pub(crate) struct Mariadb {
    program: Program,
    port: Port,
    socket: PathBuf,
    client: PathBuf,
}

impl Mariadb {
    /// Starts MariaDB at the proxy's address with a data folder of its own below `dir`.
    pub(crate) fn start(dir: &Path) -> Result<Self> {
        need_root("MariaDB")?;
        let (server, client) = (find("mariadbd")?, find("mariadb")?);
        let (install, unshare) = (find("mariadb-install-db")?, find("unshare")?);
        make_dir(dir)?;
        let (data, socket) = (dir.join("data"), dir.join("socket"));
        let made =
            ["--no-defaults", "--user=root", "--auth-root-authentication-method=normal", "--skip-test-db"];
        // Whoever starts clears its folder for temporary files of what another has there.
        let temporary = dir.join("temporary");
        make_dir(&temporary)?;
        let mut making = Command::new(install);
        making.env("TMPDIR", &temporary).args(made).arg(format!("--datadir={}", data.display()));
        answer(&mut making)?;
        let (hosts, init) = (dir.join("hosts"), dir.join("init.sql"));
        write(&hosts, &format!("127.0.0.1 localhost\n{PROXY_V4} truepeer.interop.test\n"))?;
        write(&init, &format!("CREATE USER {USER}@'%';\nGRANT PROCESS ON *.* TO {USER}@'%';\n"))?;
        let port = Port::free(IpAddr::V4(PROXY_V4))?;
        let mut command = Command::new(unshare);
        // A mount namespace of its own, so that nobody else's names change.
        let script = format!("mount --bind {} /etc/hosts && exec \"$@\"", hosts.display());
        command
            .args(["--mount", "sh", "-c", &script, "sh"])
            .arg(server)
            .args(["--no-defaults", "--user=root"]);
        command.args([
            format!("--datadir={}", data.display()),
            format!("--tmpdir={}", temporary.display()),
            format!("--socket={}", socket.display()),
            format!("--pid-file={}", dir.join("pid").display()),
            format!("--bind-address={PROXY_V4}"),
            format!("--port={}", port.addr().port()),
            format!("--proxy-protocol-networks={PROXY_V4}"),
            format!("--max-connect-errors={MAX_CONNECT_ERRORS}"),
            format!("--init-file={}", init.display()),
        ]);
        // Small, since it serves a handful of questions.
        command.args([
            "--innodb-buffer-pool-size=8M",
            "--innodb-log-file-size=4M",
            "--performance-schema=off",
        ]);
        let program = Program::start("mariadb", &mut command)?;
        program.wait_started(|line| line.contains("ready for connections"))?;
        Ok(Self { program, port, socket, client })
    }

    /// What it logs.
    pub(crate) fn log(&self) -> &Feed {
        self.program.log()
    }

    /// The port that reads a header from the proxy's address.
    pub(crate) fn port(&self) -> SocketAddr {
        self.port.addr()
    }

    /// What its own client program, outside at `ip`, gets for `sql` at `to`; an error's text if it is refused.
    pub(crate) fn ask(
        &self,
        outside: &Outside,
        to: SocketAddr,
        sql: &str,
    ) -> Result<std::result::Result<String, String>> {
        let mut command = Command::new(&self.client);
        command.args([
            "--no-defaults",
            "--skip-ssl",
            "--connect-timeout=20",
            "--batch",
            "--skip-column-names",
        ]);
        command.args(["--protocol=tcp", "--user", USER, "--host", &to.ip().to_string()]);
        command.args(["--port", &to.port().to_string(), "--execute", sql]).stdin(Stdio::null());
        let output = outside.enter(move || command.output().during("run mariadb"))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        Ok(if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) })
    }

    /// What the operator gets for `sql`, at its own socket.
    pub(crate) fn as_root(&self, sql: &str) -> Result<String> {
        let socket = format!("--socket={}", self.socket.display());
        ask(
            &self.client,
            &["--no-defaults", "--user=root", &socket, "--batch", "--skip-column-names", "--execute", sql],
        )
    }

    /// One of its counters.
    pub(crate) fn counter(&self, name: &str) -> Result<u64> {
        let line = self.as_root(&format!("SHOW GLOBAL STATUS LIKE '{name}'"))?;
        match line.rsplit('\t').next().and_then(|value| value.parse().ok()) {
            Some(value) => Ok(value),
            None => failed(format!("{name} is no number: {line}")),
        }
    }
}
