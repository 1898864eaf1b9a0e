//! The servers that cases share, each started when the first case asks for it, and ended with the lab.
//!
//! Called by `cases`. It must not know what a case expects.

use core::cell::{Cell, OnceCell, RefCell};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use crate::cases::Extent;
use crate::cases::matrix::House;
use crate::client::{Client, Place};
use crate::feed::{Feed, Mark};
use crate::port::Port;
use crate::servers::dovecot::{Believes, Dovecot, sasl_socket};
use crate::servers::postfix::{self, Postfix};
use crate::servers::truepeer::{Backend, Listener, Truepeer};
use crate::servers::{ask, find, make_dir};
use crate::space::{Outside, PROXY_V4};
use crate::verdict::{During, Result, Verdict, failed};

/// Everything that runs, in the order in which it ends: what stands in front goes first.
#[derive(Debug)]
pub(crate) struct Lab {
    /// The proxies of the chains, which `cases` fills.
    pub(crate) chains: crate::cases::chains::Chains,
    house: Shared<House>,
    truepeer: Shared<Truepeer>,
    postfix: Shared<Postfix>,
    dovecot: Shared<Dovecot>,
    outside: Shared<Outside>,
    pair: Shared<PathBuf>,
    ipv6: Shared<()>,
    program: PathBuf,
    examples: PathBuf,
    extent: Extent,
    logs: RefCell<Vec<(String, Feed, Mark)>>,
    sources: Cell<u16>,
    dirs: Cell<u16>,
    dir: TempDir,
}

impl Lab {
    /// An empty lab around the truepeer at `program`; `examples` is the library's directory of built ones.
    pub(crate) fn new(program: PathBuf, examples: PathBuf, extent: Extent) -> Result<Self> {
        Ok(Self {
            chains: crate::cases::chains::Chains::default(),
            house: Shared::default(),
            truepeer: Shared::default(),
            postfix: Shared::default(),
            dovecot: Shared::default(),
            outside: Shared::default(),
            pair: Shared::default(),
            ipv6: Shared::default(),
            program,
            examples,
            extent,
            logs: RefCell::default(),
            sources: Cell::default(),
            dirs: Cell::default(),
            dir: TempDir::make("truepeer-interop")?,
        })
    }

    /// The Postfix of this run.
    pub(crate) fn postfix(&self) -> Result<&Postfix> {
        self.postfix.get(|| {
            let sasl = sasl_socket(&self.dir.0.join("dovecot"));
            // At its usual port only where that is its own.
            let more =
                if self.outside().is_ok() { postfix::as_the_handoffs_have_it()? } else { String::new() };
            let dir = self.dir.0.join("postfix");
            let postfix = Postfix::start_with(&dir, &sasl, self.pair()?, &more)?;
            self.watch("postfix", postfix.log());
            Ok(postfix)
        })
    }

    /// Another Postfix, for cases that stop it.
    pub(crate) fn start_postfix(&self, name: &str) -> Result<Postfix> {
        let sasl = sasl_socket(&self.dir.0.join("dovecot"));
        let postfix = Postfix::start(&self.fresh_dir(name)?, &sasl, self.pair()?)?;
        self.watch(name, postfix.log());
        Ok(postfix)
    }

    /// The Dovecot of this run.
    pub(crate) fn dovecot(&self) -> Result<&Dovecot> {
        self.dovecot.get(|| {
            let dovecot = Dovecot::start(&self.dir.0.join("dovecot"), self.pair()?, Believes::Nobody)?;
            self.watch("dovecot", dovecot.log());
            Ok(dovecot)
        })
    }

    /// Another Dovecot, which believes what truepeer says in words.
    pub(crate) fn start_believing_dovecot(&self) -> Result<Dovecot> {
        let dir = self.fresh_dir("dovecot-believes")?;
        let dovecot = Dovecot::start(&dir, self.pair()?, Believes::Truepeer)?;
        self.watch("dovecot-believes", dovecot.log());
        Ok(dovecot)
    }

    /// Another Dovecot, which is told nothing and lets users in from some networks only.
    pub(crate) fn start_choosy_dovecot(&self) -> Result<Dovecot> {
        let dir = self.fresh_dir("dovecot-choosy")?;
        let dovecot = Dovecot::start(&dir, self.pair()?, Believes::ItsOwnEyes)?;
        self.watch("dovecot-choosy", dovecot.log());
        Ok(dovecot)
    }

    /// The truepeer of this run, in front of the ports that read a header. Its listeners are named after service
    /// and family (`smtp4`, `imap6`); `smtp-net` is on an address that is not loopback.
    pub(crate) fn truepeer(&self) -> Result<&Truepeer> {
        self.truepeer.get(|| {
            let listener = |id, ip, protocol, backend| Listener { id, ip, protocol, backend, lines: "" };
            let (v4, v6) = (IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST));
            let mut listeners =
                vec![listener("smtp4", v4, "smtp", "postfix"), listener("imap4", v4, "imap", "dovecot")];
            listeners.push(Listener {
                lines: "proxy.mixed-families = \"accept\"\n",
                ..listener("smtp-mixed", v4, "smtp", "postfix")
            });
            if self.ipv6().is_ok() {
                listeners.push(listener("smtp6", v6, "smtp", "postfix"));
                listeners.push(listener("imap6", v6, "imap", "dovecot"));
            }
            if self.outside().is_ok() {
                listeners.push(Listener {
                    lines: "proxy.trusted-networks = [\"192.0.2.1\"]\n",
                    ..listener("smtp-net", IpAddr::V4(PROXY_V4), "smtp", "postfix")
                });
            }
            let backends = [
                Backend {
                    id: "postfix",
                    kind: "postfix",
                    handoff: None,
                    addr: self.postfix()?.header_port(),
                },
                Backend {
                    id: "dovecot",
                    kind: "dovecot",
                    handoff: None,
                    addr: self.dovecot()?.header_port(),
                },
            ];
            let truepeer = self.start_truepeer("truepeer", &listeners, &backends)?;
            for id in ["smtp4", "imap4"] {
                self.wait_until_served(truepeer.port(id)?)?;
            }
            Ok(truepeer)
        })
    }

    /// The servers of the matrix with a truepeer of their own.
    pub(crate) fn house(&self) -> Result<&House> {
        self.house.get(|| House::start(self))
    }

    /// Another truepeer, for cases that need a configuration of their own.
    pub(crate) fn start_truepeer(
        &self,
        name: &str,
        listeners: &[Listener<'_>],
        backends: &[Backend<'_>],
    ) -> Result<Truepeer> {
        let truepeer = Truepeer::start(self.program()?, &self.fresh_dir(name)?, listeners, backends)?;
        self.watch(name, truepeer.log());
        Ok(truepeer)
    }

    /// How much the run is to do.
    pub(crate) fn extent(&self) -> Extent {
        self.extent
    }

    /// The program under test.
    pub(crate) fn program(&self) -> Result<&Path> {
        if self.program.is_file() {
            return Ok(&self.program);
        }
        Err(Verdict::Skipped(format!("truepeer is not built ({})", self.program.display())))
    }

    /// Where the library's examples are, if they are built.
    pub(crate) fn examples(&self) -> &Path {
        &self.examples
    }

    /// The clients from outside.
    pub(crate) fn outside(&self) -> Result<&Outside> {
        self.outside.get(Outside::build)
    }

    /// Whether this machine has `::1`.
    pub(crate) fn ipv6(&self) -> Result<&()> {
        self.ipv6.get(|| match Port::free(IpAddr::V6(Ipv6Addr::LOCALHOST)) {
            Ok(_) => Ok(()),
            Err(_) => Err(Verdict::Skipped("IPv6 loopback".to_owned())),
        })
    }

    /// A file with a key and a certificate for it.
    pub(crate) fn pair(&self) -> Result<&Path> {
        let pair = self.pair.get(|| {
            let dir = self.dir.0.join("tls");
            make_dir(&dir)?;
            let (key, certificate, pair) = (dir.join("key"), dir.join("certificate"), dir.join("pair.pem"));
            let (key_text, certificate_text) = (key.to_string_lossy(), certificate.to_string_lossy());
            let made =
                "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=interop.test";
            let mut words: Vec<&str> = made.split(' ').collect();
            words.extend(["-keyout", &key_text, "-out", &certificate_text]);
            ask(&find("openssl")?, &words)?;
            let both =
                [key, certificate].map(|file| fs::read_to_string(file).during("read what openssl made"));
            let [key, certificate] = both;
            fs::write(&pair, format!("{}{}", key?, certificate?)).during("write the certificate")?;
            Ok(pair)
        })?;
        Ok(pair)
    }

    /// An address in loopback space that no case has used yet.
    pub(crate) fn fresh_source(&self) -> IpAddr {
        let count = self.sources.get().saturating_add(1);
        self.sources.set(count);
        let [high, low] = count.to_be_bytes();
        // The last number stays clear of 0 and 255.
        IpAddr::V4(Ipv4Addr::new(
            127,
            9,
            high.saturating_mul(2).saturating_add(low / 200),
            (low % 200).saturating_add(1),
        ))
    }

    /// A directory of its own for a program.
    pub(crate) fn fresh_dir(&self, name: &str) -> Result<PathBuf> {
        let count = self.dirs.get().saturating_add(1);
        self.dirs.set(count);
        let dir = self.dir.0.join(format!("{name}-{count}"));
        make_dir(&dir)?;
        Ok(dir)
    }

    /// Has `log` shown when a case fails.
    pub(crate) fn watch(&self, name: &str, log: &Feed) {
        self.logs.borrow_mut().push((name.to_owned(), log.clone(), Mark::default()));
    }

    /// From here on a new case begins.
    pub(crate) fn begin_case(&self) {
        for (_, log, mark) in self.logs.borrow_mut().iter_mut() {
            *mark = log.mark();
        }
    }

    /// The last lines that every program logged during this case.
    pub(crate) fn excerpt(&self) -> String {
        const LINES: usize = 25;
        let mut text = String::new();
        for (name, log, mark) in self.logs.borrow().iter() {
            let lines = log.lines(*mark);
            for line in lines.iter().skip(lines.len().saturating_sub(LINES)) {
                text.push_str(&format!("    {name}: {line}\n"));
            }
        }
        text
    }

    /// Comes back when a client at `addr` is greeted rather than refused: until a backend is proved, truepeer
    /// answers temporarily.
    pub(crate) fn wait_until_served(&self, addr: SocketAddr) -> Result {
        // Each try waits for truepeer's answer, so this is bounded in time and not a busy loop over nothing.
        const TRIES: usize = 400;
        for _ in 0..TRIES {
            let mut client = Client::dial(Place::Here(self.fresh_source()), addr)?;
            let line = client.line("a greeting")?;
            if line.starts_with("220 ") || line.starts_with("* OK") {
                return Ok(());
            }
        }
        failed(format!("no greeting on {addr}, only refusals"))
    }
}

/// Something that is made once, and whose failure is remembered as well.
#[derive(Debug)]
pub(crate) struct Shared<T>(OnceCell<Result<T>>);

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Self(OnceCell::new())
    }
}

impl<T> Shared<T> {
    /// What `make` made, now or the first time.
    pub(crate) fn get(&self, make: impl FnOnce() -> Result<T>) -> Result<&T> {
        self.0.get_or_init(make).as_ref().map_err(Clone::clone)
    }
}

/// A directory of this process alone, which is removed with this.
#[derive(Debug)]
pub(crate) struct TempDir(pub(crate) PathBuf);

impl TempDir {
    /// Makes one whose name begins with `what`.
    pub(crate) fn make(what: &str) -> Result<Self> {
        let dir = std::env::temp_dir().join(format!("{what}-{}", std::process::id()));
        // An existing one would be somebody else's, so this must not be `create_dir_all`.
        fs::create_dir(&dir).during(&format!("make {}", dir.display()))?;
        make_dir(&dir)?;
        Ok(Self(dir))
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _nothing_to_add = fs::remove_dir_all(&self.0);
    }
}
