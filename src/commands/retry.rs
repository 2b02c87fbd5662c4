//! `purgehook retry`: retries a failed run from the point where it failed.

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
use crate::store::RetryOutcome;

/// Makes the run pending again; the server on the same store continues it.
pub async fn run(rules: &Path, options: &DatabaseOption, run: String) -> anyhow::Result<ExitCode> {
    let config = Arc::new(load(rules, &options.into())?);
    let store = open_existing_store(&config).await?;
    let (_keep, config_now) = watch::channel(config);
    let clock = clock_of(&store).await?;
    let engine = Engine::new(config_now, store, clock);
    let id = RunId(run);
    match engine.retry(&id).await? {
        RetryOutcome::NotFound => {
            bail!("there is no run {id}, or not any more; `purgehook runs` lists those there are")
        }
        RetryOutcome::NotRetriable => {
            bail!("run {id} has not failed: only failed and errored runs can be tried again")
        }
        RetryOutcome::Retried => {
            println!("run {id} is tried again");
            Ok(ExitCode::SUCCESS)
        }
    }
}
