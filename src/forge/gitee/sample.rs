//! A delivery in Gitee's format that starts nothing.

use serde_json::json;

use super::Gitee;
use crate::event::RepoPath;
use crate::forge::body::JSON;
use crate::forge::sample::{SampleDelivery, SampleEvent, github_like_push};

/// The delivery for an event. None without a secret, and for events that Gitee does not send.
pub(super) fn delivery(
    gitee: &Gitee,
    repo: &RepoPath,
    event: SampleEvent<'_>,
) -> Option<SampleDelivery> {
    let branch = match event {
        SampleEvent::Push { branch } => branch,
        SampleEvent::Deployment { .. }
        | SampleEvent::Workflow { .. }
        | SampleEvent::Pipeline { .. }
        | SampleEvent::Release
        | SampleEvent::PageBuild => return None,
    };
    let mut body = github_like_push(repo, branch);
    body["hook_name"] = json!("push_hooks");
    body["project"] = json!({"path_with_namespace": repo.as_str()});
    let timestamp = gitee.api.timestamp().as_millisecond().to_string();
    let token = gitee.trust.token_at(&timestamp)?;
    Some(SampleDelivery {
        headers: vec![
            ("Content-Type", JSON.to_owned()),
            ("X-Gitee-Event", "Push Hook".to_owned()),
            ("X-Gitee-Timestamp", timestamp),
            ("X-Gitee-Token", token),
        ],
        body: body.to_string().into_bytes(),
    })
}
