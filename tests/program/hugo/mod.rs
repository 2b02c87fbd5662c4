//! What rules purge against what really changed: a Hugo site of some 100 URLs is built before and after each
//! commit of its history, and the two builds are compared byte for byte.
//!
//! `cargo test --test program hugo -- --nocapture` prints the figures that docs/benchmarks.md shows.

mod history;
mod site;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use percent_encoding::percent_decode_str;
use serde_json::Value;

use history::HISTORY;
use site::Site;

const HOST: &str = "https://www.example.com";
/// The example, which these figures are about.
const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/rules.yaml");

type Urls = BTreeSet<String>;

/// What commits came to, under some rules.
#[derive(Clone, Copy, Default)]
struct Sum {
    /// URLs whose content changed, also to and from 404.
    changed: usize,
    /// URLs that exist before or after and that a purge was for,
    purged: usize,
    /// and those of them that changed.
    right: usize,
    /// Purges that were sent.
    purges: usize,
}

impl Sum {
    fn add(&mut self, other: Self) {
        self.changed += other.changed;
        self.purged += other.purged;
        self.right += other.right;
        self.purges += other.purges;
    }

    /// Of what changed, the part that was purged, in percent.
    fn recall(&self) -> f64 {
        percent(self.right, self.changed)
    }

    /// Of what was purged, the part that changed, in percent.
    fn precision(&self) -> f64 {
        percent(self.right, self.purged)
    }
}

fn percent(part: usize, of: usize) -> f64 {
    if of == 0 {
        return 100.0;
    }
    100.0 * part as f64 / of as f64
}

/// The URLs that differ, and all there are.
fn compare(before: &BTreeMap<String, Vec<u8>>, after: &BTreeMap<String, Vec<u8>>) -> (Urls, Urls) {
    let all: Urls = before.keys().chain(after.keys()).cloned().collect();
    let changed = all.iter().filter(|url| before.get(*url) != after.get(*url));
    (changed.cloned().collect(), all)
}

/// What `purgehook plan` would purge for the last commit: URLs and directories, without the host.
fn planned(rules: &Path, site: &Site) -> (Urls, Urls) {
    let output = Command::new(env!("CARGO_BIN_EXE_purgehook"))
        .args(["plan", "--json", "--site", "www", "--from", "HEAD~1"])
        .arg("--rules")
        .arg(rules)
        .arg("--repo")
        .arg(site.path())
        .env("GITHUB_WEBHOOK_SECRET", "a secret of the tests")
        .env("GITHUB_TOKEN", "a token of the tests")
        .env("TENCENTCLOUD_SECRET_ID", "an id of the tests")
        .env("TENCENTCLOUD_SECRET_KEY", "a key of the tests")
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words}");
    let plan: Value = serde_json::from_slice(&output.stdout).unwrap();
    let of = |kind: &str| -> Urls {
        let purges = plan["purges"].as_array().unwrap().iter();
        purges
            .filter(|purge| purge["kind"] == kind)
            .map(|purge| purge["target"].as_str().unwrap())
            .map(|target| target.strip_prefix(HOST).unwrap().to_owned())
            .collect()
    };
    (of("url"), of("directory"))
}

/// Those of some URLs that a plan purges.
fn purged_of(urls: &Urls, (single, directories): &(Urls, Urls)) -> Urls {
    let hit = |url: &&String| {
        single.contains(*url) || directories.iter().any(|above| url.starts_with(above))
    };
    urls.iter().filter(hit).cloned().collect()
}

fn measured(changed: &Urls, all: &Urls, plan: &(Urls, Urls)) -> Sum {
    let purged = purged_of(all, plan);
    let (urls, directories) = plan;
    Sum {
        changed: changed.len(),
        purged: purged.len(),
        right: purged.intersection(changed).count(),
        purges: urls.len() + directories.len(),
    }
}

/// The example with other rules than its own.
fn example_with(directory: &Path, name: &str, rules: &str) -> PathBuf {
    let example = fs::read_to_string(EXAMPLE).unwrap();
    let (head, _) = example.split_once("\n    rules:\n").unwrap();
    let path = directory.join(name);
    fs::write(&path, format!("{head}\n    rules:\n{rules}")).unwrap();
    path
}

/// Each file to its own URL, and the theme to everything.
const OWN_PAGES: &str = r#"
      - {name: pages, match: ["content/**/*.md"], strip: content/, urls: ["/{page}"]}
      - {name: files, match: ["static/**"], strip: static/, urls: ["/{path}"]}
      - {name: theme, match: ["layouts/**", "config.toml"], directories: ["/"], mode: delete}
"#;

/// What no rule can know from a file's path: the alias is written in the file.
const MISSED: [&str; 1] = ["a post with an alias: /old/nineteen/"];

#[test]
fn the_example_purges_all_that_a_hugo_sites_commits_change() {
    let other = tempfile::tempdir().unwrap();
    let own_pages = example_with(other.path(), "own.yaml", OWN_PAGES);
    let site = Site::new();
    let mut before = site.build();
    let mut kinds: Vec<(&str, Sums)> = Vec::new();
    let mut missed = Vec::new();

    for step in HISTORY {
        (step.change)(&site);
        site.commit(step.what);
        let after = site.build();
        let (changed, all) = compare(&before, &after);
        let example = planned(Path::new(EXAMPLE), &site);
        let purged = purged_of(&changed, &example);
        missed.extend(
            changed
                .difference(&purged)
                .map(|url| format!("{}: {url}", step.what)),
        );
        let sums = Sums {
            own: measured(&changed, &all, &planned(&own_pages, &site)),
            example: measured(&changed, &all, &example),
            all: all.len(),
        };
        match kinds.last_mut() {
            Some((what, kind)) if *what == step.what => kind.add(sums),
            Some(_) | None => kinds.push((step.what, sums)),
        }
        before = after;
    }

    println!("{}", table(&kinds, before.len()));
    assert_eq!(missed, MISSED);
    let mut sum = Sums::default();
    kinds.iter().for_each(|(_, sums)| sum.add(*sums));
    let everything = percent(sum.example.changed, sum.all);
    assert!(
        sum.example.precision() >= 1.3 * everything,
        "the rules purge hardly less than everything"
    );
    assert!(
        sum.example.purges <= 8 * HISTORY.len(),
        "the rules ask for many purges a commit"
    );
}

/// Names of pages that Hugo spells in a way of its own.
const ODD_NAMES: &[&str] = &[
    "My Page.md",
    "About_Us.md",
    "UPPER.md",
    "Größe.md",
    "émile É.md",
    "中文 页.md",
    "ΣΑΣ.md",
    "İstanbul.md",
    "a - b.md",
    "a  b c.md",
    "a--d.md",
    "a_ _e.md",
    "v1.2 notes.md",
    "v1.3.md",
    "100%.md",
    "What's new?.md",
    "(draft) x.md",
    "Q&A – Fun.md",
    "don’t.md",
    "[id].md",
    "C# Tips.md",
    "at@x+y.md",
    "~tilde.md",
    "emoji 😀 x.md",
    " lead.md",
    "trail .md",
    "-dash-.md",
    "№5 ①.md",
    "Docs Dir/_index.md",
    "Docs Dir/Sub Dir/My Setup.md",
    "Docs Dir/My Bundle/index.md",
];

#[test]
fn pages_are_purged_at_the_addresses_that_hugo_gives_them() {
    let other = tempfile::tempdir().unwrap();
    let rules = r#"
      - {name: pages, match: ["content/**/*.md"], strip: content/, urls: ["/{page|hugo}"]}
"#;
    let rules = example_with(other.path(), "pages.yaml", rules);
    let site = Site::new();
    let before = site.build();
    for name in ODD_NAMES {
        let text = "---\ntitle: Odd\ndate: 2024-01-01\n---\nA page.\n";
        site.write(&format!("content/{name}"), text);
    }
    site.commit("Pages of all kinds of names");
    let after = site.build();

    let (planned, _) = planned(&rules, &site);
    let planned: Urls = planned
        .iter()
        .map(|url| percent_decode_str(url).decode_utf8().unwrap().into_owned())
        .collect();
    let is_page = |url: &&String| url.ends_with('/') && !url.contains("/page/");
    let pages: Urls = after
        .keys()
        .filter(|url| !before.contains_key(*url))
        .filter(is_page)
        .cloned()
        .collect();

    // A directory of pages is a section, whether it has a page of its own or not.
    let sections = BTreeSet::from(["/docs-dir/sub-dir/".to_owned()]);
    let pages: Urls = pages.difference(&sections).cloned().collect();
    assert_eq!(planned, pages);
    assert_eq!(planned.len(), ODD_NAMES.len());
}

#[test]
fn translations_are_purged_at_the_addresses_that_hugo_gives_them() {
    let other = tempfile::tempdir().unwrap();
    let rules = r#"
      - {name: pages, match: ["content/**/*.md"], strip: content/, urls: ["/{page|lang:en=,zh,pt-br|hugo}"]}
"#;
    let rules = example_with(other.path(), "languages.yaml", rules);
    let site = Site::new();
    let languages =
        "\n[languages.en]\nweight = 1\n[languages.zh]\nweight = 2\n[languages.pt-br]\nweight = 3\n";
    site.edit("config.toml", "[params]", &format!("{languages}\n[params]"));
    site.commit("Languages");
    let before = site.build();
    let pages = [
        ("Hello World.zh.md", "/zh/hello-world/"),
        ("Hello World.md", "/hello-world/"),
        ("Only English.en.md", "/only-english/"),
        ("docs/My Setup.pt-br.md", "/pt-br/docs/my-setup/"),
        ("posts/A Bundle/index.zh.md", "/zh/posts/a-bundle/"),
        ("New Section/_index.zh.md", "/zh/new-section/"),
        ("v1.2.md", "/v1.2/"),
    ];
    for (name, _) in pages {
        let text = "---\ntitle: Odd\ndate: 2024-01-01\n---\nA page.\n";
        site.write(&format!("content/{name}"), text);
    }
    site.commit("Translations");
    let after = site.build();

    let (planned, _) = planned(&rules, &site);

    let expected: Urls = pages.iter().map(|(_, url)| (*url).to_owned()).collect();
    assert_eq!(planned, expected);
    for url in planned {
        assert!(
            !before.contains_key(&url) && after.contains_key(&url),
            "{url}"
        );
    }
}

/// What commits of one kind came to.
#[derive(Clone, Copy, Default)]
struct Sums {
    own: Sum,
    example: Sum,
    /// URLs there were, before or after.
    all: usize,
}

impl Sums {
    fn add(&mut self, other: Self) {
        self.own.add(other.own);
        self.example.add(other.example);
        self.all += other.all;
    }
}

fn table(kinds: &[(&str, Sums)], urls: usize) -> String {
    let mut text = format!(
        "{} commits, {urls} URLs at the end; recall and precision in percent\n\n\
         {:<38}{:>8}{:>20}{:>23}{:>12}\n{:<38}{:>8}{:>10}{:>10}{:>8}{:>7}{:>8}{:>12}\n",
        HISTORY.len(),
        "",
        "URLs",
        "own pages only",
        "rules.yaml",
        "everything",
        "commits",
        "changed",
        "recall",
        "precision",
        "purges",
        "recall",
        "prec.",
        "precision",
    );
    let mut sum = Sums::default();
    kinds.iter().for_each(|(_, sums)| sum.add(*sums));
    for (what, Sums { own, example, all }) in kinds.iter().chain(&[("all", sum)]) {
        let _ = writeln!(
            text,
            "{what:<38}{:>8}{:>10.0}{:>10.0}{:>8}{:>7.1}{:>8.0}{:>12.0}",
            own.changed,
            own.recall(),
            own.precision(),
            example.purges,
            example.recall(),
            example.precision(),
            percent(example.changed, *all),
        );
    }
    text
}
