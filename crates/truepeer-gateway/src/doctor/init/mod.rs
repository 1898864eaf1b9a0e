//! `truepeer init`: what is on this machine and a few answers become a first configuration, and the steps beside it.
//!
//! [`look`] reads the machine, [`GivenAnswers`] is what the operator says, [`plan`] makes a [`Plan`] of both: text and steps,
//! pure. Nothing here changes anything; `cli/init.rs` asks and writes.

mod given;
mod look;
mod service;
mod steps;
mod write;

use std::net::IpAddr;

use crate::config::{self, Surroundings};
use crate::doctor::snippet::{ListenerFacts, ProxyProduct};

pub use given::{AnswersError, GivenAnswers};
pub use look::{Dovecot, Found, look, own_address_towards};
pub use service::Service;
pub use steps::InitStep;

/// What is known once every question has its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answers {
    /// Where the proxy connects from: single addresses, at least one.
    pub proxies: Vec<IpAddr>,
    /// Which program the proxy is.
    pub product: ProxyProduct,
    /// What is served; at least one.
    pub services: Vec<Service>,
    /// What greetings and refusals call this host; `None`: the name of this system.
    pub hostname: Option<String>,
    /// This machine's own addresses as the proxies reach them, one for each proxy or family.
    pub here: Vec<IpAddr>,
}

impl Answers {
    /// Whether the proxy is on this machine, where ports in use stay in use.
    fn is_local(&self) -> bool {
        self.proxies.iter().all(IpAddr::is_loopback)
    }

    /// Where clients of `service` come to first: on this machine beside what runs, elsewhere at the usual port.
    fn front_port(&self, service: Service) -> u16 {
        if self.is_local() { service.trial_port() } else { service.port() }
    }
}

/// What comes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The configuration, with comments.
    pub config: String,
    /// What to do, in this order.
    pub steps: Vec<InitStep>,
}

/// Makes the configuration and the steps; `path` is where the configuration will be.
///
/// # Errors
/// If a service has no server here, a proxy cannot send what is read, or `truepeer run` would not take the configuration.
pub fn plan(found: &Found, answers: &Answers, path: &str) -> Result<Plan, String> {
    for service in &answers.services {
        if service.server(found).is_none() {
            return Err(format!(
                "{}: {} is not installed here; leave `{}` out, or write the configuration by hand for a server elsewhere \
                 (docs/config.md, `backend.<id>.address`)",
                service.name(),
                service.servers(),
                service.name()
            ));
        }
    }
    let text = write::write(found, answers);
    let config = config::resolve(&text, path, &Surroundings::default()).map_err(|errors| {
        let why: Vec<_> = errors.problems().map(|(_, problem)| problem.title().to_owned()).collect();
        format!("`truepeer run` would not take what comes of it: {}", why.join("; "))
    })?;
    let doors: Vec<ListenerFacts> = answers
        .services
        .iter()
        .zip(&config.listeners)
        .map(|(service, listener)| service.door(answers, listener.idle_timeout))
        .collect();
    let lines = answers.product.lines(&doors)?;
    Ok(Plan { config: text, steps: steps::steps(found, answers, &lines, path) })
}

#[cfg(test)]
mod tests;
