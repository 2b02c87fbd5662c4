//! Presets against what really changed: `facts/` has what the commits of real sites changed on the built site, and each
//! preset is held to it. `measure.py` finds the facts out anew.
//!
//! `cargo test --test presets -- --nocapture` prints the figures that docs/guides/generators.md shows.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

mod facts;

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use percent_encoding::percent_decode_str;
use purgehook::changes::{ChangeKind, FilePath};
use purgehook::clock::Clock;
use purgehook::commands::init::{PRESETS, Preset};
use purgehook::commands::plan::preview;
use purgehook::config::{self, ALL_KINDS, Config};
use purgehook::http::Outbound;
use purgehook::plan::{Change, Objects};
use purgehook::purge::PurgeKind;
use purgehook::settings::Environment;

use facts::{Facts, urls};

const HOST: &str = "https://www.example.com";

/// What a preset promises.
struct Claim {
    preset: &'static str,
    /// The folder that the measured site is in.
    folder: &'static str,
    /// Built files below these folders hold a hash in their names: they never change, and no cache holds a new one.
    hashed: &'static [&'static str],
    /// All that it does not purge of what changed: the commit, and how many URLs. No path tells of these.
    missed: &'static [(&'static str, usize)],
    /// The least part of what it purges that changed, in percent.
    precision: f64,
}

const CLAIMS: &[Claim] = &[
    Claim {
        preset: "jekyll",
        folder: "",
        hashed: &[],
        missed: &[
            // `permalink` in front matter, of the post and then of a neighbour of one.
            ("a post with an address of its own", 1),
            ("a post with a category", 2),
            // A page that redirects, and the plugin's list of them.
            ("a post with an old address", 2),
            // A page with a permalink.
            ("a list's page", 1),
        ],
        precision: 26.0,
    },
    Claim {
        preset: "mkdocs",
        folder: "",
        hashed: &[],
        // The menu shows it.
        missed: &[("a page's title", 10)],
        precision: 25.0,
    },
    Claim {
        preset: "sphinx",
        folder: "docs",
        hashed: &[],
        // The theme shows it beside all pages.
        missed: &[("a page's title", 5)],
        precision: 28.0,
    },
    Claim {
        preset: "hexo",
        folder: "",
        hashed: &[],
        missed: &[
            // The sidebar of each page shows it.
            ("the newest post's title", 6),
            // `permalink` in front matter.
            ("a post with an address of its own", 1),
        ],
        precision: 38.0,
    },
    Claim {
        preset: "docusaurus",
        folder: "",
        hashed: &[],
        missed: &[],
        precision: 29.0,
    },
    Claim {
        preset: "vitepress",
        folder: "docs",
        hashed: &[],
        missed: &[],
        precision: 35.0,
    },
    Claim {
        preset: "eleventy",
        folder: "src",
        hashed: &[],
        // `permalink` in front matter.
        missed: &[("a post with an address of its own", 1)],
        precision: 21.0,
    },
    Claim {
        preset: "astro",
        folder: "",
        hashed: &["_astro/"],
        missed: &[],
        precision: 30.0,
    },
    Claim {
        preset: "next",
        folder: "",
        hashed: &[],
        missed: &[],
        precision: 19.0,
    },
    Claim {
        preset: "gatsby",
        folder: "",
        hashed: &[],
        missed: &[],
        precision: 24.0,
    },
];

/// The rules of a site that is made with a generator, checked.
fn site_with(rules: &str) -> Config {
    let rules: String = rules.lines().map(|line| format!("    {line}\n")).collect();
    let text = format!(
        "server: {{public_url: 'https://purge.example.com'}}
forges:
  github: {{kind: github, secrets: [a secret of the tests], token: a token}}
cdns:
  tencent: {{kind: tencent-cdn, secret_id: an id, secret_key: a key}}
sites:
  www:
    repo: github:acme/website
    base_urls: [{HOST}]
    cdns: [tencent]
{rules}"
    );
    let outbound = Outbound::direct(Clock::system()).unwrap();
    let loaded = config::read(
        "rules.yaml",
        &text,
        Environment::of([]),
        &outbound,
        ALL_KINDS,
    );
    let loaded = loaded.unwrap_or_else(|problems| panic!("{}\n{text}", problems.render(false)));
    let warnings = loaded.warnings.list;
    assert!(warnings.is_empty(), "{warnings:?}\n{text}");
    loaded.config
}

/// What files would purge: URLs and directories, without the host.
fn planned(config: &Config, files: &BTreeMap<FilePath, ChangeKind>) -> (Urls, Urls) {
    let site = config.sites.values().next().unwrap();
    let objects = |_: &_| -> Result<Objects, Infallible> { unreachable!("covers are exact") };
    let plan = preview(site, Change::Files(files), |_, _| None, objects).unwrap();
    assert!(plan.problems.is_empty());
    let of = |kind: PurgeKind| -> Urls {
        let purges = plan.purges.iter().filter(|purge| purge.kind == kind);
        let target = |url: &str| {
            let path = url.strip_prefix(HOST).unwrap();
            percent_decode_str(path).decode_utf8().unwrap().into_owned()
        };
        purges.map(|purge| target(&purge.target)).collect()
    };
    (of(PurgeKind::Url), of(PurgeKind::Directory))
}

type Urls = BTreeSet<String>;

/// Those of some URLs that are purged.
fn purged_of(urls: &Urls, (single, directories): &(Urls, Urls)) -> Urls {
    let hit = |url: &&String| {
        single.contains(*url) || directories.iter().any(|above| url.starts_with(above))
    };
    urls.iter().filter(hit).cloned().collect()
}

/// What commits came to.
#[derive(Default)]
struct Sum {
    /// URLs whose content changed, also to and from 404.
    changed: usize,
    /// URLs that exist before or after and that a purge was for,
    purged: usize,
    /// and those of them that changed.
    right: usize,
    /// Purges that were sent.
    purges: usize,
    /// URLs there were, before or after.
    all: usize,
    /// What changed and was not purged: the commit, and how many URLs.
    missed: Vec<(String, usize)>,
}

impl Sum {
    fn recall(&self) -> f64 {
        percent(self.right, self.changed)
    }

    fn precision(&self) -> f64 {
        percent(self.right, self.purged)
    }
}

fn percent(part: usize, of: usize) -> f64 {
    100.0 * part as f64 / of.max(1) as f64
}

/// Replays the commits of a site under some rules.
fn replayed(
    facts: &Facts,
    hashed: &[&str],
    mut plan: impl FnMut(&facts::Commit) -> (Urls, Urls),
) -> Sum {
    let mut sum = Sum::default();
    let mut there: BTreeSet<String> = facts.start.iter().cloned().collect();
    for commit in &facts.commits {
        let mut all = there.clone();
        all.extend(commit.added.iter().cloned());
        there.clone_from(&all);
        for path in &commit.removed {
            there.remove(path);
        }
        let is_kept = |path: &&String| !hashed.iter().any(|folder| path.starts_with(folder));
        let all = urls(all.iter().filter(is_kept));
        let changed = urls(commit.touched().filter(is_kept));
        let plan = plan(commit);
        let purged = purged_of(&all, &plan);
        let missed: Vec<&String> = changed.difference(&purged).collect();
        if !missed.is_empty() {
            println!("  missed by {}: {missed:?}", commit.what);
            sum.missed.push((commit.what.clone(), missed.len()));
        }
        sum.changed += changed.len();
        sum.right += purged.intersection(&changed).count();
        sum.purged += purged.len();
        sum.purges += plan.0.len() + plan.1.len();
        sum.all += all.len();
    }
    sum
}

#[test]
fn each_preset_purges_what_it_promises_to() {
    let mut table = String::new();
    for claim in CLAIMS {
        let facts = Facts::of(claim.preset);
        println!("{}", facts.tool);
        let config = site_with(&Preset::named(claim.preset).unwrap().below(claim.folder));
        let sum = replayed(&facts, claim.hashed, |commit| {
            planned(&config, &commit.sources())
        });

        table.push_str(&format!(
            "| {} | {} | {} | {:.1} % | {:.0} % | {:.0} % |\n",
            facts.tool,
            facts.commits.len(),
            sum.purges,
            sum.recall(),
            sum.precision(),
            percent(sum.changed, sum.all),
        ));
        let missed: Vec<(&str, usize)> = sum
            .missed
            .iter()
            .map(|(what, count)| (what.as_str(), *count))
            .collect();
        assert_eq!(missed, claim.missed, "{}", claim.preset);
        assert!(
            sum.precision() >= claim.precision,
            "{}: {:.1} %",
            claim.preset,
            sum.precision()
        );
    }
    println!("\n{table}");
}

#[test]
fn a_branch_of_built_files_is_purged_exactly_whatever_built_them() {
    let config = site_with(Preset::named("built").unwrap().text());
    for claim in CLAIMS {
        let facts = Facts::of(claim.preset);
        let sum = replayed(&facts, &[], |commit| planned(&config, &commit.built()));

        assert_eq!(sum.missed, [], "{}", claim.preset);
        assert_eq!(sum.right, sum.purged, "{}", claim.preset);
        assert!(sum.changed > 0);
    }
}

#[test]
fn a_site_in_a_folder_is_purged_as_one_at_the_top() {
    for claim in CLAIMS {
        let facts = Facts::of(claim.preset);
        let preset = Preset::named(claim.preset).unwrap();
        let top = site_with(&preset.below(claim.folder));
        let folder = format!("the.site/{}", claim.folder);
        let below = site_with(&preset.below(folder.trim_end_matches('/')));
        let within = match claim.folder {
            "" => String::new(),
            folder => format!("{folder}/"),
        };

        for commit in &facts.commits {
            // What lies beside the site's folder differs: it is not the site's there.
            let mut files = commit.sources();
            let inside = |path: &FilePath| path.as_bytes().starts_with(within.as_bytes());
            files.retain(|path, _| inside(path));
            let moved = files
                .iter()
                .map(|(path, kind)| {
                    let moved = [b"the.site/", path.as_bytes()].concat();
                    (FilePath::new(moved), *kind)
                })
                .collect();
            assert_eq!(
                planned(&top, &files),
                planned(&below, &moved),
                "{}: {}",
                claim.preset,
                commit.what
            );
        }
    }
}

#[test]
fn the_example_is_the_preset_for_hugo() {
    let text = include_str!("../../rules.yaml");
    let names = [
        "GITHUB_WEBHOOK_SECRET",
        "GITHUB_TOKEN",
        "TENCENTCLOUD_SECRET_ID",
        "TENCENTCLOUD_SECRET_KEY",
    ];
    let set = Environment::of(names.map(|name| (name, "a-secret-of-the-tests")));
    let outbound = Outbound::direct(Clock::system()).unwrap();
    let example = config::read("rules.yaml", text, set, &outbound, ALL_KINDS);
    let example = example.unwrap_or_else(|problems| panic!("{}", problems.render(false)));
    let preset = site_with(Preset::named("hugo").unwrap().text());

    let (example, preset) = (&example.config.sites["www"], &preset.sites["www"]);
    assert_eq!(example.rules.rules(), preset.rules.rules());
    assert_eq!(example.rules.ignore(), preset.rules.ignore());
}

#[test]
fn every_preset_can_be_used_at_the_top_and_in_a_folder() {
    for preset in PRESETS {
        site_with(preset.text());
        site_with(&preset.below("packages/web site"));
    }
}
