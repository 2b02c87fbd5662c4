//! `purgehook run`: a run that no webhook asked for.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use tokio::sync::watch;

use super::options::ServerOptions;
use super::{load, open_store};
use crate::clock::Clock;
use crate::engine::{Engine, only_branch};

/// Starts the run; the server that runs on the same store takes it up.
pub async fn run(
    rules: &Path,
    options: &ServerOptions,
    site: &str,
    branch: Option<&str>,
    everything: bool,
) -> anyhow::Result<ExitCode> {
    let config = Arc::new(load(rules, options)?);
    let known: Vec<&str> = config.sites.keys().map(String::as_str).collect();
    let site = config
        .sites
        .get(site)
        .with_context(|| format!("there is no site {site:?}; there is {}", known.join(", ")))?;
    let branch = branch
        .or_else(|| only_branch(site))
        .context("the site follows several branches; say which with --branch")?;
    let store = open_store(&config).await?;
    let (_keep, config_now) = watch::channel(Arc::clone(&config));
    let engine = Engine::new(config_now, store, Clock::system());
    let id = engine.start_by_hand(site, branch, everything).await?;
    println!(
        "run {id} is started for {} at the head of {branch}",
        site.name
    );
    Ok(ExitCode::SUCCESS)
}
