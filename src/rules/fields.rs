//! Fields: the parts of a path that a template can use.

use std::fmt;

use regex::bytes::Captures;
use strum::{EnumString, IntoStaticStr, VariantArray};

/// A part of a path, by its name in a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Field {
    /// The path after `strip`.
    Path,
    /// Its directory, without a final slash; empty at the top.
    Dir,
    /// Its last segment.
    Name,
    /// The last segment without its extension.
    Stem,
    /// The extension, without the dot.
    Ext,
    /// The path without its extension, without `index` or `_index`, ending in `/`.
    Page,
}

impl Field {
    /// Its name in a template.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{}}}", self.as_str())
    }
}

/// A path split into its fields.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'p> {
    path: &'p [u8],
    dir: &'p [u8],
    name: &'p [u8],
    stem: &'p [u8],
    ext: &'p [u8],
    groups: Option<&'p Captures<'p>>,
}

impl<'p> Fields<'p> {
    /// Splits a path. Removes `strip` from its front if it starts with that.
    pub(super) fn of(path: &'p [u8], strip: &str) -> Self {
        let path = path.strip_prefix(strip.as_bytes()).unwrap_or(path);
        let (dir, name) = match path.iter().rposition(|b| *b == b'/') {
            Some(slash) => (&path[..slash], &path[slash + 1..]),
            None => (&path[..0], path),
        };
        // Dots at the front belong to the name: `.htaccess` has no extension.
        let leading = name.iter().take_while(|b| **b == b'.').count();
        let dot = name[leading..].iter().rposition(|b| *b == b'.');
        let (stem, ext) = match dot.map(|dot| leading + dot) {
            Some(dot) => (&name[..dot], &name[dot + 1..]),
            None => (name, &name[..0]),
        };
        Self {
            path,
            dir,
            name,
            stem,
            ext,
            groups: None,
        }
    }

    /// Adds the values of the groups of the rule's expression.
    pub(super) fn with_groups(self, groups: Option<&'p Captures<'p>>) -> Self {
        Self { groups, ..self }
    }

    /// The value of a group; empty if it took no part in the match.
    pub(super) fn group(&self, name: &str) -> &'p [u8] {
        self.groups
            .and_then(|groups| groups.name(name))
            .map_or(&[], |found| found.as_bytes())
    }

    /// The value of a field. A page's value has no final slash.
    pub(super) fn value(&self, field: Field) -> &'p [u8] {
        match field {
            Field::Path => self.path,
            Field::Dir => self.dir,
            Field::Name => self.name,
            Field::Stem => self.stem,
            Field::Ext => self.ext,
            Field::Page if self.stem == b"index" || self.stem == b"_index" => self.dir,
            Field::Page => &self.path[..self.path.len() - self.name.len() + self.stem.len()],
        }
    }
}

/// A directory that is one entry in git, and stands for the paths in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Directory<'p> {
    /// After `strip`, without a final slash; empty if nothing is left.
    path: &'p [u8],
    /// The length of the whole path in bytes.
    length: usize,
    groups: Option<&'p Captures<'p>>,
}

impl<'p> Directory<'p> {
    pub(super) fn of(path: &'p [u8], strip: &str, groups: Option<&'p Captures<'p>>) -> Self {
        let strip = strip.as_bytes();
        let length = path.len();
        let is_above = |strip: &[u8]| {
            let rest = strip.strip_prefix(path);
            rest.is_some_and(|rest| rest.first() == Some(&b'/'))
        };
        let path = match path.strip_prefix(strip) {
            Some(rest) => rest,
            None if is_above(strip) => &path[..0],
            None => path,
        };
        Self {
            path,
            length,
            groups,
        }
    }

    /// The part of a field that all paths in the directory have in common, and whether that is the whole value.
    /// None for names and extensions.
    pub(super) fn value(&self, field: Field) -> Option<&'p [u8]> {
        match field {
            Field::Path | Field::Dir | Field::Page => Some(self.path),
            Field::Name | Field::Stem | Field::Ext => None,
        }
    }

    /// The value of a group, and whether paths in the directory could make it longer.
    pub(super) fn group(&self, name: &str) -> (&'p [u8], bool) {
        let found = self.groups.and_then(|groups| groups.name(name));
        match found {
            Some(found) => (found.as_bytes(), found.end() >= self.length),
            None => (&[], false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(path: &str, strip: &str, field: &str) -> String {
        let fields = Fields::of(path.as_bytes(), strip);
        let field = field.parse::<Field>().unwrap();
        let value = String::from_utf8_lossy(fields.value(field));
        let slash = if field == Field::Page && !value.is_empty() {
            "/"
        } else {
            ""
        };
        format!("{value}{slash}")
    }

    #[test]
    fn a_path_is_cut_into_its_fields() {
        let path = "content/posts/hello.zh.md";
        assert_eq!(value(path, "content/", "path"), "posts/hello.zh.md");
        assert_eq!(value(path, "content/", "dir"), "posts");
        assert_eq!(value(path, "content/", "name"), "hello.zh.md");
        assert_eq!(value(path, "content/", "stem"), "hello.zh");
        assert_eq!(value(path, "content/", "ext"), "md");
        assert_eq!(value(path, "content/", "page"), "posts/hello.zh/");
    }

    #[test]
    fn a_file_at_the_top_has_no_directory() {
        assert_eq!(value("about.md", "", "dir"), "");
        assert_eq!(value("about.md", "", "page"), "about/");
        assert_eq!(value("static/logo.svg", "static/", "dir"), "");
    }

    #[test]
    fn an_index_stands_for_its_directory() {
        assert_eq!(value("posts/hello/index.md", "", "page"), "posts/hello/");
        assert_eq!(value("posts/_index.md", "", "page"), "posts/");
        assert_eq!(value("index.html", "", "page"), "");
        assert_eq!(value("index", "", "page"), "");
        assert_eq!(value("posts/reindex.md", "", "page"), "posts/reindex/");
    }

    #[test]
    fn only_the_last_extension_is_dropped() {
        assert_eq!(value("docs/index.zh.md", "", "page"), "docs/index.zh/");
        assert_eq!(value("a.tar.gz", "", "stem"), "a.tar");
    }

    #[test]
    fn dots_at_the_front_are_part_of_the_name() {
        for (path, stem, ext) in [
            (".htaccess", ".htaccess", ""),
            (".well-known.json", ".well-known", "json"),
            ("..x", "..x", ""),
            ("...", "...", ""),
            ("a.", "a", ""),
            ("plain", "plain", ""),
        ] {
            assert_eq!(value(path, "", "stem"), stem, "{path}");
            assert_eq!(value(path, "", "ext"), ext, "{path}");
        }
    }

    #[test]
    fn strip_is_cut_only_where_the_path_starts_with_it() {
        assert_eq!(
            value("other/content/a.md", "content/", "path"),
            "other/content/a.md"
        );
        assert_eq!(
            value("content/content/a.md", "content/", "path"),
            "content/a.md"
        );
    }
}
