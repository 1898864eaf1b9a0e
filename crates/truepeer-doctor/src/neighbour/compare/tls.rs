//! Where TLS begins and ends, and whether the server hears of it.

use super::super::lines::Lines;
use super::super::{Address, Connect, ConnectTls, Listen, ListenTls, Neighbour, Reads, Sends};
use super::{Pair, both, weaker};
use crate::{Class, Confidence, Finding, Product, Side};

/// What becomes of the TLS of a proxy's clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Clients {
    /// It ends at the proxy.
    Ended,
    /// The clients' bytes go on as they are.
    Passed,
    /// That is not told.
    Unknown,
}

/// Ports whose clients begin with TLS.
const TLS_PORTS: &[u16] = &[443, 465, 853, 993, 995, 8443];

/// What is wrong with the TLS of this pair.
pub(super) fn judge(pair: &Pair<'_>) -> Option<Finding> {
    let Pair { sender, connect, receiver, listen, confidence, .. } = *pair;
    let (from, to) = (sender.product, receiver.product);
    let reads = matches!(listen.header, Reads::Required(_) | Reads::Optional(_));
    let seen = match (connect.tls, listen.tls) {
        (ConnectTls::HeaderInside, _) | (_, ListenTls::HeaderInside) => {
            both(&connect.sends_place, &listen.header_place)
        }
        _ => both(&connect.place, &listen.place),
    };
    let finding = |side, cause: String, change: String, sure| Finding {
        class: Class::Tls,
        side,
        product: Some(if side == Side::Front { from } else { to }),
        seen: seen.clone(),
        cause: cause.into(),
        change: change.into(),
        confidence: weaker(confidence, sure),
    };
    // A proxy passes on what it does not end; only a server speaks for itself.
    let is_server = super::trust::serves(receiver, listen).next().is_none();
    let clients = clients(sender, connect);
    match (connect.tls, listen.tls) {
        (ConnectTls::HeaderInside, ListenTls::Implicit | ListenTls::None)
            if connect.sends.is_header() && reads =>
        {
            Some(finding(
                Side::Front,
                format!(
                    "{} sends the header inside of TLS, and {} reads it before TLS",
                    from.title(),
                    to.title()
                ),
                format!(
                    "in {}: put the PROXY protocol outside of the TLS socket",
                    connect.sends_place.spot()
                ),
                Confidence::Certain,
            ))
        }
        (ConnectTls::AfterHeader, ListenTls::HeaderInside) if connect.sends.is_header() && reads => {
            Some(finding(
                Side::Back,
                format!(
                    "{} sends the header before TLS, and {} looks for it inside of TLS",
                    from.title(),
                    to.title()
                ),
                format!("in {}: read the PROXY protocol before TLS", listen.header_place.spot()),
                Confidence::Certain,
            ))
        }
        (ConnectTls::AfterHeader | ConnectTls::HeaderInside, ListenTls::None) if is_server => Some(finding(
            Side::Front,
            format!(
                "{} begins TLS with the server, and {} speaks clear text on this port",
                from.title(),
                to.title()
            ),
            format!(
                "in {}: connect without TLS, or to a port of {} with TLS",
                connect.place.spot(),
                to.title()
            ),
            Confidence::Certain,
        )),
        (ConnectTls::None, ListenTls::Implicit) if clients == Clients::Ended => Some(finding(
            Side::Front,
            format!(
                "{} ends TLS and goes on in clear text, and {} expects TLS on this port",
                from.title(),
                to.title()
            ),
            format!(
                "in {}: connect to a port of {} without TLS, begin TLS anew, or pass the clients' TLS through",
                connect.place.spot(),
                to.title()
            ),
            Confidence::Certain,
        )),
        (ConnectTls::None, ListenTls::Implicit)
            if clients == Clients::Passed && fronts(sender, connect, false) =>
        {
            Some(finding(
                Side::Back,
                format!(
                    "clients begin in clear text, and {} expects TLS on the port that {} connects to",
                    to.title(),
                    from.title()
                ),
                format!("in {}: connect to a port of {} without TLS", connect.place.spot(), to.title()),
                Confidence::Likely,
            ))
        }
        (ConnectTls::None, ListenTls::None)
            if is_server && clients == Clients::Passed && fronts(sender, connect, true) =>
        {
            Some(finding(
                Side::Back,
                format!(
                    "the clients' TLS passes through {}, and {} speaks clear text on this port",
                    from.title(),
                    to.title()
                ),
                format!("in {}: {}, or end TLS at {}", listen.place.spot(), tls_line(to), from.title()),
                Confidence::Likely,
            ))
        }
        (ConnectTls::None, ListenTls::None) if clients == Clients::Ended && reads => untold(pair),
        _ => None,
    }
}

/// TLS ended at the proxy, and the server, which asks for it, does not hear of it.
fn untold(pair: &Pair<'_>) -> Option<Finding> {
    let Pair { sender, connect, receiver, listen, confidence, .. } = *pair;
    let (from, to) = (sender.product, receiver.product);
    let wants = listen.wants_tls.as_ref()?;
    let hears = matches!(to, Product::Dovecot | Product::Stalwart);
    if hears && connect.sends == Sends::V2Ssl || !connect.sends.is_header() {
        return None;
    }
    let (side, cause, change) = if hears {
        (
            Side::Front,
            format!(
                "{} ends TLS and does not say so in the header: {} takes the client for one without TLS and offers no login",
                from.title(),
                to.title()
            ),
            format!("in {}: {}", connect.sends_place.spot(), Lines::of(from).send_tls),
        )
    } else {
        (
            Side::Back,
            format!(
                "{} ends TLS, and {} reads no TLS facts in a header: it asks such clients for TLS again",
                from.title(),
                to.title()
            ),
            format!(
                "in {}: lift that for this port (only the proxy may reach it), or let the clients' TLS pass through to {}",
                wants.spot(),
                to.title()
            ),
        )
    };
    Some(Finding {
        class: Class::Tls,
        side,
        product: Some(if side == Side::Front { from } else { to }),
        seen: format!("{}; {wants}", both(&connect.sends_place, &listen.header_place)),
        cause: cause.into(),
        change: change.into(),
        confidence: weaker(confidence, Confidence::Likely),
    })
}

fn clients(sender: &Neighbour, connect: &Connect) -> Clients {
    let mut fronts = connect.serves.iter().filter_map(|index| sender.listens.get(*index)).peekable();
    let Some(first) = fronts.peek().map(|front| front.tls) else { return Clients::Unknown };
    if !fronts.all(|front| front.tls == first) {
        return Clients::Unknown;
    }
    match first {
        ListenTls::Implicit | ListenTls::HeaderInside => Clients::Ended,
        ListenTls::None | ListenTls::Passes => Clients::Passed,
        ListenTls::Unknown => Clients::Unknown,
    }
}

/// Whether all ports of the clients are those where TLS comes first, or none of them is.
fn fronts(sender: &Neighbour, connect: &Connect, tls: bool) -> bool {
    let fronts: Vec<&Listen> = connect.serves.iter().filter_map(|index| sender.listens.get(*index)).collect();
    let ports: Vec<u16> =
        fronts.iter().flat_map(|front| front.addresses.iter().filter_map(Address::port)).collect();
    let known = |port: &u16| TLS_PORTS.contains(port) || matches!(port, 25 | 80 | 110 | 143 | 587 | 4190);
    !ports.is_empty() && ports.iter().all(known) && ports.iter().all(|port| TLS_PORTS.contains(port) == tls)
}

/// How a server is told to speak TLS from the first byte.
fn tls_line(product: Product) -> &'static str {
    match product {
        Product::Postfix => "add `  -o smtpd_tls_wrappermode=yes` below the service's line",
        Product::Dovecot => "add `ssl = yes` to the inet_listener block",
        Product::Stalwart => "set `tls.implicit = true` for the listener",
        Product::Nginx => "add `ssl` to the listen line",
        _ => "let it begin with TLS on this port",
    }
}
