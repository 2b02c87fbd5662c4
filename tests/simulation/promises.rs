//! What is promised, checked against a world in which everything is known: at each
//! commit to the database, at each status that a commit shows, and in the end.

mod edge;
mod end;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use purgehook::run::{RunId, RunState, StatusState};
use purgehook::store::{Row, Value};

use crate::caches::{Caches, Tree};
use crate::cdn::Account;
use crate::database::Disk;
use crate::process::Time;
use crate::trace::Trace;

/// How much later than its deadline a run may end: a step in hand may last, and a process be away.
const GRACE: Duration = Duration::from_secs(20 * 60);

/// A site, as the rules have it.
pub struct Site {
    pub name: &'static str,
    pub context: &'static str,
    pub base_url: &'static str,
    pub cdns: &'static [&'static str],
    /// Whether everything is purged where a commit is deployed again.
    pub redeploys_everything: bool,
}

/// What looks whether promises are kept. Clones are the same.
#[derive(Clone)]
pub struct Promises(Arc<Watch>);

pub struct Watch {
    pub disk: Arc<Disk>,
    pub caches: Arc<Caches>,
    pub accounts: BTreeMap<String, Arc<Account>>,
    pub sites: &'static [Site],
    pub time: Time,
    pub trace: Trace,
    /// Whether a process may stand still in the middle of a request, which nobody else can know.
    pub has_stops: bool,
    pub noted: Mutex<Noted>,
}

/// What happened so far.
#[derive(Default)]
pub struct Noted {
    /// Runs whose success a commit has shown.
    successes: BTreeSet<RunId>,
    /// How often purges were planned again because their run was to be tried again, by account, kind and target.
    tried_again: BTreeMap<(String, String, String), usize>,
}

impl Promises {
    pub fn new(watch: Watch) -> Self {
        Self(Arc::new(watch))
    }

    /// Something was committed: looks at what it was.
    pub fn committed(&self) {
        let watch = &*self.0;
        let mut ended = false;
        for seen in watch.disk.seen() {
            let text = |column| seen.maybe_text(column).unwrap().unwrap_or_default();
            let (what, a, b, c) = (text("what"), text("a"), text("b"), text("c"));
            match what.as_str() {
                "run" => ended |= watch.run_moved(&RunId(a), &b, &c),
                "purge failed planned" | "purge failed waiting" => {
                    let mut noted = watch.noted.lock().unwrap();
                    *noted.tried_again.entry((a, b, c)).or_default() += 1;
                }
                moved if moved.ends_with(" done") => {
                    let task = text("d");
                    if !watch.accounts[&a].has_done(&task, &c) {
                        watch.broken(&format!(
                            "{c} counts as purged, and {a} does not say so of its task {task:?}"
                        ));
                    }
                }
                moved => watch.broken(&format!("{c} was over and is not any more: {moved}")),
            }
        }
        if ended {
            watch.look_at_edge();
        }
    }

    /// Whether caches hold what they may.
    pub fn look_at_edge(&self) {
        self.0.look_at_edge();
    }

    /// A commit shows a run's state from now on.
    pub fn posted(&self, run: &RunId, shown: StatusState) {
        let watch = &*self.0;
        let came_to = watch.outcome(run);
        let had_succeeded = watch.noted.lock().unwrap().successes.contains(run);
        if shown == StatusState::Success {
            if came_to.state != RunState::Succeeded {
                let state = came_to.state.as_str();
                watch.broken(&format!("{run} shows success, and is {state}"));
            }
            watch.noted.lock().unwrap().successes.insert(run.clone());
        } else if had_succeeded && !watch.has_stops {
            let shown = shown.as_str();
            watch.broken(&format!("{run} showed success, and now {shown}"));
        }
    }
}

/// Targets that were given up, by CDN.
struct GivenUp(Vec<(String, String)>);

impl GivenUp {
    /// Whether a CDN may hold whatever it holds for a URL.
    fn holds(&self, cdn: &str, url: &str) -> bool {
        let mut targets = self.0.iter();
        targets.any(|(on, target)| {
            on == cdn
                && (url == target || target.ends_with('/') && url.starts_with(target.as_str()))
        })
    }
}

/// What a run came to, itself or by the one that covers it.
struct Outcome {
    state: RunState,
    ended_at: Option<i64>,
}

impl Watch {
    /// A run's state changed. Whether it has ended.
    fn run_moved(&self, id: &RunId, from: &str, to: &str) -> bool {
        let from = from.parse::<RunState>().unwrap();
        let to = to.parse::<RunState>().unwrap();
        let now = self.time.now();
        let (a, b) = (from.as_str(), to.as_str());
        self.trace.tell(now, &format!("{id} is {b}"));
        if from.is_final() && !(from.can_be_retried() && to == RunState::Pending) {
            self.broken(&format!("{id} was {a}, and now is {b}"));
        }
        let run = self.run(id);
        let deadline = Timestamp::from_millisecond(run.int("deadline").unwrap()).unwrap();
        if to.is_final() && now > deadline + GRACE {
            self.broken(&format!("{id} ended long after its deadline {deadline}"));
        }
        if to == RunState::Succeeded {
            self.look_at_success(id, &run);
        }
        to.is_final()
    }

    /// A success means that everything was purged in which the run's commit differs from what caches held.
    fn look_at_success(&self, id: &RunId, run: &Row) {
        let site = self.site(&run.text("site").unwrap());
        let sql = "SELECT cdn, kind, target, state FROM purges WHERE run = $1";
        let purges = self.disk.rows(sql, vec![Value::from(&id.0)]);
        let mut done = Vec::new();
        for purge in &purges {
            let text = |column| purge.text(column).unwrap();
            if text("state") == "done" {
                done.push((text("cdn"), text("kind"), text("target")));
            } else {
                let (target, state) = (text("target"), text("state"));
                self.broken(&format!("{id} succeeded, and {target} is {state}"));
            }
        }
        let given_up = self.given_up(site.name);
        let trees = self.trees();
        let bases: Vec<String> = serde_json::from_str(&run.text("bases").unwrap()).unwrap();
        let now = &trees[&run.text("commit_id").unwrap()];
        for base in &bases {
            let changed: BTreeSet<&String> = match trees.get(base) {
                Some(then) => {
                    let paths = then.keys().chain(now.keys());
                    paths
                        .filter(|path| then.get(*path) != now.get(*path))
                        .collect()
                }
                // Whatever was ever live.
                None => trees.values().flat_map(BTreeMap::keys).collect(),
            };
            for path in changed {
                let url = format!("{}/{path}", site.base_url);
                for cdn in site.cdns {
                    let is_purged = done.iter().any(|(on, kind, target)| {
                        on == cdn
                            && match kind.as_str() {
                                "url" => *target == url,
                                "directory" => url.starts_with(target.as_str()),
                                _ => false,
                            }
                    });
                    if !is_purged && !given_up.holds(cdn, &url) {
                        self.broken(&format!(
                            "{id} succeeded, and {url}, which differs from {base}, was not purged on {cdn}"
                        ));
                    }
                }
            }
        }
    }

    /// What was given up for a site, and is shown as such.
    fn given_up(&self, site: &str) -> GivenUp {
        let sql = "SELECT cdn, target FROM given_up WHERE site = $1";
        let rows = self.disk.rows(sql, vec![Value::from(site)]);
        let targets = rows.iter();
        let targets = targets.map(|row| (row.text("cdn").unwrap(), row.text("target").unwrap()));
        GivenUp(targets.collect())
    }

    fn run(&self, id: &RunId) -> Row {
        let sql = "SELECT * FROM runs WHERE id = $1";
        let mut rows = self.disk.rows(sql, vec![Value::from(&id.0)]);
        rows.pop().unwrap_or_else(|| panic!("there is no run {id}"))
    }

    /// The run that came before another for the same commit of the same site, and was more than a repetition.
    fn earlier(&self, run: &Row) -> Option<Row> {
        let sql = "SELECT * FROM runs WHERE site = $1 AND commit_id = $2 AND id < $3
                 AND NOT (state = 'superseded' AND covered_by IS NULL)
             ORDER BY id DESC LIMIT 1";
        let values = ["site", "commit_id", "id"].map(|column| run.text(column).unwrap().into());
        self.disk.rows(sql, Vec::from(values)).pop()
    }

    /// What a run came to as far as is committed. Of one that ended without a trace, since its branch was elsewhere, that
    /// is what the run before it for its commit came to.
    fn outcome(&self, id: &RunId) -> Outcome {
        let mut run = self.run(id);
        loop {
            if let Some(cover) = run.maybe_text("covered_by").unwrap() {
                run = self.run(&RunId(cover));
            } else if run.text("state").unwrap() == "superseded"
                && let Some(earlier) = self.earlier(&run)
            {
                run = earlier;
            } else {
                break;
            }
        }
        Outcome {
            state: run.word("state").unwrap(),
            ended_at: run.maybe_int("ended_at").unwrap(),
        }
    }

    fn site(&self, name: &str) -> &'static Site {
        self.sites.iter().find(|site| site.name == name).unwrap()
    }

    /// The tree of every commit that was ever live.
    fn trees(&self) -> BTreeMap<String, Tree> {
        let stints = self.caches.stints().into_iter();
        stints.map(|stint| (stint.commit, stint.tree)).collect()
    }

    fn broken(&self, promise: &str) {
        self.trace.broken(self.time.now(), promise);
    }
}
