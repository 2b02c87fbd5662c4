//! Deliveries as they come and as they are kept.

use std::collections::BTreeSet;

use jiff::Timestamp;
use strum::{EnumString, IntoStaticStr};

use super::bodies::{DeliveryBody, StoredBody};
use super::database::{in_list, params};
use super::{Store, StoreError, timestamp};
use crate::run::Run;

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

impl Store {
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
}
