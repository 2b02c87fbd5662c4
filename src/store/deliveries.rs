//! Taking in deliveries: the delivery, its runs and their first work, in one transaction.

use std::collections::BTreeSet;

use bytes::Bytes;
use jiff::Timestamp;
use strum::{EnumString, IntoStaticStr};

use super::bodies::{self, DeliveryBody, PackedBody, StoredBody};
use super::database::{Transaction, in_list, insert_rows, params};
use super::duplicates::{self, Incoming, Verdict};
use super::step_commit::{self, Write};
use super::work_queue::{self, WorkKey};
use super::{Store, StoreError, retry_on_conflict, runs, statuses, timestamp};
use crate::run::{Run, RunId, RunState, StatusState, Step};

/// Ids that are looked for in one statement.
const IDS_AT_ONCE: usize = 200;

/// How a delivery reached purgehook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Source {
    /// As a webhook request, whose signature fitted its body.
    Webhook,
    /// It was read from the forge's log of deliveries, since it never arrived. Its body
    /// was written anew on the way, so that no signature vouches for it: the
    /// authenticated connection to the forge's API does.
    Log,
}

impl Source {
    /// The word for it in the database.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// A delivery that passed verification, with the runs it asks for.
#[derive(Clone, Debug)]
pub struct NewDelivery {
    /// Our own id for it.
    pub id: String,
    /// The forge, by its name under `forges:`.
    pub forge: String,
    /// The forge's id of it, if it has one.
    pub forge_delivery: Option<String>,
    /// The event's name as the forge has it.
    pub event: String,
    /// What it is about: repository and ref.
    pub ordering_key: String,
    /// What it says about it.
    pub dedup_key: String,
    /// The body's content type, without parameters.
    pub content_type: String,
    /// Its body.
    pub body: DeliveryBody,
    /// How it came.
    pub source: Source,
    /// When the forge sent it, as far as that is known.
    pub sent_at: Timestamp,
    /// When it came.
    pub received_at: Timestamp,
    /// The runs it asks for, at least one.
    pub runs: Vec<Run>,
}

/// A delivery as it was kept.
#[derive(Clone, Debug)]
pub struct StoredDelivery {
    /// The forge, by its name under `forges:`.
    pub forge: String,
    /// The forge's id of it.
    pub forge_delivery: Option<String>,
    /// The event's name as the forge has it.
    pub event: String,
    /// The body's content type.
    pub content_type: String,
    /// Its body.
    pub body: StoredBody,
    /// How it came.
    pub source: Source,
    /// When it came.
    pub received_at: Timestamp,
}

/// What became of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// It is new; its runs are under way.
    New,
    /// It came before (by id or by what it says) and its runs had failed: they are tried again.
    Retried {
        /// The delivery that came first.
        delivery: String,
        /// The runs that are tried again.
        runs: Vec<RunId>,
    },
    /// It came before, and nothing needs doing again.
    Duplicate {
        /// The delivery that came first.
        delivery: String,
        /// Its runs.
        runs: Vec<RunId>,
    },
}

/// What became of trying a run again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryOutcome {
    /// There is no such run.
    NotFound,
    /// It has not failed.
    NotRetriable,
    /// It is pending again.
    Retried,
}

/// What became of skipping a target of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SkipOutcome {
    /// There is no such run.
    NotFound,
    /// The run has no purge of the target that failed or was not sent yet.
    NoSuchPurge,
    /// It is given up.
    Skipped {
        /// On how many CDNs and in how many ways: a URL may be purged and prefetched.
        purges: u64,
    },
}

impl Store {
    /// Takes in deliveries, all in one commit: they are on disk when this returns.
    pub async fn accept(&self, deliveries: &[NewDelivery]) -> Result<Vec<Accepted>, StoreError> {
        // Before anybody waits for the transaction.
        let bodies = deliveries.iter().map(|new| new.body.packed());
        let bodies: Vec<PackedBody> = bodies.collect::<Result<_, _>>()?;
        let news: Vec<Incoming<'_>> = deliveries
            .iter()
            .zip(&bodies)
            .map(|(new, body)| Incoming::new(new, body))
            .collect();
        retry_on_conflict(|| self.accept_at_once(&news)).await
    }

    async fn accept_at_once(
        &self,
        deliveries: &[Incoming<'_>],
    ) -> Result<Vec<Accepted>, StoreError> {
        let mut tx = self.database.begin().await?;
        // What is known already decides what becomes of a delivery: replicas that get the same one wait for each other.
        let ordered = deliveries
            .iter()
            .map(|new| format!("{} {}", new.delivery.forge, new.delivery.ordering_key));
        tx.advisory_lock(ordered.collect()).await?;
        let verdicts = duplicates::judge(&mut *tx, deliveries).await?;
        let mut outcomes = Vec::with_capacity(deliveries.len());
        let mut news = Vec::with_capacity(deliveries.len());
        for (new, verdict) in deliveries.iter().zip(verdicts) {
            outcomes.push(match verdict {
                Verdict::New => {
                    news.push(new);
                    Accepted::New
                }
                Verdict::SameAs(first) => Accepted::Duplicate {
                    delivery: first.id.clone(),
                    runs: first.runs.iter().map(|run| run.id.clone()).collect(),
                },
                Verdict::Known => accept_one(&mut *tx, new).await?,
            });
        }
        insert(&mut *tx, news.into_iter()).await?;
        tx.commit().await?;
        Ok(outcomes)
    }

    /// A delivery that was kept.
    pub async fn delivery(&self, id: &str) -> Result<Option<StoredDelivery>, StoreError> {
        let rows = self
            .database
            .read(
                "SELECT forge, forge_delivery, event, content_type, body, source, received_at FROM deliveries WHERE id = $1",
                params![id],
            )
            .await?;
        rows.first()
            .map(|row| {
                Ok(StoredDelivery {
                    forge: row.text("forge")?,
                    forge_delivery: row.maybe_text("forge_delivery")?,
                    event: row.text("event")?,
                    content_type: row.text("content_type")?,
                    body: StoredBody::read(id, &row.bytes("body")?)?,
                    source: row.word("source")?,
                    received_at: timestamp(row.int("received_at")?)?,
                })
            })
            .transpose()
    }

    /// Which of a forge's own delivery ids are of deliveries that were kept.
    pub async fn known_deliveries(
        &self,
        forge: &str,
        ids: &[&str],
    ) -> Result<BTreeSet<String>, StoreError> {
        let mut known = BTreeSet::new();
        for some in ids.chunks(IDS_AT_ONCE) {
            let mut values = params![forge];
            let listed = in_list(&mut values, some.iter().copied());
            let sql = format!(
                "SELECT forge_delivery FROM deliveries
                 WHERE forge = $1 AND forge_delivery IN ({listed})"
            );
            for row in self.database.read(&sql, values).await? {
                known.insert(row.text("forge_delivery")?);
            }
        }
        Ok(known)
    }

    /// Starts a run that no delivery asked for.
    pub async fn start(&self, run: &Run, now: Timestamp) -> Result<(), StoreError> {
        retry_on_conflict(|| async {
            let mut tx = self.database.begin().await?;
            runs::insert(&mut *tx, std::iter::once(run)).await?;
            begin(&mut *tx, run, now).await?;
            tx.commit().await
        })
        .await
    }

    /// Gives up a target of a run, whatever its CDN says. If the run has failed, it is looked at again.
    pub async fn skip(
        &self,
        id: &RunId,
        target: &str,
        now: Timestamp,
        deadline: Timestamp,
    ) -> Result<SkipOutcome, StoreError> {
        retry_on_conflict(|| self.skip_at_once(id, target, now, deadline)).await
    }

    async fn skip_at_once(
        &self,
        id: &RunId,
        target: &str,
        now: Timestamp,
        deadline: Timestamp,
    ) -> Result<SkipOutcome, StoreError> {
        let mut tx = self.database.begin().await?;
        let Some(mut run) = runs::find(&mut *tx, id).await? else {
            return Ok(SkipOutcome::NotFound);
        };
        let skipped = tx
            .execute(
                "UPDATE purges SET state = 'failed', given_up = 'skipped', task = NULL,
                     error = COALESCE(error, 'skipped before it was sent')
                 WHERE run = $1 AND target = $2 AND state IN ('failed', 'waiting', 'planned')",
                params![&run.id.0, target],
            )
            .await?;
        if skipped == 0 {
            return Ok(SkipOutcome::NoSuchPurge);
        }
        if run.state.can_be_retried() {
            run.state = RunState::Pending;
            run.step = Step::Purging;
            run.summary = format!("{target} is skipped");
            run.ended_at = None;
            run.deadline = deadline;
            step_commit::apply(&mut *tx, &Write::Run(run.clone()), now).await?;
        }
        work_queue::enqueue(&mut *tx, &WorkKey::Run(run.id), now).await?;
        tx.notify().await?;
        tx.commit().await?;
        Ok(SkipOutcome::Skipped { purges: skipped })
    }

    /// Tries a failed run again, from where it failed.
    pub async fn retry(
        &self,
        id: &RunId,
        now: Timestamp,
        deadline: Timestamp,
    ) -> Result<RetryOutcome, StoreError> {
        retry_on_conflict(|| self.retry_at_once(id, now, deadline)).await
    }

    async fn retry_at_once(
        &self,
        id: &RunId,
        now: Timestamp,
        deadline: Timestamp,
    ) -> Result<RetryOutcome, StoreError> {
        let mut tx = self.database.begin().await?;
        let Some(run) = runs::find(&mut *tx, id).await? else {
            return Ok(RetryOutcome::NotFound);
        };
        if !run.state.can_be_retried() {
            return Ok(RetryOutcome::NotRetriable);
        }
        retry_run(&mut *tx, run, now, deadline).await?;
        tx.commit().await?;
        Ok(RetryOutcome::Retried)
    }
}

async fn accept_one(
    tx: &mut dyn Transaction,
    incoming: &Incoming<'_>,
) -> Result<Accepted, StoreError> {
    let new = incoming.delivery;
    if let Some(first) = duplicates::seen_before(tx, incoming).await? {
        let known = runs::of_delivery(tx, &first).await?;
        let ids = known.iter().map(|run| run.id.clone()).collect();
        let mut failed: Vec<Run> = Vec::new();
        for run in known {
            // What became of a run that another covers is that one's affair.
            let run = runs::that_covers(tx, run).await?;
            if run.state.can_be_retried() && failed.iter().all(|other| other.id != run.id) {
                failed.push(run);
            }
        }
        if failed.is_empty() {
            return Ok(Accepted::Duplicate {
                delivery: first,
                runs: ids,
            });
        }
        let runs = failed.iter().map(|run| run.id.clone()).collect();
        for run in failed {
            let allowance = new
                .runs
                .first()
                .map_or(run.deadline, |fresh| fresh.deadline);
            retry_run(tx, run, new.received_at, allowance).await?;
        }
        return Ok(Accepted::Retried {
            delivery: first,
            runs,
        });
    }

    insert(tx, std::iter::once(incoming)).await?;
    Ok(Accepted::New)
}

/// Inserts deliveries with their runs and the runs' first work.
async fn insert<'d>(
    tx: &mut dyn Transaction,
    news: impl Iterator<Item = &'d Incoming<'d>>,
) -> Result<(), StoreError> {
    let (mut deliveries, mut ordered) = (Vec::new(), Vec::new());
    let (mut new_runs, mut shown, mut work) = (Vec::new(), Vec::new(), Vec::new());
    for incoming in news {
        let Incoming {
            delivery: new,
            body,
            meaning,
        } = incoming;
        match new.body {
            DeliveryBody::Whole(_) => {}
            DeliveryBody::InBlocks { .. } => bodies::finish(tx, &new.id).await?,
        }
        deliveries.push(params![
            &new.id,
            &new.forge,
            new.forge_delivery.clone(),
            &new.event,
            &new.ordering_key,
            &new.dedup_key,
            &new.content_type,
            body.bytes.clone(),
            *meaning,
            Bytes::copy_from_slice(body.digest.as_bytes()),
            new.source.as_str(),
            new.received_at.as_millisecond(),
        ]);
        ordered.push(*new);
        for run in &new.runs {
            new_runs.push(run);
            shown.extend(statuses::first(run, new.received_at));
            work.extend(work_queue::new_rows(run, new.received_at));
        }
    }
    if deliveries.is_empty() {
        return Ok(());
    }
    insert_rows(tx, INSERT, "", deliveries).await?;
    duplicates::put_newest(tx, &ordered).await?;
    runs::insert(tx, new_runs.into_iter()).await?;
    insert_rows(tx, statuses::INSERT, "", shown).await?;
    insert_rows(tx, work_queue::INSERT, "", work).await?;
    tx.notify().await
}

const INSERT: &str =
    "INSERT INTO deliveries (id, forge, forge_delivery, event, ordering_key, dedup_key,
    content_type, body, meaning, digest, source, received_at)";

/// Asks for a run's first step and shows it on the commit.
pub(super) async fn begin(
    tx: &mut dyn Transaction,
    run: &Run,
    now: Timestamp,
) -> Result<(), StoreError> {
    work_queue::enqueue(tx, &WorkKey::Run(run.id.clone()), now).await?;
    let pending = StatusState::Pending;
    let is_posted = if run.dry_run {
        statuses::want_dry(tx, &run.id, pending, &run.summary, now).await?
    } else {
        statuses::want(tx, &run.id, pending, &run.summary, now).await?;
        true
    };
    if is_posted {
        let at = statuses::post_at(pending, now);
        work_queue::enqueue(tx, &WorkKey::Status(run.id.clone()), at).await?;
    }
    tx.notify().await
}

/// Puts a failed run back to work: what was confirmed stays so, what failed is planned again.
async fn retry_run(
    tx: &mut dyn Transaction,
    mut run: Run,
    now: Timestamp,
    deadline: Timestamp,
) -> Result<(), StoreError> {
    let planned = tx
        .execute(
            "UPDATE purges SET state = CASE kind WHEN 'prefetch' THEN 'waiting' ELSE 'planned' END,
                 task = NULL, error = NULL, attempts = 0, batch_cap = NULL, given_up = NULL
             WHERE run = $1 AND state = 'failed'",
            params![&run.id.0],
        )
        .await?;
    run.state = RunState::Pending;
    // A run that failed before it had a plan starts with finding out what changed.
    run.step = if planned > 0 {
        Step::Purging
    } else {
        Step::Changes
    };
    run.summary = "Trying again".to_owned();
    run.waits_for = None;
    run.ended_at = None;
    if run.step == Step::Changes {
        run.problems.clear();
    }
    run.deadline = deadline;
    step_commit::apply(tx, &Write::Run(run.clone()), now).await?;
    work_queue::enqueue_submits(tx, &run.id, now).await?;
    begin(tx, &run, now).await
}
