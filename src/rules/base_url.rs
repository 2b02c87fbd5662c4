//! Base URLs: the addresses at which a site is served.

use std::fmt;

use url::Url;

use super::RuleError;
use super::encode::is_dots;

/// The address of a site: scheme, host, port and optionally a path.
///
/// Stored in one spelling: the host in lower case (an international one in Punycode), without a default port, and
/// the path without a final slash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl {
    text: String,
    origin_len: usize,
}

impl BaseUrl {
    /// Parses `http(s)://host[:port][/path]`, without query, fragment, credentials or wildcard.
    pub fn parse(text: &str) -> Result<Self, RuleError> {
        let wrong = |what: &str, advice: &str| {
            Err(RuleError::new(
                format!("the base URL `{}` {what}", text.escape_debug()),
                advice,
            ))
        };
        if let Some(c) = text
            .chars()
            .find(|c| c.is_control() || c.is_whitespace() || *c == '\\')
        {
            return wrong(
                &format!("has `{}` in it", c.escape_debug()),
                "write it without",
            );
        }
        let Some(rest) = after_scheme(text) else {
            return wrong(
                "does not start with https:// or http://",
                "write it in full, e.g. `https://www.example.com`",
            );
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if authority.contains('@') {
            // These are secret, so the message does not show the URL.
            return Err(RuleError::new(
                "the base URL holds credentials",
                "leave out what stands before the `@`",
            ));
        }
        if authority.contains('*') {
            return wrong(
                "has a `*` in its host",
                "list each host: a CDN purges the hosts it serves, one by one",
            );
        }
        if rest.contains('*') {
            return wrong(
                "has a `*`, and no CDN here knows wildcards",
                "write what all URLs of the site begin with",
            );
        }
        if authority.contains(['$', '{', '<', '[']) && !authority.starts_with('[') {
            return wrong(
                "has a host that no site has",
                "write the host itself; `${NAME}` is read from the environment",
            );
        }
        if rest.contains('?') {
            return wrong("has a query", "leave out everything from the `?` on");
        }
        if rest.contains('#') {
            return wrong("has a fragment", "leave out everything from the `#` on");
        }
        if rest.split('/').skip(1).any(is_dots) {
            return wrong(
                "has a `.` or `..` segment in its path",
                "write the path it leads to",
            );
        }
        let url = match Url::parse(text) {
            Ok(url) => url,
            Err(error) => {
                return wrong(
                    &format!("is not a URL: {error}"),
                    "write it as `https://host[:port][/path]`",
                );
            }
        };
        let mut text = url.origin().ascii_serialization();
        let origin_len = text.len();
        for segment in url.path().split('/').filter(|s| !s.is_empty()) {
            text.push('/');
            text.push_str(segment);
        }
        Ok(Self { text, origin_len })
    }

    /// The URL without a final slash: a template's `/...` is appended to it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Scheme, host and port, e.g. `https://www.example.com`.
    pub fn origin(&self) -> &str {
        self.text.get(..self.origin_len).unwrap_or(&self.text)
    }

    /// The directory of the whole site, e.g. `https://www.example.com/`.
    pub fn root(&self) -> String {
        format!("{}/", self.text)
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The text after `http://` or `https://`, in any case.
pub(super) fn after_scheme(text: &str) -> Option<&str> {
    ["https://", "http://"].into_iter().find_map(|scheme| {
        let (start, rest) = text.split_at_checked(scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then_some(rest)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> String {
        BaseUrl::parse(text).unwrap().to_string()
    }

    fn refused(text: &str) -> String {
        BaseUrl::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn a_base_url_is_kept_in_one_spelling() {
        assert_eq!(
            written("HTTPS://WWW.Example.COM/"),
            "https://www.example.com"
        );
        assert_eq!(written("https://example.com:443"), "https://example.com");
        assert_eq!(written("http://example.com:80/"), "http://example.com");
        assert_eq!(
            written("http://example.com:8080"),
            "http://example.com:8080"
        );
        assert_eq!(
            written("https://example.com//docs//"),
            "https://example.com/docs"
        );
        assert_eq!(
            written("https://example.com/Docs/v2"),
            "https://example.com/Docs/v2"
        );
        assert_eq!(written("http://127.0.0.1:9000"), "http://127.0.0.1:9000");
        assert_eq!(written("http://[::1]:9000"), "http://[::1]:9000");
    }

    #[test]
    fn an_international_host_becomes_punycode() {
        assert_eq!(
            written("https://bücher.example/"),
            "https://xn--bcher-kva.example"
        );
        assert_eq!(
            written("https://例子.测试/路"),
            "https://xn--fsqu00a.xn--0zwm56d/%E8%B7%AF"
        );
    }

    #[test]
    fn origin_and_root_follow_from_it() {
        let base = BaseUrl::parse("https://example.com:8443/docs/").unwrap();
        assert_eq!(base.origin(), "https://example.com:8443");
        assert_eq!(base.root(), "https://example.com:8443/docs/");
    }

    #[test]
    fn what_is_no_base_url_is_refused_with_the_reason() {
        assert!(refused("www.example.com").contains("does not start with https://"));
        assert!(refused("ftp://example.com").contains("does not start with https://"));
        assert!(refused("https:/example.com").contains("does not start with https://"));
        assert!(refused("").contains("does not start with https://"));
        assert!(refused("https://").contains("is not a URL"));
        assert!(refused("https://example.com:99999").contains("is not a URL"));
        assert!(refused("https://me:secret@example.com").contains("credentials"));
        assert!(refused("https://@example.com").contains("credentials"));
        assert!(refused("https://*.example.com").contains("`*`"));
        assert!(refused("https://example.com/?a=b").contains("query"));
        assert!(refused("https://example.com/#top").contains("fragment"));
        assert!(refused("https://example.com/a/../b").contains("`..` segment"));
        assert!(refused("https://example.com/a/%2E%2e/b").contains("`..` segment"));
        assert!(refused("https://example.com\\a").contains('\\'));
        assert!(refused(" https://example.com").contains("` `"));
        assert!(refused("https://exam\nple.com").contains("\\n"));
    }
}
