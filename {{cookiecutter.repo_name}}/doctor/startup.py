"""Checks of how the app is started (steps 9 and 10 of the guide)."""

import ast
import re
import shlex

from doctor import FACTS, check
from doctor.packages import available
from doctor.project import plain_utf8, utf16

SERVERS = FACTS["programs"]["servers"]
PYTHON = ("python", "python3")


@check("H401", step=10)
def no_procfile(project):
    # One that is there but not pushed is for H103 to tell.
    not_pushed = project.in_git and project.in_folder("Procfile")
    if "Procfile" not in project and not project.above and not not_pushed:
        nearly = [n for n in project.in_root() if n.lower().startswith("procfile")]
        yield "".join(nearly[:1]), 0, {"name": "".join(nearly[:1]) or "–"}


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
    unspaced = list(no_space_after_colon(project))
    if readable(project) and "web" not in project.procfile and not unspaced:
        yield "Procfile", 0, {"types": ", ".join(project.procfile) or "(none)"}


def web(project):
    """Return (line number, command) of the web process, (0, "") where there is none."""
    return project.procfile.get("web", (0, ""))


@check("H405", step=10)
def factory_unquoted(project):
    for line, command in project.procfile.values():
        outside = re.sub(r"'[^']*'|\"[^\"]*\"", "", command)
        if re.search(r"\w:\w+\(\)", outside):
            yield "Procfile", line, {"target": re.search(r"\S+:\w+\(\)", outside)[0]}


def words(command):
    """Return a command's words, without `env`, `exec` and the variables before the program."""
    try:
        found = shlex.split(command)
    except ValueError:
        found = command.split()
    while found and (found[0] in ("env", "exec") or re.match(r"\w+=", found[0])):
        found.pop(0)
    return found


def run_call(project, command):
    """Return (path, node) of the app.run() that `python FILE` in a command leads to, or None."""
    program, file = [*words(command), "", ""][:2]
    for path, node in project.calls("run") if program in PYTHON else ():
        owner = getattr(node.func, "value", None)  # app, or a factory's call
        factory = isinstance(getattr(owner, "func", None), ast.Name)
        named = getattr(owner, "id", "") in ("app", "application")
        if path == file and (factory or named):
            return path, node
    return None


@check("H406", step=10, level="warning")
def development_server(project):
    line, command = web(project)
    found = words(command)
    flask = found[:1] == ["flask"] or found[:3] == ["python", "-m", "flask"]
    if flask or run_call(project, command):
        yield "Procfile", line, {"command": " ".join(found[:2])}


@check("H407", step=10)
def port_of_its_own(project):
    """The router sends requests to $PORT, on all addresses."""
    line, command = web(project)
    found = words(command)
    option = r"(?:--port|-p|--listen|--bind|-b)[ =]?\s*\S*?(?<![\d.])(\d{2,5})\b"
    port = re.search(option, " ".join(found))
    if fixed := port or re.search(r"127\.0\.0\.1|localhost", " ".join(found)):
        yield "Procfile", line, {"what": fixed[0]}
    elif "run" in found and "flask" in found[:3]:
        if not any(word.startswith(("-h", "--host")) for word in found):
            yield "Procfile", line, {"what": "-h 0.0.0.0"}
        elif not any(word.startswith(("-p", "--port")) for word in found):
            yield "Procfile", line, {"what": "-p $PORT"}
    elif found[:1] == ["waitress-serve"] and "$PORT" not in command:
        yield "Procfile", line, {"what": "--port=$PORT"}
    elif call := run_call(project, command):
        path, node = call
        given = {word.arg: ast.unparse(word.value) for word in node.keywords}
        own_port = given.get("port", "5000").isdecimal()
        if own_port or "0.0.0.0" not in given.get("host", ""):
            right = 'host="0.0.0.0", port=int(os.environ["PORT"])'
            yield path, node.lineno, {"what": right}


@check("H206", step=10)
def server_not_installed(project):
    line, command = web(project)
    program = "".join(words(command)[:1])
    package = program.removesuffix("-serve")
    missing = project.requirements and package not in available(project)
    if program in SERVERS and missing:
        yield "Procfile", line, {"package": package}


@check("H408", step=10)
def program_not_installed(project):
    for type, (line, command) in project.procfile.items():
        program = "".join(words(command)[:1])
        package = program.removesuffix("-serve")
        known = program in FACTS["programs"]["others"]
        known |= program in SERVERS and type != "web"
        if known and project.requirements and package not in available(project):
            yield "Procfile", line, {"program": program, "package": package}


@check("H409", step=10)
def command_needs_what_is_not_there(project):
    for line, command in project.procfile.values():
        if missing := missing_file(project, words(command)):
            yield "Procfile", line, {"missing": missing}


def missing_file(project, found):
    """Return what a command needs and the project lacks, "" where nothing is known of it."""
    program, file = [*found, "", ""][:2]
    if (program, file) == ("flask", "db"):
        if project.requirements and "flask-migrate" not in project.requirements:
            return "flask-migrate (requirements.txt)"
        there = any(path.startswith("migrations/") for path in project.sizes)
        return "" if there else "migrations/"
    if program == "alembic":
        file = "alembic.ini"
    elif program not in (*PYTHON, "bash", "sh") or not file.endswith((".py", ".sh")):
        return ""
    return "" if file.removeprefix("./") in project else file


def targets(project):
    """Yield (file, line, "module:name") of all places that say where the app is."""
    value = project.app_env.get("FLASK_APP")
    value = value.get("value") if isinstance(value, dict) else value
    if value:
        yield "app.json", project.app_json_line("FLASK_APP"), str(value)
    for file in (".flaskenv", ".env.example"):
        for number, line in project.lines(file):
            if match := re.match(r"\s*(?:export\s+)?FLASK_APP\s*=\s*(.+)", line):
                yield file, number, match[1].strip().strip("\"'")
    option = re.compile(r"(?:\bFLASK_APP=|--app[ =])[\"']?([\w./]+(?::\w+)?)")
    for line, command in project.procfile.values():
        program, *arguments = words(command) or [""]
        if match := option.search(command):
            yield "Procfile", line, match[1]
        for word in arguments if program in SERVERS else ():
            if re.fullmatch(r"(?![\d.]+:)[\w.]+:\w+(\(.*\))?", word):
                yield "Procfile", line, word


@check("H501", step=9)
def no_such_app(project):
    for file, line, target in targets(project):
        module, _, name = target.partition(":")
        path = module.removesuffix(".py").replace(".", "/")
        nearby = [p for p in (f"{path}.py", f"{path}/__init__.py") if p in project]
        tree = project.trees.get(nearby[0]) if nearby else None
        if not nearby:
            yield file, line, {"target": target, "missing": f"{path}.py"}
        elif name and tree and not defines(tree, name.partition("(")[0]):
            yield file, line, {"target": target, "missing": f"{name} ({nearby[0]})"}


def defines(tree, name):
    """Tell whether a module defines or imports this name anywhere."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.alias):
            names.add(node.asname or node.name.partition(".")[0])
    return name in names or "*" in names  # after `import *` nobody can tell


@check("H951", step=10)
def windows_line_ends(project):
    for path, content in sorted(project.contents.items()):
        executed = path in ("Procfile", ".python-version") or path.endswith(".sh")
        if executed and b"\r\n" in content and not utf16(content):
            yield path, 1, {"name": path}


@check("H952", step=1)
def code_not_utf8(project):
    for path, content in sorted(project.contents.items()):
        if path.endswith(".py") and b"coding" not in content[:200]:
            try:
                content.decode("utf-8")
            except UnicodeDecodeError as error:
                yield path, content[: error.start].count(b"\n") + 1, {"name": path}
