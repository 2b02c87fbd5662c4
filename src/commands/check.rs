//! `purgehook check`: reads the rules file and says all that is wrong with it.

use std::path::Path;
use std::process::ExitCode;

use serde_json::json;

use crate::clock::Clock;
use crate::config::{self, Loaded};
use crate::http::Outbound;
use crate::settings::{Environment, Problems};

/// Checks the rules file at `path`; exit code 1 if it cannot be used. Secrets that are not set are named; only where
/// it is `strict`, as for the server, are they errors.
///
/// For people, problems and warnings go to standard error and what the file
/// holds to standard output; with `as_json`, one document goes to standard
/// output. Nothing is sent anywhere.
pub fn run(path: &Path, strict: bool, as_json: bool) -> anyhow::Result<ExitCode> {
    let outbound = Outbound::new(Clock::system())?;
    let load = if strict {
        config::load
    } else {
        config::load_without_secrets
    };
    let result = load(path, Environment::of_process(), &outbound);
    let good = result.is_ok();
    if as_json {
        println!("{}", report(&result));
    } else {
        let found = match &result {
            Ok(loaded) => &loaded.warnings,
            Err(problems) => problems,
        };
        if !found.list.is_empty() || !found.unset_secrets.is_empty() {
            eprintln!("{}", found.render(Problems::colours_wanted()));
        }
        if let Ok(loaded) = &result {
            println!("{}", summary(path, loaded));
        }
    }
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// What `check --json` prints: `{file, ok, problems: [{severity, line, column, message, advice}], unset}`.
/// Line and column are null for the file as a whole; `unset` names variables that must be set.
fn report(result: &Result<Loaded, Problems>) -> serde_json::Value {
    let problems = match result {
        Ok(loaded) => &loaded.warnings,
        Err(problems) => problems,
    };
    let unset: Vec<&String> = problems
        .unset
        .iter()
        .chain(&problems.unset_secrets)
        .collect();
    json!({
        "file": problems.file,
        "ok": result.is_ok(),
        "problems": problems.list,
        "unset": unset,
    })
}

/// One line about a file that can be used.
fn summary(path: &Path, loaded: &Loaded) -> String {
    let config = &loaded.config;
    let count = |n: usize, word: &str| match n {
        1 => format!("1 {word}"),
        n => format!("{n} {word}s"),
    };
    let rules = config
        .sites
        .values()
        .map(|site| site.rules.rules().len())
        .sum();
    format!(
        "{} is fine: {}, {}, {}, {}",
        path.display(),
        count(config.sites.len(), "site"),
        count(rules, "rule"),
        count(config.forges.len(), "forge"),
        count(config.cdns.len(), "CDN"),
    )
}

#[cfg(test)]
mod tests {
    use super::report;
    use crate::settings::Problems;

    #[test]
    fn the_report_for_programs_names_the_file_and_every_problem() {
        let problems = Problems::of_file("rules.yaml", "it is gone".to_owned(), None);

        assert_eq!(
            report(&Err(problems)),
            serde_json::json!({
                "file": "rules.yaml",
                "ok": false,
                "problems": [{"severity": "error", "line": null, "column": null, "message": "it is gone", "advice": null}],
                "unset": [],
            })
        );
    }
}
