//! Gitea's webhook bodies. They look like GitHub's, but list five commits at most
//! (`[ui] FEED_MAX_COMMIT_NUM`) and say nothing about rewritten history.

use std::borrow::Cow;

use serde::Deserialize;

use crate::changes::ChangeSet;
use crate::event::{CommitName, Deployed, Event, GitRef, Push, RepoPath, Signal};
use crate::forge::Malformed;
use crate::forge::body::{self, FORM, JSON, Text, wrong};

pub(super) fn understand(event: &str, content_type: &str, body: &[u8]) -> Result<Event, Malformed> {
    let json = match content_type {
        JSON => Cow::Borrowed(body),
        FORM => Cow::Owned(body::form_field(body)?),
        _ => {
            return Err(Malformed(format!(
                "Gitea sends {JSON} or {FORM}, nothing else"
            )));
        }
    };
    match event {
        "" => Err(Malformed(
            "no single X-Gitea-Event header came with the request".to_owned(),
        )),
        "push" => push(body::read(&json)?).map(Event::Push),
        "release" => release(body::read(&json)?),
        _ => Ok(Event::Other {
            repo: body::read::<Envelope>(&json)?
                .repository
                .and_then(|repository| RepoPath::parse(repository.full_name.as_str())),
            why: why_not(event),
        }),
    }
}

/// Why an event starts nothing, in words.
fn why_not(event: &str) -> String {
    match event {
        "create" | "delete" => {
            format!("the event `{event}` moves nothing; Gitea sends a `push` beside it")
        }
        _ => format!("the event `{event}` triggers nothing"),
    }
}

/// What all events have.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    repository: Option<Repository<'a>>,
}

#[derive(Deserialize)]
struct Repository<'a> {
    #[serde(borrow)]
    full_name: Text<'a>,
}

impl Repository<'_> {
    fn path(&self) -> Result<RepoPath, Malformed> {
        body::repo("repository.full_name", self.full_name.as_str())
    }
}

#[derive(Deserialize)]
struct PushBody<'a> {
    #[serde(rename = "ref", borrow)]
    git_ref: Text<'a>,
    before: Text<'a>,
    after: Text<'a>,
    head_commit: Option<HeadCommit<'a>>,
    repository: Repository<'a>,
}

#[derive(Deserialize)]
struct HeadCommit<'a> {
    #[serde(borrow)]
    id: Text<'a>,
}

fn push(body: PushBody<'_>) -> Result<Push, Malformed> {
    let before = body::commit("before", body.before.as_str())?;
    let after = body::commit("after", body.after.as_str())?;
    if before.is_none() && after.is_none() {
        return Err(wrong("after", "is zero, and so is `before`"));
    }
    let git_ref = body::git_ref("ref", body.git_ref.as_str())?;
    let head = match &body.head_commit {
        Some(head) => body::commit("head_commit.id", head.id.as_str())?,
        None => None,
    };
    // An annotated tag's `after` is the tag object.
    let commit = match (&after, &git_ref) {
        (None, _) => None,
        (Some(after), GitRef::Tag(_)) => Some(head.unwrap_or_else(|| after.clone())),
        (Some(after), GitRef::Branch(_) | GitRef::Other(_)) => Some(after.clone()),
    };
    Ok(Push {
        repo: body.repository.path()?,
        git_ref,
        before,
        after,
        commit,
        forced: false,
        listed: ChangeSet::unknown(
            "Gitea's payloads list five commits at most, and not what a forced push drops",
        ),
    })
}

#[derive(Deserialize)]
struct ReleaseBody<'a> {
    #[serde(borrow)]
    action: Text<'a>,
    release: Release<'a>,
    repository: Repository<'a>,
}

#[derive(Deserialize)]
struct Release<'a> {
    id: u64,
    #[serde(borrow)]
    tag_name: Text<'a>,
    draft: Option<bool>,
}

fn release(body: ReleaseBody<'_>) -> Result<Event, Malformed> {
    let ReleaseBody {
        action,
        release,
        repository,
    } = body;
    let repo = repository.path()?;
    let tag = body::ref_name("release.tag_name", release.tag_name.as_str())?;
    let action = body::word("action", action.as_str())?;
    let draft = release.draft == Some(true);
    if draft || action != "published" {
        let what = if draft { "a draft" } else { action.as_str() };
        return Ok(Event::Other {
            repo: Some(repo),
            why: format!("the release `{tag}` is {what}, and `published` is waited for"),
        });
    }
    Ok(Event::Deployed(Deployed {
        repo,
        signal: Signal::Release { tag: tag.clone() },
        id: format!("{} {tag}", release.id),
        git_ref: Some(GitRef::Tag(tag.clone())),
        commit: CommitName::Name(tag),
    }))
}
