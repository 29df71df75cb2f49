"""Checks of where the files lie (steps 1 and 6 of the guide)."""

import ast
import os
import re

from doctor import FACTS, check
from doctor.project import modules

LAYOUT = FACTS["layout"]


@check("H101", step=6)
def no_commit(project):
    # Heroku's own CI runs the project's tests, this one too, on files without git.
    if not project.in_git and not {"CI", "DYNO"} & set(os.environ):
        yield "", 0, {}


@check("H102", step=1)
def app_in_a_subfolder(project):
    if project.above:
        yield project.above, 0, {"folder": project.above.rstrip("/")}
    elif not any(looks_like_an_app(name) for name in project.in_root()):
        for path in sorted(project.sizes):
            folder, _, name = path.rpartition("/")
            if name in ("Procfile", "requirements.txt", "main.py", "app.py"):
                yield path, 0, {"folder": folder}
                return


def looks_like_an_app(name):
    aside = re.match(r"\.|(README|LICENSE)(\.\w+)?$", name)
    return not aside and ("." in name or name == "Procfile")


@check("H103", step=1)
def file_not_pushed(project):
    if project.in_git and not project.above:
        nodes = project.nodes(ast.Import, ast.ImportFrom)
        imported = {f"{name}.py" for _, node in nodes for name in modules(node)}
        for name in dict.fromkeys([*LAYOUT["needed"], *sorted(imported)]):
            if name not in project and project.in_folder(name):
                yield name, 0, {"name": name}


@check("H104", step=1)
def folder_in_other_letters(project):
    for folder in sorted({path.rpartition("/")[0] for path in project.sizes}):
        name = folder.rpartition("/")[2]
        if name != name.lower() and name.lower() in LAYOUT["folders"]:
            yield folder, 0, {"name": name, "right": name.lower()}


@check("H105", step=1)
def another_language(project):
    for name, language in LAYOUT["languages"].items():
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
