//! A kill at every durable step: right before each commit of a fixed scenario, and right
//! after it, before anybody heard that it is on disk.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use purgehook::sandbox::{Area, CdnAccount, Change, Delivery, TargetOutcome};
use serde_json::Value;

use crate::places;
use crate::world::World;

/// Scenarios that are played at once: each waits most of its time.
const AT_ONCE: u32 = 8;
/// How long a scenario may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// More commits than the scenario can have.
const MOST: u32 = 400;

/// What became of one scenario.
#[derive(Default)]
struct Outcome {
    /// Whether the program died, as it was told to.
    died: bool,
    /// Pushes that were answered with 202 before that.
    acknowledged: usize,
    /// Those of them that nothing is known of afterwards.
    lost: Vec<String>,
    /// Commits that do not show success in the end.
    unshown: Vec<String>,
    /// Runs whose work another did.
    covered: usize,
    /// Purges that were planned.
    planned: usize,
    /// Those of them that no CDN did under the task that they name.
    unconfirmed: Vec<String>,
    /// Batches that a CDN took and that no purge names.
    in_vain: usize,
}

/// Both CDNs, in a world whose program is told where to die.
async fn begin() -> World {
    let mut world = World::without_place().await;
    world.settle_at_once();
    world.sandbox.lift_github_limits();
    let huawei = world.sandbox.huawei_cdn();
    huawei.add_domain("www.example.com", Area::Mainland);
    for cdn in [&huawei, &world.sandbox.tencent_cdn()] {
        cdn.set_duration(Duration::from_millis(20));
    }
    let entry = format!(
        "cdns:\n  huawei:\n    kind: huawei-cdn\n    access_key: '{}'\n    secret_key: '{}'\n    endpoint: '{}'\n",
        huawei.secret_id(),
        huawei.secret_key(),
        huawei.url()
    );
    world.edit_rules("cdns:\n", &entry);
    world.edit_rules(
        "cdns: [tencent]\n    status:",
        "cdns: [tencent, huawei]\n    status:",
    );
    world
}

/// Two pushes at once, with URLs, directories and prefetches on two CDNs, and a death amid it.
async fn play(at: String) -> Outcome {
    let mut world = begin().await;
    let website = world.website();
    let first = [
        Change::write("content/about.md", "second"),
        Change::write("static/app.js", "second"),
        Change::write("layouts/base.html", "first"),
    ];
    let second = [Change::write("content/_index.md", "second")];
    let mut pushes: Vec<(String, Delivery)> = Vec::new();
    for changes in [&first[..], &second[..]] {
        let commit = website.commit("main", changes);
        pushes.push((commit, website.push("main").unwrap()));
    }
    let mut outcome = Outcome::default();

    world.start_to_die(&at).await;
    let base = world.base();
    let (one, two) = tokio::join!(pushes[0].1.send(&base), pushes[1].1.send(&base));
    let mut acknowledged = BTreeSet::new();
    let mut again = Vec::new();
    for ((_, delivery), answered) in pushes.iter().zip([one, two]) {
        match answered {
            Ok((202, answer)) => {
                acknowledged.insert(answer["runs"][0]["id"].as_str().unwrap().to_owned());
            }
            Ok((status, answer)) => panic!("{status} {answer}"),
            Err(_) => again.push(delivery),
        }
    }
    outcome.acknowledged = acknowledged.len();
    let over = async {
        while !world.has_died() && !is_over(&world).await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let over = tokio::time::timeout(PATIENCE, over).await;
    assert!(over.is_ok(), "{at}: it neither dies nor comes to an end");
    outcome.died = world.has_died();
    if outcome.died {
        world.start().await;
        // What was not acknowledged may be sent again, by hand.
        for delivery in again {
            let (status, answer) = world.send(delivery).await;
            assert!(matches!(status, 200 | 202), "{status} {answer}");
        }
    }

    let (_, listed) = world.get("/api/v1/runs?limit=100").await.unwrap();
    let known: BTreeSet<&str> = ids(&listed).collect();
    let lost = acknowledged
        .iter()
        .filter(|run| !known.contains(run.as_str()));
    outcome.lost = lost.cloned().collect();
    for (commit, _) in &pushes {
        let shown = world.shown(&website, commit).await;
        if shown != "success" {
            outcome.unshown.push(format!("{commit} shows {shown}"));
        }
    }
    // A late push may have made one more run since, for what is live.
    let (_, listed) = world.get("/api/v1/runs?limit=100").await.unwrap();
    let mut runs = Vec::new();
    for id in ids(&listed) {
        runs.push(world.ended(id).await);
    }
    outcome.covered = runs
        .iter()
        .filter(|run| run["state"] == "superseded")
        .count();
    let (tencent, huawei) = (world.sandbox.tencent_cdn(), world.sandbox.huawei_cdn());
    for (name, cdn) in [("tencent", &tencent), ("huawei", &huawei)] {
        judge(&mut outcome, &runs, name, cdn);
    }
    outcome
}

/// Holds what the runs say of a CDN against what it did.
fn judge(outcome: &mut Outcome, runs: &[Value], name: &str, cdn: &CdnAccount) {
    let text = |purge: &Value, key: &str| purge[key].as_str().unwrap_or_default().to_owned();
    let purged = cdn.purged();
    let done: BTreeSet<(String, String)> = purged
        .iter()
        .filter(|purged| purged.ended == Some(TargetOutcome::Done))
        .map(|purged| (purged.task.clone(), purged.target.clone()))
        .collect();
    let mut named = BTreeSet::new();
    let purges = runs
        .iter()
        .flat_map(|run| run["purges"].as_array().unwrap());
    for purge in purges.filter(|purge| purge["cdn"] == name) {
        outcome.planned += 1;
        let task = text(purge, "task");
        if purge["state"] != "done" || !done.contains(&(task.clone(), text(purge, "target"))) {
            outcome.unconfirmed.push(purge.to_string());
        }
        named.insert(task);
    }
    let taken: BTreeSet<String> = purged.into_iter().map(|purged| purged.task).collect();
    outcome.in_vain += taken.difference(&named).count();
}

/// Whether the runs have ended, and the commits show it, as far as the program still answers.
async fn is_over(world: &World) -> bool {
    let Some((200, listed)) = world.get("/api/v1/runs?limit=100").await else {
        return false;
    };
    let runs: Vec<&str> = ids(&listed).collect();
    for id in &runs {
        let Some((200, run)) = world.get(&format!("/api/v1/runs/{id}")).await else {
            return false;
        };
        let last = run["statuses"].as_array().and_then(|all| all.last());
        // The text of an older run of a commit is not sent.
        let is_decided =
            last.is_some_and(|last| last["posted_at"].is_string() || last["error"].is_string());
        if run["state"] == "pending" || !is_decided {
            return false;
        }
    }
    runs.len() >= 2
}

fn ids(listed: &Value) -> impl Iterator<Item = &str> {
    let runs = listed["runs"].as_array().into_iter().flatten();
    runs.filter_map(|run| run["id"].as_str())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_any_commit_loses_no_delivery_no_purge_and_no_status() {
    let _place = places::take().await;
    let started = Instant::now();
    let mut all: Vec<(String, Outcome)> = Vec::new();
    for when in ["before", "after"] {
        let mut first = 1;
        let mut is_reached = true;
        while is_reached {
            assert!(first < MOST, "the scenario never ends by itself");
            let mut plays = tokio::task::JoinSet::new();
            for n in first..first + AT_ONCE {
                let at = format!("{when}:{n}");
                plays.spawn(async move { (at.clone(), play(at).await) });
            }
            first += AT_ONCE;
            let played = plays.join_all().await;
            is_reached = played.iter().all(|(_, outcome)| outcome.died);
            all.extend(played);
        }
    }

    let sum = |count: fn(&Outcome) -> usize| all.iter().map(|(_, one)| count(one)).sum::<usize>();
    let kills = sum(|one| usize::from(one.died));
    println!(
        "{kills} kills in {:.0} s, each at a commit of its own: {} pushes acknowledged before, {} of them lost; \
         {} commits without their final status; {} runs covered; {} purges planned, {} never confirmed; \
         {} batches in vain",
        started.elapsed().as_secs_f64(),
        sum(|one| one.acknowledged),
        sum(|one| one.lost.len()),
        sum(|one| one.unshown.len()),
        sum(|one| one.covered),
        sum(|one| one.planned),
        sum(|one| one.unconfirmed.len()),
        sum(|one| one.in_vain),
    );
    for (at, outcome) in &all {
        assert!(outcome.lost.is_empty(), "{at}: {:?}", outcome.lost);
        assert!(outcome.unshown.is_empty(), "{at}: {:?}", outcome.unshown);
        assert!(
            outcome.unconfirmed.is_empty(),
            "{at}: {:#?}",
            outcome.unconfirmed
        );
        let kill = usize::from(outcome.died);
        assert!(
            outcome.in_vain <= kill,
            "{at}: {} batches in vain",
            outcome.in_vain
        );
    }
    // Or it was not this scenario that was played.
    assert!(kills > 40, "{kills} kills");
    assert!(sum(|one| one.covered) > 0);
}
