//! What commits changed on built sites, as `measure.py` wrote it down.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use purgehook::changes::{ChangeKind, FilePath};
use serde::Deserialize;

/// A site's history.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// The generator, with its version.
    pub tool: String,
    /// Files that differ between two builds of one commit.
    #[serde(rename = "unrepeatable")]
    _unrepeatable: Vec<String>,
    /// The files that were built from the first commit.
    pub start: Vec<String>,
    /// The commits after it.
    pub commits: Vec<Commit>,
}

/// One commit: its files in the repository, and those of the built site that it changed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Commit {
    pub what: String,
    files: BTreeMap<String, String>,
    pub added: Vec<String>,
    changed: Vec<String>,
    pub removed: Vec<String>,
}

impl Facts {
    pub fn of(generator: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/presets/facts");
        let text = std::fs::read_to_string(folder.join(format!("{generator}.json"))).unwrap();
        serde_json::from_str(&text).unwrap()
    }
}

impl Commit {
    /// What it changed in the repository.
    pub fn sources(&self) -> BTreeMap<FilePath, ChangeKind> {
        let file = |(path, kind): (&String, &String)| {
            (FilePath::new(path.as_str()), kind.parse().unwrap())
        };
        self.files.iter().map(file).collect()
    }

    /// The built files that it changed, added or removed.
    pub fn touched(&self) -> impl Iterator<Item = &String> {
        [&self.added, &self.changed, &self.removed]
            .into_iter()
            .flatten()
    }

    /// What it changed in the built site.
    pub fn built(&self) -> BTreeMap<FilePath, ChangeKind> {
        let lists = [
            (&self.added, ChangeKind::Added),
            (&self.changed, ChangeKind::Modified),
            (&self.removed, ChangeKind::Removed),
        ];
        lists
            .into_iter()
            .flat_map(|(paths, kind)| paths.iter().map(move |path| (path, kind)))
            .map(|(path, kind)| (FilePath::new(path.as_str()), kind))
            .collect()
    }
}

/// Where built files are served: `docs/index.html` at `/docs/`, any other at its path.
pub fn urls<'p>(paths: impl IntoIterator<Item = &'p String>) -> BTreeSet<String> {
    let url = |path: &String| match path.strip_suffix("index.html") {
        Some(directory) if directory.is_empty() || directory.ends_with('/') => {
            format!("/{directory}")
        }
        Some(_) | None => format!("/{path}"),
    };
    paths.into_iter().map(url).collect()
}
