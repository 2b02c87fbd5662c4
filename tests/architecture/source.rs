//! Reads Rust source as text: tokens without comments and literals, and without what only tests compile.

/// A token of source code. Literals and lifetimes are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    /// An identifier or a keyword.
    Word(String),
    /// `::`
    PathSeparator,
    /// Any other sign.
    Sign(char),
}

impl Token {
    pub fn word(&self) -> Option<&str> {
        match self {
            Self::Word(word) => Some(word),
            Self::PathSeparator | Self::Sign(_) => None,
        }
    }

    fn is_word(&self, text: &str) -> bool {
        self.word() == Some(text)
    }
}

/// A file, taken apart.
#[derive(Debug, Default)]
pub struct Source {
    pub tokens: Vec<Token>,
    /// The text of all comments, one line for each line of the file that has any.
    pub comments: String,
}

/// Takes a file apart.
pub fn read(text: &str) -> Source {
    let mut source = Source::default();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if rest.starts_with("//") {
            let end = rest.find('\n').unwrap_or(rest.len());
            source.comments.push_str(&rest[..end]);
            source.comments.push('\n');
            rest = &rest[end..];
        } else if rest.starts_with("/*") {
            let end = block_comment_end(rest);
            source.comments.push_str(&rest[..end]);
            source.comments.push('\n');
            rest = &rest[end..];
        } else if let Some(end) = literal_end(rest) {
            rest = &rest[end..];
        } else if first.is_alphabetic() || first == '_' {
            let end = rest
                .find(|c: char| !c.is_alphanumeric() && c != '_')
                .unwrap_or(rest.len());
            source.tokens.push(Token::Word(rest[..end].to_owned()));
            rest = &rest[end..];
        } else if rest.starts_with("::") {
            source.tokens.push(Token::PathSeparator);
            rest = &rest[2..];
        } else {
            if !first.is_whitespace() {
                source.tokens.push(Token::Sign(first));
            }
            rest = &rest[first.len_utf8()..];
        }
    }
    source
}

/// Where a block comment that starts the text ends; they nest.
fn block_comment_end(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        if text[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// Where a literal (text, character, number) or a lifetime that starts the text ends.
fn literal_end(text: &str) -> Option<usize> {
    let first = text.chars().next()?;
    if first.is_ascii_digit() {
        let end = text.find(|c: char| !c.is_alphanumeric() && c != '_');
        return Some(end.unwrap_or(text.len()));
    }
    if first == '\'' {
        return Some(quote_end(text));
    }
    let prefix = ["br", "cr", "b", "c", "r", ""].into_iter().find(|prefix| {
        text.strip_prefix(prefix).is_some_and(|rest| {
            let raw = prefix.ends_with('r');
            let rest = if raw {
                rest.trim_start_matches('#')
            } else {
                rest
            };
            rest.starts_with('"') || (*prefix == "b" && rest.starts_with('\''))
        })
    })?;
    let rest = &text[prefix.len()..];
    if prefix.ends_with('r') {
        let hashes = rest.len() - rest.trim_start_matches('#').len();
        let end = format!("\"{}", "#".repeat(hashes));
        let body = prefix.len() + hashes + 1;
        let found = text[body..].find(&end);
        return Some(found.map_or(text.len(), |at| body + at + end.len()));
    }
    if rest.starts_with('\'') {
        return Some(prefix.len() + quote_end(rest));
    }
    Some(prefix.len() + 1 + escaped_end(&rest[1..], '"'))
}

/// Where a character or a lifetime that starts the text ends.
fn quote_end(text: &str) -> usize {
    let mut after = text.chars().skip(1);
    let is_character = match (after.next(), after.next()) {
        (Some('\\'), _) => true,
        (Some(_), Some('\'')) => true,
        (_, _) => false,
    };
    if is_character {
        return 1 + escaped_end(&text[1..], '\'');
    }
    let name = &text[1..];
    let end = name.find(|c: char| !c.is_alphanumeric() && c != '_');
    1 + end.unwrap_or(name.len())
}

/// Where a text with escapes ends, its last quote included.
fn escaped_end(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

/// The tokens that the program is made of, and the names of the modules that only tests are made of.
pub fn without_tests(tokens: &[Token]) -> (Vec<Token>, Vec<String>) {
    let mut kept = Vec::new();
    let mut modules = Vec::new();
    let mut rest = tokens;
    while let Some(token) = rest.first() {
        let Some((attribute, after)) = attribute(rest) else {
            kept.push(token.clone());
            rest = &rest[1..];
            continue;
        };
        let tests_only = attribute.first().is_some_and(|t| t.is_word("cfg"))
            && attribute.iter().any(|t| t.is_word("test"))
            && !attribute
                .iter()
                .any(|t| t.is_word("not") || t.is_word("any"));
        if tests_only {
            let (item, others) = item(after);
            let mut words = item.iter();
            if words.any(|t| t.is_word("mod"))
                && let Some(name) = words.next().and_then(Token::word)
                && item.last() == Some(&Token::Sign(';'))
            {
                modules.push(name.to_owned());
            }
            rest = others;
        } else {
            rest = after;
        }
    }
    (kept, modules)
}

/// An attribute at the start of the tokens (what stands in its brackets), and what follows it.
fn attribute(tokens: &[Token]) -> Option<(&[Token], &[Token])> {
    let body = match tokens {
        [Token::Sign('#'), Token::Sign('['), body @ ..]
        | [
            Token::Sign('#'),
            Token::Sign('!'),
            Token::Sign('['),
            body @ ..,
        ] => body,
        _ => return None,
    };
    let mut depth = 1;
    let end = body.iter().position(|token| {
        match token {
            Token::Sign('[') => depth += 1,
            Token::Sign(']') => depth -= 1,
            Token::Word(_) | Token::PathSeparator | Token::Sign(_) => {}
        }
        depth == 0
    })?;
    Some((&body[..end], &body[end + 1..]))
}

/// The item at the start of the tokens, its other attributes included, and what follows it.
fn item(tokens: &[Token]) -> (&[Token], &[Token]) {
    let mut start = tokens;
    while let Some((_, after)) = attribute(start) {
        start = after;
    }
    let mut visibility_or_use = start.iter().take(8);
    let is_use = visibility_or_use.any(|t| t.is_word("use"))
        && !start
            .iter()
            .take(3)
            .any(|t| t.is_word("mod") || t.is_word("fn"));
    let mut depth = 0;
    let end = start.iter().position(|token| {
        match token {
            Token::Sign('{' | '(' | '[') => depth += 1,
            Token::Sign('}' | ')' | ']') => {
                depth -= 1;
                return depth == 0 && *token == Token::Sign('}') && !is_use;
            }
            Token::Sign(';' | ',') => return depth == 0,
            Token::Word(_) | Token::PathSeparator | Token::Sign(_) => {}
        }
        false
    });
    start.split_at(end.map_or(start.len(), |end| end + 1))
}

#[test]
fn comments_and_literals_are_told_from_code() {
    let source = read(concat!(
        "// one\nfn a<'a>(x: &'a str) -> char { /* two /* deep */ */ '\\'' }\n",
        "const B: &str = r#\"crate::no \"quoted\" \"#; let c = b'{'; let d = \"\\\"use x;\";",
    ));

    let words: Vec<&str> = source.tokens.iter().filter_map(Token::word).collect();
    assert_eq!(
        words,
        [
            "fn", "a", "x", "str", "char", "const", "B", "str", "let", "c", "let", "d"
        ]
    );
    assert_eq!(source.comments, "// one\n/* two /* deep */ */\n");
}

#[test]
fn what_only_tests_compile_is_left_out() {
    let source = read(concat!(
        "#[cfg(test)]\nuse crate::a::{b, c};\nuse crate::d;\n#[cfg(test)]\nmod tests;\n",
        "#[cfg(test)]\n#[allow(x)]\nmod other { fn f() { g(); } }\nfn h() {}",
    ));

    let (kept, modules) = without_tests(&source.tokens);

    let words: Vec<&str> = kept.iter().filter_map(Token::word).collect();
    assert_eq!(words, ["use", "crate", "d", "fn", "h"]);
    assert_eq!(modules, ["tests"]);
}
