"""Checks of the start: is the app there that a command names, and what ends it as it loads (steps 9 and 10)?"""

import ast
import posixpath
import re
from dataclasses import replace

from doctor import FACTS, check
from doctor.commands import PYTHONS, SERVERS
from doctor.data import full_paths, not_brought, only_value, path_of
from doctor.imports import newest_allowed
from doctor.layout import is_moved
from doctor.loading import Function, Made
from doctor.pages import hands_out
from doctor.procfile import in_code
from doctor.running import Target, flask_target
from doctor.trees import last_name, unparse, walk
from doctor.versions import numbers

PROGRAMS = FACTS["programs"]
FAILS = PROGRAMS["fails"]


@check("H501", step=9)
def no_such_app(project):
    """A module that is not there, or a name that it does not have."""
    if is_moved(project):
        return
    celery = of_celery(project)
    for file, line, target, missing, *level in (
        *lost_targets(project),
        *nothing_for_gunicorn(project),
        *nothing_for_flask(project),
    ):
        right = project.app_name
        if (file, line, target) in celery:
            right = next(celery_apps(project), "FILE.app")
        details = {"target": target, "missing": missing, "right": right}
        yield file, line, details, *level


def of_celery(project):
    """Return (file, line, text) of the targets that commands of Celery name."""
    targets = [t for t in project.running.targets if t.command.program == "celery"]
    return {(*target.command.place, target.text) for target in targets}


def celery_apps(project):
    """Yield MODULE.NAME of what the code makes by Celery()."""
    for path in project.trees:
        for node in project.nodes_of(path, ast.Assign):
            name = last_name(node.targets[0])
            if name and last_name(getattr(node.value, "func", None)) == "Celery":
                yield f"{path.removesuffix('.py').replace('/', '.')}.{name}"


def lost_targets(project):
    """Yield (file, line, target, what it lacks) of the apps that commands and settings name."""
    named = [(*target.command.place, target) for target in project.running.targets]
    for file, line, target in [
        *named,
        *settings_targets(project),
        *own_servers(project),
    ]:
        if missing := missing_app(project, target):
            yield file, line, target.text, missing


def own_servers(project):
    """Yield (file, line, Target) of the commands of deploy/server.py, as long as it loads main."""
    for command in in_code(project):
        main = "main:init_app" in project.text("deploy/server.py")
        if command.module() == "deploy.server" and main:
            paths = project.running.paths(command)
            yield (
                *command.place,
                Target(None, "main:init_app", "main", "init_app", paths),
            )


def nothing_for_gunicorn(project):
    """Yield the same of servers that are told no app, or a file in place of a module."""
    for command in in_code(project, "web"):
        row = SERVERS.get(command.program, {})
        if row.get("app") != ["first"]:
            continue
        path = "".join(command.positional(row.get("flags", ()))[:1])
        if re.fullmatch(r"[\w./-]+/[\w.]+(:\w+)?", path):
            yield *command.place, path, path.partition(":")[0]
        elsewhere = "GUNICORN_CMD_ARGS" in command.variables
        named = elsewhere or project.gunicorn_setting(command, "wsgi_app")
        if not command.arguments and not named:
            yield *command.place, command.text, "FILE:NAME"


def nothing_for_flask(project):
    """Yield the same, and a level, of commands of Flask that name no app, where it finds none by itself.

    A warning: a config var may name it, which nothing in the project tells.
    """
    aside = ("doctor/", "deploy/", "test")
    files = (p for p in project.contents if not p.startswith(aside) and p[-3:] != ".md")
    named = {path for path in files if "FLASK_APP" in project.text(path)}
    have, sure, _ = project.available
    # Flask reads that file by way of python-dotenv only.
    known = sure and project.list.packages and project.list.is_known
    unread = known and named == {".flaskenv"} and "dotenv" not in " ".join(have)
    if named and not unread:
        return
    lost = ".flaskenv" not in project and project.in_folder(".flaskenv")
    for command in in_code(project, "web", "release"):
        paths = project.running.paths(command)
        there = any(project.running.find(name, paths) for name in ("wsgi", "app"))
        own = command.option("--app", "-A") or "FLASK_APP" in command.variables
        if command.program == "flask" and not (there or own):
            missing, level = ("FLASK_APP", "warning")
            if lost or unread:
                missing, level = ("python-dotenv" if unread else ".flaskenv", "error")
            yield *command.place, command.start(2), missing, level


def missing_app(project, target):
    """Return the file or the name that a target lacks, "" where nothing is known of it."""
    running, command, module = project.running, target.command, target.module
    row = SERVERS.get(command.program, {}) if command else {}
    parts, found = module.split("."), running.find(module, target.paths)
    if command and not row:  # what follows the module's name is for its program to find
        starts = (".".join(parts[:n]) for n in range(1, len(parts) + 1))
        known = any(running.find(start, target.paths) for start in starts)
        if known or project.is_package(parts[0]) or command.program == "procrastinate":
            return ""
    if not found:
        brought = is_brought(project, parts[0]) and not project.has_folder(parts[0])
        path = module.replace(".", "/")
        files = (f"{base}/{path}.py".lstrip("/") for base in target.paths)
        there = brought or any(map(project.in_folder, files))  # H103 names the latter
        return "" if there else f"{path}.py"
    if row.get("colon") and target.name is None:
        return f"{module}:app"
    name, loaded = first_name(target), module_of(project, target)
    lost = name and loaded and name not in loaded.names and not loaded.open
    return f"{name} ({found})" if lost else ""


def first_name(target):
    """Return the name in the module that a target begins with: "make" of "app:make()"."""
    return re.split(r"[.(]", target.name or "")[0]


def module_of(project, target):
    """Return the Module of a target, None where it was not loaded."""
    found = project.running.find(target.module, target.paths)
    return project.running.loading.modules.get((found, False))


def is_brought(project, module):
    """Tell whether a listed package may have this module."""
    nameless = [line for line in project.list.lines if not line.name]
    unknown = any(line.kind in ("path", "address") for line in nameless)
    return unknown or project.is_package(module)


@check("H502", step=9)
def app_of_another_kind(project):
    """A factory that nobody calls, or an app for servers of the other kind."""
    found = []
    for target in project.running.targets:
        found += [(target, what, "error") for what in unfit(project, target)]
    for target, level in flask_apps(project):
        found.append((target, wrongly_called(project, target), level))
    for target, what, level in found:
        if what:
            details = {"target": target.text, "program": target.command.program}
            yield *target.command.place, details | {"what": what}, level


def unfit(project, target):
    """Yield what a command has to name in place of a target, "" where nothing is known against it."""
    command, name = target.command, target.name or ""
    row = SERVERS.get(command.program, {})
    version = newest_allowed(project, command.program) or (0,)
    dotted = "." in name.partition("(")[0] and version >= (20,)
    if row.get("one_name") and dotted:
        yield f"{first_name(target)} = {name}"
    if row.get("kind") and "." not in name:
        yield of_another_kind(project, target, row["kind"])
    yield wrongly_called(project, target)


def of_another_kind(project, target, kind):
    """Return what a server of a kind takes in place of a target, "" where it takes the target."""
    module = module_of(project, target)
    thing = module.names.get(first_name(target)) if module else None
    words = {*target.command.arguments}
    called = "(" in (target.name or "") or {"--factory", "--call"} & words
    if isinstance(thing, Function) and not called and thing.is_plain:
        makes = "Flask" in unparse(thing.node) and not takes_two(thing.node)
        return f'"{target.module}:{target.name}()"' if makes else ""
    of = thing.of if isinstance(thing, Made) and isinstance(thing.of, str) else ""
    before, _, instead = PROGRAMS["no_apps"].get(of, "0 ").partition(" ")
    version = newest_allowed(project, of.partition(".")[0].replace("_", "-"))
    if (version or (0,)) < numbers(before):
        return instead
    own = kind_of(thing)
    fits = not own or kind_served(project, target.command, kind) in (own, "auto")
    return "" if fits else own.upper()


def kind_served(project, command, kind):
    """Return the kind of apps that a command serves; kind: that of its program."""
    worker = command.option("-k", "--worker-class") or project.gunicorn_setting(
        command, "worker_class"
    )
    if "uvicorn" in (worker or ""):
        kind = "asgi"
    given = command.variables.get("GUNICORN_CMD_ARGS", "GUNICORN_CMD_ARGS")
    if command.program == "gunicorn" and (
        given in project.app_env or "worker" in given or computes_its_worker(project)
    ):
        return "auto"
    kind = command.option("--interface") or kind
    if command.program == "granian":
        kind = command.variables.get("GRANIAN_INTERFACE", kind)
    return kind.removesuffix("nl")


def computes_its_worker(project):
    """Tell whether gunicorn's settings say something of the worker that cannot be read."""
    values = [
        node.value
        for node in project.nodes_of("gunicorn.conf.py", ast.Assign)
        if last_name(node.targets[0]) == "worker_class"
    ]
    return any(not isinstance(value, ast.Constant) for value in values)


def flask_apps(project):
    """Yield (Target, level) of the commands of Flask that do not name their app."""
    with_dotenv = "python-dotenv" in project.available[0]
    files = ("app.json", ".flaskenv") if with_dotenv else ("app.json",)
    named = [t for file, _, t in settings_targets(project) if file in files][:1]
    own = {id(target.command) for target in project.running.targets}
    for command in in_code(project):
        if command.program == "flask" and id(command) not in own:
            for target in named:
                yield replace(target, command=command), "error"
            for name in ("wsgi", "app") if not named else ():
                paths = project.running.paths(command)
                if found := project.running.find(name, paths):
                    yield Target(command, found, name, None, paths), "warning"
                    break


def wrongly_called(project, target):
    """Return how a factory wants to be called, "" where it is called so."""
    module, command = module_of(project, target), target.command
    name = first_name(target) or (module and factory_of(module)) or ""
    thing, flask = module and module.names.get(name), command.program == "flask"
    if not isinstance(thing, Function) or not thing.is_plain:
        return ""
    text = target.name if "(" in (target.name or "") else f"{name}()"
    if text == target.name:  # the server reads the call, or nobody knows what it does
        called = flask or SERVERS.get(command.program, {}).get("calls")
    else:
        called = flask or {"--factory", "--call"} & {*command.arguments}
    try:
        call = ast.parse(text, mode="eval").body
    except SyntaxError:
        return ""
    plain = isinstance(call, ast.Call) and isinstance(call.func, ast.Name)
    if not called or not plain or takes(thing.node.args, call):
        return ""
    return f"{name}({unparse(thing.node.args)})"


def factory_of(module):
    """Return the factory that Flask calls where a module has no app."""
    names, apps = module.names, {"app", "application"} & set(module.names)
    made = [n for n in names.values() if isinstance(n, Made) and n.of == "flask.Flask"]
    if apps or made or module.open:
        return None
    return next((name for name in ("create_app", "make_app") if name in names), None)


def takes(arguments, call):
    """Tell whether a function with these arguments can be called so."""
    spread = any(isinstance(a, ast.Starred) for a in call.args)
    if spread or any(word.arg is None for word in call.keywords):
        return True
    names = [a.arg for a in [*arguments.posonlyargs, *arguments.args]]
    given, count = {word.arg for word in call.keywords}, len(call.args)
    needed = names[count : len(names) - len(arguments.defaults)]
    needed += [
        a.arg
        for a, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
        if default is None
    ]
    known = {*names[count:], *(a.arg for a in arguments.kwonlyargs)}
    too_many = count > len(names) and not arguments.vararg
    unknown = given - known and not arguments.kwarg
    return not (too_many or unknown or set(needed) - given)


def takes_two(function):
    """Tell whether a function can be called with the two arguments that WSGI has."""
    arguments = function.args
    most = len(arguments.posonlyargs) + len(arguments.args)
    return bool(arguments.vararg) or most - len(arguments.defaults) <= 2 <= most


def kind_of(thing):
    """Return "wsgi" or "asgi" for an app or a function that makes one, None if unknown."""
    known, of = PROGRAMS["kinds"], thing.of if isinstance(thing, Made) else thing
    if isinstance(thing, Made) and isinstance(of, str):
        return known.get(of)
    if not isinstance(of, Function):
        return None
    calls = [n for n in walk(of.node) if isinstance(n, ast.Call)]
    names = {last_name(call.func) for call in calls}
    kinds = {kind for full, kind in known.items() if full.rpartition(".")[2] in names}
    return kinds.pop() if len(kinds) == 1 else None


def settings_targets(project):
    """Yield (file, line, Target) of the places beside the Procfile that say where the app is."""
    value = project.app_value("FLASK_APP")
    line = project.app_json_line("FLASK_APP")
    places = [("app.json", line, str(value))] if value else []
    for file in (".flaskenv", ".env.example"):
        for number, line in project.lines(file):
            if match := re.match(r"\s*(?:export\s+)?FLASK_APP\s*=\s*(.+)", line):
                places.append((file, number, match[1].strip().strip("\"'")))
    for file, line, text in places:
        target = flask_target(None, text, project.running.searched)
        if re.fullmatch(r"[\w.]+", target.module):
            project.running.loading.module(target.module, target.paths)
            yield file, line, target


@check("H541", step=9)
def factory_without_an_app(project):
    """A function that makes the app and does not hand it out: its `return app` is lost."""
    asked = any(command.program == "flask" for command in in_code(project))
    named = [*project.running.targets, *(t for *_, t in own_servers(project))]
    named += [t for *_, t in settings_targets(project) if asked]
    told = set()
    for target in named:
        name, loaded = first_name(target), module_of(project, target)
        function = loaded and loaded.names.get(name)
        called = target.command is None or "(" in (target.name or "")
        if not (called and isinstance(function, Function) and function.is_plain):
            continue
        if not hands_out(function.node) and function.node not in told:
            told.add(function.node)
            yield function.module.path, function.node.lineno, {"name": name}


@check("H512", step=10)
def import_that_never_ends(project):
    """app.run() without the guard in a module that a server imports; `flask` passes it over."""
    served = project.running.served_modules
    for use in project.running.loading.calls:
        ends = use.of not in PROGRAMS["never_end"] or "thread" in use.guards
        if not ends and use.module in served:
            yield use.path, use.node.lineno, {"name": unparse(use.node.func)}
    for use in project.running.loading.endless:
        if use.module in served and not {"thread", "try"} & use.guards:
            yield use.path, use.node.lineno, {"name": "while True"}


def rows_of_fails(of):
    """Return what is known of a name that ends a start: all of it, or what a row's dot stands for."""
    if not isinstance(of, str):
        return []
    parts = of.split(".")
    starts = [f"{'.'.join(parts[:n])}." for n in range(1, len(parts))]
    return [FAILS[name] for name in (of, *starts) if name in FAILS]


@check("H513", step=9)
def call_that_fails_at_the_start(project):
    """db.create_all() without a context of the app, a loop that nobody has made, .env on a dyno."""
    for path, line, name, says, right, *level in (
        *known_to_fail(project),
        *asked_of_nobody(project),
        *locale_that_is_not_there(project),
        *env_file_that_is_not_there(project),
    ):
        yield path, line, {"name": name, "says": says, "right": right}, *level


def known_to_fail(project):
    """Yield (path, line, name, what it says, what is right) of calls and names that are known to end a start."""
    calls, told = project.running.loading.calls, set()
    pushed = any(last_name(use.node.func) in ("push", "__enter__") for use in calls)
    for use in [*calls, *project.running.loading.uses]:
        place = use.path, use.node.lineno
        for row in rows_of_fails(use.of) if "try" not in use.guards else ():
            ready = row.get("context") and (pushed or "with" in use.guards)
            if place not in told and not ready and fits(project, row, use):
                told.add(place)
                name = unparse(getattr(use.node, "func", use.node))
                yield *place, name, row["says"], row["right"]


def fits(project, row, use):
    """Tell whether a use is what a row of facts describes, with the packages and the Python that there are."""
    if not isinstance(use.node, ast.Call if row.get("called", True) else ast.Attribute):
        return False
    version = row.get("package") and newest_allowed(project, row["package"])
    if version is not None and version < numbers(row.get("since", "0")):
        return False
    words = {word.arg for word in getattr(use.node, "keywords", ())}
    if "refuses" in row and not words & {*row["refuses"]}:
        return False
    if words & {row.get("keyword", ""), None}:  # None: **what nobody sees
        return False
    if project.available[0] & {*row.get("unless", ())}:
        return False
    new = project.list.python >= numbers(row.get("python", "3"))
    return new and (not row.get("loop") or runs_without_loop(project, use.module))


def asked_of_nobody(project):
    """Yield the same of what asks a person, or reads words that the server was told."""
    served = project.running.served_modules
    for use in project.running.loading.calls:
        place = use.path, use.node.lineno
        if {"thread", "try"} & use.guards:
            continue
        if getattr(use.node.func, "id", "") == "input" and use.of is None:
            says = "EOFError: EOF when reading a line"
            yield *place, "input", says, "os.environ[…]"
        reads = use.of == "argparse.ArgumentParser.parse_args" and not use.node.args
        if reads and use.module in served:
            says, right = "error: unrecognized arguments", "parser.parse_known_args()"
            yield *place, "parse_args", says, right


def locale_that_is_not_there(project):
    """Yield the same of setlocale(): the platform has English only, unless a buildpack brings others."""
    if ".locales" in project or any("locale" in b for b in project.buildpacks):
        return
    for use in project.running.loading.calls:
        if use.of != "locale.setlocale" or {"thread", "try"} & use.guards:
            continue
        named = getattr(use.node.args[1], "value", None) if use.node.args[1:] else None
        if isinstance(named, str) and not re.match(r"$|C\b|POSIX$|en_", named):
            says = "locale.Error: unsupported locale setting"
            yield use.path, use.node.lineno, f'setlocale("{named}")', says, "Babel"


def env_file_that_is_not_there(project):
    """Yield the same, and a level where it is not sure, of a .env that is read and not pushed."""
    for path, line, name, level in not_brought(project):
        if posixpath.basename(name).startswith(".env"):
            yield path, line, name, "FileNotFoundError", 'os.environ["…"]', level
    for use in project.running.loading.uses:
        key = getattr(getattr(use.node, "slice", None), "value", None)
        if use.of == "dotenv.dotenv_values()[]" and lacks_env(project, use):
            says, right = f"KeyError: {key!r}", f'os.environ["{key}"]'
            yield use.path, use.node.lineno, unparse(use.node), says, right


def runs_without_loop(project, module):
    """Tell whether a command loads a module where no event loop is, and code makes none."""
    if project.calls_any("set_event_loop", "set_event_loop_policy"):
        return False
    for command in project.running.commands_of(module, imported=True):
        worker = command.option("-k", "--worker-class") or "sync"
        plain = worker in ("sync", "gthread") and not any(
            "worker_class" in project.text(path)
            for path in project.sizes
            if "gunicorn" in path
        )
        if (
            command.program == "gunicorn"
            and plain
            or command.program in PROGRAMS["without_loop"]
        ):
            return True
        if PYTHONS.match(command.program):
            return True
    asked = any(command.program == "flask" for command in in_code(project))
    return asked and any(
        module.path in project.running.below(found.path)
        for _, _, target in settings_targets(project)
        if (found := module_of(project, target))
    )


def lacks_env(project, use):
    """Tell whether dotenv_values() reads a file that is not pushed, and nothing else fills it."""
    value, guarded = use.node.value, "try" in use.guards
    if isinstance(value, ast.Name):
        text = project.text(use.path)
        filled = re.search(
            rf"\b{value.id}(\[.*\]\s*=[^=]|\.(update|setdefault)|\s*\|=)", text
        )
        value, guarded = only_value(project, use.path, value.id), guarded or filled
    if not isinstance(value, ast.Call) or guarded:
        return False
    given = [
        *value.args[:1],
        *(w.value for w in value.keywords if w.arg == "dotenv_path"),
    ]
    found = given and last_name(getattr(given[0], "func", None)) == "find_dotenv"
    place = path_of(project, use.path, given[0]) if given and not found else ".env"
    paths = list(full_paths(project, use, place)) if place else []
    return bool(paths) and not any(path in project for path in paths)


@check("H952", step=1)
def code_not_utf8(project):
    for path, content in sorted(project.contents.items()):
        if path in project.running.reached and b"coding" not in content[:200]:
            try:
                content.decode("utf-8")
            except UnicodeDecodeError as error:
                line = content[: error.start].count(b"\n") + 1
                level = "error" if project.is_sure(path) else "warning"
                yield path, line, {"name": path}, level
