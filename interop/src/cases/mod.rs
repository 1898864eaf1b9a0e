//! The cases: each is a named behaviour.
//!
//! Called by `main`. They must not start anything that the lab or a guard of their own does not end.

pub(crate) mod bulk;
mod bytes;
pub(crate) mod chains;
mod checks;
mod contacts;
mod crowdsec;
mod direct;
mod doctor;
mod early;
mod examples;
mod exec;
mod fail2ban;
mod ftp;
mod handoffs;
mod health;
mod health_forms;
mod kinds;
mod labels;
mod library;
mod logs;
mod mariadb;
pub(crate) mod matrix;
mod metrics;
mod migrate;
mod neighbours;
mod others;
mod page;
mod proof;
mod readme;
mod relay;
mod reports;
mod secure;
mod setups;
mod shown;
mod snippets;
mod stalwart;
mod starttls;
mod tools;
mod transparent;
mod trust;
mod unproven;
mod waits;
mod without;
mod words;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::client::{Client, Place};
use crate::feed::Mark;
use crate::lab::Lab;
use crate::verdict::{Result, ensure};

/// One behaviour and how to see it.
pub(crate) struct Case {
    /// What holds, as a sentence with underscores.
    pub(crate) name: String,
    /// Sees whether it holds.
    pub(crate) run: Box<dyn Fn(&Lab) -> Result>,
}

/// The proxy that a case plays itself when it needs bytes which no real proxy sends: a trusted address.
const PROXY: Place<'static> = Place::Here(IpAddr::V4(Ipv4Addr::LOCALHOST));

/// How much a run is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// What CI has time for.
    Ordinary,
    /// Every cell of the matrix as well, and the sizes that take minutes.
    All,
}

/// Every case of a run.
pub(crate) fn all(extent: Extent) -> Vec<Case> {
    let mut cases = chains::cases();
    cases.extend(matrix::cases(extent == Extent::All));
    cases.extend(relay::cases());
    cases.extend(checks::cases());
    cases.extend(health::cases());
    cases.extend(health_forms::cases());
    cases.extend(library::cases());
    cases.extend(direct::cases());
    cases.extend(proof::cases());
    cases.extend(unproven::cases());
    cases.extend(bytes::cases());
    cases.extend(bulk::cases());
    cases.extend(early::cases());
    cases.extend(starttls::cases());
    cases.extend(without::cases());
    cases.extend(words::cases());
    cases.extend(labels::cases());
    cases.extend(transparent::cases());
    cases.extend(exec::cases());
    cases.extend(handoffs::cases());
    cases.extend(secure::cases());
    cases.extend(trust::cases());
    cases.extend(kinds::cases());
    cases.extend(mariadb::cases());
    cases.extend(ftp::cases());
    cases.extend(fail2ban::cases());
    cases.extend(crowdsec::cases());
    cases.extend(metrics::cases());
    cases.extend(page::cases());
    cases.extend(examples::cases());
    cases.extend(readme::cases());
    cases.extend(logs::cases());
    cases.extend(migrate::cases());
    cases.extend(stalwart::cases());
    cases.extend(tools::cases());
    cases.extend(snippets::cases());
    cases.extend(doctor::cases());
    cases.extend(contacts::cases());
    cases.extend(waits::cases());
    cases.extend(neighbours::cases());
    cases.extend(others::cases());
    cases.extend(reports::cases());
    cases
}

/// A case that stands alone.
fn case(name: &str, run: fn(&Lab) -> Result) -> Case {
    Case { name: name.to_owned(), run: Box::new(run) }
}

/// A case that is one row of a table.
fn row<T: 'static>(name: String, row: T, run: fn(&Lab, &T) -> Result) -> Case {
    Case { name, run: Box::new(move |lab| run(lab, &row)) }
}

/// A client that only headers name; addresses of documentation networks.
fn told_client(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(203, 0, 113, 9), port))
}

/// The destination that headers made by hand name.
fn told_destination() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(198, 51, 100, 25), 25))
}

/// Expects service from an SMTP server and leaves.
fn hello(client: &mut Client) -> Result {
    client.expect_reply("220")?;
    client.smtp("EHLO client.interop.test", "250")?;
    client.smtp("QUIT", "221").map(|_| ())
}

/// Expects a greeting from an IMAP server and leaves.
fn imap_hello(client: &mut Client) -> Result {
    let greeting = client.line("an IMAP greeting")?;
    ensure(greeting.starts_with("* OK"), || format!("expected `* OK`, got `{greeting}`"))?;
    let answer = client.imap("a1", "LOGOUT")?;
    ensure(answer.contains("a1 OK"), || format!("expected `a1 OK`, got `{answer}`"))
}

/// Expects that nobody has reached Postfix since `mark`: a client that does so now must be the first one it logs.
fn nobody_reached_postfix(lab: &Lab, mark: Mark) -> Result {
    let postfix = lab.postfix()?;
    let mut client = Client::dial(Place::Here(lab.fresh_source()), lab.truepeer()?.port("smtp4")?)?;
    hello(&mut client)?;
    postfix.wait_connect(mark, client.addr())?;
    let connects = postfix.connects(mark);
    ensure(connects.len() == 1, || format!("somebody reached Postfix: {connects:#?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The README's reasons for truepeer each name the case that shows them.
    #[test]
    fn every_case_that_the_documents_name_exists() {
        let cases = all(Extent::Ordinary);
        let documents =
            [include_str!("../../../README.md"), include_str!("../../../docs/design/invariants.md")];
        for document in documents {
            let quoted = document.split('`').skip(1).step_by(2);
            let named = quoted.filter(|name| name.contains("truepeer_") || name.starts_with("..."));
            for name in named.filter(|name| !name.contains([' ', '/', '.', '*']) || name.starts_with("...")) {
                let end = name.trim_start_matches("...");
                assert!(cases.iter().any(|case| case.name.ends_with(end)), "{name} is no case");
            }
        }
    }
}
