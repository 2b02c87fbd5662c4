//! From a request to a stored delivery with its runs: verify, understand, decide, store, answer.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::{Notify, mpsc, oneshot};
use tracing::info;

use super::{Engine, RUN_LIMIT};
use crate::clock::Clock;
use crate::config::{Config, Trigger};
use crate::event::{Event, GitRef, Push};
use crate::forge::{Headers, Malformed, Refusal, Verified};
use crate::run::{Run, RunId, RunState, Step};
use crate::store::{Accepted, NewDelivery, Store, StoreError};

/// Deliveries that share one commit at most.
const GROUP: usize = 256;
/// Bytes of bodies that share one commit at most, so that small deliveries don't wait for a stack of large ones.
const GROUP_BYTES: usize = 16 * 1024 * 1024;
/// Deliveries that may wait for the disk before new ones are turned away with 503.
const WAITING: usize = 1_024;

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

        let push = match event {
            Event::Ping => return Ok(Received::Pong),
            Event::Other { why, .. } => return Ok(Received::Ignored { why }),
            Event::Push(push) => push,
        };
        let delivery = self.clock.new_id();
        let runs = match decide(&config, forge_name, &push, &delivery, &self.clock) {
            Decision::Ignore(why) => return Ok(Received::Ignored { why }),
            Decision::Run(runs) => runs,
        };
        let ids: Vec<RunId> = runs.iter().map(|run| run.id.clone()).collect();
        let new = new_delivery(
            delivery.clone(),
            forge_name,
            &verified,
            content_type,
            body,
            &push,
            runs,
            self.now(),
        );
        let outcome = self.accept.put(new).await?;
        info!(
            delivery = %delivery, forge = forge_name, repo = %push.repo, git_ref = %push.git_ref, outcome = ?outcome,
            "a delivery of {} came in", push.repo
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
}

#[expect(clippy::too_many_arguments, reason = "each is one column of the row")]
fn new_delivery(
    id: String,
    forge: &str,
    verified: &Verified,
    content_type: &str,
    body: Vec<u8>,
    push: &Push,
    runs: Vec<Run>,
    received_at: Timestamp,
) -> NewDelivery {
    NewDelivery {
        id,
        forge: forge.to_owned(),
        forge_delivery: verified.delivery_id.clone(),
        event: verified.event.clone(),
        stream: format!(
            "{} {}",
            push.repo.as_str().to_ascii_lowercase(),
            push.git_ref
        ),
        meaning: push.meaning(),
        content_type: content_type.to_owned(),
        body,
        received_at,
        runs,
    }
}

/// What a push asks for here.
#[derive(Debug, PartialEq)]
pub(super) enum Decision {
    /// Nothing, and why.
    Ignore(String),
    /// A run for each site it is for.
    Run(Vec<Run>),
}

/// Which sites a push is for.
pub(super) fn decide(
    config: &Config,
    forge: &str,
    push: &Push,
    delivery: &str,
    clock: &Clock,
) -> Decision {
    let of_repo: Vec<_> = config
        .sites
        .values()
        .filter(|site| site.forge == forge && site.repo.same_as(&push.repo))
        .collect();
    if of_repo.is_empty() {
        return Decision::Ignore(format!("no site is configured for {forge}:{}", push.repo));
    }
    let branch = match &push.git_ref {
        GitRef::Branch(branch) => branch,
        GitRef::Tag(tag) => {
            return Decision::Ignore(format!(
                "the tag {tag} triggers nothing: sites follow branches"
            ));
        }
        GitRef::Other(other) => {
            return Decision::Ignore(format!("the ref {other} is not a branch"));
        }
    };
    let Some(commit) = &push.commit else {
        return Decision::Ignore(format!(
            "the branch {branch} was deleted: nothing new is served from it"
        ));
    };
    let on_branch: Vec<_> = of_repo
        .iter()
        .filter(|site| {
            site.branches
                .iter()
                .any(|glob| glob.is_match(branch.as_bytes()))
        })
        .collect();
    if on_branch.is_empty() {
        return Decision::Ignore(format!(
            "no site of {} follows the branch {branch}",
            push.repo
        ));
    }
    let triggered: Vec<_> = on_branch
        .iter()
        .filter(|site| site.trigger == Trigger::Push)
        .collect();
    if triggered.is_empty() {
        return Decision::Ignore(format!("no site of {} is triggered by a push", push.repo));
    }
    let now = clock.now();
    let run = |site: &str| Run {
        id: RunId(clock.new_id()),
        site: site.to_owned(),
        forge: forge.to_owned(),
        repo: push.repo.to_string(),
        git_ref: push.git_ref.to_string(),
        before: push.before.as_ref().map(ToString::to_string),
        commit: commit.to_string(),
        delivery: Some(delivery.to_owned()),
        origin: "push".to_owned(),
        covered_by: None,
        bases: Vec::new(),
        planned_at: None,
        state: RunState::Pending,
        step: Step::Changes,
        summary: "Finding out what changed".to_owned(),
        proof: None,
        problems: Vec::new(),
        created_at: now,
        deadline: now + RUN_LIMIT,
        ended_at: None,
    };
    Decision::Run(triggered.iter().map(|site| run(&site.name)).collect())
}

/// Deliveries on their way to the disk. Those that wait at the same time share one commit.
pub(super) struct Queue {
    sender: mpsc::Sender<Waiting>,
}

struct Waiting {
    delivery: NewDelivery,
    answer: oneshot::Sender<Result<Accepted, StoreError>>,
}

impl Queue {
    pub(super) fn start(store: Arc<Store>, bell: Arc<Notify>) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING);
        tokio::spawn(write(store, bell, receiver));
        Self { sender }
    }

    /// Returns when the delivery is on disk.
    async fn put(&self, delivery: NewDelivery) -> Result<Accepted, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.sender
            .try_send(Waiting { delivery, answer })
            .map_err(|_| {
                StoreError::Unreachable(format!(
                    "{WAITING} deliveries are waiting for the disk already"
                ))
            })?;
        answered.await.unwrap_or_else(|_| {
            Err(StoreError::Unreachable(
                "the program is stopping".to_owned(),
            ))
        })
    }
}

async fn write(store: Arc<Store>, bell: Arc<Notify>, mut receiver: mpsc::Receiver<Waiting>) {
    while let Some(first) = receiver.recv().await {
        let mut bytes = first.delivery.body.len();
        let (mut deliveries, mut answers) = (vec![first.delivery], vec![first.answer]);
        while deliveries.len() < GROUP && bytes < GROUP_BYTES {
            let Ok(next) = receiver.try_recv() else { break };
            bytes += next.delivery.body.len();
            deliveries.push(next.delivery);
            answers.push(next.answer);
        }
        match store.accept(&deliveries).await {
            Ok(outcomes) => {
                for (answer, outcome) in answers.into_iter().zip(outcomes) {
                    // Whoever asked may have hung up; the delivery is stored all the same.
                    let _ = answer.send(Ok(outcome));
                }
            }
            Err(_) => {
                // One delivery's trouble must not be everyone's: each by itself.
                for (answer, delivery) in answers.into_iter().zip(deliveries) {
                    let outcome = store.accept(std::slice::from_ref(&delivery)).await;
                    let _ = answer.send(outcome.and_then(|outcomes| {
                        outcomes.into_iter().next().ok_or_else(|| {
                            StoreError::Corrupt("a delivery had no outcome".to_owned())
                        })
                    }));
                }
            }
        }
        bell.notify_one();
    }
}
