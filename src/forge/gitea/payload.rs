//! Gitea's webhook bodies. They look like GitHub's, but list at most five commits (`[ui] FEED_MAX_COMMIT_NUM`) and
//! do not say whether history was rewritten.

use std::borrow::Cow;

use serde::Deserialize;

use crate::changes::ChangeSet;
use crate::event::{Event, Push};
use crate::forge::Malformed;
use crate::forge::body::{self, FORM, JSON, Text};
use crate::forge::github_like::{Envelope, HeadCommit, Moved, Repository, release};

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
        "release" => release(body::read(&json)?, &["published"]),
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
            format!("the event `{event}` moves nothing; Gitea sends a `push` beside it")
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
    head_commit: Option<HeadCommit<'a>>,
    repository: Repository<'a>,
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
    Ok(Push {
        repo: body.repository.path()?,
        repo_id: body.repository.id,
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
