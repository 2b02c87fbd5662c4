//! `purgehook run`: starts a run without a webhook.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

use super::options::ServerOptions;
use super::shared_clock::clock_of;
use super::{load, loopback, open_existing_store, shown};
use crate::engine::{Engine, only_branch};

/// Starts the run; the server on the same store executes it.
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
    let store = open_existing_store(&config).await?;
    let (_keep, config_now) = watch::channel(Arc::clone(&config));
    let clock = clock_of(&store).await?;
    let engine = Engine::new(config_now, store, clock);
    let id = engine.start_by_hand(site, branch, everything).await?;
    println!(
        "run {id} is started for {} at the head of {branch}",
        site.name
    );
    let listen = &config.server.listen;
    if !someone_listens(listen).await {
        eprintln!(
            "note: no server answers at {listen} (`server.listen`): the run waits until one works on {}",
            shown(&config.server.database)
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// How long a server may take to accept a connection.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// Whether a server listens at the configured address. Other servers may use the same database.
async fn someone_listens(listen: &str) -> bool {
    let connected = timeout(ANSWER_LIMIT, TcpStream::connect(loopback(listen))).await;
    matches!(connected, Ok(Ok(_)))
}
