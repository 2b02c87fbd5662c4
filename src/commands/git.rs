//! What changed between two commits of a local repository and which files there are, as git says.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context, bail};

use crate::changes::{ChangeKind, FilePath};

/// The paths that differ between two commits, renames as a removal and an addition.
pub fn changed_files(
    repo: &Path,
    from: &str,
    to: &str,
) -> anyhow::Result<BTreeMap<FilePath, ChangeKind>> {
    let from = commit(repo, from)?;
    let to = commit(repo, to)?;
    let arguments = [
        "diff",
        "--name-status",
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
    read_name_status(&output.stdout)
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
    // Git's words are looked into, so they must be the ones that are known.
    match command.env("LC_ALL", "C").output() {
        Ok(output) => Ok(output),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            bail!("there is no `git` here; install it, or list the files with `--files`")
        }
        Err(error) => Err(error).context("cannot run git"),
    }
}

/// The last line that git wrote to standard error, without its `fatal:`.
fn said(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let last = text.lines().last().unwrap_or("it says nothing");
    last.strip_prefix("fatal: ").unwrap_or(last).to_owned()
}

/// Reads what `git diff --name-status -z --no-renames` prints: status, NUL, path, NUL.
fn read_name_status(output: &[u8]) -> anyhow::Result<BTreeMap<FilePath, ChangeKind>> {
    let mut files = BTreeMap::new();
    let mut parts = output.split(|b| *b == 0);
    while let Some(status) = parts.next().filter(|status| !status.is_empty()) {
        let path = parts.next().filter(|path| !path.is_empty());
        let path = path.context("git's answer is cut off")?;
        let kind = match status {
            b"A" => ChangeKind::Added,
            b"M" | b"T" => ChangeKind::Modified,
            b"D" => ChangeKind::Removed,
            other => bail!("git says `{}` of a file", other.escape_ascii()),
        };
        files.insert(FilePath::new(path), kind);
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gits_answer_is_read_byte_for_byte() {
        let files = read_name_status(b"M\0a b\tc\0D\0\xff\xfe\0A\0\"q\"\n\0T\0link\0").unwrap();

        let expected = [
            (&b"a b\tc"[..], ChangeKind::Modified),
            (b"\xff\xfe", ChangeKind::Removed),
            (b"\"q\"\n", ChangeKind::Added),
            (b"link", ChangeKind::Modified),
        ];
        assert_eq!(
            files,
            expected
                .map(|(path, kind)| (FilePath::new(path), kind))
                .into()
        );
        assert!(read_name_status(b"").unwrap().is_empty());
        assert!(read_name_status(b"M\0").is_err());
        assert!(read_name_status(b"U\0x\0").is_err());
    }

    /// Runs git in a repository of the test's own, with no configuration of anybody's.
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
