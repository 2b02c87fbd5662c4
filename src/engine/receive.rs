//! From a request to a stored delivery with its runs: verify, understand, decide, store, answer.

use jiff::Timestamp;
use tracing::info;

use super::policy::match_sites;
use super::{Engine, RUN_LIMIT};
use crate::clock::Clock;
use crate::config::{Config, Site};
use crate::event::{CommitId, CommitRef, Deployed, Event, GitRef, Push, RepoPath};
use crate::forge::{Headers, Malformed, Refusal, Verified};
use crate::run::{Origin, Run, RunId, RunState, Step};
use crate::store::{Accepted, NewDelivery, Source, StoreError};

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// It is on disk, and its runs are under way.
    Accepted {
        /// Our id of it.
        delivery: String,
        /// Its runs.
        runs: Vec<RunId>,
    },
    /// It came before, and its runs are under way or ended well.
    Duplicate {
        /// The delivery that came first.
        delivery: String,
        /// Its runs.
        runs: Vec<RunId>,
    },
    /// The forge tried whether the hook answers.
    Pong,
    /// It is authentic, but asks for nothing here.
    Ignored {
        /// Why, in words a person understands.
        why: String,
    },
}

/// Why a request was not taken in.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// No entry under `forges:` has this name.
    #[error("there is no forge named {0:?} here")]
    UnknownForge(String),
    /// The signature or token is missing or wrong.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The forge does not send this content type.
    #[error("the content type {0:?} is not one that this forge sends")]
    ContentType(String),
    /// The body isn't the event it claims to be.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// It could not be stored; it is worth trying again.
    #[error("it could not be stored: {0}")]
    Store(#[from] StoreError),
}

impl Engine {
    /// Takes in one webhook request. When this returns `Accepted`, it is on disk.
    pub async fn receive(
        &self,
        forge_name: &str,
        headers: &Headers,
        content_type: &str,
        body: Vec<u8>,
    ) -> Result<Received, ReceiveError> {
        let config = self.config();
        let forge = config
            .forges
            .get(forge_name)
            .ok_or_else(|| ReceiveError::UnknownForge(forge_name.to_owned()))?;
        let verified = forge.verify(headers, &body)?;
        if !forge.content_types().contains(&content_type) {
            return Err(ReceiveError::ContentType(content_type.to_owned()));
        }
        let event = forge.understand(&verified, content_type, &body)?;
        let came = Came {
            verified,
            content_type,
            body,
            source: Source::Webhook,
            sent_at: self.now(),
        };
        self.take_in(&config, forge_name, &event, came).await
    }

    /// Takes in what an authentic delivery says. When this returns `Accepted`, it is on disk.
    pub(super) async fn take_in(
        &self,
        config: &Config,
        forge_name: &str,
        event: &Event,
        came: Came<'_>,
    ) -> Result<Received, ReceiveError> {
        let (asked, sites) = match event {
            Event::Ping => return Ok(Received::Pong),
            Event::Other { why, .. } => return Ok(Received::Ignored { why: why.clone() }),
            Event::Push(push) => (
                push.commit
                    .as_ref()
                    .map(|commit| Asked::by_push(push, commit)),
                match_sites::for_push(config, forge_name, push),
            ),
            Event::Deployed(deployed) => (
                Some(Asked::by_deployed(deployed)),
                match_sites::for_deployed(config, forge_name, deployed),
            ),
        };
        let sites = match sites {
            Ok(sites) => sites,
            Err(why) => return Ok(Received::Ignored { why }),
        };
        // A push without a commit deletes the ref, and is for no site.
        let Some(asked) = asked else {
            let why = "the ref was deleted".to_owned();
            return Ok(Received::Ignored { why });
        };
        // Before the id, by which a delivery is looked for at its time.
        let received_at = self.now();
        let delivery = self.clock.new_id();
        let mut runs: Vec<Run> = sites
            .iter()
            .map(|site| asked.run(site, &delivery, &self.clock))
            .collect();
        match came.source {
            Source::Webhook => {}
            Source::Log => {
                runs.extend(self.overtaking(event, &asked, &sites, came.sent_at).await?);
            }
        }
        let ids: Vec<RunId> = runs.iter().map(|run| run.id.clone()).collect();
        let new = NewDelivery {
            id: delivery.clone(),
            forge: forge_name.to_owned(),
            forge_delivery: came.verified.delivery_id,
            event: came.verified.event,
            stream: asked.stream,
            meaning: asked.meaning,
            content_type: came.content_type.to_owned(),
            // Gitee sends its password in the body, too, and no secret is kept.
            body: config.quotes.body_without_secrets(came.body).into(),
            source: came.source,
            sent_at: came.sent_at,
            received_at,
            runs,
        };
        let source = came.source;
        let outcome = self.intake.put(new).await?;
        info!(
            delivery = %delivery, forge = forge_name, source = source.as_str(), repo = %asked.repo, git_ref = asked.git_ref.as_ref().map(tracing::field::display), outcome = ?outcome,
            "a delivery of {} came in", asked.repo
        );
        Ok(match outcome {
            Accepted::New => Received::Accepted {
                delivery,
                runs: ids,
            },
            Accepted::Retried { delivery, runs } => Received::Accepted { delivery, runs },
            Accepted::Duplicate { delivery, runs } => Received::Duplicate { delivery, runs },
        })
    }

    /// What is told of this late may be live no longer. Caches may hold it; but what a site
    /// serves is what its newest run was for, and that has to be what it comes to in the end.
    async fn overtaking(
        &self,
        event: &Event,
        asked: &Asked<'_>,
        sites: &[&Site],
        sent_at: Timestamp,
    ) -> Result<Vec<Run>, StoreError> {
        let git_ref = match event {
            Event::Push(_) => asked.git_ref.as_ref(),
            Event::Deployed(_) | Event::Ping | Event::Other { .. } => None,
        };
        let mut runs = Vec::new();
        for site in sites {
            let newest = self.store.newest_run(&site.name, git_ref).await?;
            if let Some(newest) = newest
                && newest.created_at > sent_at
                && newest.commit != asked.commit
            {
                runs.push(new_run(
                    &self.clock,
                    site,
                    Origin::Reconciliation,
                    newest.git_ref,
                    newest.commit,
                ));
            }
        }
        Ok(runs)
    }
}

/// A delivery as it came.
pub(super) struct Came<'a> {
    pub verified: Verified,
    pub content_type: &'a str,
    pub body: Vec<u8>,
    pub source: Source,
    pub sent_at: Timestamp,
}

/// What an event asks for, of whichever sites it is for.
struct Asked<'a> {
    repo: &'a RepoPath,
    git_ref: Option<GitRef>,
    before: Option<CommitId>,
    commit: CommitRef,
    stream: String,
    meaning: String,
    origin: Origin,
}

impl<'a> Asked<'a> {
    fn by_push(push: &'a Push, commit: &CommitId) -> Self {
        Self {
            repo: &push.repo,
            git_ref: Some(push.git_ref.clone()),
            before: push.before.clone(),
            commit: CommitRef::Id(commit.clone()),
            origin: Origin::Push,
            stream: push.stream(),
            meaning: push.meaning(),
        }
    }

    /// Nothing tells what was deployed before: only the site's held commits do.
    fn by_deployed(deployed: &'a Deployed) -> Self {
        Self {
            repo: &deployed.repo,
            git_ref: deployed.git_ref.clone(),
            before: None,
            commit: deployed.commit.clone(),
            origin: deployed.signal.kind().into(),
            stream: deployed.stream(),
            meaning: deployed.meaning(),
        }
    }

    /// The run for one of the sites.
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

/// A run that begins now.
pub(super) fn new_run(
    clock: &Clock,
    site: &Site,
    origin: Origin,
    git_ref: Option<GitRef>,
    commit: CommitRef,
) -> Run {
    let now = clock.now();
    Run {
        id: RunId(clock.new_id()),
        site: site.name.clone(),
        forge: site.forge.clone(),
        repo: site.repo.clone(),
        git_ref,
        before: None,
        commit,
        delivery: None,
        origin,
        covered_by: None,
        bases: Vec::new(),
        held_version: None,
        state: RunState::Pending,
        step: Step::Changes,
        summary: "Finding out what changed".to_owned(),
        proof: None,
        problems: Vec::new(),
        notes: Vec::new(),
        observed: site.reach.is_observed(),
        created_at: now,
        deadline: now + RUN_LIMIT,
        ended_at: None,
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
            signal: Signal::Release {
                tag: "v1".to_owned(),
            },
            id: "4 v1".to_owned(),
            git_ref: Some(GitRef::Tag("v1".to_owned())),
            commit: CommitRef::Unresolved("v1".to_owned()),
        };

        let asked = Asked::by_deployed(&deployed);

        assert_eq!(asked.commit, CommitRef::Unresolved("v1".to_owned()));
        assert_eq!(asked.git_ref, Some(GitRef::Tag("v1".to_owned())));
        assert_eq!(asked.before, None);
        assert_eq!(asked.stream, "acme/website release 4 v1");
        assert_eq!(asked.meaning, "release Acme/website 4 v1 v1");
    }
}
