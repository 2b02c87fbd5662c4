//! Several pushes at once: one run does the work of all.

use purgehook::purge::PurgeKind;
use purgehook::run::RunState;
use purgehook::sandbox::{Change, Fate, Often, Repository};

use crate::world::World;

const RULES: &str = "
cdns:
  tencent: {kind: tencent-cdn, endpoint: '${TENCENT_URL}'}
sites:
  www:
    repo: github:acme/website
    base_urls: ['https://www.example.com']
    cdns: [tencent]
    rules: [{match: ['**'], urls: ['/{path}']}]
";

/// Three pushes that come in before anything was done about the first: their commits.
async fn three_pushes(world: &World) -> (Repository, Vec<String>) {
    let website = world.sandbox.github().create_repo("acme/website", "main");
    website.commit("main", &[Change::write("index.html", "first")]);
    website.push("main");
    let mut commits = Vec::new();
    for name in ["a.html", "b.html", "c.html"] {
        commits.push(website.commit("main", &[Change::write(name, "new")]));
        world.accepted(&website.push("main").unwrap()).await;
        world.time.pass(std::time::Duration::from_millis(1));
    }
    (website, commits)
}

#[tokio::test]
async fn runs_that_have_not_planned_yet_are_covered_by_the_newest() {
    let world = World::new(1, RULES).await;

    let (website, commits) = three_pushes(&world).await;
    world.settle().await;

    let states: Vec<_> = world.runs().await.iter().map(|run| run.state).collect();
    assert_eq!(
        states,
        [
            RunState::Succeeded,
            RunState::Superseded,
            RunState::Superseded
        ]
    );
    let purged = world.sandbox.tencent_cdn().purged_urls(PurgeKind::Url);
    assert_eq!(
        purged,
        ["a", "b", "c"].map(|name| format!("https://www.example.com/{name}.html"))
    );
    for commit in &commits {
        assert_eq!(website.statuses(commit).last().unwrap().state, "success");
    }
    let first = website.statuses(&commits[0]).pop().unwrap();
    let covered = format!("Covered by {}: Purged 3 URLs on tencent", &commits[2][..8]);
    assert_eq!(first.description, Some(covered));
}

#[tokio::test]
async fn a_covered_commit_fails_as_the_run_that_covers_it_fails() {
    let world = World::new(1, RULES).await;
    world
        .sandbox
        .tencent_cdn()
        .set_fate("b.html", Often::Always, Fate::Fail);

    let (website, commits) = three_pushes(&world).await;
    world.settle().await;

    for commit in &commits {
        let last = website.statuses(commit).pop().unwrap();
        assert_eq!(last.state, "failure", "{last:?}");
        assert!(last.description.unwrap().contains("b.html"));
    }
}
