//! Finds the templates that could have produced a URL.

use percent_encoding::percent_decode_str;
use regex::Regex;

use super::encode::Part;
use super::template::{Piece, Place};
use super::{BaseUrl, Field, Filter, Glob, Rule, Rules, Template};
use crate::purge::PurgeKind;

/// A template that could have produced a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PossibleTemplate<'r> {
    /// Its rule.
    pub rule: &'r str,
    /// The kind of purge.
    pub kind: PurgeKind,
    /// The template as written.
    pub template: &'r str,
    /// The rule's globs, or its expression if it has none.
    pub paths: Vec<&'r str>,
}

impl Rules {
    /// The base URLs above a URL.
    pub fn bases_of(&self, url: &str) -> Vec<&BaseUrl> {
        let below = |base: &&BaseUrl| {
            let rest = url.strip_prefix(base.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']))
        };
        self.base_urls().iter().filter(below).collect()
    }

    /// The templates that could have produced a URL from any possible path: their fields may have any value. A
    /// directory's template could have produced every URL below it.
    pub fn templates_for(&self, url: &str) -> Vec<PossibleTemplate<'_>> {
        let other = self.index.as_ref().and_then(|index| index.other(url));
        let mut origins = Vec::new();
        for rule in &self.rules {
            let paths: Vec<&str> = match (&rule.regex, rule.matches.as_slice()) {
                (Some(regex), []) => vec![regex.text()],
                (_, globs) => globs.iter().map(|glob| glob.text()).collect(),
            };
            for (kind, templates) in [
                (PurgeKind::Url, &rule.urls),
                (PurgeKind::Directory, &rule.directories),
                (PurgeKind::Prefetch, &rule.prefetch),
            ] {
                let other = other.as_deref().filter(|_| kind == PurgeKind::Url);
                for template in templates {
                    let made = |url: &str| {
                        template.could_make(self.base_urls(), url)
                            && self.may_come_from(rule, template, url)
                    };
                    if made(url) || other.is_some_and(made) {
                        origins.push(PossibleTemplate {
                            rule: &rule.name,
                            kind,
                            template: template.text(),
                            paths: paths.clone(),
                        });
                    }
                }
            }
        }
        origins
    }
}

impl Rules {
    /// Whether the rule matches the path from which a template makes this URL, if that path is obvious.
    fn may_come_from(&self, rule: &Rule, template: &Template, url: &str) -> bool {
        let is_path_alone = match template.path_pieces() {
            [Piece::Text(text), Piece::Field(Field::Path, filters)] => {
                text == "/" && filters.is_empty()
            }
            _ => false,
        };
        if !is_path_alone || template.is_directory() {
            return true;
        }
        let url = url.split('?').next().unwrap_or_default();
        let is_known = |glob: &Glob, path: &[u8]| glob.is_match(path);
        let matches = |path: &[u8]| {
            let globs = &rule.matches;
            (globs.is_empty() || globs.iter().any(|glob| is_known(glob, path)))
                && rule.regex.as_ref().is_none_or(|regex| regex.is_match(path))
                && !rule.except.iter().any(|glob| is_known(glob, path))
                && !self.ignore.iter().any(|glob| is_known(glob, path))
        };
        let strip = rule.strip.as_bytes();
        template.starts(self.base_urls()).iter().any(|start| {
            let rest = url
                .strip_prefix(start)
                .and_then(|rest| rest.strip_prefix('/'));
            rest.is_some_and(|rest| {
                let path: Vec<u8> = percent_decode_str(rest).collect();
                if path.is_empty() || path.ends_with(b"/") {
                    return false;
                }
                // A path that does not begin with `strip` stays unchanged.
                matches(&[strip, &path].concat()) || !path.starts_with(strip) && matches(&path)
            })
        })
    }
}

impl Template {
    /// The addresses that its path may be appended to.
    fn starts<'t>(&'t self, base_urls: &'t [BaseUrl]) -> Vec<&'t str> {
        match self.place() {
            Place::EachBase => base_urls.iter().map(BaseUrl::as_str).collect(),
            Place::Origin(origin) => vec![origin],
        }
    }

    /// Whether some path gives this URL or, for a directory, one above it.
    fn could_make(&self, base_urls: &[BaseUrl], url: &str) -> bool {
        let tail = self.pattern();
        self.starts(base_urls).iter().any(|start| {
            url.strip_prefix(start)
                .is_some_and(|rest| Regex::new(&tail).is_ok_and(|tail| tail.is_match(rest)))
        })
    }

    /// An expression for path and query. Empty fields leave no empty segments, so a slash beside a field may belong
    /// to the field or be missing.
    fn pattern(&self) -> String {
        let mut pattern = "^".to_owned();
        push_pieces(&mut pattern, self.path_pieces(), Part::Path);
        if let Some(query) = self.query_pieces() {
            pattern.push_str(r"\?");
            push_pieces(&mut pattern, query, Part::Query);
        }
        let ends_open = matches!(
            self.path_pieces().last(),
            Some(Piece::Field(..) | Piece::Group(..))
        );
        if !self.is_directory() {
            pattern.push('$');
        } else if !ends_open && !pattern.ends_with('/') {
            // It also purges everything below.
            pattern.push_str("(?:/|$)");
        }
        pattern
    }
}

/// The characters of encoded values (`encode.rs`), without a slash: for example never a `?`.
const IN_PATH: &str = "A-Za-z0-9._~!$&'()*+,;=:@-";
const IN_QUERY: &str = "A-Za-z0-9._~-";

/// The characters of a value: these, those in `more`, and `%XX`.
fn characters(part: Part, is_lower: bool, more: &str) -> String {
    let plain = match part {
        Part::Path => IN_PATH,
        Part::Query => IN_QUERY,
    };
    let plain = if is_lower {
        plain.replace("A-Z", "")
    } else {
        plain.to_owned()
    };
    format!("(?:[{more}{plain}]|%[0-9A-Fa-f]{{2}})")
}

fn push_pieces(pattern: &mut String, pieces: &[Piece], part: Part) {
    let mut after_field = false;
    for piece in pieces {
        let (field, filters) = match piece {
            Piece::Text(text) => {
                let rest = text.strip_prefix('/').filter(|_| after_field);
                if rest.is_some() {
                    pattern.push_str("/?");
                }
                pattern.push_str(&regex::escape(rest.unwrap_or(text)));
                after_field = false;
                continue;
            }
            Piece::Group(_, filters) => (None, filters),
            Piece::Field(field, filters) => (Some(*field), filters),
        };
        after_field = true;
        let is_lower = filters.iter().any(Filter::is_lower);
        let any = characters(part, is_lower, "/");
        let in_segment = characters(part, is_lower, "");
        pattern.push_str(&match field {
            Some(Field::Page) => format!("(?:{any}+/)?"),
            // A filter may turn a name into directories, or into nothing.
            None | Some(_) if !filters.is_empty() => format!("{any}*"),
            None | Some(Field::Dir) => format!("{any}*"),
            Some(Field::Path) => format!("{any}+"),
            Some(Field::Name | Field::Stem) => format!("{in_segment}+"),
            Some(Field::Ext) => format!("{}*", in_segment.replace('.', "")),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::IndexName;

    fn rules() -> Rules {
        let bases = vec![BaseUrl::parse("https://a.example/docs").unwrap()];
        let read = |text: &str| vec![Template::parse(text, &bases, &[]).unwrap()];
        let rule = |name: &str, glob: &str| Rule {
            name: name.to_owned(),
            matches: vec![Glob::parse(glob).unwrap()],
            ..Rule::default()
        };
        Rules::new(
            bases.clone(),
            Vec::new(),
            vec![
                Rule {
                    urls: read("/{page}"),
                    ..rule("pages", "**/*.md")
                },
                Rule {
                    urls: read("/img/{dir}/{stem}.webp?v=1"),
                    ..rule("images", "**/*.png")
                },
                Rule {
                    directories: vec![
                        Template::parse_directory("/tags/{stem}", &bases, &[]).unwrap(),
                    ],
                    prefetch: read("https://a.example/feed.xml"),
                    ..rule("tags", "tags/*")
                },
            ],
        )
    }

    fn templates_for(rules: &Rules, url: &str) -> Vec<String> {
        rules
            .templates_for(url)
            .iter()
            .map(|o| format!("{} {} {}", o.rule, o.kind.as_str(), o.template))
            .collect()
    }

    #[test]
    fn a_url_leads_back_to_the_templates_that_could_have_made_it() {
        let rules = rules();
        let at = "https://a.example/docs";
        for (url, expected) in [
            (format!("{at}/"), &["pages url /{page}"][..]),
            (format!("{at}/x/y/"), &["pages url /{page}"]),
            (format!("{at}/x"), &[]),
            (
                format!("{at}/img/a.webp?v=1"),
                &["images url /img/{dir}/{stem}.webp?v=1"],
            ),
            (
                format!("{at}/img/x/y/a.webp?v=1"),
                &["images url /img/{dir}/{stem}.webp?v=1"],
            ),
            (format!("{at}/img/a.webp"), &[]),
            (
                format!("{at}/tags/x/page.html"),
                &["tags directory /tags/{stem}"],
            ),
            (
                "https://a.example/feed.xml".to_owned(),
                &["tags prefetch https://a.example/feed.xml"],
            ),
            ("https://b.example/docs/".to_owned(), &[]),
        ] {
            assert_eq!(templates_for(&rules, &url), expected, "{url}");
        }
        assert_eq!(rules.bases_of(&format!("{at}/x")).len(), 1);
        assert_eq!(rules.bases_of("https://a.example/docsx").len(), 0);
    }

    #[test]
    fn a_path_that_a_url_names_must_be_one_that_the_rule_is_for() {
        let bases = vec![BaseUrl::parse("https://a.example").unwrap()];
        let rule = Rule {
            name: "styles".to_owned(),
            matches: vec![Glob::parse("static/**/*.css").unwrap()],
            except: vec![Glob::parse("static/old/**").unwrap()],
            strip: "static/".to_owned(),
            urls: vec![Template::parse("/{path}", &bases, &[]).unwrap()],
            ..Rule::default()
        };
        let rules = Rules::new(bases, Vec::new(), vec![rule]);
        for (url, is_possible) in [
            ("https://a.example/css/a%20b.css", true),
            ("https://a.example/a.css", true),
            ("https://a.example/a.js", false),
            ("https://a.example/old/a.css", false),
            ("https://a.example/a.css?v=1", false),
        ] {
            assert_eq!(!templates_for(&rules, url).is_empty(), is_possible, "{url}");
        }
    }

    #[test]
    fn what_a_field_holds_makes_no_query() {
        let bases = vec![BaseUrl::parse("https://a.example").unwrap()];
        let read = |text: &str| Template::parse(text, &bases, &[]).unwrap();
        let rule = |name: &str, urls: Vec<Template>| Rule {
            name: name.to_owned(),
            matches: vec![Glob::parse("**").unwrap()],
            urls,
            ..Rule::default()
        };
        let rules = Rules::new(
            bases.clone(),
            Vec::new(),
            vec![
                rule("any", vec![read("/{path}"), read("/{dir}/{name}")]),
                rule("lower", vec![read("/l/{page|hugo}")]),
                rule("version", vec![read("/{path}?v={stem}")]),
            ],
        );
        for (url, expected) in [
            (
                "https://a.example/a.css?v=2",
                &["version url /{path}?v={stem}"][..],
            ),
            ("https://a.example/a.css?v=a/b&c=d", &[]),
            ("https://a.example/l/Up/", &[]),
            ("https://a.example/l/up/", &["lower url /l/{page|hugo}"]),
            (
                "https://a.example/l/up",
                &["any url /{path}", "any url /{dir}/{name}"],
            ),
        ] {
            assert_eq!(templates_for(&rules, url), expected, "{url}");
        }
    }

    #[test]
    fn an_index_document_leads_back_to_its_directorys_templates() {
        let url = "https://a.example/docs/x/index.html";
        assert_eq!(templates_for(&rules(), url), [""; 0]);
        let index = IndexName::parse("index.html").unwrap();
        let with_index = rules().with_index(Some(index));
        assert_eq!(templates_for(&with_index, url), ["pages url /{page}"]);
    }
}
