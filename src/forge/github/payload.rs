//! GitHub's webhook bodies: their events, and whether the file lists of a push are complete.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::deployed;
use crate::changes::{ChangeKind, ChangeSet, Proof};
use crate::event::{CommitId, Event, Push};
use crate::forge::body::{self, Text};
use crate::forge::github_like::{Envelope, HeadCommit, Moved, Repository, release};
use crate::forge::{Malformed, complete, note};

pub(super) use crate::forge::body::{FORM, JSON};

/// GitHub lists at most this many changed files per commit, and does not say if it omitted some (webhook `push`,
/// OpenAPI description).
const MAX_FILES: usize = 3_000;

pub(super) fn understand(event: &str, content_type: &str, body: &[u8]) -> Result<Event, Malformed> {
    let json = match content_type {
        JSON => Cow::Borrowed(body),
        FORM => Cow::Owned(body::form_field(body)?),
        _ => {
            return Err(Malformed(format!(
                "GitHub sends {JSON} or {FORM}, nothing else"
            )));
        }
    };
    match event {
        "" => Err(Malformed(
            "no single X-GitHub-Event header came with the request".to_owned(),
        )),
        "ping" => Ok(Event::Ping),
        "push" => push(body::read(&json)?).map(Event::Push),
        "deployment_status" => deployed::deployment(body::read(&json)?),
        "workflow_run" => deployed::workflow(body::read(&json)?),
        "page_build" => deployed::page_build(body::read(&json)?),
        // A published release is sent as `published` and, unless it is a prerelease, also as `released`: both are
        // the same event.
        "release" => release(body::read(&json)?, &["published", "released"]),
        _ => Ok(Event::Other {
            repo: Envelope::repo_of(&json),
            why: why_not(event),
        }),
    }
}

/// The reason why an event starts nothing.
fn why_not(event: &str) -> String {
    match event {
        "create" | "delete" => {
            format!("the event `{event}` names no commit; GitHub sends a `push` beside it")
        }
        "deployment" => {
            "the event `deployment` only asks for one; a `deployment_status` says when it is done"
                .to_owned()
        }
        _ => format!("the event `{event}` triggers nothing"),
    }
}

#[derive(Deserialize)]
struct PushBody<'a> {
    #[serde(rename = "ref", borrow)]
    git_ref: Text<'a>,
    before: Text<'a>,
    after: Text<'a>,
    created: Option<bool>,
    forced: Option<bool>,
    repository: Repository<'a>,
    head_commit: Option<HeadCommit<'a>>,
    commits: Option<Commits<'a>>,
}

/// A push's list of commits. Only that of a single commit is ever used, so all but the first are skipped.
struct Commits<'a> {
    first: Option<Commit<'a>>,
    count: usize,
}

impl<'de: 'a, 'a> Deserialize<'de> for Commits<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List<'a>(PhantomData<Commits<'a>>);

        impl<'de: 'a, 'a> Visitor<'de> for List<'a> {
            type Value = Commits<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of commits")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut commits = Commits {
                    first: list.next_element()?,
                    count: 0,
                };
                if commits.first.is_some() {
                    commits.count = 1;
                    while list.next_element::<IgnoredAny>()?.is_some() {
                        commits.count += 1;
                    }
                }
                Ok(commits)
            }
        }

        deserializer.deserialize_seq(List(PhantomData))
    }
}

/// A commit of a push. GitHub's description does not promise the three lists.
#[derive(Deserialize)]
struct Commit<'a> {
    #[serde(borrow)]
    id: Text<'a>,
    message: Option<Text<'a>>,
    added: Option<Vec<Text<'a>>>,
    modified: Option<Vec<Text<'a>>>,
    removed: Option<Vec<Text<'a>>>,
}

fn push(body: PushBody<'_>) -> Result<Push, Malformed> {
    let Moved {
        git_ref,
        before,
        after,
        commit,
    } = Moved::read(
        &body.git_ref,
        &body.before,
        &body.after,
        body.head_commit.as_ref(),
    )?;
    let listed = match listed(&body, before.as_ref(), after.as_ref()) {
        Ok(set) => set,
        Err(why) => ChangeSet::unknown(why),
    };
    Ok(Push {
        repo: body.repository.path()?,
        repo_id: body.repository.id,
        git_ref,
        before,
        after,
        commit,
        forced: body.forced == Some(true),
        listed,
    })
}

/// The change set that the payload proves, or why it proves none.
///
/// If a push adds exactly one commit to `before`, the commit's lists are the difference, unless the commit is a
/// merge: if `before` is its second parent, the lists compare with the other parent or are empty, which is not
/// documented. A payload does not contain the parents. So a commit with empty lists, or whose message says that it
/// is a merge, proves nothing. (This misses only a merge with a custom message.) For several commits, the lists are
/// per commit: a file that one adds and the next removes is in both.
fn listed(
    body: &PushBody<'_>,
    before: Option<&CommitId>,
    after: Option<&CommitId>,
) -> Result<ChangeSet, String> {
    let Some(after) = after else {
        return Err("the push deletes the ref".to_owned());
    };
    if before.is_none() || body.created != Some(false) {
        return Err("the ref is new, so there is nothing to compare it with".to_owned());
    }
    if body.forced != Some(false) {
        return Err(
            "the push rewrites history, and the payload does not list what it drops".to_owned(),
        );
    }
    let commits = body.commits.as_ref();
    let count = commits.map_or(0, |commits| commits.count);
    let first = commits.and_then(|commits| commits.first.as_ref());
    let Some(commit) = first.filter(|_| count == 1) else {
        return Err(format!(
            "the payload lists {count} commits; only the files of a single one are the difference"
        ));
    };
    if commit.id.as_str() != after.as_str() {
        return Err("the commit that the payload lists is not the one pushed".to_owned());
    }
    let (Some(added), Some(modified), Some(removed)) =
        (&commit.added, &commit.modified, &commit.removed)
    else {
        return Err("the payload lacks lists of files".to_owned());
    };
    let message = commit.message.as_ref().map_or("", Text::as_str);
    if message
        .trim_start()
        .to_ascii_lowercase()
        .starts_with("merge")
    {
        return Err("the pushed commit may be a merge, whose lists need not be all".to_owned());
    }
    if added.is_empty() && modified.is_empty() && removed.is_empty() {
        return Err("the payload lists no files at all".to_owned());
    }
    if added.len() + modified.len() + removed.len() >= MAX_FILES {
        return Err(format!(
            "the payload lists {MAX_FILES} files, where GitHub cuts its lists off"
        ));
    }
    let mut files = BTreeMap::new();
    for (paths, kind) in [
        (removed, ChangeKind::Removed),
        (added, ChangeKind::Added),
        (modified, ChangeKind::Modified),
    ] {
        for path in paths {
            note(&mut files, path.as_str(), kind);
        }
    }
    Ok(complete(Proof::Payload, files))
}
