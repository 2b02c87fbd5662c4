//! Asking CDNs how their tasks stand, all of an account's at once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use tracing::warn;

use super::submit::{fail, is_too_early, migrate, targets};
use crate::cdn::{Batch, ErrorClass, InFlight, Report, TargetState};
use crate::config::Config;
use crate::engine::clock_jumps::came_late;
use crate::engine::policy::backoff;
use crate::engine::{Engine, Outcome, StepError};
use crate::purge::{PurgeKind, PurgeState, TaskIds};
use crate::run::RunId;
use crate::store::{
    Precondition, PurgeKey, PurgeUpdate, StoreError, StoredTask, TaskState, Upstream, Work,
    WorkKey, Write,
};

/// Submissions of one purge: a CDN that failed at it is asked once more.
const SUBMISSIONS: i64 = 2;
/// The shortest and the longest wait between two looks at an account's tasks.
const LOOKS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// A task with its purges that are not over.
struct Open {
    task: StoredTask,
    purges: Vec<(PurgeKey, String, i64)>,
    /// Whether its id was found in the history just now.
    is_found: bool,
}

impl Engine {
    pub(in crate::engine) async fn follow(
        &self,
        account: &str,
        kind: PurgeKind,
        work: &Work,
    ) -> Result<Outcome, StepError> {
        let config = self.config();
        let mut by_cdn: BTreeMap<String, Vec<Open>> = BTreeMap::new();
        let tasks = self.store.tasks(account, kind, TaskState::Running).await?;
        let mut in_flight = self.store.purges_in_flight(account, kind).await?;
        for task in tasks {
            let purges = in_flight.remove(&task.id).unwrap_or_default();
            by_cdn.entry(task.cdn.clone()).or_default().push(Open {
                task,
                purges,
                is_found: false,
            });
        }
        if by_cdn.is_empty() {
            return Ok(Outcome::done(Vec::new()));
        }

        let mut writes = Vec::new();
        let mut left: Vec<Timestamp> = Vec::new();
        let mut trouble: Option<Option<Duration>> = None;
        for (name, mut open) in by_cdn {
            let reports = self.ask(&config, account, &name, &mut open).await?;
            let now = self.clock.now();
            let reports = match reports {
                Ok(reports) => reports,
                Err(Trouble::Later(retry_after)) => {
                    trouble = Some(retry_after);
                    open.iter().map(|_| Report::default()).collect()
                }
                Err(Trouble::Operator(why)) => {
                    writes.extend(give_up(open, now, |keys| {
                        fail(keys, &why, Precondition::Open, now)
                    }));
                    continue;
                }
                Err(Trouble::Migrated(why)) => {
                    let moved = |keys| migrate(&config, &name, kind, keys, &why, now);
                    writes.extend(give_up(open, now, moved));
                    continue;
                }
            };
            for (mut open, report) in open.into_iter().zip(reports) {
                let submitted_at = open.task.submitted_at;
                if now >= open.task.deadline && came_late(work, now) {
                    let limit = open.task.deadline.duration_since(submitted_at);
                    open.task.deadline = now + limit;
                    writes.push(Write::Task(open.task.clone()));
                }
                if open.is_found {
                    writes.push(Write::Task(open.task.clone()));
                }
                let (more, is_over) = judge(open, &report, now);
                writes.extend(more);
                if !is_over {
                    left.push(submitted_at);
                }
            }
        }
        let now = self.clock.now();
        if let Some(retry_after) = trouble {
            let wait = backoff::backoff_at_least(work.attempts, self.clock.fraction(), retry_after);
            return Ok(Outcome::again(writes, now + wait, work.attempts + 1));
        }
        match left.into_iter().max() {
            None => Ok(Outcome::done(writes)),
            Some(youngest) => {
                let wait = until_next_look(youngest, now);
                // A short wait stands whatever is wished for meanwhile, or a line that submits
                // many batches would have all of them looked at once for each.
                let stands = i64::from(wait <= LOOKS.0 * 2);
                Ok(Outcome::again(writes, now + wait, stands))
            }
        }
    }

    /// One report a task.
    async fn ask(
        &self,
        config: &Config,
        account: &str,
        name: &str,
        open: &mut [Open],
    ) -> Result<Result<Vec<Report>, Trouble>, StoreError> {
        let Some(cdn) = config.cdns.get(name) else {
            return Ok(Err(Trouble::Operator(format!(
                "the CDN {name} is no longer configured"
            ))));
        };
        let upstream = Upstream::Cdn(account.to_owned());
        if let Some(left) = self.left_alone(&upstream).await? {
            return Ok(Err(Trouble::Later(Some(left.wait))));
        }
        let pace = self.pace(account, cdn.limits().queries_per_second);
        let mut in_flight: Vec<InFlight> = Vec::with_capacity(open.len());
        for Open {
            task,
            purges,
            is_found,
        } in open.iter_mut()
        {
            let mut flight = InFlight {
                task: task.vendor_id.clone(),
                submitted_at: task.submitted_at,
                batch: Batch {
                    kind: task.kind,
                    mode: task.mode,
                    targets: targets(purges),
                },
            };
            if flight.task.is_none()
                && !flight.batch.targets.is_empty()
                && !is_too_early(task, self.clock.now())
            {
                // Taken without an id: the history knows it. Before it shows all of them, another
                // that it shows already would be taken for this one.
                let mut others = self.tasks_of_others(task).await?;
                let told = in_flight.iter().filter_map(|other| other.task.as_ref());
                others.extend(told.flat_map(TaskIds::iter).cloned());
                let found = cdn.find(&flight, &others, &pace);
                match self.heard(&upstream, found).await {
                    Ok(Some(id)) => {
                        flight.task = Some(id.clone());
                        task.vendor_id = Some(id);
                        *is_found = true;
                    }
                    Ok(None) => {}
                    Err(error) => warn!(cdn = name, "cannot ask the history: {error}"),
                }
            }
            in_flight.push(flight);
        }
        let asked = cdn.follow(&in_flight, &pace);
        Ok(match self.heard(&upstream, asked).await {
            Ok(reports) if reports.len() == open.len() => Ok(reports),
            Ok(_) => Err(Trouble::Later(None)),
            Err(error) => {
                warn!(cdn = name, code = %error.kind, "cannot see how tasks stand: {error}");
                Err(match error.class {
                    ErrorClass::Operator => {
                        Trouble::Operator(format!("it cannot be confirmed: {error}"))
                    }
                    ErrorClass::Migrated => Trouble::Migrated(error.to_string()),
                    // A query has no targets to refuse: whatever is meant, it may pass.
                    ErrorClass::Retry
                    | ErrorClass::RateLimited
                    | ErrorClass::QuotaDay
                    | ErrorClass::Split
                    | ErrorClass::BadInput => Trouble::Later(error.retry_after),
                })
            }
        })
    }
}

/// Why a CDN did not say how its tasks stand.
enum Trouble {
    /// It may later, not before the time it asked for.
    Later(Option<Duration>),
    /// It will not until a person acts.
    Operator(String),
    /// Its service has moved.
    Migrated(String),
}

/// Ends tasks that cannot be followed; `then` says what becomes of their purges.
fn give_up(
    open: Vec<Open>,
    now: Timestamp,
    then: impl Fn(Vec<PurgeKey>) -> Vec<Write>,
) -> Vec<Write> {
    let mut writes = Vec::new();
    let mut keys = Vec::new();
    for Open {
        mut task, purges, ..
    } in open
    {
        task.state = TaskState::Ended;
        task.ended_at = Some(now);
        writes.push(Write::Task(task));
        keys.extend(purges.into_iter().map(|(key, _, _)| key));
    }
    writes.extend(then(keys));
    writes
}

/// How long until the next look: a quarter of the youngest task's age, so that
/// fast tasks are seen soon and slow ones are not asked about all the time.
fn until_next_look(youngest: Timestamp, now: Timestamp) -> Duration {
    let age = Duration::try_from(now.duration_since(youngest)).unwrap_or_default();
    (age / 4).clamp(LOOKS.0, LOOKS.1)
}

/// What a report means for a task's purges, and whether the task is over.
fn judge(open: Open, report: &Report, now: Timestamp) -> (Vec<Write>, bool) {
    let Open {
        mut task, purges, ..
    } = open;
    let mut done = Vec::new();
    let mut again: BTreeMap<String, Vec<PurgeKey>> = BTreeMap::new();
    let mut failed: BTreeMap<String, Vec<PurgeKey>> = BTreeMap::new();
    let mut running = 0_usize;
    let late = now >= task.deadline;
    for (key, target, submissions) in purges {
        let said = match report.targets.get(&target) {
            Some(TargetState::Done) => {
                done.push(key);
                continue;
            }
            Some(TargetState::Failed(why)) if submissions < SUBMISSIONS => {
                again.entry(why.clone()).or_default().push(key);
                continue;
            }
            Some(TargetState::Failed(why) | TargetState::Invalid(why)) => {
                failed.entry(why.clone()).or_default().push(key);
                continue;
            }
            Some(TargetState::Unknown(word)) => {
                warn!(cdn = %task.cdn, "{} says {word:?} of {target}, a word that is in no document", task.cdn);
                format!("it says {word:?}, which is in no document")
            }
            Some(TargetState::Running(_)) => "it says it is still at it".to_owned(),
            None => "it says nothing of it".to_owned(),
        };
        if late {
            let minutes = task.deadline.duration_since(task.submitted_at).as_mins();
            let why = format!(
                "{} did not confirm it within {minutes} minutes; {said}",
                task.cdn
            );
            failed.entry(why).or_default().push(key);
        } else {
            running += 1;
        }
    }

    let runs: BTreeSet<RunId> = done.iter().map(|key: &PurgeKey| key.run.clone()).collect();
    let of_task = Precondition::InTask(task.id.clone());
    let mut writes = Vec::new();
    if !done.is_empty() {
        writes.push(Write::Update(PurgeUpdate::new(
            done,
            PurgeState::Done,
            of_task.clone(),
        )));
    }
    writes.extend(
        runs.into_iter()
            .map(|run| Write::Enqueue(WorkKey::Run(run), now)),
    );
    for (why, keys) in again {
        writes.push(Write::Update(PurgeUpdate {
            error: Some(why),
            ..PurgeUpdate::new(keys, PurgeState::Planned, of_task.clone())
        }));
        let submit = WorkKey::Submit {
            account: task.account.clone(),
            kind: task.kind,
        };
        writes.push(Write::Enqueue(submit, now));
    }
    for (why, keys) in failed {
        writes.extend(fail(keys, &why, of_task.clone(), now));
    }
    let over = running == 0;
    if over {
        task.state = TaskState::Ended;
        task.ended_at = Some(now);
        writes.push(Write::Task(task));
    }
    (writes, over)
}
