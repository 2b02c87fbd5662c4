"""Documentation in two languages in `docs/`, made with VitePress."""

from commands import run

CONFIG = """import { defineConfig } from 'vitepress'

export default defineConfig({
  title: 'The example',
  sitemap: { hostname: 'https://www.example.com' },
  locales: { root: { label: 'English', lang: 'en' }, de: { label: 'Deutsch', lang: 'de' } },
  themeConfig: {
    search: { provider: 'local' },
    nav: [{ text: 'Guide', link: '/guide/' }],
    sidebar: [{ text: 'Guide', items: [{ text: 'Install', link: '/guide/install' }] }],
  },
})
"""


def page(title):
    return f"# {title}\n\nHow it is done.\n\n## In detail\n\nAll of it.\n"


def start(site):
    for path, text in {
        "package.json": '{"private": true, "devDependencies": {"vitepress": "*"}}\n',
        "docs/.vitepress/config.mts": CONFIG,
        "docs/.vitepress/theme/index.ts": "import DefaultTheme from 'vitepress/theme'\nimport './custom.css'\nexport default DefaultTheme\n",
        "docs/.vitepress/theme/custom.css": ":root { --vp-c-brand-1: #336699 }\n",
        "docs/index.md": page("Home"),
        "docs/about.md": page("About"),
        "docs/guide/index.md": page("Guide"),
        "docs/guide/install.md": page("Install") + "\n<!--@include: ../parts/note.md-->\n",
        "docs/guide/My Page.md": page("My page"),
        "docs/parts/note.md": "A note.\n",
        "docs/de/index.md": page("Willkommen"),
        "docs/de/guide/install.md": page("Installieren"),
        "docs/public/logo.svg": "<svg/>\n",
        "docs/public/old.svg": "<svg></svg>\n",
        "src/program.js": "export const hello = 'hello'\n",
        "README.md": "A program.\n",
        ".github/workflows/deploy.yml": "on: push\n",
    }.items():
        site.write(path, text)


HISTORY = [
    ("a page's text", lambda s: s.edit("docs/guide/install.md", "How it is done", "How all of it is done")),
    ("a page's text", lambda s: s.edit("docs/guide/My Page.md", "How it is done", "How all of it is done")),
    ("a page's title", lambda s: s.edit("docs/about.md", "# About", "# About us")),
    ("a page added", lambda s: s.write("docs/guide/usage.md", page("Usage"))),
    ("a page renamed", lambda s: s.rename("docs/about.md", "docs/about-us.md")),
    ("a page removed", lambda s: s.remove("docs/guide/My Page.md")),
    ("a translation", lambda s: s.edit("docs/de/guide/install.md", "All of it", "Alles")),
    ("a translation added", lambda s: s.write("docs/de/guide/usage.md", page("Benutzen"))),
    ("a part that a page includes", lambda s: s.edit("docs/parts/note.md", "A note", "A longer note")),
    ("a public file", lambda s: s.write("docs/public/logo.svg", "<svg>better</svg>\n")),
    ("a public file removed", lambda s: s.remove("docs/public/old.svg")),
    ("a stylesheet", lambda s: s.edit("docs/.vitepress/theme/custom.css", "336699", "993366")),
    ("the menu", lambda s: s.edit("docs/.vitepress/config.mts", "text: 'Install'", "text: 'Installing'")),
    ("the configuration", lambda s: s.edit("docs/.vitepress/config.mts", "The example", "An example")),
    ("the program", lambda s: s.edit("src/program.js", "'hello'", "'hello, world'")),
    ("what no page shows", lambda s: (s.edit("README.md", "A program", "The program"), s.edit(".github/workflows/deploy.yml", "push", "[push]"))),
]


def install(tools):
    tools.npm("vitepress@1")


def tool(tools):
    return f"VitePress {tools.version('vitepress')}"


def build(tools, checkout):
    run(tools.directory / "node_modules/.bin/vitepress", "build", "docs", cwd=checkout)
    return checkout / "docs/.vitepress/dist"
