//! Rules of nftables by which nobody but truepeer reaches its backends. Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// Where backends are, and who may connect there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GuardedBackends {
    /// Backends on this machine: the ports at each address, `25` or `20000-20010`.
    pub here: BTreeMap<IpAddr, Vec<String>>,
    /// Backends elsewhere, by their machine.
    pub there: BTreeMap<String, OtherHost>,
}

/// The backends of one other machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OtherHost {
    /// Their ports, likewise.
    pub ports: Vec<String>,
    /// Where we come from.
    pub from: Vec<IpAddr>,
}

impl GuardedBackends {
    /// The rules: a file for `nft -f`. Those of other machines are comments, unless all backends are on one of them.
    #[must_use]
    pub fn rules(&self, user: &str) -> String {
        let here = if self.here.is_empty() { String::new() } else { here(&self.here, user) };
        let alone = self.here.is_empty() && self.there.len() == 1;
        let there = self.there.iter().map(|(machine, elsewhere)| {
            let rules = format!("# on {machine}\n{}", there(elsewhere));
            if alone { rules } else { commented(&rules) }
        });
        let there: Vec<_> = there.collect();
        [here, there.join("\n")].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n")
    }
}

/// Every line as a comment that can be taken out.
fn commented(rules: &str) -> String {
    rules
        .lines()
        .map(|line| if line.starts_with('#') { format!("{line}\n") } else { format!("#  {line}\n") })
        .collect()
}

/// The table is made anew each time, so that the file can be loaded again.
const TABLE: &str =
    "table inet truepeer_backends\ndelete table inet truepeer_backends\ntable inet truepeer_backends {\n";

fn here(backends: &BTreeMap<IpAddr, Vec<String>>, user: &str) -> String {
    let (mut output, mut input) = (String::new(), String::new());
    for (ip, ports) in backends {
        let to = format!("{} daddr {ip} tcp dport {{ {} }} ct state new", family(*ip), listed(ports));
        output.push_str(&format!("    {to} meta skuid != \"{user}\" reject with tcp reset\n"));
        input.push_str(&format!("    iifname != \"lo\" {to} reject with tcp reset\n"));
    }
    format!(
        "# On this machine: no other user, and no other machine, reaches the backends.\n{TABLE}  chain output {{\n    type \
         filter hook output priority filter\n{output}  }}\n  chain input {{\n    type filter hook input priority \
         filter\n{input}  }}\n}}\n"
    )
}

fn family(ip: IpAddr) -> &'static str {
    if ip.is_ipv4() { "ip" } else { "ip6" }
}

fn listed<T: ToString + Ord>(all: &[T]) -> String {
    let mut all: Vec<_> = all.iter().collect();
    all.sort();
    all.dedup();
    all.iter().map(|one| one.to_string()).collect::<Vec<_>>().join(", ")
}

fn there(elsewhere: &OtherHost) -> String {
    let ports = listed(&elsewhere.ports);
    let mut rules = String::new();
    for v4 in [true, false] {
        let from: Vec<IpAddr> = elsewhere.from.iter().copied().filter(|ip| ip.is_ipv4() == v4).collect();
        if let Some(first) = from.first() {
            rules.push_str(&format!(
                "    {} saddr {{ {} }} tcp dport {{ {ports} }} ct state new accept\n",
                family(*first),
                listed(&from)
            ));
        }
    }
    format!(
        "{TABLE}  chain input {{\n    type filter hook input priority filter\n    iifname \"lo\" accept\n{rules}    tcp \
         dport {{ {ports} }} ct state new reject with tcp reset\n  }}\n}}\n"
    )
}
