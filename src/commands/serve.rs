//! `purgehook serve`: receives webhooks, purges, and reports.

use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tracing::{info, warn};

use super::options::ServerOptions;
use super::reload::Reloader;
use super::{dumps, load_to_serve, logging, open_store, shared_clock};
use crate::clock::{Clock, SharedTime};
use crate::config::{Loaded, Reloads, Started, fingerprint, is_loopback};
use crate::engine::Engine;
use crate::http::Outbound;
use crate::server;
use crate::store::StoreError;

/// The default log filter. From libraries, only what an operator should investigate: malformed data on a public
/// socket is not.
const LOG: &str = "info,actix_http::h1=off,actix_server=warn,sqlx=warn";

/// Signals within this time count as one: a terminal and a supervisor may both send one.
const ONE_SIGNAL: Duration = Duration::from_secs(1);

/// Serves until SIGTERM or SIGINT, then lets running work finish, for at most 25 seconds. A second signal, at least
/// a second later, ends it at once: nothing is lost, but other replicas wait for its leases to expire.
pub async fn run(rules: &Path, options: &ServerOptions) -> anyhow::Result<ExitCode> {
    let time = SharedTime::system();
    let outbound = Outbound::new(time.clock())?;
    let _logging = logging::start(LOG, outbound.redactor.clone());
    // Before the rules are read, and with them the secrets.
    dumps::forbid();
    // Before anything else: otherwise a signal could not stop it as the first process of a container.
    let mut signals = Signals {
        terminate: signal(SignalKind::terminate())?,
        interrupt: signal(SignalKind::interrupt())?,
    };
    let (stop, stopping) = watch::channel(false);
    let serving = serve(rules, options, time, outbound, stopping);
    tokio::pin!(serving);
    tokio::select! {
        ended = &mut serving => return ended,
        name = signals.next() => info!("stopping: {name}"),
    }
    stop.send_replace(true);
    let began = Instant::now();
    let again = async {
        loop {
            let name = signals.next().await;
            if began.elapsed() >= ONE_SIGNAL {
                return name;
            }
        }
    };
    tokio::select! {
        ended = serving => ended,
        name = again => {
            warn!("stopping at once: {name} came as well; what was in hand goes on after the next start");
            Ok(ExitCode::FAILURE)
        }
    }
}

/// How often to check that the database is still the one that was opened. Each transaction checks this too.
const LOOK_AT_FILES: Duration = Duration::from_secs(2);

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
    time: SharedTime,
    outbound: Outbound,
    mut stopping: watch::Receiver<bool>,
) -> anyhow::Result<ExitCode> {
    server::raise_file_limit();
    // Before the rules are read: otherwise a SIGHUP in between would end the program.
    let hang_up = signal(SignalKind::hangup())?;
    // Opening the store may take long, and changes in that time must be noticed.
    let own = [rules.to_owned()];
    let before = fingerprint(&own);
    let Loaded { config, warnings } = load_to_serve(rules, options, &outbound)?;
    let taken = (fingerprint(&own) == before).then(|| fingerprint(&warnings.files));
    let config = Arc::new(config);
    let store = tokio::select! {
        store = async {
            let store = open_store(&config).await?;
            store.begin_serving().await?;
            // Before the first claim, which depends on it.
            store.synchronize(&time).await?;
            store.release_all_leases().await?;
            store.remove_abandoned_bodies().await?;
            anyhow::Ok(store)
        } => store?,
        _ = stopping.wait_for(|stop| *stop) => return Ok(ExitCode::SUCCESS),
    };
    let clock = time.clock();
    let (config_sender, config_now) = watch::channel(Arc::clone(&config));
    let (reloads_sender, reloads) = watch::channel(Reloads::begin(clock.now()));
    let engine = Engine::new(config_now, store, clock.clone());

    let (watched, watch_clock) = (Arc::clone(&engine), clock.clone());
    let listen = &config.server.listen;
    let running = server::start(Arc::clone(&engine), listen, reloads, stopping.clone())
        .map_err(|error| cannot_listen(listen, &error))?;
    for address in running.addresses() {
        info!(sites = config.sites.len(), "listening on http://{address}");
    }
    if options.listen.listen.is_some() && config.server.read_token.is_none() && !is_loopback(listen)
    {
        warn!(
            "whoever reaches {listen} may read the pages, the API and the metrics: `server.read_token` closes them"
        );
    }
    if config.server.dry_run {
        info!("dry run: nothing is purged and no status is posted");
    }
    let reloader = Reloader {
        rules: rules.to_owned(),
        options: options.clone(),
        outbound,
        clock,
        started: Started::with(&config),
        files: warnings.files,
        taken,
        config: config_sender,
        reloads: reloads_sender,
    };
    let steps = async {
        tokio::spawn(engine.run(stopping))
            .await
            .context("the engine stopped unexpectedly")
    };
    let server = async {
        running
            .stopped()
            .await
            .context("the server stopped unexpectedly")
    };
    // If one of them fails, the other is useless.
    let serving = async { tokio::try_join!(server, steps) };
    tokio::select! {
        ended = serving => drop(ended?),
        error = replaced(&watched, &watch_clock) => return Err(error.into()),
        never = shared_clock::keep(watched.store(), &time) => match never {},
        never = reloader.run(hang_up) => match never {},
    }
    info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// Returns when the database is no longer the one that was opened. Then nothing can be stored, so serving is
/// useless.
async fn replaced(engine: &Engine, clock: &Clock) -> StoreError {
    loop {
        clock.sleep(LOOK_AT_FILES).await;
        if let Err(error @ StoreError::Replaced(_)) = engine.store().check_files().await {
            return error;
        }
    }
}

fn cannot_listen(listen: &str, error: &io::Error) -> anyhow::Error {
    let advice = match error.kind() {
        io::ErrorKind::AddrInUse => {
            "; another program listens there: stop it, or give another address"
        }
        io::ErrorKind::PermissionDenied => {
            "; ports below 1024 are not for everyone: take a higher one, with a proxy in front"
        }
        io::ErrorKind::AddrNotAvailable => {
            "; it is no address of this machine: 0.0.0.0 stands for all of them"
        }
        _ => "",
    };
    anyhow!("cannot listen on {listen}: {error}{advice} (`server.listen` or --listen)")
}
