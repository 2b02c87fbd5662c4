//! `purgehook explain`: which rules fire for a path, and why.

use std::path::Path;
use std::process::ExitCode;

use serde_json::json;

use super::{load, sites};
use crate::changes::FilePath;
use crate::cli::ServerOptions;

/// Explains a path under the rules of one site or of all.
pub fn run(rules: &Path, site: Option<&str>, path: &str, json: bool) -> anyhow::Result<ExitCode> {
    let config = load(rules, &ServerOptions::default())?;
    let path = FilePath::new(path.as_bytes());
    let mut all = Vec::new();
    for site in sites(&config, site)? {
        if !json {
            println!("{} ({}:{})", site.name, site.forge, site.repo);
        }
        for explained in site
            .rules
            .explain(&path, crate::changes::ChangeKind::Modified)
        {
            let targets: Vec<String> = explained
                .mapped
                .targets
                .iter()
                .map(|target| format!("{} {}", target.kind.word(), target.url))
                .collect();
            if json {
                all.push(json!({
                    "site": site.name,
                    "rule": explained.rule,
                    "verdict": explained.verdict.to_string(),
                    "targets": targets,
                }));
                continue;
            }
            println!("  {}: {}", explained.rule, explained.verdict);
            for target in targets {
                println!("    {target}");
            }
            for unmappable in &explained.mapped.unmappable {
                println!(
                    "    no URL from {}: {}",
                    unmappable.template, unmappable.why
                );
            }
        }
    }
    if json {
        println!("{}", json!({ "path": path.to_string(), "rules": all }));
    }
    Ok(ExitCode::SUCCESS)
}
