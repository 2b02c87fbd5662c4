//! GitHub's webhooks and the log of their deliveries, from its REST description ("Repository webhooks").

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::exchange::{Answer, Request};
use super::super::host::HookSetup;
use super::{GitHub, not_found, time};

/// The id of the only webhook, which every repository has once it has an address.
pub(super) const HOOK: u64 = 292_430_182;
/// Deliveries kept in the log.
const MOST: usize = 5_000;
/// How long the log goes back.
const SECONDS: i64 = 3 * 24 * 60 * 60;

/// A delivery in the log.
pub(super) struct Logged {
    id: u64,
    /// The repository's path in lower case.
    path: String,
    guid: String,
    at: Timestamp,
    redelivery: bool,
    event: String,
    body: Value,
    headers: Vec<(String, String)>,
    /// The receiver's response, once it is known; until then there was none.
    answered: Option<u16>,
}

impl GitHub {
    /// Records a delivery without a response.
    pub(super) fn note(
        &mut self,
        guid: &str,
        event: &str,
        body: &Value,
        headers: &[(String, String)],
        at: Timestamp,
    ) {
        let path = body
            .pointer("/repository/full_name")
            .and_then(Value::as_str)
            .unwrap_or_default();
        if self.log.len() >= MOST {
            self.log.remove(0);
        }
        self.logged += 1;
        self.log.push(Logged {
            id: 12_000_000_000 + self.logged,
            path: path.to_ascii_lowercase(),
            guid: guid.to_owned(),
            at,
            redelivery: false,
            event: event.to_owned(),
            body: body.clone(),
            headers: headers.to_vec(),
            answered: None,
        });
    }

    /// Records that a delivery was sent again.
    pub(super) fn note_again(&mut self, guid: &str, at: Timestamp) {
        let Some(first) = self.log.iter().find(|line| line.guid == guid) else {
            return;
        };
        let again = Logged {
            id: 12_000_000_000 + self.logged + 1,
            path: first.path.clone(),
            guid: first.guid.clone(),
            at,
            redelivery: true,
            event: first.event.clone(),
            body: first.body.clone(),
            headers: first.headers.clone(),
            answered: None,
        };
        self.logged += 1;
        self.log.push(again);
    }

    /// Records the receiver's response to the newest of these deliveries.
    pub(super) fn note_answer(&mut self, guid: &str, status: u16) {
        let mut lines = self.log.iter_mut().rev();
        if let Some(line) = lines.find(|line| line.guid == guid) {
            line.answered = Some(status);
        }
    }

    /// `GET hooks`
    pub(super) fn hooks(&self) -> Answer {
        let hooks: Vec<Value> = self.hook.iter().map(hook_json).collect();
        Answer::json(200, &json!(hooks))
    }

    /// `GET hooks/{id}/deliveries`, newest first; `cursor` is the start of the next page.
    pub(super) fn deliveries(
        &self,
        path: &str,
        hook: &str,
        request: &Request,
        now: Timestamp,
    ) -> Answer {
        if hook != HOOK.to_string() || self.hook.is_none() {
            return not_found();
        }
        let size = request.query_value("per_page").and_then(|n| n.parse().ok());
        let size: usize = size.unwrap_or(30).clamp(1, 100);
        let cursor = request.query_value("cursor");
        let before = match cursor
            .as_deref()
            .map(|text| text.strip_prefix("v1_").and_then(|n| n.parse().ok()))
        {
            None => u64::MAX,
            Some(Some(id)) => id,
            Some(None) => return super::problem(422, "Invalid cursor"),
        };
        let mut lines = self.log.iter().rev().filter(|line| {
            line.id < before
                && line.path == path.to_ascii_lowercase()
                && now.as_second() - line.at.as_second() < SECONDS
        });
        let page: Vec<&Logged> = lines.by_ref().take(size).collect();
        let next = lines.next().and_then(|_| page.last()).map(|line| line.id);
        let rows: Vec<Value> = page.iter().map(|line| line.row()).collect();
        let answer = Answer::json(200, &json!(rows));
        match next {
            Some(id) => {
                let address = &self.address;
                let link = format!(
                    "<{address}/repos/{path}/hooks/{hook}/deliveries?per_page={size}&cursor=v1_{id}>; rel=\"next\""
                );
                answer.with("link", link)
            }
            None => answer,
        }
    }

    /// `GET hooks/{id}/deliveries/{delivery}`
    pub(super) fn delivery(&self, path: &str, hook: &str, id: &str) -> Answer {
        let line = self.log.iter().find(|line| {
            line.id.to_string() == id
                && line.path == path.to_ascii_lowercase()
                && hook == HOOK.to_string()
        });
        let Some(line) = line else {
            return not_found();
        };
        let mut row = line.row();
        let headers: serde_json::Map<String, Value> = line
            .headers
            .iter()
            .map(|(name, value)| (name.clone(), json!(value)))
            .collect();
        if let Some(row) = row.as_object_mut() {
            row.insert(
                "url".into(),
                json!(self.hook.as_ref().map(|hook| &hook.url)),
            );
            row.insert(
                "request".into(),
                json!({"headers": headers, "payload": line.body}),
            );
            row.insert("response".into(), json!({"headers": {}, "payload": null}));
        }
        Answer::json(200, &row)
    }
}

fn hook_json(hook: &HookSetup) -> Value {
    let last_response = match hook.last {
        None => json!({"code": null, "status": "unused", "message": null}),
        Some(code @ 200..300) => json!({"code": code, "status": "active", "message": "OK"}),
        Some(code) => {
            json!({"code": code, "status": "misconfigured", "message": "Invalid HTTP Response"})
        }
    };
    json!({
        "type": "Repository",
        "id": HOOK,
        "name": "web",
        "active": hook.active,
        "events": hook.events,
        "config": {"url": hook.url, "content_type": "json", "insecure_ssl": "0", "secret": "********"},
        "last_response": last_response,
    })
}

impl Logged {
    fn row(&self) -> Value {
        let status = match self.answered {
            Some(status) if (200..300).contains(&status) => "OK",
            Some(_) => "Invalid HTTP Response",
            None => "failed to connect to host",
        };
        json!({
            "id": self.id,
            "guid": self.guid,
            "delivered_at": time(self.at),
            "redelivery": self.redelivery,
            "duration": 0.1,
            "status": status,
            "status_code": self.answered.unwrap_or(0),
            "event": self.event,
            "action": self.body.get("action"),
            "installation_id": null,
            "repository_id": self.body.pointer("/repository/id"),
            "throttled_at": null,
        })
    }
}
