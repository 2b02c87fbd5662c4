//! Selects which due items to claim, so that a busy site does not delay the others.

use std::collections::{BTreeMap, HashMap};

use super::key::{KeyColumns, WorkKind};

/// How much may be claimed.
#[derive(Clone, Debug)]
pub struct ClaimLimits {
    /// Items in total.
    pub total: usize,
    /// Items per site, without those that are running.
    pub per_site: usize,
    /// Items per concurrency key, including those that are running.
    pub per_key: usize,
    /// Running items by concurrency key.
    pub running: BTreeMap<String, usize>,
}

impl From<usize> for ClaimLimits {
    /// A total limit, without limits per key.
    fn from(total: usize) -> Self {
        Self {
            total,
            per_site: usize::MAX,
            per_key: usize::MAX,
            running: BTreeMap::new(),
        }
    }
}

/// A due item that may be claimed.
pub(super) struct Candidate {
    pub key: KeyColumns,
    pub site: String,
    pub concurrency_key: Option<String>,
    pub due_at: i64,
}

impl Candidate {
    /// The run, if its next step plans: only such a step of a run calls the forge.
    pub fn unplanned_run(&self) -> Option<&str> {
        let plans = self.key.kind == <&str>::from(WorkKind::Run) && self.concurrency_key.is_some();
        plans.then_some(&*self.key.subject)
    }
}

/// Selects the candidates to claim: the oldest of each site before the second of any, within the limits. Also
/// returns the due time of the oldest candidate that was left out although its concurrency key has room.
pub(super) fn fair_selection(
    candidates: Vec<Candidate>,
    limits: &ClaimLimits,
) -> (Vec<Candidate>, Option<i64>) {
    let mut turns: HashMap<String, usize> = HashMap::new();
    // A site's plan waits for none of its statuses.
    let (plans, others): (Vec<_>, Vec<_>) = candidates
        .into_iter()
        .partition(|candidate| candidate.unplanned_run().is_some());
    let mut in_turns: Vec<(usize, Candidate)> = plans
        .into_iter()
        .chain(others)
        .map(|candidate| {
            let turn = turns.entry(candidate.site.clone()).or_default();
            *turn += 1;
            (*turn, candidate)
        })
        .collect();
    in_turns.sort_by(|(turn, one), (other_turn, other)| {
        (turn, one.due_at, &one.key).cmp(&(other_turn, other.due_at, &other.key))
    });
    let mut running = limits.running.clone();
    let mut selected = Vec::new();
    let mut left_out: Option<i64> = None;
    let mut leave_out = |due_at: i64| {
        left_out = Some(left_out.map_or(due_at, |due: i64| due.min(due_at)));
    };
    for (turn, candidate) in in_turns {
        if turn > limits.per_site {
            leave_out(candidate.due_at);
            continue;
        }
        if let Some(key) = &candidate.concurrency_key {
            let running = running.entry(key.clone()).or_default();
            if *running >= limits.per_key {
                continue;
            }
            *running += 1;
        }
        if selected.len() < limits.total {
            selected.push(candidate);
        } else {
            leave_out(candidate.due_at);
        }
    }
    (selected, left_out)
}

#[cfg(test)]
mod tests {
    use super::super::key::WorkKey;
    use super::*;
    use crate::run::RunId;

    fn candidate(site: &str, key: Option<&str>, due_at: i64) -> Candidate {
        let run = RunId(format!("{site} {due_at}"));
        Candidate {
            key: WorkKey::Run(run).columns(),
            site: site.to_owned(),
            concurrency_key: key.map(str::to_owned),
            due_at,
        }
    }

    fn selected(candidates: Vec<Candidate>, limits: &ClaimLimits) -> Vec<String> {
        let (selected, _) = fair_selection(candidates, limits);
        selected.into_iter().map(|one| one.key.subject).collect()
    }

    #[test]
    fn the_oldest_of_each_site_comes_before_the_second_of_any() {
        let due = vec![
            candidate("busy", None, 1),
            candidate("busy", None, 2),
            candidate("busy", None, 3),
            candidate("calm", None, 4),
        ];

        assert_eq!(selected(due, &3.into()), ["busy 1", "calm 4", "busy 2"]);
    }

    #[test]
    fn a_concurrency_key_leaves_room_for_what_has_another() {
        let due = vec![
            candidate("a", Some("forge one"), 1),
            candidate("b", Some("forge one"), 2),
            candidate("c", Some("forge two"), 3),
            candidate("d", None, 4),
        ];
        let limits = ClaimLimits {
            total: 9,
            per_site: usize::MAX,
            per_key: 2,
            running: BTreeMap::from([("forge one".to_owned(), 1)]),
        };

        assert_eq!(selected(due, &limits), ["a 1", "c 3", "d 4"]);
    }

    #[test]
    fn only_so_many_of_one_site_are_claimed_and_the_rest_is_looked_for_again() {
        let due = (1..=5).map(|due_at| candidate("busy", None, due_at));
        let limits = ClaimLimits {
            per_site: 2,
            ..ClaimLimits::from(9)
        };

        let (selected, left_out) = fair_selection(due.collect(), &limits);

        assert_eq!(selected.len(), 2);
        assert_eq!(left_out, Some(3));
    }
}
