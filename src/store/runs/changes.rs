//! Change sets of runs.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::Deserializer;
use serde::de::{Error, SeqAccess, Visitor};

use crate::changes::{ChangeKind, FilePath};
use crate::event::CommitId;
use crate::run::{Link, RunChanges, RunId};
use crate::store::database::{Transaction, params};
use crate::store::{Store, StoreError, parsed};

impl Store {
    /// A run's change set; none if it was not computed yet or is unknown.
    pub async fn changes(&self, id: &RunId) -> Result<Option<RunChanges>, StoreError> {
        let mut files = Vec::new();
        let take = |path, kind| files.push((path, kind));
        let Some(links) = self.each_change(id, take).await? else {
            return Ok(None);
        };
        if links.is_empty() {
            return Ok(Some(BTreeMap::from_iter(files).into()));
        }
        let counts = links.iter().map(|link| link.files).enumerate();
        let brought_by = counts.flat_map(|(at, count)| std::iter::repeat_n(at, count));
        let files = files.into_iter().zip(brought_by);
        let changed = files.map(|((path, kind), by)| (path, (kind, by))).collect();
        Ok(Some(RunChanges::new(links, changed)))
    }

    /// Passes each changed path of a run to a callback, and returns the links that they came from, newest first, as
    /// the paths are. None where [`changes`](Self::changes) returns none.
    pub async fn each_change(
        &self,
        id: &RunId,
        mut take: impl FnMut(FilePath, ChangeKind) + Send,
    ) -> Result<Option<Vec<Link>>, StoreError> {
        let rows = self
            .database
            .read(
                "SELECT files, links FROM run_changes WHERE run = $1",
                params![&id.0],
            )
            .await?;
        let Some(row) = rows.into_iter().next() else {
            return Ok(None);
        };
        let corrupt = |error| StoreError::corrupt(format!("the changes of run {id}: {error}"));
        let (text, links) = (row.text("files")?, row.text("links")?);
        drop(row);
        let mut reader = serde_json::Deserializer::from_str(&text);
        reader
            .deserialize_seq(Files(&mut take))
            .and_then(|()| reader.end())
            .map_err(corrupt)?;
        let links: Vec<KeptLink> = serde_json::from_str(&links).map_err(corrupt)?;
        links
            .into_iter()
            .map(link)
            .collect::<Result<_, _>>()
            .map(Some)
    }
}

/// Stores a run's change set.
pub(in crate::store) async fn put_changes(
    tx: &mut dyn Transaction,
    run: &RunId,
    changes: &RunChanges,
) -> Result<(), StoreError> {
    let links: Vec<KeptLink> = changes.links().iter().map(kept_link).collect();
    tx.execute(
        "INSERT INTO run_changes (run, files, links) VALUES ($1, $2, $3)
         ON CONFLICT (run) DO UPDATE SET files = excluded.files, links = excluded.links",
        params![
            &run.0,
            files_text(&changes.by_link()),
            serde_json::json!(links).to_string()
        ],
    )
    .await?;
    Ok(())
}

/// A stored link: from, to, the proof, and the number of files.
type KeptLink = (String, String, String, usize);

fn kept_link(link: &Link) -> KeptLink {
    let Link {
        from,
        to,
        proof,
        files,
    } = link;
    let proof = proof.as_str().to_owned();
    (from.to_string(), to.to_string(), proof, *files)
}

fn link((from, to, proof, files): KeptLink) -> Result<Link, StoreError> {
    Ok(Link {
        from: parsed("links", &from, CommitId::parse)?,
        to: parsed("links", &to, CommitId::parse)?,
        proof: parsed("links", &proof, |word| word.parse().ok())?,
        files,
    })
}

/// Reads a stored change set one path at a time.
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

/// Paths are bytes and JSON is text, so everything that is not printable ASCII, and `%`, is percent-encoded.
const KEPT: &percent_encoding::AsciiSet = &percent_encoding::CONTROLS.add(b'%');

/// The stored form of a change set.
fn files_text(files: &[(&FilePath, ChangeKind)]) -> String {
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
