//! Change sets held against git itself: what each forge's client finds between two commits
//! of thousands of made-up histories is what `git diff` finds.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use purgehook::changes::{ChangeKind, ChangeSet, FilePath};
use purgehook::event::{CommitId, RepoPath};
use purgehook::forge::{Forge, ForgeError};
use purgehook::sandbox::{Change, EXECUTABLE, FILE, Repository, SUBMODULE, SYMLINK};
use tempfile::TempDir;

use crate::world::{ONE_SITE, World, number};

const FORGES: [&str; 4] = ["github", "gitlab", "gitea", "gitee"];

/// Asks git for the differences of pairs of trees.
const DIFF_TREE: &[&str] = &[
    "diff-tree",
    "--stdin",
    "-r",
    "-z",
    "--raw",
    "--no-renames",
    "--no-abbrev",
];

/// Paths that a history may have, odd ones most of all. One may stand where another has a directory.
const PATHS: &[&[u8]] = &[
    b"a.txt",
    b"A.txt",
    b"a",
    b"a/b",
    b"a/b/c",
    b"a-b",
    b"a.b/c",
    b"docs/Index.html",
    b"docs/index.html",
    b"Docs/index.html",
    b"with space.txt",
    b" leading",
    b"trailing ",
    b"-dash",
    b"100%.txt",
    b"%2e%2e/x",
    b"a%2Fb",
    b"q?x=1&y#z",
    b"\"quoted\".txt",
    b"it's",
    b"back\\slash",
    b"new\nline",
    b"tab\there",
    b"bell\x07",
    b"*[glob]{x}",
    b"\xe5\x9b\xbe\xe7\x89\x87/\xe4\xb8\x80.png",
    b"nfd/e\xcc\x81",
    b"nfd/\xc3\xa9",
    b".dot/.git-not/x",
    b"1/2/3/4/5/6/7/8/9/10/11/12/deep",
    b"1/2/3/4/other",
    b"latin/caf\xe9",
    b"latin/caf\xe8",
    b"latin/other",
    b"\xb2\xe2/gbk",
];

/// What stands at a path: its mode and its content; for a submodule, the digits of its commit.
type Tree = BTreeMap<Vec<u8>, (u32, String)>;

/// One history: its trees, each made from one of those before.
struct History {
    trees: Vec<Tree>,
    /// The commit that each was made from; none for the first.
    parents: Vec<Option<usize>>,
    /// What each did to its parent's tree.
    changes: Vec<Vec<Change>>,
    pairs: Vec<(usize, usize)>,
}

impl History {
    fn new(random: &mut fastrand::Rng, many: bool) -> Self {
        let mut history = Self {
            trees: Vec::new(),
            parents: Vec::new(),
            changes: Vec::new(),
            pairs: Vec::new(),
        };
        // A few paths each, so that the same one changes again and again.
        let mut paths: Vec<&[u8]> = PATHS.to_vec();
        random.shuffle(&mut paths);
        paths.truncate(random.usize(3..14));
        for n in 0..random.usize(2..7) {
            // Mostly on from the newest; now and then a branch off an older one.
            let parent = match n {
                0 => None,
                _ if random.u8(0..4) == 0 => Some(random.usize(0..n)),
                _ => Some(n - 1),
            };
            let mut tree = parent.map_or_else(Tree::new, |at| history.trees[at].clone());
            let mut changes = Vec::new();
            for _ in 0..random.u8(1..6) {
                change(random, &paths, &mut tree, &mut changes);
            }
            if many && n == 1 {
                // More than any comparison lists.
                for n in 0..random.usize(290..1_010) {
                    let path = format!("many/{:02}/{n}", n % 40);
                    set(
                        &mut tree,
                        &mut changes,
                        path.as_bytes(),
                        FILE,
                        n.to_string(),
                    );
                }
            }
            history.trees.push(tree);
            history.parents.push(parent);
            history.changes.push(changes);
        }
        let count = history.trees.len();
        for _ in 0..2 {
            let pair = (random.usize(0..count), random.usize(0..count));
            history.pairs.push(pair);
        }
        history
    }

    fn add_to(&self, repo: &Repository) -> Vec<CommitId> {
        let mut ids: Vec<CommitId> = Vec::new();
        for (parent, changes) in self.parents.iter().zip(&self.changes) {
            if let Some(parent) = parent {
                repo.reset("main", ids[*parent].as_str());
            }
            let id = repo.commit("main", changes);
            repo.push("main");
            ids.push(CommitId::parse(&id).unwrap());
        }
        ids
    }
}

/// Does one random thing to a tree.
fn change(random: &mut fastrand::Rng, paths: &[&[u8]], tree: &mut Tree, to: &mut Vec<Change>) {
    let path = *random.choice(paths).unwrap();
    match random.u8(0..10) {
        0 | 1 => remove(tree, to, path),
        2 => {
            if let Some((mode, content)) = tree.get(path).cloned() {
                let mode = if mode == FILE { EXECUTABLE } else { FILE };
                set(tree, to, path, mode, content);
            }
        }
        3 => {
            if let Some((mode, content)) = tree.get(path).cloned() {
                let other = *random.choice(paths).unwrap();
                remove(tree, to, path);
                set(tree, to, other, mode, content);
            }
        }
        4 => set(tree, to, path, SYMLINK, random.u8(0..4).to_string()),
        5 => set(tree, to, path, SUBMODULE, random.u8(0..4).to_string()),
        _ => set(tree, to, path, FILE, random.u8(0..4).to_string()),
    }
}

fn remove(tree: &mut Tree, to: &mut Vec<Change>, path: &[u8]) {
    if tree.remove(path).is_some() {
        to.push(Change::remove(path));
    }
}

/// Puts something at a path, and takes away whatever is in its way.
fn set(tree: &mut Tree, to: &mut Vec<Change>, path: &[u8], mode: u32, content: String) {
    let is_below = |one: &[u8], other: &[u8]| {
        one.strip_prefix(other)
            .is_some_and(|rest| rest.starts_with(b"/"))
    };
    let in_the_way: Vec<Vec<u8>> = tree
        .keys()
        .filter(|other| is_below(other, path) || is_below(path, other))
        .cloned()
        .collect();
    for other in in_the_way {
        remove(tree, to, &other);
    }
    to.push(Change::write(path, &content));
    to.push(Change::mode(path, mode));
    tree.insert(path.to_vec(), (mode, content));
}

fn git(folder: &Path, args: &[&str], input: &[u8]) -> Vec<u8> {
    let mut git = Command::new("git")
        .args(args)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let mut stdin = git.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = git.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success(), "git {args:?}");
    output.stdout
}

/// The histories as `git fast-import` takes them. Commits are marked in order, from 1.
fn stream(histories: &[History]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut mark = 0;
    for (n, history) in histories.iter().enumerate() {
        let first = mark + 1;
        for (tree, parent) in history.trees.iter().zip(&history.parents) {
            mark += 1;
            write!(
                out,
                "commit refs/heads/h{n}-{mark}\nmark :{mark}\ncommitter t <t@example.com> 0 +0000\ndata 0\n"
            )
            .unwrap();
            if let Some(parent) = parent {
                writeln!(out, "from :{}", first + parent).unwrap();
            }
            writeln!(out, "deleteall").unwrap();
            for (path, (mode, content)) in tree {
                let mut quoted = String::new();
                for byte in path {
                    write!(quoted, "\\{byte:03o}").unwrap();
                }
                if *mode == SUBMODULE {
                    writeln!(out, "M 160000 {content:0>39}f \"{quoted}\"").unwrap();
                } else {
                    let length = content.len();
                    writeln!(
                        out,
                        "M {mode:o} inline \"{quoted}\"\ndata {length}\n{content}"
                    )
                    .unwrap();
                }
            }
        }
    }
    out
}

/// What git says of each pair of each history. A mode alone does not count, unless it
/// makes another thing of a path: what is served stays the same.
fn by_git(folder: &Path, histories: &[History]) -> Vec<Vec<BTreeMap<FilePath, ChangeKind>>> {
    git(folder, &["init", "-q", "--bare"], b"");
    let args = ["fast-import", "--quiet", "--export-marks=marks"];
    git(folder, &args, &stream(histories));
    let marks = std::fs::read_to_string(folder.join("marks")).unwrap();
    let commits: BTreeMap<usize, &str> = marks
        .lines()
        .map(|line| line.strip_prefix(':').unwrap().split_once(' ').unwrap())
        .map(|(mark, id)| (mark.parse().unwrap(), id))
        .collect();
    let asked: String = commits
        .values()
        .map(|id| format!("{id}^{{tree}}\n"))
        .collect();
    let args = ["cat-file", "--batch-check=%(objectname)"];
    let trees = String::from_utf8(git(folder, &args, asked.as_bytes())).unwrap();
    let trees: Vec<&str> = trees.lines().collect();

    let mut asked = String::new();
    let mut first = 0;
    for history in histories {
        for (from, to) in &history.pairs {
            writeln!(asked, "{} {}", trees[first + from], trees[first + to]).unwrap();
        }
        first += history.trees.len();
    }
    let output = git(folder, DIFF_TREE, asked.as_bytes());
    let mut differences = read_raw(&output).into_iter();
    histories
        .iter()
        .map(|history| differences.by_ref().take(history.pairs.len()).collect())
        .collect()
}

/// Reads what `git diff-tree --stdin -z --raw` says of pairs of trees, each under its two ids.
fn read_raw(output: &[u8]) -> Vec<BTreeMap<FilePath, ChangeKind>> {
    let mut all: Vec<BTreeMap<FilePath, ChangeKind>> = Vec::new();
    let mut rest = output;
    while !rest.is_empty() {
        let Some(line) = rest.strip_prefix(b":") else {
            // "<tree> <tree>\n" begins the next pair.
            let end = rest.iter().position(|byte| *byte == b'\n').unwrap();
            assert_eq!(end, 81, "two ids");
            rest = &rest[end + 1..];
            all.push(BTreeMap::new());
            continue;
        };
        let mut words = line.splitn(3, |byte| *byte == 0);
        // 100644 100755 old-id new-id M
        let what = String::from_utf8(words.next().unwrap().to_vec()).unwrap();
        let path = FilePath::new(words.next().unwrap());
        rest = words.next().unwrap();
        let fields: Vec<_> = what.split(' ').collect();
        let is_file = |mode| mode == "100644" || mode == "100755";
        let kind = match fields[4] {
            "A" => ChangeKind::Added,
            "D" => ChangeKind::Removed,
            "M" if fields[2] == fields[3] && is_file(fields[0]) && is_file(fields[1]) => continue,
            "M" | "T" => ChangeKind::Modified,
            other => panic!("{other:?}"),
        };
        all.last_mut().unwrap().insert(path, kind);
    }
    all
}

/// Paths as git has them: where a forge tells what an entry is, a submodule is named with `/` at its end, and a link
/// both with and without.
fn as_git_has_them(files: BTreeMap<FilePath, ChangeKind>) -> BTreeMap<FilePath, ChangeKind> {
    let plain = |path: FilePath| {
        let bytes = path.as_bytes();
        FilePath::new(bytes.strip_suffix(b"/").unwrap_or(bytes))
    };
    files
        .into_iter()
        .map(|(path, kind)| (plain(path), kind))
        .collect()
}

/// A difference as soon as the forge's limits let it be asked for.
async fn found(world: &World, forge: &dyn Forge, from: &CommitId, to: &CommitId) -> ChangeSet {
    let path = RepoPath::parse("acme/website").unwrap();
    loop {
        match forge.changes(&path, from, to).await {
            Ok(changes) => return changes,
            Err(ForgeError::Later { retry_after, .. }) => {
                world
                    .time
                    .pass(retry_after.unwrap_or(Duration::from_secs(1)));
            }
            Err(error) => panic!("{error}"),
        }
    }
}

fn is_utf8(path: &[u8]) -> bool {
    std::str::from_utf8(path).is_ok()
}

#[tokio::test]
async fn what_the_forges_find_is_what_git_finds() {
    let count = number("PURGEHOOK_GIT_HISTORIES", 200);
    let mut random = fastrand::Rng::with_seed(number("PURGEHOOK_FIRST_SEED", 1));
    let histories: Vec<History> = (0..count)
        .map(|n| History::new(&mut random, n % 50 == 7))
        .collect();
    let folder = TempDir::new().unwrap();
    let expected = by_git(folder.path(), &histories);
    let world = World::new(1, ONE_SITE).await;
    let config = world.config();
    let sandbox = &world.sandbox;

    let mut proofs: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for (n, (history, expected)) in histories.iter().zip(&expected).enumerate() {
        // Limits that cut such small histories off, too, so that other ways must be gone.
        sandbox.limit_gitlab_diffs(if n % 3 == 0 { 2 } else { 1_000 });
        sandbox.limit_github_trees(if n % 2 == 0 { 4 } else { 100_000 });
        let has_lost_names = history
            .trees
            .iter()
            .flat_map(Tree::keys)
            .any(|path| !is_utf8(path));
        for (name, forge) in FORGES.into_iter().zip([
            sandbox.github(),
            sandbox.gitlab(),
            sandbox.gitea(),
            sandbox.gitee(),
        ]) {
            let ids = history.add_to(&forge.create_repo("acme/website", "main"));
            for ((from, to), expected) in history.pairs.iter().zip(expected) {
                let client = config.forges[name].as_ref();
                let what = format!("{name}, history {n}, from {from} to {to}");
                let word = match found(&world, client, &ids[*from], &ids[*to]).await {
                    ChangeSet::Complete { files, proof } => {
                        assert_eq!(as_git_has_them(files), *expected, "{what}");
                        proof.as_str()
                    }
                    // What JSON cannot say is said to be unknown, and nothing else is.
                    ChangeSet::Unknown { why } => {
                        assert!(has_lost_names, "{what}: {why}");
                        "unknown"
                    }
                };
                *proofs.entry((name, word)).or_default() += 1;
            }
        }
    }
    let pairs: usize = histories.iter().map(|history| history.pairs.len()).sum();
    println!("{count} histories, {pairs} differences on each forge: {proofs:?}");
    // Each way was gone on those that have it, and most differences are known.
    for way in [
        ("github", "compare"),
        ("github", "trees"),
        ("gitlab", "compare"),
        ("gitlab", "trees"),
    ] {
        assert!(proofs.contains_key(&way), "{way:?}: {proofs:?}");
    }
    for name in FORGES {
        let unknown = proofs.get(&(name, "unknown")).copied().unwrap_or(0);
        assert!(unknown > 0 && unknown * 3 < pairs, "{name}: {proofs:?}");
    }
}

/// The newest commits of a repository on this machine, along their first parents, oldest first.
fn history_of(folder: &Path, random: &mut fastrand::Rng) -> (History, Vec<String>) {
    let most = number("PURGEHOOK_COMMITS", 300).to_string();
    let args = ["log", "--first-parent", "--format=%T", "-n", &most];
    let log = String::from_utf8(git(folder, &args, b"")).unwrap();
    let ids: Vec<String> = log.lines().rev().map(str::to_owned).collect();
    let mut history = History {
        trees: Vec::new(),
        parents: Vec::new(),
        changes: Vec::new(),
        pairs: Vec::new(),
    };
    for (n, id) in ids.iter().enumerate() {
        let listed = git(folder, &["ls-tree", "-r", "-z", id], b"");
        let mut tree = Tree::new();
        for line in listed
            .split(|byte| *byte == 0)
            .filter(|line| !line.is_empty())
        {
            // 100644 blob id<tab>path
            let tab = line.iter().position(|byte| *byte == b'\t').unwrap();
            let what = std::str::from_utf8(&line[..tab]).unwrap();
            let mode = u32::from_str_radix(&what[..6], 8).unwrap();
            let id = what.rsplit(' ').next().unwrap().to_owned();
            tree.insert(line[tab + 1..].to_vec(), (mode, id));
        }
        let empty = Tree::new();
        let before = history.trees.last().unwrap_or(&empty);
        let gone = before.keys().filter(|path| !tree.contains_key(*path));
        let mut changes: Vec<Change> = gone.map(Change::remove).collect();
        for (path, (mode, content)) in &tree {
            if before.get(path) != Some(&(*mode, content.clone())) {
                changes.push(Change::write(path, content));
                changes.push(Change::mode(path, *mode));
            }
        }
        history.trees.push(tree);
        history.changes.push(changes);
        history.parents.push(n.checked_sub(1));
        // Against the one before, as after most pushes, and against any other.
        history.pairs.push((n.saturating_sub(1), n));
        history.pairs.push((n, random.usize(0..ids.len())));
    }
    (history, ids)
}

#[tokio::test]
#[ignore = "of repositories that PURGEHOOK_REPOSITORIES names, with `:` between them"]
async fn what_the_forges_find_in_real_repositories_is_what_git_finds() {
    let named = std::env::var("PURGEHOOK_REPOSITORIES").expect("repositories on this machine");
    let mut random = fastrand::Rng::with_seed(1);
    let world = World::new(1, ONE_SITE).await;
    let config = world.config();
    let sandbox = &world.sandbox;
    for folder in std::env::split_paths(&named) {
        let (history, trees) = history_of(&folder, &mut random);
        let mut asked = String::new();
        for (from, to) in &history.pairs {
            writeln!(asked, "{} {}", trees[*from], trees[*to]).unwrap();
        }
        let expected = read_raw(&git(&folder, DIFF_TREE, asked.as_bytes()));
        let mut sizes: Vec<usize> = expected.iter().map(BTreeMap::len).collect();
        sizes.sort_unstable();
        for (name, forge) in FORGES.into_iter().zip([
            sandbox.github(),
            sandbox.gitlab(),
            sandbox.gitea(),
            sandbox.gitee(),
        ]) {
            let ids = history.add_to(&forge.create_repo("acme/website", "main"));
            let mut proofs: BTreeMap<&str, usize> = BTreeMap::new();
            let before = sandbox.log().len();
            for ((from, to), expected) in history.pairs.iter().zip(&expected) {
                let client = config.forges[name].as_ref();
                match found(&world, client, &ids[*from], &ids[*to]).await {
                    ChangeSet::Complete { files, proof } => {
                        assert_eq!(
                            as_git_has_them(files),
                            *expected,
                            "{name}, from {from} to {to}"
                        );
                        *proofs.entry(proof.as_str()).or_default() += 1;
                    }
                    ChangeSet::Unknown { why } => panic!("{name}, from {from} to {to}: {why}"),
                }
            }
            println!(
                "{}: {} commits, {} differences (median {} paths, most {}), {name}: {proofs:?}, {} requests",
                folder.display(),
                trees.len(),
                expected.len(),
                sizes[sizes.len() / 2],
                sizes[sizes.len() - 1],
                sandbox.log().len() - before,
            );
        }
    }
}

/// Files in a large repository: a hundred directories with a hundred each, and files in those.
fn large(files: u64) -> impl Iterator<Item = String> {
    (0..files).map(|n| format!("d{:02}/e{:02}/f{n}", n % 100, n / 100 % 100))
}

#[tokio::test]
async fn ten_files_of_many_cost_requests_by_the_directories_that_changed() {
    let files = number("PURGEHOOK_FILES", 100_000);
    let world = World::new(1, ONE_SITE).await;
    let sandbox = &world.sandbox;
    let config = world.config();
    let forge = sandbox.github();
    let repo = forge.create_repo("acme/website", "main");
    let all: Vec<Change> = large(files).map(|path| Change::write(path, "1")).collect();
    let old = repo.commit("main", &all);
    drop(all);
    // Ten in ten directories, as far from one another as can be.
    let paths: Vec<String> = large(files).step_by(101).take(10).collect();
    let changes: Vec<Change> = paths.iter().map(|path| Change::write(path, "2")).collect();
    let new = repo.commit("main", &changes);
    repo.push("main");
    let [old, new] = [old, new].map(|id| CommitId::parse(&id).unwrap());
    let expected: BTreeMap<_, _> = paths
        .iter()
        .map(|path| (FilePath::new(path.as_bytes()), ChangeKind::Modified))
        .collect();
    // The root, ten directories, and one in each.
    let directories = 1 + 10 + 10;

    for (from, to, most) in [
        // Compared in one request; and what was rewound, which no comparison tells, by both trees.
        (&old, &new, 1),
        (&new, &old, 1 + 2 * directories + 1),
    ] {
        let before = sandbox.log().len();
        let changes = found(&world, config.forges["github"].as_ref(), from, to).await;
        let requests = sandbox.log().len() - before;
        println!("10 of {files} files: {requests} requests");
        let ChangeSet::Complete { files, .. } = changes else {
            panic!("{changes:?}");
        };
        assert_eq!(as_git_has_them(files), expected);
        // A busy machine breaks off a connection now and then, and that request is made again.
        assert!(requests <= most + 3, "{requests} requests");
    }
}

#[tokio::test]
async fn a_branch_is_looked_up_with_one_request_even_where_a_tag_has_its_name() {
    let world = World::new(1, ONE_SITE).await;
    let config = world.config();
    let path = RepoPath::parse("acme/website").unwrap();
    let sandbox = &world.sandbox;
    for (name, forge) in [
        ("github", sandbox.github()),
        ("gitlab", sandbox.gitlab()),
        ("gitea", sandbox.gitea()),
        ("gitee", sandbox.gitee()),
    ] {
        for branch in ["main", "release/1.0"] {
            let repo = forge.create_repo("acme/website", branch);
            let old = repo.commit(branch, &[Change::write("a", "1")]);
            repo.push(branch);
            repo.push_tag(branch, &old, true);
            let new = repo.commit(branch, &[Change::write("a", "2")]);
            repo.push(branch);
            let before = sandbox.log().len();

            let head = config.forges[name].branch_head(&path, branch).await;

            assert_eq!(head.unwrap().as_str(), new, "{name} {branch}");
            assert_eq!(sandbox.log().len() - before, 1, "{name} {branch}");
            let gone = config.forges[name].branch_head(&path, "no-branch").await;
            assert!(matches!(gone, Err(ForgeError::Gone(_))), "{name}: {gone:?}");
        }
    }
}
