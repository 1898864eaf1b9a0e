//! Address families, and ports that are not the same on both sides.

use super::super::{Address, Connect, Families, Host, Listen, Neighbour, Protocol, Reads, Trust};
use super::{Pair, both, trust, weaker};
use crate::{Class, Confidence, Finding, Product, Side};

/// One socket for both families hands IPv4 clients on as mapped IPv6.
pub(super) fn families(pair: &Pair<'_>) -> Option<Finding> {
    let Pair { sender, connect, receiver, listen, confidence, .. } = *pair;
    let (from, to) = (sender.product, receiver.product);
    // Observed: these senders write the mapped form, and these receivers keep it.
    let writes = matches!(from, Product::Haproxy | Product::Nginx);
    let keeps = matches!(to, Product::Dovecot | Product::Exim | Product::Opensmtpd | Product::Nginx);
    if !writes || !keeps || !connect.sends.is_header() || !matches!(listen.header, Reads::Required(_)) {
        return None;
    }
    let both_in_one = |front: &&Listen| {
        front.addresses.iter().any(|at| matches!(at.host(), Some(Host::Any(Families::Both))))
    };
    let front = connect.serves.iter().filter_map(|index| sender.listens.get(*index)).find(both_in_one)?;
    let port = front.addresses.iter().find_map(Address::port).unwrap_or_default();
    let change = match from {
        Product::Haproxy => format!("in {}: `bind :{port}` and `bind :::{port} v6only`", front.place.spot()),
        _ => format!("in {}: `listen {port};` and `listen [::]:{port} ipv6only=on;`", front.place.spot()),
    };
    Some(Finding {
        class: Class::Fam,
        side: Side::Front,
        product: Some(from),
        seen: both(&front.place, &listen.header_place),
        cause: format!(
            "one socket for both families makes `::ffff:192.0.2.1` of an IPv4 client, and {} keeps that: rules and lists for IPv4 do not match",
            to.title()
        )
        .into(),
        change: change.into(),
        confidence: weaker(confidence, Confidence::Likely),
    })
}

/// Stalwart's policies ask which port a client came to, and mean the one it is bound to.
pub(super) fn identity(pair: &Pair<'_>) -> Option<Finding> {
    let Pair { sender, connect, receiver, listen, confidence, .. } = *pair;
    let port = connect.to.port()?;
    let fronts = connect.serves.iter().filter_map(|index| sender.listens.get(*index));
    let public = fronts.flat_map(|front| &front.addresses).any(|at| at.port() == Some(25));
    let lost = receiver.product == Product::Stalwart
        && matches!(listen.protocol, Some(Protocol::Smtp | Protocol::Submission))
        && public
        && port != 25;
    lost.then(|| Finding {
        class: Class::Port,
        side: Side::Back,
        product: Some(Product::Stalwart),
        seen: both(&connect.place, &listen.place),
        cause: format!(
            "mail for port 25 reaches Stalwart on port {port}, and its policies treat every other port as one for users: other servers hear `503 5.5.1 You must authenticate first.`"
        )
        .into(),
        change: format!(
            "in {}: bind port 25 on an address that only the proxy reaches (`127.0.0.1:25`), and connect there in {}",
            listen.place.spot(),
            connect.place.spot()
        )
        .into(),
        confidence: weaker(confidence, Confidence::Likely),
    })
}

/// A public port that leads to another protocol than the one that its clients speak.
pub(super) fn crossed(pair: &Pair<'_>) -> Option<Finding> {
    let Pair { sender, connect, receiver, listen, confidence, .. } = *pair;
    // What these speak is told by the configuration, not guessed from the port.
    let tells = matches!(
        receiver.product,
        Product::Postfix
            | Product::Postscreen
            | Product::Dovecot
            | Product::Exim
            | Product::Opensmtpd
            | Product::Stalwart
            | Product::Truepeer
    );
    let speaks = listen.protocol.filter(|protocol| tells && protocol.is_mail())?;
    let fronts = connect.serves.iter().filter_map(|index| sender.listens.get(*index));
    let (port, meant) = fronts
        .flat_map(|front| front.addresses.iter().filter_map(Address::port))
        .filter_map(|port| Some((port, Protocol::of_port(port)?)))
        .find(|(_, meant)| meant.is_mail() && !is_one_language(*meant, speaks))?;
    let right = receiver.listens.iter().find(|other| {
        other.header == listen.header
            && other.protocol.is_some_and(|protocol| is_one_language(protocol, meant))
    });
    let place = connect.place.spot();
    let change = match right {
        Some(right) => format!(
            "in {place}: connect to {}'s port for {}: {}",
            receiver.product.title(),
            meant.title(),
            ports(right)
        ),
        None => format!("in {place}: connect to a port where {} is spoken", meant.title()),
    };
    Some(Finding {
        class: Class::Port,
        side: Side::Front,
        product: Some(sender.product),
        seen: both(&connect.place, &listen.place),
        cause: format!(
            "port {port} is for {}, and leads to a port where {} speaks {}",
            meant.title(),
            receiver.product.title(),
            speaks.title()
        )
        .into(),
        change: change.into(),
        confidence,
    })
}

/// Whether clients of the one are served by the other, too: mail between servers and from users is one language.
fn is_one_language(one: Protocol, other: Protocol) -> bool {
    one == other || mail_ports(one, other)
}

/// A header that is sent to nobody, and a port that waits for one from nobody: probably meant for each other.
pub(super) fn missed(neighbours: &[Neighbour], met: &[Pair<'_>]) -> Vec<Finding> {
    let mut found = Vec::new();
    for receiver in neighbours {
        // A proxy's own clients come from outside.
        let waiting = receiver.listens.iter().filter(|listen| {
            matches!(listen.header, Reads::Required(_))
                && trust::serves(receiver, listen).next().is_none()
                && !met.iter().any(|pair| std::ptr::eq(pair.listen, *listen))
        });
        for listen in waiting {
            let lost = neighbours.iter().filter(|each| !std::ptr::eq(*each, receiver)).find_map(|sender| {
                let connect = sender.connects.iter().find(|connect| {
                    connect.sends.is_header()
                        && !met.iter().any(|pair| std::ptr::eq(pair.connect, *connect))
                        && may_mean(connect, listen)
                })?;
                Some((sender, connect))
            });
            let Some((sender, connect)) = lost else { continue };
            found.push(Finding {
                class: Class::Miss,
                side: Side::Front,
                product: Some(sender.product),
                seen: both(&connect.place, &listen.place),
                cause: format!(
                    "{} sends a header to {}, where none of these programs listens; {} expects one at {}, where none of them connects",
                    sender.product.title(),
                    connect.to,
                    receiver.product.title(),
                    trust::shown(&listen.addresses)
                )
                .into(),
                change: format!("in {}: connect to port {}", connect.place.spot(), ports(listen)).into(),
                confidence: Confidence::Likely,
            });
        }
    }
    found
}

fn ports(listen: &Listen) -> String {
    let mut ports: Vec<String> =
        listen.addresses.iter().filter_map(Address::port).map(|port| port.to_string()).collect();
    ports.dedup();
    ports.join(", ")
}

/// The same machine, and the same protocol as far as both tell.
fn may_mean(connect: &Connect, listen: &Listen) -> bool {
    let same_host = listen.addresses.iter().any(|at| {
        let there = |port| connect.to.host().map(|host| Address::tcp(host.clone(), port));
        at.port().and_then(there).is_some_and(|moved| moved.reaches(at) != super::super::address::Fit::No)
    });
    let same_protocol = match (connect.protocol, listen.protocol) {
        (Some(one), Some(other)) => is_one_language(one, other),
        _ => true,
    };
    same_host && same_protocol && listen.trust != Trust::Nobody
}

/// Submission and SMTP are told apart by their port only.
fn mail_ports(one: Protocol, other: Protocol) -> bool {
    let smtp = |protocol| matches!(protocol, Protocol::Smtp | Protocol::Submission);
    smtp(one) && smtp(other)
}
