//! The invariant of what caches may hold: see docs/design/invariants.md.

use std::time::Duration;

use jiff::Timestamp;
use purgehook::run::Base;

use super::Watch;
use crate::caches::{Stale, Stint, path_of};

/// How long commits stay held after a run has purged what they differ in: the default of `settle:`.
const SETTLE: Duration = Duration::from_secs(10 * 60);

/// What the store knows of a site.
struct Known {
    held: Vec<Held>,
    runs: Vec<Told>,
}

struct Held {
    commit: String,
    added_at: i64,
    until: Option<i64>,
}

/// A run, and the commits that it told of.
struct Told {
    commit: String,
    before: Option<String>,
    created_at: i64,
    /// Whether it is still to be planned.
    is_waiting: bool,
}

impl Told {
    fn tells_of(&self, commit: &str) -> bool {
        self.commit == commit || self.before.as_deref() == Some(commit)
    }
}

impl Watch {
    /// Whatever a cache holds that is not live, and that the store was ever told of, must
    /// be in the tree of a held commit, or be told of by a run that is still to be planned.
    pub(super) fn look_at_edge(&self) {
        let now = self.time.now();
        let stale = self.caches.stale(now);
        if stale.is_empty() {
            return;
        }
        let stints = self.caches.stints();
        for site in self.sites {
            let known = self.known(site.name);
            let given_up = self.given_up(site.name);
            let of_site = |page: &&Stale| {
                page.url.starts_with(site.base_url) && !given_up.holds(&page.cdn, &page.url)
            };
            for page in stale.iter().filter(of_site) {
                if !is_known(page, &stints, &known, now) {
                    let path = path_of(&page.url);
                    let live = stints.last().and_then(|stint| stint.tree.get(path));
                    self.broken(&format!(
                        "{} holds {:?} for {}, which is {live:?}, and no held commit has it",
                        page.cdn, page.content, page.url
                    ));
                }
            }
        }
    }

    /// What caches hold that is not live and was told of.
    pub(super) fn stale_and_told(&self) -> Vec<String> {
        let stints = self.caches.stints();
        let mut found = Vec::new();
        for site in self.sites {
            let known = self.known(site.name);
            let given_up = self.given_up(site.name);
            let stale = self.caches.stale(self.time.now());
            let of_site = |page: &&Stale| {
                page.url.starts_with(site.base_url) && !given_up.holds(&page.cdn, &page.url)
            };
            for page in stale.iter().filter(of_site) {
                if stints_of(page, &stints).any(|stint| known.was_told_of(stint)) {
                    found.push(format!("{} on {}", page.url, page.cdn));
                }
            }
        }
        found
    }

    fn known(&self, site: &str) -> Known {
        let sql = "SELECT commit_id, added_at, until FROM held WHERE site = $1 AND dry_run = 0";
        let held = self.disk.rows(sql, vec![site.into()]);
        let sql = "SELECT commit_id, before_id, created_at, state = 'pending' AND held_version IS NULL AS waits
             FROM runs WHERE site = $1";
        let runs = self.disk.rows(sql, vec![site.into()]);
        Known {
            held: held
                .iter()
                .map(|row| Held {
                    commit: row.text("commit_id").unwrap(),
                    added_at: row.int("added_at").unwrap(),
                    until: row.maybe_int("until").unwrap(),
                })
                .collect(),
            runs: runs
                .iter()
                .map(|row| Told {
                    commit: row.text("commit_id").unwrap(),
                    before: row.maybe_text("before_id").unwrap(),
                    created_at: row.int("created_at").unwrap(),
                    is_waiting: row.int("waits").unwrap() == 1,
                })
                .collect(),
        }
    }
}

impl Known {
    /// Whether anyone ever told that this was live. What was live between two looks
    /// at the forge and whose delivery was lost nobody can know.
    fn was_told_of(&self, stint: &Stint) -> bool {
        let since = stint.since.as_millisecond();
        let mut runs = self.runs.iter();
        let mut held = self.held.iter();
        runs.any(|run| run.created_at >= since && run.tells_of(&stint.commit))
            || held.any(|held| held.added_at >= since && held.commit == stint.commit)
    }
}

/// The times in which a page's content was live, from the one in which the cache took it.
fn stints_of<'s>(page: &'s Stale, stints: &'s [Stint]) -> impl Iterator<Item = &'s Stint> {
    let since = stints.iter().skip(page.taken_in);
    since.filter(|stint| stint.tree.get(path_of(&page.url)) == page.content.as_ref())
}

fn is_known(page: &Stale, stints: &[Stint], known: &Known, now: Timestamp) -> bool {
    let has_it = |commit: &str| {
        let mut stints = stints.iter().filter(|stint| stint.commit == commit);
        // What is unknown may be anything.
        commit == Base::Unknown.as_str()
            || stints.any(|stint| stint.tree.get(path_of(&page.url)) == page.content.as_ref())
    };
    if !stints_of(page, stints).any(|stint| known.was_told_of(stint)) {
        return true;
    }
    // When the last time was over in which it was live.
    let last = stints
        .iter()
        .rposition(|stint| stint.tree.get(path_of(&page.url)) == page.content.as_ref());
    let stale_since = last
        .and_then(|last| stints.get(last + 1))
        .map_or(now, |next| next.since);
    let mut held = known.held.iter();
    let is_held = held.any(|held| {
        has_it(&held.commit)
            && held.until.is_none_or(|until| {
                // It was let go of while it was live, and is held for a while all the same.
                let let_go = until - i64::try_from(SETTLE.as_millis()).unwrap();
                until > now.as_millisecond() && stale_since.as_millisecond() >= let_go
            })
    });
    let mut waiting = known.runs.iter().filter(|run| run.is_waiting);
    is_held || waiting.any(|run| has_it(&run.commit) || run.before.as_deref().is_some_and(has_it))
}
