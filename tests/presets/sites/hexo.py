"""A blog with a theme of its own, made with Hexo.

Landscape, the theme that Hexo brings, writes a new random id into the page of each post at each build, so that any
commit changes all of them.
"""

from commands import run

PACKAGES = [
    "hexo@8", "hexo-renderer-marked", "hexo-renderer-ejs", "hexo-renderer-stylus", "hexo-generator-archive",
    "hexo-generator-category", "hexo-generator-index", "hexo-generator-tag", "hexo-generator-feed",
    "hexo-generator-sitemap",
]
LAYOUT = """<!doctype html>
<html><head><title><%= page.title || config.title %></title><link rel="stylesheet" href="/css/main.css"></head>
<body><nav><% for (const name in config.menu) { %><a href="<%= config.menu[name] %>"><%= name %></a> <% } %></nav>
<main><%- body %></main>
<aside><% site.posts.sort('date', -1).limit(3).each((post) => { %><a href="<%- url_for(post.path) %>"><%= post.title %></a> <% }) %></aside>
<footer><%= config.title %>, <%= site.data.contact.email %></footer></body></html>
"""
POST = """<h1><%= page.title %></h1><%- page.content %>
<% if (page.tags) page.tags.each((tag) => { %><a href="<%- url_for(tag.path) %>"><%= tag.name %></a> <% }) %>
<% if (page.prev) { %><a href="<%- url_for(page.prev.path) %>"><%= page.prev.title %></a><% } %>
<% if (page.next) { %><a href="<%- url_for(page.next.path) %>"><%= page.next.title %></a><% } %>
"""
LIST = """<% page.posts.each((post) => { %><a href="<%- url_for(post.path) %>"><%= post.title %></a> <%- post.excerpt %><% }) %>
<%- paginator() %>
"""
TAGS = ["baking", "cycling", "garden"]
CONFIG = """title: The example
url: https://www.example.com
timezone: UTC
theme: plain
menu: {Home: /, About: /about/}
permalink: :year/:month/:day/:title/
new_post_name: :year-:month-:day-:title.md
# Else it is the file's time, which is another one in each checkout.
updated_option: date
per_page: 8
feed: {path: atom.xml, limit: 10}
# Else it lists tags, in another order at each build.
sitemap: {tags: false, categories: false}
"""


def post(title, tag="garden", category="news", more=""):
    return f"---\ntitle: {title}\ntags: [{tag}]\ncategories: [{category}]\n{more}---\nIn short.\n\n<!-- more -->\n\nAt length.\n"


def page(title):
    # Each has a time of its own: the site map puts those of one time in any order.
    return f"---\ntitle: {title}\ndate: 2024-06-01 00:{sum(title.encode()) % 60:02}:00\n---\nAbout it.\n"


def name(number):
    return f"source/_posts/2025-{1 + number // 28:02}-{1 + number % 28:02}-post-{number}.md"


def start(site):
    packages = ", ".join(f'"{package.split("@")[0]}": "*"' for package in PACKAGES)
    for path, text in {
        "_config.yml": CONFIG,
        "themes/plain/layout/layout.ejs": LAYOUT,
        "themes/plain/layout/post.ejs": POST,
        "themes/plain/layout/page.ejs": "<h1><%= page.title %></h1><%- page.content %>\n",
        "themes/plain/layout/index.ejs": LIST,
        "themes/plain/layout/archive.ejs": LIST,
        "themes/plain/source/css/main.css": "body { margin: 2em }\n",
        "package.json": '{"private": true, "hexo": {}, "dependencies": {' + packages + "}}\n",
        "source/about/index.md": page("About"),
        "source/docs/index.md": page("Documentation"),
        "source/docs/setup.md": page("Setup"),
        "source/docs/My Page.md": page("My page"),
        "source/_drafts/idea.md": post("An idea"),
        "source/_data/contact.yml": "email: ada@example.com\n",
        "source/_posts/2025-02-03-Größe & Mut!.md": post("Odd"),
        "source/_posts/2024-12-30-last-year.md": post("Last year"),
        "source/img/logo.svg": "<svg/>\n",
        "source/img/old.svg": "<svg></svg>\n",
        "source/robots.txt": "User-agent: *\n",
        "scripts/words.js": "hexo.extend.helper.register('words', () => 'words');\n",
        "README.md": "How to build this site.\n",
        ".github/workflows/deploy.yml": "on: push\n",
        ".gitignore": "public/\ndb.json\nnode_modules\n",
    }.items():
        site.write(path, text)
    for number in range(30):
        site.write(name(number), post(f"Post {number}", TAGS[number % 3], ["news", "notes"][number % 2]))


HISTORY = [
    ("a new post", lambda s: s.write("source/_posts/2025-03-01-spring.md", post("Spring"))),
    ("a new post with blanks in its name", lambda s: s.write("source/_posts/2025-03-02-A tour, at last.md", post("A tour"))),
    ("a post of last year", lambda s: s.write("source/_posts/2024-11-01-found.md", post("Found"))),
    ("a typo in a post", lambda s: s.edit(name(7), "At length", "At great length")),
    ("a typo in a post", lambda s: s.edit("source/_posts/2025-02-03-Größe & Mut!.md", "At length", "At great length")),
    ("a post's first lines", lambda s: s.edit(name(12), "In short", "In brief")),
    ("a post's title", lambda s: s.edit(name(20), "title: Post 20", "title: The twentieth")),
    ("the newest post's title", lambda s: s.edit("source/_posts/2025-03-01-spring.md", "title: Spring", "title: In spring")),
    ("a post's tags", lambda s: s.edit(name(5), "tags: [garden]", "tags: [trains]")),
    ("a post deleted", lambda s: s.remove(name(11))),
    ("a post renamed", lambda s: s.rename(name(13), "source/_posts/2025-01-14-thirteen.md")),
    ("a draft begun", lambda s: s.write("source/_drafts/other.md", post("Another idea"))),
    ("a draft published", lambda s: s.rename("source/_drafts/idea.md", "source/_posts/2025-03-04-idea.md")),
    ("a post taken back", lambda s: s.edit(name(17), "title", "published: false\ntitle")),
    ("a post with an address of its own", lambda s: s.edit(name(18), "title", "permalink: eighteen/\ntitle")),
    ("a page's text", lambda s: s.edit("source/about/index.md", "About it", "All about it")),
    ("a page's text", lambda s: s.edit("source/docs/My Page.md", "About it", "All about it")),
    ("a page added", lambda s: s.write("source/docs/usage.md", page("Usage"))),
    ("a page renamed", lambda s: s.rename("source/docs/setup.md", "source/docs/start.md")),
    ("a picture", lambda s: s.write("source/img/logo.svg", "<svg>better</svg>\n")),
    ("a picture removed", lambda s: s.remove("source/img/old.svg")),
    ("a plain file", lambda s: s.write("source/robots.txt", "User-agent: x\n")),
    ("a layout", lambda s: s.edit("themes/plain/layout/post.ejs", "<h1>", "<h1 class='title'>")),
    ("a stylesheet", lambda s: s.edit("themes/plain/source/css/main.css", "2em", "1em")),
    ("the menu", lambda s: s.edit("_config.yml", "About:", "About us:")),
    ("a data file", lambda s: s.edit("source/_data/contact.yml", "ada", "grace")),
    ("a script", lambda s: s.edit("scripts/words.js", "'words')", "'other words')")),
    ("the configuration", lambda s: s.edit("_config.yml", "The example", "An example")),
    ("what no page shows", lambda s: (s.edit("README.md", "this site", "it"), s.edit(".github/workflows/deploy.yml", "push", "[push]"))),
]


def install(tools):
    tools.npm(*PACKAGES)


def tool(tools):
    return f"Hexo {tools.version('hexo')}"


def build(tools, checkout):
    # Plugins are looked for beside the site alone.
    (checkout / "node_modules").symlink_to(tools.directory / "node_modules")
    run(tools.directory / "node_modules/.bin/hexo", "generate", cwd=checkout)
    return checkout / "public"
