//! Rules files and parts of them pass `check`, and what cannot run is counted.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::process::Command;

use super::{Block, pages};

/// Languages of blocks that are looked at, or need not be.
const LANGUAGES: &[&str] = &["yaml", "sh", "text", "json", "ini", "nginx", "mermaid", ""];

/// Blocks that say `not-run`. Whoever adds one raises it, and has a reason.
const NOT_RUN_BLOCKS: usize = 8;

/// What a part of a rules file lacks to be one.
const FORGES: &str = "forges:\n  github: {kind: github, secrets: [\"${GITHUB_WEBHOOK_SECRET}\"], token: \"${GITHUB_TOKEN}\"}\n";
const CDNS: &str = "cdns:\n  tencent: {kind: tencent-cdn}\n";
const SITE: &str = "sites:\n  www:\n    repo: FORGE:acme/website\n    base_urls: [https://www.example.com]\n    cdns: [CDN]\n    rules:\n";
const RULE: &str = "      - {match: [a], urls: [/a]}\n";

/// The name of the first entry of a part of the file.
fn first_entry<'t>(text: &'t str, part: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(part)?;
    rest.lines().find_map(|line| {
        let name = line.strip_prefix("  ")?;
        name.split_once(':').map(|(name, _)| name)
    })
}

/// A whole rules file from a block: rules, some parts of the file, or all of it.
fn whole_file(block: &str) -> String {
    let site = |forge: &str, cdn: &str| SITE.replace("FORGE", forge).replace("CDN", cdn);
    if block.starts_with("- ") {
        let mut file = format!("{FORGES}{CDNS}{}", site("github", "tencent"));
        for line in block.lines() {
            let _ = writeln!(file, "      {line}");
        }
        return file;
    }
    let keys: BTreeSet<&str> = block
        .lines()
        .filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase()))
        .filter_map(|line| line.split_once(':').map(|(key, _)| key))
        .collect();
    let mut file = block.to_owned();
    if !keys.contains("forges") {
        file.push_str(FORGES);
    }
    if !keys.contains("cdns") {
        file.push_str(CDNS);
    }
    if !keys.contains("sites") {
        let forge = first_entry(&file, "forges:\n")
            .unwrap_or("github")
            .to_owned();
        let cdn = first_entry(&file, "cdns:\n")
            .unwrap_or("tencent")
            .to_owned();
        file.push_str(&site(&forge, &cdn));
        file.push_str(RULE);
    }
    file
}

/// Why `check` refuses a file, if it does.
fn refusal(file: &str) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rules.yaml");
    std::fs::write(&path, file).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_purgehook"))
        .arg("check")
        .arg("--rules")
        .arg(&path)
        .env_clear()
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (!output.status.success()).then_some(said)
}

fn blocks_of(language: &str) -> Vec<Block> {
    let blocks = pages().into_iter().flat_map(|page| page.blocks());
    blocks.filter(|block| block.language == language).collect()
}

#[test]
fn every_rules_file_and_every_part_of_one_passes_check() {
    let mut refused = Vec::new();
    let mut checked = 0;
    for block in blocks_of("yaml").iter().filter(|block| !block.not_run) {
        checked += 1;
        if let Some(why) = refusal(&whole_file(&block.text)) {
            refused.push(format!("{}\n{why}", block.place));
        }
    }

    assert!(refused.is_empty(), "{}", refused.join("\n\n"));
    assert!(checked > 15, "only {checked} were found");
}

#[test]
fn a_wrong_example_is_found() {
    assert_eq!(refusal(&whole_file("- {match: [a], urls: [/a]}\n")), None);
    assert!(refusal(&whole_file("- {match: [a], url: [/a]}\n")).is_some());
    assert!(
        refusal(&whole_file(
            "cdns:\n  old: {kind: huawei-cdn, area: mainland}\n"
        ))
        .is_some()
    );
}

#[test]
fn what_cannot_run_says_so_and_is_counted() {
    let blocks: Vec<Block> = pages().into_iter().flat_map(|page| page.blocks()).collect();
    for block in &blocks {
        let known = LANGUAGES.contains(&block.language.as_str());
        assert!(known, "{}: what is `{}`?", block.place, block.language);
    }

    let not_run: Vec<&str> = blocks
        .iter()
        .filter(|block| block.not_run)
        .map(|block| block.place.as_str())
        .collect();
    assert_eq!(not_run.len(), NOT_RUN_BLOCKS, "{not_run:#?}");
}

#[test]
fn every_json_example_is_json() {
    for block in blocks_of("json") {
        let read = serde_json::from_str::<serde_json::Value>(&block.text);
        assert!(read.is_ok(), "{}: {}", block.place, read.unwrap_err());
    }
}
