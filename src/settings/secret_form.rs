//! Detects secrets that are probably mistakes: a variable's name instead of its value, a placeholder, stray quotes
//! or line ends. Messages never show the secret.

/// What is odd about a secret, and a suggestion.
pub(super) struct Oddity {
    pub what: String,
    pub advice: &'static str,
}

/// Common placeholders for secrets, without separators.
const PLACEHOLDERS: [&str; 34] = [
    "changeit",
    "changeme",
    "changethis",
    "dummy",
    "example",
    "fillin",
    "fillme",
    "fixme",
    "foobar",
    "insecure",
    "mysecret",
    "mytoken",
    "none",
    "nil",
    "null",
    "password",
    "placeholder",
    "redacted",
    "replaceit",
    "replaceme",
    "replacethis",
    "sample",
    "secret",
    "secrethere",
    "setme",
    "tbd",
    "test",
    "todo",
    "token",
    "tokenhere",
    "undefined",
    "unset",
    "webhooksecret",
    "yoursecret",
];

/// What is odd about a secret, if anything.
pub(super) fn oddity(text: &str) -> Option<Oddity> {
    let odd = |what: &str, advice: &'static str| {
        Some(Oddity {
            what: what.to_owned(),
            advice,
        })
    };
    // A PEM key has several lines, and ends in a line break.
    if text.trim_start().starts_with("-----BEGIN ") {
        return None;
    }
    let trimmed = text.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
    if trimmed.len() != text.len() {
        return if text.ends_with(['\n', '\r']) {
            odd(
                "ends in a line break, which counts as a part of it",
                "take it off, e.g. with `printf %s` in place of `echo`, or `tr -d '\\r\\n'`",
            )
        } else if text.starts_with('\u{feff}') {
            odd(
                "begins with a byte order mark, which counts as a part of it",
                "save the file without one",
            )
        } else {
            odd(
                "begins or ends with a blank, which counts as a part of it",
                "take it off",
            )
        };
    }
    if text.contains(['\n', '\r']) {
        return odd(
            "has a line break in it, which counts as a part of it",
            "write it in one line",
        );
    }
    let quotes = [
        ('"', '"'),
        ('\'', '\''),
        ('`', '`'),
        ('\u{201c}', '\u{201d}'),
        ('\u{2018}', '\u{2019}'),
    ];
    let is_in = |(open, close): &(char, char)| {
        text.len() > 1 && text.starts_with(*open) && text.ends_with(*close)
    };
    let is_command = text.starts_with('`') || text.starts_with("$(");
    if quotes.iter().any(is_in) && !is_command {
        return odd(
            "begins and ends with a quote, which counts as a part of it",
            "take the quotes off: `docker --env-file` and systemd's `Environment=` keep some of them",
        );
    }
    if is_command {
        return odd(
            "looks like a command for a shell, and none is run here",
            VARIABLE,
        );
    }
    if is_unread_variable(text) {
        return odd(
            "looks like a variable that is not read: it is taken letter for letter",
            VARIABLE,
        );
    }
    if ["Bearer ", "bearer ", "token ", "Token ", "Basic "]
        .iter()
        .any(|start| text.starts_with(start))
    {
        return odd(
            "begins with a word of the `Authorization` header",
            "write what follows that word alone",
        );
    }
    if is_placeholder(text) {
        return odd(
            "looks like a placeholder for what was to be filled in",
            "write `${NAME}`, and set NAME in the environment to the secret itself",
        );
    }
    None
}

const VARIABLE: &str =
    "write `${NAME}` to read the variable NAME from the environment, or `<key>_file: path`";

/// `$NAME`, `%NAME%`, `$env:NAME`, `{{ name }}`, and similar syntax of other tools.
fn is_unread_variable(text: &str) -> bool {
    let is_name = |name: &str| {
        !name.is_empty()
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let dollar = text
        .strip_prefix('$')
        .map(|name| name.strip_prefix("env:").unwrap_or(name));
    let percent = text
        .strip_prefix('%')
        .and_then(|rest| rest.strip_suffix('%'));
    let braces = |open, close| text.starts_with(open) && text.ends_with(close);
    let tools = [
        "op://",
        "vault://",
        "vault:",
        "env:",
        "file:",
        "secret://",
        "ssm://",
        "awssm://",
        "gcpsm://",
        "sops:",
        "!vault",
        "ENC[",
    ];
    dollar.is_some_and(is_name)
        || percent.is_some_and(is_name)
        || braces("{{", "}}")
        || braces("@@", "@@")
        || braces("__", "__")
        || tools.iter().any(|tool| text.starts_with(tool))
}

fn is_placeholder(text: &str) -> bool {
    let in_brackets = [('<', '>'), ('[', ']'), ('{', '}')]
        .iter()
        .any(|(open, close)| text.starts_with(*open) && text.ends_with(*close));
    if in_brackets {
        return true;
    }
    let letters: String = text
        .chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect();
    let is_filler = |c: char| matches!(c, 'x' | 'X' | '*' | '.' | '-' | '_' | '?' | '#');
    let begins_so = [
        "your_",
        "your-",
        "your ",
        "my-secret",
        "my_secret",
        "replace_",
        "replace-",
        "replace with",
        "insert_",
        "insert-",
        "insert ",
        "change-me",
        "change_me",
        "<",
    ]
    .iter()
    .any(|start| text.to_ascii_lowercase().starts_with(start));
    PLACEHOLDERS.contains(&letters.as_str())
        || letters.starts_with("changeme")
        || begins_so
        || text.to_ascii_lowercase().ends_with("-here")
        || text.to_ascii_lowercase().ends_with("_here")
        || text.chars().count() > 2 && text.chars().all(is_filler)
}

#[cfg(test)]
mod tests {
    use super::oddity;

    #[test]
    fn what_is_hardly_a_secret_is_said_without_showing_it() {
        for (text, expected) in [
            ("$GITHUB_TOKEN", "a variable"),
            ("$github_token", "a variable"),
            ("%GITHUB_TOKEN%", "a variable"),
            ("$env:GITHUB_TOKEN", "a variable"),
            ("{{ secrets.TOKEN }}", "a variable"),
            ("op://vault/item/field", "a variable"),
            ("$(cat /run/secrets/token)", "a command"),
            ("`cat token`", "a command"),
            ("changeme", "a placeholder"),
            ("CHANGE_ME", "a placeholder"),
            ("change-me-please", "a placeholder"),
            ("<secret>", "a placeholder"),
            ("your-token", "a placeholder"),
            ("YOUR_WEBHOOK_SECRET", "a placeholder"),
            ("xxxxxxxx", "a placeholder"),
            ("********", "a placeholder"),
            ("todo", "a placeholder"),
            ("insert-token-here", "a placeholder"),
            ("\"abcdefgh\"", "a quote"),
            ("'abcdefgh'", "a quote"),
            ("abcdefgh\n", "a line break"),
            ("abcdefgh\r", "a line break"),
            ("abc\ndef", "a line break"),
            (" abcdefgh", "a blank"),
            ("abcdefgh\t", "a blank"),
            ("\u{feff}abcdefgh", "a byte order mark"),
            ("Bearer abcdefgh", "`Authorization`"),
        ] {
            let odd = oddity(text).unwrap_or_else(|| panic!("{text}"));
            assert!(odd.what.contains(expected), "{text}: {}", odd.what);
            assert!(!odd.what.contains(text.trim()), "{text}: {}", odd.what);
        }
    }

    #[test]
    fn a_secret_that_may_well_be_one_is_let_pass() {
        for text in [
            "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
            "glpat-abcdefghij",
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "5f4dcc3b5aa765d61d8327deb882cf99",
            "p$ssw0rd-of-1",
            "100%sure",
            "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\n",
            "correct horse battery staple",
            "AKIDz8krbsJ5yKBZQpn74WFkmLPx3EXAMPLE",
        ] {
            assert!(oddity(text).is_none(), "{text}");
        }
    }
}
