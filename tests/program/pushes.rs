//! Pushes, from the webhook to the status on the commit.

use purgehook::purge::PurgeKind;
use purgehook::sandbox::{Change, Fault, SUBMODULE, Service, TargetOutcome, When};

use crate::world::{World, states, targets};

#[tokio::test]
async fn a_signed_github_push_becomes_purges_and_a_status_on_the_commit() {
    let world = World::serving().await;
    let website = world.website();

    let commit = website.commit(
        "main",
        &[
            Change::write("content/about.md", "second"),
            Change::write("static/app.css", "second"),
            Change::write("README.md", "second"),
        ],
    );
    let run = world.accepted(&website.push("main").unwrap()).await;
    let run = world.ended(&run).await;

    assert_eq!(run["state"], "succeeded");
    assert_eq!(run["site"], "www");
    assert_eq!(run["repo"], "github:acme/website");
    assert_eq!(run["ref"], "refs/heads/main");
    assert_eq!(run["commit"], commit.as_str());
    assert_eq!(run["changes"]["proof"], "payload");
    assert_eq!(
        targets(&run, "url"),
        [
            "https://www.example.com/about/",
            "https://www.example.com/app.css"
        ]
    );
    assert_eq!(
        targets(&run, "prefetch"),
        ["https://www.example.com/app.css"]
    );
    for purge in run["purges"].as_array().unwrap() {
        assert_eq!(purge["state"], "done");
        assert!(purge["task"].is_string(), "{purge}");
    }
    let shown = website.statuses(&commit);
    assert_eq!(states(&shown).first(), Some(&"pending"));
    assert_eq!(states(&shown).last(), Some(&"success"));
    let last = shown.last().unwrap();
    assert_eq!(last.context, "cdn/purge");
    assert_eq!(
        last.description.as_deref(),
        Some("Purged 2 URLs and 1 prefetch on tencent")
    );
    let page = format!(
        "https://purge.example.com/runs/{}",
        run["id"].as_str().unwrap()
    );
    assert_eq!(last.target_url, Some(page));
}

#[tokio::test]
async fn a_prefetch_goes_out_only_when_the_purge_of_its_url_is_done() {
    let world = World::serving().await;
    let website = world.website();

    website.commit("main", &[Change::write("static/app.css", "second")]);
    let run = world.accepted(&website.push("main").unwrap()).await;
    world.ended(&run).await;

    let purged = world.sandbox.tencent_cdn().purged();
    let url = purged.iter().find(|p| p.kind == PurgeKind::Url).unwrap();
    let prefetch = purged
        .iter()
        .find(|p| p.kind == PurgeKind::Prefetch)
        .unwrap();
    assert!(
        prefetch.at.duration_since(url.at).as_millis() >= 300,
        "the purge takes 300 ms"
    );
}

#[tokio::test]
async fn a_signed_gitlab_push_purges_the_old_name_of_a_renamed_file_too() {
    let world = World::serving().await;
    let docs = world
        .sandbox
        .gitlab()
        .create_repo("acme/handbook/docs", "main");
    docs.commit("main", &[Change::write("docs/old.md", "text")]);
    docs.push("main");

    let commit = docs.commit("main", &[Change::rename("docs/old.md", "docs/new.md")]);
    let run = world.accepted(&docs.push("main").unwrap()).await;
    let run = world.ended(&run).await;

    assert_eq!(run["state"], "succeeded");
    assert_eq!(run["changes"]["proof"], "compare");
    assert_eq!(
        targets(&run, "url"),
        [
            "https://docs.example.com/new/",
            "https://docs.example.com/old/"
        ]
    );
    assert_eq!(states(&docs.statuses(&commit)).last(), Some(&"success"));
    assert_eq!(
        docs.statuses(&commit).last().unwrap().context,
        "purgehook/docs"
    );
}

#[tokio::test]
async fn nothing_to_purge_is_a_success_that_says_so() {
    let world = World::serving().await;
    let website = world.website();

    let commit = website.commit("main", &[Change::write("README.md", "second")]);
    let run = world.accepted(&website.push("main").unwrap()).await;
    let run = world.ended(&run).await;

    assert_eq!(run["state"], "succeeded");
    let last = website.statuses(&commit).pop().unwrap();
    assert_eq!(last.state, "success");
    assert_eq!(
        last.description.as_deref(),
        Some("Nothing to purge: 1 file changed")
    );
}

#[tokio::test]
async fn a_purge_that_the_cdn_fails_at_twice_is_a_failure_that_names_it() {
    let world = World::serving().await;
    world
        .sandbox
        .tencent_cdn()
        .set_outcome("app.js", When::Always, TargetOutcome::Fail);
    let website = world.website();

    let commit = website.commit(
        "main",
        &[
            Change::write("static/app.js", "second"),
            Change::write("content/about.md", "second"),
        ],
    );
    let run = world.accepted(&website.push("main").unwrap()).await;
    let run = world.ended(&run).await;

    assert_eq!(run["state"], "failed");
    let last = website.statuses(&commit).pop().unwrap();
    assert_eq!(last.state, "failure");
    assert!(
        last.description
            .unwrap()
            .contains("https://www.example.com/app.js")
    );
    let submissions = world.sandbox.tencent_cdn().purged_urls(PurgeKind::Url);
    assert_eq!(
        submissions
            .iter()
            .filter(|url| url.ends_with("/app.js"))
            .count(),
        2
    );
    assert!(
        world
            .sandbox
            .tencent_cdn()
            .purged_urls(PurgeKind::Prefetch)
            .is_empty(),
        "what could not be purged is not filled again"
    );
}

#[tokio::test]
async fn the_same_delivery_again_is_a_duplicate_and_a_failed_run_is_tried_again() {
    let world = World::serving().await;
    world
        .sandbox
        .tencent_cdn()
        .set_outcome("app.css", When::Times(2), TargetOutcome::Fail);
    let website = world.website();
    website.commit("main", &[Change::write("static/app.css", "second")]);
    let delivery = website.push("main").unwrap();
    let first = world.accepted(&delivery).await;
    assert_eq!(world.ended(&first).await["state"], "failed");

    let again = world.sandbox.github().again(&delivery);
    let retried = world.accepted(&again).await;
    let run = world.ended(&retried).await;

    assert_eq!(retried, first);
    assert_eq!(run["state"], "succeeded");
    let (status, answer) = world.send(&again).await;
    assert_eq!((status, &answer["outcome"]), (200, &"duplicate".into()));
    assert_eq!(answer["runs"][0]["id"], first.as_str());
}

#[tokio::test]
async fn a_branch_that_goes_there_and_back_and_there_again_makes_three_runs() {
    let world = World::serving().await;
    let website = world.website();
    let there = website.commit("main", &[Change::write("content/about.md", "second")]);
    let first = website.push("main").unwrap();
    let before = first_before(&first.body);

    let one = world.accepted(&first).await;
    website.reset("main", &before);
    let two = world.accepted(&website.push("main").unwrap()).await;
    website.reset("main", &there);
    let three = world.accepted(&website.push("main").unwrap()).await;

    assert!(one != two && two != three && one != three);
    for run in [one, two, three] {
        let run = world.ended(&run).await;
        assert!(
            ["succeeded", "superseded"].contains(&run["state"].as_str().unwrap()),
            "{run:#}"
        );
    }
}

#[tokio::test]
async fn a_throttling_cdn_is_waited_for() {
    let world = World::serving().await;
    world.sandbox.faults().add(
        Service::TENCENT_CDN,
        "PurgeUrlsCache",
        When::Times(2),
        Fault::Throttle,
    );
    let website = world.website();

    website.commit("main", &[Change::write("content/about.md", "second")]);
    let run = world.accepted(&website.push("main").unwrap()).await;

    assert_eq!(world.ended(&run).await["state"], "succeeded");
}

#[tokio::test]
async fn a_batch_whose_answer_is_lost_is_found_in_the_history_and_not_sent_twice() {
    let world = World::serving().await;
    world.sandbox.faults().add(
        Service::TENCENT_CDN,
        "PurgeUrlsCache",
        When::Times(1),
        Fault::DropAfter,
    );
    let website = world.website();

    website.commit("main", &[Change::write("content/about.md", "second")]);
    let run = world.accepted(&website.push("main").unwrap()).await;

    assert_eq!(world.ended(&run).await["state"], "succeeded");
    assert_eq!(
        world
            .sandbox
            .tencent_cdn()
            .purged_urls(PurgeKind::Url)
            .len(),
        1
    );
}

#[tokio::test]
async fn urls_that_the_cdn_refuses_are_found_among_the_others_which_go_through() {
    let world = World::serving().await;
    let blog = world.sandbox.github().create_repo("acme/blog", "main");
    blog.commit("main", &[Change::write("README.md", "first")]);
    blog.push("main");
    let posts: Vec<_> = (0..6)
        .map(|n| Change::write(format!("posts/{n}.md"), "second"))
        .collect();
    let commit = blog.commit("main", &posts);

    let run = world.accepted(&blog.push("main").unwrap()).await;
    let run = world.ended(&run).await;

    let on = |host: &str, state: &str| {
        let purges = run["purges"].as_array().unwrap().iter();
        purges
            .filter(|p| p["state"] == state && p["target"].as_str().unwrap().contains(host))
            .count()
    };
    assert_eq!(run["state"], "failed");
    assert_eq!(on("www.example.com", "done"), 6, "{run:#}");
    assert_eq!(on("gone.example.com", "failed"), 6, "{run:#}");
    let last = blog.statuses(&commit).pop().unwrap();
    assert_eq!(last.state, "failure");
    assert!(last.description.unwrap().contains("gone.example.com"));
}

#[tokio::test]
async fn what_asks_for_nothing_is_answered_with_200_and_why() {
    let world = World::serving().await;
    let website = world.website();
    website.commit("draft", &[Change::write("content/about.md", "second")]);

    let (status, answer) = world.send(&website.push("draft").unwrap()).await;

    assert_eq!((status, &answer["outcome"]), (200, &"ignored".into()));
    assert!(
        answer["why"].as_str().unwrap().contains("draft"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_submodule_that_moves_purges_what_the_rules_say_of_what_lies_in_it() {
    let mut world = World::new().await;
    world.edit_rules("[\"layouts/**\"", "[\"themes/ananke/**\"");
    world.start().await;
    let website = world.website();
    let moved = |path: &str, commit: &str| {
        let to = Change::write(path, commit);
        vec![to, Change::mode(path, SUBMODULE)]
    };
    let first = website.commit("main", &moved("content/docs", "1"));
    world
        .ended(&world.accepted(&website.push("main").unwrap()).await)
        .await;

    // A push names its path and no more, which a rule names as a directory.
    website.commit("main", &moved("themes/ananke", "1"));
    let run = world.accepted(&website.push("main").unwrap()).await;
    let run = world.ended(&run).await;

    let directories = targets(&run, "directory");
    assert_eq!(directories, ["https://www.example.com/"], "{run:#}");
    let notes = run["notes"].to_string();
    assert!(
        notes.contains("is a directory that git has as one entry"),
        "{run:#}"
    );

    // After a forced push the trees are asked, and they know what it is.
    website.reset("main", &first);
    website.commit("main", &moved("content/docs", "2"));
    let run = world.accepted(&website.push("main").unwrap()).await;
    let run = world.ended(&run).await;

    assert_eq!(run["changes"]["proof"], "trees", "{run:#}");
    let paths = run["changes"]["paths"].as_array().unwrap();
    assert!(paths.contains(&"content/docs/".into()), "{run:#}");
    let notes = run["notes"].to_string();
    assert!(
        notes.contains(r#"\"content/docs/\", \"themes/ananke/\" are directories"#),
        "{notes}"
    );
    // What lies in both is purged: with everything, here.
    assert!(notes.contains("covers 1 more purge"), "{notes}");
}

/// Where the branch stood before, as the payload says.
fn first_before(body: &[u8]) -> String {
    let payload: serde_json::Value = serde_json::from_slice(body).unwrap();
    payload["before"].as_str().unwrap().to_owned()
}
