//! The parts common to all of GitLab's webhook bodies: their kind and their project.

use serde::Deserialize;

use crate::event::RepoPath;
use crate::forge::Malformed;
use crate::forge::body::{self, Text, wrong};

/// The fields of most events.
#[derive(Deserialize)]
pub(super) struct Envelope<'a> {
    #[serde(borrow)]
    pub object_kind: Option<Text<'a>>,
    project: Option<EnvelopeProject<'a>>,
}

impl Envelope<'_> {
    /// The repository, if the event names one.
    pub fn repo(self) -> Option<RepoPath> {
        RepoPath::parse(self.project?.path_with_namespace?.as_str())
    }
}

#[derive(Deserialize)]
struct EnvelopeProject<'a> {
    #[serde(borrow)]
    path_with_namespace: Option<Text<'a>>,
}

/// The repository of an event.
#[derive(Deserialize)]
pub(super) struct Project<'a> {
    #[serde(borrow)]
    path_with_namespace: Text<'a>,
    /// The forge's own number for it.
    #[serde(default, deserialize_with = "body::number")]
    pub id: Option<u64>,
}

impl Project<'_> {
    pub(super) fn path(&self) -> Result<RepoPath, Malformed> {
        body::repo(
            "project.path_with_namespace",
            self.path_with_namespace.as_str(),
        )
    }
}

/// Extracts an event from a body.
pub(super) fn take<'a, T: Deserialize<'a>>(json: &'a serde_json::Value) -> Result<T, Malformed> {
    body::take(json).map_err(|error| match json.get("object_kind") {
        Some(_) => error,
        None => no_object_kind(),
    })
}

/// Checks that a body is of the kind in its header.
pub(super) fn check_kind(object_kind: &Option<Text<'_>>, kind: &str) -> Result<(), Malformed> {
    match object_kind {
        Some(word) if word.as_str() == kind => Ok(()),
        Some(_) => Err(wrong("object_kind", &format!("is not `{kind}`"))),
        None => Err(no_object_kind()),
    }
}

/// The error for a body that names no kind.
pub(super) fn no_object_kind() -> Malformed {
    wrong(
        "object_kind",
        "is missing; if the webhook on GitLab has a custom template, remove it",
    )
}
