//! Covers by what each directory really holds, as the forge tells it.

use purgehook::changes::FilePath;
use purgehook::purge::PurgeKind;
use purgehook::run::{RunId, RunState};
use purgehook::sandbox::{Call, Change, Fault, Repository, Service, When};

use crate::previews::{planned, previewed};
use crate::world::World;

const FORGES: [&str; 4] = ["github", "gitlab", "gitea", "gitee"];

fn rules(forge: &str) -> String {
    format!(
        "
cdns:
  tencent: {{kind: tencent-cdn, endpoint: '${{TENCENT_URL}}'}}
sites:
  www:
    repo: {forge}:acme/website
    base_urls: ['https://www.example.com']
    cdns: [tencent]
    cover: cheapest
    settle: 0s
    rules: [{{match: ['**'], urls: ['/{{path}}']}}]
"
    )
}

/// Two directories: 120 files in one, 300 in the other.
async fn site(world: &World, forge: &str) -> Repository {
    world.sandbox.lift_github_limits();
    let forge = world.sandbox.forge(forge).unwrap();
    let website = forge.create_repo("acme/website", "main");
    website.commit("main", &files(300, "first"));
    let first = website.push("main").unwrap();
    world.accepted(&first).await;
    world.settle().await;
    website
}

fn files(in_large: usize, content: &str) -> Vec<Change> {
    let small = (0..120).map(|n| format!("small/{n}.html"));
    let large = (0..in_large).map(|n| format!("large/{n}.html"));
    let paths = small.chain(large);
    paths.map(|path| Change::write(path, content)).collect()
}

/// All files of the site.
fn paths() -> Vec<FilePath> {
    let small = (0..120).map(|n| format!("small/{n}.html"));
    let large = (0..300).map(|n| format!("large/{n}.html"));
    small.chain(large).map(FilePath::new).collect()
}

/// Pushes a change of 120 files in each directory: the run, and the requests it made of the forge.
async fn push(world: &World, website: &Repository, content: &str) -> (RunId, Vec<Call>) {
    let before = world.sandbox.log().len();
    website.commit("main", &files(120, content));
    let run = world.accepted(&website.push("main").unwrap()).await;
    world.settle().await;
    (run, world.sandbox.log().split_off(before))
}

/// How many URLs, and which directories, a run purged.
async fn purged(world: &World, run: &RunId) -> (usize, Vec<String>) {
    let purges = world.store().purges(run, 0, 1_000).await.unwrap();
    let (urls, directories): (Vec<_>, Vec<_>) = purges
        .into_iter()
        .map(|stored| stored.planned)
        .partition(|purge| purge.kind == PurgeKind::Url);
    let directories = directories.into_iter().map(|purge| purge.target);
    (urls.len(), directories.collect())
}

#[tokio::test]
async fn a_directory_is_deleted_where_the_tree_says_that_little_else_is_in_it() {
    for name in FORGES {
        let world = World::new(1, &rules(name)).await;
        let website = site(&world, name).await;

        let (run, _) = push(&world, &website, "second").await;

        let shown = world.run(&run).await;
        assert_eq!(shown.state, RunState::Succeeded, "{}", shown.summary);
        let notes = shown.notes.join("\n");
        // Gitee lists no tree whole that can be relied on.
        if name == "gitee" {
            assert!(notes.contains("is estimated, not counted: gitee does not list all files of"));
            assert_eq!(purged(&world, &run).await, (240, vec![]));
        } else {
            assert!(notes.contains("is counted, over 420 files"), "{notes}");
            let small = "https://www.example.com/small/".to_owned();
            assert_eq!(purged(&world, &run).await, (120, vec![small]), "{name}");
            let preview = previewed(&world, &shown, &paths()).await.unwrap();
            let mut purges = preview.purges;
            purges.sort();
            assert_eq!(purges, planned(&world, &run).await, "{name}");
            assert_eq!(preview.notes, shown.notes, "{name}");
        }
    }
}

#[tokio::test]
async fn where_the_tree_is_cut_off_or_does_not_come_its_size_is_estimated_and_the_run_goes_on() {
    let world = World::new(2, &rules("github")).await;
    let website = site(&world, "github").await;

    world.sandbox.limit_github_trees(100);
    let (cut, _) = push(&world, &website, "second").await;
    let faults = world.sandbox.faults();
    let trees = "GET trees";
    faults.add(Service::GITHUB, trees, When::Always, Fault::Http(500, None));
    let (failed, _) = push(&world, &website, "third").await;

    for (run, why) in [(cut, "does not list all files"), (failed, "500")] {
        let shown = world.run(&run).await;
        assert_eq!(shown.state, RunState::Succeeded, "{}", shown.summary);
        assert_eq!(purged(&world, &run).await, (240, vec![]));
        let notes = shown.notes.join("\n");
        assert!(notes.contains("is estimated, not counted: "), "{notes}");
        assert!(notes.contains(why), "{notes}");
    }
}

#[tokio::test]
async fn the_tree_is_asked_for_once_and_only_where_it_could_matter() {
    let world = World::new(3, &rules("github")).await;
    let website = site(&world, "github").await;
    let trees = |calls: &[Call]| {
        let trees = calls.iter().filter(|call| call.action == "GET trees");
        trees
            .filter(|call| call.summary.contains("recursive"))
            .count()
    };

    let (_, large) = push(&world, &website, "second").await;
    let before = world.sandbox.log().len();
    website.commit("main", &[Change::write("small/1.html", "third")]);
    let run = world.accepted(&website.push("main").unwrap()).await;
    world.settle().await;

    assert_eq!(trees(&large), 1, "{large:#?}");
    assert_eq!(trees(&world.sandbox.log().split_off(before)), 0);
    assert_eq!(world.run(&run).await.notes, [""; 0]);
}
