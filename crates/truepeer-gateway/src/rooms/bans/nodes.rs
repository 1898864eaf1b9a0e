//! Names of front doors that share bans: who ordered a ban that another one keeps.
//!
//! A million bans come from a handful of nodes, so the table holds numbers and each name once.

use core::fmt;
use std::sync::Arc;

/// The name of one node: up to [`NodeName::MAX_LEN`] letters, digits, `-`, `_` and `.`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeName(Arc<str>);

impl NodeName {
    /// The most bytes of a name; host names have fewer in practice.
    pub const MAX_LEN: usize = 64;

    /// Takes a text over; `None` if it cannot be a name.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let fits = (1..=Self::MAX_LEN).contains(&text.len()) && text.bytes().all(plain);
        fits.then(|| Self(text.into()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Stands for a name in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NodeNumber(u32);

impl NodeNumber {
    /// This node itself.
    pub(super) const OWN: Self = Self(0);
}

/// The names that are in use, numbered from 1.
#[derive(Debug, Clone, Default)]
pub(super) struct Nodes(Vec<NodeName>);

impl Nodes {
    /// The number of a name; `None` is this node. One name more than [`MAX_NODES`] shares the last one's.
    pub(super) fn number(&mut self, name: Option<&NodeName>) -> NodeNumber {
        let Some(name) = name else { return NodeNumber::OWN };
        let known = self.0.iter().position(|known| known == name);
        let at = known.unwrap_or_else(|| {
            if self.0.len() < MAX_NODES {
                self.0.push(name.clone());
            }
            self.0.len().saturating_sub(1)
        });
        NodeNumber(u32::try_from(at).unwrap_or(u32::MAX).saturating_add(1))
    }

    /// The name of a number; `None` is this node.
    pub(super) fn name(&self, number: NodeNumber) -> Option<NodeName> {
        let at = usize::try_from(number.0.checked_sub(1)?).ok()?;
        self.0.get(at).cloned()
    }
}

/// Names that are told apart: whoever can write to the store must not fill memory with names.
const MAX_NODES: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart_up_to_their_bound() {
        let name = |number: usize| NodeName::new(&format!("mx{number}")).unwrap();
        let mut nodes = Nodes::default();
        assert_eq!((nodes.number(None), nodes.name(NodeNumber::OWN)), (NodeNumber::OWN, None));
        for number in 0..MAX_NODES + 5 {
            nodes.number(Some(&name(number)));
        }
        assert_eq!(nodes.0.len(), MAX_NODES);
        let third = nodes.number(Some(&name(3)));
        assert_eq!(nodes.name(third), Some(name(3)));
    }

    #[test]
    fn what_cannot_be_a_name() {
        for text in ["", "a b", "a\tb", "caf\u{e9}", &"x".repeat(NodeName::MAX_LEN + 1)] {
            assert_eq!(NodeName::new(text), None, "{text:?}");
        }
        assert_eq!(NodeName::new("mx-1.example.org").unwrap().as_str(), "mx-1.example.org");
    }
}
