//! One rule: the changes that it matches, and what it purges for them.

use strum::{EnumString, IntoStaticStr, VariantNames};

use super::{Glob, PathRegex, Template};
use crate::changes::ChangeKind;
use crate::purge::Mode;

/// One parsed and checked rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Its name, unique in its site.
    pub name: String,
    /// The paths that it matches: those that any of these match,
    pub matches: Vec<Glob>,
    /// and in which this is found, if given (without globs, all paths in which it is found),
    pub regex: Option<PathRegex>,
    /// but none of these.
    pub except: Vec<Glob>,
    /// The kinds of changes that it is for.
    pub on: Vec<ChangeKind>,
    /// The CDNs it is for, by their names under `cdns:`. None: all of the site's.
    pub cdns: Option<Vec<String>>,
    /// A prefix that is removed from the path before the templates see it. A path that does not start with it stays
    /// unchanged.
    pub strip: String,
    /// URLs to purge.
    pub urls: Vec<Template>,
    /// Directories to purge, read by [`Template::parse_directory`].
    pub directories: Vec<Template>,
    /// URLs to prefetch after the purge.
    pub prefetch: Vec<Template>,
    /// How directories are purged.
    pub mode: Option<Mode>,
    /// Whether later rules ignore a path that this one matched.
    pub last: bool,
}

/// A rule for every change on every CDN, which matches nothing and has no targets.
impl Default for Rule {
    fn default() -> Self {
        Self {
            name: String::new(),
            matches: Vec::new(),
            regex: None,
            except: Vec::new(),
            on: ChangeKind::ALL.to_vec(),
            cdns: None,
            strip: String::new(),
            urls: Vec::new(),
            directories: Vec::new(),
            prefetch: Vec::new(),
            mode: None,
            last: false,
        }
    }
}

/// What happens for a changed path that no rule matches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, EnumString, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum Unmatched {
    /// Nothing.
    #[default]
    Ignore,
    /// The plan's notes name it.
    Warn,
    /// The site's root directories are purged.
    Everything,
}

impl Unmatched {
    /// Its name in rules.yaml.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}
