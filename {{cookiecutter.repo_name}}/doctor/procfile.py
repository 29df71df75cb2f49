"""Checks of the Procfile: can the platform read it, and does what it starts serve visitors (steps 9 and 10)?"""

import ast
import difflib
import posixpath
import re
import sys
from itertools import zip_longest

from doctor import FACTS, check
from doctor.commands import (
    PYTHONS,
    SERVERS,
    SHELLS,
    commands,
    packages_of_program,
    shell_script,
)
from doctor.data import constant, inside_conditions
from doctor.files import line_at, plain_utf8, utf16
from doctor.imports import named_at_start, newest_allowed
from doctor.layout import is_moved, stops_at_a_failure
from doctor.lists import normal
from doctor.loading import is_endless
from doctor.project import as_dict
from doctor.trees import first_value, last_name, unparse
from doctor.versions import numbers

PROGRAMS = FACTS["programs"]
WINDOWS_MODULES = set(PROGRAMS["windows_modules"])
HERE = ("127.0.0.1", "localhost", "::1")


@check("H401", step=10)
def no_procfile(project):
    # One that is there but not pushed is for H103 to tell.
    not_pushed = project.in_git and project.in_folder("Procfile")
    if "Procfile" in project or project.above or not_pushed or is_moved(project):
        return
    written = project.is_named_by_a_hook("Procfile")
    if project.is_container or project.is_rearranged or written:
        return
    nearly = [n for n in project.in_root() if n.lower().startswith("procfile")]
    elsewhere = any(name in project for name in PROGRAMS["elsewhere"])
    name = "".join(nearly[:1])
    details = {"name": name or "–", "right": project.server_command}
    yield name, 0, details, "warning" if elsewhere else "error"


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


@check("H418", step=10, level="warning")
def sockets_and_many_workers(project):
    """Flask-SocketIO keeps a visitor's session in one process; gunicorn starts WEB_CONCURRENCY of them."""
    made = [
        c
        for _, _, c, *_ in project.running.loading.calls
        if c in PROGRAMS["one_worker"]
    ]
    for command in many_workers(project) if made else ():
        yield *command.place, {"what": made[0]}


@check("H423", step=10, level="warning")
def scheduler_in_every_worker(project):
    """What starts with the app starts as often as there are workers, unless one loads it for all."""
    for use in project.running.loading.calls:
        # bot.infinity_polling() in a thread beside the pages is the same.
        words = [*use.node.args, *(word.value for word in use.node.keywords)]
        target = [last_name(word) for word in words if use.of == "threading.Thread"]
        polls = {*PROGRAMS["polls"]} & {last_name(use.node.func), *target}
        starts = use.of in PROGRAMS["schedulers"] or polls
        for command in many_workers(project) if starts else ():
            preloads = re.search("--preload", command.text)
            if use.module in project.running.served_modules and not preloads:
                what = unparse(use.node.func)
                yield use.path, use.node.lineno, {"what": what}
                return


def many_workers(project):
    """Yield the commands of gunicorn that start WEB_CONCURRENCY workers, or some number over one."""
    for command in in_code(project, "web"):
        text = f"{command.text} {command.variables.get('GUNICORN_CMD_ARGS', '')}"
        few = re.search(r"(-w|--workers)[ =]?1\b", text)
        entry = project.app_env.get("WEB_CONCURRENCY")
        entry = command.variables.get(
            "WEB_CONCURRENCY", as_dict(entry).get("value", entry)
        )
        few = few or str(entry) == "1"
        file = command.option("-c", "--config") or "gunicorn.conf.py"
        few = few or re.search(
            r"(?m)^workers\s*=\s*1\s*$", project.text(command.path(file))
        )
        own = command.module() == "deploy.server"
        if (command.program == "gunicorn" or own) and not few:
            yield command


@check("H404", step=10)
def no_web_process(project):
    """Workers alone are legitimate, unless a server is among them or app.json counts on web."""
    unclear = not readable(project) or list(no_space_after_colon(project))
    if unclear or "web" in project.procfile:
        return
    wanted = "web" in as_dict(project.json.get("formation"))
    programs = {*SERVERS, "python", "python3", "sh", "bash"}
    wanted = wanted or programs & {*project.procfile}  # web: is missing in front of it
    serving = any(
        c.type != "release" and (serves(c) or serves_pages(project, c))
        for c in project.commands
    )
    if wanted or serving or not set(project.procfile) - {"release"}:
        yield "Procfile", 0, {"types": ", ".join(project.procfile) or "(none)"}


def serves_pages(project, command):
    """Tell whether Python runs a file that does nothing but to serve an app: no bot beside it."""
    call = run_call(project, command)
    bots = project.imported & {*PROGRAMS["bots"]}
    main = call and call[0] == python_path(project, command)
    return main and not bots and re.search(r"\bapp\.run$|^uvicorn\.run$", call[2])


def hides_https(command):
    """Tell whether it is waitress, which takes away the header in which the router says https."""
    keeps = re.search("trusted-proxy|no-clear", command.text)
    return command.program == "waitress-serve" and not keeps


def serves(command):
    """Tell whether a program takes requests."""
    row = SERVERS.get(command.program, {"sub": ()})
    return "sub" not in row or not {*command.arguments}.isdisjoint(row["sub"])


@check("H411", step=10, level="warning")
def two_of_a_type(project):
    types = set()
    for number, line in project.lines("Procfile") if readable(project) else ():
        if match := re.match(r"\s*([a-zA-Z0-9_-]+):?\s+\S", line):
            if match[1] in types:
                yield "Procfile", number, {"type": match[1]}
            types.add(match[1])


@check("H405", step=10)
def factory_unquoted(project):
    for line, command in project.procfile.values():
        outside = re.sub(r"'[^']*'|\"[^\"]*\"", "", command)
        target = re.search(r"[\w.]+:\w+\(\)?", outside)
        if target and re.search(r"\w:\w+\(", outside):
            yield "Procfile", line, {"target": target[0]}


@check("H410", step=10)
def typographic_signs(project):
    """Dashes and quotation marks that a word processor or a web page has made of plain ones."""
    for line, command in project.procfile.values():
        if match := re.search(r"(^|\s)[—–−‐]|[“”„«»‘’\u00a0]", command):
            sign, before = match[0].strip(), command[: match.start()]
            # gunicorn passes over words behind the app, also what was meant for an option.
            app = r"gunicorn\s+[^-—–−‐\s]\S*\s|gunicorn\s.*\w:\w"
            over = sign in "—–−‐" and re.search(app, f"{before} ")
            details = {"sign": sign or "U+00A0"}
            yield "Procfile", line, details, "warning" if over else "error"


def in_code(project, *types):
    """Yield the commands of these process types that can be understood."""
    found = [*typographic_signs(project), *factory_unquoted(project)]
    broken = {f.line for f in found if f.level == "error"}
    for command in project.commands:
        unclear = command.file == "Procfile" and command.line in broken
        # release: python seed.py || true
        _, whole = project.procfile.get(command.type, (0, ""))
        unclear = unclear or command.type == "release" and "||" in whole
        if not unclear and (not types or command.type in types):
            yield command


@check("H406", step=10, level="warning")
def development_server(project):
    for command in in_code(project, "web"):
        words, call = command.arguments, run_call(project, command)
        flask = command.program in ("flask", "quart") and "run" in words
        own = call and call[2].startswith("app.run")
        if flask or "runserver" in words or own:
            details = {"command": command.start(2), "right": project.server_command}
            yield *command.place, details


def run_call(project, command):
    """Return (path, node, text) of the call in Python's files that opens a port, or None."""
    main = python_path(project, command)
    at_start = {id(n): of for _, n, of, *_ in project.running.loading.calls if main}
    below = project.running.below(main) if main else ()
    for path, node in project.calls(*FACTS["calls"]) if main else ():
        text = unparse(node.func)
        owner = text.rpartition(".")[0].rpartition(".")[2].partition("(")[0]
        bot = owner.lower() in PROGRAMS["not_listening"] or owner.startswith("bot")
        runs = path == main or path in below and id(node) in at_start
        runs &= bool(node.args) or not text.endswith(
            ".serve"
        )  # of an app, not of a server
        runs &= may_listen(project, at_start.get(id(node)), below)
        if runs and not bot and text not in ("run", "launch"):
            return path, node, re.sub(r"^application", "app", text)
    return None


def may_listen(project, called, below):
    """Tell whether what is called surely takes its port from its arguments."""
    if isinstance(called, str):
        return called.partition(".")[0] in FACTS["serving"]["packages"]
    if called is not None:
        return False
    return not any(n.value == "PORT" and path in below for path, n in project.texts())


def python_path(project, command):
    """Return the file of the project's own that Python runs as a program, None where there is none."""
    module, paths = command.module(), project.running.paths(command)
    if file := command.python_file():
        return command.path(file)
    find = project.running.find
    return (
        (find(f"{module}.__main__", paths) or find(module, paths)) if module else None
    )


@check("H407", step=10)
def port_of_its_own(project):
    """The router sends requests to $PORT, on all addresses."""
    for command in in_code(project, "web"):
        if passes_port_on(command):
            continue
        own = (
            command.variables.get("PORT", "") if command is last_of_web(project) else ""
        )
        if own.isdecimal() and not re.search(r"\$\{?PORT\b", command.text):
            yield *command.place, {"what": f"PORT={own}"}
        elif what := wrong_place(project, command):
            place = command.place
            if what not in command.text and what == project.gunicorn_setting(
                command, "bind"
            ):
                place = (command.option("-c", "--config") or "gunicorn.conf.py", 0)
            yield *place, {"what": what}
        elif "runserver" not in command.arguments:
            yield from wrong_call(project, command)


def last_of_web(project):
    """Return the last command of the web process, None without one: what comes before it ends."""
    return [None, *in_code(project, "web")][-1]


def passes_port_on(command):
    """Tell whether a variable in front of a command holds $PORT: GRADIO_SERVER_PORT=$PORT."""
    return any(re.search(r"\$\{?PORT\b", v) for v in command.variables.values())


def wrong_place(project, command):
    """Return what is wrong with where a command listens, "" where nothing is."""
    words = command.arguments
    if PYTHONS.match(command.program) and "runserver" in words:
        places = [w for w in words if re.fullmatch(r"(\S*:)?(\$\{?\w+.*|\d+)", w)]
        place = ["127.0.0.1:8000", *places][-1]
        # Of Flask-Script, which takes host and port for themselves.
        host, port = command.option("-h", "--host"), command.option("-p", "--port")
        if host in ("0.0.0.0", "::") and "$" in str(port):
            return ""
        return "" if place.startswith("0.0.0.0:$") else f"{place} (0.0.0.0:$PORT)"
    row = SERVERS.get(command.program, {})
    files = tuple(row.get("files", ()))
    if not serves(command) or any(
        w.startswith(files) or w.endswith((".ini", ".yaml")) for w in words
    ):
        return ""  # what stands in a file is not looked at
    bind = bound_to(project, command, row)
    if {*row.get("local_words", ())} & {*words} and not command.option(*row["host"]):
        return f"{command.start(2)} (127.0.0.1)"
    if bind is not None:
        local = re.search(r"127\.0\.0\.1|localhost|\[::1\]", bind)
        behind = "nginx" in command.text or any(
            "heroku/python" not in b for b in project.buildpacks
        )
        socket = bind.startswith("unix:") and not behind
        # `echo "… 0.0.0.0:$PORT" > Procfile`: the own shell had no PORT to fill in.
        empty = bind.endswith(":") and command.program == "gunicorn"
        return bind if local or is_fixed(bind) or socket or empty else ""
    return "" if row.get("reads_port") else wrong_options(project, command, row)


def bound_to(project, command, row):
    """Return what the option for address and port in one says, None where it is not given."""
    bind = command.option(*row.get("bind", ()))
    if len(re.findall(r"\s(?:-b|--bind)\b", command.text)) > 1:
        return ""  # on several addresses at once
    if bind is None and command.program == "gunicorn":
        arguments = command.variables.get("GUNICORN_CMD_ARGS", "")
        match = re.search(r"(?:-b|--bind)[ =]?(\S+)", arguments)
        return match[1] if match else project.gunicorn_setting(command, "bind")
    return bind


def wrong_options(project, command, row):
    """Return the same for a program that has one option each for the address and the port."""
    given, setting = [], row.get("setting")
    flaskenv = project.text(".flaskenv") if command.program == "flask" else ""
    for kind, name in zip_longest(("host", "port"), row.get("environ", ())):
        match = re.search(rf"(?m)^\s*{name}\s*=\s*(\S+)", flaskenv)
        variable = command.variables.get(name, match and match[1])
        given.append(command.option(*row.get(kind, ())) or variable)
    host, port = given
    if setting and is_written(project, command, setting):
        return ""
    if setting and port is None:
        match = re.search(r"(?m)^\s*port\s*=\s*(\d+)", project.text(setting))
        return match[0] if match else f"{row['port'][0]}=$PORT"
    if port is None and takes_port(project, row):
        port = "$PORT"
    if port is None:
        return f"{(row.get('port') or row['bind'])[-1]} $PORT"
    if is_fixed(port):
        return port
    local = host in HERE or host is None and row.get("local")
    return f"{(row.get('host') or row['bind'][-1:])[0]} 0.0.0.0" if local else ""


def takes_port(project, row):
    """Tell whether a program takes PORT by itself, in the version that is installed."""
    package, _, since = row.get("takes_port", " 9999").partition(" ")
    listed = project.list.packages.get(package)
    return bool(package) and (
        not listed or (newest_allowed(project, package) or (0,)) >= numbers(since)
    )


def is_written(project, command, setting):
    """Tell whether a script or a command before it writes the program's settings."""
    scripts = {shell_script(c) for c in project.commands if c.type == command.type}
    texts = [project.procfile["web"][1], *map(project.text, scripts)]
    return setting in " ".join(texts)


def is_fixed(value):
    """Tell whether a port is none of the platform's: a number, or a variable nobody sets."""
    port = value.rpartition(":")[2] if ":" in value and "${" not in value else value
    number = re.fullmatch(r"\d{1,5}|%PORT%|\{PORT\}|PORT|\$port|\$env:PORT", port)
    word = re.fullmatch(r"(?!\d+\Z)[^$:]+", value)
    return bool(number or word) and not value.startswith("unix:")


def wrong_call(project, command):
    """Yield the same for a Python file that serves by itself."""
    call = run_call(project, command)
    if not call:
        return
    path, node, text = call
    given = {word.arg: word.value for word in node.keywords}
    # **settings, or another place to listen
    if given.keys() & {None, "listen", "sock", "path", "unix_socket", "fd", "uds"}:
        return
    owner, name = text.rpartition(".")[0], last_name(node.func)
    row, places = FACTS["calls"].get(text) or FACTS["calls"][name], [None, None]
    if "at" in row:  # where its arguments for the host and the port stand
        places = [next(iter(node.args[at : at + 1]), None) for at in row["at"]]
    elif name == "run" and owner not in ("uvicorn", "socketio"):
        places = [a for a in node.args if not isinstance(a, ast.Name)] + places
    host = given.get(row["host"]) or places[0]
    port = given.get(row["port"]) or places[1]
    knows_port = name == "launch" and "GRADIO_SERVER_PORT" in project.constants
    own_port = port is None or isinstance(constant(project, path, port), int)
    local = (
        row.get("local") if host is None else constant(project, path, host) in HERE[:2]
    )
    if own_port and not knows_port or local:
        what = f'{row["host"]}="0.0.0.0", {row["port"]}=int(os.environ["PORT"])'
        yield path, node.lineno, {"what": what}


@check("H412", step=10)
def nothing_listens(project):
    """A bot as web: the platform waits a minute for somebody to listen on $PORT, and stops it."""
    last = last_of_web(project)
    line, text = project.procfile.get("web", (0, ""))
    if not last or "&" in text.replace("&&", "") or is_moved(project):
        return
    # python bot.py && gunicorn app:app: what never ends lets nothing come after it.
    for command in in_code(project, "web"):
        path = command.path(command.python_file() or "")
        body = getattr(project.trees.get(path), "body", [])
        body = [s for part in body for s in (part, *main_part(part))]
        if command is not last and any(
            isinstance(s, ast.While) and is_endless(s) for s in body
        ):
            yield "Procfile", line, {"what": path}
            return
    if passes_port_on(last):
        return
    file, running = last.python_file(), project.running
    path = last.path(file or "")
    if path not in project.trees or "runserver" in last.arguments:
        return
    below = running.below(path)
    # What the project defines itself is followed, whatever it is called.
    functions = project.nodes(ast.FunctionDef, ast.AsyncFunctionDef)
    own = {node.name for p, node in functions if p in below}
    calls = [unparse(n.func) for p, n in project.nodes(ast.Call) if p in below]
    calls = [name for name in calls if name not in own]
    texts = {n.value for p, n in project.nodes(ast.Constant) if p in below}
    starts = re.compile(rf"({'|'.join(map(re.escape, SERVERS))})(\s.*)?")
    texts = {text for text in texts if isinstance(text, str)}
    if any(map(starts.fullmatch, texts)):  # by way of subprocess
        return
    if "PORT" in texts or running.flexible or any(map(opens_port, calls)):
        return
    bots = sorted(project.imported & set(PROGRAMS["bots"]))
    yield "Procfile", line, {"what": ", ".join(bots) or file}


def main_part(statement):
    """Return what stands below `if __name__ == "__main__"`."""
    test = getattr(statement, "test", None)
    is_main = isinstance(statement, ast.If) and "__name__" in unparse(test)
    return statement.body if is_main else []


def opens_port(call):
    """Tell whether a function of this name may open a port."""
    first, last = call.partition(".")[0].lower(), call.rpartition(".")[2]
    bot = first in PROGRAMS["not_listening"] or call.startswith(("bot", "self.bot"))
    return last in PROGRAMS["listening"] and not bot


@check("H206", step=10)
def program_not_installed(project):
    """A program, or gunicorn's kind of worker, that no listed package brings."""
    have = project.available[0]
    gunicorn = newest_allowed(project, "gunicorn") or (0,)
    for command in in_code(project) if project.list.is_known else ():
        worker = project.gunicorn_worker(command)
        wants = [*packages_of_program(command, worker)]
        for since, wanted in PROGRAMS["workers_want"].get(worker, ()):
            if command.program == "gunicorn" and gunicorn >= numbers(since):
                wants.append((wanted, f"-k {worker}"))
        for package, what in wants:
            if package not in have:
                level = "warning" if project.unknown_needs else "error"
                details = {"package": package, "program": what}
                yield *command.place, details, level
    yield from lacking_in_a_hook(project)
    # The buildpack has these while it builds only: lib/uv.sh and lib/poetry.sh there.
    for line, text in project.procfile.values():
        tool = re.match(r"(?:\w+=\S*\s+)*(?:exec\s+)?(uv|poetry|pipenv)\s+run\b", text)
        if tool and tool[1] == "pipenv" and "Pipfile" in project:
            continue  # the buildpack has installed it for the list
        others = [name for name in project.buildpacks if "heroku/python" not in name]
        if tool and tool[1] not in have and not others:
            yield "Procfile", line, {"package": tool[1], "program": f"{tool[1]} run"}


def lacking_in_a_hook(project):
    """Yield a program that a hook of the build runs and no listed package brings; a hook that fails stops the build."""
    have, sure, _ = project.available
    # Before the packages are installed there is none: only what comes after them counts.
    file = "bin/post_compile"
    lines = list(project.lines(file))
    stops = stops_at_a_failure(project.text(file))
    installs = re.search(
        r"\b(pip|uv|poetry|apt-get)\b.*\b(install|add)\b", project.text(file)
    )
    last = max((n for n, line in lines if line.strip()), default=0)
    for number, line in lines if project.list.is_known else ():
        words = line.split()
        package = PROGRAMS["hook_programs"].get(words[0]) if words else None
        if package and package not in have and not installs and "||" not in line:
            certain = sure and (stops or number == last)
            details = {"package": package, "program": words[0]}
            yield file, number, details, "error" if certain else "warning"


@check("H409", step=10)
def command_needs_what_is_not_there(project):
    if is_moved(project):
        return
    for command in in_code(project):
        missing = missing_file(project, command) or missing_settings(project, command)
        if missing:
            yield *command.place, {"missing": missing}
    scripts = as_dict(project.json.get("scripts"))
    for key in ("postdeploy", "pr-predestroy"):
        text = str(scripts.get(key))
        match = re.match(r"(?:python3?|sh|bash)\s+(\S+\.(?:py|sh))", text)
        if match and match[1] not in project:
            line, details = project.app_json_line(key), {"missing": match[1]}
            yield "app.json", line, details, "warning"


def missing_file(project, command):
    """Return what a command needs and the project lacks, "" where nothing is known of it."""
    program, words, script = command.program, command.arguments, ""
    plain = command.file == "Procfile" and not re.search(r"[$(){}]", program)
    if " " in program and plain:  # the whole command in quotation marks
        return program
    if command.words[:2] == ["flask", "db"]:
        return missing_migrations(project, command)
    if program == "alembic":
        file = command.option("-c", "--config") or "alembic.ini"
        if command.path(file) in project:
            return missing_scripts(project, command, file)
    elif program in SHELLS:
        file = next((w for w in words if not w.startswith("-")), "")
        file = "" if "-c" in words else file
    elif module := command.module():
        return missing_module(project, command, module)
    elif program in (".", "source"):
        file = "".join(words[:1])
    elif not (file := command.python_file()):
        here = program if program.startswith("./") else ""
        file = script = shell_script(command) or here
    path = command.path(file)
    if not file or "$" in file or not is_own(file) or path in project:
        return ""
    made = f"{path}/__main__.py" in project or project.is_named_by_a_hook(path)
    return "" if made and not script else file


def missing_settings(project, command):
    """Return a file that an option of the program names, where the project lacks it."""
    options = PROGRAMS["files"].get(command.program, ())
    named = [command.option(*names) for names in options]
    if command.program in PROGRAMS["files_first"]:
        named += [w for w in command.positional() if w.endswith((".ini", ".conf"))]
    texts = "".join(project.shell_texts) + command.text
    for name in filter(None, named):
        path = command.path(name.removeprefix("file:"))
        known = "$" in name or name.startswith("python:") or not is_own(name)
        made = texts.count(posixpath.basename(path)) > 1 or "package.json" in project
        if not (known or made or path in project):
            return path
    return ""


def missing_migrations(project, command):
    """Return the same for `flask db`: the package, the folder or its env.py."""
    if project.list.packages and "flask-migrate" not in project.available[0]:
        return "flask-migrate (requirements.txt)"
    if not command.option("-d", "--directory") and names_its_migrations(project):
        return ""
    folder = command.option("-d", "--directory") or "migrations"
    env = f"{folder}/env.py"
    if project.has_folder(command.path(folder)):
        return "" if command.path(env) in project else env
    made = any({"init", "db"} <= {*c.arguments} for c in project.commands)
    return "" if made else f"{folder}/"


def names_its_migrations(project):
    """Tell whether code says where the migrations are: Migrate(app, db, directory=…)."""
    for path, call in project.calls("Migrate", "init_app"):
        words = {word.arg for word in call.keywords}
        third = last_name(call.func) == "Migrate" and len(call.args) > 2
        if not path.startswith("deploy/") and ("directory" in words or third):
            return True
    return False


def missing_scripts(project, command, file):
    """Return the script_location of an alembic.ini where there is no env.py in it."""
    written, folder = scripts_of_alembic(project, command, file)
    other = re.search(r"[:%$]|^/|\.\.", folder) or "init" in command.arguments
    there = other or command.path(f"{folder}/env.py") in project
    return "" if there else f"script_location = {written}"


def scripts_of_alembic(project, command, file):
    """Return (script_location as it is written in an alembic.ini, the folder), (":", ":") where there is none."""
    text = project.text(command.path(file))
    found = re.search(r"(?m)^script_location\s*=\s*(\S+)\s*$", text)
    written, inside = found[1] if found else ":", posixpath.dirname(file)
    return written, re.sub(r"%\(here\)s/?", f"{inside}/" if inside else "", written)


def missing_module(project, command, module):
    """Return the module of `python -m` where neither the project nor a package has it."""
    running, first = project.running, module.partition(".")[0]
    paths = running.paths(command)
    whole = running.find(module, paths) or running.loading.is_folder(module, paths)
    if whole or running.find(first, paths) or project.has_folder(first):
        return "" if whole else module
    have, _, known = project.available
    foreign = project.is_package(first) or normal(first) in have
    foreign = foreign or first in sys.stdlib_module_names
    return module if known and not foreign and not running.flexible else ""


def is_own(file):
    """Tell whether a path is one of the project's: not of the system or of what is installed."""
    return not re.match(r"/(?!app/)|~|vendor/|\.heroku/|bin/(start-|with_|run-)", file)


@check("H428", step=10)
def address_of_alembic_init(project):
    """sqlalchemy.url = driver://… in alembic.ini, as `alembic init` writes it, and env.py reads that."""
    for command in in_code(project):
        if command.program != "alembic":
            continue
        file = command.option("-c", "--config") or "alembic.ini"
        text = project.text(command.path(file))
        found = re.search(r"(?m)^sqlalchemy\.url\s*=\s*driver://.*$", text)
        _, folder = scripts_of_alembic(project, command, file)
        env = project.text(command.path(f"{folder}/env.py"))
        # Whoever has an address from elsewhere says so in one of these ways.
        own = re.search(PROGRAMS["alembic_elsewhere"], env)
        reads = "engine_from_config" in env or "get_main_option" in env
        if found and reads and not own:
            line = line_at(text, found.start())
            yield command.path(file), line, {"what": found[0]}


@check("H431", step=10)
def order_of_celery_4(project):
    """celery worker -A shop: from Celery 5 on the app comes before the word."""
    version = newest_allowed(project, "celery") or (0,)
    for command in in_code(project) if version >= (5,) else ():
        words = command.arguments if command.program == "celery" else []
        if command.module() == "celery":
            words = command.arguments[command.arguments.index("celery") + 1 :]
        if (
            words[:1]
            and words[0] in PROGRAMS["celery_words"]
            and command.option("-A", "--app")
        ):
            yield *command.place, {"word": words[0]}


@check("H429", step=10)
def encryption_of_its_own(project):
    """app.run(ssl_context="adhoc"): the router takes https from visitors and speaks plain http to the app."""
    for command in in_code(project, "web"):
        call = run_call(project, command)
        words = {word.arg: word.value for word in call[1].keywords} if call else {}
        given = words.get("ssl_context") or words.get("ssl_certfile")
        if given is not None and getattr(given, "value", "") is not None:
            details = {"what": unparse(call[1])[:60]}
            sure = isinstance(given, (ast.Constant, ast.Tuple))
            yield call[0], call[1].lineno, details, "error" if sure else "warning"


@check("H417", step=10, level="warning")
def migrations_that_nothing_runs(project):
    """There are migrations, and nowhere a command or a call that applies them."""
    texts = [c.text for c in project.commands] + [str(project.json.get("scripts"))]
    at_start = [last_name(use.node.func) for use in project.running.loading.calls]
    called = "upgrade" in at_start or project.calls_any("create_all")
    called = called or "Dockerfile" in project
    has_some = any("migrations/versions/" in f"/{path}" for path in project.trees)
    migrates = {"flask-migrate", "alembic"} & set(project.list.packages)
    # `stamp` says that all is done, and does none of it.
    does = re.compile(
        r"upgrade|flask db(?!\s+(stamp|current|history|heads|check)\b)|flask (?!db)|psql"
    )
    runs = called or any(map(does.search, texts))
    web = readable(project) and "web" in project.procfile
    if has_some and migrates and web and not runs:
        yield "Procfile", project.procfile.get("release", (0, ""))[0], {}


@check("H432", step=10, level="warning")
def data_thrown_away(project):
    """flask db downgrade base in the Procfile, db.drop_all() as the app loads."""
    for command in in_code(project, "web", "release"):
        down = {"downgrade", "base"} <= {*command.arguments}
        if command.program in ("flask", "alembic") and down:
            yield *command.place, {"what": command.start(3)}
    aside = inside_conditions(project)
    for use in project.running.loading.calls:
        sure = id(use.node) not in aside and "try" not in use.guards
        if re.search(r"sqlalchemy.*\.drop_all$", str(use.of)) and sure:
            yield use.path, use.node.lineno, {"what": unparse(use.node)}


@check("H415", step=10)
def word_that_a_program_does_not_know(project):
    """flask db upgrad."""
    rows = [(start.split(), known) for start, known in PROGRAMS["words"].items()]
    for command in in_code(project):
        for words, known in rows:
            count = len(words)
            after = "".join(command.words[count : count + 1])
            fits = command.words[:count] == words and len(command.words) > count
            if fits and after not in known and not after.startswith("-"):
                right = (difflib.get_close_matches(after, known, 1) or ["--help"])[0]
                details = {"command": command.start(count + 1), "right": right}
                yield *command.place, details
        known = PROGRAMS["options"].get(command.program, "").split()
        for word in command.arguments if known else ():
            name = word.partition("=")[0]
            # Some take the beginning of an option for it.
            plain = name.replace("--no-", "--", 1)
            fits = any(k.startswith((name, plain)) for k in known)
            if name[:2] == "--" and not fits:
                right = (difflib.get_close_matches(name, known, 1) or ["--help"])[0]
                details = {"command": f"{command.program} {name}", "right": right}
                yield *command.place, details
    yield from unknown_flask_commands(project)


def unknown_flask_commands(project):
    """Yield what no code and no package seems to add to the commands of Flask."""
    own = project.constants | {n.name.replace("_", "-") for n in project.definitions}
    # click takes these ends off since 8.2.
    own |= {re.sub(r"-(command|cmd|group|grp)$", "", name) for name in own}
    added = {
        first_value(call) for _, call in project.calls("command", "group", "AppGroup")
    }
    ours = {*PROGRAMS["flask_commands"]} | {a for a in added if isinstance(a, str)}
    flask = {name for name in project.list.asked_for if "flask" in name}
    others = flask - {*PROGRAMS["no_commands"]}
    after = as_dict(project.json.get("scripts")).get("postdeploy")
    line = project.app_json_line("postdeploy")
    later = commands(project, "postdeploy", "app.json", line, str(after or ""))
    for command in (*in_code(project), *later):
        words = command.positional(("--debug", "--no-debug"))
        known = not words or words[0] in PROGRAMS["flask_commands"]
        if command.program == "flask" and not known and words[0] not in own:
            near = difflib.get_close_matches(words[0], ours, 1, 0.7) or ["--help"]
            details = {"command": f"flask {words[0]}", "right": near[0]}
            sure = not others and command.file == "Procfile"
            yield *command.place, details, "error" if sure else "warning"


@check("H420", step=10)
def server_in_the_background(project):
    """What a dyno has started is over then, and the platform takes it for a crash."""
    for command in in_code(project):
        options = PROGRAMS["daemons"].get(command.program, ())
        if found := [word for word in command.arguments if word in options]:
            yield *command.place, {"what": f"{command.program} {found[0]}"}
    for type, (line, text) in project.procfile.items():
        if re.search(r"[^&]&\s*$", text) and type != "release":
            yield "Procfile", line, {"what": text[-30:]}


@check("H421", step=10, level="warning")
def second_process_in_one_line(project):
    """web: gunicorn app:app; worker: python worker.py"""
    for line, text in project.procfile.values():
        if match := re.search(r"[;&]\s*((?:release|worker|web|clock|beat):\s)", text):
            # Without its migrations the app has no tables.
            lost = "release" in match[1] and project.has_migrations
            level = "error" if lost else "warning"
            yield "Procfile", line, {"what": match[1].strip()}, level


@check("H422", step=10, level="warning")
def sockets_over_the_server_command(project):
    """deploy/ serves HTTP alone."""
    makers = {"flask_sock", "flask_socketio", "simple_websocket"} & project.imported
    # Socket.IO asks again and again where it gets no WebSocket; the others have nothing else.
    level = "warning" if "flask_socketio" in makers else "error"
    for command in in_code(project, "web"):
        if makers and command.module() == "deploy.server":
            yield *command.place, {"what": min(makers)}, level


@check("H430", step=10)
def program_misspelt(project):
    """A name that is nearly a server's or Python's, and that no package or folder of the project has."""
    known = {*SERVERS, *PROGRAMS["others"], "python"}
    own = {*project.settings("project", "scripts"), *project.available[0]}
    own |= {*project.settings("tool", "poetry", "scripts")}
    own_files = project.text("setup.py") + project.text("setup.cfg")
    for command in in_code(project) if "scripts" not in own_files else ():
        name = command.program
        small = name.lower()
        unknown = re.fullmatch(r"[a-z_-]{4,}", small) and name not in known | own
        near = difflib.get_close_matches(small, known, 1, 0.8) if unknown else []
        # Old packages brought celeryd and the like; a script of one's own has another letter.
        changed = near and (
            sorted(near[0]) == sorted(small) or len(near[0]) > len(name)
        )
        mine = ".profile" in project or any(
            f"/{p}".endswith(f"/{name}") for p in project.sizes
        )
        if changed and not mine:
            level = "warning" if project.unknown_needs else "error"
            yield *command.place, {"name": name, "right": near[0]}, level


@check("H416", step=10)
def program_of_windows(project):
    for command in in_code(project):
        setting = command.program == "set" and "=" in command.start(2)
        if command.program in PROGRAMS["windows"] or setting:
            level = "warning" if setting else "error"
            yield *command.place, {"command": command.start(3)}, level
        elif "\\" in command.start(2) and PYTHONS.match(command.program):
            yield *command.place, {"command": command.start(2)}
    for path, line, module, names in named_at_start(project):
        own = {module, *(f"{module}.{name}" for name in names)}
        if found := {name.partition(".")[0] for name in own} & WINDOWS_MODULES or (
            own & WINDOWS_MODULES
        ):
            yield path, line, {"command": min(found)}


@check("H413", step=10)
def no_right_to_run(project):
    """A script that is started by its name needs the execute bit, which Windows does not set."""
    for command in in_code(project):
        path = command.path(command.program)
        texts = [project.text(command.file), *project.shell_texts]
        given = any(re.search(r"\bchmod\b", text) for text in texts)
        if given:
            continue  # on the way, by the project itself
        if "/" in command.program and project.modes.get(path) == "100644":
            yield *command.place, {"name": path}


@check("H414", step=10, level="warning")
def migration_made_on_the_dyno(project):
    for command in in_code(project):
        made = "makemigrations" in command.arguments
        words = command.words
        at = words.index("db") + 1 if "db" in words[:3] else 0
        if at and (words[0] == "flask" or words[at - 2].endswith(".py")):
            made = {"migrate", "init", "revision"} & {*words[at : at + 1]}
        if made:
            # With migrations there that an empty database has not, it refuses to compare.
            before = re.search(
                r"\bdb (migrate|revision)\b.*&&.*\bdb upgrade\b",
                command.text + whole(project, command),
            )
            stops = before and command.type == "release" and project.has_migrations
            level = "error" if stops else "warning"
            yield *command.place, {"command": command.start(3)}, level


def whole(project, command):
    """Return the line of the Procfile that a command is part of."""
    return project.procfile.get(command.type, (0, ""))[1]


@check("H611", step=9)
def debug_mode(project):
    """Flask reads .flaskenv on the dyno too; deploy/ refuses to serve the internet in debug mode."""
    refuses = '"debug_is_on"' in project.text("deploy/environment.py")
    pattern = re.compile(r"\s*(?:export\s+)?FLASK_DEBUG\s*=\s*[\"']?([^\s\"'#]*)")
    lines = [
        (n, m[1]) for n, l in project.lines(".flaskenv") if (m := pattern.match(l))
    ]
    for command in in_code(project):
        reads = command.program == "flask" and "python-dotenv" in project.available[0]
        places = [(".flaskenv", n, value) for n, value in lines[-1:] if reads]
        if "FLASK_DEBUG" in command.variables:
            places = [(*command.place, command.variables["FLASK_DEBUG"])]
        own = reads or command.module() == "deploy.server"
        serves_visitors = (
            command.words[:2] == ["flask", "run"] and command.type == "web"
        )
        for file, line, value in places:
            if value.lower() in ("", "0", "false", "no", "off") or "$" in value:
                continue
            if refuses and own or serves_visitors:
                level = "error" if refuses and own else "warning"
                yield file, line, {"name": file, "command": command.start(3)}, level
                return
        call = run_call(project, command) if command.type == "web" else None
        debug = call and [w.value for w in call[1].keywords if w.arg == "debug"]
        if debug and getattr(debug[0], "value", None) is True:
            details = {"name": "debug=True", "command": command.start(3)}
            yield call[0], call[1].lineno, details, "warning"


@check("H951", step=10)
def windows_line_ends(project):
    started = {shell_script(command) for command in project.commands}
    started |= {command.path(command.program) for command in project.commands}
    for path in sorted({"Procfile", *started} & set(project.contents)):
        content = project.contents[path]
        script = content.startswith(b"#!") or not path.endswith(".py")
        if script and b"\r\n" in content and not utf16(content):
            # Whether the platform's own reader of the Procfile takes it off, nobody says.
            level = "warning" if path == "Procfile" else "error"
            yield path, 1, {"name": path}, level
