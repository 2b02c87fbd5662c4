//! `purgehook check`: reads the rules file and reports every problem in it.

use std::path::Path;
use std::process::ExitCode;

use serde_json::json;

use super::online::{self, Finding, Verdict};
use crate::clock::Clock;
use crate::config::{self, Loaded};
use crate::http::Outbound;
use crate::sanitize::visible_lines;
use crate::settings::{Environment, Problems};

/// Checks the rules file at `path`; exit code 1 if it cannot be used. Lists unset secrets, which are errors only if
/// `strict`, as they are for the server.
///
/// For people, problems and warnings go to standard error and a summary of the file to standard output; with
/// `as_json`, one document goes to standard output. Nothing is sent, unless `online`: then the forges and CDNs are
/// asked too. That requires their secrets, and problems found there also give exit code 1.
pub async fn run(
    path: &Path,
    strict: bool,
    online: bool,
    as_json: bool,
) -> anyhow::Result<ExitCode> {
    let clock = Clock::system();
    let outbound = Outbound::new(clock.clone())?;
    let load = if strict || online {
        config::load
    } else {
        config::load_without_secrets
    };
    let result = load(path, Environment::of_process(), &outbound);
    let findings = match &result {
        Ok(loaded) if online => Some(online::check(&loaded.config, &clock).await),
        Ok(_) | Err(_) => None,
    };
    let is_wrong = |finding: &Finding| finding.verdict == Verdict::Wrong;
    let good = result.is_ok() && !findings.iter().flatten().any(is_wrong);
    if as_json {
        println!("{}", report(&result, findings.as_deref()));
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
        if let Some(findings) = &findings {
            for finding in findings {
                print!("{}", visible_lines(&finding.to_text()));
            }
            println!("{}", online::summary(findings));
        }
    }
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The output of `check --json`: `{file, ok, problems: [{severity, line, column, message, advice}], unset}`. Line
/// and column are null for the whole file; `unset` lists variables that must be set. If the forges and CDNs were
/// asked, also `online: [{subject, verdict, message, advice}]`; `verdict` is `ok`, `note` or `wrong`.
fn report(result: &Result<Loaded, Problems>, findings: Option<&[Finding]>) -> serde_json::Value {
    let problems = match result {
        Ok(loaded) => &loaded.warnings,
        Err(problems) => problems,
    };
    let unset: Vec<&String> = problems
        .unset
        .iter()
        .chain(&problems.unset_secrets)
        .collect();
    let is_wrong = |finding: &Finding| finding.verdict == Verdict::Wrong;
    let mut report = json!({
        "file": problems.file,
        "ok": result.is_ok() && !findings.into_iter().flatten().any(is_wrong),
        "problems": problems.list,
        "unset": unset,
    });
    if let (Some(findings), Some(report)) = (findings, report.as_object_mut()) {
        let findings = findings.iter().map(Finding::to_json).collect();
        report.insert("online".to_owned(), findings);
    }
    report
}

/// A line about a valid file.
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
            report(&Err(problems), None),
            serde_json::json!({
                "file": "rules.yaml",
                "ok": false,
                "problems": [{"severity": "error", "line": null, "column": null, "message": "it is gone", "advice": null}],
                "unset": [],
            })
        );
    }
}
