//! Percent-encoding: which characters of a path stay as they are in a URL, and which become `%XX`.
//!
//! A CDN's cache key is the URL that browsers request. So a path keeps exactly what RFC 3986 allows in a segment
//! (and browsers do not change), and everything else, including `%`, is encoded once.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

/// RFC 3986, section 2.3: characters that never need encoding.
const UNRESERVED: AsciiSet = NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The characters that a field's value keeps in a query: `&`, `=` and `+` have a meaning there.
const QUERY_VALUE: AsciiSet = UNRESERVED.remove(b'/');

/// RFC 3986, section 3.3: `pchar` (unreserved, sub-delims, `:` and `@`), and `/` between segments.
const PATH_VALUE: AsciiSet = UNRESERVED
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b';')
    .remove(b'=')
    .remove(b':')
    .remove(b'@')
    .remove(b'/');

/// A template's own text is already part of a URL: its `%XX` and `?` stay.
const LITERAL: AsciiSet = PATH_VALUE.remove(b'%').remove(b'?');

/// The same after the `?`, where browsers encode `'` as `%27` (WHATWG URL, "special-query percent-encode set").
const LITERAL_QUERY: AsciiSet = LITERAL.add(b'\'');

/// The part of a URL that contains a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Before the `?`.
    Path,
    /// After it.
    Query,
}

/// Appends a field's value, encoded for its part of the URL.
pub(super) fn push_value(url: &mut String, value: &[u8], part: Part) {
    let set = match part {
        Part::Path => &PATH_VALUE,
        Part::Query => &QUERY_VALUE,
    };
    url.extend(percent_encode(value, set));
}

/// Appends one character of a template's own text.
pub(super) fn push_literal(url: &mut String, c: char, part: Part) {
    let mut buffer = [0; 4];
    let set = match part {
        Part::Path => &LITERAL,
        Part::Query => &LITERAL_QUERY,
    };
    url.extend(percent_encode(c.encode_utf8(&mut buffer).as_bytes(), set));
}

/// Whether the bytes contain a control character: C0, DEL, or C1 in UTF-8.
pub(super) fn has_control(bytes: &[u8]) -> bool {
    let c0 = bytes.iter().any(u8::is_ascii_control);
    c0 || bytes
        .windows(2)
        .any(|pair| matches!(pair, [0xC2, 0x80..=0x9F]))
}

/// Whether a segment is `.` or `..`, also with `%2E` for a dot (URL parsers treat them alike).
pub(super) fn is_dots(segment: &str) -> bool {
    if segment.len() > "%2e%2e".len() || !segment.starts_with(['.', '%']) {
        return false;
    }
    let plain = segment.to_ascii_lowercase().replace("%2e", ".");
    plain == "." || plain == ".."
}
