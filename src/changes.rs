//! Change sets: the paths that differ between two commits, with the proof that it is all of them.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use strum::{EnumString, IntoStaticStr};

/// A file's path inside its repository. Git's paths are bytes, and so are these.
///
/// One that ends in `/` is a directory that git has as one entry: a submodule, or what a link may lead to. Git names no
/// path so itself, and those who know what an entry is say it by [`FilePath::of_entry`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FilePath(Vec<u8>);

impl FilePath {
    /// A path from git's own bytes.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// What a changed entry is called, by whether it was or is a file (which a link may stand for), and a directory that
    /// git has as one entry (which a link may stand for, too).
    pub fn of_entry(path: &[u8], is_file: bool, is_directory: bool) -> impl Iterator<Item = Self> {
        let file = is_file.then(|| Self::new(path));
        let directory = is_directory.then(|| Self::new([path, b"/"].concat()));
        file.into_iter().chain(directory)
    }

    /// The bytes as git has them.
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

/// What happened to a path between the two commits. A rename is a removal and an addition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum ChangeKind {
    /// It is there now and was not before.
    Added,
    /// Its content differs.
    #[strum(serialize = "changed")]
    Modified,
    /// It was there and is gone.
    Removed,
    /// New against one of several commits, different against another: whatever is for either is for it.
    #[strum(serialize = "added and changed")]
    AddedAndModified,
}

impl ChangeKind {
    /// Every kind that a rule can name, which is every kind between two commits.
    pub const ALL: [ChangeKind; 3] = [Self::Added, Self::Modified, Self::Removed];

    /// The word in rules.yaml, for those that stand there.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Whether what is for these kinds is for this one.
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

    /// Reads a word of rules.yaml: one of those of [`ALL`](Self::ALL).
    fn from_str(word: &str) -> Result<Self, Self::Err> {
        let mut kinds = Self::ALL.into_iter();
        let kind = kinds.find(|kind| kind.as_str() == word);
        kind.ok_or(strum::ParseError::VariantNotFound)
    }
}

/// Who said which paths differ, and thereby how far it can be trusted to be all.
/// In order of how far one has to go for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, EnumString, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Proof {
    /// The delivery's own lists, under every limit at which the forge cuts them off.
    Payload,
    /// The forge's compare API, under its limit on files.
    Compare,
    /// The two trees, walked through the forge's API.
    Trees,
}

impl Proof {
    /// The word in the API and on the pages.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Whether it is known what changed for a run, and by whose word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completeness {
    /// All that changed is known.
    Proven(Proof),
    /// It could not be known what changed.
    Unknown,
}

impl Completeness {
    const UNKNOWN: &str = "unknown";

    /// The word in the API and the database.
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

/// The paths that differ between two commits: all of them, or an honest "unknown".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangeSet {
    /// Every path that differs is in `files`.
    Complete {
        /// Who said so.
        proof: Proof,
        /// The paths, each once.
        files: BTreeMap<FilePath, ChangeKind>,
    },
    /// It cannot be known (from this source) which paths differ.
    Unknown {
        /// In words a person understands, e.g. "the payload lists 20 of 34 commits".
        why: String,
    },
}

impl ChangeSet {
    /// A change set that is known to be unknown.
    pub fn unknown(why: impl Into<String>) -> Self {
        Self::Unknown { why: why.into() }
    }
}
