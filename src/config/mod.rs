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

/// Where `--rules` points when it is not given.
pub const DEFAULT_PATH: &str = "rules.yaml";

/// Everything rules.yaml says, checked, with clients made for each forge and CDN.
#[derive(Clone)]
pub struct Config {
    /// Knows every secret of the file.
    pub redactor: Redactor,
    /// The `server:` part.
    pub server: Server,
    /// By name under `forges:`.
    pub forges: BTreeMap<String, Arc<dyn Forge>>,
    /// By name under `cdns:`.
    pub cdns: BTreeMap<String, Arc<dyn Cdn>>,
    /// By name under `sites:`.
    pub sites: BTreeMap<String, Site>,
}

impl Config {
    /// Whether a forge takes environments for one whose names differ in the case of their letters alone.
    pub fn ignores_case_of_environments(&self, forge: &str) -> bool {
        let forge = self.forges.get(forge);
        forge.is_some_and(|forge| forge.ignores_case_of_environments())
    }
}

/// The `server:` part; flags and `PURGEHOOK_*` variables win over it.
#[derive(Clone)]
pub struct Server {
    /// Where to listen. Default: 127.0.0.1:8080.
    pub listen: String,
    /// The address that links in statuses start with. Unset: statuses carry no link.
    pub public_url: Option<Url>,
    /// Where the store is. Default: `sqlite://purgehook.db`.
    pub database: String,
    /// How often sites are compared with their forges, in case a webhook was lost. Default: 5 minutes; zero: never.
    pub reconcile: Duration,
    /// How long deliveries and runs are kept after their end. Default: 90 days; zero: for ever.
    pub retention: Duration,
    /// Whether nothing is purged: then every site is [`PurgeMode::DryRun`]. Default: no.
    pub dry_run: bool,
    /// Connections that one address may hold at a time. Unset: a quarter of all that there may be.
    pub connections_per_address: Option<usize>,
    /// Opens `POST /api/v1/runs/{id}/retry`, which is off where it is unset.
    pub admin_token: Option<SecretString>,
    /// What pages, API and metrics ask for. Unset: they are open to whoever reaches them.
    pub read_token: Option<SecretString>,
}

impl Server {
    /// The address that the webhooks of a forge's entry call. None where it is not known how browsers and forges reach
    /// the server.
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
    /// Branches it is about. Default: the branch `main`.
    pub branches: Vec<Glob>,
    /// What starts a run.
    pub trigger: Trigger,
    /// Names under `cdns:`.
    pub cdns: Vec<String>,
    /// What its runs may do with those CDNs: `mode: live` (the default) or `mode: dry-run`.
    pub mode: PurgeMode,
    /// Names the status on the commit. Default: `purgehook/<site>`.
    pub status_context: String,
    /// What to do when it cannot be known what changed.
    pub when_unknown: WhenUnknown,
    /// What a second deployment of the same commit purges. Default: what its last one purged.
    pub redeploy: Redeploy,
    /// Whether directories may stand in for the purges that the rules ask for. Default: never; what is over the day's
    /// quota waits for the next day.
    pub cover: Cover,
    /// How long old commits are held after a success that nothing proved. Default: 10 minutes.
    pub settle: Duration,
    /// Paths to targets.
    pub rules: Rules,
    /// What the rules should come to.
    pub tests: Vec<Case>,
}

/// Whether a site's runs purge.
#[derive(Clone)]
pub enum PurgeMode {
    /// Its purges go out and its statuses are posted. The CDNs by name.
    Live(BTreeMap<String, Arc<dyn Cdn>>),
    /// It is planned what would be purged, and nothing is. There is nothing here that could:
    /// only what each CDN would take, by its name.
    DryRun(BTreeMap<String, Limits>),
}

impl Site {
    /// What the CDNs of the site can take.
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
    /// What a CDN of the site takes. None if it has no such CDN.
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

/// The words behind `mode:` of the server and of a site.
const MODES: [&str; 2] = ["live", DRY_RUN];
/// Purge nothing.
const DRY_RUN: &str = "dry-run";
/// Words that stand for another one behind `mode:`.
const MODE_ALIASES: [(&str, &str); 1] = [("observe", DRY_RUN)];

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
    /// A build of GitHub Pages.
    PageBuild,
}

impl Trigger {
    /// The kind of signal it waits for. None for a push, which is no signal.
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

/// As it is written in the file.
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

/// What to do when it cannot be known what changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenUnknown {
    /// Purge the site's root directories.
    Everything,
    /// Fail the run.
    Fail,
}

/// What is purged when a commit is deployed that was deployed before, and nothing differs from what caches may hold.
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
    /// The site's root directories: what is built takes in more than the repository has.
    Everything,
    /// Nothing: the commit alone decides what is served.
    Nothing,
}

/// A configuration that can be used, and what is odd about it.
pub struct Loaded {
    /// What the file says.
    pub config: Config,
    /// Warnings only; often none.
    pub warnings: Problems,
}

/// The kinds of forges and CDNs that `kind:` may name.
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

/// Reads the rules file at `path`. The error holds all that is wrong with it.
pub fn load(
    path: &Path,
    environment: Environment,
    outbound: &Outbound,
) -> Result<Loaded, Problems> {
    let name = path.display().to_string();
    let text = text_of(path, &name)?;
    read(&name, &text, environment, outbound, ALL_KINDS)
}

/// As [`load`], for those that ask nobody anything: a secret that is not set is no problem then, and is named in
/// [`Problems::unset_secrets`]. What is loaded so must send nothing.
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

/// Reads a configuration from the text of a rules file. `name` is the file's
/// path, for messages and for `<key>_file` paths, which start in its directory.
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
    // Whoever quotes an answer from now on knows what to leave out.
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

/// Reads the whole file. None if a part could not be read, which is noted.
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
