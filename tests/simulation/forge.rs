//! A forge of which everything is known: its commits, the pushes it tells of,
//! and the statuses it was told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use purgehook::cause::Cause;
use purgehook::changes::{ChangeKind, ChangeSet, FilePath, Proof};
use purgehook::event::{
    CommitId, CommitRef, Deployed, Event, GitRef, Push, RepoPath, Signal, SignalKind,
};
use purgehook::forge::{
    BodyVerifier, Denial, Forge, ForgeError, Headers, Malformed, PostOutcome, Refusal, StatusPost,
    Verified, VerifiedByHeaders,
};
use purgehook::run::{RunId, StatusState};
use serde_json::{Value, json};

use crate::caches::Tree;
use crate::process::{Chance, Process, Time};
use crate::promises::Promises;
use crate::trace::Trace;
use crate::wire::{Mishap, Wire};

/// The repository.
pub const REPO: &str = "acme/website";
/// What it is deployed to.
const ENVIRONMENT: &str = "production";
/// What it is called once it is renamed. Requests under the old name are redirected, which the program does not follow.
const RENAMED: &str = "acme/site";
/// Its number, which it keeps under any name.
const REPO_ID: u64 = 7;
/// How long what was pushed may take to show on every machine of the forge.
const REPLICAS_LAG: u64 = 30;

/// A webhook request.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub id: String,
    pub body: Vec<u8>,
}

#[derive(Default)]
struct State {
    /// Every commit's tree.
    commits: BTreeMap<String, Tree>,
    /// Where the branch stood, and since when; the newest last.
    heads: Vec<(Timestamp, String)>,
    /// Commits that are gone from the forge.
    gone: BTreeSet<String>,
    /// What each commit shows in each context.
    statuses: BTreeMap<(String, String), StatusState>,
    deliveries: usize,
    deployments: usize,
    /// Whether the repository has another name by now.
    is_renamed: bool,
}

impl State {
    fn name(&self) -> &'static str {
        if self.is_renamed { RENAMED } else { REPO }
    }
}

/// The forge.
pub struct Host {
    pub wire: Wire,
    state: Mutex<State>,
    promises: Promises,
    chance: Chance,
    time: Time,
    trace: Trace,
}

impl Host {
    pub fn new(promises: &Promises, time: Time, chance: &Chance, trace: &Trace) -> Arc<Self> {
        Arc::new(Self {
            wire: Wire::new("forge", time, chance, trace),
            state: Mutex::default(),
            promises: promises.clone(),
            chance: Chance::new(chance.seed()),
            time,
            trace: trace.clone(),
        })
    }

    /// A commit with this tree; its id.
    pub fn commit(&self, tree: &Tree) -> String {
        let mut state = self.state.lock().unwrap();
        let id = format!("{:08x}{:032x}", state.commits.len() + 1, 0xc0ffee);
        state.commits.insert(id.clone(), tree.clone());
        id
    }

    /// The branch moves to a commit. What is told of it.
    pub fn push(&self, to: &str) -> Delivery {
        let mut state = self.state.lock().unwrap();
        let before = state.heads.last().map(|(_, id)| id.clone());
        state.heads.push((self.time.now(), to.to_owned()));
        state.deliveries += 1;
        let listed = before
            .as_ref()
            .filter(|_| self.chance.one_in(2))
            .map(|before| {
                let files = difference(&state.commits[before], &state.commits[to]);
                let list: Vec<Value> = files
                    .iter()
                    .map(|(path, kind)| json!([kind.as_str(), path.to_string()]))
                    .collect();
                list
            });
        Delivery {
            id: format!("delivery-{}", state.deliveries),
            body: json!({"repo": state.name(), "before": before, "after": to, "listed": listed})
                .to_string()
                .into_bytes(),
        }
    }

    /// A commit was deployed, maybe not for the first time. What is told of it.
    pub fn deploy(&self, commit: &str) -> Delivery {
        let mut state = self.state.lock().unwrap();
        state.heads.push((self.time.now(), commit.to_owned()));
        state.deliveries += 1;
        state.deployments += 1;
        let body =
            json!({"repo": state.name(), "deployed": commit, "deployment": state.deployments});
        Delivery {
            id: format!("delivery-{}", state.deliveries),
            body: body.to_string().into_bytes(),
        }
    }

    /// The repository gets another name, or its old one back.
    pub fn rename(&self) {
        let mut state = self.state.lock().unwrap();
        state.is_renamed = !state.is_renamed;
        self.trace
            .tell(self.time.now(), &format!("it is called {}", state.name()));
    }

    /// The repository has its old name.
    pub fn call_it_as_before(&self) {
        self.state.lock().unwrap().is_renamed = false;
    }

    /// What a delivery says under another id, with the same bytes or with others.
    pub fn replay(&self, delivery: &Delivery, with_same_bytes: bool) -> Delivery {
        let mut state = self.state.lock().unwrap();
        state.deliveries += 1;
        let id = format!("replay-{}", state.deliveries);
        let mut body: Value = serde_json::from_slice(&delivery.body).unwrap();
        if !with_same_bytes {
            body["sent"] = json!(state.deliveries);
        }
        Delivery {
            id,
            body: body.to_string().into_bytes(),
        }
    }

    /// What a commit shows in a context.
    pub fn shown(&self, commit: &str, context: &str) -> Option<StatusState> {
        let state = self.state.lock().unwrap();
        let key = (commit.to_owned(), context.to_owned());
        state.statuses.get(&key).copied()
    }

    /// Commits that the branch has left are gone: the forge has cleaned up.
    pub fn clean_up(&self) {
        let mut state = self.state.lock().unwrap();
        let head = state.heads.last().map(|(_, id)| id.clone());
        let left: Vec<String> = state.commits.keys().cloned().collect();
        state
            .gone
            .extend(left.into_iter().filter(|id| Some(id) != head.as_ref()));
    }

    fn compare(&self, from: &CommitId, to: &CommitId) -> Result<ChangeSet, ForgeError> {
        let state = self.state.lock().unwrap();
        for id in [from, to] {
            if state.gone.contains(id.as_str()) || !state.commits.contains_key(id.as_str()) {
                return Err(ForgeError::Gone(format!("there is no commit {id}")));
            }
        }
        if self.chance.one_in(25) {
            return Ok(ChangeSet::unknown("the difference is too large"));
        }
        let files = difference(&state.commits[from.as_str()], &state.commits[to.as_str()]);
        Ok(ChangeSet::Complete {
            proof: Proof::Compare,
            files,
        })
    }

    fn resolve(&self, name: &str) -> Result<CommitId, ForgeError> {
        self.head()
            .filter(|_| name == "main")
            .ok_or_else(|| ForgeError::Gone(format!("there is no {name}")))
    }

    /// Where the branch or the environment stands, as one of the machines has it.
    fn head(&self) -> Option<CommitId> {
        let state = self.state.lock().unwrap();
        let now = self.time.now();
        let mut heads = state.heads.iter().rev();
        let newest = heads.next();
        // The machine that answers may not have heard yet.
        let lags = newest.is_some_and(|(since, _)| {
            now < *since + Duration::from_secs(REPLICAS_LAG) && self.chance.one_in(2)
        });
        let head = if lags {
            heads.next().or(newest)
        } else {
            newest
        };
        head.and_then(|(_, id)| CommitId::parse(id))
    }

    fn take(&self, commit: &CommitId, status: &StatusPost) {
        let page = status.target_url.as_deref().unwrap_or_default();
        let run = RunId(page.rsplit('/').next().unwrap_or_default().to_owned());
        let shown = status.state.as_str();
        let (context, description) = (&status.context, &status.description);
        let now = self.time.now();
        self.trace.tell(
            now,
            &format!(
                "{} shows {shown} for {context} {run}: {description}",
                commit.short()
            ),
        );
        self.promises.posted(&run, status.state);
        let key = (commit.to_string(), status.context.clone());
        let mut state = self.state.lock().unwrap();
        state.statuses.insert(key, status.state);
    }
}

fn difference(from: &Tree, to: &Tree) -> BTreeMap<FilePath, ChangeKind> {
    let paths: BTreeSet<&String> = from.keys().chain(to.keys()).collect();
    let mut files = BTreeMap::new();
    for path in paths {
        let kind = match (from.get(path), to.get(path)) {
            (None, Some(_)) => ChangeKind::Added,
            (Some(_), None) => ChangeKind::Removed,
            (old, new) if old != new => ChangeKind::Modified,
            _ => continue,
        };
        files.insert(FilePath::new(path.as_bytes()), kind);
    }
    files
}

/// What a client of a real forge makes of a mishap.
fn error_of(mishap: Mishap) -> ForgeError {
    if mishap == Mishap::Refused {
        return ForgeError::Denied {
            denial: Denial::Token,
            message: "the token has ended".to_owned(),
        };
    }
    ForgeError::Later {
        message: format!("{mishap:?}"),
        retry_after: match mishap {
            Mishap::Throttled(wait) => wait,
            _ => None,
        },
        cause: Cause::NONE,
    }
}

/// One process's client of the forge.
pub struct Client {
    pub host: Arc<Host>,
    pub process: Arc<Process>,
}

impl Client {
    async fn call<T>(&self, what: &str, work: impl FnOnce() -> T) -> Result<T, ForgeError> {
        let sent = self.host.wire.send(&self.process, what, || {
            // Under its old name nothing is done.
            let is_renamed = self.host.state.lock().unwrap().is_renamed;
            (!is_renamed).then(work)
        });
        let came_to = sent.await.map_err(error_of)?;
        came_to.ok_or_else(|| ForgeError::Denied {
            denial: Denial::Repository,
            message: format!("it was renamed to {RENAMED}"),
        })
    }
}

#[async_trait]
impl Forge for Client {
    fn kind(&self) -> &'static str {
        "simulated"
    }

    fn signals(&self) -> &'static [SignalKind] {
        &[SignalKind::Deployment]
    }

    fn content_types(&self) -> &'static [&'static str] {
        &["application/json"]
    }

    fn verifier(&self, headers: &Headers) -> Result<Box<dyn BodyVerifier>, Refusal> {
        Ok(Box::new(VerifiedByHeaders(Verified {
            delivery_id: headers.text("x-delivery").map(str::to_owned),
            event: "push".to_owned(),
        })))
    }

    fn understand(&self, _: &Verified, _: &str, body: &[u8]) -> Result<Event, Malformed> {
        let body: Value =
            serde_json::from_slice(body).map_err(|error| Malformed(error.to_string()))?;
        let id = |key: &str| body[key].as_str().and_then(CommitId::parse);
        let repo = RepoPath::parse(body["repo"].as_str().unwrap_or(REPO)).expect("it is one");
        if let Some(commit) = id("deployed") {
            return Ok(Event::Deployed(Deployed {
                repo,
                repo_id: Some(REPO_ID),
                signal: Signal::Deployment {
                    environment: ENVIRONMENT.to_owned(),
                },
                id: body["deployment"].to_string(),
                git_ref: None,
                commit: CommitRef::Id(commit),
            }));
        }
        let listed = match body["listed"].as_array() {
            None => ChangeSet::unknown("nothing is listed"),
            Some(list) => ChangeSet::Complete {
                proof: Proof::Payload,
                files: list
                    .iter()
                    .filter_map(|file| {
                        let kind = file[0].as_str()?.parse().ok()?;
                        Some((FilePath::new(file[1].as_str()?.as_bytes()), kind))
                    })
                    .collect(),
            },
        };
        Ok(Event::Push(Push {
            repo,
            repo_id: Some(REPO_ID),
            git_ref: GitRef::Branch("main".to_owned()),
            before: id("before"),
            after: id("after"),
            commit: id("after"),
            forced: false,
            listed,
        }))
    }

    async fn changes(
        &self,
        _: &RepoPath,
        from: &CommitId,
        to: &CommitId,
    ) -> Result<ChangeSet, ForgeError> {
        let what = format!("compare {} {}", from.short(), to.short());
        self.call(&what, || self.host.compare(from, to)).await?
    }

    async fn resolve(&self, _: &RepoPath, name: &str) -> Result<CommitId, ForgeError> {
        let what = format!("resolve {name}");
        self.call(&what, || self.host.resolve(name)).await?
    }

    async fn environment_head(
        &self,
        _: &RepoPath,
        environment: &str,
    ) -> Result<Option<CommitId>, ForgeError> {
        let what = format!("look at {environment}");
        let head = || self.host.head().filter(|_| environment == ENVIRONMENT);
        self.call(&what, head).await
    }

    async fn post_status(
        &self,
        _: &RepoPath,
        commit: &CommitId,
        status: &StatusPost,
    ) -> Result<PostOutcome, ForgeError> {
        let what = format!("status {} {}", commit.short(), status.state.as_str());
        let taken = self.call(&what, || self.host.take(commit, status)).await;
        taken.map(|()| PostOutcome::Posted)
    }
}
