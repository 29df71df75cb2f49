"""Checks of how the app is started (steps 9 and 10 of the guide)."""

import ast
import re
import shlex

from doctor import check
from doctor.packages import available
from doctor.project import plain_utf8, utf16

SERVERS = (
    "gunicorn",
    "granian",
    "waitress",
    "waitress-serve",
    "uwsgi",
    "uvicorn",
    "hypercorn",
)
# Other programs of a Procfile, and the package each comes from.
PROGRAMS = {"flask": "flask", "alembic": "alembic", "celery": "celery", "rq": "rq"}


@check("H401", step=10)
def no_procfile(project):
    if "Procfile" not in project and not project.above and not in_folder_only(project):
        nearly = [n for n in project.in_root() if n.lower().startswith("procfile")]
        yield "".join(nearly[:1]), 0, {"name": "".join(nearly[:1]) or "–"}


def in_folder_only(project):
    """A Procfile that is there but not pushed is for H103 to tell."""
    return project.in_git and project.in_folder("Procfile")


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
    if (
        readable(project)
        and "web" not in project.procfile
        and not list(no_space_after_colon(project))
    ):
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
    found = words(command)
    if len(found) > 1 and found[0] in ("python", "python3"):
        calls = [call for call in project.calls("run") if call[0] == found[1]]
        for path, node in calls:
            owner = getattr(getattr(node.func, "value", None), "id", "")
            names = {getattr(getattr(node.func, "value", None), "func", None)}
            if owner in ("app", "application") or any(
                isinstance(name, ast.Name) for name in names
            ):
                return path, node
    return None


@check("H406", step=10, level="warning")
def development_server(project):
    line, command = web(project)
    found = words(command)
    if (
        found[:1] == ["flask"]
        or found[:3] == ["python", "-m", "flask"]
        or run_call(project, command)
    ):
        yield "Procfile", line, {"command": " ".join(found[:2])}


@check("H407", step=10)
def port_of_its_own(project):
    """The router sends requests to $PORT, on all addresses."""
    line, command = web(project)
    found = words(command)
    text = " ".join(found)
    port = re.search(
        r"(?:--port|-p|--listen|--bind|-b)[ =]?\s*\S*?(?<![\d.])(\d{2,5})\b", text
    )
    local = re.search(r"127\.0\.0\.1|localhost", text)
    if port or local:
        yield "Procfile", line, {"what": (port or local)[0]}
    elif "run" in found and "flask" in found[:3]:
        for option, names in (
            ("-h 0.0.0.0", ("-h", "--host")),
            ("-p $PORT", ("-p", "--port")),
        ):
            if not any(word.startswith(names) for word in found):
                yield "Procfile", line, {"what": option}
                return
    elif found[:1] == ["waitress-serve"] and "$PORT" not in command:
        yield "Procfile", line, {"what": "--port=$PORT"}
    elif call := run_call(project, command):
        path, node = call
        keywords = {word.arg: ast.unparse(word.value) for word in node.keywords}
        if (
            "0.0.0.0" not in keywords.get("host", "")
            or keywords.get("port", "5000").isdecimal()
        ):
            yield (
                path,
                node.lineno,
                {"what": 'host="0.0.0.0", port=int(os.environ["PORT"])'},
            )


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
        package = PROGRAMS.get(program) or (
            program if program in SERVERS and type != "web" else None
        )
        if package and project.requirements and package not in available(project):
            yield "Procfile", line, {"program": program, "package": package}


@check("H409", step=10)
def command_needs_what_is_not_there(project):
    for line, command in project.procfile.values():
        found = words(command)
        if found[:2] == ["flask", "db"]:
            if "flask-migrate" not in project.requirements and project.requirements:
                yield "Procfile", line, {"missing": "flask-migrate (requirements.txt)"}
            elif not any(path.startswith("migrations/") for path in project.sizes):
                yield "Procfile", line, {"missing": "migrations/"}
        elif found[:1] == ["alembic"] and "alembic.ini" not in project:
            yield "Procfile", line, {"missing": "alembic.ini"}
        elif (
            found[:1] in (["python"], ["python3"])
            and found[1:2]
            and found[1].endswith(".py")
        ):
            if found[1].removeprefix("./") not in project:
                yield "Procfile", line, {"missing": found[1]}
        elif (
            found[:1] in (["bash"], ["sh"])
            and found[1:2]
            and found[1].endswith(".sh")
            and found[1] not in project
        ):
            yield "Procfile", line, {"missing": found[1]}


def targets(project):
    """Yield (file, line, "module:name") of all places that say where the app is."""
    value = project.app_env.get("FLASK_APP", {})
    value = value.get("value", "") if isinstance(value, dict) else value
    if value:
        yield "app.json", project.app_json_line("FLASK_APP"), str(value)
    for file in (".flaskenv", ".env.example"):
        for number, line in project.lines(file):
            if match := re.match(r"\s*(?:export\s+)?FLASK_APP\s*=\s*(.+)", line):
                yield file, number, match[1].strip().strip("\"'")
    for line, command in project.procfile.values():
        found = words(command)
        if match := re.search(
            r"(?:\bFLASK_APP=|--app[ =])[\"']?([\w./]+(?::\w+)?)", command
        ):
            yield "Procfile", line, match[1]
        if found[:1] and found[0] in SERVERS:
            for word in found[1:]:
                if re.fullmatch(r"[\w.]+:\w+(\(.*\))?", word) and not re.match(
                    r"[\d.]+:", word
                ):
                    yield "Procfile", line, word


@check("H501", step=9)
def no_such_app(project):
    for file, line, target in targets(project):
        module, _, name = target.partition(":")
        path = module.removesuffix(".py").replace(".", "/")
        found = next(
            (p for p in (f"{path}.py", f"{path}/__init__.py") if p in project), None
        )
        if found is None:
            yield file, line, {"target": target, "missing": f"{path}.py"}
        elif (
            name
            and found in project.trees
            and not defines(project.trees[found], name.partition("(")[0])
        ):
            yield file, line, {"target": target, "missing": f"{name} ({found})"}


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
