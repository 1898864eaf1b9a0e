//! Health checks: do they bring the header that the port expects?

use super::super::lines::Lines;
use super::super::{Check, CheckForm, Connect, Listen, Neighbour, Outsiders, Reads};
use super::{Machine, Pair, both, reached, waits};
use crate::{Class, Confidence, Finding, Product, Side};

/// What is wrong with the health checks of `sender`.
pub(super) fn judge(neighbours: &[Neighbour], sender: &Neighbour, machine: &Machine) -> Vec<Finding> {
    let mut found = Vec::new();
    for connect in &sender.connects {
        let Some(check) = &connect.check else { continue };
        for (receiver, listen, confidence) in reached(neighbours, sender, &check.to) {
            found.extend(one(sender, connect, check, receiver, listen, confidence));
            let pair = Pair { sender, connect, receiver, listen, via: None, confidence };
            found.extend(waits::given_up(&pair, check, machine));
        }
    }
    found
}

fn one(
    sender: &Neighbour,
    connect: &Connect,
    check: &Check,
    receiver: &Neighbour,
    listen: &Listen,
    confidence: Confidence,
) -> Option<Finding> {
    let (from, to) = (sender.product, receiver.product);
    // Where the connection itself is wrong, its check needs no line of its own.
    let own_way = check.to != connect.to || check.sends.is_header() != connect.sends.is_header();
    match listen.header {
        Reads::Required(_) if own_way && !check.sends.is_header() => {
            let direct = listen.outsiders == Outsiders::Clients;
            // truepeer takes a connection without a byte for what it is.
            let known = to == Product::Truepeer && check.form == CheckForm::Connects;
            (!direct && !known).then(|| Finding {
                class: Class::Mix,
                side: Side::Front,
                product: Some(from),
                seen: both(&check.place, &listen.header_place),
                cause: format!(
                    "the health check comes without a header to a port where {} expects one: it fails, or leaves an error in the log each time",
                    to.title()
                )
                .into(),
                change: format!("in {}: {}", check.place.spot(), Lines::of(from).check).into(),
                confidence,
            })
        }
        Reads::No if check.to != connect.to && check.sends.is_header() => Some(Finding {
            class: Class::Unex,
            side: Side::Front,
            product: Some(from),
            seen: both(&check.place, &listen.place),
            cause: format!("the health check sends a header to a port where {} reads none", to.title())
                .into(),
            change: format!(
                "in {}: let the check send no header (HAProxy: take `check-send-proxy` away)",
                check.place.spot()
            )
            .into(),
            confidence,
        }),
        _ => None,
    }
}
