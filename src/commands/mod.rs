//! One verb each: wiring only.

pub mod check;
pub mod demo;
pub mod explain;
pub mod export;
mod git;
pub mod healthcheck;
pub mod options;
pub mod plan;
mod reload;
pub mod retry;
pub mod run;
pub mod runs;
pub mod schema;
pub mod serve;
pub mod test;

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use tracing_subscriber::EnvFilter;

use self::options::ServerOptions;
use crate::clock::Clock;
use crate::config::{self, Config, Loaded, Site};
use crate::http::Outbound;
use crate::redact::Redactor;
use crate::settings::Environment;
use crate::store::Store;

/// Logs to standard error: readable on a terminal, JSON otherwise. `RUST_LOG` says what.
/// Libraries log too, so no line goes out with a secret in it that `redactor` knows of.
fn start_logging(default: &str, redactor: Redactor) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(move || Log(redactor.clone()))
        // It would say on standard error that standard error takes nothing, and break off at that:
        // a full disk with the log on it would end every request.
        .log_internal_errors(false);
    // A second start of logging, in a test, is no harm.
    let _ = if std::io::stderr().is_terminal() {
        builder.with_target(false).try_init()
    } else {
        // The request is said once: there are no spans within spans.
        builder
            .json()
            .flatten_event(true)
            .with_span_list(false)
            .try_init()
    };
}

/// Standard error, without secrets. One write is one line of the log.
struct Log(Redactor);

impl Write for Log {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        let shown = String::from_utf8_lossy(line);
        std::io::stderr().write_all(self.0.redact(&shown).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().flush()
    }
}

/// Reads the rules file; shows its problems, or its warnings, on standard error.
fn load(rules: &Path, options: &ServerOptions) -> anyhow::Result<Config> {
    let outbound = Outbound::new(Clock::system())?;
    let Loaded { config, .. } = load_with(rules, options, &outbound)?;
    Ok(config)
}

/// As [`load`], with clients that go out by `outbound`.
fn load_with(rules: &Path, options: &ServerOptions, outbound: &Outbound) -> anyhow::Result<Loaded> {
    match config::load(rules, Environment::of_process(), outbound) {
        Ok(loaded) => {
            if !loaded.warnings.list.is_empty() {
                eprintln!(
                    "{}",
                    loaded.warnings.render(std::io::stderr().is_terminal())
                );
            }
            Ok(Loaded {
                config: overridden(loaded.config, options),
                warnings: loaded.warnings,
            })
        }
        Err(problems) => {
            eprintln!("{}", problems.render(std::io::stderr().is_terminal()));
            bail!("the rules file cannot be used");
        }
    }
}

/// A configuration with what flags and variables say over it.
fn overridden(mut config: Config, options: &ServerOptions) -> Config {
    let ServerOptions {
        listen,
        database,
        public_url,
    } = options;
    let server = &mut config.server;
    if let Some(listen) = listen {
        server.listen.clone_from(listen);
    }
    if let Some(database) = database {
        server.database.clone_from(database);
        config.redactor.hide(&config::passwords(database));
    }
    if public_url.is_some() {
        server.public_url.clone_from(public_url);
    }
    config
}

/// Opens the store that the configuration names.
async fn open_store(config: &Config) -> anyhow::Result<Arc<Store>> {
    // The driver takes it where the address holds no password.
    if let Ok(password) = std::env::var("PGPASSWORD") {
        config.redactor.hide([&password.into()]);
    }
    let store = Store::open(&config.server.database).await?;
    Ok(Arc::new(store))
}

/// The sites a command is about: the named one, or all.
fn sites<'c>(config: &'c Config, name: Option<&str>) -> anyhow::Result<Vec<&'c Site>> {
    match name {
        None => Ok(config.sites.values().collect()),
        Some(name) => {
            let known: Vec<&str> = config.sites.keys().map(String::as_str).collect();
            let site = config.sites.get(name).with_context(|| {
                format!("there is no site {name:?}; there is {}", known.join(", "))
            })?;
            Ok(vec![site])
        }
    }
}
