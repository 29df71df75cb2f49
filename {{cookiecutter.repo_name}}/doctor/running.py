"""The code that runs: from what the commands start along the imports, and how sure that is."""

import ast
import posixpath
import re
import sys
from dataclasses import dataclass

from doctor import FACTS
from doctor.commands import SERVERS

OPTIONAL = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
SOURCES = ("", "src")  # where packages of one's own lie


@dataclass
class Target:
    """An app that a command names. name: None where it names a module only."""

    command: object
    text: str
    module: str
    name: str | None
    paths: list


@dataclass(frozen=True)
class Import:
    """What a file imports. sure: it does so whenever the app starts."""

    path: str
    line: int
    module: str
    names: tuple
    level: int
    sure: bool


class Running:
    """The files that run. reached: {path: whether it is sure}; foreign: imports of packages."""

    def __init__(self, project):
        self.project = project
        self.reached, self.foreign, self.lost, self.nameless = {}, [], [], []
        self.targets, self.entries, self.called = [], [], set()
        self.flexible = False  # something changes sys.path
        self.searched = list(SOURCES[:1])
        if any(
            re.match(r"(-e\s*)?\.(\[.*\])?$", line.text) for line in project.list.lines
        ) or {"uv.lock", "poetry.lock"} & set(project.sizes):
            self.searched += SOURCES[1:]
        for command in project.commands:
            self.start(command)
        if not self.entries:  # nothing is known of what starts
            for path in project.trees:
                if project.may_be_the_app(path):
                    self.reach(path, False, list(self.searched))
        done = 0
        while done != (done := len(self.called) + len(self.reached)):
            self.foreign, self.lost, self.nameless = [], [], []
            for path in list(self.reached):
                self.follow(path)

    # --- what starts ---

    def start(self, command):
        """Reach what a command starts."""
        paths = self.paths(command)
        for target in targets(command, self.project, paths):
            self.targets.append(target)
            found = self.find(target.module, paths)
            if found:
                self.entries.append(found)
                self.reach(found, True, paths)
                self.called.add((target.name or "").partition("(")[0])
        file = command.python_file() or self.page(command)
        module = command.module()
        if file and command.path(file) in self.project:
            path = command.path(file)
            self.entries.append(path)
            self.reach(path, True, [posixpath.dirname(path), *paths], main=True)
        elif module:
            found = self.find(f"{module}.__main__", paths) or self.find(module, paths)
            if found:
                self.entries.append(found)
                self.reach(found, True, paths, main=True)

    def page(self, command):
        """Return the file that a program such as streamlit runs."""
        row = SERVERS.get(command.program, {})
        files = [
            word
            for word in command.positional(row.get("flags", ()))
            if word.endswith(".py")
        ]
        return files[0] if files and row.get("runs") else None

    def paths(self, command):
        """Return the folders that a command looks for modules in."""
        row = SERVERS.get(command.program, {})
        folder = command.option(*row.get("folder", ())) if row.get("folder") else None
        first = command.path(folder) if folder else command.folder
        more = command.option(*row["path"]) if row.get("path") else None
        more = [
            *(more or "").split(","),
            *command.variables.get("PYTHONPATH", "").split(":"),
        ]
        more = [command.path(p) for p in more if p and "$" not in p]
        found = [first, *more, *self.searched]
        return list(
            dict.fromkeys("" if path == "." else path.strip("/") for path in found)
        )

    def find(self, module, paths):
        """Return the file of a module of the project's own, None where there is none."""
        name = module.replace(".", "/")
        for base in paths:
            path = posixpath.join(base, name)
            for file in (f"{path}/__init__.py", f"{path}.py"):
                if file in self.project:
                    return file
        return None

    def is_folder(self, module, paths):
        """Tell whether a module is a folder without __init__.py."""
        name = module.replace(".", "/")
        return any(
            self.project.has_folder(posixpath.join(base, name)) for base in paths
        )

    # --- along the imports ---

    def reach(self, path, sure, paths, main=False):
        before = self.reached.get(path)
        if before is None or (sure and not before[0]):
            self.reached[path] = (sure, paths, main or bool(before and before[2]))

    def follow(self, path):
        tree = self.project.trees.get(path)
        if tree is None:
            return
        sure, paths, main = self.reached[path]
        executed = (
            set(map(id, executed_statements(tree, main, self.called)))
            if sure
            else set()
        )
        for node in self.project.imports_in(path):
            self.add(path, node, id(node) in executed, paths)
        for statement in executed_statements(tree, main, self.called) if sure else ():
            if not isinstance(statement, (ast.Import, ast.ImportFrom)):
                self.called |= set(called_names(statement))
        for value in self.project.app_texts(path):
            module, _, name = value.partition(":")
            if found := self.find(module, paths):
                self.entries.append(found)
                self.reach(found, sure, paths)
                self.called.add(name.partition("(")[0])
        for value in self.project.dotted_texts(path):
            found = self.find(value, paths) or self.find(
                value.rpartition(".")[0], paths
            )
            if found:
                self.reach(found, False, paths)
        for folder in self.project.path_changes(path):
            self.flexible = True
            if self.project.has_folder(folder) and folder not in paths:
                self.reached[path] = (sure, paths := [*paths, folder], main)

    def add(self, path, node, sure, paths):
        """Note down one import statement; reach what it leads to."""
        if isinstance(node, ast.Import):
            wanted = [(alias.name, ()) for alias in node.names]
        else:
            wanted = [(node.module or "", tuple(alias.name for alias in node.names))]
        level = getattr(node, "level", 0)
        for module, names in wanted:
            where = paths
            if level:
                base = posixpath.dirname(path)
                for _ in range(level - 1):
                    base = posixpath.dirname(base)
                where = [base]
            self.note(
                Import(path, node.lineno, module, names, level, sure), where, paths
            )

    def note(self, found, where, paths):
        module, sure = found.module, found.sure
        first = module.partition(".")[0]
        if not found.level and not (
            self.find(first, where) or self.is_folder(first, where)
        ):
            self.foreign.append(found)
            return
        parts = module.split(".") if module else []
        for count in range(1, len(parts)):  # the packages on the way are run as well
            if on_the_way := self.find(".".join(parts[:count]), where):
                self.reach(on_the_way, sure, paths)
        if not module:
            init = posixpath.join(where[0], "__init__.py").lstrip("/")
            file = init if init in self.project else None
        else:
            file = self.find(module, where)
        if file:
            self.reach(file, sure, paths)
        elif module and not self.is_folder(module, where):
            self.lost.append((found, where))
            return
        for name in found.names:
            inner = self.find(f"{module}.{name}".lstrip("."), where)
            if inner:
                self.reach(inner, sure, paths)
            elif self.is_folder(f"{module}.{name}".lstrip("."), where) or name == "*":
                continue
            elif file is None or not self.defines(file, name, found):
                self.nameless.append((found, name, file))

    def defines(self, path, name, wanted=None):
        """Tell whether a module may have this name. wanted: an Import that asks for it."""
        tree = self.project.trees.get(path)
        itself = wanted.line if wanted and wanted.path == path else 0
        return tree is None or defines(tree, name, itself)


def targets(command, project, paths):
    """Yield the apps that a command names, as its program reads them."""
    row = SERVERS.get(command.program)
    words = []
    if command.program in ("flask", "quart"):
        named = command.option("--app", "-A") or command.variables.get("FLASK_APP")
        if named:
            module, _, name = named.partition(":")
            module = module.removesuffix(".py").strip("/").replace("/", ".")
            yield Target(command, named, module, name or None, paths)
        return
    if row and row.get("app"):
        words = [command.option(*row["app"])] if row["app"] != ["first"] else []
        if row["app"] == ["first"]:
            words = command.positional(row.get("flags", ()))[:1]
            if not words and command.program == "gunicorn":
                words = [project.gunicorn_setting(command, "wsgi_app")]
    for word in filter(None, words):
        module, colon, name = word.partition(":")
        module = module.removesuffix(".py") if row.get("file") else module
        if re.fullmatch(r"[^\W\d][\w.]*", module):
            default = row.get("name")
            yield Target(command, word, module, name if colon else default, paths)
    loose = (
        command.option("-A", "--app")
        if command.program in ("celery", "procrastinate")
        else None
    )
    if loose:
        yield Target(command, loose, loose.partition(":")[0], None, paths)


def executed_statements(tree, main, called):
    """Yield the statements that run whenever a module is loaded.

    called: functions that are called then; main: the module is the program.
    """
    waiting = list(tree.body)
    while waiting:
        statement = waiting.pop(0)
        if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
            if statement.name in called:
                waiting += statement.body
        elif isinstance(statement, ast.ClassDef):
            waiting += [s for s in statement.body if not isinstance(s, OPTIONAL)]
        elif isinstance(statement, (ast.With, ast.AsyncWith)):
            waiting += statement.body
        elif isinstance(statement, ast.If):
            if main and "__main__" in ast.dump(statement.test):
                waiting += statement.body
        elif not isinstance(
            statement, (ast.Try, ast.For, ast.While, ast.TryStar, ast.Match)
        ):
            yield statement


def called_names(statement):
    """Yield the names of the functions that a statement calls."""
    for node in ast.walk(statement):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node.func.id


def defines(tree, name, but=0):
    """Tell whether a module defines or imports this name anywhere but in one line."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.alias) and node.lineno != but:
            names.add(node.asname or node.name.partition(".")[0])
    # After `import *`, or with a function that makes up names, nobody can tell.
    return name in names or bool({"*", "__getattr__"} & names) or name.startswith("__")


def standard(module):
    """Tell whether a module comes with Python."""
    return module in sys.stdlib_module_names or module in FACTS["packages"]["always"]
