//! A server in dry-run mode.

use purgehook::sandbox::{Change, Service};

use crate::world::{World, targets};

#[tokio::test]
async fn a_server_in_dry_run_mode_shows_what_it_would_purge_and_changes_nothing_anywhere() {
    let mut world = World::new().await;
    world.edit_rules("server:\n", "server:\n  mode: dry-run\n");
    world.start().await;
    let website = world.website();

    let commit = website.commit(
        "main",
        &[
            Change::write("content/about.md", "second"),
            Change::write("static/app.css", "second"),
        ],
    );
    let run = world.accepted(&website.push("main").unwrap()).await;
    let run = world.ended(&run).await;

    assert_eq!(run["state"], "succeeded", "{run:#}");
    assert_eq!(run["mode"], "dry-run");
    assert_eq!(
        run["summary"],
        "Would have purged 2 URLs and 1 prefetch on tencent"
    );
    assert_eq!(
        targets(&run, "url"),
        [
            "https://www.example.com/about/",
            "https://www.example.com/app.css"
        ]
    );
    for purge in run["purges"].as_array().unwrap() {
        assert_eq!(purge["state"], "dry_run");
        assert!(purge["task"].is_null());
    }
    for status in run["statuses"].as_array().unwrap() {
        assert!(status["posted_at"].is_null(), "{status}");
    }
    assert!(website.statuses(&commit).is_empty());
    let calls = world.sandbox.log();
    assert!(
        calls
            .iter()
            .all(|call| matches!(call.service, Service::GITHUB | Service::GITLAB)),
        "{calls:?}"
    );
    assert!(
        calls.iter().all(|call| call.summary.starts_with("GET ")),
        "{calls:?}"
    );

    let page = world
        .text(&format!("/runs/{}", run["id"].as_str().unwrap()))
        .await;
    assert!(page.contains("Nothing was purged"), "{page}");
    let dashboard = world.text("/").await;
    assert!(dashboard.contains("Dry run."), "{dashboard}");
    let metrics = world.text("/metrics").await;
    for line in [
        "purgehook_dry_run_purges{cdn=\"tencent\",kind=\"url\"} 2",
        "purgehook_site_dry_run{site=\"www\"} 1",
    ] {
        assert!(metrics.contains(line), "{metrics}");
    }

    // Live from the next start on: what was owed is purged without another push.
    world.terminate().await;
    world.edit_rules("  mode: dry-run\n", "");
    world.start().await;
    world
        .until("the commit shows a success", |_| {
            let last = website.statuses(&commit).pop();
            last.is_some_and(|status| status.state == "success")
        })
        .await;
    let purged = world.sandbox.tencent_cdn().purged();
    assert_eq!(purged.len(), 3, "{purged:?}");
}
