//! The exact difference between two commits, from their trees.
//!
//! Both trees are walked side by side, and a directory with the same id on both sides is never read: the number of
//! requests depends on the directories that differ, not on the size of the repository. If a walk gets long, it
//! reads the whole tree in one answer instead, which forges return up to some size.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::try_join;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use jiff::Timestamp;
use tokio::sync::Mutex;

use super::{ForgeError, complete, is_lossy, note};
use crate::changes::{ChangeKind, ChangeSet, FilePath, Proof};
use crate::clock::Clock;
use crate::event::CommitId;

/// Requests per difference: well below the 5,000 that GitHub allows a token per hour.
pub(super) const MAX_REQUESTS: usize = 2_000;
/// Requests of one walk per minute. GitHub allows 900 of all kinds ("Rate limits for the REST API"), GitLab 2,000.
const A_MINUTE: usize = 600;
/// Requests for a list of all files, which is only wanted if it is cheap: 3,000 files on GitLab.
const LISTING_REQUESTS: usize = 30;
const MINUTE: Duration = Duration::from_secs(60);
/// How often one walk waits for a forge that says "too fast", rather than starting again later.
const WAITS: usize = 4;
/// The longest such wait. For a limit that takes longer to reset, the walk ends.
const LONGEST_WAIT: Duration = Duration::from_secs(90);
/// Pauses are split into pieces, so that a test's clock does not stop at a long one.
const PIECE: Duration = Duration::from_secs(5);
/// Paths per difference: more than any CDN purges in a day, and small enough for memory.
const MAX_PATHS: usize = 500_000;
/// If a walk needs this many requests, made and queued, it tries to read both trees at once.
const LONG_WALK: usize = 12;
/// Directories that are compared at the same time, each with up to two requests.
const AT_ONCE: usize = 2;

/// The kind of an entry in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum EntryKind {
    Directory,
    /// A regular file. Whether it is executable does not count as content.
    File,
    /// A symbolic link, whose content is at its target.
    Symlink,
    /// A commit of another repository; counts as a file.
    Submodule,
}

impl EntryKind {
    /// Whether files below it may have changed although it is one entry in git.
    fn may_be_directory(self) -> bool {
        match self {
            Self::Submodule | Self::Symlink => true,
            Self::Directory | Self::File => false,
        }
    }

    /// From git's mode, e.g. `100644`.
    pub fn from_mode(mode: &str) -> Option<Self> {
        match mode {
            "040000" | "40000" => Some(Self::Directory),
            "120000" => Some(Self::Symlink),
            "160000" => Some(Self::Submodule),
            _ if mode.starts_with("100") => Some(Self::File),
            _ => None,
        }
    }
}

/// One entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    /// Relative to the repository's root.
    pub path: String,
    pub kind: EntryKind,
    /// The id of its content: a blob, a tree or a commit.
    pub id: String,
}

/// A directory at a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Dir {
    pub commit: CommitId,
    /// Relative to the repository's root; empty for the root.
    pub path: String,
    /// The tree's id; none for the root, whose id is not known.
    pub id: Option<String>,
}

impl Dir {
    /// The path of an entry in this directory.
    pub fn join(&self, name: &str) -> String {
        if self.path.is_empty() {
            name.to_owned()
        } else {
            format!("{}/{name}", self.path)
        }
    }
}

/// Why a walk ended early.
#[derive(Debug)]
pub(super) enum Stop {
    /// A request failed.
    Failed(ForgeError),
    /// The forge cannot give a complete answer.
    Unknown(String),
}

impl From<ForgeError> for Stop {
    fn from(error: ForgeError) -> Self {
        Self::Failed(error)
    }
}

/// Counts the requests of one walk and limits their rate.
pub(super) struct Budget {
    clock: Clock,
    most: usize,
    spent: Mutex<Spent>,
}

struct Spent {
    requests: usize,
    waits: usize,
    /// The start of the current minute, and the requests in it.
    minute: Timestamp,
    in_minute: usize,
}

impl Budget {
    /// The budget of a walk through two trees.
    pub(super) fn new(clock: &Clock) -> Self {
        Self::of(clock, MAX_REQUESTS)
    }

    /// A budget of this many requests.
    fn of(clock: &Clock, most: usize) -> Self {
        let spent = Spent {
            requests: 0,
            waits: 0,
            minute: clock.now(),
            in_minute: 0,
        };
        Self {
            clock: clock.clone(),
            most,
            spent: Mutex::new(spent),
        }
    }

    /// The number of requests made.
    async fn spent(&self) -> usize {
        self.spent.lock().await.requests
    }

    /// Call before each request.
    pub async fn spend(&self) -> Result<(), Stop> {
        // Locked during a pause, so that no other request is sent in it.
        let mut spent = self.spent.lock().await;
        if spent.requests >= self.most {
            return Err(Stop::Unknown(format!(
                "the difference needs more than {} requests",
                self.most
            )));
        }
        let left = (spent.minute + MINUTE).duration_since(self.clock.now());
        let left = Duration::try_from(left).unwrap_or_default();
        if left.is_zero() || spent.in_minute >= A_MINUTE {
            self.pause(left).await;
            spent.minute = self.clock.now();
            spent.in_minute = 0;
        }
        spent.requests += 1;
        spent.in_minute += 1;
        Ok(())
    }

    /// Waits if a failure asks for only a short wait; otherwise the walk fails.
    async fn wait_out(&self, failure: Stop) -> Result<(), Stop> {
        let asked = match &failure {
            Stop::Failed(ForgeError::Later {
                retry_after: Some(wait),
                ..
            }) if *wait <= LONGEST_WAIT => *wait,
            Stop::Failed(_) | Stop::Unknown(_) => return Err(failure),
        };
        let mut spent = self.spent.lock().await;
        if spent.waits >= WAITS {
            return Err(failure);
        }
        spent.waits += 1;
        self.pause(asked).await;
        spent.minute = self.clock.now();
        spent.in_minute = 0;
        Ok(())
    }

    async fn pause(&self, mut left: Duration) {
        while !left.is_zero() {
            let piece = left.min(PIECE);
            self.clock.sleep(piece).await;
            left -= piece;
        }
    }
}

/// Lists directories through a forge's API.
#[async_trait]
pub(super) trait Trees: Sync {
    /// Whether [`list_deep`](Self::list_deep) takes one request, however many entries it returns.
    fn lists_whole_trees(&self) -> bool {
        false
    }

    /// The entries of one directory.
    async fn list(&self, dir: &Dir, budget: &Budget) -> Result<Vec<Entry>, Stop>;

    /// The entries of a directory and everything below it. None if the forge does not list them at once; then they
    /// are listed one directory at a time.
    async fn list_deep(&self, dir: &Dir, budget: &Budget) -> Result<Option<Vec<Entry>>, Stop>;
}

/// The paths that differ between two commits' trees.
pub(super) async fn difference(
    trees: &dyn Trees,
    clock: &Clock,
    from: &CommitId,
    to: &CommitId,
) -> Result<ChangeSet, ForgeError> {
    match walk(trees, from, to, &Budget::new(clock)).await {
        Ok(files) => Ok(complete(Proof::Trees, files)),
        Err(Stop::Unknown(why)) => Ok(ChangeSet::unknown(why)),
        Err(Stop::Failed(error)) => Err(error),
    }
}

/// The paths of all files in a commit's tree, if the forge lists them in a few requests.
pub(super) async fn files(
    trees: &dyn Trees,
    clock: &Clock,
    commit: &CommitId,
) -> Result<Option<Vec<FilePath>>, ForgeError> {
    let budget = Budget::of(clock, LISTING_REQUESTS);
    let root = Dir {
        commit: commit.clone(),
        path: String::new(),
        id: None,
    };
    match trees.list_deep(&root, &budget).await {
        Ok(None) | Err(Stop::Unknown(_)) => Ok(None),
        Err(Stop::Failed(error)) => Err(error),
        Ok(Some(entries)) => {
            let files = entries.into_iter();
            let files = files.filter(|entry| entry.kind != EntryKind::Directory);
            Ok(Some(files.map(|entry| FilePath::new(entry.path)).collect()))
        }
    }
}

/// A directory on both sides, or only on one.
struct Pair {
    from: Option<Dir>,
    to: Option<Dir>,
}

/// The result of comparing one directory.
#[derive(Default)]
struct Step {
    changes: Vec<(String, ChangeKind)>,
    below: Vec<Pair>,
}

async fn walk(
    trees: &dyn Trees,
    from: &CommitId,
    to: &CommitId,
    budget: &Budget,
) -> Result<BTreeMap<FilePath, ChangeKind>, Stop> {
    let root = |commit: &CommitId| Dir {
        commit: commit.clone(),
        path: String::new(),
        id: None,
    };
    let mut files = BTreeMap::new();
    let mut level = vec![Pair {
        from: Some(root(from)),
        to: Some(root(to)),
    }];
    let mut may_be_whole = trees.lists_whole_trees();
    while !level.is_empty() {
        if may_be_whole && budget.spent().await + 2 * level.len() > LONG_WALK {
            may_be_whole = false;
            if let Some(step) = whole(trees, root(from), root(to), budget).await? {
                files.clear();
                for (path, kind) in step.changes {
                    note(&mut files, &path, kind);
                }
                return Ok(files);
            }
        }
        let mut steps = stream::iter(level)
            .map(|pair| compare(trees, pair, budget))
            .buffer_unordered(AT_ONCE);
        let mut below = Vec::new();
        while let Some(step) = steps.try_next().await? {
            for (path, kind) in step.changes {
                note(&mut files, &path, kind);
            }
            if files.len() > MAX_PATHS {
                return Err(Stop::Unknown(format!("more than {MAX_PATHS} paths differ")));
            }
            for pair in &step.below {
                // Paths of differing entries below it cannot be exact either.
                let dirs = pair.from.iter().chain(&pair.to);
                if let Some(dir) = dirs.into_iter().find(|dir| is_lossy(&dir.path)) {
                    return Err(Stop::Unknown(format!(
                        "the path `{}` is not UTF-8, and the forge's API cannot say it exactly",
                        dir.path
                    )));
                }
            }
            below.extend(step.below);
        }
        level = below;
    }
    Ok(files)
}

/// Compares two trees that are listed completely. None if the forge does not list them so.
async fn whole(
    trees: &dyn Trees,
    from: Dir,
    to: Dir,
    budget: &Budget,
) -> Result<Option<Step>, Stop> {
    let Some(before) = list_deep(trees, &from, budget).await? else {
        return Ok(None);
    };
    let Some(after) = list_deep(trees, &to, budget).await? else {
        return Ok(None);
    };
    let files = |entries: Vec<Entry>| {
        let files = entries.into_iter();
        by_path(
            files
                .filter(|entry| entry.kind != EntryKind::Directory)
                .collect(),
        )
    };
    // Names that look alike may be in any directory here, and may differ or not.
    if before
        .iter()
        .chain(&after)
        .any(|entry| is_lossy(&entry.path))
    {
        return Ok(None);
    }
    Ok(Some(differing(
        &Some(from),
        files(before)?,
        &Some(to),
        files(after)?,
    )))
}

/// Compares one directory, one level deep.
async fn compare(trees: &dyn Trees, pair: Pair, budget: &Budget) -> Result<Step, Stop> {
    let Pair { from, to } = pair;
    match (&from, &to) {
        (Some(before), Some(after)) => {
            let (a, b) = try_join(list(trees, before, budget), list(trees, after, budget)).await?;
            let (a, b) = without_equals(a, b)?;
            Ok(differing(&from, by_path(a)?, &to, by_path(b)?))
        }
        (Some(dir), None) => one_sided(trees, dir, ChangeKind::Removed, budget).await,
        (None, Some(dir)) => one_sided(trees, dir, ChangeKind::Added, budget).await,
        (None, None) => Ok(Step::default()),
    }
}

/// The entries of one directory, as soon as the forge allows the request.
async fn list(trees: &dyn Trees, dir: &Dir, budget: &Budget) -> Result<Vec<Entry>, Stop> {
    loop {
        match trees.list(dir, budget).await {
            Ok(entries) => return Ok(entries),
            Err(failure) => budget.wait_out(failure).await?,
        }
    }
}

/// Everything below a directory, as soon as the forge allows the request.
async fn list_deep(
    trees: &dyn Trees,
    dir: &Dir,
    budget: &Budget,
) -> Result<Option<Vec<Entry>>, Stop> {
    loop {
        match trees.list_deep(dir, budget).await {
            Ok(entries) => return Ok(entries),
            Err(failure) => budget.wait_out(failure).await?,
        }
    }
}

/// Removes the entries that are equal on both sides, which are most of a large directory.
///
/// In an answer, a name that is not UTF-8 contains replacement characters, so two such names may look alike. If
/// anything in their directory differs, one of them may have replaced the other unnoticed.
fn without_equals(
    mut before: Vec<Entry>,
    mut after: Vec<Entry>,
) -> Result<(Vec<Entry>, Vec<Entry>), Stop> {
    before.sort();
    after.sort();
    let mut new = after.into_iter().peekable();
    let (mut gone, mut come) = (Vec::new(), Vec::new());
    for old in before {
        come.extend(std::iter::from_fn(|| new.next_if(|entry| *entry < old)));
        if new.next_if_eq(&old).is_none() {
            gone.push(old);
        } else if is_lossy(&old.path) {
            return Err(Stop::Unknown(format!(
                "beside what differs stands `{}`, whose name is not UTF-8: \
                 the forge's API cannot say whether it is the same",
                old.path
            )));
        }
    }
    come.extend(new);
    Ok((gone, come))
}

/// Everything below a directory that does not exist on the other side.
async fn one_sided(
    trees: &dyn Trees,
    dir: &Dir,
    kind: ChangeKind,
    budget: &Budget,
) -> Result<Step, Stop> {
    let Some(entries) = list_deep(trees, dir, budget).await? else {
        let here = Some(dir.clone());
        let entries = by_path(list(trees, dir, budget).await?)?;
        return Ok(match kind {
            ChangeKind::Removed => differing(&here, entries, &None, BTreeMap::new()),
            ChangeKind::Added | ChangeKind::Modified | ChangeKind::AddedAndModified => {
                differing(&None, BTreeMap::new(), &here, entries)
            }
        });
    };
    let mut step = Step::default();
    for (path, entry) in by_path(entries)? {
        if entry.kind != EntryKind::Directory {
            step.note_leaf(path, &[entry.kind], kind);
        }
    }
    Ok(step)
}

/// Entries by path. If two have the same path, the API cannot distinguish them.
fn by_path(entries: Vec<Entry>) -> Result<BTreeMap<String, Entry>, Stop> {
    let mut by_path = BTreeMap::new();
    for entry in entries {
        if let Some(double) = by_path.insert(entry.path.clone(), entry) {
            return Err(Stop::Unknown(format!(
                "the forge lists `{}` twice in one directory",
                double.path
            )));
        }
    }
    Ok(by_path)
}

/// The differences between two listings of the same directory.
fn differing(
    from: &Option<Dir>,
    mut before: BTreeMap<String, Entry>,
    to: &Option<Dir>,
    after: BTreeMap<String, Entry>,
) -> Step {
    let mut step = Step::default();
    for (path, new) in after {
        let old = before.remove(&path);
        step.compare_entries(from, old, to, Some(new), path);
    }
    for (path, old) in before {
        step.compare_entries(from, Some(old), to, None, path);
    }
    step
}

impl Step {
    fn compare_entries(
        &mut self,
        from: &Option<Dir>,
        old: Option<Entry>,
        to: &Option<Dir>,
        new: Option<Entry>,
        path: String,
    ) {
        if let (Some(old), Some(new)) = (&old, &new)
            && (old.kind, &old.id) == (new.kind, &new.id)
        {
            return;
        }
        let is_dir = |entry: &Entry| entry.kind == EntryKind::Directory;
        let as_dir = |side: &Option<Dir>, entry: &Option<Entry>| match (side, entry) {
            (Some(side), Some(entry)) if is_dir(entry) => Some(Dir {
                commit: side.commit.clone(),
                path: entry.path.clone(),
                id: Some(entry.id.clone()),
            }),
            _ => None,
        };
        let pair = Pair {
            from: as_dir(from, &old),
            to: as_dir(to, &new),
        };
        if pair.from.is_some() || pair.to.is_some() {
            self.below.push(pair);
        }
        let leaf = |entry: Option<Entry>| {
            entry
                .map(|it| it.kind)
                .filter(|kind| *kind != EntryKind::Directory)
        };
        let (old, new) = (leaf(old), leaf(new));
        let kind = match (old, new) {
            (Some(_), Some(_)) => ChangeKind::Modified,
            (Some(_), None) => ChangeKind::Removed,
            (None, Some(_)) => ChangeKind::Added,
            (None, None) => return,
        };
        self.note_leaf(
            path,
            &[old, new].into_iter().flatten().collect::<Vec<_>>(),
            kind,
        );
    }

    /// Records a change of an entry that is not a tree in git, by its old and new kinds.
    fn note_leaf(&mut self, path: String, kinds: &[EntryKind], change: ChangeKind) {
        if kinds.iter().any(|kind| kind.may_be_directory()) {
            self.changes.push((format!("{path}/"), change));
        }
        if kinds.iter().any(|kind| *kind != EntryKind::Submodule) {
            self.changes.push((path, change));
        }
    }
}

#[cfg(test)]
mod tests;
