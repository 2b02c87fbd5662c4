//! What the program says it purged, held against what the CDN did.

use std::collections::BTreeSet;

use purgehook::sandbox::{Purged, TargetOutcome};
use serde_json::Value;

/// A comparison of both.
pub struct Books {
    /// Purges of all runs.
    pub planned: usize,
    /// Those that the program does not call done, or the CDN's task does not have.
    pub unconfirmed: Vec<Value>,
    /// Targets of all the CDN's tasks.
    pub submitted: usize,
    /// Those that no purge names: they were handed over once too often.
    pub in_vain: usize,
}

impl Books {
    pub fn compare(runs: &[Value], purged: &[Purged]) -> Self {
        let done: BTreeSet<(&str, &str)> = purged
            .iter()
            .filter(|purged| purged.ended == Some(TargetOutcome::Done))
            .map(|purged| (purged.task.as_str(), purged.target.as_str()))
            .collect();
        let planned: Vec<&Value> = runs
            .iter()
            .flat_map(|run| run["purges"].as_array().unwrap())
            .collect();
        let (confirmed, unconfirmed): (Vec<&Value>, Vec<&Value>) = planned
            .iter()
            .partition(|purge| purge["state"] == "done" && done.contains(&names(purge)));
        let named: BTreeSet<(&str, &str)> = confirmed.iter().map(|purge| names(purge)).collect();
        Self {
            planned: planned.len(),
            unconfirmed: unconfirmed.into_iter().cloned().collect(),
            submitted: purged.len(),
            in_vain: purged.len() - named.len(),
        }
    }
}

/// The task and the target of a purge.
fn names(purge: &Value) -> (&str, &str) {
    let text = |key: &str| purge[key].as_str().unwrap_or_default();
    (text("task"), text("target"))
}
