//! `proxy.missing-header` and its wait: what a trusted peer without a header is, and who can lie then.

use std::time::Duration;

use ipnet::IpNet;

use super::networks::NetworkList;
use super::problem::Problem;
use super::read::Reader;
use super::setting::duration_text;
use super::settings::{
    self, HEADER_TIMEOUT, MISSING_HEADER, MISSING_HEADER_WAIT, MISSING_HEADER_WAIT_DEFAULT, Missing,
    TRUSTED_NAMES, TRUSTED_NETWORKS,
};
use super::tree::Owner;
use crate::rooms::identify::MissingHeader;

/// Networks that are named in an advice.
const NAMED: usize = 5;

/// What is said so far, the server's words and then a listener's.
#[derive(Debug, Clone, Copy)]
pub(super) struct MissingWords {
    word: Missing,
    wait: Duration,
}

impl Default for MissingWords {
    fn default() -> Self {
        Self { word: Missing::Refuse, wait: MISSING_HEADER_WAIT_DEFAULT }
    }
}

impl MissingWords {
    /// What `owner` says, and `self` where it is silent. `trusted` and `header_timeout` are what holds for it.
    pub(super) fn overridden(
        mut self,
        reader: &mut Reader<'_>,
        owner: Owner<'_>,
        trusted: &NetworkList,
        header_timeout: Duration,
    ) -> Self {
        let said = reader.get(&MISSING_HEADER, owner);
        if let Some(word) = reader.word(said, &settings::MISSING) {
            self.word = word;
        }
        let waits = reader.get(&MISSING_HEADER_WAIT, owner);
        if let Some(wait) = reader.duration(waits) {
            self.wait = wait;
        }
        if self.word == Missing::Refuse {
            if let Some(found) = waits {
                let text = "has no effect: a trusted peer must send a header, for `proxy.missing-header` is `\"refuse\"`";
                reader.advise(&found.key, &found.value.span(), text);
            }
            return self;
        }
        let times = waits.or_else(|| reader.get(&HEADER_TIMEOUT, owner)).or(said);
        if let Some(found) = times.filter(|_| self.wait >= header_timeout) {
            let (wait, whole) = (duration_text(self.wait), duration_text(header_timeout));
            reader.problem(
                Problem::new("`proxy.missing-header-wait` must be shorter than `proxy.header-timeout`")
                    .at(found.value.span(), format!("a wait of {wait}, and {whole} for the whole header"))
                    .note("a header that began within the wait is read to its end, which takes time, too")
                    .help("the default of 1s suits every proxy that sends its header when it connects"),
            );
        }
        // Also where only the list is a listener's own, and the word inherited.
        let list = reader.get(&TRUSTED_NETWORKS, owner).or_else(|| reader.get(&TRUSTED_NAMES, owner));
        let about = said.or(list);
        match about {
            Some(found) if !trusted.is_nobody() => {
                reader.advise(&found.key, &found.value.span(), who_can_lie(trusted, self.wait));
            }
            // Server-wide, the listeners' own lists draw their advice.
            Some(found) if said.is_some() && owner != Owner::Global => {
                let text = "has no effect: nobody is trusted here, so that no header is missing";
                reader.advise(&found.key, &found.value.span(), text);
            }
            _ => {}
        }
        self
    }

    /// What it amounts to.
    pub(super) fn policy(self) -> MissingHeader {
        match self.word {
            Missing::Refuse => MissingHeader::Refuse,
            Missing::UnsafeClientIsPeer => MissingHeader::UnsafeClientIsPeer { wait: self.wait },
        }
    }
}

fn who_can_lie(trusted: &NetworkList, wait: Duration) -> String {
    let name = |network: IpNet| {
        let single = network.prefix_len() == network.max_prefix_len();
        if single { format!("`{}`", network.addr()) } else { format!("`{network}`") }
    };
    let networks = trusted.lines.iter().map(|said| name(said.network));
    let mut names: Vec<_> =
        networks.chain(trusted.names.iter().map(|said| format!("`{}`", said.name))).collect();
    let others = if names.len() > NAMED { " and others" } else { "" };
    names.truncate(NAMED);
    format!(
        "anyone who comes from {}{others} can claim to be any client on the internet, with any TLS facts, for who sends a header \
         there is believed, and who sends none is a client: behind a container gateway that is everybody whom it \
         forwards; private and loopback addresses are never believed, and a direct client of a protocol whose server \
         speaks first waits {} for its greeting; better: a network of their own for proxy and truepeer, or a port of \
         its own for direct clients",
        names.join(", "),
        duration_text(wait)
    )
}
