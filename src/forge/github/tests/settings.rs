use super::*;
use crate::forge::scripted::{read_entry, unplugged};

fn read_yaml(yaml: &str) -> (bool, String) {
    read_entry(yaml, |section| read(section, unplugged()).is_some())
}

#[test]
fn an_entry_with_a_secret_and_a_token_is_enough() {
    let (good, problems) =
        read_yaml("{secrets: [one-of-sixteen-letters, two-of-sixteen-letters], token: ghp_x}");

    assert!(good);
    assert_eq!(problems, "");
}

#[test]
fn an_app_can_stand_in_for_a_token() {
    let key = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/data/github-app-pkcs1.pem"
    );

    let (good, problems) = read_yaml(&format!(
        "{{secrets: [s], app: {{id: 1, private_key_file: {key}}}, api_url: https://git.example/api/v3/}}"
    ));

    assert!(good, "{problems}");
}

#[test]
fn an_entry_without_a_token_works_and_warns() {
    let (good, problems) = read_yaml("{secrets: [s]}");

    assert!(good);
    assert!(problems.contains("no status can be posted"), "{problems}");
}

#[test]
fn what_is_wrong_with_an_entry_is_said() {
    let cases = [
        ("{token: t}", "`secrets` is missing"),
        ("{secrets: [''], token: t}", "`secrets`"),
        (
            "{secrets: [s], token: t, app: {id: 1, private_key: k}}",
            "both given",
        ),
        ("{secrets: [s], app: {id: 1}}", "`private_key` is missing"),
        (
            "{secrets: [s], app: {id: a b, private_key: k}}",
            "client id",
        ),
        (
            "{secrets: [s], app: {id: 1, private_key: k}}",
            "not an RSA key",
        ),
        ("{secrets: [s], token: t, api_url: ftp://x}", "api_url"),
        ("{secrets: [s], token: t, tokn: t}", "tokn"),
    ];
    for (yaml, words) in cases {
        let (_, problems) = read_yaml(yaml);
        assert!(problems.contains(words), "{problems} for {yaml}");
        assert!(problems.contains("error"), "{problems}");
    }
}
