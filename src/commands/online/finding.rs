//! A line of `check --online`: what was checked, the result, and what to do.

use serde_json::{Value, json};

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// Worth knowing; or nobody could say.
    Note,
    /// It keeps purgehook from its work.
    Wrong,
}

impl Verdict {
    /// The word in front of the line, and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Wrong => "wrong",
        }
    }
}

/// What was found out about something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Whose it is: `github acme/website`, `tencent`.
    pub subject: String,
    /// How it is.
    pub verdict: Verdict,
    /// What was found, in words.
    pub message: String,
    /// What to do, where there is something.
    pub advice: Option<String>,
}

impl Finding {
    /// All is well.
    pub fn ok(subject: &str, message: impl Into<String>) -> Self {
        Self::new(subject, Verdict::Ok, message, None)
    }

    /// Something to know.
    pub fn note(subject: &str, message: impl Into<String>) -> Self {
        Self::new(subject, Verdict::Note, message, None)
    }

    /// Something to mend.
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

    /// A line for people, and one for the advice.
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
