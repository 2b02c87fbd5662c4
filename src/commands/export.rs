//! `purgehook export`: everything that is stored about a run, as JSON.

use std::io::{self, BufWriter, Write, stdout};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use serde::Serialize;

use super::options::DatabaseOption;
use super::{load, open_existing_store};
use crate::changes::{Completeness, FilePath};
use crate::config::Config;
use crate::purge::Mode;
use crate::run::{Base, Run, RunId};
use crate::server::{PurgeItem, RunHead, StatusItem};
use crate::store::{Store, StoreError, StoredDelivery, StoredTask};

/// Purges per read.
const PURGES_AT_ONCE: u32 = 1_000;

/// The run's delivery, without its body, which contains names and e-mail addresses.
#[derive(Serialize)]
struct DeliveryFacts {
    id: String,
    forge: String,
    forge_delivery: Option<String>,
    event: String,
    content_type: String,
    bytes: usize,
    source: &'static str,
    received_at: String,
}

impl DeliveryFacts {
    fn new(id: &str, delivery: StoredDelivery) -> Self {
        let StoredDelivery {
            forge,
            forge_delivery,
            event,
            content_type,
            body,
            source,
            received_at,
        } = delivery;
        Self {
            id: id.to_owned(),
            forge,
            forge_delivery,
            event,
            content_type,
            bytes: body.size(),
            source: source.as_str(),
            received_at: received_at.to_string(),
        }
    }
}

/// A batch with purges of the run, possibly together with those of other runs.
#[derive(Serialize)]
struct TaskItem {
    /// The CDN's id of it, which the run's purges refer to.
    task: Option<String>,
    cdn: String,
    kind: &'static str,
    mode: Option<&'static str>,
    state: &'static str,
    /// The number of its targets.
    size: i64,
    error: Option<String>,
    submitted_at: String,
    deadline: String,
    ended_at: Option<String>,
}

impl From<StoredTask> for TaskItem {
    fn from(task: StoredTask) -> Self {
        let StoredTask {
            id: _,
            // Some vendors identify accounts by a key's id.
            account: _,
            cdn,
            kind,
            mode,
            state,
            vendor_id,
            error,
            size,
            submitted_at,
            deadline,
            ended_at,
        } = task;
        Self {
            task: vendor_id.map(|ids| ids.to_string()),
            cdn,
            kind: kind.as_str(),
            mode: mode.map(Mode::as_str),
            state: state.as_str(),
            size,
            error,
            submitted_at: submitted_at.to_string(),
            deadline: deadline.to_string(),
            ended_at: ended_at.map(|at| at.to_string()),
        }
    }
}

#[derive(Serialize)]
struct FileItem {
    path: String,
    change: &'static str,
}

/// Writes a run to standard output in portions: it may have hundreds of thousands of purges.
pub async fn run(rules: &Path, options: &DatabaseOption, run: String) -> anyhow::Result<ExitCode> {
    let config = load(rules, &options.into())?;
    let store = open_existing_store(&config).await?;
    let id = RunId(run);
    let Some(found) = store.run(&id).await? else {
        bail!("there is no run {id}, or not any more; `purgehook runs` lists those there are");
    };
    let mut out = BufWriter::new(stdout());
    write(&mut out, &config, &store, found).await?;
    writeln!(out)
        .and_then(|()| out.flush())
        .context("cannot write the run")?;
    // Each part is read at its own time.
    if store.run(&id).await?.is_none() {
        bail!(
            "run {id} was removed meanwhile (`server.retention`): what is written is a part of it"
        );
    }
    Ok(ExitCode::SUCCESS)
}

async fn write(
    out: &mut (impl Write + Send),
    config: &Config,
    store: &Store,
    run: Run,
) -> anyhow::Result<()> {
    let id = run.id.clone();
    let (proof, bases) = (run.proof.map(Completeness::as_str), run.bases.clone());
    let bases: Vec<&str> = bases.iter().map(Base::as_str).collect();
    let delivery = match &run.delivery {
        Some(delivery) => store
            .delivery(delivery)
            .await?
            .map(|found| DeliveryFacts::new(delivery, found)),
        None => None,
    };
    let covers = store.covered_by([&id]).await?.into_iter();
    let covers: Vec<String> = covers.map(|covered| covered.id.0).collect();
    write!(out, "{{\"run\": ")?;
    serde_json::to_writer(&mut *out, &RunHead::new(config, run))?;
    write!(out, ",\n\"covers\": ")?;
    serde_json::to_writer(&mut *out, &covers)?;
    write!(out, ",\n\"delivery\": ")?;
    serde_json::to_writer(&mut *out, &delivery)?;
    write!(out, ",\n\"changes\": {{\"proof\": ")?;
    serde_json::to_writer(&mut *out, &proof)?;
    write!(out, ", \"held\": ")?;
    serde_json::to_writer(&mut *out, &bases)?;
    write!(out, ", \"files\": ")?;
    write_files(out, store, &id).await?;
    write!(out, "}},\n\"purges\": [")?;
    let mut list = List::default();
    let mut last = 0;
    loop {
        let page = store.purges(&id, last, PURGES_AT_ONCE).await?;
        let Some(end) = page.last() else { break };
        last = end.id;
        for purge in page {
            list.add(out, &PurgeItem::from(purge))?;
        }
    }
    write!(out, "],\n\"tasks\": [")?;
    let mut list = List::default();
    for task in store.tasks_of_run(&id).await? {
        list.add(out, &TaskItem::from(task))?;
    }
    write!(out, "],\n\"statuses\": [")?;
    let mut list = List::default();
    for status in store.statuses(&id).await? {
        list.add(out, &StatusItem::from(status))?;
    }
    write!(out, "]}}")?;
    Ok(())
}

/// The list of changed files; null if it is not known.
async fn write_files(
    out: &mut (impl Write + Send),
    store: &Store,
    run: &RunId,
) -> anyhow::Result<()> {
    let mut list = List::default();
    let mut written = Ok(());
    let add = |path: FilePath, kind: crate::changes::ChangeKind| {
        if written.is_ok() {
            let item = FileItem {
                path: path.to_string(),
                change: kind.as_str(),
            };
            let begun = if list.is_begun {
                Ok(())
            } else {
                write!(out, "[")
            };
            written = begun.and_then(|()| list.add(out, &item));
        }
    };
    let known: Result<_, StoreError> = store.each_change(run, add).await;
    let known = known?.is_some();
    written?;
    match (known, list.is_begun) {
        (false, _) => write!(out, "null")?,
        (true, false) => write!(out, "[]")?,
        (true, true) => write!(out, "]")?,
    }
    Ok(())
}

/// Items of a list, one per line, separated by commas.
#[derive(Default)]
struct List {
    is_begun: bool,
}

impl List {
    fn add(&mut self, out: &mut impl Write, item: &impl Serialize) -> io::Result<()> {
        let before = if self.is_begun { ",\n" } else { "\n" };
        self.is_begun = true;
        out.write_all(before.as_bytes())?;
        serde_json::to_writer(out, item).map_err(io::Error::from)
    }
}
