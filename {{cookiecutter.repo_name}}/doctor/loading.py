"""What an import certainly does: a module's statements in Python's order, read and not run.

Followed is what runs whenever a module is loaded, and the functions that are called on the
way. Of what stands under a condition only the names are kept: they may be there.
"""

import ast
import builtins
import posixpath
import re
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from doctor.trees import (
    FUNCTIONS,
    annotations,
    bound,
    bound_by,
    children,
    inner_nodes,
    is_name_only,
    made_global,
    unparse,
    visible,
    walk,
)

BUILT_IN = {*dir(builtins), "__file__", "__path__", "__annotations__", "__builtins__"}
# Handlers that survive an import in vain, and calls that may make up names.
CATCHES = {"ImportError", "ModuleNotFoundError", "Exception", "BaseException"}
MAKES_NAMES = {"globals", "locals", "vars", "exec", "setattr"}
# Loaded before anything else, so that a file of that name hides none of them.
ALWAYS_FIRST = {"sys", "builtins", "os", "io", "abc", "codecs", "site", "stat"}
ANNOTATED = (*FUNCTIONS, ast.arg, ast.AnnAssign)
LOOPS = (ast.For, ast.AsyncFor, ast.While, ast.Match)
# What is true in a new database, as the first deployment finds it.
FIRST_TIME = re.compile(
    r"not .*(\.query\.|\.session\.).*\.(first|count|scalar|all|one_or_none)\(\)"
    r"|.*(\.query\.|\.session\.).*(\.count\(\) == 0|\.first\(\) is None)"
)
ROUTES = {"route", "get", "post", "put", "patch", "delete"}
MODELS = (
    ".Model",
    ".DeclarativeBase",
    ".declarative_base",
)  # what a model is made from
FASTAPI = ("fastapi.FastAPI", "fastapi.APIRouter", "fastapi.routing.APIRouter")
MAX_DEPTH = 40  # imports and calls inside of each other
STOP = "the rest runs at times only"


@dataclass(eq=False, repr=False)
class Module:
    """A file on its way through an import. names: what is bound so far, and to what.

    A name stands for a Module, a Function, a Made, the full name of a package's thing, or
    None. open: it may have more names than can be seen. loads: the modules that it loads.
    """

    path: str
    name: str
    base: str
    paths: list
    main: bool = False
    names: dict = field(default_factory=dict)
    open: bool = False
    done: bool = False
    loads: set = field(default_factory=set)

    def below(self, but=frozenset()):
        """Return the modules that are loaded with this one, without others and theirs."""
        found, waiting = {self}, [self]
        while waiting:
            new = waiting.pop().loads - found - but
            found |= new
            waiting += new
        return found


@dataclass(eq=False, repr=False)
class Function:
    """A function; result: what it returns, as far as it is known."""

    node: ast.AST
    module: Module
    scope: object
    result: object = None

    @property
    def is_plain(self):
        """Tell whether a call runs its body at once."""
        node = self.node
        later = (ast.Yield, ast.YieldFrom)
        plain = isinstance(node, ast.FunctionDef) and not node.decorator_list
        return plain and not any(isinstance(n, later) for n in walk(node))


@dataclass(eq=False, repr=False)
class Made:
    """What a call has made. of: what was called, as far as it is known."""

    node: ast.Call
    of: object


@dataclass(eq=False, repr=False)
class Scope:
    """Names and where to look next. is_function: it runs when all of its module is there."""

    names: dict
    outer: object = None
    is_function: bool = False

    def find(self, name):
        """Return (whether it is known, what it stands for)."""
        if name in self.names:
            return True, self.names[name]
        return self.outer.find(name) if self.outer else (name in BUILT_IN, None)

    @property
    def late(self):
        return self.is_function or bool(self.outer and self.outer.late)


@dataclass(frozen=True)
class Import:
    """What a file imports. sure: it does so whenever the app starts; guarded: under a condition."""

    path: str
    line: int
    module: str
    names: tuple
    level: int
    sure: bool
    guarded: bool = False

    @property
    def first(self):
        """Return the first part of the module's name, which is what a package or a file has."""
        return self.module.partition(".")[0]


class Use(NamedTuple):
    """A call, or a name of a package that is used, at the start.

    of: what is called or used; guards: "with" and "try", where it stands in such a block,
    "thread" where it runs beside the rest.
    """

    path: str
    node: ast.AST
    of: object
    module: Module
    guards: frozenset


@dataclass(frozen=True)
class Mistake:
    """What would end a start. kind: lost, nameless, circular, relative, undefined or twice.

    file: the one that should have the name; module: what would be it, were there such a file
    in one of the folders.
    """

    kind: str
    path: str
    line: int
    name: str
    file: str = ""
    module: str = ""
    folders: tuple = ()


class Loading:
    """What is loaded from where something starts."""

    def __init__(self, project):
        self.project = project
        self.modules = {}  # (path, whether it is the program): Module
        self.imports, self.mistakes, self.calls, self.uses = [], [], [], []
        self.endless = []  # Uses of loops that end with the program only
        self.classes = []  # Uses, whose `of` is what makes a class a model of SQLAlchemy
        self.running, self.guards, self.returned = [], [], None
        self.seen, self.called, self.registered = set(), set(), set()
        self.views = []  # (Module, function, what routes it, the Made that it belongs to)
        self.not_blueprints = []  # Uses of modules that are registered as one
        self.root_of = {}  # id of a call: the Module that stands for what comes to it first
        self.known_at = {}  # id of a call of create_all(): how many classes there were
        self.mounted = {}  # blueprint's call: [(call that registers it, over what)]
        self.wanted = []  # what FastAPI reads from annotations: (path, node, what)
        self.bound_in, self.depth = {}, 0

    def locate(self, name, paths):
        """Return (file, folder) of a module of the project's own, (None, None) where there is none."""
        if name.partition(".")[0] in ALWAYS_FIRST:
            return None, None
        for base in paths:
            path = posixpath.join(base, name.replace(".", "/"))
            for file in (f"{path}/__init__.py", f"{path}.py"):
                if file in self.project:
                    return file, base
        return None, None

    def is_own(self, first, paths):
        """Tell whether a module is the project's. A folder without __init__.py loses against a package."""
        if self.locate(first, paths)[0]:
            return True
        brought = self.project.is_package(first) or first in self.project.list.folders
        return self.is_folder(first, paths) and not brought

    def is_folder(self, name, paths):
        """Tell whether a module is a folder without __init__.py."""
        path = name.replace(".", "/")
        return any(self.project.has_folder(posixpath.join(b, path)) for b in paths)

    def module(self, name, paths, main=False):
        """Load a module and the packages around it; return it, None where there is none."""
        parts, module = name.split("."), None
        for count in range(1, len(parts) + 1):
            part = ".".join(parts[:count])
            file, base = self.locate(part, paths)
            last = count == len(parts)
            module = self.load(part, file, base, paths, main and last) if file else None
        return module

    def load(self, name, file, base, paths, main=False):
        """Load a file, once."""
        known = self.modules.get((file, main))
        module = known or Module(file, name, base, paths, main)
        if self.running:
            self.running[-1].loads.add(module)
        if known:
            return known
        self.modules[file, main] = module
        tree = self.project.trees.get(file)
        if tree is None or self.depth > MAX_DEPTH:
            module.open = True
        else:
            nodes = self.project.nodes_of(file, ast.Call, ast.FunctionDef, ast.Global)
            # Another thing may take the module's place.
            replaced = "sys.modules[__name__] =" in self.project.text(file)
            module.open = replaced or makes_names(nodes)
            module.names |= dict.fromkeys(made_global(nodes))
            with self.inside(module):
                self.run(module, tree.body, Scope(module.names))
        module.done = True
        return module

    @contextmanager
    def inside(self, module):
        """Let what is loaded from here on be loaded by a module."""
        self.running.append(module)
        self.depth += 1
        yield
        self.depth -= 1
        self.running.pop()

    def call(self, function, given=()):
        """Go through the body of a function, once. given: what its arguments stand for."""
        main = isinstance(function, Function) and function.module.main
        if not isinstance(function, Function) or (function.node, main) in self.called:
            return
        if function.is_plain and self.depth <= MAX_DEPTH:
            self.called.add((function.node, main))
            own = dict.fromkeys(bound([function.node]))
            for name in made_global(walk(function.node)):
                own.pop(name, None)
            arguments = zip(function.node.args.args, given, strict=False)
            own |= {name.arg: of for name, of in arguments if isinstance(of, Made)}
            scope = Scope(own, function.scope, is_function=True)
            before, self.returned = self.returned, None
            with self.inside(function.module):
                self.run(function.module, function.node.body, scope)
            function.result, self.returned = self.returned, before

    def unbound_names(self):
        """Yield (path, node) of the names that nothing in their file binds at any time."""
        for module in [m for m in self.modules.values() if not m.open]:
            annotated = self.project.nodes_of(module.path, *ANNOTATED)
            known = self.all_names(module.path) | BUILT_IN | set(module.names)
            aside = {id(inner) for node in annotated for inner in annotations(node)}
            for node in self.project.nodes_of(module.path, ast.Name):
                is_read = isinstance(node.ctx, ast.Load)
                unknown = is_read and node.id not in known and node.id[:2] != "__"
                if unknown and id(node) not in aside:
                    yield module.path, node

    # --- statements ---

    def run(self, module, statements, scope, guard=""):
        """Go through statements. guard: the kind of block that they stand in."""
        self.guards.append(guard)
        stop = None
        for number, statement in enumerate(statements):
            if self.step(module, statement, scope) is STOP:
                self.keep_names(module, statements[number + 1 :], scope)
                stop = STOP
                break
        self.guards.pop()
        return stop

    def use(self, module, node, of):
        return Use(module.path, node, of, module, frozenset(self.guards))

    def keep_names(self, module, statements, scope):
        """Keep what may be bound; a return among them makes the rest unsure."""
        for name in bound(statements):
            if name == "*":
                module.open = True
            scope.names.setdefault(name, None)
        nodes = [node for s in statements for node in inner_nodes(s)]
        return STOP if any(isinstance(node, ast.Return) for node in nodes) else None

    def step(self, module, statement, scope):
        kind = type(statement)
        if kind in (ast.Import, ast.ImportFrom):
            self.seen.add(id(statement))
            self.do_import(module, statement, scope)
        elif kind in FUNCTIONS:
            arguments = statement.args
            defaults = [*arguments.defaults, *filter(None, arguments.kw_defaults)]
            self.look(module, [*statement.decorator_list, *defaults], scope)
            scope.names[statement.name] = Function(statement, module, scope)
            self.add_routes(module, statement, scope)
        elif kind is ast.ClassDef:
            keywords = [word.value for word in statement.keywords]
            parts = [*statement.decorator_list, *statement.bases, *keywords]
            if not getattr(statement, "type_params", None):
                self.look(module, parts, scope)
            self.run(module, statement.body, Scope({}, scope))
            bases = [self.meaning(base, scope) for base in statement.bases]
            bases = [getattr(base, "of", base) for base in bases]
            texts = [base for base in bases if isinstance(base, str)]
            model = next((text for text in texts if text.endswith(MODELS)), None)
            self.classes.append(self.use(module, statement, model))
            scope.names[statement.name] = model
        elif kind is ast.If:
            return self.step_if(module, statement, scope)
        elif kind in (ast.Try, ast.TryStar):
            if not may_survive(statement):
                stop = self.run(module, statement.body, scope, "try")
                rest = [*statement.handlers, *statement.orelse, *statement.finalbody]
                return self.keep_names(module, rest, scope) or stop
            return self.keep_names(module, [statement], scope)
        elif kind in (ast.With, ast.AsyncWith):
            for item in statement.items:
                self.look(module, [item.context_expr], scope)
                names = bound([item.optional_vars]) if item.optional_vars else ()
                scope.names |= dict.fromkeys(names)
            if "suppress" in unparse(statement.items[0].context_expr):
                return self.keep_names(module, [statement], scope)
            return self.run(module, statement.body, scope, "with")
        elif kind in LOOPS:
            if is_endless(statement):
                self.endless.append(self.use(module, statement, None))
            first = getattr(statement, "iter", getattr(statement, "subject", None))
            self.look(module, [first] if first else [statement.test], scope)
            return self.keep_names(module, [statement], scope)
        elif kind in (ast.Assign, ast.AnnAssign, ast.AugAssign):
            self.assign(module, statement, scope)
        else:
            parts = [n for n in children(statement) if not is_name_only(n)]
            self.look(module, parts, scope)
            scope.names |= dict.fromkeys(bound([statement]) - set(scope.names))
            if kind is ast.Return and statement.value:
                self.returned = self.meaning(statement.value, scope)
        return STOP if kind in (ast.Return, ast.Raise) else None

    def step_if(self, module, statement, scope):
        test = unparse(statement.test)
        if re.fullmatch(r"__name__ == '__main__'|'__main__' == __name__", test):
            chosen = statement.body if module.main else statement.orelse
            return self.run(module, chosen, scope)
        if "TYPE_CHECKING" in test:
            self.seen |= {id(node) for s in statement.body for node in walk(s)}
        else:
            self.look(module, [statement.test], scope)
            if FIRST_TIME.fullmatch(test):
                self.run(module, statement.body, scope)
        return self.keep_names(module, [*statement.body, *statement.orelse], scope)

    def assign(self, module, statement, scope):
        value = statement.value
        targets = getattr(statement, "targets", None) or [statement.target]
        if value is not None:
            self.look(module, [value], scope)
        for target in targets:
            owner = getattr(target, "value", None)
            known = self.meaning(owner, scope) if owner is not None else None
            if isinstance(target, ast.Attribute) and isinstance(known, Module):
                known.names.setdefault(target.attr, None)
            elif isinstance(target, ast.Name) and value is not None:
                scope.names[target.id] = self.meaning(value, scope)
            elif not isinstance(target, ast.Name):
                self.look(module, [target], scope)
                scope.names |= dict.fromkeys(bound([target]))

    # --- expressions ---

    def look(self, module, expressions, scope):
        """See which names an expression needs, and which functions it calls."""
        for node in (n for e in expressions for n in visible(e)):
            if isinstance(node, ast.NamedExpr):
                scope.names[node.target.id] = None
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                self.need_name(module, node, scope)
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                self.need_attribute(module, node, scope)
            elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
                owner = self.meaning(node.value, scope)
                if isinstance(owner, Made) and isinstance(owner.of, str):
                    self.uses.append(self.use(module, node, f"{owner.of}()[]"))
            elif isinstance(node, ast.Call):
                called = self.meaning(node.func, scope)
                self.calls.append(self.use(module, node, called))
                self.root_of.setdefault(id(node), self.running[0])
                if getattr(node.func, "attr", "") == "create_all":
                    self.known_at.setdefault(id(node), len(self.classes))
                self.register(module, node, scope)
                self.load_settings(module, node, called)
                self.call(called, [self.meaning(given, scope) for given in node.args])
                if called == "threading.Thread":
                    self.guards += ["thread", "try"]  # what it raises stops nobody else
                    for word in node.keywords:
                        if isinstance(word.value, ast.Lambda):
                            self.look(module, [word.value.body], scope)
                        self.call(self.meaning(word.value, scope))
                    del self.guards[-2:]

    def need_name(self, module, node, scope):
        known, _ = scope.find(node.id)
        if not known and scope.late:  # it may be bound later in the file
            known = node.id in self.all_names(module.path)
        if not known and not module.open:
            self.mistake("undefined", module, node, node.id)

    def need_attribute(self, module, node, scope):
        owner = self.meaning(node.value, scope)
        if isinstance(full := self.meaning(node, scope), str):
            self.uses.append(self.use(module, node, full))
        if isinstance(owner, Module) and not self.has(owner, node.attr):
            is_bound = node.attr in self.all_names(owner.path)
            kind = "nameless" if owner.done or not is_bound else "circular"
            self.mistake(kind, module, node, node.attr, owner.path)

    def all_names(self, path):
        """Return the names that a file binds at any time and depth."""
        if path not in self.bound_in:
            self.bound_in[path] = bound_by(self.project.all_nodes(path))
        return self.bound_in[path]

    def has(self, module, name):
        """Tell whether a module may have a name by now."""
        inner = f"{module.name}.{name}"
        return (
            name in module.names
            or module.open
            or name.startswith("__")
            or self.locate(inner, [module.base])[0] is not None
            or self.is_folder(inner, [module.base])
        )

    def meaning(self, node, scope):
        """Return what an expression stands for, None where nobody knows."""
        if isinstance(node, ast.Name):
            return scope.find(node.id)[1]
        if isinstance(node, ast.Attribute):
            owner = self.meaning(node.value, scope)
            if isinstance(owner, Module):
                return owner.names.get(node.attr)
            of = owner.of if isinstance(owner, Made) else owner
            return f"{of}.{node.attr}" if isinstance(of, str) else None
        if isinstance(node, ast.Call):
            of = self.meaning(node.func, scope)
            result = of.result if isinstance(of, Function) else None
            return Made(node, result.of if isinstance(result, Made) else of)
        return None

    def add_routes(self, module, function, scope):
        """Two views of one name: Flask's "View function mapping is overwriting …"."""
        for node in function.decorator_list:
            if not isinstance(node, ast.Call) or not isinstance(
                node.func, ast.Attribute
            ):
                continue
            owner = self.meaning(node.func.value, scope)
            of = owner.of if isinstance(owner, Made) else None
            if node.func.attr in ROUTES and of in FASTAPI:
                self.wanted += self.annotated(module, function, scope)
            if node.func.attr in ROUTES and of in ("flask.Flask", "flask.Blueprint"):
                self.views.append((module, function, node, owner))
                given = [w.value for w in node.keywords if w.arg == "endpoint"]
                name = self.name_of_view(function, node, scope)
                name = getattr(given[0], "value", None) if given else name
                key = (id(owner.node), name)
                if (
                    name  # else it is computed
                    and key in self.registered
                    and (key, id(function)) not in self.registered
                ):
                    self.mistake("twice", module, function, f"{name}()")
                self.registered |= {key, (key, id(function))}

    def name_of_view(self, function, route, scope):
        """Return a view's name for Flask: its own, or that of what a decorator below the route makes of it."""
        name, decorators = function.name, function.decorator_list
        for node in reversed(decorators[decorators.index(route) + 1 :]):
            made = self.meaning(node, scope)
            body = made.node.body if isinstance(made, Function) else []
            inner = [n for n in body if isinstance(n, FUNCTIONS)] if body else []
            last = getattr(body[-1], "value", None) if inner else None
            inner = [n for n in inner if n.name == getattr(last, "id", "")]
            keeps = inner and re.search(
                r"wraps|update_wrapper|__name__", unparse(made.node)
            )
            name = inner[0].name if inner and not keeps else name
        return name

    def annotated(self, module, function, scope):
        """Yield (path, node, its meaning) of the names in the annotations of arguments."""
        for argument in walk(function.args):
            for node in annotations(argument) if isinstance(argument, ast.arg) else ():
                if isinstance(node, (ast.Name, ast.Attribute)):
                    yield module.path, node, self.meaning(node, scope)

    def register(self, module, call, scope):
        """Two blueprints of one name."""
        if getattr(call.func, "attr", "") != "register_blueprint" or not call.args:
            return
        blueprint = self.meaning(call.args[0], scope)
        if isinstance(blueprint, Module):
            self.not_blueprints.append(self.use(module, call, blueprint))
        if not isinstance(blueprint, Made) or blueprint.of != "flask.Blueprint":
            return
        owner = self.meaning(call.func.value, scope)
        over = id(owner.node) if isinstance(owner, Made) else 0
        self.mounted.setdefault(blueprint.node, []).append((call, owner))
        given = [w.value for w in call.keywords if w.arg == "name"]
        name = (given or [*blueprint.node.args, None])[0]
        name = getattr(name, "value", None)
        if name and ("blueprint", over, name) in self.registered:
            self.mistake("twice", module, call, f'Blueprint("{name}")')
        self.registered.add(("blueprint", over, name))

    def load_settings(self, module, call, called):
        """Load what app.config.from_object("config.Production") names."""
        text = getattr(call.args[0], "value", None) if call.args else None
        settings = isinstance(called, str) and called.endswith(".config.from_object")
        if not settings or not isinstance(text, str):
            return
        name, _, inner = text.rpartition(".")
        if not name or self.locate(text, module.paths)[0]:
            name, inner = text, ""
        found = self.import_one(module, call, name, (), module.paths)
        if inner and isinstance(found, Module) and not self.has(found, inner):
            self.mistake(
                "nameless", module, call, inner, found.path, text, module.paths
            )

    def mistake(self, kind, module, node, name, file="", wanted="", folders=()):
        folders = tuple(folders)
        found = Mistake(kind, module.path, node.lineno, name, file, wanted, folders)
        if found not in self.mistakes:
            self.mistakes.append(found)

    # --- imports ---

    def do_import(self, module, node, scope):
        if isinstance(node, ast.Import):
            for alias in node.names:
                first = alias.name.partition(".")[0]
                bound_to = self.import_one(module, node, alias.name, (), module.paths)
                if not alias.asname and first != alias.name:
                    file, _ = self.locate(first, module.paths)
                    bound_to = self.modules.get((file, False)) if file else first
                scope.names[alias.asname or first] = bound_to
            return
        wanted, paths = node.module or "", module.paths
        if node.level:
            package = module.name.split(".")
            package = package if module.path.endswith("__init__.py") else package[:-1]
            if module.main and "." not in module.name or len(package) < node.level:
                shown = "." * node.level + wanted
                self.mistake("relative", module, node, shown)
                scope.names |= dict.fromkeys(bound([node]))
                return
            package = package[: len(package) - node.level + 1]
            wanted = ".".join([*package, *filter(None, [wanted])])
            paths = [module.base]
        names = tuple(alias.name for alias in node.names)
        source = self.import_one(module, node, wanted, names, paths)
        for alias in node.names:
            self.bind_alias(module, node, alias, wanted, source, paths, scope)

    def import_one(self, module, node, name, names, paths):
        """Load what an import names; return the Module, its name where it is a package's."""
        first = name.partition(".")[0]
        if not self.is_own(first, paths):
            level = getattr(node, "level", 0)
            self.imports.append(
                Import(module.path, node.lineno, name, names, level, True)
            )
            return name
        found = self.module(name, paths)
        if found is None and not self.is_folder(name, paths):
            self.mistake("lost", module, node, name, "", name, paths)
        return found

    def bind_alias(self, module, node, alias, wanted, source, paths, scope):
        """Bind one name of `from x import name`; tell where x does not have it."""
        name, target = alias.name, alias.asname or alias.name
        if name == "*":
            if not isinstance(source, Module) or source.open:
                module.open = True
            else:
                public = {n: v for n, v in source.names.items() if n[:1] != "_"}
                scope.names |= public
            return
        if isinstance(source, str):
            scope.names[target] = f"{source}.{name}"
            return
        lost = source is None and not self.is_folder(wanted, paths)  # said already
        inner = f"{wanted}.{name}"
        if source and name in source.names:
            meaning = source.names[name]
        else:
            meaning = None if lost else self.module(inner, paths)
            known = lost or meaning or self.is_folder(inner, paths)
            if not known and not (source and self.has(source, name)):
                self.mistake_of_alias(module, node, name, source, inner, paths)
        scope.names[target] = meaning

    def mistake_of_alias(self, module, node, name, source, inner, paths):
        """Record that a module has no such name, or has it later only."""
        file = source.path if source else ""
        later = source and not source.done and name in self.all_names(source.path)
        kind = "circular" if later and source is not module else "nameless"
        self.mistake(kind, module, node, name, file, inner, paths)


def makes_names(nodes):
    """Tell whether a module may get names in ways that cannot be followed."""
    for node in nodes:
        made = (
            isinstance(node, ast.Call) and getattr(node.func, "id", "") in MAKES_NAMES
        )
        if made or isinstance(node, ast.FunctionDef) and node.name == "__getattr__":
            return True
    return False


def may_survive(statement):
    """Tell whether a try statement lives on after an import in vain."""
    types = [handler.type for handler in statement.handlers]
    if None in types:
        return True
    names = {getattr(n, "id", "") for t in types for n in walk(t)}
    return bool(names & CATCHES)


def is_endless(loop):
    """Tell whether a loop is `while True` and has no way out."""
    always = isinstance(loop, ast.While) and bool(getattr(loop.test, "value", False))
    outs = (ast.Break, ast.Return, ast.Raise)
    return always and not any(isinstance(node, outs) for node in inner_nodes(loop))
