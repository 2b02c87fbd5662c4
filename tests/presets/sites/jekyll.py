"""A blog with pages, a collection and paginated lists, made with Jekyll."""

from commands import run

TAGS = ["baking", "cycling", "garden"]

CONFIG = """title: The example
url: https://www.example.com
# Without it the time of the build stands in the feed and in posts without a date.
time: 2026-12-31
plugins: [jekyll-feed, jekyll-sitemap, jekyll-paginate, jekyll-redirect-from]
paginate: 8
paginate_path: /blog/page:num/
collections:
  guides: {output: true, permalink: "/:collection/:path/"}
exclude: [README.md, Gemfile, Gemfile.lock]
"""

DEFAULT = """<!doctype html>
<html><head><title>{{ page.title }} | {{ site.title }}</title><link rel="stylesheet" href="/assets/css/main.css"></head>
<body>{% include nav.html %}<main>{{ content }}</main><footer>{{ site.data.contact.email }}</footer></body></html>
"""
NAV = """<nav>{% for item in site.data.nav %}<a href="{{ item.url }}">{{ item.title }}</a> {% endfor %}</nav>
"""
POST = """---
layout: default
---
<h1>{{ page.title }}</h1>{{ content }}
{% for tag in page.tags %}<a href="/tags/#{{ tag }}">{{ tag }}</a>{% endfor %}
{% if page.previous %}<a href="{{ page.previous.url }}">{{ page.previous.title }}</a>{% endif %}
{% if page.next %}<a href="{{ page.next.url }}">{{ page.next.title }}</a>{% endif %}
"""
LIST = """---
layout: default
title: Blog
---
{% for post in paginator.posts %}<a href="{{ post.url }}">{{ post.title }}</a> {{ post.excerpt }}{% endfor %}
{{ paginator.page }} of {{ paginator.total_pages }}
"""
HOME = """---
layout: default
title: Home
---
{% for post in site.posts limit:3 %}<a href="{{ post.url }}">{{ post.title }}</a>{% endfor %}
"""
TERMS = """---
layout: default
title: Tags
permalink: /tags/
---
{% for tag in site.tags %}<h2 id="{{ tag[0] }}">{{ tag[0] }}</h2>{% for post in tag[1] %}<a href="{{ post.url }}">{{ post.title }}</a>{% endfor %}{% endfor %}
"""
GUIDES = """---
layout: default
title: Guides
---
{% for guide in site.guides %}<a href="{{ guide.url }}">{{ guide.title }}</a>{% endfor %}
"""


def post(title, tags="garden", more=""):
    return f"---\nlayout: post\ntitle: {title}\ntags: [{tags}]\n{more}---\nIn short.\n\nAt length.\n"


def page(title):
    return f"---\nlayout: default\ntitle: {title}\n---\nAbout it.\n"


def name(number):
    return f"_posts/2025-{1 + number // 28:02}-{1 + number % 28:02}-post-{number}.md"


def start(site):
    for path, text in {
        "_config.yml": CONFIG,
        "_layouts/default.html": DEFAULT,
        "_layouts/post.html": POST,
        "_includes/nav.html": NAV,
        "_data/nav.yml": "- {title: Blog, url: /blog/}\n- {title: About, url: /about.html}\n",
        "_data/contact.yml": "email: ada@example.com\n",
        "_sass/_base.scss": "body { margin: 2em }\n",
        "assets/css/main.scss": "---\n---\n@import 'base';\n",
        "assets/img/logo.svg": "<svg/>\n",
        "assets/img/old.svg": "<svg></svg>\n",
        "index.html": HOME,
        "blog/index.html": LIST,
        "tags.html": TERMS,
        "guides/index.html": GUIDES,
        "404.html": page("Not found"),
        "about.md": page("About"),
        "docs/index.md": page("Documentation"),
        "docs/setup.md": page("Setup"),
        "docs/My Page.md": page("My page"),
        "_guides/first.md": page("First"),
        "_guides/deep/second.md": page("Second"),
        "_drafts/idea.md": post("An idea"),
        "_posts/2024-12-30-last-year.md": post("Last year"),
        "_posts/2025-2-3-Größe & Mut!.md": post("Odd"),
        "README.md": "How to build this site.\n",
        "Gemfile": "source 'https://rubygems.org'\ngem 'jekyll'\n",
        ".github/workflows/deploy.yml": "on: push\n",
    }.items():
        site.write(path, text)
    for number in range(30):
        site.write(name(number), post(f"Post {number}", TAGS[number % 3]))


HISTORY = [
    ("a new post", lambda s: s.write("_posts/2025-03-01-spring.md", post("Spring"))),
    ("a new post with blanks in its name", lambda s: s.write("_posts/2025-03-02-A tour, at last.md", post("A tour"))),
    ("a post of last year", lambda s: s.write("_posts/2024-11-01-found.md", post("Found"))),
    ("a typo in a post", lambda s: s.edit(name(7), "At length", "At great length")),
    ("a typo in a post", lambda s: s.edit("_posts/2025-2-3-Größe & Mut!.md", "At length", "At great length")),
    ("a post's first lines", lambda s: s.edit(name(12), "In short", "In brief")),
    ("a post's title", lambda s: s.edit(name(20), "title: Post 20", "title: The twentieth")),
    ("a post's tags", lambda s: s.edit(name(5), "tags: [garden]", "tags: [trains]")),
    ("a post deleted", lambda s: s.remove(name(11))),
    ("a post renamed", lambda s: s.rename(name(13), "_posts/2025-01-14-thirteen.md")),
    ("a post moved to another date", lambda s: s.rename(name(14), "_posts/2025-02-14-post-14.md")),
    ("a draft begun", lambda s: s.write("_drafts/other.md", post("Another idea"))),
    ("a draft published", lambda s: s.rename("_drafts/idea.md", "_posts/2025-03-04-idea.md")),
    ("a post taken back", lambda s: s.edit(name(17), "layout: post", "layout: post\npublished: false")),
    ("a post with an address of its own", lambda s: s.edit(name(18), "layout: post", "layout: post\npermalink: /eighteen/")),
    ("a post with a category", lambda s: s.edit(name(19), "layout: post", "layout: post\ncategory: news")),
    ("a post with an old address", lambda s: s.edit(name(21), "layout: post", "layout: post\nredirect_from: /old/")),
    ("a page's text", lambda s: s.edit("about.md", "About it", "All about it")),
    ("a page's text", lambda s: s.edit("docs/My Page.md", "About it", "All about it")),
    ("a page added", lambda s: s.write("docs/usage.md", page("Usage"))),
    ("a page renamed", lambda s: s.rename("docs/setup.md", "docs/Set up.md")),
    ("a page of a collection", lambda s: s.edit("_guides/deep/second.md", "About it", "All about it")),
    ("a page of a collection added", lambda s: s.write("_guides/third.md", page("Third"))),
    ("the home page", lambda s: s.edit("index.html", "limit:3", "limit:4")),
    ("a list's page", lambda s: s.edit("tags.html", "<h2", "<h3")),
    ("a picture", lambda s: s.write("assets/img/logo.svg", "<svg>better</svg>\n")),
    ("a picture removed", lambda s: s.remove("assets/img/old.svg")),
    ("a stylesheet's part", lambda s: s.edit("_sass/_base.scss", "2em", "1em")),
    ("a stylesheet", lambda s: s.edit("assets/css/main.scss", "@import", "a { color: red }\n@import")),
    ("a layout", lambda s: s.edit("_layouts/post.html", "<h1>", "<h1 class='title'>")),
    ("the menu", lambda s: s.edit("_data/nav.yml", "title: About", "title: About us")),
    ("the configuration", lambda s: s.edit("_config.yml", "The example", "An example")),
    ("what no page shows", lambda s: (s.edit("README.md", "this site", "it"), s.edit(".github/workflows/deploy.yml", "push", "[push]"))),
]


def install(tools):
    """Debian has it, with its plugins: apt-get install jekyll ruby-jekyll-{feed,sitemap,paginate,redirect-from}"""
    tools.directory.mkdir(parents=True, exist_ok=True)


def tool(tools):
    return "Jekyll " + run("jekyll", "--version").split()[-1]


def build(tools, checkout):
    out = checkout / "_site"
    run("jekyll", "build", "--source", checkout, "--destination", out, "--disable-disk-cache", JEKYLL_ENV="production")
    return out
