//! Nothing that others say decides where a request goes: not a payload, not an answer, not a redirect.
//!
//! A trap listens on a port that nobody configured, and every URL and name that others may choose
//! points there. Between the program and the sandbox stand guards that see each request and may
//! change each answer.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use purgehook::sandbox::{Area, Change, Delivery, Repository};
use serde_json::{Map, Value};

use crate::signing::{Proof, resigned};
use crate::stranger::{Asked, Stranger, answer};
use crate::world::World;

/// What a guard does with the answers of its service.
#[derive(Clone, Debug, PartialEq)]
enum Mode {
    /// Hands them on.
    Pass,
    /// Puts the trap into them wherever an address may stand.
    Poison,
    /// Sends the requests on to the trap.
    Redirect(u16),
}

const FORGES: [&str; 4] = ["github", "gitlab", "gitea", "gitee"];
const CDNS: [&str; 4] = ["tencent", "ecdn", "qcloud", "huawei"];
const REDIRECTS: [u16; 5] = [301, 302, 303, 307, 308];

struct Scene {
    world: World,
    trap: Stranger,
    guards: BTreeMap<&'static str, Guard>,
    repos: BTreeMap<&'static str, Repository>,
}

struct Guard {
    stranger: Stranger,
    mode: Arc<Mutex<Mode>>,
}

impl Guard {
    /// Between the program and a service of the sandbox.
    async fn before(service: &str, trap: &str, is_forge: bool) -> Self {
        let mode = Arc::new(Mutex::new(Mode::Pass));
        let service = url::Url::parse(service).unwrap();
        let origin = service.origin().ascii_serialization();
        let (http, trap, modes) = (client(), trap.to_owned(), Arc::clone(&mode));
        let stranger = Stranger::start(move |asked| {
            let (http, trap, origin) = (http.clone(), trap.clone(), origin.clone());
            let mode = modes.lock().unwrap().clone();
            async move {
                match mode {
                    Mode::Redirect(status) => {
                        let there = format!("{trap}{}", asked.target);
                        answer(status, &[("Location", &there)], b"")
                    }
                    Mode::Pass => forwarded(&http, &origin, &asked, |_| Vec::new()).await,
                    Mode::Poison => {
                        let change = |body: &mut Value| {
                            poison(body, &trap, is_forge);
                            poisoned_headers(&trap, &asked)
                        };
                        forwarded(&http, &origin, &asked, change).await
                    }
                }
            }
        })
        .await;
        Self { stranger, mode }
    }

    fn set(&self, mode: Mode) {
        *self.mode.lock().unwrap() = mode;
    }
}

fn client() -> reqwest::Client {
    purgehook::http::Outbound::new(purgehook::clock::Clock::system())
        .unwrap()
        .http
}

/// The service's own answer, changed; the headers that the change gives stand in for those of their names.
async fn forwarded(
    http: &reqwest::Client,
    origin: &str,
    asked: &Asked,
    change: impl FnOnce(&mut Value) -> Vec<(String, String)>,
) -> Vec<u8> {
    let method = asked.method.parse().unwrap();
    let mut request = http.request(method, format!("{origin}{}", asked.target));
    for (name, value) in &asked.headers {
        // The host as it was asked for: signatures cover it.
        if !name.eq_ignore_ascii_case("content-length") {
            request = request.header(name, value);
        }
    }
    let told = request.body(asked.body.clone());
    let Ok(told) = told.send().await else {
        return Vec::new();
    };
    let status = told.status().as_u16();
    let headers: Vec<(String, String)> = told
        .headers()
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .filter(|(name, _)| {
            !["transfer-encoding", "content-length", "connection"].contains(&name.as_str())
        })
        .collect();
    let bytes = told.bytes().await.unwrap();
    let (body, added) = match serde_json::from_slice::<Value>(&bytes) {
        Ok(mut body) => {
            let added = change(&mut body);
            let changed = if added.is_empty() {
                bytes.to_vec()
            } else {
                body.to_string().into_bytes()
            };
            (changed, added)
        }
        Err(_) => (bytes.to_vec(), Vec::new()),
    };
    let is_added = |name: &str| {
        added
            .iter()
            .any(|(other, _)| other.eq_ignore_ascii_case(name))
    };
    let kept = headers.iter().filter(|(name, _)| !is_added(name));
    let headers: Vec<(&str, &str)> = kept
        .chain(&added)
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    answer(status, &headers, &body)
}

/// Headers that name an address, each of which is the trap's.
fn poisoned_headers(trap: &str, asked: &Asked) -> Vec<(String, String)> {
    let host = trap.trim_start_matches("http://");
    let mut headers = vec![
        ("Location".to_owned(), format!("{trap}/location")),
        ("Content-Location".to_owned(), format!("{trap}/here")),
        ("Refresh".to_owned(), format!("0; url={trap}/refresh")),
        ("Alt-Svc".to_owned(), format!("h2=\"{host}\"; ma=3600")),
    ];
    // One page more, and not for ever.
    if !asked.target.contains("page=2") {
        let next = format!("<{trap}{}?page=2&per_page=100>; rel=\"next\"", asked.target);
        headers.push(("Link".to_owned(), next));
    }
    headers
}

/// Fields that hold an address at some forge or CDN, or might.
const ADDRESSES: [&str; 16] = [
    "api_url",
    "clone_url",
    "commits_url",
    "compare_url",
    "contents_url",
    "endpoint",
    "git_http_url",
    "git_url",
    "html_url",
    "http_url",
    "Location",
    "next",
    "ssh_url",
    "statuses_url",
    "trees_url",
    "web_url",
];

/// Points every address at the trap, and adds some where there are none. A CDN's URLs are what is
/// purged, and stay.
fn poison(value: &mut Value, trap: &str, is_forge: bool) {
    match value {
        Value::String(text) => {
            let schemes = ["http://", "https://", "git@", "git://", "ssh://"];
            if is_forge && schemes.iter().any(|scheme| text.starts_with(scheme)) {
                *text = format!("{trap}/poisoned");
            }
        }
        Value::Array(items) => items
            .iter_mut()
            .for_each(|item| poison(item, trap, is_forge)),
        Value::Object(fields) => {
            fields
                .values_mut()
                .for_each(|below| poison(below, trap, is_forge));
            for name in ADDRESSES {
                let field = fields.entry(name).or_insert(Value::Null);
                if field.is_null() {
                    *field = format!("{trap}/{name}").into();
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

impl Scene {
    async fn serving() -> Self {
        let trap = Stranger::start(|_| async { answer(200, &[], b"{}") }).await;
        let world = World::new().await;
        let sandbox = &world.sandbox;
        let (forges, cdns) = (
            [
                sandbox.github(),
                sandbox.gitlab(),
                sandbox.gitea(),
                sandbox.gitee(),
            ],
            [
                sandbox.tencent_cdn(),
                sandbox.tencent_ecdn(),
                sandbox.qcloud(),
                sandbox.huawei_cdn(),
            ],
        );
        sandbox.lift_github_limits();
        sandbox.send_gitee_password(true);
        sandbox.sign_gitlab_webhooks(false, true);
        let mut guards = BTreeMap::new();
        let mut repos = BTreeMap::new();
        let mut rules = "
server: {listen: '${LISTEN}', database: '${DATABASE}', public_url: https://purge.example.com}
forges:
"
        .to_owned();
        for (name, forge) in FORGES.into_iter().zip(&forges) {
            let guard = Guard::before(&forge.url(), &trap.url, true).await;
            let path = url::Url::parse(&forge.url()).unwrap().path().to_owned();
            let address = format!("{}{}", guard.stranger.url, path.trim_end_matches('/'));
            let mode = if name == "gitee" {
                "mode: password, "
            } else {
                ""
            };
            rules.push_str(&format!(
                "  {name}: {{kind: {name}, {mode}secrets: ['{}'], token: '{}', api_url: '{address}'}}\n",
                forge.webhook_secret(),
                forge.token(),
            ));
            guards.insert(name, guard);
            let repo = forge.create_repo("acme/website", "main");
            repo.commit("main", &[Change::write("static/first.css", "1")]);
            repo.push("main");
            repos.insert(name, repo);
        }
        rules.push_str("cdns:\n");
        for (name, cdn) in CDNS.into_iter().zip(&cdns) {
            cdn.add_domain("www.example.com", Area::Mainland);
            cdn.set_duration(std::time::Duration::ZERO);
            let guard = Guard::before(&cdn.url(), &trap.url, false).await;
            let (kind, id) = match name {
                "tencent" => ("tencent-cdn", "secret_id"),
                "ecdn" => ("tencent-ecdn, signature: hmac-sha256", "secret_id"),
                "qcloud" => ("qcloud", "secret_id"),
                _ => ("huawei-cdn", "access_key"),
            };
            rules.push_str(&format!(
                "  {name}: {{kind: {kind}, {id}: '{}', secret_key: '{}', endpoint: '{}'}}\n",
                cdn.secret_id(),
                cdn.secret_key(),
                guard.stranger.url,
            ));
            guards.insert(name, guard);
        }
        rules.push_str("sites:\n");
        for (forge, cdn) in FORGES.into_iter().zip(CDNS) {
            rules.push_str(&format!(
                "  {forge}:
    repo: {forge}:acme/website
    branches: ['**']
    base_urls: ['https://www.example.com']
    cdns: [{cdn}]
    settle: 0s
    rules: [{{match: ['static/**'], strip: static/, urls: ['/{{path}}']}}]
"
            ));
        }
        std::fs::write(world.rules_path(), rules).unwrap();
        let mut scene = Self {
            world,
            trap,
            guards,
            repos,
        };
        scene.world.start().await;
        scene
    }

    /// A new commit on the branch, pushed.
    fn pushed(&self, forge: &str, content: &str) -> Delivery {
        let repo = &self.repos[forge];
        repo.commit("main", &[Change::write("static/app.css", content)]);
        repo.push("main").unwrap()
    }

    /// The delivery as if its forge had sent another body, under another id.
    fn with_body(&self, forge: &str, delivery: &Delivery, body: &Value, number: usize) -> Delivery {
        let secret = self.world.sandbox.github().webhook_secret();
        let proof = match forge {
            "gitlab" => Proof::GitLabToken(secret),
            "gitee" => Proof::Password(secret),
            _ => Proof::Hmac(secret),
        };
        let mut sent = resigned(delivery, forge, body.to_string().into_bytes(), proof);
        for (name, value) in &mut sent.headers {
            let name = name.to_ascii_lowercase();
            if name.ends_with("-delivery") || name.ends_with("-uuid") || name == "idempotency-key" {
                *value = format!("00000000-0000-4000-8000-{number:012}");
            }
        }
        sent
    }

    /// Waits until no run is under way.
    async fn quiet(&self) {
        self.world
            .answers("/api/v1/runs?state=pending", r#""runs":[]"#)
            .await;
    }

    /// Asserts that nobody has come to the trap, and that every request went where it is configured to go.
    fn nobody_was_led_astray(&self) {
        assert_eq!(self.trap.connections(), 0, "{:?}", self.trap.asked());
        for (name, guard) in &self.guards {
            let host = guard.stranger.url.trim_start_matches("http://");
            let below = match *name {
                "github" => "/repos/acme/website/",
                "gitlab" => "/api/v4/projects/acme%2Fwebsite/",
                "gitea" => "/api/v1/repos/acme/website/",
                "gitee" => "/api/v5/repos/acme/website/",
                "qcloud" => "/v2/index.php",
                "huawei" => "/v1.0/cdn/",
                _ => "/",
            };
            for asked in guard.stranger.asked() {
                assert_eq!(asked.header("host"), Some(host), "{name}: {asked:?}");
                let path = asked.target.split('?').next().unwrap();
                assert!(path.starts_with(below), "{name}: {asked:?}");
                let mut segments = path.split('/');
                assert!(
                    !segments.any(|part| part == ".." || part == "."),
                    "{name}: {asked:?}"
                );
            }
        }
    }

    fn asked(&self, name: &str) -> usize {
        self.guards[name].stranger.asked().len()
    }
}

/// Where the texts in a value are.
fn texts(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::String(_) => found.push(at.to_owned()),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                texts(item, &format!("{at}/{index}"), found);
            }
        }
        Value::Object(fields) => {
            for (name, below) in fields {
                texts(below, &format!("{at}/{name}"), found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_address_in_a_payload_is_ever_asked() {
    let scene = Scene::serving().await;

    for forge in FORGES {
        let delivery = scene.pushed(forge, "poisoned");
        let mut body: Value = serde_json::from_slice(&delivery.body).unwrap();
        poison(&mut body, &scene.trap.url, true);
        let before = scene.asked(forge);
        let run = scene
            .world
            .accepted(&scene.with_body(forge, &delivery, &body, 1))
            .await;
        let run = scene.world.ended(&run).await;

        assert_eq!(run["state"], "succeeded", "{forge}: {run:#}");
        // For its status at least, which is posted once the run has ended.
        let asked = |_: &World| scene.asked(forge) > before;
        scene
            .world
            .until("the forge is asked something", asked)
            .await;
    }
    scene.nobody_was_led_astray();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_name_in_a_payload_makes_an_address() {
    let scene = Scene::serving().await;
    let trap = scene.trap.url.trim_start_matches("http://");
    let hostile = [
        format!("@{trap}/x"),
        format!("//{trap}/x"),
        format!("http://{trap}/x"),
        format!("../../../../{trap}"),
        format!("refs/heads/../../{trap}"),
        format!("refs/heads/@{trap}/x?a#b"),
        format!("\\\\{trap}\\x"),
        format!("x HTTP/1.1\r\nHost: {trap}\r\n\r\n"),
        format!("acme/website@{trap}"),
    ];

    let mut number = 10;
    for forge in FORGES {
        let delivery = scene.pushed(forge, "hostile");
        let body: Value = serde_json::from_slice(&delivery.body).unwrap();
        let mut places = Vec::new();
        texts(&body, "", &mut places);
        for place in places {
            // What decides most is tried with all of them.
            let decides = [
                "ref",
                "before",
                "after",
                "id",
                "full_name",
                "path_with_namespace",
            ];
            let count = match place.rsplit('/').next() {
                Some(name) if decides.contains(&name) => hostile.len(),
                _ => 1,
            };
            for text in hostile
                .iter()
                .cycle()
                .skip(number % hostile.len())
                .take(count)
            {
                number += 1;
                let mut body = body.clone();
                *body.pointer_mut(&place).unwrap() = text.clone().into();
                let sent = scene.with_body(forge, &delivery, &body, number);
                let (status, answer) = scene.world.send(&sent).await;
                assert!(
                    [200, 202, 400, 401].contains(&status),
                    "{forge}: {place} as {text:?}: {status} {answer}"
                );
            }
        }
    }
    scene.quiet().await;

    assert!(number > 150, "{number} deliveries");
    scene.nobody_was_led_astray();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_address_in_an_answer_is_ever_asked() {
    let scene = Scene::serving().await;
    for guard in scene.guards.values() {
        guard.set(Mode::Poison);
    }

    for forge in FORGES {
        // More than one commit, so that a payload alone proves nothing.
        scene.repos[forge].commit("main", &[Change::write("static/b.css", "1")]);
        let delivery = scene.pushed(forge, "poisoned");
        let run = scene.world.accepted(&delivery).await;
        let run = scene.world.ended(&run).await;

        assert_eq!(run["state"], "succeeded", "{forge}: {run:#}");
    }
    for (name, guard) in &scene.guards {
        assert!(guard.stranger.asked().len() > 1, "{name} was not asked");
    }
    scene.nobody_was_led_astray();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_redirect_is_followed_and_each_is_said_to_be_one() {
    let scene = Scene::serving().await;

    for redirected in [FORGES, CDNS] {
        for status in REDIRECTS {
            for name in redirected {
                scene.guards[name].set(Mode::Redirect(status));
            }
            let mut runs = Map::new();
            for (forge, cdn) in FORGES.into_iter().zip(CDNS) {
                let content = format!("{status} of {}", redirected[0]);
                scene.repos[forge].commit("main", &[Change::write("static/b.css", &content)]);
                let delivery = scene.pushed(forge, &content);
                let run = scene.world.accepted(&delivery).await;
                runs.insert(format!("{forge} {cdn}"), run.into());
            }
            for (names, run) in runs {
                let run = scene.world.ended(run.as_str().unwrap()).await;
                let said = run.to_string();

                // What a forge does not say can be made up for by purging everything.
                let may_succeed = redirected == FORGES;
                assert!(may_succeed || run["state"] == "failed", "{names}: {run:#}");
                let words = if redirected == FORGES {
                    "update `repo:`, or `api_url:`"
                } else {
                    "requests are never sent on to another address; check `endpoint:`"
                };
                assert!(said.contains(words), "{names}, {status}: {run:#}");
                assert!(
                    said.contains(&status.to_string()),
                    "{names}, {status}: {run:#}"
                );
            }
            for guard in scene.guards.values() {
                guard.set(Mode::Pass);
            }
            // The forges answer again: the next one that does not has everything purged once more.
            for forge in FORGES {
                let content = format!("after {status} of {}", redirected[0]);
                scene.repos[forge].commit("main", &[Change::write("static/b.css", &content)]);
                let run = scene.world.accepted(&scene.pushed(forge, &content)).await;
                scene.world.ended(&run).await;
            }
        }
    }
    scene.nobody_was_led_astray();
}
