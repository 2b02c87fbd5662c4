"""A blog in a content collection, with pages in two languages, made with Astro."""

from commands import run

CONFIG = """import { defineConfig } from 'astro/config';
import sitemap from '@astrojs/sitemap';

export default defineConfig({ site: 'https://www.example.com', integrations: [sitemap()] });
"""
COLLECTIONS = """import { defineCollection, z } from 'astro:content';
import { glob } from 'astro/loaders';

const blog = defineCollection({
  loader: glob({ base: './src/content/blog', pattern: '**/*.md' }),
  schema: ({ image }) => z.object({ title: z.string(), date: z.coerce.date(), draft: z.boolean().default(false) }),
});
export const collections = { blog };
"""
LAYOUT = """---
import Nav from '../components/Nav.astro';
import '../styles/main.css';
const { title } = Astro.props.frontmatter ?? Astro.props;
---
<html lang="en"><head><title>{title}</title></head><body><Nav /><main><slot /></main></body></html>
"""
NAV = """<nav><a href="/blog/">Blog</a> <a href="/about/">About</a></nav>
"""
HOME = """---
import { getCollection } from 'astro:content';
import Layout from '../layouts/Layout.astro';
const posts = (await getCollection('blog', ({ data }) => !data.draft)).sort((a, b) => b.data.date - a.data.date).slice(0, 3);
---
<Layout title="Home">{posts.map((post) => <a href={`/blog/${post.id}/`}>{post.data.title}</a>)}</Layout>
"""
LIST = HOME.replace("../", "../../").replace(".slice(0, 3)", "").replace("Home", "Blog")
POST = """---
import { getCollection, render } from 'astro:content';
import Layout from '../../layouts/Layout.astro';
export async function getStaticPaths() {
  const posts = await getCollection('blog', ({ data }) => !data.draft);
  return posts.map((post) => ({ params: { slug: post.id }, props: post }));
}
const { Content } = await render(Astro.props);
---
<Layout title={Astro.props.data.title}><h1>{Astro.props.data.title}</h1><Content /></Layout>
"""
FEED = """import rss from '@astrojs/rss';
import { getCollection } from 'astro:content';

export async function GET(context) {
  const posts = (await getCollection('blog', ({ data }) => !data.draft)).sort((a, b) => b.data.date - a.data.date);
  const items = posts.map((post) => ({ title: post.data.title, pubDate: post.data.date, link: `/blog/${post.id}/` }));
  return rss({ title: 'The example', description: 'Examples', site: context.site, items });
}
"""


def post(title, date, more=""):
    return f"---\ntitle: {title}\ndate: {date}\n{more}---\nAt length.\n"


def page(title, depth=1):
    return f"---\nlayout: {'../' * depth}layouts/Layout.astro\ntitle: {title}\n---\nAbout it.\n"


def start(site):
    for path, text in {
        "package.json": '{"private": true, "type": "module", "dependencies": {"astro": "*"}}\n',
        "astro.config.mjs": CONFIG,
        "tsconfig.json": "{}\n",
        "src/content.config.ts": COLLECTIONS,
        "src/layouts/Layout.astro": LAYOUT,
        "src/components/Nav.astro": NAV,
        "src/styles/main.css": "body { margin: 2em }\n",
        "src/pages/index.astro": HOME,
        "src/pages/404.md": page("Not found"),
        "src/pages/about.md": page("About"),
        "src/pages/docs/index.md": page("Documentation", 2),
        "src/pages/docs/setup.md": page("Setup", 2),
        "src/pages/de/about.md": page("Über uns", 2),
        "src/pages/blog/index.astro": LIST,
        "src/pages/blog/[...slug].astro": POST,
        "src/pages/rss.xml.js": FEED,
        "src/content/blog/My Post (2).md": post("Second", "2025-01-02"),
        "src/content/blog/Größe & Mut.md": post("Odd", "2025-01-03"),
        "src/content/blog/deep/Other Post.md": post("Other", "2025-01-04"),
        "src/content/blog/bundle/index.md": post("Bundle", "2025-01-05", "") + "\n![Map](./map.svg)\n",
        "src/content/blog/bundle/map.svg": '<svg xmlns="http://www.w3.org/2000/svg" width="10" height="10"/>\n',
        "src/content/blog/idea.md": post("An idea", "2025-02-01", "draft: true\n"),
        "public/logo.svg": "<svg/>\n",
        "public/old.svg": "<svg></svg>\n",
        "public/img/a b.svg": "<svg></svg>\n",
        "README.md": "How to build this site.\n",
        ".github/workflows/deploy.yml": "on: push\n",
    }.items():
        site.write(path, text)
    for number in range(12):
        site.write(f"src/content/blog/post-{number}.md", post(f"Post {number}", f"2024-01-{1 + number:02}"))


HISTORY = [
    ("a new post", lambda s: s.write("src/content/blog/spring.md", post("Spring", "2025-03-01"))),
    ("a new post with blanks in its name", lambda s: s.write("src/content/blog/A tour, at last.md", post("A tour", "2025-03-02"))),
    ("a typo in a post", lambda s: s.edit("src/content/blog/post-7.md", "At length", "At great length")),
    ("a typo in a post", lambda s: s.edit("src/content/blog/My Post (2).md", "At length", "At great length")),
    ("a typo in a post", lambda s: s.edit("src/content/blog/Größe & Mut.md", "At length", "At great length")),
    ("a typo in a post", lambda s: s.edit("src/content/blog/deep/Other Post.md", "At length", "At great length")),
    ("a typo in a post", lambda s: s.edit("src/content/blog/bundle/index.md", "At length", "At great length")),
    ("a picture in a bundle", lambda s: s.edit("src/content/blog/bundle/map.svg", 'height="10"', 'height="20"')),
    ("a post's title", lambda s: s.edit("src/content/blog/post-3.md", "title: Post 3", "title: The third")),
    ("a post's date", lambda s: s.edit("src/content/blog/post-4.md", "2024-01-05", "2025-04-01")),
    ("a post deleted", lambda s: s.remove("src/content/blog/post-5.md")),
    ("a post renamed", lambda s: s.rename("src/content/blog/post-6.md", "src/content/blog/six.md")),
    ("a draft", lambda s: s.edit("src/content/blog/idea.md", "At length", "At great length")),
    ("a draft published", lambda s: s.edit("src/content/blog/idea.md", "draft: true\n", "")),
    ("a post with an address of its own", lambda s: s.edit("src/content/blog/post-8.md", "title", "slug: eight\ntitle")),
    ("a page's text", lambda s: s.edit("src/pages/about.md", "About it", "All about it")),
    ("a page's text", lambda s: s.edit("src/pages/docs/index.md", "About it", "All about it")),
    ("a translation", lambda s: s.edit("src/pages/de/about.md", "About it", "Alles")),
    ("a page added", lambda s: s.write("src/pages/docs/usage.md", page("Usage", 2))),
    ("a page renamed", lambda s: s.rename("src/pages/docs/setup.md", "src/pages/docs/start.md")),
    ("the home page", lambda s: s.edit("src/pages/index.astro", "slice(0, 3)", "slice(0, 4)")),
    ("the list of posts", lambda s: s.edit("src/pages/blog/index.astro", "<Layout title=\"Blog\">", "<Layout title=\"The blog\">")),
    ("a route's template", lambda s: s.edit("src/pages/blog/[...slug].astro", "<h1>", "<h1 class='title'>")),
    ("the feed", lambda s: s.edit("src/pages/rss.xml.js", "Examples", "Some examples")),
    ("a public file", lambda s: s.write("public/logo.svg", "<svg>better</svg>\n")),
    ("a public file", lambda s: s.write("public/img/a b.svg", "<svg>better</svg>\n")),
    ("a public file removed", lambda s: s.remove("public/old.svg")),
    ("a stylesheet", lambda s: s.edit("src/styles/main.css", "2em", "1em")),
    ("a component", lambda s: s.edit("src/components/Nav.astro", ">About<", ">About us<")),
    ("the configuration", lambda s: s.edit("astro.config.mjs", "integrations", "compressHTML: false, integrations")),
    ("what no page shows", lambda s: (s.edit("README.md", "this site", "it"), s.edit(".github/workflows/deploy.yml", "push", "[push]"))),
]


def install(tools):
    tools.npm("astro@5", "@astrojs/rss", "@astrojs/sitemap")


def tool(tools):
    return f"Astro {tools.version('astro')}"


def build(tools, checkout):
    run(tools.directory / "node_modules/.bin/astro", "build", cwd=checkout, ASTRO_TELEMETRY_DISABLED="1")
    return checkout / "dist"
