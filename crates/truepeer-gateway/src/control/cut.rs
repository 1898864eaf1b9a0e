//! Cuts what clients have open whom a new ban keeps out; asked for bans of this front door's operator and of others'.

use std::time::SystemTime;

use crate::facts::address::ClientIp;
use crate::rooms::bans::{Ban, Bans};
use crate::server::View;

/// Cuts the connections of clients that `bans` keep out, save those whom a list admits; returns how many.
pub(super) fn cut(view: &View, bans: impl IntoIterator<Item = Ban>, now: SystemTime) -> u64 {
    // The great table has taken them, so none is refused here.
    let (bans, _) = Bans::restore(bans, &[], now);
    if bans.is_empty() {
        return 0;
    }
    let cut = view.registry.cut(|entry| {
        let client = entry.client().map(ClientIp::from);
        client.is_some_and(|client| view.denied.ends(&bans, entry.listener(), client))
    });
    u64::try_from(cut).unwrap_or(u64::MAX)
}
