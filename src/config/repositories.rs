//! A site's `repo:`: the forge, and a valid repository name on it.

use super::clients::Clients;
use crate::event::RepoPath;
use crate::forge::Forge;
use crate::sanitize::visible;
use crate::settings::{Located, Section};

const ADVICE: &str = "write `<forge>:<full path>`, e.g. `github:acme/website`";

/// Reads `repo: <forge>:<full path>`.
pub(super) fn read(
    section: &mut Section,
    forges: &Clients<dyn Forge>,
) -> Option<(String, RepoPath)> {
    let text = section.required_text("repo")?;
    let meant = from_address(&text.value, forges);
    let advice = || {
        Some(
            meant
                .as_ref()
                .map_or_else(|| ADVICE.to_owned(), |meant| format!("write `{meant}`")),
        )
    };
    if is_address(&text.value) && !forges.entries.contains_key(before_colon(&text.value)) {
        section.problem(
            text.at,
            "`repo` is an address: the forge is named by its entry under `forges:`",
            advice(),
        );
        return None;
    }
    let Some((forge, path)) = text.value.split_once(':') else {
        section.problem(text.at, "`repo` names no forge", advice());
        return None;
    };
    let known = forges.check_name(section, "forge", forge, text.at.clone());
    if let Some(what) = no_path(path) {
        let meant =
            from_address(path, forges).unwrap_or_else(|| format!("{forge}:{}", cleaned(path)));
        let message = format!("`{}` {what}", visible(path));
        let advice = match RepoPath::parse(meant.split_once(':').map_or("", |(_, path)| path)) {
            Some(_) if no_path(&cleaned(path)).is_none() || is_address(path) => {
                format!("write `{meant}`")
            }
            Some(_) | None => ADVICE.to_owned(),
        };
        section.problem(text.at, message, Some(advice));
        return None;
    }
    let Some(path) = RepoPath::parse(path) else {
        let message = format!("`{}` is no full path of a repository", visible(path));
        section.problem(text.at, message, advice());
        return None;
    };
    check_depth(section, forges, forge, &path, &text);
    known.then(|| (forge.to_owned(), path))
}

fn before_colon(text: &str) -> &str {
    text.split_once(':').map_or(text, |(before, _)| before)
}

/// Whether a text is an address for a browser or `git clone`.
fn is_address(text: &str) -> bool {
    text.contains("://") || text.starts_with("git@") || text.starts_with("//")
}

/// The value for such an address: the name of the entry for its host, if there is one, and the path.
fn from_address(text: &str, forges: &Clients<dyn Forge>) -> Option<String> {
    let rest = text.split_once("://").map(|(_, rest)| rest);
    let rest = rest
        .or_else(|| text.strip_prefix("//"))
        .or_else(|| text.strip_prefix("git@"))?;
    let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
    let (host, path) = rest.split_once(['/', ':'])?;
    let path = cleaned(path);
    RepoPath::parse(&path)?;
    let names = forges.entries.keys();
    let by_host = names.clone().find(|name| host.contains(name.as_str()));
    let only = names.clone().next().filter(|_| forges.entries.len() == 1);
    let forge = by_host.or(only)?;
    Some(format!("{forge}:{path}"))
}

/// A path without common additions.
fn cleaned(path: &str) -> String {
    let path = path.trim().trim_matches('/');
    let path = path.strip_suffix(".git").unwrap_or(path);
    path.trim_end_matches('/').to_owned()
}

/// Why a text cannot be a repository's full path on any forge.
fn no_path(path: &str) -> Option<&'static str> {
    if path.ends_with(".git") {
        return Some("ends in `.git`, which is how it is cloned and no part of its name");
    }
    if is_address(path) {
        return Some("is an address, and no full path of a repository");
    }
    if path.starts_with('/') || path.ends_with('/') {
        return Some("begins or ends in `/`");
    }
    if path.contains(['*', '?', '[', ']', '{', '}']) {
        return Some("has a wildcard: a site is about one repository");
    }
    if path.contains(char::is_whitespace) {
        return Some("has a blank, which no repository's path has");
    }
    let segment = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/');
    if !path.chars().all(segment) {
        return Some(
            "has a character that no repository's path has: they are made of letters, digits, `.`, `_` and `-`",
        );
    }
    None
}

/// Records a repository that is nested more deeply than its forge allows.
fn check_depth(
    section: &mut Section,
    forges: &Clients<dyn Forge>,
    forge: &str,
    path: &RepoPath,
    text: &Located<String>,
) {
    let client = forges
        .entries
        .get(forge)
        .and_then(|entry| entry.client.as_ref());
    let parts: Vec<&str> = path.as_str().split('/').collect();
    if parts.len() == 2 || client.is_none_or(|client| client.nests_repositories()) {
        return;
    }
    let is_host = parts.first().is_some_and(|first| first.contains('.'));
    let meant = match parts.as_slice() {
        [_, owner, name, ..] if is_host => format!("{forge}:{owner}/{name}"),
        [owner, name, ..] => format!("{forge}:{owner}/{name}"),
        [] | [_] => return,
    };
    section.problem(
        text.at.clone(),
        format!("`{path}` is no repository of the forge `{forge}`: they are named by their owner and their name alone"),
        Some(format!("write `{meant}`")),
    );
}
