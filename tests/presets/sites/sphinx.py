"""Documentation of a Python package in `docs/`, made with Sphinx and Furo."""

from shutil import rmtree

from commands import run

CONF = """project = "The example"
html_theme = "furo"
extensions = ["myst_parser"]
exclude_patterns = ["_build", "drafts"]
html_static_path = ["_static"]
html_css_files = ["extra.css"]
html_last_updated_fmt = None
"""
INDEX = """The example
===========

What it is for.

.. toctree::

   about
   guide/index
   reference/index
"""


def page(title, text="How it is done."):
    return f"{title}\n{'=' * 20}\n\n{text}\n\nIn detail\n---------\n\nAll of it.\n"


def tree(title, *names):
    return page(title) + "\n.. toctree::\n\n" + "".join(f"   {name}\n" for name in names)


def start(site):
    for path, text in {
        "docs/conf.py": CONF,
        "docs/index.rst": INDEX,
        "docs/about.md": "# About\n\nWho we are.\n",
        "docs/guide/index.rst": tree("Guide", "install", "configure", "My Page"),
        "docs/guide/install.rst": page("Install", ".. image:: img/box.png\n\nHow it is done."),
        "docs/guide/configure.rst": page("Configure", ".. literalinclude:: example.txt"),
        "docs/guide/My Page.rst": page("My page"),
        "docs/guide/example.txt": "one = 1\n",
        "docs/guide/img/box.png": "no picture\n",
        "docs/reference/index.rst": tree("Reference", "v1.2", "deep/first"),
        "docs/reference/v1.2.rst": page("1.2"),
        "docs/reference/deep/first.rst": page("First"),
        "docs/drafts/idea.rst": page("An idea"),
        "docs/_static/extra.css": "a { color: red }\n",
        "docs/_static/logo.svg": "<svg/>\n",
        "docs/_templates/note.html": "a note\n",
        "src/program.py": "print('hello')\n",
        "README.md": "A program.\n",
        ".github/workflows/deploy.yml": "on: push\n",
    }.items():
        site.write(path, text)


HISTORY = [
    ("a page's text", lambda s: s.edit("docs/guide/install.rst", "How it is done", "How all of it is done")),
    ("a page's text", lambda s: s.edit("docs/about.md", "Who we are", "Who we all are")),
    ("a page's text", lambda s: s.edit("docs/guide/My Page.rst", "How it is done", "How all of it is done")),
    ("a page's text", lambda s: s.edit("docs/reference/deep/first.rst", "How it is done", "How all of it is done")),
    ("the home page's text", lambda s: s.edit("docs/index.rst", "What it is for", "What all of it is for")),
    ("a heading in a page", lambda s: s.edit("docs/guide/install.rst", "In detail\n---------", "In all detail\n-------------")),
    ("a page's title", lambda s: s.edit("docs/guide/configure.rst", "Configure", "Configuration")),
    ("a term for the index", lambda s: s.edit("docs/reference/v1.2.rst", "How it is done", ".. index:: speed\n\nHow it is done")),
    ("a page added", lambda s: (s.write("docs/guide/usage.rst", page("Usage")), s.edit("docs/guide/index.rst", "   install", "   install\n   usage"))),
    ("a page renamed", lambda s: (s.rename("docs/reference/deep/first.rst", "docs/reference/deep/start.rst"), s.edit("docs/reference/index.rst", "deep/first", "deep/start"))),
    ("a page removed", lambda s: (s.remove("docs/reference/v1.2.rst"), s.edit("docs/reference/index.rst", "   v1.2\n", ""))),
    ("chapters in another order", lambda s: s.edit("docs/guide/index.rst", "   configure\n   My Page\n", "   My Page\n   configure\n")),
    ("a draft", lambda s: s.edit("docs/drafts/idea.rst", "How it is done", "How it may be done")),
    ("an example that a page shows", lambda s: s.edit("docs/guide/example.txt", "one = 1", "one = 2")),
    ("a picture", lambda s: s.write("docs/guide/img/box.png", "a better picture\n")),
    ("a file of _static", lambda s: s.write("docs/_static/logo.svg", "<svg>better</svg>\n")),
    ("a stylesheet", lambda s: s.edit("docs/_static/extra.css", "red", "blue")),
    ("the configuration", lambda s: s.edit("docs/conf.py", "The example", "An example")),
    ("the program", lambda s: s.edit("src/program.py", "hello", "hello, world")),
    ("what no page shows", lambda s: (s.edit("README.md", "A program", "The program"), s.edit(".github/workflows/deploy.yml", "push", "[push]"))),
]


def install(tools):
    tools.pip("sphinx", "furo", "myst-parser")


def tool(tools):
    return run(tools.directory / "venv/bin/sphinx-build", "--version").split("\n")[0].replace("sphinx-build", "Sphinx") + ", Furo"


def build(tools, checkout):
    out = checkout / "docs/_build"
    run(tools.directory / "venv/bin/sphinx-build", "-q", "-E", "-b", "html", checkout / "docs", out)
    rmtree(out / ".doctrees", ignore_errors=True)
    (out / ".buildinfo").unlink(missing_ok=True)
    return out
