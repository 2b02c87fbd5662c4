//! `purgehook test`: runs the test cases of a rules file.

use std::path::Path;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::options::ServerOptions;
use super::{load_without_secrets, sites};
use crate::rules::{Case, Difference};

/// Runs the test cases of one site or of all; exit code 1 if the rules differ from a case.
///
/// With `as_json`: `{"passed", "failed", "cases": [{site, path, change, ok, missing, unexpected}]}`.
pub fn run(rules: &Path, site: Option<&str>, as_json: bool) -> anyhow::Result<ExitCode> {
    let config = load_without_secrets(rules, &ServerOptions::default())?;
    let mut passed = 0;
    let mut cases = Vec::new();
    for site in sites(&config, site)? {
        for case in &site.tests {
            let differences = case.differences(&site.rules);
            passed += usize::from(differences.is_empty());
            if as_json {
                cases.push(to_json(&site.name, case, &differences));
            } else {
                print!("{}", to_text(&site.name, case, &differences));
                cases.push(Value::Null);
            }
        }
    }
    let failed = cases.len() - passed;
    if as_json {
        let report = json!({ "passed": passed, "failed": failed, "cases": cases });
        println!("{report}");
    } else if cases.is_empty() {
        println!("there are no cases; add `tests:` to a site");
    } else {
        println!("{passed} passed, {failed} failed");
    }
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// A line for the case, and one for each differing target.
fn to_text(site: &str, case: &Case, differences: &[Difference<'_>]) -> String {
    let word = if differences.is_empty() {
        "ok  "
    } else {
        "FAIL"
    };
    let mut text = format!("{word} {site}: {} ({})\n", case.path, case.change.as_str());
    for difference in differences {
        text.push_str(&match difference {
            Difference::Missing { kind, target } => {
                format!(
                    "     - {} {target}   (no rule asks for it)\n",
                    kind.as_str()
                )
            }
            Difference::Unexpected { kind, target, rule } => format!(
                "     + {} {target}   (the rule `{rule}` asks for it)\n",
                kind.as_str()
            ),
        });
    }
    text
}

fn to_json(site: &str, case: &Case, differences: &[Difference<'_>]) -> Value {
    let mut missing = Vec::new();
    let mut unexpected = Vec::new();
    for difference in differences {
        match difference {
            Difference::Missing { kind, target } => {
                missing.push(json!({ "kind": kind.as_str(), "target": target }));
            }
            Difference::Unexpected { kind, target, rule } => {
                unexpected.push(json!({ "kind": kind.as_str(), "target": target, "rule": rule }));
            }
        }
    }
    json!({
        "site": site,
        "path": case.path.to_string(),
        "change": case.change.as_str(),
        "ok": differences.is_empty(),
        "missing": missing,
        "unexpected": unexpected,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::changes::{ChangeKind, FilePath};
    use crate::purge::PurgeKind;

    #[test]
    fn a_case_that_fails_shows_what_differs() {
        let case = Case {
            path: FilePath::new("a.css"),
            change: ChangeKind::Removed,
            targets: [(PurgeKind::Url, "https://a.example/b".to_owned())].into(),
        };
        let differences = [
            Difference::Missing {
                kind: PurgeKind::Url,
                target: "https://a.example/b".to_owned(),
            },
            Difference::Unexpected {
                kind: PurgeKind::Directory,
                target: "https://a.example/".to_owned(),
                rule: "all",
            },
        ];

        assert_eq!(
            to_text("www", &case, &differences),
            "FAIL www: a.css (removed)\n     \
             - url https://a.example/b   (no rule asks for it)\n     \
             + directory https://a.example/   (the rule `all` asks for it)\n"
        );
        assert_eq!(to_text("www", &case, &[]), "ok   www: a.css (removed)\n");
        assert_eq!(
            to_json("www", &case, &differences),
            json!({
                "site": "www",
                "path": "a.css",
                "change": "removed",
                "ok": false,
                "missing": [{"kind": "url", "target": "https://a.example/b"}],
                "unexpected": [{"kind": "directory", "target": "https://a.example/", "rule": "all"}],
            })
        );
    }
}
