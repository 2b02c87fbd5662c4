//! Asks git for the changes between two commits of a local repository, and for its files.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context, bail};

use crate::changes::{ChangeKind, FilePath};
use crate::plan::RawEntry;

/// The paths that differ between two commits, with renames as a removal and an addition.
pub fn changed_files(
    repo: &Path,
    from: &str,
    to: &str,
) -> anyhow::Result<BTreeMap<FilePath, ChangeKind>> {
    let from = commit(repo, from)?;
    let to = commit(repo, to)?;
    let arguments = [
        "diff",
        "--raw",
        "--no-abbrev",
        "-z",
        "--no-renames",
        "--no-relative",
    ];
    let output = git(
        repo,
        arguments.iter().chain(&[from.as_str(), to.as_str(), "--"]),
    )?;
    if !output.status.success() {
        bail!("git cannot compare {from} with {to}: {}", said(&output));
    }
    read_raw(&output.stdout)
}

/// The paths of all files in a commit's tree.
pub fn files(repo: &Path, commit: &str) -> anyhow::Result<Vec<FilePath>> {
    let tree = self::commit(repo, commit)?;
    let arguments = ["ls-tree", "-r", "-z", "--name-only", "--full-tree", &tree];
    let output = git(repo, arguments)?;
    if !output.status.success() {
        bail!("git cannot list the files of {tree}: {}", said(&output));
    }
    let paths = output.stdout.split(|b| *b == 0);
    Ok(paths
        .filter(|path| !path.is_empty())
        .map(FilePath::new)
        .collect())
}

/// The URL of a clone's remote. None without a remote or a repository.
pub fn remote(repo: &Path) -> Option<String> {
    one_line(repo, &["config", "--get", "remote.origin.url"])
}

/// The remote's default branch, or else the one that is checked out. None without either.
pub fn branch(repo: &Path) -> Option<String> {
    let remote = one_line(
        repo,
        &["symbolic-ref", "--short", "refs/remotes/origin/HEAD"],
    );
    match remote.as_deref().and_then(|name| name.split_once('/')) {
        Some((_, branch)) => Some(branch.to_owned()),
        None => one_line(repo, &["symbolic-ref", "--short", "HEAD"]),
    }
}

/// Whether a file would be committed along with the others, that is, whether it is not ignored.
pub fn would_commit(repo: &Path, file: &Path) -> bool {
    let is_within = one_line(repo, &["rev-parse", "--is-inside-work-tree"]);
    let ignored = git(
        repo,
        [
            OsStr::new("check-ignore"),
            OsStr::new("-q"),
            file.as_os_str(),
        ],
    );
    is_within.as_deref() == Some("true") && !ignored.is_ok_and(|output| output.status.success())
}

/// The output of git, if it is one line and git succeeds.
fn one_line(repo: &Path, arguments: &[&str]) -> Option<String> {
    let output = git(repo, arguments).ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let line = text.trim_end();
    (output.status.success() && !line.is_empty() && !line.contains('\n')).then(|| line.to_owned())
}

/// A commit's full id.
fn commit(repo: &Path, name: &str) -> anyhow::Result<String> {
    let revision = format!("{name}^{{commit}}");
    let arguments = ["rev-parse", "--verify", "--end-of-options", &revision];
    let output = git(repo, arguments)?;
    if !output.status.success() {
        let said = said(&output);
        if said.contains("not a git repository") {
            bail!("{} is no git repository", repo.display());
        }
        bail!(
            "there is no commit `{name}` in {} (a shallow clone may lack it): {said}",
            repo.display()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn git<A: AsRef<OsStr>>(
    repo: &Path,
    arguments: impl IntoIterator<Item = A>,
) -> anyhow::Result<Output> {
    if !repo.is_dir() {
        bail!("there is no directory {}", repo.display());
    }
    let mut command = Command::new("git");
    command.arg("-C").arg(repo).args(arguments);
    // The error text is parsed, so it must not be translated.
    match command.env("LC_ALL", "C").output() {
        Ok(output) => Ok(output),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            bail!("there is no `git` here; install it, or list the files with `--files`")
        }
        Err(error) => Err(error).context("cannot run git"),
    }
}

/// The last line of git's standard error, without its `fatal:`.
fn said(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let last = text.lines().last().unwrap_or("it says nothing");
    last.strip_prefix("fatal: ").unwrap_or(last).to_owned()
}

/// Parses the output of `git diff --raw -z --no-renames`: `:old-mode new-mode old-id new-id status`, NUL, path,
/// NUL.
fn read_raw(output: &[u8]) -> anyhow::Result<BTreeMap<FilePath, ChangeKind>> {
    let mut files = BTreeMap::new();
    let mut parts = output.split(|b| *b == 0);
    while let Some(entry) = parts.next().filter(|entry| !entry.is_empty()) {
        let path = parts.next().filter(|path| !path.is_empty());
        let path = path.context("git's answer is cut off")?;
        let Some(entry) = RawEntry::read(entry) else {
            bail!("git says `{}` of a file", entry.escape_ascii());
        };
        let paths = entry.paths(path);
        files.extend(paths.map(|path| (path, entry.change)));
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gits_answer_is_read_byte_for_byte() {
        let ids = format!("{} {}", "1".repeat(40), "2".repeat(40));
        let line = |modes: &str, status: &str, path: &[u8]| {
            [format!(":{modes} {ids} {status}\0").as_bytes(), path, b"\0"].concat()
        };
        let files = read_raw(
            &[
                line("100644 100755", "M", b"a b\tc"),
                line("100644 000000", "D", b"\xff\xfe"),
                line("000000 100644", "A", b"\"q\"\n"),
                line("100644 120000", "T", b"link"),
                line("160000 160000", "M", b"module"),
            ]
            .concat(),
        )
        .unwrap();

        let expected = [
            (&b"a b\tc"[..], ChangeKind::Modified),
            (b"\xff\xfe", ChangeKind::Removed),
            (b"\"q\"\n", ChangeKind::Added),
            (b"link", ChangeKind::Modified),
            (b"link/", ChangeKind::Modified),
            (b"module/", ChangeKind::Modified),
        ];
        assert_eq!(
            files,
            expected
                .map(|(path, kind)| (FilePath::new(path), kind))
                .into()
        );
        assert!(read_raw(b"").unwrap().is_empty());
        assert!(read_raw(&line("100644 100644", "M", b"")).is_err());
        assert!(read_raw(&line("100644 100644", "U", b"x")).is_err());
    }

    /// Runs git in the test's own repository, without anyone's configuration.
    fn run(repo: &Path, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .arg("-C")
            .arg(repo)
            .args(["-c", "user.name=a", "-c", "user.email=a@example.com"])
            .args(arguments)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn two_commits_are_compared_and_what_is_missing_is_said() {
        let directory = tempfile::tempdir().unwrap();
        let repo = directory.path();
        run(repo, &["init", "-q"]);
        std::fs::write(repo.join("old name"), "the same text\n").unwrap();
        std::fs::write(repo.join("gone"), "x").unwrap();
        run(repo, &["add", "."]);
        run(repo, &["commit", "-qm", "one"]);
        std::fs::rename(repo.join("old name"), repo.join("né")).unwrap();
        std::fs::remove_file(repo.join("gone")).unwrap();
        run(repo, &["add", "."]);
        run(repo, &["commit", "-qm", "two"]);

        let files = changed_files(repo, "HEAD~1", "HEAD").unwrap();
        let expected = [
            ("gone", ChangeKind::Removed),
            ("né", ChangeKind::Added),
            ("old name", ChangeKind::Removed),
        ];
        assert_eq!(
            files,
            expected
                .map(|(path, kind)| (FilePath::new(path), kind))
                .into()
        );

        let mut listed = super::files(repo, "HEAD").unwrap();
        listed.extend(super::files(repo, "HEAD~1").unwrap());
        assert_eq!(listed, ["né", "gone", "old name"].map(FilePath::new));
        assert!(super::files(repo, "nowhere").is_err());

        let wrong = |from: &str| changed_files(repo, from, "HEAD").unwrap_err().to_string();
        assert!(wrong("nowhere").starts_with("there is no commit `nowhere` in"));
        assert!(wrong("--help").starts_with("there is no commit `--help` in"));
        let nowhere = changed_files(&repo.join("x"), "a", "b").unwrap_err();
        assert!(nowhere.to_string().starts_with("there is no directory"));
    }
}
