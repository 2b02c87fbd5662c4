//! `purgehook skip`: gives up a target that a CDN refuses.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::bail;
use tokio::sync::watch;

use super::options::DatabaseOption;
use super::shared_clock::clock_of;
use super::{load, open_existing_store};
use crate::engine::Engine;
use crate::run::RunId;
use crate::store::SkipOutcome;

/// Gives the target up; the server on the same store ends the run.
pub async fn run(
    rules: &Path,
    options: &DatabaseOption,
    run: String,
    target: &str,
) -> anyhow::Result<ExitCode> {
    let config = Arc::new(load(rules, &options.into())?);
    let store = open_existing_store(&config).await?;
    let (_keep, config_now) = watch::channel(config);
    let clock = clock_of(&store).await?;
    let engine = Engine::new(config_now, store, clock);
    let id = RunId(run);
    match engine.skip(&id, target).await? {
        SkipOutcome::NotFound => {
            bail!("there is no run {id}, or not any more; `purgehook runs` lists those there are")
        }
        SkipOutcome::NoSuchPurge => bail!(
            "run {id} has no purge of {target} that failed or has still to be sent; its page shows its targets"
        ),
        SkipOutcome::Skipped { .. } => {
            println!("{target} is skipped in run {id}");
            Ok(ExitCode::SUCCESS)
        }
    }
}
