//! One command each; wiring only.

pub mod check;
pub mod demo;
mod dumps;
pub mod explain;
pub mod export;
mod git;
pub mod healthcheck;
pub mod init;
mod logging;
mod online;
pub mod options;
pub mod plan;
mod reload;
pub mod retry;
pub mod run;
pub mod runs;
pub mod schema;
pub mod serve;
mod shared_clock;
pub mod skip;
pub mod test;
pub mod trigger;

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, anyhow};

use self::options::{DatabaseOption, ListenOption, ServerOptions};
use crate::clock::Clock;
use crate::config::{self, Config, Loaded, Site};
use crate::http::Outbound;
use crate::settings::{Environment, Problems};
use crate::store::Store;

/// Reads the rules file for a command that uses the database or the forges. Leaves its warnings to `check`.
fn load(rules: &Path, options: &ServerOptions) -> anyhow::Result<Config> {
    let outbound = Outbound::new(Clock::system())?;
    let loaded = usable(config::load(rules, Environment::of_process(), &outbound))?;
    Ok(overridden(loaded.config, options))
}

/// Reads the rules file for a command that sends nothing, and so needs no secrets. Reports which are unset.
fn load_without_secrets(rules: &Path, options: &ServerOptions) -> anyhow::Result<Config> {
    let outbound = Outbound::new(Clock::system())?;
    let environment = Environment::of_process();
    let Loaded { config, warnings } =
        usable(config::load_without_secrets(rules, environment, &outbound))?;
    if let Some(unset) = warnings.unset_secrets_in_words() {
        eprintln!("note: {unset}");
    }
    Ok(overridden(config, options))
}

/// Reads the rules file for the server, with clients that use `outbound`; shows its warnings on standard error.
fn load_to_serve(
    rules: &Path,
    options: &ServerOptions,
    outbound: &Outbound,
) -> anyhow::Result<Loaded> {
    let loaded = usable(config::load(rules, Environment::of_process(), outbound))?;
    if !loaded.warnings.list.is_empty() {
        eprintln!("{}", loaded.warnings.render(Problems::colours_wanted()));
    }
    Ok(Loaded {
        config: overridden(loaded.config, options),
        warnings: loaded.warnings,
    })
}

/// The loaded configuration; otherwise shows all problems in the file.
fn usable(loaded: Result<Loaded, Problems>) -> anyhow::Result<Loaded> {
    loaded.map_err(|problems| {
        eprintln!("{}", problems.render(Problems::colours_wanted()));
        anyhow!("the rules file cannot be used")
    })
}

/// Applies flags and variables to a configuration.
fn overridden(mut config: Config, options: &ServerOptions) -> Config {
    let ServerOptions {
        listen: ListenOption { listen },
        database: DatabaseOption { database },
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

/// Opens the configured store.
async fn open_store(config: &Config) -> anyhow::Result<Arc<Store>> {
    // The driver uses it if the address has no password.
    if let Ok(password) = std::env::var("PGPASSWORD") {
        config.redactor.hide([&password.into()]);
    }
    let store = Store::open(&config.server.database).await?;
    Ok(Arc::new(store))
}

/// Opens the configured store, which must exist: a command that only reads it does not create one.
async fn open_existing_store(config: &Config) -> anyhow::Result<Arc<Store>> {
    if let Ok(password) = std::env::var("PGPASSWORD") {
        config.redactor.hide([&password.into()]);
    }
    let store = Store::open_existing(&config.server.database).await?;
    let store = store.with_context(|| {
        format!(
            "there is no database at {}: --database, PURGEHOOK_DATABASE or `server.database` name another, and \
             `purgehook serve` makes one",
            shown(&config.server.database)
        )
    })?;
    Ok(Arc::new(store))
}

/// A database's address for people: a file's path, or an address without its password.
fn shown(database: &str) -> String {
    if let Some(path) = database.strip_prefix("sqlite://") {
        let is_short = Path::new(path).is_relative() && !path.starts_with('.');
        return if is_short {
            format!("./{path}")
        } else {
            path.to_owned()
        };
    }
    match url::Url::parse(database) {
        Ok(mut url) => {
            let _ = url.set_password(None);
            url.set_query(None);
            url.to_string()
        }
        Err(_) => "the address that is configured".to_owned(),
    }
}

/// The address for requests from this machine to a server that listens on an address: the loopback one if it
/// listens on all.
fn loopback(listen: &str) -> String {
    listen
        .replace("0.0.0.0", "127.0.0.1")
        .replace("[::]", "[::1]")
}

/// The sites of a command: the named one, or all.
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
