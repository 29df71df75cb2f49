"""Checks of what is kept: the database, the dyno's disk, files that are opened (steps 1 and 7)."""

import ast
import difflib
import json
import posixpath
import re
import tomllib
from collections import Counter

from doctor import FACTS, check
from doctor.files import BINARY, line_at, once
from doctor.imports import newest_allowed
from doctor.loading import ROUTES, Use
from doctor.pages import is_on_start_page, on_start_page
from doctor.project import as_dict, several
from doctor.trees import (
    first_value,
    last_name,
    name_of_target,
    strings,
    unparse,
    walk,
)

CONNECTS, OPENS = frozenset(FACTS["programs"]["connects"]), FACTS["programs"]["opens"]
LATER = FACTS["programs"]["connects_later"]
MAX_PATH = 1_000  # letters
ASYNC_ENGINES = (
    "sqlalchemy.ext.asyncio.create_async_engine",
    "sqlalchemy.ext.asyncio.engine.create_async_engine",
)
READ_AT_ONCE = ("flask_sqlalchemy.SQLAlchemy", "flask_sqlalchemy.SQLAlchemy.init_app")
METHODS = {"read_text": "read", "read_bytes": "read", "write_text": "write", "open": ""}
HOW = {"r": "read", "w": "write", "a": "write", "x": "write"}
# Files that gunicorn writes: its setting, and its option.
GUNICORN_FILES = {"errorlog": "--error-logfile", "accesslog": "--access-logfile"}
GUNICORN_FILES |= {"pidfile": "--pid"}
# Calls that return their argument as a path, and methods that return their owner as one.
JOINED = ("Path", "PurePath", "str", "abspath", "realpath", "normpath", "fspath")


# Classes whose first argument is a file, and all calls that make a database in one.
FILES = ("TinyDB", "SqliteDict", "SqliteDatabase")
DATABASES = (
    "sqlite3.connect",
    "aiosqlite.connect",
    "shelve.open",
    "dbm.open",
    *FILES,
)


@check("H901", step=7, level="warning")
def data_on_the_dyno(project):
    """The dyno's disk is emptied at every restart."""
    found = {}
    for path, line, what in on_disk(project):
        found.setdefault((path, line), what[:60])
    if found:  # once is enough
        yield *next(iter(found)), {"what": several(found.values(), 3)}


def on_disk(project):
    """Yield (path, line, what) of what is written to the dyno's disk."""
    other = project.reads_database_url or project.has_text("django_heroku")
    yield from addresses_of_files(project, only_binds=other)
    yield from saved_uploads(project)
    yield from files_made(project)
    yield from sessions_in_files(project)
    yield from kept_in_memory(project)
    yield from counted(project)
    yield from kept_of_a_visitor(project)
    yield from kept_by_a_helper(project)
    yield from log_in_a_file(project)
    if not other:
        yield from files_of_sqlite(project)
    yield from fields_of_files(project)


def addresses_of_files(project, only_binds):
    """Yield the same of addresses of SQLite, and of Django's way to say so."""
    binds = {
        id(inner)
        for _, _, name, value in named_values(project)
        if name == "SQLALCHEMY_BINDS"
        for part in getattr(value, "values", ())
        for inner in walk(part)
    }
    for path, node in project.texts():
        if only_binds and id(node) not in binds:
            continue
        engine = node.value == "django.db.backends.sqlite3"
        if engine and "django" in project.list.packages:
            yield path, node.lineno, node.value
        if re.match(r"sqlite(\+\w+)?:/*(?!/*:memory:)[^/]|sqlite:///$", node.value):
            yield path, node.lineno, node.value


def log_in_a_file(project):
    """Yield the same of logging.basicConfig(filename=…): `heroku logs` shows nothing of it."""
    aside = inside_conditions(project)
    shown = project.has_text("StreamHandler")
    for use in () if shown else project.running.loading.calls:
        words = {word.arg: word.value for word in use.node.keywords}
        name = constant(project, use.path, words.get("filename"))
        in_file = isinstance(name, str) and not name.startswith("/dev/")
        if use.of == "logging.basicConfig" and in_file and id(use.node) not in aside:
            yield use.path, use.node.lineno, unparse(use.node)


def saved_uploads(project):
    """Yield the same of file.save() of what a visitor sends, and of workbooks that are read again."""
    sheets = project.calls_any("load_workbook")
    for path, node in project.calls("save"):
        code = unparse(node)
        given = unparse(node.args[0]) if node.args else ""
        names = re.findall(r"(?<!\.)\b[^\W\d]\w*", given)
        source = values_of(project, path, names)
        aside = "BytesIO" in source or re.search("(?i)tmp|temp", given + source)
        kept = re.search(r"(?i)upload|\bstatic\b|static_folder", code + source)
        # photo.save(folder / secure_filename(photo.filename))
        owner = unparse(getattr(node.func, "value", node.func))
        removed = re.search(r"os\.remove\(|\.unlink\(|rmtree\(", project.text(path))
        sent = "request.files" in values_of(project, path, [owner])
        kept = kept or (sent or f"{owner}.filename" in code) and not removed
        # A workbook that is kept from visit to visit.
        kept = kept or re.search(r"\.xlsx?\b|load_workbook", code + source) and sheets
        if kept and node.args and not aside and not path.startswith("deploy/"):
            yield path, node.lineno, code


def files_made(project):
    """Yield the same of files that code opens for writing, and of databases that are a file."""
    for path, node in project.calls("connect", "open", "dump_all", *FILES):
        name, code = first_value(node), unparse(node.func)
        reads = code in ("open", "sqlite3.connect", "aiosqlite.connect")
        if reads and name is None and node.args and "/deploy/" not in f"/{path}":
            name = path_of(project, path, node.args[0])
        # open(folder / file.filename, "wb"), of what a visitor sends
        given = unparse(node.args[0]) if code == "open" and node.args else ""
        sent = re.search(r"(?<!\bself)\.filename\b", given)
        kept = sent and not re.search(r"(?i)tmp|temp", unparse(node))
        if name is None and kept and re.match("[wax]", mode_of(node)):
            yield path, node.lineno, f"open({unparse(node.args[0])})"
        # A folder and a name, whatever they are.
        kept = last_name(node.func) in FILES and isinstance(
            node.args[:1] and node.args[0], ast.BinOp
        )
        if name is None and kept and not re.search("(?i)tmp|temp", unparse(node)):
            yield path, node.lineno, unparse(node)[:60]
        if not isinstance(name, str) or re.match(r"/tmp|:memory:|/dev/|.*\.pid$", name):
            continue
        writes = code == "open" and re.match(r"[wax]|r\+", mode_of(node))
        named = code == "connect" and name.endswith((".db", ".sqlite", ".sqlite3"))
        if writes or named or code in DATABASES:
            yield path, node.lineno, f"{code}({name!r})"
    for path, node in project.calls("write_text", "write_bytes"):
        name = path_of(project, path, getattr(node.func, "value", None))
        if name and "/deploy/" not in f"/{path}":
            yield path, node.lineno, f"{unparse(node.func)}() ({name})"


def sessions_in_files(project):
    for path, node, name, value in named_values(project):
        kept = name == "SESSION_TYPE" and getattr(value, "value", "") == "filesystem"
        if kept and "flask_session" in project.imported:
            yield path, node.lineno, f'{name} = "filesystem"'


def files_of_sqlite(project):
    """Yield the same of sqlite3.connect() of a name, where a text may be what it stands for."""
    ends = re.compile(r"(?!django\.).*\.(db|sqlite3?)")
    files = sorted(filter(ends.fullmatch, project.constants))
    for path, node in project.calls("connect") if files else ():
        if unparse(node.func) == "sqlite3.connect" and first_value(node) is None:
            yield path, node.lineno, f"sqlite3.connect({files[0]})"


def fields_of_files(project):
    """Yield the same of Django's fields for files, unless a storage of elsewhere is used."""
    elsewhere = re.compile(r"(?i)storages|cloudinary|\bS3|boto3|gcloud")
    far = any(map(elsewhere.search, [*project.list.packages, *project.imported]))
    if "MEDIA_ROOT" in project.running.settings and not far:
        for path, node in project.calls("FileField", "ImageField"):
            if unparse(node.func).startswith("models."):
                yield path, node.lineno, unparse(node)


def named_values(project):
    """Yield (path, node, name, value) of what code gives a name: NAME = …, f(name=…), {"name": …}."""
    for path, node in project.nodes(ast.Assign, ast.keyword, ast.Dict):
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                yield path, value, getattr(key, "value", ""), value
        elif isinstance(node, ast.keyword):
            yield path, node.value, node.arg or "", node.value
        else:
            yield path, node, name_of_target(node), node.value


def kept_in_memory(project):
    """Yield (path, line, name) of the lists and dicts of a module that a view adds records to."""
    for module, function, route, _ in project.running.loading.views:
        posts = route.func.attr in ("post", "put") or "POST" in unparse(route)
        tree = project.trees.get(module.path)
        kept = {
            node.targets[0].id
            for node in (tree.body if tree and posts else ())
            if isinstance(node, ast.Assign)
            and is_collection(node.value)
            and isinstance(node.targets[0], ast.Name)
        }
        for node in walk(function) if kept else ():
            owner = None
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                adds = node.func.attr in ("append", "insert", "extend")
                owner = getattr(node.func.value, "id", None) if adds else None
            elif isinstance(node, ast.Assign) and isinstance(
                node.targets[0], ast.Subscript
            ):
                owner = getattr(node.targets[0].value, "id", None)
            if owner in kept:
                yield module.path, node.lineno, owner


def counted(project):
    """Yield the same of what views and hooks count in a module: visits[path] += 1."""
    for path, function in project.nodes(ast.FunctionDef, ast.AsyncFunctionDef):
        marks = [last_name(getattr(n, "func", n)) for n in function.decorator_list]
        asked = [name for name in marks if name in ROUTES or name.endswith("_request")]
        if path.startswith("deploy/") or not asked:
            continue
        nodes = [*walk(function)]
        shared = {
            n for node in nodes if isinstance(node, ast.Global) for n in node.names
        }
        for node in nodes:
            if not isinstance(node, ast.AugAssign) or not isinstance(node.op, ast.Add):
                continue
            owner = getattr(node.target, "value", node.target)
            name = getattr(owner, "id", "")
            made = only_value(project, path, name) if name else None
            kept = owner is not node.target and is_collection(made)
            if name in shared or kept:
                yield path, node.lineno, name
                return


def is_collection(value):
    """Tell whether a value is a dict or a list, or is made as one: {"yes": 0}, Counter()."""
    return isinstance(value, (ast.List, ast.Dict)) or is_empty(value)


def is_empty(value):
    """Tell whether a value is a dict or a list that has nothing yet: {}, defaultdict(list)."""
    kinds = ("Counter", "defaultdict", "dict", "list", "OrderedDict", "deque", "set")
    made = isinstance(value, ast.Call) and last_name(value.func) in kinds
    inside = getattr(value, "keys", None) or getattr(value, "elts", None)
    return made or isinstance(value, (ast.List, ast.Dict)) and not inside


def kept_of_a_visitor(project):
    """Yield the same of carts[session["visitor"]], where carts is a module's own."""
    for path, node in project.nodes(ast.Subscript):
        name = getattr(node.value, "id", "")
        own = name and is_empty(only_value(project, path, name))
        if own and re.search(r"\b(session|current_user)\b", unparse(node.slice)):
            yield path, node.lineno, name
            return


def kept_by_a_helper(project):
    """Yield the same of rooms[name] = …, where a view for POST calls the function that says so."""
    called = {
        last_name(call.func)
        for _, function, route, _ in project.running.loading.views
        if route.func.attr in ("post", "put") or "POST" in unparse(route)
        for call in walk(function)
        if isinstance(call, ast.Call)
    }
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    for path, function in project.nodes(*kinds):
        own = function.name in called and not path.startswith("deploy/")
        for node in walk(function) if own else ():
            target = node.targets[0] if isinstance(node, ast.Assign) else None
            name = getattr(getattr(target, "value", None), "id", "")
            key = getattr(target, "slice", None)
            memo = re.search(r"(?i)cache|memo|regist|handlers", name)
            kept = key and name and not memo and not isinstance(key, ast.Constant)
            if kept and is_empty(only_value(project, path, name)):
                yield path, node.lineno, name
                return


def mode_of(call, at=1):
    """Return how a call of open() opens a file, "" where nobody knows. at: where it is told."""
    given = [
        *call.args[at : at + 1],
        *(w.value for w in call.keywords if w.arg == "mode"),
    ]
    mode = getattr(given[0], "value", None) if given else "r"
    return mode if isinstance(mode, str) else ""


@check("H908", step=7)
def database_of_this_computer(project):
    """A connection to localhost: on a dyno nothing answers there, at the start or later."""
    local = r"(localhost|127\.0\.0\.1)\b"
    here = re.compile(rf"(?:.*@|[\w+]+://)?{local}.*|.*\bhost={local}.*")

    def host(path, node):
        given = [*node.args, *(word.value for word in node.keywords)]
        values = [constant(project, path, value) for value in given]
        found = [here.match(value) for value in values if isinstance(value, str)]
        return next((match[1] or match[2] for match in found if match), "")

    for use in project.running.loading.calls:
        at_once = use.of in CONNECTS and "try" not in use.guards
        if at_once and (name := host(use.path, use.node)):
            what = f"{unparse(use.node.func)}({name})"
            yield use.path, use.node.lineno, {"what": what}
    guarded = inside_conditions(project)
    settings = "DATABASES" in project.running.settings
    made = [p for p in named_values(project) if p[2] == "DATABASES"] if settings else []
    for path, node, _, value in made if len(made) == 1 else ():
        code = unparse(value)
        served = re.search(r"backends\.(postgresql|mysql)", code)
        local = re.search(r"'HOST': '(localhost|127\.0\.0\.1)'", code)
        other = id(node) in guarded or "DATABASES[" in project.text(path)
        if served and local and not other and not project.reads_database_url:
            migrates = any("migrate" in command.text for command in project.commands)
            details = {"what": f"DATABASES ({local[1]})"}
            yield path, node.lineno, details, "error" if migrates else "warning"
    mail = "flask_mail" in project.imported
    for path, node, name, value in named_values(project) if mail else ():
        local = getattr(value, "value", "") in ("localhost", "127.0.0.1")
        if name == "MAIL_SERVER" and local and id(node) not in guarded:
            yield path, node.lineno, {"what": 'MAIL_SERVER = "localhost"'}, "warning"
    # alembic.ini of a laptop, where env.py reads nothing else.
    for command in [c for c in project.commands if c.program == "alembic"]:
        file = command.path(command.option("-c", "--config") or "alembic.ini")
        text = project.text(file)
        url = re.search(r"(?m)^sqlalchemy\.url\s*=\s*(\S+)", text)
        place = re.search(r"(?m)^script_location\s*=\s*(\S+)", text)
        folder = posixpath.normpath(place[1].replace("%(here)s", ".")) if place else ""
        env = project.text(f"{folder}/env.py")
        other = re.search(
            r"environ|getenv|set_main_option|get_url|settings|DATABASE_URL|create_", env
        )
        if (
            "upgrade" in command.arguments
            and url
            and here.match(url[1])
            and env
            and not other
        ):
            line = line_at(text, url.start())
            yield file, line, {"what": "alembic.ini (localhost)"}
    # load_dotenv("team.env", override=True): what stands there takes the place of config vars.
    for use in project.running.loading.calls:
        over = any(
            w.arg == "override" and unparse(w.value) == "True"
            for w in use.node.keywords
        )
        file = use.of == "dotenv.load_dotenv" and over and use.node.args
        file = file and path_of(project, use.path, use.node.args[0])
        for name in full_paths(project, use, file) if file else ():
            for number, line in project.lines(name) if name in project else ():
                key, _, value = line.partition("=")
                local = here.match(value.strip().strip("\"'"))
                if key.removeprefix("export ").strip() == "DATABASE_URL" and local:
                    yield name, number, {"what": line.strip()[:20] + "…"}
    for path, node in project.calls(*LATER):
        sure = project.is_sure(path) and id(node) not in guarded
        used = LATER[last_name(node.func)] in project.imported
        if sure and used and (name := host(path, node)):
            what = f"{unparse(node.func)}({name})"
            yield path, node.lineno, {"what": what}, "warning"


@check("H919", step=7)
def address_in_code(project):
    """The address of the database, written into the code: this computer's, or of a misspelt kind."""
    old = (newest_allowed(project, "sqlalchemy") or (9999,)) < (1, 4)
    known = {*FACTS["programs"]["dialects"], *({"postgres"} if old else ())}
    for path, node, text in addresses(project):
        kind, _, rest = text.partition("://")
        kind = kind.partition("+")[0]
        near = difflib.get_close_matches(kind, known, 1, 0.75)
        here = re.match(r"([^@/]*@)?(localhost|127\.0\.0\.1)\b", rest)
        if kind not in known and near:
            yield path, node.lineno, {"what": f"{kind}:// ({near[0]}://)"}
        elif here and kind in ("postgresql", "mysql", "mariadb"):
            details = {"what": f"{kind}://…@{here[2]}"}
            asks = on_start_page(project, asks_database)
            yield path, node.lineno, details, "error" if asks else "warning"


def addresses(project):
    """Yield (path, node, text) of the addresses that the code surely opens: no variable, no condition."""
    guarded = inside_conditions(project)
    for use in project.running.loading.calls:
        makes = isinstance(use.of, str) and use.of.endswith("create_engine")
        text = first_value(use.node) if makes and "try" not in use.guards else None
        if isinstance(text, str) and id(use.node) not in guarded:
            yield use.path, use.node, text
    found = {}
    for path, node in project.nodes(ast.Assign):
        named = name_of_target(node) == "SQLALCHEMY_DATABASE_URI"
        if named and "flask_sqlalchemy" in project.imported:
            found[path, node] = getattr(node.value, "value", None)
    other = ("from_prefixed_env", "from_envvar", "from_pyfile", "from_file")
    told = project.reads_database_url or project.calls_any(*other)
    if len(found) == 1 and not told:
        (((path, node), text),) = found.items()
        if isinstance(text, str) and id(node) not in guarded:
            yield path, node, text


@once
def inside_conditions(project):
    """Return the ids of the nodes that something else may take the place of."""
    found = set()
    for _, node in project.nodes(ast.If, ast.Try, ast.IfExp, ast.BoolOp):
        if id(node) not in found:  # what stands in another one is known already
            found.update(map(id, walk(node)))
    return found


def asks_database(call):
    """Tell whether a call is one that a query ends with."""
    code = unparse(call.func)
    last = code.rpartition(".")[2]
    reads = ("all", "first", "count", "paginate", "scalar", "scalars", "execute", "get")
    return last in reads and re.search(r"\b(query|session|connection|conn)\b", code)


@check("H917", step=7, level="warning")
def tables_that_nobody_makes(project):
    """db.create_all() below `if __name__ == "__main__"`, which no server comes to, and no migrations."""
    calls = list(project.calls("create_all"))
    if not calls:
        return
    made = [last_name(use.node.func) for use in project.running.loading.calls]
    at_start = "create_all" in made
    texts = [c.text for c in project.commands] + [str(project.json.get("scripts"))]
    below = {
        id(inner)
        for _, node in project.nodes(ast.If)
        if "__name__" in unparse(node.test)
        for inner in walk(node)
    }
    served = project.running.served_modules
    only_there = all(id(node) in below for _, node in calls)
    by_hand = any(re.search(r"flask db|upgrade|python", text) for text in texts)
    if only_there and served and not (at_start or by_hand or project.has_migrations):
        path, node = calls[0]
        yield path, node.lineno, {}


@check("H924", step=7)
def rows_before_there_are_tables(project):
    """Book.query.count() as the app loads, where `flask db upgrade` loads the app to make the tables."""
    loading = project.running.loading
    made = any(last_name(use.node.func) == "create_all" for use in loading.calls)
    upgrades = [
        command
        for command, _ in project.running.roots
        if command.program == "flask" and {"db", "upgrade"} <= {*command.arguments}
    ]
    # A script of one's own, which is started for that, runs behind them.
    scripts = [
        root
        for command, root in project.running.roots
        if command.type != "web" and command not in upgrades
    ]
    if made or not upgrades or not project.has_migrations:
        return
    for use in loading.calls:
        asks = isinstance(use.of, str) and re.fullmatch(ASKED, use.of)
        plain = not {"try", "thread"} & use.guards
        inner = use.path.startswith(("deploy/", "migrations/", "alembic/"))
        aside = loading.root_of.get(id(use.node)) in scripts
        sql = " ".join(strings(use.node))  # SELECT 1 asks for no table
        aside = aside or sql and not re.search(r"(?i)\b(from|into|update)\b", sql)
        if asks and plain and not (aside or inner):
            yield use.path, use.node.lineno, {"what": unparse(use.node)[:60]}
            return


ASKED = (
    r"flask_sqlalchemy\.SQLAlchemy\.(Model\.query\b.*\.|session\.query\b.*\.)"
    r"(all|first|count|get|scalar|one|one_or_none)"
    r"|flask_sqlalchemy\.SQLAlchemy\.session\.(execute|scalars?|get)"
)


@check("H925", step=7, level="warning")
def tables_made_before_the_models(project):
    """db.create_all() before the file with the models is imported: it makes none."""
    loading = project.running.loading
    calls = [use for use in loading.calls if id(use.node) in loading.known_at]
    models = [use.of for use in loading.classes]
    if len(calls) != 1 or len(list(project.calls("create_all"))) != 1:
        return
    known = loading.known_at[id(calls[0].node)]
    other = project.has_migrations or any(
        "CREATE TABLE" in t for t in project.constants
    )
    if not other and any(models[known:]) and not any(models[:known]):
        asks = on_start_page(project, asks_database)
        yield calls[0].path, calls[0].node.lineno, {}, "error" if asks else "warning"


@check("H920", step=7, level="warning")
def database_without_its_app(project):
    """A second SQLAlchemy(), as tutorials begin with it: no init_app() tells it of the app."""
    calls = project.running.loading.calls
    made = [use for use in calls if use.of == "flask_sqlalchemy.SQLAlchemy"]
    alone = [
        use
        for use in made
        if not use.node.args and not {w.arg for w in use.node.keywords} & {"app", None}
    ]
    told = [use for use in calls if use.of == "flask_sqlalchemy.SQLAlchemy.init_app"]
    if len(alone) > max(len(told), 1) and told and not project.running.flexible:
        last = max(alone, key=lambda use: (use.path != "database.py", use.path))
        yield last.path, last.node.lineno, {"others": several([u.path for u in alone])}


@check("H918", step=7)
def encryption_that_does_not_fit(project):
    """sslmode=disable, which the platform's database refuses; verify-…, for which a file is needed."""
    guarded = inside_conditions(project)
    root = project.has_keyword("sslrootcert") or project.has_text("sslrootcert")
    for path, word in project.nodes(ast.keyword):
        mode = getattr(word.value, "value", None)
        wrong = mode == "disable" or mode in ("verify-full", "verify-ca") and not root
        here = word.arg == "sslmode" and id(word) not in guarded
        if here and wrong and project.reads_database_url and project.is_sure(path):
            yield path, word.value.lineno, {"what": f'sslmode="{mode}"'}
    made = project.calls("create_engine") if project.reads_database_url else ()
    for path, call in made:
        words = {word.arg: word.value for word in call.keywords}
        given = words.get("connect_args")
        given = (
            only_value(project, path, given.id)
            if isinstance(given, ast.Name)
            else given
        )
        keys = [getattr(key, "value", "") for key in getattr(given, "keys", ())]
        address = call.args[0] if call.args else None
        if isinstance(address, ast.Name):
            address = only_value(project, path, address.id)
        if str(getattr(address, "value", "")).startswith("sqlite"):
            continue  # which takes it
        if "check_same_thread" in keys and id(given) not in guarded:
            details = {"what": 'connect_args=("check_same_thread": …)'}
            level = "error" if project.is_sure(path) else "warning"
            yield path, call.lineno, details, level
    for path, node in project.texts():
        mode = re.fullmatch(r"[?&]sslmode=(disable|verify-full|verify-ca)", node.value)
        wrong = mode and (mode[1] == "disable" or not root)
        if wrong and id(node) not in guarded and project.is_sure(path):
            yield path, node.lineno, {"what": node.value}


@check("H519", step=7)
def database_told_too_late(project):
    """SQLAlchemy(app), and app.config[…] after it: Flask-SQLAlchemy 3 reads the address at once."""
    version = newest_allowed(project, "flask-sqlalchemy") or (0,)
    for use in project.running.loading.calls if version >= (3,) else ():
        name = getattr(next(iter(use.node.args), None), "id", None)
        if use.of not in READ_AT_ONCE or not name or "try" in use.guards:
            continue
        made = only_value(project, use.path, name)
        if not isinstance(made, ast.Call) or last_name(made.func) != "Flask":
            continue
        touched = [
            n for n in project.all_nodes(use.path) if getattr(n, "id", "") == name
        ]
        if not any(made.end_lineno < n.lineno < use.node.lineno for n in touched):
            yield use.path, use.node.lineno, {"call": unparse(use.node)}


@check("H225", step=7)
def driver_that_cannot_wait(project):
    """create_async_engine() of a plain postgresql://, which is psycopg2's up to SQLAlchemy 2.0."""
    version = newest_allowed(project, "sqlalchemy") or (9999,)
    chosen = any(re.search(r"\+\w|\+$", text) for text in project.constants)
    drivers = re.findall(r"(?m)^postgres(?:ql)?\+(\w+)", "\n".join(project.constants))
    sync = drivers and {*drivers} <= {"psycopg2", "pg8000"}
    for use in project.running.loading.calls:
        asks = use.of in ASYNC_ENGINES and not chosen
        code = project.text(use.path)
        if use.of in ASYNC_ENGINES and "+asyncpg" in code and "sslmode=" in code:
            added = re.search(r"\+ *f?['\"][?&]sslmode=", unparse(use.node))
            level = "error" if added else "warning"
            yield use.path, use.node.lineno, {"call": "asyncpg, sslmode="}, level
        if use.of in ASYNC_ENGINES and sync and "try" not in use.guards:
            yield use.path, use.node.lineno, {"call": f"{drivers[0]}, async"}
        old = version < (2, 1) and "DATABASE_URL" in project.constants
        if asks and old and "try" not in use.guards:
            yield use.path, use.node.lineno, {"call": unparse(use.node)[:60]}


@check("H119", step=1)
def file_opened_at_the_start(project):
    """open("data.csv") of a file that is not pushed, or by a path of Windows."""
    for path, line, name, level in not_brought(project):
        if not posixpath.basename(name).startswith(".env"):  # H513 names it
            yield path, line, {"name": name}, level
    yield from sent_and_not_there(project)


def sent_and_not_there(project):
    """Yield the same of files that a view sends, in a folder that is named."""
    # A chart that is drawn on each visit.
    writes = ("makedirs", "mkdir", "savefig", "save", "write_text", "write_bytes")
    calls = [*project.calls(*writes)]
    calls += [c for c in project.calls("open") if mode_of(c[1])[:1] in ("w", "x", "a")]
    own = [path for path, _ in calls if path[:7] != "deploy/"]
    built = any("build" in text for text in project.shell_texts)
    if own or built or "package.json" in project:
        return
    sent = list(sent_files(project))
    for path, call, folder, file in sent:
        known = isinstance(folder, str) and isinstance(file, str)
        if not known or folder[:1] in "/~":
            continue
        name = posixpath.normpath(f"{folder}/{file}")
        ends = f"/{name}".rpartition("../")[2]
        there = any(f"/{other}".endswith(ends) for other in project.sizes)
        times = sum(n for _, n in project.texts_ending(posixpath.basename(name)))
        named_again = times > [other[-1] for other in sent].count(file)
        if not (there or named_again or "instance" in name) and "/" in name:
            alone = all("python" in buildpack for buildpack in project.buildpacks)
            sure = alone and is_on_start_page(project, call)
            yield path, call.lineno, {"name": name}, "error" if sure else "warning"


def sent_files(project):
    """Yield (path, call, folder, file) of send_from_directory() and the like; None for what is not known."""
    static, apps = None, list(project.calls("Flask"))
    of_parts = {
        id(target)
        for _, node in project.nodes(ast.Assign)
        for target in node.targets
        if getattr(target, "attr", "") == "static_folder"
    }
    if len(apps) == 1 and len(apps[0][1].args) < 2 and not of_parts:
        words = {word.arg: word.value for word in apps[0][1].keywords}
        static = "static"
        if "static_folder" in words:
            static = getattr(words["static_folder"], "value", None)
    for path, call in project.calls("send_from_directory", "send_static_file"):
        owner = getattr(call.func, "value", None)
        parts = [getattr(part, "value", None) for part in call.args[:2]]
        if last_name(call.func) == "send_static_file" and len(parts) == 1:
            parts = [static if is_app(owner) else None, *parts]
        elif parts and getattr(call.args[0], "attr", "") == "static_folder":
            parts[0] = static if is_app(call.args[0].value) else None
        if len(parts) == 2:
            yield path, call, *parts


def is_app(node):
    """Tell whether an expression is the app by its name, and no blueprint."""
    return last_name(node) in ("app", "current_app", "application")


@check("H114", step=1, level="warning")
def only_a_pointer(project):
    """Where the file is read at the start, what reads it stops at the pointer's words."""
    if any("lfs" in buildpack for buildpack in project.buildpacks):
        return
    found = [p for p in sorted(project.contents) if is_pointer(project, p)]
    read = {
        p for p in read_at_start(project) if found and p.endswith((*BINARY, ".json"))
    }
    for path in sorted(found, key=lambda path: (path not in read, path))[:1]:
        yield path, 0, {"name": path}, "error" if path in read else "warning"


def is_pointer(project, path):
    mark = b"version https://git-lfs.github.com/spec/v1"
    return project.contents[path].startswith(mark)


@once
def read_at_start(project):
    """Return {path: path of the code} of what is surely read before the app is up."""
    found = {}
    for use, how, argument in opened(project):
        place = path_of(project, use.path, argument)
        if place and how == "read" and not {"later", "try"} & use.guards:
            found |= dict.fromkeys(full_paths(project, use, place), use.path)
    return found


# Code that reads a whole file as JSON, and one that reads it as TOML.
JSON_LOADED = re.compile(
    r"(?<![\w.])json\.(load\(|loads\([^\n]*\.read(_text|_bytes)?\()"
)
TOML_LOADED = re.compile(r"(?<![\w.])tomllib\.(load\(|loads\([^\n]*\.read(_text)?\()")


@check("H153", step=1)
def data_that_cannot_be_read(project):
    """A JSON or TOML file that code reads at the start, and that is none."""
    readers = {"json": JSON_LOADED, "toml": TOML_LOADED}
    for path, code in sorted(read_at_start(project).items()):
        pattern = readers.get(path.rpartition(".")[2])
        there = path in project.contents and not is_pointer(project, path)
        there = there and not re.search(r"loads\(\s*re\.sub", project.text(code))
        if not (pattern and there and pattern.search(project.text(code))):
            continue
        try:
            content = project.contents[path].decode("utf-8")
            if pattern is TOML_LOADED:
                tomllib.loads(content)
            elif "json5" not in project.imported and not is_json_lines(content):
                json.loads(content.removeprefix("\ufeff"))
        except UnicodeDecodeError:
            continue  # it may be opened with an encoding of its own
        except (ValueError, RecursionError) as error:
            yield path, getattr(error, "lineno", 0), {"name": path, "what": str(error)}


def is_json_lines(text):
    """Tell whether every line of a text is JSON by itself."""
    try:
        for line in filter(None, text.split("\n")):
            json.loads(line)
    except ValueError:
        return False
    return True


@once
def not_brought(project):
    """Yield (path, line, name, level) of what is opened and not brought by a push."""
    for use, how, argument in opened(project):
        foreign = elsewhere(argument) if how == "read" else ""
        place = path_of(project, use.path, argument) or foreign
        if not place:
            continue
        slashes = place.replace("\\", "/").lstrip("/")
        windows = place != slashes and re.match("[A-Za-z]:", slashes)
        windows = windows or "\\" in place and slashes in project
        sure = not {"later", "try"} & use.guards
        whole = windows or foreign
        paths = [place] if whole else list(full_paths(project, use, place))
        if how == "write" and not windows:
            paths = [folder for p in paths if (folder := posixpath.dirname(p))]
        above = place.startswith("../") and how == "read" and sure and not windows
        if above and not any(
            "cd " in c.text or "chdir" in c.text for c in project.commands
        ):
            # The platform starts everything in the root: above it there is nothing.
            yield use.path, use.node.lineno, place, "error"
            continue
        left = {p for p in paths if p not in project.slugignored}
        there = any(p in project or project.has_folder(p) for p in left)
        if not paths or there or how != "read" and not sure and not windows:
            continue
        name = paths[0] if how == "read" else f"{paths[0]}/"
        alone = made_nowhere(project, use, how, argument, paths[0])
        on_disk = project.in_git and not whole and any(map(project.in_folder, paths))
        if windows or alone and (sure or foreign):
            yield use.path, use.node.lineno, name, "error" if sure else "warning"
        elif how == "read" and on_disk:
            # In deploy/ nothing is made by the app.
            level = "error" if sure and name.startswith("deploy/") else "warning"
            yield use.path, use.node.lineno, name, level


@check("H154", step=1)
def written_where_nobody_may(project):
    """A log file in /var/log and the like, opened at the start: a dyno's user may write to /app and /tmp only."""
    places = re.compile(r"/(home|Users|var/(?!tmp/)\w+|srv|root|mnt|etc|opt|usr)/")
    for use, how, argument in opened(project):
        text = getattr(argument, "value", "")
        there = how != "read" and isinstance(text, str) and places.match(text)
        there = there and use.of != "logging.config.dictConfig"
        if there and not {"later", "try"} & use.guards:
            yield use.path, use.node.lineno, {"name": text}
    for command in [c for c in project.commands if c.program == "gunicorn"]:
        for setting, option in GUNICORN_FILES.items():
            name = command.option(option) or project.gunicorn_setting(command, setting)
            if places.match(name or ""):
                yield *command.place, {"name": name}
                break


def elsewhere(argument):
    """Return an absolute path that is one of another computer's, "" for any other."""
    text = getattr(argument, "value", "")
    # Of /etc what a program of one's own has put there: the system's own files are on a dyno, too.
    foreign = r"/(home|Users|var/www|srv|root|mnt)/|/etc/(?!ssl/).*\.(json|ya?ml|toml|ini|env)$"
    return text if isinstance(text, str) and re.match(foreign, text) else ""


def opened(project):
    """Yield (Use, "read", "write" or "folder", argument) of the calls that open something."""
    uses = project.running.loading.calls
    seen = {id(use.node) for use in uses}
    later = project.calls("open", "send_file")
    later = [c for c in later if id(c[1]) not in seen]
    uses = [*uses, *(Use(*c, None, None, frozenset({"later"})) for c in later)]
    for use in uses:
        func, given = use.node.func, {w.arg: w.value for w in use.node.keywords}
        row = OPENS.get(use.of) if isinstance(use.of, str) else None
        arguments, how = use.node.args, row and row["how"]
        if last_name(func) == "send_file" and "later" in use.guards:
            row, how = {}, "read"
        elif getattr(func, "id", "") == "open" and use.of is None:
            mode, row = mode_of(use.node), {}
            how = None if mode[:1] == "r" and "+" in mode else HOW.get(mode[:1])
        elif getattr(func, "attr", "") in METHODS and row is None:
            mode = mode_of(use.node, 0)
            own = None if mode[:1] == "r" and "+" in mode else HOW.get(mode[:1])
            row, how, arguments = {}, METHODS[func.attr] or own, [func.value]
        position = row.get("at", 0) if row is not None else 0
        argument = given.get(row.get("key", "file")) if row is not None else None
        argument = argument or next(iter(arguments[position : position + 1]), None)
        if how and argument and not {"delay", "check_dir"} & set(given):
            yield use, how, argument
        elif use.of == "logging.config.dictConfig" and arguments:
            named = getattr(arguments[0], "id", "")
            settings = only_value(project, use.path, named) if named else arguments[0]
            for part in walk(settings) if settings else ():
                keys = [getattr(k, "value", 0) for k in getattr(part, "keys", ())]
                if "filename" in keys and "delay" not in keys:
                    yield use, "write", part.values[keys.index("filename")]


def full_paths(project, use, place):
    """Yield a path from the project's root, for each folder where the code may run."""
    if project.calls_any("chdir") and not place.startswith("/"):
        return
    for folder in project.running.folders_of(use.module) or {""}:
        path = posixpath.normpath(posixpath.join("/", folder, place)[1:])
        outside = posixpath.normpath(posixpath.join(folder, place)).startswith("..")
        if not outside and path != "." and not re.match(r"~|[a-z]{2,}:", path):
            yield path


def made_nowhere(project, use, how, argument, path):
    """Tell whether nothing seems to make a file before it is read, or a folder."""
    name = posixpath.basename(path)
    commands = [text for _, text in project.procfile.values()]
    texts = [*project.shell_texts, *commands]
    if "package.json" in project or any(name in text for text in texts):
        return False
    if how != "read":
        made = project.calls("makedirs", "mkdir")
        return all(path.startswith("deploy/") for path, _ in made)
    looks = {"exists", "isfile", "is_file", "touch"}
    calls = {
        last_name(call.func) for p, call in project.nodes(ast.Call) if p == use.path
    }
    if isinstance(argument, ast.Name):
        names = [node for _, node in project.nodes(ast.Name) if node.id == argument.id]
        return len(names) == 2 and not looks & calls  # where it is bound, and here
    ends = [count for text, count in project.texts_ending(name)]
    return sum(ends) == 1 and not looks & calls


def path_of(project, path, node):
    """Return the path that an expression stands for, None if unknown; "/x" is in the root."""

    def up(path, count=1):
        for _ in range(count):
            path = posixpath.dirname(path) if path not in (None, "", "/") else None
        return path

    def joined(nodes):
        parts = [path_of(project, path, part) for part in nodes]
        return None if None in parts else posixpath.join("", *parts)

    match node:
        case ast.Constant(value=str(text)):
            text = text.removeprefix("/app")
            absolute = text.startswith("/") and text == node.value
            return None if absolute else text.removeprefix("./")
        case ast.Name(id="__file__"):
            return f"/{path}"
        case ast.Name(id=name):
            key, value = (path_of, path, name), only_value(project, path, name)
            if not value or value.lineno >= node.lineno:  # which also ends every circle
                return None
            if key not in project.memory:
                known = path_of(project, path, value)
                project.memory[key] = known if len(known or "") < MAX_PATH else None
            return project.memory[key]
        case ast.Attribute(value=inner, attr="parent"):
            return up(path_of(project, path, inner))
        case ast.Subscript(
            value=ast.Attribute(value=inner, attr="parents"),
            slice=ast.Constant(value=int(count)),
        ):
            return up(path_of(project, path, inner), count + 1)
        case ast.BinOp(left=left, op=ast.Div(), right=right):
            return joined([left, right])
        case ast.Call(func=ast.Attribute(value=owner, attr=("resolve" | "absolute"))):
            return path_of(project, path, owner)
        case ast.Call(func=ast.Attribute(value=owner, attr="joinpath"), args=args):
            return joined([owner, *args])
        case ast.Call(func=ast.Attribute(value=owner, attr="with_name"), args=[name]):
            beside, name = (
                up(path_of(project, path, owner)),
                path_of(project, path, name),
            )
            return posixpath.join(beside, name) if beside and name else None
        case ast.Call(func=func, args=[inner]) if last_name(func) == "dirname":
            return up(path_of(project, path, inner))
        case ast.Call(func=func, args=args):
            name, joins = last_name(func), unparse(func).endswith("path.join")
            return joined(args) if args and (name in JOINED or joins) else None
    return None


def values_of(project, path, names):
    """Return the code of what names of a file stand for, those that are bound once."""
    values = [only_value(project, path, name) for name in names]
    return " ".join(unparse(value) for value in values if value)


def only_value(project, path, name):
    """Return what a name of a file stands for, None where it is bound more than once."""
    key = (only_value, path)
    if key not in project.memory:
        nodes = project.all_nodes(path)
        stores = [n for n in nodes if isinstance(n, (ast.Name, ast.arg))]
        stores = [n for n in stores if not isinstance(getattr(n, "ctx", 0), ast.Load)]
        times = Counter(getattr(n, "id", getattr(n, "arg", "")) for n in stores)
        project.memory[key] = {
            node.targets[0].id: node.value
            for node in nodes
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
            if times[node.targets[0].id] == 1
        }
    return project.memory[key].get(name)


def constant(project, path, node):
    """Return the value of a constant, or of a name that stands for one; None otherwise."""
    if isinstance(node, ast.Name):
        node = only_value(project, path, node.id)
    return getattr(node, "value", None)


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


@check("H902", step=7, level="warning")
def too_many_connections(project):
    """Workers × min(threads, pool) × dynos, against the 20 of the smallest plan: once all are at work.

    Only gunicorn's numbers are known here; of other servers nothing is said.
    """
    uses = {"sqlalchemy", "flask-sqlalchemy"} & project.available[0]
    found = [
        command
        for command in project.commands
        if command.type == "web" and command.program == "gunicorn"
    ]
    if not found or not uses:
        return
    command = found[-1]
    known = {"workers": 2, "threads": 1, "pool_size": 5, "max_overflow": 10}
    known |= numbers(project, known)
    for name, options in (
        ("workers", ("--workers", "-w")),
        ("threads", ("--threads",)),
    ):
        value = command.option(*options) or ""
        if re.fullmatch(r"\d{1,4}", value):
            known[name] = int(value)
    threads = min(known["threads"], known["pool_size"] + known["max_overflow"])
    web_dynos = as_dict(as_dict(project.json.get("formation")).get("web"))
    dynos = web_dynos.get("quantity", 1)
    total = known["workers"] * threads * (dynos if isinstance(dynos, int) else 1)
    if total > 20:
        details = {"workers": known["workers"], "threads": threads, "dynos": dynos}
        yield command.file, command.line, {"total": total, **details}
