//! GitLab's webhook bodies and their events.
//!
//! GitLab has no ping (its test button sends an ordinary push), and its pushes never prove what changed: see
//! [`why_unproved`].

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::deployed;
use super::envelope::{Envelope, Project, check_kind, no_object_kind, take};
use crate::changes::ChangeSet;
use crate::event::{CommitId, Event, GitRef, Push};
use crate::forge::Malformed;
use crate::forge::body::{self, Text, wrong};

pub(super) fn understand(event: &str, body: &[u8]) -> Result<Event, Malformed> {
    match event {
        "" => Err(Malformed(
            "no single X-Gitlab-Event header came with the request".to_owned(),
        )),
        "Push Hook" => push(body, "push").map(Event::Push),
        "Tag Push Hook" => push(body, "tag_push").map(Event::Push),
        "Deployment Hook" => deployed::deployment(take(&body::read_loosely(body)?)?),
        "Pipeline Hook" => deployed::pipeline(take(&body::read_loosely(body)?)?),
        "Release Hook" => deployed::release(take(&body::read_loosely(body)?)?),
        _ => Ok(Event::Other {
            repo: body::read::<Envelope>(body).ok().and_then(Envelope::repo),
            why: why_not(event),
        }),
    }
}

/// The reason why an event starts nothing.
fn why_not(event: &str) -> String {
    match event {
        "System Hook" => {
            "system hooks trigger nothing; add a webhook to the project or its group".to_owned()
        }
        _ => format!("the event `{event}` triggers nothing"),
    }
}

#[derive(Deserialize)]
struct PushBody<'a> {
    #[serde(borrow)]
    object_kind: Option<Text<'a>>,
    #[serde(rename = "ref")]
    git_ref: Text<'a>,
    before: Text<'a>,
    after: Text<'a>,
    checkout_sha: Option<Text<'a>>,
    project: Project<'a>,
    commits: Option<Vec<IgnoredAny>>,
    total_commits_count: Option<u64>,
}

fn push(json: &[u8], kind: &str) -> Result<Push, Malformed> {
    let body: PushBody = body::read(json).map_err(|error| {
        // A custom template can omit any field; that one is missing matters more than which one.
        match body::read::<Envelope>(json) {
            Ok(Envelope {
                object_kind: None, ..
            }) => no_object_kind(),
            Ok(_) | Err(_) => error,
        }
    })?;
    check_kind(&body.object_kind, kind)?;
    let before = body::commit("before", body.before.as_str())?;
    let after = body::commit("after", body.after.as_str())?;
    if before.is_none() && after.is_none() {
        return Err(wrong("after", "is zero, and so is `before`"));
    }
    let checkout = match &body.checkout_sha {
        Some(sha) => body::commit("checkout_sha", sha.as_str())?,
        None => None,
    };
    let git_ref = body::git_ref("ref", body.git_ref.as_str())?;
    // An annotated tag's `after` is the tag object; `checkout_sha` is the commit that it points to.
    let commit = match (&after, &git_ref) {
        (None, _) => None,
        (Some(after), GitRef::Tag(_)) => Some(checkout.unwrap_or_else(|| after.clone())),
        (Some(after), GitRef::Branch(_) | GitRef::Other(_)) => Some(after.clone()),
    };
    Ok(Push {
        repo: body.project.path()?,
        repo_id: body.project.id,
        listed: ChangeSet::unknown(why_unproved(&body, before.as_ref(), after.as_ref())),
        git_ref,
        before,
        after,
        commit,
        forced: false,
    })
}

/// Why a push's file lists do not prove what changed.
///
/// They never do: a renamed file is in `added` with its new path, but its old path is nowhere. And a forced push,
/// which drops files that it does not list, cannot be distinguished from any other.
fn why_unproved(
    body: &PushBody<'_>,
    before: Option<&CommitId>,
    after: Option<&CommitId>,
) -> String {
    let listed = body.commits.as_ref().map_or(0, Vec::len);
    match (before, after, body.total_commits_count) {
        (_, None, _) => "the push deletes the ref".to_owned(),
        (None, Some(_), _) => {
            "the ref is new, so there is nothing to compare it with".to_owned()
        }
        (Some(_), Some(_), Some(total)) if listed as u64 != total => {
            format!("the payload lists {listed} of {total} commits")
        }
        (Some(_), Some(_), Some(_) | None) => {
            "GitLab's payloads list neither the old paths of renamed files nor what a forced push drops"
                .to_owned()
        }
    }
}
