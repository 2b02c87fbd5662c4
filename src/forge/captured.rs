//! Payloads captured from real forges, where someone has them: the directory in
//! `PURGEHOOK_TEST_PAYLOADS` holds them with an `index.json` of the facts expected of each.

use std::collections::BTreeMap;
use std::path::Path;

use secrecy::SecretString;
use serde::Deserialize;
use url::Url;

use super::github::{Access, GitHub};
use super::gitlab::{GitLab, Trust};
use super::scripted::unplugged;
use super::{Forge, Verified, github, gitlab};
use crate::changes::{ChangeKind, ChangeSet, FilePath};
use crate::event::{CommitId, Event, GitRef, Push, is_zero_id};

#[derive(Deserialize)]
struct Captured {
    file: String,
    forge: String,
    event: String,
    facts: Facts,
}

#[derive(Deserialize)]
struct Facts {
    repo: Option<String>,
    #[serde(rename = "ref")]
    git_ref: Option<String>,
    before: Option<String>,
    after: Option<String>,
    checkout_sha: Option<String>,
    forced: Option<bool>,
    commits: Option<usize>,
    files: Option<BTreeMap<String, Vec<String>>>,
}

fn forge(kind: &str) -> Option<Box<dyn Forge>> {
    let secret = || vec![SecretString::from("a secret".to_owned())];
    let api_url = Url::parse("http://127.0.0.1:1").unwrap();
    match kind {
        "github" => Some(Box::new(GitHub::new(
            github::Settings {
                secrets: secret(),
                access: Access::Anonymous,
                api_url,
            },
            unplugged(),
        ))),
        "gitlab" => Some(Box::new(GitLab::new(
            gitlab::Settings {
                trust: Trust::Secret(secret()),
                token: None,
                api_url,
            },
            unplugged(),
        ))),
        _ => None,
    }
}

#[test]
fn captured_payloads_say_what_is_known_of_them() {
    let Some(directory) = std::env::var_os("PURGEHOOK_TEST_PAYLOADS") else {
        return;
    };
    let directory = Path::new(&directory);
    let index = std::fs::read(directory.join("index.json")).unwrap();
    let index: Vec<Captured> = serde_json::from_slice(&index).unwrap();

    for captured in index {
        let Some(forge) = forge(&captured.forge) else {
            continue;
        };
        let body = std::fs::read(directory.join(&captured.file)).unwrap();
        let verified = Verified {
            delivery_id: None,
            event: captured.event.clone(),
        };

        let event = forge.understand(&verified, "application/json", &body);

        let Facts { repo, .. } = &captured.facts;
        match (captured.event.as_str(), event) {
            ("ping", Ok(Event::Ping)) => {}
            ("push" | "Push Hook" | "Tag Push Hook", Ok(Event::Push(push))) => {
                check_push(&captured, &push);
            }
            // What no forge sent is not understood.
            ("push", Err(_)) if repo.is_none() => {}
            (_, Ok(Event::Other { repo: found, .. })) => {
                let found = found.map(|repo| repo.to_string());
                assert_eq!(&found, repo, "{}", captured.file);
            }
            (_, other) => panic!("{}: {other:?}", captured.file),
        }
    }
}

fn check_push(captured: &Captured, push: &Push) {
    let Captured { file, facts, .. } = captured;
    let id = |text: &Option<String>| {
        let text = text.as_deref().filter(|text| !is_zero_id(text))?;
        Some(CommitId::parse(text).unwrap())
    };
    assert_eq!(Some(push.repo.as_str()), facts.repo.as_deref(), "{file}");
    assert_eq!(Some(push.git_ref.to_string()), facts.git_ref, "{file}");
    assert_eq!(push.before, id(&facts.before), "{file}");
    assert_eq!(push.after, id(&facts.after), "{file}");
    assert_eq!(push.forced, facts.forced.unwrap_or(false), "{file}");
    let commit = match push.git_ref {
        GitRef::Tag(_) => id(&facts.checkout_sha).or(id(&facts.after)),
        GitRef::Branch(_) | GitRef::Other(_) => id(&facts.after),
    };
    assert_eq!(push.commit, commit, "{file}");

    let provable = captured.forge == "github"
        && facts.commits == Some(1)
        && push.before.is_some()
        && !push.forced;
    let ChangeSet::Complete { files, .. } = &push.listed else {
        assert!(!provable, "{file}");
        return;
    };
    assert!(provable, "{file}");
    let mut expected = BTreeMap::new();
    for (list, paths) in facts.files.iter().flatten() {
        let kind = match list.as_str() {
            "added" => ChangeKind::Added,
            "modified" => ChangeKind::Modified,
            "removed" => ChangeKind::Removed,
            other => panic!("{file}: {other}"),
        };
        expected.extend(paths.iter().map(|p| (FilePath::new(p.as_str()), kind)));
    }
    assert_eq!(*files, expected, "{file}");
}
