//! Handles purges for a CDN whose service has moved to another one.

use jiff::Timestamp;
use tracing::warn;

use super::batches::fail;
use crate::config::Config;
use crate::purge::PurgeKind;
use crate::store::{Migration, Precondition, PurgeKey, WorkKey, Write};

/// Moves purges to the entry that `migrated_to:` names, or fails them with advice.
pub fn migrate(
    config: &Config,
    from: &str,
    kind: PurgeKind,
    keys: Vec<PurgeKey>,
    message: &str,
    now: Timestamp,
) -> Vec<Write> {
    let successor = config.cdns.get(from).and_then(|cdn| {
        let name = cdn.migrated_to()?;
        let successor = config.cdns.get(name)?;
        // An entry that points back would move purges back and forth for ever.
        let takes =
            successor.limits().kinds.contains_key(&kind) && successor.migrated_to().is_none();
        takes.then(|| (name.to_owned(), successor.account()))
    });
    match successor {
        Some((to, account)) => {
            warn!(
                cdn = from,
                purges = keys.len(),
                "{from} has moved; its purges go to {to}: {message}"
            );
            let submit = WorkKey::Submit {
                account: account.clone(),
                kind,
            };
            let migration = Migration {
                keys,
                from: from.to_owned(),
                to,
                account,
            };
            vec![Write::Migrate(migration), Write::Enqueue(submit, now)]
        }
        None => {
            let why = format!(
                "{message}. The service has moved: add the CDN it moved to under `cdns:` and name it in `migrated_to:` of {from}"
            );
            fail(keys, &why, Precondition::Open, now)
        }
    }
}
