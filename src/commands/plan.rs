//! `purgehook plan`: what a change would purge. Sends nothing.

use std::io::Read;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};

use super::{load, sites};
use crate::cli::ServerOptions;
use crate::engine::capabilities;
use crate::plan::{plan, read_files};

/// Plans the change that `files` lists.
pub fn run(rules: &Path, site: Option<&str>, files: &Path, json: bool) -> anyhow::Result<ExitCode> {
    let config = load(rules, &ServerOptions::default())?;
    let [site] = sites(&config, site)?[..] else {
        let names: Vec<&str> = config.sites.keys().map(String::as_str).collect();
        bail!(
            "there are several sites; say which with --site: {}",
            names.join(", ")
        );
    };
    let mut input = Vec::new();
    if files == Path::new("-") {
        std::io::stdin()
            .lock()
            .read_to_end(&mut input)
            .context("cannot read standard input")?;
    } else {
        input = std::fs::read(files).with_context(|| format!("cannot read {}", files.display()))?;
    }
    let plan = plan(
        &site.rules,
        &capabilities(&config, site),
        &read_files(&input)?,
    );
    if json {
        println!("{}", plan.to_json());
    } else {
        println!("{}", plan.to_table().trim_end());
    }
    Ok(if plan.problems.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
