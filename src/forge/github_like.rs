//! Parts of webhook bodies that several forges share: Gitea copied GitHub's, and Gitee most of them.

use serde::Deserialize;

use super::Malformed;
use super::body::{self, Text, wrong};
use crate::event::{CommitId, CommitRef, Deployed, Event, GitRef, RepoPath, Signal};

/// The fields of all events.
#[derive(Deserialize)]
pub(super) struct Envelope<'a> {
    #[serde(borrow)]
    repository: Option<Repository<'a>>,
}

impl Envelope<'_> {
    /// The repository of an event, if it names one. The rest of the body does not matter.
    pub fn repo_of(json: &[u8]) -> Option<RepoPath> {
        let envelope: Envelope = body::read(json).ok()?;
        RepoPath::parse(envelope.repository?.full_name.as_str())
    }
}

#[derive(Deserialize)]
pub(super) struct Repository<'a> {
    #[serde(borrow)]
    full_name: Text<'a>,
    /// The forge's own number for it.
    #[serde(default, deserialize_with = "body::number")]
    pub id: Option<u64>,
}

impl Repository<'_> {
    pub fn path(&self) -> Result<RepoPath, Malformed> {
        body::repo("repository.full_name", self.full_name.as_str())
    }
}

#[derive(Deserialize)]
pub(super) struct HeadCommit<'a> {
    #[serde(borrow)]
    id: Text<'a>,
}

/// How a push moved a ref.
pub(super) struct Moved {
    pub git_ref: GitRef,
    /// None if the ref did not exist.
    pub before: Option<CommitId>,
    /// None if the ref no longer exists. For an annotated tag, the tag object.
    pub after: Option<CommitId>,
    /// The commit that the ref now points to.
    pub commit: Option<CommitId>,
}

impl Moved {
    pub fn read(
        git_ref: &Text<'_>,
        before: &Text<'_>,
        after: &Text<'_>,
        head_commit: Option<&HeadCommit<'_>>,
    ) -> Result<Self, Malformed> {
        let before = body::commit("before", before.as_str())?;
        let after = body::commit("after", after.as_str())?;
        if before.is_none() && after.is_none() {
            return Err(wrong("after", "is zero, and so is `before`"));
        }
        let git_ref = body::git_ref("ref", git_ref.as_str())?;
        let head = match head_commit {
            Some(head) => body::commit("head_commit.id", head.id.as_str())?,
            None => None,
        };
        let commit = match (&after, &git_ref) {
            (None, _) => None,
            // `head_commit` is the commit that an annotated tag points to.
            (Some(after), GitRef::Tag(_)) => Some(head.unwrap_or_else(|| after.clone())),
            (Some(after), GitRef::Branch(_) | GitRef::Other(_)) => Some(after.clone()),
        };
        Ok(Self {
            git_ref,
            before,
            after,
            commit,
        })
    }
}

#[derive(Deserialize)]
pub(super) struct ReleaseBody<'a> {
    #[serde(borrow)]
    action: Text<'a>,
    release: Release<'a>,
    repository: Repository<'a>,
}

#[derive(Deserialize)]
struct Release<'a> {
    id: Option<u64>,
    #[serde(borrow)]
    tag_name: Option<Text<'a>>,
    draft: Option<bool>,
}

/// A release, if its action is one of those that mean "published".
pub(super) fn release(body: ReleaseBody<'_>, published: &[&str]) -> Result<Event, Malformed> {
    let ReleaseBody {
        action,
        release,
        repository,
    } = body;
    let repo = repository.path()?;
    let tag = match &release.tag_name {
        Some(tag) => Some(body::ref_name("release.tag_name", tag.as_str())?),
        None => None,
    };
    let action = body::word("action", action.as_str())?;
    let draft = release.draft == Some(true);
    if draft || !published.contains(&action.as_str()) {
        let what = if draft { "a draft" } else { action.as_str() };
        return Ok(Event::Other {
            repo: Some(repo),
            why: format!(
                "the release{} is {what}, and `published` is waited for",
                tag.map_or(String::new(), |tag| format!(" `{tag}`"))
            ),
        });
    }
    let tag = body::needed("release.tag_name", tag)?;
    let id = body::needed("release.id", release.id)?;
    Ok(Event::Deployed(Deployed {
        repo,
        repo_id: repository.id,
        signal: Signal::Release { tag: tag.clone() },
        id: format!("{id} {tag}"),
        git_ref: Some(GitRef::Tag(tag.clone())),
        commit: CommitRef::Unresolved(tag),
    }))
}
