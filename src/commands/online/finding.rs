//! A line of `check --online`: what was checked, the result, and what to do.

use serde_json::{Value, json};

/// The result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// For information; or it could not be found out.
    Note,
    /// It prevents purgehook from working.
    Wrong,
}

impl Verdict {
    /// The word at the start of the line, and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Wrong => "wrong",
        }
    }
}

/// A finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is about: `github acme/website`, `tencent`.
    pub subject: String,
    /// The result.
    pub verdict: Verdict,
    /// The text.
    pub message: String,
    /// The advice, if there is any.
    pub advice: Option<String>,
}

impl Finding {
    /// No problem.
    pub fn ok(subject: &str, message: impl Into<String>) -> Self {
        Self::new(subject, Verdict::Ok, message, None)
    }

    /// Some information.
    pub fn note(subject: &str, message: impl Into<String>) -> Self {
        Self::new(subject, Verdict::Note, message, None)
    }

    /// A problem.
    pub fn wrong(subject: &str, message: impl Into<String>, advice: impl Into<String>) -> Self {
        let advice = Some(advice.into()).filter(|advice: &String| !advice.is_empty());
        Self::new(subject, Verdict::Wrong, message, advice)
    }

    fn new(
        subject: &str,
        verdict: Verdict,
        message: impl Into<String>,
        advice: Option<String>,
    ) -> Self {
        Self {
            subject: subject.to_owned(),
            verdict,
            message: message.into(),
            advice,
        }
    }

    /// A line for people, and another one for the advice.
    pub fn to_text(&self) -> String {
        let Self {
            subject,
            verdict,
            message,
            advice,
        } = self;
        let mut text = format!("{:<6}{subject}: {message}\n", verdict.as_str());
        if let Some(advice) = advice {
            text.push_str(&format!("      help: {advice}\n"));
        }
        text
    }

    /// `{subject, verdict, message, advice}`
    pub fn to_json(&self) -> Value {
        json!({
            "subject": self.subject,
            "verdict": self.verdict.as_str(),
            "message": self.message,
            "advice": self.advice,
        })
    }
}
