//! A Redis of our own, spoken to by hand: a handful of commands, many at a time.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::time::Duration;

use crate::door::elsewhere;

pub struct Store {
    pub port: u16,
    child: Child,
    connection: BufReader<TcpStream>,
}

impl Store {
    pub fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let program = std::env::var("TRUEPEER_STORE").unwrap_or_else(|_| "redis-server".to_owned());
        let child = elsewhere(&program)
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let connection = loop {
            match TcpStream::connect(("127.0.0.1", port)) {
                Ok(stream) => break BufReader::new(stream),
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        };
        Self { port, child, connection }
    }

    /// Sends commands together and reads as many answers, as text.
    pub fn ask_all(&mut self, commands: &[Vec<String>]) -> Vec<String> {
        let mut bytes = Vec::new();
        for command in commands {
            write!(bytes, "*{}\r\n", command.len()).unwrap();
            for word in command {
                write!(bytes, "${}\r\n{word}\r\n", word.len()).unwrap();
            }
        }
        self.connection.get_mut().write_all(&bytes).unwrap();
        (0..commands.len()).map(|_| self.answer()).collect()
    }

    pub fn ask(&mut self, words: &[&str]) -> String {
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        self.ask_all(&[words]).remove(0)
    }

    /// A number from INFO.
    pub fn info(&mut self, section: &str, name: &str) -> f64 {
        let info = self.ask(&["INFO", section]);
        let line =
            info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::to_owned));
        line.and_then(|number| number.trim().parse().ok()).unwrap_or(f64::NAN)
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.connection.read_line(&mut line).unwrap();
        let line = line.trim_end().to_owned();
        match line.strip_prefix('$').map(str::parse::<usize>) {
            Some(Ok(len)) => {
                let mut bytes = vec![0; len + 2];
                self.connection.read_exact(&mut bytes).unwrap();
                bytes.truncate(len);
                String::from_utf8_lossy(&bytes).into_owned()
            }
            _ => line,
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
