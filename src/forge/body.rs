//! Typed reading of webhook bodies: borrows from the bytes, and names the field of every error.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

use super::{MAX_NAME, Malformed};
use crate::event::{CommitId, CommitRef, GitRef, RepoPath, is_zero_id};
use crate::sanitize::one_line;

/// The content type of a body that is JSON.
pub(super) const JSON: &str = "application/json";
/// The content type of a form with one field, `payload`, that contains the JSON. GitHub's web page offers it first.
pub(super) const FORM: &str = "application/x-www-form-urlencoded";

/// The only field `payload` of a form. Bytes stay bytes: invalid UTF-8 must not be repaired here.
pub(super) fn form_field(body: &[u8]) -> Result<Vec<u8>, Malformed> {
    let mut form = FormField::default();
    let mut payload = Vec::with_capacity(body.len());
    form.update(body, |bytes| payload.extend_from_slice(bytes));
    form.finish(|bytes| payload.extend_from_slice(bytes))?;
    Ok(payload)
}

/// Reads the only field `payload` of a form that arrives in pieces, by the URL standard: `+` is a space, and a
/// percent sign without two hex digits after it is literal.
#[derive(Default)]
pub(super) struct FormField {
    state: FormState,
    /// The number of fields with that name so far.
    found: usize,
}

/// The state of the form's reader.
#[derive(Clone, Copy)]
enum FormState {
    /// This many bytes of `payload=` have been read since the field began.
    Name(usize),
    /// In another field.
    Other,
    /// In the field's value.
    Value,
    /// After a percent sign in the value.
    Percent,
    /// After a percent sign and one digit.
    Digit(u8),
}

impl Default for FormState {
    fn default() -> Self {
        Self::Name(0)
    }
}

impl FormField {
    const NAME: &[u8] = b"payload=";

    /// Reads the next bytes of the form, and passes on those of the field's value.
    pub fn update(&mut self, mut bytes: &[u8], mut value: impl FnMut(&[u8])) {
        while let Some((&byte, rest)) = bytes.split_first() {
            match self.state {
                FormState::Name(come) if Self::NAME.get(come) == Some(&byte) => {
                    bytes = rest;
                    self.state = if come + 1 == Self::NAME.len() {
                        self.found += 1;
                        FormState::Value
                    } else {
                        FormState::Name(come + 1)
                    };
                }
                FormState::Name(_) | FormState::Other => match memchr::memchr(b'&', bytes) {
                    Some(end) => {
                        bytes = &bytes[end + 1..];
                        self.state = FormState::Name(0);
                    }
                    None => {
                        bytes = &[];
                        self.state = FormState::Other;
                    }
                },
                FormState::Value => {
                    let end = memchr::memchr3(b'&', b'%', b'+', bytes).unwrap_or(bytes.len());
                    value(&bytes[..end]);
                    bytes = &bytes[end..];
                    if let Some((&byte, rest)) = bytes.split_first() {
                        bytes = rest;
                        match byte {
                            b'&' => self.state = FormState::Name(0),
                            b'%' => self.state = FormState::Percent,
                            _ => value(b" "),
                        }
                    }
                }
                FormState::Percent if byte.is_ascii_hexdigit() => {
                    bytes = rest;
                    self.state = FormState::Digit(byte);
                }
                FormState::Percent => {
                    value(b"%");
                    self.state = FormState::Value;
                }
                FormState::Digit(first) => {
                    match (hex_digit(first), hex_digit(byte)) {
                        (Some(high), Some(low)) => {
                            bytes = rest;
                            value(&[high << 4 | low]);
                        }
                        _ => value(&[b'%', first]),
                    }
                    self.state = FormState::Value;
                }
            }
        }
    }

    /// Ends the form, and passes on the rest of the value.
    pub fn finish(self, mut value: impl FnMut(&[u8])) -> Result<(), Malformed> {
        match self.state {
            FormState::Name(_) | FormState::Other | FormState::Value => {}
            FormState::Percent => value(b"%"),
            FormState::Digit(first) => value(&[b'%', first]),
        }
        match self.found {
            0 => Err(Malformed("the form has no field `payload`".to_owned())),
            1 => Ok(()),
            _ => Err(Malformed(
                "the form has more than one field `payload`".to_owned(),
            )),
        }
    }
}

/// The repository named in a body, in the format of either family, if the rest cannot be read.
pub fn named_repo(content_type: &str, body: &[u8]) -> Option<RepoPath> {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow)]
        repository: Option<Named<'a>>,
        project: Option<Named<'a>>,
    }
    #[derive(Deserialize)]
    struct Named<'a> {
        #[serde(borrow)]
        full_name: Option<Text<'a>>,
        path_with_namespace: Option<Text<'a>>,
    }
    let json = match content_type {
        FORM => Cow::Owned(form_field(body).ok()?),
        _ => Cow::Borrowed(body),
    };
    let Body {
        repository,
        project,
    } = read(&json).ok()?;
    let repository = repository.and_then(|named| named.full_name);
    let project = project.and_then(|named| named.path_with_namespace);
    RepoPath::parse(project.or(repository)?.as_str())
}

/// A field that this event requires, although it is optional in the format.
pub(super) fn needed<T>(field: &str, value: Option<T>) -> Result<T, Malformed> {
    value.ok_or_else(|| wrong(field, "is missing"))
}

fn hex_digit(digit: u8) -> Option<u8> {
    let value = char::from(digit).to_digit(16)?;
    u8::try_from(value).ok()
}

/// Text that borrows from the body unless it contains escapes. A plain `Cow` inside a list would always be copied.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(super) struct Text<'a>(#[serde(borrow)] pub Cow<'a, str>);

impl Text<'_> {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A number that is optional: any other value counts as none, so that the delivery is still valid.
pub(super) fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Field {
        Number(u64),
        Other(IgnoredAny),
    }
    Ok(match Field::deserialize(deserializer)? {
        Field::Number(number) => Some(number),
        Field::Other(IgnoredAny) => None,
    })
}

/// Reads a JSON body. An error names the field, e.g. "`commits[0].added`: invalid type: map, expected a sequence".
pub(super) fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Malformed> {
    // serde would also accept a list of the fields' values, but that is no event.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(Malformed("the body is not a JSON object".to_owned()));
    }
    serde_json::from_slice(body).map_err(|_| {
        // Tracking the path costs time, so this is done only for bodies that are known to be invalid.
        let mut json = serde_json::Deserializer::from_slice(body);
        match serde_path_to_error::deserialize::<_, T>(&mut json) {
            Err(error) if error.path().iter().len() > 0 => Malformed(one_line(&format!(
                "the body is not the event it claims: `{}`: {}",
                error.path(),
                error.inner()
            ))),
            Err(error) => Malformed(one_line(&format!(
                "the body is not the event it claims: {}",
                error.inner()
            ))),
            Ok(_) => Malformed("the body goes on after its JSON value".to_owned()),
        }
    })
}

/// Reads a JSON body as most parsers do: of a repeated field, the last one counts. [`read`] rejects repeated
/// fields, and copies less.
pub(super) fn read_loosely(body: &[u8]) -> Result<serde_json::Value, Malformed> {
    read::<BTreeMap<String, serde_json::Value>>(body)
        .map(|fields| serde_json::Value::Object(fields.into_iter().collect()))
}

/// Extracts typed data from the result of [`read_loosely`].
pub(super) fn take<'a, T: Deserialize<'a>>(value: &'a serde_json::Value) -> Result<T, Malformed> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        Malformed(one_line(&format!(
            "the body is not the event it claims: `{}`: {}",
            error.path(),
            error.inner()
        )))
    })
}

/// A field with a commit's id, or with zeros for none.
pub(super) fn commit(field: &str, text: &str) -> Result<Option<CommitId>, Malformed> {
    if is_zero_id(text) {
        return Ok(None);
    }
    match CommitId::parse(text) {
        Some(id) => Ok(Some(id)),
        None => Err(wrong(field, "is not a full commit id")),
    }
}

/// A field with the id of an existing commit.
pub(super) fn commit_id(field: &str, text: &str) -> Result<CommitId, Malformed> {
    commit(field, text)?.ok_or_else(|| wrong(field, "is zero"))
}

/// A field with a commit's id, or with zeros for a placeholder.
pub(super) fn commit_ref(field: &str, text: &str) -> Result<CommitRef, Malformed> {
    Ok(match commit(field, text)? {
        Some(id) => CommitRef::Id(id),
        None => CommitRef::Unresolved(text.to_owned()),
    })
}

/// A field with the bare name of a tag or branch. A name that git forbids could have another meaning for an API.
pub(super) fn ref_name(field: &str, text: &str) -> Result<String, Malformed> {
    let bad = |c: char| c.is_control() || " ~^:?*[\\".contains(c);
    if text.is_empty() || text.contains(bad) || text.contains("..") || text.contains("@{") {
        return Err(wrong(field, "is not the name of a branch or tag"));
    }
    Ok(text.to_owned())
}

/// A field with a short word: an environment, a status, a file's name. It appears in sentences.
pub(super) fn word(field: &str, text: &str) -> Result<String, Malformed> {
    if text.is_empty() || text.chars().count() > MAX_NAME || text.contains(char::is_control) {
        return Err(wrong(
            field,
            "is empty, too long, or holds control characters",
        ));
    }
    Ok(text.to_owned())
}

/// A field with a full ref name.
pub(super) fn git_ref(field: &str, text: &str) -> Result<GitRef, Malformed> {
    // Git itself allows neither blanks nor control characters in a ref.
    let bad = |c: char| c.is_control() || c == ' ';
    let parsed = GitRef::parse(text);
    if parsed.name().is_empty() || text.contains(bad) {
        return Err(wrong(field, "is not the name of a ref"));
    }
    Ok(parsed)
}

/// A field with a repository's full path.
pub(super) fn repo(field: &str, text: &str) -> Result<RepoPath, Malformed> {
    RepoPath::parse(text).ok_or_else(|| wrong(field, "is not a repository's full path"))
}

/// The error for a field.
pub(super) fn wrong(field: &str, what: &str) -> Malformed {
    Malformed(format!(
        "the body is not the event it claims: `{field}` {what}"
    ))
}
