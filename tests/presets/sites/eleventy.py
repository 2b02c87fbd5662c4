"""A blog with documentation, made with Eleventy. Each page has a date, or it would be that of the checkout."""

from commands import run

CONFIG = """import { feedPlugin } from "@11ty/eleventy-plugin-rss";

export default function (config) {
  config.addPassthroughCopy("src/img");
  config.addPassthroughCopy("src/css");
  config.addCollection("posts", (api) => api.getFilteredByGlob("src/blog/*.md").filter((post) => !post.data.draft));
  config.addPlugin(feedPlugin, {
    outputPath: "/feed.xml",
    collection: { name: "posts", limit: 5 },
    metadata: { language: "en", title: "The example", base: "https://www.example.com/", author: { name: "Ada" } },
  });
  return { dir: { input: "src" } };
}
"""
BASE = """<!doctype html>
<html><head><title>{{ title }}</title><link rel="stylesheet" href="/css/main.css"></head>
<body><nav>{% for item in menu %}<a href="{{ item.url }}">{{ item.title }}</a> {% endfor %}</nav>
{{ content | safe }}<footer>{{ contact.email }}</footer></body></html>
"""
POST = """---
layout: base.njk
---
<h1>{{ title }}</h1>{{ content | safe }}
{% set previous = collections.posts | getPreviousCollectionItem %}{% if previous %}<a href="{{ previous.url }}">{{ previous.data.title }}</a>{% endif %}
{% set next = collections.posts | getNextCollectionItem %}{% if next %}<a href="{{ next.url }}">{{ next.data.title }}</a>{% endif %}
"""
LIST = """---
layout: base.njk
title: Blog
date: 2025-01-01
pagination: {data: collections.posts, size: 8, reverse: true}
permalink: "/blog/{% if pagination.pageNumber > 0 %}page/{{ pagination.pageNumber + 1 }}/{% endif %}"
---
{% for post in pagination.items %}<a href="{{ post.url }}">{{ post.data.title }}</a> {{ post.data.summary }}{% endfor %}
"""
TAGS = """---
pagination: {data: collections, size: 1, alias: tag, filter: [all, posts]}
permalink: "/tags/{{ tag | slugify }}/"
layout: base.njk
title: A tag
date: 2025-01-01
---
{% for post in collections[tag] %}<a href="{{ post.url }}">{{ post.data.title }}</a>{% endfor %}
"""
SITEMAP = """---
permalink: /sitemap.xml
eleventyExcludeFromCollections: true
---
<urlset>{% for page in collections.all %}{% if page.url != '/feed.xml' %}<url><loc>{{ page.url }}</loc><lastmod>{{ page.date.toISOString() }}</lastmod></url>{% endif %}{% endfor %}</urlset>
"""
HOME = """---
layout: base.njk
title: Home
date: 2025-01-01
---
{% for post in collections.posts | reverse %}{% if loop.index <= 3 %}<a href="{{ post.url }}">{{ post.data.title }}</a>{% endif %}{% endfor %}
"""
WORDS = ["baking", "cycling", "garden"]


def post(title, tag="garden", more=""):
    return f"---\ntitle: {title}\ntags: [{tag}]\nsummary: In short.\n{more}---\nAt length.\n"


def page(title):
    return f"---\nlayout: base.njk\ntitle: {title}\ndate: 2025-01-01\n---\nAbout it.\n"


def name(number):
    return f"src/blog/2025-{1 + number // 28:02}-{1 + number % 28:02}-post-{number}.md"


def start(site):
    for path, text in {
        "package.json": '{"private": true, "type": "module", "devDependencies": {"@11ty/eleventy": "*"}}\n',
        "eleventy.config.js": CONFIG,
        "src/_includes/base.njk": BASE,
        "src/_includes/post.njk": POST,
        "src/_data/menu.json": '[{"title": "Blog", "url": "/blog/"}]\n',
        "src/_data/contact.json": '{"email": "ada@example.com"}\n',
        "src/index.njk": HOME,
        "src/blog.njk": LIST,
        "src/tags.njk": TAGS,
        "src/sitemap.njk": SITEMAP,
        "src/blog/blog.json": '{"layout": "post.njk"}\n',
        "src/blog/2024-12-30-last-year.md": post("Last year"),
        "src/about.md": page("About"),
        "src/docs/index.md": page("Documentation"),
        "src/docs/setup.md": page("Setup"),
        "src/docs/My Page.md": page("My page"),
        "src/docs/Größe.md": page("Size"),
        "src/img/logo.svg": "<svg/>\n",
        "src/img/old.svg": "<svg></svg>\n",
        "src/css/main.css": "body { margin: 2em }\n",
        "README.md": "How to build this site.\n",
        ".github/workflows/deploy.yml": "on: push\n",
    }.items():
        site.write(path, text)
    for number in range(30):
        site.write(name(number), post(f"Post {number}", WORDS[number % 3]))


HISTORY = [
    ("a new post", lambda s: s.write("src/blog/2025-03-01-spring.md", post("Spring"))),
    ("a new post with blanks in its name", lambda s: s.write("src/blog/2025-03-02-A tour, at last.md", post("A tour"))),
    ("a post of last year", lambda s: s.write("src/blog/2024-11-01-found.md", post("Found"))),
    ("a typo in a post", lambda s: s.edit(name(7), "At length", "At great length")),
    ("a typo in a post", lambda s: s.edit("src/blog/2025-03-02-A tour, at last.md", "At length", "At great length")),
    ("a post's first lines", lambda s: s.edit(name(12), "In short", "In brief")),
    ("a post's title", lambda s: s.edit(name(20), "title: Post 20", "title: The twentieth")),
    ("a post's tags", lambda s: s.edit(name(5), "tags: [garden]", "tags: [trains]")),
    ("a post deleted", lambda s: s.remove(name(11))),
    ("a post renamed", lambda s: s.rename(name(13), "src/blog/2025-01-14-thirteen.md")),
    ("a draft begun", lambda s: s.write("src/blog/2025-03-05-idea.md", post("An idea", more="permalink: false\ndraft: true\n"))),
    ("a draft published", lambda s: s.edit("src/blog/2025-03-05-idea.md", "permalink: false\ndraft: true\n", "")),
    ("a post with an address of its own", lambda s: s.edit(name(18), "title", "permalink: /eighteen/\ntitle")),
    ("a page's text", lambda s: s.edit("src/about.md", "About it", "All about it")),
    ("a page's text", lambda s: s.edit("src/docs/My Page.md", "About it", "All about it")),
    ("a page's text", lambda s: s.edit("src/docs/Größe.md", "About it", "All about it")),
    ("a page added", lambda s: s.write("src/docs/usage.md", page("Usage"))),
    ("a page renamed", lambda s: s.rename("src/docs/setup.md", "src/docs/start.md")),
    ("the home page", lambda s: s.edit("src/index.njk", "<= 3", "<= 4")),
    ("a list's template", lambda s: s.edit("src/blog.njk", "{{ post.data.summary }}", "- {{ post.data.summary }}")),
    ("a picture", lambda s: s.write("src/img/logo.svg", "<svg>better</svg>\n")),
    ("a picture removed", lambda s: s.remove("src/img/old.svg")),
    ("a stylesheet", lambda s: s.edit("src/css/main.css", "2em", "1em")),
    ("a layout", lambda s: s.edit("src/_includes/post.njk", "<h1>", "<h1 class='title'>")),
    ("the menu", lambda s: s.edit("src/_data/menu.json", "Blog", "The blog")),
    ("a folder's data", lambda s: s.edit("src/blog/blog.json", "post.njk", "base.njk")),
    ("the configuration", lambda s: s.edit("eleventy.config.js", "limit: 5", "limit: 6")),
    ("what no page shows", lambda s: (s.edit("README.md", "this site", "it"), s.edit(".github/workflows/deploy.yml", "push", "[push]"))),
]


def install(tools):
    tools.npm("@11ty/eleventy@3", "@11ty/eleventy-plugin-rss")


def tool(tools):
    return f"Eleventy {tools.version('@11ty/eleventy')}"


def build(tools, checkout):
    run(tools.directory / "node_modules/.bin/eleventy", "--quiet", cwd=checkout)
    return checkout / "_site"
