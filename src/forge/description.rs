//! Shortens a status text to the length that a forge accepts.

use crate::sanitize::cut;

/// URLs up to this length, in characters, are not shortened.
const WHOLE_URL: usize = 40;
/// Characters kept at both ends of a URL's last segment if the segment is too long itself.
const SEGMENT_ENDS: usize = 12;

/// Shortens a text to `limit` characters. Long URLs are shortened in the middle first: their host and last segment
/// identify them. If the text is still too long, its end is cut off.
pub(super) fn fit(text: &str, limit: usize) -> String {
    if text.chars().count() <= limit {
        return text.to_owned();
    }
    cut(&shorten_urls(text), limit)
}

/// A text with its long URLs shortened in their middle.
fn shorten_urls(text: &str) -> String {
    let mut short = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = url_start(rest) {
        let (before, from) = rest.split_at(start);
        let end = from
            .find(|c: char| c.is_whitespace() || "\"'`<>".contains(c))
            .unwrap_or(from.len());
        // Punctuation at the end of a sentence is not part of a URL.
        let url = from
            .get(..end)
            .unwrap_or(from)
            .trim_end_matches([':', ',', ';', '.', ')']);
        short.push_str(before);
        short.push_str(&shorten_url(url));
        rest = from.get(url.len()..).unwrap_or_default();
    }
    short.push_str(rest);
    short
}

fn url_start(text: &str) -> Option<usize> {
    let starts = ["https://", "http://"].into_iter();
    starts.filter_map(|scheme| text.find(scheme)).min()
}

/// `https://www.example.com/…/page.html`
fn shorten_url(url: &str) -> String {
    if url.chars().count() <= WHOLE_URL {
        return url.to_owned();
    }
    let path = url
        .find("://")
        .and_then(|scheme| Some(scheme + 3 + url.get(scheme + 3..)?.find('/')?));
    let Some((host, path)) = path.and_then(|path| url.split_at_checked(path)) else {
        return url.to_owned();
    };
    // A directory's URL ends in `/`.
    let directory = path.len() - usize::from(path.ends_with('/'));
    let last = path.get(..directory).and_then(|path| path.rfind('/'));
    let last = last.map_or(0, |slash| slash + 1);
    let between = if last > 1 { "/…/" } else { "/" };
    let segment = shorten_segment(path.get(last..).unwrap_or_default());
    format!("{host}{between}{segment}")
}

fn shorten_segment(segment: &str) -> String {
    let count = segment.chars().count();
    if count <= 2 * SEGMENT_ENDS + 1 {
        return segment.to_owned();
    }
    let start: String = segment.chars().take(SEGMENT_ENDS).collect();
    let end: String = segment.chars().skip(count - SEGMENT_ENDS).collect();
    format!("{start}…{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_fits_stays_as_it_is() {
        let text = "1 failed: no: https://www.example.com/a/very/long/path/to/a/page/index.html";

        assert_eq!(fit(text, 140), text);
    }

    #[test]
    fn a_long_url_keeps_its_host_and_its_last_segment() {
        let long = "directory/".repeat(20);
        let x = "x".repeat(200);
        for (url, short) in [
            (
                format!("https://www.example.com/{long}page.html"),
                "https://www.example.com/…/page.html",
            ),
            (
                format!("https://www.example.com/{long}"),
                "https://www.example.com/…/directory/",
            ),
            (
                format!("https://www.example.com/{x}.html"),
                "https://www.example.com/xxxxxxxxxxxx…xxxxxxx.html",
            ),
            (
                format!("http://www.example.com/{long}page.html?q=1"),
                "http://www.example.com/…/page.html?q=1",
            ),
        ] {
            let text = fit(
                &format!("2 of 11 targets failed: {url}, on tencent: no"),
                140,
            );

            assert_eq!(
                text,
                format!("2 of 11 targets failed: {short}, on tencent: no")
            );
        }
    }

    #[test]
    fn every_url_is_shortened_and_the_rest_is_cut() {
        let url = format!("https://www.example.com/{}a", "ä/".repeat(100));
        let text = format!("{url} and `{url}` {}", "why ".repeat(40));

        let short = fit(&text, 100);

        let both = "https://www.example.com/…/a and `https://www.example.com/…/a` why";
        assert!(short.starts_with(both), "{short}");
        assert_eq!(short.chars().count(), 100);
        assert!(short.ends_with('…'));
    }

    #[test]
    fn no_text_is_too_long_afterwards() {
        for text in [
            "https://".repeat(60),
            format!("https://{}", "x".repeat(300)),
            "http://a/".to_owned() + &"/".repeat(300),
            "é".repeat(300),
        ] {
            assert!(fit(&text, 140).chars().count() <= 140, "{text}");
        }
    }
}
