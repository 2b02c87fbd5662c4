//! A run's changed paths, grouped by commit.

use super::super::super::run_page::{ChangedFiles, fitting};
use crate::changes::{ChangeKind, Completeness, FilePath, Proof};
use crate::event::CommitId;
use crate::forge::WebPages;
use crate::numerals::{counted, grouped};
use crate::run::{Link, Run, Shares};

/// The section about what changed.
pub(super) struct Changes {
    /// How much changed, and how much of it in the push itself.
    pub(super) words: String,
    pub(super) groups: Vec<Group>,
    /// The number of files shown.
    pub(super) shown: usize,
    pub(super) has_more: bool,
}

/// The files that one commit changed.
pub(super) struct Group {
    /// The commit; none if it is not known.
    pub(super) commit: Option<CommitLink>,
    /// Their number and proof.
    pub(super) words: String,
    pub(super) files: Vec<File>,
}

/// A commit, with its page on the forge if known.
pub(super) struct CommitLink {
    pub(super) short: String,
    pub(super) id: String,
    pub(super) url: Option<String>,
}

pub(super) struct File {
    pub(super) letter: char,
    pub(super) word: &'static str,
    pub(super) path: String,
}

impl CommitLink {
    pub(super) fn new(run: &Run, commit: &CommitId, pages: Option<&WebPages>) -> Self {
        Self {
            short: commit.short().to_owned(),
            id: commit.to_string(),
            url: pages.map(|pages| pages.commit(&run.repo, commit)),
        }
    }
}

impl Changes {
    pub(super) fn new(run: &Run, changed: ChangedFiles, pages: Option<&WebPages>) -> Self {
        let ChangedFiles {
            total,
            mut files,
            links,
        } = changed;
        let words = match run.proof {
            None => "It is not known yet which files changed.".to_owned(),
            Some(Completeness::Unknown) => "It could not be known which files changed.".to_owned(),
            Some(Completeness::Proven(_)) => shares_in_words(run, total, &links),
        };
        files.truncate(fitting(files.iter().map(|(path, _)| path.as_bytes().len())));
        let shown = files.len();
        Self {
            words,
            shown,
            has_more: total > shown,
            groups: groups(run, files, links, pages),
        }
    }
}

/// "3 files in this push, and 48 from 17 earlier commits that caches may still hold."
fn shares_in_words(run: &Run, total: usize, links: &[Link]) -> String {
    let this = if run.before.is_some() {
        "this push"
    } else {
        "this commit"
    };
    let files = |count: usize| counted(count, "file", "files");
    match Shares::of(links) {
        _ if total == 0 => "No file differs from what caches may hold.".to_owned(),
        None => format!(
            "{} in {this} and in earlier commits that caches might have held.",
            files(total)
        ),
        Some(Shares { earlier: 0, .. }) => format!("{} in {this}.", files(total)),
        Some(shares) => {
            let own = match shares.own {
                0 => "No file".to_owned(),
                own => files(own),
            };
            let commits = counted(shares.commits, "earlier commit", "earlier commits");
            let earlier = grouped(shares.earlier);
            format!("{own} in {this}, and {earlier} from {commits} that caches may still hold.")
        }
    }
}

/// The files shown, grouped by link.
fn groups(
    run: &Run,
    files: Vec<(FilePath, ChangeKind)>,
    links: Vec<Link>,
    pages: Option<&WebPages>,
) -> Vec<Group> {
    let mut files = files.into_iter().map(file);
    if links.is_empty() {
        let files: Vec<File> = files.collect();
        let whole = Group {
            commit: None,
            words: String::new(),
            files,
        };
        return Vec::from_iter((!whole.files.is_empty()).then_some(whole));
    }
    let brought = links.iter().filter(|link| link.files > 0);
    let groups = brought.map(|link| Group {
        commit: Some(CommitLink::new(run, &link.to, pages)),
        words: format!(
            "{}: {}",
            counted(link.files, "file", "files"),
            proof_in_words(link)
        ),
        files: files.by_ref().take(link.files).collect(),
    });
    groups.take_while(|group| !group.files.is_empty()).collect()
}

/// The proof that a link's files are complete.
fn proof_in_words(link: &Link) -> String {
    let from = link.from.short();
    match link.proof {
        Proof::Payload => format!("the push's own lists name all that changed since {from}"),
        Proof::Compare => format!("the forge's comparison with {from} names all of them"),
        Proof::Trees => format!("all in which its tree differs from that of {from}"),
    }
}

fn file((path, kind): (FilePath, ChangeKind)) -> File {
    let (letter, word) = match kind {
        ChangeKind::Added => ('A', "added"),
        ChangeKind::Modified => ('M', "modified"),
        ChangeKind::Removed => ('D', "removed"),
        ChangeKind::AddedAndModified => ('M', "modified, and new to a part of the caches"),
    };
    File {
        letter,
        word,
        path: path.to_string(),
    }
}
