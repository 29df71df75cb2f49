"""What git would push, and simple facts about it. All that is read is read here."""

import ast
import contextlib
import json
import os
import posixpath
import re
import warnings
from collections import defaultdict
from functools import cached_property
from pathlib import Path

from doctor import FACTS, repository
from doctor.commands import commands
from doctor.installed import Installed
from doctor.lists import PackageList, normal
from doctor.repository import CannotCheck
from doctor.running import Running

MAX_BYTES = 1_000_000  # larger files are listed, but not read
MAX_TOTAL = 50_000_000  # bytes of all files that are read
MAX_LINE = 2_000  # characters of a line that are looked at
MAX_SOURCE = 200_000  # bytes of a Python file that is parsed
MAX_NODES = 300_000  # of all syntax trees together: they take about 300 bytes each
MAX_FILES = 10_000  # that are read, those of the root first
# Folders that no push would contain: environments, caches, what the platform has built.
NOT_PUSHED = [
    ".git",
    ".heroku",
    ".venv",
    "venv",
    "env",
    "instance",
    "node_modules",
    "site-packages",
    ".tox",
    ".nox",
    "__pycache__",
    ".cache",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
]
OWNERS = defaultdict(set)  # module: packages
for _package, _modules in FACTS["modules"].items():
    for _module in _modules:
        OWNERS[_module].add(_package)
ENVIRONMENT_MARKS = {"pyvenv.cfg", "conda-meta"}
# Code that does not run on the dyno, where nothing is known of what does.
ASIDE_FOLDERS = {
    "doctor",
    "test",
    "tests",
    "testing",
    "migrations",
    "docs",
    "doc",
    "examples",
    "example",
    "scripts",
    "notebooks",
    "tools",
    "vendor",
    "vendored",
    "third_party",
    "benchmarks",
    "bench",
    "alembic",
}
ASIDE_FILES = {
    "conftest.py",
    "setup.py",
    "fabfile.py",
    "locustfile.py",
    "noxfile.py",
    "tasks.py",
    "gunicorn.conf.py",
    "gunicorn_config.py",
    "manage.py",
    "conf.py",
}


class Project:
    """The files of the last commit. Without a commit: the files of the folder."""

    def __init__(self, root):
        """root: the project's folder. Raises CannotCheck."""
        # Path.resolve() stumbles over links in a circle.
        self.root = Path(os.path.realpath(root))
        if not self.root.is_dir():
            raise CannotCheck("no_folder", folder=root)
        self.sizes = {}  # path from the root, with slashes: bytes
        self.contents = {}  # the same: what is in it
        self.modes = {}  # the same: git's mode, such as "100755"
        self.hashes = {}
        self.above = ""  # how deep the project lies in its repository
        self.unpushed = []  # what differs from the last commit, None if nobody can tell
        self.repository = None
        self._find_repository()
        self.in_git = self.repository is not None and self.repository.head is not None
        if self.in_git:
            self._read_commit()
        else:
            self._read_folder()

    def _find_repository(self):
        found = repository.find(self.root)
        if found:
            self.repository = repository.Repository(*found)
            self.above = self.root.relative_to(found[0]).as_posix() + "/"
            self.above = "" if self.above == "./" else self.above

    def _read_commit(self):
        with self.repository as git:
            files = git.files(self.above)
            self.sizes = {path: size for path, (_, _, size) in files.items()}
            self.modes = {path: mode for path, (mode, _, _) in files.items()}
            self.hashes = {path: hash for path, (_, hash, _) in files.items()}
            small, total = [], 0
            for path in sorted(self.sizes, key=lambda path: path.count("/")):
                size = self.sizes[path]
                if size > MAX_BYTES or not self.is_file(path):
                    continue
                total += size
                if total <= MAX_TOTAL and len(small) < MAX_FILES:
                    small.append(path)
            contents = git.contents([self.hashes[path] for path in small])
            read = dict(zip(small, contents, strict=True))
            self.contents = {path: read[path] for path in self.sizes if path in read}
            self.unpushed = git.unpushed(self.above)

    def is_file(self, path):
        """Tell whether a path is a file, not a link or another repository."""
        return self.modes.get(path, "100644").startswith("100")

    def _read_folder(self):
        total = 0
        for folder, folders, files in os.walk(self.root):
            inner = folder != str(self.root)
            if inner and ENVIRONMENT_MARKS & {*folders, *files}:
                folders.clear()
                continue
            folders[:] = sorted(name for name in folders if name not in NOT_PUSHED)
            for name in sorted(files):
                path = Path(folder, name)
                relative = path.relative_to(self.root).as_posix()
                if path.is_symlink() or not path.is_file() or relative == ".env":
                    continue
                self.sizes[relative] = path.stat().st_size
                total += self.sizes[relative]
                if self.sizes[relative] <= MAX_BYTES and total <= MAX_TOTAL:
                    self.contents[relative] = path.read_bytes()
            if len(self.sizes) > MAX_FILES:
                raise CannotCheck("too_many_files", most=MAX_FILES)

    def files(self):
        """Yield (path, content) of everything that is pushed, large files too, no links."""
        with self.repository or contextlib.nullcontext() as git:
            for path in filter(self.is_file, self.sizes):
                content = self.contents.get(path)
                if content is None and self.in_git:
                    content = next(git.contents([self.hashes[path]]))
                elif content is None:
                    content = (self.root / path).read_bytes()
                yield path, content

    def __contains__(self, path):
        return path in self.sizes

    def in_root(self):
        """Return the names of what lies in the root: files, and folders without a slash."""
        return {path.partition("/")[0] for path in self.sizes}

    def in_folder(self, path):
        """Tell whether this path, to the letter, is in the folder, pushed or not."""
        folder = self.root
        for name in path.split("/"):
            if (
                name in ("", ".", "..")
                or not os.path.isdir(folder)
                or name not in os.listdir(folder)
            ):
                return False
            folder = folder / name
        return True

    def is_nearly_there(self, path):
        """Tell whether a path lies in the folder, pushed or not, or has other letters."""
        return path.lower() in self.lower_paths or self.in_folder(path)

    def text(self, path):
        """Return a file's text, empty where there is none."""
        content = self.contents.get(path, b"")
        if utf16(content):
            marked = content[:2] in (b"\xff\xfe", b"\xfe\xff")
            return content.decode("utf-16" if marked else "utf-16-le", "replace")
        return content.decode("utf-8-sig", "replace")

    def lines(self, path):
        """Yield (number, line without its end), numbers from 1."""
        for number, line in enumerate(self.text(path).splitlines(), start=1):
            yield number, line[:MAX_LINE]

    @cached_property
    def _parsed(self):
        """Return ({path: syntax tree}, {path: SyntaxError}) of all pushed Python files."""
        trees, broken, nodes = {}, {}, 0
        for path, content in self.contents.items():
            if not path.endswith(".py") or path.startswith("doctor/"):
                continue
            if len(content) > MAX_SOURCE or nodes > MAX_NODES:
                continue
            try:
                with warnings.catch_warnings(action="ignore"):  # "\\d" and the like
                    tree = ast.parse(content)
                nodes += sum(1 for _ in ast.walk(tree))
                # What is nested so deeply that a look at it would end in an error.
                ast.unparse(tree)
            except (SyntaxError, ValueError) as error:
                broken[path] = error
            except (RecursionError, MemoryError):
                continue
            else:
                trees[path] = tree
        return trees, broken

    @property
    def trees(self):
        return self._parsed[0]

    @property
    def broken(self):
        return self._parsed[1]

    @cached_property
    def commands(self):
        """Return what the Procfile starts, scripts and what is in them too."""
        found = []
        for type, (number, text) in self.procfile.items():
            found += commands(self, type, "Procfile", number, text)
        return found

    @cached_property
    def running(self):
        return Running(self)

    @cached_property
    def list(self):
        return PackageList(self)

    def may_be_the_app(self, path):
        """Tell whether a file may run, where nothing says what does."""
        aside = {*path.split("/")[:-1]} & ASIDE_FOLDERS or posixpath.basename(
            path
        ) in ASIDE_FILES
        return not aside and not re.match(
            r"test_|.*_test\.py$", posixpath.basename(path)
        )

    def is_sure(self, path):
        """Tell whether a file runs whenever the app starts."""
        return self.running.reached.get(path, (False,))[0]

    @cached_property
    def app_trees(self):
        """Return {path: syntax tree} of the code that runs."""
        reached = self.running.reached
        return {path: tree for path, tree in self.trees.items() if path in reached}

    @cached_property
    def _nodes(self):
        """Return {type: [(path, node)]}: walking the trees once is what keeps this fast."""
        found = defaultdict(list)
        for path, tree in self.app_trees.items():
            for node in ast.walk(tree):
                found[type(node)].append((path, node))
        return found

    @cached_property
    def folders(self):
        found = set()
        for path in self.sizes:
            while path := posixpath.dirname(path):
                if path in found:
                    break
                found.add(path)
        return found

    @cached_property
    def lower_paths(self):
        """Return {path in small letters: path}."""
        return {path.lower(): path for path in self.sizes}

    @property
    def is_flask(self):
        """Tell whether the code that runs uses Flask."""
        return any(f.module.partition(".")[0] == "flask" for f in self.running.foreign)

    @cached_property
    def definitions(self):
        """Return the functions and classes of the app's code."""
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
        return [node for _, node in self.nodes(*kinds)]

    @cached_property
    def blueprints(self):
        """Return the names of the app's blueprints."""
        calls = [node for _, node in self.calls("Blueprint") if node.args]
        return {getattr(node.args[0], "value", None) for node in calls}

    def has_keyword(self, name):
        return any(word.arg == name for _, word in self.nodes(ast.keyword))

    def has_folder(self, path):
        return path.strip("/") in self.folders

    def imports_in(self, path):
        """Yield the import statements of a file, but not those that only a type checker reads."""
        for node in ast.walk(self.trees[path]):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                yield node

    def dotted_texts(self, path):
        """Yield the texts of a file that may be a module's name: "shop.settings"."""
        for value in strings(self.trees[path]):
            if re.fullmatch(r"[a-z_]\w*(\.\w+)+", value[:100]):
                yield value

    def app_texts(self, path):
        """Yield the texts of a file that name an app: "shop.main:app"."""
        for value in strings(self.trees[path]):
            if re.fullmatch(r"[a-z_]\w*(\.\w+)*:\w+(\(\))?", value[:100]):
                yield value

    def path_changes(self, path):
        """Yield the folders that a file adds to sys.path, "" where they are not known."""
        for node in ast.walk(self.trees[path]):
            if isinstance(node, ast.Call) and "sys.path" in ast.unparse(node.func):
                yield from [text.strip("./") for text in strings(node)] or [""]

    def gunicorn_setting(self, command, name):
        """Return a setting of gunicorn's configuration file, None where there is none."""
        file = command.path(
            (command.option("-c", "--config") or "gunicorn.conf.py").removeprefix(
                "file:"
            )
        )
        for node in self.trees[file].body if file in self.trees else ():
            if isinstance(node, ast.Assign) and last_name(node.targets[0]) == name:
                value = getattr(node.value, "value", None)
                return value if isinstance(value, str) else None
        return None

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

    def calls_any(self, *names):
        return any(True for _ in self.calls(*names))

    @cached_property
    def constants(self):
        """Return all texts in the app's code."""
        return {node.value for _, node in self.texts()}

    def times(self, text):
        """Return how often a text stands in the app's code."""
        return sum(1 for _, node in self.texts() if node.value == text)

    @property
    def reads_database_url(self):
        """Tell whether the code takes its database from the config var, by itself or a package."""
        imported = {found.module.partition(".")[0] for found in self.running.foreign}
        mends = imported & set(FACTS["config_vars"]["mend"])
        return "DATABASE_URL" in self.constants or bool(mends)

    @cached_property
    def reads_settings(self):
        """Tell whether the code reads its settings through environs, decouple or the like."""
        known = FACTS["config_vars"]["readers"]
        return any(
            found.module.partition(".")[0] in known for found in self.running.foreign
        )

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
    def buildpacks(self):
        """Return the buildpacks that app.json names, "heroku/python" and the like."""
        found = self.json.get("buildpacks")
        found = found if isinstance(found, list) else []
        return [str(as_dict(entry).get("url", entry)) for entry in found]

    # --- packages and their modules ---

    @cached_property
    def installed(self):
        return Installed(self.root)

    def modules_of(self, package):
        """Return the modules of a package, none where it is not known."""
        known = FACTS["modules"].get(package)
        if known is None and package in FACTS["brings"]:
            known = [package.replace("-", "_")]
        return known or self.installed.modules(package)

    def owners_of(self, module):
        """Return the packages that have a module, as far as anybody knows."""
        names, found = [], set()
        parts = module.split(".")
        for count in range(len(parts), 0, -1):
            names.append(".".join(parts[:count]))
        for name in names:
            found |= set(FACTS["packages"]["of_module"].get(name, ()))
            found |= OWNERS.get(name, set())
        same = parts[0].replace("_", "-")
        if same in FACTS["brings"] and parts[0] in self.modules_of(same):
            found.add(same)
        return found | {
            p for p in self.list.packages if parts[0] in self.installed.modules(p)
        }

    def is_package(self, module):
        return bool(self.owners_of(module)) or normal(module) in self.list.packages

    @cached_property
    def available(self):
        """Return (all packages that are installed, whether that is sure, whether their modules are known)."""
        found, sure, known = set(), True, True
        waiting = []
        for name, line in self.list.packages.items():
            extras = [
                f"{name}[{extra.strip()}]"
                for extra in line.extras.strip("[]").split(",")
                if extra.strip()
            ]
            sure = sure and all(extra in FACTS["brings"] for extra in extras)
            waiting += [name, *extras]
        sure = sure and not any(
            line.kind in ("address", "path") for line in self.list.lines
        )
        while waiting:
            name = waiting.pop()
            if name in found:
                continue
            found.add(name)
            needs = FACTS["brings"].get(name, self.installed.needs(name))
            known = known and bool(self.modules_of(name.partition("[")[0]))
            if needs is None:
                sure = sure and self.list.is_whole
            else:
                waiting += needs
        return found, sure, known

    @property
    def unknown_needs(self):
        return not self.available[1]

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
