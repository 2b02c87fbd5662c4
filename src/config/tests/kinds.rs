//! Kinds of forges and CDNs that are only configured, never sent a request.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;

use crate::cdn::{Batch, Cdn, CdnError, CdnKind, InFlight, Limit, Limits, Pace, Quota, Report};
use crate::changes::ChangeSet;
use crate::config::Kinds;
use crate::event::{CommitId, Event, RepoPath, SignalKind};
use crate::forge::{
    BodyVerifier, Forge, ForgeError, ForgeKind, Headers, Malformed, PostOutcome, Refusal,
    StatusPost, Verified,
};
use crate::http::Outbound;
use crate::purge::{PurgeKind, TaskId, TaskIds};
use crate::settings::{Entry, Section};

/// A forge that is only ever configured.
struct TestForge(&'static [SignalKind]);

#[async_trait]
impl Forge for TestForge {
    fn kind(&self) -> &'static str {
        "github"
    }
    fn signals(&self) -> &'static [SignalKind] {
        self.0
    }
    fn nests_repositories(&self) -> bool {
        true
    }
    fn content_types(&self) -> &'static [&'static str] {
        &[]
    }
    fn verifier(&self, _: &Headers) -> Result<Box<dyn BodyVerifier>, Refusal> {
        Err(Refusal::Unsigned(String::new()))
    }
    fn understand(&self, _: &Verified, _: &str, _: &[u8]) -> Result<Event, Malformed> {
        Ok(Event::Ping)
    }
    async fn changes(
        &self,
        _: &RepoPath,
        _: &CommitId,
        _: &CommitId,
    ) -> Result<ChangeSet, ForgeError> {
        Ok(ChangeSet::unknown("a test"))
    }
    async fn resolve(&self, _: &RepoPath, name: &str) -> Result<CommitId, ForgeError> {
        Err(ForgeError::Gone(name.to_owned()))
    }
    async fn environment_head(
        &self,
        _: &RepoPath,
        _: &str,
    ) -> Result<Option<CommitId>, ForgeError> {
        Ok(None)
    }
    async fn post_status(
        &self,
        _: &RepoPath,
        _: &CommitId,
        _: &StatusPost,
    ) -> Result<PostOutcome, ForgeError> {
        Ok(PostOutcome::Posted)
    }
}

/// A CDN that is only ever configured.
struct TestCdn(Limits);

#[async_trait]
impl Cdn for TestCdn {
    fn kind(&self) -> &'static str {
        "tencent-cdn"
    }
    fn account(&self) -> crate::account::AccountId {
        crate::account::AccountId::new("")
    }
    fn limits(&self) -> &Limits {
        &self.0
    }
    async fn submit(&self, _: &Batch) -> Result<Option<TaskIds>, CdnError> {
        Ok(None)
    }
    async fn follow(&self, _: &[InFlight], _: &Pace) -> Result<Vec<Report>, CdnError> {
        Ok(Vec::new())
    }
    async fn find(
        &self,
        _: &InFlight,
        _: &BTreeSet<TaskId>,
        _: &Pace,
    ) -> Result<Option<TaskIds>, CdnError> {
        Ok(None)
    }
    async fn quota(&self) -> Result<BTreeMap<PurgeKind, Quota>, CdnError> {
        Ok(BTreeMap::new())
    }
}

fn read_forge(section: &mut Section, _: &Outbound) -> Option<Arc<dyn Forge>> {
    let secrets = section.secrets("secrets");
    section.secrets("signing_tokens");
    section.secret("token");
    section.url("api_url");
    if secrets.is_empty() {
        section.problem(section.at(), "no webhook secret is set", None);
        return None;
    }
    Some(Arc::new(TestForge(&[
        SignalKind::Deployment,
        SignalKind::Workflow,
        SignalKind::Pipeline,
        SignalKind::Release,
        SignalKind::PageBuild,
    ])))
}

fn read_cdn(section: &mut Section, kinds: &[PurgeKind]) -> Option<Arc<dyn Cdn>> {
    for key in ["secret_id", "secret_key", "access_key"] {
        section.secret(key);
    }
    section.url("endpoint");
    section.text("area");
    if let Some(mut limits) = section.section("limits") {
        limits.number("urls_per_day", 0..=u64::MAX);
    }
    let limit = Limit {
        per_request: 1,
        per_day: 1,
        per_day_configured: false,
        requests_per_second: 1,
    };
    Some(Arc::new(TestCdn(Limits {
        kinds: kinds.iter().map(|kind| (*kind, limit)).collect(),
        queries_per_second: 1,
        url_length: None,
    })))
}

pub(super) const KINDS: Kinds<'static> = Kinds {
    forges: &[
        ForgeKind {
            name: "github",
            entry: Entry::EMPTY,
            read: read_forge,
        },
        ForgeKind {
            name: "gitlab",
            entry: Entry::EMPTY,
            read: read_forge,
        },
        ForgeKind {
            name: "silent",
            entry: Entry::EMPTY,
            read: |section, _| {
                section.secrets("secrets");
                Some(Arc::new(TestForge(&[SignalKind::Release])))
            },
        },
    ],
    cdns: &[
        CdnKind {
            name: "tencent-cdn",
            prefetches: true,
            entry: Entry::EMPTY,
            read: |section, _| {
                read_cdn(
                    section,
                    &[PurgeKind::Url, PurgeKind::Directory, PurgeKind::Prefetch],
                )
            },
        },
        CdnKind {
            name: "huawei-cdn",
            prefetches: true,
            entry: Entry::EMPTY,
            read: |section, _| {
                read_cdn(
                    section,
                    &[PurgeKind::Url, PurgeKind::Directory, PurgeKind::Prefetch],
                )
            },
        },
        CdnKind {
            name: "urls-only",
            prefetches: false,
            entry: Entry::EMPTY,
            read: |section, _| read_cdn(section, &[PurgeKind::Url]),
        },
    ],
};
