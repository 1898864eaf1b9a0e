//! `truepeer connections`: who is connected now, through whom, and to what; to the processes before an upgrade, too.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use ipnet::IpNet;

use super::reach::{Failure, Form, Reach, age, answer, complain};
use crate::control::admin::client::{ReplyLine, ask, read};
use crate::control::admin::{Filter, Request, network, reply};

/// Which connections.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Only those of this client or network of clients
    #[arg(long, value_name = "ADDR|NETWORK", value_parser = network)]
    client: Option<IpNet>,
    /// Only those that came through this peer (a proxy, or the client itself) or network of peers
    #[arg(long, value_name = "ADDR|NETWORK", value_parser = network)]
    peer: Option<IpNet>,
    /// Only those of this listener
    #[arg(long, value_name = "NAME")]
    listener: Option<String>,
}

/// Lists them as they arrive, oldest first.
pub(super) fn connections(reach: &Reach, filter: Arguments) -> ExitCode {
    let Arguments { client, peer, listener } = filter;
    answer(|out| {
        let request = Request::Connections(Filter { client, peer, listener });
        let mut lines = ask(&reach.socket()?, &request)?;
        let (mut heading, mut of) = (reach.form() == Form::Text, None);
        loop {
            match lines.next_line()? {
                ReplyLine::Item(connection) if reach.form() == Form::Json => writeln!(out, "{connection}")?,
                ReplyLine::Item(connection) => {
                    if std::mem::take(&mut heading) {
                        row(
                            out,
                            ["SINCE", "OPEN", "LISTENER", "CLIENT", "PEER", "BACKEND", "IN", "OUT", "ID"],
                        )?;
                    }
                    let connection: reply::Connection = read(&connection)?;
                    if connection.replaced && of.replace(connection.pid) != Some(connection.pid) {
                        writeln!(out, "in the process {}, which an upgrade has replaced:", connection.pid)?;
                    }
                    show(out, &connection)?;
                }
                ReplyLine::Done(end) => {
                    let reply::Connections { connections, unheard } = read(&end)?;
                    if reach.form() == Form::Text && connections == 0 {
                        writeln!(out, "no such connection is open")?;
                    }
                    out.flush()?;
                    for pid in unheard {
                        complain(&format!(
                            "the process {pid}, which an upgrade has replaced, did not say which it has"
                        ));
                    }
                    return Ok(0);
                }
            }
        }
    })
}

fn show(out: &mut dyn Write, connection: &reply::Connection) -> Result<(), Failure> {
    let client = match &connection.client {
        Some(client) => client,
        None if connection.header == reply::Header::Awaited => "(header awaited)",
        None if connection.own => "(the proxy's own)",
        None => "-",
    };
    let backend = match (&connection.backend, &connection.backend_address) {
        (Some(backend), Some(address)) => format!("{backend} {address}"),
        _ => "-".to_owned(),
    };
    // Milliseconds tell nothing here.
    let since = connection.since.split('.').next().unwrap_or_default();
    row(
        out,
        [
            &format!("{since}Z"),
            &age(connection.duration_ms),
            &connection.listener,
            client,
            &connection.peer,
            &backend,
            &connection.bytes_in.to_string(),
            &connection.bytes_out.to_string(),
            &connection.id,
        ],
    )
}

/// Columns of a fixed width, since the list is not held to measure it; a long value moves its line only.
fn row(out: &mut dyn Write, columns: [&str; 9]) -> Result<(), Failure> {
    let [since, open, listener, client, peer, backend, bytes_in, bytes_out, id] = columns;
    writeln!(
        out,
        "{since:<20} {open:<7} {listener:<10} {client:<21} {peer:<21} {backend:<26} {bytes_in:>9} {bytes_out:>9} {id}"
    )?;
    Ok(())
}
