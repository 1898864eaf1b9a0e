//! How long one side waits, and how long the other may take.
//!
//! What delays a header is the way to its reader, and nothing else: every known proxy connects when it has what it
//! needs, and the header is the first thing that it writes (observed with inspection of first bytes, too: until the
//! client has spoken there is no connection). So a reader's wait is held against the patience that the sender has with
//! the same way, which is the time that it lets the connection itself take. A check that brings no header has to outwait
//! whoever reads one where it comes.

use std::net::IpAddr;
use std::time::Duration;

use super::super::{Check, CheckForm, Connect, Host, Listen, Outsiders, Place, Protocol, Reads, Trust};
use super::{Machine, Pair, both, weaker};
use crate::{Class, Confidence, Finding, Product, Side};

/// A lost packet is sent again after one second, and after two more: anyone who does not wait for that ends healthy
/// clients.
const LEAST: Duration = Duration::from_secs(3);
/// Whoever waits so long outlasts four losses in a row (0.2, 0.6, 1.4 and 3 s); more is asked of nobody, since those who
/// never send a header take up as much.
const ENOUGH: Duration = Duration::from_secs(5);

/// A wait that is too short for every sender, whoever that is.
pub(super) fn hurried(product: Product, listen: &Listen) -> Option<Finding> {
    // Ours has a least value of its own, and a shorter one for clients without a header on purpose.
    if product == Product::Truepeer || matches!(listen.header, Reads::No | Reads::Unknown) {
        return None;
    }
    let waits = listen.waits.filter(|waits| *waits < LEAST)?;
    let place = listen.waits_place.as_ref().unwrap_or(&listen.header_place);
    Some(Finding {
        class: Class::Miss,
        side: Side::Back,
        product: Some(product),
        seen: place.to_string(),
        cause: format!(
            "{} waits {} for a header; where a packet is lost, it comes after a second or three, and the client is sent away",
            product.title(),
            shown(waits)
        )
        .into(),
        change: format!("in {}: {}", place.spot(), line(product, place)).into(),
        confidence: Confidence::Possible,
    })
}

/// A wait that somebody chose, and that is shorter than what the sender bears on the same way.
pub(super) fn late(pair: &Pair<'_>, machine: &Machine) -> Option<Finding> {
    let Pair { sender, connect, receiver, listen, confidence, .. } = *pair;
    if !connect.sends.is_header() || !matches!(listen.header, Reads::Required(_)) || is_here(connect, machine)
    {
        return None;
    }
    let (waits, place) = (listen.waits?, listen.waits_place.as_ref()?);
    let patience = connect.patience.as_ref()?;
    let wanted = patience.time.min(ENOUGH);
    (waits < wanted).then(|| Finding {
        class: Class::Miss,
        side: Side::Back,
        product: Some(receiver.product),
        seen: both(&patience.place, place),
        cause: format!(
            "{} waits {} for a header, and {} lets connecting alone take {}: where packets are lost for so long, the header comes too late, and the client is sent away",
            receiver.product.title(),
            shown(waits),
            sender.product.title(),
            shown(patience.time)
        )
        .into(),
        change: format!("in {}: {}", place.spot(), line(receiver.product, place)).into(),
        confidence: weaker(confidence, Confidence::Possible),
    })
}

/// Nothing is lost on a way that does not leave the machine.
fn is_here(connect: &Connect, machine: &Machine) -> bool {
    let own = |host: &Host| matches!(host, Host::Ip(ip) if machine.addresses.contains(ip));
    connect.to.is_local_only() || connect.to.host().is_some_and(own)
}

/// A check that gives up before a reader greets those who bring no header.
pub(super) fn given_up(pair: &Pair<'_>, check: &Check, machine: &Machine) -> Option<Finding> {
    let Pair { sender, receiver, listen, confidence, .. } = *pair;
    let (from, to) = (sender.product, receiver.product);
    // Only a server that speaks first keeps its clients waiting; whoever asks for something is answered.
    let greets = listen.protocol.is_some_and(Protocol::is_mail);
    let asks = check.form == CheckForm::Speaks && !check.sends.is_header();
    if !greets || !asks || !matches!(listen.header, Reads::Optional(_)) || listen.trust == Trust::Nobody {
        return None;
    }
    // From whom it believes no header, it awaits none.
    let peers = pair.peers(machine);
    let is_outside = |ip: &IpAddr| listen.trust.holds(*ip) == Some(false);
    if listen.outsiders == Outsiders::Clients && !peers.is_empty() && peers.iter().all(is_outside) {
        return None;
    }
    let waits = listen.waits?;
    // Zero is "for ever".
    let patience = check.patience.as_ref().filter(|patience| !patience.time.is_zero())?;
    let place = listen.waits_place.as_ref().unwrap_or(&listen.header_place);
    (patience.time <= waits).then(|| Finding {
        class: Class::Mix,
        side: Side::Front,
        product: Some(from),
        seen: both(&patience.place, place),
        cause: format!(
            "the health check gives up after {}, and {} greets whoever brings no header only after {}: it never passes",
            shown(patience.time),
            to.title(),
            shown(waits)
        )
        .into(),
        change: format!(
            "in {}: {}",
            patience.place.spot(),
            patient(from, waits.saturating_add(Duration::from_secs(1)))
        )
        .into(),
        confidence: weaker(confidence, Confidence::Likely),
    })
}

/// A time as people read it.
fn shown(time: Duration) -> String {
    if time.subsec_millis() == 0 {
        format!("{} s", time.as_secs())
    } else {
        format!("{} ms", time.as_millis())
    }
}

/// Whole seconds, as every program reads them.
fn written(time: Duration) -> String {
    let more = u64::from(time.subsec_nanos() > 0);
    format!("{}s", time.as_secs().saturating_add(more))
}

/// The reader's line, with a time that is enough whoever sends. Where a program has several such settings, the place
/// shows which.
fn line(product: Product, place: &Place) -> String {
    let time = written(ENOUGH);
    let text = place.text.split_whitespace().collect::<Vec<_>>().join(" ");
    let name = |known: &'static [&'static str]| {
        known.iter().find(|name| text.contains(**name)).or(known.first()).copied().unwrap_or_default()
    };
    match product {
        Product::Haproxy => format!("`{} {time}`", name(&["timeout client-hs", "timeout client"])),
        Product::Nginx => {
            format!("`{} {time};`", name(&["proxy_protocol_timeout", "client_header_timeout", "timeout"]))
        }
        Product::Postfix | Product::Postscreen => format!(
            "`{}={time}`",
            name(&["smtpd_upstream_proxy_timeout", "postscreen_upstream_proxy_timeout"])
        ),
        Product::Dovecot => format!("`haproxy_timeout = {time}`"),
        Product::Caddy => format!("`timeout {time}` in the proxy_protocol wrapper"),
        Product::Envoy => format!("`listener_filters_timeout: {time}`"),
        Product::IngressNginx => format!("`proxy-protocol-header-timeout: \"{time}\"`"),
        // The name as it stands there: its section may say a part of it.
        Product::Truepeer => {
            let key = place.text.split_once('=').map_or("proxy.header-timeout", |(key, _)| key.trim());
            format!("`{key} = \"{time}\"`")
        }
        _ => format!("let it wait {time}"),
    }
}

/// The check's line, with a time that is enough.
fn patient(product: Product, time: Duration) -> String {
    let time = written(time);
    match product {
        Product::Haproxy => {
            format!(
                "let the check bring a header (`check-send-proxy`), or let the section say `timeout check {time}`"
            )
        }
        Product::Traefik => {
            format!("write `timeout: {time}` in the healthCheck, and an `interval` that is longer")
        }
        Product::Envoy => {
            format!("write `timeout: {time}` in the health check, and an `interval` that is longer")
        }
        _ => format!("let the check wait {time}"),
    }
}
