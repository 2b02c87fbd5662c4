//! The `rules:` of a site.

use std::collections::HashMap;

use super::site::globs;
use crate::purge::Mode;
use crate::rules::{BaseUrl, Rule, RuleError, Template};
use crate::settings::Section;

/// Reads `rules:`. Without base URLs (they are wrong, which is noted) the
/// templates cannot be checked, and are not.
pub(super) fn read_all(site: &mut Section, base_urls: Option<&[BaseUrl]>) -> Vec<Rule> {
    let errors = site.errors();
    let sections = site.sections("rules");
    if sections.is_empty() && site.errors() == errors {
        let advice = "add a rule with `match` and `urls`, `directories` or `prefetch`";
        site.missing("rules", Some(advice.to_owned()));
    }
    let mut names = HashMap::new();
    let mut rules = Vec::new();
    for (i, mut section) in sections.into_iter().enumerate() {
        let named = section.text("name");
        let at = named.as_ref().map_or(section.at(), |name| name.at.clone());
        let name = named.map_or_else(|| format!("rule {}", i + 1), |name| name.value);
        if let Some(first) = names.insert(name.clone(), i) {
            section.problem(
                at,
                format!("the name `{name}` is taken by rule {}", first + 1),
                Some("give each rule of a site a name of its own".to_owned()),
            );
        }
        rules.extend(read(name, &mut section, base_urls));
    }
    rules
}

fn read(name: String, section: &mut Section, base_urls: Option<&[BaseUrl]>) -> Option<Rule> {
    let matches = globs(section, "match");
    if section.place_of("match").is_none() || (matches.is_empty() && !section.has_items("match")) {
        let advice = "say which paths the rule is for, e.g. `match: [\"static/**\"]`";
        section.missing("match", Some(advice.to_owned()));
    }
    let except = globs(section, "except");
    let strip = section.text("strip").map(|strip| strip.value);
    let urls = templates(section, "urls", base_urls, Template::parse);
    let directories = templates(section, "directories", base_urls, Template::parse_directory);
    let prefetch = templates(section, "prefetch", base_urls, Template::parse);
    let asks = ["urls", "directories", "prefetch"];
    if !asks.iter().any(|key| section.has_items(key)) {
        let at = section.at();
        section.problem(
            at,
            format!("the rule `{name}` asks for nothing"),
            Some("add `urls`, `directories` or `prefetch`".to_owned()),
        );
    }
    let mode = section.word("mode", &["flush", "delete"]);
    if let Some(mode) = &mode
        && !section.has_items("directories")
    {
        section.warning(
            mode.at.clone(),
            "`mode` says how directories are purged, and this rule purges none",
            None,
        );
    }
    let last = section.flag("last").is_some_and(|last| last.value);
    Some(Rule {
        name,
        matches,
        except,
        strip: strip.unwrap_or_default(),
        urls,
        directories,
        prefetch,
        mode: mode.and_then(|mode| Mode::parse(&mode.value)),
        last,
    })
}

fn templates(
    section: &mut Section,
    key: &str,
    base_urls: Option<&[BaseUrl]>,
    parse: impl Fn(&str, &[BaseUrl]) -> Result<Template, RuleError>,
) -> Vec<Template> {
    let texts = section.texts(key);
    let Some(base_urls) = base_urls else {
        return Vec::new();
    };
    texts
        .into_iter()
        .filter_map(|text| match parse(&text.value, base_urls) {
            Ok(template) => Some(template),
            Err(error) => {
                section.problem(text.at, error.message, error.advice);
                None
            }
        })
        .collect()
}
