//! `purgehook explain`: which rules fire for a path, and why; or which could have asked for a URL.

use std::path::Path;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::{load, sites};
use crate::changes::{ChangeKind, FilePath};
use crate::cli::ServerOptions;
use crate::config::Site;
use crate::quote::visible_lines;
use crate::rules::BaseUrl;

/// Explains a path or a URL under the rules of one site or of all.
pub fn run(
    rules: &Path,
    site: Option<&str>,
    what: &str,
    change: ChangeKind,
    as_json: bool,
) -> anyhow::Result<ExitCode> {
    let config = load(rules, &ServerOptions::default())?;
    let sites = sites(&config, site)?;
    let is_url = what.starts_with("https://") || what.starts_with("http://");
    let path = FilePath::new(what.as_bytes());
    if as_json {
        let each = sites.iter().flat_map(|site| {
            if is_url {
                origins_json(site, what)
            } else {
                rules_json(site, &path, change)
            }
        });
        let key = if is_url { "url" } else { "path" };
        println!(
            "{}",
            json!({ key: what, "rules": each.collect::<Vec<_>>() })
        );
    } else {
        for site in sites {
            println!("{} ({}:{})", site.name, site.forge, site.repo);
            let text = if is_url {
                origins_text(site, what)
            } else {
                rules_text(site, &path, change)
            };
            print!("{}", visible_lines(&text));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// `[{site, rule, verdict, targets}]`.
fn rules_json(site: &Site, path: &FilePath, change: ChangeKind) -> Vec<Value> {
    let explained = site.rules.explain(path, change).into_iter();
    explained
        .map(|explained| {
            let targets = explained.mapped.targets.iter();
            let targets: Vec<String> = targets
                .map(|target| format!("{} {}", target.kind.word(), target.url))
                .collect();
            json!({
                "site": site.name,
                "rule": explained.rule,
                "verdict": explained.verdict.to_string(),
                "targets": targets,
            })
        })
        .collect()
}

fn rules_text(site: &Site, path: &FilePath, change: ChangeKind) -> String {
    let mut text = String::new();
    for explained in site.rules.explain(path, change) {
        text.push_str(&format!("  {}: {}\n", explained.rule, explained.verdict));
        for target in &explained.mapped.targets {
            text.push_str(&format!("    {} {}\n", target.kind.word(), target.url));
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

/// `[{site, rule, kind, template, paths}]`.
fn origins_json(site: &Site, url: &str) -> Vec<Value> {
    let origins = site.rules.origins(url).into_iter();
    origins
        .map(|origin| {
            json!({
                "site": site.name,
                "rule": origin.rule,
                "kind": origin.kind.word(),
                "template": origin.template,
                "paths": origin.paths,
            })
        })
        .collect()
}

fn origins_text(site: &Site, url: &str) -> String {
    let bases = site.rules.bases_of(url);
    let origins = site.rules.origins(url);
    let mut text = match bases.as_slice() {
        [] if origins.is_empty() => return "  is not served there\n".to_owned(),
        [] => String::new(),
        bases => {
            let bases: Vec<&str> = bases.iter().map(|base| BaseUrl::as_str(base)).collect();
            format!("  is below {}\n", bases.join(" and "))
        }
    };
    for origin in &origins {
        text.push_str(&format!(
            "  {}: could ask for it as {} by `{}`, for paths that match `{}`\n",
            origin.rule,
            match origin.kind {
                crate::purge::PurgeKind::Url => "a URL",
                crate::purge::PurgeKind::Directory => "part of a directory",
                crate::purge::PurgeKind::Prefetch => "a prefetch",
            },
            origin.template,
            origin.paths.join("` or `")
        ));
    }
    if origins.is_empty() {
        text.push_str("  no rule could ask for it\n");
    }
    text
}
