//! What must be so once all is quiet again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use purgehook::run::{RunId, RunState, StatusState};

use super::{Promises, Watch};
use crate::cdn::{Account, Fate};
use crate::forge::Host;

impl Promises {
    /// Everything is over. `acknowledged` are the deliveries that were taken in, with
    /// their runs, and `accidents` counts the times that what a process had heard may have been lost.
    pub fn look_at_the_end(
        &self,
        host: &Host,
        acknowledged: &[(String, Vec<RunId>)],
        accidents: usize,
    ) {
        let watch = &*self.0;
        watch.look_for_lost(acknowledged);
        watch.look_at_statuses(host);
        watch.look_at_edge();
        for page in watch.stale_and_told() {
            watch.broken(&format!("all is over, and {page} is stale"));
        }
        for account in watch.accounts.values() {
            watch.look_at_submissions(account, accidents);
        }
    }
}

impl Watch {
    /// Each delivery that was acknowledged has its runs.
    fn look_for_lost(&self, acknowledged: &[(String, Vec<RunId>)]) {
        let rows = self.disk.rows("SELECT id FROM runs", Vec::new());
        let known: BTreeSet<String> = rows.iter().map(|row| row.text("id").unwrap()).collect();
        for (delivery, runs) in acknowledged {
            if runs.is_empty() || runs.iter().any(|run| !known.contains(&run.0)) {
                self.broken(&format!("{delivery} was acknowledged without its runs"));
            }
        }
    }

    /// Each run has ended, and what a commit shows is what the newest of its runs came to.
    fn look_at_statuses(&self, host: &Host) {
        let sql = "SELECT id, site, commit_id FROM runs ORDER BY id";
        let mut newest: BTreeMap<(String, String), Vec<(i64, StatusState)>> = BTreeMap::new();
        for row in self.disk.rows(sql, Vec::new()) {
            let id = RunId(row.text("id").unwrap());
            let outcome = self.outcome(&id);
            let shown = match outcome.state {
                RunState::Pending => {
                    self.broken(&format!("{id} never ended"));
                    continue;
                }
                RunState::Succeeded => StatusState::Success,
                RunState::Failed => StatusState::Failure,
                // Its branch was elsewhere, and nothing was done for it: what the commit showed before holds.
                RunState::Superseded => continue,
                RunState::Errored | RunState::Cancelled => StatusState::Error,
            };
            let key = (row.text("site").unwrap(), row.text("commit_id").unwrap());
            let ended_at = outcome.ended_at.unwrap_or_default();
            newest.entry(key).or_default().push((ended_at, shown));
        }
        for ((site, commit), outcomes) in newest {
            let last = outcomes.iter().map(|(ended_at, _)| *ended_at).max();
            let newest = outcomes
                .iter()
                .filter(|(ended_at, _)| Some(*ended_at) == last);
            let shown = host.shown(&commit, self.site(&site).context);
            if newest.clone().all(|(_, state)| Some(*state) != shown) {
                let wanted: Vec<&str> = newest.map(|(_, state)| state.as_str()).collect();
                let shown = shown.map(StatusState::as_str);
                self.broken(&format!(
                    "{commit} shows {shown:?} for {site}, and its runs came to {wanted:?}"
                ));
            }
        }
    }

    /// Nothing was handed over more often than it had to be.
    fn look_at_submissions(&self, account: &Arc<Account>, accidents: usize) {
        let name = &account.nature.name;
        let sql = "SELECT kind, target FROM purges WHERE account = $1";
        let mut wanted: BTreeMap<(String, String), usize> = BTreeMap::new();
        for row in self.disk.rows(sql, vec![name.into()]) {
            let key = (row.text("kind").unwrap(), row.text("target").unwrap());
            *wanted.entry(key).or_default() += 1;
        }
        for ((on, kind, target), times) in &self.noted.lock().unwrap().tried_again {
            if on == name {
                *wanted.entry((kind.clone(), target.clone())).or_default() += times;
            }
        }
        let sql = "SELECT vendor_id FROM tasks WHERE account = $1 AND vendor_id IS NOT NULL";
        let rows = self.disk.rows(sql, vec![name.into()]);
        let mut known: BTreeSet<String> = rows
            .iter()
            .map(|row| row.text("vendor_id").unwrap())
            .collect();
        if !account.nature.gives_ids {
            let heard = account.taken().into_iter().filter(|batch| batch.heard);
            known.extend(heard.map(|batch| batch.id));
        }

        let (mut lost, mut told_of) = (0, 0);
        let mut taken: BTreeMap<(String, String), usize> = BTreeMap::new();
        for batch in account.taken() {
            if !account.nature.gives_ids {
                break;
            }
            if !known.contains(&batch.id) {
                lost += usize::from(batch.heard);
                told_of += usize::from(account.tells_in_time(&batch));
                continue;
            }
            for (target, item) in &batch.items {
                let key = (batch.kind.as_str().to_owned(), target.clone());
                // What the CDN failed at it is asked for once more.
                *wanted.entry(key.clone()).or_default() += usize::from(item.fate == Fate::Failed);
                *taken.entry(key).or_default() += 1;
            }
        }
        for ((kind, target), times) in taken {
            let most = wanted.get(&(kind, target.clone())).copied().unwrap_or(0);
            if times > most {
                self.broken(&format!(
                    "{name} was handed {target} {times} times, and {most} would have done"
                ));
            }
        }
        for excess in account.excesses(&known) {
            self.broken(&format!("{name} was asked for {excess}"));
        }
        // Their answers came, and the program knows nothing of them. In one accident there may be one of each kind.
        if lost > accidents * account.nature.limits.kinds.len() {
            self.broken(&format!(
                "{name} said of {lost} batches that it took them, and nobody knows of them, after {accidents} accidents"
            ));
        }
        let blind = account.blind_looks();
        if told_of > blind && !self.has_stops {
            self.broken(&format!(
                "{name} took {told_of} batches that its history tells of and nobody knows, and {blind} looks at it failed"
            ));
        }
    }
}
