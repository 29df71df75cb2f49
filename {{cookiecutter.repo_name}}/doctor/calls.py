"""Checks of calls that a package, or the database, does not take (step 12)."""

import ast
import re

from doctor import FACTS, check
from doctor.imports import newest_allowed
from doctor.lists import numbers
from doctor.packages import newest_python
from doctor.pages import on_start_page
from doctor.project import first_value, last_name

FAILING, SQL = FACTS["failing"], FACTS["sql"]
# The last names of what the table is about.
CALLED = {name for row in FAILING for name in re.findall(r"\w+", row["of"])}
# Passwords as Werkzeug keeps them since 2.3: scrypt:32768:8:1$…$…
HASHED = 162  # characters


@check("H522", step=12, level="warning")
def call_that_fails(project):
    """send_file(attachment_filename=…): what a package, in the version that pip takes, refuses."""
    at_start = {
        id(use.node) for use in project.running.loading.calls if "try" not in use.guards
    }
    told = set()
    for path, call in project.nodes(ast.Call):
        if path.startswith("deploy/") or last_name(call.func) not in CALLED:
            continue
        code = ast.unparse(call.func)
        for row in FAILING:
            if row["says"] in told or not refused(project, row, call, code):
                continue
            told.add(row["says"])
            sure = id(call) in at_start and project.is_sure(path)
            sure = sure or on_start_page(
                project, lambda other, call=call: other is call
            )
            what = ast.unparse(call).partition("\n")[0][:60]
            details = {"what": what, "says": row["says"], "instead": row["instead"]}
            yield path, call.lineno, details, "error" if sure else "warning"


def refused(project, row, call, code):
    """Tell whether a row of the table is about a call, and holds for the versions here."""
    words = {word.arg: word.value for word in call.keywords}
    open_ended = None in words or any(isinstance(a, ast.Starred) for a in call.args)
    if open_ended or not re.fullmatch(row["of"], code):
        return False
    first, count = call.args[0] if call.args else None, len(call.args)
    text = getattr(first, "value", None)
    values = {
        name: getattr(words.get(name), "value", None) for name in row.get("value", {})
    }
    return (
        row.get("least", 0) <= count <= row.get("most", 99)
        and (bool(words.keys() & {*row["keyword"]}) if "keyword" in row else True)
        and not words.keys() & {*row.get("without", ())}
        and (
            "text" not in row
            or isinstance(text, str)
            and bool(re.fullmatch(row["text"], text))
        )
        and row.get("first", type(first).__name__) == type(first).__name__
        and all(re.fullmatch(row["value"][n], str(v)) for n, v in values.items())
        and not project.imported & {*row.get("beside", ())}
        and {*row.get("imports", ())} <= project.imported
        and holds(project, row)
    )


def holds(project, row):
    """Tell whether the version that is taken is one of those that a row is about."""
    if row["package"] == "PostgreSQL":
        return project.reads_database_url or "deploy" in project.imported
    if row["package"] == "Python":
        return numbers(newest_python(project)) >= numbers(row["since"])
    version = newest_allowed(project, row["package"])
    return version is not None and version >= numbers(row["since"])


@check("H523", step=12)
def login_asked_for_at_the_login(project):
    """before_request sends everybody without a session to the login, from the login as well."""
    for path, function in project.nodes(ast.FunctionDef, ast.AsyncFunctionDef):
        hooks = {last_name(node) for node in function.decorator_list}
        if not hooks & {"before_request", "before_app_request"}:
            continue
        code = ast.unparse(function)
        # Who looks at the address, or at the view, lets some pages through.
        if re.search(r"\brequest\b|\bsession\[.*\] = ", code):
            continue
        for test, body in always_tested(function.body):
            ends = body[-1]
            target = getattr(ends, "value", None)
            leads = isinstance(ends, ast.Return) and last_name(
                getattr(target, "func", None)
            )
            if leads == "redirect" and NOBODY.fullmatch(ast.unparse(test)):
                yield path, ends.lineno, {"what": ast.unparse(target)[:60]}
                break


# What is true for a visitor who has not logged in.
NOBODY = re.compile(
    r"not (session|current_user|g|flask_login\.current_user)\.(get\(.*\)|is_authenticated|user)"
    r"|['\"]\w+['\"] not in session"
    r"|(session\.get\([^()]*\)|g\.\w+|g\.get\([^()]*\)) is None"
)


def always_tested(statements):
    """Yield (test, body) of the conditions that a function comes to in any case."""
    for statement in statements:
        if isinstance(statement, ast.If):
            yield statement.test, statement.body
        if isinstance(statement, (ast.Return, ast.Raise)):
            return


@check("H524", step=12, level="warning")
def guard_above_the_route(project):
    """@login_required above @app.route(…): Flask keeps the view without its guard."""
    told = set()
    for module, function, route, _ in project.running.loading.views:
        place = function.decorator_list
        above = place[: place.index(route)] if route in place else ()
        guards = [last_name(getattr(node, "func", node)) for node in above]
        guards = [name for name in guards if name in FACTS["pages"]["guards"]]
        if guards and id(function) not in told:
            told.add(id(function))
            details = {"guard": guards[0], "view": function.name}
            yield module.path, function.lineno, details


@check("H922", step=7, level="warning")
def column_too_short_for_a_hash(project):
    """String(128) for a password that Werkzeug keeps in 162 characters: SQLite takes it, PostgreSQL does not."""
    if (newest_allowed(project, "werkzeug") or (0,)) < (2, 3):
        return
    if not project.reads_database_url and "deploy" not in project.imported:
        return
    made = set()
    for _, call in project.calls("generate_password_hash"):
        if not call.keywords and len(call.args) == 1:
            made.add(id(call))
    kept = {
        word.arg for _, word in project.nodes(ast.keyword) if id(word.value) in made
    }
    for _, node in project.nodes(ast.Assign):
        if id(node.value) in made:
            kept |= {getattr(target, "attr", None) for target in node.targets}
    if "flask_bcrypt" in project.imported:
        return
    for path, node in project.nodes(ast.Assign, ast.AnnAssign):
        target = getattr(node, "target", None) or node.targets[0]
        if getattr(target, "id", None) not in kept or not isinstance(
            node.value, ast.Call
        ):
            continue
        for call in ast.walk(node.value):
            if isinstance(call, ast.Call) and last_name(call.func) == "String":
                length = first_value(call)
                if isinstance(length, int) and length < HASHED:
                    details = {"name": target.id, "length": length, "needed": HASHED}
                    yield path, node.lineno, details


@check("H923", step=7, level="warning")
def sql_of_another_database(project):
    """SQL of SQLite or MySQL in a query: PostgreSQL refuses it when the page is asked for."""
    if not project.reads_database_url and "deploy" not in project.imported:
        return
    booleans = {
        node.targets[0].id
        for _, node in project.nodes(ast.Assign)
        if isinstance(node.targets[0], ast.Name)
        and re.match(
            r"(\w+\.)?(Column|mapped_column)\((\w+\.)?Boolean\b",
            ast.unparse(node.value),
        )
    }
    as_number = rf"(?i)\b({'|'.join(sorted(booleans))})\s*(=|!=|<>)\s*[01]\b"
    for path, call in project.calls("text", "execute"):
        query = first_value(call)
        local = "sqlite3" in project.imported or path.startswith(
            ("deploy/", "migrations/")
        )
        if not isinstance(query, str) or local:
            continue
        plain = re.sub(r"'[^']*'", "''", query)
        found = re.search(SQL["others"], plain)
        found = found or booleans and re.search(as_number, plain)
        if found:
            sure = on_start_page(project, lambda other, call=call: other is call)
            level = "error" if sure else "warning"
            yield path, call.lineno, {"what": found[0].strip()}, level


@check("H425", step=12, level="warning")
def everybody_is_the_router(project):
    """A limit for each visitor, by an address that is the router's for all of them."""
    code = "".join(project.text(path) for path in project.app_trees)
    if re.search(
        r"ProxyFix|X-Forwarded-For|access_route|HTTP_X_FORWARDED|deploy\.", code
    ):
        return
    for path, call in project.calls("Limiter"):
        keys = [*call.args, *(word.value for word in call.keywords)]
        if any(last_name(key) == "get_remote_address" for key in keys):
            yield path, call.lineno, {}
            return


@check("H525", step=12, level="warning")
def program_that_the_platform_lacks(project):
    """subprocess.run(["ffmpeg", …]): the stack has no such program."""
    brought = project.text("Aptfile") + " ".join(project.buildpacks)
    for path, call in project.calls(*FACTS["pages"]["starts_programs"]):
        first = call.args[0] if call.args else None
        if isinstance(first, (ast.List, ast.Tuple)) and first.elts:
            first = first.elts[0]
        command = getattr(first, "value", None)
        name = (
            command.split()[0] if isinstance(command, str) and command.split() else ""
        )
        there = name and re.search(
            FACTS["pages"]["programs"].get(name, "(?!)"), brought
        )
        guarded = project.calls_any("which")
        if name in FACTS["pages"]["programs"] and not there and not guarded:
            yield path, call.lineno, {"name": name}


@check("H426", step=10)
def mode_that_is_not_installed(project):
    """SocketIO(app, async_mode="eventlet"), and no eventlet in the list of packages."""
    have, complete, _ = project.available
    for use in project.running.loading.calls if project.list.is_known else ():
        words = {w.arg: w.value for w in getattr(use.node, "keywords", ())}
        mode = getattr(words.get("async_mode"), "value", None)
        needed = {"eventlet", "gevent"} & {mode} - have
        if use.of == "flask_socketio.SocketIO" and needed:
            level = "error" if complete and "try" not in use.guards else "warning"
            yield use.path, use.node.lineno, {"name": mode}, level
