//! Commit statuses: `POST /repos/{owner}/{repo}/statuses/{sha}` and the two lists.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::exchange::Answer;
use super::super::host::PostedStatus;
use super::{GitHub, invalid, not_found, problem, time};

/// The maximum number of statuses per commit and context.
const MAX_PER_CONTEXT: usize = 1_000;
/// The maximum length of a description in characters; if it is longer, the whole call fails.
const MAX_DESCRIPTION: usize = 140;

#[derive(Clone, Debug)]
pub(super) struct Status {
    id: u64,
    state: String,
    context: String,
    description: Option<String>,
    target_url: Option<String>,
    at: Timestamp,
}

impl Status {
    pub fn posted(&self) -> PostedStatus {
        PostedStatus {
            state: self.state.clone(),
            context: self.context.clone(),
            description: self.description.clone(),
            target_url: self.target_url.clone(),
            ref_name: None,
            at: self.at,
        }
    }

    fn json(&self) -> Value {
        json!({
            "id": self.id,
            "node_id": format!("SC_{}", self.id),
            "state": self.state,
            "context": self.context,
            "description": self.description,
            "target_url": self.target_url,
            "created_at": time(self.at),
            "updated_at": time(self.at),
            "creator": {"login": "purgehook[bot]", "id": 1, "type": "Bot"},
        })
    }
}

impl GitHub {
    pub(super) fn post_status(
        &mut self,
        path: &str,
        sha: &str,
        body: &[u8],
        now: Timestamp,
    ) -> Answer {
        if sha.len() != 40 || !sha.bytes().all(|b| b.is_ascii_hexdigit()) {
            return invalid("sha must be a 40 character SHA1");
        }
        let known = self.projects.find(path).and_then(|p| p.repo.known(sha));
        if known.is_none() {
            return problem(422, &format!("No commit found for SHA: {sha}"));
        }
        let Ok(Value::Object(body)) = serde_json::from_slice(body) else {
            return problem(400, "Problems parsing JSON");
        };
        let text = |name: &str| match body.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(other) => Err(problem(
                422,
                &format!("Invalid request.\n\nFor '{name}', {other} is not a string."),
            )),
        };
        let (state, context, description, target_url) = match (
            text("state"),
            text("context"),
            text("description"),
            text("target_url"),
        ) {
            (Ok(state), Ok(context), Ok(description), Ok(target)) => {
                (state, context, description, target)
            }
            (Err(answer), _, _, _)
            | (_, Err(answer), _, _)
            | (_, _, Err(answer), _)
            | (_, _, _, Err(answer)) => return answer,
        };
        let Some(state) = state else {
            return problem(422, "Invalid request.\n\n\"state\" wasn't supplied.");
        };
        if !["error", "failure", "pending", "success"].contains(&state.as_str()) {
            return invalid("State is not included in the list");
        }
        if description
            .as_ref()
            .is_some_and(|text| text.chars().count() > MAX_DESCRIPTION)
        {
            return invalid("Description is too long (maximum is 140 characters)");
        }
        if target_url.as_ref().is_some_and(|url| {
            !url.is_empty() && !url.starts_with("http://") && !url.starts_with("https://")
        }) {
            return invalid("Target url must use http(s) scheme");
        }
        let context = context.unwrap_or_else(|| "default".to_owned());
        let key = (path.to_ascii_lowercase(), sha.to_owned());
        let taken = self.statuses.entry(key).or_default();
        let same = |status: &&Status| status.context.eq_ignore_ascii_case(&context);
        if taken.iter().filter(same).count() >= MAX_PER_CONTEXT {
            return invalid("This SHA and context has reached the maximum number of statuses.");
        }
        self.status_count += 1;
        let status = Status {
            id: self.status_count,
            state,
            context,
            description,
            target_url,
            at: now,
        };
        let answer = Answer::json(201, &status.json());
        taken.push(status);
        answer
    }

    pub(super) fn list_statuses(&self, path: &str, reference: &str) -> Answer {
        let Some(sha) = self.sha(path, reference) else {
            return not_found();
        };
        let all = self.all(path, &sha).iter().rev();
        Answer::json(200, &all.map(Status::json).collect())
    }

    pub(super) fn combined_status(&self, path: &str, reference: &str) -> Answer {
        let Some(sha) = self.sha(path, reference) else {
            return not_found();
        };
        let mut latest: Vec<&Status> = Vec::new();
        for status in self.all(path, &sha).iter().rev() {
            let seen = |other: &&Status| other.context.eq_ignore_ascii_case(&status.context);
            if !latest.iter().any(seen) {
                latest.push(status);
            }
        }
        let any = |word: &str| latest.iter().any(|status| status.state == word);
        let state = if any("error") || any("failure") {
            "failure"
        } else if latest.is_empty() || any("pending") {
            "pending"
        } else {
            "success"
        };
        Answer::json(
            200,
            &json!({
                "state": state,
                "sha": sha,
                "total_count": latest.len(),
                "statuses": latest.iter().map(|status| status.json()).collect::<Vec<_>>(),
            }),
        )
    }

    fn sha(&self, path: &str, reference: &str) -> Option<String> {
        let project = self.projects.find(path)?;
        Some(project.repo.resolve(reference)?.id.clone())
    }

    fn all(&self, path: &str, sha: &str) -> &[Status] {
        self.statuses
            .get(&(path.to_ascii_lowercase(), sha.to_owned()))
            .map_or(&[], Vec::as_slice)
    }
}
