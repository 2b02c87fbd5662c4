//! `purgehook check`: every problem in the rules file.

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;

use crate::clock::Clock;
use crate::config;
use crate::http::Outside;
use crate::settings::Environment;

/// Shows all problems; fails if one of them is an error.
pub fn run(rules: &Path, json: bool) -> anyhow::Result<ExitCode> {
    let outside = Outside::new(Clock::system())?;
    let (problems, usable) = match config::load(rules, Environment::of_process(), &outside) {
        Ok(loaded) => (loaded.warnings, Some(loaded.config)),
        Err(problems) => (problems, None),
    };
    if json {
        println!("{}", serde_json::json!({ "ok": usable.is_some(), "problems": problems.list }));
    } else {
        if !problems.list.is_empty() {
            eprintln!("{}", problems.render(std::io::stderr().is_terminal()));
        }
        if let Some(config) = &usable {
            println!(
                "{} is fine: {} sites, {} forges, {} CDNs",
                rules.display(),
                config.sites.len(),
                config.forges.len(),
                config.cdns.len()
            );
        }
    }
    Ok(if usable.is_some() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
