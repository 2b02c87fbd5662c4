//! Command-line options that several commands share.

use std::path::PathBuf;

use clap::Args;

use crate::config;

/// Where the rules file is.
#[derive(Clone, Debug, Args)]
pub struct RulesFile {
    /// The rules file
    #[arg(long, value_name = "PATH", env = "PURGEHOOK_RULES", default_value = config::DEFAULT_PATH)]
    pub rules: PathBuf,
}

/// Where the server listens.
#[derive(Clone, Default, Args)]
pub struct ListenOption {
    /// Where to listen, e.g. 0.0.0.0:8080 [default: `server.listen`, else 127.0.0.1:8080]
    #[arg(long, value_name = "HOST:PORT", env = "PURGEHOOK_LISTEN")]
    pub listen: Option<String>,
}

/// Where the database is.
#[derive(Clone, Default, Args)]
pub struct DatabaseOption {
    /// `sqlite://PATH` or `postgres://...` [default: `server.database`, else `sqlite://purgehook.db`]
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "PURGEHOOK_DATABASE",
        hide_env_values = true
    )]
    pub database: Option<String>,
}

/// What wins over the `server:` part of the rules file.
#[derive(Clone, Default, Args)]
pub struct ServerOptions {
    /// Where the server listens.
    #[command(flatten)]
    pub listen: ListenOption,
    /// Where the database is.
    #[command(flatten)]
    pub database: DatabaseOption,
    /// The address that links in statuses start with [default: `server.public_url`]
    #[arg(long, value_name = "URL", env = "PURGEHOOK_PUBLIC_URL")]
    pub public_url: Option<url::Url>,
}

impl From<&ListenOption> for ServerOptions {
    fn from(listen: &ListenOption) -> Self {
        Self {
            listen: listen.clone(),
            ..Self::default()
        }
    }
}

impl From<&DatabaseOption> for ServerOptions {
    fn from(database: &DatabaseOption) -> Self {
        Self {
            database: database.clone(),
            ..Self::default()
        }
    }
}
