//! Payloads captured from real forges, where someone has them, sent to the program as the
//! forges sent them: the directory in `PURGEHOOK_TEST_PAYLOADS` holds them with an
//! `index.json` of the facts that are known of each.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use purgehook::sandbox::Delivery;
use ring::hmac;
use serde_json::Value;

use crate::world::World;

const SECRET: &str = "a secret that all of these forges share";

/// What each kind of forge can tell of, as `trigger:` has it.
const TRIGGERS: &[(&str, &[&str])] = &[
    (
        "github",
        &[
            "push",
            "{deployment: production}",
            "{workflow: test.yml}",
            "release",
            "page_build",
        ],
    ),
    (
        "gitlab",
        &[
            "push",
            "{deployment: staging}",
            "{pipeline: success}",
            "release",
        ],
    ),
    ("gitea", &["push", "release"]),
    ("gitee", &["push"]),
];

/// A payload and what is known of it.
struct Captured {
    file: String,
    /// The kind of forge it came from, as the entry under `forges:` is called.
    forge: String,
    event: String,
    facts: Value,
    body: Vec<u8>,
}

impl Captured {
    fn text(&self, fact: &str) -> &str {
        self.facts[fact].as_str().unwrap_or_default()
    }

    /// The status and the outcome that it has to be answered with.
    fn expected(&self) -> (u16, &'static str) {
        let known = TRIGGERS.iter().any(|(kind, _)| *kind == self.forge);
        if !known {
            return (404, "refused");
        }
        if self.text("repo").is_empty() {
            return (400, "refused");
        }
        let is_deleted = self.text("after").bytes().all(|byte| byte == b'0');
        let asks = match self.event.as_str() {
            "ping" => return (200, "pong"),
            "push" | "Push Hook" => self.text("ref").starts_with("refs/heads/") && !is_deleted,
            "deployment_status" => self.text("state") == "success",
            "Deployment Hook" | "Pipeline Hook" => self.text("status") == "success",
            "workflow_run" => self.text("conclusion") == "success",
            "page_build" => self.text("status") == "built",
            "release" | "Release Hook" => ["published", "create"].contains(&self.text("action")),
            _ => false,
        };
        if asks {
            (202, "accepted")
        } else {
            (200, "ignored")
        }
    }

    /// The commit that its run is for, where the facts name one.
    fn commit(&self) -> Option<&str> {
        let facts = ["after", "sha", "head_sha", "commit"].map(|fact| self.text(fact));
        facts.into_iter().find(|id| id.len() == 40)
    }

    /// The paths that the payload itself proves to be all that changed: a push of one
    /// commit on what was there, at GitHub.
    fn proven(&self) -> BTreeSet<&str> {
        let is_zero = |fact: &str| self.text(fact).bytes().all(|byte| byte == b'0');
        let proves = self.forge == "github"
            && self.event == "push"
            && self.facts["commits"] == 1
            && self.facts["forced"] == false
            && !is_zero("before");
        let lists = self.facts["files"].as_object().into_iter().flatten();
        lists
            .filter(|_| proves)
            .filter_map(|(_, paths)| paths.as_array())
            .flatten()
            .filter_map(Value::as_str)
            .collect()
    }

    /// The request as the forge made it, signed with a secret.
    fn delivery(&self, number: usize, secret: &str) -> Delivery {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let signature = hex::encode(hmac::sign(&key, &self.body).as_ref());
        let id = format!("00000000-0000-4000-8000-{number:012}");
        let event = self.event.clone();
        let headers = match self.forge.as_str() {
            "github" => vec![
                ("X-GitHub-Event", event),
                ("X-GitHub-Delivery", id),
                ("X-Hub-Signature-256", format!("sha256={signature}")),
            ],
            "gitlab" => vec![
                ("X-Gitlab-Event", event),
                ("X-Gitlab-Webhook-UUID", id),
                ("X-Gitlab-Token", secret.to_owned()),
            ],
            "gitea" => vec![
                ("X-Gitea-Event", event),
                ("X-Gitea-Delivery", id),
                ("X-Gitea-Signature", signature),
            ],
            _ => vec![
                ("X-Gitee-Event", event),
                ("X-Gitee-Token", secret.to_owned()),
            ],
        };
        let headers = headers
            .into_iter()
            .chain([("Content-Type", "application/json".to_owned())])
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        Delivery {
            path: format!("/hooks/{}", self.forge),
            headers,
            body: self.body.clone(),
        }
    }
}

fn captured(directory: &Path) -> Vec<Captured> {
    let index = std::fs::read(directory.join("index.json")).unwrap();
    let index: Vec<Value> = serde_json::from_slice(&index).unwrap();
    let text = |entry: &Value, field: &str| entry[field].as_str().unwrap().to_owned();
    index
        .into_iter()
        .map(|entry| Captured {
            file: text(&entry, "file"),
            forge: text(&entry, "forge").replace("forgejo", "gitea"),
            event: text(&entry, "event"),
            facts: entry["facts"].clone(),
            body: std::fs::read(directory.join(text(&entry, "file"))).unwrap(),
        })
        .collect()
}

/// A site for each trigger of each repository that a payload is of.
fn rules(world: &World, payloads: &[Captured]) -> String {
    let sandbox = &world.sandbox;
    let mut text = "
server: {listen: '${LISTEN}', database: '${DATABASE}', reconcile: 0s}
cdns:
  tencent: {kind: tencent-cdn, secret_id: '${TENCENT_ID}', secret_key: '${TENCENT_KEY}', endpoint: '${TENCENT_URL}'}
forges:
"
    .to_owned();
    for (kind, forge, key) in [
        ("github", sandbox.github(), "secrets"),
        ("gitlab", sandbox.gitlab(), "secrets"),
        ("gitea", sandbox.gitea(), "secrets"),
        ("gitee", sandbox.gitee(), "mode: password, secrets"),
    ] {
        text.push_str(&format!(
            "  {kind}: {{kind: {kind}, {key}: ['{SECRET}'], token: '{}', api_url: '{}'}}\n",
            forge.token(),
            forge.url()
        ));
    }
    text.push_str("sites:\n");
    let mut number = 0;
    for (kind, triggers) in TRIGGERS {
        let of_kind = payloads.iter().filter(|payload| payload.forge == *kind);
        let repos: BTreeSet<&str> = of_kind.map(|payload| payload.text("repo")).collect();
        for repo in repos.into_iter().filter(|repo| !repo.is_empty()) {
            for trigger in *triggers {
                number += 1;
                text.push_str(&format!(
                    "  site{number}:
    repo: '{kind}:{repo}'
    branches: ['**']
    trigger: {trigger}
    base_urls: ['https://www.example.com']
    cdns: [tencent]
    when_unknown: fail
    rules: [{{match: ['**'], urls: ['/{{path}}']}}]
"
                ));
            }
        }
    }
    text
}

#[tokio::test]
async fn captured_payloads_are_answered_for_what_they_say() {
    let Some(directory) = std::env::var_os("PURGEHOOK_TEST_PAYLOADS") else {
        return;
    };
    let payloads = captured(Path::new(&directory));
    let mut world = World::new().await;
    std::fs::write(world.rules_path(), rules(&world, &payloads)).unwrap();
    world.start().await;

    let mut answers: BTreeMap<(u16, String), usize> = BTreeMap::new();
    for (number, payload) in payloads.iter().enumerate() {
        let file = &payload.file;
        let expected = payload.expected();
        if expected.0 != 404 {
            let forged = payload.delivery(number, "another secret");
            assert_eq!(world.send(&forged).await.0, 401, "{file}");
        }

        let (status, answer) = world.send(&payload.delivery(number, SECRET)).await;

        let outcome = answer["outcome"].as_str().unwrap_or_default();
        assert_eq!((status, outcome), expected, "{file}: {answer}");
        *answers.entry((status, outcome.to_owned())).or_default() += 1;
        if outcome == "ignored" {
            let why = answer["why"].as_str().unwrap_or_default();
            assert!(why.len() > 10, "{file}: {answer}");
        }
        if status != 202 {
            continue;
        }
        let runs = answer["runs"].as_array().unwrap();
        assert_eq!(runs.len(), 1, "{file}: {answer}");
        let run = world.ended(runs[0]["id"].as_str().unwrap()).await;
        let repo = format!("{}:{}", payload.forge, payload.text("repo"));
        assert_eq!(run["repo"], repo, "{file}");
        if let Some(commit) = payload.commit() {
            assert_eq!(run["commit"], commit, "{file}");
        }
        let purges = run["purges"].as_array().unwrap();
        let paths: BTreeSet<&str> = purges
            .iter()
            .map(|purge| purge["path"].as_str().unwrap())
            .collect();
        assert_eq!(paths, payload.proven(), "{file}: {run}");
        // No such repository is on these forges: what cannot be known is said to be, and nothing is purged.
        if paths.is_empty() {
            let state = run["state"].as_str().unwrap();
            assert!(["failed", "errored"].contains(&state), "{file}: {run}");
        }
    }
    println!("{} payloads: {answers:?}", payloads.len());
}
