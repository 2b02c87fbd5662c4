//! What a day of pushes costs under three rules: each changed URL by itself; at most eight paths, climbing
//! directories until they are few enough and else everything (as s3deploy does); and purgehook's covers.
//!
//! `cargo bench --bench covers`. Two histories are real: this repository's own, each path a URL, and that of the
//! Hugo site of the tests, with what each commit changed in its build (it needs git and hugo). The others are
//! made up, after the kinds of commits that sites get. Each is taken as one day. Nothing is timed but the planning.

#![allow(
    clippy::unwrap_used,
    reason = "a bench that cannot go on should say where"
)]

#[path = "../tests/program/hugo/history.rs"]
mod history;
#[path = "../tests/program/hugo/site.rs"]
mod site;

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::{Duration, Instant};

use purgehook::plan::{Allowance, Budget, Cover, cover};
use purgehook::purge::{Mode, PlannedPurge, PurgeKind};

const ROOT: &str = "https://www.example.com/";
/// A day's quotas and the size of a request, as accounts start at Tencent (CDN API 2018-06-06).
const URLS_A_DAY: u64 = 10_000;
const DIRECTORIES_A_DAY: u64 = 100;
const URLS_A_REQUEST: usize = 1_000;
const DIRECTORIES_A_REQUEST: usize = 500;

type Push = BTreeSet<String>;

/// A site's URLs, and one day's pushes: the URLs that each changes.
struct History {
    name: &'static str,
    urls: BTreeSet<String>,
    pushes: Vec<Push>,
}

/// What a day came to.
#[derive(Default)]
struct Day {
    requests: usize,
    urls: u64,
    directories: u64,
    /// Objects that were purged though they did not change.
    collateral: usize,
    /// Targets that were over the quota when they were planned.
    waiting: u64,
    /// The longest any push took to plan.
    longest: Duration,
}

fn main() {
    println!(
        "{:<34} {:<12} {:>8} {:>8} {:>12} {:>11} {:>8} {:>11}",
        "a day of",
        "rule",
        "requests",
        "URLs",
        "directories",
        "collateral",
        "waiting",
        "longest ms"
    );
    for history in histories() {
        let changed: usize = history.pushes.iter().map(BTreeSet::len).sum();
        println!(
            "{}: {} pushes, {changed} changes, {} URLs",
            history.name,
            history.pushes.len(),
            history.urls.len()
        );
        print("each URL", &day(&history, |push, _| each(push)));
        print("eight paths", &day(&history, |push, _| eight(push)));
        for (name, mode) in [
            ("over_quota", Cover::OverQuota),
            ("cheapest", Cover::Cheapest),
        ] {
            let objects = objects(&history.urls);
            print(
                name,
                &day(&history, |push, left| {
                    let budget = budget(mode, left, objects.clone());
                    let started = Instant::now();
                    let covered = cover(&each(push).0, &budget);
                    (covered.purges, started.elapsed())
                }),
            );
        }
    }
}

fn print(rule: &str, day: &Day) {
    let Day {
        requests,
        urls,
        directories,
        collateral,
        waiting,
        longest,
    } = day;
    let longest = longest.as_secs_f64() * 1e3;
    println!(
        "{:<34} {rule:<12} {requests:>8} {urls:>8} {directories:>12} {collateral:>11} {waiting:>8} {longest:>11.1}",
        ""
    );
}

/// Plans a day's pushes by a rule, which is told how many URLs and directories are left.
fn day(
    history: &History,
    plan: impl Fn(&Push, (u64, u64)) -> (Vec<PlannedPurge>, Duration),
) -> Day {
    let mut day = Day::default();
    for push in &history.pushes {
        let left = (
            URLS_A_DAY.saturating_sub(day.urls),
            DIRECTORIES_A_DAY.saturating_sub(day.directories),
        );
        let (purges, took) = plan(push, left);
        let (mut urls, mut directories) = (0_usize, 0_usize);
        let mut deleted = BTreeSet::new();
        for purge in &purges {
            match purge.kind {
                PurgeKind::Url => urls += 1,
                PurgeKind::Directory => {
                    directories += 1;
                    deleted.insert(purge.target.as_str());
                }
                PurgeKind::Prefetch => {}
            }
        }
        day.requests += urls.div_ceil(URLS_A_REQUEST) + directories.div_ceil(DIRECTORIES_A_REQUEST);
        day.urls += urls as u64;
        day.directories += directories as u64;
        day.waiting += (urls as u64).saturating_sub(left.0);
        day.waiting += (directories as u64).saturating_sub(left.1);
        let purged = |url: &&String| above(url).any(|directory| deleted.contains(directory));
        let unchanged = history.urls.iter().filter(|url| !push.contains(*url));
        day.collateral += unchanged.filter(purged).count();
        day.longest = day.longest.max(took);
    }
    day
}

fn purge(kind: PurgeKind, target: String) -> PlannedPurge {
    let mode = match kind {
        PurgeKind::Directory => Some(Mode::Delete),
        PurgeKind::Url | PurgeKind::Prefetch => None,
    };
    PlannedPurge {
        cdn: "cdn".to_owned(),
        kind,
        target,
        mode,
        rule: "site".to_owned(),
        path: None,
    }
}

fn each(push: &Push) -> (Vec<PlannedPurge>, Duration) {
    let purges = push.iter().map(|url| purge(PurgeKind::Url, url.clone()));
    (purges.collect(), Duration::ZERO)
}

/// s3deploy's rule: paths are cut at ever fewer levels until there are eight; if there never are, it is everything.
fn eight(push: &Push) -> (Vec<PlannedPurge>, Duration) {
    let mut targets = push.clone();
    let depth = |url: &String| above(url).count();
    let mut level = targets.iter().map(depth).max().unwrap_or(0);
    while targets.len() > 8 && level > 1 {
        level -= 1;
        let cut = |url: &String| above(url).nth(level).unwrap_or(url).to_owned();
        targets = targets.iter().map(cut).collect();
    }
    if targets.len() > 8 {
        targets = BTreeSet::from([ROOT.to_owned()]);
    }
    let purges = targets.into_iter().map(|target| {
        let kind = if push.contains(&target) {
            PurgeKind::Url
        } else {
            PurgeKind::Directory
        };
        purge(kind, target)
    });
    (purges.collect(), Duration::ZERO)
}

fn budget(cover: Cover, (urls, directories): (u64, u64), objects: BTreeMap<String, u64>) -> Budget {
    Budget {
        cover,
        urls: Allowance {
            per_request: URLS_A_REQUEST,
            left: Some(urls),
        },
        directories: Some(Allowance {
            per_request: DIRECTORIES_A_REQUEST,
            left: Some(directories),
        }),
        roots: vec![ROOT.to_owned()],
        objects,
    }
}

/// The directories a URL is in, outermost first.
fn above(url: &str) -> impl Iterator<Item = &str> {
    url.match_indices('/')
        .map(|(index, _)| index)
        .filter(|index| *index + 1 >= ROOT.len())
        .filter_map(|index| url.get(..=index))
}

fn objects(urls: &BTreeSet<String>) -> BTreeMap<String, u64> {
    let mut objects = BTreeMap::new();
    for directory in urls.iter().flat_map(|url| above(url)) {
        *objects.entry(directory.to_owned()).or_default() += 1;
    }
    objects
}

/// URLs of a site under a pattern of its own.
fn urls(prefix: &str, count: usize, name: impl Fn(usize) -> String) -> BTreeSet<String> {
    (0..count)
        .map(|n| format!("{ROOT}{prefix}{}", name(n)))
        .collect()
}

/// Some of a site's URLs, drawn at random.
fn some(random: &mut fastrand::Rng, urls: &BTreeSet<String>, count: usize) -> Push {
    let urls: Vec<&String> = urls.iter().collect();
    (0..count)
        .map(|_| urls[random.usize(..urls.len())].clone())
        .collect()
}

/// Those below a directory.
fn below(urls: &BTreeSet<String>, directory: &str) -> Push {
    let start = format!("{ROOT}{directory}");
    urls.iter()
        .filter(|url| url.starts_with(&start))
        .cloned()
        .collect()
}

/// This repository's commits, as if its files were served.
fn own() -> History {
    let output = Command::new("git")
        .args(["-C", env!("CARGO_MANIFEST_DIR"), "log", "--reverse"])
        .args(["--no-renames", "--name-only", "-z", "--format=%x01"])
        .output()
        .expect("git is needed");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let pushes: Vec<Push> = text
        .split('\u{1}')
        .map(|commit| {
            let paths = commit.split(['\0', '\n']).filter(|path| !path.is_empty());
            paths.map(|path| format!("{ROOT}{path}")).collect()
        })
        .filter(|push: &Push| !push.is_empty())
        .collect();
    History {
        name: "this repository's commits",
        urls: pushes.iter().flatten().cloned().collect(),
        pushes,
    }
}

/// What the commits to the tests' Hugo site changed in its build.
fn hugo() -> History {
    let site = site::Site::new();
    let mut before = site.build();
    let mut urls = BTreeSet::new();
    let mut pushes = Vec::new();
    for step in history::HISTORY {
        (step.change)(&site);
        site.commit(step.what);
        let after = site.build();
        let all: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        let changed = all
            .iter()
            .filter(|url| before.get(**url) != after.get(**url));
        let at = |url: &String| format!("{ROOT}{}", url.trim_start_matches('/'));
        pushes.push(changed.map(|url| at(url)).collect());
        urls.extend(all.into_iter().map(at));
        before = after;
    }
    History {
        name: "a Hugo site's commits",
        urls,
        pushes,
    }
}

fn histories() -> Vec<History> {
    let mut random = fastrand::Rng::with_seed(11);
    let random = &mut random;
    let mut histories = vec![own(), hugo()];

    // A blog: posts in directories of their own, and what they show.
    let posts = urls("posts/", 1_500, |n| format!("{}/post-{n}/", 2015 + n % 12));
    let images = urls("images/", 4_000, |n| format!("{}/{n}.jpg", 2015 + n % 12));
    let theme = urls("theme/", 60, |n| format!("{n}.css"));
    let blog = &(&posts | &images) | &theme;
    let mut pushes: Vec<Push> = (0..8).map(|_| some(random, &posts, 2)).collect();
    pushes.push(below(&blog, "images/2026/"));
    pushes.push(theme.clone());
    pushes.push(posts.clone());
    histories.push(History {
        name: "a blog",
        urls: blog,
        pushes,
    });

    // Documentation of a dozen versions; a release writes one anew and touches the newest pages of the others.
    let docs: BTreeSet<String> = (0..12)
        .flat_map(|version| {
            urls(&format!("docs/v{version}/"), 1_200, |n| {
                format!("{}/page-{n}.html", n % 30)
            })
        })
        .collect();
    let mut pushes = vec![below(&docs, "docs/v11/")];
    pushes.extend((0..20).map(|_| some(random, &below(&docs, "docs/v11/"), 5)));
    pushes.push(&below(&docs, "docs/v11/") | &some(random, &docs, 300));
    pushes.push(
        docs.iter()
            .filter(|url| url.contains("/7/"))
            .cloned()
            .collect(),
    );
    histories.push(History {
        name: "versioned documentation",
        urls: docs,
        pushes,
    });

    // A shop: products by category in three languages, images in nine sizes; prices change all day.
    let products: BTreeSet<String> = ["en", "de", "zh"]
        .iter()
        .flat_map(|language| {
            urls(&format!("{language}/"), 6_000, |n| {
                format!("category-{}/product-{n}/", n % 80)
            })
        })
        .collect();
    let images: BTreeSet<String> = (1..10)
        .flat_map(|size| {
            urls(&format!("media/{size}00/"), 6_000, |n| {
                format!("{}/{n}.webp", n % 80)
            })
        })
        .collect();
    let shop = &products | &images;
    let mut pushes: Vec<Push> = (0..24).map(|_| some(random, &products, 150)).collect();
    pushes.push(below(&shop, "de/"));
    pushes.push(
        shop.iter()
            .filter(|url| url.contains("/7/"))
            .cloned()
            .collect(),
    );
    pushes.push(
        products
            .iter()
            .filter(|url| url.contains("/category-1"))
            .cloned()
            .collect(),
    );
    histories.push(History {
        name: "a shop",
        urls: shop,
        pushes,
    });

    // An application's hashed files: every build writes a tenth anew, and its pages.
    let pages = urls("", 40, |n| format!("page-{n}.html"));
    let files = urls("assets/", 3_000, |n| format!("{}/{n}.js", n % 6));
    let app = &pages | &files;
    let pushes = (0..40)
        .map(|_| &pages | &some(random, &files, 300))
        .collect();
    histories.push(History {
        name: "an application, 40 builds",
        urls: app,
        pushes,
    });
    histories
}
