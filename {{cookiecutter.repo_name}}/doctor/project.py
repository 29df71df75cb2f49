"""What git would push, and simple facts about it. All that is read is read here."""

import ast
import json
import os
import re
import subprocess
import tomllib
from collections import defaultdict
from functools import cached_property
from pathlib import Path

from doctor import FACTS

MAX_BYTES = 1_000_000  # larger files are listed, but not read
NOT_PUSHED = {".git", ".venv", "venv", "instance", "__pycache__", "node_modules"}
# Code in these folders does not run in the web process.
NOT_THE_APP = ("doctor/", "test/", "tests/", "migrations/")


class CannotCheck(Exception):
    """The project could not be read at all; the text says why."""


class Project:
    """The files of the last commit. Without a commit: the files of the folder."""

    def __init__(self, root):
        """root: the project's folder. Raises CannotCheck."""
        self.root = Path(root).resolve()
        if not self.root.is_dir():
            raise CannotCheck(self.root)
        self.sizes = {}  # path from the root, with slashes: bytes
        self.contents = {}  # the same: what is in it
        self.above = ""  # how deep the project lies in its repository
        self.unpushed = []  # what differs from the last commit
        self.in_git = self._git("rev-parse", "--verify", "--quiet", "HEAD") is not None
        if self.in_git:
            self._read_commit()
        else:
            self._read_folder()

    def _git(self, *arguments, given=b""):
        """Return what git prints, None where it fails or is not there."""
        # git's own variables may name another repository.
        environ = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
        command = ["git", "-c", f"safe.directory={self.root}", *arguments]
        options = {"cwd": self.root, "env": environ, "capture_output": True}
        try:
            result = subprocess.run(command, input=given, check=False, **options)
        except OSError:
            return None
        return result.stdout if result.returncode == 0 else None

    def _read_commit(self):
        self.above = self._git("rev-parse", "--show-prefix").decode().strip()
        hashes = {}
        listing = self._git("ls-tree", "-r", "-z", "--long", "HEAD")
        for entry in listing.split(b"\0")[:-1]:
            facts, _, path = entry.partition(b"\t")
            mode, kind, hash, size = facts.split()
            if kind == b"blob":
                path = path.decode("utf-8", "replace")
                self.sizes[path] = int(size)
                if int(size) <= MAX_BYTES and mode != b"120000":  # a symbolic link
                    hashes[path] = hash
        # One git for all files: starting it 200 times would take seconds.
        wanted = b"".join(hash + b"\n" for hash in hashes.values())
        answer = self._git("cat-file", "--batch", given=wanted)
        if answer is None:
            raise CannotCheck("git cat-file")
        position = 0
        for path in hashes:
            end = answer.index(b"\n", position)
            size = int(answer[position:end].split()[2])
            self.contents[path] = answer[end + 1 : end + 1 + size]
            position = end + 1 + size + 1
        status = self._git("status", "--porcelain", "-z", "--untracked-files=all", ".")
        for entry in (status or b"").split(b"\0"):
            if entry[2:3] == b" ":
                path = entry[3:].decode("utf-8", "replace")
                self.unpushed.append(path.removeprefix(self.above))

    def _read_folder(self):
        for folder, folders, files in os.walk(self.root):
            folders[:] = [name for name in folders if name not in NOT_PUSHED]
            for name in files:
                path = Path(folder, name)
                relative = path.relative_to(self.root).as_posix()
                if path.is_file() and relative != ".env":
                    self.sizes[relative] = path.stat().st_size
                    if self.sizes[relative] <= MAX_BYTES:
                        self.contents[relative] = path.read_bytes()

    def files(self):
        """Yield (path, content) of everything that is pushed, large files too."""
        for path in self.sizes:
            content = self.contents.get(path)
            if content is None and self.in_git:
                content = self._git("cat-file", "blob", f"HEAD:./{path}")
            elif content is None:
                content = (self.root / path).read_bytes()
            yield path, content or b""

    def __contains__(self, path):
        return path in self.sizes

    def in_root(self):
        """Return the names of what lies in the root: files, and folders without a slash."""
        return {path.partition("/")[0] for path in self.sizes}

    def in_folder(self, name):
        """Tell whether this name, to the letter, is in the folder, pushed or not."""
        return name in os.listdir(self.root)

    def text(self, path):
        """Return a file's text, empty where there is none."""
        content = self.contents.get(path, b"")
        if utf16(content):
            marked = content[:2] in (b"\xff\xfe", b"\xfe\xff")
            return content.decode("utf-16" if marked else "utf-16-le", "replace")
        return content.decode("utf-8-sig", "replace")

    def lines(self, path):
        """Yield (number, line without its end), numbers from 1."""
        yield from enumerate(self.text(path).splitlines(), start=1)

    @cached_property
    def trees(self):
        """Return {path: syntax tree} of all pushed Python files that parse."""
        trees = {}
        for path in self.contents:
            if path.endswith(".py") and not path.startswith("doctor/"):
                try:
                    trees[path] = ast.parse(self.contents[path])
                except (SyntaxError, ValueError, RecursionError, MemoryError):
                    continue
        return trees

    @cached_property
    def app_trees(self):
        """Return the same of the code that runs on the dyno."""
        trees = self.trees.items()
        return {path: tree for path, tree in trees if not path.startswith(NOT_THE_APP)}

    @cached_property
    def _nodes(self):
        """Return {type: [(path, node)]}: walking the trees once is what keeps this fast."""
        found = defaultdict(list)
        for path, tree in self.app_trees.items():
            for node in ast.walk(tree):
                found[type(node)].append((path, node))
        return found

    def nodes(self, *types):
        """Yield (path, node) of all nodes of these types in the app's code."""
        for type in types:
            yield from self._nodes[type]

    def texts(self):
        """Yield (path, node) of all texts in the app's code."""
        for path, node in self.nodes(ast.Constant):
            if isinstance(node.value, str):
                yield path, node

    def calls(self, *names):
        """Yield (path, node) of the app's calls whose last name is one of these."""
        for path, node in self.nodes(ast.Call):
            if last_name(node.func) in names:
                yield path, node

    @cached_property
    def constants(self):
        """Return all texts in the app's code."""
        return {node.value for _, node in self.texts()}

    @cached_property
    def procfile(self):
        """Return {process type: (line number, command)}, as the platform reads it."""
        pattern = re.compile(r"\s*([a-zA-Z0-9_-]+):?\s+(.*)")
        found = {}
        for number, line in self.lines("Procfile"):
            if match := pattern.fullmatch(line):
                found[match[1]] = (number, match[2].strip())
        return found

    @cached_property
    def json(self):
        """Return app.json as a dict, empty where it is missing or is none."""
        try:
            return as_dict(json.loads(self.text("app.json")))
        except (ValueError, RecursionError):
            return {}

    def app_json_line(self, key):
        """Return the number of the line of app.json that names a key or a value, or 0."""
        lines = self.lines("app.json")
        return next((number for number, text in lines if f'"{key}"' in text), 0)

    @cached_property
    def app_env(self):
        """Return the config vars of app.json: {name: what it says of it}."""
        return as_dict(self.json.get("env"))

    @cached_property
    def requirements(self):
        """Return {package: (file, line number, line)} of what the platform installs.

        Names are written in the index's way: lower case, dashes.
        """
        found = {}
        self._read_requirements("requirements.txt", found)
        for file in FACTS["packages"]["lists"][1:]:
            for name in filter(None, map(str, self._locked(file))):
                found.setdefault(normal(name), (file, 0, name))
        return found

    @cached_property
    def direct_requirements(self):
        """Return the same of requirements.in, if there is one: what a person has asked for."""
        found = {}
        self._read_requirements("requirements.in", found)
        return found or self.requirements

    def _read_requirements(self, file, found, seen=()):
        for number, line in self.lines(file):
            line = line.split(" #")[0].strip()
            if match := re.match(r"(?:-r|--requirement)[ =]?\s*(\S+)", line):
                included = Path(file).parent.joinpath(match[1]).as_posix()
                if included not in seen:
                    self._read_requirements(included, found, (*seen, file))
            elif match := re.match(r"([A-Za-z0-9][A-Za-z0-9._-]*)", line):
                found[normal(match[1])] = (file, number, line)

    def _locked(self, file):
        try:
            if file == "Pipfile.lock":
                return list(json.loads(self.text(file) or "{}").get("default", {}))
            packages = tomllib.loads(self.text(file)).get("package", [])
            return [package["name"] for package in packages]
        except (ValueError, AttributeError, KeyError, TypeError):
            return []  # what is wrong with such a file is for its own tool to say


def as_dict(value):
    return value if isinstance(value, dict) else {}


def last_name(node):
    """Return the name at the end of an expression: "c" for a.b.c, "" for other things."""
    return getattr(node, "attr", getattr(node, "id", ""))


def strings(tree):
    """Return all texts in a syntax tree."""
    values = (getattr(node, "value", None) for node in ast.walk(tree))
    return [value for value in values if isinstance(value, str)]


def modules(node):
    """Return the first names of the modules that a node imports from elsewhere."""
    if isinstance(node, ast.Import):
        return [alias.name.partition(".")[0] for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        return [node.module.partition(".")[0]]
    return []


def plain_utf8(content):
    """Tell whether a file has neither UTF-16 nor a byte-order mark."""
    return not utf16(content) and not content.startswith(b"\xef\xbb\xbf")


def utf16(content):
    """Tell whether a file looks like what PowerShell's `>` writes."""
    return content[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in content[:200]


def normal(name):
    """Return a package's name as the index writes it."""
    return re.sub(r"[-_.]+", "-", name).lower()
