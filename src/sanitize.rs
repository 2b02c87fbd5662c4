//! Makes text of others safe for a log line, a page or a terminal: of bounded length, without control characters.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Characters of a displayed line.
const MAX_LINE_CHARACTERS: usize = 500;

/// Foreign text for a log line: without characters that move the cursor or change the writing direction, and not
/// too long.
pub fn one_line(text: &str) -> String {
    let clean: String = text
        .chars()
        .take(MAX_LINE_CHARACTERS + 1)
        .map(|c| if is_steering(c) { ' ' } else { c })
        .collect();
    cut(&clean, MAX_LINE_CHARACTERS)
}

/// Truncates text to a number of characters, with an ellipsis if something is missing.
pub fn cut(text: &str, limit: usize) -> String {
    if text.chars().count() <= limit {
        return text.to_owned();
    }
    let kept: String = text.chars().take(limit.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

/// Text for a terminal: characters that would control it or hide text are written out as `\u{1b}`.
pub fn visible(text: &str) -> Cow<'_, str> {
    if !text.contains(is_steering) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if is_steering(c) {
            let _ = write!(shown, "{}", c.escape_default());
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

/// The same for several lines, keeping the line breaks.
pub fn visible_lines(text: &str) -> Cow<'_, str> {
    if !text.contains(|c| c != '\n' && is_steering(c)) {
        return Cow::Borrowed(text);
    }
    let lines: Vec<Cow<'_, str>> = text.split('\n').map(visible).collect();
    Cow::Owned(lines.join("\n"))
}

/// Whether a character controls the display: control characters (ANSI escapes begin with one), line and paragraph
/// separators, and characters that change the writing direction.
pub fn is_steering(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{061c}'
        )
        || ('\u{202a}'..='\u{202e}').contains(&c)
        || ('\u{2066}'..='\u{2069}').contains(&c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_steers_a_terminal() {
        let hostile = "a\u{1b}[2Jb\r\nc\u{9b}31md\u{202e}e\u{2028}f\u{7f}\0";

        assert_eq!(one_line(hostile), "a [2Jb  c 31md e f  ");
        assert_eq!(
            visible(hostile),
            "a\\u{1b}[2Jb\\r\\nc\\u{9b}31md\\u{202e}e\\u{2028}f\\u{7f}\\u{0}"
        );
        assert_eq!(visible("plain 图片.png"), "plain 图片.png");
        assert_eq!(visible_lines("a\n\u{202e}b\n"), "a\n\\u{202e}b\n");
    }

    #[test]
    fn a_line_is_not_without_end() {
        let shown = one_line(&"é".repeat(10_000));

        assert_eq!(shown.chars().count(), MAX_LINE_CHARACTERS);
        assert!(shown.ends_with('…'));
    }
}
