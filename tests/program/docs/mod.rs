//! The documentation is true: its examples run, its links lead somewhere, its generated tables are up to date.
//!
//! `PURGEHOOK_BLESS=1 cargo test --test program docs` writes what is generated.

mod commands;
mod examples;
mod generated;
mod links;
mod metrics;
mod routes;
mod rules_file;
mod shell;
mod transcripts;
mod translations;

use std::path::{Path, PathBuf};

/// The word behind a block's language that says that it cannot run here.
const NOT_RUN: &str = "not-run";

/// The repository's folder.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// One page of documentation.
struct Page {
    /// From the repository's folder, e.g. `docs/guides/rules.md`.
    name: String,
    text: String,
}

/// A block of code on a page.
struct Block {
    /// Where it starts, for messages: `docs/guides/rules.md:17`.
    place: String,
    /// E.g. `yaml`, or empty.
    language: String,
    /// Whether it says that it cannot run here.
    not_run: bool,
    /// Its lines, without the indentation of the fence.
    text: String,
}

impl Page {
    fn read(name: &str) -> Self {
        let path = root().join(name);
        let text = std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self {
            name: name.to_owned(),
            text,
        }
    }

    /// The path of a file that a link on this page names.
    fn linked(&self, link: &str) -> PathBuf {
        let folder = root().join(&self.name);
        folder.parent().unwrap().join(link)
    }

    /// Its blocks of code, in order.
    fn blocks(&self) -> Vec<Block> {
        self.parts().1
    }

    /// Its text without blocks of code.
    fn prose(&self) -> String {
        self.parts().0
    }

    fn parts(&self) -> (String, Vec<Block>) {
        let (mut prose, mut blocks) = (String::new(), Vec::new());
        let mut open: Option<(Block, usize)> = None;
        for (number, line) in self.text.lines().enumerate() {
            let bare = line.trim_start();
            let indent = line.len() - bare.len();
            match (open.take(), bare.strip_prefix("```")) {
                (None, Some(info)) => {
                    let mut words = info.split_whitespace();
                    let block = Block {
                        place: format!("{}:{}", self.name, number + 1),
                        language: words.next().unwrap_or_default().to_owned(),
                        not_run: words.next() == Some(NOT_RUN),
                        text: String::new(),
                    };
                    open = Some((block, indent));
                }
                (Some((block, _)), Some("")) => blocks.push(block),
                (Some((mut block, fence)), _) => {
                    block
                        .text
                        .push_str(line.get(fence.min(indent)..).unwrap_or(line));
                    block.text.push('\n');
                    open = Some((block, fence));
                }
                (None, None) => {
                    prose.push_str(line);
                    prose.push('\n');
                }
            }
        }
        assert!(open.is_none(), "{}: a block has no end", self.name);
        (prose, blocks)
    }
}

/// Every page that a person reads.
fn pages() -> Vec<Page> {
    let mut names = Vec::new();
    for top in std::fs::read_dir(root()).unwrap() {
        let name = top.unwrap().file_name().into_string().unwrap();
        if name.ends_with(".md") {
            names.push(name);
        }
    }
    markdown_below("docs", &mut names);
    names.sort();
    names.iter().map(|name| Page::read(name)).collect()
}

/// The names of all pages in a folder and below it.
fn markdown_below(folder: &str, names: &mut Vec<String>) {
    for entry in std::fs::read_dir(root().join(folder)).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{folder}/{}", entry.file_name().into_string().unwrap());
        if entry.file_type().unwrap().is_dir() {
            markdown_below(&name, names);
        } else if name.ends_with(".md") {
            names.push(name);
        }
    }
}

#[test]
fn a_page_is_taken_apart_into_prose_and_blocks() {
    let page = Page {
        name: "a.md".to_owned(),
        text: "one\n\n   ```yaml\n   a:\n     b: 1\n   ```\n\n```sh not-run\nls\n```\ntwo\n"
            .to_owned(),
    };

    let blocks = page.blocks();

    assert_eq!(blocks.len(), 2);
    assert_eq!(blocks[0].text, "a:\n  b: 1\n");
    assert_eq!(
        (&*blocks[0].language, &*blocks[0].place),
        ("yaml", "a.md:3")
    );
    assert!(blocks[1].not_run && !blocks[0].not_run);
    assert_eq!(page.prose(), "one\n\n\ntwo\n");
}

#[test]
fn the_readme_stays_short() {
    let lines = Page::read("README.md").text.lines().count();

    assert!(
        lines <= 150,
        "{lines} lines: what is longer has a page in docs/"
    );
}
