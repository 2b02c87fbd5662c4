//! The two forms of a URL with non-ASCII characters, which Huawei caches separately.
//!
//! Huawei's advice is to submit the raw URL twice, with `zh_url_encode` false (which purges the raw form) and true
//! (which purges the encoded form). Our targets are already encoded, so one task contains both the encoded and the
//! raw form, with `zh_url_encode` at its default, false. Spaces and other ASCII characters stay encoded in both, as
//! Huawei requires.

use percent_encoding::percent_decode_str;

/// The URL with its non-ASCII characters unencoded; none if it has none, or if the encoded bytes are not UTF-8.
pub fn raw(url: &str) -> Option<String> {
    let mut raw = String::with_capacity(url.len());
    let mut rest = url;
    let mut changed = false;
    while let Some(start) = rest.find('%') {
        let (before, escapes) = rest.split_at(start);
        raw.push_str(before);
        let length = non_ascii_escapes(escapes);
        let (run, after) = escapes.split_at(length.max(1));
        if length == 0 {
            raw.push_str(run);
        } else {
            raw.push_str(&percent_decode_str(run).decode_utf8().ok()?);
            changed = true;
        }
        rest = after;
    }
    raw.push_str(rest);
    changed.then_some(raw)
}

/// How many bytes at the start of `text` are escapes of non-ASCII bytes.
fn non_ascii_escapes(text: &str) -> usize {
    let escapes = text.as_bytes().chunks_exact(3);
    let non_ascii = |escape: &&[u8]| matches!(escape, [b'%', b'8' | b'9' | b'a'..=b'f' | b'A'..=b'F', low] if low.is_ascii_hexdigit());
    escapes.take_while(non_ascii).count() * 3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_not_ascii_is_unencoded() {
        assert_eq!(
            raw("https://a.example/%E5%9B%BE%20x/%2F%c3%a9?q=%E4%B8%AD#"),
            Some("https://a.example/图%20x/%2Fé?q=中#".to_owned())
        );
    }

    #[test]
    fn a_url_of_ascii_or_of_another_encoding_has_no_raw_form() {
        assert_eq!(raw("https://a.example/plain%20x.html"), None);
        assert_eq!(
            raw("https://a.example/%CD%BC.html%"),
            Some("https://a.example/ͼ.html%".to_owned())
        );
        assert_eq!(raw("https://a.example/%CD.html"), None);
        assert_eq!(raw("https://a.example/%"), None);
    }
}
