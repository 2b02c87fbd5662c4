//! Accepts deliveries: the delivery, its runs and their first work, in one transaction.

use std::borrow::Cow;

use bytes::Bytes;

use super::bodies::{self, DeliveryBody, PackedBody};
use super::database::{Transaction, insert_rows, params};
use super::deliveries::{NewDelivery, Source};
use super::duplicates::{self, Duplication, Incoming};
use super::run_starts::retry_run;
use super::{Store, StoreError, retry_on_conflict, runs, statuses, work_queue};
use crate::run::{Arrival, Run, RunId};

/// The result of accepting a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// It is new; its runs are in progress.
    New,
    /// It is a duplicate (by its id, bytes or content), and runs of the first delivery had failed: they are retried.
    Retried {
        /// The delivery that arrived first.
        delivery: String,
        /// The runs that are retried.
        runs: Vec<RunId>,
    },
    /// It is a duplicate, and nothing has to be retried.
    Duplicate {
        /// The delivery that arrived first.
        delivery: String,
        /// Its runs.
        runs: Vec<RunId>,
    },
}

impl Store {
    /// Accepts deliveries, all in one commit: they are on disk when this returns.
    pub async fn accept(&self, deliveries: &[NewDelivery]) -> Result<Vec<Accepted>, StoreError> {
        // Before other transactions wait for this one.
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
        // Stored deliveries decide the result, so replicas that receive the same delivery wait for each other.
        let ordered = deliveries
            .iter()
            .map(|new| format!("{} {}", new.delivery.forge, new.delivery.ordering_key));
        tx.advisory_lock(ordered.collect()).await?;
        let results = duplicates::judge(&mut *tx, deliveries).await?;
        let mut outcomes = Vec::with_capacity(deliveries.len());
        let mut news = Vec::with_capacity(deliveries.len());
        for (new, result) in deliveries.iter().zip(results) {
            outcomes.push(match result {
                Duplication::New(arrival) => {
                    news.push((new, arrival));
                    Accepted::New
                }
                Duplication::SameAs(first) => Accepted::Duplicate {
                    delivery: first.id.clone(),
                    runs: first.runs.iter().map(|run| run.id.clone()).collect(),
                },
                Duplication::Known => accept_one(&mut *tx, new).await?,
            });
        }
        insert(&mut *tx, news.into_iter()).await?;
        tx.commit().await?;
        Ok(outcomes)
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
            // If the run was superseded, the run that does its work may have failed.
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

    let arrival = match new.source {
        // It is late, and a run for what is live follows it.
        Source::Log => Arrival::InOrder,
        Source::Webhook => Arrival::Repeated,
    };
    insert(tx, std::iter::once((incoming, arrival))).await?;
    Ok(Accepted::New)
}

/// Inserts deliveries with their runs and the runs' first work.
async fn insert<'d>(
    tx: &mut dyn Transaction,
    news: impl Iterator<Item = (&'d Incoming<'d>, Arrival)>,
) -> Result<(), StoreError> {
    let (mut deliveries, mut ordered) = (Vec::new(), Vec::new());
    let (mut new_runs, mut shown, mut work) = (Vec::new(), Vec::new(), Vec::new());
    for (incoming, arrival) in news {
        let Incoming {
            delivery: new,
            body,
            dedup_hash,
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
            *dedup_hash,
            Bytes::copy_from_slice(body.digest.as_bytes()),
            new.source.as_str(),
            new.received_at.as_millisecond(),
        ]);
        ordered.push((*new, arrival));
        for run in &new.runs {
            let run = match run.arrival == arrival {
                true => Cow::Borrowed(run),
                false => Cow::Owned(Run {
                    arrival,
                    ..run.clone()
                }),
            };
            shown.extend(statuses::first(&run, new.received_at));
            work.extend(work_queue::new_rows(&run, new.start_at));
            new_runs.push(run);
        }
    }
    if deliveries.is_empty() {
        return Ok(());
    }
    insert_rows(tx, INSERT, "", deliveries).await?;
    duplicates::put_newest(tx, &ordered).await?;
    runs::insert(tx, new_runs.iter().map(|run| &**run)).await?;
    insert_rows(tx, statuses::INSERT, "", shown).await?;
    insert_rows(tx, work_queue::INSERT, "", work).await?;
    tx.notify().await
}

const INSERT: &str =
    "INSERT INTO deliveries (id, forge, forge_delivery, event, ordering_key, dedup_key,
    content_type, body, dedup_hash, digest, source, received_at)";
