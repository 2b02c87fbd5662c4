//! `purgehook trigger`: the way from a webhook to a site, tried with a delivery that starts nothing.

use purgehook::sandbox::Change;
use serde_json::json;

use crate::signing::{Proof, resigned};
use crate::world::World;

/// The exit code, and all that was said.
fn triggered(world: &World, args: &[&str]) -> (Option<i32>, String) {
    let output = world.run(&[&["trigger"], args].concat(), "");
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_that_is_reached_says_so_and_nothing_is_started() {
    let world = World::serving().await;
    world.website();
    world.docs();

    for (site, forge) in [("www", "github"), ("docs", "gitlab")] {
        let (code, said) = triggered(&world, &[site]);
        assert_eq!(code, Some(0), "{said}");
        let address = format!("sent to {}/hooks/{forge}: a push", world.base());
        assert!(said.contains(&address), "{said}");
        assert!(
            said.contains("answered 200 ignored: the push moves main nowhere"),
            "{said}"
        );
        assert!(said.contains(&format!("{site} is reached")), "{said}");
    }
    let through = world.base() + "/";
    let (code, said) = triggered(&world, &["www", "--url", &through]);
    assert_eq!(code, Some(0), "{said}");

    let (_, runs) = world.get("/api/v1/runs").await.unwrap();
    let started = runs["runs"].as_array().unwrap().iter();
    let started = started.filter(|run| run["origin"] != "reconciliation");
    assert_eq!(started.count(), 0, "{runs:#}");
    assert_eq!(triggered(&world, &["nosuch"]).0, Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_trigger_is_tried_with_the_event_that_it_waits_for() {
    let mut world = World::new().await;
    world.website();
    world.docs();
    let rules = std::fs::read_to_string(world.rules_path()).unwrap();
    let with = |rules: &str, repo: &str, trigger: &str| {
        let line = format!("    repo: {repo}\n");
        assert_eq!(rules.matches(&line).count(), 1, "{repo}");
        rules.replace(&line, &format!("{line}    trigger: {trigger}\n"))
    };
    for (github, gitlab) in [
        ("{deployment: production}", "{deployment: production}"),
        ("{workflow: deploy.yml}", "{pipeline: success}"),
        ("release", "release"),
        ("page_build", "push"),
    ] {
        let rules = with(&rules, "github:acme/website", github);
        let rules = with(&rules, "gitlab:acme/handbook/docs", gitlab);
        std::fs::write(world.rules_path(), rules).unwrap();
        world.start().await;
        for site in ["www", "docs"] {
            let (code, said) = triggered(&world, &[site]);
            assert_eq!(code, Some(0), "{github} {gitlab}: {said}");
        }
        let (_, runs) = world.get("/api/v1/runs").await.unwrap();
        let started = runs["runs"].as_array().unwrap().iter();
        let started = started.filter(|run| run["origin"] != "reconciliation");
        assert_eq!(started.count(), 0, "{runs:#}");
        world.terminate().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_keeps_a_site_from_being_triggered_is_said() {
    let mut world = World::serving().await;
    world.website();

    let (code, said) = triggered(&world, &["www", "--branch", "next"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("follows the branch next"), "{said}");
    assert!(said.contains("www would not be triggered"), "{said}");

    let secret = "a-secret-that-the-server-does-not-have";
    world.set_variable("GITHUB_SECRET", secret);
    let (code, said) = triggered(&world, &["www"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("answered 401 refused"), "{said}");
    assert!(said.contains("another secret for `github`"), "{said}");
    assert!(!said.contains(secret), "{said}");

    world.terminate().await;
    let (code, said) = triggered(&world, &["www"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("no answer from http://127.0.0.1:"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_to_a_delivery_that_moves_nothing_names_the_sites_that_wait_for_such() {
    let world = World::serving().await;
    let website = world.website();
    website.commit("main", &[Change::write("content/about.md", "second")]);
    let delivery = website.push("main").unwrap();
    let mut body: serde_json::Value = serde_json::from_slice(&delivery.body).unwrap();
    body["before"] = body["after"].clone();
    let proof = Proof::Hmac(world.sandbox.github().webhook_secret());
    let delivery = resigned(&delivery, "github", body.to_string().into_bytes(), proof);

    let (status, answer) = world.send(&delivery).await;

    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["outcome"], "ignored");
    assert_eq!(answer["sites"], json!(["www"]));
}
