"""A blog and documentation from Markdown, with pages of their own, made with Gatsby.

It has no feed, because gatsby-plugin-feed writes the build time into the feed.
"""

from commands import run

CONFIG = """module.exports = {
  siteMetadata: { title: 'The example', siteUrl: 'https://www.example.com' },
  plugins: [
    { resolve: 'gatsby-source-filesystem', options: { name: 'blog', path: `${__dirname}/content/blog` } },
    { resolve: 'gatsby-source-filesystem', options: { name: 'docs', path: `${__dirname}/content/docs` } },
    'gatsby-transformer-remark',
    'gatsby-plugin-sitemap',
  ],
};
"""
NODE = """const { createFilePath } = require('gatsby-source-filesystem');

exports.onCreateNode = ({ node, getNode, actions }) => {
  if (node.internal.type !== 'MarkdownRemark') return;
  const section = getNode(node.parent).sourceInstanceName;
  actions.createNodeField({ node, name: 'section', value: section });
  actions.createNodeField({ node, name: 'slug', value: `/${section}${createFilePath({ node, getNode })}` });
};

exports.createPages = async ({ graphql, actions }) => {
  const { data } = await graphql(`{ allMarkdownRemark(sort: { frontmatter: { date: DESC } }) {
    nodes { id fields { slug section } frontmatter { tags } } } }`);
  const nodes = data.allMarkdownRemark.nodes;
  for (const section of ['blog', 'docs']) {
    const entries = nodes.filter((node) => node.fields.section === section);
    entries.forEach((node, place) => actions.createPage({
      path: node.fields.slug,
      component: require.resolve('./src/templates/entry.js'),
      context: { id: node.id, previous: entries[place + 1]?.id, next: entries[place - 1]?.id },
    }));
  }
  const tags = new Set(nodes.flatMap((node) => node.frontmatter.tags ?? []));
  for (const tag of tags) {
    actions.createPage({ path: `/tags/${tag}/`, component: require.resolve('./src/templates/tag.js'), context: { tag } });
  }
};
"""
ENTRY = """import * as React from 'react';
import { graphql, Link } from 'gatsby';
import Layout from '../components/Layout';

export default function Entry({ data: { entry, previous, next } }) {
  return (
    <Layout>
      <h1>{entry.frontmatter.title}</h1>
      <div dangerouslySetInnerHTML={{ __html: entry.html }} />
      {[previous, next].filter(Boolean).map((node) => <Link key={node.fields.slug} to={node.fields.slug}>{node.frontmatter.title}</Link>)}
    </Layout>
  );
}

export const Head = ({ data }) => <title>{data.entry.frontmatter.title}</title>;

export const query = graphql`
  query ($id: String!, $previous: String, $next: String) {
    entry: markdownRemark(id: { eq: $id }) { html frontmatter { title } }
    previous: markdownRemark(id: { eq: $previous }) { fields { slug } frontmatter { title } }
    next: markdownRemark(id: { eq: $next }) { fields { slug } frontmatter { title } }
  }
`;
"""
LIST = """import * as React from 'react';
import { graphql, Link } from 'gatsby';
import Layout from 'COMPONENTS/Layout';

export default function List({ data }) {
  return (
    <Layout>
      <ul>{data.entries.nodes.map((node) => <li key={node.fields.slug}><Link to={node.fields.slug}>{node.frontmatter.title}</Link></li>)}</ul>
    </Layout>
  );
}

export const query = graphql`
  QUERY {
    entries: allMarkdownRemark(FILTER sort: { frontmatter: { date: DESC } }) { nodes { fields { slug } frontmatter { title } } }
  }
`;
"""
LAYOUT = """import * as React from 'react';
import { graphql, useStaticQuery, Link } from 'gatsby';
import './main.css';

export default function Layout({ children }) {
  const data = useStaticQuery(graphql`{ site { siteMetadata { title } } }`);
  return <><nav><Link to="/">{data.site.siteMetadata.title}</Link> <Link to="/blog/">Blog</Link></nav>{children}</>;
}
"""
NOT_FOUND = """import * as React from 'react';

export default function NotFound() {
  return <p>There is nothing here.</p>;
}
"""
ABOUT = """import * as React from 'react';
import Layout from '../components/Layout';
import team from '../images/team.svg';

export default function About() {
  return <Layout><h1>About</h1><img src={team} alt="" /><img src="/chart.svg" alt="" /></Layout>;
}
"""


def listing(components, query, filter=""):
    return LIST.replace("COMPONENTS", components).replace("QUERY", query).replace("FILTER", filter)


def entry(title, date="2024-01-01", tags=""):
    return f"---\ntitle: {title}\ndate: {date}\ntags: [{tags}]\n---\n\nHow it is done, at length.\n"


def start(site):
    for path, text in {
        "package.json": '{"private": true, "dependencies": {"gatsby": "*"}}\n',
        "gatsby-config.js": CONFIG,
        "gatsby-node.js": NODE,
        "src/components/Layout.js": LAYOUT,
        "src/components/main.css": "body { margin: 2em }\n",
        "src/images/team.svg": '<svg xmlns="http://www.w3.org/2000/svg" width="10" height="10"/>\n',
        "src/templates/entry.js": ENTRY,
        "src/templates/tag.js": listing("../components", "query ($tag: String!)", "filter: { frontmatter: { tags: { eq: $tag } } }"),
        "src/pages/index.js": listing("../components", "query", "limit: 3"),
        "src/pages/blog.js": listing("../components", "query", 'filter: { fields: { section: { eq: "blog" } } }'),
        "src/pages/docs.js": listing("../components", "query", 'filter: { fields: { section: { eq: "docs" } } }'),
        "src/pages/about.js": ABOUT,
        "src/pages/404.js": NOT_FOUND,
        "content/docs/install.md": entry("Install"),
        "content/docs/usage.md": entry("Usage", "2024-01-02"),
        "content/docs/old.md": entry("Old", "2024-01-03"),
        "content/docs/deep/My Page.md": entry("My page", "2024-01-04"),
        "content/blog/bundle/index.md": entry("Bundle", "2024-01-20", "tools"),
        "static/chart.svg": "<svg/>\n",
        "static/robots.txt": "User-agent: *\n",
        "static/old.txt": "Old.\n",
        "README.md": "How to build this site.\n",
        ".github/workflows/deploy.yml": "on: push\n",
    }.items():
        site.write(path, text)
    for number in range(8):
        site.write(f"content/blog/post-{number}.md", entry(f"Post {number}", f"2024-01-{1 + number:02}", "news" if number % 2 else "tools"))


HISTORY = [
    ("a post's text", lambda s: s.edit("content/blog/post-3.md", "at length", "at great length")),
    ("a post's title", lambda s: s.edit("content/blog/post-6.md", "Post 6", "The sixth")),
    ("a new post", lambda s: s.write("content/blog/spring.md", entry("Spring", "2024-02-01", "news"))),
    ("a new post with a new tag", lambda s: s.write("content/blog/summer.md", entry("Summer", "2024-03-01", "travel"))),
    ("a post renamed", lambda s: s.rename("content/blog/post-2.md", "content/blog/two.md")),
    ("a document's text", lambda s: s.edit("content/docs/deep/My Page.md", "at length", "at great length")),
    ("a document removed", lambda s: s.remove("content/docs/old.md")),
    ("a page's text", lambda s: s.edit("src/pages/about.js", ">About<", ">About us<")),
    ("a page added", lambda s: s.write("src/pages/jobs.js", ABOUT.replace("About", "Jobs"))),
    ("a picture that a page imports", lambda s: s.edit("src/images/team.svg", 'height="10"', 'height="20"')),
    ("a stylesheet", lambda s: s.edit("src/components/main.css", "2em", "1em")),
    ("a layout", lambda s: s.edit("src/components/Layout.js", ">Blog<", ">The blog<")),
    ("a static file", lambda s: s.write("static/robots.txt", "User-agent: *\nDisallow: /old\n")),
    ("a static file that a page shows", lambda s: s.write("static/chart.svg", "<svg>better</svg>\n")),
    ("a static file removed", lambda s: s.remove("static/old.txt")),
    ("the configuration", lambda s: s.edit("gatsby-config.js", "The example", "An example")),
    ("what no page shows", lambda s: (s.edit("README.md", "this site", "it"), s.edit(".github/workflows/deploy.yml", "push", "[push]"))),
]


def install(tools):
    # The version of sharp that Gatsby requests downloads files that are not on npm.
    packages = ["gatsby@5", "gatsby-source-filesystem@5", "gatsby-transformer-remark@6", "gatsby-plugin-sitemap@6"]
    tools.npm(*packages, "react@18", "react-dom@18", overrides={"sharp": "^0.33.5"})


def tool(tools):
    return f"Gatsby {tools.version('gatsby')}"


def build(tools, checkout):
    # Gatsby resolves its plugins in the site itself.
    (checkout / "node_modules").symlink_to(tools.directory / "node_modules")
    gatsby = tools.directory / "node_modules/.bin/gatsby"
    run(gatsby, "build", cwd=checkout, GATSBY_TELEMETRY_DISABLED="1", GATSBY_CPU_COUNT="1")
    return checkout / "public"
