//! A small Hugo site in a git repository: posts with tags and categories, documentation in an order,
//! pictures in bundles, a theme of its own, a menu, a data file, words in a language file.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// Posts at the beginning: enough for several pages of the list.
const POSTS: usize = 40;
const TAGS: [&str; 5] = ["baking", "cycling", "garden", "music", "trains"];
const CATEGORIES: [&str; 3] = ["news", "notes", "howto"];
const CHAPTERS: [&str; 10] = [
    "install", "start", "config", "themes", "menus", "images", "search", "deploy", "backup", "faq",
];

const CONFIG: &str = r#"baseURL = "https://www.example.com/"
title = "The example"
languageCode = "en"
defaultContentLanguage = "en"
paginate = 10

[params]
tagline = "Written by hand"

[[menu.main]]
name = "Posts"
url = "/posts/"
weight = 1

[[menu.main]]
name = "About"
url = "/about/"
weight = 2
"#;

const BASE: &str = r#"<!doctype html>
<html lang="{{ site.LanguageCode }}">
<head>{{ partial "head.html" . }}</head>
<body>
<nav>{{ range site.Menus.main }}<a href="{{ .URL }}">{{ .Name }}</a> {{ end }}</nav>
<main>{{ block "main" . }}{{ end }}</main>
{{ partial "footer.html" . }}
</body>
</html>
"#;

const HEAD: &str = r#"<title>{{ .Title }} | {{ site.Title }}</title>
{{ with resources.Get "main.css" | fingerprint }}<link rel="stylesheet" href="{{ .RelPermalink }}">{{ end }}
<link rel="stylesheet" href="/css/print.css">
"#;

const FOOTER: &str = r#"<footer>{{ i18n "writeTo" }} {{ site.Data.contact.email }}. {{ site.Params.tagline }}</footer>
"#;

const SINGLE: &str = r#"{{ define "main" }}
<h1>{{ .Title }}</h1>
<time>{{ .Date.Format "2006-01-02" }}</time>
{{ .Content }}
{{ range .Params.tags }}<a href="/tags/{{ . | urlize }}/">{{ . }}</a> {{ end }}
{{ with .PrevInSection }}<a rel="prev" href="{{ .RelPermalink }}">{{ .Title }}</a>{{ end }}
{{ with .NextInSection }}<a rel="next" href="{{ .RelPermalink }}">{{ .Title }}</a>{{ end }}
{{ end }}
"#;

const LIST: &str = r#"{{ define "main" }}
<h1>{{ .Title }}</h1>
{{ .Content }}
{{ range .Paginator.Pages }}<article><a href="{{ .RelPermalink }}">{{ .Title }}</a> {{ .Summary }}</article>
{{ end }}
{{ template "_internal/pagination.html" . }}
{{ end }}
"#;

const HOME: &str = r#"{{ define "main" }}
{{ .Content }}
{{ range first 5 (where site.RegularPages "Section" "posts") }}<a href="{{ .RelPermalink }}">{{ .Title }}</a>
{{ end }}
{{ end }}
"#;

/// A site under construction.
pub struct Site {
    directory: TempDir,
}

impl Site {
    /// The site as of its first commit, some 60 pages with those that list others.
    pub fn new() -> Self {
        let site = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        for (path, text) in [
            ("config.toml", CONFIG),
            ("layouts/_default/baseof.html", BASE),
            ("layouts/partials/head.html", HEAD),
            ("layouts/partials/footer.html", FOOTER),
            ("layouts/_default/single.html", SINGLE),
            ("layouts/_default/list.html", LIST),
            ("layouts/index.html", HOME),
            (
                "layouts/shortcodes/note.html",
                "<aside>{{ .Inner }}</aside>\n",
            ),
            ("archetypes/default.md", "---\ntitle: x\ndraft: true\n---\n"),
            ("assets/main.css", "body { margin: 2em }\n"),
            ("static/css/print.css", "nav { display: none }\n"),
            ("static/img/logo.svg", "<svg/>\n"),
            ("static/img/old-logo.svg", "<svg></svg>\n"),
            ("data/contact.toml", "email = \"ada@example.com\"\n"),
            ("i18n/en.toml", "[writeTo]\nother = \"Write to\"\n"),
            (
                "content/_index.md",
                "---\ntitle: Home\n---\nWelcome to the example.\n",
            ),
            (
                "content/posts/_index.md",
                "---\ntitle: Posts\n---\nAll posts.\n",
            ),
            (
                "content/docs/_index.md",
                "---\ntitle: Documentation\n---\nHow it works.\n",
            ),
            (
                "content/about.md",
                "---\ntitle: About\ndate: 2024-01-01\n---\nWho we are.\n",
            ),
            ("README.md", "How to build this site.\n"),
            (".github/workflows/deploy.yml", "on: push\n"),
            (".gitignore", "public/\nresources/\n.hugo_build.lock\n"),
        ] {
            site.write(path, text);
        }
        for number in 0..POSTS {
            site.write(&Self::post(number), &Self::post_text(number));
            if number % 4 == 0 {
                let picture = Self::post(number).replace("index.md", "picture.svg");
                site.write(&picture, &format!("<svg>{number}</svg>\n"));
            }
        }
        for (weight, chapter) in CHAPTERS.iter().enumerate() {
            let text = format!(
                "---\ntitle: On {chapter}\ndate: 2024-02-01\nweight: {}\n---\nAbout {chapter}. {{{{< note >}}}}Mind the gap.{{{{< /note >}}}}\n\n<!--more-->\n\nIn detail.\n",
                weight + 1
            );
            site.write(&format!("content/docs/{chapter}.md"), &text);
        }
        site.git(&["init", "-q"]);
        site.commit("The site as it was");
        site
    }

    /// The path of one of the first posts. Every fourth is a bundle, with a picture.
    pub fn post(number: usize) -> String {
        if number.is_multiple_of(4) {
            format!("content/posts/post-{number}/index.md")
        } else {
            format!("content/posts/post-{number}.md")
        }
    }

    fn post_text(number: usize) -> String {
        let (month, day) = (1 + number / 28, 1 + number % 28);
        format!(
            "---\ntitle: Post {number}\ndate: 2025-{month:02}-{day:02}\ntags: [{}, {}]\ncategories: [{}]\n---\nWhat post {number} is about.\n\n<!--more-->\n\nThe whole story of post {number}.\n",
            TAGS[number % TAGS.len()],
            TAGS[(number + 2) % TAGS.len()],
            CATEGORIES[number % CATEGORIES.len()],
        )
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    fn at(&self, path: &str) -> PathBuf {
        self.path().join(path)
    }

    pub fn write(&self, path: &str, text: &str) {
        let path = self.at(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Replaces a text that must be there.
    pub fn edit(&self, path: &str, from: &str, to: &str) {
        let text = fs::read_to_string(self.at(path)).unwrap();
        assert!(text.contains(from), "{path} has no {from:?}");
        fs::write(self.at(path), text.replacen(from, to, 1)).unwrap();
    }

    pub fn remove(&self, path: &str) {
        fs::remove_file(self.at(path)).unwrap();
    }

    pub fn rename(&self, from: &str, to: &str) {
        fs::create_dir_all(self.at(to).parent().unwrap()).unwrap();
        fs::rename(self.at(from), self.at(to)).unwrap();
    }

    pub fn commit(&self, message: &str) {
        self.git(&["add", "--all"]);
        self.git(&["commit", "-q", "-m", message]);
    }

    fn git(&self, arguments: &[&str]) {
        let status = Command::new("git")
            .arg("-C")
            .arg(self.path())
            .args(["-c", "user.name=Ada", "-c", "user.email=ada@example.com"])
            .args(arguments)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .status()
            .unwrap();
        assert!(status.success(), "git {arguments:?}");
    }

    /// Builds the site with Hugo: what is served at each URL, without the host.
    pub fn build(&self) -> BTreeMap<String, Vec<u8>> {
        let public = tempfile::tempdir().unwrap();
        let output = Command::new("hugo")
            .arg("--quiet")
            .arg("--source")
            .arg(self.path())
            .arg("--destination")
            .arg(public.path())
            .output()
            .expect("hugo is needed; tests/run installs it");
        assert!(output.status.success(), "{output:?}");
        let mut pages = BTreeMap::new();
        collect(public.path(), "/", &mut pages);
        pages
    }
}

/// `docs/index.html` is served at `/docs/`, and every other file at its path.
fn collect(directory: &Path, url: &str, pages: &mut BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if entry.file_type().unwrap().is_dir() {
            collect(&entry.path(), &format!("{url}{name}/"), pages);
        } else {
            let at = if name == "index.html" { "" } else { &name };
            pages.insert(format!("{url}{at}"), fs::read(entry.path()).unwrap());
        }
    }
}
