//! Counters: what operators' dashboards and alerts read, in OpenMetrics text or in the older text of Prometheus.
//!
//! The walk of a connection counts into a [`Shard`], one for each worker and listener, so that no two cores write to
//! one cache line; [`render`] sums them when somebody asks. Values that exist elsewhere (open descriptors, backends,
//! the limits table) come in with the request, as [`Gauges`].
//! Every series exists from the start at zero, and labels come from closed sets: listeners and backends of the
//! configuration, and codes of this program. An address is never a label: it must not be known here.
//!
//! The text format is written by hand: counting is ours in any case, and what a registry crate would add to it is the
//! hundred lines of `text`, which two foreign parsers have read.

mod family;
mod histogram;
mod label;
mod render;
mod shard;
mod text;
mod totals;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub use label::{Direction, HealthAnswer, TimedRoom};
pub use render::{BackendGauge, Gauges, render};
pub use shard::Shard;
pub use text::Format;
pub use totals::{Counts, Distribution, Totals};

/// The shards of all workers.
///
/// Bounded: one for each worker and each listener that was ever configured in this process. A removed listener keeps
/// its series, since a counter that vanishes and comes back looks like a restart.
#[derive(Debug, Default)]
pub struct Metrics(Mutex<Vec<(usize, Arc<Shard>)>>);

impl Metrics {
    /// The shard of `worker` for `listener`; the same one each time.
    #[must_use]
    pub fn shard(&self, worker: usize, listener: &Arc<str>) -> Arc<Shard> {
        let mut shards = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = shards.iter().find(|(of, shard)| *of == worker && shard.listener() == listener);
        if let Some((_, shard)) = known {
            return Arc::clone(shard);
        }
        let shard = Arc::new(Shard::new(Arc::clone(listener)));
        shards.push((worker, Arc::clone(&shard)));
        shard
    }

    /// Everything as text, with `gauges` as they are now.
    #[must_use]
    pub fn render(&self, gauges: &Gauges, format: Format) -> String {
        render(&self.shards(), gauges, format)
    }

    fn shards(&self) -> Vec<Arc<Shard>> {
        let shards = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shards.iter().map(|(_, shard)| Arc::clone(shard)).collect()
    }
}

/// Whole microseconds; enough for half a million years.
fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
