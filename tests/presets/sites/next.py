"""A blog, documentation and pages, exported by Next.js: pages of `app/`, and older ones of `pages/`."""

from commands import run

CONFIG = """export default {
  output: 'export',
  trailingSlash: true,
  experimental: { cpus: 1 },
  generateBuildId: () => 'fixed',
};
"""
LAYOUT = """import Nav from '../components/Nav';
import './main.css';

export const metadata = { title: 'The example' };

export default function Layout({ children }) {
  return <html lang="en"><body><Nav />{children}<footer>All of us</footer></body></html>;
}
"""
NAV = """export default function Nav() {
  return <nav><a href="/blog/">Blog</a> <a href="/docs/">Docs</a></nav>;
}
"""
COUNTER = """'use client';
import { useState } from 'react';

export default function Counter() {
  const [count, setCount] = useState(0);
  return <button onClick={() => setCount(count + 1)}>Counted to {count}</button>;
}
"""
POSTS = """import fs from 'node:fs';
import path from 'node:path';

export function all(folder) {
  const names = fs.readdirSync(path.join('content', folder)).filter((name) => name.endsWith('.md'));
  const read = (name) => {
    const [title, date, ...text] = fs.readFileSync(path.join('content', folder, name), 'utf8').split('\\n');
    return { slug: name.replace(/\\.md$/, ''), title, date, text: text.join('\\n') };
  };
  return names.map(read).sort((a, b) => (a.date < b.date ? 1 : a.date > b.date ? -1 : a.slug < b.slug ? -1 : 1));
}
"""
HOME = """import { all } from '../lib/content';
import Counter from '../components/Counter';

export default function Home() {
  return <main><Counter /><ul>{all('blog').slice(0, 3).map((post) => <li key={post.slug}>{post.title}</li>)}</ul></main>;
}
"""
LIST = """import { all } from '../../lib/content';

export default function List() {
  return <ul>{all('FOLDER').map((post) => <li key={post.slug}><a href={`/FOLDER/${post.slug}/`}>{post.title}</a></li>)}</ul>;
}
"""
ENTRY = """import { all } from '../../../lib/content';

export const dynamicParams = false;
export const generateStaticParams = () => all('FOLDER').map(({ slug }) => ({ slug }));

export default async function Entry({ params }) {
  const { slug } = await params;
  const post = all('FOLDER').find((each) => each.slug === slug);
  return <article><h1>{post.title}</h1><p>{post.text}</p></article>;
}
"""
ABOUT = """import Image from 'next/image';
import team from './team.svg';

export default function About() {
  return <main><h1>About</h1><Image src={team} alt="" unoptimized /><img src="/chart.svg" alt="" /></main>;
}
"""
SITEMAP = """import { all } from '../lib/content';

export const dynamic = 'force-static';

export default function sitemap() {
  return all('blog').map((post) => ({ url: `https://www.example.com/blog/${post.slug}/`, lastModified: post.date }));
}
"""
OLD = """import { all } from '../../lib/content';

export const getStaticProps = () => ({ props: { titles: all('blog').map((post) => post.title) } });

export default function Archive({ titles }) {
  return <ul>{titles.map((title) => <li key={title}>{title}</li>)}</ul>;
}
"""


def entry(title, date="2024-01-01"):
    return f"{title}\n{date}\nHow it is done, at length.\n"


def start(site):
    for path, text in {
        "package.json": '{"private": true, "type": "module", "dependencies": {"next": "*"}}\n',
        "next.config.mjs": CONFIG,
        "app/layout.js": LAYOUT,
        "app/main.css": "body { margin: 2em }\n",
        "app/page.js": HOME,
        "app/about/page.js": ABOUT,
        "app/about/team.svg": '<svg xmlns="http://www.w3.org/2000/svg" width="10" height="10"/>\n',
        "app/terms/page.js": "export default function Terms() {\n  return <p>The terms.</p>;\n}\n",
        "app/blog/page.js": LIST.replace("FOLDER", "blog"),
        "app/blog/[slug]/page.js": ENTRY.replace("FOLDER", "blog"),
        "app/docs/page.js": LIST.replace("FOLDER", "docs"),
        "app/docs/[slug]/page.js": ENTRY.replace("FOLDER", "docs"),
        "app/sitemap.js": SITEMAP,
        "components/Nav.js": NAV,
        "components/Counter.js": COUNTER,
        "lib/content.js": POSTS,
        "pages/old/archive.js": OLD,
        "pages/old/note.js": "export default function Note() {\n  return <p>A note.</p>;\n}\n",
        "content/docs/install.md": entry("Install"),
        "content/docs/usage.md": entry("Usage"),
        "content/docs/old.md": entry("Old"),
        "public/chart.svg": "<svg/>\n",
        "public/robots.txt": "User-agent: *\n",
        "public/old.txt": "Old.\n",
        "README.md": "How to build this site.\n",
        ".github/workflows/deploy.yml": "on: push\n",
    }.items():
        site.write(path, text)
    for number in range(8):
        site.write(f"content/blog/post-{number}.md", entry(f"Post {number}", f"2024-01-{1 + number:02}"))


HISTORY = [
    ("a post's text", lambda s: s.edit("content/blog/post-3.md", "at length", "at great length")),
    ("a post's title", lambda s: s.edit("content/blog/post-6.md", "Post 6", "The sixth")),
    ("a new post", lambda s: s.write("content/blog/spring.md", entry("Spring", "2024-02-01"))),
    ("a post renamed", lambda s: s.rename("content/blog/post-2.md", "content/blog/two.md")),
    ("a document's text", lambda s: s.edit("content/docs/install.md", "at length", "at great length")),
    ("a document removed", lambda s: s.remove("content/docs/old.md")),
    ("a page's text", lambda s: s.edit("app/terms/page.js", "The terms", "All terms")),
    ("a page added", lambda s: s.write("app/jobs/page.js", "export default function Jobs() {\n  return <p>Jobs.</p>;\n}\n")),
    ("a picture that a page imports", lambda s: s.edit("app/about/team.svg", 'height="10"', 'height="20"')),
    ("a page of pages/", lambda s: s.edit("pages/old/note.js", "A note", "A longer note")),
    ("a component that runs in the browser", lambda s: s.edit("components/Counter.js", "Counted to", "Clicks:")),
    ("a component that does not", lambda s: s.edit("components/Nav.js", ">Docs<", ">Documentation<")),
    ("a stylesheet", lambda s: s.edit("app/main.css", "2em", "1em")),
    ("a layout", lambda s: s.edit("app/layout.js", "All of us", "All of you")),
    ("a public file", lambda s: s.write("public/robots.txt", "User-agent: *\nDisallow: /old\n")),
    ("a public file that a page shows", lambda s: s.write("public/chart.svg", "<svg>better</svg>\n")),
    ("a public file removed", lambda s: s.remove("public/old.txt")),
    ("the configuration", lambda s: s.edit("next.config.mjs", "trailingSlash: true", "trailingSlash: false")),
    ("what no page shows", lambda s: (s.edit("README.md", "this site", "it"), s.edit(".github/workflows/deploy.yml", "push", "[push]"))),
]


def install(tools):
    tools.npm("next@16", "react@19", "react-dom@19")


def tool(tools):
    return f"Next.js {tools.version('next')}"


def build(tools, checkout):
    # Turbopack does not follow links that lead out of the site.
    run("cp", "-al", tools.directory / "node_modules", checkout / "node_modules")
    run(checkout / "node_modules/.bin/next", "build", cwd=checkout, NEXT_TELEMETRY_DISABLED="1")
    return checkout / "out"
