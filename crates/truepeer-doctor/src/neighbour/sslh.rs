//! sslh: its `listen` and `protocols` lists.

use super::tokens::{Token, tokens, values};
use super::{
    Address, Connect, File, Host, Listen, ListenTls, Neighbour, Protocol, Reads, Sends, Trust, Unread,
    Versions,
};
use crate::Product;

/// Reads the texts as one configuration.
pub(super) fn read(files: &[File<'_>]) -> Vec<Neighbour> {
    let names: Vec<_> = files.iter().map(|file| file.name).collect();
    let mut out = Neighbour::new(Product::Sslh, names.join(", "));
    let all: Vec<Token> = files.iter().flat_map(|file| tokens(file.name, file.text)).collect();
    // Its own client's address, by the kernel, for every protocol.
    let transparent = all.windows(3).any(|three| {
        matches!(three, [key, mark, value] if key.is("transparent") && (mark.is(":") || mark.is("=")) && value.is("true"))
    });
    for group in groups(&all, "listen") {
        listen(&group, &mut out);
    }
    let reads = out.listens.iter().any(|listen| matches!(listen.header, Reads::Required(_)));
    for group in groups(&all, "protocols") {
        connect(&group, transparent, reads, &mut out);
    }
    vec![out]
}

/// One group of a list.
struct Group<'t> {
    values: Vec<(&'t str, &'t Token)>,
    first: &'t Token,
}

impl<'t> Group<'t> {
    fn get(&self, key: &str) -> Option<&'t Token> {
        self.values.iter().find(|(known, _)| *known == key).map(|(_, token)| *token)
    }

    fn address(&self) -> Option<Address> {
        let host = self.get("host").map_or("", |token| token.text.as_str());
        let port = self.get("port")?;
        Some(Address::tcp(Host::parse(host), port.text.parse().ok()?))
    }
}

/// The groups of a list: `name: ( { ... }, { ... } );`.
fn groups<'t>(all: &'t [Token], name: &str) -> Vec<Group<'t>> {
    let begins = |window: &[Token]| matches!(window, [key, mark, open] if key.is(name) && (mark.is(":") || mark.is("=")) && open.is("("));
    let Some(begin) = all.windows(3).position(begins) else { return Vec::new() };
    let mut found = Vec::new();
    let mut at = begin.saturating_add(3);
    while let Some(token) = all.get(at) {
        if token.is(")") {
            break;
        }
        at = at.saturating_add(1);
        if token.is("{") {
            let (values, end) = values(all, at);
            let first = values.first().map_or(token, |(_, value)| *value);
            found.push(Group { values, first });
            at = end.saturating_add(1);
        }
    }
    found
}

fn listen(group: &Group<'_>, out: &mut Neighbour) {
    let place = group.get("port").unwrap_or(group.first).place.clone();
    let Some(address) = group.address() else {
        let why = "the port is a name that only this machine's /etc/services knows".to_owned();
        out.unread.push(Unread { place, why });
        return;
    };
    if group.get("is_udp").is_some_and(|token| token.is("true")) {
        return;
    }
    let mut listen = Listen::new(address.to_string(), place);
    listen.addresses.push(address);
    // It looks at the first bytes and passes TLS through.
    listen.tls = ListenTls::Passes;
    if let Some(switch) = group.get("proxyprotocol").filter(|token| token.is("true")) {
        listen.header = Reads::Required(Versions::BOTH);
        listen.header_place = switch.place.clone();
        listen.trust = Trust::Everybody;
    }
    out.listens.push(listen);
}

fn connect(group: &Group<'_>, transparent: bool, reads: bool, out: &mut Neighbour) {
    let place = group.get("port").unwrap_or(group.first).place.clone();
    let name = group.get("name").map_or("", |token| token.text.as_str());
    if group.get("is_unix").is_some_and(|token| token.is("true")) {
        return;
    }
    let Some(address) = group.address() else {
        let why = "the port is a name that only this machine's /etc/services knows".to_owned();
        out.unread.push(Unread { place, why });
        return;
    };
    let mut connect = Connect::new(name, place, address);
    connect.protocol = (name == "http").then_some(Protocol::Http);
    connect.serves = (0..out.listens.len()).collect();
    let own = group.get("transparent").is_some_and(|token| token.is("true"));
    match group.get("proxyprotocol") {
        Some(token) => {
            connect.sends_place = token.place.clone();
            connect.sends = match token.text.as_str() {
                "0" => Sends::Nothing,
                "1" => Sends::V1,
                "2" => Sends::V2,
                _ => Sends::Unknown,
            };
        }
        None if transparent || own => connect.sends = Sends::OtherWay,
        // What came is passed on as it is.
        None if reads => connect.sends = Sends::Unknown,
        None => {}
    }
    out.connects.push(connect);
}
