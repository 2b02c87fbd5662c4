//! Change sets: the paths that differ between two commits, with the proof that it is all of them.

use std::collections::BTreeMap;
use std::fmt;

/// A file's path inside its repository. Git's paths are bytes, and so are these.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FilePath(Vec<u8>);

impl FilePath {
    /// A path from git's own bytes.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeKind {
    /// It is there now and was not before.
    Added,
    /// Its content differs.
    Modified,
    /// It was there and is gone.
    Removed,
    /// New against one of several commits, different against another: whatever is for either is for it.
    AddedAndModified,
}

impl ChangeKind {
    /// Every kind that a rule can name, which is every kind between two commits.
    pub const ALL: [ChangeKind; 3] = [Self::Added, Self::Modified, Self::Removed];

    /// The word in rules.yaml, for those that stand there.
    pub fn word(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Modified => "changed",
            Self::Removed => "removed",
            Self::AddedAndModified => "added and changed",
        }
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

    /// The kind a word stands for.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

/// Who said which paths differ, and thereby how far it can be trusted to be all.
/// In order of how far one has to go for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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
    pub fn word(self) -> &'static str {
        match self {
            Self::Payload => "payload",
            Self::Compare => "compare",
            Self::Trees => "trees",
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
