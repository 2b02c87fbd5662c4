//! Change sets held against git itself: what the forges' clients find is what `git diff` finds.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use purgehook::changes::{ChangeKind, ChangeSet, FilePath};
use purgehook::event::{CommitId, RepoPath};
use purgehook::forge::ForgeError;
use purgehook::sandbox::{Change, EXECUTABLE, FILE};
use tempfile::TempDir;

use crate::world::World;

const RULES: &str = "
cdns:
  tencent: {kind: tencent-cdn, endpoint: '${TENCENT_URL}'}
sites:
  www:
    repo: github:acme/website
    base_urls: ['https://www.example.com']
    cdns: [tencent]
    rules: [{match: ['**'], urls: ['/{path}']}]
";
const NAMES: [&str; 10] = [
    "a.txt",
    "b.txt",
    "with space.txt",
    "图片.png",
    "100%.txt",
    ".dot",
    "dir/a.txt",
    "dir/b.txt",
    "dir/deep/er/c.txt",
    "dir-and/d#?.txt",
];
const COMMITS: usize = 60;
const COMPARISONS: usize = 120;

fn git(folder: &Path, args: &[&str]) -> Vec<u8> {
    let output = Command::new("git")
        .args(["-c", "user.name=test", "-c", "user.email=test@example.com"])
        .args(["-c", "core.autocrlf=false", "-c", "core.fileMode=true"])
        .args(args)
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(output.status.success(), "git {args:?}: {output:?}");
    output.stdout
}

/// What git says differs. A mode alone does not count: what is served stays the same.
fn by_git(folder: &Path, from: &str, to: &str) -> BTreeMap<FilePath, ChangeKind> {
    let args = [
        "diff",
        "--raw",
        "--no-abbrev",
        "-z",
        "--no-renames",
        from,
        to,
    ];
    let output = git(folder, &args);
    let mut words = output.split(|byte| *byte == 0);
    let mut files = BTreeMap::new();
    while let (Some(line), Some(path)) = (words.next(), words.next()) {
        // :100644 100644 old-id new-id M
        let line = String::from_utf8(line.to_vec()).unwrap();
        let fields: Vec<_> = line.split(' ').collect();
        let kind = match fields[4] {
            "A" => ChangeKind::Added,
            "M" if fields[2] == fields[3] => continue,
            "M" => ChangeKind::Modified,
            "D" => ChangeKind::Removed,
            other => panic!("{other:?}"),
        };
        files.insert(FilePath::new(path), kind);
    }
    files
}

#[tokio::test]
async fn what_the_forges_find_is_what_git_finds() {
    let world = World::new(1, RULES).await;
    let mut random = fastrand::Rng::with_seed(1);
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    git(folder, &["init", "-q", "-b", "main"]);
    let forges = [world.sandbox.github(), world.sandbox.gitlab()];
    let repos = forges.map(|forge| forge.create_repo("acme/website", "main"));

    let mut commits: Vec<(String, [String; 2])> = Vec::new();
    for n in 0..COMMITS {
        let mut changes = Vec::new();
        for _ in 0..random.u8(1..5) {
            let name = *random.choice(&NAMES).unwrap();
            let path = folder.join(name);
            let set_mode = |mode| {
                std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            };
            match random.u8(0..5) {
                0 if path.exists() => {
                    std::fs::remove_file(&path).unwrap();
                    changes.push(Change::remove(name));
                }
                1 if path.exists() => {
                    set_mode(0o755);
                    changes.push(Change::mode(name, EXECUTABLE));
                }
                _ => {
                    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                    let content = random.u8(0..4).to_string();
                    std::fs::write(&path, &content).unwrap();
                    set_mode(0o644);
                    changes.push(Change::write(name, &content));
                    changes.push(Change::mode(name, FILE));
                }
            }
        }
        git(folder, &["add", "-A"]);
        git(
            folder,
            &["commit", "-q", "--allow-empty", "-m", &n.to_string()],
        );
        let id = String::from_utf8(git(folder, &["rev-parse", "HEAD"])).unwrap();
        let ids = [0, 1].map(|at| {
            let id = repos[at].commit("main", &changes);
            repos[at].push("main");
            id
        });
        commits.push((id.trim().to_owned(), ids));
    }

    let config = world.config();
    let path = RepoPath::parse("acme/website").unwrap();
    let mut proofs: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for n in 0..COMPARISONS {
        // Cut off, so that the trees must be walked, every other time.
        let most = if n % 2 == 0 { 1_000 } else { 2 };
        world.sandbox.limit_gitlab_diffs(most);
        world
            .sandbox
            .limit_github_trees(if n % 3 == 0 { 4 } else { 100_000 });
        let from = random.choice(&commits).unwrap();
        let to = random.choice(&commits).unwrap();
        let expected = by_git(folder, &from.0, &to.0);
        for (at, name) in ["github", "gitlab"].into_iter().enumerate() {
            let [from, to] = [from, to].map(|commit| CommitId::parse(&commit.1[at]).unwrap());
            let found = config.forges[name].changes(&path, &from, &to).await;
            let ChangeSet::Complete { files, proof } = found.unwrap() else {
                panic!("{name} does not know, comparison {n}");
            };
            assert_eq!(files, expected, "{name}, comparison {n}");
            *proofs.entry((name, proof.word())).or_default() += 1;
        }
    }
    println!("{COMPARISONS} comparisons, proven by {proofs:?}");
}

#[tokio::test]
async fn a_branch_is_looked_up_with_one_request_even_where_a_tag_has_its_name() {
    let world = World::new(1, RULES).await;
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
