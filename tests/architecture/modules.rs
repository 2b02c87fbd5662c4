//! The modules of the crate, and which imports which.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::source::{Token, read, without_tests};

/// A module's path from the crate's root: `["cdn", "tencent"]`; empty for the root.
pub type Name = Vec<String>;

/// A file that is a module of the program.
struct Module {
    tokens: Vec<Token>,
    /// Names that `use` binds here, and the paths behind them.
    bound: BTreeMap<String, Name>,
    /// The paths whose names are all bound here.
    globs: Vec<Name>,
    /// Every path that is used or imported, from the crate's root.
    paths: BTreeSet<Name>,
}

/// The crate.
pub struct Crate {
    modules: BTreeMap<Name, Module>,
}

impl Crate {
    /// Reads all modules below `src`, without those that only tests compile.
    pub fn read() -> Self {
        let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut files = Vec::new();
        rust_files(&src, &mut files);
        let texts = files.into_iter().map(|file| {
            let text = std::fs::read_to_string(&file).unwrap();
            let name = module_name(file.strip_prefix(&src).unwrap());
            (name, text)
        });
        Self::of(texts.filter(|(name, _)| *name != ["main"]))
    }

    fn of(files: impl IntoIterator<Item = (Name, String)>) -> Self {
        let mut modules = BTreeMap::new();
        let mut tests = BTreeSet::new();
        for (name, text) in files {
            let (tokens, tests_here) = without_tests(&read(&text).tokens);
            for test in tests_here {
                tests.insert(child(&name, &test));
            }
            let module = Module {
                tokens,
                bound: BTreeMap::new(),
                globs: Vec::new(),
                paths: BTreeSet::new(),
            };
            modules.insert(name, module);
        }
        modules.retain(|name: &Name, _| !tests.iter().any(|test| name.starts_with(test)));
        let names: BTreeSet<Name> = modules.keys().cloned().collect();
        for (name, module) in &mut modules {
            module.find_imports(name, &names);
        }
        for (name, module) in &mut modules {
            module.find_paths(name, &names);
        }
        Self { modules }
    }

    /// The modules that a module takes something from, where each name is followed to
    /// the module that defines it. What a module takes from those below it is not counted:
    /// it is made of them.
    pub fn imports(&self) -> BTreeMap<Name, BTreeSet<Name>> {
        self.modules
            .iter()
            .filter(|(name, _)| !name.is_empty())
            .map(|(name, module)| {
                let defined = module.paths.iter().map(|path| self.definer(path, 0));
                let others = defined.filter(|other| !other.starts_with(name) && !other.is_empty());
                (name.clone(), others.collect())
            })
            .collect()
    }

    /// The module that defines what a path names.
    fn definer(&self, path: &[String], depth: usize) -> Name {
        let mut at = Name::new();
        for (index, part) in path.iter().enumerate() {
            let next = child(&at, part);
            if self.modules.contains_key(&next) {
                at = next;
                continue;
            }
            let rest = &path[index + 1..];
            // What re-exports itself would be followed for ever.
            if depth < 8
                && let Some(elsewhere) = self.bound_in(&at, part)
            {
                let onward: Name = elsewhere.iter().chain(rest).cloned().collect();
                return self.definer(&onward, depth + 1);
            }
            return at;
        }
        at
    }

    /// The path behind a name that a module imports.
    fn bound_in(&self, module: &Name, name: &str) -> Option<Name> {
        let module = self.modules.get(module)?;
        if let Some(path) = module.bound.get(name) {
            return Some(path.clone());
        }
        let through = module.globs.iter().map(|glob| child(glob, name));
        through.into_iter().find(|path| self.is_bound(path))
    }

    fn is_bound(&self, path: &Name) -> bool {
        let Some((last, module)) = path.split_last() else {
            return false;
        };
        let module = self.modules.get(module);
        module.is_some_and(|module| module.bound.contains_key(last) || module.defines(last))
    }
}

impl Module {
    fn defines(&self, name: &str) -> bool {
        const ITEMS: [&str; 8] = [
            "fn", "struct", "enum", "trait", "type", "const", "static", "mod",
        ];
        self.tokens.windows(2).any(|pair| {
            pair[0].word().is_some_and(|word| ITEMS.contains(&word)) && pair[1].word() == Some(name)
        })
    }

    /// Reads the `use` declarations.
    fn find_imports(&mut self, name: &Name, names: &BTreeSet<Name>) {
        let mut rest = self.tokens.as_slice();
        while let Some((first, after)) = rest.split_first() {
            rest = after;
            // `use<'a>` in a type captures lifetimes.
            if first.word() != Some("use") || after.first() == Some(&Token::Sign('<')) {
                continue;
            }
            let mut leaves = Vec::new();
            rest = use_tree(after, &[], &mut leaves);
            for leaf in leaves {
                let Some(path) = absolute(&leaf.path, name, names) else {
                    continue;
                };
                self.paths.insert(path.clone());
                match leaf.bound {
                    Some(bound) => drop(self.bound.insert(bound, path)),
                    None => self.globs.push(path),
                }
            }
        }
    }

    /// Finds the paths that stand in the code.
    fn find_paths(&mut self, name: &Name, names: &BTreeSet<Name>) {
        let mut at = 0;
        while at < self.tokens.len() {
            let follows_path = at > 0 && self.tokens[at - 1] == Token::PathSeparator;
            let Some(first) = self.tokens[at].word().filter(|_| !follows_path) else {
                at += 1;
                continue;
            };
            let mut path = vec![first.to_owned()];
            while let (Some(Token::PathSeparator), Some(Token::Word(part))) =
                (self.tokens.get(at + 1), self.tokens.get(at + 2))
            {
                path.push(part.clone());
                at += 2;
            }
            at += 1;
            if path.len() == 1 {
                continue;
            }
            let full = match self.bound.get(&path[0]) {
                Some(bound) => Some(bound.iter().chain(&path[1..]).cloned().collect()),
                None => absolute(&path, name, names),
            };
            self.paths.extend(full);
        }
    }
}

/// A name that a `use` declaration imports.
struct Leaf {
    path: Name,
    /// What it is called here; nothing for `*`.
    bound: Option<String>,
}

/// Reads one tree of a `use` declaration; the tokens after it.
fn use_tree<'t>(tokens: &'t [Token], before: &[String], leaves: &mut Vec<Leaf>) -> &'t [Token] {
    let mut path = before.to_vec();
    let mut rest = tokens;
    loop {
        match rest {
            [Token::PathSeparator, after @ ..] => rest = after,
            [Token::Sign('{'), after @ ..] => {
                rest = after;
                loop {
                    match rest {
                        [Token::Sign('}'), after @ ..] => return after,
                        [Token::Sign(','), after @ ..] => rest = after,
                        [] => return rest,
                        _ => rest = use_tree(rest, &path, leaves),
                    }
                }
            }
            [Token::Sign('*'), after @ ..] => {
                leaves.push(Leaf { path, bound: None });
                return after;
            }
            [Token::Word(word), Token::Word(bound), after @ ..] if word == "as" => {
                leaves.push(Leaf {
                    path,
                    bound: Some(bound.clone()),
                });
                return after;
            }
            [Token::Word(word), after @ ..] => {
                if word != "self" || path.is_empty() {
                    path.push(word.clone());
                }
                rest = after;
            }
            _ => {
                let bound = path.last().cloned();
                leaves.push(Leaf { path, bound });
                return rest;
            }
        }
    }
}

/// A path from the crate's root; nothing for one that leads out of the crate.
fn absolute(path: &[String], here: &Name, names: &BTreeSet<Name>) -> Option<Name> {
    let (first, rest) = path.split_first()?;
    let mut base = match first.as_str() {
        "crate" => Name::new(),
        "self" => here.clone(),
        "super" => here[..here.len().checked_sub(1)?].to_vec(),
        other => {
            let below = child(here, other);
            if !names.contains(&below) {
                return None;
            }
            below
        }
    };
    for part in rest {
        match part.as_str() {
            "super" => drop(base.pop()?),
            other => base.push(other.to_owned()),
        }
    }
    Some(base)
}

fn child(module: &[String], name: &str) -> Name {
    let mut path = module.to_vec();
    path.push(name.to_owned());
    path
}

/// The groups of names that import each other in a circle, directly or through others.
pub fn circles<N: Ord + Clone>(imports: &BTreeMap<N, BTreeSet<N>>) -> Vec<BTreeSet<N>> {
    let reached: BTreeMap<&N, BTreeSet<&N>> = imports
        .keys()
        .map(|start| {
            let mut seen = BTreeSet::new();
            let mut open = vec![start];
            while let Some(at) = open.pop() {
                for next in imports.get(at).into_iter().flatten() {
                    if seen.insert(next) {
                        open.push(next);
                    }
                }
            }
            (start, seen)
        })
        .collect();
    let together = |a: &N, b: &N| {
        reached[a].contains(b) && reached.get(b).is_some_and(|of_b| of_b.contains(a))
    };
    let mut found: BTreeSet<BTreeSet<N>> = BTreeSet::new();
    for (start, seen) in &reached {
        let circle: BTreeSet<N> = seen
            .iter()
            .filter(|other| together(start, other))
            .map(|n| (*n).clone())
            .collect();
        if circle.len() > 1 {
            found.insert(circle);
        }
    }
    found.into_iter().collect()
}

/// All files of Rust code below a folder.
pub fn rust_files(folder: &Path, into: &mut Vec<PathBuf>) {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            rust_files(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

/// The module that a file below `src` is.
fn module_name(file: &Path) -> Name {
    let mut name: Name = file
        .with_extension("")
        .iter()
        .map(|part| part.to_str().unwrap().to_owned())
        .collect();
    if matches!(name.last().map(String::as_str), Some("mod")) || name == ["lib"] {
        name.pop();
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn imports_of(files: &[(&str, &str)]) -> Vec<(String, Vec<String>)> {
        let files = files.iter().map(|(name, text)| {
            let name = name.split("::").filter(|part| !part.is_empty());
            (name.map(str::to_owned).collect(), (*text).to_owned())
        });
        let imports = Crate::of(files).imports();
        imports
            .into_iter()
            .map(|(name, others)| {
                let others = others.into_iter().map(|other| other.join("::"));
                (name.join("::"), others.collect())
            })
            .collect()
    }

    #[test]
    fn a_name_is_followed_to_the_module_that_defines_it() {
        let imports = imports_of(&[
            ("", "pub mod a; pub mod b;"),
            (
                "a",
                "mod deep; mod other; pub use self::deep::{Thing, More as Less}; pub fn here() {}",
            ),
            ("a::deep", "pub struct Thing; pub struct More;"),
            ("a::other", "use super::Less; use std::fmt;"),
            ("b", "use crate::a::{self, Thing}; fn f() { a::here(); }"),
        ]);

        let expected = [
            ("a", vec![]),
            ("a::deep", vec![]),
            ("a::other", vec!["a::deep"]),
            ("b", vec!["a", "a::deep"]),
        ];
        let expected: Vec<(String, Vec<String>)> = expected
            .into_iter()
            .map(|(name, others)| {
                (
                    name.to_owned(),
                    others.into_iter().map(str::to_owned).collect(),
                )
            })
            .collect();
        assert_eq!(imports, expected);
    }

    #[test]
    fn paths_in_the_code_count_and_those_of_tests_do_not() {
        let imports = imports_of(&[
            ("", "mod a; mod b; mod c;"),
            ("a", "fn f() { crate::b::g(super::b::H); }"),
            (
                "b",
                "pub fn g() {} #[cfg(test)] mod tests { use crate::c::x; fn f() { crate::c::x() } }",
            ),
            ("c", "#[cfg(test)] mod tests;"),
            ("c::tests", "use crate::a;"),
        ]);

        let a = ("a".to_owned(), vec!["b".to_owned()]);
        assert_eq!(
            imports,
            [a, ("b".to_owned(), vec![]), ("c".to_owned(), vec![])]
        );
    }

    #[test]
    fn a_circle_is_found_whole() {
        let arrows = [("a", "b"), ("b", "c"), ("c", "a"), ("c", "d"), ("d", "e")];
        let mut imports: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (from, to) in arrows {
            imports.entry(from).or_default().insert(to);
        }

        assert_eq!(circles(&imports), [BTreeSet::from(["a", "b", "c"])]);
    }
}
