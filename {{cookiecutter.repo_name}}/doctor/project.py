"""Simple facts about the project: its commands, its code, its packages."""

import ast
import json
import posixpath
import re
import sys
import tomllib
from collections import Counter, defaultdict
from functools import cached_property

from doctor import FACTS
from doctor.commands import commands
from doctor.files import Files
from doctor.installed import Installed
from doctor.lists import PackageList, normal
from doctor.running import Running
from doctor.trees import (
    by_type,
    first_value,
    is_sys_path,
    last_name,
    parse,
    strings,
    texts_of,
    walk,
)
from doctor.versions import numbers

LARGE = 50_000  # bytes: such files are parsed last
MAX_NODES = 300_000  # of all syntax trees together: they take about 300 bytes each
OWNERS = defaultdict(set)  # module: packages
for _package, _modules in FACTS["modules"].items():
    for _module in _modules:
        OWNERS[_module].add(_package)
ASIDE = FACTS["layout"]["aside"]
OLDEST = (3, 10)  # of the Pythons whose grammar is told apart


def is_code(path):
    """Tell whether a path is code of the project's own: in folders with a dot other tools keep theirs, also whole copies."""
    return path.endswith(".py") and not path.startswith(("doctor/", "."))


class Project(Files):
    """The files, and what follows from them. Everything is worked out once, when it is asked for."""

    @cached_property
    def _parsed(self):
        """Return ({path: syntax tree}, {path: SyntaxError}, {path: nodes}) of the Python files."""
        trees, broken, nodes, total = {}, {}, {}, 0
        # What may be the app comes first, and what is short: not all of a very large project
        # is parsed.
        from doctor.packages import newest_python  # which needs this file

        files = self.contents
        # What is newer than the project's Python is none there, also where it is here.
        version = min(numbers(newest_python(self)), sys.version_info[:2])
        version = max(version, OLDEST)
        large = {p for p in files if len(files[p]) > LARGE}
        rank = {
            p: (p in large, not self.may_be_the_app(p), len(files[p])) for p in files
        }
        for path in sorted(files, key=rank.get):
            content = self.contents[path]
            if not is_code(path):
                continue
            if total > MAX_NODES:
                continue
            try:
                tree, inner = parse(content, version)
            except (SyntaxError, ValueError) as error:
                broken[path] = error
            except (RecursionError, MemoryError):
                continue
            else:
                if inner is not None:
                    trees[path], nodes[path] = tree, inner
                    total += len(inner)
        return {p: trees[p] for p in files if p in trees}, broken, nodes

    @cached_property
    def unread(self):
        """Return the Python files that may be the app and were not parsed: too many, too large."""
        known = self.trees.keys() | self.broken.keys()
        own = filter(is_code, self.sizes)
        return [p for p in own if p not in known and self.may_be_the_app(p)]

    @property
    def trees(self):
        return self._parsed[0]

    def all_nodes(self, path):
        """Return the nodes of a file, as walk() would give them."""
        return self._parsed[2].get(path, ())

    @cached_property
    def _kinds(self):
        """Return {path: {type: nodes}}: going through them once is what keeps this fast."""
        return {path: by_type(nodes) for path, nodes in self._parsed[2].items()}

    def nodes_of(self, path, *types):
        """Return the nodes of a file that are of these types."""
        kinds = self._kinds.get(path, {})
        return [node for type in types for node in kinds.get(type, ())]

    @property
    def broken(self):
        return self._parsed[1]

    def settings(self, *path):
        """Return a table of pyproject.toml, {} where there is none or nobody can read it."""
        found = self._pyproject
        for name in path:
            found = as_dict(found.get(name))
        return found

    @cached_property
    def _pyproject(self):
        try:
            return tomllib.loads(self.text("pyproject.toml"))
        except (ValueError, RecursionError):
            return {}

    @cached_property
    def shell_texts(self):
        """Return the texts of the scripts that a build or a dyno may run."""
        places = ("bin/", ".profile")
        named = (p for p in self.sizes if p.startswith(places) or p.endswith(".sh"))
        return [self.text(path) for path in named]

    @cached_property
    def build_hooks(self):
        """Return the texts of what the build runs before and after it, empty where there is none."""
        return [self.text("bin/pre_compile"), self.text("bin/post_compile")]

    def is_named_by_a_hook(self, *names):
        """Tell whether a hook of the build names one of these files, which it may write then."""
        return any(name in hook for hook in self.build_hooks for name in names)

    @cached_property
    def python_path(self):
        """Return the folders of PYTHONPATH that app.json and .profile set."""
        texts = [str(self.app_value("PYTHONPATH") or "")]
        texts += re.findall(r"\bPYTHONPATH=[\"']?([^\s\"']+)", self.text(".profile"))
        folders = [folder for text in texts for folder in text.split(":")]
        return [folder for folder in folders if folder]

    @cached_property
    def commands(self):
        """Return what the Procfile starts, scripts and what is in them too.

        Left out is what waits for somebody who types `heroku run seed`, by its name.
        """
        found, wanted = [], as_dict(self.json.get("formation"))
        by_hand = FACTS["programs"]["by_hand"] if "web" in self.procfile else []
        for type, (number, text) in self.procfile.items():
            if type in wanted or type.lower() not in by_hand:
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
        *folders, name = path.split("/")
        aside = set(folders) & set(ASIDE["folders"]) or name in ASIDE["files"]
        return not aside and not re.match(r"test_|.*_test\.py$", name)

    def is_sure(self, path):
        """Tell whether a file runs whenever the app starts."""
        return self.running.reached.get(path, (False,))[0]

    @cached_property
    def app_trees(self):
        """Return {path: syntax tree} of the code that runs."""
        reached = self.running.reached
        return {path: tree for path, tree in self.trees.items() if path in reached}

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

    @cached_property
    def imported(self):
        """Return the first names of all modules that are not the project's own."""
        return {found.first for found in self.running.foreign}

    @property
    def is_flask(self):
        """Tell whether the code that runs uses Flask."""
        return "flask" in self.imported

    @cached_property
    def definitions(self):
        """Return the functions and classes of the app's code."""
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
        return [node for _, node in self.nodes(*kinds)]

    @cached_property
    def blueprints(self):
        """Return the names of the app's blueprints."""
        return {first_value(node) for _, node in self.calls("Blueprint")} - {None}

    def has_text(self, text):
        """Tell whether a text stands anywhere in the app's code, as a name too."""
        return text in self.code

    @cached_property
    def code(self):
        """Return the text of all files of the app's code in one."""
        return "\n".join(self.text(path) for path in self.app_trees)

    @cached_property
    def has_migrations(self):
        return any("/versions/" in path for path in self.trees)

    def has_keyword(self, name):
        return any(word.arg == name for _, word in self.nodes(ast.keyword))

    def has_folder(self, path):
        return path.strip("/") in self.folders

    def imports_in(self, path):
        """Return the import statements of a file, at any depth."""
        return self.nodes_of(path, ast.Import, ast.ImportFrom)

    def strings_of(self, path):
        return texts_of(self.nodes_of(path, ast.Constant))

    def dotted_texts(self, path):
        """Yield the texts of a file that may be a module's name: "shop.settings"."""
        for value in self.strings_of(path):
            if re.fullmatch(r"[a-z_]\w*(\.\w+)+", value[:100]):
                yield value

    def app_texts(self, path):
        """Yield the texts of a file that name an app: "shop.main:app"."""
        for value in self.strings_of(path):
            if re.fullmatch(r"[a-z_]\w*(\.\w+)*:\w+(\(\))?", value[:100]):
                yield value

    def path_changes(self, path):
        """Yield the folders that a file adds to sys.path, "" where they are not known."""
        found = []
        for call in self.nodes_of(path, ast.Call):
            if is_sys_path(getattr(call.func, "value", None)):
                found.append(call)
            elif last_name(call.func) == "addsitedir":
                yield ""
        for node in self.nodes_of(path, ast.Assign, ast.AugAssign):
            target = getattr(node, "target", None) or node.targets[0]
            part = target.value if isinstance(target, ast.Subscript) else target
            if is_sys_path(part):
                found.append(node)
        for node in found:
            yield from [text.strip("./") for text in strings(node)] or [""]

    def gunicorn_worker(self, command):
        """Return the kind of worker that gunicorn is told to use, "" where it is not."""
        option = command.option("-k", "--worker-class")
        return option or self.gunicorn_setting(command, "worker_class") or ""

    def gunicorn_setting(self, command, name):
        """Return a setting of gunicorn's configuration file, None where there is none."""
        file = command.path(
            (command.option("-c", "--config") or "gunicorn.conf.py").removeprefix(
                "file:"
            )
        )
        nodes = walk(self.trees[file]) if file in self.trees else ()
        found = [n for n in nodes if isinstance(n, ast.Name) and n.id == name]
        for node in self.trees[file].body if len(found) == 1 else ():
            if isinstance(node, ast.Assign) and last_name(node.targets[0]) == name:
                value = getattr(node.value, "value", None)
                return value if isinstance(value, str) else None
        return None

    @cached_property
    def _nodes(self):
        """Return {type: [(path, node)]}, filled by nodes()."""
        return {}

    def nodes(self, *types):
        """Yield (path, node) of all nodes of these types in the app's code."""
        for type in types:
            if type not in self._nodes:  # most types nobody asks for
                self._nodes[type] = [
                    (path, node)
                    for path in self.app_trees
                    for node in self._kinds[path].get(type, ())
                ]
            yield from self._nodes[type]

    def texts(self):
        """Return (path, node) of all texts in the app's code."""
        return self._texts

    @cached_property
    def _texts(self):
        constants = self.nodes(ast.Constant)
        return [pair for pair in constants if isinstance(pair[1].value, str)]

    @cached_property
    def _calls(self):
        found = defaultdict(list)
        for path, node in self.nodes(ast.Call):
            found[last_name(node.func)].append((path, node))
        return found

    def calls(self, *names):
        """Yield (path, node) of the app's calls whose last name is one of these."""
        for name in names:
            yield from self._calls.get(name, ())

    def calls_any(self, *names):
        return any(True for _ in self.calls(*names))

    @cached_property
    def constants(self):
        """Return all texts in the app's code."""
        return {node.value for _, node in self.texts()}

    @cached_property
    def app_name(self):
        """Return "module:name" of the app or of the function that makes it, "FILE:NAME" if unknown."""
        for path, call in self.calls(*FACTS["programs"]["apps"]):
            module = (
                path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
            )
            for file, node in self.nodes(ast.FunctionDef, ast.Assign):
                inside = file == path and node.lineno <= call.lineno <= node.end_lineno
                if inside and isinstance(node, ast.FunctionDef):
                    return f"{module}:{node.name}()"
                if inside and (name := last_name(node.targets[0])):
                    return f"{module}:{name}"
        return "FILE:NAME"

    @property
    def server_command(self):
        """Return a command that serves this project as it should be served."""
        if "deploy/server.py" in self:
            return "python -m deploy.server"
        if self.imported & {"fastapi", "starlette", "quart"}:
            return f"uvicorn {self.app_name} --host 0.0.0.0 --port $PORT"
        return (
            f'gunicorn "{self.app_name}"'
            if "(" in self.app_name
            else f"gunicorn {self.app_name}"
        )

    @cached_property
    def placeholders(self):
        """Return {what stands for something of one's own: files where it still stands}."""
        found = {}
        for text in FACTS["layout"]["placeholders"]:
            files = FACTS["layout"]["placeholder_files"]
            where = [file for file in files if text in self.text(file)]
            if where:
                found[text] = where
        return found

    @cached_property
    def environment_looks(self):
        """Return the config vars that code asks for before it reads them, or has a value for."""
        compared = [node.left for _, node in self.nodes(ast.Compare)]
        given = [node.args[0] for _, node in self.calls("setdefault") if node.args]
        stored = [
            node.slice
            for _, node in self.nodes(ast.Subscript)
            if isinstance(node.ctx, ast.Store)
        ]
        values = [getattr(node, "value", None) for node in (*compared, *given, *stored)]
        schemes = [word.arg for _, call in self.calls("Env") for word in call.keywords]
        return {value for value in [*values, *schemes] if isinstance(value, str)}

    @cached_property
    def _counts(self):
        return Counter(node.value for _, node in self.texts())

    def times(self, text):
        """Return how often a text stands in the app's code."""
        return self._counts[text]

    def times_below(self, folder, text):
        """Return the same for the code of one folder."""
        inside = (node for path, node in self.texts() if path.startswith(folder))
        return sum(node.value == text for node in inside)

    def texts_ending(self, name):
        """Return (text, how often) of the texts in the app's code that end in a name."""
        return [pair for pair in self._counts.items() if pair[0].endswith(name)]

    @property
    def is_container(self):
        """Tell whether the project is built from a Dockerfile and by no buildpack."""
        docker = {"Dockerfile", "heroku.yml"} & set(self.sizes)
        return bool(docker) and "Procfile" not in self

    @cached_property
    def is_for_node(self):
        """Tell whether the project is one of Node.js, which is what its Procfile starts."""
        programs = {c.program for c in self.commands if c.type == "web"}
        return "package.json" in self and bool(programs & {"node", "npm", "yarn"})

    @cached_property
    def reads_database_url(self):
        """Tell whether the code takes its database from the config var, by itself or a package."""
        mends = self.imported & set(FACTS["config_vars"]["mend"])
        return "DATABASE_URL" in self.constants or bool(mends)

    @cached_property
    def reads_settings(self):
        """Tell whether the code reads its settings through environs, decouple or the like."""
        return bool(self.imported & set(FACTS["config_vars"]["readers"]))

    @cached_property
    def procfile(self):
        """Return {process type: (line number, command)}, as the platform reads it."""
        pattern = re.compile(r"\s*([a-zA-Z0-9_-]+):?\s+(.*)")
        found = {}
        for number, line in self.lines("Procfile"):
            if match := pattern.fullmatch(line):
                found[match[1]] = (number, match[2].strip())
        return found

    @property
    def is_rearranged(self):
        """Tell whether a buildpack puts a folder or a file of the project in the root's place."""
        moves = re.compile(FACTS["layout"]["rearranging"])
        return any(map(moves.search, self.buildpacks))

    @cached_property
    def buildpacks(self):
        """Return the buildpacks that app.json names, "heroku/python" and the like."""
        found = self.json.get("buildpacks")
        found = found if isinstance(found, list) else self.text(".buildpacks").split()
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

    @cached_property
    def _owners(self):
        """Return {module: packages}, filled by owners_of()."""
        return {}

    def owners_of(self, module):
        """Return the packages that have a module, as far as anybody knows."""
        if module not in self._owners:
            self._owners[module] = self._find_owners(module)
        return self._owners[module]

    def _find_owners(self, module):
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
            line.kind in ("address", "path")
            and not re.match(FACTS["packages"]["data"], line.name)
            for line in self.list.lines
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

    def app_value(self, name):
        """Return the value that app.json gives a config var, None where it gives none."""
        entry = self.app_env.get(name)
        return entry.get("value") if isinstance(entry, dict) else entry

    @cached_property
    def app_env(self):
        """Return the config vars of app.json: {name: what it says of it}."""
        return as_dict(self.json.get("env"))


def several(names, most=5):
    """Return the names for one line, the first of them where there are many."""
    names = list(names)
    return ", ".join(names[:most]) + (f" … ({len(names)})" if names[most:] else "")


def as_dict(value):
    return value if isinstance(value, dict) else {}
