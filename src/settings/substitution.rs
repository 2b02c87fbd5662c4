//! `${NAME}` and `${NAME:-default}` in a scalar's text.

/// A part of a text that may contain variables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece<'t> {
    /// Literal text.
    Text(&'t str),
    /// `$${`, which stands for `${`.
    Escape,
    /// A variable.
    Variable {
        /// The whole reference, from `$` to `}`.
        source: &'t str,
        /// Its name.
        name: &'t str,
        /// The value to use if it is unset or empty.
        default: Option<&'t str>,
    },
    /// A `${` that starts no variable, up to the end of what it might be.
    Malformed(&'t str),
}

/// Splits a text into parts.
pub(super) fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let (before, from) = rest.split_at(start);
        if let Some(before) = before.strip_suffix('$') {
            push_text(&mut pieces, before);
            pieces.push(Piece::Escape);
            rest = &from[2..];
            continue;
        }
        push_text(&mut pieces, before);
        let end = from.find('}').map_or(from.len(), |i| i + 1);
        let (source, after) = from.split_at(end);
        pieces.push(variable(source).unwrap_or(Piece::Malformed(source)));
        rest = after;
    }
    push_text(&mut pieces, rest);
    pieces
}

fn push_text<'t>(pieces: &mut Vec<Piece<'t>>, text: &'t str) {
    if !text.is_empty() {
        pieces.push(Piece::Text(text));
    }
}

fn variable(source: &str) -> Option<Piece<'_>> {
    let inner = source.strip_prefix("${")?.strip_suffix('}')?;
    let (name, default) = match inner.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inner, None),
    };
    let mut letters = name.bytes();
    let starts_well = letters
        .next()
        .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    (starts_well && letters.all(|b| b.is_ascii_alphanumeric() || b == b'_')).then_some(
        Piece::Variable {
            source,
            name,
            default,
        },
    )
}

#[cfg(test)]
mod tests {
    use super::{Piece, pieces};

    #[test]
    fn a_text_without_variables_is_left_alone() {
        assert_eq!(
            pieces("$HOME costs $5 {x}"),
            [Piece::Text("$HOME costs $5 {x}")]
        );
        assert_eq!(pieces(""), []);
    }

    #[test]
    fn variables_may_stand_anywhere_and_have_defaults() {
        assert_eq!(
            pieces("a${B}c${D_1:-e:-f}"),
            [
                Piece::Text("a"),
                Piece::Variable {
                    source: "${B}",
                    name: "B",
                    default: None
                },
                Piece::Text("c"),
                Piece::Variable {
                    source: "${D_1:-e:-f}",
                    name: "D_1",
                    default: Some("e:-f")
                },
            ]
        );
    }

    #[test]
    fn a_doubled_dollar_stands_for_a_literal_brace() {
        assert_eq!(pieces("$${A}"), [Piece::Escape, Piece::Text("A}")]);
        assert_eq!(pieces("$$A"), [Piece::Text("$$A")]);
    }

    #[test]
    fn what_is_no_variable_is_malformed() {
        for text in ["${}", "${1A}", "${A-b}", "${A", "${A B}", "${ä}"] {
            assert_eq!(pieces(text), [Piece::Malformed(text)], "{text}");
        }
    }
}
