"""Checks of the packages and of the Python version (steps 1 and 13 of the guide)."""

import ast
import os
import re
import sys

from doctor import check
from doctor.project import LOCK_FILES, modules, normal, plain_utf8, utf16

MANAGERS = ("requirements.txt", *LOCK_FILES)
PYTHONS = ("3.11", "3.12", "3.13", "3.14")  # of the platform, as of 2026-11
ENDING = ("3.10",)

# Modules whose package has another name. Any one of the packages will do.
PACKAGE_OF = {
    "attr": ("attrs",),
    "bs4": ("beautifulsoup4",),
    "cv2": ("opencv-python", "opencv-python-headless"),
    "dateutil": ("python-dateutil",),
    "dotenv": ("python-dotenv",),
    "jwt": ("pyjwt",),
    "PIL": ("pillow",),
    "psycopg": ("psycopg", "psycopg-binary"),
    "psycopg2": ("psycopg2", "psycopg2-binary"),
    "redis": ("redis",),
    "sklearn": ("scikit-learn",),
    "telebot": ("pytelegrambotapi",),
    "yaml": ("pyyaml",),
}
# What a package brings along: an import of these needs no line of its own.
BROUGHT_BY = {
    "flask": "blinker click itsdangerous jinja2 markupsafe werkzeug",
    "flask-sqlalchemy": "sqlalchemy",
    "flask-migrate": "alembic sqlalchemy flask-sqlalchemy mako",
    "flask-wtf": "wtforms",
    "alembic": "sqlalchemy mako",
    "pandas": "numpy python-dateutil pytz",
    "requests": "urllib3 certifi idna charset-normalizer",
    "scikit-learn": "numpy scipy joblib",
    "granian": "click",
}
HEAVY = {
    *(
        "tensorflow",
        "torch",
        "torchvision",
        "pandas",
        "numpy",
        "scipy",
        "matplotlib",
        "scikit-learn",
    ),
    *(
        "opencv-python",
        "jupyter",
        "notebook",
        "jupyterlab",
        "playwright",
        "transformers",
        "pyside6",
    ),
}
DRIVER_MODULES = {"psycopg", "psycopg2", "pg8000", "asyncpg"}
DRIVERS = {
    "psycopg",
    "psycopg-binary",
    "psycopg2",
    "psycopg2-binary",
    "pg8000",
    "asyncpg",
}
WINDOWS_ONLY = {
    "pywin32",
    "pypiwin32",
    "pywinpty",
    "pywin32-ctypes",
    "wmi",
    "win32-setctime",
}


def misspelt(project):
    """Yield the files in the root that are nearly called requirements.txt."""
    for name in sorted(project.in_root()):
        letters = re.sub(r"[^a-z]", "", name.lower())
        wrong = {
            "requirementstxt",
            "requirementtxt",
            "requirmentstxt",
            "requirementstxttxt",
            "requirements",
        }
        if letters in wrong and name != "requirements.txt" and name in project:
            yield name


@check("H201", step=13)
def one_list_of_packages(project):
    found = [name for name in MANAGERS if name in project]
    if len(found) > 1:
        yield found[1], 0, {"found": ", ".join(found)}
    elif not found and not list(misspelt(project)) and not project.above:
        yield "", 0, {"found": "–"}


@check("H202", step=13)
def name_of_the_list(project):
    if not any(name in project for name in MANAGERS):
        for name in misspelt(project):
            yield name, 0, {"name": name}


@check("H203", step=13)
def encoding_of_the_list(project):
    if utf16(project.contents.get("requirements.txt", b"")):
        yield "requirements.txt", 1, {}


def available(project):
    """Return the names of all packages that an import may rely on."""
    names = set(project.requirements)
    for package in list(names):
        names |= set(BROUGHT_BY.get(package, "").split())
    return names


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
    own |= {
        part for path in project.sizes for part in path.removesuffix(".py").split("/")
    }
    known = own | set(sys.stdlib_module_names)
    have = available(project)
    for path, line, module in imports(project):
        packages = PACKAGE_OF.get(module, (normal(module),))
        if module not in known and not set(packages) & have:
            known.add(module)  # once is enough
            yield path, line, {"module": module, "package": packages[0]}


@check("H205", step=13, level="warning")
def heavy_and_unused(project):
    # Where there is a list of direct packages, the others are brought by those.
    direct = project.direct_requirements
    found = sorted(HEAVY & set(direct))
    if not found:
        return
    nodes = (node for tree in project.trees.values() for node in ast.walk(tree))
    names = {name for node in nodes for name in modules(node)}
    used = {p for name in names for p in PACKAGE_OF.get(name, (normal(name),))}
    for other in project.requirements:
        used |= set(BROUGHT_BY.get(other, "").split())
    for package in found:
        file, line, _ = direct[package]
        if package not in used:
            yield file, line, {"package": package}


@check("H207", step=13)
def package_only_here(project):
    pattern = re.compile(r"-e\s|--editable|\.{0,2}/|file:|[A-Za-z]:\\|.*\s@\s+file:")
    for number, line in project.lines("requirements.txt"):
        name = normal(re.match(r"[\w.-]*", line.strip())[0])
        if pattern.match(line.strip()) or (name in WINDOWS_ONLY and ";" not in line):
            yield "requirements.txt", number, {"line": line.strip()}


@check("H208", step=7)
def no_driver(project):
    uses = {"sqlalchemy", "flask-sqlalchemy"} & set(project.requirements)
    imported = {module for _, _, module in imports(project)}  # that is for H204
    wanted = "DATABASE_URL" in project.constants and not DRIVER_MODULES & imported
    if uses and wanted and not DRIVERS & set(project.requirements):
        file, line, _ = project.requirements[min(uses)]
        yield file, line, {}


@check("H301", step=1, level="warning")
def python_not_named(project):
    wrong = list(wrong_version_files(project))
    if (
        "requirements.txt" in project
        and not wrong
        and not {".python-version", "runtime.txt"} & set(project.sizes)
    ):
        yield "", 0, {"newest": PYTHONS[-1]}


def wrong_version_files(project):
    for name in (
        "python-version",
        ".python_version",
        ".python-version.txt",
        "python-version.txt",
        ".pythonversion",
    ):
        if name in project:
            yield name


@check("H302", step=1)
def python_version_unreadable(project):
    for name in wrong_version_files(project):
        if ".python-version" not in project:
            yield name, 0, {"text": name}
    if ".python-version" in project:
        content = project.contents.get(".python-version", b"")
        versions = [
            line
            for _, line in project.lines(".python-version")
            if line.strip() and line[0] != "#"
        ]
        readable = len(versions) == 1 and re.fullmatch(
            r"\s*3\.\d+(\.\d+)?\s*", versions[0]
        )
        if not readable or not plain_utf8(content):
            yield (
                ".python-version",
                1,
                {"text": project.text(".python-version").strip()[:30]},
            )


def named_python(project):
    """Return (file, "3.x") of what the project asks for, None where it says nothing readable."""
    for file, pattern in (
        ("runtime.txt", r"\s*python-(3\.\d+)(\.\d+)?\s*"),
        (".python-version", r"\s*(3\.\d+)(\.\d+)?\s*"),
    ):
        if match := re.fullmatch(pattern, project.text(file)):
            return file, match[1]
    return None


@check("H303", step=1)
def python_not_offered(project):
    if (named := named_python(project)) and named[1] not in PYTHONS + ENDING:
        yield named[0], 1, {"version": named[1], "offered": ", ".join(PYTHONS)}


@check("H304", step=1, level="warning")
def runtime_txt(project):
    if "runtime.txt" in project:
        yield "runtime.txt", 1, {}


@check("H305", step=1, level="warning")
def python_ends_soon(project):
    if (named := named_python(project)) and named[1] in ENDING:
        yield named[0], 1, {"version": named[1], "offered": ", ".join(PYTHONS)}
