//! What is built in, held to the policy in `deny.toml`: licences, banned crates, sources. `cargo deny` holds it to the
//! same; this needs nothing but cargo, and no network. And nothing is built in that is not used.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

use std::collections::BTreeSet;
use std::iter::Peekable;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

const POLICY: &str = include_str!("../deny.toml");

/// The texts in quotes in a list of the policy: `key = [...]` under `[section]`.
fn listed(section: &str, key: &str) -> Vec<&'static str> {
    let (_, rest) = POLICY.split_once(&format!("\n[{section}]\n")).unwrap();
    let (_, rest) = rest.split_once(&format!("\n{key} = [\n")).unwrap();
    let (list, _) = rest.split_once("\n]").unwrap();
    let lines = list.lines().map(str::trim);
    lines
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split('"').nth(1).unwrap())
        .collect()
}

/// The crates that are compiled for a platform, for the program and for its tests.
fn compiled_in(platform: &str) -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked", "--offline"])
        .arg(format!("--filter-platform={platform}"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let mut metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    match metadata["packages"].take() {
        Value::Array(packages) => packages,
        _ => panic!("cargo names no packages"),
    }
}

fn packages() -> Vec<Value> {
    // That of the machine: others' crates may not be here to be looked at.
    let output = Command::new("rustc").arg("-vV").output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    compiled_in(host.unwrap())
}

/// Whether a licence expression (SPDX: `A OR B AND C`, parentheses, and the old `A/B`) can be met by what is allowed.
fn is_met(expression: &str, allowed: &BTreeSet<&str>) -> bool {
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ")
        .replace(" WITH ", "+WITH+");
    let words: Vec<String> = spaced
        .split_whitespace()
        .map(|word| word.replace("+WITH+", " WITH "))
        .collect();
    let mut words = words.iter().map(String::as_str).peekable();
    let met = either(&mut words, allowed);
    assert_eq!(words.next(), None, "{expression}");
    met
}

fn either<'w, I: Iterator<Item = &'w str>>(
    words: &mut Peekable<I>,
    allowed: &BTreeSet<&str>,
) -> bool {
    let mut met = both(words, allowed);
    while words.next_if_eq(&"OR").is_some() {
        met |= both(words, allowed);
    }
    met
}

fn both<'w, I: Iterator<Item = &'w str>>(
    words: &mut Peekable<I>,
    allowed: &BTreeSet<&str>,
) -> bool {
    let mut met = one(words, allowed);
    while words.next_if_eq(&"AND").is_some() {
        met &= one(words, allowed);
    }
    met
}

fn one<'w, I: Iterator<Item = &'w str>>(words: &mut Peekable<I>, allowed: &BTreeSet<&str>) -> bool {
    match words.next() {
        Some("(") => {
            let met = either(words, allowed);
            assert_eq!(words.next(), Some(")"));
            met
        }
        Some(licence) => allowed.contains(licence),
        None => false,
    }
}

#[test]
fn a_licence_expression_means_what_it_says() {
    let allowed = BTreeSet::from(["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"]);
    for (expression, met) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("GPL-3.0 OR MIT", true),
        ("GPL-3.0/MIT", true),
        ("MIT AND GPL-3.0", false),
        ("(MIT OR GPL-3.0) AND ISC", true),
        ("MIT AND (GPL-3.0 OR LGPL-2.1)", false),
        ("Apache-2.0 WITH LLVM-exception", true),
        ("Apache-2.0", false),
    ] {
        assert_eq!(is_met(expression, &allowed), met, "{expression}");
    }
}

#[test]
fn every_crate_has_a_licence_that_the_policy_allows() {
    let allowed: BTreeSet<&str> = listed("licenses", "allow").into_iter().collect();
    assert!(allowed.contains("MIT"));

    let mut looked_at = 0;
    for package in packages() {
        let licence = package["license"].as_str().unwrap_or("none");

        assert!(is_met(licence, &allowed), "{}: {licence}", package["id"]);
        looked_at += 1;
    }
    assert!(looked_at > 200, "{looked_at}");
}

#[test]
fn no_crate_is_one_that_the_policy_bans() {
    let banned: BTreeSet<&str> = listed("bans", "deny").into_iter().collect();
    assert!(banned.contains("openssl"));

    for package in packages() {
        let name = package["name"].as_str().unwrap();

        assert!(!banned.contains(name), "{name}");
    }
}

#[test]
fn every_crate_comes_from_the_one_registry() {
    assert!(POLICY.contains("\nunknown-registry = \"deny\"\nunknown-git = \"deny\"\n"));

    let packages = packages();
    let sources: BTreeSet<&str> = packages
        .iter()
        .filter_map(|package| package["source"].as_str())
        .collect();
    let here: Vec<&str> = packages
        .iter()
        .filter(|package| package["source"].is_null())
        .map(|package| package["name"].as_str().unwrap())
        .collect();

    assert_eq!(here, ["purgehook"], "no crate lies beside the program");
    assert_eq!(sources.len(), 1, "{sources:?}");
    assert!(
        sources.iter().all(|source| source.starts_with("registry+")),
        "{sources:?}"
    );
}

/// The texts of all Rust files below a folder.
fn sources(folder: &str) -> String {
    fn read(folder: &Path, text: &mut String) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                read(&path, text);
            } else if path.extension().is_some_and(|end| end == "rs") {
                text.push_str(&std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    let mut text = String::new();
    read(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join(folder),
        &mut text,
    );
    text
}

/// Whether a crate is named in a path or imported whole.
fn names(sources: &str, krate: &str) -> bool {
    let starts_a_word = |at: usize| {
        let before = sources[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
    };
    [format!("{krate}::"), format!("use {krate};")]
        .iter()
        .any(|path| {
            sources
                .match_indices(path.as_str())
                .any(|(at, _)| starts_a_word(at))
        })
}

#[test]
fn a_crate_is_named_as_a_word_of_its_own() {
    assert!(names("let hash = sha1::Sha1::new();", "sha1"));
    assert!(names("use hex;", "hex"));
    assert!(!names("let hash = my_sha1::new();", "sha1"));
    assert!(!names("// sha1 is old", "sha1"));
}

#[test]
fn every_dependency_is_named_in_the_sources() {
    let program = sources("src");
    let tests = program.clone() + &sources("tests") + &sources("benches");
    let packages = packages();
    let package = packages
        .iter()
        .find(|package| package["name"] == "purgehook")
        .unwrap();
    let dependencies = package["dependencies"].as_array().unwrap();
    let mut unused = Vec::new();
    for dependency in dependencies {
        let name = dependency["rename"]
            .as_str()
            .or_else(|| dependency["name"].as_str())
            .unwrap();
        let sources = match dependency["kind"].as_str() {
            Some("dev") => &tests,
            _ => &program,
        };
        if !names(sources, &name.replace('-', "_")) {
            unused.push(name);
        }
    }

    assert!(dependencies.len() > 40, "{}", dependencies.len());
    assert_eq!(unused, [""; 0], "take them out of Cargo.toml");
}
