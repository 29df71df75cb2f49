"""Checks of calls that a package, or the database, does not take (step 12)."""

import ast
import re
from collections import defaultdict

from doctor import FACTS, check
from doctor.data import inside_conditions, only_value
from doctor.files import once
from doctor.imports import LOST, newest_allowed, rows_of, version_of
from doctor.pages import in_views, is_on_start_page, shown, start_pages, surely
from doctor.trees import first_value, last_name, unparse, walk
from doctor.versions import numbers

FAILING, SQL = FACTS["failing"], FACTS["sql"]
# The rows by the words of their patterns: the last name of a call is one of these.
FAILING_OF = defaultdict(list)
for _row in FAILING:
    for _word in set(re.findall(r"\w+", _row["of"])):
        FAILING_OF[_word].append(_row)
# Passwords as Werkzeug keeps them since 2.3: scrypt:32768:8:1$…$…
HASHED = 162  # characters


@once
def code_of_their_own(project):
    """Return the text of the app's code, without what deploy/ brings."""
    paths = (path for path in project.app_trees if not path.startswith("deploy/"))
    return "".join(map(project.text, paths))


def nodes_of_uses(uses):
    """Return the ids of what runs at the start, and ends it if it fails."""
    return {id(use.node) for use in uses if "try" not in use.guards}


def on_postgresql(project):
    """Tell whether the app's database is the platform's."""
    return project.reads_database_url or "deploy" in project.imported


@check("H522", step=12, level="warning")
def call_that_fails(project):
    """send_file(attachment_filename=…): what a package, in the version that pip takes, refuses."""
    at_start, told = nodes_of_uses(project.running.loading.calls), set()
    for path, call in project.nodes(ast.Call):
        rows = FAILING_OF.get(last_name(call.func), ())
        code = unparse(call.func) if rows else ""
        for row in rows if not path.startswith("deploy/") else ():
            if row["says"] in told or not refused(project, row, call, code):
                continue
            told.add(row["says"])
            sure = id(call) in at_start and project.is_sure(path)
            sure = sure or is_on_start_page(project, call)
            what = unparse(call).partition("\n")[0][:60]
            details = {"what": what, "says": row["says"], "instead": row["instead"]}
            yield path, call.lineno, details, "error" if sure else "warning"


@check("H531", step=12, level="warning")
def name_that_a_module_has_lost(project):
    """np.float in a view: fails when the view is asked for."""
    at_start = {id(use.node) for use in project.running.loading.uses}
    for path, node, owner in names_of_imports(project):
        for row, names in rows_of(LOST, owner, (node.attr,)):
            version = version_of(project, row)
            new = version is not None and version >= numbers(row["since"])
            if names and new and id(node) not in at_start:
                name = f"{owner}.{node.attr}"
                details = {"name": name, "package": row["package"]}
                level = "error" if is_on_start_page(project, node) else "warning"
                yield path, node.lineno, details | {"since": row["since"]}, level


@check("H537", step=12, level="warning")
def module_in_place_of_its_class(project):
    """import datetime, and datetime.utcnow: the class of that name has it, not the module."""
    at_start, told = nodes_of_uses(project.running.loading.uses), set()
    for path, node, owner in names_of_imports(project):
        row = FACTS["mixed"].get(owner, {"names": ()})
        if node.attr in row["names"] and (path, node.attr) not in told:
            told.add((path, node.attr))
            sure = id(node) in at_start or is_on_start_page(project, node)
            details = {"name": unparse(node), "right": row["right"]}
            yield path, node.lineno, details, "error" if sure else "warning"


@once
def names_of_imports(project):
    """Yield (path, node, the full name of its owner) of x.name, where an import statement binds x once."""
    for path in project.app_trees:
        modules = {}
        for node in project.imports_in(path) if not path.startswith("deploy/") else ():
            given = getattr(node, "module", None)
            if isinstance(node, ast.ImportFrom) and (node.level or not given):
                continue
            for name in node.names:
                full = f"{given}.{name.name}" if given else name.name
                bound = name.asname or name.name
                modules[bound] = None if modules.get(bound, full) != full else full
        for node in project.nodes_of(path, ast.Attribute) if modules else ():
            owner = modules.get(getattr(node.value, "id", None))
            if owner:
                yield path, node, owner


@check("H427", step=10)
def server_with_an_app_for_one_process(project):
    """uvicorn.run(app): the platform sets WEB_CONCURRENCY, and uvicorn refuses more than one process of an object."""
    _, web = project.procfile.get("web", (0, ""))
    places = (project.app_env, project.constants, web)
    if any("WEB_CONCURRENCY" in place for place in places):
        return
    for use in project.running.loading.calls:
        words = {w.arg for w in getattr(use.node, "keywords", ())}
        if use.of == "uvicorn.run" and use.node.args and "try" not in use.guards:
            target = use.node.args[0]
            if isinstance(target, (ast.Name, ast.Call)) and not words & {
                "workers",
                None,
            }:
                yield use.path, use.node.lineno, {"what": unparse(use.node)[:60]}


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
        and bool(re.fullmatch(row.get("code", ".*"), unparse(call), re.DOTALL))
        and not project.imported & {*row.get("beside", ())}
        and {*row.get("imports", ())} <= project.imported
        and holds(project, row)
        and ("has" not in row or fits_all_code(project, row["has"]))
        and not ("lacks" in row and fits_all_code(project, row["lacks"]))
    )


def fits_all_code(project, pattern):
    return bool(re.search(pattern, code_of_their_own(project)))


def holds(project, row):
    """Tell whether the version that is taken is one of those that a row is about."""
    if row["package"] == "PostgreSQL":
        return on_postgresql(project)
    if row["package"] == "Python":
        return project.list.python >= numbers(row["since"])
    version = newest_allowed(project, row["package"])
    return version is not None and version >= numbers(row["since"])


@check("H523", step=12)
def login_asked_for_at_the_login(project):
    """before_request sends everybody without a session to the login, from the login as well."""
    for path, function in project.nodes(ast.FunctionDef, ast.AsyncFunctionDef):
        hooks = [n for n in function.decorator_list if last_name(n) in BEFORE]
        # Who looks at the address, or at the view, lets some pages through.
        looks = r"\brequest\b|\bsession\[.*\] = "
        if not hooks or re.search(looks, unparse(function)):
            continue
        for test, body in always_tested(function.body):
            target = getattr(body[-1], "value", None)
            leads = isinstance(body[-1], ast.Return) and isinstance(target, ast.Call)
            leads = leads and last_name(target.func) == "redirect"
            if leads and NOBODY.fullmatch(unparse(test)):
                if comes_back(project, path, hooks[0], target):
                    details = {"what": unparse(target)[:60]}
                    yield path, body[-1].lineno, details
                break


BEFORE = ("before_request", "before_app_request")


def comes_back(project, path, hook, redirect):
    """Tell whether a redirect leads to a page that the same function stands before."""
    to = redirect.args[0] if redirect.args else None
    inside = isinstance(to, ast.Call) and last_name(to.func) == "url_for"
    made = only_value(project, path, getattr(getattr(hook, "value", None), "id", None))
    if last_name(getattr(made, "func", None)) != "Blueprint" or hook.attr != BEFORE[0]:
        return inside or str(getattr(to, "value", "")).startswith("/")
    # A blueprint's own stands before its own views only.
    owner, dot, _ = str(first_value(to) if inside else "").partition(".")
    return bool(dot) and owner in ("", first_value(made))


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
    if not on_postgresql(project) or "flask_bcrypt" in project.imported:
        return
    made = {
        id(call)
        for _, call in project.calls("generate_password_hash")
        if not call.keywords and len(call.args) == 1
    }
    at_start, kept = nodes_of_uses(project.running.loading.calls), {}
    for path, node in project.nodes(ast.Assign, ast.keyword) if made else ():
        value = node.value
        if isinstance(value, ast.Name):  # by way of a variable
            value = only_value(project, path, value.id)
        if id(value) in made:
            names = [getattr(t, "attr", None) for t in getattr(node, "targets", ())]
            for name in (*names, getattr(node, "arg", None)):
                kept[name] = kept.get(name) or id(value) in at_start
    for path, node in project.nodes(ast.Assign, ast.AnnAssign):
        target = getattr(node, "target", None) or node.targets[0]
        if getattr(target, "id", None) not in kept or not isinstance(
            node.value, ast.Call
        ):
            continue
        for call in walk(node.value):
            if isinstance(call, ast.Call) and last_name(call.func) == "String":
                length = first_value(call)
                if isinstance(length, int) and length < HASHED:
                    details = {"name": target.id, "length": length, "needed": HASHED}
                    level = "error" if kept[target.id] else "warning"
                    yield path, node.lineno, details, level


@check("H923", step=7, level="warning")
def sql_of_another_database(project):
    """SQL of SQLite or MySQL in a query: PostgreSQL refuses it when the page is asked for."""
    if not on_postgresql(project) or "sqlite3" in project.imported:
        return
    booleans = {
        node.targets[0].id
        for _, node in project.nodes(ast.Assign)
        if isinstance(node.targets[0], ast.Name)
        and last_name(getattr(node.value, "func", None)) in ("Column", "mapped_column")
        and re.match(r"[\w.]+\((\w+\.)?Boolean\b", unparse(node.value))
    }
    as_number = rf"(?i)\b({'|'.join(sorted(booleans))})\s*(=|!=|<>)\s*[01]\b"
    at_start = nodes_of_uses(project.running.loading.calls)
    # What is sent over each new connection.
    connected = {
        id(node)
        for function in project.definitions
        for hook in function.decorator_list
        if last_name(getattr(hook, "func", hook)) == "listens_for"
        and any(getattr(a, "value", "") == "connect" for a in hook.args)
        for node in walk(function)
    } - inside_conditions(project)
    for path, call in project.calls("text", "execute"):
        query = first_value(call)
        if not isinstance(query, str) or path.startswith(("deploy/", "migrations/")):
            continue
        plain = re.sub(r"'[^']*'", "''", query)
        found = re.search(SQL["others"], plain)
        if {"psycopg2", "psycopg"} & project.imported and len(call.args) > 1:
            found = found or re.search(r"(=|\(|,|LIKE|<|>)\s*\?", plain)
        found = found or booleans and re.search(as_number, plain)
        if found:
            sure = id(call) in at_start | connected or is_on_start_page(project, call)
            level = "error" if sure else "warning"
            yield path, call.lineno, {"what": found[0].strip()}, level


@check("H425", step=12, level="warning")
def everybody_is_the_router(project):
    """A limit for each visitor, by an address that is the router's for all of them."""
    code = project.code
    if re.search(
        r"ProxyFix|X-Forwarded-For|access_route|HTTP_X_FORWARDED|deploy\.", code
    ):
        return
    for path, call in project.calls("Limiter"):
        keys = [*call.args, *(word.value for word in call.keywords)]
        if any(last_name(key) == "get_remote_address" for key in keys):
            yield path, call.lineno, {}
            return


@check("H433", step=12, level="warning")
def limit_in_each_process(project):
    """Limiter() without a storage: each web process counts for itself, and Heroku starts two.

    https://flask-limiter.readthedocs.io/en/stable/configuration.html: memory:// is the default
    """
    calls = project.calls("Limiter") if "flask_limiter" in project.imported else ()
    for path, call in calls:
        storage = r"storage_uri\s*=\s*(?![\"']memory)|RATELIMIT_STORAGE"
        stored = re.search(storage, project.code) or "gunicorn.conf.py" in project
        webs = [command for command in project.commands if command.type == "web"]
        several = [c for c in webs if c.program == "gunicorn"]
        alone = any(c.option("-w", "--workers") == "1" for c in several)
        if several and not alone and not stored:
            yield path, call.lineno, {}
            return


@check("H525", step=12, level="warning")
def program_that_the_platform_lacks(project):
    """subprocess.run(["ffmpeg", …]): the stack has no such program."""
    brought = project.text("Aptfile") + " ".join(project.buildpacks)
    if project.calls_any("which"):
        return  # the code itself asks whether it is there
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
        if name in FACTS["pages"]["programs"] and not there:
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


@check("H527", step=12, level="warning")
def page_of_an_empty_table(project):
    """random.choice(Book.query.all()): a new database has no rows, and the page fails."""
    level = "warning" if fills_tables(project) else "error"
    for module, function in start_pages(project):
        found = {
            node.targets[0].id: unparse(node.value)
            for node in walk(function)
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        }
        sums = {
            name
            for name, code in found.items()
            if SUM.fullmatch(code) and "coalesce" not in code
        }
        for path, line, tag, rest in shown(project):
            for name in sums if not tag else ():
                used = rf"\|\s*format\(\s*{name}\s*\)|\b{name}\s*(\|\s*round|[-+*/])"
                if re.search(used, rest):
                    details = {"what": f"{name} = {found[name]}"[:60]}
                    yield path, line, details, level
        for node in walk(function):
            if wants_a_row(node, found) and surely(
                project, module, function.body, lambda n, node=node: n is node
            ):
                details = {"what": unparse(node)[:60]}
                yield module.path, node.lineno, details, level
                break


def fills_tables(project):
    """Tell whether something may put rows into the tables before a visitor does."""
    views = in_views(project)
    adds = project.calls("add", "add_all", "bulk_save_objects", "bulk_insert", "insert")
    return any(id(call) not in views for _, call in adds) or any(
        "INSERT INTO" in text for text in project.constants
    )


def wants_a_row(node, found):
    """Tell whether a node fails where a query has no rows. found: {name: the code that it stands for}."""
    if isinstance(node, ast.Call) and node.args:
        code = unparse(node.args[0])
        random = unparse(node.func) in ("random.choice", "choice")
        return random and bool(ROWS.fullmatch(found.get(code, code)))
    owner = node.value if isinstance(node, ast.Attribute) else None
    if isinstance(owner, ast.Name):
        return bool(FIRST.fullmatch(found.get(owner.id, "")))
    return isinstance(owner, ast.Call) and bool(FIRST.fullmatch(unparse(owner)))


SUM = re.compile(r".*\bfunc\.(sum|avg|max|min)\(.*\)(\.scalar(_one)?\(\))?(?<!,0\))")
ROWS = re.compile(
    r"(list\()?[\w.]+\.(query\b.*|session\.(query|scalars)\(.*)\.all\(\)\)?"
)
FIRST = re.compile(
    r"[\w.]+\.query\b.*\.first\(\)|(\w+\.)?session\.(query|scalars)\(.*\.first\(\)"
    r"|(\w+\.)?session\.scalar\((\w+\.)?select\((?!.*func\.).*"
)


@check("H528", step=12, level="warning")
def user_without_what_a_login_asks(project):
    """login_user(user) of a class without UserMixin: it has no is_active."""
    code = code_of_their_own(project)
    if (
        "UserMixin" in code
        or "is_active" in code
        or "flask_login" not in project.imported
    ):
        return
    for path, call in project.calls("login_user"):
        yield path, call.lineno, {}
        return


@check("H529", step=12, level="warning")
def rows_as_json(project):
    """jsonify(Book.query.all()): a model is nothing that JSON has; a dataclass is."""
    code = code_of_their_own(project)
    if re.search(r"@\w*\.?dataclass|JSONProvider|JSONEncoder|json_encoder", code):
        return
    for path, call in project.calls("jsonify"):
        code = unparse(call.args[0]) if call.args else ""
        if code.isidentifier():
            made = assigned(project, path, call, code)
            code = unparse(made) if made else ""
        if ROWS.fullmatch(code) and "query(" not in code:
            yield path, call.lineno, {"what": unparse(call)[:60]}


def assigned(project, path, call, name):
    """Return what a name stands for where a call is, None where it is given more than once."""
    for function in project.all_nodes(path):
        inside = isinstance(function, ast.FunctionDef)
        if inside and function.lineno <= call.lineno <= function.end_lineno:
            made = [
                node.value
                for node in walk(function)
                if isinstance(node, ast.Assign) and last_name(node.targets[0]) == name
            ]
            return made[0] if len(made) == 1 else None
    return None


@check("H530", step=12, level="warning")
def thread_without_the_app(project):
    """Thread(target=send), where send() asks current_app or the database: there is no app in a thread."""
    functions = {
        n.name: n for n in project.definitions if isinstance(n, ast.FunctionDef)
    }
    for path, call in project.calls("Thread"):
        words = {word.arg: word.value for word in call.keywords}
        function = functions.get(getattr(words.get("target"), "id", None))
        code = unparse(function) if function else ""
        asks = re.search(
            r"\bcurrent_app\.|\bmail\.send\(|\bdb\.session\.|\w+\.query\.", code
        )
        if (
            asks
            and not re.search("app_context|copy_current_request_context", code)
            and not path.startswith("deploy/")
        ):
            yield (
                path,
                call.lineno,
                {"name": f"{function.name}()", "what": asks[0].rstrip(".(")},
            )


@check("H626", step=9, level="warning")
def settings_in_small_letters(project):
    """class Config with secret_key = …: from_object() takes names in capitals only."""
    texts = [
        unparse(call.args[0]) for _, call in project.calls("from_object") if call.args
    ]
    if not texts:
        return
    for path, node in project.nodes(ast.ClassDef):
        named = re.search(
            r"\b[A-Z]\w*[Cc]onfig\b|\bConfig\w*\b|\b[A-Z]\w*Settings\b", node.name
        )
        names = [
            target.id
            for statement in node.body
            for target in getattr(statement, "targets", ())
            if isinstance(target, ast.Name)
        ]
        small = [n for n in names if n.islower() and re.fullmatch(FLASK_SETTINGS, n)]
        capitals = {n for n in names if n.isupper()}
        lost = [n for n in small if n.upper() not in capitals]
        if named and lost:
            details = {"name": lost[0], "right": lost[0].upper()}
            yield path, node.lineno, details
            return


FLASK_SETTINGS = (
    r"secret_key|testing|server_name|max_content_length|upload_folder"
    r"|(session|sqlalchemy|mail|wtf|jwt|remember|cache)_\w+"
)


@check("H625", step=9, level="warning")
def settings_in_a_class(project):
    """class Config in config.py, and from_object(config): the settings are the class's, not the module's."""
    for path, call in project.calls("from_object"):
        name = getattr(call.args[0], "id", None) if call.args else None
        file = f"{name}.py"
        tree = project.trees.get(file)
        plain = isinstance(name, str) and re.search(
            rf"(?m)^import {name}$", project.text(path)
        )
        if not tree or not plain:
            continue
        for node in tree.body:
            names = [
                n.id
                for s in getattr(node, "body", ())
                for n in getattr(s, "targets", ())
                if isinstance(n, ast.Name)
            ]
            settings = [n for n in names if n.isupper()]
            others = [p for p in project.app_trees if p != file]
            used = not isinstance(node, ast.ClassDef) or any(
                re.search(rf"\b{node.name}\b", project.text(p)) for p in others
            )
            if isinstance(node, ast.ClassDef) and settings and not used:
                yield (
                    file,
                    node.lineno,
                    {"name": node.name, "settings": ", ".join(settings[:3])},
                )
                break
