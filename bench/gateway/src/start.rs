//! From the start of the program with its built-in configuration to the first client that it takes, and greets.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::gateways::{Kind, free_address};
use crate::run::{judge, median};
use crate::wire;

/// The same but for its ports, which the system would choose and the load would not know.
const EMBEDDED: &str = include_str!("../../../crates/truepeer-gateway/src/config/embedded.toml");
const STARTS: usize = 11;
/// Milliseconds.
const MOST: f64 = 10.0;
const PATIENCE: Duration = Duration::from_secs(10);

/// Starts it some times.
pub fn start(truepeer: &Path, folder: &Path, above: &mut Vec<String>) -> io::Result<()> {
    let (mut connected, mut greeted) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let (config, smtp) = (folder.join("embedded.toml"), free_address()?);
        let mut text = EMBEDDED.replacen("127.0.0.1:0", &smtp.to_string(), 1);
        while text.contains("127.0.0.1:0") {
            text = text.replacen("127.0.0.1:0", &free_address()?.to_string(), 1);
        }
        fs::write(&config, text)?;
        let began = Instant::now();
        let mut child = Command::new("taskset");
        child.args(["-c", "1"]).arg(truepeer).arg("run").arg("--config").arg(&config);
        let _child = Ended(child.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?);
        let mut client = connect(smtp, began)?;
        connected.push(began.elapsed().as_secs_f64() * 1e3);
        client.set_read_timeout(Some(PATIENCE))?;
        client.write_all(&wire::header(1))?;
        let mut greeting = [0; 4];
        client.read_exact(&mut greeting)?;
        if &greeting != b"220 " {
            return Err(io::Error::other(format!("no greeting: {greeting:?}")));
        }
        greeted.push(began.elapsed().as_secs_f64() * 1e3);
    }
    println!("\n## Start with the built-in configuration, milliseconds (median of {STARTS})\n");
    println!("| to the first connection | to its greeting by the backend |");
    println!("|---|---|");
    let (connected, greeted) = (median(connected.into_iter()), median(greeted.into_iter()));
    println!("| **{connected:.1}** | {greeted:.1} |");
    judge(Kind::Truepeer, "milliseconds to the first connection", connected, MOST, above);
    Ok(())
}

fn connect(to: SocketAddrV4, began: Instant) -> io::Result<TcpStream> {
    loop {
        match TcpStream::connect(to) {
            Err(error) if began.elapsed() > PATIENCE => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_micros(200)),
            Ok(client) => return Ok(client),
        }
    }
}

struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
