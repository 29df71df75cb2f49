"""Checks of the config vars, app.json, .slugignore and the database (steps 7 to 9 and 13)."""

import ast
import json
import re

from doctor import check
from doctor.packages import available
from doctor.startup import web, words

# What the platform or a tool sets or reads by itself; no code needs to name it.
KNOWN = re.compile(
    r"(FLASK|GUNICORN|PYTHON|PIP|PG|GRANIAN|SENTRY|WEB_CONCURRENCY|PORT$|DYNO$|CI$|DATABASE_URL$|HEROKU_|HOME$|PATH$|TZ$)"
)
HARMLESS = re.compile(
    r"(password|passwd|pass|secret|user|name|host|changeme|example|localhost|127\.0\.0\.1|dev|test|x+|\.+|<.*>|\$.*|\{.*|%.*)",
    re.IGNORECASE,
)
SECRETS = {
    "postgres": re.compile(
        r"postgres(?:ql)?(?:\+\w+)?://[^:/\s\"']+:([^@\s\"']+)@([^:/\s\"']+)"
    ),
    "AWS": re.compile(r"\b(AKIA[0-9A-Z]{16})\b()"),
    "GitHub": re.compile(r"\b(gh[pousr]_[A-Za-z0-9]{36,})\b()"),
    "Telegram": re.compile(r"\b(\d{8,10}:AA[A-Za-z0-9_-]{33})\b()"),
    "private key": re.compile(r"-----BEGIN [A-Z ]*(PRIVATE KEY)-----()"),
    "SECRET_KEY": re.compile(r"SECRET_KEY['\"]?\]?\s*[=:]\s*['\"]([^'\"]{8,})['\"]()"),
}
DEAD_PLANS = re.compile(
    r"heroku-postgresql:(hobby-dev|hobby-basic|mini|basic|dev)$|heroku-redis:hobby-dev$"
)
DEAD_STACKS = {"cedar", "cedar-14", "heroku-16", "heroku-18", "heroku-20"}
DEAD_SIZES = {"free", "hobby"}
SHAPES = {
    **dict.fromkeys(
        (
            "name",
            "description",
            "repository",
            "stack",
            "website",
            "logo",
            "success_url",
        ),
        str,
    ),
    **dict.fromkeys(("env", "formation", "scripts", "environments"), dict),
    **dict.fromkeys(("addons", "buildpacks", "keywords"), list),
}


@check("H601", step=9)
def env_file_pushed(project):
    for path in sorted(project.sizes):
        if re.fullmatch(r"(.*/)?\.env(\.(local|production|prod|development))?", path):
            yield path, 0, {"name": path}


@check("H602", step=9)
def secret_in_file(project):
    for path in sorted(project.contents):
        if (
            path.startswith(("test/", "tests/", "doctor/"))
            or re.fullmatch(r"(.*/)?\.env(\.\w+)?", path)
            and "example" not in path
        ):
            continue
        for number, line in project.lines(path):
            for kind, pattern in SECRETS.items():
                match = pattern.search(line)
                if (
                    match
                    and not HARMLESS.fullmatch(match[1])
                    and not HARMLESS.fullmatch(match[2] or "-")
                ):
                    yield path, number, {"kind": kind}


def environment_reads(project):
    """Yield (path, node, name) of all places where code reads a config var by its name."""
    for path, node in project.nodes(ast.Subscript, ast.Call):
        key = None
        if isinstance(node, ast.Call) and node.args:
            called = getattr(node.func, "attr", getattr(node.func, "id", ""))
            owner = getattr(node.func, "value", None)
            if called == "getenv" or (called == "get" and named_environ(owner)):
                key = node.args[0]
        elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
            key = node.slice if named_environ(node.value) else None
        if isinstance(key, ast.Constant) and isinstance(key.value, str):
            yield path, node, key.value


def named_environ(node):
    """Tell whether an expression is os.environ, or a variable called like it."""
    return "environ" in getattr(node, "attr", getattr(node, "id", ""))


def names_listed(project):
    """Return {name: (file, line)} of the config vars that app.json and .env.example name."""
    found = {}
    for number, line in project.lines(".env.example"):
        if match := re.match(r"#?\s*(?:export\s+)?([A-Z][A-Z0-9_]*)\s*=", line):
            found[match[1]] = (".env.example", number)
    for name in project.app_env:
        found.setdefault(name, ("app.json", project.app_json_line(name)))
    return found


@check("H603", step=9, level="warning")
def variable_nobody_reads(project):
    commands = " ".join(command for _, command in project.procfile.values())
    for name, (file, line) in names_listed(project).items():
        if (
            not KNOWN.match(name)
            and name not in project.constants
            and f"${name}" not in commands
        ):
            yield file, line, {"name": name}


@check("H605", step=9, level="warning")
def variable_not_listed(project):
    listed = set(names_listed(project))
    for path, node, name in environment_reads(project):
        plain = re.fullmatch("[A-Z][A-Z0-9_]*", name) and not KNOWN.match(name)
        if listed and plain and name not in listed:
            listed.add(name)  # once is enough
            yield path, node.lineno, {"name": name}


@check("H604", step=7)
def url_as_heroku_writes_it(project):
    """SQLAlchemy refuses postgres://, which is what DATABASE_URL begins with."""
    if not {"sqlalchemy", "flask-sqlalchemy"} & available(project):
        return
    scheme = re.compile(r"postgres(ql)?(\+\w+)?(://|$)")
    mended = {path for path, node in project.texts() if scheme.match(node.value)}
    # What is handed to a function of one's own may be mended in there.
    engines = {id(call) for _, call in project.calls("create_engine")}
    calls = [call for _, call in project.nodes(ast.Call) if id(call) not in engines]
    handed_on = {id(argument) for call in calls for argument in call.args}
    for path, node, name in environment_reads(project):
        if name == "DATABASE_URL" and path not in mended and id(node) not in handed_on:
            yield path, node.lineno, {}
            return


@check("H701", step=7)
def app_json_no_json(project):
    if "app.json" in project:
        try:
            json.loads(project.text("app.json"))
        except (ValueError, RecursionError) as error:
            yield "app.json", getattr(error, "lineno", 0), {"error": str(error)}


@check("H702", step=7)
def app_json_shape(project):
    forms = {str: '"…"', dict: "{…}", list: "[…]"}
    for key, shape in SHAPES.items():
        if key in project.json and not isinstance(project.json[key], shape):
            yield (
                "app.json",
                project.app_json_line(key),
                {"key": key, "right": forms[shape]},
            )
    for type, value in as_dict(project.json.get("formation")).items():
        if not isinstance(value, dict):
            details = {"key": f"formation.{type}", "right": forms[dict]}
            yield "app.json", project.app_json_line(type), details


@check("H703", step=7)
def plan_that_is_gone(project):
    addons = project.json.get("addons")
    plans = [as_dict(addon).get("plan", addon) for addon in as_list(addons)]
    gone = [plan for plan in map(str, plans) if DEAD_PLANS.match(plan)]
    stack = str(project.json.get("stack"))
    gone += [stack] if stack in DEAD_STACKS else []
    types = as_dict(project.json.get("formation")).values()
    sizes = [str(as_dict(value).get("size")) for value in types]
    gone += [size for size in sizes if size.lower() in DEAD_SIZES]
    for name in gone:
        yield "app.json", project.app_json_line(name), {"name": name}


def as_dict(value):
    return value if isinstance(value, dict) else {}


def as_list(value):
    return value if isinstance(value, list) else []


@check("H704", step=4)
def name_too_long(project):
    name = project.json.get("name", "")
    if isinstance(name, str) and len(name) > 30:
        yield (
            "app.json",
            project.app_json_line("name"),
            {"name": name, "length": len(name)},
        )


@check("H705", step=9, level="warning")
def variable_without_value(project):
    for name, entry in project.app_env.items():
        if (
            isinstance(entry, dict)
            and entry.get("required", True)
            and not entry.get("value")
            and "generator" not in entry
        ):
            yield "app.json", project.app_json_line(name), {"name": name}


def needed(project):
    """Return the pushed files that the platform reads or the web process cannot do without."""
    found = {
        "Procfile",
        "requirements.txt",
        "Pipfile.lock",
        "poetry.lock",
        "uv.lock",
        ".python-version",
        "runtime.txt",
    }
    found |= set(project.app_trees)
    found |= {
        path
        for path in project.sizes
        if re.match(r"(.*/)?(templates|static|migrations)/", path)
    }
    return found & set(project.sizes)


def hits(pattern, paths):
    """Return the paths that a .slugignore pattern removes."""
    anchored = pattern.startswith("/") or "/" in pattern.rstrip("/")
    body = re.escape(pattern.strip("/")).replace(r"\*", "[^/]*").replace(r"\?", "[^/]")
    start = "" if anchored else "(?:.*/)?"
    matcher = re.compile(f"{start}{body}(?:/.*)?")
    return [path for path in sorted(paths) if matcher.fullmatch(path)]


@check("H801", step=13)
def slugignore_removes_what_runs(project):
    """One reading takes a line for a pattern, the other every word of it."""
    paths = needed(project)
    for number, line in project.lines(".slugignore"):
        patterns = [line.strip(), *line.split()] if line[:1] not in "#!" else []
        removed = [path for pattern in patterns for path in hits(pattern, paths)]
        if removed:
            yield ".slugignore", number, {"pattern": line.strip(), "file": removed[0]}


@check("H802", step=13, level="warning")
def slugignore_exceptions(project):
    for number, line in project.lines(".slugignore"):
        if line.startswith("!"):
            yield ".slugignore", number, {"line": line}


@check("H803", step=13, level="warning")
def slugignore_prose(project):
    """The one published compiler takes every word of a comment for a pattern."""
    paths = needed(project)
    for number, line in project.lines(".slugignore"):
        comment = line[1:].split() if line.startswith("#") else []
        removing = [word for word in comment if hits(word.strip(",.;:"), paths)]
        if removing:
            yield ".slugignore", number, {"word": removing[0].strip(",.;:")}


@check("H901", step=7, level="warning")
def data_on_the_dyno(project):
    """The dyno's disk is emptied at every restart."""
    for path, node in project.texts():
        if node.value.startswith("sqlite:") and "DATABASE_URL" not in project.constants:
            yield path, node.lineno, {"what": node.value}
    for path, node in project.calls("save"):
        code = ast.unparse(node)
        if "upload" in code.lower():
            yield path, node.lineno, {"what": code[:60]}


def numbers(project, *names):
    """Return {name: int} of the arguments, keys and variables with these names."""
    found = {}
    for _, node in project.nodes(ast.keyword, ast.Dict, ast.Assign):
        if isinstance(node, ast.keyword):
            pairs = [(node.arg, node.value)]
        elif isinstance(node, ast.Dict):
            keys = [getattr(key, "value", None) for key in node.keys]
            pairs = list(zip(keys, node.values, strict=True))
        else:
            pairs = [(getattr(node.targets[0], "id", None), node.value)]
        for name, value in pairs:
            number = getattr(value, "value", None)
            if name in names and isinstance(number, int):
                found[name] = number
    return found


@check("H902", step=7)
def too_many_connections(project):
    """Workers × min(threads, pool) × dynos, against the 20 of the smallest plan.

    Only gunicorn's numbers are known here; of other servers nothing is said.
    """
    line, command = web(project)
    uses = {"sqlalchemy", "flask-sqlalchemy"} & available(project)
    if words(command)[:1] != ["gunicorn"] or not uses:
        return
    known = {"workers": 2, "threads": 1, "pool_size": 5, "max_overflow": 10}
    known |= numbers(project, *known)
    for name, option in (("workers", "--workers|-w"), ("threads", "--threads")):
        if match := re.search(rf"(?:{option})[ =]?\s*(\d+)", command):
            known[name] = int(match[1])
    threads = min(known["threads"], known["pool_size"] + known["max_overflow"])
    web_dynos = as_dict(as_dict(project.json.get("formation")).get("web"))
    dynos = web_dynos.get("quantity", 1)
    total = known["workers"] * threads * (dynos if isinstance(dynos, int) else 1)
    if total > 20:
        details = {"workers": known["workers"], "threads": threads, "dynos": dynos}
        yield "Procfile", line, {"total": total, **details}


def revisions(project):
    """Return {path: (revision, the revisions before it)} of the migrations."""
    found = {}
    for path, tree in project.trees.items():
        values = {"down_revision": []}
        for node in tree.body if "versions/" in path else ():
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                parts = [
                    part
                    for part in ast.walk(node.value)
                    if isinstance(part, ast.Constant)
                ]
                values[node.targets[0].id] = [
                    part.value for part in parts if part.value
                ]
        if values.get("revision"):
            found[path] = (str(values["revision"][0]), values["down_revision"])
    return found


@check("H903", step=7)
def table_without_migration(project):
    if not revisions(project) and "flask-migrate" not in project.requirements:
        return  # the tables are made in another way
    migrations = [tree for path, tree in project.trees.items() if "versions/" in path]
    written = {
        node.value
        for tree in migrations
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
    }
    for path, node in project.nodes(ast.Assign):
        name = getattr(node.targets[0], "id", "")
        table = getattr(node.value, "value", None)
        if name == "__tablename__" and isinstance(table, str) and table not in written:
            yield path, node.lineno, {"table": table}


@check("H904", step=7)
def two_heads(project):
    found = revisions(project)
    before = {name for _, down in found.values() for name in down}
    heads = {
        path: revision
        for path, (revision, _) in found.items()
        if revision not in before
    }
    if len(heads) > 1:
        yield max(heads), 0, {"heads": ", ".join(sorted(heads.values()))}
