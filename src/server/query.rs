//! The query parameters for lists of runs: `?site=&state=&commit=&limit=&cursor=`.

use url::form_urlencoded;

use strum::VariantArray;

use crate::event::CommitId;
use crate::run::{Run, RunId, RunState};
use crate::store::{RunFilter, Store, StoreError};

/// Runs per page by default.
const DEFAULT_LIMIT: u32 = 50;
/// The maximum number of runs per page.
const LIMIT: u32 = 200;

/// Parses a query. An empty value counts as unset; the error names the invalid value and the valid ones.
pub(super) fn read(query: &str) -> Result<RunFilter, String> {
    let mut filter = RunFilter {
        limit: DEFAULT_LIMIT,
        ..RunFilter::default()
    };
    let mut seen: Vec<String> = Vec::new();
    for (key, value) in form_urlencoded::parse(query.as_bytes()) {
        if seen.iter().any(|earlier| *earlier == key) {
            return Err(format!("{key} is given twice"));
        }
        seen.push(key.clone().into_owned());
        match key.as_ref() {
            "site" | "state" | "commit" | "limit" | "cursor" if value.is_empty() => {}
            "site" => filter.site = Some(site(&value)?),
            "state" => filter.state = Some(state(&value)?),
            "commit" => filter.commit = Some(commit(&value)?),
            "limit" => filter.limit = limit(&value)?,
            "cursor" => {
                filter.before = Some(run_id(&value).ok_or_else(|| {
                    format!("the cursor {value:?} is not one; pass on what `next` said")
                })?);
            }
            _ => {
                return Err(format!(
                    "{key:?} is not a question here; there are site, state, commit, limit and cursor"
                ));
            }
        }
    }
    Ok(filter)
}

/// Parses a run's id.
pub(super) fn run_id(text: &str) -> Option<RunId> {
    ulid::Ulid::from_string(text)
        .ok()
        .map(|id| RunId(id.to_string()))
}

/// A page of runs for a filter, newest first, and the cursor of the next page if there is one.
pub(super) async fn page(
    store: &Store,
    filter: &RunFilter,
) -> Result<(Vec<Run>, Option<RunId>), StoreError> {
    let one_more = RunFilter {
        limit: filter.limit.saturating_add(1),
        ..filter.clone()
    };
    let mut runs = store.runs(&one_more).await?;
    let size = usize::try_from(filter.limit).unwrap_or(usize::MAX);
    let has_more = runs.len() > size;
    runs.truncate(size);
    let next = runs.last().filter(|_| has_more).map(|last| last.id.clone());
    Ok((runs, next))
}

fn site(text: &str) -> Result<String, String> {
    if text.chars().any(char::is_control) {
        return Err("the site's name holds a control character".to_owned());
    }
    Ok(text.to_owned())
}

fn state(text: &str) -> Result<RunState, String> {
    text.parse().map_err(|_| {
        let words: Vec<&str> = RunState::VARIANTS
            .iter()
            .map(|state| state.as_str())
            .collect();
        format!("{text:?} is not a state; there are {}", words.join(", "))
    })
}

fn commit(text: &str) -> Result<CommitId, String> {
    CommitId::parse(&text.to_ascii_lowercase())
        .ok_or_else(|| format!("{text:?} is not a full commit id, which has 40 or 64 hex digits"))
}

fn limit(text: &str) -> Result<u32, String> {
    text.parse()
        .ok()
        .filter(|n| (1..=LIMIT).contains(n))
        .ok_or_else(|| format!("the limit {text:?} is not a number from 1 to {LIMIT}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    #[test]
    fn empty_values_ask_for_nothing() {
        let filter = read("site=&state=&commit=&limit=&cursor=").unwrap();

        assert_eq!(filter.limit, 50);
        assert!(filter.site.is_none() && filter.state.is_none());
        assert!(filter.commit.is_none() && filter.before.is_none());
    }

    #[test]
    fn every_question_narrows_the_list() {
        let query = format!(
            "site=www&state=failed&commit={COMMIT}&limit=200&cursor=01jd6s3b3v6bq0y8m1y3p7k2z4"
        );

        let filter = read(&query).unwrap();

        assert_eq!(filter.site.as_deref(), Some("www"));
        assert_eq!(filter.state, Some(RunState::Failed));
        assert_eq!(filter.commit.as_ref().map(CommitId::as_str), Some(COMMIT));
        assert_eq!(filter.limit, 200);
        assert_eq!(
            filter.before,
            Some(RunId("01JD6S3B3V6BQ0Y8M1Y3P7K2Z4".to_owned()))
        );
    }

    #[test]
    fn values_that_cannot_be_are_named() {
        for (query, named) in [
            ("state=done", "pending, succeeded, failed, errored"),
            ("limit=0", "1 to 200"),
            ("limit=201", "1 to 200"),
            ("limit=-1", "1 to 200"),
            ("limit=many", "1 to 200"),
            ("cursor=next", "cursor"),
            ("commit=abc123", "40 or 64"),
            ("site=a%00b", "control character"),
            ("sate=failed", "\"sate\""),
            ("site=a&site=b", "twice"),
        ] {
            let error = read(query).unwrap_err();

            assert!(error.contains(named), "{query}: {error}");
        }
    }
}
