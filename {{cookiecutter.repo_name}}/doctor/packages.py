"""Checks of the packages and of the Python version (steps 1 and 13 of the guide)."""

import ast
import os
import re
import sys

from doctor import FACTS, check
from doctor.project import modules, normal, plain_utf8, utf16

PACKAGES, PYTHON = FACTS["packages"], FACTS["python"]
OFFERED = ", ".join(PYTHON["offered"])
NEWEST = PYTHON["offered"][-1]
VERSION = r"(3\.\d{1,3})(\.\d{1,3})?"


def misspelt(project):
    """Yield the files in the root that are nearly called requirements.txt."""
    for name in sorted(project.in_root()):
        letters = re.sub(r"[^a-z]", "", name.lower())
        wrong = letters in PACKAGES["misspelt"] and name != "requirements.txt"
        if wrong and name in project:
            yield name


@check("H201", step=13)
def one_list_of_packages(project):
    found = [name for name in PACKAGES["lists"] if name in project]
    if len(found) > 1:
        yield found[1], 0, {"found": ", ".join(found)}
    elif not found and not list(misspelt(project)) and not project.above:
        yield "", 0, {"found": "–"}


@check("H202", step=13)
def name_of_the_list(project):
    if not any(name in project for name in PACKAGES["lists"]):
        for name in misspelt(project):
            yield name, 0, {"name": name}


@check("H203", step=13)
def encoding_of_the_list(project):
    if utf16(project.contents.get("requirements.txt", b"")):
        yield "requirements.txt", 1, {}


def available(project):
    """Return the names of all packages that an import may rely on."""
    names = set(project.requirements)
    return names.union(*(PACKAGES["brought_by"].get(name, ()) for name in names))


def packages_of(module):
    """Return the packages that a module may come from; any one of them will do."""
    return PACKAGES["of_module"].get(module, [normal(module)])


def imports(project):
    """Yield (path, line, module) of what the app imports when it starts.

    Imports in functions and in `try` are left out: the app may well do without them.
    """
    for path, tree in project.app_trees.items():
        for node in tree.body:
            for module in modules(node):
                yield path, node.lineno, module


@check("H204", step=13)
def import_without_package(project):
    if not project.requirements:
        return
    # Modules that lie in the folder and are not pushed are for H103 to tell.
    own = {name.removesuffix(".py") for name in os.listdir(project.root)}
    for path in project.sizes:
        own |= set(path.removesuffix(".py").split("/"))
    known = own | set(sys.stdlib_module_names)
    have = available(project)
    for path, line, module in imports(project):
        packages = packages_of(module)
        if module not in known and not set(packages) & have:
            known.add(module)  # once is enough
            yield path, line, {"module": module, "package": packages[0]}


@check("H205", step=13, level="warning")
def heavy_and_unused(project):
    # Where there is a list of direct packages, the others are brought by those.
    direct = project.direct_requirements
    found = set(PACKAGES["heavy"]) & set(direct)
    if not found:
        return
    nodes = (node for tree in project.trees.values() for node in ast.walk(tree))
    names = {name for node in nodes for name in modules(node)}
    used = {package for name in names for package in packages_of(name)}
    for other in project.requirements:
        used |= set(PACKAGES["brought_by"].get(other, ()))
    for package in sorted(found - used):
        file, line, _ = direct[package]
        yield file, line, {"package": package}


@check("H207", step=13)
def package_only_here(project):
    pattern = re.compile(r"-e\s|--editable|\.{0,2}/|file:|[A-Za-z]:\\|.*\s@\s+file:")
    for number, line in project.lines("requirements.txt"):
        name = normal(re.match(r"[\w.-]*", line.strip())[0])
        windows_only = name in PACKAGES["windows_only"] and ";" not in line
        if pattern.match(line.strip()) or windows_only:
            yield "requirements.txt", number, {"line": line.strip()}


@check("H208", step=7)
def no_driver(project):
    uses = {"sqlalchemy", "flask-sqlalchemy"} & set(project.requirements)
    imported = {module for _, _, module in imports(project)}  # that is for H204
    wanted = "DATABASE_URL" in project.constants
    have = imported.intersection(PACKAGES["driver_modules"])
    have |= set(PACKAGES["drivers"]) & set(project.requirements)
    if uses and wanted and not have:
        file, line, _ = project.requirements[min(uses)]
        yield file, line, {}


def wrong_version_files(project):
    """Yield the files in the root that are nearly called .python-version."""
    for name in sorted(project.in_root()):
        nearly = re.fullmatch(r"\W*python\W?version(\Wtxt)?", name.replace("_", "-"))
        if nearly and name != ".python-version" and name in project:
            yield name


@check("H301", step=1, level="warning")
def python_not_named(project):
    named = {".python-version", "runtime.txt"} & set(project.sizes)
    if "requirements.txt" in project and not named | set(wrong_version_files(project)):
        yield "", 0, {"newest": NEWEST}


@check("H302", step=1)
def python_version_unreadable(project):
    if ".python-version" not in project:
        for name in wrong_version_files(project):
            yield name, 0, {"text": name, "newest": NEWEST}
        return
    lines = [line.strip() for _, line in project.lines(".python-version")]
    versions = [line for line in lines if line and line[0] != "#"]
    readable = len(versions) == 1 and re.fullmatch(VERSION, versions[0])
    if not readable or not plain_utf8(project.contents.get(".python-version", b"")):
        text = project.text(".python-version").strip()[:30]
        yield ".python-version", 1, {"text": text, "newest": NEWEST}


def named_python(project):
    """Return (file, "3.x") of what the project asks for, None where it says nothing readable."""
    for file, pattern in (
        ("runtime.txt", rf"\s*python-{VERSION}\s*"),
        (".python-version", rf"\s*{VERSION}\s*"),
    ):
        if match := re.fullmatch(pattern, project.text(file)):
            return file, match[1]
    return None


@check("H303", step=1)
def python_not_offered(project):
    named = named_python(project)
    known = PYTHON["offered"] + PYTHON["ending"]
    if named and named[1] not in known and not newer_than_the_facts(named[1]):
        yield named[0], 1, {"version": named[1], "offered": OFFERED}


def newer_than_the_facts(version):
    """Tell whether a version has come out since the list of what is offered was made."""
    newest = max(int(known.partition(".")[2]) for known in PYTHON["offered"])
    return int(version.partition(".")[2]) > newest


@check("H306", step=1, level="warning")
def python_not_known(project):
    named = named_python(project)
    if named and newer_than_the_facts(named[1]):
        details = {"version": named[1], "date": FACTS["date"], "offered": OFFERED}
        yield named[0], 1, details


@check("H304", step=1, level="warning")
def runtime_txt(project):
    if "runtime.txt" in project:
        yield "runtime.txt", 1, {}


@check("H305", step=1, level="warning")
def python_ends_soon(project):
    named = named_python(project)
    if named and named[1] in PYTHON["ending"]:
        yield named[0], 1, {"version": named[1], "offered": OFFERED}
