//! A name server of the harness's own: one name, whose answer a case changes while it runs.
//!
//! Called by `cases`. It must not know who asks. It listens on port 53 of loopback, so it needs the private namespace.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::{find, make_dir, need_root, write};
use crate::verdict::{During, Result, Verdict};

/// The name server's only address.
const HERE: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 53);
/// The longest answer that goes over UDP; a longer one is asked for again over TCP.
const UDP_MAX: usize = 512;
const HEADER: usize = 12;

/// What is answered to a question for IPv4 addresses.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// These.
    Addresses(Vec<Ipv4Addr>),
    /// Nothing at all.
    Silence,
}

/// The running name server; it ends with the process.
#[derive(Clone, Debug)]
pub(crate) struct NameServer(Arc<Mutex<Answer>>);

impl NameServer {
    /// Starts it; skipped where the namespace is not ours alone.
    pub(crate) fn start(answer: Answer) -> Result<Self> {
        need_root("the name server")?;
        let skipped = |error: std::io::Error| Verdict::Skipped(format!("port 53: {error}"));
        let (udp, tcp) = (UdpSocket::bind(HERE).map_err(skipped)?, TcpListener::bind(HERE).map_err(skipped)?);
        let server = Self(Arc::new(Mutex::new(answer)));
        let of_udp = server.clone();
        thread::spawn(move || {
            let mut question = [0; UDP_MAX];
            while let Ok((len, from)) = udp.recv_from(&mut question) {
                let answer = question.get(..len).and_then(|question| of_udp.answer(question, UDP_MAX));
                // Whoever asked may be gone.
                let _gone = answer.map(|answer| udp.send_to(&answer, from));
            }
        });
        let of_tcp = server.clone();
        thread::spawn(move || {
            for stream in tcp.incoming().map_while(core::result::Result::ok) {
                let _gone = of_tcp.converse(stream);
            }
        });
        Ok(server)
    }

    /// From now on `answer` holds.
    pub(crate) fn set(&self, answer: Answer) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = answer;
    }

    /// The answer to `question`; none where none is to be given.
    fn answer(&self, question: &[u8], most: usize) -> Option<Vec<u8>> {
        let Answer::Addresses(addresses) = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
        else {
            return None;
        };
        let end = end_of_question(question)?;
        let is_a = question.get(end.checked_sub(4)?..end)? == [0, 1, 0, 1];
        let addresses = if is_a { addresses } else { Vec::new() };
        let mut answer = question.get(..end)?.to_vec();
        // A response, recursion available; one question, so many answers, nothing more.
        let count = u16::try_from(addresses.len()).ok()?.to_be_bytes();
        answer.splice(2..HEADER, [0x81, 0x80, 0, 1, count[0], count[1], 0, 0, 0, 0]);
        for address in addresses {
            // The name is that of the question; an address of the internet, to be kept for no time.
            answer.extend([0xC0, 0x0C, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
            answer.extend(address.octets());
        }
        if answer.len() > most {
            answer.truncate(end);
            // Truncated, without answers.
            answer.splice(2..8, [0x83, 0x80, 0, 1, 0, 0]);
        }
        Some(answer)
    }

    fn converse(&self, mut stream: TcpStream) -> std::io::Result<()> {
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        let mut len = [0; 2];
        // A resolver asks for both families on one connection, and closes it.
        while stream.read_exact(&mut len).is_ok() {
            let mut question = vec![0; usize::from(u16::from_be_bytes(len))];
            stream.read_exact(&mut question)?;
            if let Some(answer) = self.answer(&question, usize::from(u16::MAX)) {
                let len = u16::try_from(answer.len()).unwrap_or(u16::MAX).to_be_bytes();
                stream.write_all(&[&len[..], &answer].concat())?;
            }
        }
        Ok(())
    }
}

/// Where the only question ends.
fn end_of_question(question: &[u8]) -> Option<usize> {
    const TYPE_AND_CLASS: usize = 4;
    let mut at = HEADER;
    loop {
        let label = usize::from(*question.get(at)?);
        at = at.checked_add(label)?.checked_add(1)?;
        if label == 0 {
            return at.checked_add(TYPE_AND_CLASS);
        }
    }
}

/// A script that runs `program` where the system's resolver asks our name server only, and gives up soon.
///
/// In a mount namespace of its own, so that nobody else's `/etc/resolv.conf` changes.
pub(crate) fn resolving_here(dir: &Path, program: &Path) -> Result<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let unshare = find("unshare")?;
    if !Path::new("/etc/resolv.conf").is_file() {
        return Err(Verdict::Skipped("/etc/resolv.conf".to_owned()));
    }
    make_dir(dir)?;
    let (resolv, script) = (dir.join("resolv.conf"), dir.join("truepeer-resolving-here"));
    let server = IpAddr::V4(HERE.0);
    write(&resolv, &format!("nameserver {server}\noptions timeout:1 attempts:1\n"))?;
    write(
        &script,
        &format!(
            "#!/bin/sh\nexec {} --mount sh -c 'mount --bind {} /etc/resolv.conf && exec {} \"$@\"' sh \"$@\"\n",
            unshare.display(),
            resolv.display(),
            program.display()
        ),
    )?;
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).during("make a script")?;
    Ok(script)
}
