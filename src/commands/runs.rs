//! `purgehook runs`: lists runs, newest first.

use std::borrow::Cow;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use serde_json::json;
use strum::VariantArray;

use super::options::DatabaseOption;
use super::{load, open_existing_store, sites};
use crate::run::{Run, RunState};
use crate::sanitize::visible;
use crate::store::RunFilter;
use crate::table::{self, printable};

/// Lists runs from the store, whether or not a server is using it.
pub async fn run(
    rules: &Path,
    options: &DatabaseOption,
    site: Option<String>,
    state: Option<&str>,
    limit: u32,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let state = state.map(parse_state).transpose()?;
    let config = load(rules, &options.into())?;
    let store = open_existing_store(&config).await?;
    let filter = RunFilter {
        site,
        state,
        limit,
        ..RunFilter::default()
    };
    let runs = store.runs(&filter).await?;
    // A site that is no longer configured may still have runs.
    if runs.is_empty() && filter.site.is_some() {
        sites(&config, filter.site.as_deref())?;
    }
    if json {
        let list: Vec<_> = runs.iter().map(as_json).collect();
        println!("{}", json!({ "runs": list }));
    } else if runs.is_empty() {
        println!("no runs");
    } else {
        table::write(&mut std::io::stdout().lock(), &HEADER, || {
            runs.iter().map(cells)
        })?;
    }
    Ok(ExitCode::SUCCESS)
}

fn parse_state(word: &str) -> anyhow::Result<RunState> {
    word.parse().with_context(|| {
        let words = RunState::VARIANTS
            .iter()
            .map(|state| state.as_str())
            .collect::<Vec<_>>()
            .join(", ");
        format!("{word:?} is not a state; the states are {words}")
    })
}

fn as_json(run: &Run) -> serde_json::Value {
    json!({
        "id": run.id.0,
        "site": run.site,
        "repo": format!("{}:{}", run.forge, run.repo),
        "ref": run.git_ref.as_ref().map_or_else(String::new, ToString::to_string),
        "commit": run.commit.as_str(),
        "state": run.state.as_str(),
        "mode": if run.dry_run { "dry-run" } else { "live" },
        "summary": run.summary,
        "created_at": run.created_at.to_string(),
        "ended_at": run.ended_at.map(|at| at.to_string()),
    })
}

const HEADER: [&str; 6] = ["run", "site", "commit", "state", "made", "how it stands"];

fn cells(run: &Run) -> [Cow<'_, str>; 6] {
    [
        run.id.0.as_str().into(),
        printable(&run.site),
        run.commit.short().into(),
        run.state.as_str().into(),
        run.created_at
            .strftime("%Y-%m-%d %H:%M:%S")
            .to_string()
            .into(),
        visible(&run.summary),
    ]
}
