//! Measured figures, each with the record that has it. Times move by a tenth or more from machine to machine.

/// CPU of a short connection, its record included.
pub const CPU_US_PER_CONNECTION: f64 = 79.0;
/// CPU for relaying.
pub const CPU_S_PER_GB: f64 = 0.205;
/// Of the program, for an idle relayed session.
pub const BYTES_PER_SESSION: f64 = 656.0;
/// Of the kernel, for its two sockets.
pub const KERNEL_BYTES_PER_SESSION: f64 = 8192.0;
pub const DESCRIPTORS_PER_SESSION: f64 = 2.0;
/// Of the program, for an IPv4 ban with a reason of 28 bytes.
pub const BYTES_PER_BAN: f64 = 80.0;
/// The bound of one table.
pub const BANS_PER_NODE: f64 = 1e6;
/// Of the store, for the same.
pub const STORE_BYTES_PER_BAN: f64 = 151.0;
/// An entry of that kind on the wire: network, two times, seconds, node, reason and what is around them.
pub const BYTES_PER_CHANGE: f64 = 110.0;
/// By the CPU time of a release build.
pub const BANS_LOADED_PER_SECOND: f64 = 580_000.0;
pub const STORE_US_PER_ORDER: f64 = 6.3;
pub const STORE_US_PER_COMMAND: f64 = 9.6;
/// Ten questions whether there is a change, and a look.
pub const IDLE_COMMANDS_PER_NODE: f64 = 11.0;

/// What each stands on.
pub const SOURCES: [(&str, &str, &str); 9] = [
    ("CPU of a short connection", "79 us", "bench/record/handoffs-2026-11-30.md"),
    ("CPU for a GB", "0.205 s", "bench/record/handoffs-2026-11-30.md"),
    ("memory of an idle session", "656 bytes", "bench/record/gateway-2026-12-01.md"),
    ("the kernel's, two sockets", "8 KB", "docs/performance.md"),
    ("memory of a ban", "80 bytes", "bench/record/shared-2026-12-01.md"),
    ("the store's memory of a ban", "151 bytes", "bench/record/shared-2026-12-01.md"),
    ("the store's CPU for an order", "6.3 us", "bench/record/shared-2026-11-30.md"),
    ("the store's CPU for a question", "9.6 us", "bench/record/shared-2026-11-30.md"),
    ("bans read by a second of CPU", "580,000", "bench/record/shared-2026-12-01.md"),
];
