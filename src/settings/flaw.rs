//! YAML syntax errors in a settings file.

use super::span::Span;

/// A YAML syntax error in the text.
pub(super) struct Flaw {
    pub at: Span,
    pub message: String,
    pub advice: Option<String>,
}

impl Flaw {
    pub(super) fn new(at: Span, message: impl Into<String>, advice: Option<&str>) -> Self {
        Self {
            at,
            message: message.into(),
            advice: advice.map(str::to_owned),
        }
    }
}
