//! `purgehook demo`: sends signed pushes through the whole program, against the sandbox.
//!
//! Only the other side is simulated. Receiver, store, engine and clients are those of `serve`, and the sandbox
//! checks their signatures and limits as the real services do.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;
use tokio::sync::watch;

use super::logging;
use crate::clock::Clock;
use crate::config::{self, Config, Reloads};
use crate::engine::Engine;
use crate::http::Outbound;
use crate::purge::{PurgeKind, PurgeState};
use crate::redact::Redactor;
use crate::run::{RunId, RunState};
use crate::sandbox::{Area, Change, Delivery, Repository, Sandbox, TargetOutcome, When};
use crate::server;
use crate::settings::Environment;
use crate::store::Store;

/// How long one scene may take before the demo is aborted.
const SCENE_LIMIT: Duration = Duration::from_secs(60);
/// How often to check the progress.
const LOOK: Duration = Duration::from_millis(100);

/// Runs the demo, then serves the pages until Ctrl-C (or ends, with `exit`).
pub async fn run(listen: &str, exit: bool) -> anyhow::Result<ExitCode> {
    let _logging = logging::start("error", Redactor::default());
    let clock = Clock::system();
    let sandbox = Sandbox::start(clock.clone())
        .await
        .context("cannot start the sandbox")?;
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let database = format!("sqlite://{}", folder.path().join("demo.db").display());
    let config = configure(&sandbox, listen, &database)?;
    let (_keep, config_now) = watch::channel(Arc::new(config));
    let store = Arc::new(Store::open(&database).await?);
    let engine = Engine::new(config_now, store, clock.clone());
    let (stop, stopping) = watch::channel(false);
    let running = server::start(
        Arc::clone(&engine),
        listen,
        watch::channel(Reloads::default()).1,
        stopping.clone(),
    )
    .with_context(|| {
        format!(
            "cannot listen on {listen}; try another address: purgehook demo --listen 127.0.0.1:8090"
        )
    })?;
    let address = running
        .addresses()
        .first()
        .copied()
        .context("the server has no address")?;
    let steps = tokio::spawn(Arc::clone(&engine).run(stopping));
    let stage = Stage {
        engine,
        clock,
        base: format!("http://{address}"),
    };

    println!(
        "Stand-ins for GitHub, GitLab and Tencent Cloud CDN are up, checking signatures and limits."
    );
    println!("The pages are at {}\n", stage.base);
    play(&stage, &sandbox).await?;

    if !exit {
        println!("Look around at {} - Ctrl-C ends the demo.", stage.base);
        tokio::signal::ctrl_c().await?;
    }
    stop.send_replace(true);
    running.stopped().await?;
    steps.await?;
    sandbox.stop().await;
    Ok(ExitCode::SUCCESS)
}

/// A configuration for the sandbox, read from a rules file like any other.
fn configure(sandbox: &Sandbox, listen: &str, database: &str) -> anyhow::Result<Config> {
    let (github, gitlab, tencent) = (sandbox.github(), sandbox.gitlab(), sandbox.tencent_cdn());
    let values = [
        ("DATABASE", database.to_owned()),
        ("PUBLIC_URL", format!("http://{listen}")),
        ("GITHUB_URL", github.url()),
        ("GITHUB_SECRET", github.webhook_secret().to_owned()),
        ("GITHUB_TOKEN", github.token().to_owned()),
        ("GITLAB_URL", gitlab.url()),
        ("GITLAB_SIGNING_TOKEN", gitlab.signing_token()),
        ("GITLAB_TOKEN", gitlab.token().to_owned()),
        ("TENCENT_URL", tencent.url()),
        ("TENCENT_ID", tencent.secret_id().to_owned()),
        ("TENCENT_KEY", tencent.secret_key().to_owned()),
    ];
    let environment = Environment::of(values.iter().map(|(name, value)| (*name, value.as_str())));
    let outbound = Outbound::new(Clock::system())?;
    config::read(
        "demo.yaml",
        include_str!("demo.yaml"),
        environment,
        &outbound,
        config::ALL_KINDS,
    )
    .map(|loaded| loaded.config)
    .map_err(|problems| anyhow::anyhow!("{}", problems.render(false)))
}

/// Plays the scenes one after the other.
async fn play(stage: &Stage, sandbox: &Sandbox) -> anyhow::Result<()> {
    let cdn = sandbox.tencent_cdn();
    cdn.add_domain("www.example.com", Area::Mainland);
    cdn.add_domain("docs.example.com", Area::Mainland);
    cdn.set_outcome("/broken", When::Always, TargetOutcome::Fail);

    let website = sandbox.github().create_repo("acme/website", "main");
    website.commit(
        "main",
        &[
            Change::write("content/_index.md", "Welcome"),
            Change::write("content/posts/hello/index.md", "Hello"),
            Change::write("static/app.css", "body {}"),
            Change::write("static/broken.js", "x"),
            Change::write("layouts/base.html", "<html>"),
            Change::write("README.md", "The site"),
        ],
    );
    // The branch existed before purgehook: its first push is not delivered.
    let _ = website.push("main");
    let docs = sandbox.gitlab().create_repo("acme/handbook/docs", "main");
    docs.commit(
        "main",
        &[
            Change::write("docs/start.md", "Start"),
            Change::write("docs/old.md", "Old"),
        ],
    );
    let _ = docs.push("main");

    stage.scene("GitHub: a post and a stylesheet change (and the README, which no page shows)");
    website.commit(
        "main",
        &[
            Change::write("content/posts/hello/index.md", "Hello, world"),
            Change::write("static/app.css", "body { color: teal }"),
            Change::write("README.md", "Our site"),
        ],
    );
    let delivery = stage.push(&website, "main").await?;

    stage.scene("GitHub: the same delivery again");
    stage.send(&sandbox.github().again(&delivery)).await?;
    println!();

    stage.scene("GitHub: a layout changes, so the whole site is purged");
    website.commit(
        "main",
        &[Change::write("layouts/base.html", "<html lang=en>")],
    );
    stage.push(&website, "main").await?;

    stage.scene("GitLab: a page is renamed; its old address must turn 404 everywhere");
    docs.commit("main", &[Change::rename("docs/old.md", "docs/new.md")]);
    stage.push(&docs, "main").await?;

    stage.scene("GitHub: one of two files cannot be purged, and the commit says so");
    website.commit(
        "main",
        &[
            Change::write("static/broken.js", "y"),
            Change::write("content/_index.md", "Welcome back"),
        ],
    );
    stage.push(&website, "main").await?;

    stage.scene("A forged push: signed with another secret");
    website.commit("main", &[Change::write("content/_index.md", "Gotcha")]);
    let mut forged = website.push("main").context("nothing to push")?;
    for (name, value) in &mut forged.headers {
        if name.eq_ignore_ascii_case("X-Hub-Signature-256") {
            *value = format!("sha256={}", "0".repeat(64));
        }
    }
    stage.send(&forged).await?;
    Ok(())
}

/// The program in the demo, and how to watch it.
struct Stage {
    engine: Arc<Engine>,
    clock: Clock,
    base: String,
}

impl Stage {
    fn scene(&self, what: &str) {
        println!("* {what}");
    }

    /// Pushes a branch, sends the forge's delivery, and watches the runs.
    async fn push(&self, repo: &Repository, branch: &str) -> anyhow::Result<Delivery> {
        let delivery = repo.push(branch).context("nothing to push")?;
        let answer = self.send(&delivery).await?;
        let ids = answer
            .get("runs")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        for run in ids {
            let id = run
                .get("id")
                .and_then(Value::as_str)
                .context("an answer without a run's id")?;
            self.watch(repo, &RunId(id.to_owned())).await?;
        }
        println!();
        Ok(delivery)
    }

    async fn send(&self, delivery: &Delivery) -> anyhow::Result<Value> {
        let (status, answer) = delivery.send(&self.base).await?;
        let said = ["why", "error"]
            .into_iter()
            .find_map(|key| answer.get(key)?.as_str());
        println!(
            "  POST {} -> {status} {}{}",
            delivery.path,
            answer.get("outcome").and_then(Value::as_str).unwrap_or("?"),
            said.map(|said| format!(": {said}")).unwrap_or_default()
        );
        Ok(answer)
    }

    /// Shows a run's progress until it ends and its last status is on the commit.
    async fn watch(&self, repo: &Repository, id: &RunId) -> anyhow::Result<()> {
        let store = self.engine.store();
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stdout());
        let style = ProgressStyle::with_template("  [{bar:24}] {pos}/{len} {msg}")?;
        bar.set_style(style.progress_chars("=> "));
        let deadline = self.clock.now() + SCENE_LIMIT;
        let run = loop {
            if self.clock.now() > deadline {
                bail!("run {id} did not end within {} s", SCENE_LIMIT.as_secs());
            }
            let run = store
                .run(id)
                .await?
                .with_context(|| format!("run {id} is gone"))?;
            let counts = store.purge_counts(id).await?;
            bar.set_length(counts.count(|_, _| true));
            bar.set_position(counts.count(|_, state| state.is_final()));
            bar.set_message(run.summary.clone());
            let told = store
                .statuses(id)
                .await?
                .last()
                .is_some_and(|last| last.posted_at.is_some());
            if run.state.is_final() && told {
                break run;
            }
            self.clock.sleep(LOOK).await;
        };
        bar.finish_and_clear();

        for purge in store.purges(id, 0, 50).await? {
            let mark = if purge.state == PurgeState::Done {
                "ok    "
            } else {
                "FAILED"
            };
            let kind = match purge.planned.kind {
                PurgeKind::Url => "url      ",
                PurgeKind::Directory => "directory",
                PurgeKind::Prefetch => "prefetch ",
            };
            let why = purge.planned.path.as_deref().unwrap_or("everything");
            println!(
                "  {mark} {kind} {}  <- {} ({why})",
                purge.planned.target, purge.planned.rule
            );
        }
        for status in repo.statuses(run.commit.as_str()) {
            let description = status.description.unwrap_or_default();
            println!(
                "  status on {}: {} - {description}",
                run.commit.short(),
                status.state
            );
        }
        let end = if run.state == RunState::Succeeded {
            "succeeded"
        } else {
            "did not succeed"
        };
        println!("  the run {end}: {}/runs/{id}", self.base);
        Ok(())
    }
}
