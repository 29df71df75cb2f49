"""Syntax trees: how they are read and gone through, and the names in them. Knows nothing of projects."""

import ast
import warnings
from collections import defaultdict
from functools import wraps
from inspect import isgenerator

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
# What binds a name, and where the name stands in it.
BINDS = {
    **dict.fromkeys((*FUNCTIONS, ast.ClassDef, ast.ExceptHandler), "name"),
    **dict.fromkeys((ast.MatchAs, ast.MatchStar), "name"),
    ast.arg: "arg",
    ast.MatchMapping: "rest",
}
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
MAX_DEPTH = 150  # of what is nested: deeper trees end in a RecursionError


def parse(content, version):
    """Return (syntax tree, its nodes as ast.walk() would give them, None where they lie too deep)."""
    with warnings.catch_warnings(action="ignore"):  # "\\d" and the like
        tree = ast.parse(content, feature_version=version)
    layers = list(layers_of(tree))
    if len(layers) > MAX_DEPTH:
        return tree, None
    return tree, [node for layer in layers for node in layer]


def layers_of(tree):
    """Yield the nodes of a syntax tree, those of one depth at a time.

    Without Load and Store: a third of all nodes, which nobody looks for.
    """
    layer = [tree]
    while layer:
        yield layer
        below = []
        for node in layer:
            for field in node._fields:
                if field != "ctx":
                    value = getattr(node, field, None)
                    below += value if type(value) is list else [value]
        layer = [part for part in below if isinstance(part, ast.AST)]


def once(function):
    """Let a function of a node do its work once for each: nobody changes a tree. What it yields becomes a list."""
    key = f"_{function.__name__}"

    @wraps(function)
    def remembered(node):
        known = vars(node)
        if key not in known:
            found = function(node)
            known[key] = list(found) if isgenerator(found) else found
        return known[key]

    return remembered


def by_type(nodes):
    """Return {type: nodes}."""
    found = defaultdict(list)
    for node in nodes:
        found[type(node)].append(node)
    return found


@once
def unparse(node):
    """Return the code of a node, as Python would write it."""
    return ast.unparse(node)


@once
def walk(tree):
    """Return a node and all below it in the order of ast.walk(), which takes twice as long."""
    return [node for layer in layers_of(tree) for node in layer]


@once
def children(node):
    """Return the nodes right below a node."""
    found = []
    for field in node._fields:
        value = getattr(node, field, None)
        if isinstance(value, ast.AST):
            found.append(value)
        elif type(value) is list:
            found += [part for part in value if isinstance(part, ast.AST)]
    return found


@once
def inner_nodes(statement):
    """Yield the nodes of a statement, without the bodies of functions in it."""
    yield statement
    if not isinstance(statement, (*FUNCTIONS, ast.Lambda)):
        for part in children(statement):
            yield from inner_nodes(part)


@once
def visible(node):
    """Yield the parts of an expression that are computed at once, inner ones first."""
    if isinstance(node, ast.Lambda):
        parts = [*node.args.defaults, *filter(None, node.args.kw_defaults)]
    elif isinstance(node, COMPREHENSIONS):
        parts = [node.generators[0].iter]
    elif isinstance(node, ast.BoolOp):
        parts = node.values[:1]
    elif isinstance(node, ast.IfExp):
        parts = [node.test]
    else:
        parts = children(node)
    for part in parts:
        yield from visible(part)
    yield node


def annotations(node):
    """Yield the nodes of a node's annotations, which need not be computed."""
    for part in (getattr(node, "annotation", None), getattr(node, "returns", None)):
        yield from walk(part) if part else ()


def is_name_only(node):
    """Tell whether a part of a statement is a place to store something."""
    return isinstance(getattr(node, "ctx", None), (ast.Store, ast.Del))


def bound(nodes):
    """Return all names that these nodes bind, at any depth; "*" where one cannot know."""
    return set().union(*map(bound_in, nodes))


@once
def bound_in(node):
    return bound_by(walk(node))


def bound_by(nodes):
    """Return the names that these nodes themselves bind."""
    found = set()
    for node in nodes:
        kind = type(node)
        if kind is ast.Name:
            if isinstance(node.ctx, ast.Store):
                found.add(node.id)
        elif kind is ast.alias:
            found.add(node.asname or node.name.partition(".")[0])
        elif kind in BINDS:
            found.add(getattr(node, BINDS[kind]))
    return found - {None}


def made_global(nodes):
    """Return the names that functions bind in their module."""
    found = [node.names for node in nodes if isinstance(node, ast.Global)]
    return {name for names in found for name in names}


def last_name(node):
    """Return the name at the end of an expression: "c" for a.b.c, "" for other things."""
    return getattr(node, "attr", getattr(node, "id", ""))


def name_of_target(assignment):
    """Return what a value is given to: NAME = …, x.NAME = … or x["NAME"] = …, "" for anything else."""
    key = assignment.targets[0]
    return last_name(key) or getattr(getattr(key, "slice", None), "value", "")


def first_value(call):
    """Return the constant that a call is given first, None for other things."""
    first = call.args[0] if call.args else None
    return first.value if isinstance(first, ast.Constant) else None


def strings(tree):
    """Return all texts in a syntax tree."""
    return texts_of(walk(tree))


def texts_of(nodes):
    values = (getattr(node, "value", None) for node in nodes)
    return [value for value in values if isinstance(value, str)]


def is_sys_path(node):
    names = (last_name(getattr(node, "value", None)), last_name(node))
    return names == ("sys", "path")
