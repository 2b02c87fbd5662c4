use super::*;
use crate::forge::scripted::{read_entry, unplugged};

const TOKEN: &str = "whsec_dGhlLWZpcnN0LXNpZ25pbmcta2V5LTMyLWJ5dGVzLSE=";

fn read_yaml(yaml: &str) -> (bool, String) {
    read_entry(yaml, |section| read(section, unplugged()).is_some())
}

#[test]
fn a_signing_token_or_a_secret_is_enough() {
    for yaml in [
        format!("{{signing_tokens: [{TOKEN}], token: t}}"),
        "{secrets: [a-secret-of-the-tests], token: t}".to_owned(),
        format!("{{signing_tokens: {TOKEN}, secrets: [a-secret-of-the-tests], token: t}}"),
    ] {
        let (good, problems) = read_yaml(&yaml);
        assert!(good);
        assert_eq!(problems, "");
    }
}

#[test]
fn an_entry_without_a_token_works_and_warns() {
    let (good, problems) = read_yaml("{secrets: [s]}");

    assert!(good);
    assert!(problems.contains("no status can be posted"), "{problems}");
}

#[test]
fn what_is_wrong_with_an_entry_is_said_and_shows_no_secret() {
    let cases = [
        ("{token: t}", "no delivery could be trusted"),
        ("{secrets: [''], token: t}", "`secrets`"),
        (
            "{signing_tokens: [whsec_c2hvcnQ=], secrets: [s], token: t}",
            "item 1 of `signing_tokens`",
        ),
        (
            "{signing_tokens: [c2hvcnQ=], token: t}",
            "does not start with `whsec_`",
        ),
    ];
    for (yaml, words) in cases {
        let (good, problems) = read_yaml(yaml);
        assert!(!good || yaml.contains("''"));
        assert!(problems.contains(words), "{problems} for {yaml}");
        assert!(!problems.contains("c2hvcnQ"), "{problems}");
    }
}
