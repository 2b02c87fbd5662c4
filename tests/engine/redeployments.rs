//! A commit that is deployed again: git shows no difference, and the origin may serve something new.

use std::time::Duration;

use purgehook::run::{Run, RunId, RunState};
use purgehook::sandbox::{Change, Fault, Repository, Service, WebhookEvent, When};

use crate::world::World;

const RULES: &str = "
cdns:
  tencent: {kind: tencent-cdn, endpoint: '${TENCENT_URL}'}
sites:
  www:
    repo: github:acme/website
    trigger: {deployment: production}
    base_urls: ['https://www.example.com']
    cdns: [tencent]
    rules: [{match: ['**'], urls: ['/{path}']}]
";

const EVERYTHING: &str = "https://www.example.com/";
const B: &str = "https://www.example.com/b.html";
const C: &str = "https://www.example.com/c.html";

/// A site at whose caches nothing is left of the past.
struct Site {
    world: World,
    website: Repository,
    /// What was purged before the test looked last.
    seen: usize,
}

impl Site {
    /// The site, with other keys of its own. Its first commit was deployed and purged.
    async fn new(keys: &str) -> Self {
        let rules = RULES.replace(
            "    cdns: [tencent]",
            &format!("{keys}\n    cdns: [tencent]"),
        );
        let world = World::new(1, &rules).await;
        let website = world.sandbox.github().create_repo("acme/website", "main");
        let mut site = Self {
            world,
            website,
            seen: 0,
        };
        let first = site.commit("a.html");
        site.deploy(&first).await;
        site.quiet().await;
        site
    }

    /// The site, with a second commit that was deployed and purged as well.
    async fn with_commit(keys: &str) -> (Self, String) {
        let mut site = Self::new(keys).await;
        let commit = site.commit("b.html");
        site.deploy(&commit).await;
        assert_eq!(site.quiet().await, [B]);
        (site, commit)
    }

    fn commit(&self, path: &str) -> String {
        let commit = self.website.commit("main", &[Change::write(path, "new")]);
        self.website.push("main");
        commit
    }

    /// Tells of a deployment of a commit.
    async fn deploy(&self, commit: &str) -> RunId {
        // Runs of one millisecond have no order.
        self.world.time.pass(Duration::from_millis(1));
        let event = WebhookEvent::Deployment {
            sha: commit.to_owned(),
            branch: "main".to_owned(),
            environment: "production".to_owned(),
            state: "success".to_owned(),
        };
        self.world
            .accepted(&self.website.emit(&event).unwrap())
            .await
    }

    /// Waits until all is done, and what was purged is no longer held. What was purged since the test looked last.
    async fn quiet(&mut self) -> Vec<String> {
        self.world.settle().await;
        self.world.time.pass(Duration::from_secs(3_600));
        let all = self.world.sandbox.tencent_cdn().purged().into_iter();
        let mut purged: Vec<String> = all.map(|purged| purged.target).skip(self.seen).collect();
        self.seen += purged.len();
        purged.sort();
        purged
    }

    async fn run(&self, id: &RunId) -> Run {
        self.world.run(id).await
    }

    /// From now on the CDN refuses every purge.
    fn refuse(&self) {
        let refusal = Fault::Code("AuthFailure.SecretIdNotFound".to_owned());
        let faults = self.world.sandbox.faults();
        faults.add(Service::TENCENT_CDN, "*", When::Always, refusal);
    }

    fn shown(&self, commit: &str) -> Option<String> {
        self.website.statuses(commit).pop().unwrap().description
    }
}

#[tokio::test]
async fn what_a_second_deployment_purges_is_the_sites_to_say() {
    let answers = [
        ("", vec![B], "Purged 1 URL on tencent"),
        ("    redeploy: same", vec![B], "Purged 1 URL on tencent"),
        (
            "    redeploy: everything",
            vec![EVERYTHING],
            "Purged 1 directory on tencent",
        ),
        (
            "    redeploy: nothing",
            vec![],
            "Nothing to purge: 0 files changed",
        ),
    ];
    for (keys, purged, shown) in answers {
        let (mut site, commit) = Site::with_commit(keys).await;

        let again = site.deploy(&commit).await;

        assert_eq!(site.quiet().await, purged, "{keys}");
        assert_eq!(site.run(&again).await.state, RunState::Succeeded);
        assert_eq!(site.shown(&commit).as_deref(), Some(shown));
    }
}

#[tokio::test]
async fn each_further_deployment_purges_the_same() {
    let mut site = Site::new("").await;
    let commit = site.commit("b.html");
    for _ in 0..8 {
        site.deploy(&commit).await;
        assert_eq!(site.quiet().await, [B]);
    }
}

#[tokio::test]
async fn the_first_commit_of_a_site_has_everything_purged_each_time() {
    let mut site = Site::new("").await;
    let first = site.run(&site.world.runs().await[0].id).await;
    assert_eq!(site.seen, 1);

    site.deploy(first.commit.as_str()).await;

    assert_eq!(site.quiet().await, [EVERYTHING]);
}

#[tokio::test]
async fn what_is_deployed_again_after_another_commit_purges_both_differences() {
    let (mut site, commit) = Site::with_commit("").await;
    let newer = site.commit("c.html");
    site.deploy(&newer).await;
    assert_eq!(site.quiet().await, [C]);

    site.deploy(&commit).await;

    assert_eq!(site.quiet().await, [B, C]);
}

#[tokio::test]
async fn a_newer_run_purges_for_a_second_deployment_that_leaves_its_work_to_it() {
    for (keys, purged) in [
        ("", vec![B, C]),
        ("    redeploy: everything", vec![EVERYTHING]),
    ] {
        let (mut site, commit) = Site::with_commit(keys).await;

        let again = site.deploy(&commit).await;
        let newer = site.commit("c.html");
        let covering = site.deploy(&newer).await;

        assert_eq!(site.quiet().await, purged, "{keys}");
        assert_eq!(site.run(&again).await.covered_by, Some(covering));
    }
}

#[tokio::test]
async fn the_next_run_purges_what_a_second_deployment_failed_to() {
    for (keys, purged) in [
        ("", vec![B, C]),
        ("    redeploy: everything", vec![EVERYTHING]),
    ] {
        let (mut site, commit) = Site::with_commit(keys).await;
        site.refuse();
        let again = site.deploy(&commit).await;
        assert_eq!(site.quiet().await, Vec::<String>::new());
        assert_eq!(site.run(&again).await.state, RunState::Failed);

        site.world.sandbox.faults().clear();
        let newer = site.commit("c.html");
        site.deploy(&newer).await;

        assert_eq!(site.quiet().await, purged, "{keys}");
    }
}

#[tokio::test]
async fn a_second_deployment_purges_what_a_newer_run_did_for_the_first() {
    let mut site = Site::new("").await;
    let commit = site.commit("b.html");
    site.deploy(&commit).await;
    let newer = site.commit("c.html");
    site.deploy(&newer).await;
    assert_eq!(site.quiet().await, [B, C]);

    site.deploy(&commit).await;

    // Also what the first commit changed: the newer run was compared with what was live before both.
    assert_eq!(site.quiet().await, [B, C]);
}

#[tokio::test]
async fn everything_is_purged_again_even_where_the_unknown_is_to_fail() {
    let mut site = Site::new("    when_unknown: fail\n    redeploy: everything").await;
    let config = site.world.config();
    let engine = &site.world.engine;
    engine
        .start_by_hand(&config.sites["www"], "main", true)
        .await
        .unwrap();
    assert_eq!(site.quiet().await, [EVERYTHING]);
    let commit = site.commit("b.html");
    site.deploy(&commit).await;
    assert_eq!(site.quiet().await, [B]);

    let again = site.deploy(&commit).await;

    assert_eq!(site.quiet().await, [EVERYTHING]);
    assert_eq!(site.run(&again).await.state, RunState::Succeeded);
    let newer = site.commit("c.html");
    site.deploy(&newer).await;
    assert_eq!(site.quiet().await, [C]);
}
