//! Redacts secrets: removes every secret of the configuration from text of others.
//!
//! An API's error may repeat the request, credentials included. So every quote from an answer goes through a
//! [`Redactor`], which knows all secrets of the configuration.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

use aho_corasick::{AhoCorasick, Input, Match, MatchKind, packed};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use parking_lot::RwLock;
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use reqwest::header::HeaderMap;
use secrecy::{ExposeSecret, SecretString};

use crate::sanitize::one_line;

/// How many bytes of a text are searched for secrets; later ones are never shown.
const MAX_SEARCHED_BYTES: usize = 64 * 1024;
/// A secret shorter than this, in bytes, is not redacted: it would occur in half of all words.
const MIN_SECRET_BYTES: usize = 8;
/// A secret shorter than this, in bytes, is not removed from a delivery's body: it might be part of a path, and
/// must not change what is purged.
const MIN_BODY_SECRET_BYTES: usize = 16;
/// The size in bytes of the pieces in which a long secret is searched.
const MAX_PIECE_BYTES: usize = 512;
/// Replaces a secret.
const REDACTED: &str = "[hidden]";

/// Removes secrets from text. Clones share the known secrets.
#[derive(Clone, Default)]
pub struct Redactor {
    /// The secrets of the configuration.
    known: Arc<RwLock<Secrets>>,
    /// The secrets that were sent with one request.
    sent: Arc<[SecretString]>,
}

/// Secrets, and the automata that find them.
#[derive(Default)]
struct Secrets {
    secrets: Vec<SecretString>,
    /// Finds the longer secrets as they are and as in JSON or a form: the encodings of a body.
    in_bodies: Option<Arc<BodyFinder>>,
    /// Finds all secrets in all encodings.
    anywhere: Option<AhoCorasick>,
}

impl Redactor {
    /// Adds secrets. Those of fewer than eight bytes are too common to be redacted.
    pub fn hide<'s>(&self, secrets: impl IntoIterator<Item = &'s SecretString>) {
        let mut known = self.known.write();
        let before = known.secrets.len();
        for secret in secrets {
            let text = secret.expose_secret();
            let is_known = |each: &SecretString| each.expose_secret() == text;
            if text.len() >= MIN_SECRET_BYTES && !known.secrets.iter().any(is_known) {
                known.secrets.push(secret.clone());
            }
        }
        if known.secrets.len() > before {
            let secrets = || known.secrets.iter().map(ExposeSecret::expose_secret);
            let long = secrets().filter(|secret| secret.len() >= MIN_BODY_SECRET_BYTES);
            let in_bodies = BodyFinder::new(long.flat_map(in_bodies).collect());
            let anywhere = finder(secrets().flat_map(anywhere));
            (known.in_bodies, known.anywhere) = (in_bodies.map(Arc::new), anywhere);
        }
    }

    /// A redactor for the answer to one request. It also hides the contents of the request's sensitive headers,
    /// such as a temporary token, and signatures, which prove a request and are as secret.
    pub fn after(&self, sent: &HeaderMap) -> Self {
        let values = sent.values().filter(|value| value.is_sensitive());
        let words = values
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split([' ', ',']))
            .filter(|word| !word.starts_with("SignedHeaders="))
            // Hide the signature also without the name that it has in its header.
            .flat_map(|word| [Some(word), word.strip_prefix("Signature=")])
            .flatten();
        self.and(words)
    }

    /// Also hides words that were sent outside headers, such as the signature in a form.
    pub fn and<'w>(&self, sent: impl IntoIterator<Item = &'w str>) -> Self {
        let words = sent.into_iter();
        let words = words.filter(|word| word.len() >= MIN_SECRET_BYTES);
        let words = words.map(SecretString::from);
        Self {
            known: Arc::clone(&self.known),
            sent: self.sent.iter().cloned().chain(words).collect(),
        }
    }

    /// Text to show: on one line, at most 500 characters, without secrets.
    pub fn quote(&self, words: &str) -> String {
        let mut end = words.len().min(MAX_SEARCHED_BYTES);
        while !words.is_char_boundary(end) {
            end -= 1;
        }
        one_line(&self.redact(&words[..end]))
    }

    /// Removes every secret from text, as it is and in the encodings of headers, forms, JSON and logs.
    pub fn redact<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let known = self.known.read();
        let text = match &known.anywhere {
            Some(secrets) if secrets.is_match(text) => Cow::Owned(replaced(secrets, text)),
            Some(_) | None => Cow::Borrowed(text),
        };
        // Most answers show nothing, so these are only prepared here.
        let sent = self.sent.iter().map(ExposeSecret::expose_secret);
        let mut written: Vec<String> = sent.flat_map(anywhere).collect();
        written.sort_by_key(|text| std::cmp::Reverse(text.len()));
        written
            .iter()
            .fold(text, |text, written| match text.contains(written) {
                true => Cow::Owned(text.replace(written, REDACTED)),
                false => text,
            })
    }

    /// Removes every secret from a JSON body or a form: some forges send the webhook's own secret in it.
    pub fn redact_body(&self, body: Bytes) -> Bytes {
        match self.body_redactor().apply(&body, true).0 {
            Cow::Borrowed(_) => body,
            Cow::Owned(redacted) => redacted.into(),
        }
    }

    /// The redactor for a body that arrives in pieces.
    pub fn body_redactor(&self) -> BodyRedactor {
        let known = self.known.read();
        BodyRedactor(known.in_bodies.clone())
    }
}

/// Removes the secrets known at its creation from a JSON body or a form.
pub struct BodyRedactor(Option<Arc<BodyFinder>>);

impl BodyRedactor {
    /// Redacts a piece up to where a secret might begin that continues in the next one, and returns the number of
    /// processed bytes. The next piece must begin with the remaining bytes. The last piece is processed completely.
    pub fn apply<'b>(&self, piece: &'b [u8], is_last: bool) -> (Cow<'b, [u8]>, usize) {
        let Some(secrets) = &self.0 else {
            return (Cow::Borrowed(piece), piece.len());
        };
        let open = match is_last {
            true => 0,
            false => secrets.longest.saturating_sub(1),
        };
        // Any match that begins before this ends in this piece.
        let decided = piece.len().saturating_sub(open);
        let mut redacted = Vec::new();
        let mut end = 0;
        while let Some(found) = secrets.find(piece, end)
            && found.start() < decided
        {
            if redacted.is_empty() {
                redacted.reserve(piece.len());
            }
            redacted.extend_from_slice(&piece[end..found.start()]);
            redacted.extend_from_slice(REDACTED.as_bytes());
            end = found.end();
        }
        if end == 0 {
            return (Cow::Borrowed(&piece[..decided]), decided);
        }
        let decided = decided.max(end);
        redacted.extend_from_slice(&piece[end..decided]);
        (Cow::Owned(redacted), decided)
    }
}

/// Finds secrets in bodies. Each byte of a body is looked at, so this has to be fast.
struct BodyFinder {
    search: BodySearch,
    /// The length of the longest text in bytes.
    longest: usize,
}

enum BodySearch {
    /// By the texts' first bytes, many places at a time. Its time depends little on what the texts are, while that of
    /// an automaton depends on how common their first letters are.
    Packed(packed::Searcher),
    /// For more texts than that can tell apart, and for processors that cannot do it.
    Automaton(AhoCorasick),
}

impl BodyFinder {
    /// None without texts.
    fn new(texts: BTreeSet<String>) -> Option<Self> {
        let longest = texts.iter().map(String::len).max()?;
        let mut builder = packed::Config::new()
            .match_kind(packed::MatchKind::LeftmostLongest)
            .builder();
        let search = match builder.extend(&texts).build() {
            Some(packed) => BodySearch::Packed(packed),
            None => BodySearch::Automaton(finder(texts.into_iter())?),
        };
        Some(Self { search, longest })
    }

    /// The first match from a place on; of several there, the longest.
    fn find(&self, body: &[u8], from: usize) -> Option<Match> {
        match &self.search {
            BodySearch::Packed(packed) => packed.find_in(body, (from..body.len()).into()),
            BodySearch::Automaton(automaton) => automaton.find(Input::new(body).range(from..)),
        }
    }
}

/// Finds all of these texts in one pass; of several matches at one place, the longest. None without texts.
fn finder(texts: impl Iterator<Item = String>) -> Option<AhoCorasick> {
    let texts: BTreeSet<String> = texts.collect();
    if texts.is_empty() {
        return None;
    }
    AhoCorasick::builder()
        .match_kind(MatchKind::LeftmostLongest)
        .build(texts)
        .ok()
}

fn replaced(secrets: &AhoCorasick, text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    secrets.replace_all_with(text, &mut shown, |_, _, shown| {
        shown.push_str(REDACTED);
        true
    });
    shown
}

/// The secret as it is, and as in JSON or a form.
fn in_bodies(secret: &str) -> Vec<String> {
    let written = |piece: &str| {
        let json = serde_json::Value::from(piece).to_string();
        [
            piece.to_owned(),
            // Without the quotation marks around the JSON text; one at the end of the secret itself stays.
            json[1..json.len() - 1].to_owned(),
            url::form_urlencoded::byte_serialize(piece.as_bytes()).collect(),
        ]
    };
    pieces(secret).into_iter().flat_map(written).collect()
}

/// Splits a long secret into pieces of some hundred bytes. The automaton for them stays small and is built quickly,
/// whatever the secret looks like.
fn pieces(secret: &str) -> Vec<&str> {
    let count = secret.len().div_ceil(MAX_PIECE_BYTES).max(1);
    let mut rest = secret;
    let mut pieces = Vec::new();
    for left in (1..=count).rev() {
        let mut end = rest.len() / left;
        while !rest.is_char_boundary(end) {
            end += 1;
        }
        let (piece, after) = rest.split_at(end);
        pieces.push(piece);
        rest = after;
    }
    pieces
}

fn anywhere(secret: &str) -> Vec<String> {
    let mut all = in_bodies(secret);
    for piece in pieces(secret) {
        let bytes = piece.as_bytes();
        all.extend([
            percent_encode(bytes, NON_ALPHANUMERIC).to_string(),
            percent_encode(bytes, UNRESERVED).to_string(),
        ]);
    }
    all.extend(lines(secret));
    // Some encoders write percent signs with lower-case digits.
    let lower: Vec<String> = all.iter().filter_map(|text| in_lower_case(text)).collect();
    all.extend(lower);
    all.sort_unstable();
    all.dedup();
    // The text around the secret may be encoded as a whole: a form in Base64, a header in hex.
    let encoded: Vec<String> = all.iter().flat_map(|text| encoded(text)).collect();
    all.extend(encoded);
    all
}

/// The lines of a key file, since an error may quote any of them.
fn lines(secret: &str) -> impl Iterator<Item = String> {
    let lines = secret.lines().map(str::trim);
    lines
        .filter(|line| line.len() >= 4 * MIN_SECRET_BYTES && !line.starts_with("-----"))
        .filter(|line| line.len() <= MAX_PIECE_BYTES)
        .map(str::to_owned)
}

/// A text in encodings that change every letter.
fn encoded(text: &str) -> Vec<String> {
    let bytes = text.as_bytes();
    let every = |digits: String| -> String {
        let pairs = digits.as_bytes().chunks(2);
        let pairs = pairs.map(|pair| String::from_utf8_lossy(pair).into_owned());
        pairs.map(|pair| format!("%{pair}")).collect()
    };
    let mut all = vec![
        STANDARD_NO_PAD.encode(bytes),
        URL_SAFE_NO_PAD.encode(bytes),
        hex::encode(bytes),
        hex::encode_upper(bytes),
        every(hex::encode(bytes)),
        every(hex::encode_upper(bytes)),
    ];
    all.extend((0..3).flat_map(|before| inside_base64(bytes, before)));
    all
}

/// A percent-encoded text with `%2f` instead of `%2F`. None if that changes nothing.
fn in_lower_case(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut lower = parts.next()?.to_owned();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        let _ = write!(lower, "%{}{rest}", digits.to_ascii_lowercase());
    }
    (lower != text).then_some(lower)
}

/// The Base64 of a secret inside a longer text, without the characters at both ends that depend on its neighbours.
/// `before` is the number of bytes before it, modulo three. Empty if too few characters remain.
fn inside_base64(secret: &[u8], before: usize) -> Vec<String> {
    let from = (3 - before) % 3;
    let whole = secret.len().saturating_sub(from) / 3 * 3;
    let inside = secret.get(from..from + whole).unwrap_or_default();
    if inside.len() < MIN_SECRET_BYTES {
        return Vec::new();
    }
    vec![
        STANDARD_NO_PAD.encode(inside),
        URL_SAFE_NO_PAD.encode(inside),
    ]
}

const UNRESERVED: &percent_encoding::AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    const SECRET: &str = "s3cr3t/with+signs and=\"redactor\"";

    fn knowing(secret: &str) -> Redactor {
        let redactor = Redactor::default();
        redactor.hide([&secret.to_owned().into()]);
        redactor
    }

    #[test]
    fn a_secret_is_taken_out_however_it_is_written() {
        let redactor = knowing(SECRET);
        let form: String = url::form_urlencoded::byte_serialize(SECRET.as_bytes()).collect();
        for written in [
            SECRET.to_owned(),
            serde_json::json!(SECRET).to_string(),
            form,
            percent_encode(SECRET.as_bytes(), NON_ALPHANUMERIC).to_string(),
            base64::engine::general_purpose::STANDARD.encode(SECRET),
            hex::encode(SECRET),
            hex::encode_upper(SECRET),
            percent_encode(SECRET.as_bytes(), NON_ALPHANUMERIC)
                .to_string()
                .replace("%2F", "%2f")
                .replace("%2B", "%2b")
                .replace("%3D", "%3d"),
        ] {
            let shown = redactor.quote(&format!("bad key {written}, sorry"));

            assert!(shown.contains("[hidden]"), "{shown}");
            assert!(!shown.contains(written.trim_matches(['"', '='])), "{shown}");
        }
    }

    #[test]
    fn a_secret_inside_of_something_encoded_is_taken_out_but_for_its_ends() {
        let redactor = knowing(SECRET);
        for before in ["", "a", "ab"] {
            let all = format!("{before}{SECRET}; and more");
            let base64 = base64::engine::general_purpose::STANDARD.encode(all);

            let shown = redactor.quote(&base64);

            assert!(shown.contains("[hidden]"), "{shown}");
            let left = shown.len() - "[hidden]".len();
            assert!(left <= base64.len() - SECRET.len() * 4 / 3 + 6, "{shown}");
        }
    }

    #[test]
    fn a_signature_is_hidden_with_its_name_and_without() {
        let mut headers = HeaderMap::new();
        let signed =
            "HMAC Credential=public/scope, SignedHeaders=host;date, Signature=0123456789abcdef";
        let mut value = HeaderValue::from_static(signed);
        value.set_sensitive(true);
        headers.insert("authorization", value);
        let redactor = Redactor::default().after(&headers).and(["in-the-form"]);

        assert_eq!(
            redactor
                .quote("0123456789abcdef or Signature=0123456789abcdef for host;date in-the-form"),
            "[hidden] or [hidden] for host;date [hidden]"
        );
    }

    #[test]
    fn a_body_stays_json_when_a_secret_is_taken_out_of_it() {
        let body = serde_json::json!({"password": SECRET, "again": SECRET, "ref": "main"});

        let kept = knowing(SECRET).redact_body(body.to_string().into());

        let kept: serde_json::Value = serde_json::from_slice(&kept).unwrap();
        assert_eq!(kept["password"], "[hidden]");
        assert_eq!(kept["again"], "[hidden]");
        assert_eq!(kept["ref"], "main");
    }

    #[test]
    fn a_body_that_comes_in_pieces_keeps_no_more_than_one_that_comes_whole() {
        let secrets = [
            SECRET.to_owned(),
            format!("{SECRET}, and more"),
            "x".repeat(2_000),
        ];
        let redactor = Redactor::default();
        redactor.hide(&secrets.clone().map(SecretString::from));
        let body = format!("{0}{1} {2}{0}x{2} {1}", secrets[0], secrets[1], secrets[2]);
        let whole = redactor.redact_body(body.clone().into());

        for size in [1, 7, 30, 500, 3_000] {
            let (in_pieces, mut redacted) = (redactor.body_redactor(), Vec::new());
            let mut rest = Vec::new();
            for piece in body.as_bytes().chunks(size) {
                rest.extend_from_slice(piece);
                let (kept, decided) = in_pieces.apply(&rest, false);
                redacted.extend_from_slice(&kept);
                rest.drain(..decided);
            }
            redacted.extend_from_slice(&in_pieces.apply(&rest, true).0);

            assert_eq!(redacted, whole, "in pieces of {size}");
        }
        assert_eq!(
            whole,
            "[hidden][hidden] [hidden][hidden][hidden][hidden][hidden][hidden][hidden][hidden][hidden]x [hidden]"
        );
    }

    #[test]
    fn however_many_secrets_there_are_each_is_taken_out_of_a_body_and_the_longest_of_several() {
        for count in [1, 3, 20, 60, 400] {
            let redactor = Redactor::default();
            let secrets: Vec<String> = (0..count).map(|n| format!("{n:04} is a secret")).collect();
            // One that begins as another does.
            let longer = format!("{} as well", secrets[0]);
            let known = secrets.iter().chain([&longer]);
            let known: Vec<SecretString> = known.map(|secret| secret.as_str().into()).collect();
            redactor.hide(&known);

            let body = format!("<{}> {longer}, 0000 is no secret", secrets.join("><"));
            let redacted = redactor.redact_body(body.into());

            let hidden = vec![REDACTED; count].join("><");
            let expected = format!("<{hidden}> {REDACTED}, 0000 is no secret");
            assert_eq!(redacted, expected, "{count} secrets");
        }
    }

    #[test]
    fn a_body_keeps_a_word_that_is_a_weak_secret_too() {
        let body = Bytes::from_static(br#"{"added": ["documents/a.md"]}"#);

        assert_eq!(knowing("documents").redact_body(body.clone()), body);
    }

    #[test]
    fn what_went_out_in_a_sensitive_header_is_hidden_in_the_answer_to_it() {
        let mut headers = HeaderMap::new();
        let mut value = HeaderValue::from_static("Bearer a-token-for-the-hour");
        value.set_sensitive(true);
        headers.insert("authorization", value);
        headers.insert("accept", HeaderValue::from_static("application/json"));
        let redactor = Redactor::default().after(&headers);

        assert_eq!(
            redactor.quote("Bearer a-token-for-the-hour cannot application/json"),
            "Bearer [hidden] cannot application/json"
        );
    }

    #[test]
    fn a_short_secret_does_not_tear_words_apart() {
        assert_eq!(knowing("main").quote("the branch main"), "the branch main");
    }

    #[test]
    fn a_long_secret_is_taken_out_wholly_and_known_in_no_time() {
        let random = |n: u64| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33) as u8;
        let token: Vec<u8> = (1..6_000).map(random).collect();
        let started = std::time::Instant::now();
        let redactor = knowing(&STANDARD_NO_PAD.encode(token.clone()));
        // A repetitive secret is the hardest to locate.
        redactor.hide([&"ab".repeat(100_000).into()]);

        for written in [
            STANDARD_NO_PAD.encode(&token),
            hex::encode(STANDARD_NO_PAD.encode(&token)),
        ] {
            let shown = redactor.redact(&written);
            assert_eq!(shown.replace(REDACTED, ""), "", "{shown}");
        }
        assert!(started.elapsed() < std::time::Duration::from_secs(30));
    }

    #[test]
    fn clones_share_what_is_hidden() {
        let redactor = Redactor::default();
        let clone = redactor.clone();
        redactor.hide([&"a-long-enough-secret".to_owned().into()]);

        assert_eq!(clone.quote("a-long-enough-secret"), "[hidden]");
    }
}
