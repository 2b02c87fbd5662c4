//! The rules file, read again while the program serves.

use std::time::{Duration, Instant};

use purgehook::sandbox::{Change, Fault, Repository, Service, When};
use serde_json::Value;

use crate::world::{World, targets};

const LIMIT: Duration = Duration::from_secs(60);

/// Waits until a metric has a value.
async fn until_metric(world: &World, line: &str) {
    let started = Instant::now();
    while !world
        .text("/metrics")
        .await
        .lines()
        .any(|shown| shown == line)
    {
        assert!(started.elapsed() < LIMIT, "{line}\n{}", world.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn run_of(world: &World, website: &Repository, path: &str, content: &str) -> Value {
    website.commit("main", &[Change::write(path, content)]);
    let run = world.accepted(&website.push("main").unwrap()).await;
    world.ended(&run).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_rules_file_is_taken_up_by_itself_and_on_sighup() {
    let world = World::serving().await;
    let website = world.website();

    world.edit_rules("strip: content/", "strip: content/posts/");
    until_metric(
        &world,
        "purgehook_rules_reloads_total{outcome=\"taken_up\"} 1",
    )
    .await;
    let run = run_of(&world, &website, "content/posts/new.md", "1").await;
    assert_eq!(
        targets(&run, "url"),
        ["https://www.example.com/new/"],
        "{run:#}"
    );

    // Editors write a new file and rename it; so does a ConfigMap's mount.
    let path = world.rules_path();
    let rules = std::fs::read_to_string(&path).unwrap();
    let beside = path.with_extension("new");
    std::fs::write(&beside, rules.replace("content/posts/", "content/")).unwrap();
    std::fs::rename(&beside, &path).unwrap();
    until_metric(
        &world,
        "purgehook_rules_reloads_total{outcome=\"taken_up\"} 2",
    )
    .await;
    let run = run_of(&world, &website, "content/posts/new.md", "2").await;
    assert_eq!(targets(&run, "url"), ["https://www.example.com/posts/new/"]);

    // Read again although nothing changed: an environment file may have.
    world.signal(0, "HUP");
    until_metric(
        &world,
        "purgehook_rules_reloads_total{outcome=\"taken_up\"} 3",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_rules_file_keeps_the_old_rules_and_log_metric_and_page_say_so() {
    let world = World::serving().await;
    let website = world.website();
    let good = std::fs::read_to_string(world.rules_path()).unwrap();

    world.edit_rules("ignore: [\"**/README.md\"]", "ignor: [\"**/README.md\"]");
    until_metric(&world, "purgehook_rules_last_reload_successful 0").await;

    let run = run_of(&world, &website, "content/about.md", "1").await;
    assert_eq!(targets(&run, "url"), ["https://www.example.com/about/"]);
    let page = world.text("/").await;
    assert!(page.contains("The rules file on disk is invalid"), "{page}");
    assert!(page.contains("ignor"), "{page}");
    assert!(world.log().contains("the rules file cannot be used"));
    let (ready, checks) = world.get("/readyz").await.unwrap();
    assert_eq!(ready, 200, "the rules in force are good: {checks}");
    assert_ne!(checks["reload"], "ok");

    std::fs::write(world.rules_path(), good).unwrap();
    until_metric(&world, "purgehook_rules_last_reload_successful 1").await;
    assert!(!world.text("/").await.contains("cannot be used"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_keeps_the_rules_it_was_planned_with() {
    let world = World::serving().await;
    let website = world.website();
    // It is planned, and cannot be handed over until the rules have changed.
    world.sandbox.faults().add(
        Service::TENCENT_CDN,
        "PurgeUrlsCache",
        When::Times(2),
        Fault::Throttle,
    );
    website.commit("main", &[Change::write("content/about.md", "1")]);
    let run = world.accepted(&website.push("main").unwrap()).await;
    let started = Instant::now();
    loop {
        let (_, shown) = world.get(&format!("/api/v1/runs/{run}")).await.unwrap();
        if !shown["purges"].as_array().unwrap().is_empty() {
            break;
        }
        assert!(started.elapsed() < LIMIT, "{shown:#}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    world.edit_rules(
        "strip: content/\n        urls: [\"/{page}\"]",
        "urls: [\"/other/{page}\"]",
    );
    until_metric(
        &world,
        "purgehook_rules_reloads_total{outcome=\"taken_up\"} 1",
    )
    .await;
    let ended = world.ended(&run).await;

    assert_eq!(ended["state"], "succeeded", "{ended:#}");
    assert_eq!(targets(&ended, "url"), ["https://www.example.com/about/"]);
    let next = run_of(&world, &website, "content/more.md", "1").await;
    assert!(
        targets(&next, "url").contains(&"https://www.example.com/other/content/more/".to_owned()),
        "{next:#}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_takes_a_restart_is_said_and_not_done() {
    let world = World::serving().await;

    world.edit_rules("listen: ${LISTEN}", "listen: 127.0.0.1:1");
    until_metric(
        &world,
        "purgehook_rules_reloads_total{outcome=\"taken_up\"} 1",
    )
    .await;

    let page = world.text("/").await;
    assert!(page.contains("`server.listen` has changed"), "{page}");
}
