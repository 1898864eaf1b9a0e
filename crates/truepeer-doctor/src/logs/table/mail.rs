//! Mail servers in general, and what guards them: one row for each text.

use super::{Only, Row};
use crate::change::NEVER_BAN;
use crate::{Class, Confidence, Product, Side};

/// See the module.
pub(super) const ROWS: &[Row] = &[
    Row {
        id: "talk-too-soon",
        product: None,
        class: Class::Unex,
        side: Side::Back,
        confidence: Confidence::Likely,
        needs: &[&["talk too soon"]],
        only: Only::Any,
        quote: &[],
        cause: "the server got bytes before its greeting: a header that it does not read",
        change: "nodemailer smtp-server: `new SMTPServer({ useProxy: true })`; or take `send-proxy` away at the proxy",
    },
    Row {
        id: "pipelining",
        product: None,
        class: Class::Unex,
        side: Side::Back,
        confidence: Confidence::Likely,
        needs: &[&["pipelining is not allowed"]],
        only: Only::Any,
        quote: &[],
        cause: "a header and the first command came in one piece, and the server reads no header",
        change: "midi-smtp-server: `proxy_extension: true`; or take `send-proxy` away at the proxy",
    },
    Row {
        id: "mailu-rate",
        product: Some(Product::Mailu),
        class: Class::Ban,
        side: Side::Both,
        confidence: Confidence::Possible,
        needs: &[&["temporary authentication failure"], &["rate-limit", "rate limit"]],
        only: Only::Any,
        quote: &[],
        cause: "the limit of logins holds for one address: behind a proxy without the PROXY protocol that is everybody's",
        change: "Mailu: `PROXY_PROTOCOL=mail` and `REAL_IP_FROM=ADDRESS-OF-THE-PROXY` in mailu.env, and let the proxy send the header; only for HTTP `REAL_IP_HEADER=X-Forwarded-For`",
    },
    Row {
        id: "gateway-name",
        product: None,
        class: Class::Ban,
        side: Side::Both,
        confidence: Confidence::Likely,
        needs: &[
            &["could not be resolved"],
            &["172.16.", "172.17.", "172.18.", "172.19.", "172.2", "172.3", "192.168.", "10."],
        ],
        only: Only::Gateway,
        quote: &[],
        cause: "the client is {peer}, a private address: a proxy or container gateway behind which every client hides",
        change: NEVER_BAN,
    },
    Row {
        id: "fail2ban-gateway",
        product: None,
        class: Class::Ban,
        side: Side::Back,
        confidence: Confidence::Likely,
        needs: &[&["] ban "], &["fail2ban", "notice"]],
        only: Only::Near,
        quote: &[],
        cause: "fail2ban bans {peer}, a private address: if it is your proxy or a container gateway, nobody gets in",
        change: "`fail2ban-client set JAIL unbanip {peer}` and `ignoreip = 127.0.0.1/8 {peer}` in jail.local; then let the server log the client (PROXY protocol), and ban at the front (`truepeer deny`)",
    },
];
