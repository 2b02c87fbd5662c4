//! A forge that denies all requests about a repository until a person changes something.

use std::time::Duration;

use purgehook::config::Config;
use purgehook::forge::Denial;
use purgehook::purge::PurgeKind;
use purgehook::run::{Origin, Run, RunId, RunState};
use purgehook::sandbox::{Change, Fault, Repository, Service, When};
use purgehook::store::RepoRequest;

use crate::world::{ONE_SITE, World};

const MINUTE: Duration = Duration::from_secs(60);
/// The time after which a waiting run gives up.
const RUN_LIMIT: Duration = Duration::from_secs(6 * 60 * 60);

/// A site whose caches hold one commit.
struct Denying {
    world: World,
    website: Repository,
}

impl Denying {
    async fn new(when_unknown: &str) -> Self {
        let site = format!("    settle: 0s\n    when_unknown: {when_unknown}\n    base_urls:");
        let world = World::new(1, &ONE_SITE.replace("    base_urls:", &site)).await;
        let website = world.sandbox.github().create_repo("acme/website", "main");
        website.commit("main", &[Change::write("index.html", "first")]);
        website.push("main");
        let denying = Self { world, website };
        let first = denying.push(1).await;
        denying.pass(MINUTE).await;
        assert_eq!(denying.run(&first).await.state, RunState::Succeeded);
        denying
    }

    /// Pushes this many commits; the delivery proves what changed only for a single commit.
    async fn push(&self, commits: usize) -> RunId {
        for _ in 0..commits {
            let text = format!("{:?}", self.world.clock.new_id());
            let change = Change::write("index.html", text);
            self.website.commit("main", &[change]);
        }
        let push = self.website.push("main").unwrap();
        self.world.accepted(&push).await
    }

    async fn pass(&self, time: Duration) {
        let until = self.world.clock.now() + time;
        while self.world.clock.now() < until {
            let next = self.world.engine.drain().await.unwrap();
            self.world
                .time
                .move_to(next.map_or(until, |next| next.min(until)));
        }
    }

    async fn run(&self, id: &RunId) -> Run {
        self.world.run(id).await
    }

    fn answers(&self, status: u16) {
        let faults = self.world.sandbox.faults();
        faults.clear();
        faults.add(
            Service::GITHUB,
            "*",
            When::Always,
            Fault::Http(status, None),
        );
    }

    /// How much was purged at the CDN: directories, and URLs.
    fn purged(&self) -> (usize, usize) {
        let purged = self.world.sandbox.tencent_cdn().purged();
        let of = |kind| purged.iter().filter(|purge| purge.kind == kind).count();
        (of(PurgeKind::Directory), of(PurgeKind::Url))
    }

    async fn denials(&self) -> Vec<(RepoRequest, Denial)> {
        let denied = self.world.engine.denied_sites().await.unwrap();
        assert!(denied.iter().all(|denied| denied.site == "www"));
        denied.iter().map(|it| (it.access, it.denial)).collect()
    }
}

#[tokio::test]
async fn everything_is_purged_once_and_what_cannot_be_proved_then_waits_until_the_token_is_right() {
    let site = Denying::new("everything").await;
    site.answers(401);
    let (directories, urls) = site.purged();

    let first = site.push(2).await;
    site.pass(MINUTE).await;
    let first = site.run(&first).await;
    assert_eq!(first.state, RunState::Succeeded, "{}", first.summary);
    assert_eq!(site.purged(), (directories + 1, urls));
    let denied = site.denials().await;
    assert!(
        denied.contains(&(RepoRequest::Read, Denial::Token)),
        "{denied:?}"
    );
    assert!(
        denied.contains(&(RepoRequest::PostStatus, Denial::Token)),
        "{denied:?}"
    );

    let mut waiting = Vec::new();
    for _ in 0..3 {
        waiting.push(site.push(2).await);
        site.pass(10 * MINUTE).await;
    }
    let last = site.run(&waiting[2]).await;
    assert_eq!(last.state, RunState::Pending);
    assert!(
        last.summary.starts_with("Waiting: GitHub answered 401"),
        "{}",
        last.summary
    );
    assert_eq!(site.purged(), (directories + 1, urls), "everything, again");

    site.world.sandbox.faults().clear();
    site.world.settle().await;
    for run in &waiting {
        let run = site.run(run).await;
        let did = run.state == RunState::Succeeded || run.covered_by.as_ref() == waiting.last();
        assert!(did, "{run:?}");
    }
    assert_eq!(site.purged(), (directories + 1, urls + 1));
    assert_eq!(site.denials().await, []);
}

#[tokio::test]
async fn a_push_whose_own_lists_prove_what_changed_goes_on_by_them() {
    let site = Denying::new("everything").await;
    site.answers(401);
    let (directories, urls) = site.purged();

    let run = site.push(1).await;
    site.pass(MINUTE).await;

    assert_eq!(site.run(&run).await.state, RunState::Succeeded);
    assert_eq!(site.purged(), (directories, urls + 1));
}

#[tokio::test]
async fn a_site_that_fails_when_it_is_unknown_what_changed_says_why_at_once_and_loses_nothing() {
    let site = Denying::new("fail").await;
    site.answers(401);
    let before = site.purged();

    for _ in 0..2 {
        let run = site.push(2).await;
        site.pass(MINUTE).await;
        let run = site.run(&run).await;
        assert_eq!(run.state, RunState::Failed);
        assert!(run.summary.contains("401"), "{}", run.summary);
    }
    assert_eq!(site.purged(), before);

    site.world.sandbox.faults().clear();
    let run = site.push(2).await;
    site.world.settle().await;
    assert_eq!(site.run(&run).await.bases.len(), 3, "all that was held");
    assert_eq!(site.purged(), (before.0, before.1 + 1));
}

#[tokio::test]
async fn a_run_that_waits_in_vain_gives_up_by_name_and_is_made_up_for_when_the_forge_answers() {
    let site = Denying::new("everything").await;
    site.answers(403);
    site.push(2).await;
    site.pass(MINUTE).await;
    let before = site.purged();
    let waiting = site.push(2).await;
    site.pass(RUN_LIMIT + 10 * MINUTE).await;

    let run = site.run(&waiting).await;
    assert_eq!(run.state, RunState::Errored);
    assert!(
        run.summary.contains("GitHub answered 403"),
        "{}",
        run.summary
    );
    assert!(run.summary.contains("--everything"), "{}", run.summary);
    let denied = site.denials().await;
    assert!(
        denied.contains(&(RepoRequest::Read, Denial::Permission)),
        "{denied:?}"
    );
    assert_eq!(site.purged(), before);

    site.world.sandbox.faults().clear();
    site.world.reconcile(&["www"]).await;
    site.world.settle().await;
    let made_up = site.world.runs().await.remove(0);
    assert_eq!(made_up.origin, Origin::Reconciliation);
    assert_eq!(made_up.commit, run.commit);
    assert_eq!(made_up.state, RunState::Succeeded, "{}", made_up.summary);
    assert_eq!(site.purged(), (before.0, before.1 + 1));
}

#[tokio::test]
async fn a_repository_that_was_moved_is_known_as_such() {
    for status in [301, 307, 308, 404, 410] {
        let site = Denying::new("everything").await;
        site.answers(status);
        site.push(2).await;
        site.pass(MINUTE).await;

        let denied = site.denials().await;
        let all =
            [RepoRequest::PostStatus, RepoRequest::Read].map(|access| (access, Denial::Repository));
        assert_eq!(denied, all, "{status}");
    }
}

#[tokio::test]
async fn a_commit_that_is_gone_denies_nothing() {
    let site = Denying::new("everything").await;
    let faults = site.world.sandbox.faults();
    let gone = Fault::Code("404 Not Found".to_owned());
    for request in ["GET compare", "GET trees", "GET commits"] {
        faults.add(Service::GITHUB, request, When::Always, gone.clone());
    }
    let (directories, urls) = site.purged();

    for n in 1..=2 {
        let run = site.push(2).await;
        site.pass(MINUTE).await;
        let run = site.run(&run).await;
        assert_eq!(run.state, RunState::Succeeded, "{}", run.summary);
        assert_eq!(site.purged(), (directories + n, urls));
    }
    assert_eq!(site.denials().await, []);
}

#[tokio::test]
async fn another_process_sees_to_it_that_the_denial_ends() {
    let mut site = Denying::new("everything").await;
    site.answers(401);
    site.push(2).await;
    site.pass(MINUTE).await;
    assert!(!site.denials().await.is_empty());

    site.world.restart().await;
    site.world.sandbox.faults().clear();
    site.world.reconcile(&["www"]).await;

    assert_eq!(site.denials().await, []);
}

#[tokio::test]
async fn a_repository_that_no_site_follows_is_not_shown() {
    let site = Denying::new("everything").await;
    site.answers(401);
    site.push(2).await;
    site.pass(MINUTE).await;
    let config: &Config = &site.world.config();
    assert_eq!(config.sites.len(), 1);

    let other = ONE_SITE.replace("acme/website", "acme/other");
    site.world.set_rules(&other);

    assert_eq!(site.denials().await, []);
}
