"""Checks of what is kept: the database, its migrations, the dyno's disk (step 7 of the guide)."""

import ast
import posixpath
import re
from collections import Counter

from doctor import FACTS, check
from doctor.files import once
from doctor.imports import parse_error
from doctor.loading import Use, bound
from doctor.pages import on_start_page
from doctor.project import as_dict, first_value, last_name, several, strings

CONNECTS, OPENS = frozenset(FACTS["programs"]["connects"]), FACTS["programs"]["opens"]
LATER = FACTS["programs"]["connects_later"]
MAX_PATH = 1_000  # letters
METHODS = {"read_text": "read", "read_bytes": "read", "write_text": "write"}
# Calls that return their argument as a path, and methods that return their owner as one.
JOINED = ("Path", "PurePath", "str", "abspath", "realpath", "normpath", "fspath")
# What makes a change of a table depend on what is there, or of another schema.
GUARDS = {"if_not_exists", "if_exists", "schema"}
SQL = re.compile(r"(?i)\b(create|drop|alter)\s+(\w+\s+)?table\b")


@check("H901", step=7, level="warning")
def data_on_the_dyno(project):
    """The dyno's disk is emptied at every restart."""
    found = list(on_disk(project))
    if found:  # once is enough
        path, line, _ = found[0]
        yield path, line, {"what": several([what[:60] for _, _, what in found], 3)}


def on_disk(project):
    """Yield (path, line, what) of what is written to the dyno's disk."""
    known = project.reads_database_url
    for path, node in project.texts() if not known else ():
        if re.match(r"sqlite(\+\w+)?:/*(?!/*:memory:)[^/]|sqlite:///$", node.value):
            yield path, node.lineno, node.value
    for path, node in project.calls("save"):
        code = ast.unparse(node)
        if "upload" in code.lower() and node.args:
            yield path, node.lineno, code
    for path, node in project.calls(
        "connect", "open", "TinyDB", "SqliteDict", "SqliteDatabase", "dump_all"
    ):
        name = first_value(node)
        code = ast.unparse(node.func)
        if not isinstance(name, str) or re.match(r"/tmp|:memory:|/dev/", name):
            continue
        writes = code == "open" and re.match(r"[wax]|r\+", mode_of(node))
        base = code in (
            "sqlite3.connect",
            "aiosqlite.connect",
            "shelve.open",
            "dbm.open",
            "TinyDB",
            "SqliteDict",
            "SqliteDatabase",
        )
        if (
            writes
            or base
            or (code == "connect" and name.endswith((".db", ".sqlite", ".sqlite3")))
        ):
            yield path, node.lineno, f"{code}({name!r})"
    if "django" in project.list.packages and not known:
        for path, node in project.texts():
            if node.value == "django.db.backends.sqlite3":
                yield path, node.lineno, node.value


def mode_of(call):
    """Return how a call of open() opens a file, "" where nobody knows."""
    given = [*call.args[1:2], *(w.value for w in call.keywords if w.arg == "mode")]
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
            what = f"{ast.unparse(use.node.func)}({name})"
            yield use.path, use.node.lineno, {"what": what}
    guarded = {
        id(inner)
        for _, node in project.nodes(ast.If, ast.Try, ast.IfExp, ast.BoolOp)
        for inner in ast.walk(node)
    }
    for path, node in project.calls(*LATER):
        sure = project.is_sure(path) and id(node) not in guarded
        used = LATER[last_name(node.func)] in project.imported
        if sure and used and (name := host(path, node)):
            what = f"{ast.unparse(node.func)}({name})"
            yield path, node.lineno, {"what": what}, "warning"


@check("H119", step=1)
def file_opened_at_the_start(project):
    """open("data.csv") of a file that is not pushed, or by a path of Windows."""
    for path, line, name, level in not_brought(project):
        if not posixpath.basename(name).startswith(".env"):  # H513 names it
            yield path, line, {"name": name}, level


@once
def not_brought(project):
    """Yield (path, line, name, level) of what is opened and not brought by a push."""
    for use, how, argument in opened(project):
        place = path_of(project, use.path, argument)
        if not place:
            continue
        slashes = place.replace("\\", "/").lstrip("/")
        windows = place != slashes and re.match("[A-Za-z]:", slashes)
        windows = windows or "\\" in place and slashes in project
        sure = not {"later", "try"} & use.guards
        paths = [place] if windows else list(full_paths(project, use, place))
        if how == "write" and not windows:
            paths = [folder for p in paths if (folder := posixpath.dirname(p))]
        left = {p for p in paths if p not in project.slugignored}
        there = any(p in project or project.has_folder(p) for p in left)
        if not paths or there or how != "read" and not sure and not windows:
            continue
        name = paths[0] if how == "read" else f"{paths[0]}/"
        alone = made_nowhere(project, use, how, argument, paths[0])
        on_disk = project.in_git and any(map(project.in_folder, paths))
        if windows or alone and sure:
            yield use.path, use.node.lineno, name, "error" if sure else "warning"
        elif how == "read" and on_disk:
            yield use.path, use.node.lineno, name, "warning"


def opened(project):
    """Yield (Use, "read", "write" or "folder", argument) of the calls that open something."""
    uses = project.running.loading.calls
    seen = {id(use.node) for use in uses}
    later = [c for c in project.calls("open") if id(c[1]) not in seen]
    uses = [*uses, *(Use(*c, None, None, frozenset({"later"})) for c in later)]
    for use in uses:
        func, given = use.node.func, {w.arg: w.value for w in use.node.keywords}
        row = OPENS.get(use.of) if isinstance(use.of, str) else None
        arguments, how = use.node.args, row and row["how"]
        if getattr(func, "id", "") == "open" and use.of is None:
            mode, row = mode_of(use.node), {}
            how = {"r": "read", "w": "write", "a": "write", "x": "write"}.get(mode[:1])
            how = None if mode[:1] == "r" and "+" in mode else how
        elif getattr(func, "attr", "") in METHODS:
            row, how, arguments = {}, METHODS[func.attr], [func.value]
        position = row.get("at", 0) if row is not None else 0
        argument = given.get(row.get("key", "file")) if row is not None else None
        argument = argument or next(iter(arguments[position : position + 1]), None)
        if how and argument and not {"delay", "check_dir"} & set(given):
            yield use, how, argument
        elif use.of == "logging.config.dictConfig" and arguments:
            named = getattr(arguments[0], "id", "")
            settings = only_value(project, use.path, named) if named else arguments[0]
            for part in ast.walk(settings) if settings else ():
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
        return not project.calls_any("makedirs", "mkdir")
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
            name, joins = last_name(func), ast.unparse(func).endswith("path.join")
            return joined(args) if args and (name in JOINED or joins) else None
    return None


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


@check("H902", step=7)
def too_many_connections(project):
    """Workers × min(threads, pool) × dynos, against the 20 of the smallest plan.

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


@once
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
    # Of a very large project not all is parsed.
    for path in project.contents.keys() - project.trees.keys() - project.broken.keys():
        if "versions/" in path and path.endswith(".py"):
            texts = dict(
                re.findall(r"(?m)^(revision|down_revision)\b(.*)", project.text(path))
            )
            own, down = (
                re.findall(r"[\"'](\w+)[\"']", texts.get(name, ""))
                for name in ("revision", "down_revision")
            )
            found |= {path: (own[0], down)} if own else {}
    return found


def all_read(project):
    """Tell whether all migrations were parsed."""
    return revisions(project).keys() <= project.trees.keys()


def tables(project):
    """Yield (path, node, table, {}) of what Table("name", …) describes."""
    for path, node in project.calls("Table"):
        name = first_value(node)
        if isinstance(name, str) and len(node.args) > 1:
            yield path, node, name, {}


def models(project):
    """Yield (path, class, table, columns) of the tables that the code describes.

    columns: {name: line}; a class without a table of its own is left out.
    """
    for path, node in project.nodes(ast.ClassDef):
        columns, table = {}, None
        for statement in node.body:
            if (
                isinstance(statement, ast.Assign)
                and last_name(statement.targets[0]) == "__tablename__"
            ):
                table = getattr(statement.value, "value", None)
            name, value = column(statement)
            if name:
                columns[value or name] = statement.lineno
        bases = {ast.unparse(base) for base in node.bases}
        if table is None and bases & {"db.Model", "Model"} and columns:
            table = snake_case(node.name)
        if isinstance(table, str) and not {"__abstract__"} & {
            last_name(s.targets[0]) for s in node.body if isinstance(s, ast.Assign)
        }:
            yield path, node, table, columns


def column(statement):
    """Return (attribute, name in the table or None) of a column, (None, None) for other things."""
    target = (
        getattr(statement, "target", None)
        or (getattr(statement, "targets", None) or [None])[0]
    )
    if not isinstance(statement, (ast.Assign, ast.AnnAssign)) or not isinstance(
        target, ast.Name
    ):
        return None, None
    value = statement.value
    kind = last_name(value.func) if isinstance(value, ast.Call) else ""
    mapped = isinstance(statement, ast.AnnAssign) and ast.unparse(
        statement.annotation
    ).startswith("Mapped[")
    if kind in (
        "relationship",
        "association_proxy",
        "column_property",
        "synonym",
        "dynamic_loader",
    ):
        return None, None
    if kind not in ("Column", "mapped_column") and not (mapped and value is None):
        return None, None
    if (
        mapped
        and value is None
        and re.search(r"list\[|List\[|['\"]", ast.unparse(statement.annotation))
    ):
        return None, None
    first = value.args[0] if value is not None and value.args else None
    own = (
        first.value
        if isinstance(first, ast.Constant) and isinstance(first.value, str)
        else None
    )
    return target.id, own


@check("H912", step=7, level="warning")
def models_that_do_not_fit(project):
    """SQLAlchemy looks at all models together, at the first query: then all pages that ask fail."""
    queries = re.compile(
        r".*\bsession\.(execute|scalars?|query|get|add)|\w+\.query\.\w+|\w+\.(paginate|\w+_or_404)"
    )

    def asks(call):
        return queries.fullmatch(ast.unparse(call.func)) and "text(" not in ast.unparse(
            call
        )

    made = any(
        last_name(node.func) == "create_all"
        for _, node, *_ in project.running.loading.calls
    )
    for path, line, what, by_query in misfits(project):
        sure = project.is_sure(path) and not project.running.flexible
        failing = on_start_page(project, asks) if by_query else made
        yield path, line, {"what": what}, "error" if sure and failing else "warning"


@once
def misfits(project):
    """Yield (path, line, what, whether a query fails of it) of names that no model has.

    Nothing where there are models that cannot be seen.
    """
    classes, bases = {}, set(FACTS["models"]["bases"])
    for path, node in project.nodes(ast.ClassDef):
        classes.setdefault(node.name, []).append((path, node))
    for _, node in project.nodes(ast.Assign):
        if last_name(getattr(node.value, "func", None)) == "declarative_base":
            bases.add(last_name(node.targets[0]))
    made = any(len(node.args) == 3 for _, node in project.calls("type"))
    unseen = made or project.calls_any(*FACTS["models"]["unseen"])
    known = {"sqlalchemy", "flask_sqlalchemy"} & project.imported
    if unseen or not known or {"sqlmodel", "django"} & project.imported:
        return
    aside = (
        project.text(path) for path in project.trees.keys() - project.app_trees.keys()
    )
    words = re.findall(r"class (\w+)|[\"'](\w+)[\"']", " ".join(aside))
    elsewhere = {"".join(pair).replace("_", "").lower() for pair in words}
    names, unknown = table_names(project)
    back = {first_value(node) for _, node in project.calls("backref")}
    back |= {
        getattr(w.value, "value", None)
        for _, w in project.nodes(ast.keyword)
        if w.arg == "backref"
    }
    back |= {
        n.attr for _, n in project.nodes(ast.Attribute) if isinstance(n.ctx, ast.Store)
    }

    def members(name, depth=0):
        """Return what a class has, None where nobody knows."""
        if name in bases:
            return set()
        if len(classes.get(name, ())) != 1 or depth > 9:
            return None
        node = classes[name][0][1]
        inherited = [members(last_name(base), depth + 1) for base in node.bases]
        if None in inherited or node.decorator_list:
            return None
        return set().union(bound(node.body), *inherited)

    for path, tree in project.app_trees.items():
        for node in (n for n in tree.body if isinstance(n, ast.ClassDef)):
            if members(node.name) is None or not is_model(node, classes, bases):
                continue
            related = [c for c in calls_in(node) if last_name(c.func) == "relationship"]
            for call in calls_in(node):
                text = first_value(call)
                if last_name(call.func) == "ForeignKey" and isinstance(text, str):
                    table = text.rpartition(".")[0]
                    lost = table and "." not in table and table not in names
                    lost = lost and table.replace("_", "").lower() not in elsewhere
                    if lost and not unknown and table not in in_migrations(project):
                        only = any(is_only_way(node, c, classes) for c in related)
                        yield path, call.lineno, f'ForeignKey("{text}")', only
                if call in related:
                    for what in lost_partner(node, call, classes, members, back):
                        if what[0].lower() not in elsewhere:
                            yield path, call.lineno, what[1], True


def partner(node, call, classes):
    """Return the name of the class that a relationship leads to, None where nobody knows."""
    named = [word.value for word in call.keywords if word.arg == "argument"]
    first = (call.args or named or [None])[0]
    target = getattr(first, "value", last_name(first))
    if first is None:
        own = [s for s in node.body if getattr(s, "value", None) is call]
        said = [s.annotation for s in own if isinstance(s, ast.AnnAssign)]
        words = re.findall(r"[A-Za-z_]\w*", ast.unparse(said[0])) if said else []
        target = words[-1] if words and words[-1] in classes else None
    known = isinstance(target, str) and re.fullmatch(r"[\w.]+", target)
    return target.rpartition(".")[2] if known else None


def lost_partner(node, call, classes, members, back):
    """Yield (name, what names it) of a relationship: a class, or an attribute of it, not there."""
    target = partner(node, call, classes)
    given = {word.arg: getattr(word.value, "value", None) for word in call.keywords}
    other = given.get("back_populates")
    by_name = isinstance(first_value(call) or given.get("argument"), str)
    if by_name and target and target not in classes:
        yield target, f'relationship("{target}")'
    known = members(target) if target else None
    if isinstance(other, str) and known is not None and other not in known | back:
        yield other, f'back_populates="{other}" ({target}.{other})'


def is_only_way(node, call, classes):
    """Tell whether a relationship needs the one foreign key that there is between two classes."""
    target = partner(node, call, classes)
    plain = not {"primaryjoin", "secondary"} & {word.arg for word in call.keywords}
    theirs = [n for _, other in classes.get(target, ()) for n in calls_in(other)]
    keys = [n for n in [*calls_in(node), *theirs] if last_name(n.func) == "ForeignKey"]
    return plain and target in classes and target != node.name and len(keys) == 1


def calls_in(node):
    """Return the calls in a class's own statements, not in its methods."""
    values = [getattr(statement, "value", None) for statement in node.body]
    return [n for v in values if v for n in ast.walk(v) if isinstance(n, ast.Call)]


def is_model(node, classes, bases, depth=0):
    """Tell whether a class is one of SQLAlchemy's models, by the classes that it is made from."""
    for base in map(last_name, node.bases):
        above = [n for _, n in classes.get(base, ())]
        if (
            base in bases
            or depth < 9
            and any(is_model(n, classes, bases, depth + 1) for n in above)
        ):
            return True
    return False


def table_names(project):
    """Return (the names of all tables, whether there are more than can be told)."""
    names, unknown = set(), False
    for _, node in project.calls("Table"):
        name = first_value(node)
        unknown |= not isinstance(name, str)
        names.add(name)
    for _, node in project.nodes(ast.ClassDef):
        own = [s for s in node.body if "__tablename__" in bound([s])]
        values = [getattr(getattr(s, "value", None), "value", None) for s in own]
        unknown |= None in values
        names |= set(values) if own else {snake_case(node.name)}
    return names, unknown


def snake_case(name):
    """Return the name that Flask-SQLAlchemy gives the table of a class."""
    between = r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])"
    return re.sub(between, "_", name).lower()


@check("H903", step=7)
def table_without_migration(project):
    if not revisions(project) and "flask-migrate" not in project.list.packages:
        return  # the tables are made in another way
    if project.calls_any("create_all") or not all_read(project):
        return
    written = in_migrations(project)
    if not written and not project.has_folder("migrations"):
        return
    for path, node, table, _ in [*models(project), *tables(project)]:
        if table not in written and path in project.running.reached:
            yield path, node.lineno, {"table": table}


def in_migrations(project):
    """Return all texts in the migrations, words of SQL too."""
    texts = [
        text
        for path, tree in project.trees.items()
        if "versions/" in path
        for text in strings(tree)
    ]
    return set(texts) | {
        word for text in texts if " " in text for word in re.findall(r"\w+", text)
    }


@check("H906", step=7, level="warning")
def column_without_migration(project):
    written = in_migrations(project) if all_read(project) else ()
    for path, _, table, columns in models(project):
        for name, line in columns.items() if table in written else ():
            if name not in written:
                yield path, line, {"table": table, "column": name}


@check("H904", step=7)
def two_heads(project):
    if list(migration_without_its_parent(project)):
        return  # that is the reason
    found = revisions(project)
    before = {name for _, down in found.values() for name in down}
    heads = {path: name for path, (name, _) in found.items() if name not in before}
    if len(set(heads.values())) > 1:  # a copy with the same name is for H907
        yield max(heads), 0, {"heads": ", ".join(sorted(heads.values()))}


@check("H907", step=7)
def migration_without_its_parent(project):
    """Alembic stops where a migration follows one whose file is not there, or two have one name."""
    found = revisions(project)
    names = Counter(name for name, _ in found.values())
    for path, (name, down) in sorted(found.items()):
        lost = [
            parent
            for parent in down
            if parent not in names and not re.fullmatch(r"[0-9a-f]{4,11}", parent)
        ]
        shortened = [
            p
            for p in down
            if p not in names
            and p not in lost
            and not any(n.startswith(p) for n in names)
        ]
        if lost or shortened:
            yield path, 0, {"name": (lost + shortened)[0]}


@check("H909", step=7)
def migration_in_two_files(project):
    found = revisions(project)
    names = Counter(name for name, _ in found.values())
    for name in sorted(name for name, count in names.items() if count > 1):
        files = sorted(path for path, (own, _) in found.items() if own == name)
        yield files[-1], 0, {"name": name, "files": ", ".join(files)}


@check("H910", step=7)
def migration_that_does_not_load(project):
    """Alembic loads every file of the folder, and needs a revision in each; no circles."""
    found = revisions(project)
    folders = {posixpath.dirname(path) for path in found}
    loaded_aside = re.compile(r"(__init__|\.#).*|[a-f0-9]+\.py")
    for path in sorted(project.sizes):
        folder, name = posixpath.split(path)
        if folder not in folders or path in found or not name.endswith(".py"):
            continue
        if path in project.broken and path not in project.running.reached:
            line, error, certain = parse_error(project, path)
            if certain:
                yield path, line, {"name": path, "error": error}
        elif path in project.trees and not loaded_aside.fullmatch(name):
            yield path, 0, {"name": path, "error": "revision = ?"}
    before = {name: [d for d in down if d] for name, down in found.values()}
    for path, (name, _) in sorted(found.items()):
        circle = [name]
        while len(circle) <= len(found) and (down := before.get(circle[-1])):
            circle.append(down[0])
            if down[0] == name:
                yield path, 0, {"name": path, "error": " → ".join(circle)}
                return


@check("H911", step=7)
def table_made_twice(project):
    """On an empty database: what upgrade() makes again, or drops where nothing made it."""
    found = {name: (path, down) for path, (name, down) in revisions(project).items()}
    if not all_read(project):
        return
    trees = [project.trees[path] for path, _ in found.values()]
    if any("rename_table" in ast.unparse(tree) for tree in trees):
        return
    in_sql = "\n".join(t for tree in trees for t in strings(tree) if SQL.search(t))
    done, there = set(), set()
    while ready := [
        name
        for name, (_, down) in found.items()
        if name not in done and not ({*down} & found.keys()) - done
    ]:
        for name in sorted(ready):
            done.add(name)
            path = found[name][0]
            for call, table in table_changes(project.trees[path]):
                made = last_name(call.func) == "create_table"
                if made == (table in there) and table not in in_sql:
                    shown = f'{ast.unparse(call.func)}("{table}")'
                    # An older database may have a table that no migration made.
                    level = "error" if made else "warning"
                    yield path, call.lineno, {"call": shown}, level
                there = there | {table} if made else there - {table}


def table_changes(tree):
    """Yield (call, table) of what upgrade() makes and drops whatever else is there."""
    for function in tree.body:
        if isinstance(function, ast.FunctionDef) and function.name == "upgrade":
            for node in function.body:
                call = node.value if isinstance(node, (ast.Expr, ast.Assign)) else None
                plain = isinstance(call, ast.Call) and isinstance(
                    first_value(call), str
                )
                keywords = {word.arg for word in call.keywords} if plain else set()
                kind = last_name(call.func) if plain else ""
                if kind in ("create_table", "drop_table") and not keywords & GUARDS:
                    yield call, first_value(call)
