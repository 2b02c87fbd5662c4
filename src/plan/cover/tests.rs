//! Tests that covers are complete, and that none is cheaper.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const ROOT: &str = "https://www.example.com/";

fn purge(kind: PurgeKind, path: &str, mode: Option<Mode>) -> PlannedPurge {
    PlannedPurge {
        cdn: "tencent".to_owned(),
        kind,
        target: format!("{ROOT}{path}"),
        mode,
        rule: "files".to_owned(),
        path: Some(path.to_owned()),
    }
}

fn url(path: &str) -> PlannedPurge {
    purge(PurgeKind::Url, path, None)
}

/// URLs `{start}0` to before `{start}{count}`.
fn urls(start: &str, count: usize) -> Vec<PlannedPurge> {
    (0..count).map(|n| url(&format!("{start}{n}"))).collect()
}

fn budget(cover: Cover, urls: Option<u64>, directories: Option<u64>) -> Budget {
    Budget {
        cover,
        urls: Allowance {
            per_request: 1_000,
            left: urls,
        },
        directories: Some(Allowance {
            per_request: 500,
            left: directories,
        }),
        roots: vec![ROOT.to_owned()],
        objects: BTreeMap::new(),
    }
}

fn holding(mut budget: Budget, objects: &[(&str, u64)]) -> Budget {
    budget.objects = objects
        .iter()
        .map(|(path, count)| (format!("{ROOT}{path}"), *count))
        .collect();
    budget
}

fn holding_also(mut budget: Budget, path: &str, count: u64) -> Budget {
    budget.objects.insert(format!("{ROOT}{path}"), count);
    budget
}

fn cover_order(purges: &[PlannedPurge]) -> Vec<PlannedPurge> {
    let mut sorted = purges.to_vec();
    sorted.sort();
    sorted
}

/// The directories among some purges, without the root.
fn directories(covered: &Covered) -> Vec<&str> {
    covered
        .purges
        .iter()
        .filter(|purge| purge.kind == PurgeKind::Directory)
        .filter_map(|purge| purge.target.strip_prefix(ROOT))
        .collect()
}

#[test]
fn what_keeps_the_quota_stays_as_the_rules_say() {
    let wanted = urls("a/", 500);

    let covered = cover(&wanted, &budget(Cover::OverQuota, Some(500), Some(100)));

    assert_eq!(covered.purges.len(), 500);
    assert_eq!(covered.notes, [""; 0]);
}

#[test]
fn an_exact_plan_over_the_quota_waits_and_gets_no_wider() {
    let wanted = urls("a/", 60);

    let covered = cover(&wanted, &budget(Cover::Exact, Some(50), Some(100)));

    assert_eq!(covered.purges, cover_order(&wanted));
    assert_eq!(
        covered.notes,
        ["tencent: 10 of 60 URLs are over what is left of today's quota and wait for its reset"]
    );
}

#[test]
fn over_the_quota_directories_stand_for_urls() {
    let wanted = [urls("a/", 60), urls("b/", 30), urls("", 5)].concat();

    let covered = cover(&wanted, &budget(Cover::OverQuota, Some(50), Some(1)));

    assert_eq!(directories(&covered), ["a/"]);
    assert_eq!(covered.purges.len(), 36);
    assert_eq!(
        covered.notes,
        [
            "tencent: the rules ask for 95 URLs, of which 45 are over what is left of today's quota, \
             so directories are deleted instead",
            "tencent: deleting https://www.example.com/a/ stands for 60 purges that the rules ask for",
        ]
    );
    let directory = covered.purges.iter().find(|p| p.mode.is_some()).unwrap();
    assert_eq!(directory.mode, Some(Mode::Delete));
    assert_eq!(directory.path.as_deref(), Some("a/0"));
}

#[test]
fn what_no_cover_brings_under_the_quota_waits_and_is_said() {
    let none_left = cover(&urls("a/", 3), &budget(Cover::OverQuota, Some(2), Some(0)));
    let mut cannot = budget(Cover::Cheapest, Some(2), None);
    cannot.directories = None;
    let cannot = cover(&urls("a/", 3), &cannot);

    for covered in [none_left, cannot] {
        assert_eq!(covered.purges, urls("a/", 3));
        assert_eq!(
            covered.notes,
            ["tencent: 1 of 3 URLs are over what is left of today's quota and wait for its reset"]
        );
    }
}

#[test]
fn the_cheapest_cover_weighs_the_quota_against_what_did_not_change() {
    let wanted = [urls("a/", 400), urls("b/", 400), urls("c/", 40)].concat();
    let budget = budget(Cover::Cheapest, None, None);

    let budget = holding(
        budget,
        &[("", 10_000), ("a/", 450), ("b/", 900), ("c/", 40)],
    );

    assert_eq!(directories(&cover(&wanted, &budget)), ["a/"]);
}

#[test]
fn a_directory_outside_the_site_is_never_chosen() {
    let mut budget = budget(Cover::Cheapest, Some(0), Some(100));
    budget.roots = vec![format!("{ROOT}blog/")];

    let covered = cover(&[urls("blog/", 5), urls("shop/", 5)].concat(), &budget);

    assert_eq!(directories(&covered), ["blog/"]);
    assert_eq!(covered.purges.len(), 6);
}

#[test]
fn a_query_is_no_path_and_a_page_lies_in_its_own_directory() {
    let wanted = [url("a/?x=/b/c"), url("a/b?c/d")];

    let covered = cover(&wanted, &budget(Cover::OverQuota, Some(0), Some(1)));

    assert_eq!(directories(&covered), ["a/"]);
    assert_eq!(covered.purges.len(), 1);
}

#[test]
fn prefetches_stay_and_flushed_directories_cover_nothing() {
    let flushed = purge(PurgeKind::Directory, "a/", Some(Mode::Flush));
    let prefetch = purge(PurgeKind::Prefetch, "a/0", None);
    let mut wanted = urls("a/", 5);
    wanted.extend([flushed, prefetch.clone()]);

    let within = cover(&wanted, &budget(Cover::OverQuota, Some(5), Some(1)));
    let over = cover(&wanted, &budget(Cover::OverQuota, Some(4), Some(1)));

    assert_eq!(within.purges.len(), 7);
    assert_eq!(over.purges.len(), 2);
    assert_eq!(over.purges[0].mode, Some(Mode::Delete));
    assert_eq!(over.purges[1], prefetch);
}

#[test]
fn a_site_of_many_pages_in_directories_of_their_own_is_covered_within_the_quota() {
    let wanted: Vec<PlannedPurge> = (0..20_000)
        .map(|n| url(&format!("{}/{}/{n}/", n % 10, n % 400)))
        .collect();

    let covered = cover(&wanted, &budget(Cover::OverQuota, Some(10_000), Some(100)));

    let counts = Counts::of(&covered.purges);
    assert!(
        counts.urls <= 10_000 && counts.directories <= 100,
        "{counts}"
    );
}

/// A small site: its objects by path, which of them changed, and directories that rules ask for.
#[derive(Clone, Debug)]
struct Small {
    objects: BTreeSet<String>,
    changed: BTreeSet<String>,
    asked: Vec<(String, Option<Mode>)>,
    budget: Budget,
}

fn small() -> impl Strategy<Value = Small> {
    let left = || prop_oneof![1 => Just(None), 4 => (0u64..6).prop_map(Some)];
    let mode = prop_oneof![
        Just(None),
        Just(Some(Mode::Flush)),
        Just(Some(Mode::Delete))
    ];
    (
        proptest::collection::btree_set("([ab]/){0,3}[abcd]?", 1..24),
        any::<u64>(),
        proptest::collection::vec(("([ab]/){0,3}", mode), 0..3),
        (left(), left(), 1usize..4, any::<bool>()),
        (1u64..200, 0u64..3),
    )
        .prop_map(
            |(objects, seed, asked, (urls, dirs, per_request, cheapest), (weight, rest))| {
                let mut random = fastrand::Rng::with_seed(seed);
                let changed = objects
                    .iter()
                    .filter(|_| random.u64(..3) >= rest)
                    .cloned()
                    .collect();
                let cover = if cheapest {
                    Cover::Cheapest
                } else {
                    Cover::OverQuota
                };
                let mut budget = budget(cover, urls, dirs);
                budget.urls.per_request = per_request;
                // Each object counts for several, so that prices meet.
                for path in &objects {
                    for above in directories_above(&format!("{ROOT}{path}")) {
                        *budget.objects.entry(above.to_owned()).or_default() += weight;
                    }
                }
                for (path, _) in &asked {
                    for above in directories_above(&format!("{ROOT}{path}")) {
                        budget.objects.entry(above.to_owned()).or_default();
                    }
                }
                Small {
                    objects,
                    changed,
                    asked,
                    budget,
                }
            },
        )
}

impl Small {
    /// What a plan would want: nothing twice, and nothing below a directory that is deleted.
    fn wanted(&self) -> Vec<PlannedPurge> {
        let mut asked: BTreeMap<&str, Option<Mode>> = BTreeMap::new();
        for (path, mode) in &self.asked {
            let most = asked.entry(path).or_default();
            *most = (*most).max(*mode);
        }
        let deleted: Vec<&str> = asked
            .iter()
            .filter(|(_, mode)| **mode == Some(Mode::Delete))
            .map(|(path, _)| *path)
            .collect();
        let below = |path: &str, itself: bool| {
            let within = |above: &str| path.starts_with(above) && (itself || path != above);
            deleted.iter().any(|above| within(above))
        };
        let urls = self.changed.iter().filter(|path| !below(path, true));
        let directories = asked.iter().filter(|(path, _)| !below(path, false));
        urls.map(|path| url(path))
            .chain(directories.map(|(path, mode)| purge(PurgeKind::Directory, path, *mode)))
            .collect()
    }

    /// What purges come to, counted object by object.
    fn price(&self, wanted: &[PlannedPurge], purges: &[PlannedPurge]) -> Price {
        let counts = Counts::of(purges);
        let deleted = |purges: &[PlannedPurge]| -> Vec<String> {
            let deleted = purges.iter().filter(|p| p.mode == Some(Mode::Delete));
            deleted.map(|p| p.target.clone()).collect()
        };
        let weight = |purges: &[PlannedPurge]| -> u64 {
            let deleted = deleted(purges);
            let hit = |path: &&String| {
                let target = format!("{ROOT}{path}");
                deleted
                    .iter()
                    .any(|above| target.starts_with(above.as_str()))
            };
            self.objects.iter().filter(hit).count() as u64
        };
        let each = self.budget.objects.get(ROOT).copied().unwrap_or(0) / self.objects.len() as u64;
        // A wanted URL in a chosen directory is one object that changed, whatever the directory's count says.
        let spared = |deleted: &[String]| {
            let spared = wanted.iter().filter(|p| p.kind == PurgeKind::Url);
            let hit = |p: &&PlannedPurge| deleted.iter().any(|d| p.target.starts_with(d.as_str()));
            spared.filter(hit).count() as u64
        };
        let unchanged = (weight(purges) - weight(wanted)) * each - spared(&deleted(purges));
        let budget = &self.budget;
        let directory = DIRECTORY + budget.directories.map_or(0, share);
        Price {
            overflow: counts.over(budget),
            cost: counts.urls * (URL + share(budget.urls))
                + counts.directories * directory
                + unchanged * OBJECT,
        }
    }

    /// The least price of any choice of directories.
    fn least(&self, wanted: &[PlannedPurge]) -> Price {
        let mut directories: BTreeSet<&str> = BTreeSet::new();
        for purge in wanted {
            directories.extend(directories_above(&purge.target));
        }
        let directories: Vec<&str> = directories.into_iter().collect();
        let before = Counts::of(wanted).directories;
        let left = self.budget.directories.and_then(|allowance| allowance.left);
        let most = left.map_or(u64::MAX, |left| left.max(before));
        let choices = (0..1u32 << directories.len()).map(|bits| -> Vec<String> {
            let chosen = directories
                .iter()
                .enumerate()
                .filter(|(i, _)| bits >> i & 1 == 1);
            chosen
                .map(|(_, directory)| (*directory).to_owned())
                .collect()
        });
        choices
            .filter(|chosen| {
                let nested = |d: &String| {
                    chosen
                        .iter()
                        .any(|above| d != above && d.starts_with(above.as_str()))
                };
                !chosen.iter().any(nested)
            })
            .map(|chosen| replace(wanted.to_vec(), &chosen, &mut Vec::new()))
            .filter(|purges| Counts::of(purges).directories <= most)
            .map(|purges| self.price(wanted, &purges))
            .min()
            .unwrap()
    }
}

fn is_covered(wanted: &PlannedPurge, purges: &[PlannedPurge]) -> bool {
    purges.iter().any(|purge| {
        let same = purge.kind == wanted.kind && purge.target == wanted.target;
        let above = wanted.kind != PurgeKind::Prefetch
            && purge.mode == Some(Mode::Delete)
            && wanted.target.starts_with(&purge.target);
        (same && purge.mode >= wanted.mode) || above
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_other_choice_of_directories_is_cheaper(small in small()) {
        let wanted = small.wanted();
        let covered = cover(&wanted, &small.budget);

        for purge in &wanted {
            prop_assert!(is_covered(purge, &covered.purges), "{:?}", purge);
        }
        prop_assert!(covered.purges.is_sorted());
        let price = small.price(&wanted, &covered.purges);
        if small.budget.cover == Cover::OverQuota && Counts::of(&wanted).over(&small.budget) == 0 {
            prop_assert_eq!(covered.purges.len(), wanted.len());
        } else {
            prop_assert_eq!(price, small.least(&wanted));
        }
    }

    #[test]
    fn where_none_may_be_chosen_no_number_of_objects_makes_one_so(
        small in small(),
        urls in 0u64..120,
        objects in proptest::collection::btree_map("([ab]/){0,3}", 0u64..3, 0..6),
    ) {
        let mut wanted = small.wanted();
        // Enough of them, at times, to be worth a directory.
        wanted.extend((0..urls).map(|n| url(&format!("a/b/a/{n}"))).filter(|url| !is_covered(url, &wanted)).collect::<Vec<_>>());
        let budget = objects.iter().fold(small.budget, |budget, (path, n)| holding_also(budget, path, *n));

        let covered = cover(&wanted, &budget);

        if !budget.may_choose(&wanted) {
            prop_assert_eq!(covered.purges, cover_order(&wanted));
        }
    }

    #[test]
    fn a_cover_does_not_depend_on_the_order(small in small(), seed in any::<u64>()) {
        let mut wanted = small.wanted();
        let one = cover(&wanted, &small.budget);
        fastrand::Rng::with_seed(seed).shuffle(&mut wanted);

        prop_assert_eq!(one, cover(&wanted, &small.budget));
    }
}
