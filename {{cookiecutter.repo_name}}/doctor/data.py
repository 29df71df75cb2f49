"""Checks of what is kept: the database, its migrations, the dyno's disk (step 7 of the guide)."""

import ast
import re
from collections import Counter

from doctor import FACTS, check
from doctor.files import once
from doctor.loading import bound
from doctor.pages import on_start_page
from doctor.project import as_dict, first_value, last_name, several, strings
from doctor.startup import constant

LATER = FACTS["programs"]["connects_later"]
CONNECTS, READS = (frozenset(FACTS["programs"][name]) for name in ("connects", "reads"))


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
    here = re.compile(rf"(.*@|[\w+]+://)?{local}.*|.*\bhost={local}.*")

    def is_here(path, node):
        given = [*node.args, *(word.value for word in node.keywords)]
        values = [constant(project, path, value) for value in given]
        return any(isinstance(v, str) and here.match(v) for v in values)

    for path, node, called in project.running.loading.calls:
        if called in CONNECTS and is_here(path, node):
            yield path, node.lineno, {"what": ast.unparse(node.func)}
    guarded = {
        id(inner)
        for _, node in project.nodes(ast.If, ast.Try, ast.IfExp, ast.BoolOp)
        for inner in ast.walk(node)
    }
    for path, node in project.calls(*LATER):
        sure = project.is_sure(path) and id(node) not in guarded
        if (
            sure
            and LATER[last_name(node.func)] in project.imported
            and is_here(path, node)
        ):
            what = f"{ast.unparse(node.func)} (localhost)"
            yield path, node.lineno, {"what": what}, "warning"


@check("H119", step=1)
def file_read_at_the_start(project):
    """open("data.csv") of a file that is not pushed, or by a path of Windows."""
    at_start = {id(node) for _, node, _ in project.running.loading.calls}
    for path, node, name in files_read(project):
        there = name in project or project.has_folder(name)
        slashes = name.replace("\\", "/")
        windows = "\\" in name and (slashes in project or re.match("[A-Za-z]:", name))
        on_disk = project.in_git and not there and project.in_folder(name)
        sure = id(node) in at_start and not project.running.flexible
        if windows or on_disk:
            yield path, node.lineno, {"name": name}, "error" if sure else "warning"
        elif not there and sure and project.times(name) == 1:
            yield path, node.lineno, {"name": name}


def files_read(project):
    """Yield (file, call, name) of the calls that read a file by a fixed name of the project's."""
    found = [*project.running.loading.calls]
    seen = {id(node) for _, node, _ in found}
    found += [(p, n, None) for p, n in project.calls("open") if id(n) not in seen]
    for path, node, called in found:
        is_open = called is None and ast.unparse(node.func) == "open"
        if called not in READS and not is_open:
            continue
        arguments = node.args or getattr(
            getattr(node.func, "value", None), "args", None
        )
        name = getattr(arguments[0], "value", None) if arguments else None
        mode = mode_of(node) if is_open else "r"
        reads = mode[:1] == "r" and "+" not in mode
        elsewhere = isinstance(name, str) and re.match(r"/|~|[a-z]{2,}:|\.\./", name)
        if reads and isinstance(name, str) and name and not elsewhere:
            yield path, node, name.removeprefix("./")


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
        for _, node, _ in project.running.loading.calls
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
        notes = [s.annotation for s in own if isinstance(s, ast.AnnAssign)]
        words = re.findall(r"[A-Za-z_]\w*", ast.unparse(notes[0])) if notes else []
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
    if project.calls_any("create_all"):
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
    written = in_migrations(project)
    for path, _, table, columns in models(project):
        for name, line in columns.items() if table in written else ():
            if name not in written:
                yield path, line, {"table": table, "column": name}


@check("H904", step=7)
def two_heads(project):
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
