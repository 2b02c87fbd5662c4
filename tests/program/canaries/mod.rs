//! A secret that is like no other in every place that takes one; then everything that the program
//! has said, shown, sent and kept is searched for them, in every way of writing them.
//!
//! The forges and CDNs repeat to the program whatever it sent them, credentials included.

mod echo;
mod fields;
mod search;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use purgehook::sandbox::{Change, Delivery, Repository};
use serde_json::Value;
use tempfile::TempDir;

use self::fields::{CDNS, Canary, DATABASE_PASSWORD, FORGES, Way};
use self::search::Search;
use crate::postgres;
use crate::signing::{Proof, resigned};
use crate::stranger::Stranger;
use crate::world::World;

/// How often each run is tried. A stranger is asked at least twice each time, which is all ways of repeating.
const ROUNDS: usize = echo::WAYS / 2;

/// The program between strangers who repeat everything, and what it leaves behind.
struct Scene {
    world: World,
    canaries: Vec<Canary>,
    strangers: BTreeMap<&'static str, Stranger>,
    /// Everything that anyone but the program could see.
    left: TempDir,
    texts: usize,
}

impl Scene {
    async fn new(first: Way) -> Self {
        let mut strangers = BTreeMap::new();
        for name in FORGES.into_iter().chain(CDNS) {
            strangers.insert(name, echo::start(name).await);
        }
        let mut scene = Self {
            world: World::new().await,
            canaries: fields::canaries(),
            strangers,
            left: TempDir::new().unwrap(),
            texts: 0,
        };
        scene.world.set_variable("RUST_LOG", "trace");
        scene.write_rules(first, |rules| rules);
        scene
    }

    /// Writes the rules file, with something done to it.
    fn write_rules(&mut self, first: Way, change: impl FnOnce(String) -> String) {
        let address = |name: &str| self.strangers[name].url.clone();
        let (rules, variables) = fields::rules(&self.canaries, self.world.folder(), first, address);
        for (name, value) in variables {
            self.world.set_variable(&name, &value);
        }
        std::fs::write(self.world.rules_path(), change(rules)).unwrap();
    }

    fn canary(&self, id: &str) -> &str {
        fields::value(&self.canaries, id)
    }

    /// Keeps something that was shown, to be searched.
    fn keep(&mut self, what: &str, text: impl AsRef<[u8]>) {
        self.texts += 1;
        let name = format!("{}-{}", self.texts, what.replace(['/', ' ', '?', '&'], "_"));
        std::fs::write(self.left.path().join(name), text).unwrap();
    }

    /// Runs a command and keeps what it says; its exit code.
    fn run(&mut self, args: &[&str], input: &str) -> Option<i32> {
        let output = self.world.run(args, input);
        self.keep(&format!("{args:?} out"), &output.stdout);
        self.keep(&format!("{args:?} err"), &output.stderr);
        output.status.code()
    }

    /// Sends a request and keeps all of the answer; its body.
    async fn fetch(&mut self, what: &str, request: reqwest::RequestBuilder) -> String {
        let answer = request.send().await.unwrap();
        let head = format!("{:?} {:?}", answer.status(), answer.headers());
        let body = answer.text().await.unwrap();
        self.keep(what, format!("{head}\n{body}"));
        body
    }

    async fn get(&mut self, path: &str) -> String {
        let reader = self.canary("server/read_token").to_owned();
        let request = client().get(format!("{}{path}", self.world.base()));
        let request = request.bearer_auth(reader);
        self.fetch(path, request).await
    }

    /// A push to each site as its forge would send it.
    fn deliveries(&self) -> Vec<Delivery> {
        let sandbox = &self.world.sandbox;
        let pushed = |repo: Repository| {
            let change = |path: &str, to: &str| Change::write(path, to);
            repo.commit("main", &[change("README.md", "1")]);
            repo.push("main");
            let changes = [change("static/app.css", "2"), change("layouts/a.html", "2")];
            repo.commit("main", &changes);
            repo.push("main").unwrap()
        };
        let path = "acme/website";
        let github = pushed(sandbox.github().create_repo(path, "main"));
        let gitlab = pushed(sandbox.gitlab().create_repo(path, "main"));
        let gitea = pushed(sandbox.gitea().create_repo(path, "main"));
        let gitee = pushed(sandbox.gitee().create_repo(path, "main"));
        let signed = |delivery: &Delivery, entry, proof| {
            let mut body: Value = serde_json::from_slice(&delivery.body).unwrap();
            // Gitee sends its password once more in here.
            if let Proof::Password(password) = proof {
                body["password"] = password.into();
            }
            resigned(delivery, entry, body.to_string().into_bytes(), proof)
        };
        let hmac = |id| Proof::Hmac(self.canary(id));
        vec![
            signed(&github, "github", hmac("github/secrets")),
            signed(&github, "app", hmac("github/secrets#app")),
            signed(&gitlab, "gitlab", Proof::Webhook(fields::SIGNING_KEY)),
            signed(
                &gitlab,
                "plain",
                Proof::GitLabToken(self.canary("gitlab/secrets")),
            ),
            signed(&gitea, "gitea", hmac("gitea/secrets")),
            signed(
                &gitee,
                "gitee",
                Proof::Password(self.canary("gitee/secrets")),
            ),
        ]
    }

    /// Everything that is not to be found: the canaries, what is derived from them, and what
    /// the program proved itself with.
    fn search(&self) -> Search {
        let mut search = Search::default();
        search.add("the database's password", DATABASE_PASSWORD.as_bytes());
        search.add(
            "the installation's token",
            fields::INSTALLATION_TOKEN.as_bytes(),
        );
        search.add("GitLab's signing key", fields::SIGNING_KEY);
        for Canary { id, value } in &self.canaries {
            search.add(id, value.as_bytes());
            let lines = value.lines().filter(|line| !line.starts_with('-'));
            if value.contains('\n') {
                for line in lines.clone() {
                    search.add(&format!("a line of {id}"), line.as_bytes());
                }
                let der = STANDARD.decode(lines.collect::<String>()).unwrap();
                search.add(&format!("{id} as DER"), &der);
            }
        }
        for (name, stranger) in &self.strangers {
            let asked = stranger.asked();
            for proof in asked.iter().flat_map(echo::proofs) {
                search.add(&format!("what {name} was shown"), proof.as_bytes());
            }
        }
        search
    }

    /// Asserts that nothing that was left behind holds a secret, and that there was much to search.
    fn searched(&mut self) {
        let log = self.world.log();
        self.keep("log", log);
        for file in files_of_the_database(self.world.folder()) {
            let name = file.file_name().unwrap().to_string_lossy().into_owned();
            self.keep(&name, std::fs::read(&file).unwrap());
        }
        let found = self.search().found_in(self.left.path());
        assert!(
            found.is_empty(),
            "{} places:\n{}",
            found.len(),
            found
                .iter()
                .take(20)
                .cloned()
                .collect::<Vec<_>>()
                .join("\n\n")
        );
        self.none_told_another();
    }

    /// Asserts that no stranger was sent what is for others' eyes only.
    fn none_told_another(&self) {
        for (name, stranger) in &self.strangers {
            let text: String = stranger
                .asked()
                .iter()
                .map(|asked| format!("{asked:?} {}\n", String::from_utf8_lossy(&asked.body)))
                .collect();
            let own = self.own_of(name);
            for Canary { id, value } in &self.canaries {
                let head = &value[..value.len().min(12)];
                let sent = text.contains(head) && !value.starts_with("-----");
                assert!(!sent || own.contains(id.as_str()), "{name} was sent {id}");
            }
        }
    }

    /// The secrets that an entry may send.
    fn own_of(&self, name: &str) -> BTreeSet<&str> {
        let ids: &[&str] = match name {
            "github" => &["github/token"],
            "app" => &[],
            "gitlab" => &["gitlab/token"],
            "plain" => &["gitlab/token#plain"],
            "gitea" => &["gitea/token"],
            "gitee" => &["gitee/token"],
            "tencent" => &["tencent-cdn/secret_id", "tencent-cdn/token"],
            "ecdn" => &["tencent-ecdn/secret_id", "tencent-ecdn/token"],
            "qcloud" => &["qcloud/secret_id", "qcloud/token"],
            "huawei" => &["huawei-cdn/access_key", "huawei-cdn/security_token"],
            "huawei-token" => &["huawei-cdn/token"],
            "tencent-variables" => &["TENCENTCLOUD_SECRET_ID", "TENCENTCLOUD_TOKEN"],
            "huawei-variables" => &["HUAWEICLOUD_SDK_AK", "HUAWEICLOUD_SDK_SECURITY_TOKEN"],
            _ => &[],
        };
        ids.iter().copied().collect()
    }
}

fn client() -> reqwest::Client {
    purgehook::http::Outbound::new(purgehook::clock::Clock::system())
        .unwrap()
        .http
}

fn files_of_the_database(folder: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(folder).unwrap();
    let paths = files.map(|file| file.unwrap().path());
    paths
        .filter(|path| path.to_string_lossy().contains("purgehook.db"))
        .collect()
}

/// Everything that happens to a program that serves among strangers who repeat what they are sent.
async fn live_through_everything(scene: &mut Scene) {
    scene.world.start().await;
    let admin = scene.canary("server/admin_token").to_owned();
    let reader = scene.canary("server/read_token").to_owned();
    scene.world.read_with(&reader);
    let base = scene.world.base();

    let mut runs = Vec::new();
    let deliveries = scene.deliveries();
    for delivery in &deliveries {
        let id = scene.world.accepted(delivery).await;
        let entry = delivery.path.rsplit('/').next().unwrap().to_owned();
        let (_, run) = scene
            .world
            .get(&format!("/api/v1/runs/{id}"))
            .await
            .unwrap();
        assert_eq!(run["site"], entry, "a secret opens its own entry's sites");
        runs.push((entry, id));
        // Signed wrongly, with the right secret where it does not belong.
        let mut forged = delivery.clone();
        forged.body.push(b' ');
        forged.headers.retain(|(name, _)| !name.contains("Token"));
        let url = format!("{base}{}?token={}", forged.path, url_encoded(&admin));
        let mut request = client().post(url).body(forged.body);
        for (name, value) in &forged.headers {
            request = request.header(name, value);
        }
        scene
            .fetch("forged", request.header("X-Gitlab-Token", &admin))
            .await;
    }
    // The right words for another entry with the same repository.
    let github = &deliveries[0];
    let secret = Proof::Hmac(scene.canary("github/secrets"));
    let elsewhere = resigned(github, "app", github.body.clone(), secret);
    assert_eq!(scene.world.send(&elsewhere).await.0, 401);
    for round in 0..ROUNDS {
        for (entry, id) in &runs {
            let run = scene.world.ended(id).await;
            scene.keep("run", run.to_string());
            scene.get(&format!("/runs/{id}")).await;
            let shown = run.to_string();
            assert_ne!(run["state"], "succeeded", "{run:#}");
            if round == 0 {
                assert!(
                    shown.contains("[hidden]"),
                    "{entry}: nothing was repeated: {run:#}"
                );
            }
            if entry == "github" {
                let purges = run["purges"].as_array().unwrap();
                for cdn in CDNS {
                    let mut of_cdn = purges.iter().filter(|purge| purge["cdn"] == cdn);
                    assert!(
                        of_cdn.any(|purge| purge["error"].to_string().contains("[hidden]")),
                        "{cdn} repeated nothing in round {round}: {run:#}"
                    );
                }
            }
            let url = format!("{base}/api/v1/runs/{id}/retry");
            let request = client()
                .post(&url)
                .header("Authorization", format!("Bearer {admin}"));
            let answer = scene.fetch("retry", request).await;
            assert!(answer.contains("accepted"), "{answer}");
        }
    }
    let id = runs[0].1.clone();
    for wrong in ["", "x", "Basic", "Bearer"] {
        let url = format!(
            "{base}/api/v1/runs/{id}/retry?access_token={}",
            url_encoded(&admin)
        );
        let request = client()
            .post(url)
            .header("Cookie", format!("admin_token={}", url_encoded(&admin)))
            .header("Authorization", format!("{wrong} x{admin}"))
            .body(format!("admin_token={admin}"));
        scene.fetch("wrong", request).await;
    }
    for path in [
        "/",
        "/api/v1/runs",
        "/metrics",
        "/readyz",
        "/healthz",
        "/nothing",
        "/hooks/none",
    ] {
        scene.get(path).await;
    }
    // What someone asks for is shown to them alone, and not logged.
    let asked_for = format!("/?site={}", url_encoded(&admin));
    scene.world.text(&asked_for).await;
    for args in [
        &["runs"][..],
        &["runs", "--json"],
        &["retry", &id],
        &["plan", "--delivery", "none"],
        &["export", &id],
        &["run", "www"],
    ] {
        scene.run(args, "");
    }
    // Something in the file that it cannot be used with.
    let rules = std::fs::read_to_string(scene.world.rules_path()).unwrap();
    let broken = rules
        .replace("    token", "    tokenn")
        .replace("secret", "secrett");
    std::fs::write(scene.world.rules_path(), broken).unwrap();
    scene.world.answers("/", "is invalid").await;
    scene.get("/").await;
    scene.get("/readyz").await;
    std::fs::write(scene.world.rules_path(), rules).unwrap();
    scene.world.answers("/readyz", r#""reload":"ok""#).await;
    assert!(scene.world.terminate().await.success());

    for (name, stranger) in &scene.strangers {
        let proofs = stranger.asked().iter().flat_map(echo::proofs).count();
        let asked = stranger.asked().len();
        assert!(asked >= echo::WAYS, "{name} was asked {asked} times");
        let needs_none = ["gitlab", "plain", "huawei-token"].contains(name);
        assert!(needs_none || proofs > 0, "{name} was shown no proof");
    }
}

fn url_encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

#[test]
fn every_secret_field_has_a_canary() {
    let schema = include_str!("../../../schema/rules.schema.json");
    let known = fields::of_schema(&serde_json::from_str(schema).unwrap());
    let planted: BTreeSet<String> = fields::canaries()
        .into_iter()
        .filter(|canary| canary.id.contains('/'))
        .map(|canary| canary.id.split('#').next().unwrap().to_owned())
        .collect();

    assert_eq!(known, planted);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_logs_pages_errors_or_a_sqlite_database() {
    let mut scene = Scene::new(Way::Variable).await;

    live_through_everything(&mut scene).await;

    scene.searched();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_logs_pages_errors_or_a_postgresql_database() {
    let mut scene = Scene::new(Way::File).await;
    let address = postgres::new_database().await;
    let with_password = format!("//purgehook:{DATABASE_PASSWORD}@");
    *scene.world.database() = address.replace("//purgehook@", &with_password);

    live_through_everything(&mut scene).await;

    let dump = Command::new(pg_dump()).arg(&address).output().unwrap();
    assert!(dump.status.success(), "{dump:?}");
    assert!(dump.stdout.len() > 10_000);
    scene.keep("dump", dump.stdout);
    scene.searched();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_what_a_success_leaves_behind() {
    let mut world = World::new().await;
    world.set_variable("RUST_LOG", "trace");
    world.start().await;
    let website = world.website();
    website.commit("main", &[Change::write("content/about.md", "second")]);
    let run = world.accepted(&website.push("main").unwrap()).await;
    let ended = world.ended(&run).await;
    assert_eq!(ended["state"], "succeeded", "{ended:#}");

    let left = TempDir::new().unwrap();
    let mut shown = world.log();
    assert!(shown.len() > 100_000, "it is not at trace: {}", shown.len());
    for path in ["/", &format!("/runs/{run}"), "/api/v1/runs", "/metrics"] {
        shown.push_str(&world.text(path).await);
    }
    std::fs::write(left.path().join("shown"), shown).unwrap();
    for file in files_of_the_database(world.folder()) {
        std::fs::copy(&file, left.path().join(file.file_name().unwrap())).unwrap();
    }
    let (github, gitlab) = (world.sandbox.github(), world.sandbox.gitlab());
    let tencent = world.sandbox.tencent_cdn();
    let mut search = Search::default();
    for secret in [
        github.webhook_secret(),
        github.token(),
        &gitlab.signing_token(),
        gitlab.token(),
        tencent.secret_id(),
        tencent.secret_key(),
        "an-admin-token-of-the-tests",
    ] {
        search.add(secret, secret.as_bytes());
    }
    let found = search.found_in(left.path());
    assert!(found.is_empty(), "{}", found.join("\n\n"));
}

/// Debian keeps it out of PATH where only the server was asked for.
fn pg_dump() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter();
    let mut paths: Vec<PathBuf> = versions
        .flatten()
        .flatten()
        .map(|version| version.path().join("bin/pg_dump"))
        .filter(|path| path.exists())
        .collect();
    paths.sort();
    paths.pop().unwrap_or_else(|| "pg_dump".into())
}

/// Something done to the rules file, or to the surroundings, that commands complain about.
type Damage = (&'static str, fn(String) -> String);

#[tokio::test(flavor = "multi_thread")]
async fn no_command_shows_a_secret_whatever_is_wrong_with_the_file() {
    let damages: [Damage; 7] = [
        ("none", |rules| rules),
        ("misspelt keys", |rules| {
            let rules = rules
                .replace("    token", "    tokne")
                .replace("secrets", "secretts");
            rules
                .replace("_key", "_kye")
                .replace("admin_token", "admin_tokne")
        }),
        ("lists", |rules| {
            let lines = rules.lines().map(|line| match line.split_once(": ") {
                Some((key, value)) if is_secret(key) => format!("{key}: [[{value}]]"),
                _ => line.to_owned(),
            });
            lines.collect::<Vec<_>>().join("\n")
        }),
        ("mappings", |rules| {
            let lines = rules.lines().map(|line| match line.split_once(": ") {
                Some((key, value)) if is_secret(key) => format!("{key}: {{value: {value}}}"),
                _ => line.to_owned(),
            });
            lines.collect::<Vec<_>>().join("\n")
        }),
        ("wrong kinds", |rules| rules.replace("kind: ", "kind: x")),
        ("no YAML", |rules| {
            rules.replace("sites:\n", "sites: [\n") + "\t{"
        }),
        ("secrets as other values", |rules| {
            let secrets = rules
                .lines()
                .filter_map(|line| line.split_once("secrets: "));
            let secret = secrets.map(|(_, value)| value.to_owned()).next();
            let secret = secret.unwrap_or_default();
            rules
                .replace("branches: [main]", &format!("branches: [{secret}]"))
                .replace(
                    "public_url: https://purge.example.com",
                    &format!("public_url: {secret}"),
                )
        }),
    ];
    let mut scene = Scene::new(Way::Variable).await;
    let password = format!("postgres://user:{DATABASE_PASSWORD}@");
    let option = format!("passwort={DATABASE_PASSWORD}&password={DATABASE_PASSWORD}");
    let misspelt = format!("{password}db/x?{option}&sslmode=nonsense");
    let nowhere = format!("{password}nowhere:port/x");
    for first in [Way::Variable, Way::File, Way::Written] {
        for (name, damage) in damages {
            scene.write_rules(first, |rules| damage(rules).replace("<database>", ""));
            let commands = [
                &["check"][..],
                &["check", "--json"],
                &["serve", "--database", &misspelt],
                &["plan", "--site", "github", "--files", "-", "--json"],
                &["explain", "static/app.css"],
                &["runs", "--database", &misspelt],
                &["retry", "x", "--database", &nowhere],
            ];
            // All read the file in one way; the others are of interest where it can be read.
            let count = if name == "none" { commands.len() } else { 3 };
            for args in &commands[..count] {
                let code = scene.run(args, "M\tstatic/app.css\n");
                assert!(matches!(code, Some(0 | 1)), "{name}: {args:?}: {code:?}");
                if args[0] == "check" {
                    assert_eq!(code == Some(0), name == "none", "{name}");
                }
            }
        }
    }
    scene
        .world
        .set_variable("PURGEHOOK_DATABASE", &format!("{password}db/x"));
    for command in [
        "serve", "check", "plan", "explain", "runs", "retry", "run", "--help", "nonsense",
    ] {
        scene.run(&[command, "--help"], "");
        scene.run(&[command, "--nonsense"], "");
    }
    // Nobody listens there.
    scene.run(
        &[
            "serve",
            "--database",
            &format!("{password}127.0.0.1:1/x?{option}"),
        ],
        "",
    );
    // As on a terminal, in colours and with a readable log.
    let (program, rules) = (env!("CARGO_BIN_EXE_purgehook"), scene.world.rules_path());
    for arguments in ["check", "serve --listen 127.0.0.1:1"] {
        let shown = scene.world.in_terminal(&format!(
            "{program} {arguments} --rules {}",
            rules.display()
        ));
        assert!(!shown.is_empty());
        scene.keep("terminal", shown);
    }

    scene.searched();
}

/// Whether a line's key is one of those that hold a secret.
fn is_secret(key: &str) -> bool {
    let key = key.trim();
    let words = ["secret", "token", "_key", "password"];
    words.iter().any(|word| key.contains(word)) && !key.ends_with("_file")
}
