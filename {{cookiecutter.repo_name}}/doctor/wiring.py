"""Checks of how an app is put together: what is registered, where, and how often (steps 9 and 12)."""

import ast
import posixpath
import re

from doctor import FACTS, check
from doctor.files import once
from doctor.forms import views
from doctor.imports import newest_allowed
from doctor.pages import (
    is_seen,
    links_of,
    on_start_page,
    shown,
    start_pages,
    words_of,
)
from doctor.trees import first_value, is_name_only, last_name, unparse, walk

PAGES = FACTS["pages"]
# What loads modules by names that are computed.
BY_NAME = ("import_module", "import_string", "find_modules", "iter_modules")


@check("H532", step=9)
def database_connected_twice(project):
    """db.init_app(app) behind SQLAlchemy(app) or deploy.init_app(), which have done it."""
    apps, made = project.calls("Flask"), list(project.calls("SQLAlchemy"))
    several = len(list(apps)) > 1 or len(made) > 1
    if several or (newest_allowed(project, "flask-sqlalchemy") or (0,)) < (3,):
        return
    joins = []
    for use in project.running.loading.calls:
        whole = use.of == "flask_sqlalchemy.SQLAlchemy" and use.node.args
        joined = use.of == "flask_sqlalchemy.SQLAlchemy.init_app"
        if (whole or joined) and "try" not in use.guards:
            joins.append(use)
    own = [use for use in joins if not use.path.startswith("deploy/")]
    if len({id(use.node) for use in joins}) > 1 and own:
        details = {"what": unparse(own[-1].node)[:60]}
        yield own[-1].path, own[-1].node.lineno, details


@check("H533", step=9)
def module_in_place_of_its_blueprint(project):
    """app.register_blueprint(api), where api is the module."""
    for use in project.running.loading.not_blueprints:
        blueprints = [
            name
            for name, value in use.of.names.items()
            if getattr(value, "of", "") == "flask.Blueprint"
        ]
        if "try" not in use.guards:
            name = unparse(use.node.args[0])
            right = f"{name}.{(blueprints or ['bp'])[0]}"
            details = {"module": name, "right": f"register_blueprint({right})"}
            yield use.path, use.node.lineno, details


@check("H534", step=12, level="warning")
def argument_of_another_name(project):
    """@app.route("/posts/<int:post_id>") above def show(id): Flask hands over post_id."""
    if project.calls_any("url_defaults", "url_value_preprocessor"):
        return
    known = {*PAGES["guards"], *PAGES["routes"], "errorhandler"}
    for module, function, addresses, owner in views(project):
        names = [last_name(getattr(n, "func", n)) for n in function.decorator_list]
        prefixes = [
            word
            for word in words_of(project.running.loading, owner)
            if word.arg in (None, "url_prefix")
            and re.search(r"<|^(?!['\"])", unparse(word.value))
        ]
        routes = [address for address, _ in addresses]
        if prefixes or {*names} - known or None in routes:
            continue
        if not is_seen(project.running.loading, owner):
            continue
        given = [
            word
            for route in function.decorator_list
            for word in getattr(route, "keywords", ())
            if word.arg in (None, "defaults", "subdomain", "host")
        ]
        for route in routes if not given else ():
            there = set(re.findall(r"<(?:[^<>:]+:)?(\w+)>", route))
            lost, extra = unmatched(function.args, there)
            if lost or extra:
                start = any(f is function for _, f in start_pages(project))
                details = {
                    "address": route,
                    "view": f"{function.name}({unparse(function.args)})",
                    "what": ", ".join([*sorted(lost), *sorted(extra)]),
                }
                level = "error" if start and route == "/" else "warning"
                yield module.path, function.lineno, details, level
                break


def unmatched(arguments, given):
    """Return (the names that a function wants and does not get, those that it gets and does not take)."""
    positional = [a.arg for a in (*arguments.posonlyargs, *arguments.args)]
    optional = positional[len(positional) - len(arguments.defaults) :]
    named = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    wanted = {*positional} - {*optional} | {a.arg for a, value in named if not value}
    takes = {*positional, *(a.arg for a in arguments.kwonlyargs)}
    return wanted - given, set() if arguments.kwarg else given - takes


@check("H535", step=12, level="warning")
def validator_without_brackets(project):
    """validators=[DataRequired]: the class where WTForms wants one of it."""
    if "wtforms" not in project.imported:
        return
    for path, node in project.nodes(ast.ClassDef):
        if not any(last_name(base).endswith("Form") for base in node.bases):
            continue
        for statement in node.body:
            call = getattr(statement, "value", None)
            for validator in validators_of(call) if isinstance(call, ast.Call) else ():
                name = last_name(validator)
                if name in PAGES["validators"]:
                    sure = on_start_page(
                        project, lambda n, form=node.name: last_name(n.func) == form
                    )
                    level = "error" if sure else "warning"
                    yield path, validator.lineno, {"name": name}, level


def validators_of(call):
    """Yield what stands in a field's list of validators."""
    words = {word.arg: word.value for word in call.keywords}
    for given in (words.get("validators"), *call.args[1:2]):
        yield from getattr(given, "elts", ())


@check("H536", step=9, level="warning")
def only_under_the_guard(project):
    """register_blueprint() below `if __name__ == "__main__"`, which no server comes to."""
    loading = project.running.loading
    for module in project.running.served_modules:
        if (module.path, True) in loading.modules:
            continue  # it is started as a program, too
        tree = project.trees.get(module.path)
        for statement in tree.body if tree else ():
            guard = isinstance(statement, ast.If) and not statement.orelse
            if not guard or "__main__" not in unparse(statement.test):
                continue
            for call in (n for n in walk(statement) if isinstance(n, ast.Call)):
                name, owner = last_name(call.func), getattr(call.func, "value", None)
                routes = name in ("register_blueprint", "include_router")
                background = name == "start" and re.search(
                    "(?i)sched|thread|updater", unparse(owner or call)
                )
                joins = name == "init_app" and isinstance(call.func, ast.Attribute)
                if not joins and not routes and not background:
                    continue
                rest = loading.views and not loading.mounted and routes
                mine = any(owner.of == "flask.Flask" for *_, owner in loading.views)
                level = "error" if rest and not mine else "warning"
                details = {"what": unparse(call)[:60]}
                yield module.path, call.lineno, details, level
                break


@check("H542", step=12, level="warning")
def blueprint_that_nobody_registers(project):
    """bp = Blueprint(…) with views, and no app.register_blueprint(bp): its pages are 404, links to them fail."""
    loading = project.running.loading
    made = [row for of, *row in made_by_modules(project) if of == "flask.Blueprint"]
    aside = project.trees.keys() - project.app_trees.keys()
    for path, name, call in made if not may_be_used(project) else ():
        same = {module_of(p) for p, other, _ in made if other == name and p != path}
        has_views = any(owner.node is call for *_, owner in loading.views)
        if call in loading.mounted or not has_views:
            continue
        # Also code that does not run, as far as that can be followed, may do it.
        registers = re.compile(rf"register_blueprint\(\s*([\w.]+\.)?{name}\b")
        registered = any(registers.search(project.text(other)) for other in aside)
        if not registered and not is_handed_on(project, path, name, same):
            own, links = first_value(call), [links_of(*p[2:]) for p in shown(project)]
            linked = any(v.partition(".")[0] == own for views in links for v in views)
            yield path, call.lineno, {"name": name}, "error" if linked else "warning"


@check("H526", step=12, level="warning")
def extension_that_no_app_has(project):
    """login_manager = LoginManager(), and no login_manager.init_app(app)."""
    for of, path, name, call in made_by_modules(project):
        row = PAGES["extensions"].get(of)
        given = call.args or any(word.arg in ("app", None) for word in call.keywords)
        if row is None or given or len([*project.calls(last_name(call.func))]) > 1:
            continue
        joins = re.compile(rf"\b{name}\.(init_app\(|app\s*=)")
        joined = any(joins.search(project.text(other)) for other in project.trees)
        if joined or may_be_used(project) or is_handed_on(project, path, name, set()):
            continue
        shows = "shows" in row and any(
            re.search(row["shows"], text) for _, _, _, text in shown(project)
        )
        runs = any(row.get("runs") == c.start(2) for c in project.commands)
        yield path, call.lineno, {"name": name}, "error" if shows or runs else "warning"


@once
def made_by_modules(project):
    """Yield (what makes it, path, name, call) of what modules make by a call: bp = Blueprint(…)."""
    makers = {id(u.node): u.of for u in project.running.loading.calls}
    for path, tree in project.app_trees.items():
        for node in tree.body:
            of = makers.get(id(getattr(node, "value", None)))
            name = getattr(getattr(node, "targets", [None])[0], "id", None)
            if isinstance(of, str) and name:
                yield of, path, name, node.value


def may_be_used(project):
    """Tell whether something may be given to others in a way that cannot be followed."""
    by_name = any(not p.startswith("deploy/") for p, _ in project.calls(*BY_NAME))
    return by_name or project.running.flexible or project.broken or project.unread


def module_of(path):
    """Return the last part of the name of a file's module."""
    return posixpath.basename(path.removesuffix("/__init__.py")).removesuffix(".py")


@once
def standing_alone(project):
    """Return the names that stand by themselves, not in front of a dot: {(file, name)}, {(owner, attribute)}."""
    names, attributes = set(), set()
    for path in project.app_trees:
        nodes = project.all_nodes(path)
        owners = {id(node.value) for node in nodes if isinstance(node, ast.Attribute)}
        for node in nodes:
            if id(node) in owners or is_name_only(node):
                continue
            if isinstance(node, ast.Name):
                names.add((path, node.id))
            elif isinstance(node, ast.Attribute):
                attributes.add((last_name(node.value), node.attr))
    return names, attributes


def is_handed_on(project, path, name, same):
    """Tell whether what a module calls so may be given to something, there or where it is imported.

    same: modules that have another thing of this name.
    """
    names, attributes = standing_alone(project)
    if (path, name) in names:
        return True
    if any(attribute == name and owner not in same for owner, attribute in attributes):
        return True
    for file, node in project.nodes(ast.ImportFrom):
        of_another = (node.module or "").rpartition(".")[2] in same
        for alias in node.names:
            if alias.name == "*" or alias.name == name and alias.asname:
                return True
            if alias.name == name and not of_another and (file, name) in names:
                return True
    return False
