//! The difference between two trees, as git computes it.

use std::collections::BTreeMap;

use super::tree::{Entry, Files};

/// How a path differs between two trees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Difference {
    Added,
    Removed,
    Modified,
    /// Only the mode differs.
    Changed,
    /// Moved with its content unchanged.
    Renamed,
}

/// One difference between two trees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FileDiff {
    pub difference: Difference,
    /// The path in the newer tree; for [`Difference::Removed`] in the older one.
    pub path: Vec<u8>,
    /// The older path of a rename.
    pub previous: Option<Vec<u8>>,
    pub old: Option<Entry>,
    pub new: Option<Entry>,
}

/// The differences between two trees, by path. A removed and an added path with the same content are a rename.
pub(super) fn diff(old: &Files, new: &Files) -> Vec<FileDiff> {
    let mut gone: BTreeMap<&str, Vec<(&Vec<u8>, &Entry)>> = BTreeMap::new();
    for (path, entry) in old
        .iter()
        .rev()
        .filter(|(path, _)| !new.contains_key(*path))
    {
        gone.entry(&entry.id).or_default().push((path, entry));
    }
    let mut found = Vec::new();
    for (path, entry) in new {
        let (difference, previous, before) = match old.get(path) {
            Some(before) if before == entry => continue,
            Some(before) if before.id == entry.id => (Difference::Changed, None, Some(before)),
            Some(before) => (Difference::Modified, None, Some(before)),
            None => match gone.get_mut(entry.id.as_str()).and_then(Vec::pop) {
                Some((from, before)) => (Difference::Renamed, Some(from.clone()), Some(before)),
                None => (Difference::Added, None, None),
            },
        };
        found.push(FileDiff {
            difference,
            path: path.clone(),
            previous,
            old: before.cloned(),
            new: Some(entry.clone()),
        });
    }
    found.extend(gone.into_values().flatten().map(|(path, entry)| FileDiff {
        difference: Difference::Removed,
        path: path.clone(),
        previous: None,
        old: Some(entry.clone()),
        new: None,
    }));
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::super::repo::{Change, Repo};
    use super::super::tree::{EXECUTABLE, text};
    use super::*;

    #[test]
    fn a_diff_knows_renames_and_mode_changes() {
        let mut repo = Repo::default();
        let start = [
            Change::write("a", "1"),
            Change::write("b", "2"),
            Change::write("c", "3"),
        ];
        let one = repo.commit("main", &start, Timestamp::UNIX_EPOCH);
        let more = [
            Change::rename("a", "z"),
            Change::mode("b", EXECUTABLE),
            Change::remove("c"),
            Change::write("d", "4"),
        ];
        let two = repo.commit("main", &more, Timestamp::UNIX_EPOCH);
        repo.push("refs/heads/main");

        let found = diff(
            &repo.known(&one).unwrap().files,
            &repo.known(&two).unwrap().files,
        );
        let short: Vec<_> = found
            .iter()
            .map(|d| (text(&d.path), d.difference, d.previous.as_deref().map(text)))
            .collect();
        assert_eq!(
            short,
            [
                ("b".into(), Difference::Changed, None),
                ("c".into(), Difference::Removed, None),
                ("d".into(), Difference::Added, None),
                ("z".into(), Difference::Renamed, Some("a".into())),
            ]
        );
    }
}
