use std::sync::Mutex;

use proptest::prelude::*;

use super::*;
use crate::changes::FilePath;
use crate::forge::scripted::unplugged;

/// A repository of two commits: files by path, as (kind, content).
type Files = BTreeMap<String, (EntryKind, u8)>;

/// Lists trees from memory, and notes which directories it was asked for.
struct Model {
    before: Files,
    after: Files,
    /// How many entries are listed at once with all that is below a directory.
    deep: usize,
    asked: Mutex<Vec<String>>,
}

impl Model {
    fn new(before: &Files, after: &Files, deep: usize) -> Self {
        Self {
            before: before.clone(),
            after: after.clone(),
            deep,
            asked: Mutex::default(),
        }
    }

    fn files(&self, commit: &CommitId) -> &Files {
        if *commit == before() {
            &self.before
        } else {
            &self.after
        }
    }

    /// Everything below a directory, directories included; a tree's id is all that is in it.
    fn below(&self, dir: &Dir) -> Vec<Entry> {
        let files = self.files(&dir.commit);
        let mut entries = BTreeMap::new();
        for (path, (kind, content)) in files {
            let Some(inside) = relative(path, &dir.path) else {
                continue;
            };
            entries.insert(path.clone(), (*kind, format!("{content}")));
            for (at, _) in inside.match_indices('/') {
                let path = dir.join(&inside[..at]);
                let id = tree_id(files, &path);
                entries.insert(path, (EntryKind::Directory, id));
            }
        }
        let entry = |(path, (kind, id))| Entry { path, kind, id };
        entries.into_iter().map(entry).collect()
    }
}

fn relative<'a>(path: &'a str, dir: &str) -> Option<&'a str> {
    if dir.is_empty() {
        return Some(path);
    }
    path.strip_prefix(dir)?.strip_prefix('/')
}

fn tree_id(files: &Files, dir: &str) -> String {
    let inside: Vec<_> = files
        .iter()
        .filter_map(|(path, entry)| Some((relative(path, dir)?, entry)))
        .collect();
    format!("{inside:?}")
}

#[async_trait]
impl Trees for Model {
    fn lists_whole_trees(&self) -> bool {
        self.deep > 0
    }

    async fn list(&self, dir: &Dir, budget: &Budget) -> Result<Vec<Entry>, Stop> {
        budget.spend().await?;
        self.asked.lock().unwrap().push(dir.path.clone());
        let mut entries = self.below(dir);
        entries.retain(|e| relative(&e.path, &dir.path).is_some_and(|p| !p.contains('/')));
        Ok(entries)
    }

    async fn list_deep(&self, dir: &Dir, budget: &Budget) -> Result<Option<Vec<Entry>>, Stop> {
        budget.spend().await?;
        self.asked.lock().unwrap().push(dir.path.clone());
        let below = self.below(dir);
        Ok((below.len() <= self.deep).then_some(below))
    }
}

fn commit(digit: &str) -> CommitId {
    CommitId::parse(&digit.repeat(40)).unwrap()
}

fn before() -> CommitId {
    commit("1")
}

fn after() -> CommitId {
    commit("2")
}

fn walk_model(model: &Model) -> ChangeSet {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime
        .block_on(difference(model, &unplugged().clock, &before(), &after()))
        .unwrap()
}

/// The difference as anyone would write it for two maps.
fn plain_difference(before: &Files, after: &Files) -> BTreeMap<FilePath, ChangeKind> {
    let mut changes = BTreeMap::new();
    for path in before.keys().chain(after.keys()) {
        let kind = match (before.get(path), after.get(path)) {
            (Some(a), Some(b)) if a == b => continue,
            (Some(_), Some(_)) => ChangeKind::Modified,
            (Some(_), None) => ChangeKind::Removed,
            (None, _) => ChangeKind::Added,
        };
        let kinds = [before.get(path), after.get(path)];
        let is = |wanted: &[EntryKind]| {
            let mut kinds = kinds.iter().flatten();
            kinds.any(|(kind, _)| wanted.contains(kind))
        };
        let names = FilePath::of_entry(
            path.as_bytes(),
            is(&[EntryKind::File, EntryKind::Symlink]),
            is(&[EntryKind::Symlink, EntryKind::Submodule]),
        );
        changes.extend(names.map(|name| (name, kind)));
    }
    changes
}

/// Directories that hold a changed path, the root included.
fn changed_directories(changes: &BTreeMap<FilePath, ChangeKind>) -> usize {
    let mut directories = std::collections::BTreeSet::from([""]);
    for path in changes.keys() {
        let path = std::str::from_utf8(path.as_bytes()).unwrap();
        let path = path.trim_end_matches('/');
        directories.extend(path.match_indices('/').map(|(at, _)| &path[..at]));
    }
    directories.len()
}

/// Files of which none stands where another has a directory.
fn files() -> impl Strategy<Value = Files> {
    let path = prop::collection::vec("[ab]", 1..5).prop_map(|names| names.join("/"));
    let kind = prop_oneof![
        8 => Just(EntryKind::File),
        1 => Just(EntryKind::Symlink),
        1 => Just(EntryKind::Submodule),
    ];
    prop::collection::btree_map(path, (kind, 0..3u8), 0..12).prop_map(|files| {
        let mut kept = Files::new();
        for (path, entry) in files {
            let blocked = kept.keys().any(|other| relative(&path, other).is_some());
            if !blocked {
                kept.insert(path, entry);
            }
        }
        kept
    })
}

proptest! {
    #[test]
    fn a_walk_finds_what_a_plain_difference_finds(
        before in files(),
        after in files(),
        deep in prop_oneof![Just(0), 1..20usize, Just(usize::MAX)],
    ) {
        let model = Model::new(&before, &after, deep);

        let found = walk_model(&model);

        let expected = plain_difference(&before, &after);
        let requests = model.asked.lock().unwrap().len();
        // A one-sided directory may be asked for twice, and others for both sides; whole trees once each.
        prop_assert!(requests <= 2 * changed_directories(&expected) + 2);
        prop_assert_eq!(found, ChangeSet::Complete { proof: Proof::Trees, files: expected });
    }
}

#[test]
fn directories_that_are_the_same_are_never_opened() {
    let mut before = Files::new();
    for n in 0..500 {
        before.insert(format!("d{n}/deep/file"), (EntryKind::File, 0));
    }
    let mut after = before.clone();
    after.insert("d7/deep/file".to_owned(), (EntryKind::File, 1));
    let model = Model::new(&before, &after, usize::MAX);

    walk_model(&model);

    let asked = model.asked.into_inner().unwrap();
    assert_eq!(asked, ["", "", "d7", "d7", "d7/deep", "d7/deep"]);
}

#[test]
fn a_long_walk_through_a_small_repository_is_cut_short() {
    let tree = |content| -> Files {
        (0..500)
            .map(|n| (format!("d{n}/file"), (EntryKind::File, content)))
            .collect()
    };
    let model = Model::new(&tree(0), &tree(1), usize::MAX);

    let found = walk_model(&model);

    assert_eq!(model.asked.into_inner().unwrap(), ["", "", "", ""]);
    assert!(matches!(found, ChangeSet::Complete { files, .. } if files.len() == 500));
}

#[test]
fn a_walk_goes_on_where_the_forge_does_not_list_whole_trees() {
    let tree = |content| -> Files {
        (0..50)
            .map(|n| (format!("d{n}/file"), (EntryKind::File, content)))
            .collect()
    };
    let model = Model::new(&tree(0), &tree(1), 60);

    let found = walk_model(&model);

    let asked = model.asked.into_inner().unwrap().len();
    assert_eq!(
        asked,
        2 + 1 + 2 * 50,
        "the roots, one try, each directory on both sides"
    );
    assert!(matches!(found, ChangeSet::Complete { files, .. } if files.len() == 50));
}

#[test]
fn a_difference_past_the_cap_on_requests_is_unknown() {
    let wide = |content| -> Files {
        (0..=MAX_REQUESTS / 2)
            .map(|n| (format!("d{n}/file"), (EntryKind::File, content)))
            .collect()
    };
    let model = Model::new(&wide(0), &wide(1), 0);

    let found = walk_model(&model);

    assert!(matches!(found, ChangeSet::Unknown { why } if why.contains("2000 requests")));
    assert!(model.asked.into_inner().unwrap().len() <= MAX_REQUESTS);
}

#[test]
fn a_path_that_is_not_utf8_makes_the_difference_unknown() {
    let before = Files::new();
    let after = Files::from([("caf\u{fffd}".to_owned(), (EntryKind::File, 0))]);

    let found = walk_model(&Model::new(&before, &after, usize::MAX));

    assert!(matches!(found, ChangeSet::Unknown { why } if why.contains("not UTF-8")));
}

#[test]
fn a_name_that_is_not_utf8_beside_what_differs_may_be_another_one_and_elsewhere_is_not_looked_at() {
    let unreadable = |dir: &str| (format!("{dir}/caf\u{fffd}"), (EntryKind::File, 7));
    let tree = |content, dir: &str| {
        let file = |n| (format!("d{n}/file"), (EntryKind::File, content));
        (0..50)
            .map(file)
            .chain([unreadable(dir)])
            .collect::<Files>()
    };

    let beside = walk_model(&Model::new(&tree(0, "d7"), &tree(1, "d7"), 0));
    let elsewhere = walk_model(&Model::new(&tree(0, "e"), &tree(1, "e"), 0));
    // Whole trees show every name, and which of them are in the way they do not show.
    let whole = walk_model(&Model::new(&tree(0, "e"), &tree(1, "e"), 1_000));

    assert!(matches!(beside, ChangeSet::Unknown { why } if why.contains("not UTF-8")));
    for found in [elsewhere, whole] {
        assert!(matches!(found, ChangeSet::Complete { files, .. } if files.len() == 50));
    }
}

#[test]
fn modes_are_gits() {
    let cases = [
        ("040000", Some(EntryKind::Directory)),
        ("100644", Some(EntryKind::File)),
        ("100755", Some(EntryKind::File)),
        ("100664", Some(EntryKind::File)),
        ("120000", Some(EntryKind::Symlink)),
        ("160000", Some(EntryKind::Submodule)),
        ("", None),
        ("777", None),
    ];
    for (mode, kind) in cases {
        assert_eq!(EntryKind::from_mode(mode), kind, "{mode}");
    }
}
