//! Filters: how a value is rewritten for a URL, the way the site's generator forms its pages' addresses.

use std::fmt;
use std::sync::LazyLock;

use regex::Regex;

/// A filter after a `|` in a template: `{page|hugo}`, `{page|lang:zh,de}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// Converts to lower case.
    Lower,
    /// Hugo's spelling of page paths: lower case, `-` for blanks, most punctuation removed.
    Hugo,
    /// Jekyll's spelling of `:title`: `-` for blanks and most punctuation; the case stays.
    Jekyll,
    /// The spelling of github-slugger, which Astro uses: lower case, `-` for each blank, punctuation removed.
    Github,
    /// Moves the language before a file's extension to the front: `hello.zh` becomes `zh/hello`. Pairs of a
    /// language and its prefix.
    Lang(Vec<(String, String)>),
    /// Turns a date at the beginning of a file's name into directories: `2020-01-02-title` becomes
    /// `2020/01/02/title`.
    Date,
    /// Removes a date at the beginning of a file's name.
    Undated,
    /// Removes leading zeros from numbers that are whole segments: `2020/01/02` becomes `2020/1/2`.
    Unpadded,
    /// Removes ordering numbers from each segment: `02-guide/01-intro` becomes `guide/intro`.
    Unnumbered,
    /// Another name that stands for its directory, as `index` does.
    Index(String),
    /// Makes a page's address from a group of an expression: without `index`, and with a final `/`.
    Page,
}

/// The names of all filters, with their arguments.
pub(super) const FILTERS: [&str; 11] = [
    "lower",
    "hugo",
    "jekyll",
    "github",
    "lang:...",
    "date",
    "undated",
    "unpadded",
    "unnumbered",
    "index:...",
    "page",
];

impl Filter {
    /// Parses a filter; otherwise returns what is wrong and a suggestion.
    pub(super) fn parse(text: &str) -> Result<Self, (String, String)> {
        let (word, argument) = match text.split_once(':') {
            Some((word, argument)) => (word.trim(), Some(argument.trim())),
            None => (text.trim(), None),
        };
        let filter = match word {
            "lower" => Self::Lower,
            "hugo" => Self::Hugo,
            "jekyll" => Self::Jekyll,
            "github" => Self::Github,
            "date" => Self::Date,
            "undated" => Self::Undated,
            "unpadded" => Self::Unpadded,
            "unnumbered" => Self::Unnumbered,
            "page" => Self::Page,
            "lang" => return languages(argument.unwrap_or_default()),
            "index" => {
                let name = argument.unwrap_or_default();
                if name.is_empty() || name.contains(['/', '*']) {
                    return Err((
                        "the filter `index` without a name".to_owned(),
                        "write the name that stands for its directory, e.g. `index:README`"
                            .to_owned(),
                    ));
                }
                return Ok(Self::Index(name.to_owned()));
            }
            _ => return Err(unknown(word)),
        };
        match argument {
            None => Ok(filter),
            Some(_) => Err((
                format!(
                    "the filter `{}` with an argument, which it does not take",
                    text.escape_debug()
                ),
                format!("write `{word}`"),
            )),
        }
    }

    /// Applies the filter. A page's value has no final slash, and its `index` is already removed.
    pub(super) fn apply(&self, value: &str, is_page: bool) -> String {
        match self {
            Self::Lower => lower(value),
            Self::Hugo => lower(&hugo(value)),
            Self::Jekyll => by_segment(value, jekyll),
            Self::Github => by_segment(value, github),
            Self::Lang(languages) => lang(value, languages, is_page),
            Self::Date => in_name(value, |name| match dated(name) {
                Some((year, month, day, rest)) => format!("{year}/{month:0>2}/{day:0>2}/{rest}"),
                None => name.to_owned(),
            }),
            Self::Undated => in_name(value, |name| {
                dated(name).map_or(name, |(_, _, _, rest)| rest).to_owned()
            }),
            Self::Unpadded => by_segment(value, |segment| {
                let is_number = !segment.is_empty() && segment.bytes().all(|b| b.is_ascii_digit());
                let short = segment.trim_start_matches('0');
                match (is_number, short) {
                    (false, _) => segment.to_owned(),
                    (true, "") => "0".to_owned(),
                    (true, short) => short.to_owned(),
                }
            }),
            Self::Unnumbered => by_segment(value, |segment| unnumbered(segment).to_owned()),
            Self::Index(name) => without_name(value, &[name]).to_owned(),
            Self::Page => {
                let directory = without_name(value.trim_end_matches('/'), &["index", "_index"]);
                if directory.is_empty() {
                    String::new()
                } else {
                    format!("{directory}/")
                }
            }
        }
    }

    /// Whether its result has no capitals.
    pub(super) fn is_lower(&self) -> bool {
        matches!(self, Self::Lower | Self::Hugo | Self::Github)
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lower => f.write_str("lower"),
            Self::Hugo => f.write_str("hugo"),
            Self::Jekyll => f.write_str("jekyll"),
            Self::Github => f.write_str("github"),
            Self::Date => f.write_str("date"),
            Self::Undated => f.write_str("undated"),
            Self::Unpadded => f.write_str("unpadded"),
            Self::Unnumbered => f.write_str("unnumbered"),
            Self::Page => f.write_str("page"),
            Self::Index(name) => write!(f, "index:{name}"),
            Self::Lang(languages) => {
                let words: Vec<String> = languages
                    .iter()
                    .map(|(name, at)| {
                        if name == at {
                            name.clone()
                        } else {
                            format!("{name}={at}")
                        }
                    })
                    .collect();
                write!(f, "lang:{}", words.join(","))
            }
        }
    }
}

fn unknown(word: &str) -> (String, String) {
    let all = FILTERS.map(|word| format!("`{word}`")).join(", ");
    let plain = FILTERS.map(|word| word.trim_end_matches(":..."));
    let meant = match word.to_lowercase().as_str() {
        "lowercase" | "downcase" | "tolower" | "to_lower" | "lowercased" => Some("lower"),
        "urlize" | "sanitize" | "makepath" => Some("hugo"),
        "astro" | "kebab" | "slugger" => Some("github"),
        "language" | "languages" | "locale" => Some("lang"),
        "slug" | "slugify" | "slugize" => None,
        word => plain
            .into_iter()
            .map(|known| (strsim::damerau_levenshtein(word, known), known))
            .filter(|(distance, known)| *distance <= 1 + known.len() / 6)
            .min()
            .map(|(_, known)| known),
    };
    let advice = match (meant, word.to_lowercase().contains("slug")) {
        (Some(meant), _) => format!("did you mean `{meant}`? The filters are {all}"),
        (None, true) => format!(
            "each generator has a way of its own: `hugo`, `jekyll` or `github`; the filters are {all}"
        ),
        (None, false) => format!("the filters are {all}"),
    };
    (
        format!("the unknown filter `{}`", word.escape_debug()),
        advice,
    )
}

/// Parses `zh,de` or `en=,zh-cn=zh`: languages with their prefixes in the address.
fn languages(argument: &str) -> Result<Filter, (String, String)> {
    let mut languages = Vec::new();
    for one in argument.split(',').map(str::trim) {
        let (name, at) = one.split_once('=').unwrap_or((one, one));
        let good = |text: &str| {
            text.chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
        };
        if name.is_empty() || !good(name) || !good(at) {
            return Err((
                "the filter `lang` without its languages".to_owned(),
                "write them with commas between, e.g. `lang:zh,de`; `lang:en=,zh` has English at the top".to_owned(),
            ));
        }
        languages.push((name.to_owned(), at.to_owned()));
    }
    Ok(Filter::Lang(languages))
}

/// Converts letter by letter, as generators in Go and JavaScript do: if one letter becomes several, only the first
/// is used.
fn lower(value: &str) -> String {
    value
        .chars()
        .filter_map(|c| c.to_lowercase().next())
        .collect()
}

fn by_segment(value: &str, respell: impl Fn(&str) -> String) -> String {
    let segments: Vec<String> = value.split('/').map(respell).collect();
    segments.join("/")
}

/// Applies a function to the last segment.
fn in_name(value: &str, respell: impl Fn(&str) -> String) -> String {
    match value.rsplit_once('/') {
        Some((directory, name)) => format!("{directory}/{}", respell(name)),
        None => respell(value),
    }
}

/// Removes the last segment if it is one of these.
fn without_name<'v>(value: &'v str, names: &[&str]) -> &'v str {
    match value.rsplit_once('/') {
        Some((directory, name)) if names.contains(&name) => directory,
        None if names.contains(&value) => "",
        Some(_) | None => value,
    }
}

#[expect(
    clippy::unwrap_used,
    reason = "the expressions are fixed, and the tests use each"
)]
fn regex(text: &str) -> Regex {
    Regex::new(text).unwrap()
}

/// The characters of a path that Hugo keeps (`Sanitize` in hugo's common/paths, and Go's categories).
static HUGO_KEEPS: LazyLock<Regex> = LazyLock::new(|| regex(r"^[\p{L}\p{Nd}\p{M}./\\_#+~@-]$"));

/// Hugo's sanitized path before the conversion to lower case. It is between slashes.
fn hugo(value: &str) -> String {
    let mut kept = String::with_capacity(value.len());
    let (mut needs_hyphen, mut was_hyphen) = (false, false);
    let bytes = value.as_bytes();
    let mut buffer = [0; 4];
    for (at, c) in value.char_indices() {
        let is_hex = |i: usize| bytes.get(i).is_some_and(u8::is_ascii_hexdigit);
        let is_code = c == '%' && is_hex(at + 1) && is_hex(at + 2);
        if is_code || HUGO_KEEPS.is_match(c.encode_utf8(&mut buffer)) {
            was_hyphen = c == '-';
            if needs_hyphen && !was_hyphen {
                kept.push('-');
            }
            needs_hyphen = false;
            kept.push(c);
        } else if !was_hyphen && c.is_whitespace() {
            needs_hyphen = true;
        }
    }
    // The slash after it.
    if needs_hyphen {
        kept.push('-');
    }
    kept
}

/// The characters that Jekyll replaces in a title (`SLUGIFY_PRETTY_REGEXP` in its utils.rb).
static JEKYLL_REPLACES: LazyLock<Regex> =
    LazyLock::new(|| regex(r"[^\p{M}\p{L}\p{Nd}._~!$&'()+,;=@]+"));

fn jekyll(segment: &str) -> String {
    let slug = JEKYLL_REPLACES.replace_all(segment, "-");
    let slug = slug.strip_prefix('-').unwrap_or(&slug);
    slug.strip_suffix('-').unwrap_or(slug).to_owned()
}

/// The characters that github-slugger removes (its script/generate-slugger-regex.js).
static GITHUB_DROPS: LazyLock<Regex> =
    LazyLock::new(|| regex(r"[^\p{Alphabetic}\p{M}\p{Nd}\p{Pc} -]"));

fn github(segment: &str) -> String {
    GITHUB_DROPS
        .replace_all(&lower(segment), "")
        .replace(' ', "-")
}

/// Year, month, day and the rest of a file's name that begins with a date.
fn dated(name: &str) -> Option<(&str, &str, &str, &str)> {
    let mut parts = name.splitn(4, '-');
    let (year, month, day, rest) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let digits = |text: &str, lengths: &[usize]| {
        lengths.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
    };
    (digits(year, &[4]) && digits(month, &[1, 2]) && digits(day, &[1, 2]))
        .then_some((year, month, day, rest))
}

/// An ordering number, with the separator after it (`numberPrefix.ts` in Docusaurus).
static NUMBER: LazyLock<Regex> = LazyLock::new(|| regex(r"^\d+\s*[-_.]+\s*([^-_.\s].*)$"));
/// Dates and versions are not ordering numbers.
static NO_NUMBER: LazyLock<Regex> =
    LazyLock::new(|| regex(r"^(?:(?:\d{2}|\d{4})[-_.]\d{2}(?:[-_.](?:\d{2}|\d{4}))?|\d+[-_.]\d+)"));

fn unnumbered(segment: &str) -> &str {
    if NO_NUMBER.is_match(segment) {
        return segment;
    }
    NUMBER
        .captures(segment)
        .and_then(|found| found.get(1))
        .map_or(segment, |name| name.as_str())
}

fn lang(value: &str, languages: &[(String, String)], is_page: bool) -> String {
    let (directory, name) = match value.rsplit_once('/') {
        Some((directory, name)) => (Some(directory), name),
        None => (None, value),
    };
    let found = languages.iter().find_map(|(language, at)| {
        let dotted = format!(".{language}");
        if let Some(stem) = name.strip_suffix(&dotted).filter(|stem| !stem.is_empty()) {
            return Some((at, stem.to_owned()));
        }
        let (stem, ending) = name.rsplit_once('.')?;
        let stem = stem
            .strip_suffix(&dotted)
            .filter(|stem| !stem.is_empty() && !is_page)?;
        Some((at, format!("{stem}.{ending}")))
    });
    let Some((at, name)) = found else {
        return value.to_owned();
    };
    let is_index = is_page && (name == "index" || name == "_index");
    let name = (!is_index).then_some(name.as_str());
    let at = Some(at.as_str()).filter(|at| !at.is_empty());
    let parts: Vec<&str> = [at, directory, name].into_iter().flatten().collect();
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filtered(filters: &str, value: &str) -> String {
        filters.split('|').fold(value.to_owned(), |value, filter| {
            Filter::parse(filter).unwrap().apply(&value, false)
        })
    }

    #[test]
    fn hugos_spelling_of_a_path() {
        // As built by Hugo 0.111.
        for (value, expected) in [
            ("My Page", "my-page"),
            ("About_Us", "about_us"),
            ("Docs/Setup", "docs/setup"),
            ("a - b", "a-b"),
            ("a  b", "a-b"),
            ("a--b", "a--b"),
            ("a_ _b", "a_-_b"),
            ("C# Tips", "c#-tips"),
            ("a+b", "a+b"),
            ("v1.2 notes", "v1.2-notes"),
            ("100%", "100"),
            ("50%25 off", "50%25-off"),
            ("What's new?", "whats-new"),
            ("(draft) x", "draft-x"),
            ("a&b", "ab"),
            ("[id]", "id"),
            (" lead", "-lead"),
            ("trail ", "trail-"),
            ("Größe", "größe"),
            ("émile É", "émile-é"),
            ("中文 页", "中文-页"),
            ("emoji 😀 x", "emoji-x"),
            ("İstanbul", "istanbul"),
            ("ΣΑΣ", "σασ"),
            ("Q&A – Fun", "qa-fun"),
            ("№5 ①", "5-"),
            ("\u{a0}nb\u{a0}sp", "-nb-sp"),
            ("don’t", "dont"),
            ("~tilde", "~tilde"),
        ] {
            assert_eq!(filtered("hugo", value), expected, "{value}");
        }
    }

    #[test]
    fn the_spellings_of_other_generators() {
        for (filters, value, expected) in [
            ("lower", "Docs/My Page", "docs/my page"),
            ("jekyll", "My Post's Title!", "My-Post's-Title!"),
            ("jekyll|lower", "a/Über uns?", "a/über-uns"),
            ("github", "My Post 3", "my-post-3"),
            ("github", "What's new? (2)", "whats-new-2"),
            ("github", "a  b", "a--b"),
            ("date", "2020-01-02-some-title", "2020/01/02/some-title"),
            ("date", "cat/2020-1-2-x.md", "cat/2020/01/02/x.md"),
            ("date", "no-date-here", "no-date-here"),
            ("undated", "blog/2026-01-05-x", "blog/x"),
            ("date|unpadded", "2020-01-02-x", "2020/1/2/x"),
            ("unpadded", "2020/00/07", "2020/0/7"),
            ("unnumbered", "02-guide/01_intro.md", "guide/intro.md"),
            (
                "unnumbered",
                "2020-01-02-x/1.2-notes",
                "2020-01-02-x/1.2-notes",
            ),
            ("index:README", "docs/README", "docs"),
            ("index:README", "README", ""),
            ("page", "posts/index", "posts/"),
            ("page", "index", ""),
            ("page", "posts/hello", "posts/hello/"),
            ("lang:zh,de", "posts/hello.zh", "zh/posts/hello"),
            ("lang:zh,de", "posts/hello.fr", "posts/hello.fr"),
            ("lang:zh", "img/a.zh.png", "zh/img/a.png"),
            ("lang:en=,zh-cn=zh", "hello.en", "hello"),
            ("lang:en=,zh-cn=zh", "a/hello.zh-cn", "zh/a/hello"),
            ("lang:zh|page", "posts/index.zh", "zh/posts/"),
        ] {
            assert_eq!(filtered(filters, value), expected, "{filters} {value}");
        }
        let zh = Filter::parse("lang:zh").unwrap();
        assert_eq!(zh.apply("posts/index.zh", true), "zh/posts");
        assert_eq!(zh.apply("index.zh", true), "zh");
    }

    #[test]
    fn what_is_no_filter_is_told_what_there_is() {
        for (text, what, advice) in [
            (
                "lowercase",
                "the unknown filter `lowercase`",
                "did you mean `lower`?",
            ),
            (
                "hugoo",
                "the unknown filter `hugoo`",
                "did you mean `hugo`?",
            ),
            (
                "slug",
                "the unknown filter `slug`",
                "`hugo`, `jekyll` or `github`",
            ),
            ("xyz", "the unknown filter `xyz`", "the filters are `lower`"),
            ("", "the unknown filter ``", "the filters are `lower`"),
            ("lower:x", "with an argument", "write `lower`"),
            ("lang", "without its languages", "`lang:zh,de`"),
            ("lang:z/h", "without its languages", "`lang:zh,de`"),
            ("index:", "without a name", "`index:README`"),
        ] {
            let (found, help) = Filter::parse(text).unwrap_err();
            assert!(found.contains(what), "{text}: {found}");
            assert!(help.contains(advice), "{text}: {help}");
        }
    }
}
