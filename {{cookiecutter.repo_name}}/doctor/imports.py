"""Checks of the code: does it parse, and is all there that it imports (steps 1, 9 and 13)?"""

import ast
import difflib
import io
import posixpath
import re
import sys
import tokenize
from collections import Counter, defaultdict
from functools import cache

from doctor import FACTS, check
from doctor.commands import packages_of_program
from doctor.files import line_at, once
from doctor.layout import candidates, hiding, is_moved, modules_elsewhere
from doctor.lists import normal
from doctor.packages import (
    for_other_pythons,
    newest_python,
    pins_against_each_other,
    python_not_offered,
)
from doctor.pages import is_on_start_page, on_start_page, start_pages, words_of
from doctor.project import as_dict, several
from doctor.trees import first_value, last_name, strings, unparse, walk
from doctor.versions import fits, in_force, numbers

PACKAGES, REMOVED = FACTS["packages"], FACTS["python"]["removed"]
LOST, ADDED = defaultdict(list), defaultdict(list)
for _table, _kind in ((LOST, "removed"), (ADDED, "added")):
    for _module, _row in PACKAGES[_kind].items():
        _table[_row.get("module", _module)].append(_row)
NEVER = "(?!)"  # matches nothing
FEW = 3  # packages
# Mistakes in every Python, also where the line has something that only a newer one can read.
CERTAIN = re.compile(
    r"never closed|unterminated (?!f-string)|unmatched|does not match|invalid (character|non-printable)|leading zeros"
    r"|cannot assign|Missing parentheses in call|outside function|inconsistent use of tabs|null bytes|expected ':'"
)
MINE = ".".join(map(str, sys.version_info[:2]))


@check("H953", step=1)
def code_that_does_not_parse(project):
    for path, line, error, certain in broken(project):
        if certain:
            details = {"name": path, "error": error, "mine": MINE}
            level = "error" if project.is_sure(path) else "warning"
            yield path, line, details, level


@check("H954", step=1, level="warning")
def code_that_cannot_be_looked_at(project):
    """It does not parse here, but the project's Python is newer and may read it."""
    found = [(path, line) for path, line, _, certain in broken(project) if not certain]
    if found:
        names = several([path for path, _ in found])
        yield *found[0], {"name": names, "mine": MINE, "python": newest_python(project)}


@check("H955", step=1, level="warning")
def code_that_is_too_much(project):
    """Code that runs, but is too large to be read here."""
    found = [path for path in project.unread if path in project.running.reached]
    if found:
        yield found[0], 0, {"name": several(found)}


def broken(project):
    """Yield (path, line, error, whether it is one in the project's Python too)."""
    for path in sorted(project.broken):
        if path in project.running.reached and not marks(project, path):
            yield path, *parse_error(project, path)
    if sys.version_info >= (3, 12) > project.list.python:
        for path in project.app_trees:
            if line := newer_f_string(project.text(path)):
                yield path, line, "f-string: Python 3.12", True


def parse_error(project, path):
    """Return (line, error, whether it is one in the project's Python too) of a file that does not parse."""
    error = project.broken[path]
    newer = project.list.python > sys.version_info[:2]
    line = getattr(error, "lineno", 0) or 0
    text = getattr(error, "msg", str(error))
    lines = project.text(path).splitlines()[max(0, line - 2) : line + 1]
    new = any(re.search(FACTS["python"]["newer_grammar"], part) for part in lines)
    # From 3.12 on what stands in braces may be of several lines, which older ones misread.
    formatted = any(re.search(r"\b[rR]?[fF][rR]?[\"']", part) for part in lines)
    certain = CERTAIN.search(text) and "f-string" not in text and not formatted
    new = new or formatted
    return line, text, not newer or not new or bool(certain)


def newer_f_string(text):
    """Return the line of an f-string that Python reads from 3.12 on only, 0 where there is none.

    https://peps.python.org/pep-0701/: the same quotation marks inside, backslashes, comments.
    """
    inside = []  # the quotation marks of the f-strings that are open
    if not re.search(r"\b[rR]?[fF][rR]?[\"']", text):
        return 0
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        kind = tokenize.tok_name[token.type]
        marks = re.search(r"(\"\"\"|\'\'\'|[\"'])", token.string)
        opens = kind in ("STRING", "FSTRING_START") and inside
        same = opens and any(marks[1].startswith(mark) for mark in inside)
        if (
            same
            or inside
            and (kind == "COMMENT" or kind == "STRING" and "\\" in token.string)
        ):
            return token.start[0]
        if kind == "FSTRING_START":
            inside.append(marks[1])
        elif kind == "FSTRING_END":
            inside.pop()
    return 0


def marks(project, path):
    """Tell whether marks of a conflict are the reason, which H116 names."""
    return b"\n>>>>>>> " in project.contents[path]


@check("H204", step=13)
def import_without_package(project):
    """An error where it is known which package has the module and that none brings it.

    What a package that nobody knows brings is nothing that few others do, most likely.
    """
    have, complete, _ = project.available
    told, often = (
        set(),
        Counter(n for brought in FACTS["brings"].values() for n in brought),
    )
    for found, owners in unlisted(project):
        unsure = not owners or owners & have
        unsure = unsure or not complete and max(often[n] for n in owners) > FEW
        later = not found.sure and (found.guarded or not project.is_sure(found.path))
        if not (unsure or later or found.first in told):
            told.add(found.first)
            sure = complete and found.sure and not project.running.flexible
            sure = sure and not installs_more(project)
            details = {"module": found.first, "package": min(owners, key=len)}
            yield found.path, found.line, details, "error" if sure else "warning"
    for file, line, name in classes_of_logging(project):
        first = name.partition(".")[0]
        owners = project.owners_of(first) if "." in name else ()
        own = project.running.find(first, [""]) or standard(first)
        if owners and not own and not {*owners} & have and complete:
            yield file, line, {"module": first, "package": min(owners, key=len)}


def classes_of_logging(project):
    """Yield (file, line, module) of the formatters and handlers that a file for --log-config names."""
    for command in project.commands:
        file = command.path(command.option("--log-config") or "")
        for number, line in project.lines(file) if file in project else ():
            if match := re.match(
                r"(?:class|\(\)|\s+(?:class|\(\)):)\s*=?\s*([\w.]+)", line
            ):
                yield file, number, match[1]


@check("H219", step=13, level="warning")
def import_of_nobody_s_module(project):
    """Neither the installed packages nor the table say which package has the module.

    Beside packages that nobody knows only what people call their own modules is told.
    """
    _, complete, known = project.available
    whole, told = known and complete, set()
    there = {part for path in project.sizes for part in path.split("/")}
    for found, owners in unlisted(project):
        first = found.first
        own = first in PACKAGES["of_nobody"] and not {first, f"{first}.py"} & there
        sure = found.sure and (whole or own) and not owners
        if sure and found.first not in told and not similar(project, found):
            others = project.running.flexible or may_bring_modules(project)
            # The part of a baked project that nobody opens, thrown away.
            thrown = first == "deploy" and "doctor/words.toml" in project
            level = "error" if whole and not others or thrown else "warning"
            yield found.path, found.line, {"module": found.first}, level
        told |= {found.first} if sure else set()


def installs_more(project):
    """Tell whether a build hook installs packages of its own."""
    installs = re.compile(r"\b(pip|uv)\b.*\binstall\b")
    return any(map(installs.search, project.build_hooks))


def may_bring_modules(project):
    """Tell whether the build may do more than to install the listed packages."""
    others = any(not re.fullmatch(r"heroku/\w+", name) for name in project.buildpacks)
    return others or any(p.startswith("bin/p") for p in project.sizes)


def unlisted(project):
    """Yield (import, packages that have the module) where no listed package is called like it."""
    if not project.list.is_known or is_moved(project):
        return
    moved = {found.first for found, _ in modules_elsewhere(project)}
    for found in project.running.foreign:
        name = found.first.lower().replace("_", "-")
        called_so = {name, f"python-{name}"} & project.available[0]
        if found.first not in moved and not called_so and foreign(project, found):
            yield found, owners(project, found)


def foreign(project, found):
    """Tell whether an import names neither Python's modules nor the project's own."""
    first = found.first
    there = any(
        project.in_folder(posixpath.join(folder, path))
        for folder in project.running.reached[found.path][1]
        for path in (f"{first}.py", f"{first}/__init__.py")
    )
    there = there or first in project.list.folders
    return not (standard(first) or first in REMOVED or there)


def similar(project, found):
    """Return the file of the project's own whose name an import nearly has, None for none."""
    names = {}
    for folder in project.running.reached[found.path][1]:
        for path in sorted(project.trees):
            inside = path.removeprefix(f"{folder}/" if folder else "")
            names.setdefault(inside.partition("/")[0].removesuffix(".py"), path)
    first = found.first
    near = difflib.get_close_matches(first, names, 1, 0.8)
    return names[near[0]] if near and len(first) > 3 else None


def standard(module):
    """Tell whether a module comes with Python."""
    return module in sys.stdlib_module_names or module in PACKAGES["always"]


@check("H515", step=9)
def name_that_flask_refuses(project):
    """A dot in a blueprint's name, an address without its slash."""
    loading = project.running.loading
    for use in loading.calls:
        name = first_value(use.node) if use.of == "flask.Blueprint" else None
        if isinstance(name, str) and "." in name and "try" not in use.guards:
            yield use.path, use.node.lineno, {"what": f'Blueprint("{name}")'}
    for module, _, route, owner in loading.views:
        address = first_value(route)
        if isinstance(address, str) and address[:1] not in ("/", "{"):
            words = {word.arg for word in words_of(loading, owner)}
            prefixed = words & {None, "url_prefix"}
            below = [of for _, of in loading.mounted.get(owner.node, ())]
            inner = any(getattr(of, "of", "") == "flask.Blueprint" for of in below)
            if owner.of == "flask.Flask" or address and not (prefixed or inner):
                what = f'{unparse(route.func)}("{address}")'
                yield module.path, route.lineno, {"what": what}


@check("H521", step=9, level="warning")
def views_that_nobody_loads(project):
    """A file with a blueprint, or an app of its own, that no import leads to: its pages are 404."""
    if project.running.flexible or not project.running.served_modules:
        return
    loaders = ("iter_modules", "walk_packages", "import_module", "find_modules")
    calls = project.calls(*loaders)
    elsewhere = any(not path.startswith("deploy/") for path, _ in calls)
    if elsewhere or project.broken or project.unread:
        return
    loaded = {project.contents[path] for path in project.running.reached}
    for path, tree in sorted(project.trees.items()):
        aside = {*path.split("/")[:-1]} & {*FACTS["layout"]["aside"]["folders"]}
        same = project.contents[path] in loaded  # by a link
        reached = same or aside or "test" in path or path.startswith("deploy/")
        for node in tree.body if not reached else ():
            value = getattr(node, "value", None)
            made = last_name(getattr(value, "func", None))
            name = getattr((getattr(node, "targets", None) or [None])[0], "id", None)
            routed = name and re.search(
                rf"(?m)^@{name}\.(route|get|post)\(", project.text(path)
            )
            if (
                isinstance(node, ast.Assign)
                and made in ("Blueprint", "Flask")
                and routed
            ):
                yield path, node.lineno, {"name": f"{name} = {made}(…)"}


@check("H516", step=12, level="warning")
def login_without_its_loader(project):
    """Flask-Login asks for it on every page: its variable current_user is in all templates."""
    made = [
        use
        for use in project.running.loading.calls
        if use.of == "flask_login.LoginManager"
    ]
    loaders = {"user_loader", "request_loader", "_user_callback", "_request_callback"}
    known = {node.attr for _, node in project.nodes(ast.Attribute)} & loaders
    if made and not known and not project.running.flexible:
        shows = on_start_page(
            project, lambda call: last_name(call.func) == "render_template"
        )
        level = "error" if shows and "with" not in made[0].guards else "warning"
        yield made[0].path, made[0].node.lineno, {}, level


@check("H510", step=9)
def own_module_misspelt(project):
    """import databse, where there is a database.py and no package of that name."""
    have, _, known = project.available
    for found in project.running.foreign:
        first = found.first
        if not foreign(project, found) or project.owners_of(found.module):
            continue
        if found.guarded:
            continue
        if any(found is moved for moved, _ in modules_elsewhere(project)):
            continue
        if normal(first) not in have and (right := similar(project, found)):
            level = "error" if known and found.sure else "warning"
            yield found.path, found.line, {"name": first, "right": right}, level


def mistakes(project, *kinds):
    """Yield what would end the start, where that is sure."""
    if not project.running.flexible and not is_moved(project):
        hidden = hiding(project)  # H117 names those, not what comes of it
        for found in project.running.loading.mistakes:
            if found.kind in kinds and found.file not in hidden:
                yield found


@check("H504", step=9)
def own_name_that_is_not_there(project):
    """from shop import cart, where shop has neither a file nor a name cart."""
    for found in mistakes(project, "lost", "nameless"):
        paths = list(candidates(found))
        if any(map(project.is_nearly_there, paths)):
            continue  # H103 or H104 names it
        if project.is_named_by_a_hook(*paths):
            continue
        file = found.file or (paths or [found.name])[0]
        if found.kind == "nameless" and not found.file:  # a folder, which is no package
            file = posixpath.join(posixpath.dirname(file), "__init__.py")
        yield found.path, found.line, {"name": found.name, "file": file}


@check("H505", step=9)
def relative_import_without_package(project):
    """from .views import … in a module of the root, which belongs to no package."""
    for found in mistakes(project, "relative"):
        yield found.path, found.line, {"name": found.name}


@check("H507", step=9)
def import_in_a_circle(project):
    """A name is wanted from a module that is itself waiting for this one."""
    told = set()
    for found in mistakes(project, "circular"):
        if (place := (found.path, found.line)) in told:
            continue
        told.add(place)
        yield found.path, found.line, {"name": found.name, "file": found.file}


@check("H508", step=9)
def name_that_nothing_binds(project):
    """NameError: an import is missing, or a name is misspelt; in functions, once they are called."""
    told = set()
    undefined = list(mistakes(project, "undefined"))
    # gettext.install(…) and builtins.log = … give a name to all modules.
    if undefined and (project.calls_any("install") or project.has_text("builtins.")):
        return
    for found in undefined:
        told.add((found.path, found.name))
        yield found.path, found.line, {"name": found.name}
    later = {}  # one finding a file
    for path, node in project.running.loading.unbound_names():
        if (path, node.id) in told or is_moved(project):
            continue
        if is_on_start_page(project, node):
            told.add((path, node.id))
            yield path, node.lineno, {"name": node.id}
        else:
            later.setdefault(path, {}).setdefault(node.id, node.lineno)
    for path, names in later.items():
        names = {name: line for name, line in names.items() if (path, name) not in told}
        if names:
            yield path, min(names.values()), {"name": several(names)}, "warning"


@check("H509", step=9)
def registered_twice(project):
    """Two views or two blueprints of one name: Flask stops at its start."""
    version = newest_allowed(project, "flask") or (9999,)
    for found in mistakes(project, "twice") if version >= (2, 1) else ():
        yield found.path, found.line, {"name": found.name}


@check("H506", step=13)
def name_that_a_package_has_lost(project):
    """from werkzeug.urls import url_parse, which Werkzeug 3 no longer has."""
    python, told = project.list.python, set()
    for path, line, module, names in named_at_start(project):
        first, row = module.partition(".")[0], {"package": "Python"}
        if first == "distutils" and build_brings_setuptools(project):
            continue
        if python >= numbers(REMOVED.get(first, "9999")):
            brought = {"setuptools"} if first == "distutils" else set()
            brought |= {f"standard-{first}", f"{first}-lts", f"legacy-{first}"}
            if not brought & project.available[0]:
                level = "warning" if project.unknown_needs else "error"
                details = {"name": first, "package": "Python", "since": REMOVED[first]}
                yield path, line, details, level
        for row, lost in rows_of(LOST, module, names):
            version = version_of(project, row)
            if version is not None and version >= numbers(row["since"]):
                details = {"since": row["since"], "package": row["package"]}
                name = ", ".join(lost) or module
                level = "error" if starts_by_itself(project, path) else "warning"
                if (path, name) not in told:
                    told.add((path, name))
                    yield path, line, {"name": name, **details}, level


@check("H517", step=9)
def name_misspelt(project):
    """from flask import render_tempalte, db.Interger: names that a package nearly has."""
    told, stored = set(), None
    for path, line, module, names in named_at_start(project):
        package, since, known = names_in(module)
        for name in names if package in project.available[0] else ():
            plain = name.isidentifier() and name[0] != "_" and len(name) > 3
            lost = [*rows_of(LOST, module, (name,))]  # H506 names those
            if name in known or not plain or lost or (path, name) in told:
                continue
            told.add((path, name))
            if stored is None:  # what the code itself gives a thing
                nodes = project.nodes(ast.Attribute)
                stored = {n.attr for _, n in nodes if isinstance(n.ctx, ast.Store)}
            # What an older version had, nobody knows here.
            version = newest_allowed(project, package) or (0,)
            near = [n for n in known if n.lower() == name.lower()]
            near = near or difflib.get_close_matches(name, known, 1, 0.8)
            if near and name not in stored and version[:1] >= since[:1]:
                yield path, line, {"name": f"{module}.{name}", "right": near[0]}


@cache
def names_in(module):
    """Return (package, version, the names) of a module, or of what a class makes."""
    known = FACTS["names"]
    also = PACKAGES["names_of_others"].get(module, [])
    rows = [known[name] for name in (module, *also) if name in known]
    if module not in known:
        return "", (), []
    package, _, version = rows[0][0].partition(" ")
    return package, numbers(version), [name for row in rows for name in row[1:]]


def starts_by_itself(project, path):
    """Tell whether a push starts what loads a file: other types than web and release wait for somebody."""
    loaded = [m for m in project.running.loading.modules.values() if m.path == path]
    commands = [c for m in loaded for c in project.running.commands_of(m)]
    by_itself = {"web", "release"} | as_dict(project.json.get("formation")).keys()
    if "web" not in project.procfile:
        by_itself |= {"worker"}  # all that there is
    return not commands or any(c.type in by_itself for c in commands)


@check("H520", step=13, level="warning")
def request_comes_first(project):
    """TemplateResponse("index.html", {"request": request}), which Starlette 1 refuses."""
    version = newest_allowed(project, "starlette") or (0,)
    fastapi = project.list.packages.get("fastapi")
    if fastapi is not None and "starlette" not in project.list.packages:
        rows = FACTS["wants"].get("fastapi", {}).get("starlette", [])
        if fastapi.pin and not fits((1,), in_force(rows, fastapi.pin)):
            return  # it keeps an older one
    for path, call in project.calls("TemplateResponse") if version >= (1,) else ():
        if isinstance(first_value(call), str):
            around = [
                node
                for node in project.all_nodes(path)
                if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
                if node.lineno < call.lineno <= node.end_lineno
            ]
            routes = [
                d for f in around for d in f.decorator_list if isinstance(d, ast.Call)
            ]
            start = any(first_value(route) == "/" for route in routes)
            level = "error" if start else "warning"
            shown = f'TemplateResponse("{first_value(call)}", …)'
            yield path, call.lineno, {"call": shown}, level
            return


@check("H514", step=13)
def name_that_is_not_there_yet(project):
    """from datetime import UTC, where .python-version says 3.10."""
    told = set()
    if list(python_not_offered(project)):
        return  # H303 names it
    for path, line, module, names in named_at_start(project):
        for row, new in rows_of(ADDED, module, names):
            version = version_of(project, row)
            name = ", ".join(new) or module
            old = version and version < numbers(row["since"])[: len(version)]
            if old and name not in told:
                told.add(name)
                details = {"since": row["since"], "package": row["package"]}
                yield path, line, {"name": name, **details}


@once
def named_at_start(project):
    """Yield (path, line, module, names) of what is needed of packages at the start."""
    for found in project.running.foreign:
        if found.sure:
            yield found.path, found.line, found.module, found.names
    told = set()
    for use in project.running.loading.uses:
        module, _, name = use.of.rpartition(".")
        if (use.path, use.of) not in told and "try" not in use.guards:
            told.add((use.path, use.of))
            yield use.path, use.node.lineno, module, (name,)


def rows_of(table, module, names):
    """Yield (row, the names of it) of what is known of names of a module; "*" is all in it."""
    parts = module.split(".")
    for count in range(1, len(parts) + 1):
        for row in table.get(".".join(parts[:count]), ()):
            if row["names"] == ["*"]:
                yield row, []
            elif count == len(parts) and (
                found := sorted(set(names) & set(row["names"]))
            ):
                yield row, found


def build_brings_setuptools(project):
    """Tell whether the build installs setuptools beside pip, which has distutils as well.

    https://github.com/heroku/heroku-buildpack-python, lib/pip.sh: up to Python 3.12
    """
    return "requirements.txt" in project and project.list.python < (3, 13)


def version_of(project, row):
    """Return the version of a row's package, or of Python, None where it is not sure."""
    python = project.list.python
    if row["package"] == "Python":
        return python
    if row["package"] == "setuptools" and build_brings_setuptools(project):
        line = project.list.packages.get("setuptools")
        return numbers(line.pin) if line and line.pin else None
    return newest_allowed(project, row["package"])


def newest_allowed(project, package):
    """Return the version that would be installed, (9999,) for the newest; None if none is sure."""
    if sum(name in project for name in PACKAGES["lists"]) > 1:
        return None  # H201 asks which list counts
    line = project.list.packages.get(package)
    if line is None and package not in project.available[0]:
        return None
    if pin := (line and line.pin) or project.list.held.get(package):
        return numbers(pin)
    if line is None:
        return (9999,)
    if below := re.search(r"<\s*([\d.]+)", line.spec):
        # <2.0 is <2: what comes before is a 1.
        *parts, last = numbers(re.sub(r"(\.0+)+$", "", below[1]))
        return (*parts, last - 1, 9999)
    if about := re.search(r"~=\s*([\d.]+)|==\s*([\d.]+)\.\*", line.spec):
        # ~=6.0 is any 6, ==6.0.* any 6.0.
        *parts, last = numbers(about[1] or about[2])
        return (*parts, *(() if about[1] else (last,)), 9999)
    bound = re.search(r"<=\s*([\d.]+)", line.spec)
    return numbers(bound[1]) if bound else (9999,)


@check("H212", step=13)
def packages_that_do_not_fit(project):
    """Pins that are known to break together: a dated table. What pip refuses is for H211."""
    packages = project.list.packages
    refused = {(f.file, f.line) for f in pins_against_each_other(project)}
    used = {name for f in project.running.foreign for name in owners(project, f)}
    used |= {package for c in project.commands for package, _ in packages_of_program(c)}
    used |= {n for name in used for n in FACTS["brings"].get(name) or ()}
    for row in PACKAGES["together"]:
        line, other = packages.get(row["package"]), packages.get(row["other"])
        version = numbers(line.pin) if line else ()
        if not version or not fits(version, row["pin"]):
            continue
        if (line.file, line.number) in refused:
            continue
        extra = line.extras and row["other"] in re.findall(r"[\w-]+", line.extras)
        if other is None and (
            row.get("listed") and not extra or project.list.is_locked
        ):
            continue
        if row.get("pinned") and not (other and other.pin):
            continue
        held = project.list.held.get(row["other"], "")
        theirs = numbers((other and other.pin) or held)
        if not theirs and other and other.spec:
            if re.search(r"<|~=|==", other.spec):
                continue
            theirs = (9999,)
        theirs = theirs or (9999,)
        # What fails in the package's own module fails where that is imported.
        fails = row["other"] if row.get("listed") else row["package"]
        mine = fails in used or not re.search(
            "(Import|ModuleNotFound)Error", row["says"]
        )
        if mine and fits(theirs, row["breaks"]):
            pins = (
                f"{row['package']}=={line.pin}",
                f"{row['other']}{other.spec if other else ''}",
            )
            details = {"one": pins[0], "other": pins[1], "says": row["says"]}
            yield line.file, line.number, details, row.get("level", "error")
    version = newest_allowed(project, "gunicorn") or (0,)
    for command in project.commands:
        worker = project.gunicorn_worker(command)
        since = FACTS["programs"]["workers_gone"].get(worker)
        gone = since and version >= numbers(since)
        if command.program == "gunicorn" and gone:
            says = f"Entry point ('gunicorn.workers', '{worker}') not found"
            details = {"one": f"gunicorn {since}", "other": f"-k {worker}"}
            yield *command.place, {**details, "says": says}


@check("H221", step=7)
def driver_of_another_version(project):
    """postgresql:// is psycopg2's up to SQLAlchemy 2.0, and psycopg's from 2.1 on."""
    have, sure, _ = project.available
    version = newest_allowed(project, "sqlalchemy")
    wanted, other = ["psycopg"], ["psycopg2", "psycopg2-binary"]
    if version is not None and version < (2, 1):
        wanted, other = other, wanted
    texts = [node.value for _, node in project.texts()]
    chosen = any(re.search(r"postgres(ql)?\+\w", text) for text in texts)
    listed = [name for name in other if name in project.list.packages]
    if version and sure and listed and not (have & {*wanted} or chosen):
        opens = any(re.search(r"\bpostgresql\b", text) for text in texts)
        # Where another package brings SQLAlchemy, its version is pip's to choose.
        sure = opens and "sqlalchemy" in project.list.packages
        level = "error" if sure and "DATABASE_URL" in project.constants else "warning"
        line = project.list.packages[listed[0]]
        number = ".".join(map(str, version)) if version < (9999,) else "2.1"
        details = {"version": number, "package": wanted[-1], "other": listed[0]}
        yield line.file, line.number, details, level


@check("H213", step=13, level="warning")
def package_older_than_the_python(project):
    """An error where what it has lost is surely missed: the package is imported, or it is the server."""
    python, found = newest_python(project), {}
    certain = [line for line, _, _ in for_other_pythons(project)]
    sure = {
        name for f in project.running.foreign if f.sure for name in owners(project, f)
    }
    started = {
        package for c in project.commands for package, _ in packages_of_program(c)
    }
    have, complete, _ = project.available
    for row in PACKAGES["python"]:
        name = row["package"]
        line = project.list.packages.get(name)
        version = newest_allowed(project, name) if line else ()
        newer = numbers(python) >= numbers(row["since"])
        if not version or not newer or line in certain or not fits(version, row["pin"]):
            continue
        if row.get("by_pip") and not line.number:  # of a lock file
            continue
        other, _, older = row.get("unless_older", "").partition(" ")
        other = newest_allowed(project, other) if other else ()
        # What newer ones bring, this one does not.
        brought = {*FACTS["brings"].get(name, ())} - {*project.list.packages}
        instead = (have - brought) & {*row.get("unless", ())}
        if instead or other and other < numbers(older):
            continue
        by = (
            row.get("by", ())
            if project.reads_database_url or not row.get("reads")
            else ()
        )
        loads = {name, *by} & (sure | started)
        misses = row.get("lost") and complete and loads
        misses = misses or row.get("cannot_be_built")
        what = name + line.spec + (f" ({row['lost']})" if row.get("lost") else "")
        found.setdefault("error" if misses else "warning", {})[what] = line
    errors = {id(line) for line in found.get("error", {}).values()}
    for level, rows in found.items():
        rows = {
            what: line
            for what, line in rows.items()
            if level == "error" or id(line) not in errors
        }
        if rows:
            line = next(iter(rows.values()))
            details = {"package": several(rows), "python": python}
            yield line.file, line.number, details, level


def owners(project, found):
    """Return the packages that may have what an import names."""
    names = [found.module, *(f"{found.module}.{name}" for name in found.names)]
    return set().union(*map(project.owners_of, names))


@check("H214", step=13)
def package_needs_more_than_pip(project):
    packages, told = project.list.packages, set()
    apt = project.text("Aptfile") + " ".join(project.buildpacks)
    everything = "\n".join(line.text for line in project.list.lines)
    for name, row in PACKAGES["beyond"].items():
        line = packages.get(name)
        there = row.get("file") in project or re.search(
            row.get("apt", NEVER), apt, re.IGNORECASE
        )
        if (
            line is None
            or there
            or re.search(row.get("unless", NEVER), everything)
            or row["needs"] in told
        ):
            continue
        names = {name, row.get("module", name.replace("-", "_"))}
        modules = project.modules_of(name)
        uses = [
            found
            for found in project.running.foreign
            if {*found.module.split(".")} & names
            or row.get("module", "") in modules
            and found.module in modules
        ]
        used = bool(uses)
        code = row.get("code")
        if code and not any(
            re.search(code, project.text(path)) for path in project.app_trees
        ):
            continue
        if (
            not used
            and not row.get("error")
            and not set(project.modules_of(name)) & project.imported
        ):
            continue
        told.add(row["needs"])
        loaded = any(found.sure and not found.guarded for found in uses)
        compiled = row.get("error") and (loaded or "module" not in row)
        starts = [
            use
            for use in project.running.loading.calls
            if isinstance(use.of, str) and re.fullmatch(row.get("start", NEVER), use.of)
        ]
        starts = "start" in row and [use for use in starts if "try" not in use.guards]
        if (
            starts
            and not project.calls_any("download")
            and not may_bring_modules(project)
        ):
            compiled = not any(map(project.has_folder, strings(starts[0].node)))
        details = {"package": name, "needs": row["needs"], "instead": row["instead"]}
        yield line.file, line.number, details, "error" if compiled else "warning"


@check("H227", step=13)
def module_without_a_screen(project):
    """The platform's Python is built without Tk; https://github.com/heroku/heroku-buildpack-python (builds/)."""
    for path, line, module, _ in named_at_start(project):
        first = module.partition(".")[0]
        if first in PACKAGES["of_a_screen"]:
            level = "error" if starts_by_itself(project, path) else "warning"
            yield path, line, {"name": first}, level
            return


@check("H215", step=13, level="warning")
def package_misspelt(project):
    """A name that is nobody's, but nearly that of a package which many use."""
    known = FACTS["brings"]
    for name, line in project.list.packages.items():
        meant = PACKAGES["meant"].get(name)
        if meant and line.pin == meant.get("but"):
            continue
        both = meant and meant["right"] in project.list.packages
        if meant and not (both and not meant.get("error")):
            never = meant.get("imported") and name in project.imported
            level = "error" if meant.get("error") or never else "warning"
            yield line.file, line.number, {"name": name, "right": meant["right"]}, level
        elif match := re.fullmatch(r"(.+)-(\d+(?:\.\d+)+)", line.name):
            if normal(match[1]) in known and not line.spec:
                details = {"name": line.name, "right": f"{match[1]}=={match[2]}"}
                yield line.file, line.number, details, "error"
        elif name not in known and line.kind == "package" and not meant:
            near = difflib.get_close_matches(name, [n for n in known if n[3:]], 1, 0.8)
            new = name not in project.installed.found
            if new and near and sorted(near[0]) == sorted(name):
                yield line.file, line.number, {"name": name, "right": near[0]}


@check("H218", step=13)
def call_needs_another_package(project):
    """Email() of WTForms and the like, which want one package more."""
    have, complete, _ = project.available
    told = set(have)
    loading = project.running.loading
    uses = [
        (path, node.lineno, called)
        for path, node, called, *_ in [*loading.calls, *loading.wanted]
    ]
    # A module that is not there on purpose is imported within try.
    uses += [(f.path, f.line, f.module) for f in loading.imports if not f.guarded]
    for path, line, called in uses:
        row = PACKAGES["extra"].get(called) if isinstance(called, str) else None
        if not row or row["package"] in told or not project.list.packages:
            continue
        version = newest_allowed(project, row["of"]) or (9999,)
        if version >= numbers(row["since"]):
            told.add(row["package"])
            at_once = version < numbers(row.get("later", "9999.1"))
            level = "error" if complete and at_once else "warning"
            yield path, line, {"name": called, "package": row["package"]}, level
    frames = complete and "pandas" in project.imported
    for name, packages in PACKAGES["of_pandas"].items() if frames else ():
        for path, node in project.calls(name) if not told & {*packages} else ():
            sure = is_on_start_page(project, node)
            details = {"name": f"{name}() of pandas", "package": packages[0]}
            yield path, node.lineno, details, "error" if sure else "warning"
            told.add(packages[0])
            break
    through = complete and "redis" not in have and have & {*PACKAGES["through_redis"]}
    for path, node in project.texts() if through else ():
        if re.match(r"rediss?://", node.value):
            yield path, node.lineno, {"name": "redis://", "package": "redis"}, "warning"
            break
    for path, node in project.nodes(ast.AnnAssign) if complete else ():
        named = {getattr(n, "id", "") for n in walk(node.annotation)}
        lacks = "EmailStr" in named and "email-validator" not in told
        theirs = [
            alias.name
            for outer in project.nodes_of(path, ast.ImportFrom)
            for alias in outer.names
            if (outer.module or "").partition(".")[0] == "pydantic"
        ]
        lacks = lacks and "EmailStr" in theirs
        if lacks and "pydantic" in project.imported and project.is_sure(path):
            yield path, node.lineno, {"name": "EmailStr", "package": "email-validator"}
            told.add("email-validator")
    kinds = {
        node.value: (path, node.lineno)
        for path, node in project.texts()
        if re.fullmatch(r"django\.db\.backends\.\w+", node.value)
    }
    packages = PACKAGES["engines"].get("".join(kinds).rpartition(".")[2], ())
    alone = len(kinds) == 1 and "DATABASES" in project.running.settings
    if alone and packages and complete and not have & {*packages}:
        ((name, place),) = kinds.items()
        yield *place, {"name": name, "package": packages[0]}
    migrates = any("migrate" in command.arguments for command in project.commands)
    fields = project.trees if "django" in have and "pillow" not in have else ()
    for path in fields if complete else ():
        if match := re.search(
            r"(?m)^[^#\n]*\bmodels\.ImageField\(", project.text(path)
        ):
            line = line_at(project.text(path), match.start())
            details = {"name": "models.ImageField", "package": "pillow"}
            yield path, line, details, "error" if migrates else "warning"
            break
    if not complete or "flask" not in have or "asgiref" in have:
        return
    for module, function, _, _ in loading.views:
        if isinstance(function, ast.AsyncFunctionDef):
            start = any(function is page for _, page in start_pages(project))
            details = {
                "name": f"async def {function.name}()",
                "package": "flask[async]",
            }
            level = "error" if start else "warning"
            yield module.path, function.lineno, details, level
