//! The `rules:` of a site.

use std::collections::HashMap;

use super::globs::globs;
use super::{regex_lints, rule_lints, template_lints};
use crate::changes::ChangeKind;
use crate::rules::{BaseUrl, Glob, Matcher, PathRegex, Rule, RuleError, Template};
use crate::settings::{Section, did_you_mean};

/// Bytes of memory for one site's globs ([`Matcher::memory_of`]): enough for some 15,000 ordinary globs.
const MOST_MEMORY: usize = 512 << 20;

/// The parts of a site that its rules depend on.
pub(super) struct Site<'s> {
    /// None if they are invalid, which is recorded; then only templates without a host are checked.
    pub base_urls: Option<&'s [BaseUrl]>,
    /// Paths that no rule sees.
    pub ignore: &'s [Glob],
    /// The site's CDNs, as written.
    pub cdns: &'s [String],
}

/// Reads `rules:`.
pub(super) fn read_all(section: &mut Section, site: &Site<'_>) -> Vec<Rule> {
    let errors = section.errors();
    let sections = section.sections("rules");
    if sections.is_empty() && section.errors() == errors {
        let advice = "add a rule with `match` and `urls`, `directories` or `prefetch`";
        section.missing("rules", Some(advice.to_owned()));
    }
    let mut names = HashMap::new();
    let mut rules: Vec<Rule> = Vec::new();
    let mut memory: usize = site.ignore.iter().map(Matcher::memory_of).sum();
    for (i, mut section) in sections.into_iter().enumerate() {
        // Further rules would only need more.
        if memory > MOST_MEMORY {
            section.ignore_rest();
            continue;
        }
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
        if let Some(rule) = read(name, &mut section, site) {
            let globs = rule.matches.iter().chain(&rule.except);
            memory += globs.map(Matcher::memory_of).sum::<usize>();
            if memory > MOST_MEMORY {
                let at = section.at();
                section.problem(
                    at,
                    format!(
                        "up to here, the site's globs may take more than {} MB of memory",
                        MOST_MEMORY >> 20
                    ),
                    Some("write `*` or `**` in place of long lists in braces".to_owned()),
                );
                continue;
            }
            rule_lints::check(&mut section, &rule, &rules, site.ignore);
            rules.push(rule);
        }
    }
    rules
}

/// Reads one rule. None if it has problems, which are recorded.
fn read(name: String, section: &mut Section, site: &Site<'_>) -> Option<Rule> {
    let errors = section.errors();
    let matches = globs(section, "match");
    let regex = read_regex(section);
    if !section.has_items("match") && section.place_of("match_regex").is_none() {
        let advice = "say which paths the rule is for, e.g. `match: [\"static/**\"]`";
        section.missing("match", Some(advice.to_owned()));
    }
    let except = globs(section, "except");
    let on = read_changes(section);
    let cdns = read_cdns(section, site.cdns);
    let strip = section.text("strip").map(|strip| strip.value);
    // If the expression is invalid, its groups are unknown, and templates that use them are not checked.
    let groups = regex.as_ref().map_or(&[][..], PathRegex::groups);
    let wrong_regex = regex.is_none() && section.has_items("match_regex");
    let stand_in: Vec<BaseUrl> = BaseUrl::parse("https://www.example.com")
        .into_iter()
        .collect();
    let base_urls = (!wrong_regex).then(|| site.base_urls.unwrap_or(&stand_in));
    let can_read = |text: &str| site.base_urls.is_some() || text.starts_with('/');
    let read = |text: &str, bases: &[BaseUrl]| Template::parse(text, bases, groups);
    let read_directory =
        |text: &str, bases: &[BaseUrl]| Template::parse_directory(text, bases, groups);
    let urls = templates(section, "urls", base_urls, can_read, read);
    let directories = templates(section, "directories", base_urls, can_read, read_directory);
    let prefetch = templates(section, "prefetch", base_urls, can_read, read);
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
    let rule = Rule {
        name,
        matches,
        regex,
        except,
        on,
        cdns,
        strip: strip.unwrap_or_default(),
        urls,
        directories,
        prefetch,
        mode: mode.and_then(|mode| mode.value.parse().ok()),
        last,
    };
    (section.errors() == errors).then_some(rule)
}

fn read_regex(section: &mut Section) -> Option<PathRegex> {
    let text = section.text("match_regex")?;
    if let Some((message, advice)) = regex_lints::oddity(&text.value) {
        section.warning(text.at.clone(), message, Some(advice.to_owned()));
    }
    match PathRegex::parse(&text.value) {
        Ok(regex) => Some(regex),
        Err(error) => {
            section.problem(text.at, error.message, error.advice);
            None
        }
    }
}

/// Reads `on:`. Default: all changes.
fn read_changes(section: &mut Section) -> Vec<ChangeKind> {
    let words = ChangeKind::ALL.map(ChangeKind::as_str);
    let given: Vec<ChangeKind> = section
        .words("on", &words)
        .iter()
        .filter_map(|word| word.value.parse().ok())
        .collect();
    if given.is_empty() {
        ChangeKind::ALL.to_vec()
    } else {
        given
    }
}

/// Reads a rule's `cdns:`, some of the site's. None if not given.
fn read_cdns(section: &mut Section, known: &[String]) -> Option<Vec<String>> {
    let given = section.texts("cdns");
    // If the site's own are missing, report only that.
    if !known.is_empty() {
        for name in given.iter().filter(|name| !known.contains(&name.value)) {
            let known = known.iter().map(String::as_str);
            section.problem(
                name.at.clone(),
                format!("the site has no CDN named `{}`", name.value),
                Some(did_you_mean(&name.value, known, "its `cdns:` are")),
            );
        }
    }
    let names: Vec<String> = given.into_iter().map(|name| name.value).collect();
    (!names.is_empty()).then_some(names)
}

fn templates(
    section: &mut Section,
    key: &str,
    base_urls: Option<&[BaseUrl]>,
    can_read: impl Fn(&str) -> bool,
    parse: impl Fn(&str, &[BaseUrl]) -> Result<Template, RuleError>,
) -> Vec<Template> {
    let texts = section.texts(key);
    let Some(base_urls) = base_urls else {
        return Vec::new();
    };
    texts
        .into_iter()
        .filter(|text| can_read(&text.value))
        .filter_map(|text| match parse(&text.value, base_urls) {
            Ok(template) => {
                if let Some((message, advice)) = template_lints::oddity(&text.value) {
                    section.warning(text.at, message, Some(advice));
                }
                Some(template)
            }
            Err(error) => {
                section.problem(text.at, error.message, error.advice);
                None
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use crate::changes::{ChangeKind, FilePath};
    use crate::config::tests::{config, said, with_site};
    use crate::rules::Unmatched;

    /// A site on two CDNs with these additional lines.
    fn site(lines: &str) -> String {
        let text = with_site(&format!(
            "repo: github:acme/website\nbase_urls: https://www.example.com\ncdns: [tencent, huawei]\n{lines}"
        ));
        text.replace(
            "{tencent: {kind: tencent-cdn}}",
            "{tencent: {kind: tencent-cdn}, huawei: {kind: huawei-cdn}}",
        )
    }

    #[test]
    fn a_rule_may_say_which_changes_cdns_and_paths_it_is_for() {
        let text = site(
            "unmatched: everything\nindex: index.html\nrules:\n\
             - {match_regex: '^posts/(?<slug>[a-z]+)\\.md$', on: [added, changed], cdns: huawei, urls: \"/{slug}/\"}\n\
             - {match: \"**\", on: removed, urls: \"/{path}\"}\n",
        );

        assert_eq!(said(&text), [""; 0]);
        let config = config(&text);
        let rules = &config.sites["www"].rules;
        assert_eq!(rules.unmatched(), Unmatched::Everything);
        let [first, second] = rules.rules() else {
            panic!("two rules");
        };
        assert_eq!(first.on, [ChangeKind::Added, ChangeKind::Modified]);
        assert_eq!(first.cdns.as_deref(), Some(&["huawei".to_owned()][..]));
        assert_eq!(second.on, [ChangeKind::Removed]);
        assert_eq!(second.cdns, None);
        let mapped = rules.targets(&FilePath::new("posts/a.md"), ChangeKind::Added);
        let urls: Vec<&str> = mapped.targets.iter().map(|t| t.url.as_str()).collect();
        let at = "https://www.example.com/a/";
        assert_eq!(urls, [at, &format!("{at}index.html")]);
    }

    #[test]
    fn what_is_wrong_with_a_rules_conditions_is_said() {
        let text = site(
            "unmatched: all\nindex: a/b\nrules:\n\
             - {name: a, match_regex: \"a(\", urls: \"/{slug}/\"}\n\
             - {name: b, match: \"*\", on: [added, modified, added], cdns: [huawai], urls: \"/\"}\n\
             - {name: c, match_regex: \"(?<slug>x)\", urls: \"/{slugs}/\"}\n\
             - {name: d, urls: \"/\"}\n\
             - {name: e, match_regex: \"(?<name>x)\", urls: \"/\"}\n",
        );

        let said: Vec<String> = said(&text)
            .into_iter()
            .map(|line| line.split_once(' ').map(|(_, words)| words.to_owned()))
            .map(Option::unwrap_or_default)
            .collect();
        assert_eq!(
            said,
            [
                "`unmatched` cannot be `all`",
                "`a/b` is no name of a file",
                "the expression `a(` is wrong: unclosed group",
                "`on` cannot hold `modified`",
                "`on` twice holds `added`",
                "the site has no CDN named `huawai`",
                "the template `/{slugs}/` has the unknown field `{slugs}` at character 2",
                "`match` is missing from `sites.www.rules[4]`",
                "the group `name` would hide the field {name}",
            ]
        );
    }
}
