//! Index documents: `/docs/` and `/docs/index.html` are one page with two URLs, which a CDN caches separately.

use super::RuleError;
use super::encode::{Part, has_control, is_dots, push_value};

/// The name of a directory's index document, as it appears in a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexName(String);

impl IndexName {
    /// Parses a file's name, e.g. `index.html`.
    pub fn parse(name: &str) -> Result<Self, RuleError> {
        if name.is_empty()
            || name.contains(['/', '*'])
            || is_dots(name)
            || has_control(name.as_bytes())
        {
            return Err(RuleError::new(
                format!("`{}` is no name of a file", name.escape_debug()),
                "write the name alone, e.g. `index.html`",
            ));
        }
        let mut encoded = String::new();
        push_value(&mut encoded, name.as_bytes(), Part::Path);
        Ok(Self(encoded))
    }

    /// The other URL of the same page: `/x/index.html` for `/x/` and the reverse. None for other URLs, and for
    /// those with a query.
    pub fn other(&self, url: &str) -> Option<String> {
        if url.contains('?') {
            return None;
        }
        if url.ends_with('/') {
            return Some(format!("{url}{}", self.0));
        }
        let directory = url.strip_suffix(&self.0)?;
        directory.ends_with('/').then(|| directory.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_and_its_index_document_are_a_pair() {
        let index = IndexName::parse("index.html").unwrap();
        for (url, other) in [
            ("https://a.b/", Some("https://a.b/index.html")),
            ("https://a.b/x/index.html", Some("https://a.b/x/")),
            ("https://a.b/x/", Some("https://a.b/x/index.html")),
            ("https://a.b/x/myindex.html", None),
            ("https://a.b/x", None),
            ("https://a.b/x/?page=1", None),
        ] {
            assert_eq!(index.other(url).as_deref(), other, "{url}");
        }
    }

    #[test]
    fn a_name_is_encoded_and_a_path_is_no_name() {
        let index = IndexName::parse("start page.html").unwrap();
        assert_eq!(
            index.other("https://a.b/").as_deref(),
            Some("https://a.b/start%20page.html")
        );
        for name in ["", "a/b", "..", "/", "a\nb", "*.html"] {
            assert!(IndexName::parse(name).is_err(), "{name:?}");
        }
    }
}
