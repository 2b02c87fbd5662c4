//! Words that were given up for the field's own, and may not come back: in identifiers and in comments.

use std::collections::BTreeMap;
use std::path::Path;

use crate::modules::rust_files;
use crate::source::{Token, read};

/// Words, by the rooms in which they may not stand. To add one, write it in lower case, several words with
/// blanks between: `left alone` stands for `left_alone` and `LeftAlone` too.
const GIVEN_UP: &[(&str, &[&str])] = &[
    // Everywhere.
    ("", &["observes", "observed", "observing"]),
    (
        "engine",
        &[
            "bell",
            "crowd",
            "crowds",
            "ground",
            "hand over",
            "handed over",
            "handing over",
            "in hand",
            "lane",
            "left alone",
            "line up",
            "moment",
            "nobody",
            "overtaking",
            "pretended",
            "somebody",
            "told",
            "whoever",
            "wish",
            "wished",
            "wishes",
        ],
    ),
    ("sandbox", &["happening", "fate", "fates"]),
    ("settings", &["suspects"]),
    ("config", &["pointless"]),
    ("cdn", &["senseless"]),
    ("rules", &["outline", "outlines"]),
    ("plan", &["toll", "tolls"]),
];

#[test]
fn no_word_that_was_given_up_comes_back() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    rust_files(&src, &mut files);
    let mut found: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for file in files {
        let name = file
            .strip_prefix(&src)
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        let source = read(&std::fs::read_to_string(&file).unwrap());
        let identifiers = source.tokens.iter().filter_map(Token::word);
        // What stands side by side in the code is no phrase.
        let identifiers: Vec<String> = identifiers.map(words_of).collect();
        let comments = words_of(&source.comments);
        for (room, words) in GIVEN_UP {
            let in_room = name.starts_with(&format!("{room}/")) || name == format!("{room}.rs");
            if !room.is_empty() && !in_room {
                continue;
            }
            for word in *words {
                let phrase = format!(" {word} ");
                if comments.contains(&phrase) || identifiers.iter().any(|i| i.contains(&phrase)) {
                    found.entry(name.clone()).or_default().push(word);
                }
            }
        }
    }

    assert!(found.is_empty(), "words that were given up: {found:#?}");
}

/// The words of a text or an identifier in lower case, with one blank around each.
fn words_of(text: &str) -> String {
    let mut words = String::from(" ");
    let mut before = ' ';
    for c in text.chars() {
        let ends = !c.is_alphanumeric() || (c.is_uppercase() && before.is_lowercase());
        if ends && !words.ends_with(' ') {
            words.push(' ');
        }
        if c.is_alphanumeric() {
            words.extend(c.to_lowercase());
        }
        before = c;
    }
    if !words.ends_with(' ') {
        words.push(' ');
    }
    words
}

#[test]
fn words_are_found_in_any_spelling() {
    assert_eq!(words_of("LeftAlone"), " left alone ");
    assert_eq!(words_of("left_alone"), " left alone ");
    assert_eq!(words_of("/// It is left\n/// alone."), " it is left alone ");
    assert_eq!(words_of("HTTPServer"), " httpserver ");
}
