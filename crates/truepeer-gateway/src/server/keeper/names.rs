//! What the host names among a backend's addresses stand for: the latest answer, or the last good one.
//!
//! Called by the keeper, which looks names up beside each other and brings each answer here when it comes; it must not
//! know sockets or clocks.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::engine::Address;
use crate::rooms::backend::BackendAddress;

/// A host name and a port.
pub(super) type Name = (String, u16);

/// What is known of each name. Bounded by the names of one backend's configuration.
#[derive(Debug, Default)]
pub(super) struct Names(HashMap<Name, Vec<SocketAddr>>);

impl Names {
    /// The names among `addresses`, none twice.
    pub(super) fn of(addresses: &[BackendAddress]) -> Vec<Name> {
        let mut names = Vec::new();
        for address in addresses {
            if let BackendAddress::Host { name, port } = address {
                let name = (name.clone(), *port);
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        names
    }

    /// Takes the answer to one name; one that is no answer, or has no address, leaves the last good one.
    ///
    /// # Errors
    /// Why the last good answer stays.
    pub(super) fn take(&mut self, name: Name, answer: Result<Vec<SocketAddr>, String>) -> Result<(), String> {
        let last_good = self.0.entry(name).or_default();
        match answer {
            Ok(found) if found.is_empty() => Err("the name has no address".to_owned()),
            Ok(found) => {
                *last_good = found;
                Ok(())
            }
            Err(cause) => Err(cause),
        }
    }

    /// Whether each of `names` was answered, well or badly.
    pub(super) fn are_answered(&self, names: &[Name]) -> bool {
        names.iter().all(|name| self.0.contains_key(name))
    }

    /// `addresses` with each name replaced by what it stands for, none twice, in the order of the configuration.
    pub(super) fn stand_for(&self, addresses: &[BackendAddress]) -> Vec<Address> {
        let mut all = Vec::with_capacity(addresses.len());
        let mut add = |address| {
            if !all.contains(&address) {
                all.push(address);
            }
        };
        for address in addresses {
            match address {
                BackendAddress::Socket(addr) => add(Address::Tcp(*addr)),
                BackendAddress::Unix(path) => add(Address::Unix(path.clone())),
                BackendAddress::Program(exec) => add(Address::Program(Arc::clone(&exec.program))),
                BackendAddress::Host { name, port } => {
                    let found = self.0.get(&(name.clone(), *port)).into_iter().flatten();
                    found.copied().map(Address::Tcp).for_each(&mut add);
                }
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str) -> BackendAddress {
        BackendAddress::Host { name: name.to_owned(), port: 25 }
    }

    fn name(name: &str) -> Name {
        (name.to_owned(), 25)
    }

    fn tcp(last: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, last], 25))
    }

    fn stands_for(names: &Names, addresses: &[BackendAddress]) -> Vec<u8> {
        let last = |address: &Address| match address {
            Address::Tcp(SocketAddr::V4(addr)) => addr.ip().octets()[3],
            other => panic!("{other:?}"),
        };
        names.stand_for(addresses).iter().map(last).collect()
    }

    #[test]
    fn a_name_follows_its_answer_and_keeps_the_last_good_one() {
        let mut names = Names::default();
        let addresses = [host("mta.example"), BackendAddress::Socket(tcp(9)), host("mta.example")];
        assert_eq!(Names::of(&addresses), [name("mta.example")]);
        for (answer, expected, why) in [
            (Ok(vec![tcp(1), tcp(2)]), vec![1, 2, 9], None),
            (Ok(vec![tcp(3), tcp(9)]), vec![3, 9], None),
            (Err("no answer".to_owned()), vec![3, 9], Some("no answer")),
            (Ok(Vec::new()), vec![3, 9], Some("the name has no address")),
            (Ok(vec![tcp(4)]), vec![4, 9], None),
        ] {
            let taken = names.take(name("mta.example"), answer);
            assert_eq!(taken.err().as_deref(), why);
            assert_eq!(stands_for(&names, &addresses), expected);
        }
    }

    #[test]
    fn what_is_known_is_used_before_every_name_is_answered() {
        let mut names = Names::default();
        let addresses = [host("slow.example"), host("good.example"), BackendAddress::Socket(tcp(9))];
        let all = Names::of(&addresses);
        assert_eq!(stands_for(&names, &addresses), [9]);
        names.take(name("good.example"), Ok(vec![tcp(1)])).unwrap();
        assert_eq!(stands_for(&names, &addresses), [1, 9]);
        assert!(!names.are_answered(&all));
        names.take(name("slow.example"), Err("no answer".to_owned())).unwrap_err();
        assert!(names.are_answered(&all), "badly is answered, too");
        assert_eq!(stands_for(&names, &addresses), [1, 9]);
    }
}
