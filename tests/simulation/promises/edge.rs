//! The invariant of what caches may hold: see docs/design/invariants.md.

use std::time::Duration;

use jiff::Timestamp;
use purgehook::run::Base;

use super::{Site, Watch};
use crate::caches::{Stale, Stint, path_of};

/// How long commits stay held after a run has purged what they differ in: the default of `settle:`.
const SETTLE: Duration = Duration::from_secs(10 * 60);

/// What the store knows of a site.
struct Known {
    redeploys_everything: bool,
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
    id: String,
    commit: String,
    before: Option<String>,
    /// What it was compared with.
    bases: Vec<String>,
    covered_by: Option<String>,
    is_deployment: bool,
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
            let known = self.known(site);
            let given_up = self.given_up(site.name);
            let of_site = |page: &&Stale| {
                page.url.starts_with(site.base_url) && !given_up.holds(&page.cdn, &page.url)
            };
            for page in stale.iter().filter(of_site) {
                if !is_known(page, &stints, &known, now) {
                    let path = path_of(&page.url);
                    let live = stints.last().and_then(|stint| stint.built.get(path));
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
            let known = self.known(site);
            let given_up = self.given_up(site.name);
            let stale = self.caches.stale(self.time.now());
            let of_site = |page: &&Stale| {
                page.url.starts_with(site.base_url) && !given_up.holds(&page.cdn, &page.url)
            };
            for page in stale.iter().filter(of_site) {
                let was_told_of = stints_of(page, &stints).any(|stint| known.was_told_of(stint));
                if was_told_of && !known.excuses(page, &stints) {
                    found.push(format!("{} on {}", page.url, page.cdn));
                }
            }
        }
        found
    }

    fn known(&self, site: &Site) -> Known {
        let sql = "SELECT commit_id, added_at, until FROM held WHERE site = $1 AND dry_run = 0";
        let held = self.disk.rows(sql, vec![site.name.into()]);
        let sql = "SELECT id, commit_id, before_id, bases, covered_by, created_at, origin = 'deployment' AS deploys,
                 state = 'pending' AND held_version IS NULL AS waits
             FROM runs WHERE site = $1";
        let runs = self.disk.rows(sql, vec![site.name.into()]);
        Known {
            redeploys_everything: site.redeploys_everything,
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
                    id: row.text("id").unwrap(),
                    bases: serde_json::from_str(&row.text("bases").unwrap()).unwrap(),
                    covered_by: row.maybe_text("covered_by").unwrap(),
                    is_deployment: row.int("deploys").unwrap() == 1,
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

    /// Whether git has what a cache holds, which was only built anew since, and nobody could know: the program was not
    /// told of the deployment, or the commit's earlier deployments were not compared with anything that has the file
    /// otherwise.
    fn excuses(&self, page: &Stale, stints: &[Stint]) -> bool {
        let path = path_of(&page.url);
        let file = |stint: &Stint| stint.tree.get(path).copied();
        let last = stints
            .iter()
            .rposition(|stint| stint.built.get(path) == page.content.as_ref());
        let (Some(last), Some(live)) = (last, stints.last()) else {
            return false;
        };
        if file(&stints[last]) != file(live) {
            return false;
        }
        let since = stints.windows(2).skip(last);
        let mut redeployed = since.filter(|two| two[0].commit == two[1].commit);
        !redeployed.any(|two| {
            let stint = &two[1];
            let since = stint.since.as_millisecond();
            let of_commit = || self.runs.iter().filter(|run| run.commit == stint.commit);
            let mut told = of_commit().filter(|run| run.is_deployment && run.created_at >= since);
            told.any(|told| {
                let mut earlier = of_commit().filter(|run| run.id < told.id);
                earlier.any(|earlier| {
                    let mut bases = self.bases_of(earlier).iter();
                    self.redeploys_everything && earlier.is_deployment
                        || bases.any(|base| {
                            let mut stints = stints.iter();
                            let then = stints.find(|stint| stint.commit == *base);
                            then.is_none_or(|then| file(then) != file(stint))
                        })
                })
            })
        })
    }

    /// What a run was compared with, or the one that did its work.
    fn bases_of<'s>(&'s self, run: &'s Told) -> &'s [String] {
        let mut run = run;
        while let Some(cover) = &run.covered_by {
            match self.runs.iter().find(|run| run.id == *cover) {
                Some(cover) => run = cover,
                None => return &[],
            }
        }
        &run.bases
    }
}

/// The times in which a page's content was live, from the one in which the cache took it.
fn stints_of<'s>(page: &'s Stale, stints: &'s [Stint]) -> impl Iterator<Item = &'s Stint> {
    let since = stints.iter().skip(page.taken_in);
    since.filter(|stint| stint.built.get(path_of(&page.url)) == page.content.as_ref())
}

fn is_known(page: &Stale, stints: &[Stint], known: &Known, now: Timestamp) -> bool {
    let has_it = |commit: &str| {
        let mut stints = stints.iter().filter(|stint| stint.commit == commit);
        // What is unknown may be anything.
        commit == Base::Unknown.as_str()
            || stints.any(|stint| stint.built.get(path_of(&page.url)) == page.content.as_ref())
    };
    if !stints_of(page, stints).any(|stint| known.was_told_of(stint)) || known.excuses(page, stints)
    {
        return true;
    }
    // When the last time was over in which it was live.
    let last = stints
        .iter()
        .rposition(|stint| stint.built.get(path_of(&page.url)) == page.content.as_ref());
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
