use serde_json::Value;

use super::*;
use crate::changes::{ChangeKind, FilePath, Proof};

async fn changes(api: &Scripted) -> Result<ChangeSet, ForgeError> {
    github(&api.url)
        .changes(&repo("acme/website"), &id('1'), &id('2'))
        .await
}

fn comparison(merge_base: char, files: Value) -> Value {
    json!({"status": "ahead", "merge_base_commit": {"sha": id(merge_base).as_str()}, "files": files})
}

fn set(proof: Proof, files: &[(&str, ChangeKind)]) -> ChangeSet {
    ChangeSet::Complete {
        proof,
        files: files.iter().map(|(p, k)| (FilePath::new(*p), *k)).collect(),
    }
}

/// Two trees that differ in `a.txt` (content), `tool` (mode only), `link` (from file to link) and below `docs`.
fn tree(target: &str) -> Option<Reply> {
    let blob = |path: &str, mode: &str, sha: &str| json!({"path": path, "mode": mode, "type": "blob", "sha": sha});
    let dir =
        |path: &str, sha: &str| json!({"path": path, "mode": "040000", "type": "tree", "sha": sha});
    let listing = |tree: Value| Some(Reply::json(200, json!({"tree": tree, "truncated": false})));
    let name = target.strip_prefix("/api/repos/acme/website/git/trees/")?;
    if name == id('1').as_str() {
        listing(json!([
            blob("a.txt", "100644", "a1"),
            blob("tool", "100644", "t1"),
            blob("link", "100644", "l1"),
            dir("docs", "d1"),
            dir("same", "s1")
        ]))
    } else if name == id('2').as_str() {
        listing(json!([
            blob("a.txt", "100644", "a2"),
            blob("tool", "100755", "t1"),
            blob("link", "120000", "l1"),
            dir("docs", "d2"),
            dir("same", "s1"),
            dir("new", "n1")
        ]))
    } else {
        match name {
            "d1" => listing(json!([blob("old.md", "100644", "o1")])),
            "d2" => {
                listing(json!([{"path": "theme", "mode": "160000", "type": "commit", "sha": "c1"}]))
            }
            "n1?recursive=1" => listing(json!([
                dir("deep", "n2"),
                blob("deep/x.md", "100644", "x1")
            ])),
            _ => None,
        }
    }
}

fn walked() -> ChangeSet {
    set(
        Proof::Trees,
        &[
            ("a.txt", ChangeKind::Modified),
            ("docs/old.md", ChangeKind::Removed),
            ("docs/theme/", ChangeKind::Added),
            ("link", ChangeKind::Modified),
            ("link/", ChangeKind::Modified),
            ("new/deep/x.md", ChangeKind::Added),
        ],
    )
}

#[actix_web::test]
async fn a_comparison_with_its_own_merge_base_is_exact() {
    let files = json!([
        {"filename": "a", "status": "added", "sha": "1"},
        {"filename": "b", "status": "modified"},
        {"filename": "c", "status": "removed"},
        {"filename": "d/new", "status": "renamed", "previous_filename": "d/old"},
        {"filename": "e", "status": "copied", "previous_filename": "b"},
        {"filename": "f", "status": "unchanged"},
        {"filename": "themes/x", "status": "modified", "patch": "@@ -1 +1 @@\n-Subproject commit 1a\n+Subproject commit 2b"},
        {"filename": "g", "status": "modified", "patch": "@@ -1 +1 @@\n-Subproject commit 1a\n+none"},
    ]);
    let api = Scripted::new(move |_| Reply::json(200, comparison('1', files.clone())));

    let changes = changes(&api).await.unwrap();

    assert_eq!(
        changes,
        set(
            Proof::Compare,
            &[
                ("a", ChangeKind::Added),
                ("b", ChangeKind::Modified),
                ("c", ChangeKind::Removed),
                ("d/new", ChangeKind::Added),
                ("d/old", ChangeKind::Removed),
                ("e", ChangeKind::Added),
                ("g", ChangeKind::Modified),
                ("themes/x/", ChangeKind::Modified),
            ]
        )
    );
    assert_eq!(api.asked().len(), 1);
}

#[actix_web::test]
async fn the_same_commit_differs_in_nothing_and_asks_nothing() {
    let api = Scripted::new(|_| Reply::text(500, ""));

    let changes = github(&api.url)
        .changes(&repo("acme/website"), &id('1'), &id('1'))
        .await
        .unwrap();

    assert_eq!(changes, set(Proof::Trees, &[]));
    assert!(api.asked().is_empty());
}

#[actix_web::test]
async fn whatever_the_comparison_cannot_say_is_read_from_the_trees() {
    let file = |n: usize| json!({"filename": format!("f{n}"), "status": "added"});
    let full: Vec<Value> = (0..300).map(file).collect();
    let comparisons = [
        Reply::json(200, comparison('1', json!(full))),
        Reply::json(200, comparison('3', json!([]))),
        Reply::json(200, comparison('1', Value::Null)),
        Reply::json(200, json!({"files": []})),
        Reply::json(
            200,
            comparison('1', json!([{"filename": "tool", "status": "changed"}])),
        ),
        Reply::json(
            200,
            comparison('1', json!([{"filename": "b", "status": "renamed"}])),
        ),
        Reply::json(
            200,
            comparison('1', json!([{"filename": "b", "status": "some new word"}])),
        ),
        Reply::json(404, json!({"message": "No common ancestor"})),
        Reply::json(422, json!({"message": "Server Error"})),
    ];
    for comparison in comparisons {
        let reply = comparison.clone();
        let api = Scripted::new(move |asked| tree(&asked.target).unwrap_or_else(|| reply.clone()));

        let changes = changes(&api).await.unwrap();

        assert_eq!(changes, walked(), "{comparison:?}");
        assert!(!api.lines().iter().any(|line| line.ends_with("/s1")));
        assert_eq!(api.asked().len(), 6);
    }
}

#[actix_web::test]
async fn a_listing_that_github_cuts_off_proves_nothing() {
    let api = Scripted::new(|asked| {
        if asked.target.contains("/compare/") {
            return Reply::json(200, comparison('3', json!([])));
        }
        Reply::json(200, json!({"tree": [], "truncated": true}))
    });

    let changes = changes(&api).await.unwrap();

    assert!(matches!(changes, ChangeSet::Unknown { .. }));
}

#[actix_web::test]
async fn a_deep_listing_that_is_cut_off_is_read_directory_by_directory() {
    let api = Scripted::new(|asked| {
        let blob = json!({"path": "x", "mode": "100644", "type": "blob", "sha": "x1"});
        let dir = json!({"path": "new", "mode": "040000", "type": "tree", "sha": "n1"});
        let (tree, truncated) = match asked.target.rsplit('/').next().unwrap() {
            "n1?recursive=1" => (json!([]), true),
            "n1" => (json!([blob]), false),
            name if name == id('2').as_str() => (json!([dir]), false),
            name if name == id('1').as_str() => (json!([]), false),
            _ => return Reply::json(200, comparison('3', json!([]))),
        };
        Reply::json(200, json!({"tree": tree, "truncated": truncated}))
    });

    let changes = changes(&api).await.unwrap();

    assert_eq!(changes, set(Proof::Trees, &[("new/x", ChangeKind::Added)]));
}

#[actix_web::test]
async fn commits_that_nobody_has_any_more_are_gone() {
    let api = Scripted::new(|_| Reply::json(404, json!({"message": "Not Found"})));

    let error = changes(&api).await.unwrap_err();

    assert!(matches!(error, ForgeError::Gone(_)));
}
