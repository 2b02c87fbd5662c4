//! Computes the union of the differences from every commit that caches may hold, from the links of a chain.
//!
//! The chain goes from the oldest held commit to the next one, and so on to the run's own commit. If a path differs
//! across a link, the run's commit differs from at least one end of it. If a path differs between the run's commit
//! and a held one, it changes on some link after the held one. So the links give exactly the union. Each link is a
//! small difference even if the oldest commit is far behind, and the previous run already computed all but the
//! last.

use std::collections::{BTreeMap, BTreeSet};

use crate::changes::{ChangeKind, FilePath, Proof};
use crate::event::CommitId;
use crate::run::{Link, RunChanges};

/// The commits from the one that was live first to the run's own; neighbours are compared.
///
/// Commits that pushes lead from to the run's commit come last, in the order of these pushes, since their deliveries may
/// list those links. `pushes` are the commits before and after each.
pub fn chain<'a>(
    bases: &[&'a CommitId],
    pushes: &[(&'a CommitId, &'a CommitId)],
    commit: &'a CommitId,
) -> Vec<&'a CommitId> {
    let mut chain = vec![commit];
    let mut at = commit;
    let mut left: BTreeSet<&CommitId> = bases.iter().copied().collect();
    left.remove(commit);
    let mut led_from = BTreeMap::new();
    for (before, after) in pushes {
        led_from.entry(*after).or_insert(*before);
    }
    while let Some(before) = led_from.get(at)
        && left.remove(before)
    {
        chain.push(before);
        at = before;
    }
    let others = bases.iter().rev().copied();
    chain.extend(others.filter(|base| left.remove(base)));
    chain.reverse();
    chain
}

/// The state of a path in the run's commit and in the held ones.
struct Seen {
    /// The newest link that changed it.
    brought_by: usize,
    is_there: bool,
    was_there: bool,
    was_missing: bool,
}

/// The union of the differences from each commit of a chain to its last one, computed from the differences across
/// its links, with the proof that it rests on.
///
/// A path that exists in one commit and not in another is both: a cache may hold either, so rules for both must
/// match.
pub fn union<'l, L>(links: L) -> (Proof, RunChanges)
where
    L: DoubleEndedIterator<Item = (Link, &'l BTreeMap<FilePath, ChangeKind>)>,
{
    let mut newest_first = Vec::new();
    let mut seen: BTreeMap<&FilePath, Seen> = BTreeMap::new();
    for (brought_by, (link, files)) in links.rev().enumerate() {
        newest_first.push(link);
        for (path, kind) in files {
            let (before, after) = match kind {
                ChangeKind::Added => (false, true),
                ChangeKind::Modified | ChangeKind::AddedAndModified => (true, true),
                ChangeKind::Removed => (true, false),
            };
            let seen = seen.entry(path).or_insert(Seen {
                brought_by,
                is_there: after,
                was_there: false,
                was_missing: false,
            });
            seen.was_there |= before;
            seen.was_missing |= !before;
        }
    }
    let kind = |seen: &Seen| match (seen.is_there, seen.was_there, seen.was_missing) {
        (false, _, _) => ChangeKind::Removed,
        (true, true, true) => ChangeKind::AddedAndModified,
        (true, false, _) => ChangeKind::Added,
        (true, true, false) => ChangeKind::Modified,
    };
    // The union rests on the most expensive proof. Without a link, the caches hold only this commit, and a tree
    // does not differ from itself.
    let proof = newest_first.iter().map(|link| link.proof).max();
    let files = seen
        .into_iter()
        .map(|(path, seen)| (path.clone(), (kind(&seen), seen.brought_by)))
        .collect();
    (
        proof.unwrap_or(Proof::Trees),
        RunChanges::new(newest_first, files),
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A commit's files with their contents.
    type Tree = BTreeMap<u8, u8>;

    fn difference(from: &Tree, to: &Tree) -> BTreeMap<FilePath, ChangeKind> {
        let paths = from.keys().chain(to.keys());
        paths
            .filter_map(|path| {
                let kind = match (from.get(path), to.get(path)) {
                    (a, b) if a == b => return None,
                    (None, _) => ChangeKind::Added,
                    (_, None) => ChangeKind::Removed,
                    (Some(_), Some(_)) => ChangeKind::Modified,
                };
                Some((FilePath::new([*path]), kind))
            })
            .collect()
    }

    fn commit(digit: char) -> CommitId {
        CommitId::parse(&digit.to_string().repeat(40)).unwrap()
    }

    #[test]
    fn commits_are_in_the_order_of_the_pushes_that_lead_to_the_last_one() {
        let [a, b, c, d, e] = ['a', 'b', 'c', 'd', 'e'].map(commit);
        let pushes = [(&b, &c), (&c, &d)];

        // Commits that became held together have no order of their own.
        assert_eq!(chain(&[&c, &a, &e, &b], &pushes, &d), [&a, &e, &b, &c, &d]);
        assert_eq!(chain(&[&d, &a], &pushes, &d), [&a, &d]);
        // A branch that was moved back and forth.
        assert_eq!(chain(&[&a, &b], &[(&a, &b), (&b, &a)], &a), [&b, &a]);
    }

    fn union_of(chain: &[Tree]) -> BTreeMap<FilePath, ChangeKind> {
        let links: Vec<_> = chain
            .iter()
            .zip(chain.iter().skip(1))
            .map(|(from, to)| difference(from, to))
            .collect();
        let links = links.iter().enumerate();
        let links = links.map(|(at, files)| (link(at), files));
        union(links).1.files().clone()
    }

    /// The link after the commit with this number.
    fn link(at: usize) -> Link {
        let commit = |n: usize| CommitId::parse(&format!("{n:040x}")).unwrap();
        Link {
            from: commit(at + 1),
            to: commit(at + 2),
            proof: Proof::Compare,
            files: 0,
        }
    }

    fn tree() -> impl Strategy<Value = Tree> {
        prop::collection::btree_map(0..6u8, 0..3u8, 0..6)
    }

    proptest! {
        #[test]
        fn the_links_of_a_chain_come_to_the_union_of_the_differences_to_its_end(
            chain in prop::collection::vec(tree(), 1..7),
        ) {
            let found = union_of(&chain);

            let (last, bases) = chain.split_last().unwrap();
            let differences: Vec<_> = bases.iter().map(|base| difference(base, last)).collect();
            let paths: std::collections::BTreeSet<_> =
                differences.iter().flat_map(BTreeMap::keys).collect();
            prop_assert_eq!(found.keys().collect::<std::collections::BTreeSet<_>>(), paths);
            // A rule that matches a path's kind against any commit must match its kind in the union.
            for (path, kind) in differences.iter().flatten() {
                prop_assert!(found[path].is_among(&[*kind]), "{:?} is {:?}", path, found[path]);
            }
            // A path that all commits contain is not new, and a path that exists is not removed.
            for (path, kind) in &found {
                let is_there = last.contains_key(&path.as_bytes()[0]);
                prop_assert_eq!(*kind == ChangeKind::Removed, !is_there);
                let was_everywhere = bases.iter().all(|base| base.contains_key(&path.as_bytes()[0]));
                prop_assert!(!(was_everywhere && kind.is_among(&[ChangeKind::Added])));
            }
        }
    }

    #[test]
    fn a_path_that_caches_hold_or_lack_is_both_new_and_changed() {
        let there = |content| Tree::from([(1, content)]);

        let found = union_of(&[there(1), Tree::new(), there(2)]);

        assert_eq!(
            found[&FilePath::new([1])],
            ChangeKind::AddedAndModified,
            "a list that lacks it and a page that has it are both stale"
        );
    }

    #[test]
    fn each_path_is_of_the_newest_link_that_brought_it() {
        let files = |names: &[&str]| -> BTreeMap<FilePath, ChangeKind> {
            let names = names.iter();
            names
                .map(|name| (FilePath::new(*name), ChangeKind::Modified))
                .collect()
        };
        let (old, new) = (files(&["a", "b", "c"]), files(&["b", "d"]));

        let (_, changes) = union([(link(0), &old), (link(1), &new)].into_iter());

        let counts: Vec<_> = changes
            .links()
            .iter()
            .map(|link| (link.to.clone(), link.files))
            .collect();
        assert_eq!(counts, [(link(1).to, 2), (link(0).to, 2)]);
        let names: Vec<String> = changes
            .by_link()
            .iter()
            .map(|(path, _)| path.to_string())
            .collect();
        assert_eq!(names, ["b", "d", "a", "c"]);
    }
}
