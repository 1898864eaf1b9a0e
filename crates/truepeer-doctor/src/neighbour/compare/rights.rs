//! What a server lets its neighbours do that others may not, and who gets that by mistake.

use super::super::lines::Lines;
use super::super::model::entry_of;
use super::super::{Address, Entry, Listen, Neighbour, Outsiders, Protocol, Reads, Sends, Trust};
use super::{Machine, Pair, both, weaker};
use crate::{Class, Confidence, Finding, Product, Side};

/// What every client of this pair's proxy may do at its server.
pub(super) fn judge(pair: &Pair<'_>, machine: &Machine) -> Option<Finding> {
    let Pair { sender, connect, receiver, listen, confidence, .. } = *pair;
    let (from, to) = (sender.product, receiver.product);
    let peers = pair.peers(machine);
    let held = peers.iter().find_map(|peer| entry_of(&listen.privileged, *peer).flatten());
    match (connect.sends, listen.header) {
        // Both agree, and the server sees the proxy in place of everybody.
        (Sends::Nothing, Reads::No) => unseen(pair, held),
        // Nothing is expected from this one, which is a proxy all the same.
        (Sends::Nothing, Reads::Required(_) | Reads::Optional(_))
            if listen.outsiders == Outsiders::Clients =>
        {
            let outside =
                !peers.is_empty() && peers.iter().all(|peer| listen.trust.holds(*peer) == Some(false));
            outside.then(|| unseen(pair, held)).flatten()
        }
        // Docker hands strangers on under its gateway's address.
        (Sends::Unknown, Reads::No) if from == Product::Docker => {
            let entry = held?;
            Some(Finding {
                class: Class::Ban,
                side: Side::Back,
                product: Some(to),
                seen: format!("{}; {}", both(&connect.place, &listen.place), entry.place),
                cause: format!(
                    "clients of this published port may come from the network's gateway, and {}",
                    right(to, &entry.text)
                )
                .into(),
                change: format!(
                    "in {}: take `{}` out, and name only hosts that send mail",
                    entry.place.spot(),
                    entry.text
                )
                .into(),
                confidence: Confidence::Likely,
            })
        }
        // A client that came by a UNIX socket is LOCAL in version 2: the server then takes the proxy for it.
        (Sends::V2 | Sends::V2Ssl, Reads::Required(_) | Reads::Optional(_)) if from == Product::Haproxy => {
            let entry = held?;
            let front = unix_front(sender, connect.serves.as_slice())?;
            Some(Finding {
                class: Class::Ban,
                side: Side::Front,
                product: Some(from),
                seen: format!("{}; {}", both(&front.place, &connect.sends_place), entry.place),
                cause: format!(
                    "for clients of a UNIX socket HAProxy sends LOCAL, and {} takes HAProxy for the client: {}",
                    to.title(),
                    right(to, &entry.text)
                )
                .into(),
                change: format!("in {}: bind a TCP port, or take `{}` out in {}", front.place.spot(), entry.text, entry.place.spot())
                    .into(),
                confidence: weaker(confidence, Confidence::Likely),
            })
        }
        (Sends::V1, Reads::Required(_))
            if matches!(to, Product::Postfix | Product::Varnish | Product::Opensmtpd) =>
        {
            let front = unix_front(sender, connect.serves.as_slice())?;
            Some(Finding {
                class: Class::Fam,
                side: Side::Front,
                product: Some(from),
                seen: both(&front.place, &listen.header_place),
                cause: format!(
                    "for clients of a UNIX socket {} sends `PROXY UNKNOWN`, which {} refuses",
                    from.title(),
                    to.title()
                )
                .into(),
                change: format!("in {}: listen on a TCP port instead", front.place.spot()).into(),
                confidence,
            })
        }
        _ => None,
    }
}

/// Whom our front door would name as a client although it is a proxy or a gateway, and what the server lets it do.
pub(super) fn through_us(pair: &Pair<'_>, machine: &Machine) -> Option<Finding> {
    let Pair { sender, connect, receiver, listen, confidence, .. } = *pair;
    if sender.product != Product::Truepeer || !connect.sends.is_header() {
        return None;
    }
    let to = receiver.product;
    let mut fronts = connect.serves.iter().filter_map(|index| sender.listens.get(*index));
    fronts.find_map(|front| {
        let finding = |entry: &Entry, cause: String, change: String| Finding {
            class: Class::Ban,
            side: Side::Back,
            product: Some(to),
            seen: format!("{}; {}", both(&front.header_place, &connect.place), entry.place),
            cause: format!("{cause}, and {}", right(to, &entry.text)).into(),
            change: format!("in {}: take `{}` out{change}", entry.place.spot(), entry.text).into(),
            confidence: weaker(confidence, Confidence::Likely),
        };
        // A proxy that brings no header counts as the client there.
        let trusted = match (&front.header, &front.trust) {
            (Reads::Optional(_), Trust::Listed(entries)) => entries.as_slice(),
            _ => &[],
        };
        let proxy = trusted.iter().filter_map(|entry| entry.network).find_map(|network| {
            Some((network.addr(), entry_of(&listen.privileged, network.addr()).flatten()?))
        });
        if let Some((ip, entry)) = proxy {
            let cause =
                format!("a connection of the proxy {ip} without a header counts as one of the client {ip}");
            let change = format!("; or let truepeer refuse such connections ({})", front.header_place.spot());
            return Some(finding(entry, cause, change));
        }
        // Whoever the gateway forwards comes from its address.
        let gateways =
            machine.gateways.iter().filter(|_| machine.is_container && front.outsiders == Outsiders::Clients);
        let (gateway, entry) = gateways
            .filter(|gateway| front.trust.holds(**gateway) == Some(false))
            .find_map(|gateway| Some((gateway, entry_of(&listen.privileged, *gateway).flatten()?)))?;
        let cause =
            format!("direct clients whom this container's gateway forwards have its address {gateway}");
        Some(finding(entry, cause, String::new()))
    })
}

/// No header from a proxy to a mail server: every client has the proxy's address.
fn unseen(pair: &Pair<'_>, held: Option<&Entry>) -> Option<Finding> {
    let Pair { sender, connect, receiver, listen, confidence, .. } = *pair;
    let (from, to) = (sender.product, receiver.product);
    // A proxy that tells nobody either is judged where it connects.
    let next = super::trust::serves(receiver, listen).next();
    if !listen.protocol.is_some_and(Protocol::is_mail) || next.is_some_and(|next| !next.sends.is_header()) {
        return None;
    }
    let switch = format!(
        "in {}: {}; and in {}: {}",
        connect.place.spot(),
        Lines::of(from).send,
        listen.place.spot(),
        Lines::of(to).read
    );
    let (seen, cause, change, sure) = match held {
        Some(entry) => (
            format!("{}; {}", both(&connect.place, &listen.place), entry.place),
            format!(
                "no header is sent, so every client of {} has {}'s address, and {}",
                from.title(),
                from.title(),
                right(to, &entry.text)
            ),
            format!("{switch}; until then take `{}` out in {}", entry.text, entry.place.spot()),
            Confidence::Certain,
        ),
        None => (
            both(&connect.place, &listen.place),
            format!(
                "no header is sent and none is expected from there: logs, bans and limits of {} see {} in place of every client",
                to.title(),
                from.title()
            ),
            switch,
            Confidence::Likely,
        ),
    };
    Some(Finding {
        class: Class::Ban,
        side: Side::Both,
        product: Some(to),
        seen,
        cause: cause.into(),
        change: change.into(),
        confidence: weaker(confidence, sure),
    })
}

/// A port on which everybody whom the gateway forwards has rights.
pub(super) fn alone(neighbour: &Neighbour, listen: &Listen, machine: &Machine) -> Option<Finding> {
    if listen.header != Reads::No
        || !machine.is_container
        || listen.addresses.iter().all(Address::is_local_only)
    {
        return None;
    }
    let held = |gateway| entry_of(&listen.privileged, gateway).flatten();
    let (gateway, entry) = machine.gateways.iter().find_map(|gateway| Some((gateway, held(*gateway)?)))?;
    Some(Finding {
        class: Class::Ban,
        side: Side::Back,
        product: Some(neighbour.product),
        seen: both(&listen.place, &entry.place),
        cause: format!(
            "`{}` holds {gateway}, the gateway of this container: connections that it forwards may come from there, and {}",
            entry.text,
            right(neighbour.product, &entry.text)
        )
        .into(),
        change: format!("in {}: take `{}` out, and name only hosts that send mail", entry.place.spot(), entry.text).into(),
        confidence: Confidence::Likely,
    })
}

fn unix_front<'n>(sender: &'n Neighbour, serves: &[usize]) -> Option<&'n Listen> {
    let fronts = serves.iter().filter_map(|index| sender.listens.get(*index));
    fronts.into_iter().find(|front| front.addresses.iter().any(|at| matches!(at, Address::Unix(_))))
}

/// What an address in such a list may do.
fn right(product: Product, list: &str) -> String {
    match product {
        Product::Dovecot => format!(
            "`{list}` in login_trusted_networks lets them rewrite their address and log in without TLS"
        ),
        _ => format!("`{list}` lets them relay mail to anywhere: an open relay"),
    }
}
