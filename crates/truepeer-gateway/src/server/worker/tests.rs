//! What a connection costs while it only lasts.

use super::*;

/// The size of what `make` returns; it is never called.
fn size_of_made<A, B, C, D, E, F>(_: impl FnOnce(A, B, C, D, E) -> F) -> usize {
    size_of::<F>()
}

#[test]
fn a_relayed_connection_is_one_future_of_a_kilobyte_at_most() {
    let serve = size_of_made(|arrival, door, desk, counters, tools: &'static Tools| {
        serve(arrival, door, desk, counters, tools)
    });
    assert!(serve <= 992, "a connection: {serve}");
    let walk = size_of_made(
        |arrival, door: &'static Door, desk: &'static WorkerContext, seen: &'static mut Observer, ()| {
            connection::walk(arrival, door, desk, seen)
        },
    );
    assert!(walk <= 432, "its walk: {walk}");
    assert!(size_of::<Record>() <= 448, "its record: {}", size_of::<Record>());
}
