//! The content of a delivery in the project's own types: a push, a deployment, a ping, or an event without use for
//! purgehook.

use std::fmt;

use strum::IntoStaticStr;

use crate::changes::ChangeSet;

/// The full path of a repository on its forge: `acme/website`, `group/sub/project`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepoPath(String);

impl RepoPath {
    /// Accepts two or more non-empty segments without control characters, `..`, `?`, `#`, `%`, `\` or blanks, so
    /// that the path can be part of an API URL.
    pub fn parse(text: &str) -> Option<Self> {
        let segments: Vec<&str> = text.split('/').collect();
        let good = |s: &&str| {
            !s.is_empty()
                && *s != "."
                && *s != ".."
                && s.chars()
                    .all(|c| !c.is_control() && !c.is_whitespace() && !"?#%\\:".contains(c))
        };
        (segments.len() >= 2 && text.len() <= 1024 && segments.iter().all(good))
            .then(|| Self(text.to_owned()))
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether both name the same repository: forges ignore the case of ASCII letters.
    pub fn same_as(&self, other: &RepoPath) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl fmt::Display for RepoPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A full commit id: 40 (SHA-1) or 64 (SHA-256) lower-case hex digits, not all zero.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommitId(String);

impl CommitId {
    /// Accepts only a full id, and not the all-zero id that stands for "none".
    pub fn parse(text: &str) -> Option<Self> {
        let hex = text
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        let full = text.len() == 40 || text.len() == 64;
        (hex && full && text.bytes().any(|b| b != b'0')).then(|| Self(text.to_owned()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first eight digits, for people.
    pub fn short(&self) -> &str {
        &self.0[..8]
    }
}

impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether `text` is the all-zero id by which forges say "no commit".
pub fn is_zero_id(text: &str) -> bool {
    (text.len() == 40 || text.len() == 64) && text.bytes().all(|b| b == b'0')
}

/// What a ref names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GitRef {
    /// `refs/heads/<name>`
    Branch(String),
    /// `refs/tags/<name>`
    Tag(String),
    /// Anything else, unchanged.
    Other(String),
}

impl GitRef {
    /// Parses a full ref name.
    pub fn parse(full: &str) -> Self {
        if let Some(name) = full.strip_prefix("refs/heads/") {
            Self::Branch(name.to_owned())
        } else if let Some(name) = full.strip_prefix("refs/tags/") {
            Self::Tag(name.to_owned())
        } else {
            Self::Other(full.to_owned())
        }
    }

    /// The name of the branch or tag without `refs/...`.
    pub fn name(&self) -> &str {
        match self {
            Self::Branch(name) | Self::Tag(name) | Self::Other(name) => name,
        }
    }
}

impl fmt::Display for GitRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Branch(name) => write!(f, "refs/heads/{name}"),
            Self::Tag(name) => write!(f, "refs/tags/{name}"),
            Self::Other(name) => f.write_str(name),
        }
    }
}

/// The content of a delivery.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The forge tests the webhook.
    Ping,
    /// A branch or a tag moved.
    Push(Push),
    /// A deployment, or another event that a site may treat as one.
    Deployed(Deployed),
    /// An authentic event that purgehook does not use.
    Other {
        /// The repository, if the payload names it.
        repo: Option<RepoPath>,
        /// The reason for people, e.g. "the event `star` triggers nothing".
        why: String,
    },
}

impl Event {
    /// The repository of an event that may start runs, and the forge's id for it.
    pub fn repo(&self) -> Option<(&RepoPath, Option<u64>)> {
        match self {
            Self::Push(push) => Some((&push.repo, push.repo_id)),
            Self::Deployed(deployed) => Some((&deployed.repo, deployed.repo_id)),
            Self::Ping | Self::Other { .. } => None,
        }
    }

    /// The same event with another name for its repository.
    pub fn under(mut self, repo: RepoPath) -> Self {
        match &mut self {
            Self::Push(push) => push.repo = repo,
            Self::Deployed(deployed) => deployed.repo = repo,
            Self::Ping | Self::Other { .. } => {}
        }
        self
    }
}

/// A branch or a tag that was moved, created or deleted.
#[derive(Clone, Debug, PartialEq)]
pub struct Push {
    /// The repository that was pushed to.
    pub repo: RepoPath,
    /// The forge's id for it, which a renamed repository keeps.
    pub repo_id: Option<u64>,
    /// What moved.
    pub git_ref: GitRef,
    /// Its commit before; none for a new branch or tag.
    pub before: Option<CommitId>,
    /// Its commit now; none if it was deleted. For an annotated tag this is the tag object.
    pub after: Option<CommitId>,
    /// The commit that statuses belong to: `after`, or the commit that an annotated tag points to. None if it was
    /// deleted.
    pub commit: Option<CommitId>,
    /// Whether the forge says that history was rewritten (GitLab never says so).
    pub forced: bool,
    /// The changed files between `before` and `after` that the payload itself lists.
    pub listed: ChangeSet,
}

impl Push {
    /// A key of the push's content, without its delivery id: the same key means the same push.
    pub fn dedup_key(&self) -> String {
        let id = |c: &Option<CommitId>| c.as_ref().map_or("none".to_owned(), ToString::to_string);
        format!(
            "push {} {} {}..{}",
            self.repo,
            self.git_ref,
            id(&self.before),
            id(&self.after)
        )
    }

    /// A key of the ref that was pushed: of the deliveries with the same key, only the newest counts.
    pub fn ordering_key(&self) -> String {
        ordering_key(&self.repo, &self.git_ref)
    }
}

/// The key of a ref, which all of its pushes share.
pub fn ordering_key(repo: &RepoPath, git_ref: &GitRef) -> String {
    format!("{} {git_ref}", repo.as_str().to_ascii_lowercase())
}

/// The final statuses of a GitLab pipeline ("Pipelines API"). Earlier ones say nothing about a deployment.
pub const PIPELINE_ENDS: &[&str] = &["success", "failed", "canceled", "skipped"];

/// A signal that a commit was or may have been deployed. The site's trigger decides which signals count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployed {
    /// The repository.
    pub repo: RepoPath,
    /// The forge's id for it, which a renamed repository keeps.
    pub repo_id: Option<u64>,
    /// What happened.
    pub signal: Signal,
    /// The forge's id of the signal (the ids of a deployment and its status, or of a workflow's run and attempt).
    /// It is never used twice.
    pub id: String,
    /// The branch or tag, if the payload names one. [`GitRef::Other`] if it does not say which of the two it is.
    pub git_ref: Option<GitRef>,
    /// The commit that was deployed.
    pub commit: CommitRef,
}

/// What happened, as far as triggers distinguish it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signal {
    /// A deployment succeeded.
    Deployment {
        /// The environment, by the forge's name for it.
        environment: String,
    },
    /// A workflow succeeded.
    Workflow {
        /// The name of its file, without directories.
        file: String,
    },
    /// A pipeline ended.
    Pipeline {
        /// Its final status: one of [`PIPELINE_ENDS`].
        status: String,
    },
    /// A release was published.
    Release {
        /// Its tag's name.
        tag: String,
    },
    /// GitHub Pages serves a new build.
    PageBuild,
}

impl Signal {
    /// The kind of this signal.
    pub fn kind(&self) -> SignalKind {
        match self {
            Self::Deployment { .. } => SignalKind::Deployment,
            Self::Workflow { .. } => SignalKind::Workflow,
            Self::Pipeline { .. } => SignalKind::Pipeline,
            Self::Release { .. } => SignalKind::Release,
            Self::PageBuild => SignalKind::PageBuild,
        }
    }
}

/// For sentences: "the deployment to `production`".
impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deployment { environment } => write!(f, "the deployment to `{environment}`"),
            Self::Workflow { file } => write!(f, "the success of the workflow `{file}`"),
            Self::Pipeline { status } => write!(f, "the pipeline that ended with `{status}`"),
            Self::Release { tag } => write!(f, "the release `{tag}`"),
            Self::PageBuild => f.write_str("the build of GitHub Pages"),
        }
    }
}

/// The kinds of [`Signal`]. Not every forge sends each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum SignalKind {
    /// [`Signal::Deployment`]
    Deployment,
    /// [`Signal::Workflow`]
    Workflow,
    /// [`Signal::Pipeline`]
    Pipeline,
    /// [`Signal::Release`]
    Release,
    /// [`Signal::PageBuild`]
    PageBuild,
}

impl SignalKind {
    /// Its name under `trigger:`.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// A payload's or a person's name for a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommitRef {
    /// Its full id.
    Id(CommitId),
    /// A name that only the forge can resolve: a tag, a branch, the first digits of an id.
    Unresolved(String),
}

impl CommitRef {
    /// Parses a full id, or takes the text as a name.
    pub fn parse(text: &str) -> Self {
        CommitId::parse(text).map_or_else(|| Self::Unresolved(text.to_owned()), Self::Id)
    }

    /// The commit's id, if it is known.
    pub fn id(&self) -> Option<&CommitId> {
        match self {
            Self::Id(id) => Some(id),
            Self::Unresolved(_) => None,
        }
    }

    /// The id or the name.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Id(id) => id.as_str(),
            Self::Unresolved(name) => name,
        }
    }

    /// The first eight digits of the id, or the name, for people.
    pub fn short(&self) -> &str {
        match self {
            Self::Id(id) => id.short(),
            Self::Unresolved(name) => name,
        }
    }
}

impl fmt::Display for CommitRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Deployed {
    /// A key of the signal's content, without its delivery id: the same key means the same signal.
    pub fn dedup_key(&self) -> String {
        format!(
            "{} {} {} {}",
            self.signal.kind().as_str(),
            self.repo,
            self.id,
            self.commit
        )
    }

    /// A key for this signal alone, since it never happens again.
    pub fn ordering_key(&self) -> String {
        format!(
            "{} {} {}",
            self.repo.as_str().to_ascii_lowercase(),
            self.signal.kind().as_str(),
            self.id
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployed(id: &str) -> Deployed {
        Deployed {
            repo: RepoPath::parse("Acme/website").unwrap(),
            repo_id: None,
            signal: Signal::Release {
                tag: "v1".to_owned(),
            },
            id: id.to_owned(),
            git_ref: None,
            commit: CommitRef::Unresolved("v1".to_owned()),
        }
    }

    #[test]
    fn what_happened_twice_has_two_meanings_and_what_came_twice_has_one() {
        assert_eq!(deployed("7").dedup_key(), deployed("7").dedup_key());
        assert_ne!(deployed("7").dedup_key(), deployed("8").dedup_key());
        assert_ne!(deployed("7").ordering_key(), deployed("8").ordering_key());
        assert_eq!(deployed("7").ordering_key(), "acme/website release 7");
    }
}
