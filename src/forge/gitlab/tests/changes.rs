use serde_json::Value;

use super::*;
use crate::changes::{ChangeKind, FilePath, Proof};

async fn changes(api: &Scripted) -> Result<ChangeSet, ForgeError> {
    gitlab(&api.url)
        .changes(&repo("acme/website"), &id('1'), &id('2'))
        .await
}

fn set(proof: Proof, files: &[(&str, ChangeKind)]) -> ChangeSet {
    ChangeSet::Complete {
        proof,
        files: files.iter().map(|(p, k)| (FilePath::new(*p), *k)).collect(),
    }
}

fn diff(old: &str, new: &str, more: Value) -> Value {
    let mut diff = json!({
        "old_path": old, "new_path": new, "a_mode": "100644", "b_mode": "100644", "diff": "@@",
        "new_file": false, "renamed_file": false, "deleted_file": false,
        "collapsed": false, "too_large": false,
    });
    let more = more.as_object().unwrap().clone();
    diff.as_object_mut().unwrap().extend(more);
    diff
}

fn comparison(diffs: Value) -> Value {
    json!({"commits": [], "diffs": diffs, "compare_timeout": false, "compare_same_ref": false})
}

#[actix_web::test]
async fn a_whole_comparison_is_exact() {
    let diffs = json!([
        diff("a", "a", json!({"new_file": true, "a_mode": "0"})),
        diff("b", "b", json!({})),
        diff("c", "c", json!({"deleted_file": true, "b_mode": "0"})),
        diff("d/old", "d/new", json!({"renamed_file": true})),
        diff("e", "e", json!({"diff": "", "collapsed": true})),
        diff("f", "f", json!({"b_mode": "100755", "diff": "+x"})),
        diff("i", "i", json!({"deleted_file": true, "b_mode": "0"})),
        diff(
            "i",
            "i",
            json!({"new_file": true, "a_mode": "0", "b_mode": "120000"})
        ),
        diff("m", "m", json!({"a_mode": "160000", "b_mode": "160000"})),
    ]);
    let api = Scripted::new(move |_| Reply::json(200, comparison(diffs.clone())));

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
                ("e", ChangeKind::Modified),
                ("f", ChangeKind::Modified),
                ("i", ChangeKind::Modified),
                ("i/", ChangeKind::Added),
                ("m/", ChangeKind::Modified),
            ]
        )
    );
    assert_eq!(api.asked().len(), 1);
}

/// The root's first page names its second by a link to a host that nobody configured.
fn tree(target: &str, link: &'static str) -> Option<Reply> {
    let url = Url::parse("http://x").unwrap().join(target).unwrap();
    if !url.path().ends_with("/repository/tree") {
        return None;
    }
    let query: std::collections::BTreeMap<_, _> = url.query_pairs().into_owned().collect();
    let new = query["ref"] == id('2').as_str();
    assert_eq!(query["per_page"], "100");
    assert_eq!(query["pagination"], "keyset");
    let entry = |path: &str, mode: &str, id: &str| json!({"id": id, "name": "?", "type": "?", "path": path, "mode": mode});
    let second_page = query.contains_key("page_token") || query.contains_key("page");
    let path = query.get("path").map(String::as_str);
    let entries = match (path, second_page, new) {
        (None, false, _) => json!([
            entry("same", "040000", "s1"),
            entry("docs & more", "040000", if new { "d2" } else { "d1" })
        ]),
        (None, true, _) => json!([entry("z", "100644", if new { "z2" } else { "z1" })]),
        (Some("docs & more"), _, true) => json!([entry("docs & more/sub", "040000", "x2")]),
        (Some("docs & more"), _, false) => json!([entry("docs & more/sub", "100644", "x1")]),
        (Some("docs & more/sub"), _, true) if query["recursive"] == "true" => {
            json!([
                entry("docs & more/sub/deep", "040000", "y1"),
                entry("docs & more/sub/deep/page", "100644", "p1")
            ])
        }
        _ => panic!("{target}"),
    };
    let reply = Reply::json(200, entries);
    Some(match path {
        None if !second_page => reply.with("link", link),
        _ => reply,
    })
}

#[actix_web::test]
async fn a_comparison_that_is_cut_off_is_read_from_the_trees() {
    let file = |n: usize| diff(&format!("f{n}"), &format!("f{n}"), json!({}));
    let full: Vec<Value> = (0..1_000).map(file).collect();
    // No document says that an empty diff means that nothing but the mode changed.
    let mode = |more: Value| {
        let mut diff = diff("g", "g", json!({"b_mode": "100755", "diff": ""}));
        let more = more.as_object().unwrap().clone();
        diff.as_object_mut().unwrap().extend(more);
        comparison(json!([diff]))
    };
    let comparisons = [
        mode(json!({})),
        mode(json!({"too_large": true})),
        mode(json!({"diff": null})),
        comparison(json!(full)),
        json!({"diffs": [], "compare_timeout": true}),
        json!({"diffs": []}),
        comparison(Value::Null),
    ];
    let links = [
        r#"<https://elsewhere.example/api?page_token=next%2B1&per_page=2>; rel="next", <https://elsewhere.example/>; rel="first""#,
        r#"</api?page=2&per_page=100>; rel="next""#,
    ];
    for (comparison, link) in comparisons.into_iter().zip(links.into_iter().cycle()) {
        let api = Scripted::new(move |asked| {
            tree(&asked.target, link).unwrap_or_else(|| Reply::json(200, comparison.clone()))
        });

        let changes = changes(&api).await.unwrap();

        assert_eq!(
            changes,
            set(
                Proof::Trees,
                &[
                    ("docs & more/sub", ChangeKind::Removed),
                    ("docs & more/sub/deep/page", ChangeKind::Added),
                    ("z", ChangeKind::Modified),
                ]
            )
        );
        let lines = api.lines();
        assert_eq!(lines.len(), 8, "{lines:#?}");
        let wanted = if link.contains("page_token") {
            "page_token=next%2B1"
        } else {
            "page=2"
        };
        assert_eq!(lines.iter().filter(|l| l.contains(wanted)).count(), 2);
        assert!(!lines.iter().any(|line| line.contains("path=same")));
    }
}

#[actix_web::test]
async fn a_list_that_goes_on_nobody_knows_where_proves_nothing() {
    let api = Scripted::new(|asked| {
        if asked.target.contains("/compare") {
            return Reply::json(200, json!({"diffs": [], "compare_timeout": true}));
        }
        Reply::json(200, json!([])).with("link", r#"<https://gitlab.example/>; rel="next""#)
    });

    let changes = changes(&api).await.unwrap();

    assert!(matches!(changes, ChangeSet::Unknown { .. }));
}
