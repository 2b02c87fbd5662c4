//! Looks for secrets in whatever the program has left behind, however they are written.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

/// A part of a secret that is this long gives enough of it away.
const TELLING: usize = 12;

/// What RFC 3986 lets stand as it is.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The ways to write secrets, each with the name of the secret and of the way.
#[derive(Default)]
pub struct Search(BTreeMap<Vec<u8>, String>);

impl Search {
    /// Looks for a secret in all ways, one inside of another.
    pub fn add(&mut self, id: &str, secret: &[u8]) {
        if secret.starts_with(b"canary") {
            // No way of writing changes letters and digits, but for those that change all.
            let end = secret.iter().position(|byte| !byte.is_ascii_alphanumeric());
            self.note(id, "a part of it", &secret[..end.unwrap_or(secret.len())]);
        }
        if secret.len() > 2 * TELLING {
            self.note(id, "its beginning", &secret[..TELLING]);
            self.note(id, "its end", &secret[secret.len() - TELLING..]);
        }
        let in_json = |bytes: &[u8]| {
            let json = serde_json::Value::from(String::from_utf8_lossy(bytes)).to_string();
            json[1..json.len() - 1].to_owned().into_bytes()
        };
        let form: String = url::form_urlencoded::byte_serialize(secret).collect();
        let percent = percent_encode(secret, NON_ALPHANUMERIC).to_string();
        let needed = percent_encode(secret, UNRESERVED).to_string();
        let json = in_json(secret);
        let written = [
            ("plain", secret.to_vec()),
            ("in JSON in JSON", in_json(&json)),
            ("in JSON", json),
            ("in a form in lower case", lower(&form).into_bytes()),
            ("in a form", form.into_bytes()),
            (
                "percent-encoded in lower case",
                lower(&percent).into_bytes(),
            ),
            ("percent-encoded", percent.into_bytes()),
            (
                "percent-encoded where needed, in lower case",
                lower(&needed).into_bytes(),
            ),
            ("percent-encoded where needed", needed.into_bytes()),
        ];
        for (way, written) in written {
            self.note(id, way, &written);
            self.add_encoded(id, way, &written);
        }
        let numbers: Vec<String> = secret.iter().map(u8::to_string).collect();
        self.note(id, "numbers", numbers.join(", ").as_bytes());
    }

    fn add_encoded(&mut self, id: &str, way: &str, text: &[u8]) {
        let every = |letters: fn(u8) -> String| text.iter().map(|byte| letters(*byte)).collect();
        let mut encoded: Vec<(&str, String)> = vec![
            ("hex", hex::encode(text)),
            ("hex in upper case", hex::encode_upper(text)),
            ("percents", every(|byte| format!("%{byte:02x}"))),
            (
                "percents in upper case",
                every(|byte| format!("%{byte:02X}")),
            ),
        ];
        for before in 0..3 {
            let from = (3 - before) % 3;
            let inside = text.get(from..).unwrap_or_default();
            let inside = &inside[..inside.len() / 3 * 3];
            encoded.push(("Base64", STANDARD_NO_PAD.encode(inside)));
            encoded.push(("Base64 for URLs", URL_SAFE_NO_PAD.encode(inside)));
        }
        for (outer, written) in encoded {
            self.note(id, &format!("{way} in {outer}"), written.as_bytes());
        }
    }

    fn note(&mut self, id: &str, way: &str, written: &[u8]) {
        // A line break would be two patterns.
        if written.len() >= 8 && !written.contains(&b'\n') {
            let name = || format!("{id}, {way}");
            self.0.entry(written.to_vec()).or_insert_with(name);
        }
    }

    /// Where any of them is in a folder's files: the secret, the way, and the place.
    pub fn found_in(&self, folder: &Path) -> Vec<String> {
        let patterns = tempfile::NamedTempFile::new().unwrap();
        let mut lines = Vec::new();
        for written in self.0.keys() {
            lines.extend_from_slice(written);
            lines.push(b'\n');
        }
        std::fs::write(patterns.path(), lines).unwrap();
        let output = Command::new("grep")
            .env("LC_ALL", "C")
            .args([
                "--recursive",
                "--text",
                "--only-matching",
                "--byte-offset",
                "--null",
            ])
            .args(["--fixed-strings", "--file"])
            .arg(patterns.path())
            .arg(folder)
            .output()
            .unwrap();
        assert_ne!(output.status.code(), Some(2), "grep failed: {output:?}");
        let lines = output.stdout.split(|byte| *byte == b'\n');
        lines
            .filter(|line| !line.is_empty())
            .map(|line| {
                let mut parts = line.splitn(2, |byte| *byte == 0);
                let file = String::from_utf8_lossy(parts.next().unwrap_or_default());
                let rest = parts.next().unwrap_or_default();
                let mut rest = rest.splitn(2, |byte| *byte == b':');
                let offset = String::from_utf8_lossy(rest.next().unwrap_or_default());
                let written = rest.next().unwrap_or_default();
                let which = self.0.get(written).map_or("something", String::as_str);
                let around = around(&file, offset.parse().unwrap_or(0));
                format!("{which} in {file}: {around}")
            })
            .collect()
    }
}

fn around(file: &str, offset: usize) -> String {
    let bytes = std::fs::read(file).unwrap_or_default();
    let from = offset.saturating_sub(300);
    let to = (offset + 60).min(bytes.len());
    String::from_utf8_lossy(bytes.get(from..to).unwrap_or_default()).into_owned()
}

fn lower(encoded: &str) -> String {
    let mut parts = encoded.split('%');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (digits, rest) = part.split_at(2);
        text.push_str(&format!("%{}{rest}", digits.to_ascii_lowercase()));
    }
    text
}

#[test]
fn the_search_finds_a_secret_however_it_is_written() {
    let secret = "a secret/with+signs=";
    let mut search = Search::default();
    search.add("it", secret.as_bytes());
    let base64 = |text: String| base64::engine::general_purpose::STANDARD.encode(text);
    for written in [
        secret.to_owned(),
        "a%20secret%2Fwith%2Bsigns%3D".to_owned(),
        "a+secret%2fwith%2bsigns%3d".to_owned(),
        base64(secret.to_owned()),
        base64(format!("1{secret}1")),
        base64(format!("12{secret}1")),
        base64(format!("123{secret}")),
        hex::encode(secret),
        format!("{:?}", secret.as_bytes()),
    ] {
        let folder = tempfile::TempDir::new().unwrap();
        std::fs::write(folder.path().join("log"), format!("\0some {written} text")).unwrap();

        assert!(!search.found_in(folder.path()).is_empty(), "{written}");
    }
    let folder = tempfile::TempDir::new().unwrap();
    std::fs::write(folder.path().join("log"), "a secret with signs").unwrap();
    assert!(search.found_in(folder.path()).is_empty());
}
