//! Does one side send what the other reads?

use super::super::lines::Lines;
use super::super::{Outsiders, Reads, Sends, Trust};
use super::{Machine, Pair, both, weaker};
use crate::{Class, Confidence, Finding, Product, Side};

/// What is wrong with the header of this pair.
pub(super) fn judge(pair: &Pair<'_>, machine: &Machine) -> Vec<Finding> {
    let Pair { sender, connect, receiver, listen, confidence, .. } = *pair;
    let (from, to) = (sender.product, receiver.product);
    let seen = || both(&connect.sends_place, &listen.header_place);
    let peers = pair.peers(machine);
    let known =
        |held: bool| !peers.is_empty() && peers.iter().all(|peer| listen.trust.holds(*peer) == Some(held));
    match (connect.sends, listen.header) {
        (Sends::Nothing, Reads::Required(_)) => {
            // Those that are not in the list are clients, and need no header.
            if listen.outsiders == Outsiders::Clients && known(false) {
                return Vec::new();
            }
            let certain = listen.outsiders == Outsiders::Refused || known(true);
            // The switch for the clients' side stands where the one for the server's side was meant.
            let swapped = connect
                .serves
                .iter()
                .filter_map(|index| sender.listens.get(*index))
                .find(|front| matches!(front.header, Reads::Required(_)));
            let send = format!("in {}: {}", connect.place.spot(), Lines::of(from).send);
            if let Some(front) = swapped {
                return vec![Finding {
                    class: Class::Dir,
                    side: Side::Front,
                    product: Some(from),
                    seen: format!("{} -> {}", front.header_place, listen.header_place),
                    cause: format!(
                        "{} expects a header from its own clients and sends none on to {}, which expects one",
                        from.title(),
                        to.title()
                    )
                    .into(),
                    change: format!(
                        "{send}; and unless a proxy in front of {} sends one, in {}: {}",
                        from.title(),
                        front.header_place.spot(),
                        Lines::of(from).read_not
                    )
                    .into(),
                    confidence: weaker(confidence, Confidence::Likely),
                }];
            }
            vec![Finding {
                class: Class::Miss,
                side: Side::Front,
                product: Some(from),
                seen: seen(),
                cause: format!(
                    "{} expects a header on this port, and {} sends none",
                    to.title(),
                    from.title()
                )
                .into(),
                change: format!("{send}; or in {}: {}", listen.header_place.spot(), Lines::of(to).read_not)
                    .into(),
                confidence: weaker(
                    confidence,
                    if certain { Confidence::Certain } else { Confidence::Likely },
                ),
            }]
        }
        (Sends::Nothing, Reads::Optional(_)) if matches!(listen.trust, Trust::Everybody) || known(true) => {
            vec![Finding {
                class: Class::Ban,
                side: Side::Front,
                product: Some(from),
                seen: seen(),
                cause: format!(
                    "{} reads a header where one comes, and {} sends none: it sees {}'s address in place of every client",
                    to.title(),
                    from.title(),
                    from.title()
                )
                .into(),
                change: format!("in {}: {}", connect.place.spot(), Lines::of(from).send).into(),
                confidence: weaker(confidence, Confidence::Likely),
            }]
        }
        (sends, Reads::No) if sends.is_header() => vec![unexpected(pair)],
        (sends, reads) if sends.is_header() && reads != Reads::Unknown && !reads.versions().hold(sends) => {
            vec![Finding {
                class: Class::Unex,
                side: Side::Front,
                product: Some(from),
                seen: seen(),
                cause: format!(
                    "{} sends {sends} of the header, which {} does not read",
                    from.title(),
                    to.title()
                )
                .into(),
                change: format!("in {}: {}", connect.sends_place.spot(), Lines::of(from).send_v2).into(),
                confidence,
            }]
        }
        _ => Vec::new(),
    }
}

/// A header comes to a port that reads none.
fn unexpected(pair: &Pair<'_>) -> Finding {
    let Pair { sender, connect, receiver, listen, confidence, .. } = *pair;
    let (from, to) = (sender.product, receiver.product);
    // The receiver's other ports that read what is sent.
    let other = receiver.listens.iter().find(|other| {
        other.header.versions().hold(connect.sends)
            && other.addresses.iter().any(|at| at.port() != connect.to.port())
    });
    let index = receiver.listens.iter().position(|each| each == listen);
    let onward = receiver
        .connects
        .iter()
        .find(|onward| onward.sends.is_header() && index.is_some_and(|index| onward.serves.contains(&index)));
    let read = format!("in {}: {}", listen.place.spot(), Lines::of(to).read);
    let (class, cause, change) = match (onward, other) {
        _ if to == Product::Truepeer => (
            Class::Hop,
            format!(
                "{} sends a header, and truepeer trusts nobody on this port: it refuses every header (`untrusted_header`)",
                from.title()
            ),
            read,
        ),
        (Some(onward), _) => (
            Class::Forge,
            format!(
                "{} sends a header, {} reads none on this port and sends one of its own ({}): the next server sees two in a row",
                from.title(),
                to.title(),
                onward.sends_place.spot()
            ),
            read,
        ),
        (None, Some(other)) => (
            Class::Unex,
            format!(
                "{} sends a header to a port where {} reads none; its port for headers is {}",
                from.title(),
                to.title(),
                other.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
            ),
            format!("in {}: connect to that port; or {read}", connect.place.spot()),
        ),
        (None, None) => (
            Class::Unex,
            format!(
                "{} sends a header, and {} reads none on this port: it is data there",
                from.title(),
                to.title()
            ),
            format!("{read}; or in {}: {}", connect.sends_place.spot(), Lines::of(from).send_not),
        ),
    };
    let side =
        if other.is_some() && onward.is_none() && to != Product::Truepeer { Side::Front } else { Side::Back };
    let seen = both(&connect.sends_place, &listen.place);
    Finding {
        class,
        side,
        product: Some(if side == Side::Front { from } else { to }),
        // The switch may stand apart from the address that is to change.
        seen: if side == Side::Front && connect.place != connect.sends_place {
            format!("{}; {seen}", connect.place)
        } else {
            seen
        },
        cause: cause.into(),
        change: change.into(),
        confidence,
    }
}
