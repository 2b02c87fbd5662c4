//! Sample deliveries in a forge's format, to test the path from a webhook to a site: they are signed with the
//! webhook's secret and start nothing wherever they arrive.
//!
//! A sample push does not move its branch: before and after are the same commit. A sample deployment names no
//! commit: its id is all zeros. Both are matched with the sites like other deliveries, and then ignored.

use serde_json::{Value, json};

use crate::event::RepoPath;

/// The event of a sample delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SampleEvent<'a> {
    /// A push to a branch.
    Push {
        /// The branch.
        branch: &'a str,
    },
    /// A successful deployment to an environment.
    Deployment {
        /// The environment.
        environment: &'a str,
        /// The branch that was deployed.
        branch: &'a str,
    },
    /// A successful workflow.
    Workflow {
        /// Its file.
        file: &'a str,
        /// The branch that it ran for.
        branch: &'a str,
    },
    /// A finished pipeline.
    Pipeline {
        /// Its final status.
        status: &'a str,
        /// The branch that it ran for.
        branch: &'a str,
    },
    /// A release.
    Release,
    /// A Pages build.
    PageBuild,
}

/// A request to the webhook's address.
pub struct SampleDelivery {
    /// Its headers. One of them contains the secret, or is derived from it.
    pub headers: Vec<(&'static str, String)>,
    /// Its body.
    pub body: Vec<u8>,
}

/// The commit of a push that moves nothing. It need not exist.
pub(super) const SOME_COMMIT: &str = "1111111111111111111111111111111111111111";
/// The id by which forges say "no commit".
pub(super) const NO_COMMIT: &str = "0000000000000000000000000000000000000000";

/// A push in GitHub's format, which other forges copied.
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

/// A release in the same format: its tag is the id of no commit.
pub(super) fn github_like_release(repo: &RepoPath) -> Value {
    json!({
        "action": "published",
        "release": {"id": 0, "tag_name": NO_COMMIT, "draft": false},
        "repository": {"full_name": repo.as_str()},
    })
}
