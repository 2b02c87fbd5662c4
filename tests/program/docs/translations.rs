//! The Chinese pages show the same examples as the English ones, so that neither is forgotten.

use super::{Page, pages};

/// The blocks of a page as far as no language shows in them: without comments, and without what is printed.
fn examples(page: &Page) -> Vec<(String, String)> {
    let blocks = page.blocks().into_iter();
    let bare = blocks.map(|block| {
        let lines = block.text.lines().map(|line| {
            let code = line.split_once("# ").map_or(line, |(code, _)| code);
            format!("{}\n", code.trim_end())
        });
        (block.language, lines.collect())
    });
    bare.collect()
}

#[test]
fn the_chinese_pages_show_the_examples_of_the_english_ones() {
    let mut compared = 0;
    for page in pages() {
        let Some(name) = page.name.strip_prefix("docs/zh/") else {
            continue;
        };
        let english = match name {
            "README.md" => Page::read("README.md"),
            name => Page::read(&format!("docs/{name}")),
        };
        compared += 1;
        assert_eq!(examples(&page), examples(&english), "{}", page.name);
    }

    assert!(compared >= 9, "only {compared} were found");
}

#[test]
fn every_page_for_setting_up_is_there_in_chinese_and_both_are_linked() {
    for page in pages() {
        let Some(name) = page.name.strip_prefix("docs/start/") else {
            continue;
        };
        let chinese = Page::read(&format!("docs/zh/start/{name}"));
        let (there, back) = (
            format!("](../zh/start/{name})"),
            format!("](../../start/{name})"),
        );
        assert!(page.text.contains(&there), "{}: {there}", page.name);
        assert!(chinese.text.contains(&back), "{}: {back}", chinese.name);
    }
}
