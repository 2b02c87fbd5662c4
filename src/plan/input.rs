//! Changed files as text: one path a line, or what `git diff --name-status` prints.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::changes::{ChangeKind, FilePath};

/// A line that says no changed file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct InputError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong, and what to write.
    pub message: String,
}

/// Reads changed files: a path a line (taken as modified), or `A`, `M`, `D`, `T`, `R100`, `C75`, a
/// tab and the path or paths, as `git diff --name-status` prints them, quoted ones included.
///
/// Blank lines, a carriage return at a line's end and `./` before a path are let pass.
pub fn read_files(input: &[u8]) -> Result<BTreeMap<FilePath, ChangeKind>, InputError> {
    let input = input.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(input);
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
                // Both gone and there: the one line moved it away, the other put it back.
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

/// Reads one path, quoted as git does or plain; what is wrong with it otherwise.
pub fn read_path(text: &[u8]) -> Result<FilePath, String> {
    let path = match text {
        [b'"', inside @ .., b'"'] => unquote(inside)?,
        [b'"', ..] => return Err("a quote that is not closed".to_owned()),
        plain => plain.to_vec(),
    };
    let path = path.strip_prefix(b"./").unwrap_or(&path);
    match path {
        [] => Err("the path is missing".to_owned()),
        [b'/', ..] => Err(format!(
            "`{}` starts with `/`; write paths as they are in the repository, from its top",
            path.escape_ascii()
        )),
        path => Ok(FilePath::new(path)),
    }
}

/// Undoes git's quoting of unusual paths (git-config, `core.quotePath`): C's escapes, and bytes in octal.
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
