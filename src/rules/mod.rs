//! Rules: a changed path in, the URLs, directories and prefetches it asks for out.

use globset::GlobMatcher;
use url::Url;

use crate::changes::{ChangeKind, FilePath};
use crate::purge::{Mode, PurgeKind};

/// A glob over paths: globset's, with `/` matched only by `**`.
#[derive(Clone, Debug)]
pub struct Glob {
    /// As it was written.
    pub text: String,
    #[expect(dead_code)]
    matcher: GlobMatcher,
}

impl Glob {
    /// Whether a path (or a branch's name) matches.
    pub fn is_match(&self, _path: &[u8]) -> bool {
        todo!()
    }

    /// Reads a glob.
    pub fn parse(_text: &str) -> Result<Self, RuleError> {
        todo!()
    }
}

/// Where a site is served: scheme, host, port and perhaps a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl(Url);

impl BaseUrl {
    /// Reads `http(s)://host[:port][/path]`; no query, fragment or credentials.
    pub fn parse(_text: &str) -> Result<Self, RuleError> {
        todo!()
    }
}

/// A URL with fields to fill in, e.g. `/{path}`.
#[derive(Clone, Debug)]
pub struct Template {
    /// As it was written.
    pub text: String,
}

impl Template {
    /// Reads a template; a full URL must be on one of the base URLs' hosts.
    pub fn parse(_text: &str, _base_urls: &[BaseUrl]) -> Result<Self, RuleError> {
        todo!()
    }
}

/// What is wrong with a glob, a base URL or a template, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct RuleError {
    /// What is wrong.
    pub message: String,
    /// What was probably meant.
    pub advice: Option<String>,
}

/// One rule, read and checked.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its name, unique in its site.
    pub name: String,
    /// Paths it is for: any of these,
    pub matches: Vec<Glob>,
    /// but none of these.
    pub except: Vec<Glob>,
    /// What is cut off the front of the path before the templates see it.
    pub strip: String,
    /// URLs to purge.
    pub urls: Vec<Template>,
    /// Directories to purge.
    pub directories: Vec<Template>,
    /// URLs to fill after the purge.
    pub prefetch: Vec<Template>,
    /// How directories are purged.
    pub mode: Option<Mode>,
    /// Whether later rules see a path that this one matched.
    pub last: bool,
}

/// A site's rules, ready to match.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Where the site is served.
    pub base_urls: Vec<BaseUrl>,
    /// Paths that no rule sees.
    pub ignore: Vec<Glob>,
    /// In the file's order.
    pub rules: Vec<Rule>,
}

/// What one path asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target<'r> {
    /// The rule that asks.
    pub rule: &'r str,
    /// For what.
    pub kind: PurgeKind,
    /// The full URL.
    pub url: String,
    /// For directories: how.
    pub mode: Option<Mode>,
}

impl Rules {
    /// What a changed path asks for, in the rules' order.
    pub fn targets(&self, _path: &FilePath, _kind: ChangeKind) -> Vec<Target<'_>> {
        todo!()
    }
    /// The root directories of the site: what "everything" means.
    pub fn roots(&self) -> Vec<String> {
        todo!()
    }
}
