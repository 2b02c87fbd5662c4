//! The `sites:` section: a site's repository, trigger, CDNs and rules.

use std::time::Duration;

use strum::VariantNames;

use super::clients::{Clients, check_form};
use super::globs::globs;
use super::{DRY_RUN, MODE_ALIASES, MODES, PurgeMode, Redeploy, Site, Trigger, WhenUnknown};
use super::{branches, case, repositories, rule};
use crate::cdn::Cdn;
use crate::event::PIPELINE_ENDS;
use crate::forge::Forge;
use crate::plan::Cover;
use crate::rules::{BaseUrl, IndexName, Rules, Unmatched};
use crate::settings::{Located, Section, Span};

/// The default of `settle`.
const DEFAULT_SETTLE: Duration = Duration::from_secs(10 * 60);
/// The maximum length of a status's `name` on GitLab (GitLab REST API, commit status).
const LONGEST_CONTEXT: usize = 255;

/// One entry under `sites:`, with the data for comparing sites.
pub(super) struct SiteEntry {
    /// Its name.
    pub name: Located<String>,
    /// The forge, if `repo` is valid.
    pub forge: Option<String>,
    /// The CDNs that exist.
    pub cdns: Vec<String>,
    /// The position of the status's context, if it is given.
    pub context_at: Option<Span>,
    /// The branches as written.
    pub branches: Vec<String>,
    /// None if the entry has problems.
    pub site: Option<Site>,
}

/// Reads `sites:`.
pub(super) fn read_all(
    root: &mut Section,
    forges: &Clients<dyn Forge>,
    cdns: &Clients<dyn Cdn>,
    server_dry_run: bool,
) -> Vec<SiteEntry> {
    let Some(mut sites) = root.section("sites") else {
        root.missing(
            "sites",
            Some("name at least one site under `sites:`".to_owned()),
        );
        return Vec::new();
    };
    sites
        .entries()
        .into_iter()
        .map(|(name, section)| read(name, section, forges, cdns, server_dry_run))
        .collect()
}

fn read(
    name: Located<String>,
    mut section: Section,
    forges: &Clients<dyn Forge>,
    cdns: &Clients<dyn Cdn>,
    server_dry_run: bool,
) -> SiteEntry {
    check_form(&mut section, "site", &name);
    let repo = repositories::read(&mut section, forges);
    let branches = branches::read(&mut section);
    let trigger = read_trigger(&mut section);
    if let (Some(trigger), Some((forge, _))) = (&trigger, &repo) {
        check_trigger(&mut section, trigger, forge, forges);
    }
    let base_urls = read_base_urls(&mut section);
    let clients = cdns;
    let (written_cdns, cdns) = read_cdns(&mut section, clients);
    let dry_run = read_mode(&mut section, server_dry_run);
    let context = read_context(&mut section);
    let when_unknown = match section.word("when_unknown", &["everything", "fail"]) {
        Some(word) if word.value == "fail" => WhenUnknown::Fail,
        Some(_) | None => WhenUnknown::Everything,
    };
    let redeploy = read_redeploy(&mut section, trigger.as_ref());
    let cover = section
        .word("cover", Cover::VARIANTS)
        .and_then(|word| word.value.parse().ok())
        .unwrap_or_default();
    let settle = section.duration("settle").map(|settle| settle.value);
    let ignore = globs(&mut section, "ignore");
    let unmatched = section
        .word("unmatched", Unmatched::VARIANTS)
        .and_then(|word| word.value.parse().ok());
    let index = read_index(&mut section);
    let rules = rule::read_all(
        &mut section,
        &rule::Site {
            base_urls: base_urls.as_deref(),
            ignore: &ignore,
            cdns: &written_cdns,
        },
    );

    let tests = case::read_all(&mut section, base_urls.as_deref());

    let written = branches.iter().map(|b| b.value.0.clone()).collect();
    let context_at = context.as_ref().map(|c| c.at.clone());
    let forge = repo.as_ref().map(|(forge, _)| forge.clone());
    let site = repo
        .zip(trigger)
        .zip(base_urls)
        .map(|(((forge, repo), trigger), base_urls)| Site {
            forge,
            repo,
            trigger,
            branches: branches.into_iter().map(|b| b.value.1).collect(),
            cdns: cdns.clone(),
            mode: purge_mode(&cdns, clients, dry_run),
            status_context: context
                .map_or_else(|| format!("purgehook/{}", name.value), |c| c.value),
            when_unknown,
            redeploy,
            cover,
            settle: settle.unwrap_or(DEFAULT_SETTLE),
            rules: Rules::new(base_urls, ignore, rules)
                .with_unmatched(unmatched.unwrap_or_default())
                .with_index(index),
            tests,
            name: name.value.clone(),
        });
    SiteEntry {
        name,
        forge,
        cdns,
        context_at,
        branches: written,
        site,
    }
}

/// Reads `trigger`. Default: a push. None if it is invalid.
fn read_trigger(section: &mut Section) -> Option<Trigger> {
    if !section.holds_section("trigger") {
        let errors = section.errors();
        let word = section.word("trigger", &["push", "release", "page_build"]);
        return match word.as_ref().map(|word| word.value.as_str()) {
            Some("release") => Some(Trigger::Release),
            Some("page_build") => Some(Trigger::PageBuild),
            Some(_) => Some(Trigger::Push),
            // Either nothing is given, or it is invalid and recorded.
            None => (section.errors() == errors).then_some(Trigger::Push),
        };
    }
    let mut trigger = section.section("trigger")?;
    let errors = trigger.errors();
    let mut found: Vec<Trigger> = Vec::new();
    if let Some(environment) = trigger.text("deployment") {
        warn_of_environment(&mut trigger, &environment);
        found.push(Trigger::Deployment(environment.value));
    }
    if let Some(file) = trigger.text("workflow") {
        warn_of_workflow(&mut trigger, &file);
        found.push(Trigger::Workflow(file.value));
    }
    found.extend(
        trigger
            .word("pipeline", PIPELINE_ENDS)
            .map(|t| Trigger::Pipeline(t.value)),
    );
    let one = found.pop();
    if (one.is_none() && trigger.errors() == errors) || !found.is_empty() {
        let advice = "write `push`, `release`, `page_build`, `{deployment: ENVIRONMENT}`, `{workflow: FILE}` or `{pipeline: STATUS}`";
        let at = trigger.at();
        trigger.problem(at, "`trigger` must name one thing", Some(advice.to_owned()));
    }
    one
}

/// Environment names are compared exactly.
fn warn_of_environment(trigger: &mut Section, environment: &Located<String>) {
    let name = environment.value.as_str();
    let trimmed = name.trim();
    let (what, advice) = if trimmed.len() != name.len() {
        (
            "begins or ends with a blank",
            format!("write `{}`", trimmed.escape_debug()),
        )
    } else if name.contains(['*', '?']) {
        (
            "has a wildcard, which stands for nothing else here",
            "write the environment's name in full; several environments take a site each"
                .to_owned(),
        )
    } else {
        return;
    };
    trigger.warning(
        environment.at.clone(),
        format!("the environment `{}` {what}", name.escape_debug()),
        Some(advice),
    );
}

/// Warns about names that are not workflow files ("Workflow syntax for GitHub Actions": in `.github/workflows`,
/// `.yml` or `.yaml`), except for those that GitHub creates, such as `dynamic/pages/pages-build-deployment`.
fn warn_of_workflow(trigger: &mut Section, file: &Located<String>) {
    let written = file.value.as_str();
    let name = written.rsplit('/').next().unwrap_or_default();
    let is_file = [".yml", ".yaml"]
        .iter()
        .any(|end| name.len() > end.len() && name.ends_with(end));
    let is_plain = !name.contains(['*', '?', '\\', '@', ':']) && name.trim().len() == name.len();
    let is_githubs = written.starts_with("dynamic/") || name == "pages-build-deployment";
    if is_file && is_plain || is_githubs {
        return;
    }
    let meant: String = name
        .trim()
        .rsplit('\\')
        .next()
        .unwrap_or_default()
        .split('@')
        .next()
        .unwrap_or_default()
        .to_lowercase()
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || "._-".contains(c) {
                c
            } else {
                '-'
            }
        })
        .collect();
    let stem = meant
        .trim_end_matches(".yaml")
        .trim_end_matches(".yml")
        .trim_matches('-');
    let stem = if stem.chars().any(|c| c.is_ascii_alphabetic()) {
        stem
    } else {
        "deploy"
    };
    trigger.warning(
        file.at.clone(),
        format!("`{}` is no workflow's file: a workflow is known by its file's name, and not by the name in it", written.escape_debug()),
        Some(format!("write the file's name in `.github/workflows`, which ends in `.yml` or `.yaml`, e.g. `{stem}.yml`")),
    );
}

/// Reads `redeploy`. Only triggers for deployments can notice a second one.
fn read_redeploy(section: &mut Section, trigger: Option<&Trigger>) -> Redeploy {
    let Some(word) = section.word("redeploy", Redeploy::VARIANTS) else {
        return Redeploy::default();
    };
    if trigger == Some(&Trigger::Push) {
        section.warning(
            word.at.clone(),
            "`redeploy` is of no use here: a push does not tell that a commit is deployed once more",
            Some("choose a `trigger` that tells of deployments, or remove the line".to_owned()),
        );
    }
    word.value.parse().unwrap_or_default()
}

/// Records a trigger that the forge never sends: the site would never purge.
fn check_trigger(
    section: &mut Section,
    trigger: &Trigger,
    forge: &str,
    forges: &Clients<dyn Forge>,
) {
    let client = forges.entries.get(forge).and_then(|f| f.client.as_ref());
    let (Some(client), Some(wanted)) = (client, trigger.waits_for()) else {
        return;
    };
    if client.signals().contains(&wanted) {
        return;
    }
    let can = client.signals().iter().map(|signal| signal.as_str());
    let can = std::iter::once("push")
        .chain(can)
        .collect::<Vec<_>>()
        .join("`, `");
    let at = section.place_of("trigger").unwrap_or_else(|| section.at());
    section.problem(
        at,
        format!(
            "the forge `{forge}` sends nothing that could trigger `{}`: it is of the kind `{}`",
            wanted.as_str(),
            client.kind()
        ),
        Some(format!("its kind can trigger by `{can}`")),
    );
}

/// Reads `base_urls`. None if one is invalid or there is none.
fn read_base_urls(section: &mut Section) -> Option<Vec<BaseUrl>> {
    let texts = section.texts("base_urls");
    if texts.is_empty() {
        let advice = "give at least one, e.g. `base_urls: [https://www.example.com]`";
        section.missing("base_urls", Some(advice.to_owned()));
        return None;
    }
    let count = texts.len();
    let urls: Vec<BaseUrl> = texts
        .into_iter()
        .filter_map(|text| match BaseUrl::parse(&text.value) {
            Ok(url) => Some(url),
            Err(error) => {
                if text.value.contains('@') {
                    section.mask(text.at.clone());
                }
                section.problem(text.at, error.message, error.advice);
                None
            }
        })
        .collect();
    (urls.len() == count).then_some(urls)
}

/// Reads `cdns`: as written, and those that exist, without duplicates.
fn read_cdns(section: &mut Section, cdns: &Clients<dyn Cdn>) -> (Vec<String>, Vec<String>) {
    let names = section.texts("cdns");
    let written = names.iter().map(|name| name.value.clone()).collect();
    if names.is_empty() {
        let advice = "name at least one of those under `cdns:`";
        section.missing("cdns", Some(advice.to_owned()));
    }
    let mut known: Vec<String> = Vec::new();
    for name in names {
        if known.contains(&name.value) {
            let message = format!("the CDN `{}` is named twice", name.value);
            section.problem(name.at, message, None);
        } else if cdns.check_name(section, "CDN", &name.value, name.at) {
            known.push(name.value);
        }
    }
    (written, known)
}

/// Reads `mode`: whether the site is in dry-run mode.
fn read_mode(section: &mut Section, server_dry_run: bool) -> bool {
    let mode = section.word_or_alias("mode", &MODES, &MODE_ALIASES);
    if let Some(mode) = &mode
        && server_dry_run
        && mode.value == "live"
    {
        section.warning(
            mode.at.clone(),
            "the site is in dry-run mode all the same, since `server.mode` is `dry-run`",
            Some("let the server be `live`, and the other sites `dry-run`".to_owned()),
        );
    }
    server_dry_run || mode.is_some_and(|mode| mode.value == DRY_RUN)
}

/// The clients of a live site, or only the limits of its CDNs in dry-run mode.
fn purge_mode(names: &[String], cdns: &Clients<dyn Cdn>, dry_run: bool) -> PurgeMode {
    let clients = names.iter().filter_map(|name| {
        let client = cdns.entries.get(name)?.client.as_ref()?;
        Some((name.clone(), client))
    });
    if dry_run {
        PurgeMode::DryRun(
            clients
                .map(|(name, client)| (name, client.limits().clone()))
                .collect(),
        )
    } else {
        PurgeMode::Live(
            clients
                .map(|(name, client)| (name, std::sync::Arc::clone(client)))
                .collect(),
        )
    }
}

/// Reads `index`, the name of a directory's index document.
fn read_index(section: &mut Section) -> Option<IndexName> {
    let text = section.text("index")?;
    match IndexName::parse(&text.value) {
        Ok(name) => Some(name),
        Err(error) => {
            section.problem(text.at, error.message, error.advice);
            None
        }
    }
}

/// Reads `status: {context}`.
fn read_context(section: &mut Section) -> Option<Located<String>> {
    let mut status = section.section("status")?;
    let context = status.text("context")?;
    if context.value.chars().count() > LONGEST_CONTEXT {
        status.problem(
            context.at.clone(),
            format!("`context` is longer than {LONGEST_CONTEXT} characters, which GitLab refuses"),
            None,
        );
    }
    if context.value.chars().any(char::is_control) {
        status.problem(
            context.at.clone(),
            "`context` holds a line break or another control character",
            None,
        );
    }
    Some(context)
}
