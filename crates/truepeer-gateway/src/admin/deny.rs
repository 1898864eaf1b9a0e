//! Denials: kept in the table and in the state file, and said in the log, since somebody is shut out by them.
//!
//! The file is written off the control thread's executor, so that monitoring is answered meanwhile.

use std::time::SystemTime;

use ipnet::IpNet;
use serde_json::{Value, json};

use super::OpenConnections;
use crate::bans::{Added, BanOrder};
use crate::denied::Kept;
use crate::server::View;

/// Keeps a network out, and cuts what its clients have open.
pub(super) async fn deny(view: &View, order: BanOrder, open: OpenConnections) -> Result<Value, String> {
    let denied = view.denied.clone();
    let (added, kept) = blocking(move || denied.add(&order)).await?.map_err(|error| error.to_string())?;
    let replaced = matches!(added, Added::Replaced(_));
    let (Added::New(ban) | Added::Replaced(ban)) = added;
    // Only now: who comes from here on finds the ban, and who came before is in the registry.
    let cut = match open {
        OpenConnections::Cut => view.denied.cut(&ban, &view.registry),
        OpenConnections::Keep => 0,
    };
    tracing::info!(event = "denied", ban = ban.to_string(), cut = u64::try_from(cut).unwrap_or(u64::MAX));
    let mut answer = json!({ "ok": true, "replaced": replaced, "cut": cut });
    add(&mut answer, ban.to_json(SystemTime::now()));
    add(&mut answer, kept_json(kept));
    Ok(answer)
}

/// Lets a network in again.
pub(super) async fn undeny(view: &View, network: IpNet) -> Result<Value, String> {
    let denied = view.denied.clone();
    let (lifted, kept) = blocking(move || denied.remove(network)).await?;
    if lifted.ban.is_none() {
        return Err(match lifted.still {
            Some(wider) => format!("{network} itself is not denied, but {wider} holds it: undeny that"),
            None => format!("{network} is not denied: `truepeer deny --list` shows what is"),
        });
    }
    tracing::info!(event = "undenied", network = network.to_string());
    let mut answer = json!({
        "ok": true,
        "network": network.to_string(),
        "still": lifted.still.map(|ban| ban.to_json(SystemTime::now())),
    });
    add(&mut answer, kept_json(kept));
    Ok(answer)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())
}

/// Whether it survives a restart; where it does not, the warning that goes with it.
fn kept_json(kept: Kept) -> Value {
    match kept {
        Kept::InFile => json!({ "kept": true }),
        Kept::InMemory => json!({
            "kept": false,
            "warning": "it ends with the process: `[admin] state` names no file to keep it in",
        }),
        Kept::Failed(path, error) => {
            let path = path.display().to_string();
            tracing::warn!(event = "bans_not_kept", path, cause = error.to_string());
            json!({
                "kept": false,
                "warning": format!("it holds now, but not after a restart: {path} cannot be written: {error}"),
            })
        }
    }
}

fn add(object: &mut Value, more: Value) {
    if let (Some(object), Value::Object(more)) = (object.as_object_mut(), more) {
        object.extend(more);
    }
}
