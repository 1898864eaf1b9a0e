//! What the host names among a backend's addresses stand for: the latest answer, or the last good one.
//!
//! Called by the keeper with its own way to look a name up; it must not know sockets or clocks.

use std::collections::HashMap;
use std::net::SocketAddr;

use crate::engine::Address;
use crate::rooms::backend::BackendAddress;

/// The last good answer to each name. Bounded by the names of one backend's configuration.
#[derive(Debug, Default)]
pub(super) struct Names(HashMap<(String, u16), Vec<SocketAddr>>);

impl Names {
    /// `addresses` with each name replaced by what it stands for, none twice, in the order of the configuration.
    ///
    /// A name that cannot be looked up, or has no address, keeps its last good answer; `complain` hears why.
    pub(super) async fn look_up(
        &mut self,
        addresses: &[BackendAddress],
        resolve: impl AsyncFn(&str, u16) -> Result<Vec<SocketAddr>, String>,
        mut complain: impl FnMut(&str, String),
    ) -> Vec<Address> {
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
                BackendAddress::Host { name, port } => {
                    let last_good = self.0.entry((name.clone(), *port)).or_default();
                    match resolve(name, *port).await {
                        Ok(found) if found.is_empty() => complain(name, "the name has no address".to_owned()),
                        Ok(found) => *last_good = found,
                        Err(cause) => complain(name, cause),
                    }
                    last_good.iter().copied().map(Address::Tcp).for_each(&mut add);
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

    fn tcp(last: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, last], 25))
    }

    #[tokio::test]
    async fn a_name_follows_its_answer_and_keeps_the_last_good_one() {
        let mut names = Names::default();
        let addresses = [host("mta.example"), BackendAddress::Socket(tcp(9)), host("other.example")];
        for (answer, expected, complaints) in [
            (Ok(vec![tcp(1), tcp(2)]), vec![1, 2, 9], 0),
            (Ok(vec![tcp(3), tcp(9)]), vec![3, 9], 0),
            (Err("no answer".to_owned()), vec![3, 9], 2),
            (Ok(Vec::new()), vec![3, 9], 2),
            (Ok(vec![tcp(4)]), vec![4, 9], 0),
        ] {
            let mut heard = Vec::new();
            let found = names
                .look_up(
                    &addresses,
                    async |_, _| answer.clone(),
                    |name, why| heard.push((name.to_owned(), why)),
                )
                .await;
            let expected: Vec<_> = expected.into_iter().map(|last| Address::Tcp(tcp(last))).collect();
            assert_eq!(found, expected, "{answer:?}");
            assert_eq!(heard.len(), complaints, "{heard:?}");
        }
    }

    #[tokio::test]
    async fn one_name_that_fails_leaves_the_others_alone() {
        let mut names = Names::default();
        let resolve = async |name: &str, _| match name {
            "good.example" => Ok(vec![tcp(1)]),
            _ => Err("no answer".to_owned()),
        };
        let found = names.look_up(&[host("bad.example"), host("good.example")], resolve, |_, _| {}).await;
        assert_eq!(found, [Address::Tcp(tcp(1))]);
    }
}
