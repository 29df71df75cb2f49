"""Checks of SQLAlchemy's models: does it take them, and do they fit each other (step 7 of the guide)?"""

import ast
import difflib
import re

from doctor import FACTS, check
from doctor.files import once
from doctor.imports import newest_allowed
from doctor.pages import on_start_page
from doctor.trees import bound, first_value, last_name, strings, unparse, walk

MODELS = FACTS["models"]


@check("H913", step=7)
def model_that_sqlalchemy_refuses(project):
    """What SQLAlchemy raises as soon as it comes to the class: at the import."""
    running, tables, classes = project.running, {}, class_definitions(project)
    new = (newest_allowed(project, "sqlalchemy") or (0,)) >= (2,)
    for use in running.loading.classes if new and not running.flexible else ():
        node, of = use.node, use.of or ""
        if "sqlalchemy" not in of or "try" in use.guards:
            continue
        for line, what, right in refused(node, project):
            yield use.path, line, {"what": what, "right": right}
        body = {
            name: statement for statement in node.body for name in bound([statement])
        }
        if "__abstract__" in body or {*map(last_name, node.bases)} & {*MODELS["roots"]}:
            continue
        if has_key(project, node, classes) is False:
            details = {"what": f"class {node.name}", "right": MODELS["key"]}
            yield use.path, node.lineno, details
        table = table_of(project, node, classes)
        direct = (
            of.endswith(".SQLAlchemy.Model") and last_name(node.bases[0]) == "Model"
        )
        if "__tablename__" not in body and not direct:
            continue
        key = (unparse(node.bases[0]), table)
        first = tables.setdefault(key, use)
        if (
            table
            and first.node is not node
            and not {"__table_args__", "__table__"} & {*body}
        ):
            what = f'"{table}" ({first.path}:{first.node.lineno})'
            details = {"what": what, "right": '__tablename__ = "…"'}
            yield use.path, node.lineno, details


def refused(node, project):
    """Yield (line, what SQLAlchemy refuses in a model's class, what it wants)."""
    for statement in node.body:
        if isinstance(statement, ast.AnnAssign) and statement.value:
            # The name has got its value when Python comes to the annotation.
            name = getattr(statement.target, "id", None)
            names = [n for n in walk(statement.annotation) if isinstance(n, ast.Name)]
            texts = project.has_text("from __future__ import annotations")
            if any(n.id == name for n in names) and not texts:
                what = unparse(statement)[:60]
                yield (
                    statement.lineno,
                    what,
                    f"import datetime as dt: Mapped[dt.{name}]",
                )
                continue
        value, target = (
            getattr(statement, "value", None),
            getattr(statement, "target", None),
        )
        call = value if isinstance(value, ast.Call) else None
        kind = last_name(call.func) if call else ""
        name = last_name(target or (getattr(statement, "targets", None) or [None])[0])
        mixed = "__abstract__" in unparse(node)
        if (
            name == "metadata"
            and kind in (*MODELS["keywords"], "mapped_column")
            and not mixed
        ):
            yield statement.lineno, name, f'meta = {kind}("metadata", …)'
        if isinstance(statement, ast.AnnAssign):
            said = unparse(statement.annotation)
            bare = kind in MODELS["annotated"] and re.fullmatch(
                MODELS["unmapped"], said
            )
            if bare and not project.has_text("__allow_unmapped__"):
                yield statement.lineno, f"{name}: {said}", f"{name}: Mapped[{said}]"
            typed = call and (call.args or any(w.arg == "type_" for w in call.keywords))
            untyped = kind in ("", "mapped_column") and not typed
            untyped = untyped and re.fullmatch(MODELS["no_type"], said)
            if untyped and not project.has_text("type_annotation_map"):
                yield statement.lineno, f"{name}: {said}", "mapped_column(JSON)"
        known = MODELS["keywords"].get(kind, ())
        for word in call.keywords if known else ():
            given = getattr(word.value, "value", None)
            if word.arg == "server_default" and isinstance(given, (bool, int, float)):
                right = str(given).lower()
                yield (
                    statement.lineno,
                    f"server_default={given}",
                    f'server_default=text("{right}")',
                )
            near = difflib.get_close_matches(word.arg or "", known, 1, 0.8)
            if near and word.arg not in known:
                yield statement.lineno, f"{word.arg}=", f"{near[0]}="


@once
def class_definitions(project):
    """Return {name: [class]} of the app's code."""
    found = {}
    for _, node in project.nodes(ast.ClassDef):
        found.setdefault(node.name, []).append(node)
    return found


def has_key(project, node, classes, depth=0):
    """Tell whether a class, or what it is made from, has a primary key; None where nobody knows."""
    text = unparse(node)
    if "primary_key" in text:
        return True
    if node.decorator_list or depth > 9 or re.search(MODELS["hides"], text):
        return None
    found = []
    for base in map(last_name, node.bases):
        own = classes.get(base, ())
        if base == "Model" and project.has_keyword("model_class"):
            words = [word for _, word in project.nodes(ast.keyword)]
            base = next(last_name(w.value) for w in words if w.arg == "model_class")
            own = classes.get(base, ())
        known = False if base in MODELS["bases"] else None
        found.append(
            has_key(project, own[0], classes, depth + 1) if len(own) == 1 else known
        )
    return True if True in found else None if None in found else False


@check("H912", step=7, level="warning")
def models_that_do_not_fit(project):
    """SQLAlchemy looks at all models together, at the first query: then all pages that ask fail."""
    yield from told(project, misfits(project))


@check("H914", step=7, level="warning")
def relationship_without_its_key(project):
    """It wants one foreign key between the two tables, or to be told which."""
    yield from told(project, keyless(project))


def told(project, found):
    """Yield what a check yields of (path, line, what, whether a query fails of it)."""
    queries = re.compile(
        r".*\bsession\.(execute|scalars?|query|get|add)|\w+\.query\.\w+|\w+\.(paginate|\w+_or_404)"
    )

    def asks(call):
        code = unparse(call.func)
        return queries.fullmatch(code) and "text(" not in unparse(call)

    calls = project.running.loading.calls
    made = any(last_name(use.node.func) == "create_all" for use in calls)
    for path, line, what, by_query in found:
        sure = project.is_sure(path) and not project.running.flexible
        failing = on_start_page(project, asks) if by_query else made
        yield path, line, {"what": what}, "error" if sure and failing else "warning"


def keyless(project):
    """Yield (path, line, what, True) of relationships between two classes that can all be seen."""
    classes, bases = class_definitions(project), set(MODELS["bases"])
    plain = {
        name: nodes[0]
        for name, nodes in classes.items()
        if len(nodes) == 1 and is_model(nodes[0], classes, bases)
        if all(last_name(b) in bases or is_root(classes, b) for b in nodes[0].bases)
        if not re.search(MODELS["joins"], unparse(nodes[0]))
    }
    if project.calls_any(*MODELS["unseen"]) or "sqlmodel" in project.imported:
        return
    # Columns that are added to a class below it.
    nodes = [n for _, n in project.nodes(ast.Attribute) if isinstance(n.ctx, ast.Store)]
    changed = {last_name(node.value) for node in nodes}
    for path, node in project.nodes(ast.ClassDef):
        for name, call in relationships(node) if plain.get(node.name) is node else ():
            other = plain.get(target := partner(node, call, classes))
            if other is None or other is node:
                continue
            words = {word.arg: word.value for word in call.keywords}
            there = keys_to(project, node, other, classes)
            back = keys_to(project, other, node, classes)
            later = {node.name, target} & changed
            known = there is not None and back is not None and not later
            keys = (there or []) + (back or [])
            shown = f"{node.name}.{name}"
            if known and len(keys) != 1 and not {*words} & {*MODELS["told"]}:
                yield path, call.lineno, f"{shown} ({len(keys)} × ForeignKey)", True
            back = getattr(words.get("backref"), "value", None)
            if back in {n for n, _ in relationships(other)}:
                yield path, call.lineno, f'backref="{back}", {target}.{back}', True


def is_root(classes, base):
    """Tell whether a base is a class of the app's own with nothing in it, as Base of SQLAlchemy."""
    own = classes.get(last_name(base), ())
    return len(own) == 1 and not any(bound([s]) for s in own[0].body)


def relationships(node):
    """Yield (attribute, call) of a class's relationships."""
    for statement in node.body:
        call = getattr(statement, "value", None)
        if last_name(getattr(call, "func", None)) == "relationship":
            target = getattr(statement, "target", None) or statement.targets[0]
            yield last_name(target), call


def keys_to(project, node, other, classes):
    """Return the texts of the foreign keys that lead from one model to another, None if unknown."""
    table = table_of(project, other, classes)
    calls = [call for call in calls_in(node) if last_name(call.func) == "ForeignKey"]
    texts = [str(first_value(call)) for call in calls]
    return (
        [text for text in texts if text.rpartition(".")[0] == table] if table else None
    )


def classes_in_annotation(node, call):
    """Return the classes that a relationship's annotation names as texts: Mapped[list["Book"]]."""
    for statement in node.body:
        if isinstance(statement, ast.AnnAssign) and statement.value is call:
            texts = strings(statement.annotation)
            found = {name for text in texts for name in re.findall(r"\b[A-Z]\w*", text)}
            return sorted(found - {"List", "Set", "Optional", "Sequence", "Dict"})
    return []


@once
def misfits(project):
    """Yield (path, line, what, whether a query fails of it) of names that no model has.

    Nothing where there are models that cannot be seen.
    """
    made = any(len(node.args) == 3 for _, node in project.calls("type"))
    unseen = made or project.calls_any(*MODELS["unseen"])
    known = {"sqlalchemy", "flask_sqlalchemy"} & project.imported
    if unseen or not known or {"sqlmodel", "django"} & project.imported:
        return
    classes, bases = class_definitions(project), bases_of_models(project)
    for path, tree in project.app_trees.items():
        for node in (n for n in tree.body if isinstance(n, ast.ClassDef)):
            seen = members(project, node.name) is not None
            if seen and is_model(node, classes, bases):
                for find in (lost_tables, lost_annotations, lost_partners):
                    for line, what, fails in find(project, node):
                        yield path, line, what, fails


@once
def bases_of_models(project):
    """Return the names that models are made from."""
    made = {
        last_name(node.targets[0])
        for _, node in project.nodes(ast.Assign)
        if last_name(getattr(node.value, "func", None)) == "declarative_base"
    }
    return made | set(MODELS["bases"])


def members(project, name, depth=0):
    """Return what a class has, None where nobody knows."""
    classes = class_definitions(project)
    if name in bases_of_models(project):
        return set()
    if len(classes.get(name, ())) != 1 or depth > 9:
        return None
    node = classes[name][0]
    above = [members(project, last_name(base), depth + 1) for base in node.bases]
    return (
        None if None in above or node.decorator_list else bound(node.body).union(*above)
    )


@once
def code_aside(project):
    """Return the texts of the code that does not run, as far as anybody knows."""
    return [project.text(p) for p in project.trees.keys() - project.app_trees.keys()]


@once
def named_aside(project):
    """Return the names there, as spelt(): what has one may be loaded in a way that cannot be seen."""
    words = re.findall(r"class (\w+)|[\"'](\w+)[\"']", " ".join(code_aside(project)))
    return {spelt("".join(pair)) for pair in words}


def spelt(name):
    """Return how a class and its table are spelt alike."""
    return name.replace("_", "").lower()


def lost_tables(project, node):
    """Yield (line, what, whether a query fails of it) of a model's foreign keys to tables that there are not."""
    classes, (names, unknown) = class_definitions(project), table_names(project)
    related = [c for c in calls_in(node) if last_name(c.func) == "relationship"]
    for call in calls_in(node):
        text = first_value(call)
        if last_name(call.func) != "ForeignKey" or not isinstance(text, str):
            continue
        table = text.rpartition(".")[0]
        there = table in names or spelt(table) in named_aside(project)
        if not table or "." in table or there or unknown:
            continue
        if table not in in_migrations(project):
            only = any(is_only_way(node, c, classes) for c in related)
            yield call.lineno, f'ForeignKey("{text}")', only


def lost_annotations(project, node):
    """Yield the same of classes that a relationship's annotation names."""
    classes = class_definitions(project)
    for call in calls_in(node):
        if last_name(call.func) == "relationship" and first_value(call) is None:
            for name in classes_in_annotation(node, call):
                if name not in classes and spelt(name) not in named_aside(project):
                    yield call.lineno, f'Mapped[… "{name}"]', True


def lost_partners(project, node):
    """Yield the same of a relationship's class, and of an attribute of it."""
    classes, back = class_definitions(project), made_from_behind(project)
    for call in calls_in(node):
        if last_name(call.func) != "relationship":
            continue
        target = partner(node, call, classes)
        given = {word.arg: getattr(word.value, "value", None) for word in call.keywords}
        other = given.get("back_populates")
        by_name = isinstance(first_value(call) or given.get("argument"), str)
        lost = by_name and target and target not in classes
        if lost and spelt(target) not in named_aside(project):
            yield call.lineno, f'relationship("{target}")', True
        known = members(project, target) if target else None
        if isinstance(other, str) and known is not None and other not in known | back:
            what = f"{target}.{other}"
            if not any(what in text for text in code_aside(project)):
                yield call.lineno, f'back_populates="{other}" ({what})', True


@once
def made_from_behind(project):
    """Return the attributes that classes get from elsewhere: backref="…", Book.author = …"""
    nodes = [n for _, n in project.nodes(ast.Attribute) if isinstance(n.ctx, ast.Store)]
    return named_behind(project, "backref") | {node.attr for node in nodes}


def named_behind(project, *words):
    """Return the attributes that relationships name in these words, for the class that they lead to."""
    named = [w.value for _, w in project.nodes(ast.keyword) if w.arg in words]
    found = {getattr(value, "value", None) for value in named}
    return found | {first_value(node) for _, node in project.calls("backref")}


def partner(node, call, classes):
    """Return the name of the class that a relationship leads to, None where nobody knows."""
    named = [word.value for word in call.keywords if word.arg == "argument"]
    first = (call.args or named or [None])[0]
    target = getattr(first, "value", last_name(first))
    if first is None:
        own = [s for s in node.body if getattr(s, "value", None) is call]
        said = [s.annotation for s in own if isinstance(s, ast.AnnAssign)]
        words = re.findall(r"[A-Za-z_]\w*", unparse(said[0])) if said else []
        target = words[-1] if words and words[-1] in classes else None
    known = isinstance(target, str) and re.fullmatch(r"[\w.]+", target)
    return target.rpartition(".")[2] if known else None


def is_only_way(node, call, classes):
    """Tell whether a relationship needs the one foreign key that there is between two classes."""
    target = partner(node, call, classes)
    plain = not {"primaryjoin", "secondary"} & {word.arg for word in call.keywords}
    theirs = [n for other in classes.get(target, ()) for n in calls_in(other)]
    keys = [n for n in [*calls_in(node), *theirs] if last_name(n.func) == "ForeignKey"]
    return plain and target in classes and target != node.name and len(keys) == 1


def calls_in(node):
    """Return the calls in a class's own statements, not in its methods."""
    values = [getattr(statement, "value", None) for statement in node.body]
    return [n for v in values if v for n in walk(v) if isinstance(n, ast.Call)]


def is_model(node, classes, bases, depth=0):
    """Tell whether a class is one of SQLAlchemy's models, by the classes that it is made from."""
    for base in map(last_name, node.bases):
        above = classes.get(base, ())
        if (
            base in bases
            or depth < 9
            and any(is_model(n, classes, bases, depth + 1) for n in above)
        ):
            return True
    return False


@check("H927", step=7, level="warning")
def column_shorter_than_its_form(project):
    """String(20), where the form that fills it lets 100 characters through: SQLite takes them, PostgreSQL does not."""
    classes = class_definitions(project)
    for path, call in project.nodes(ast.Call):
        nodes = classes.get(last_name(call.func), ())
        for word in call.keywords if len(nodes) == 1 else ():
            code = unparse(word.value)
            field = re.fullmatch(r"\w+\.(\w+)\.data(\.strip\(\))?", code)
            length = length_of_column(nodes[0], word.arg) if field else None
            most = longest(classes, field[1]) if length else None
            if most and most > length:
                name = f"{nodes[0].name}.{word.arg}"
                details = {"name": name, "length": length, "most": most}
                yield path, call.lineno, details


def length_of_column(node, name):
    """Return n of a column String(n), None where it has none."""
    for statement in node.body:
        if name in bound([statement]):
            calls = [n for n in walk(statement) if isinstance(n, ast.Call)]
            texts = [first_value(c) for c in calls if last_name(c.func) == "String"]
            return texts[0] if texts and isinstance(texts[0], int) else None
    return None


def longest(classes, field):
    """Return how many characters all forms let through in a field, None where one does not say it."""
    found = []
    for node in (n for nodes in classes.values() for n in nodes):
        is_form = any(last_name(base).endswith("Form") for base in node.bases)
        for statement in node.body if is_form else ():
            if field in bound([statement]):
                code = unparse(statement)
                limit = re.search(r"\bLength\(.*?\bmax=(\d+)", code)
                found.append(int(limit[1]) if limit else None)
    return None if None in found else min(found, default=None)


def models(project):
    """Yield (path, class, table, columns) of the tables that the code describes.

    columns: {name: line}; a class without a table of its own, or whose table nobody knows, is left out.
    """
    classes = class_definitions(project)
    for path, node in project.nodes(ast.ClassDef):
        columns = {}
        for statement in node.body:
            name, value = column(statement)
            if name:
                columns[value or name] = statement.lineno
        bases = {unparse(base) for base in node.bases}
        named = "__tablename__" in bound(node.body)
        if not named and not (bases & {"db.Model", "Model"} and columns):
            continue
        table = table_of(project, node, classes)
        abstract = "__abstract__" in bound(
            s for s in node.body if isinstance(s, ast.Assign)
        )
        if table and not abstract:
            yield path, node, table, columns


def table_of(project, node, classes, depth=0):
    """Return the name of a model's table, None where code makes it up."""
    body = {name: statement for statement in node.body for name in bound([statement])}
    if "__tablename__" in body:
        value = getattr(body["__tablename__"], "value", None)
        text = getattr(value, "value", None)
        return text if isinstance(text, str) else None
    above = [*map(last_name, node.bases)]
    if "Model" in above:
        words = [word for _, word in project.nodes(ast.keyword)]
        above += [last_name(w.value) for w in words if w.arg == "model_class"]
    for name in above:
        for base in classes.get(name, ()):
            if "__tablename__" in unparse(base) and base is not node:
                return None
            deeper = [n for b in base.bases for n in classes.get(last_name(b), ())]
            if depth < 9 and any("__tablename__" in unparse(n) for n in deeper):
                return None
    return snake_case(node.name)


def tables(project):
    """Yield (path, node, table, {}) of what Table("name", …) describes."""
    for path, node in project.calls("Table"):
        name = first_value(node)
        if isinstance(name, str) and len(node.args) > 1:
            yield path, node, name, {}


@once
def table_names(project):
    """Return (the names of all tables, whether there are more than can be told)."""
    names, unknown = set(), False
    for _, node in project.calls("Table"):
        name = first_value(node)
        unknown |= not isinstance(name, str)
        names.add(name)
    classes = class_definitions(project)
    for _, node in project.nodes(ast.ClassDef):
        table = table_of(project, node, classes)
        unknown |= table is None
        names.add(table)
    return names, unknown


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
    mapped = isinstance(statement, ast.AnnAssign) and unparse(
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
        and re.search(r"list\[|List\[|['\"]", unparse(statement.annotation))
    ):
        return None, None
    first = value.args[0] if value is not None and value.args else None
    own = (
        first.value
        if isinstance(first, ast.Constant) and isinstance(first.value, str)
        else None
    )
    words = value.keywords if isinstance(value, ast.Call) else ()
    named = [getattr(w.value, "value", None) for w in words if w.arg == "name"]
    return target.id, own or (named[0] if named and isinstance(named[0], str) else None)


def snake_case(name):
    """Return the name that Flask-SQLAlchemy gives the table of a class (model.py: camel_to_snake_case)."""
    between = r"((?<=[a-z0-9])[A-Z]|(?!^)[A-Z](?=[a-z]))"
    return re.sub(between, r"_\1", name).lower().lstrip("_")


@once
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
