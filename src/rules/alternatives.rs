//! Expands the braces of globs: `{a,b}/c` stands for `a/c` and `b/c`, and each is checked by itself.

use std::iter::Peekable;
use std::str::Chars;

/// The maximum number of alternatives of a glob. Nobody writes more by hand.
const MOST: usize = 256;

/// The globs that a glob's braces expand to; the glob itself if it has none. None if there are too many.
pub(crate) fn alternatives(glob: &str) -> Option<Vec<String>> {
    expand(&mut glob.chars().peekable(), false)
}

fn expand(chars: &mut Peekable<Chars<'_>>, inside: bool) -> Option<Vec<String>> {
    let mut done: Vec<String> = Vec::new();
    let mut open = vec![String::new()];
    while let Some(c) = chars.next() {
        match c {
            '{' => {
                let inner = expand(chars, true)?;
                if open.len() * inner.len() > MOST {
                    return None;
                }
                open = open
                    .iter()
                    .flat_map(|start| inner.iter().map(move |end| format!("{start}{end}")))
                    .collect();
            }
            '}' if inside => break,
            ',' if inside => done.append(&mut std::mem::replace(&mut open, vec![String::new()])),
            '\\' => {
                let escaped: String = chars.next().into_iter().collect();
                push(&mut open, &format!("\\{escaped}"));
            }
            '[' => push(&mut open, &class(chars)),
            c => push(&mut open, c.encode_utf8(&mut [0; 4])),
        }
    }
    done.append(&mut open);
    (done.len() <= MOST).then_some(done)
}

fn push(open: &mut [String], text: &str) {
    open.iter_mut().for_each(|one| one.push_str(text));
}

/// A character class with its brackets, after its `[` was read.
fn class(chars: &mut Peekable<Chars<'_>>) -> String {
    let mut class = "[".to_owned();
    class.extend(chars.next_if(|c| *c == '!' || *c == '^'));
    // A `]` at the beginning is one of its characters.
    class.extend(chars.next());
    for c in chars.by_ref() {
        class.push(c);
        if c == ']' {
            break;
        }
    }
    class
}

/// A part of a glob without braces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// A literal character.
    Literal(char),
    /// `*`, `?` or a character class.
    Wildcard,
}

/// The tokens of a glob without braces.
pub(crate) fn tokens(alternative: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut chars = alternative.chars().peekable();
    while let Some(c) = chars.next() {
        tokens.push(match c {
            '\\' => match chars.next() {
                Some(escaped) => Token::Literal(escaped),
                None => break,
            },
            '[' => {
                class(&mut chars);
                Token::Wildcard
            }
            '*' | '?' => Token::Wildcard,
            c => Token::Literal(c),
        });
    }
    tokens
}

/// The segments of a glob without braces: those without a wildcard as they are in paths, none for the others.
pub(crate) fn literal_segments(alternative: &str) -> Vec<Option<String>> {
    let tokens = tokens(alternative);
    tokens
        .split(|token| *token == Token::Literal('/'))
        .map(|segment| {
            segment
                .iter()
                .map(|token| match token {
                    Token::Literal(c) => Some(*c),
                    Token::Wildcard => None,
                })
                .collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_are_taken_apart() {
        for (glob, expected) in [
            ("a/*.md", &["a/*.md"][..]),
            ("{a,b}/c", &["a/c", "b/c"]),
            (
                "a{,.zh}.{md,html}",
                &["a.md", "a.html", "a.zh.md", "a.zh.html"],
            ),
            ("{a,{b,c}/d}e", &["ae", "b/de", "c/de"]),
            (r"\{a,b\}", &[r"\{a,b\}"]),
            ("[{,}]{a,b}", &["[{,}]a", "[{,}]b"]),
        ] {
            assert_eq!(alternatives(glob).unwrap(), expected, "{glob}");
        }
        assert_eq!(alternatives(&"{a,b}".repeat(9)), None);
    }

    #[test]
    fn segments_without_a_wildcard_are_told_from_those_with_one() {
        let literal = |text: &str| Some(text.to_owned());
        assert_eq!(
            literal_segments(r"a/\[b\]/*.c//..[x]/**"),
            [literal("a"), literal("[b]"), None, literal(""), None, None]
        );
    }
}
