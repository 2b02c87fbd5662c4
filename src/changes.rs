//! Change sets: the paths that differ between two commits, with the proof that the list is complete.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use strum::{EnumString, IntoStaticStr};

/// A file's path in its repository. Like git's paths, it consists of bytes.
///
/// A path that ends in `/` is a directory that is one entry in git: a submodule, or the possible target of a link.
/// Git's own paths never end so; [`FilePath::of_entry`] creates them from the type of an entry.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FilePath(Vec<u8>);

impl FilePath {
    /// A path from git's own bytes.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// The paths for a changed entry that is or was a file, a directory that is one entry in git, or a link, which
    /// may be either.
    pub fn of_entry(path: &[u8], is_file: bool, is_directory: bool) -> impl Iterator<Item = Self> {
        let file = is_file.then(|| Self::new(path));
        let directory = is_directory.then(|| Self::new([path, b"/"].concat()));
        file.into_iter().chain(directory)
    }

    /// The bytes as in git.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.0))
    }
}

/// How a path differs between two commits. A rename is a removal and an addition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum ChangeKind {
    /// It was added.
    Added,
    /// Its content differs.
    #[strum(serialize = "changed")]
    Modified,
    /// It was removed.
    Removed,
    /// Added compared with one commit and changed compared with another: rules for either kind apply.
    #[strum(serialize = "added and changed")]
    AddedAndModified,
}

impl ChangeKind {
    /// The kinds that a rule can name, which are all that can occur between two commits.
    pub const ALL: [ChangeKind; 3] = [Self::Added, Self::Modified, Self::Removed];

    /// Its name; for the kinds in [`ALL`](Self::ALL), the one in rules.yaml.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Whether a rule for these kinds applies to this one.
    pub fn is_among(self, kinds: &[Self]) -> bool {
        match self {
            Self::Added | Self::Modified | Self::Removed => kinds.contains(&self),
            Self::AddedAndModified => {
                kinds.contains(&Self::Added) || kinds.contains(&Self::Modified)
            }
        }
    }
}

impl FromStr for ChangeKind {
    type Err = strum::ParseError;

    /// Parses a name from rules.yaml: one of those in [`ALL`](Self::ALL).
    fn from_str(word: &str) -> Result<Self, Self::Err> {
        let mut kinds = Self::ALL.into_iter();
        let kind = kinds.find(|kind| kind.as_str() == word);
        kind.ok_or(strum::ParseError::VariantNotFound)
    }
}

/// The source that proves a change set complete, cheapest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, EnumString, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Proof {
    /// The lists of the delivery itself, which are below every limit at which the forge truncates them.
    Payload,
    /// The forge's compare API, whose answer is below its limit on files.
    Compare,
    /// The two trees, read through the forge's API.
    Trees,
}

impl Proof {
    /// Its name in the API and on the pages.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Whether a run's change set is complete, and its proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completeness {
    /// Complete, by this proof.
    Proven(Proof),
    /// Unknown.
    Unknown,
}

impl Completeness {
    const UNKNOWN: &str = "unknown";

    /// Its name in the API and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Proven(proof) => proof.as_str(),
            Self::Unknown => Self::UNKNOWN,
        }
    }
}

impl FromStr for Completeness {
    type Err = strum::ParseError;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            Self::UNKNOWN => Ok(Self::Unknown),
            proof => proof.parse().map(Self::Proven),
        }
    }
}

/// The paths that differ between two commits: either all of them, or unknown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangeSet {
    /// `files` contains every path that differs.
    Complete {
        /// The proof.
        proof: Proof,
        /// The paths, each once.
        files: BTreeMap<FilePath, ChangeKind>,
    },
    /// This source cannot tell which paths differ.
    Unknown {
        /// The reason, for people, e.g. "the payload lists 20 of 34 commits".
        why: String,
    },
}

impl ChangeSet {
    /// An unknown change set.
    pub fn unknown(why: impl Into<String>) -> Self {
        Self::Unknown { why: why.into() }
    }
}
