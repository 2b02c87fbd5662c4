//! A delivery in Gitea's format that starts nothing.

use secrecy::ExposeSecret;

use super::Gitea;
use crate::event::RepoPath;
use crate::forge::body::JSON;
use crate::forge::sample::{SampleDelivery, SampleEvent, github_like_push, github_like_release};
use crate::forge::verifier::Macs;

/// The delivery for an event, with an id. None without a secret, and for events that Gitea does not send.
pub(super) fn delivery(
    gitea: &Gitea,
    repo: &RepoPath,
    event: SampleEvent<'_>,
    id: &str,
) -> Option<SampleDelivery> {
    let (name, body) = match event {
        SampleEvent::Push { branch } => ("push", github_like_push(repo, branch)),
        SampleEvent::Release => ("release", github_like_release(repo)),
        SampleEvent::Deployment { .. }
        | SampleEvent::Workflow { .. }
        | SampleEvent::Pipeline { .. }
        | SampleEvent::PageBuild => return None,
    };
    let body = body.to_string().into_bytes();
    let secret = gitea.secrets.first()?.expose_secret();
    let mut mac = Macs::new([secret.as_bytes()]);
    mac.update(&body);
    Some(SampleDelivery {
        headers: vec![
            ("Content-Type", JSON.to_owned()),
            ("X-Gitea-Event", name.to_owned()),
            ("X-Gitea-Delivery", id.to_owned()),
            ("X-Gitea-Signature", hex::encode(mac.finish().first()?)),
        ],
        body,
    })
}
