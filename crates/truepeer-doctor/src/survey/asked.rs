//! What a server on this machine was asked, and what its answers mean beside the configurations.

use std::net::SocketAddr;

use crate::change::{READ, SEND};
use crate::neighbour::{Reads, Sends};
use crate::{Class, Confidence, Finding, Product, Side};

/// A server that a proxy of this machine connects to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The proxy.
    pub sender: Product,
    /// Where it is written which header that sends.
    pub place: String,
    /// The server, if its configuration is known.
    pub receiver: Option<Product>,
    /// What its configuration says, and where.
    pub written: Option<(Reads, String)>,
    /// The process that listens there, for people.
    pub owner: Option<String>,
    /// Where.
    pub addr: SocketAddr,
    /// What the proxy sends there.
    pub sends: Sends,
}

/// What was asked with: no header, or one of that version.
type Header = Option<u8>;

/// What a server made of questions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answers(Vec<(Header, Option<bool>)>);

impl Answers {
    /// Notes whether a client that came with that header was served; `None` where the server did not show.
    pub fn note(&mut self, header: Header, served: Option<bool>) {
        self.0.push((header, served));
    }

    /// Whether what is asked next could change nothing.
    #[must_use]
    pub fn are_enough(&self, _target: &Target) -> bool {
        self.0.iter().any(|(_, served)| *served == Some(true))
    }

    fn served(&self, header: Header) -> Option<bool> {
        self.0.iter().find(|(asked, _)| *asked == header).and_then(|(_, served)| *served)
    }
}

impl Target {
    /// Whether an answer says more than the configurations do: not where they are known to disagree.
    #[must_use]
    pub fn is_worth_asking(&self) -> bool {
        match (self.sends, self.written.as_ref().map(|(reads, _)| *reads)) {
            (Sends::OtherWay | Sends::Unknown, _) => false,
            (Sends::Nothing, Some(Reads::Required(_))) => false,
            (Sends::V1 | Sends::V2 | Sends::V2Ssl, Some(Reads::No)) => false,
            (sends, Some(Reads::Required(versions) | Reads::Optional(versions))) => {
                sends == Sends::Nothing || versions.hold(sends)
            }
            (_, Some(Reads::No | Reads::Unknown) | None) => true,
        }
    }

    /// Which headers to ask with: what the proxy sends first, then what shows why that is not served.
    #[must_use]
    pub fn questions(&self) -> [Header; 3] {
        match self.sends {
            Sends::V1 => [Some(1), None, Some(2)],
            Sends::V2 | Sends::V2Ssl => [Some(2), None, Some(1)],
            Sends::Nothing | Sends::OtherWay | Sends::Unknown => [None, Some(2), Some(1)],
        }
    }
}

/// What does not fit between what a proxy sends and what the server was seen to do.
#[must_use]
pub fn judge_answers(target: &Target, answers: &Answers) -> Option<Finding> {
    let Target { sender, place, receiver, written, owner, addr, sends } = target;
    let [first, ..] = target.questions();
    if answers.served(first) == Some(true) {
        return None;
    }
    let who = owner.as_ref().map_or_else(|| addr.to_string(), |owner| format!("{owner} on {addr}"));
    let finding = |class, side, product, saw: &str, cause: String, change: String| Finding {
        class,
        side,
        product,
        seen: format!("{who} {saw}; {place}"),
        cause: cause.into(),
        change: change.into(),
        confidence: Confidence::Certain,
    };
    let served = [None, Some(1), Some(2)].into_iter().find(|header| answers.served(*header) == Some(true))?;
    // Its configuration agrees, or it would not have been asked: then what runs is older.
    let stale = written.as_ref().filter(|(reads, _)| *reads != Reads::Unknown);
    if let (Some((_, written)), Some(product)) = (stale, receiver) {
        let (class, saw) = match sends {
            Sends::Nothing => (Class::Miss, "serves only those who send a header"),
            _ => (Class::Unex, "does not read the header that is sent"),
        };
        let cause =
            format!("{product} runs with an older configuration than the one that is written ({written})");
        return Some(finding(class, Side::Back, Some(*product), saw, cause, reload(*product)));
    }
    Some(match (sends, served) {
        (Sends::Nothing, Some(version)) => finding(
            Class::Miss,
            Side::Front,
            Some(*sender),
            &format!("serves those who send a header of version {version}, and nobody without one"),
            format!("the server expects a header, and {sender} sends none there"),
            SEND.to_owned(),
        ),
        (_, None) => finding(
            Class::Unex,
            Side::Back,
            *receiver,
            "serves those who send no header, and not those who send one",
            format!("{sender} sends a header there, and the server does not read it"),
            READ.to_owned(),
        ),
        (_, Some(version)) => finding(
            Class::Unex,
            Side::Front,
            Some(*sender),
            &format!("reads version {version} of the header, and not the one that is sent"),
            format!("{sender} sends {sends}, and the server reads version {version} only"),
            format!(
                "let {sender} send version {version} (HAProxy: `{}`), or put truepeer in between",
                if version == 1 { "send-proxy" } else { "send-proxy-v2" }
            ),
        ),
    })
}

/// How a program takes up what its configuration says now.
fn reload(product: Product) -> String {
    match product {
        Product::Postfix | Product::Postscreen => "`postfix reload`; after a change of `inet_interfaces` or `inet_protocols` `postfix stop` and `postfix start`",
        Product::Dovecot => "`systemctl restart dovecot`: its listeners are opened at start",
        Product::Nginx => "`nginx -t && nginx -s reload`",
        Product::Haproxy => "`systemctl reload haproxy`",
        Product::Exim => "`systemctl restart exim4`",
        _ => "restart it",
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::neighbour::Versions;

    fn target(sends: Sends, written: Option<Reads>) -> Target {
        Target {
            sender: Product::Haproxy,
            place: "haproxy.cfg:7".to_owned(),
            receiver: written.map(|_| Product::Dovecot),
            written: written.map(|reads| (reads, "doveconf -n:9".to_owned())),
            owner: None,
            addr: SocketAddr::from(([127, 0, 0, 1], 10143)),
            sends,
        }
    }

    fn judged(target: &Target, served: [Option<bool>; 3]) -> String {
        let mut answers = Answers::default();
        for (header, served) in target.questions().into_iter().zip(served) {
            answers.note(header, served);
        }
        judge_answers(target, &answers).map_or_else(String::new, |found| {
            format!("{} {} {}", found.class, found.side, found.product.map_or("-", Product::name))
        })
    }

    const YES: Option<bool> = Some(true);
    const NO: Option<bool> = Some(false);

    #[test]
    fn answers_say_what_configurations_do_not() {
        for (sends, served, expected) in [
            (Sends::V2, [YES, None, None], ""),
            (Sends::Nothing, [YES, None, None], ""),
            (Sends::V2, [NO, YES, None], "UNEX back -"),
            (Sends::V2, [NO, NO, YES], "UNEX front haproxy"),
            (Sends::V1, [NO, None, YES], "UNEX front haproxy"),
            (Sends::Nothing, [None, YES, None], "MISS front haproxy"),
            // A server that serves nobody proves nothing.
            (Sends::V2, [NO, NO, NO], ""),
            (Sends::Nothing, [None, NO, NO], ""),
            (Sends::Nothing, [None, None, None], ""),
        ] {
            assert_eq!(judged(&target(sends, None), served), expected, "{sends} {served:?}");
        }
        // The configuration says otherwise: so it is not the one that runs.
        let stale = target(Sends::V2, Some(Reads::Required(Versions::BOTH)));
        assert_eq!(judged(&stale, [NO, YES, None]), "UNEX back dovecot");
        let stale = target(Sends::Nothing, Some(Reads::No));
        assert_eq!(judged(&stale, [None, YES, None]), "MISS back dovecot");
    }

    #[test]
    fn where_configurations_disagree_nobody_is_asked() {
        for (sends, written, expected) in [
            (Sends::V2, None, true),
            (Sends::V2, Some(Reads::Unknown), true),
            (Sends::V2, Some(Reads::Required(Versions::V2)), true),
            (Sends::V1, Some(Reads::Required(Versions::V2)), false),
            (Sends::V2, Some(Reads::No), false),
            (Sends::Nothing, Some(Reads::No), true),
            (Sends::Nothing, Some(Reads::Required(Versions::BOTH)), false),
            (Sends::Unknown, None, false),
            (Sends::OtherWay, None, false),
        ] {
            assert_eq!(target(sends, written).is_worth_asking(), expected, "{sends} {written:?}");
        }
    }
}
