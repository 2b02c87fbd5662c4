//! Commit statuses: a status is a CI job of stage `external`, with a job's state transitions.

use std::str::FromStr;

use jiff::Timestamp;
use serde_json::{Value, json};
use strum::{EnumString, IntoStaticStr};

use super::super::exchange::{Answer, Request};
use super::super::host::PostedStatus;
use super::{GitLab, error, message, parameters, time};

/// The maximum length of a name, a description or a target URL in characters.
const MAX_TEXT: usize = 255;

#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
enum State {
    Pending,
    Running,
    Success,
    Failed,
    Canceled,
    Skipped,
}

impl State {
    fn as_str(self) -> &'static str {
        self.into()
    }

    /// The name of the event that leads to it, and whether it may come from `from`.
    fn event(self, from: Self) -> (&'static str, bool) {
        match self {
            Self::Pending => ("enqueue", false),
            Self::Running => ("run", from == Self::Pending),
            Self::Success => ("success", true),
            Self::Failed => ("drop", true),
            Self::Canceled => ("cancel", true),
            Self::Skipped => ("skip", from == Self::Pending),
        }
    }

    fn is_open(self) -> bool {
        matches!(self, Self::Pending | Self::Running)
    }
}

pub(super) struct Pipeline {
    id: u64,
    project: String,
    sha: String,
    ref_name: String,
    source: &'static str,
    at: Timestamp,
}

pub(super) struct Status {
    id: u64,
    pipeline: u64,
    project: String,
    sha: String,
    ref_name: String,
    name: String,
    state: State,
    description: Option<String>,
    target_url: Option<String>,
    at: Timestamp,
    /// Every state posted for it.
    posts: Vec<PostedStatus>,
}

impl Status {
    fn json(&self) -> Value {
        json!({
            "id": self.id,
            "sha": self.sha,
            "ref": self.ref_name,
            "status": self.state.as_str(),
            "name": self.name,
            "target_url": self.target_url,
            "description": self.description,
            "created_at": time(self.at),
            "pipeline_id": self.pipeline,
            "coverage": null,
            "allow_failure": false,
            "author": {"id": 1, "username": "purgehook", "name": "purgehook"},
        })
    }
}

impl GitLab {
    pub(super) fn post_status(
        &mut self,
        path: &str,
        sha: &str,
        request: &Request,
        now: Timestamp,
    ) -> Answer {
        let given = match parameters(request) {
            Ok(given) => given,
            Err(answer) => return answer,
        };
        let known = [
            "state",
            "ref",
            "name",
            "context",
            "target_url",
            "description",
            "coverage",
            "pipeline_id",
        ];
        if let Some(name) = given.keys().find(|name| !known.contains(&name.as_str())) {
            // GitLab itself ignores unknown parameters; here they are a mistake.
            return error(&format!("{name} is not a parameter of this call"));
        }
        let get = |name: &str| given.get(name).cloned();
        let Some(word) = get("state") else {
            return error("state is missing, state does not have a valid value");
        };
        let Ok(state) = State::from_str(&word) else {
            return error("state does not have a valid value");
        };
        let name = get("name")
            .or_else(|| get("context"))
            .unwrap_or_else(|| "default".into());
        let (description, target_url) = (get("description"), get("target_url"));
        for (field, text) in [
            ("name", Some(&name)),
            ("description", description.as_ref()),
            ("target_url", target_url.as_ref()),
        ] {
            if text.is_some_and(|text| text.chars().count() > MAX_TEXT) {
                return Answer::refusal(
                    400,
                    format!("{field} is too long"),
                    &json!({"message": {field: ["is too long (maximum is 255 characters)"]}}),
                );
            }
        }
        if target_url
            .as_ref()
            .is_some_and(|url| !url.starts_with("http://") && !url.starts_with("https://"))
        {
            return Answer::refusal(
                400,
                "target_url is blocked",
                &json!({"message": {"target_url": ["is blocked: Only allowed schemes are http, https"]}}),
            );
        }
        let full = sha.len() == 40 && sha.bytes().all(|b| b.is_ascii_hexdigit());
        if !full || self.find(path).and_then(|p| p.repo.known(sha)).is_none() {
            return message(404, "404 Commit Not Found");
        }
        // A full ref name would create a pipeline for a ref that does not exist.
        if get("ref").is_some_and(|name| name.starts_with("refs/")) {
            return error("ref is invalid");
        }
        let pipeline = match self.pipeline(path, sha, get("ref"), get("pipeline_id"), now) {
            Ok(pipeline) => pipeline,
            Err(answer) => return answer,
        };
        let ref_name = self
            .pipelines
            .iter()
            .find(|p| p.id == pipeline)
            .map(|p| p.ref_name.clone())
            .unwrap_or_default();
        let posted = PostedStatus {
            state: word,
            context: name.clone(),
            description: description.clone(),
            target_url: target_url.clone(),
            ref_name: Some(ref_name.clone()),
            at: now,
        };
        let open = self.statuses.iter_mut().find(|status| {
            status.state.is_open()
                && status.pipeline == pipeline
                && status.name == name
                && status.ref_name == ref_name
        });
        if let Some(status) = open {
            let (event, allowed) = state.event(status.state);
            if !allowed {
                let from = status.state.as_str();
                return message(
                    400,
                    &format!(
                        "Cannot transition status via :{event} from :{from} (Reason(s): Status cannot transition via \"{event}\")"
                    ),
                );
            }
            status.state = state;
            status.description = description.or(status.description.take());
            status.target_url = target_url.or(status.target_url.take());
            status.posts.push(posted);
            return Answer::json(201, &status.json());
        }
        let status = Status {
            id: 90 + self.statuses.len() as u64,
            pipeline,
            project: path.to_owned(),
            sha: sha.to_owned(),
            ref_name,
            name,
            state,
            description,
            target_url,
            at: now,
            posts: vec![posted],
        };
        let answer = Answer::json(201, &status.json());
        self.statuses.push(status);
        answer
    }

    /// The pipeline of a status: the named one, else the newest of the commit and ref, else a new external one.
    fn pipeline(
        &mut self,
        path: &str,
        sha: &str,
        ref_name: Option<String>,
        id: Option<String>,
        now: Timestamp,
    ) -> Result<u64, Answer> {
        let of_commit = |p: &&Pipeline| {
            p.project == path && p.sha == sha && ref_name.as_ref().is_none_or(|r| *r == p.ref_name)
        };
        if let Some(id) = id {
            let found = self.pipelines.iter().find(|p| p.id.to_string() == id);
            return match found.filter(of_commit) {
                Some(pipeline) => Ok(pipeline.id),
                None => Err(message(
                    404,
                    "404 Pipeline for pipeline_id, sha and ref Not Found",
                )),
            };
        }
        if let Some(pipeline) = self.pipelines.iter().rev().find(of_commit) {
            return Ok(pipeline.id);
        }
        let ref_name = match ref_name {
            Some(name) => name,
            None => self
                .branch_with(path, sha)
                .ok_or_else(|| message(404, "404 References for commit Not Found"))?,
        };
        Ok(self.add_pipeline(path, sha, &ref_name, "external", now))
    }

    /// Starts a pipeline.
    pub(super) fn add_pipeline(
        &mut self,
        path: &str,
        sha: &str,
        ref_name: &str,
        source: &'static str,
        now: Timestamp,
    ) -> u64 {
        let id = 500 + self.pipelines.len() as u64;
        self.pipelines.push(Pipeline {
            id,
            project: path.to_owned(),
            sha: sha.to_owned(),
            ref_name: ref_name.to_owned(),
            source,
            at: now,
        });
        id
    }

    fn branch_with(&self, path: &str, sha: &str) -> Option<String> {
        let repo = &self.find(path)?.repo;
        let mut branches = repo.refs().iter();
        branches.find_map(|(name, tip)| {
            let branch = name.strip_prefix("refs/heads/")?;
            repo.contains(tip, sha).then(|| branch.to_owned())
        })
    }

    pub(super) fn list_statuses(&self, path: &str, sha: &str) -> Answer {
        let of_commit = |status: &&Status| status.project == path && status.sha == sha;
        let all = self.statuses.iter().filter(of_commit);
        // The newest of each name and ref, as without `all=true`.
        let mut latest: Vec<&Status> = Vec::new();
        for status in all {
            latest.retain(|s| s.name != status.name || s.ref_name != status.ref_name);
            latest.push(status);
        }
        Answer::json(200, &latest.iter().map(|status| status.json()).collect())
    }

    pub(super) fn list_pipelines(&self, path: &str, request: &Request) -> Answer {
        let (sha, ref_name) = (request.query_value("sha"), request.query_value("ref"));
        let found = self.pipelines.iter().rev().filter(|p| {
            p.project == path
                && sha.as_ref().is_none_or(|sha| *sha == p.sha)
                && ref_name.as_ref().is_none_or(|name| *name == p.ref_name)
        });
        let lines = found.map(|p| {
            json!({
                "id": p.id,
                "sha": p.sha,
                "ref": p.ref_name,
                "source": p.source,
                "status": "running",
                "created_at": time(p.at),
            })
        });
        Answer::json(200, &lines.collect())
    }

    /// All posts accepted for a commit, in order.
    pub(super) fn posted(&self, path: &str, sha: &str) -> Vec<PostedStatus> {
        let of_commit = |s: &&Status| s.project.eq_ignore_ascii_case(path) && s.sha == sha;
        let mut posts: Vec<PostedStatus> = self
            .statuses
            .iter()
            .filter(of_commit)
            .flat_map(|status| status.posts.iter().cloned())
            .collect();
        posts.sort_by_key(|post| post.at);
        posts
    }
}
