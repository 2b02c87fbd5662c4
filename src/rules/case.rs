//! Test cases: the purges that a path should cause under a site's rules, kept beside the rules like unit tests.

use std::collections::{BTreeMap, BTreeSet};

use super::{BaseUrl, RuleError, Rules};
use crate::changes::{ChangeKind, FilePath};
use crate::purge::PurgeKind;

/// The exact targets that one changed path must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// The path.
    pub path: FilePath,
    /// How it changed.
    pub change: ChangeKind,
    /// Its targets, as returned by [`expected`].
    pub targets: BTreeSet<(PurgeKind, String)>,
}

/// A difference between a case and the rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference<'r> {
    /// The case requires it, but no rule purges it.
    Missing {
        /// The kind of purge.
        kind: PurgeKind,
        /// The full URL.
        target: String,
    },
    /// A rule purges it, but the case does not list it.
    Unexpected {
        /// The kind of purge.
        kind: PurgeKind,
        /// The full URL.
        target: String,
        /// The first rule that purges it.
        rule: &'r str,
    },
}

impl Case {
    /// The differences between the case and the rules.
    pub fn differences<'r>(&self, rules: &'r Rules) -> Vec<Difference<'r>> {
        let mut asked: BTreeMap<(PurgeKind, String), &str> = BTreeMap::new();
        for target in rules.targets(&self.path, self.change).targets {
            asked
                .entry((target.kind, target.url))
                .or_insert(target.rule);
        }
        let missing = self
            .targets
            .iter()
            .filter(|wanted| !asked.contains_key(wanted))
            .map(|(kind, target)| Difference::Missing {
                kind: *kind,
                target: target.clone(),
            });
        let mut differences: Vec<Difference<'r>> = missing.collect();
        for ((kind, target), rule) in asked {
            if !self.targets.contains(&(kind, target.clone())) {
                differences.push(Difference::Unexpected { kind, target, rule });
            }
        }
        differences
    }
}

/// The full URLs of a case's target: one for each base URL if it starts with `/`.
pub fn expected(
    text: &str,
    kind: PurgeKind,
    base_urls: &[BaseUrl],
) -> Result<Vec<String>, RuleError> {
    let is_directory = kind == PurgeKind::Directory;
    if is_directory && !text.ends_with('/') {
        return Err(RuleError::new(
            format!(
                "the directory `{}` does not end in `/`",
                text.escape_debug()
            ),
            format!("write `{}/`", text.escape_debug()),
        ));
    }
    if text.starts_with('/') {
        return Ok(base_urls
            .iter()
            .map(|base| format!("{base}{text}"))
            .collect());
    }
    let below = |base: &BaseUrl| {
        let rest = text.strip_prefix(base.origin());
        rest.is_some_and(|rest| rest.starts_with('/'))
    };
    if base_urls.iter().any(below) {
        return Ok(vec![text.to_owned()]);
    }
    Err(RuleError::new(
        format!(
            "`{}` is on none of the site's base URLs",
            text.escape_debug()
        ),
        "write a path that starts with `/`, or a full URL on one of them",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::{Glob, Rule, Template};

    fn bases() -> Vec<BaseUrl> {
        ["https://a.example", "https://b.example/docs"]
            .map(|url| BaseUrl::parse(url).unwrap())
            .to_vec()
    }

    fn case(targets: &[(PurgeKind, &str)]) -> Case {
        let all = targets.iter().flat_map(|(kind, text)| {
            let urls = expected(text, *kind, &bases()).unwrap();
            urls.into_iter().map(|url| (*kind, url))
        });
        Case {
            path: FilePath::new("x.css"),
            change: ChangeKind::Modified,
            targets: all.collect(),
        }
    }

    #[test]
    fn a_case_says_all_that_a_path_asks_for() {
        let template = Template::parse("/{path}", &bases(), &[]).unwrap();
        let rules = Rules::new(
            bases(),
            Vec::new(),
            vec![Rule {
                name: "files".to_owned(),
                matches: vec![Glob::parse("**").unwrap()],
                urls: vec![template.clone(), template],
                ..Rule::default()
            }],
        );

        assert_eq!(case(&[(PurgeKind::Url, "/x.css")]).differences(&rules), []);
        assert_eq!(
            case(&[
                (PurgeKind::Url, "https://a.example/x.css"),
                (PurgeKind::Prefetch, "https://a.example/x.css")
            ])
            .differences(&rules),
            [
                Difference::Missing {
                    kind: PurgeKind::Prefetch,
                    target: "https://a.example/x.css".to_owned(),
                },
                Difference::Unexpected {
                    kind: PurgeKind::Url,
                    target: "https://b.example/docs/x.css".to_owned(),
                    rule: "files",
                },
            ]
        );
    }

    #[test]
    fn a_target_that_no_rule_could_make_is_refused() {
        for (kind, text) in [
            (PurgeKind::Url, "https://c.example/x"),
            (PurgeKind::Url, "https://a.example.evil/x"),
            (PurgeKind::Url, "x"),
            (PurgeKind::Directory, "/x"),
        ] {
            assert!(expected(text, kind, &bases()).is_err(), "{text}");
        }
    }
}
