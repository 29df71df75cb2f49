"""The code that runs: from what the commands start along the imports, and how sure that is."""

import ast
import posixpath
import re
from dataclasses import dataclass

from doctor import FACTS
from doctor.commands import SERVERS
from doctor.loading import Import, Loading, Mistake, Module
from doctor.trees import first_value, unparse, walk

TRIES = (ast.Try, ast.TryStar, ast.If)
BODIES = (
    "body",
    "orelse",
    "handlers",
    "cases",
    "finalbody",
)  # statements within statements
SIMPLE = (ast.Expr, ast.Assign, ast.AnnAssign, ast.AugAssign, ast.Return)  # without any
DJANGO_APPS = (
    "django.core.wsgi.get_wsgi_application",
    "django.core.asgi.get_asgi_application",
)
ASSIGNS = (ast.Assign, ast.AnnAssign)
COMPUTED = (ast.IfExp, ast.BoolOp, ast.Call, ast.ListComp, ast.GeneratorExp)
DJANGO = FACTS["django"]
# Programs that run the migrations, and so the code in them.
MIGRATES = {"flask": ["db", "upgrade"], "alembic": ["upgrade"]}
# The folder of the project, as a command of a shell names it.
HERE = re.compile(r"(\$\{?(PWD|HOME)\}?|\$\(pwd\)|`pwd`)(/|$)")


@dataclass
class Target:
    """An app that a command names. name: None where it names a module only."""

    command: object
    text: str
    module: str
    name: str | None
    paths: list


class Running:
    """The files that run.

    reached: {path: (whether it is sure, where it looks for modules)}; foreign: imports of
    packages; lost: imports of the project's own that lead nowhere, with where they look.
    """

    def __init__(self, project):
        self.project = project
        self.loading = Loading(project)
        self.reached, self.lost, self.targets, self.starts = {}, [], [], 0
        self.apps = []  # the modules of apps that commands or texts name
        self.roots = []  # (command, a Module that stands for what it loads)
        self.served = {}  # Module of an app: whether the code names it, not a command
        self.settings = {}  # Django's, as values() returns them
        self.named_by_django = []  # Imports that stand in them as texts
        self.leads = {}  # file: the files that its imports may load
        self.flexible = False  # something changes sys.path
        self.searched = [""]
        # uv installs the project only where it says how to build it.
        built = (
            "poetry.lock" in project
            or "uv.lock" in project
            and (
                project.settings("build-system")
                or project.settings("tool", "uv").get("package")
            )
        )
        if project.list.own or built:
            self.searched.append("src")
        try:
            for command in project.commands:
                self.start(command)
            self.follow_texts()
        except RecursionError:  # a program that is nested beyond what can be followed
            self.flexible = True
        self.foreign = [*self.loading.imports, *self.named_by_django]
        for module in self.loading.modules.values():
            self.reached[module.path] = (True, module.paths)
        if not self.starts:  # nothing is known of what starts
            for path in project.trees:
                if project.may_be_the_app(path):
                    self.reached[path] = (False, self.searched)
        waiting = list(self.reached)
        for path in waiting:  # grows on the way
            waiting += self.follow_later(path)

    # --- what starts ---

    def start(self, command):
        """Load what a command starts."""
        paths = self.paths(command)
        root = Module("", "", "", paths)
        self.roots.append((command, root))
        self.loading.running = [root]
        for target in targets(command, self.project, paths):
            self.targets.append(target)
            module = self.load_target(target.module, target.name, paths)
            if module and command.program not in ("flask", "quart"):
                self.served.setdefault(module, False)
        file = command.python_file() or self.page(command)
        module = command.module()
        if file and command.path(file) in self.project:
            path = command.path(file)
            folder = posixpath.dirname(path)
            name = posixpath.basename(path).removesuffix(".py")
            # FastAPI's program imports a file with the packages that it lies in.
            climbs = SERVERS.get(command.program, {}).get("climbs", False)
            while climbs and f"{folder}/__init__.py" in self.project:
                name = f"{posixpath.basename(folder)}.{name}"
                folder = posixpath.dirname(folder)
            self.loading.load(name, path, folder, [folder, *paths], main=not climbs)
            self.starts += 1
        elif module:
            inner = f"{module}.__main__"
            name = inner if self.find(inner, paths) else module
            self.starts += bool(self.loading.module(name, paths, main=True))
        words = MIGRATES.get(command.program)
        if words and command.arguments[: len(words)] == words:
            self.load_migrations(command, paths)

    def load_target(self, module, name, paths):
        """Load "module:name", or what name() makes."""
        loaded = self.loading.module(module, paths)
        if loaded:
            self.starts += 1
            self.apps.append(module)
            first = re.split(r"[.(]", name or "")[0]
            self.loading.call(loaded.names.get(first))
        return loaded

    def load_migrations(self, command, paths):
        """Load env.py and all versions, as Alembic does, and go through their upgrade()."""
        folder = command.path(command.option("-d", "--directory") or "migrations")
        self.loading.guards = [
            "with"
        ]  # Flask-Migrate runs them in a context of the app
        versions = f"{folder}/versions/"
        for path in sorted(self.project.trees):
            if path == f"{folder}/env.py" or path.startswith(versions):
                name = posixpath.basename(path).removesuffix(".py")
                module = self.loading.load(name, path, posixpath.dirname(path), paths)
                self.loading.call(module.names.get("upgrade"))
        self.loading.guards = []

    def follow_texts(self):
        """Load the apps that the code of what runs names: "shop.main:app"."""
        self.load_django()
        done = 0
        while done != (done := len(self.loading.modules)):
            for module in list(self.loading.modules.values()):
                is_read = module.path in self.project.trees
                for text in self.project.app_texts(module.path) if is_read else ():
                    name, _, app = text.partition(":")
                    if self.find(name, module.paths):
                        self.loading.running = [module]
                        named = self.load_target(name, app, module.paths)
                        self.served.setdefault(named, True)

    def load_django(self):
        """Load Django's settings, what they name, and the URLs, as its first request does."""
        starts = [use for use in self.loading.calls if use.of in DJANGO_APPS]
        self.named_by_django = list(self.django_names())
        texts = [v.value for _, v in self.settings.get("ROOT_URLCONF", ()) if starts]
        if len(texts) == 1 and self.find(str(texts[0]), starts[0].module.paths):
            before = len(self.loading.mistakes)
            self.loading.running = [starts[0].module]
            for name in self.modules_of_apps(starts[0].module.paths):
                self.loading.module(name, starts[0].module.paths)
            self.loading.module(texts[0], starts[0].module.paths)
            self.load_included(starts[0].module.paths)
            # Models come first, which may put circles in another order.
            new = [m for m in self.loading.mistakes[before:] if m.kind != "circular"]
            self.loading.mistakes[before:] = new

    def load_included(self, paths):
        """Load the URLs that those of the project take in: include("shop.urls")."""
        done = 0
        while done != (done := len(self.loading.calls)):
            for use in list(self.loading.calls):
                name = first_value(use.node)
                named = use.of == "django.urls.include" and isinstance(name, str)
                if named and self.find(name, paths):
                    self.loading.module(name, paths)

    def modules_of_apps(self, paths):
        """Yield the modules that Django loads of each app of the project's own, models first."""
        values = [value for _, value in self.settings.get("INSTALLED_APPS", ())]
        nodes = [node for value in values for node in walk(value)]
        texts = [n.value for n in nodes if isinstance(getattr(n, "value", 0), str)]
        last = ["admin"] if "django.contrib.admin" in texts else []
        apps = [text.partition(".apps.")[0] for text in texts]
        for part in ("apps", "models", *last):
            names = (f"{app}.{part}" for app in apps)
            yield from (name for name in names if self.find(name, paths))

    def django_names(self):
        """Load Django's settings; yield the modules that they name, as imports."""
        modules = list(self.loading.modules.values())
        given = [(n, m.paths) for m in modules for n, _ in self.settings_of(m.path)]
        for command in self.project.commands:
            name = command.variables.get(DJANGO["variable"])
            given += [(name, self.paths(command))] if name else []
        names = {name for name, _ in given}
        if len(names) != 1 or re.search(DJANGO["elsewhere"], (name := names.pop())):
            return
        listed = [self.project.text(file) for file in ("app.json", ".env.example")]
        path, paths = self.find(name, given[0][1]), given[0][1]
        if not path and self.find(name.partition(".")[0], paths):
            self.lose_settings(name, paths)
        if not path or DJANGO["variable"] in "".join(listed):
            return
        self.loading.module(name, paths)
        self.settings = values = self.values(path, name, paths)
        for setting, sure in DJANGO["names"].items():
            for file, value in values.get(setting, ()):
                for node in walk(value):
                    text = getattr(node, "value", None)
                    known = isinstance(text, str) and re.fullmatch(
                        DJANGO["module"], text
                    )
                    dotted = known and ("." in text or setting == "INSTALLED_APPS")
                    first = text.partition(".")[0] if dotted else ""
                    own = self.find(first, paths) or self.loading.is_folder(
                        first, paths
                    )
                    if dotted and not own:
                        yield Import(file, node.lineno, text, (), 0, sure)

    def lose_settings(self, name, paths):
        """Tell that the settings are not there which the app's own file names."""
        for use in self.loading.calls:
            for text, line in (
                self.settings_of(use.path) if use.of in DJANGO_APPS else ()
            ):
                if text == name:
                    last = name.rpartition(".")[2]
                    folders = tuple(paths)
                    found = Mistake("lost", use.path, line, last, "", name, folders)
                    self.loading.mistakes.append(found)

    def settings_of(self, path):
        """Yield (name, line) of the settings' modules that a file sets for Django."""
        named = DJANGO["variable"] in self.project.text(path)
        for node in self.project.all_nodes(path) if named else ():
            texts = []
            if (
                isinstance(node, ast.Call)
                and getattr(node.func, "attr", "") == "setdefault"
            ):
                texts = [getattr(argument, "value", None) for argument in node.args]
            elif isinstance(node, ast.Assign):
                key = getattr(node.targets[0], "slice", None)
                texts = [getattr(n, "value", None) for n in (key, node.value)]
            if texts[:1] == [DJANGO["variable"]] and isinstance(texts[-1], str):
                yield texts[-1], node.lineno

    def values(self, path, name, paths, depth=0):
        """Return {setting: [(file, node)]} of settings and of what they take over by `import *`.

        Left out is what nobody can tell: assigned under a condition, or computed.
        """
        found, tree = {}, self.project.trees.get(path)
        for node in tree.body if tree and depth < 9 else ():
            if isinstance(node, ast.ImportFrom) and node.names[0].name == "*":
                parts = name.split(".") + ["__init__"] * path.endswith("__init__.py")
                above = parts[: -node.level] if node.level else []
                wanted = ".".join([*above, *filter(None, [node.module])])
                if file := self.find(wanted, paths):
                    found |= self.values(file, wanted, paths, depth + 1)
                continue
            for inner in walk(node):
                target = getattr(
                    inner, "target", (getattr(inner, "targets", 0) or [0])[0]
                )
                setting, value = (
                    getattr(target, "id", None),
                    getattr(inner, "value", None),
                )
                if (
                    not setting
                    or not isinstance(inner, (*ASSIGNS, ast.AugAssign))
                    or not value
                ):
                    continue
                parts = list(walk(value))
                before = found.get(setting, [])
                grows = isinstance(inner, ast.AugAssign)
                grows = grows or any(getattr(n, "id", "") == setting for n in parts)
                if (
                    inner is not node
                    and not grows
                    or any(isinstance(n, COMPUTED) for n in parts)
                ):
                    found[setting] = before if grows else []
                elif inner is node:
                    found[setting] = [*(before if grows else []), (path, value)]
        return found

    def page(self, command):
        """Return the file that a program such as streamlit runs."""
        row = SERVERS.get(command.program, {})
        words = command.positional(row.get("flags", ()))
        files = [word for word in words if word.endswith(".py")]
        return files[0] if files and row.get("runs") else None

    def paths(self, command):
        """Return the folders that a command looks for modules in."""
        row = SERVERS.get(command.program, {})
        folder = command.option(*row["folder"]) if row.get("folder") else None
        more = command.option(*row["path"]) if row.get("path") else None
        if command.program == "gunicorn":
            folder = folder or self.project.gunicorn_setting(command, "chdir")
            more = more or self.project.gunicorn_setting(command, "pythonpath")
        more = [
            *(more or "").split(","),
            *command.variables.get("PYTHONPATH", "").split(":"),
            *self.project.python_path,
        ]
        more = [HERE.sub("./", path) for path in more]
        more = [command.path(path) for path in more if path and "$" not in path]
        first = command.path(HERE.sub("./", folder)) if folder else command.folder
        found = [first, *more, *self.searched]
        return list(dict.fromkeys("" if p == "." else p.strip("/") for p in found))

    @property
    def served_modules(self):
        """Return the Modules that a server loads with its app."""
        return set().union(*(module.below() for module in self.served))

    def commands_of(self, module, imported=False):
        """Return the commands that load a Module; imported: not by a text that names it."""
        named = {m for m, by_text in self.served.items() if by_text and imported}
        return [c for c, root in self.roots if module in root.below(named)]

    def folders_of(self, module):
        """Return the folders where a Module runs."""
        commands = self.commands_of(module) if module else self.project.commands
        found = set()
        for command in commands:
            to = command.option("--chdir", "--working-dir")
            if not to and command.program == "gunicorn":
                to = self.project.gunicorn_setting(command, "chdir")
            place = command.path(to or ".")
            found.add("" if place == "." else place)
        return found

    def find(self, module, paths):
        """Return the file of a module of the project's own, None where there is none."""
        return self.loading.locate(module, paths)[0]

    # --- what may run later ---

    def follow_later(self, path):
        """Record a file's other imports; return the files that they lead to."""
        tree = self.project.trees.get(path)
        if tree is None:
            return []
        sure, paths = self.reached[path]
        for folder in self.project.path_changes(path):
            self.flexible = True
            if self.project.has_folder(folder) and folder not in paths:
                self.reached[path] = (sure, paths := [*paths, folder])
        names = []
        for node, guarded in later_imports(tree):
            names += self.named(path, node, paths, guarded)
        texts = self.project.dotted_texts(path)
        names += [(part, paths) for t in texts for part in (t, t.rpartition(".")[0])]
        files = []
        for name, where in names:
            parts = name.split(".")
            files += [
                self.find(".".join(parts[:n]), where) for n in range(1, len(parts) + 1)
            ]
        self.leads[path] = set(filter(None, files))
        found = [file for file in self.leads[path] if file not in self.reached]
        self.reached |= dict.fromkeys(found, (False, paths))
        return found

    def named(self, path, node, paths, guarded):
        """Yield (module, folders) of what an import statement may load; record it if it is new."""
        level, is_new = getattr(node, "level", 0), id(node) not in self.loading.seen
        if isinstance(node, ast.Import):
            wanted = [(alias.name, ()) for alias in node.names]
        else:
            wanted = [(node.module or "", tuple(alias.name for alias in node.names))]
        for module, names in wanted:
            where = paths
            if level:
                base = posixpath.dirname(path)
                for _ in range(level - 1):
                    base = posixpath.dirname(base)
                where = [base]
            found = Import(path, node.lineno, module, names, level, False, guarded)
            first = module.partition(".")[0]
            if not level and not self.loading.is_own(first, where):
                self.foreign += [found] if is_new else []
                continue
            known = self.find(module, where) or self.loading.is_folder(module, where)
            if module and not known and is_new:
                self.lost.append((found, where))
            yield module, where
            yield from ((f"{module}.{name}".lstrip("."), where) for name in names)

    def below(self, path):
        """Return a file and all that it may load, directly or not."""
        found, waiting = {path}, [path]
        while waiting:
            new = self.leads.get(waiting.pop(), set()) - found
            found |= new
            waiting += new
        return found


def later_imports(tree, guarded=False):
    """Yield (import statement, whether something guards it) of a whole file."""
    for part in BODIES:
        for node in getattr(tree, part, ()):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                yield node, guarded
            elif not isinstance(node, SIMPLE):
                heads = [unparse(item) for item in getattr(node, "items", ())]
                passes = any("suppress" in head for head in heads)
                guards = guarded or passes or isinstance(node, TRIES)
                yield from later_imports(node, guards)


def targets(command, project, paths):
    """Yield the apps that a command names, as its program reads them."""
    row = SERVERS.get(command.program)
    words = []
    if command.program in ("flask", "quart"):
        named = command.option("--app", "-A") or command.variables.get("FLASK_APP")
        if named:
            yield flask_target(command, named, paths)
        return
    if row and row.get("app"):
        words = [command.option(*row["app"])] if row["app"] != ["first"] else []
        if row["app"] == ["first"]:
            words = command.positional(row.get("flags", ()))[:1]
            if not words and command.program == "gunicorn":
                words = [project.gunicorn_setting(command, "wsgi_app")]
    for word in filter(None, words):
        module, colon, name = word.partition(":")
        if not colon and row.get("dotted"):
            module, _, name = word.rpartition(".")
        module = module.removesuffix(".py") if row.get("file") else module
        if re.fullmatch(r"[^\W\d][\w.]*", module):
            default = row.get("name")
            yield Target(command, word, module, name or default, paths)
    if command.program in ("celery", "procrastinate"):
        loose = command.option("-A", "--app")
        if loose:
            yield Target(command, loose, loose.partition(":")[0], None, paths)


def flask_target(command, text, paths):
    """Return the Target of a value as FLASK_APP has them."""
    module, _, name = text.partition(":")
    module = module.removesuffix(".py").strip("/").replace("/", ".")
    return Target(command, text, module, name or None, paths)
