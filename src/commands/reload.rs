//! Reloads the rules file while serving, on SIGHUP or when it has changed.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::Signal;
use tokio::sync::watch;
use tracing::{error, info, warn};

use super::options::ServerOptions;
use super::overridden;
use crate::clock::Clock;
use crate::config::{self, Config, Loaded, Reloads, Started, fingerprint};
use crate::http::Outbound;
use crate::settings::{Environment, Problems};

/// How often to check the files. A changed file is read once it has been stable for that long.
const LOOK: Duration = Duration::from_secs(1);

/// Reloads the rules file when it changes.
pub(super) struct Reloader {
    pub rules: PathBuf,
    pub options: ServerOptions,
    pub outbound: Outbound,
    pub clock: Clock,
    pub started: Started,
    /// The files that the rules in use were read from.
    pub files: Vec<PathBuf>,
    /// The fingerprint of those files when they were read; none if they changed meanwhile.
    pub taken: Option<u64>,
    pub config: watch::Sender<Arc<Config>>,
    pub reloads: watch::Sender<Reloads>,
}

impl Reloader {
    /// Checks the files periodically, and reads them at once on SIGHUP. Never returns.
    pub async fn run(mut self, mut hang_up: Signal) -> Infallible {
        let mut taken = self.taken;
        let mut seen = taken;
        loop {
            let asked = tokio::select! {
                () = self.clock.sleep(LOOK) => false,
                signal = hang_up.recv() => signal.is_some(),
            };
            let now = self.look().await;
            // Editors truncate a file before they write it: read it once it is stable.
            let stands_still = seen == Some(now);
            seen = Some(now);
            if !asked && (taken == seen || !stands_still) {
                continue;
            }
            let files = self.reload().await;
            let of_these = look_at(files.clone()).await;
            // Changes during the reading are read again.
            taken = (self.look().await == now).then_some(of_these);
            self.files = files;
            seen = taken;
        }
    }

    async fn look(&self) -> u64 {
        look_at(self.files.clone()).await
    }

    /// Reads the rules file and starts using it if it is valid; returns the files to watch.
    async fn reload(&self) -> Vec<PathBuf> {
        let (path, outbound) = (self.rules.clone(), self.outbound.clone());
        let read = tokio::task::spawn_blocking(move || {
            config::load(&path, Environment::of_process(), &outbound)
        });
        match read.await {
            Ok(Ok(loaded)) => self.take_up(loaded),
            Ok(Err(problems)) => self.refuse(&problems),
            Err(cut_off) => {
                error!("reading the rules file was cut off: {cut_off}");
                self.files.clone()
            }
        }
    }

    fn take_up(&self, loaded: Loaded) -> Vec<PathBuf> {
        let Loaded { config, warnings } = loaded;
        let config = overridden(config, &self.options);
        info!(
            sites = config.sites.len(),
            "took up the rules file {}", warnings.file
        );
        if !warnings.list.is_empty() {
            warn!("{warnings}");
        }
        let now = self.clock.now();
        let config = Arc::new(config);
        self.config.send_replace(Arc::clone(&config));
        // Only now: a reader of this could otherwise still be served by the old rules.
        self.reloads
            .send_modify(|reloads| reloads.take_up(now, &self.started, &config));
        for difference in &self.reloads.borrow().after_restart {
            warn!("{difference}");
        }
        warnings.files
    }

    /// The previous rules stay in use.
    fn refuse(&self, problems: &Problems) -> Vec<PathBuf> {
        error!(
            "the rules file cannot be used, and the rules that were in force stay so:\n{problems}"
        );
        let now = self.clock.now();
        self.reloads
            .send_modify(|reloads| reloads.refuse(now, problems));
        // The file may be rejected because of one of its secret files, or before it names one.
        let mut files = self.files.clone();
        files.extend(problems.files.iter().cloned());
        files.sort();
        files.dedup();
        files
    }
}

async fn look_at(files: Vec<PathBuf>) -> u64 {
    let looked = tokio::task::spawn_blocking(move || fingerprint(&files));
    // Fails only when the program stops.
    looked.await.unwrap_or_default()
}
