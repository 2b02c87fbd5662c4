//! A run's change set: the union of the differences from every commit that caches may hold.

use std::collections::BTreeMap;

use super::{Engine, STEP_LIMIT, StepError};
use crate::changes::{ChangeKind, ChangeSet, FilePath, Proof};
use crate::config::Config;
use crate::event::{CommitId, Event, RepoPath};
use crate::forge::{Forge, ForgeError, Verified};
use crate::run::Run;
use crate::store::StoreError;

/// Commits that caches may hold, beyond which what changed counts as unknown:
/// each costs at least one comparison.
const MOST_BASES: usize = 20;

impl Engine {
    /// The paths that differ between any of `bases` and the run's commit.
    pub(super) async fn changes(
        &self,
        config: &Config,
        run: &Run,
        bases: &[String],
    ) -> Result<Result<ChangeSet, ForgeError>, StepError> {
        // Leaves room in the step for the commit of its outcome.
        match tokio::time::timeout(STEP_LIMIT * 9 / 10, self.compared(config, run, bases)).await {
            Ok(changes) => changes,
            Err(_) => Ok(Ok(ChangeSet::unknown(
                "comparing the commits took too long",
            ))),
        }
    }

    async fn compared(
        &self,
        config: &Config,
        run: &Run,
        bases: &[String],
    ) -> Result<Result<ChangeSet, ForgeError>, StepError> {
        if bases.is_empty() {
            return Ok(Ok(ChangeSet::unknown(
                "it is not known what the caches hold",
            )));
        }
        if bases.len() > MOST_BASES {
            let why = format!("the caches may hold any of {} commits", bases.len());
            return Ok(Ok(ChangeSet::unknown(why)));
        }
        let Some(forge) = config.forges.get(&run.forge) else {
            let why = format!("the forge {} is no longer configured", run.forge);
            return Ok(Err(ForgeError::Refused(why)));
        };
        let corrupt =
            || StoreError::Corrupt(format!("the repository or a commit of run {}", run.id));
        let repo = RepoPath::parse(&run.repo).ok_or_else(corrupt)?;
        let to = CommitId::parse(&run.commit).ok_or_else(corrupt)?;

        let mut union = Union::default();
        for base in bases {
            if *base == run.commit {
                // One tree does not differ from itself.
                continue;
            }
            let from = CommitId::parse(base).ok_or_else(corrupt)?;
            let changes = if run.before.as_ref() == Some(base)
                && let Some(listed) = self.listed(forge.as_ref(), run).await?
            {
                listed
            } else {
                match forge.changes(&repo, &from, &to).await {
                    Ok(changes) => changes,
                    Err(ForgeError::Gone(why)) => ChangeSet::unknown(why),
                    Err(error) => return Ok(Err(error)),
                }
            };
            match changes {
                ChangeSet::Complete { proof, files } => union.add(proof, files),
                unknown @ ChangeSet::Unknown { .. } => return Ok(Ok(unknown)),
            }
        }
        Ok(Ok(union.finish()))
    }

    /// What the run's delivery itself says changed, where it proves that it is all.
    async fn listed(&self, forge: &dyn Forge, run: &Run) -> Result<Option<ChangeSet>, StepError> {
        let Some(id) = &run.delivery else {
            return Ok(None);
        };
        let Some(delivery) = self.store.delivery(id).await? else {
            return Ok(None);
        };
        let verified = Verified {
            delivery_id: delivery.forge_delivery,
            event: delivery.event,
        };
        let event = forge.understand(&verified, &delivery.content_type, &delivery.body);
        Ok(match event {
            Ok(Event::Push(push)) if matches!(push.listed, ChangeSet::Complete { .. }) => {
                Some(push.listed)
            }
            Ok(_) | Err(_) => None,
        })
    }
}

/// The union of change sets that end at the same commit.
#[derive(Default)]
struct Union {
    proof: Option<Proof>,
    files: BTreeMap<FilePath, ChangeKind>,
}

impl Union {
    fn add(&mut self, proof: Proof, files: BTreeMap<FilePath, ChangeKind>) {
        // The proof that went furthest is the one the union rests on.
        self.proof = self.proof.max(Some(proof));
        for (path, kind) in files {
            self.files
                .entry(path)
                .and_modify(|known| {
                    // All end at one tree: a path is in it or not. New against one
                    // commit and different against another, it is a changed one.
                    if *known != kind {
                        *known = ChangeKind::Modified;
                    }
                })
                .or_insert(kind);
        }
    }

    fn finish(self) -> ChangeSet {
        match self.proof {
            Some(proof) => ChangeSet::Complete {
                proof,
                files: self.files,
            },
            // The caches hold this very commit and no other.
            None => ChangeSet::Complete {
                proof: Proof::Trees,
                files: self.files,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(list: &[(&str, ChangeKind)]) -> BTreeMap<FilePath, ChangeKind> {
        list.iter()
            .map(|(path, kind)| (FilePath::new(path.as_bytes()), *kind))
            .collect()
    }

    #[test]
    fn a_path_that_is_new_to_one_commit_and_changed_to_another_is_changed() {
        let mut union = Union::default();

        union.add(
            Proof::Payload,
            files(&[("a", ChangeKind::Added), ("b", ChangeKind::Removed)]),
        );
        union.add(
            Proof::Compare,
            files(&[("a", ChangeKind::Modified), ("c", ChangeKind::Added)]),
        );

        assert_eq!(
            union.finish(),
            ChangeSet::Complete {
                proof: Proof::Compare,
                files: files(&[
                    ("a", ChangeKind::Modified),
                    ("b", ChangeKind::Removed),
                    ("c", ChangeKind::Added),
                ]),
            }
        );
    }
}
