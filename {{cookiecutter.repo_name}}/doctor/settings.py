"""Checks of the config vars, app.json, .slugignore and the database (steps 7 to 9 and 13)."""

import ast
import json
import re
from fnmatch import fnmatchcase

from doctor import FACTS, check
from doctor.packages import available
from doctor.project import as_dict, last_name, strings
from doctor.startup import web, words

APP_JSON = FACTS["app_json"]
KNOWN = re.compile(FACTS["config_vars"]["known"])
HARMLESS = re.compile(FACTS["config_vars"]["harmless"])
SECRETS = {kind: re.compile(pattern) for kind, pattern in FACTS["secrets"].items()}
# What JSON's types are here, and how they look.
SHAPES = {"texts": (str, '"…"'), "objects": (dict, "{…}"), "lists": (list, "[…]")}


@check("H601", step=9)
def env_file_pushed(project):
    for path in sorted(project.sizes):
        if re.fullmatch(r"(.*/)?\.env(\.(local|production|prod|development))?", path):
            yield path, 0, {"name": path}


@check("H602", step=9)
def secret_in_file(project):
    aside = re.compile(r"(test|tests|doctor)/.*|(.*/)?\.env(\.(?!example)\w+)?")
    for path in sorted(project.contents):
        for number, line in () if aside.fullmatch(path) else project.lines(path):
            for kind, pattern in SECRETS.items():
                match = pattern.search(line)
                if match and not any(map(HARMLESS.fullmatch, match.groups())):
                    yield path, number, {"kind": kind}


def environment_reads(project):
    """Yield (path, node, name) of all places where code reads a config var by its name."""
    reads = [
        (path, node, node.slice)
        for path, node in project.nodes(ast.Subscript)
        if isinstance(node.ctx, ast.Load) and "environ" in last_name(node.value)
    ]
    for path, node in project.calls("get", "getenv"):
        owner = "environ" in last_name(getattr(node.func, "value", None))
        if node.args and (owner or last_name(node.func) == "getenv"):
            reads.append((path, node, node.args[0]))
    for path, node, key in reads:
        if isinstance(key, ast.Constant) and isinstance(key.value, str):
            yield path, node, key.value


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
        read = name in project.constants or f"${name}" in commands
        if not read and not KNOWN.match(name):
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
    wrong = {
        key: right
        for kind, (shape, right) in SHAPES.items()
        for key in APP_JSON[kind]
        if key in project.json and not isinstance(project.json[key], shape)
    }
    for type, value in as_dict(project.json.get("formation")).items():
        if not isinstance(value, dict):
            wrong[f"formation.{type}"] = "{…}"
    for key, right in wrong.items():
        line = project.app_json_line(key.removeprefix("formation."))
        yield "app.json", line, {"key": key, "right": right}


@check("H703", step=7)
def plan_that_is_gone(project):
    addons, stack = project.json.get("addons"), str(project.json.get("stack"))
    addons = addons if isinstance(addons, list) else []
    plans = [str(as_dict(addon).get("plan", addon)) for addon in addons]
    types = as_dict(project.json.get("formation")).values()
    sizes = [str(as_dict(value).get("size")) for value in types]
    gone = [plan for plan in plans if re.match(APP_JSON["gone"], plan)]
    gone += {stack}.intersection(APP_JSON["stacks"])
    gone += [size for size in sizes if size.lower() in APP_JSON["sizes"]]
    for name in gone:
        yield "app.json", project.app_json_line(name), {"name": name}


@check("H704", step=4)
def name_too_long(project):
    name = project.json.get("name")
    if isinstance(name, str) and len(name) > 30:
        details = {"name": name, "length": len(name)}
        yield "app.json", project.app_json_line("name"), details


@check("H705", step=9, level="warning")
def variable_without_value(project):
    for name, entry in project.app_env.items():
        required = isinstance(entry, dict) and entry.get("required", True)
        if required and not entry.get("value") and "generator" not in entry:
            yield "app.json", project.app_json_line(name), {"name": name}


def needed(project):
    """Return the pushed files that the platform reads or the web process cannot do without."""
    files = {"Procfile", ".python-version", "runtime.txt"}
    files |= {*FACTS["packages"]["lists"], *project.app_trees}
    folders = re.compile(rf"(.*/)?({'|'.join(FACTS['layout']['folders'])})/")
    return {path for path in project.sizes if path in files or folders.match(path)}


def hits(pattern, paths):
    """Return the paths that a .slugignore pattern removes."""
    anchored = pattern.startswith("/") or "/" in pattern.rstrip("/")
    # Part by part, as many stars in one expression would take for ever.
    parts = [part.replace("[", "[[]") for part in pattern.strip("/").split("/")]

    def matches(names):
        pairs = zip(names, parts, strict=False)
        return len(names) >= len(parts) and all(fnmatchcase(*pair) for pair in pairs)

    def hit(path):
        names = path.split("/")
        starts = range(1 if anchored else len(names))
        return any(matches(names[start:]) for start in starts)

    return [path for path in sorted(paths) if hit(path)]


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


def numbers(project, names):
    """Return {name: int} of the arguments, keys and variables with these names."""
    pairs = [(node.arg, node.value) for _, node in project.nodes(ast.keyword)]
    for _, node in project.nodes(ast.Dict):
        keys = [getattr(key, "value", None) for key in node.keys]
        pairs += zip(keys, node.values, strict=True)
    for _, node in project.nodes(ast.Assign):
        pairs.append((getattr(node.targets[0], "id", None), node.value))
    found = [(name, getattr(value, "value", None)) for name, value in pairs]
    return {name: n for name, n in found if name in names and isinstance(n, int)}


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
    known |= numbers(project, known)
    for name, option in (("workers", "--workers|-w"), ("threads", "--threads")):
        if match := re.search(rf"(?:{option})[ =]?\s*(\d{{1,4}})\b", command):
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
        values = {}
        for node in tree.body if "versions/" in path else ():
            if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value:
                target = getattr(node, "target", None) or node.targets[0]
                values[last_name(target)] = strings(node.value)
        if values.get("revision"):
            found[path] = (values["revision"][0], values.get("down_revision", []))
    return found


@check("H903", step=7)
def table_without_migration(project):
    if not revisions(project) and "flask-migrate" not in project.requirements:
        return  # the tables are made in another way
    migrations = [tree for path, tree in project.trees.items() if "versions/" in path]
    written = {text for tree in migrations for text in strings(tree)}
    for path, node in project.nodes(ast.Assign):
        table = getattr(node.value, "value", None)
        named = last_name(node.targets[0]) == "__tablename__" and isinstance(table, str)
        if named and table not in written:
            yield path, node.lineno, {"table": table}


@check("H904", step=7)
def two_heads(project):
    found = revisions(project)
    before = {name for _, down in found.values() for name in down}
    heads = {path: name for path, (name, _) in found.items() if name not in before}
    if len(heads) > 1:
        yield max(heads), 0, {"heads": ", ".join(sorted(heads.values()))}
