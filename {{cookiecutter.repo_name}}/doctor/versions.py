"""Versions and markers, compared as pip compares them."""

import ast
import operator
import re

COMPARE = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
SIGNS = {
    ast.Lt: ("<", ">"),
    ast.LtE: ("<=", ">="),
    ast.Gt: (">", "<"),
    ast.GtE: (">=", "<="),
    ast.Eq: ("==", "=="),
    ast.NotEq: ("!=", "!="),
}
FIGURES = re.compile(r"v?(\d+(?:\.\d+)*)")
# What a marker's names mean on the platform; of the others, such as the kernel's version, nothing is known.
# https://packaging.python.org/en/latest/specifications/dependency-specifiers/#environment-markers
LINUX = {
    "os_name": "posix",
    "os.name": "posix",
    "sys_platform": "linux",
    "sys.platform": "linux",
    "platform_system": "Linux",
    "platform_python_implementation": "CPython",
    "implementation_name": "cpython",
    "extra": "",  # a package's own: no line of a list asks for one
}
PYTHON = ("python_version", "python_full_version")


def numbers(version):
    """Return a version's numbers, for a comparison: (3, 1) for "3.1rc2"."""
    match = FIGURES.match(version)
    return tuple(int(part[:9]) for part in match[1].split(".")) if match else ()


def fits(version, spec):
    """Tell whether a version, as numbers, fits "<3,>=2.1"; "==2.1" takes all of 2.1."""
    for clause in filter(None, spec.split(",")):
        sign, number = re.match(r"([<>=!]+)(.+)", clause).groups()
        mine, other = list(version), list(numbers(number))
        if sign in ("==", "!="):
            mine = mine[: len(other)]
        mine += [0] * (len(other) - len(mine))
        other += [0] * (len(mine) - len(other))
        if not COMPARE[sign](mine, other):
            return False
    return True


def in_force(rows, version):
    """Return what stands in the last of the rows "2.1 <3" that is not newer than a version."""
    older = [row for row in rows if fits(numbers(version), f">={row.split()[0]}")]
    return older[-1].partition(" ")[2] if older else ""


def holds(marker, python):
    """Tell whether a marker holds on the platform under a Python such as (3, 13); None where that is not known."""
    if not marker:
        return True
    try:
        # They are written as Python is, but for ~= and ===.
        return meaning(ast.parse(marker.strip(), mode="eval").body, python)
    except (SyntaxError, ValueError, RecursionError):
        return None


def meaning(node, python):
    """Return the same of a part of a marker."""
    if isinstance(node, ast.BoolOp):
        parts = [meaning(part, python) for part in node.values]
        decides = isinstance(node.op, ast.Or)
        if decides in parts:
            return decides
        return None if None in parts else not decides
    if not isinstance(node, ast.Compare) or len(node.ops) > 1:
        return None
    sides, kind = (node.left, node.comparators[0]), type(node.ops[0])
    names = [None if isinstance(s, ast.Constant) else ast.unparse(s) for s in sides]
    texts = [
        str(side.value) if name is None else LINUX.get(name)
        for side, name in zip(sides, names, strict=True)
    ]
    if kind in SIGNS:
        return compared(names, texts, SIGNS[kind], python)
    texts = [
        ".".join(map(str, python[:2])) if name == "python_version" else text
        for name, text in zip(names, texts, strict=True)
    ]
    if None in texts or kind not in (ast.In, ast.NotIn):
        return None
    return (texts[0] in texts[1]) == (kind is ast.In)


def compared(names, texts, signs, python):
    """Return the same of `python_version < "3.12"` and of `"3.12" > python_version`."""
    of_python = next((n for n in names if n in PYTHON), None)
    if of_python:
        text = texts[names.index(None)] if None in names else ""
        sign, known = signs[names.index(of_python)], numbers(text)
        # Of python_full_version the patch is not known: it may be the one that is asked for.
        asked = known[2:3] or (0,)
        patches = ((0,), asked, (99,)) if of_python == "python_full_version" else ((),)
        found = set()
        for version in [(*python, *patch) for patch in patches]:
            # To a marker 3 is 3.0.
            zeros = "" if text.endswith("*") else ".0" * (len(version) - len(known))
            found.add(fits(version, f"{sign}{text}{zeros}"))
        return found.pop() if known and len(found) == 1 else None
    if None in texts or signs[0] not in ("==", "!="):
        return None
    return (texts[0] == texts[1]) == (signs[0] == "==")
