//! The thread that asks the server, so that keys never wait for an answer. One question after the other.

use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;

use crate::control::admin::client::{AskError, ask_once, read};
use crate::control::admin::{OpenConnections, Request, Subject, reply};
use crate::rooms::bans::BanOrder;

use super::model::News;

/// What is to be asked.
#[derive(Debug)]
pub(super) enum Ask {
    /// What is shown.
    Look(Vec<Request>),
    Deny(BanOrder, OpenConnections),
    Why {
        title: String,
        subject: Subject,
    },
}

/// What comes back.
#[derive(Debug)]
pub(super) enum Told {
    News(News),
    /// All that a look asked for is there; it took so long.
    Looked(Duration),
}

/// Both ends of the thread.
#[derive(Debug)]
pub(super) struct Asking {
    pub(super) asks: SyncSender<Ask>,
    pub(super) told: Receiver<Told>,
}

/// Questions that may wait, and answers.
const WAITING: usize = 8;

impl Asking {
    /// Starts the thread; it ends when this is dropped.
    ///
    /// # Errors
    /// The system refused a thread.
    pub(super) fn start(socket: PathBuf) -> io::Result<Self> {
        let (asks, to_ask) = sync_channel(WAITING);
        let (tell, told) = sync_channel(WAITING);
        let body = move || answer(&Server(socket), &to_ask, &tell);
        std::thread::Builder::new().name("ask".to_owned()).spawn(body)?;
        Ok(Self { asks, told })
    }
}

fn answer(server: &Server, asks: &Receiver<Ask>, tell: &SyncSender<Told>) {
    for ask in asks {
        let told = match ask {
            Ask::Look(requests) => {
                let begun = Instant::now();
                for news in server.look(&requests) {
                    if tell.send(Told::News(news)).is_err() {
                        return;
                    }
                }
                Told::Looked(begun.elapsed())
            }
            Ask::Deny(order, open) => Told::News(server.deny(order, open)),
            Ask::Why { title, subject } => Told::News(server.why(title, subject)),
        };
        if tell.send(told).is_err() {
            return;
        }
    }
}

/// Whom is asked.
#[derive(Debug)]
pub(super) struct Server(pub(super) PathBuf);

impl Server {
    /// The answers to `requests`, up to one that fails.
    pub(super) fn look(&self, requests: &[Request]) -> Vec<News> {
        let mut answers = Vec::new();
        for request in requests {
            let news = match request {
                Request::Status => self.ask(request).map(|status| News::Status(Box::new(status))),
                Request::Page(of) => self.ask(request).map(|page| News::Connections(of.clone(), page)),
                Request::Clients(of) => self.ask(request).map(|page| News::Clients(of.clone(), page)),
                Request::Refusals(_) => self.ask(request).map(News::Refusals),
                // Nothing else is looked at.
                _ => continue,
            };
            let failed = news.is_err();
            answers.push(news.unwrap_or_else(|error| News::Lost(error.to_string())));
            if failed {
                break;
            }
        }
        answers
    }

    fn deny(&self, order: BanOrder, open: OpenConnections) -> News {
        match self.ask::<reply::Denied>(&Request::Deny(order, open)) {
            Ok(reply::Denied { ban: reply::Ban { network, until, .. }, cut, kept, .. }) => {
                let cut = cut.unwrap_or_default();
                let warning = kept.and_then(|kept| kept.warning);
                let warning = warning.map_or_else(String::new, |warning| format!("; {warning}"));
                News::Denied(format!("{network} is kept out until {until}; connections cut: {cut}{warning}"))
            }
            Err(error) => failed(error),
        }
    }

    fn why(&self, title: String, subject: Subject) -> News {
        match self.ask(&Request::Why(subject)) {
            Ok(why) => News::Why { title, why },
            Err(error) => failed(error),
        }
    }

    fn ask<T: DeserializeOwned>(&self, request: &Request) -> Result<T, AskError> {
        read(&ask_once(&self.0, request)?)
    }
}

fn failed(error: AskError) -> News {
    match error {
        AskError::Refused(why) => News::Refused(why),
        other => News::Lost(other.to_string()),
    }
}
