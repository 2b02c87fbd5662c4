//! Sample deliveries in a forge's format, to test the path from a webhook to a site: they are signed with the
//! webhook's secret and start nothing wherever they arrive.
//!
//! A sample push does not move its branch: before and after are the same commit. A sample deployment names no
//! commit: its id is all zeros. Both are matched with the sites like other deliveries, and then ignored.

use serde_json::{Value, json};

use crate::event::RepoPath;

/// What a sample tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SampleEvent<'a> {
    /// A push to a branch.
    Push {
        /// The branch.
        branch: &'a str,
    },
    /// A deployment to an environment that succeeded.
    Deployment {
        /// The environment.
        environment: &'a str,
        /// A branch that it is of.
        branch: &'a str,
    },
    /// A workflow that succeeded.
    Workflow {
        /// Its file.
        file: &'a str,
        /// The branch that it ran for.
        branch: &'a str,
    },
    /// A pipeline that ended.
    Pipeline {
        /// How it ended.
        status: &'a str,
        /// The branch that it ran for.
        branch: &'a str,
    },
    /// A release.
    Release,
    /// A build of pages.
    PageBuild,
}

/// A request to send to the webhook's address.
pub struct SampleDelivery {
    /// Its headers. One of them shows the secret, or is made with it.
    pub headers: Vec<(&'static str, String)>,
    /// Its body.
    pub body: Vec<u8>,
}

/// The commit of a push that moves nothing. It need not be there.
pub(super) const SOME_COMMIT: &str = "1111111111111111111111111111111111111111";
/// By which forges say "no commit".
pub(super) const NO_COMMIT: &str = "0000000000000000000000000000000000000000";

/// A push in the shape that GitHub has, and others after it.
pub(super) fn github_like_push(repo: &RepoPath, branch: &str) -> Value {
    json!({
        "ref": format!("refs/heads/{branch}"),
        "before": SOME_COMMIT,
        "after": SOME_COMMIT,
        "created": false,
        "deleted": false,
        "forced": false,
        "commits": [],
        "head_commit": null,
        "repository": {"full_name": repo.as_str()},
    })
}

/// A release in the same shape: its tag is the id of no commit.
pub(super) fn github_like_release(repo: &RepoPath) -> Value {
    json!({
        "action": "published",
        "release": {"id": 0, "tag_name": NO_COMMIT, "draft": false},
        "repository": {"full_name": repo.as_str()},
    })
}
