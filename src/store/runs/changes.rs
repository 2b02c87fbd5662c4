//! Change sets: what runs found changed.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::Deserializer;
use serde::de::{Error, SeqAccess, Visitor};

use crate::changes::{ChangeKind, FilePath};
use crate::run::RunId;
use crate::store::database::{Transaction, params};
use crate::store::{Store, StoreError};

impl Store {
    /// What a run found changed; none before it looked, or where it could not be known.
    pub async fn changes(
        &self,
        id: &RunId,
    ) -> Result<Option<BTreeMap<FilePath, ChangeKind>>, StoreError> {
        let mut files = BTreeMap::new();
        let known = self
            .each_change(id, |path, kind| {
                files.insert(path, kind);
            })
            .await?;
        Ok(known.then_some(files))
    }

    /// Hands over what a run found changed, one path after the other. False where [`changes`](Self::changes) has none.
    pub async fn each_change(
        &self,
        id: &RunId,
        mut take: impl FnMut(FilePath, ChangeKind) + Send,
    ) -> Result<bool, StoreError> {
        let rows = self
            .database
            .read(
                "SELECT files FROM run_changes WHERE run = $1",
                params![&id.0],
            )
            .await?;
        let Some(row) = rows.into_iter().next() else {
            return Ok(false);
        };
        let text = row.text("files")?;
        drop(row);
        let mut reader = serde_json::Deserializer::from_str(&text);
        reader
            .deserialize_seq(Files(&mut take))
            .and_then(|()| reader.end())
            .map_err(|error| StoreError::corrupt(format!("the changes of run {id}: {error}")))?;
        Ok(true)
    }
}

/// Keeps what a run found changed.
pub(in crate::store) async fn put_changes(
    tx: &mut dyn Transaction,
    run: &RunId,
    files: &BTreeMap<FilePath, ChangeKind>,
) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO run_changes (run, files) VALUES ($1, $2)
         ON CONFLICT (run) DO UPDATE SET files = excluded.files",
        params![&run.0, files_text(files)],
    )
    .await?;
    Ok(())
}

/// Reads a change set in the form in which it is kept, one path at a time.
struct Files<'t, T>(&'t mut T);

impl<'de, T: FnMut(FilePath, ChangeKind)> Visitor<'de> for Files<'_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of letters and paths")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some((letter, path)) = list.next_element::<(char, Cow<'_, str>)>()? {
            let kind = kind_of(letter)
                .ok_or_else(|| A::Error::custom(format_args!("unknown letter {letter:?}")))?;
            let path = percent_encoding::percent_decode_str(&path).collect::<Vec<u8>>();
            (self.0)(FilePath::new(path), kind);
        }
        Ok(())
    }
}

/// Paths are bytes and JSON is text: what is not printable ASCII, and `%`, is percent-encoded.
const KEPT: &percent_encoding::AsciiSet = &percent_encoding::CONTROLS.add(b'%');

/// A change set in the form in which it is kept.
fn files_text(files: &BTreeMap<FilePath, ChangeKind>) -> String {
    let list: Vec<(char, String)> = files
        .iter()
        .map(|(path, kind)| {
            (
                letter_of(*kind),
                percent_encoding::percent_encode(path.as_bytes(), KEPT).to_string(),
            )
        })
        .collect();
    serde_json::to_string(&list).unwrap_or_default()
}

fn letter_of(kind: ChangeKind) -> char {
    match kind {
        ChangeKind::Added => 'A',
        ChangeKind::Modified => 'M',
        ChangeKind::Removed => 'D',
        ChangeKind::AddedAndModified => 'B',
    }
}

fn kind_of(letter: char) -> Option<ChangeKind> {
    match letter {
        'A' => Some(ChangeKind::Added),
        'M' => Some(ChangeKind::Modified),
        'D' => Some(ChangeKind::Removed),
        'B' => Some(ChangeKind::AddedAndModified),
        _ => None,
    }
}
