//! Detects a site's generator by the configuration files in its working copy.

use std::path::Path;

use super::preset::Preset;

/// A detected generator, and the folder of its site in the repository.
#[derive(Debug, PartialEq, Eq)]
pub struct Found {
    /// The rules for it.
    pub preset: &'static Preset,
    /// The folder, without slashes around it; empty for the repository's top.
    pub folder: String,
    /// The file that identifies it.
    pub by: String,
}

/// Common folders of sites, besides the repository's top.
const FOLDERS: [&str; 9] = [
    "",
    "docs",
    "website",
    "site",
    "docs/source",
    "doc",
    "source",
    "web",
    "www",
];

/// File names, and the preset that each indicates.
const FILES: &[(&str, &[&str])] = &[
    (
        "hugo",
        &[
            "hugo.toml",
            "hugo.yaml",
            "hugo.json",
            "config/_default/hugo.toml",
            "config/_default/config.toml",
            "archetypes/default.md",
        ],
    ),
    ("mkdocs", &["mkdocs.yml", "mkdocs.yaml"]),
    (
        "docusaurus",
        &[
            "docusaurus.config.js",
            "docusaurus.config.ts",
            "docusaurus.config.mjs",
            "docusaurus.config.cjs",
        ],
    ),
    (
        "vitepress",
        &[
            ".vitepress/config.mts",
            ".vitepress/config.ts",
            ".vitepress/config.mjs",
            ".vitepress/config.js",
        ],
    ),
    (
        "eleventy",
        &[
            "eleventy.config.js",
            "eleventy.config.mjs",
            "eleventy.config.cjs",
            ".eleventy.js",
        ],
    ),
    (
        "astro",
        &[
            "astro.config.mjs",
            "astro.config.js",
            "astro.config.ts",
            "astro.config.cjs",
        ],
    ),
    (
        "next",
        &["next.config.js", "next.config.mjs", "next.config.ts"],
    ),
    (
        "gatsby",
        &["gatsby-config.js", "gatsby-config.ts", "gatsby-config.mjs"],
    ),
    ("sphinx", &["conf.py"]),
];

/// Detects the generator of the site in a working copy. None if no file indicates one.
pub fn generator(repo: &Path) -> Option<Found> {
    for folder in FOLDERS {
        let at = repo.join(folder);
        for (name, files) in FILES {
            if let Some(by) = files.iter().find(|file| at.join(file).is_file()) {
                return found(name, input_folder(name, folder, &at), folder, by);
            }
        }
        if let Some((name, by)) = by_content(&at) {
            return found(name, folder.to_owned(), folder, by);
        }
    }
    let plain = ["", "public", "docs", "site"];
    let folder = plain
        .into_iter()
        .find(|folder| repo.join(folder).join("index.html").is_file())?;
    found("plain", folder.to_owned(), folder, "index.html")
}

fn found(name: &str, site: String, folder: &str, by: &str) -> Option<Found> {
    let by = if folder.is_empty() {
        by.to_owned()
    } else {
        format!("{folder}/{by}")
    };
    Some(Found {
        preset: Preset::named(name)?,
        folder: site,
        by,
    })
}

/// Eleventy reads from a folder beside its configuration, which contains its layouts and data.
fn input_folder(name: &str, folder: &str, at: &Path) -> String {
    let inputs = ["src", "content"];
    let has_layouts = |input: &&&str| {
        let at = at.join(input);
        at.join("_includes").is_dir() || at.join("_data").is_dir()
    };
    match inputs.iter().find(has_layouts) {
        Some(input) if name == "eleventy" && folder.is_empty() => (*input).to_owned(),
        Some(input) if name == "eleventy" => format!("{folder}/{input}"),
        Some(_) | None => folder.to_owned(),
    }
}

/// Generators whose configuration has a file name that others use too.
fn by_content(at: &Path) -> Option<(&'static str, &'static str)> {
    let holds = |file: &str, word: &str| {
        let text = std::fs::read_to_string(at.join(file)).unwrap_or_default();
        text.contains(word)
    };
    if at.join("_config.yml").is_file() {
        if holds("package.json", "\"hexo\"") {
            return Some(("hexo", "_config.yml"));
        }
        let is_jekyll = ["_posts", "_layouts", "_includes"]
            .iter()
            .any(|folder| at.join(folder).is_dir())
            || holds("Gemfile", "jekyll")
            || holds("Gemfile", "github-pages");
        if is_jekyll {
            return Some(("jekyll", "_config.yml"));
        }
    }
    let is_hugo = at.join("content").is_dir();
    for config in ["config.toml", "config.yaml"] {
        if is_hugo && holds(config, "baseURL") {
            return Some(("hugo", config));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detected(files: &[(&str, &str)]) -> Option<(&'static str, String)> {
        let repo = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = repo.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let found = generator(repo.path())?;
        Some((found.preset.name, found.folder))
    }

    #[test]
    fn a_generator_is_known_by_its_files() {
        for (name, folder, files) in [
            ("hugo", "", &[("hugo.toml", "")][..]),
            (
                "hugo",
                "",
                &[("config.toml", "baseURL = \"x\""), ("content/a.md", "")],
            ),
            ("hugo", "site", &[("site/hugo.yaml", ""), ("README.md", "")]),
            (
                "jekyll",
                "",
                &[("_config.yml", ""), ("_posts/2026-01-02-a.md", "")],
            ),
            (
                "jekyll",
                "docs",
                &[("docs/_config.yml", ""), ("docs/_layouts/a.html", "")],
            ),
            (
                "jekyll",
                "",
                &[("_config.yml", ""), ("Gemfile", "gem \"github-pages\"")],
            ),
            (
                "hexo",
                "",
                &[
                    ("_config.yml", ""),
                    ("package.json", "{\"dependencies\": {\"hexo\": \"8\"}}"),
                ],
            ),
            ("mkdocs", "", &[("mkdocs.yml", ""), ("docs/index.md", "")]),
            ("sphinx", "docs", &[("docs/conf.py", "")]),
            ("sphinx", "docs/source", &[("docs/source/conf.py", "")]),
            (
                "docusaurus",
                "website",
                &[("website/docusaurus.config.js", ""), ("package.json", "{}")],
            ),
            ("vitepress", "docs", &[("docs/.vitepress/config.mts", "")]),
            (
                "eleventy",
                "src",
                &[("eleventy.config.js", ""), ("src/_includes/a.njk", "")],
            ),
            (
                "eleventy",
                "",
                &[(".eleventy.js", ""), ("_includes/a.njk", "")],
            ),
            ("astro", "", &[("astro.config.mjs", "")]),
            ("next", "", &[("next.config.mjs", "")]),
            ("gatsby", "", &[("gatsby-config.js", "")]),
            ("plain", "", &[("index.html", "")]),
            ("plain", "public", &[("public/index.html", "")]),
        ] {
            let expected = Some((name, folder.to_owned()));
            assert_eq!(detected(files), expected, "{files:?}");
        }
    }

    #[test]
    fn a_repository_that_tells_nothing_is_no_site() {
        assert_eq!(detected(&[("README.md", ""), ("_config.yml", "")]), None);
        assert_eq!(detected(&[("src/main.rs", ""), ("config.toml", "")]), None);
    }
}
