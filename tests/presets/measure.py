#!/usr/bin/env python3
"""Finds out what commits change on the built site, and writes it into facts/ for the tests.

    tests/presets/measure.py jekyll astro     # these generators
    tests/presets/measure.py                  # all of them

Each file of sites/ makes a small site in a git repository, and commits of the kinds that a site gets. Each commit is
checked out anew and built with the real tool, and its files are compared byte for byte with those of the commit
before. The tools come from npm, PyPI and RubyGems, into the folder that PRESETS_TOOLS names (some 4 GB for all);
git, node, python3 and ruby must be there.
"""

import hashlib
import importlib
import json
import os
import shutil
import sys
from pathlib import Path

from commands import run

HERE = Path(__file__).resolve().parent
TOOLS = Path(os.environ.get("PRESETS_TOOLS", "/tmp/purgehook-presets"))
class Site:
    """A working copy under construction."""

    def __init__(self, directory):
        self.directory = directory
        directory.mkdir(parents=True)
        self.git("init", "-q", "-b", "main")

    def git(self, *arguments):
        return run("git", *arguments, cwd=self.directory)

    def write(self, path, text):
        at = self.directory / path
        at.parent.mkdir(parents=True, exist_ok=True)
        at.write_text(text, encoding="utf-8")

    def edit(self, path, old, new):
        at = self.directory / path
        text = at.read_text(encoding="utf-8")
        assert old in text, f"{path} has no {old!r}"
        at.write_text(text.replace(old, new, 1), encoding="utf-8")

    def remove(self, path):
        (self.directory / path).unlink()

    def rename(self, old, new):
        (self.directory / new).parent.mkdir(parents=True, exist_ok=True)
        (self.directory / old).rename(self.directory / new)

    def commit(self, what):
        self.git("add", "--all")
        self.git("commit", "-q", "-m", what)

    def changed(self):
        """What the last commit did, by path."""
        words = {"A": "added", "M": "changed", "T": "changed", "D": "removed"}
        parts = self.git("diff", "--name-status", "--no-renames", "-z", "HEAD~1", "HEAD").split("\0")
        return {path: words[kind] for kind, path in zip(parts[::2], parts[1::2])}


class Tools:
    """Where a generator is installed, and how to get it there."""

    def __init__(self, name):
        self.directory = TOOLS / name

    def npm(self, *packages, overrides=None):
        if not (self.directory / "node_modules").is_dir():
            self.directory.mkdir(parents=True, exist_ok=True)
            (self.directory / "package.json").write_text(json.dumps({"private": True, "overrides": overrides or {}}))
            run("npm", "install", "--no-audit", "--no-fund", *packages, cwd=self.directory, NODE_ENV="development")

    def pip(self, *packages):
        if not (self.directory / "venv").is_dir():
            run(sys.executable, "-m", "venv", self.directory / "venv")
            run(self.directory / "venv/bin/pip", "install", "-q", *packages)

    def gem(self, *packages):
        if not (self.directory / "gems").is_dir():
            run("gem", "install", "--no-document", *packages, GEM_HOME=str(self.directory / "gems"))

    def version(self, package):
        """Of a package of npm."""
        return json.loads((self.directory / "node_modules" / package / "package.json").read_text())["version"]


def build(module, tools, site):
    """The files of the last commit's build, with their hashes."""
    # Below the tools, whose node_modules are found there; always at the same path, which some builds hold.
    checkout = tools.directory / "checkout"
    shutil.rmtree(checkout, ignore_errors=True)
    run("git", "clone", "-q", site.directory, checkout)
    built = module.build(tools, checkout)
    files = {}
    for at in sorted(built.rglob("*")):
        if at.is_file():
            path = at.relative_to(built).as_posix()
            files[path] = hashlib.sha256(at.read_bytes()).hexdigest()
    assert files, "nothing was built"
    return files


def measure(name):
    module = importlib.import_module(f"sites.{name}")
    tools = Tools(name)
    module.install(tools)
    directory = tools.directory / "site"
    shutil.rmtree(directory, ignore_errors=True)
    site = Site(directory)
    module.start(site)
    site.commit("The site as it was")
    before = build(module, tools, site)
    again = build(module, tools, site)
    facts = {
        "tool": module.tool(tools),
        # What differs though nothing changed.
        "unrepeatable": [path for path in before if before[path] != again.get(path)],
        "start": list(before),
    }
    commits = []
    for what, change in module.HISTORY:
        change(site)
        site.commit(what)
        after = build(module, tools, site)
        commits.append({
            "what": what,
            "files": site.changed(),
            "added": [path for path in after if path not in before],
            "changed": [path for path in after if path in before and before[path] != after[path]],
            "removed": [path for path in before if path not in after],
        })
        print(f"{name}: {what}: {len(commits[-1]['changed'])} changed of {len(after)}", flush=True)
        before = after
    write(HERE / f"facts/{name}.json", facts, commits)


def write(path, facts, commits):
    """As JSON, a fact a line."""
    def text(value):
        return json.dumps(value, ensure_ascii=False)
    lines = [f"  {text(key)}: {text(value)}," for key, value in facts.items()]
    shown = []
    for commit in commits:
        inner = ",\n".join(f"      {text(key)}: {text(value)}" for key, value in commit.items())
        shown.append("    {\n" + inner + "\n    }")
    lines.append('  "commits": [\n' + ",\n".join(shown) + "\n  ]")
    path.write_text("{\n" + "\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    sys.path.insert(0, str(HERE))
    sys.dont_write_bytecode = True
    every = sorted(path.stem for path in (HERE / "sites").glob("[a-z]*.py"))
    for each in sys.argv[1:] or every:
        measure(each)
