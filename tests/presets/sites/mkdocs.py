"""Documentation of a program beside its code, made with MkDocs and Material."""

from commands import run

CONFIG = """site_name: The example
site_url: https://www.example.com/
theme:
  name: material
  font: false
  custom_dir: overrides
markdown_extensions: [admonition, toc]
exclude_docs: |
  drafts/
"""


def page(title, text="How it is done."):
    return f"# {title}\n\n{text}\n\n## In detail\n\nAll of it.\n"


def start(site):
    for path, text in {
        "mkdocs.yml": CONFIG,
        "overrides/main.html": '{% extends "base.html" %}\n{% block footer %}<footer>ada@example.com</footer>{% endblock %}\n',
        "requirements.txt": "mkdocs-material\n",
        "docs/index.md": page("Home"),
        "docs/about.md": page("About"),
        "docs/guide/README.md": page("Guide"),
        "docs/guide/install.md": page("Install"),
        "docs/guide/configure.md": page("Configure"),
        "docs/guide/My Page.md": page("My page"),
        "docs/guide/deep/first.md": page("First"),
        "docs/reference/index.md": page("Reference"),
        "docs/reference/v1.2.md": page("1.2"),
        "docs/reference/Größe.md": page("Size"),
        "docs/drafts/idea.md": page("An idea"),
        "docs/img/logo.svg": "<svg/>\n",
        "docs/img/old.svg": "<svg></svg>\n",
        "docs/css/extra.css": "a { color: red }\n",
        "src/program.py": "print('hello')\n",
        "README.md": "A program.\n",
        ".github/workflows/deploy.yml": "on: push\n",
    }.items():
        site.write(path, text)


HISTORY = [
    ("a page's text", lambda s: s.edit("docs/guide/install.md", "How it is done", "How all of it is done")),
    ("a page's text", lambda s: s.edit("docs/guide/README.md", "How it is done", "How all of it is done")),
    ("a page's text", lambda s: s.edit("docs/reference/Größe.md", "How it is done", "How all of it is done")),
    ("a page's text", lambda s: s.edit("docs/guide/My Page.md", "How it is done", "How all of it is done")),
    ("the home page's text", lambda s: s.edit("docs/index.md", "How it is done", "How all of it is done")),
    ("a heading in a page", lambda s: s.edit("docs/guide/configure.md", "## In detail", "## In all detail")),
    ("a page's title", lambda s: s.edit("docs/guide/configure.md", "# Configure", "# Configuration")),
    ("a page added", lambda s: s.write("docs/guide/usage.md", page("Usage"))),
    ("a page added with its pictures", lambda s: (s.write("docs/tour/index.md", page("Tour", "![Map](map.svg)")), s.write("docs/tour/map.svg", "<svg>map</svg>\n"))),
    ("a page renamed", lambda s: s.rename("docs/guide/deep/first.md", "docs/guide/deep/start.md")),
    ("a page removed", lambda s: s.remove("docs/reference/v1.2.md")),
    ("a draft", lambda s: s.edit("docs/drafts/idea.md", "How it is done", "How it may be done")),
    ("a draft published", lambda s: s.rename("docs/drafts/idea.md", "docs/idea.md")),
    ("a picture", lambda s: s.write("docs/img/logo.svg", "<svg>better</svg>\n")),
    ("a picture removed", lambda s: s.remove("docs/img/old.svg")),
    ("a stylesheet", lambda s: s.edit("docs/css/extra.css", "red", "blue")),
    ("a layout", lambda s: s.edit("overrides/main.html", "ada@", "grace@")),
    ("the configuration", lambda s: s.edit("mkdocs.yml", "The example", "An example")),
    ("the order of the menu", lambda s: s.edit("mkdocs.yml", "exclude_docs", "nav:\n  - index.md\n  - about.md\n  - Start: guide/install.md\nexclude_docs")),
    ("a page in no menu", lambda s: s.edit("docs/guide/usage.md", "How it is done", "How all of it is done")),
    ("the program", lambda s: s.edit("src/program.py", "hello", "hello, world")),
    ("what no page shows", lambda s: (s.edit("README.md", "A program", "The program"), s.edit(".github/workflows/deploy.yml", "push", "[push]"))),
]


def install(tools):
    tools.pip("mkdocs<2", "mkdocs-material<10")


def tool(tools):
    shown = run(tools.directory / "venv/bin/pip", "list", "--format=freeze")
    versions = dict(line.split("==") for line in shown.splitlines() if "==" in line)
    return f"MkDocs {versions['mkdocs']}, Material {versions['mkdocs-material']}"


def build(tools, checkout):
    run(tools.directory / "venv/bin/mkdocs", "build", "-q", "-f", checkout / "mkdocs.yml", "-d", checkout / "site")
    return checkout / "site"
