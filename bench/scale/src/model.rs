//! The calculation: a size in, figures out, with what each was computed from.

use std::fmt::Write as _;

use crate::measured as m;

/// How much there is of everything, over all front doors.
pub struct Size {
    pub sessions: f64,
    pub new_per_second: f64,
    pub gigabytes_per_second: f64,
    pub bans: f64,
    pub orders_per_second: f64,
    pub nodes: f64,
    pub cores_per_node: f64,
}

impl Size {
    /// A million sessions, a hundred thousand new ones a second, ten million bans.
    pub const ASKED_FOR: Self = Self {
        sessions: 1e6,
        new_per_second: 1e5,
        gigabytes_per_second: 1.0,
        bans: 1e7,
        orders_per_second: 100.0,
        nodes: 20.0,
        cores_per_node: 2.0,
    };
}

/// What it takes.
pub struct Needs {
    pub cores: f64,
    pub connections_per_node: f64,
    pub memory_of_sessions: f64,
    pub kernel_of_sessions: f64,
    pub descriptors_per_node: f64,
    pub memory_of_bans: f64,
    pub tables: f64,
    pub store_memory: f64,
    pub store_cpu: f64,
    pub store_out_per_second: f64,
    pub store_idle_commands: f64,
    pub load_seconds: f64,
    pub load_bytes: f64,
}

/// Adds up.
pub fn needs(size: &Size) -> Needs {
    let per_connection = m::CPU_US_PER_CONNECTION / 1e6;
    let per_node = size.sessions / size.nodes;
    Needs {
        cores: size.new_per_second * per_connection + size.gigabytes_per_second * m::CPU_S_PER_GB,
        connections_per_node: size.new_per_second / size.nodes,
        memory_of_sessions: per_node * m::BYTES_PER_SESSION,
        kernel_of_sessions: per_node * m::KERNEL_BYTES_PER_SESSION,
        descriptors_per_node: per_node * m::DESCRIPTORS_PER_SESSION,
        memory_of_bans: size.bans * m::BYTES_PER_BAN,
        tables: size.bans / m::BANS_PER_NODE,
        store_memory: size.bans * m::STORE_BYTES_PER_BAN,
        store_cpu: size.orders_per_second * m::STORE_US_PER_ORDER / 1e6
            + size.nodes * m::IDLE_COMMANDS_PER_NODE * m::STORE_US_PER_COMMAND / 1e6,
        store_out_per_second: size.orders_per_second * m::BYTES_PER_CHANGE * size.nodes,
        store_idle_commands: size.nodes * m::IDLE_COMMANDS_PER_NODE,
        load_seconds: size.bans / m::BANS_LOADED_PER_SECOND,
        load_bytes: size.bans * m::BYTES_PER_CHANGE,
    }
}

/// As text.
pub fn report(size: &Size) -> String {
    let needs = needs(size);
    let mut text = String::new();
    let mib = |bytes: f64| format!("{:.0} MiB", bytes / f64::from(1 << 20));
    let rows = [
        ("CPU of all front doors", format!("{:.1} cores busy", needs.cores)),
        ("the same, at half load", format!("{:.0} cores", needs.cores * 2.0)),
        ("new connections of one front door", format!("{:.0} a second", needs.connections_per_node)),
        (
            "CPU of one front door",
            format!("{:.2} of {:.0} cores", needs.cores / size.nodes, size.cores_per_node),
        ),
        ("sessions: memory of one front door", mib(needs.memory_of_sessions)),
        ("sessions: the kernel's memory there", mib(needs.kernel_of_sessions)),
        ("sessions: descriptors there", format!("{:.0}", needs.descriptors_per_node)),
        ("bans: memory of each front door", mib(needs.memory_of_bans)),
        ("bans: tables of 1,000,000 that they would fill", format!("{:.0}", needs.tables)),
        ("bans: memory of the store", mib(needs.store_memory)),
        ("store: CPU", format!("{:.1} % of a core", needs.store_cpu * 100.0)),
        ("store: commands while nothing happens", format!("{:.0} a second", needs.store_idle_commands)),
        ("store: changes out to all", format!("{:.1} KB a second", needs.store_out_per_second / 1e3)),
        (
            "a new front door: reading all bans",
            format!("{:.0} s, {}", needs.load_seconds, mib(needs.load_bytes)),
        ),
    ];
    let _ = writeln!(
        text,
        "computed for {:.0} sessions, {:.0} new a second, {} GB/s, {:.0} bans, {:.0} orders a second, {:.0} front doors\n",
        size.sessions,
        size.new_per_second,
        size.gigabytes_per_second,
        size.bans,
        size.orders_per_second,
        size.nodes
    );
    for (what, figure) in rows {
        let _ = writeln!(text, "{what:<48} {figure}");
    }
    let _ = writeln!(text, "\nfrom");
    for (what, figure, source) in m::SOURCES {
        let _ = writeln!(text, "{what:<48} {figure:<14} {source}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twice_the_size_needs_twice_as_much() {
        let once = needs(&Size::ASKED_FOR);
        let size = Size { sessions: 2e6, new_per_second: 2e5, gigabytes_per_second: 2.0, ..Size::ASKED_FOR };
        let twice = needs(&size);
        assert!((twice.cores / once.cores - 2.0).abs() < 1e-9);
        assert!((twice.memory_of_sessions / once.memory_of_sessions - 2.0).abs() < 1e-9);
        assert!((twice.store_cpu / once.store_cpu - 1.0).abs() < 1e-9);
    }
}
