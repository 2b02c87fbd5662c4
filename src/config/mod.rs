//! rules.yaml to a checked configuration, with every message a person reads.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use crate::cdn::Cdn;
use crate::event::RepoPath;
use crate::forge::Forge;
use crate::http::Outside;
use crate::rules::{Glob, Rules};

/// Everything rules.yaml says, checked, with clients made for each forge and CDN.
pub struct Config {
    /// The `server:` part.
    pub server: Server,
    /// By name under `forges:`.
    pub forges: BTreeMap<String, Arc<dyn Forge>>,
    /// By name under `cdns:`.
    pub cdns: BTreeMap<String, Arc<dyn Cdn>>,
    /// By name under `sites:`.
    pub sites: BTreeMap<String, Site>,
}

/// The `server:` part; flags and `PURGEHOOK_*` variables win over it.
pub struct Server {
    /// Where to listen. Default: 127.0.0.1:8080.
    pub listen: String,
    /// The address that links in statuses start with. Unset: statuses carry no link.
    pub public_url: Option<Url>,
    /// Where the store is. Default: `sqlite://purgehook.db`.
    pub database: String,
    /// Opens the actions. Unset: pages are read-only.
    pub admin_token: Option<SecretString>,
}

/// One entry under `sites:`.
pub struct Site {
    /// Its name.
    pub name: String,
    /// The forge's name under `forges:`.
    pub forge: String,
    /// The repository on that forge.
    pub repo: RepoPath,
    /// Branches it is about. Default: the branch `main`.
    pub branches: Vec<Glob>,
    /// What starts a run.
    pub trigger: Trigger,
    /// Names under `cdns:`.
    pub cdns: Vec<String>,
    /// Names the status on the commit. Default: `purgehook/<site>`.
    pub status_context: String,
    /// What to do when it cannot be known what changed.
    pub when_unknown: WhenUnknown,
    /// How long old commits are held after a success that nothing proved. Default: 10 minutes.
    pub settle: Duration,
    /// Paths to targets.
    pub rules: Rules,
}

/// What starts a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// A push to one of the branches.
    Push,
    /// A deployment to this environment that succeeded.
    Deployment(String),
    /// A workflow (by file name) that succeeded on one of the branches.
    Workflow(String),
    /// A pipeline that ended with this status on one of the branches.
    Pipeline(String),
    /// A published release.
    Release,
}

/// What to do when it cannot be known what changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenUnknown {
    /// Purge the site's root directories.
    Everything,
    /// Fail the run.
    Fail,
}

/// Reads a configuration. `env` is asked for `${NAME}` and the vendors' variables.
///
/// The error holds all problems, rendered for a terminal.
pub fn read(
    _file_name: &str,
    _text: &str,
    _env: &dyn Fn(&str) -> Option<String>,
    _outside: &Outside,
) -> Result<(Config, Vec<String>), Vec<String>> {
    todo!()
}
