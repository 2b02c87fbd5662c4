//! Links lead somewhere, and the book has every page.

use std::collections::{BTreeMap, BTreeSet};

use super::{Page, pages, root};

/// What a heading is called in links, as forges and mdbook make it.
fn anchor(heading: &str) -> String {
    let mut shown = String::new();
    let mut rest = heading;
    // Of a link, the words are shown.
    while let Some(start) = rest.find("](") {
        let end = rest[start..]
            .find(')')
            .map_or(rest.len(), |end| start + end + 1);
        shown.push_str(&rest[..start]);
        rest = &rest[end..];
    }
    shown.push_str(rest);
    shown
        .trim()
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

/// The anchors of a page: a heading that comes again has a number.
fn anchors(page: &Page) -> BTreeSet<String> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut anchors = BTreeSet::new();
    for line in page.prose().lines() {
        let bare = line.trim_start_matches('#');
        if bare.len() == line.len() || !bare.starts_with(' ') {
            continue;
        }
        let name = anchor(bare);
        let count = seen.entry(name.clone()).or_default();
        anchors.insert(match *count {
            0 => name,
            n => format!("{name}-{n}"),
        });
        *count += 1;
    }
    anchors
}

/// The targets of a page's links and pictures. Code is no link.
fn targets(page: &Page) -> Vec<String> {
    let mut targets = Vec::new();
    let prose = page.prose();
    // What stands between backticks is code.
    let words: String = prose.split('`').step_by(2).collect();
    for part in words.split("](").skip(1) {
        targets.extend(part.split_once(')').map(|(target, _)| target.to_owned()));
    }
    for attribute in ["src=\"", "srcset=\"", "href=\""] {
        for part in words.split(attribute).skip(1) {
            targets.extend(part.split_once('"').map(|(target, _)| target.to_owned()));
        }
    }
    targets
}

#[test]
fn every_link_leads_somewhere() {
    let pages = pages();
    let anchors: BTreeMap<_, _> = pages
        .iter()
        .map(|page| {
            (
                root().join(&page.name).canonicalize().unwrap(),
                anchors(page),
            )
        })
        .collect();
    let book = root().join("docs").canonicalize().unwrap();
    let (mut dead, mut followed) = (Vec::new(), 0);
    for page in &pages {
        for target in targets(page) {
            if target.starts_with("https://") || target.starts_with("http://127.0.0.1") {
                continue;
            }
            followed += 1;
            let (file, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let path = match file {
                "" => root().join(&page.name),
                file => page.linked(file),
            };
            let Ok(path) = path.canonicalize() else {
                dead.push(format!("{}: {target}: there is no such file", page.name));
                continue;
            };
            // The book holds docs/ alone: what lies beside it has an address in the repository.
            if page.name.starts_with("docs/") && !path.starts_with(&book) {
                dead.push(format!(
                    "{}: {target}: the book has no such page",
                    page.name
                ));
            }
            if !anchor.is_empty() && !anchors.get(&path).is_some_and(|all| all.contains(anchor)) {
                dead.push(format!("{}: {target}: there is no such heading", page.name));
            }
        }
    }

    assert!(dead.is_empty(), "dead links:\n{}", dead.join("\n"));
    assert!(followed > 200, "only {followed} links were found");
}

#[test]
fn the_book_has_every_page_once() {
    let summary = Page::read("docs/SUMMARY.md");
    let mut listed = targets(&summary);
    listed.sort();

    let pages = pages().into_iter().map(|page| page.name);
    let below = pages.filter_map(|name| name.strip_prefix("docs/").map(str::to_owned));
    let mut expected: Vec<String> = below.filter(|name| name != "SUMMARY.md").collect();
    expected.sort();

    assert_eq!(listed, expected, "docs/SUMMARY.md, and the pages in docs/");
}

/// All files of some folders, from the repository's folder.
pub(super) fn files_below(folder: &str, files: &mut Vec<String>) {
    for entry in std::fs::read_dir(root().join(folder)).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{folder}/{}", entry.file_name().into_string().unwrap());
        if entry.file_type().unwrap().is_dir() {
            files_below(&name, files);
        } else {
            files.push(name);
        }
    }
}

/// Whether a path ends like a pattern, name by name; `*` is any name.
fn ends_like(path: &str, pattern: &str) -> bool {
    let mut names = path.rsplit('/');
    let fits = |wanted: &str| {
        names
            .next()
            .is_some_and(|name| wanted == "*" || wanted == name)
    };
    pattern.rsplit('/').all(fits)
}

/// A page may name a file from `src` on, from its room on, or by its name alone.
#[test]
fn every_source_file_that_a_page_names_is_there() {
    let mut files = Vec::new();
    for folder in ["src", "tests", "benches", "fuzz", "schema"] {
        files_below(folder, &mut files);
    }
    let (mut gone, mut seen) = (Vec::new(), 0);
    for page in pages() {
        for code in page.prose().split('`').skip(1).step_by(2) {
            let is_file = [".rs", ".sql", ".txt"]
                .iter()
                .any(|end| code.ends_with(end));
            if !is_file || code.contains([' ', '{', '<']) || code.contains("NAME") {
                continue;
            }
            seen += 1;
            if !files.iter().any(|file| ends_like(file, code)) {
                gone.push(format!("{}: {code}", page.name));
            }
        }
    }

    assert!(
        gone.is_empty(),
        "files that are not there:\n{}",
        gone.join("\n")
    );
    assert!(seen > 80, "only {seen} were found");
}

#[test]
fn files_are_found_by_the_end_of_their_path() {
    assert!(ends_like(
        "src/forge/gitea/changes.rs",
        "forge/*/changes.rs"
    ));
    assert!(ends_like("src/forge/gitea/changes.rs", "changes.rs"));
    assert!(!ends_like("src/forge/gitea/changes.rs", "forge/changes.rs"));
    assert!(!ends_like("changes.rs", "forge/changes.rs"));
}

#[test]
fn anchors_are_those_of_a_forge() {
    assert_eq!(anchor("2. The token"), "2-the-token");
    assert_eq!(anchor("`forges:`"), "forges");
    assert_eq!(anchor("See [the page](a.md) now"), "see-the-page-now");
    assert_eq!(
        anchor("200, and nothing happens"),
        "200-and-nothing-happens"
    );
    assert_eq!(anchor("安装"), "安装");
}
