//! Presets: rules for a site, by the generator that builds it.
//!
//! Each preset is a file in `presets/` with keys of a site. Its globs are in double quotes, its expressions begin
//! with `'^`, and its rules begin with `- name:`; [`Preset::below`] relies on that. `tests/presets` compares them
//! with what commits changed on real sites.

/// Rules for the sites of one generator.
#[derive(Debug, PartialEq, Eq)]
pub struct Preset {
    /// Its name for `--generator`.
    pub name: &'static str,
    /// Its name for people.
    pub title: &'static str,
    /// The content of its file.
    text: &'static str,
}

macro_rules! presets {
    ($($name:literal, $title:literal;)*) => {
        &[$(Preset {
            name: $name,
            title: $title,
            text: include_str!(concat!("../../../presets/", $name, ".yaml")),
        }),*]
    };
}

/// All presets.
pub const PRESETS: &[Preset] = presets! {
    "hugo", "Hugo";
    "jekyll", "Jekyll";
    "hexo", "Hexo";
    "mkdocs", "MkDocs";
    "sphinx", "Sphinx";
    "docusaurus", "Docusaurus";
    "vitepress", "VitePress";
    "eleventy", "Eleventy";
    "astro", "Astro";
    "next", "Next.js, exported";
    "gatsby", "Gatsby";
    "plain", "plain files, served as they are";
    "built", "a branch that holds the built files";
};

/// Build files at the repository's top, for a site in a folder.
const TOOLS: &str = r#"  # What the site is built with, at the repository's top.
  - name: tools
    match:
      - "{package.json,package-lock.json,npm-shrinkwrap.json,yarn.lock,pnpm-lock.yaml,bun.lock}"
      - "{*.config.*,.eleventy.js,requirements*.txt,pyproject.toml,uv.lock,poetry.lock,Gemfile,Gemfile.lock}"
    directories: ["/"]
    mode: flush
"#;

impl Preset {
    /// The preset with a name.
    pub fn named(name: &str) -> Option<&'static Self> {
        PRESETS.iter().find(|preset| preset.name == name)
    }

    /// The keys of a site at the repository's top.
    pub fn text(&self) -> &'static str {
        self.text
    }

    /// The keys of a site in a folder of the repository, given without slashes around it; empty for its top.
    pub fn below(&self, folder: &str) -> String {
        if folder.is_empty() {
            return self.text.to_owned();
        }
        let mut below = String::with_capacity(self.text.len() * 2);
        let mut lines = self.text.lines().peekable();
        let mut in_globs = false;
        while let Some(line) = lines.next() {
            let written = line.trim_start();
            let key = written.trim_start_matches("- ").split(':').next();
            let is_item = written.starts_with("- \"");
            in_globs = match key {
                _ if written.starts_with('#') => false,
                Some("match" | "except" | "ignore") => true,
                _ => in_globs && is_item,
            };
            if in_globs {
                below.push_str(&globs_below(line, folder));
            } else if let Some((key, expression)) = line.split_once("match_regex: '^") {
                below.push_str(&format!(
                    "{key}match_regex: '^{}/{expression}",
                    regex::escape(folder)
                ));
            } else if let Some((indent, prefix)) = line.split_once("strip: ") {
                below.push_str(&format!("{indent}strip: {folder}/{prefix}"));
            } else {
                below.push_str(line);
            }
            below.push('\n');
            if written.starts_with("- name:") {
                let of_rule = lines.clone().take_while(|line| line.starts_with("    "));
                if !of_rule.into_iter().any(|line| line.contains("strip: ")) {
                    below.push_str(&format!("    strip: {folder}/\n"));
                }
            }
        }
        below.push_str(TOOLS);
        below
    }
}

/// A line with a folder put in front of its globs, which are in double quotes.
fn globs_below(line: &str, folder: &str) -> String {
    let mut below = String::new();
    for (place, part) in line.split('"').enumerate() {
        if place > 0 {
            below.push('"');
        }
        if place % 2 == 1 {
            below.push_str(folder);
            below.push('/');
        }
        below.push_str(part);
    }
    below
}
