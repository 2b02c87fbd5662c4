//! Gitee's webhook bodies: in GitHub's format, with some of GitLab's names.

use serde::Deserialize;

use crate::changes::ChangeSet;
use crate::event::{Event, Push, RepoPath};
use crate::forge::Malformed;
use crate::forge::body::{self, Text, wrong};
use crate::forge::github_like::{HeadCommit, Moved};

pub(super) fn understand(event: &str, body: &[u8]) -> Result<Event, Malformed> {
    match event {
        "" => Err(Malformed(
            "no single X-Gitee-Event header came with the request".to_owned(),
        )),
        "Push Hook" => push(body::read(body)?, "push_hooks").map(Event::Push),
        "Tag Push Hook" => push(body::read(body)?, "tag_push_hooks").map(Event::Push),
        _ => Ok(Event::Other {
            repo: body::read::<Envelope>(body)
                .ok()
                .and_then(|envelope| envelope.project)
                .and_then(|project| RepoPath::parse(project.path_with_namespace.as_str())),
            why: format!("the event `{event}` triggers nothing"),
        }),
    }
}

/// The fields of most events.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    project: Option<Project<'a>>,
}

#[derive(Deserialize)]
struct Project<'a> {
    #[serde(borrow)]
    path_with_namespace: Text<'a>,
    /// The forge's own number for it.
    #[serde(default, deserialize_with = "body::number")]
    id: Option<u64>,
}

#[derive(Deserialize)]
struct PushBody<'a> {
    #[serde(borrow)]
    hook_name: Text<'a>,
    #[serde(rename = "ref")]
    git_ref: Text<'a>,
    before: Text<'a>,
    after: Text<'a>,
    head_commit: Option<HeadCommit<'a>>,
    project: Project<'a>,
}

fn push(body: PushBody<'_>, hook_name: &str) -> Result<Push, Malformed> {
    if body.hook_name.as_str() != hook_name {
        return Err(wrong("hook_name", &format!("is not `{hook_name}`")));
    }
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
        repo_id: body.project.id,
        repo: body::repo(
            "project.path_with_namespace",
            body.project.path_with_namespace.as_str(),
        )?,
        git_ref,
        before,
        after,
        commit,
        forced: false,
        listed: ChangeSet::unknown(
            "Gitee's signature does not cover what the payload lists, which is ten commits at most",
        ),
    })
}
