//! One rule: the changes that it matches, and what it purges for them.

use strum::{EnumString, IntoStaticStr, VariantNames};

use super::{Glob, PathRegex, Template};
use crate::changes::ChangeKind;
use crate::purge::Mode;

/// One rule, read and checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Its name, unique in its site.
    pub name: String,
    /// Paths it is for: any of these,
    pub matches: Vec<Glob>,
    /// in which this is found, where it is given (without globs, any path in which it is),
    pub regex: Option<PathRegex>,
    /// but none of these.
    pub except: Vec<Glob>,
    /// The changes it is for.
    pub on: Vec<ChangeKind>,
    /// The CDNs it is for, by their names under `cdns:`. None: all of the site's.
    pub cdns: Option<Vec<String>>,
    /// What is cut off the front of the path before the templates see it, letter for letter.
    /// A path that does not start with it stays whole.
    pub strip: String,
    /// URLs to purge.
    pub urls: Vec<Template>,
    /// Directories to purge, read by [`Template::parse_directory`].
    pub directories: Vec<Template>,
    /// URLs to fill after the purge.
    pub prefetch: Vec<Template>,
    /// How directories are purged.
    pub mode: Option<Mode>,
    /// Whether later rules are kept from seeing a path that this one fired for.
    pub last: bool,
}

/// A rule for every change on every CDN that matches nothing and asks for nothing yet.
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

/// What a changed path does that no rule is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, EnumString, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum Unmatched {
    /// Nothing.
    #[default]
    Ignore,
    /// It is named in the plan's notes.
    Warn,
    /// The site's root directories are purged.
    Everything,
}

impl Unmatched {
    /// The word in rules.yaml.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}
