//! Repositories that were renamed, and repositories that took over the name of another one.

use purgehook::engine::Received;
use purgehook::run::RunState;
use purgehook::sandbox::{Change, Delivery};

use crate::world::{ONE_SITE, World};

const FORGES: [&str; 4] = ["github", "gitlab", "gitea", "gitee"];

/// Sends a delivery and returns the note on its repository.
async fn note(world: &World, delivery: &Delivery) -> Option<String> {
    match world.receive(delivery).await.unwrap() {
        Received::Accepted { note, .. } => note,
        other => panic!("not accepted: {other:?}"),
    }
}

#[tokio::test]
async fn the_pushes_of_a_renamed_repository_are_followed_and_say_what_to_change() {
    for name in FORGES {
        let rules = ONE_SITE.replace("github:", &format!("{name}:"));
        let mut world = World::new(1, &rules).await;
        let forge = world.sandbox.forge(name).unwrap();
        let website = forge.create_repo("acme/website", "main");
        website.commit("main", &[Change::write("index.html", "first")]);
        assert_eq!(note(&world, &website.push("main").unwrap()).await, None);
        world.settle().await;
        let purged = world.sandbox.tencent_cdn().purged().len();

        let website = forge.rename_repo("acme/website", "acme/site");
        world.restart().await;
        website.commit("main", &[Change::write("index.html", "second")]);
        let said = note(&world, &website.push("main").unwrap()).await;

        let words = "acme/website was renamed to acme/site: change `repo:`";
        assert_eq!(said.as_deref(), Some(words), "{name}");
        world.settle().await;
        let run = world.runs().await.remove(0);
        assert_eq!(run.state, RunState::Succeeded, "{name}: {}", run.summary);
        assert!(
            world.sandbox.tencent_cdn().purged().len() > purged,
            "{name}"
        );
        let renamed = world.engine.renamed_sites().await.unwrap();
        assert_eq!(renamed, [("www".to_owned(), words.to_owned())]);

        world.set_rules(&rules.replace("acme/website", "acme/site"));
        website.commit("main", &[Change::write("index.html", "third")]);
        assert_eq!(note(&world, &website.push("main").unwrap()).await, None);
        assert_eq!(world.engine.renamed_sites().await.unwrap(), []);
    }
}

#[tokio::test]
async fn a_repository_that_takes_anothers_name_is_taken_by_its_name_and_said_to_be_another() {
    let world = World::new(2, ONE_SITE).await;
    let forge = world.sandbox.github();
    let website = forge.create_repo("acme/website", "main");
    website.commit("main", &[Change::write("index.html", "first")]);
    note(&world, &website.push("main").unwrap()).await;
    world.settle().await;

    let old = forge.rename_repo("acme/website", "acme/old");
    forge.create_repo("acme/other", "main");
    let website = forge.create_repo("acme/website", "main");
    website.commit("main", &[Change::write("index.html", "another")]);
    let said = note(&world, &website.push("main").unwrap()).await.unwrap();
    assert!(
        said.starts_with("acme/website is a different repository now"),
        "{said}"
    );
    website.commit("main", &[Change::write("index.html", "more")]);
    assert_eq!(
        note(&world, &website.push("main").unwrap()).await,
        None,
        "said once"
    );

    old.commit("main", &[Change::write("index.html", "old")]);
    let ignored = world.receive(&old.push("main").unwrap()).await.unwrap();
    assert!(matches!(ignored, Received::Ignored { .. }), "{ignored:?}");
}
