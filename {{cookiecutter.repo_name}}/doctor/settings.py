"""Checks of the config vars: who reads them, and what is made of them (steps 7 and 9)."""

import ast
import difflib
import re
from collections import Counter

from doctor import FACTS, check
from doctor.data import inside_conditions, only_value
from doctor.files import once
from doctor.project import several
from doctor.trees import first_value, last_name, name_of_target, unparse
from doctor.versions import fits

KNOWN = re.compile(FACTS["config_vars"]["known"])
SHOWN = re.compile(FACTS["config_vars"]["shown"])
# What a browser takes for the domain of an app, and a computer's names for itself.
DOMAIN = re.compile(r"SERVER_NAME|\w*COOKIE_DOMAIN")
HERE = re.compile(r"\.?(localhost|127\.0\.0\.1|0\.0\.0\.0)(:\d+)?")


@check("H629", step=9, level="warning")
def domain_of_this_computer(project):
    """A browser keeps no cookie of another domain; links with SERVER_NAME lead to the visitor's own computer.

    Said of what stands above all functions, once.
    """
    given = [
        (path, node, name_of_target(node))
        for path in project.app_trees
        for outer in project.trees[path].body
        for node in (outer, *getattr(outer, "body", ()))
        if isinstance(node, ast.Assign) and not isinstance(outer, ast.FunctionDef)
    ]
    times = Counter(name for *_, name in given)
    aside = inside_conditions(project)
    for path, node, name in given:
        text = str(getattr(node.value, "value", ""))
        named = isinstance(name, str) and DOMAIN.fullmatch(name) and times[name] == 1
        if named and HERE.fullmatch(text) and id(node) not in aside:
            yield path, node.lineno, {"name": name, "value": text}


@check("H631", step=9, level="warning")
def truth_of_a_text(project):
    """bool(os.environ.get("SHOWN", "False")): every text but the empty one is true."""
    read = re.compile(
        r"""(?:os\.)?(?:environ\.get|getenv)\((['"])(\w+)\1, ['"](?i:false|no|off|0)['"]\)"""
    )
    own = any(node.name == "getenv" for node in project.definitions)
    tests = [(path, node.test) for path, node in project.nodes(ast.If, ast.IfExp)]
    tests += [(p, n.args[0]) for p, n in project.calls("bool") if n.args]
    # DEBUG = os.environ.get("DEBUG", "False"), where nothing makes a truth of it later.
    given = settings_given(project)
    times = Counter(name for _, name, _ in given)
    for path, name, value in given:
        if name in FACTS["config_vars"]["truths"] and times[name] == 1:
            later = rf"""\b{name}(["']\])?(\.| *(==|!=|in\b))|\w\({name}\b"""
            if not re.search(later, project.text(path)):
                tests.append((path, value))
    for path, test in () if own else tests:
        for part in getattr(test, "values", [test]):
            part = getattr(part, "operand", part)
            if isinstance(part, ast.Name):
                part = only_value(project, path, part.id)
            code = unparse(part) if isinstance(part, ast.Call) else ""
            if match := read.fullmatch(code):
                yield path, part.lineno, {"name": match[2], "what": code}


@check("H634", step=9)
def time_that_is_a_text(project):
    """PERMANENT_SESSION_LIFETIME = "7 days": Flask counts seconds, or takes a timedelta."""
    sessions = {"session", "flash", "flask_wtf", "flask_login"}
    used = any(map(project.has_text, sessions))
    for path, name, value in settings_given(project):
        kind = FACTS["config_vars"]["times"].get(name)
        text = isinstance(getattr(value, "value", None), str)
        if kind and project.is_flask and (text or is_text_of_environment(value)):
            sure = kind == "page" or kind == "session" and used
            level = "error" if sure and project.is_sure(path) else "warning"
            details = {"what": f"{name} = {unparse(value)[:50]}", "name": name}
            yield path, value.lineno, details, level


def is_text_of_environment(value):
    """Tell whether a value is what os.environ.get() returns: a text, or None."""
    read = re.compile(r"(os\.)?(environ\.get|getenv)")
    if not isinstance(value, ast.Call) or not read.fullmatch(unparse(value.func)):
        return False
    default = getattr(value.args[1], "value", 0) if value.args[1:] else None
    return default is None or isinstance(default, str)


@once
def settings_given(project):
    """Return [(path, name, value)] of what code gives names, keys and attributes, in updates of a config too."""
    given = [(p, name_of_target(n), n.value) for p, n in project.nodes(ast.Assign)]
    for path, call in project.calls("update", "from_mapping"):
        if last_name(getattr(call.func, "value", None)) == "config":
            given += [(path, word.arg, word.value) for word in call.keywords]
            for table in call.args:
                keys = [getattr(key, "value", "") for key in getattr(table, "keys", ())]
                values = getattr(table, "values", ())
                given += [(path, *pair) for pair in zip(keys, values, strict=False)]
    return given


@once
def environment_reads(project):
    """Yield (path, node, name, needed) of all places where code reads a config var by its name.

    needed: without it the code fails. Also through environs, decouple and pydantic-settings.
    """
    optional = set(project.environment_looks)
    # from decouple import config as setting
    readers = {"env", "config"} | {
        name.asname
        for _, node in project.nodes(ast.ImportFrom)
        for name in node.names
        if node.module == "decouple" and name.asname
    }
    asked = {id(node.value) for _, node in project.nodes(ast.Attribute)}
    counted = {
        id(call.args[0]) for _, call in project.calls("int", "float") if call.args
    }
    for path, node in project.nodes(ast.Subscript):
        if isinstance(node.ctx, ast.Load) and "environ" in last_name(node.value):
            yield from named(path, node, node.slice, optional)
    for path, node in project.nodes(ast.Call):
        owner = last_name(getattr(node.func, "value", None)) or ""
        name, default = last_name(node.func), len(node.args) > 1 or bool(node.keywords)
        if not node.args:
            continue
        if name == "getenv" or (name in ("get", "pop") and "environ" in owner):
            # os.environ.get("NAMES").split(): None has no split.
            fails = set() if id(node) in asked | counted and not default else None
            yield from named(path, node, node.args[0], fails)
        elif project.reads_settings and (name in readers or owner == "env"):
            optional_here = None if default else optional
            yield from named(path, node, node.args[0], optional_here)
    for path, node in project.nodes(ast.ClassDef):
        if any(last_name(base) == "BaseSettings" for base in node.bases):
            for field in node.body:
                if isinstance(field, ast.AnnAssign) and isinstance(
                    field.target, ast.Name
                ):
                    yield path, field, field.target.id.upper(), field.value is None


def named(path, node, key, optional):
    """Yield a read of a key that is a text; optional: those that need not be there, None for all."""
    if isinstance(key, ast.Constant) and isinstance(key.value, str):
        yield path, node, key.value, optional is not None and key.value not in optional


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
    """Whatever reads it, in whatever language, has its name in it."""
    listed, prefixed = names_listed(project), reads_what_nobody_names(project)
    words, listing = set(), {file for file, _ in listed.values()} | {".env.example"}
    for path in project.contents if listed and not prefixed else ():
        aside = path.startswith("doctor/") or path.endswith((".md", ".rst"))
        if path not in listing and not aside:
            words |= set(re.findall(r"[A-Z][A-Z0-9_]+", project.text(path)))
    words |= {name for _, _, name, _ in environment_reads(project)}
    lost = [
        name for name in listed if not (prefixed or name in words or KNOWN.match(name))
    ]
    if lost:
        yield *listed[lost[0]], {"name": several(lost)}


def reads_what_nobody_names(project):
    """Tell whether code reads config vars by names that it computes, or all of them."""
    prefixed = project.has_keyword("env_prefix") or "dynaconf" in project.imported
    composed = [p for p in project.in_root() if "compose" in p]
    prefixed = prefixed or any("env_file" in project.text(path) for path in composed)
    keys = [
        node.slice
        for path, node in project.nodes(ast.Subscript)
        if "environ" in last_name(node.value) and not path.startswith("deploy/")
    ]
    keys += [node.args[0] for _, node in project.calls("getenv") if node.args]
    whole = [node.args[0] for _, node in project.calls("dict") if node.args]
    whole += [node.func.value for _, node in project.calls("items")]
    return (
        prefixed
        or project.calls_any("from_prefixed_env")
        or any(not isinstance(key, ast.Constant) for key in keys)
        or any(unparse(node) == "os.environ" for node in whole)
    )


@check("H605", step=9, level="warning")
def variable_not_listed(project):
    """Told of those without which the code fails."""
    listed, found = set(names_listed(project)), {}
    # The build itself loads Django's settings.
    asked = listed or "manage.py" in project and "django" in project.imported
    in_files = project.text("settings.ini") + project.text(".env")
    for path, node, name, is_needed in environment_reads(project):
        plain = re.fullmatch("[A-Z][A-Z0-9_]*", name) and not KNOWN.match(name)
        wanted = asked and plain and is_needed and name not in listed
        if wanted and not re.search(rf"(?m)^{name}\s*=", in_files):
            found.setdefault(name, (path, node.lineno))
    if found:
        yield *next(iter(found.values())), {"name": several(found)}


@check("H604", step=7)
def url_as_heroku_writes_it(project):
    """SQLAlchemy refuses postgres://, which is what DATABASE_URL begins with."""
    if not {"sqlalchemy", "flask_sqlalchemy", "sqlmodel"} & project.imported:
        return
    old = project.list.version("sqlalchemy")
    if old and fits(old, "<1.4"):
        return  # which takes it
    used = FACTS["config_vars"]["mend"]
    mends = re.compile(
        r"\^?postgres(ql(\+\w+)?|ql(\+\w+)?:(//)?|:(//)?)$|ql(\+\w+)?:(//)?$"
    )
    # uri.replace(…) on a line of its own: what it gives is kept nowhere.
    alone = {id(node.value) for _, node in project.nodes(ast.Expr)}
    calls = [c for _, c in project.calls("replace") if id(c) in alone]
    calls = [c for c in calls if str(first_value(c)).startswith("postgres")]
    owners = {unparse(call.func.value) for call in calls}
    for _, call in project.calls("startswith"):
        if unparse(call.func).rpartition(".")[0] in owners:
            calls.append(call)
    lost = {id(part) for call in calls for part in call.args}
    texts = {node.value for _, node in project.texts() if id(node) not in lost}
    if any(map(mends.match, texts)) or project.imported & set(used):
        return
    mysql = {"pymysql", "mysqlclient", "mysql-connector-python"} & project.available[0]
    if mysql and any("mysql" in text for text in project.constants):
        return  # the database is another one
    # What is handed to a function of one's own may be mended in there.
    engines = {
        id(call)
        for _, call in project.calls(
            "create_engine", "create_async_engine", "URL", "str"
        )
    }
    calls = [call for _, call in project.nodes(ast.Call) if id(call) not in engines]
    handed_on = {id(argument) for call in calls for argument in call.args}
    for path, node, name, _ in environment_reads(project):
        if name == "DATABASE_URL" and id(node) not in handed_on:
            driver = "+psycopg" if "psycopg" in project.available[0] else ""
            yield path, node.lineno, {"right": f"postgresql{driver}://"}
            return


@check("H606", step=9, level="warning")
def key_made_anew(project):
    """A key that each process makes for itself: logins end at every restart, and between two processes."""
    makers = re.compile(
        r"(secrets\.token_\w+|os\.urandom|urandom|token_hex|uuid4|uuid\.uuid4|get_random_secret_key|Fernet\.generate_key)\("
    )
    # self.secret_key = … is of a thing, not of the app.
    things = {
        id(node.value)
        for _, node in project.nodes(ast.Assign)
        if unparse(node.targets[0]).startswith("self.")
    }
    given = [
        row
        for row in settings_given(project)
        if re.search(r"(?i)secret_?key", str(row[1])) and id(row[2]) not in things
    ]
    times = Counter((path, name) for path, name, _ in given)
    for path, name, value in given:
        code = unparse(value)
        read = "environ" in code or "getenv" in code
        if makers.search(code) and not read and times[path, name] == 1:
            yield path, value.lineno, {"what": f"SECRET_KEY: {name} = {code[:50]}"}


@check("H615", step=9, level="warning")
def setting_misspelt(project):
    """MAX_CONTENT_LENGHT: a name that Flask and its packages do not read."""
    own = project.trees.get("config.py") if "deploy/environment.py" in project else None
    for node in own.body if own else ():
        name = last_name(getattr(node, "targets", [None])[0])
        if name == "SQLALCHEMY_DATABASE_URI":
            yield "config.py", node.lineno, {"name": name, "right": "DATABASE_URL"}
    known = FACTS["config_vars"]["settings"]
    given = [
        (path, node, last_name(node.targets[0]))
        for path, node in project.nodes(ast.Assign)
        if isinstance(node.targets[0], ast.Name)
    ]
    for path, node in project.nodes(ast.Subscript):
        key = getattr(node.slice, "value", None)
        if isinstance(node.ctx, ast.Store) and last_name(node.value) == "config":
            given.append((path, node, key))
    for path, node, name in given if project.is_flask else ():
        plain = isinstance(name, str) and name.isupper() and name not in known
        near = difflib.get_close_matches(name, known, 1, 0.92) if plain else ()
        used = (
            sum(
                len(re.findall(rf"\b{name}\b", project.text(p)))
                for p in project.app_trees
            )
            if near
            else 0
        )
        if near and used == 1:
            yield path, node.lineno, {"name": name, "right": near[0]}


@check("H616", step=7, level="warning")
def celery_over_tls(project):
    """Heroku's REDIS_URL is rediss://, for which Celery wants to be told what to check."""
    told = any(map(project.has_text, ("ssl_cert_reqs", "use_ssl")))
    for path, call in project.calls("Celery"):
        code = "".join(unparse(node) for node in (*call.args, *call.keywords))
        if "REDIS_URL" in code and not told and "celery" in project.imported:
            yield path, call.lineno, {}
