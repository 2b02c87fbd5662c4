//! Detects duplicate deliveries: by the forge's id, by their bytes, or by their content.
//!
//! The forge's id detects a redelivery. No forge signs the id, so someone who has recorded a delivery can send it under
//! another id: the same bytes with the same content are a duplicate, whenever they arrive. Two webhooks of one
//! repository send different ids and may send different bytes, so the content counts as well, but only against the
//! newest delivery of the same ref and only for a while: a branch that moves from A to B, back to A and to B again
//! sends "A to B" twice. Not every forge writes the time of a push into its body. Without the time, the second "A to B"
//! has the same bytes as the first, but begins where the newest delivery ended.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::bodies::PackedBody;
use super::database::{Row, Transaction, in_list, insert_rows, params};
use super::deliveries::{NewDelivery, Source};
use super::{StoreError, Value, timestamp};
use crate::clock;
use crate::event::ordering_key;
use crate::run::{Arrival, Run};

/// How long a delivery with the content of an earlier one is its duplicate: a second webhook arrives at once. Later it
/// counts as new, since a delivery in between may have been lost.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(15 * 60);

/// Bodies contain times in whole seconds, and take a while to arrive: pushes within this time may have the same bytes.
const TIME_RESOLUTION: Duration = Duration::from_secs(2);

/// A delivery to be stored, with the keys that it is compared by.
pub(super) struct Incoming<'d> {
    pub delivery: &'d NewDelivery,
    pub body: &'d PackedBody,
    /// A hash of its content; collisions are rare.
    pub dedup_hash: i64,
}

impl<'d> Incoming<'d> {
    pub fn new(delivery: &'d NewDelivery, body: &'d PackedBody) -> Self {
        let mut said = Sha256::new();
        for part in [&delivery.forge, &delivery.ordering_key, &delivery.dedup_key] {
            said.update(part);
            said.update([0]);
        }
        let mut dedup_hash = [0; 8];
        dedup_hash.copy_from_slice(&said.finalize()[..8]);
        Self {
            delivery,
            body,
            dedup_hash: i64::from_le_bytes(dedup_hash),
        }
    }

    fn digest(&self) -> Bytes {
        Bytes::copy_from_slice(self.body.digest.as_bytes())
    }

    /// Whether it names the commit before.
    fn is_push(&self) -> bool {
        self.delivery.runs.iter().any(|run| run.before.is_some())
    }

    /// Whether its commit before is this one.
    fn begins_at(&self, commit: &str) -> bool {
        let mut runs = self.delivery.runs.iter();
        let before = runs.find_map(|run| run.before.as_ref());
        before.is_some_and(|before| before.as_str() == commit)
    }
}

/// The commit of a delivery's first run.
fn commit_of(delivery: &NewDelivery) -> &str {
    delivery.runs.first().map_or("", |run| run.commit.as_str())
}

/// The result of comparing a delivery with earlier ones.
pub(super) enum Duplication<'d> {
    /// It is new, and arrived like this relative to the newest delivery of its ordering key.
    New(Arrival),
    /// It is a duplicate of another delivery of its group.
    SameAs(&'d NewDelivery),
    /// It may be a duplicate: [`seen_before`] decides.
    Known,
}

/// Compares a group of deliveries with the stored ones and with each other, in order, with few statements.
pub(super) async fn judge<'d>(
    tx: &mut dyn Transaction,
    deliveries: &[Incoming<'d>],
) -> Result<Vec<Duplication<'d>>, StoreError> {
    let mut known = HashSet::new();
    let mut newest = HashMap::new();
    let forges: BTreeSet<&str> = deliveries.iter().map(|new| &*new.delivery.forge).collect();
    for forge in forges {
        let of_forge = || {
            let all = deliveries.iter().map(|new| new.delivery);
            all.filter(|new| new.forge == forge)
        };
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
    let known_bodies = known_bodies(tx, deliveries).await?;
    // The deliveries of this group, by the forge's id and by their ordering key.
    let mut by_id: HashMap<(&str, &str), &NewDelivery> = HashMap::new();
    let mut last: HashMap<(&str, &str), (&NewDelivery, bool)> = HashMap::new();
    let mut results = Vec::with_capacity(deliveries.len());
    for incoming in deliveries {
        let new = incoming.delivery;
        let forge = new.forge.as_str();
        let id = new.forge_delivery.as_deref();
        let key = (forge, new.ordering_key.as_str());
        let same_id = id.and_then(|id| by_id.get(&(forge, id)).copied());
        let before = last.get(&key).copied();
        let same_words = before
            .map(|(last, _)| last)
            .filter(|last| last.dedup_key == new.dedup_key);
        let result = match same_id.or(same_words) {
            Some(first) => Duplication::SameAs(first),
            // It is compared with the deliveries of the time when it was sent.
            None if new.source == Source::Log => Duplication::Known,
            None if id.is_some_and(|id| known.contains(&(forge, id.to_owned()))) => {
                Duplication::Known
            }
            None if known_bodies.contains(&(incoming.dedup_hash, incoming.digest())) => {
                Duplication::Known
            }
            None => {
                let said = match before {
                    Some(_) => None,
                    None => newest.get(&(forge, new.ordering_key.clone())),
                };
                match said {
                    Some(said) if said.says_the_same(new) => Duplication::Known,
                    said => {
                        let follows = match (before, said) {
                            (Some((last, confirmed)), _) => {
                                confirmed && incoming.begins_at(commit_of(last))
                            }
                            (None, Some(newest)) => {
                                newest.confirmed && incoming.begins_at(&newest.commit)
                            }
                            (None, None) => true,
                        };
                        Duplication::New(match follows || !incoming.is_push() {
                            true => Arrival::InOrder,
                            false => Arrival::OutOfOrder,
                        })
                    }
                }
            }
        };
        if let Duplication::New(arrival) = result {
            last.insert(key, (new, arrival == Arrival::InOrder));
            by_id.extend(id.map(|id| ((forge, id), new)));
        }
        results.push(result);
    }
    Ok(results)
}

/// The earlier delivery that a delivery is a duplicate of.
pub(super) async fn seen_before(
    tx: &mut dyn Transaction,
    incoming: &Incoming<'_>,
) -> Result<Option<String>, StoreError> {
    let new = incoming.delivery;
    if let Some(forge_delivery) = &new.forge_delivery {
        let rows = tx
            .query(
                "SELECT id FROM deliveries WHERE forge = $1 AND forge_delivery = $2",
                params![&new.forge, forge_delivery],
            )
            .await?;
        if let Some(first) = id(&rows)? {
            return Ok(Some(first));
        }
    }
    if new.source == Source::Log
        && let Some(first) = said_at_its_time(tx, incoming).await?
    {
        return Ok(Some(first));
    }
    let rows = tx
        .query(
            "SELECT delivery AS id, ordering_key, dedup_key, commit_id, received_at, confirmed FROM newest_deliveries
             WHERE forge = $1 AND ordering_key = $2",
            params![&new.forge, &new.ordering_key],
        )
        .await?;
    let newest = rows.first().map(Newest::read).transpose()?;
    if newest
        .as_ref()
        .is_some_and(|newest| newest.says_the_same(new))
    {
        return id(&rows);
    }
    let may_repeat = newest.is_some_and(|newest| {
        let same_second = new.received_at < newest.received_at + TIME_RESOLUTION;
        incoming.begins_at(&newest.commit) && (!new.is_dated || same_second)
    });
    if new.source == Source::Log || may_repeat {
        return Ok(None);
    }
    let rows = tx
        .query(
            "SELECT id FROM deliveries WHERE dedup_hash = $1 AND digest = $2 ORDER BY id DESC LIMIT 1",
            params![incoming.dedup_hash, incoming.digest()],
        )
        .await?;
    id(&rows)
}

/// Looks for a duplicate of a delivery from the forge's log. It was sent long ago, so it is compared with the
/// deliveries of that time; its bytes differ from those of the webhook.
async fn said_at_its_time(
    tx: &mut dyn Transaction,
    incoming: &Incoming<'_>,
) -> Result<Option<String>, StoreError> {
    let sent_at = incoming.delivery.sent_at;
    let (first, last) = (sent_at - DUPLICATE_WINDOW, sent_at + DUPLICATE_WINDOW);
    let rows = tx
        .query(
            // An id contains the time of its delivery's arrival.
            "SELECT id FROM deliveries
             WHERE dedup_hash = $1 AND id > $2 AND received_at > $3 AND received_at < $4
             ORDER BY id DESC LIMIT 1",
            params![
                incoming.dedup_hash,
                clock::first_id_of(first),
                first.as_millisecond(),
                last.as_millisecond()
            ],
        )
        .await?;
    id(&rows)
}

fn id(rows: &[Row]) -> Result<Option<String>, StoreError> {
    rows.first().map(|row| row.text("id")).transpose()
}

/// The newest delivery of an ordering key.
struct Newest {
    dedup_key: String,
    /// The commit of its first run.
    commit: String,
    received_at: Timestamp,
    /// Whether it arrived in order, or the forge has confirmed it since.
    confirmed: bool,
}

impl Newest {
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            dedup_key: row.text("dedup_key")?,
            commit: row.text("commit_id")?,
            received_at: timestamp(row.int("received_at")?)?,
            confirmed: row.int("confirmed")? != 0,
        })
    }

    /// Whether a delivery with the same content is a duplicate of this one.
    fn says_the_same(&self, new: &NewDelivery) -> bool {
        self.dedup_key == new.dedup_key && new.received_at < self.received_at + DUPLICATE_WINDOW
    }
}

/// The delivery ids of a forge that are already stored.
async fn known_ids(
    tx: &mut dyn Transaction,
    forge: &str,
    ids: &[&str],
) -> Result<Vec<String>, StoreError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut values = params![forge];
    let listed = in_list(&mut values, ids.iter().copied());
    let sql = format!(
        "SELECT forge_delivery FROM deliveries WHERE forge = $1 AND forge_delivery IN ({listed})"
    );
    let rows = tx.query(&sql, values).await?;
    rows.iter().map(|row| row.text("forge_delivery")).collect()
}

/// Stored bodies with the content of one of these deliveries: the hash of the content, and the digest.
async fn known_bodies(
    tx: &mut dyn Transaction,
    deliveries: &[Incoming<'_>],
) -> Result<HashSet<(i64, Bytes)>, StoreError> {
    let mut values = Vec::new();
    let listed = in_list(&mut values, deliveries.iter().map(|new| new.dedup_hash));
    let sql = format!("SELECT dedup_hash, digest FROM deliveries WHERE dedup_hash IN ({listed})");
    let rows = tx.query(&sql, values).await?;
    let known = rows.iter();
    known
        .map(|row| Ok((row.int("dedup_hash")?, row.bytes("digest")?)))
        .collect()
}

/// The newest delivery of each ordering key.
async fn newest_of(
    tx: &mut dyn Transaction,
    forge: &str,
    keys: BTreeSet<&str>,
) -> Result<Vec<(String, Newest)>, StoreError> {
    let mut values = params![forge];
    let listed = in_list(&mut values, keys);
    let sql = format!(
        "SELECT ordering_key, dedup_key, commit_id, received_at, confirmed FROM newest_deliveries
         WHERE forge = $1 AND ordering_key IN ({listed})"
    );
    let rows = tx.query(&sql, values).await?;
    rows.iter()
        .map(|row| Ok((row.text("ordering_key")?, Newest::read(row)?)))
        .collect()
}

const INSERT_NEWEST: &str = "INSERT INTO newest_deliveries
    (forge, ordering_key, delivery, dedup_key, commit_id, received_at, confirmed)";
const IF_NEWER: &str = "ON CONFLICT (forge, ordering_key) DO UPDATE SET
    delivery = excluded.delivery, dedup_key = excluded.dedup_key, commit_id = excluded.commit_id,
    received_at = excluded.received_at, confirmed = excluded.confirmed
    WHERE newest_deliveries.delivery < excluded.delivery";

/// Records the newest delivery of each ordering key, and whether it arrived in order.
pub(super) async fn put_newest(
    tx: &mut dyn Transaction,
    deliveries: &[(&NewDelivery, Arrival)],
) -> Result<(), StoreError> {
    let mut newest = BTreeMap::new();
    for (new, arrival) in deliveries {
        let at = newest
            .entry((&new.forge, &new.ordering_key))
            .or_insert((*new, *arrival));
        if at.0.id < new.id {
            *at = (*new, *arrival);
        }
    }
    let rows = newest.into_values().map(|(new, arrival)| -> Vec<Value> {
        params![
            &new.forge,
            &new.ordering_key,
            &new.id,
            &new.dedup_key,
            commit_of(new),
            new.received_at.as_millisecond(),
            i64::from(arrival == Arrival::InOrder)
        ]
    });
    insert_rows(tx, INSERT_NEWEST, IF_NEWER, rows.collect()).await
}

/// Records the head of a branch that no delivery named: the next push is in order if it begins there.
pub(super) async fn note_head(tx: &mut dyn Transaction, run: &Run) -> Result<(), StoreError> {
    let Some(git_ref) = &run.git_ref else {
        return Ok(());
    };
    tx.execute(
        "UPDATE newest_deliveries SET commit_id = $3, confirmed = 1 WHERE forge = $1 AND ordering_key = $2",
        params![
            &run.forge,
            ordering_key(&run.repo, git_ref),
            run.commit.as_str()
        ],
    )
    .await?;
    Ok(())
}

/// Records that a delivery was in order after all, if it is still the newest of its ordering key.
pub(super) async fn confirm(tx: &mut dyn Transaction, delivery: &str) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE newest_deliveries SET confirmed = 1
         WHERE delivery = $1
             AND (forge, ordering_key) = (SELECT forge, ordering_key FROM deliveries WHERE id = $1)",
        params![delivery],
    )
    .await?;
    Ok(())
}
