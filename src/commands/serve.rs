//! `purgehook serve`: receive webhooks, purge, report.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tracing::{info, warn};

use super::{load, open_store, start_logging};
use crate::cli::ServerOptions;
use crate::clock::Clock;
use crate::engine::Engine;
use crate::server;

/// Serves until SIGTERM or SIGINT, then lets what is in hand finish, for 25 seconds at most.
/// A second signal ends it at once: nothing is lost, but others wait for its leases to end.
pub async fn run(rules: &Path, options: &ServerOptions) -> anyhow::Result<ExitCode> {
    start_logging("info");
    // Before anything else: as the first process of a container, it would not be stopped by a signal otherwise.
    let mut signals = Signals {
        terminate: signal(SignalKind::terminate())?,
        interrupt: signal(SignalKind::interrupt())?,
    };
    let (stop, stopping) = watch::channel(false);
    let serving = serve(rules, options, stopping);
    tokio::pin!(serving);
    tokio::select! {
        ended = &mut serving => return ended,
        name = signals.next() => info!("stopping: {name}"),
    }
    stop.send_replace(true);
    tokio::select! {
        ended = serving => ended,
        name = signals.next() => {
            warn!("stopping at once: {name} came as well; what was in hand goes on after the next start");
            Ok(ExitCode::FAILURE)
        }
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

async fn serve(
    rules: &Path,
    options: &ServerOptions,
    mut stopping: watch::Receiver<bool>,
) -> anyhow::Result<ExitCode> {
    server::raise_file_limit();
    let config = Arc::new(load(rules, options)?);
    let store = tokio::select! {
        store = async {
            let store = open_store(&config).await?;
            store.free_leases().await?;
            anyhow::Ok(store)
        } => store?,
        _ = stopping.wait_for(|stop| *stop) => return Ok(ExitCode::SUCCESS),
    };
    let (_keep, config_now) = watch::channel(Arc::clone(&config));
    let engine = Engine::new(config_now, store, Clock::system());

    let running = server::start(Arc::clone(&engine), &config.server.listen, stopping.clone())
        .with_context(|| format!("cannot listen on {}", config.server.listen))?;
    for address in running.addresses() {
        info!(sites = config.sites.len(), "listening on http://{address}");
    }
    let steps = async {
        tokio::spawn(engine.run(stopping))
            .await
            .context("the engine broke off")
    };
    let server = async { running.stopped().await.context("the server broke off") };
    // Neither is of use without the other.
    tokio::try_join!(server, steps)?;
    info!("stopped");
    Ok(ExitCode::SUCCESS)
}
