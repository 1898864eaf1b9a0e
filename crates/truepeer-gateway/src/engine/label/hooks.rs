//! Where the programs are called: in the control groups of backends, from when each is first needed on.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

use super::lack::Lack;
use super::loaded::Loaded;
use super::{Destination, cgroups};
use crate::engine::bpf::{Link, Program};

/// Every control group in which they are called.
#[derive(Debug, Default)]
pub(super) struct Hooks(Vec<Hooked>);

/// One of them.
#[derive(Debug)]
struct Hooked {
    number: u64,
    destination: Destination,
    /// Goes first when they go: nothing may be taken that is not said afterwards.
    _adopt: Link,
    _clients: Vec<Link>,
    destinations: Vec<Link>,
}

impl Hooks {
    /// Has the programs called in `folder`, all or none of them; nothing if they are already.
    pub(super) fn put(
        &mut self,
        loaded: &Loaded,
        folder: &Path,
        destination: Destination,
    ) -> Result<(), Lack> {
        let wrong = |error: &std::io::Error| Lack::linking(folder, error);
        let cgroup = File::open(folder).map_err(|error| wrong(&error))?;
        let number = cgroups::number(&cgroup).map_err(|error| wrong(&error))?;
        self.forget_the_gone();
        let link = |program: &Program| program.link(cgroup.as_fd()).map_err(|error| wrong(&error));
        let links = |programs: &[Program]| programs.iter().map(link).collect::<Result<Vec<_>, _>>();
        let destinations = |wanted| match wanted {
            Destination::Clients => links(&loaded.destinations),
            Destination::Own => Ok(Vec::new()),
        };
        if let Some(known) = self.0.iter_mut().find(|known| known.number == number) {
            if destination == Destination::Clients && known.destination == Destination::Own {
                known.destinations = destinations(destination)?;
                known.destination = destination;
            }
            return Ok(());
        }
        // Last is what takes labels: by then everything says them.
        let (clients, destinations) = (links(&loaded.clients)?, destinations(destination)?);
        let adopt = link(&loaded.adopt)?;
        self.0.push(Hooked { number, destination, _adopt: adopt, _clients: clients, destinations });
        Ok(())
    }

    /// A control group that was removed has no programs any more, and its number does not come again.
    fn forget_the_gone(&mut self) {
        self.0.retain(|known| known._adopt.cgroup().is_ok_and(|number| number == known.number));
    }
}
