//! Turns rules.yaml into a checked configuration, with all of its messages.
//!
//! [`load`] reads the file, creates a client for each forge and CDN, checks each site against them, and returns
//! either the configuration or all problems in it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use crate::cdn::{self, Cdn, CdnKind, Limits};
use crate::event::{RepoPath, SignalKind};
use crate::forge::{self, Forge, ForgeKind};
use crate::http::Outbound;
use crate::plan::{Capability, Cover};
use crate::redact::Redactor;
use crate::rules::{Case, Glob, Rules};
use crate::settings::{Environment, File, Problems, Section};

#[cfg(test)]
pub(crate) mod bad_files;
mod branches;
mod case;
mod clients;
mod glob_lints;
mod globs;
mod nearby;
mod regex_lints;
mod reload;
mod repositories;
mod rule;
mod rule_lints;
mod server;
mod site;
mod site_lints;
mod template_lints;
#[cfg(test)]
mod tests;

pub use reload::{Refused, Reloads, Started, fingerprint};
pub(crate) use server::{is_loopback, passwords};

/// The default of `--rules`.
pub const DEFAULT_PATH: &str = "rules.yaml";

/// The checked content of rules.yaml, with a client for each forge and CDN.
#[derive(Clone)]
pub struct Config {
    /// The redactor with every secret of the file.
    pub redactor: Redactor,
    /// The `server:` section.
    pub server: Server,
    /// By name under `forges:`.
    pub forges: BTreeMap<String, Arc<dyn Forge>>,
    /// By name under `cdns:`.
    pub cdns: BTreeMap<String, Arc<dyn Cdn>>,
    /// By name under `sites:`.
    pub sites: BTreeMap<String, Site>,
}

impl Config {
    /// Whether a forge ignores case in environment names.
    pub fn ignores_case_of_environments(&self, forge: &str) -> bool {
        let forge = self.forges.get(forge);
        forge.is_some_and(|forge| forge.ignores_case_of_environments())
    }
}

/// The `server:` section; flags and `PURGEHOOK_*` variables take precedence over it.
#[derive(Clone)]
pub struct Server {
    /// The address to listen on. Default: 127.0.0.1:8080.
    pub listen: String,
    /// The start of links in statuses. Unset: statuses have no link.
    pub public_url: Option<Url>,
    /// The database. Default: `sqlite://purgehook.db`.
    pub database: String,
    /// How often sites are compared with their forges, in case a webhook was lost. Default: 5 minutes; zero: never.
    pub reconcile: Duration,
    /// How long deliveries and runs are kept after their end. Default: 90 days; zero: for ever.
    pub retention: Duration,
    /// Whether nothing is purged: every site is [`PurgeMode::DryRun`]. Default: no.
    pub dry_run: bool,
    /// Connections per address. Unset: a quarter of all connections.
    pub connections_per_address: Option<usize>,
    /// The token for `POST /api/v1/runs/{id}/retry`, which is disabled if it is unset.
    pub admin_token: Option<SecretString>,
    /// The token for pages, API and metrics. Unset: they need none.
    pub read_token: Option<SecretString>,
}

impl Server {
    /// The address that webhooks of a forge's entry call. None if the server's public address is not known.
    pub fn hook_address(&self, forge: &str) -> Option<Url> {
        let base = self.public_url.as_ref()?.as_str().trim_end_matches('/');
        Url::parse(&format!("{base}/hooks/{forge}")).ok()
    }
}

/// One entry under `sites:`.
#[derive(Clone)]
pub struct Site {
    /// Its name.
    pub name: String,
    /// The forge's name under `forges:`.
    pub forge: String,
    /// The repository on that forge.
    pub repo: RepoPath,
    /// The branches that it follows. Default: `main`.
    pub branches: Vec<Glob>,
    /// What starts a run.
    pub trigger: Trigger,
    /// Names under `cdns:`.
    pub cdns: Vec<String>,
    /// What its runs may do with these CDNs: `mode: live` (the default) or `mode: dry-run`.
    pub mode: PurgeMode,
    /// The name of the status on the commit. Default: `purgehook/<site>`.
    pub status_context: String,
    /// What to do if the changes are unknown.
    pub when_unknown: WhenUnknown,
    /// What a second deployment of the same commit purges. Default: what its last one purged.
    pub redeploy: Redeploy,
    /// Whether directories may replace the URLs that the rules require. Default: never; purges beyond the daily
    /// quota wait for the next day.
    pub cover: Cover,
    /// How long old commits stay held after a success. Default: 10 minutes.
    pub settle: Duration,
    /// The rules.
    pub rules: Rules,
    /// The test cases.
    pub tests: Vec<Case>,
}

/// Whether a site's runs purge.
#[derive(Clone)]
pub enum PurgeMode {
    /// Purges are sent and statuses are posted. The CDNs by name.
    Live(BTreeMap<String, Arc<dyn Cdn>>),
    /// Only plans what would be purged. Contains no client that could purge: only the limits of each CDN, by name.
    DryRun(BTreeMap<String, Limits>),
}

impl Site {
    /// What the site's CDNs support.
    pub fn capabilities(&self) -> Vec<Capability> {
        let capability = |name: &String| {
            let limits = self.mode.limits(name)?;
            Some(Capability {
                cdn: name.clone(),
                kinds: limits.kinds.keys().copied().collect(),
                url_length: limits.url_length,
            })
        };
        self.cdns.iter().filter_map(capability).collect()
    }
}

impl PurgeMode {
    /// The limits of a CDN of the site. None if it has no such CDN.
    pub fn limits(&self, cdn: &str) -> Option<&Limits> {
        match self {
            Self::Live(cdns) => cdns.get(cdn).map(|cdn| cdn.limits()),
            Self::DryRun(limits) => limits.get(cdn),
        }
    }

    /// Whether nothing is purged and no status posted.
    pub fn is_dry_run(&self) -> bool {
        match self {
            Self::Live(_) => false,
            Self::DryRun(_) => true,
        }
    }
}

/// The values of `mode:` for the server and for a site.
const MODES: [&str; 2] = ["live", DRY_RUN];
/// Purge nothing.
const DRY_RUN: &str = "dry-run";
/// Aliases of `mode:` values.
const MODE_ALIASES: [(&str, &str); 1] = [("observe", DRY_RUN)];

/// What starts a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// A push to one of the branches.
    Push,
    /// A successful deployment to this environment.
    Deployment(String),
    /// A successful run of this workflow (by file name) on one of the branches.
    Workflow(String),
    /// A pipeline on one of the branches that ended with this status.
    Pipeline(String),
    /// A published release.
    Release,
    /// A build of GitHub Pages.
    PageBuild,
}

impl Trigger {
    /// The kind of signal that it waits for. None for a push, which is not a signal.
    pub fn waits_for(&self) -> Option<SignalKind> {
        match self {
            Self::Push => None,
            Self::Deployment(_) => Some(SignalKind::Deployment),
            Self::Workflow(_) => Some(SignalKind::Workflow),
            Self::Pipeline(_) => Some(SignalKind::Pipeline),
            Self::Release => Some(SignalKind::Release),
            Self::PageBuild => Some(SignalKind::PageBuild),
        }
    }
}

/// As in the file.
impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Push => f.write_str("push"),
            Self::Deployment(environment) => write!(f, "{{deployment: {environment}}}"),
            Self::Workflow(file) => write!(f, "{{workflow: {file}}}"),
            Self::Pipeline(status) => write!(f, "{{pipeline: {status}}}"),
            Self::Release => f.write_str("release"),
            Self::PageBuild => f.write_str("page_build"),
        }
    }
}

/// What to do if the changes are unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenUnknown {
    /// Purge the site's root directories.
    Everything,
    /// Fail the run.
    Fail,
}

/// What to purge if a commit is deployed again, and nothing differs from what caches may hold.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantNames,
)]
#[strum(serialize_all = "snake_case")]
pub enum Redeploy {
    /// What the commit's last deployment purged.
    #[default]
    Same,
    /// The site's root directories, for builds that include data from outside the repository.
    Everything,
    /// Nothing, for sites whose content depends only on the commit.
    Nothing,
}

/// A valid configuration with its warnings.
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Only warnings, if any.
    pub warnings: Problems,
}

/// The supported values of `kind:`.
#[derive(Clone, Copy)]
pub struct Kinds<'k> {
    /// For entries under `forges:`.
    pub forges: &'k [ForgeKind],
    /// For entries under `cdns:`.
    pub cdns: &'k [CdnKind],
}

/// Every kind there is.
pub const ALL_KINDS: Kinds<'static> = Kinds {
    forges: forge::KINDS,
    cdns: cdn::KINDS,
};

/// Reads the rules file at `path`. The error contains all of its problems.
pub fn load(
    path: &Path,
    environment: Environment,
    outbound: &Outbound,
) -> Result<Loaded, Problems> {
    let name = path.display().to_string();
    let text = text_of(path, &name)?;
    read(&name, &text, environment, outbound, ALL_KINDS)
}

/// Like [`load`], for commands that send nothing: an unset secret is no problem, and is listed in
/// [`Problems::unset_secrets`]. The configuration must not be used to send anything.
pub fn load_without_secrets(
    path: &Path,
    environment: Environment,
    outbound: &Outbound,
) -> Result<Loaded, Problems> {
    let name = path.display().to_string();
    let text = text_of(path, &name)?;
    let file = File::without_secrets(&name, &text, environment);
    read_file(&file, outbound, ALL_KINDS)
}

fn text_of(path: &Path, name: &str) -> Result<String, Problems> {
    let refuse = |message: String, advice: Option<String>| Problems::of_file(name, message, advice);
    let bytes = std::fs::read(path).map_err(|error| {
        let meant = nearby::meant(path).map(|meant| {
            let meant = meant.display();
            format!("there is a {meant} here: `--rules {meant}`")
        });
        match error.kind() {
            std::io::ErrorKind::NotFound => refuse(
                format!("there is no rules file at `{name}`"),
                Some(meant.unwrap_or_else(|| {
                    "give its path with `--rules PATH` or in PURGEHOOK_RULES".to_owned()
                })),
            ),
            _ => refuse(format!("cannot read the rules file: {error}"), meant),
        }
    })?;
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let before = String::from_utf8_lossy(&error.as_bytes()[..good]);
        let line_start = before.rfind('\n').map_or(0, |i| i + 1);
        let (line, column) = (
            before.matches('\n').count() + 1,
            before[line_start..].chars().count() + 1,
        );
        let message = format!("the rules file is not UTF-8 text (line {line}, column {column})");
        refuse(message, Some("save it as UTF-8".to_owned()))
    })
}

/// Reads a configuration from the text of a rules file. `name` is the file's path, for messages and as the base of
/// relative `<key>_file` paths.
pub fn read(
    name: &str,
    text: &str,
    environment: Environment,
    outbound: &Outbound,
    kinds: Kinds<'_>,
) -> Result<Loaded, Problems> {
    read_file(&File::new(name, text, environment), outbound, kinds)
}

fn read_file(file: &File, outbound: &Outbound, kinds: Kinds<'_>) -> Result<Loaded, Problems> {
    let config = file
        .root()
        .and_then(|root| read_root(root, outbound, kinds));
    // From now on, quotes from answers omit these secrets.
    outbound.redactor.hide(&file.secrets());
    let problems = file.problems();
    match config {
        Some(config) if !problems.has_errors() => Ok(Loaded {
            config,
            warnings: problems,
        }),
        Some(_) | None => Err(problems),
    }
}

/// Reads the whole file. None if a part is invalid, which is recorded.
fn read_root(mut root: Section, outbound: &Outbound, kinds: Kinds<'_>) -> Option<Config> {
    let server = server::read(&mut root);
    let forges = clients::forges(&mut root, outbound, kinds.forges);
    let cdns = clients::cdns(&mut root, outbound, kinds.cdns);
    let dry_run = server.as_ref().is_some_and(|entry| entry.server.dry_run);
    let sites = site::read_all(&mut root, &forges, &cdns, dry_run);
    site_lints::check(&mut root, &forges, &cdns, &sites);
    if let Some(server) = &server {
        site_lints::check_links(&mut root, server, &forges);
    }

    let count = sites.len();
    let sites: BTreeMap<String, Site> = sites
        .into_iter()
        .filter_map(|site| Some((site.name.value, site.site?)))
        .collect();
    (sites.len() == count).then_some(Config {
        redactor: outbound.redactor.clone(),
        server: server?.server,
        forges: forges.into_clients()?,
        cdns: cdns.into_clients()?,
        sites,
    })
}
