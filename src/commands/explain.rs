//! `purgehook explain`: which rules match a path, why, and what they purge; or which rules could purge a URL.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use serde_json::{Value, json};
use url::Url;

use super::options::ServerOptions;
use super::{load_without_secrets, sites};
use crate::changes::{ChangeKind, FilePath};
use crate::config::Site;
use crate::plan::{Plan, plan, read_path};
use crate::purge::PurgeKind;
use crate::rules::{BaseUrl, PossibleTemplate, RuleVerdict, Unmatched};
use crate::sanitize::visible_lines;

/// Explains a path or a URL under the rules of one site or of all.
pub fn run(
    rules: &Path,
    site: Option<&str>,
    what: &OsStr,
    change: ChangeKind,
    as_json: bool,
) -> anyhow::Result<ExitCode> {
    let what = What::read(what)?;
    let config = load_without_secrets(rules, &ServerOptions::default())?;
    let sites = sites(&config, site)?;
    if as_json {
        let (key, value) = match &what {
            What::Path(path) => ("path", path.to_string()),
            What::Url(url) => ("url", url.clone()),
        };
        let (mut rules, mut each) = (Vec::new(), Vec::new());
        for site in sites {
            match &what {
                What::Path(path) => {
                    rules.extend(rules_json(site, path, change));
                    each.push(outcome_json(site, path, change));
                }
                What::Url(url) => {
                    rules.extend(origins_json(site, url));
                    each.push(service_json(site, url));
                }
            }
        }
        println!("{}", json!({ key: value, "rules": rules, "sites": each }));
    } else {
        for site in sites {
            println!("{} ({}:{})", site.name, site.forge, site.repo);
            let text = match &what {
                What::Path(path) => {
                    rules_text(site, path, change) + &outcome_text(site, path, change)
                }
                What::Url(url) => origins_text(site, url),
            };
            print!("{}", visible_lines(&text));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What to explain.
enum What {
    Path(FilePath),
    /// As a client requests it: without a fragment, with host and path in their normal spelling.
    Url(String),
}

impl What {
    fn read(what: &OsStr) -> anyhow::Result<Self> {
        let bytes = what.as_encoded_bytes();
        let starts = |scheme: &str| {
            let start = bytes.get(..scheme.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(scheme.as_bytes()))
        };
        if !starts("https://") && !starts("http://") {
            let path = read_path(bytes).map_err(|wrong| anyhow!("{wrong}"))?;
            return Ok(Self::Path(path));
        }
        let text = what.to_str().context("the URL is not UTF-8")?;
        let mut url = Url::parse(text).with_context(|| format!("{text:?} is not a URL"))?;
        url.set_fragment(None);
        if url.as_str() != text {
            eprintln!("note: taken as {url}, which is what a client asks for");
        }
        Ok(Self::Url(url.into()))
    }
}

/// `[{site, rule, verdict, targets, unmappable}]`.
fn rules_json(site: &Site, path: &FilePath, change: ChangeKind) -> Vec<Value> {
    let explained = site.rules.explain(path, change).into_iter();
    explained
        .map(|explained| {
            let targets = explained.mapped.targets.iter();
            let targets: Vec<String> = targets
                .map(|target| format!("{} {}", target.kind.as_str(), target.url))
                .collect();
            let unmappable = explained.mapped.unmappable.iter();
            let unmappable: Vec<Value> = unmappable
                .map(|it| json!({ "template": it.template, "why": it.why }))
                .collect();
            json!({
                "site": site.name,
                "rule": explained.rule,
                "verdict": explained.verdict.to_string(),
                "targets": targets,
                "unmappable": unmappable,
            })
        })
        .collect()
}

fn rules_text(site: &Site, path: &FilePath, change: ChangeKind) -> String {
    let mut text = String::new();
    for explained in site.rules.explain(path, change) {
        text.push_str(&format!("  {}: {}\n", explained.rule, explained.verdict));
        for target in &explained.mapped.targets {
            text.push_str(&format!("    {} {}\n", target.kind.as_str(), target.url));
        }
        for unmappable in &explained.mapped.unmappable {
            text.push_str(&format!(
                "    no URL from {}: {}\n",
                unmappable.template, unmappable.why
            ));
        }
    }
    text
}

/// The plan for a push that changes only this path.
fn outcome(site: &Site, path: &FilePath, change: ChangeKind) -> Plan {
    let files = BTreeMap::from([(path.clone(), change)]);
    plan(&site.rules, &site.capabilities(), &files)
}

/// Why a path purges nothing, if it does not.
fn why_nothing(site: &Site, path: &FilePath, change: ChangeKind) -> &'static str {
    if site.rules.targets(path, change).unmatched {
        return match site.rules.unmatched() {
            Unmatched::Ignore => "no rule is for it, and `unmatched` is `ignore`",
            Unmatched::Warn => "no rule is for it; `unmatched` is `warn`, so the run has a note",
            Unmatched::Everything => "no rule is for it, and no CDN can purge everything",
        };
    }
    let explained = site.rules.explain(path, change);
    let mut verdicts = explained.iter().map(|explained| &explained.verdict);
    if verdicts
        .clone()
        .any(|it| matches!(it, RuleVerdict::Ignored { .. }))
    {
        "the site ignores it"
    } else if verdicts.any(|it| matches!(it, RuleVerdict::Matched { .. })) {
        "the rules that fire ask for nothing that can be"
    } else {
        "no rule fires"
    }
}

/// `{site, mode, purges, problems, notes}` for a push of only this path, and `nothing` with the reason if nothing
/// is purged.
fn outcome_json(site: &Site, path: &FilePath, change: ChangeKind) -> Value {
    let plan = outcome(site, path, change);
    let mut outcome = json!(plan.document(Value::Null));
    if let Some(outcome) = outcome.as_object_mut() {
        outcome.remove("summary");
        outcome.insert("site".to_owned(), json!(site.name));
        outcome.insert("mode".to_owned(), json!(mode(site)));
        if plan.purges.is_empty() && plan.problems.is_empty() {
            let why = why_nothing(site, path, change);
            outcome.insert("nothing".to_owned(), json!(why));
        }
    }
    outcome
}

fn outcome_text(site: &Site, path: &FilePath, change: ChangeKind) -> String {
    let plan = outcome(site, path, change);
    let mut text = if site.mode.is_dry_run() {
        "  comes to (dry run, nothing is sent):\n".to_owned()
    } else {
        "  comes to:\n".to_owned()
    };
    if plan.purges.is_empty() && plan.problems.is_empty() {
        let why = why_nothing(site, path, change);
        text.push_str(&format!("    nothing: {why}\n"));
    }
    for purge in &plan.purges {
        let mode = purge.mode.map(|mode| format!(" ({})", mode.as_str()));
        text.push_str(&format!(
            "    {}: {}{} {}\n",
            purge.cdn,
            purge.kind.as_str(),
            mode.unwrap_or_default(),
            purge.target
        ));
    }
    for remark in plan.remarks().lines() {
        text.push_str(&format!("    {remark}\n"));
    }
    text
}

fn mode(site: &Site) -> &'static str {
    if site.mode.is_dry_run() {
        "dry-run"
    } else {
        "live"
    }
}

/// `[{site, rule, kind, template, paths}]`.
fn origins_json(site: &Site, url: &str) -> Vec<Value> {
    let origins = site.rules.templates_for(url).into_iter();
    origins
        .map(|origin| {
            json!({
                "site": site.name,
                "rule": origin.rule,
                "kind": origin.kind.as_str(),
                "template": origin.template,
                "paths": origin.paths,
            })
        })
        .collect()
}

/// `{site, mode, base_urls, problems}`: the base URLs above the URL, and why it could not be purged.
fn service_json(site: &Site, url: &str) -> Value {
    let bases = site.rules.bases_of(url);
    let bases: Vec<&str> = bases.into_iter().map(BaseUrl::as_str).collect();
    json!({
        "site": site.name,
        "mode": mode(site),
        "base_urls": bases,
        "problems": obstacles(site, url),
    })
}

/// Why a URL cannot be purged, whatever the rules say.
fn obstacles(site: &Site, url: &str) -> Vec<String> {
    let mut found = Vec::new();
    let all = site.rules.base_urls();
    let is_served = all.iter().any(|base| {
        let rest = url.strip_prefix(base.origin());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']))
    });
    if !is_served {
        let origins: Vec<&str> = all.iter().map(BaseUrl::origin).collect();
        found.push(format!(
            "nothing but {} is ever asked for: the site's base_urls name no other scheme, host and port",
            origins.join(" and ")
        ));
    }
    if url.contains('?') && site.rules.templates_for(url).is_empty() {
        found.push(
            "each query string is cached by itself, and no rule asks for this one: a purge of the URL without it does \
             not touch it"
                .to_owned(),
        );
    }
    for cdn in site.capabilities() {
        match cdn.url_length {
            Some(limit) if url.len() > limit => found.push(format!(
                "{} takes URLs of up to {limit} bytes, and this one has {}",
                cdn.cdn,
                url.len()
            )),
            Some(_) | None => {}
        }
    }
    found
}

/// The templates that could purge this very URL, rather than only a directory above it.
fn asked_for_itself<'s>(site: &'s Site, url: &str) -> Vec<PossibleTemplate<'s>> {
    let mut origins = site.rules.templates_for(url);
    origins.retain(|origin| origin.kind != PurgeKind::Directory);
    origins
}

fn origins_text(site: &Site, url: &str) -> String {
    let mut text = String::new();
    for problem in obstacles(site, url) {
        text.push_str(&format!("  problem: {problem}\n"));
    }
    let bases: Vec<&str> = site
        .rules
        .bases_of(url)
        .into_iter()
        .map(BaseUrl::as_str)
        .collect();
    if !bases.is_empty() {
        text.push_str(&format!("  is below {}\n", bases.join(" and ")));
    }
    let origins = site.rules.templates_for(url);
    for origin in &origins {
        text.push_str(&format!(
            "  {}: could ask for it as {} by `{}`, for paths that match `{}`\n",
            origin.rule,
            match origin.kind {
                PurgeKind::Url => "a URL",
                PurgeKind::Directory => "part of a directory",
                PurgeKind::Prefetch => "a prefetch",
            },
            origin.template,
            origin.paths.join("` or `")
        ));
    }
    if origins.is_empty() {
        text.push_str("  no rule could ask for it\n");
    }
    if let Some((without, _)) = url.split_once('?')
        && asked_for_itself(site, url).is_empty()
    {
        for origin in asked_for_itself(site, without) {
            text.push_str(&format!(
                "  without the query, {}: could ask for {without} by `{}`\n",
                origin.rule, origin.template
            ));
        }
    }
    text
}
