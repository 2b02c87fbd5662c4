//! Commits of the kinds that a site gets.

use super::site::Site;

/// One commit.
pub struct Step {
    /// What a person would call it. Those of one name are shown as one line.
    pub what: &'static str,
    pub change: fn(&Site),
}

macro_rules! steps {
    ($($what:literal => |$site:ident| $change:expr;)*) => {
        &[$(Step { what: $what, change: |$site: &Site| { $change; } }),*]
    };
}

fn post(title: &str, date: &str, tags: &str) -> String {
    format!(
        "---\ntitle: {title}\ndate: {date}\ntags: [{tags}]\ncategories: [news]\n---\nIn short.\n\n<!--more-->\n\nAt length.\n"
    )
}

pub const HISTORY: &[Step] = steps! {
    "a new post" => |site| site.write("content/posts/spring.md", &post("Spring", "2025-03-01", "garden"));
    "a new post" => |site| {
        site.write("content/posts/tour/index.md", &post("A tour", "2025-03-02", "cycling"));
        site.write("content/posts/tour/map.svg", "<svg>map</svg>\n")
    };
    "a post of last year" => |site| site.write("content/posts/found.md", &post("Found again", "2024-05-01", "music"));
    "a typo deep in a post" => |site| site.edit(&Site::post(7), "The whole story", "The whole true story");
    "a typo deep in a post" => |site| site.edit(&Site::post(36), "The whole story", "The whole true story");
    "a post's first lines" => |site| site.edit(&Site::post(12), "What post 12 is about", "What post 12 is really about");
    "a post's first lines" => |site| site.edit(&Site::post(39), "What post 39 is about", "What post 39 is really about");
    "a post's title" => |site| site.edit(&Site::post(20), "title: Post 20", "title: The twentieth post");
    "a post's title" => |site| site.edit("content/posts/tour/index.md", "A tour", "A long tour");
    "a post's tags" => |site| site.edit(&Site::post(5), "tags: [baking, garden]", "tags: [baking, trains]");
    "a post's tags" => |site| site.edit(&Site::post(9), "categories: [news]", "categories: [travel]");
    "a post's date" => |site| site.edit(&Site::post(3), "date: 2025-01-04", "date: 2025-03-03");
    "a post deleted" => |site| site.remove(&Site::post(11));
    "a post renamed" => |site| site.rename(&Site::post(13), "content/posts/thirteen.md");
    "a post turned into a bundle" => |site| site.rename(&Site::post(14), "content/posts/post-14/index.md");
    "a post taken back as a draft" => |site| site.edit(&Site::post(17), "title: Post 17", "title: Post 17\ndraft: true");
    "a draft begun" => |site| site.write("content/drafts/idea.md", "---\ntitle: An idea\ndate: 2025-03-04\ndraft: true\n---\nPerhaps.\n");
    "a draft published" => |site| site.edit(&Site::post(17), "\ndraft: true", "");
    "a post with an address of its own" => |site| site.edit(&Site::post(18), "title: Post 18", "title: Post 18\nslug: eighteen");
    "a post with an alias" => |site| site.edit(&Site::post(19), "title: Post 19", "title: Post 19\naliases: [/old/nineteen/]");
    "a picture in a bundle" => |site| site.write("content/posts/post-8/picture.svg", "<svg>better</svg>\n");
    "a chapter edited" => |site| site.edit("content/docs/config.md", "In detail", "In more detail");
    "a chapter edited" => |site| site.edit("content/docs/faq.md", "On faq", "Questions");
    "chapters put in another order" => |site| site.edit("content/docs/search.md", "weight: 7", "weight: 12");
    "a chapter moved to another section" => |site| site.rename("content/docs/backup.md", "content/posts/backup.md");
    "a page of its own" => |site| site.edit("content/about.md", "Who we are", "Who we all are");
    "a section's introduction" => |site| site.edit("content/docs/_index.md", "How it works", "How all of it works");
    "the home page's text" => |site| site.edit("content/_index.md", "Welcome", "Be welcome");
    "a static file changed" => |site| site.write("static/css/print.css", "nav, footer { display: none }\n");
    "a static file removed" => |site| site.remove("static/img/old-logo.svg");
    "a layout" => |site| site.edit("layouts/_default/single.html", "<h1>", "<h1 class=\"title\">");
    "a shortcode" => |site| site.write("layouts/shortcodes/note.html", "<aside class=\"note\">{{ .Inner }}</aside>\n");
    "a stylesheet with a hash in its name" => |site| site.write("assets/main.css", "body { margin: 1em }\n");
    "a data file" => |site| site.edit("data/contact.toml", "ada@", "grace@");
    "a language file" => |site| site.edit("i18n/en.toml", "Write to", "Please write to");
    "the menu" => |site| site.edit("config.toml", "name = \"About\"", "name = \"About us\"");
    "what no page shows" => |site| {
        site.edit("README.md", "this site", "this very site");
        site.edit("archetypes/default.md", "title: x", "title: y");
        site.edit(".github/workflows/deploy.yml", "on: push", "on: [push]")
    };
};
