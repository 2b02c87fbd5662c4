//! The commit message and author in a delivery's body, by which people recognise a push.

use std::borrow::Cow;

use serde::Deserialize;

use super::body::{FORM, form_field};
use crate::event::CommitId;
use crate::sanitize::{cut, one_line};

/// The maximum number of characters of a message's first line, and of a name.
const MAX_TEXT: usize = 200;

/// The title and author of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Headline {
    /// The first line of the commit's message.
    pub title: String,
    /// Its author, if the body names one.
    pub author: Option<String>,
}

/// The fields of all forges' bodies that contain a commit with its message: `head_commit` and `commits` in pushes
/// of GitHub, Gitea and Gitee, `workflow_run.head_commit` in GitHub's workflows, `commits` in GitLab's pushes and
/// `commit` in its other events.
#[derive(Deserialize)]
struct Body {
    head_commit: Option<Commit>,
    #[serde(default)]
    commits: Vec<Commit>,
    commit: Option<Commit>,
    workflow_run: Option<WorkflowRun>,
}

#[derive(Deserialize)]
struct WorkflowRun {
    head_commit: Option<Commit>,
}

#[derive(Deserialize)]
struct Commit {
    id: Option<String>,
    message: Option<String>,
    author: Option<Author>,
}

#[derive(Deserialize)]
struct Author {
    name: Option<String>,
}

/// The title and author of a commit in a delivery's body. None if the body does not contain them, or cannot be
/// read.
pub fn headline(content_type: &str, body: &[u8], commit: &CommitId) -> Option<Headline> {
    let json = match content_type {
        FORM => Cow::Owned(form_field(body).ok()?),
        _ => Cow::Borrowed(body),
    };
    let body: Body = serde_json::from_slice(&json).ok()?;
    let of_run = body.workflow_run.and_then(|run| run.head_commit);
    let single = [body.head_commit, body.commit, of_run];
    let mut commits = single.into_iter().flatten().chain(body.commits);
    let Commit {
        message, author, ..
    } = commits.find(|found| found.id.as_deref() == Some(commit.as_str()))?;
    let message = message?;
    let title = message
        .lines()
        .map(str::trim)
        .find(|line| !line.is_empty())?;
    let text = |text: &str| cut(&one_line(text), MAX_TEXT);
    Some(Headline {
        title: text(title),
        author: author
            .and_then(|author| author.name)
            .map(|name| text(name.trim()))
            .filter(|name| !name.is_empty()),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::body::JSON;
    use super::*;

    fn id(digit: char) -> CommitId {
        CommitId::parse(&digit.to_string().repeat(40)).unwrap()
    }

    fn of(body: &Value) -> Option<Headline> {
        headline(JSON, body.to_string().as_bytes(), &id('1'))
    }

    fn commit(digit: char) -> Value {
        json!({
            "id": id(digit).as_str(),
            "message": format!("\nMend page {digit}\n\nIt was broken."),
            "author": {"name": "Mona", "email": "mona@example.com"},
        })
    }

    #[test]
    fn a_pushs_commit_is_known_by_the_first_line_of_its_message() {
        let known = Some(Headline {
            title: "Mend page 1".to_owned(),
            author: Some("Mona".to_owned()),
        });
        for body in [
            json!({"head_commit": commit('1'), "commits": []}),
            json!({"commits": [commit('2'), commit('1')]}),
            json!({"object_kind": "pipeline", "commit": commit('1')}),
            json!({"workflow_run": {"head_commit": commit('1')}}),
        ] {
            assert_eq!(of(&body), known, "{body}");
        }
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("payload", &json!({"head_commit": commit('1')}).to_string());
        assert_eq!(headline(FORM, form.finish().as_bytes(), &id('1')), known);
    }

    #[test]
    fn nothing_is_said_of_another_commit_or_without_a_message() {
        for body in [
            json!({"head_commit": commit('2')}),
            json!({"head_commit": {"id": id('1').as_str()}}),
            json!({"head_commit": {"id": id('1').as_str(), "message": " \n"}}),
            json!({"head_commit": null, "commits": []}),
            json!([]),
        ] {
            assert_eq!(of(&body), None, "{body}");
        }
    }
}
