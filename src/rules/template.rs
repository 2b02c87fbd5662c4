//! Templates: URLs with fields to fill in.

use std::borrow::Cow;

use strum::VariantArray;

use super::base_url::after_scheme;
use super::encode::{Part, has_control, is_dots, push_literal, push_value};
use super::fields::{Directory, Fields};
use super::{BaseUrl, Field, Filter, RuleError};

/// A URL with fields, e.g. `/{path}` or `https://img.example.com/{name}?v=1`.
///
/// Its own text is part of a URL: `%XX` stays, and characters that are not allowed in a URL are encoded; `{{` and
/// `}}` are literal braces. Empty segments are removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    text: String,
    place: Place,
    path: Vec<Piece>,
    query: Option<Vec<Piece>>,
    directory: bool,
}

/// What the path is appended to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Each of the site's base URLs.
    EachBase,
    /// This one host.
    Origin(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Already encoded.
    Text(String),
    /// A field and its filters.
    Field(Field, Vec<Filter>),
    /// A named group of the rule's expression, and its filters.
    Group(String, Vec<Filter>),
}

impl Template {
    /// Parses a template for a URL. One that starts with `/` is appended to each base URL; a full `http(s)://` URL
    /// must have the scheme, host and port of a base URL.
    ///
    /// `groups` contains the names of the groups of the rule's expression, which are fields too.
    pub fn parse(text: &str, base_urls: &[BaseUrl], groups: &[String]) -> Result<Self, RuleError> {
        let (place, rest) = split_place(text, base_urls)?;
        let reader = Reader {
            whole: text,
            groups,
        };
        let mut path = Vec::new();
        let mut query = None;
        // A full URL may end after its host.
        if !rest.starts_with('/') {
            path.push(Piece::Text("/".to_owned()));
        }
        let first = text.len() - rest.len();
        let (path_text, query_text) = match rest.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (rest, None),
        };
        reader.read(path_text, first, Part::Path, &mut path)?;
        if let Some(query_text) = query_text {
            let mut pieces = Vec::new();
            reader.read(
                query_text,
                first + path_text.len() + 1,
                Part::Query,
                &mut pieces,
            )?;
            query = Some(pieces);
        }
        let template = Self {
            text: text.to_owned(),
            place,
            path,
            query,
            directory: false,
        };
        template.refuse_dots()?;
        Ok(template)
    }

    /// Parses a template for a directory, like [`Template::parse`] but without a query. If the filled URL does not
    /// end in `/`, one is appended.
    pub fn parse_directory(
        text: &str,
        base_urls: &[BaseUrl],
        groups: &[String],
    ) -> Result<Self, RuleError> {
        let mut template = Self::parse(text, base_urls, groups)?;
        if template.query.is_some() {
            return Err(RuleError::new(
                format!("the directory `{text}` has a query"),
                "leave out everything from the `?` on, or list it under `urls:`",
            ));
        }
        template.directory = true;
        Ok(template)
    }

    /// The template as written.
    pub fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    pub(super) fn path_pieces(&self) -> &[Piece] {
        &self.path
    }

    pub(super) fn query_pieces(&self) -> Option<&[Piece]> {
        self.query.as_deref()
    }

    pub(super) fn is_directory(&self) -> bool {
        self.directory
    }

    /// Passes on the full URL, once for each base URL or once in total; or returns why there is none.
    pub(super) fn fill(
        &self,
        base_urls: &[BaseUrl],
        fields: &Fields<'_>,
        mut hand_over: impl FnMut(String),
    ) -> Result<(), &'static str> {
        let tail = self.tail(fields)?;
        match &self.place {
            Place::EachBase => {
                for base in base_urls {
                    hand_over(format!("{base}{tail}"));
                }
            }
            Place::Origin(origin) => hand_over(format!("{origin}{tail}")),
        }
        Ok(())
    }

    /// Like [`fill`](Self::fill), for everything in a directory: if the template depends on the file, it gives the
    /// directory up to that point. Also passes on whether that is the case.
    pub(super) fn fill_directory(
        &self,
        base_urls: &[BaseUrl],
        directory: &Directory<'_>,
        mut hand_over: impl FnMut(String, bool),
    ) -> Result<(), &'static str> {
        let (tail, is_whole) = self.directory_tail(directory)?;
        match &self.place {
            Place::EachBase => {
                for base in base_urls {
                    hand_over(format!("{base}{tail}"), is_whole);
                }
            }
            Place::Origin(origin) => hand_over(format!("{origin}{tail}"), is_whole),
        }
        Ok(())
    }

    fn directory_tail(&self, directory: &Directory<'_>) -> Result<(String, bool), &'static str> {
        let mut tail = String::with_capacity(64);
        let mut is_whole = false;
        for piece in &self.path {
            let (value, filters, is_page) = match piece {
                Piece::Text(text) => {
                    tail.push_str(text);
                    continue;
                }
                Piece::Field(field, filters) => {
                    is_whole = true;
                    let is_page = *field == Field::Page;
                    (directory.value(*field), filters, is_page)
                }
                Piece::Group(name, filters) => {
                    let (value, is_open) = directory.group(name);
                    is_whole = is_open;
                    (Some(value), filters, false)
                }
            };
            match value {
                Some(value) => {
                    let value = filtered(value, filters, is_page)?;
                    push_checked(&mut tail, &value, Part::Path)?;
                }
                // The template contains the file's name, so only its directory is known.
                None => {
                    let end = tail.rfind('/').map_or(0, |slash| slash + 1);
                    tail.truncate(end);
                }
            }
            if is_whole {
                tail.push('/');
                break;
            }
        }
        if self.directory && !is_whole {
            tail.push('/');
        }
        let mut tail = one_slash_each(tail);
        if tail.split('/').any(is_dots) {
            return Err(DOTS);
        }
        // A query that depends on the file is unknown; purging the directory includes all queries.
        if let Some(query) = self.query.as_ref().filter(|_| !is_whole) {
            let depends = query.iter().any(|piece| !matches!(piece, Piece::Text(_)));
            if depends {
                let end = tail.rfind('/').map_or(0, |slash| slash + 1);
                tail.truncate(end);
                return Ok((tail, true));
            }
            tail.push('?');
            for piece in query {
                if let Piece::Text(text) = piece {
                    tail.push_str(text);
                }
            }
        }
        Ok((tail, is_whole))
    }

    /// The filled path and query.
    fn tail(&self, fields: &Fields<'_>) -> Result<String, &'static str> {
        let mut tail = String::with_capacity(64);
        push_pieces(&mut tail, &self.path, fields, Part::Path)?;
        if self.directory {
            tail.push('/');
        }
        let mut tail = one_slash_each(tail);
        // Text and values together can form a `..` that neither contains.
        if tail.split('/').any(is_dots) {
            return Err(DOTS);
        }
        if let Some(query) = &self.query {
            tail.push('?');
            push_pieces(&mut tail, query, fields, Part::Query)?;
        }
        Ok(tail)
    }

    fn refuse_dots(&self) -> Result<(), RuleError> {
        let mut path = String::new();
        for piece in &self.path {
            match piece {
                Piece::Text(text) => path.push_str(text),
                Piece::Field(..) | Piece::Group(..) => path.push('*'),
            }
        }
        if path.split('/').any(is_dots) {
            return Err(RuleError::new(
                format!("the template `{}` has a `.` or `..` segment", self.text),
                "write the path it leads to",
            ));
        }
        Ok(())
    }
}

/// Replaces several slashes in a row with one.
fn one_slash_each(mut path: String) -> String {
    if path.contains("//") {
        let mut before = ' ';
        path.retain(|c| {
            let keep = c != '/' || before != '/';
            before = c;
            keep
        });
    }
    path
}

const DOTS: &str = "its URL would have a `.` or `..` segment";
const NO_TEXT: &str = "it is not UTF-8, which filters need";
const CONTROL: &str = "control characters never get into a URL";

fn push_pieces(
    url: &mut String,
    pieces: &[Piece],
    fields: &Fields<'_>,
    part: Part,
) -> Result<(), &'static str> {
    for piece in pieces {
        match piece {
            Piece::Text(text) => url.push_str(text),
            Piece::Group(name, filters) => {
                let value = filtered(fields.group(name), filters, false)?;
                push_checked(url, &value, part)?;
            }
            Piece::Field(field, filters) => {
                let is_page = *field == Field::Page;
                let value = filtered(fields.value(*field), filters, is_page)?;
                push_checked(url, &value, part)?;
                if is_page && !value.is_empty() {
                    url.push('/');
                }
            }
        }
    }
    Ok(())
}

/// Applies filters to a value.
fn filtered<'v>(
    value: &'v [u8],
    filters: &[Filter],
    is_page: bool,
) -> Result<Cow<'v, [u8]>, &'static str> {
    if filters.is_empty() {
        return Ok(Cow::Borrowed(value));
    }
    let text = std::str::from_utf8(value).map_err(|_| NO_TEXT)?;
    let mut text = text.to_owned();
    for filter in filters {
        text = filter.apply(&text, is_page);
    }
    Ok(Cow::Owned(text.into_bytes()))
}

fn push_checked(url: &mut String, value: &[u8], part: Part) -> Result<(), &'static str> {
    if has_control(value) {
        return Err(CONTROL);
    }
    if value.split(|b| *b == b'/').any(|s| s == b"." || s == b"..") {
        return Err(DOTS);
    }
    push_value(url, value, part);
    Ok(())
}

/// What the template's path is appended to, and the text of that path.
fn split_place<'t>(text: &'t str, base_urls: &[BaseUrl]) -> Result<(Place, &'t str), RuleError> {
    if text.starts_with("//") {
        return Err(RuleError::new(
            format!("the template `{text}` starts with `//`"),
            "write `/...` to put it behind each base URL, or a full https:// URL",
        ));
    }
    if text.starts_with('/') {
        return Ok((Place::EachBase, text));
    }
    let Some(after_scheme) = after_scheme(text) else {
        return Err(RuleError::new(
            format!(
                "the template `{}` is neither a path nor a full URL",
                text.escape_debug()
            ),
            format!(
                "write `/{}` to put it behind each base URL, or a full https:// URL",
                text.escape_debug()
            ),
        ));
    };
    let host_len = after_scheme
        .find(['/', '?', '#'])
        .unwrap_or(after_scheme.len());
    let (host, rest) = text.split_at(text.len() - after_scheme.len() + host_len);
    if host.contains(['{', '}']) {
        return Err(RuleError::new(
            format!("the template `{text}` has a field in its host"),
            "write the host out, or start with `/` to put it behind each base URL",
        ));
    }
    let host = BaseUrl::parse(host).map_err(|error| RuleError {
        message: format!("in the template `{text}`, {error}"),
        advice: error.advice,
    })?;
    if !base_urls.iter().any(|base| base.origin() == host.origin()) {
        let mut known: Vec<&str> = base_urls.iter().map(BaseUrl::origin).collect();
        known.dedup();
        return Err(RuleError::new(
            format!(
                "the template `{text}` is on {}, which is none of the site's base URLs",
                host.origin()
            ),
            format!(
                "scheme, host and port must be those of one of them: {}",
                known.join(", ")
            ),
        ));
    }
    Ok((Place::Origin(host.origin().to_owned()), rest))
}

/// Parses text and fields, and describes errors in them.
struct Reader<'t> {
    whole: &'t str,
    groups: &'t [String],
}

impl Reader<'_> {
    fn wrong(&self, byte: usize, what: &str, advice: impl Into<String>) -> RuleError {
        let before = self.whole.get(..byte).unwrap_or(self.whole);
        RuleError::new(
            format!(
                "the template `{}` has {what} at character {}",
                self.whole.escape_debug(),
                before.chars().count() + 1
            ),
            advice,
        )
    }

    /// Parses one part of the template, which starts at byte `first` of the whole.
    fn read(
        &self,
        written: &str,
        first: usize,
        part: Part,
        pieces: &mut Vec<Piece>,
    ) -> Result<(), RuleError> {
        let mut text = String::new();
        let mut chars = written.char_indices().peekable();
        while let Some((index, c)) = chars.next() {
            let at = first + index;
            match c {
                '{' | '}' if chars.next_if(|(_, next)| *next == c).is_some() => {
                    push_literal(&mut text, c, part);
                }
                '{' => {
                    let inside = written.get(index + 1..).unwrap_or_default();
                    let Some((name, _)) = inside.split_once('}') else {
                        return Err(self.wrong(
                            at,
                            "a `{` that no `}` closes",
                            "close it, or write `{{` for the character itself",
                        ));
                    };
                    let field = self.field(name, at)?;
                    chars.by_ref().find(|(_, c)| *c == '}');
                    if !text.is_empty() {
                        pieces.push(Piece::Text(std::mem::take(&mut text)));
                    }
                    pieces.push(field);
                }
                '}' => {
                    return Err(self.wrong(
                        at,
                        "a `}` that no `{` opens",
                        "write `}}` for the character itself",
                    ));
                }
                '%' => {
                    let code = written.get(index + 1..index + 3).unwrap_or_default();
                    self.percent(code, at)?;
                    text.push('%');
                }
                _ => {
                    self.refuse_outside_urls(c, at)?;
                    push_literal(&mut text, c, part);
                }
            }
        }
        if !text.is_empty() {
            pieces.push(Piece::Text(text));
        }
        Ok(())
    }

    fn field(&self, inside: &str, at: usize) -> Result<Piece, RuleError> {
        let mut parts = inside.split('|');
        let name = parts.next().unwrap_or_default();
        let filters = parts
            .map(|text| Filter::parse(text).map_err(|(what, advice)| self.wrong(at, &what, advice)))
            .collect::<Result<Vec<Filter>, RuleError>>()?;
        // Blanks are allowed around filters.
        let name = if filters.is_empty() {
            name
        } else {
            name.trim()
        };
        if let Ok(field) = name.parse::<Field>() {
            return Ok(Piece::Field(field, filters));
        }
        if self.groups.iter().any(|group| group == name) {
            return Ok(Piece::Group(name.to_owned(), filters));
        }
        let fields = Field::VARIANTS.iter().map(Field::to_string);
        let groups = self.groups.iter().map(|group| format!("{{{group}}}"));
        let all = fields.chain(groups).collect::<Vec<_>>().join(", ");
        let advice = match closest(name) {
            Some(field) => format!("did you mean `{field}`? The fields are {all}"),
            None => format!("the fields are {all}; write `{{{{` for a brace itself"),
        };
        let what = format!("the unknown field `{{{}}}`", name.escape_debug());
        Err(self.wrong(at, &what, advice))
    }

    fn percent(&self, code: &str, at: usize) -> Result<(), RuleError> {
        let byte = Some(code)
            .filter(|code| code.len() == 2 && code.bytes().all(|b| b.is_ascii_hexdigit()))
            .and_then(|code| u8::from_str_radix(code, 16).ok());
        match byte {
            None => Err(self.wrong(
                at,
                "a `%` without two hex digits behind it",
                "write `%25` for the character itself",
            )),
            Some(byte) if byte.is_ascii_control() => Err(self.wrong(
                at,
                "an encoded control character",
                "leave it out; control characters never get into a URL",
            )),
            Some(_) => Ok(()),
        }
    }

    /// The directory that contains what a wildcard was meant to match.
    fn instead_of_wildcard(&self) -> String {
        let before = self.whole.split(['*', '?']).next().unwrap_or_default();
        let path_at = self.whole.find("://").map_or(0, |at| at + 3);
        let directory = match before.rfind('/') {
            Some(slash) if slash >= path_at => before.get(..=slash).unwrap_or("/"),
            Some(_) | None => "/",
        };
        format!(
            "a directory is purged with all that is below it: `directories: [\"{}\"]`; `%2A` is the character itself",
            directory.escape_debug()
        )
    }

    fn refuse_outside_urls(&self, c: char, at: usize) -> Result<(), RuleError> {
        if c == '*' {
            return Err(self.wrong(
                at,
                "a `*`, and no CDN here knows wildcards: it would purge the URL of that very name",
                self.instead_of_wildcard(),
            ));
        }
        if c == '#' {
            return Err(self.wrong(
                at,
                "a `#`",
                "leave out the fragment, which no CDN sees, or write `%23` for the character itself",
            ));
        }
        if c == '\\' {
            return Err(self.wrong(at, "a `\\`", "write `/`, or `%5C` for the character itself"));
        }
        if c.is_control() {
            return Err(self.wrong(
                at,
                "a control character",
                "leave it out; control characters never get into a URL",
            ));
        }
        if c.is_whitespace() {
            return Err(self.wrong(at, "a blank", "leave it out, or write `%20` for a space"));
        }
        Ok(())
    }
}

/// The field that a misspelt name probably stands for.
fn closest(name: &str) -> Option<Field> {
    let name = name.trim().to_lowercase();
    let alias = match name.as_str() {
        "file" | "filename" | "basename" => Some(Field::Name),
        "directory" | "dirname" | "folder" => Some(Field::Dir),
        "extension" | "suffix" => Some(Field::Ext),
        "filepath" | "url" => Some(Field::Path),
        "slug" | "base" => Some(Field::Stem),
        "permalink" => Some(Field::Page),
        _ => None,
    };
    alias.or_else(|| {
        let distance = |field: &Field| strsim::damerau_levenshtein(&name, field.as_str());
        let nearest = Field::VARIANTS.iter().copied().min_by_key(distance)?;
        (distance(&nearest) <= 1 || (distance(&nearest) == 2 && name.chars().count() > 3))
            .then_some(nearest)
    })
}
