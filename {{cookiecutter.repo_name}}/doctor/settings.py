"""Checks of the config vars, app.json and .slugignore (steps 7 to 9 and 13)."""

import ast
import difflib
import json
import re
from collections import Counter

from doctor import FACTS, check
from doctor.data import inside_conditions, only_value
from doctor.files import hits, line_at
from doctor.lists import fits
from doctor.project import as_dict, several
from doctor.trees import first_value, last_name, name_of_target, walk

APP_JSON = FACTS["app_json"]
KNOWN = re.compile(FACTS["config_vars"]["known"])
HARMLESS = re.compile(FACTS["config_vars"]["harmless"])
ASIDE = re.compile(FACTS["config_vars"]["aside"])
BROWSER_KEYS = re.compile(r"maps\.google|firebase|authDomain", re.IGNORECASE)
# Values that nobody takes for a password: words, an address of a page, a sentence.
PLAIN = r"[A-Za-z_-]*|.{0,7}|/.*|https?:.*|.*\s.*[.!?:]|(\S+\s+){4}.*"
SHOWN = re.compile(FACTS["config_vars"]["shown"])
MARKS = FACTS["secret_marks"]
SECRETS = {kind: re.compile(pattern) for kind, pattern in FACTS["secrets"].items()}
# Where all config vars are, what makes an answer of them, and decorators that let everybody in.
WHOLE = re.compile(
    r"((os\.)?environ|(current_app|app)\.config)(\.copy\(\)|\.items\(\)|\.values\(\))?"
)
SHOWS = {
    "jsonify",
    "dumps",
    "str",
    "repr",
    "pformat",
    "dict",
    "Response",
    "make_response",
    "format",
}
# What takes one after another: of a mapping these are the names alone.
ONE_BY_ONE = {"join", "sorted", "list"}
# What a view may do before it answers without asking who is there.
PLAIN_STEPS = (ast.Import, ast.ImportFrom, ast.Assign, ast.Return)
OF_ADDRESS = re.compile(r"^\w+(\.\w+)*\.(route|get|post)\(")
WHOLE_CONFIG = re.compile(
    r"\{\{-?\s*config(\.items\(\))?\s*[|}-]|\{%-?\s*for\s[\w ,]+ in config\.items\(\)"
)
# What a browser takes for the domain of an app, and a computer's names for itself.
DOMAIN = re.compile(r"SERVER_NAME|\w*COOKIE_DOMAIN")
HERE = re.compile(r"\.?(localhost|127\.0\.0\.1|0\.0\.0\.0)(:\d+)?")
IN_PAGES = re.compile(r".*\.(m?js|html?|jinja2?)")  # what every visitor gets
ENV_FILE = (
    r"(.*/)?\.env(\.(local|production|prod|development|backup|bak|old|orig|save|copy)"
    r"|[ _-]?(copy|old|backup)|~)?"
)
# What JSON's types are here, and how they look.
SHAPES = {"texts": (str, '"…"'), "objects": (dict, "{…}"), "lists": (list, "[…]")}


@check("H601", step=9)
def env_file_pushed(project):
    """An error where it holds what looks like a secret."""
    for path in sorted(project.sizes):
        if re.fullmatch(ENV_FILE, path):
            values = [line.partition("=")[::2] for _, line in project.lines(path)]
            secret = any(is_secret(name, value.strip(" \"'")) for name, value in values)
            aside = ASIDE.fullmatch(path.replace(".env", "x")) or not secret
            told = re.compile(r"(?i)SECRET|PASS|TOKEN|KEY|URL|URI|DSN|AUTH|USER")
            if secret or any(told.search(name) and value for name, value in values):
                yield path, 0, {"name": path}, "warning" if aside else "error"


def is_secret(name, value):
    """Tell whether a config var's name and value look like a real secret."""
    named = re.search(r"(?i)SECRET|PASSWORD|PASSWD|TOKEN|API_?KEY|DATABASE_URL", name)
    # A name for something beside it, and an address without a password.
    about = re.search(
        r"(?i)_(FILE|HEADER|ISSUER|HASHER|PATH|DIR|NAME|ALGORITHM)$", name
    )
    host = ""
    if match := re.search(r"://[^:/@]*:([^@]+)@([^:/?]*)", value):
        value, host = match.groups()
    elif "://" in value or about:
        return False
    plain = HARMLESS.fullmatch(value) or re.fullmatch("[a-z_ -]*|.{0,7}", value)
    # No host of the internet.
    near = re.match(r"localhost|127\.|0\.0\.|host\.docker", host)
    return bool(named) and not (plain or near or is_for_show(value, host))


@check("H602", step=9)
def secret_in_file(project):
    setting = r"(?m)^\s*SECRET_KEY\s*=.*(environ|getenv|config\(|env\(|env\.)"
    fallback = re.compile(setting)
    told, lines = set(), set()
    texts = (
        text for path in project.trees if "SECRET_KEY" in (text := project.text(path))
    )
    is_read = any(map(fallback.search, texts))
    for path in sorted(project.contents):
        # A password there is of a database of the workflow's own.
        workflow = path.startswith(".github/")
        aside = ASIDE.fullmatch(path) and not workflow
        if aside or b"\0" in project.contents[path][:1000]:
            continue
        text = project.text(path)
        for kind, pattern in SECRETS.items():
            own = workflow and not kind.startswith(("GitHub", "Heroku"))
            if MARKS.get(kind, "") not in text or own:
                continue
            if kind in ("postgres", "SECRET_KEY") and SHOWN.fullmatch(path):
                continue
            if kind == "API key" and not IN_PAGES.fullmatch(path):
                continue  # H608 is about those in code
            if kind == "SECRET_KEY" and is_read:
                continue  # what stands in the code is for a computer of one's own
            for match in pattern.finditer(text):
                before = text[: match.start()]
                of_class = re.findall(r"(?m)^class (\w+)", before)[-1:]
                own = kind == "SECRET_KEY" and re.match(
                    "(?i)dev|test|local", "".join(of_class)
                )
                shown = any(map(HARMLESS.fullmatch, match.groups()))
                if own or shown or is_for_show(*match.groups()) or match[0] in told:
                    continue
                told.add(match[0])
                lines.add((path, before.count("\n") + 1))
                # Those of Google's for maps and Firebase every browser gets; their cure is a restriction.
                public = kind == "Google" and BROWSER_KEYS.search(text)
                level = "warning" if public else "error"
                what = (
                    f"{match[0].partition('://')[0]}://…@"
                    if kind == "postgres"
                    else kind
                )
                yield path, before.count("\n") + 1, {"kind": what}, level
    for line in project.list.lines:
        user = re.search(
            r"://([\w.-]+:[^/\s@:$<{]{8,}|(gh\w|github_pat|glpat)[_-]\w+)@", line.text
        )
        if user and (line.file, line.number) not in lines:
            yield line.file, line.number, {"kind": "https://…@"}


def is_for_show(secret, host):
    """Tell whether a secret is made of few characters, or for a host that is not on the internet."""
    few = len(secret) >= 16 and len(set(secret)) < 8
    counted = re.search(r"(?i)123456789|abcdefgh|deadbeef", secret)
    inside = re.fullmatch(
        r"[\w-]+|.*\.(local|internal|lan|test)|(10|192\.168|172\.(1[6-9]|2\d|3[01]))\..*",
        host,
    )
    return bool(few or counted or host and inside)


@check("H628", step=9)
def secrets_on_a_page(project):
    """A view that shows os.environ or app.config whole, or a template that shows config: all keys are in them."""
    hooks = ("before_request", "before_app_request")
    hooked = any(
        last_name(decorator) in hooks
        for path, node in project.nodes(ast.FunctionDef)
        for decorator in node.decorator_list
    ) or any(not path.startswith("deploy/") for path, _ in project.calls(*hooks))
    for module, function, *_ in () if hooked else project.running.loading.views:
        texts = list(map(ast.unparse, function.decorator_list))
        # Whatever else it does may send strangers away.
        plain = all(isinstance(node, PLAIN_STEPS) for node in function.body)
        own = any(name.id == "app" for name in stored(function))
        if not plain or own or not all(map(OF_ADDRESS.search, texts)):
            continue
        for node in function.body:
            what = shown_whole(node.value) if isinstance(node, ast.Return) else ""
            if what:
                yield module.path, node.lineno, {"what": what}
    own = project.has_keyword("config") or not project.is_flask
    for path in () if own else sorted(project.contents):
        text = project.text(path) if path.endswith(".html") else ""
        match = WHOLE_CONFIG.search(text)
        if match and not re.search(r"(for|set)\s+config\b", text):
            yield path, line_at(text, match.start()), {"what": "config"}, "warning"


def stored(function):
    """Yield the names that a function gives values to."""
    for node in walk(function):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node


def shown_whole(value):
    """Return what an answer gives away whole, "" for any other."""
    if value is None:
        return ""
    if isinstance(value, ast.Call) and last_name(value.func) in SHOWS | ONE_BY_ONE:
        more = [word.value for word in value.keywords if word.arg is None]
        found = next(filter(None, map(shown_whole, [*value.args, *more])), "")
        names_only = last_name(value.func) in ONE_BY_ONE and "(" not in found
        return "" if names_only else found
    if isinstance(value, ast.Dict) and value.keys == [None]:
        return shown_whole(value.values[0])
    if isinstance(value, ast.JoinedStr):
        parts = [n.value for n in value.values if isinstance(n, ast.FormattedValue)]
        return next(filter(None, map(shown_whole, parts)), "")
    if isinstance(value, ast.BinOp):
        return shown_whole(value.left) or shown_whole(value.right)
    if isinstance(value, (ast.ListComp, ast.GeneratorExp, ast.DictComp)):
        # f"{name}={value}" for name, value in os.environ.items()
        each = value.generators[0]
        pair = [name.id for name in walk(each.target) if isinstance(name, ast.Name)]
        shown = value.value if isinstance(value, ast.DictComp) else value.elt
        all_of_them = len(pair) == 2 and pair[1] in as_they_are(shown) and not each.ifs
        return shown_whole(each.iter) if all_of_them else ""
    text = ast.unparse(value)
    return text if WHOLE.fullmatch(text) else ""


def as_they_are(value):
    """Return the names whose values stand in a text unchanged: bool(value) and value[:2] tell little."""
    match value:
        case ast.Name(id=name):
            return {name}
        case ast.JoinedStr(values=parts) | ast.Tuple(elts=parts) | ast.List(elts=parts):
            pass
        case ast.FormattedValue(value=part):
            parts = [part]
        case ast.BinOp(left=left, right=right):
            parts = [left, right]
        case ast.Call(func=func, args=parts) if last_name(func) in SHOWS:
            pass
        case _:
            return set()
    return {name for part in parts for name in as_they_are(part)}


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


@check("H607", step=9)
def secret_as_an_example(project):
    """A real value in app.json or .env.example, which everybody then has."""
    named = re.compile(r"(?i).*(SECRET|PASSWORD|PASSWD|TOKEN|API_?KEY).*")
    pairs = []
    for name, entry in project.app_env.items():
        value = as_dict(entry).get("value", entry)
        pairs.append(("app.json", project.app_json_line(name), name, value))
    for number, line in project.lines(".env.example"):
        name, _, value = line.lstrip("# ").partition("=")
        pairs.append((".env.example", number, name, value.strip(" \"'")))
    for file, line, name, value in pairs:
        long = isinstance(value, str) and re.fullmatch(r"[\w+/=.-]{16,}", value)
        mixed = long and re.search(r"\d", value) and re.search(r"[A-Za-z]", value)
        if mixed and named.fullmatch(name) and not HARMLESS.fullmatch(value):
            yield file, line, {"name": name}


@check("H608", step=9, level="warning")
def password_in_code(project):
    """MAIL_PASSWORD = "…" and the framework's own first key."""
    named = re.compile(r"(?i).*(PASSWORD|PASSWD|API_?KEY|_TOKEN)$|SECRET_KEY$")
    for path, node in project.nodes(ast.Assign):
        name = name_of_target(node)
        owner = last_name(getattr(node.targets[0], "value", None)) or ""
        if re.search(r"(?i)error|label|message|help|text|title|hint", owner):
            continue  # what is said of it
        value = getattr(node.value, "value", None)
        if not isinstance(name, str) or not isinstance(value, str):
            continue
        first_key = value.startswith("django-insecure-")
        plain = HARMLESS.fullmatch(value) or re.fullmatch(PLAIN, value)
        real = not plain and name != "SECRET_KEY"
        # Behind the settings, for all of them: what the config var says no longer counts.
        key = name == "secret_key" or (owner, name) == ("config", "SECRET_KEY")
        replaced = key and below_deploy(project, path, node)
        cookies = replaced or name == "secret_key"
        cookies = cookies and is_set(project, path, node)
        if cookies or named.fullmatch(name) and (real or first_key):
            keys = [value for _, value in project.running.settings.get(name, ())]
            first = first_key and node.value in keys[-1:]
            # As deploy/ has set it from the config var before.
            level = "error" if first or cookies and replaced else "warning"
            yield path, node.lineno, {"name": name}, level


def below_deploy(project, path, node):
    """Tell whether an assignment follows deploy.init_app(app) in a function, and so replaces what that has set."""
    app = ast.unparse(node.targets[0]).partition(".")[0]
    made = f"deploy.init_app({app},"
    for function in project.trees[path].body:
        steps = getattr(function, "body", ()) if hasattr(function, "args") else ()
        before = [ast.unparse(step) for step in steps if step.lineno < node.lineno]
        if node in steps and any(text.startswith(made) for text in before):
            return True
    return False


def is_set(project, path, node):
    """Tell whether an assignment takes place whenever the app loads."""
    return (
        project.is_sure(path)
        and not path.startswith("deploy/")
        and id(node) not in inside_conditions(project)
    )


@check("H631", step=9, level="warning")
def truth_of_a_text(project):
    """bool(os.environ.get("SHOWN", "False")): every text but the empty one is true."""
    read = re.compile(
        r"""(?:os\.)?(?:environ\.get|getenv)\((['"])(\w+)\1, ['"](?i:false|no|off|0)['"]\)"""
    )
    own = any(node.name == "getenv" for node in project.definitions)
    tests = [(path, node.test) for path, node in project.nodes(ast.If, ast.IfExp)]
    tests += [(p, n.args[0]) for p, n in project.calls("bool") if n.args]
    for path, test in () if own else tests:
        for part in getattr(test, "values", [test]):
            part = getattr(part, "operand", part)
            if isinstance(part, ast.Name):
                part = only_value(project, path, part.id)
            code = ast.unparse(part) if isinstance(part, ast.Call) else ""
            if match := read.fullmatch(code):
                yield path, part.lineno, {"name": match[2], "what": code}


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
        or any(ast.unparse(node) == "os.environ" for node in whole)
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
        given = re.search(rf"(?m)^{name}\s*=", in_files)
        if asked and plain and is_needed and name not in listed and not given:
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
    owners = {ast.unparse(call.func.value) for call in calls}
    for _, call in project.calls("startswith"):
        if ast.unparse(call.func).rpartition(".")[0] in owners:
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
    for path, node in project.nodes(ast.Assign):
        target = ast.unparse(node.targets[0])
        if not re.search(r"(?i)secret_?key", target):
            continue
        if isinstance(node.targets[0], ast.Attribute) and target.startswith("self."):
            continue  # of a thing, not of the app
        code = ast.unparse(node.value)
        again = (
            len(re.findall(rf"(?m)^\s*{re.escape(target)}\s*=", project.text(path))) > 1
        )
        if (
            makers.search(code)
            and not again
            and "environ" not in code
            and "getenv" not in code
        ):
            yield path, node.lineno, {"what": f"SECRET_KEY: {target} = {code[:50]}"}


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
        code = "".join(ast.unparse(node) for node in (*call.args, *call.keywords))
        if "REDIS_URL" in code and not told and "celery" in project.imported:
            yield path, call.lineno, {}


def of_app_json(project):
    """Return the level of what is wrong in app.json, which a push does not read, but a new app does.

    https://devcenter.heroku.com/articles/app-json-schema
    """
    pages = [name for name in project.in_root() if name.endswith(".md")]
    offers = re.compile(r"heroku\.com/deploy\b")
    return "error" if any(offers.search(project.text(p)) for p in pages) else "warning"


@check("H701", step=7)
def app_json_no_json(project):
    if "app.json" in project:
        try:
            json.loads(project.text("app.json"))
        except (ValueError, RecursionError) as error:
            line = getattr(error, "lineno", 0)
            yield "app.json", line, {"error": str(error)}, of_app_json(project)


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
        yield "app.json", line, {"key": key, "right": right}, of_app_json(project)


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
        line = project.app_json_line(name)
        yield "app.json", line, {"name": name}, of_app_json(project)


@check("H704", step=4)
def name_too_long(project):
    name = project.json.get("name")
    if isinstance(name, str) and len(name) > 30:
        details = {"name": name, "length": len(name)}
        line = project.app_json_line("name")
        yield "app.json", line, details, of_app_json(project)


@check("H705", step=9, level="warning")
def variable_without_value(project):
    found = []
    for name, entry in project.app_env.items():
        required = isinstance(entry, dict) and entry.get("required", True)
        explained = required and entry.keys() & {"value", "generator", "description"}
        if required and not explained:
            found.append(name)
    if found:
        yield "app.json", project.app_json_line(found[0]), {"name": several(found)}


def needed(project):
    """Return the pushed files that the platform reads or the web process cannot do without."""
    files = {"Procfile"} | ({".python-version"} if "uv.lock" in project else set())
    named = "FLASK_APP" in project.text(".flaskenv")
    flask = [c for c in project.commands if c.program == "flask" and named]
    if any(not c.option("--app", "-A") for c in flask):
        files |= {".flaskenv"}
    lists = {name for name in FACTS["packages"]["lists"] if name in project}
    files |= {*(lists - project.slugignored or lists), *project.app_trees}
    folders = re.compile(rf"(.*/)?({'|'.join(FACTS['layout']['folders'])})/")
    found = {path for path in project.sizes if path in files or folders.match(path)}
    # From it new migrations are written, which nobody does on a dyno.
    return {path for path in found if not path.endswith(".mako")}


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
