"""Checks of the Procfile: can the platform read it, and does what it starts exist (steps 9 and 10)?"""

import ast
import difflib
import re
import sys

from doctor import FACTS, check
from doctor.commands import PYTHONS, SERVERS, SHELLS, shell_script
from doctor.files import plain_utf8, utf16
from doctor.layout import is_moved
from doctor.lists import normal
from doctor.loading import Function, Made
from doctor.project import as_dict, last_name
from doctor.running import flask_target

PROGRAMS = FACTS["programs"]


@check("H401", step=10)
def no_procfile(project):
    # One that is there but not pushed is for H103 to tell.
    not_pushed = project.in_git and project.in_folder("Procfile")
    if (
        "Procfile" not in project
        and not project.above
        and not not_pushed
        and not is_moved(project)
        and not project.is_container
    ):
        nearly = [n for n in project.in_root() if n.lower().startswith("procfile")]
        container = any(name in project for name in PROGRAMS["elsewhere"])
        yield (
            "".join(nearly[:1]),
            0,
            {"name": "".join(nearly[:1]) or "–", "right": project.server_command},
            "warning" if container else "error",
        )


@check("H402", step=10)
def encoding_of_procfile(project):
    if not plain_utf8(project.contents.get("Procfile", b"")):
        yield "Procfile", 1, {}


def readable(project):
    """Tell whether there is a Procfile that the platform can read at all."""
    return "Procfile" in project and not list(encoding_of_procfile(project))


@check("H403", step=10)
def no_space_after_colon(project):
    for number, line in project.lines("Procfile") if readable(project) else ():
        if re.match(r"\s*[a-zA-Z0-9_-]+:\S", line):
            yield "Procfile", number, {"line": line.strip()}


@check("H404", step=10)
def no_web_process(project):
    """Workers alone are legitimate, unless a server is among them or app.json counts on web."""
    if (
        not readable(project)
        or "web" in project.procfile
        or list(no_space_after_colon(project))
    ):
        return
    wanted = "web" in as_dict(project.json.get("formation"))
    serving = [c for c in project.commands if c.type != "release" and serves(c)]
    nothing = not set(project.procfile) - {"release"}
    if wanted or serving or nothing:
        yield "Procfile", 0, {"types": ", ".join(project.procfile) or "(none)"}


def serves(command):
    """Tell whether a program takes requests."""
    row = SERVERS.get(command.program)
    return bool(row) and (
        not row.get("sub") or bool(set(command.arguments) & set(row["sub"]))
    )


@check("H411", step=10, level="warning")
def two_of_a_type(project):
    types = {}
    for number, line in project.lines("Procfile") if readable(project) else ():
        if match := re.match(r"\s*([a-zA-Z0-9_-]+):?\s+\S", line):
            if match[1] in types:
                yield "Procfile", number, {"type": match[1]}
            types[match[1]] = number


@check("H405", step=10)
def factory_unquoted(project):
    for line, command in project.procfile.values():
        outside = re.sub(r"'[^']*'|\"[^\"]*\"", "", command)
        if re.search(r"\w:\w+\(", outside):
            yield (
                "Procfile",
                line,
                {"target": re.search(r"[\w.]+:\w+\(\)?", outside)[0]},
            )


@check("H410", step=10)
def typographic_signs(project):
    """Dashes and quotation marks that a word processor or a web page has made of plain ones."""
    for line, command in project.procfile.values():
        if match := re.search(r"(^|\s)[—–−‐]|[“”„«»‘’\u00a0]", command):
            yield "Procfile", line, {"sign": match[0].strip() or "U+00A0"}


def in_code(project, *types):
    """Yield the commands of these process types that can be understood."""
    broken = {f.line for f in [*typographic_signs(project), *factory_unquoted(project)]}
    for command in project.commands:
        if (not types or command.type in types) and not (
            command.file == "Procfile" and command.line in broken
        ):
            yield command


@check("H406", step=10, level="warning")
def development_server(project):
    for command in in_code(project, "web"):
        django = "runserver" in command.arguments
        if (
            command.program in ("flask", "quart") and "run" in command.arguments
        ) or django:
            yield (
                command.file,
                command.line,
                {
                    "command": " ".join(command.words[:2]),
                    "right": project.server_command,
                },
            )
        else:
            call = run_call(project, command)
            if call and call[2].startswith("app.run"):
                yield (
                    command.file,
                    command.line,
                    {
                        "command": " ".join(command.words[:2]),
                        "right": project.server_command,
                    },
                )


def run_call(project, command):
    """Return (path, node, text) of the call in a Python file that opens a port, or None."""
    file = command.python_file()
    path = command.path(file) if file else None
    for found, node in listeners(project):
        if found == path:
            return found, node, re.sub(r"^application", "app", ast.unparse(node.func))
    return None


def listeners(project):
    """Yield (path, node) of the calls that open a port."""
    for path, node in project.calls(*FACTS["calls"]):
        text = ast.unparse(node.func)
        owner = text.rpartition(".")[0].rpartition(".")[2].partition("(")[0]
        if owner.lower() in PROGRAMS["not_listening"] or owner.startswith("bot"):
            continue
        if text in ("run", "launch") or (owner == "asyncio"):
            continue
        yield path, node


@check("H407", step=10)
def port_of_its_own(project):
    """The router sends requests to $PORT, on all addresses."""
    for command in in_code(project, "web"):
        for what in wrong_place(project, command):
            yield command.file, command.line, {"what": what}
            break
        else:
            yield from wrong_call(project, command)


def wrong_place(project, command):
    """Yield what is wrong with where a command listens."""
    if PYTHONS.match(command.program) and "runserver" in command.arguments:
        place = [
            w for w in command.arguments if re.fullmatch(r"(\S*:)?(\$\{?\w+.*|\d+)", w)
        ]
        place = place[-1] if place else "127.0.0.1:8000"
        if not place.startswith("0.0.0.0:$"):
            yield f"{place} (0.0.0.0:$PORT)"
        return
    row = SERVERS.get(command.program)
    if not row or not serves(command):
        return
    if any(
        word.startswith(tuple(row.get("files", ["\0"])))
        or word.endswith((".ini", ".yaml"))
        for word in command.arguments
    ):
        return  # what stands there is not looked at
    environ = dict(zip(row.get("environ", ()), ("host", "port"), strict=False))
    given = {
        environ[name]: value
        for name, value in command.variables.items()
        if name in environ
    }
    flaskenv = project.text(".flaskenv")
    for name, kind in environ.items():
        if match := re.search(
            rf"(?m)^\s*{name}\s*=\s*(\S+)",
            flaskenv if command.program == "flask" else "",
        ):
            given.setdefault(kind, match[1])
    bind = command.option(*row["bind"]) if row.get("bind") else None
    if bind is None and command.program == "gunicorn":
        arguments = command.variables.get("GUNICORN_CMD_ARGS", "")
        match = re.search(r"(?:-b|--bind)[ =]?(\S+)", arguments)
        bind = match[1] if match else project.gunicorn_setting(command, "bind")
    if bind is not None:
        yield from fixed(bind)
        if re.search(r"127\.0\.0\.1|localhost|\[::1\]", bind):
            yield bind
        return
    if row.get("reads_port"):
        return
    host = command.option(*row["host"]) if row.get("host") else None
    port = command.option(*row["port"]) if row.get("port") else None
    host, port = host or given.get("host"), port or given.get("port")
    if row.get("setting") and is_written(project, command, row["setting"]):
        return
    if row.get("setting") and port is None:
        match = re.search(r"(?m)^\s*port\s*=\s*(\d+)", project.text(row["setting"]))
        yield match[0] if match else f"{row['port'][0]}=$PORT"
    elif port is None:
        option = row["port"][-1] if row.get("port") else row["bind"][-1]
        yield f"{option} $PORT"
    else:
        yield from fixed(port)
    if (host is None and row.get("local")) or host in ("127.0.0.1", "localhost", "::1"):
        option = row["host"][0] if row.get("host") else row["bind"][-1]
        yield f"{option} 0.0.0.0"


def is_written(project, command, setting):
    """Tell whether a script or a command before it writes the program's settings."""
    scripts = {shell_script(c) for c in project.commands if c.type == command.type}
    texts = [project.text(script) for script in scripts if script in project]
    return setting in " ".join([project.procfile["web"][1], *texts])


def fixed(value):
    """Yield a port that is none of the platform's: a number, or a variable nobody sets."""
    if value.startswith("unix:"):
        return
    port = value.rpartition(":")[2] if ":" in value and "${" not in value else value
    if (
        re.fullmatch(r"\d{1,5}|%PORT%|\{PORT\}|PORT|\$port|\$env:PORT", port)
        or value
        and "$" not in value
        and ":" not in value
        and not re.fullmatch(r"\d+", value)
    ):
        yield value


def wrong_call(project, command):
    """Yield the same for a Python file that serves by itself."""
    call = run_call(project, command)
    if not call:
        return
    path, node, _ = call
    name = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
    row = FACTS["calls"][name]
    given = {word.arg: word.value for word in node.keywords}
    if None in given:  # **settings
        return
    positional = [
        argument for argument in node.args if not isinstance(argument, ast.Name)
    ]
    owner = ast.unparse(node.func).rpartition(".")[0]
    host = given.get(row["host"])
    port = given.get(row["port"])
    if name == "run" and owner not in ("uvicorn", "socketio") and positional:
        host, port = (
            host or positional[0],
            port or (positional[1] if len(positional) > 1 else None),
        )
    if given.keys() & {"listen", "sock", "path", "unix_socket", "fd", "uds"}:
        return
    right = f'{row["host"]}="0.0.0.0", {row["port"]}=int(os.environ["PORT"])'
    own_port = port is None or isinstance(constant(project, path, port), int)
    local = (
        host is None
        and row.get("local")
        or constant(project, path, host) in ("127.0.0.1", "localhost")
    )
    if own_port and not reads_port_itself(project, name) or local:
        yield path, node.lineno, {"what": right}


def reads_port_itself(project, name):
    return name == "launch" and "GRADIO_SERVER_PORT" in project.constants


def constant(project, path, node):
    """Return the value of a constant, or of a name that stands for one; None otherwise."""
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        values = [
            getattr(n.value, "value", None)
            for p, n in project.nodes(ast.Assign)
            if p == path and getattr(n.targets[0], "id", "") == node.id
        ]
        return values[0] if len(values) == 1 else None
    return None


@check("H412", step=10)
def nothing_listens(project):
    """A bot as web: the platform waits a minute for somebody to listen on $PORT, and stops it."""
    commands = list(in_code(project, "web"))
    line, text = project.procfile.get("web", (0, ""))
    if not commands or "&" in text.replace("&&", "") or is_moved(project):
        return
    last = commands[-1]
    file = last.python_file()
    if (
        file is None
        or last.path(file) not in project.trees
        or "runserver" in last.arguments
    ):
        return
    below = project.running.below(last.path(file))
    calls = [ast.unparse(n.func) for p, n in project.nodes(ast.Call) if p in below]
    opens = any(
        call.rpartition(".")[2] in PROGRAMS["listening"]
        and call.partition(".")[0].lower() not in PROGRAMS["not_listening"]
        and not call.startswith(("bot", "self.bot"))
        for call in calls
    )
    bots = {found.module.partition(".")[0] for found in project.running.foreign} & set(
        PROGRAMS["bots"]
    )
    if "PORT" not in project.constants and not opens and not project.running.flexible:
        yield "Procfile", line, {"what": ", ".join(sorted(bots)) or file}


def packages_of_program(command):
    """Yield (package, what names it) of what a command needs to be installed."""
    program = command.program
    if program in SERVERS or program in PROGRAMS["others"]:
        yield PROGRAMS["packages"].get(program, program), program
    if program == "gunicorn":
        worker = command.option("-k", "--worker-class") or ""
        first = worker.partition(".")[0]
        if first in (
            "eventlet",
            "gevent",
            "tornado",
            "uvicorn",
            "geventwebsocket",
            "meinheld",
            "uvicorn_worker",
            "aiohttp",
        ):
            yield (
                normal(first.replace("geventwebsocket", "gevent-websocket")),
                f"-k {worker}",
            )


@check("H206", step=10)
def program_not_installed(project):
    """A program, or gunicorn's kind of worker, that no listed package brings."""
    if not project.list.packages:
        return
    have = project.available[0]
    for command in in_code(project):
        for package, what in packages_of_program(command):
            if package not in have and command.file in (
                "Procfile",
                shell_of(project, command),
            ):
                level = "warning" if project.unknown_needs else "error"
                details = {"package": package, "program": what}
                yield command.file, command.line, details, level


def shell_of(project, command):
    return command.file if command.file in project else "Procfile"


@check("H409", step=10)
def command_needs_what_is_not_there(project):
    if is_moved(project):
        return
    for command in in_code(project):
        if missing := missing_file(project, command):
            yield command.file, command.line, {"missing": missing}
    for key in ("postdeploy", "pr-predestroy"):
        script = as_dict(project.json.get("scripts")).get(key)
        match = (
            re.match(r"(?:python3?|sh|bash)\s+(\S+\.(?:py|sh))", script)
            if isinstance(script, str)
            else None
        )
        if match and match[1] not in project:
            yield (
                "app.json",
                project.app_json_line(key),
                {"missing": match[1]},
                "warning",
            )


def missing_file(project, command):
    """Return what a command needs and the project lacks, "" where nothing is known of it."""
    if (command.program, *command.arguments[:1]) == ("flask", "db"):
        if project.list.packages and "flask-migrate" not in project.available[0]:
            return "flask-migrate (requirements.txt)"
        folder = command.option("-d", "--directory") or "migrations"
        made = any(
            "init" in c.arguments and "db" in c.arguments for c in project.commands
        )
        env = f"{folder}/env.py"
        if project.has_folder(command.path(folder)):
            return "" if command.path(env) in project else env
        return "" if made else f"{folder}/"
    if command.program == "alembic":
        file = command.option("-c", "--config") or "alembic.ini"
    elif command.program in SHELLS:
        file = next((w for w in command.arguments if not w.startswith("-")), "")
        file = file if "-c" not in command.arguments else ""
    elif module := command.module():
        return missing_module(project, command, module)
    elif file := command.python_file():
        pass
    elif (script := shell_script(command)) or command.program.startswith("./"):
        file = script or command.program
        return (
            ""
            if not mine(file) or command.path(file) in project or "$" in file
            else file
        )
    if not file or "$" in file or not mine(file):
        return ""
    path = command.path(file)
    package = f"{path}/__main__.py"
    return (
        "" if path in project or package in project or is_made(project, path) else file
    )


def missing_module(project, command, module):
    """Return the module of `python -m` where neither the project nor a package has it."""
    first, paths = module.partition(".")[0], project.running.paths(command)
    found = project.running.find(module, paths)
    whole = found or project.running.loading.is_folder(module, paths)
    own = project.running.find(first, paths) or project.has_folder(first)
    if own or whole:
        return "" if whole else module
    if project.running.flexible:
        return ""
    have, _, known = project.available
    foreign = project.is_package(first) or normal(first) in have
    return "" if foreign or first in sys.stdlib_module_names or not known else module


def mine(file):
    """Tell whether a path is one of the project's: not of the system or of what is installed."""
    return not re.match(r"/(?!app/)|~|vendor/|\.heroku/|bin/(start-|with_|run-)", file)


def is_made(project, path):
    """Tell whether a build's hook may make a file."""
    return any(
        path in project.text(hook) for hook in ("bin/post_compile", "bin/pre_compile")
    )


@check("H417", step=10, level="warning")
def migrations_that_nothing_runs(project):
    """There are migrations, and nowhere a command or a call that applies them."""
    texts = [c.text for c in project.commands] + [str(project.json.get("scripts"))]
    at_start = [last_name(node.func) for _, node, _ in project.running.loading.calls]
    called = {"upgrade", "create_all"} & set(at_start) or "Dockerfile" in project
    has_some = any("migrations/versions/" in f"/{path}" for path in project.trees)
    migrates = {"flask-migrate", "alembic"} & set(project.list.packages)
    runs = called or any(re.search("upgrade|flask db", text) for text in texts)
    web = readable(project) and "web" in project.procfile
    if has_some and migrates and web and not runs:
        yield "Procfile", 0, {}


@check("H415", step=10)
def word_that_a_program_does_not_know(project):
    """flask db upgrad."""
    for command in in_code(project):
        for start, known in PROGRAMS["words"].items():
            words = start.split()
            after = command.words[len(words) :]
            fits = command.words[: len(words)] == words and after
            if fits and after[0] not in known and not after[0].startswith("-"):
                text = " ".join([*words, after[0]])
                right = (difflib.get_close_matches(after[0], known, 1) or ["--help"])[0]
                yield command.file, command.line, {"command": text, "right": right}


@check("H416", step=10)
def program_of_windows(project):
    for command in in_code(project):
        setting = command.words[:1] == ["set"] and "=" in " ".join(command.words[1:2])
        if command.program in PROGRAMS["windows"] or setting:
            level = "warning" if setting else "error"
            yield (
                command.file,
                command.line,
                {"command": " ".join(command.words[:3])},
                level,
            )
        elif "\\" in " ".join(command.words[:2]) and PYTHONS.match(command.program):
            yield command.file, command.line, {"command": " ".join(command.words[:2])}


@check("H413", step=10)
def no_right_to_run(project):
    """A script that is started by its name needs the execute bit, which Windows does not set."""
    for command in in_code(project):
        name = command.program
        path = command.path(name)
        if "/" in name and path in project.modes and project.modes[path] == "100644":
            yield command.file, command.line, {"name": path}


@check("H414", step=10, level="warning")
def migration_made_on_the_dyno(project):
    for command in in_code(project):
        if command.program == "flask" and command.arguments[:1] == ["db"]:
            if {"migrate", "init", "revision"} & set(command.arguments[1:2]):
                yield (
                    command.file,
                    command.line,
                    {"command": " ".join(command.words[:3])},
                )
        elif "makemigrations" in command.arguments:
            yield command.file, command.line, {"command": " ".join(command.words[:3])}


@check("H501", step=9)
def no_such_app(project):
    """A module that is not there, or a name that it does not have."""
    if is_moved(project):
        return
    named = [(t.command.file, t.command.line, t) for t in project.running.targets]
    for file, line, target in [*named, *settings_targets(project)]:
        row = SERVERS.get(target.command.program, {}) if target.command else {}
        shown_as = {"target": target.text, "right": project.app_name}
        found = project.running.find(target.module, target.paths)
        loose = row == {} and target.command and target.command.program != "flask"
        if loose:
            parts = target.module.split(".")
            known = any(
                project.running.find(".".join(parts[:n]), target.paths)
                for n in range(1, len(parts) + 1)
            )
            if (
                known
                or project.is_package(parts[0])
                or target.command.program in ("procrastinate",)
            ):
                continue
        if not found:
            first = target.module.partition(".")[0]
            if brought(project, first) and not project.has_folder(first):
                continue
            if not_pushed(project, target):
                continue
            shown = target.module.replace(".", "/")
            yield file, line, shown_as | {"missing": f"{shown}.py"}
        elif row.get("colon") and target.name is None:
            yield file, line, shown_as | {"missing": f"{target.module}:app"}
        elif target.name and not loose:
            name = re.split(r"[.(]", target.name)[0]
            loaded = project.running.loading.modules.get((found, False))
            if loaded and name not in loaded.names and not loaded.open:
                missing = f"{name} ({found})"
                yield file, line, shown_as | {"missing": missing}


@check("H502", step=9)
def app_of_another_kind(project):
    """A factory that nobody calls, or an app for servers of the other kind."""
    for target in project.running.targets:
        command, name = target.command, target.name or ""
        row = SERVERS.get(command.program, {})
        found = project.running.find(target.module, target.paths)
        module = project.running.loading.modules.get((found, False))
        thing = module.names.get(re.split(r"[.(]", name)[0]) if module else None
        if not row.get("kind") or "." in name:
            continue
        called = "(" in name or {"--factory", "--call"} & set(command.arguments)
        kind = row["kind"]
        if {"-k", "--worker-class"} & set(command.arguments):
            kind = "asgi" if "uvicorn" in command.text else kind
        if command.option("--interface"):
            kind = command.option("--interface")
        details = {"target": target.text, "program": command.program}
        if isinstance(thing, Function) and not called and thing.is_plain:
            if "Flask" in ast.unparse(thing.node) and not takes_two(thing.node):
                right = f'"{target.module}:{name}()"'
                yield command.file, command.line, details | {"what": right}
        elif (own := kind_of(thing)) and own != kind:
            yield command.file, command.line, details | {"what": own.upper()}


def takes_two(function):
    """Tell whether a function can be called with the two arguments that WSGI has."""
    arguments = function.args
    most = len(arguments.posonlyargs) + len(arguments.args)
    return bool(arguments.vararg) or most - len(arguments.defaults) <= 2 <= most


def kind_of(thing):
    """Return "wsgi" or "asgi" for an app or a function that makes one, None if unknown."""
    if isinstance(thing, Made) and isinstance(thing.of, str):
        return PROGRAMS["kinds"].get(thing.of)
    made_by = thing.of if isinstance(thing, Made) else thing
    if isinstance(made_by, Function):
        calls = [n for n in ast.walk(made_by.node) if isinstance(n, ast.Call)]
        names = {last_name(call.func) for call in calls}
        kinds = {
            k
            for full, k in PROGRAMS["kinds"].items()
            if full.rpartition(".")[2] in names
        }
        return kinds.pop() if len(kinds) == 1 else None
    return None


def not_pushed(project, target):
    path = target.module.replace(".", "/")
    return any(
        project.in_folder(f"{base}/{path}.py".lstrip("/")) for base in target.paths
    )


def brought(project, module):
    """Tell whether a listed package may have this module."""
    if project.is_package(module):
        return True
    return any(
        line.kind in ("path", "address") and not line.name
        for line in project.list.lines
    )


def settings_targets(project):
    """Yield (file, line, Target) of the places beside the Procfile that say where the app is."""
    value = project.app_env.get("FLASK_APP")
    value = value.get("value") if isinstance(value, dict) else value
    places = (
        [("app.json", project.app_json_line("FLASK_APP"), str(value))] if value else []
    )
    for file in (".flaskenv", ".env.example"):
        for number, line in project.lines(file):
            if match := re.match(r"\s*(?:export\s+)?FLASK_APP\s*=\s*(.+)", line):
                places.append((file, number, match[1].strip().strip("\"'")))
    for file, line, text in places:
        target = flask_target(None, text, project.running.searched)
        if re.fullmatch(r"[\w.]+", target.module):
            project.running.loading.module(target.module, target.paths)
            yield file, line, target


@check("H951", step=10)
def windows_line_ends(project):
    started = {shell_script(command) for command in project.commands}
    started |= {command.path(command.program) for command in project.commands}
    for path in sorted({"Procfile", *filter(None, started)} & set(project.contents)):
        content = project.contents[path]
        script = (
            path == "Procfile" or content.startswith(b"#!") or not path.endswith(".py")
        )
        if script and b"\r\n" in content and not utf16(content):
            yield path, 1, {"name": path}


@check("H952", step=1)
def code_not_utf8(project):
    for path, content in sorted(project.contents.items()):
        if path in project.running.reached and b"coding" not in content[:200]:
            try:
                content.decode("utf-8")
            except UnicodeDecodeError as error:
                yield path, content[: error.start].count(b"\n") + 1, {"name": path}
