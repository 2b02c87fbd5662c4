//! `purgehook plan`: what a change would purge. Sends nothing.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, ErrorKind, Read, Write, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use jiff::Timestamp;

use super::options::DatabaseOption;
use super::{git, load, load_without_secrets, open_existing_store, sites};
use crate::changes::{ChangeKind, FilePath};
use crate::clock::Clock;
use crate::config::{Config, Site, WhenUnknown};
use crate::engine::quota_day;
use crate::plan::{
    self, Allowance, Ceiling, CoverDecision, Decision, Objects, Plan, decide, loads_to_json,
    loads_to_text, read_files,
};
use crate::purge::PurgeKind;
use crate::rules::Rules;
use crate::run::Run;
use crate::sanitize::visible;
use crate::store::Store;

/// Where the change comes from.
#[derive(Clone, Debug, Args)]
pub struct Change {
    /// A file with the changed paths, one per line, optionally in git's --name-status format; `-` is standard input
    #[arg(
        long,
        value_name = "PATH",
        required_unless_present_any = ["repo", "delivery"],
        conflicts_with_all = ["repo", "delivery"]
    )]
    pub files: Option<PathBuf>,
    /// A local git repository, to compare two of its commits
    #[arg(
        long,
        value_name = "DIR",
        requires = "from",
        conflicts_with = "delivery"
    )]
    pub repo: Option<PathBuf>,
    /// The commit whose content caches hold
    #[arg(long, value_name = "COMMIT", requires = "repo")]
    pub from: Option<String>,
    /// The commit to serve
    #[arg(
        long,
        value_name = "COMMIT",
        requires = "repo",
        default_value_if("repo", clap::builder::ArgPredicate::IsPresent, "HEAD")
    )]
    pub to: Option<String>,
    /// A delivery in the database, by purgehook's id or the forge's: uses the changes that its run found
    #[arg(long, value_name = "ID")]
    pub delivery: Option<String>,
}

impl Change {
    fn read(&self) -> anyhow::Result<BTreeMap<FilePath, ChangeKind>> {
        match self {
            Self {
                repo: Some(repo),
                from: Some(from),
                to,
                files: _,
                delivery: _,
            } => git::changed_files(repo, from, to.as_deref().unwrap_or("HEAD")),
            Self {
                files: Some(files), ..
            } => Ok(read_files(&read_listed(files)?)?),
            Self { .. } => bail!("say what changed, with --files or with --repo and --from"),
        }
    }
}

impl Change {
    /// The number of objects in the directories above a plan's purges, if the source of the change provides them.
    fn objects(&self, rules: &Rules, plan: &Plan) -> anyhow::Result<Objects> {
        let why = match self {
            Self {
                repo: Some(repo),
                to,
                ..
            } => {
                let files = git::files(repo, to.as_deref().unwrap_or("HEAD"))?;
                return Ok(Objects::count(rules, &files, plan));
            }
            Self {
                delivery: Some(_), ..
            } => "a delivery does not tell which files there are; the server asks the forge",
            Self { .. } => "a list of changed files does not tell the others; --repo does",
        };
        Ok(Objects::Estimated {
            why: why.to_owned(),
        })
    }
}

fn read_listed(files: &Path) -> anyhow::Result<Vec<u8>> {
    if files != Path::new("-") {
        return std::fs::read(files).with_context(|| format!("cannot read {}", files.display()));
    }
    let mut input = Vec::new();
    std::io::stdin()
        .lock()
        .read_to_end(&mut input)
        .context("cannot read standard input")?;
    Ok(input)
}

/// Plans a change of one site.
///
/// For people, the purges and their cost on each CDN go to standard output, and problems and notes to standard
/// error. For programs, one document goes to standard output: `{"purges": [...], "summary": [...], "problems":
/// [...], "notes": [...]}`. Exit code 1 if something that must be purged cannot be.
pub async fn run(
    rules: &Path,
    options: &DatabaseOption,
    site: Option<&str>,
    change: &Change,
    json: bool,
) -> anyhow::Result<ExitCode> {
    // The targets that an account has used today are stored under its keys.
    let config = match &change.delivery {
        Some(_) => load(rules, &options.into())?,
        None => load_without_secrets(rules, &options.into())?,
    };
    let now = Clock::system().now();
    let mut used = BTreeMap::new();
    let (site, changed) = match &change.delivery {
        Some(delivery) => {
            let store = open_existing_store(&config).await?;
            let found = found_by_delivery(&config, &store, site, delivery).await?;
            used = used_today(&config, &store, now).await?;
            found
        }
        None => {
            let [site] = sites(&config, site)?[..] else {
                let names: Vec<&str> = config.sites.keys().map(String::as_str).collect();
                bail!(
                    "there are several sites; say which with --site: {}",
                    names.join(", ")
                );
            };
            (site, Some(change.read()?))
        }
    };
    let ceiling = |cdn: &str, kind| ceiling(&config, &used, cdn, kind);
    let changed = match &changed {
        Some(files) => plan::Change::Files(files),
        None => plan::Change::Unknown {
            why: "so its run said",
        },
    };
    let allowance = |cdn: &str, kind| {
        let ceiling = ceiling(cdn, kind)?;
        Some(Allowance {
            per_request: ceiling.per_request,
            left: Some(ceiling.left),
        })
    };
    let objects = |plan: &Plan| change.objects(&site.rules, plan);
    let plan = preview(site, changed, allowance, objects)?;
    let loads = plan.loads(ceiling);
    let (_, reset) = quota_day(now);
    let mut out = BufWriter::new(stdout().lock());
    let written = if json {
        let document = plan.document(loads_to_json(&loads, reset));
        serde_json::to_writer(&mut out, &document)
            .map_err(io::Error::from)
            .and_then(|()| writeln!(out))
    } else {
        plan.write_table(&mut out).and_then(|()| {
            if loads.is_empty() {
                return Ok(());
            }
            write!(out, "\n{}", loads_to_text(&loads, reset))
        })
    };
    match written.and_then(|()| out.flush()) {
        Ok(()) => {}
        // The reader has read enough, as `head` does.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
        Err(error) => return Err(error).context("cannot write the plan"),
    }
    if !json {
        eprint!("{}", plan.remarks());
    }
    Ok(if plan.problems.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The plan that a run of the site would make for a change. `allowance` returns the rest of a CDN's quota today,
/// `objects` the number of objects in the directories above a plan's purges.
///
/// # Errors
///
/// The objects cannot be counted.
pub fn preview<E>(
    site: &Site,
    change: plan::Change<'_>,
    allowance: impl Fn(&str, PurgeKind) -> Option<Allowance>,
    objects: impl FnOnce(&Plan) -> Result<Objects, E>,
) -> Result<Plan, E> {
    let cdns = site.capabilities();
    let draft = match decide(&site.rules, &cdns, site.cover, change) {
        Decision::Plan(plan) => return Ok(plan),
        Decision::NeedsAllowances(draft) => draft,
    };
    match draft.with_allowances(allowance) {
        CoverDecision::Plan(plan) => Ok(plan),
        CoverDecision::NeedsObjects(uncovered) => {
            let objects = objects(uncovered.plan())?;
            Ok(uncovered.with_objects(objects))
        }
    }
}

/// The site of a delivery's run, and the run's changes; none if these are unknown and everything is purged.
async fn found_by_delivery<'c>(
    config: &'c Config,
    store: &Store,
    site: Option<&str>,
    delivery: &str,
) -> anyhow::Result<(&'c Site, Option<BTreeMap<FilePath, ChangeKind>>)> {
    let mut runs = store.runs_of_delivery(delivery).await?.with_context(|| {
        format!(
            "there is no delivery {delivery:?} in the database: one that was ignored is not kept, \
             and others go once their runs ended longer ago than `server.retention`"
        )
    })?;
    runs.retain(|run| site.is_none_or(|site| run.site == site));
    let mut run = match <[Run; 1]>::try_from(runs) {
        Ok([run]) => run,
        Err(runs) if runs.is_empty() => match site {
            Some(site) => bail!("the delivery {delivery:?} made no run of the site {site}"),
            None => bail!("the delivery {delivery:?} made no run"),
        },
        Err(runs) => {
            let names: Vec<&str> = runs.iter().map(|run| run.site.as_str()).collect();
            bail!(
                "the delivery made runs of several sites; say which with --site: {}",
                names.join(", ")
            );
        }
    };
    let site = config
        .sites
        .get(&run.site)
        .with_context(|| format!("the site {} is no longer in the rules file", run.site))?;
    while let Some(by) = run.covered_by.clone() {
        eprintln!(
            "note: run {} was folded into run {by}, whose changes these are",
            run.id
        );
        run = store
            .run(&by)
            .await?
            .with_context(|| format!("there is no run {by} any more"))?;
    }
    if let Some(changed) = store.changes(&run.id).await? {
        return Ok((site, Some(changed.files().clone())));
    }
    match (run.proof, site.when_unknown) {
        (None, _) => bail!("run {} has not found out what changed yet", run.id),
        (Some(_), WhenUnknown::Everything) => {
            eprintln!("note: run {}: {}", run.id, visible(&run.summary));
            Ok((site, None))
        }
        (Some(_), WhenUnknown::Fail) => bail!(
            "it is unknown what changed, and `when_unknown` is `fail`; run {}: {}",
            run.id,
            run.summary
        ),
    }
}

/// How many targets were submitted on each CDN's account since the quota day began, by all processes that use the
/// database.
async fn used_today(
    config: &Config,
    store: &Store,
    now: Timestamp,
) -> anyhow::Result<BTreeMap<(String, PurgeKind), u64>> {
    let (began, _) = quota_day(now);
    let mut used = BTreeMap::new();
    for (name, cdn) in &config.cdns {
        for kind in cdn.limits().kinds.keys() {
            let handed_over = store.submitted_since(&cdn.account(), *kind, began).await?;
            used.insert((name.clone(), *kind), handed_over);
        }
    }
    Ok(used)
}

fn ceiling(
    config: &Config,
    used: &BTreeMap<(String, PurgeKind), u64>,
    cdn: &str,
    kind: PurgeKind,
) -> Option<Ceiling> {
    let limit = config.cdns.get(cdn)?.limits().kinds.get(&kind)?;
    let used = used.get(&(cdn.to_owned(), kind)).copied().unwrap_or(0);
    Some(Ceiling {
        per_request: limit.per_request,
        per_day: limit.per_day,
        left: limit.per_day.saturating_sub(used),
    })
}
