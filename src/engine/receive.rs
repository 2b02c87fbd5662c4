//! From a request to a stored delivery with its runs: verify, understand, decide, store, answer.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use tracing::{info, warn};

use super::context::StepContext;
use super::diff_cache::CommitPair;
use super::intake::STORE_LIMIT;
use super::large_body::{LargeBody, LargeBodyError, VerifiedBody};
use super::new_run::new_run;
use super::out_of_order;
use super::policy::match_sites;
use crate::clock::Clock;
use crate::config::{Config, Site};
use crate::event::{CommitId, CommitRef, Deployed, Event, GitRef, Push, RepoPath};
use crate::forge::{Forge, Headers, Malformed, Refusal, Verified, named_repo};
use crate::run::{Origin, Run, RunId};
use crate::store::{Accepted, DeliveryBody, NewDelivery, Source, SpooledBody, StoreError};

/// The result of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// It is on disk, and its runs are in progress.
    Accepted {
        /// Our id of the delivery.
        delivery: String,
        /// Its runs.
        runs: Vec<RunId>,
        /// A note if its repository was renamed or replaced by another one.
        note: Option<String>,
    },
    /// It arrived before, and its runs are in progress or succeeded.
    Duplicate {
        /// The delivery that arrived first.
        delivery: String,
        /// Its runs.
        runs: Vec<RunId>,
        /// As above.
        note: Option<String>,
    },
    /// The forge tests the webhook.
    Pong,
    /// It is authentic, but starts nothing here.
    Ignored {
        /// The reason, for people.
        why: String,
        /// The sites that it would be for if it moved or deployed anything.
        sites: Vec<String>,
    },
}

/// Why a request was refused.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// No entry under `forges:` has this name.
    #[error("no forge is configured as {0:?}")]
    UnknownForge(String),
    /// The signature or token is missing or wrong.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The forge does not send this content type.
    #[error("this forge does not send the content type {0:?}")]
    ContentType(String),
    /// The body is not the event that its headers claim.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// It could not be stored; trying again may help.
    #[error("it could not be stored: {0}")]
    Store(#[from] StoreError),
}

impl From<LargeBodyError> for ReceiveError {
    fn from(error: LargeBodyError) -> Self {
        match error {
            LargeBodyError::Refused(refusal) => Self::Refused(refusal),
            LargeBodyError::Malformed(malformed) => Self::Malformed(malformed),
            LargeBodyError::Store(error) => Self::Store(error),
        }
    }
}

/// Checks whether the headers already show that a request must be rejected: the signature is missing, or the token is
/// wrong.
pub(super) fn check_head(
    ctx: &StepContext,
    forge_name: &str,
    headers: &Headers,
) -> Result<(), ReceiveError> {
    let config = ctx.config();
    let forge = config
        .forges
        .get(forge_name)
        .ok_or_else(|| ReceiveError::UnknownForge(forge_name.to_owned()))?;
    forge.verifier(headers)?;
    Ok(())
}

/// Starts receiving a body that is too large for memory, of at most `size` bytes.
pub(super) fn begin_large_body(
    ctx: &StepContext,
    forge_name: &str,
    headers: &Headers,
    size: usize,
) -> Result<LargeBody, ReceiveError> {
    let config = ctx.config();
    let forge = config
        .forges
        .get(forge_name)
        .ok_or_else(|| ReceiveError::UnknownForge(forge_name.to_owned()))?;
    let (verifier, redactor) = (forge.verifier(headers), config.redactor.body_redactor());
    let body = ctx.large_bodies.begin(&ctx.store, verifier, redactor, size);
    Ok(body?)
}

/// Receives one webhook request. When this returns `Accepted`, it is on disk.
pub(super) async fn receive(
    ctx: &StepContext,
    forge_name: &str,
    headers: &Headers,
    content_type: &str,
    body: RequestBody,
) -> Result<Received, ReceiveError> {
    let config = ctx.config();
    let forge = config
        .forges
        .get(forge_name)
        .ok_or_else(|| ReceiveError::UnknownForge(forge_name.to_owned()))?;
    let (verified, body) = match body {
        RequestBody::Whole(body) => (forge.verify(headers, &body)?, IncomingBody::Whole(body)),
        RequestBody::Large(body) => {
            let VerifiedBody { verified, body } = body.finish().await?;
            (verified, IncomingBody::Spooled(body))
        }
    };
    if !forge.content_types().contains(&content_type) {
        return Err(ReceiveError::ContentType(content_type.to_owned()));
    }
    let event = match &body {
        IncomingBody::Whole(body) => understand(
            &config,
            forge_name,
            forge.as_ref(),
            &verified,
            content_type,
            body,
        )?,
        IncomingBody::Spooled(body) => {
            let (config, name, forge) = (
                Arc::clone(&config),
                forge_name.to_owned(),
                Arc::clone(forge),
            );
            let (verified, content_type) = (verified.clone(), content_type.to_owned());
            let read = move |body: &[u8]| {
                understand(
                    &config,
                    &name,
                    forge.as_ref(),
                    &verified,
                    &content_type,
                    body,
                )
            };
            ctx.large_bodies.understand(read, body).await?
        }
    };
    let incoming = IncomingDelivery {
        verified,
        content_type,
        body,
        source: Source::Webhook,
        sent_at: ctx.now(),
    };
    accept(ctx, &config, forge_name, &event, incoming).await
}

/// Parses an authentic request. A malformed body is ignored if no site's trigger is such an event, because GitLab
/// disables a webhook whose deliveries are rejected.
fn understand(
    config: &Config,
    forge_name: &str,
    forge: &dyn Forge,
    verified: &Verified,
    content_type: &str,
    body: &[u8],
) -> Result<Event, Malformed> {
    let malformed = match forge.understand(verified, content_type, body) {
        Ok(event) => return Ok(event),
        Err(malformed) => malformed,
    };
    let event = &verified.event;
    let repo = named_repo(content_type, body);
    match match_sites::any_waits_for(config, forge_name, forge.event_kind(event), repo.as_ref()) {
        true => Err(malformed),
        false => Ok(Event::Other {
            repo,
            why: format!(
                "no site waits for the event `{event}`, and its payload is not as documented: {malformed}"
            ),
        }),
    }
}

/// Accepts an authentic delivery. When this returns `Accepted`, it is on disk.
pub(super) async fn accept(
    ctx: &StepContext,
    config: &Config,
    forge_name: &str,
    event: &Event,
    incoming: IncomingDelivery<'_>,
) -> Result<Received, ReceiveError> {
    let identified = ctx.repositories.identify(config, forge_name, event).await?;
    let event = identified.event.as_ref();
    let (request, sites) = match wanted(config, forge_name, event) {
        Ok(wanted) => wanted,
        Err(unwanted) => return Ok(unwanted),
    };
    // Before the id is generated, since lookups by time compare ids.
    let received_at = ctx.now();
    let delivery = ctx.clock.new_id();
    let mut runs: Vec<Run> = sites
        .iter()
        .map(|site| request.run(site, &delivery, &ctx.clock))
        .collect();
    match incoming.source {
        Source::Webhook => {}
        Source::Log => {
            runs.extend(follow_ups(ctx, event, &request, &sites, incoming.sent_at).await?);
        }
    }
    let starts = sites
        .iter()
        .map(|site| ctx.pace.start(&site.name, received_at));
    let ids: Vec<RunId> = runs.iter().map(|run| run.id.clone()).collect();
    let source = incoming.source;
    let body = match incoming.body {
        // Gitee also sends its password in the body, and no secret is stored.
        IncomingBody::Whole(body) => DeliveryBody::Whole(config.redactor.redact_body(body)),
        IncomingBody::Spooled(body) => put_blocks(ctx, &delivery, &body).await?,
    };
    let new = NewDelivery {
        id: delivery.clone(),
        forge: forge_name.to_owned(),
        forge_delivery: incoming.verified.delivery_id,
        event: incoming.verified.event,
        ordering_key: request.ordering_key,
        dedup_key: request.dedup_key,
        content_type: incoming.content_type.to_owned(),
        body,
        is_dated: matches!(event, Event::Push(_))
            && config
                .forges
                .get(forge_name)
                .is_some_and(|forge| forge.dates_pushes()),
        source,
        sent_at: incoming.sent_at,
        received_at,
        start_at: starts.max().unwrap_or(received_at),
        runs,
    };
    // Before the runs can start.
    if let Event::Push(push) = event {
        cache_listed(ctx, forge_name, &sites, push);
    }
    let outcome = put(ctx, new).await?;
    ctx.repositories.note(&identified).await;
    let note = identified.note.clone();
    info!(
        delivery = %delivery, forge = forge_name, source = source.as_str(), repo = %request.repo, git_ref = request.git_ref.as_ref().map(tracing::field::display), outcome = ?outcome,
        "a delivery of {} came in", request.repo
    );
    Ok(received(outcome, delivery, ids, note))
}

/// Caches the changes that a push lists, so that its plan need not read them from its stored body.
fn cache_listed(ctx: &StepContext, forge: &str, sites: &[&Site], push: &Push) {
    if let (Some(site), Some(from), Some(to)) = (sites.first(), &push.before, &push.commit) {
        let pair = CommitPair {
            forge: forge.to_owned(),
            repo: site.repo.clone(),
            from: from.clone(),
            to: to.clone(),
        };
        ctx.diffs.put_listed(pair, &push.listed);
    }
}

/// The result for a delivery with these runs, with the note on its repository.
fn received(
    outcome: Accepted,
    delivery: String,
    runs: Vec<RunId>,
    note: Option<String>,
) -> Received {
    match outcome {
        Accepted::New => Received::Accepted {
            delivery,
            runs,
            note,
        },
        Accepted::Retried { delivery, runs } => Received::Accepted {
            delivery,
            runs,
            note,
        },
        Accepted::Duplicate { delivery, runs } => Received::Duplicate {
            delivery,
            runs,
            note,
        },
    }
}

/// Stores a delivery. If it is not stored, removes its large body.
async fn put(ctx: &StepContext, new: NewDelivery) -> Result<Accepted, StoreError> {
    let in_blocks = match &new.body {
        DeliveryBody::InBlocks { .. } => Some(new.id.clone()),
        DeliveryBody::Whole(_) => None,
    };
    let outcome = ctx.intake.put(new).await;
    match (&outcome, in_blocks) {
        (Ok(Accepted::New), _) | (_, None) => {}
        (Ok(Accepted::Retried { .. } | Accepted::Duplicate { .. }) | Err(_), Some(delivery)) => {
            remove_blocks(ctx, &delivery).await;
        }
    }
    outcome
}

/// Stores the blocks of a large body, before its delivery is stored.
async fn put_blocks(
    ctx: &StepContext,
    delivery: &str,
    body: &Arc<SpooledBody>,
) -> Result<DeliveryBody, StoreError> {
    let put = ctx.large_bodies.store(&ctx.store, delivery, body);
    let put = match tokio::time::timeout(STORE_LIMIT, put).await {
        Ok(put) => put,
        Err(_) => Err(StoreError::unreachable(format!(
            "a large body was not stored within {} s",
            STORE_LIMIT.as_secs()
        ))),
    };
    if let Err(error) = put {
        remove_blocks(ctx, delivery).await;
        return Err(error);
    }
    Ok(body.in_blocks())
}

/// Removes a large body whose delivery was not stored. If that fails, a later start does it.
async fn remove_blocks(ctx: &StepContext, delivery: &str) {
    if let Err(error) = ctx.store.remove_blocks(delivery).await {
        warn!("the body of {delivery}, which was not stored, cannot be removed yet: {error}");
    }
}

/// What an event asks for and the sites that want it, or the response if it starts nothing here.
fn wanted<'a>(
    config: &'a Config,
    forge: &str,
    event: &'a Event,
) -> Result<(RunRequest<'a>, Vec<&'a Site>), Received> {
    let ignored = |why| Received::Ignored {
        why,
        sites: Vec::new(),
    };
    let (request, sites) = match event {
        Event::Ping => return Err(Received::Pong),
        Event::Other { why, .. } => return Err(ignored(why.clone())),
        Event::Push(push) => {
            let sites = match_sites::for_push(config, forge, push).map_err(ignored)?;
            // A push without a commit deletes the ref, and starts no run.
            let commit = push.commit.as_ref();
            let commit = commit.ok_or_else(|| ignored("the ref was deleted".to_owned()))?;
            (RunRequest::of_push(push, commit), sites)
        }
        Event::Deployed(deployed) => {
            let sites = match_sites::for_deployed(config, forge, deployed).map_err(ignored)?;
            (RunRequest::of_deployed(deployed), sites)
        }
    };
    match match_sites::starts_nothing(event) {
        None => Ok((request, sites)),
        Some(why) => Err(Received::Ignored {
            why,
            sites: sites.iter().map(|site| site.name.clone()).collect(),
        }),
    }
}

/// The runs that follow those of a late delivery. The late commit may no longer be live, but caches may hold it. The
/// site serves the commit of its newest run, so its caches must end up with that commit.
async fn follow_ups(
    ctx: &StepContext,
    event: &Event,
    request: &RunRequest<'_>,
    sites: &[&Site],
    sent_at: Timestamp,
) -> Result<Vec<Run>, StoreError> {
    let git_ref = match event {
        Event::Push(_) => request.git_ref.as_ref(),
        Event::Deployed(_) | Event::Ping | Event::Other { .. } => None,
    };
    let mut runs = Vec::new();
    for site in sites {
        let newest = out_of_order::newest_run(ctx, &site.name, git_ref).await?;
        if let Some(newest) = newest
            && newest.created_at > sent_at
            && newest.commit != request.commit
        {
            let origin = Origin::Reconciliation;
            let (git_ref, commit) = (newest.git_ref, newest.commit);
            runs.push(new_run(&ctx.clock, site, origin, git_ref, commit));
        }
    }
    Ok(runs)
}

/// The body of a request.
pub enum RequestBody {
    /// In memory.
    Whole(Bytes),
    /// Too large for memory.
    Large(LargeBody),
}

impl From<Vec<u8>> for RequestBody {
    fn from(body: Vec<u8>) -> Self {
        Self::Whole(body.into())
    }
}

impl From<Bytes> for RequestBody {
    fn from(body: Bytes) -> Self {
        Self::Whole(body)
    }
}

impl From<LargeBody> for RequestBody {
    fn from(body: LargeBody) -> Self {
        Self::Large(body)
    }
}

/// The body of a verified delivery.
pub(super) enum IncomingBody {
    /// As received.
    Whole(Bytes),
    /// In a file, without secrets.
    Spooled(Arc<SpooledBody>),
}

/// A delivery as received.
pub(super) struct IncomingDelivery<'a> {
    pub verified: Verified,
    pub content_type: &'a str,
    pub body: IncomingBody,
    pub source: Source,
    pub sent_at: Timestamp,
}

/// What an event asks of its sites.
struct RunRequest<'a> {
    repo: &'a RepoPath,
    git_ref: Option<GitRef>,
    before: Option<CommitId>,
    commit: CommitRef,
    ordering_key: String,
    dedup_key: String,
    origin: Origin,
}

impl<'a> RunRequest<'a> {
    fn of_push(push: &'a Push, commit: &CommitId) -> Self {
        Self {
            repo: &push.repo,
            git_ref: Some(push.git_ref.clone()),
            before: push.before.clone(),
            commit: CommitRef::Id(commit.clone()),
            origin: Origin::Push,
            ordering_key: push.ordering_key(),
            dedup_key: push.dedup_key(),
        }
    }

    /// A deployment does not name the commit before: only the site's held commits do.
    fn of_deployed(deployed: &'a Deployed) -> Self {
        Self {
            repo: &deployed.repo,
            git_ref: deployed.git_ref.clone(),
            before: None,
            commit: deployed.commit.clone(),
            origin: deployed.signal.kind().into(),
            ordering_key: deployed.ordering_key(),
            dedup_key: deployed.dedup_key(),
        }
    }

    /// The run for one of these sites.
    fn run(&self, site: &Site, delivery: &str, clock: &Clock) -> Run {
        Run {
            before: self.before.clone(),
            delivery: Some(delivery.to_owned()),
            ..new_run(
                clock,
                site,
                self.origin,
                self.git_ref.clone(),
                self.commit.clone(),
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Signal;

    #[test]
    fn a_deployment_asks_for_its_commit_by_the_name_it_has_and_from_wherever_the_site_stands() {
        let deployed = Deployed {
            repo: RepoPath::parse("Acme/website").unwrap(),
            repo_id: None,
            signal: Signal::Release {
                tag: "v1".to_owned(),
            },
            id: "4 v1".to_owned(),
            git_ref: Some(GitRef::Tag("v1".to_owned())),
            commit: CommitRef::Unresolved("v1".to_owned()),
        };

        let request = RunRequest::of_deployed(&deployed);

        assert_eq!(request.commit, CommitRef::Unresolved("v1".to_owned()));
        assert_eq!(request.git_ref, Some(GitRef::Tag("v1".to_owned())));
        assert_eq!(request.before, None);
        assert_eq!(request.ordering_key, "acme/website release 4 v1");
        assert_eq!(request.dedup_key, "release Acme/website 4 v1 v1");
    }
}
