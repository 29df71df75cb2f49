"""Checks of where the files lie (steps 1 and 6 of the guide)."""

import ast
import os
import re

from doctor import check
from doctor.project import modules

NEEDED = (
    "Procfile",
    "requirements.txt",
    ".python-version",
    "main.py",
    "app.json",
    ".slugignore",
)
# Heroku tries these languages before Python.
OTHER_LANGUAGES = {
    "package.json": "Node.js",
    "Gemfile": "Ruby",
    "project.clj": "Clojure",
}


def on_the_platform():
    """Heroku's own CI runs the project's tests, this one included, on files without git."""
    return "CI" in os.environ or "DYNO" in os.environ


@check("H101", step=6)
def no_commit(project):
    if not project.in_git and not on_the_platform():
        yield "", 0, {}


@check("H102", step=1)
def app_in_a_subfolder(project):
    if project.above:
        yield project.above, 0, {"folder": project.above.rstrip("/")}
    elif not any("." in name or name == "Procfile" for name in visible(project)):
        for path in sorted(project.sizes):
            folder, _, name = path.rpartition("/")
            if name in ("Procfile", "requirements.txt", "main.py", "app.py"):
                yield path, 0, {"folder": folder}
                return


def visible(project):
    """Return what the root holds that could be an app's."""
    aside = {"README.md", "LICENSE", "README.txt", "README.rst", "LICENSE.txt"}
    return {name for name in project.in_root() if name not in aside and name[0] != "."}


@check("H103", step=1)
def file_not_pushed(project):
    if project.in_git and not project.above:
        imported = {f"{name}.py" for name in imported_names(project)}
        for name in [*NEEDED, *sorted(imported - set(NEEDED))]:
            if name not in project and project.in_folder(name):
                yield name, 0, {"name": name}


def imported_names(project):
    """Return the first names of all modules that the app's code imports."""
    nodes = project.nodes(ast.Import, ast.ImportFrom)
    return {name for _, node in nodes for name in modules(node)}


@check("H104", step=1)
def folder_in_other_letters(project):
    folders = {path.rpartition("/")[0] for path in project.sizes}
    for folder in sorted(folders):
        name = folder.rpartition("/")[2]
        if name != name.lower() and name.lower() in (
            "templates",
            "static",
            "migrations",
        ):
            yield folder, 0, {"name": name, "right": name.lower()}


@check("H105", step=1)
def another_language(project):
    for name, language in OTHER_LANGUAGES.items():
        if name in project:
            yield name, 0, {"name": name, "language": language}


@check("H106", step=1, level="warning")
def container_files(project):
    for name in ("Dockerfile", "heroku.yml"):
        if name in project:
            yield name, 0, {"name": name}


@check("H107", step=13)
def virtual_environment_pushed(project):
    for path in sorted(project.sizes):
        if re.fullmatch(r"(.*/)?pyvenv\.cfg", path) or re.match(r"\.?venv/", path):
            yield path, 0, {"folder": path.partition("/")[0]}
            return
