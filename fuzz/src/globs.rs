//! Globs in lines, a path in the last one: what each matches is what globset says, alone and together.

use globset::GlobBuilder;
use purgehook::rules::{Glob, Matcher};

pub fn run(data: &[u8]) {
    // A glob's size is bounded by its reader; here it keeps a fuzzer from waiting for the compiler.
    if data.len() > 400 {
        return;
    }
    let mut lines: Vec<&[u8]> = data.split(|byte| *byte == b'\n').collect();
    let Some(path) = lines.pop() else { return };
    let globs: Vec<Glob> = lines
        .into_iter()
        .take(8)
        .filter_map(|line| Glob::parse(std::str::from_utf8(line).ok()?).ok())
        .collect();
    if !could_be_git(path) {
        // No path of git's; it must do no harm all the same.
        let _ = Matcher::new(&globs).matches(path);
        return;
    }

    let together = Matcher::new(&globs).matches(path).to_vec();
    let alone: Vec<usize> = (0..globs.len())
        .filter(|place| globs[*place].is_match(path))
        .collect();

    let texts: Vec<&str> = globs.iter().map(Glob::text).collect();
    assert_eq!(together, alone, "{texts:?} on {path:?}");
    for (place, text) in texts.iter().enumerate() {
        // In globset a class can match a slash, which here only `**` does.
        if text.contains('[') && path.contains(&b'/') {
            continue;
        }
        let theirs = GlobBuilder::new(text)
            .literal_separator(true)
            .backslash_escape(true)
            .empty_alternates(true)
            .build()
            .expect("what we could read")
            .compile_matcher();
        let path = globset::Candidate::from_bytes(path);
        assert_eq!(
            alone.contains(&place),
            theirs.is_match_candidate(&path),
            "{text:?} on {path:?}"
        );
    }
}

/// Whether git would have such a path: no empty segment, no dots that lead elsewhere, no NUL.
fn could_be_git(path: &[u8]) -> bool {
    !path.contains(&0)
        && path
            .split(|byte| *byte == b'/')
            .all(|segment| !matches!(segment, b"" | b"." | b".."))
}
