//! Origins: for one URL, the templates that could have made it.

use regex::Regex;

use super::encode::Part;
use super::template::{Piece, Place};
use super::{BaseUrl, Field, Filter, Rules, Template};
use crate::purge::PurgeKind;

/// A template that could have made a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PossibleTemplate<'r> {
    /// Its rule.
    pub rule: &'r str,
    /// What it asks for.
    pub kind: PurgeKind,
    /// The template as it was written.
    pub template: &'r str,
    /// The rule's globs, or its expression where it has none.
    pub paths: Vec<&'r str>,
}

impl Rules {
    /// The base URLs that a URL is below.
    pub fn bases_of(&self, url: &str) -> Vec<&BaseUrl> {
        let below = |base: &&BaseUrl| {
            let rest = url.strip_prefix(base.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']))
        };
        self.base_urls().iter().filter(below).collect()
    }

    /// The templates that could have made a URL, were any path there: their fields may stand for
    /// anything. A directory's template could have made every URL below it.
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
                    let made = |url: &str| template.could_make(self.base_urls(), url);
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

impl Template {
    /// Whether some path makes this URL of it, or for a directory one that the URL is below.
    fn could_make(&self, base_urls: &[BaseUrl], url: &str) -> bool {
        let tail = self.pattern();
        let starts: Vec<&str> = match self.place() {
            Place::EachBase => base_urls.iter().map(BaseUrl::as_str).collect(),
            Place::Origin(origin) => vec![origin],
        };
        starts.iter().any(|start| {
            url.strip_prefix(start)
                .is_some_and(|rest| Regex::new(&tail).is_ok_and(|tail| tail.is_match(rest)))
        })
    }

    /// An expression for path and query. Empty fields leave no empty segments, so a slash
    /// beside a field may be the field's own or be gone.
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
            // What it purges lies below it.
            pattern.push_str("(?:/|$)");
        }
        pattern
    }
}

/// What values hold once they are encoded (`encode.rs`), without a slash: never a `?`, for one.
const IN_PATH: &str = "A-Za-z0-9._~!$&'()*+,;=:@-";
const IN_QUERY: &str = "A-Za-z0-9._~-";

/// Characters of a value: these, those of `more`, and what is written as `%XX`.
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
            // A filter may make directories of a name, or nothing.
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
    use crate::rules::{Glob, IndexName, Rule};

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
    fn an_index_document_leads_back_to_its_directorys_templates() {
        let url = "https://a.example/docs/x/index.html";
        assert_eq!(templates_for(&rules(), url), [""; 0]);
        let index = IndexName::parse("index.html").unwrap();
        let with_index = rules().with_index(Some(index));
        assert_eq!(templates_for(&with_index, url), ["pages url /{page}"]);
    }
}
