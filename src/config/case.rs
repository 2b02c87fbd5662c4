//! The `tests:` of a site.

use std::collections::BTreeSet;

use crate::changes::{ChangeKind, FilePath};
use crate::purge::PurgeKind;
use crate::rules::{BaseUrl, Case, expected};
use crate::settings::Section;

/// Reads `tests:`. Without valid base URLs, whose problems are recorded elsewhere, the targets are not checked.
pub(super) fn read_all(site: &mut Section, base_urls: Option<&[BaseUrl]>) -> Vec<Case> {
    site.sections("tests")
        .iter_mut()
        .filter_map(|section| read(section, base_urls))
        .collect()
}

fn read(section: &mut Section, base_urls: Option<&[BaseUrl]>) -> Option<Case> {
    let path = section.required_text("path");
    if let Some(path) = &path
        && (path.value.starts_with('/') || path.value.starts_with("./"))
    {
        section.problem(
            path.at.clone(),
            format!("no path of a repository starts as `{}` does", path.value),
            Some("write it from the repository's top, e.g. `content/index.md`".to_owned()),
        );
    }
    let change = section
        .word("change", &ChangeKind::ALL.map(ChangeKind::as_str))
        .and_then(|word| word.value.parse().ok());
    let mut targets = BTreeSet::new();
    for (key, kind) in [
        ("urls", PurgeKind::Url),
        ("directories", PurgeKind::Directory),
        ("prefetch", PurgeKind::Prefetch),
    ] {
        for text in section.texts(key) {
            match base_urls.map(|bases| expected(&text.value, kind, bases)) {
                None => {}
                Some(Ok(urls)) => targets.extend(urls.into_iter().map(|url| (kind, url))),
                Some(Err(error)) => section.problem(text.at, error.message, error.advice),
            }
        }
    }
    Some(Case {
        path: FilePath::new(path?.value),
        change: change.unwrap_or(ChangeKind::Modified),
        targets,
    })
}

#[cfg(test)]
mod tests {
    use crate::changes::ChangeKind;
    use crate::config::tests::{MINIMAL, config, said, with_site};

    #[test]
    fn cases_are_read_with_their_targets_in_full() {
        let text = with_site(&format!(
            "{MINIMAL}tests:\n- {{path: a, urls: /a}}\n- {{path: b, change: removed, urls: [https://www.example.com/b]}}\n"
        ));

        assert_eq!(said(&text), [""; 0]);
        let config = config(&text);
        let site = &config.sites["www"];
        assert_eq!(site.tests.len(), 2);
        assert_eq!(site.tests[1].change, ChangeKind::Removed);
        assert!(
            site.tests
                .iter()
                .all(|case| case.differences(&site.rules).is_empty())
        );
    }

    #[test]
    fn what_is_wrong_with_a_case_is_said() {
        let text = with_site(&format!(
            "{MINIMAL}tests:\n- {{path: /a, url: /a}}\n- {{change: gone, urls: https://b.example/, directories: /a}}\n"
        ));

        let said = said(&text);
        for expected in [
            "no path of a repository starts as `/a` does",
            "`url` is no key of `sites.www.tests[1]`",
            "`path` is missing from `sites.www.tests[2]`",
            "`change` cannot be `gone`",
            "`https://b.example/` is on none of the site's base URLs",
            "the directory `/a` does not end in `/`",
        ] {
            assert!(
                said.iter().any(|line| line.contains(expected)),
                "{expected}: {said:?}"
            );
        }
        assert_eq!(said.len(), 6);
    }
}
