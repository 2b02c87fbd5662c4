//! `purgehook serve`: receive webhooks, purge, report.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing::info;

use super::{load, open_store, start_logging};
use crate::cli::ServerOptions;
use crate::clock::Clock;
use crate::engine::Engine;
use crate::server;

/// Serves until SIGTERM or SIGINT, then lets what is in hand finish.
pub async fn run(rules: &Path, options: &ServerOptions) -> anyhow::Result<ExitCode> {
    start_logging("info");
    let config = Arc::new(load(rules, options)?);
    let store = open_store(&config).await?;
    store.free_leases().await?;
    let (_keep, config_now) = watch::channel(Arc::clone(&config));
    let engine = Engine::new(config_now, store, Clock::system());

    let (stop, stopping) = watch::channel(false);
    let running = server::start(Arc::clone(&engine), &config.server.listen, stopping.clone())
        .with_context(|| format!("cannot listen on {}", config.server.listen))?;
    for address in running.addresses() {
        info!(sites = config.sites.len(), "listening on http://{address}");
    }
    let steps = tokio::spawn(engine.run(stopping));

    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => info!("stopping: SIGTERM"),
        _ = interrupt.recv() => info!("stopping: SIGINT"),
    }
    stop.send_replace(true);
    running.stopped().await?;
    steps.await?;
    info!("stopped");
    Ok(ExitCode::SUCCESS)
}
