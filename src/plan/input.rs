//! Parses changed files from text: one path per line, or what `git diff` prints with `--name-status` or `--raw`.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::listings::printed_by;
use crate::changes::{ChangeKind, FilePath};
use crate::sanitize::visible;

/// A line that does not name a changed file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct InputError {
    /// The line number, from 1.
    pub line: usize,
    /// What is wrong, and what to write instead.
    pub message: String,
}

/// Reads changed files: one path per line (taken as modified), or `A`, `M`, `D`, `T`, `R100`, `C75`, a tab and the
/// path or paths, as `git diff --name-status` prints them, quoted or not; or the output of `git diff --raw`, which
/// distinguishes submodules and links from files. A path that ends in `/` is a submodule, or a link to a directory.
///
/// Ignores blank lines, carriage returns at line ends, and `./` before a path.
pub fn read_files(input: &[u8]) -> Result<BTreeMap<FilePath, ChangeKind>, InputError> {
    let input = input.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(input);
    if let Some((line, command)) = printed_by(input) {
        return Err(InputError {
            line,
            message: format!(
                "this is what is printed by {command}, and no list of paths; use `git diff --name-status` \
                 (a path that does begin so is written in quotes)"
            ),
        });
    }
    let mut files = BTreeMap::new();
    for (index, line) in input.split(|b| *b == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            continue;
        }
        for (path, kind) in read_line(line).map_err(|message| InputError {
            line: index + 1,
            message,
        })? {
            match files.entry(path) {
                Entry::Vacant(entry) => {
                    entry.insert(kind);
                }
                // Both removed and added: one line moved it away, the other put it back.
                Entry::Occupied(mut entry) if *entry.get() != kind => {
                    entry.insert(ChangeKind::Modified);
                }
                Entry::Occupied(_) => {}
            }
        }
    }
    Ok(files)
}

fn read_line(line: &[u8]) -> Result<Vec<(FilePath, ChangeKind)>, String> {
    if line.contains(&0) {
        return Err("a NUL byte; run git without -z".to_owned());
    }
    let mut columns = line.split(|b| *b == b'\t');
    let first = columns.next().unwrap_or_default();
    let rest: Vec<&[u8]> = columns.collect();
    if first.starts_with(b":") && !rest.is_empty() {
        return read_raw(first, &rest);
    }
    match rest.as_slice() {
        [] => Ok(vec![(read_path(first)?, ChangeKind::Modified)]),
        [path] => {
            let kind = match first {
                b"A" => ChangeKind::Added,
                b"M" | b"T" => ChangeKind::Modified,
                b"D" => ChangeKind::Removed,
                other => return Err(unknown_status(other)),
            };
            Ok(vec![(read_path(path)?, kind)])
        }
        [from, to] => {
            let mut files = vec![(read_path(to)?, ChangeKind::Added)];
            match first.split_first() {
                Some((b'R', score)) if is_score(score) => {
                    files.push((read_path(from)?, ChangeKind::Removed));
                }
                Some((b'C', score)) if is_score(score) => {
                    read_path(from)?;
                }
                _ => return Err(unknown_status(first)),
            }
            Ok(files)
        }
        _ => Err(
            "more than three columns; a path with a tab in it is written in quotes, \"a\\tb\""
                .to_owned(),
        ),
    }
}

/// A line of `git diff --raw`.
fn read_raw(entry: &[u8], paths: &[&[u8]]) -> Result<Vec<(FilePath, ChangeKind)>, String> {
    let unknown = || {
        format!(
            "`{}` before a tab is no entry of `git diff --raw`",
            entry.escape_ascii()
        )
    };
    let raw = RawEntry::read(entry).ok_or_else(unknown)?;
    let mut files = Vec::new();
    let mut add = |raw: RawEntry, path: &[u8]| {
        let path = read_path(path)?;
        files.extend(raw.paths(path.as_bytes()).map(|path| (path, raw.change)));
        Ok::<(), String>(())
    };
    match (raw.is_move, paths) {
        (false, [path]) => add(raw, path)?,
        (true, [from, to]) => {
            let (gone, new) = raw.ends();
            if entry.contains(&b'R') {
                add(gone, from)?;
            }
            add(new, to)?;
        }
        _ => return Err(unknown()),
    }
    Ok(files)
}

/// The entry of `git diff --raw` before the path: `:old-mode new-mode old-id new-id status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawEntry {
    /// How the path changed.
    pub change: ChangeKind,
    /// Whether it is a rename or a copy, which has two paths.
    is_move: bool,
    old: Mode,
    new: Mode,
}

/// The type of a path, by its mode (git-fast-import(1)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Nothing,
    File,
    Link,
    Submodule,
}

impl Mode {
    fn read(mode: &[u8]) -> Option<Self> {
        Some(match mode {
            b"000000" => Self::Nothing,
            b"120000" => Self::Link,
            b"160000" => Self::Submodule,
            mode if mode.starts_with(b"100") => Self::File,
            _ => return None,
        })
    }
}

impl RawEntry {
    /// Parses the text before the path. None if it is something else.
    pub fn read(entry: &[u8]) -> Option<Self> {
        let mut words = entry.strip_prefix(b":")?.split(|b| *b == b' ');
        let (old, new) = (Mode::read(words.next()?)?, Mode::read(words.next()?)?);
        let (_, _) = (words.next()?, words.next()?);
        let (change, is_move) = match words.next()? {
            b"A" => (ChangeKind::Added, false),
            b"M" | b"T" => (ChangeKind::Modified, false),
            b"D" => (ChangeKind::Removed, false),
            [b'R' | b'C', score @ ..] if is_score(score) => (ChangeKind::Added, true),
            _ => return None,
        };
        Some(Self {
            change,
            is_move,
            old,
            new,
        })
    }

    /// The paths of the entry: as a file, as a directory that is one entry in git, or as both.
    pub fn paths(self, path: &[u8]) -> impl Iterator<Item = FilePath> {
        let modes = [self.old, self.new];
        let is = |wanted: &[Mode]| modes.iter().any(|mode| wanted.contains(mode));
        FilePath::of_entry(
            path,
            is(&[Mode::File, Mode::Link]),
            is(&[Mode::Link, Mode::Submodule]),
        )
    }

    /// Splits a move into a removal and an addition.
    fn ends(self) -> (Self, Self) {
        let gone = Self {
            change: ChangeKind::Removed,
            new: Mode::Nothing,
            ..self
        };
        let new = Self {
            change: ChangeKind::Added,
            old: Mode::Nothing,
            ..self
        };
        (gone, new)
    }
}

fn is_score(digits: &[u8]) -> bool {
    digits.len() <= 3 && digits.iter().all(u8::is_ascii_digit)
}

fn unknown_status(word: &[u8]) -> String {
    format!(
        "`{}` before a tab is no status of a changed file; write A, M, T or D, a tab and a path, \
         or R100 or C100, a tab, the old path, a tab and the new one",
        word.escape_ascii()
    )
}

/// Reads one path, plain or quoted as git does; otherwise returns the error.
pub fn read_path(text: &[u8]) -> Result<FilePath, String> {
    let path = match text {
        [b'"', inside @ .., b'"'] => unquote(inside)?,
        [b'"', ..] => return Err("a quote that is not closed".to_owned()),
        // Git quotes a name that contains a `\`.
        plain if plain.contains(&b'\\') => {
            let plain = String::from_utf8_lossy(plain);
            return Err(format!(
                "`{0}` has a `\\` in it; write `{1}`, or \"{2}\" for a name that holds it",
                visible(&plain),
                visible(&plain.replace('\\', "/")),
                visible(&plain.replace('\\', "\\\\")),
            ));
        }
        plain => plain.to_vec(),
    };
    let path = path.strip_prefix(b"./").unwrap_or(&path);
    let mut segments = path
        .strip_suffix(b"/")
        .unwrap_or(path)
        .split(|b| *b == b'/');
    if !path.starts_with(b"/")
        && segments.any(|it| matches!(it, b"" | b"." | b".."))
        && !path.is_empty()
    {
        return Err(format!(
            "`{}` has `//`, `.` or `..` in it; write paths as they are in the repository, from its top",
            path.escape_ascii()
        ));
    }
    match path {
        [] => Err("the path is missing".to_owned()),
        [b'/', ..] => Err(format!(
            "`{}` starts with `/`; write paths as they are in the repository, from its top",
            path.escape_ascii()
        )),
        path => Ok(FilePath::new(path)),
    }
}

/// Decodes git's quoting of unusual paths (git-config, `core.quotePath`): C escapes, and octal bytes.
fn unquote(inside: &[u8]) -> Result<Vec<u8>, String> {
    let mut path = Vec::with_capacity(inside.len());
    let mut bytes = inside.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte == b'"' {
            return Err("a quote inside quotes; write it as \\\"".to_owned());
        }
        if byte != b'\\' {
            path.push(byte);
            continue;
        }
        let escaped = bytes.next();
        path.push(match escaped {
            Some(b'a') => 0x07,
            Some(b'b') => 0x08,
            Some(b't') => b'\t',
            Some(b'n') => b'\n',
            Some(b'v') => 0x0B,
            Some(b'f') => 0x0C,
            Some(b'r') => b'\r',
            Some(b'"') => b'"',
            Some(b'\\') => b'\\',
            Some(high @ b'0'..=b'3') => {
                let (Some(middle @ b'0'..=b'7'), Some(low @ b'0'..=b'7')) =
                    (bytes.next(), bytes.next())
                else {
                    return Err("a `\\` with less than three octal digits behind it".to_owned());
                };
                (high - b'0') << 6 | (middle - b'0') << 3 | (low - b'0')
            }
            Some(other) => {
                return Err(format!(
                    "`\\{}` means nothing in a quoted path",
                    [other].escape_ascii()
                ));
            }
            None => return Err("a quoted path that ends in `\\`".to_owned()),
        });
    }
    if path.contains(&0) {
        return Err("a path with a NUL byte".to_owned());
    }
    Ok(path)
}
