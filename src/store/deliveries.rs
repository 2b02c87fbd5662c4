//! Deliveries as they arrive and as they are stored.

use std::collections::BTreeSet;

use jiff::Timestamp;
use strum::{EnumString, IntoStaticStr};

use super::bodies::{DeliveryBody, StoredBody};
use super::database::{in_list, params};
use super::{Store, StoreError, timestamp};
use crate::run::Run;

/// Ids per lookup statement.
const IDS_AT_ONCE: usize = 200;

/// How a delivery reached purgehook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Source {
    /// As a webhook request with a valid signature.
    Webhook,
    /// Read from the forge's delivery log, since it never arrived. Its body was serialized again, so no signature
    /// covers it; the authenticated connection to the forge's API vouches for it.
    Log,
}

impl Source {
    /// Its name in the database.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// A verified delivery with the runs that it starts.
#[derive(Clone, Debug)]
pub struct NewDelivery {
    /// Our id.
    pub id: String,
    /// The forge, by its name under `forges:`.
    pub forge: String,
    /// The forge's id, if it has one.
    pub forge_delivery: Option<String>,
    /// The forge's name of the event.
    pub event: String,
    /// The repository and ref that it concerns.
    pub ordering_key: String,
    /// A key of its content.
    pub dedup_key: String,
    /// The body's content type, without parameters.
    pub content_type: String,
    /// Its body.
    pub body: DeliveryBody,
    /// Whether its bytes contain the time of the event in seconds, so that a later event never has the same bytes.
    pub is_dated: bool,
    /// How it arrived.
    pub source: Source,
    /// When the forge sent it, if that is known.
    pub sent_at: Timestamp,
    /// When it arrived.
    pub received_at: Timestamp,
    /// The runs that it starts, at least one.
    pub runs: Vec<Run>,
    /// When their first steps are due.
    pub start_at: Timestamp,
}

/// A stored delivery.
#[derive(Clone, Debug)]
pub struct StoredDelivery {
    /// The forge, by its name under `forges:`.
    pub forge: String,
    /// The forge's id.
    pub forge_delivery: Option<String>,
    /// The forge's name of the event.
    pub event: String,
    /// The body's content type.
    pub content_type: String,
    /// Its body.
    pub body: StoredBody,
    /// How it arrived.
    pub source: Source,
    /// When it arrived.
    pub received_at: Timestamp,
}

impl Store {
    /// Reads a stored delivery.
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

    /// Which of the given ids of a forge belong to stored deliveries.
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
}
