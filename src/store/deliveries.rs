//! Taking in deliveries: the delivery, its runs and their first work, in one transaction.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use strum::{EnumString, IntoStaticStr};

use super::bodies::{self, DeliveryBody, StoredBody};
use super::database::{Row, Transaction, in_list, insert_rows, params};
use super::step_commit::{self, Write};
use super::work_queue::{self, WorkKey};
use super::{Store, StoreError, retry_on_conflict, runs, statuses, timestamp};
use crate::clock;
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

impl Store {
    /// Takes in deliveries, all in one commit: they are on disk when this returns.
    pub async fn accept(&self, deliveries: &[NewDelivery]) -> Result<Vec<Accepted>, StoreError> {
        // Before anybody waits for the transaction.
        let bodies = deliveries.iter().map(|new| new.body.packed());
        let bodies: Vec<Bytes> = bodies.collect::<Result<_, _>>()?;
        retry_on_conflict(|| self.accept_at_once(deliveries, &bodies)).await
    }

    async fn accept_at_once(
        &self,
        deliveries: &[NewDelivery],
        bodies: &[Bytes],
    ) -> Result<Vec<Accepted>, StoreError> {
        let mut tx = self.database.begin().await?;
        // What is known already decides what becomes of a delivery: replicas that get the same one wait for each other.
        let ordered = deliveries
            .iter()
            .map(|new| format!("{} {}", new.forge, new.ordering_key));
        tx.advisory_lock(ordered.collect()).await?;
        let verdicts = judge(&mut *tx, deliveries).await?;
        let mut outcomes = Vec::with_capacity(deliveries.len());
        let mut news = Vec::with_capacity(deliveries.len());
        for ((new, body), verdict) in deliveries.iter().zip(bodies).zip(verdicts) {
            outcomes.push(match verdict {
                Verdict::New => {
                    news.push((new, body));
                    Accepted::New
                }
                Verdict::SameAs(first) => Accepted::Duplicate {
                    delivery: first.id.clone(),
                    runs: first.runs.iter().map(|run| run.id.clone()).collect(),
                },
                Verdict::Known => accept_one(&mut *tx, new, body).await?,
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
    new: &NewDelivery,
    body: &Bytes,
) -> Result<Accepted, StoreError> {
    if let Some(first) = seen_before(tx, new).await? {
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

    insert(tx, std::iter::once((new, body))).await?;
    Ok(Accepted::New)
}

/// What is known of a delivery before it is stored.
enum Verdict<'d> {
    /// Nothing.
    New,
    /// It is the same as another of its group.
    SameAs(&'d NewDelivery),
    /// It came before, or has to be compared with more than what came last.
    Known,
}

/// What is known of deliveries, in turn, by two looks at all of them.
async fn judge<'d>(
    tx: &mut dyn Transaction,
    deliveries: &'d [NewDelivery],
) -> Result<Vec<Verdict<'d>>, StoreError> {
    let mut known = HashSet::new();
    let mut newest = HashMap::new();
    let forges: BTreeSet<&str> = deliveries.iter().map(|new| new.forge.as_str()).collect();
    for forge in forges {
        let of_forge = || deliveries.iter().filter(|new| new.forge == forge);
        let ids: Vec<&str> = of_forge()
            .filter_map(|new| new.forge_delivery.as_deref())
            .collect();
        for id in known_ids(tx, forge, &ids).await? {
            known.insert((forge, id));
        }
        let keys: BTreeSet<&str> = of_forge().map(|new| new.ordering_key.as_str()).collect();
        for (key, said) in newest_of(tx, forge, keys).await? {
            newest.insert((forge, key), said);
        }
    }
    // Those of this group, by the forge's id and by what they are about.
    let mut by_id: HashMap<(&str, &str), &NewDelivery> = HashMap::new();
    let mut last: HashMap<(&str, &str), &NewDelivery> = HashMap::new();
    let mut verdicts = Vec::with_capacity(deliveries.len());
    for new in deliveries {
        let forge = new.forge.as_str();
        let id = new.forge_delivery.as_deref();
        let key = (forge, new.ordering_key.as_str());
        let same_id = id.and_then(|id| by_id.get(&(forge, id)));
        let same_words = last
            .get(&key)
            .filter(|last| last.dedup_key == new.dedup_key);
        let verdict = match same_id.or(same_words) {
            Some(first) => Verdict::SameAs(first),
            // What matters to it is what came at its time.
            None if new.source == Source::Log => Verdict::Known,
            None if id.is_some_and(|id| known.contains(&(forge, id.to_owned()))) => Verdict::Known,
            None => {
                let said = match last.get(&key) {
                    Some(_) => None,
                    None => newest.get(&(forge, new.ordering_key.clone())),
                };
                match said {
                    Some(said) if said.dedup_key == new.dedup_key && said.is_young(new) => {
                        Verdict::Known
                    }
                    Some(_) | None => Verdict::New,
                }
            }
        };
        if let Verdict::New = verdict {
            last.insert(key, new);
            by_id.extend(id.map(|id| ((forge, id), new)));
        }
        verdicts.push(verdict);
    }
    Ok(verdicts)
}

/// What a delivery said, and when.
struct Said {
    dedup_key: String,
    received_at: Timestamp,
}

impl Said {
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            dedup_key: row.text("dedup_key")?,
            received_at: timestamp(row.int("received_at")?)?,
        })
    }

    /// Whether a delivery that says the same now is the same once more.
    fn is_young(&self, new: &NewDelivery) -> bool {
        new.received_at < self.received_at + DUPLICATE_WINDOW
    }
}

/// Which of a forge's delivery ids are known.
async fn known_ids(
    tx: &mut dyn Transaction,
    forge: &str,
    ids: &[&str],
) -> Result<Vec<String>, StoreError> {
    let mut known = Vec::new();
    for some in ids.chunks(IDS_AT_ONCE) {
        let mut values = params![forge];
        let listed = in_list(&mut values, some.iter().copied());
        let sql = format!(
            "SELECT forge_delivery FROM deliveries WHERE forge = $1 AND forge_delivery IN ({listed})"
        );
        for row in tx.query(&sql, values).await? {
            known.push(row.text("forge_delivery")?);
        }
    }
    Ok(known)
}

/// What the newest delivery of each ordering key said.
async fn newest_of(
    tx: &mut dyn Transaction,
    forge: &str,
    keys: BTreeSet<&str>,
) -> Result<Vec<(String, Said)>, StoreError> {
    let mut values = params![forge];
    let listed = in_list(&mut values, keys);
    let sql = format!(
        "SELECT ordering_key, dedup_key, received_at FROM newest_deliveries
         WHERE forge = $1 AND ordering_key IN ({listed})"
    );
    let rows = tx.query(&sql, values).await?;
    rows.iter()
        .map(|row| Ok((row.text("ordering_key")?, Said::read(row)?)))
        .collect()
}

/// Inserts deliveries with their runs and the runs' first work.
async fn insert<'d>(
    tx: &mut dyn Transaction,
    news: impl Iterator<Item = (&'d NewDelivery, &'d Bytes)>,
) -> Result<(), StoreError> {
    let (mut deliveries, mut newest) = (Vec::new(), BTreeMap::new());
    let (mut new_runs, mut shown, mut work) = (Vec::new(), Vec::new(), Vec::new());
    for (new, body) in news {
        match new.body {
            DeliveryBody::Whole(_) => {}
            DeliveryBody::InBlocks(_) => bodies::finish(tx, &new.id).await?,
        }
        deliveries.push(params![
            &new.id,
            &new.forge,
            new.forge_delivery.clone(),
            &new.event,
            &new.ordering_key,
            &new.dedup_key,
            &new.content_type,
            body.clone(),
            new.source.as_str(),
            new.received_at.as_millisecond(),
        ]);
        let key = (new.forge.as_str(), new.ordering_key.as_str());
        let at = newest.entry(key).or_insert(new);
        if at.id < new.id {
            *at = new;
        }
        for run in &new.runs {
            new_runs.push(run);
            shown.extend(statuses::first(run, new.received_at));
            work.extend(work_queue::new_rows(run, new.received_at));
        }
    }
    if deliveries.is_empty() {
        return Ok(());
    }
    let newest = newest.into_values().map(|new| {
        params![
            &new.forge,
            &new.ordering_key,
            &new.id,
            &new.dedup_key,
            new.received_at.as_millisecond()
        ]
    });
    insert_rows(tx, INSERT, "", deliveries).await?;
    insert_rows(tx, INSERT_NEWEST, IF_NEWER, newest.collect()).await?;
    runs::insert(tx, new_runs.into_iter()).await?;
    insert_rows(tx, statuses::INSERT, "", shown).await?;
    insert_rows(tx, work_queue::INSERT, "", work).await?;
    tx.notify().await
}

const INSERT: &str =
    "INSERT INTO deliveries (id, forge, forge_delivery, event, ordering_key, dedup_key,
    content_type, body, source, received_at)";

const INSERT_NEWEST: &str =
    "INSERT INTO newest_deliveries (forge, ordering_key, delivery, dedup_key, received_at)";
const IF_NEWER: &str = "ON CONFLICT (forge, ordering_key) DO UPDATE SET
    delivery = excluded.delivery, dedup_key = excluded.dedup_key, received_at = excluded.received_at
    WHERE newest_deliveries.delivery < excluded.delivery";

/// The delivery that said the same before, if that is still what was said last.
///
/// The forge's id finds a redelivery. Ids are not signed by every forge, and two
/// hooks on one repository have two of them, so the meaning counts as well; but
/// only against the newest delivery of the same ref, since a branch that goes
/// from A to B, back to A and to B again says "A to B" twice and means it.
async fn seen_before(
    tx: &mut dyn Transaction,
    new: &NewDelivery,
) -> Result<Option<String>, StoreError> {
    let id = |rows: Vec<Row>| rows.first().map(|row| row.text("id")).transpose();
    if let Some(forge_delivery) = &new.forge_delivery {
        let rows = tx
            .query(
                "SELECT id FROM deliveries WHERE forge = $1 AND forge_delivery = $2",
                params![&new.forge, forge_delivery],
            )
            .await?;
        if let Some(first) = id(rows)? {
            return Ok(Some(first));
        }
    }
    if new.source == Source::Log {
        // It comes long after its time: what matters is what came then. Ids are made when deliveries come, so
        // only those of the time are looked at.
        let (first, last) = (
            new.sent_at - DUPLICATE_WINDOW,
            new.sent_at + DUPLICATE_WINDOW,
        );
        let rows = tx
            .query(
                "SELECT id FROM deliveries
                 WHERE id > $3 AND id < $4 AND forge = $1 AND ordering_key = $2
                     AND dedup_key = $5 AND received_at > $6 AND received_at < $7
                 ORDER BY id DESC LIMIT 1",
                params![
                    &new.forge,
                    &new.ordering_key,
                    clock::first_id_of(first),
                    clock::first_id_of(last + ID_LAG),
                    &new.dedup_key,
                    first.as_millisecond(),
                    last.as_millisecond()
                ],
            )
            .await?;
        if let Some(first) = id(rows)? {
            return Ok(Some(first));
        }
    }
    let rows = tx
        .query(
            "SELECT delivery AS id, dedup_key, received_at FROM newest_deliveries
             WHERE forge = $1 AND ordering_key = $2",
            params![&new.forge, &new.ordering_key],
        )
        .await?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    let said = Said::read(row)?;
    if said.dedup_key == new.dedup_key && said.is_young(new) {
        id(rows)
    } else {
        Ok(None)
    }
}

/// How long after a delivery another with its meaning is the same once more:
/// that of a second hook comes at once. Later it is news, since a delivery in between may have been lost.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(15 * 60);

/// How long after a delivery came its id may have been made.
const ID_LAG: Duration = Duration::from_secs(60);

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
                 task = NULL, error = NULL, attempts = 0, batch_cap = NULL
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
