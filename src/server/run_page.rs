//! The part of a run in one response, limited in purges, paths and bytes: `?limit=&cursor=`.

use url::form_urlencoded;

use crate::changes::{ChangeKind, FilePath};
use crate::run::{Link, RunId};
use crate::store::{Store, StoreError};

/// Items per page, by default and at most.
const MAX_ITEMS: usize = 1_000;
/// Approximate bytes of names and texts per page. A single path may have thousands.
const MAX_BYTES: usize = 512 * 1024;

/// A page of a run's lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RunPage {
    /// Items before it.
    pub(super) skip: usize,
    /// Items on it at most.
    pub(super) limit: usize,
}

impl RunPage {
    /// Parses a query. An empty value counts as unset; the error names the invalid value and the valid ones.
    pub(super) fn read(query: &str) -> Result<Self, String> {
        let (mut limit, mut cursor) = (None, None);
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            let read = match key.as_ref() {
                "limit" => &mut limit,
                "cursor" => &mut cursor,
                _ => {
                    return Err(format!(
                        "{key:?} is not a question here; there are limit and cursor"
                    ));
                }
            };
            if read.is_some() {
                return Err(format!("{key} is given twice"));
            }
            if !value.is_empty() {
                *read = Some(value);
            }
        }
        let limit = match limit {
            Some(text) => text
                .parse()
                .ok()
                .filter(|n| (1..=MAX_ITEMS).contains(n))
                .ok_or_else(|| {
                    format!("the limit {text:?} is not a number from 1 to {MAX_ITEMS}")
                })?,
            None => MAX_ITEMS,
        };
        let skip = match cursor {
            Some(text) => text
                .parse::<u32>()
                .ok()
                .and_then(|skip| usize::try_from(skip).ok())
                .ok_or_else(|| {
                    format!("the cursor {text:?} is not one; pass on what `next` said")
                })?,
            None => 0,
        };
        Ok(Self { skip, limit })
    }
}

/// How many of a list's items fit on a page, given their sizes in bytes; at least one, so that the list ends.
pub(super) fn fitting(sizes: impl IntoIterator<Item = usize>) -> usize {
    let mut left = MAX_BYTES;
    let fit = sizes.into_iter().take_while(|size| {
        let fits = left.checked_sub(*size);
        left = fits.unwrap_or(0);
        fits.is_some()
    });
    fit.count().max(1)
}

/// A page of a run's change set.
#[derive(Default)]
pub(super) struct ChangedFiles {
    /// The number of all paths; zero if the changes are unknown.
    pub(super) total: usize,
    /// By the link that changed them, newest first, then by path.
    pub(super) files: Vec<(FilePath, ChangeKind)>,
    /// The links of the whole change set; empty if they are not known.
    pub(super) links: Vec<Link>,
}

impl ChangedFiles {
    /// Reads one page. This reads the whole change set.
    pub(super) async fn read(
        store: &Store,
        run: &RunId,
        page: RunPage,
    ) -> Result<Self, StoreError> {
        let mut found = Self::default();
        let shown = page.skip..page.skip.saturating_add(page.limit);
        let take = |path, kind| {
            if shown.contains(&found.total) {
                found.files.push((path, kind));
            }
            found.total += 1;
        };
        let links = store.each_change(run, take).await?;
        found.links = links.unwrap_or_default();
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_says_which_part() {
        let page = |skip, limit| Ok(RunPage { skip, limit });

        assert_eq!(RunPage::read(""), page(0, 1_000));
        assert_eq!(RunPage::read("limit=&cursor="), page(0, 1_000));
        assert_eq!(RunPage::read("limit=10&cursor=20"), page(20, 10));
    }

    #[test]
    fn values_that_cannot_be_are_named() {
        for (query, named) in [
            ("limit=0", "1 to 1000"),
            ("limit=1001", "1 to 1000"),
            ("cursor=-1", "next"),
            ("cursor=99999999999999999999", "next"),
            ("cursor=1&cursor=2", "twice"),
            ("page=1", "\"page\""),
        ] {
            let error = RunPage::read(query).unwrap_err();

            assert!(error.contains(named), "{query}: {error}");
        }
    }

    #[test]
    fn long_names_make_a_page_shorter_and_never_empty() {
        assert_eq!(fitting([1; 1_000]), 1_000);
        assert_eq!(fitting([MAX_BYTES / 4; 1_000]), 4);
        assert_eq!(fitting([MAX_BYTES + 1; 1_000]), 1);
    }
}
