//! YAML, JSON and TOML as one kind of tree, each node with its line; bounded, whatever the text holds.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{File, Place, Unread};

/// The most nodes of one text; aliases can multiply what is written.
const MAX_NODES: usize = 200_000;
/// Nodes within one another.
const MAX_DEPTH: usize = 64;

/// A value and where it stands: for a key's value, the line of the key.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) place: Place,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Text(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

impl Node {
    /// The value of that key; letter case and underscores do not count, as in Traefik's and Envoy's files.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        self.entries().iter().find(|(name, _)| alike(name, key)).map(|(_, value)| value)
    }

    /// The value under keys within one another.
    pub(super) fn at(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |node, key| node.get(key))
    }

    pub(super) fn entries(&self) -> &[(String, Self)] {
        match &self.kind {
            Kind::Map(entries) => entries,
            Kind::Text(_) | Kind::List(_) => &[],
        }
    }

    /// The elements of a list; whatever stands alone counts as a list of one.
    pub(super) fn items(&self) -> &[Self] {
        match &self.kind {
            Kind::List(items) => items,
            Kind::Text(text) if text.is_empty() => &[],
            Kind::Text(_) | Kind::Map(_) => std::slice::from_ref(self),
        }
    }

    pub(super) fn text(&self) -> &str {
        match &self.kind {
            Kind::Text(text) => text,
            Kind::List(_) | Kind::Map(_) => "",
        }
    }

    /// The text of that key.
    pub(super) fn text_of(&self, key: &str) -> &str {
        self.get(key).map_or("", Self::text)
    }

    pub(super) fn is_map(&self) -> bool {
        matches!(self.kind, Kind::Map(_))
    }

    /// Puts a value under keys within one another, and what is missing of them.
    fn put(&mut self, path: &[&str], kind: Kind, place: &Place) {
        let Some((first, rest)) = path.split_first() else {
            self.kind = kind;
            return;
        };
        if !self.is_map() {
            self.kind = Kind::Map(Vec::new());
        }
        let Kind::Map(entries) = &mut self.kind else { return };
        match entries.iter_mut().find(|(name, _)| alike(name, first)) {
            Some((_, next)) => next.put(rest, kind, place),
            None => {
                let mut next = Self { place: place.clone(), kind: Kind::Map(Vec::new()) };
                next.put(rest, kind, place);
                entries.push(((*first).to_owned(), next));
            }
        }
    }

    /// Every node below that has `key`, itself included, in their order.
    pub(super) fn find<'n>(&'n self, key: &str, found: &mut Vec<&'n Self>) {
        if self.get(key).is_some() {
            found.push(self);
        }
        match &self.kind {
            Kind::Map(entries) => entries.iter().for_each(|(_, value)| value.find(key, found)),
            Kind::List(items) => items.iter().for_each(|item| item.find(key, found)),
            Kind::Text(_) => {}
        }
    }
}

fn alike(one: &str, other: &str) -> bool {
    let plain = |text: &'_ str| -> Vec<u8> { text.bytes().filter(|byte| *byte != b'_').collect() };
    one == other
        // Underscores are rare, and copies are not free.
        || one.eq_ignore_ascii_case(other)
        || (one.contains('_') || other.contains('_')) && plain(one).eq_ignore_ascii_case(&plain(other))
}

/// Settings with dots in their names, such as labels and flags, as a tree.
pub(super) fn of_pairs(pairs: &[(String, String, Place)]) -> Option<Node> {
    let (_, _, first) = pairs.first()?;
    let mut root = Node { place: first.clone(), kind: Kind::Map(Vec::new()) };
    for (key, value, place) in pairs {
        let text = |text: &str| Node { place: place.clone(), kind: Kind::Text(text.trim().to_owned()) };
        // Lists are parted by commas there.
        let kind = if value.contains(',') && !value.contains('`') {
            Kind::List(value.split(',').map(text).collect())
        } else {
            text(value).kind
        };
        let parts: Vec<&str> = key.split('.').take(MAX_DEPTH).collect();
        root.put(&parts, kind, place);
    }
    Some(root)
}

/// The documents of a text in YAML or JSON.
pub(super) fn yaml(file: &File<'_>) -> Result<Vec<Node>, Unread> {
    let mut build =
        Build { file, lines: file.text.lines().collect(), left: MAX_NODES, anchors: HashMap::new() };
    let mut open: Vec<Open> = Vec::new();
    let mut documents = Vec::new();
    for event in Parser::new_from_str(file.text) {
        let (event, span) = event.map_err(|error| build.unread(error.marker().line(), error.info()))?;
        let line = span.start.line();
        let done = match event {
            Event::Scalar(text, _, anchor, _) => {
                let is_key = open.last().is_some_and(|open| open.is_map && open.key.is_none());
                if is_key {
                    if let Some(open) = open.last_mut() {
                        open.key = Some((text.into_owned(), line));
                    }
                    continue;
                }
                Some((build.node(line, Kind::Text(text.into_owned()))?, anchor))
            }
            Event::SequenceStart(anchor, _) | Event::MappingStart(anchor, _) => {
                if open.len() >= MAX_DEPTH {
                    return Err(build.unread(line, "more values in one another than are read here"));
                }
                let is_map = matches!(event, Event::MappingStart(..));
                open.push(Open { is_map, line, anchor, ..Open::default() });
                None
            }
            Event::SequenceEnd | Event::MappingEnd => match open.pop() {
                Some(closed) => {
                    let kind =
                        if closed.is_map { Kind::Map(closed.entries) } else { Kind::List(closed.items) };
                    Some((build.node(closed.line, kind)?, closed.anchor))
                }
                None => None,
            },
            Event::Alias(anchor) => {
                let named = build.anchors.get(&anchor).cloned();
                let node = match named {
                    Some(node) => node,
                    None => build.node(line, Kind::Text(String::new()))?,
                };
                build.pay(count(&node), line)?;
                Some((node, 0))
            }
            _ => None,
        };
        let Some((node, anchor)) = done else { continue };
        if anchor > 0 {
            build.anchors.insert(anchor, node.clone());
            build.pay(count(&node), line)?;
        }
        match open.last_mut() {
            Some(open) => open.take(node, &build),
            None => documents.push(node),
        }
    }
    Ok(documents)
}

/// A list or map that is not closed yet.
#[derive(Debug, Default)]
struct Open {
    is_map: bool,
    line: usize,
    anchor: usize,
    key: Option<(String, usize)>,
    items: Vec<Node>,
    entries: Vec<(String, Node)>,
    /// Where each key of a map is among its entries.
    keys: HashMap<String, usize>,
}

impl Open {
    fn take(&mut self, mut node: Node, build: &Build<'_, '_>) {
        if !self.is_map {
            self.items.push(node);
            return;
        }
        // A key that is no text has no meaning in these files.
        let Some((key, line)) = self.key.take() else {
            self.key = Some((String::new(), node.place.line));
            return;
        };
        if key == "<<" {
            // What the map says itself stands, wherever it says it: `get` takes the first.
            for (key, value) in node.items().iter().flat_map(Node::entries) {
                if !self.keys.contains_key(key) {
                    self.put(key.clone(), value.clone());
                }
            }
            return;
        }
        node.place = build.place(line);
        self.put(key, node);
    }

    /// A key that comes again replaces its value: merged ones make room for one's own.
    fn put(&mut self, key: String, node: Node) {
        match self.keys.get(&key).and_then(|at| self.entries.get_mut(*at)) {
            Some(entry) => entry.1 = node,
            None => {
                self.keys.insert(key.clone(), self.entries.len());
                self.entries.push((key, node));
            }
        }
    }
}

struct Build<'f, 't> {
    file: &'f File<'t>,
    lines: Vec<&'t str>,
    left: usize,
    anchors: HashMap<usize, Node>,
}

impl Build<'_, '_> {
    fn place(&self, line: usize) -> Place {
        Place::new(self.file.name, line, line.checked_sub(1).and_then(|at| self.lines.get(at)).unwrap_or(&""))
    }

    fn node(&mut self, line: usize, kind: Kind) -> Result<Node, Unread> {
        self.pay(1, line)?;
        Ok(Node { place: self.place(line), kind })
    }

    fn pay(&mut self, nodes: usize, line: usize) -> Result<(), Unread> {
        match self.left.checked_sub(nodes) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(self.unread(line, "more values than are read here")),
        }
    }

    fn unread(&self, line: usize, why: &str) -> Unread {
        Unread { place: self.place(line), why: format!("it cannot be read: {why}") }
    }
}

fn count(node: &Node) -> usize {
    let below = match &node.kind {
        Kind::Text(_) => 0,
        Kind::List(items) => items.iter().map(count).fold(0, usize::saturating_add),
        Kind::Map(entries) => entries.iter().map(|(_, value)| count(value)).fold(0, usize::saturating_add),
    };
    below.saturating_add(1)
}

/// A text in TOML.
pub(super) fn toml(file: &File<'_>) -> Result<Node, Unread> {
    let build = Build { file, lines: file.text.lines().collect(), left: MAX_NODES, anchors: HashMap::new() };
    let breaks: Vec<usize> = file.text.match_indices('\n').map(|(at, _)| at).collect();
    let line_of = |offset: usize| breaks.partition_point(|at| *at < offset).saturating_add(1);
    match DeTable::parse(file.text) {
        Ok(table) => Ok(Node { place: build.place(1), kind: table_of(table.get_ref(), &build, &line_of) }),
        Err(error) => Err(build.unread(error.span().map_or(0, |span| line_of(span.start)), error.message())),
    }
}

fn table_of(table: &DeTable<'_>, build: &Build<'_, '_>, line_of: &dyn Fn(usize) -> usize) -> Kind {
    let entry = |(key, value): (&Spanned<std::borrow::Cow<'_, str>>, &Spanned<DeValue<'_>>)| {
        let place = build.place(line_of(key.span().start));
        (key.get_ref().to_string(), Node { place, kind: value_of(value, build, line_of) })
    };
    Kind::Map(table.iter().map(entry).collect())
}

fn value_of(value: &Spanned<DeValue<'_>>, build: &Build<'_, '_>, line_of: &dyn Fn(usize) -> usize) -> Kind {
    match value.get_ref() {
        DeValue::String(text) => Kind::Text(text.to_string()),
        DeValue::Integer(number) => Kind::Text(number.to_string()),
        DeValue::Float(number) => Kind::Text(number.to_string()),
        DeValue::Boolean(flag) => Kind::Text(flag.to_string()),
        DeValue::Datetime(time) => Kind::Text(time.to_string()),
        DeValue::Array(items) => Kind::List(
            items
                .iter()
                .map(|item| Node {
                    place: build.place(line_of(item.span().start)),
                    kind: value_of(item, build, line_of),
                })
                .collect(),
        ),
        DeValue::Table(table) => table_of(table, build, line_of),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Node {
        yaml(&File { name: "x.yaml", text }).unwrap().remove(0)
    }

    #[test]
    fn values_are_found_with_the_line_of_their_key() {
        let node = one("a:\n  B: [1, two]\n  c:\n    - x: y\n");
        assert_eq!(node.at(&["a", "b"]).unwrap().items()[1].text(), "two");
        assert_eq!(node.at(&["a", "b"]).unwrap().place.to_string(), "x.yaml:2: B: [1, two]");
        assert_eq!(node.at(&["a", "c"]).unwrap().items()[0].get("x").unwrap().place.line, 4);
        let json = one("{\"a\": {\n \"b\": true}}");
        assert_eq!(json.at(&["a", "b"]).unwrap().place.line, 2);
    }

    #[test]
    fn anchors_are_filled_in_and_ones_own_keys_stand() {
        let node = one("base: &b\n  image: x\n  ports: [25]\nmail:\n  <<: *b\n  image: y\n");
        assert_eq!(node.at(&["mail", "image"]).unwrap().text(), "y");
        assert_eq!(node.at(&["mail", "ports"]).unwrap().items()[0].text(), "25");
    }

    #[test]
    fn what_multiplies_or_nests_without_end_is_refused() {
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
        for n in 1..9 {
            let inner = vec![format!("*a{}", n - 1); 9].join(", ");
            bomb.push_str(&format!("a{n}: &a{n} [{inner}]\n"));
        }
        let why = yaml(&File { name: "x", text: &bomb }).unwrap_err().why;
        assert!(why.contains("more values than"), "{why}");
        let deep = "[".repeat(10_000);
        assert!(yaml(&File { name: "x", text: &deep }).is_err());
    }

    #[test]
    fn toml_has_lines_too() {
        let text = "[entryPoints.smtp]\naddress = \":25\"\n[entryPoints.smtp.proxyProtocol]\ntrustedIPs = [\n \"10.0.0.1\"]\n";
        let node = toml(&File { name: "t.toml", text }).unwrap();
        let trusted = node.at(&["entrypoints", "smtp", "proxyprotocol", "trustedips"]).unwrap();
        assert_eq!((trusted.place.line, trusted.items()[0].place.line), (4, 5));
        assert_eq!(toml(&File { name: "t.toml", text: "a = 1\nb = [\n" }).unwrap_err().place.file, "t.toml");
    }
}
