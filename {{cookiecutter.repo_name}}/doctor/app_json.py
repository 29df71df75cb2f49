"""Checks of app.json and .slugignore (steps 4, 7, 9 and 13)."""

import json
import posixpath
import re

from doctor import FACTS, check
from doctor.files import hits, once
from doctor.packages import read_by_the_build
from doctor.project import as_dict, several

APP_JSON = FACTS["app_json"]
# What JSON's types are here, and how they look.
SHAPES = {"texts": (str, '"…"'), "objects": (dict, "{…}"), "lists": (list, "[…]")}


def of_app_json(project):
    """Return the level of what is wrong in app.json, which a push does not read, but a new app does.

    https://devcenter.heroku.com/articles/app-json-schema
    """
    pages = [name for name in project.in_root() if name.endswith(".md")]
    offers = re.compile(r"heroku\.com/deploy\b")
    return "error" if any(offers.search(project.text(p)) for p in pages) else "warning"


@check("H701", step=7)
def app_json_no_json(project):
    if "app.json" in project:
        try:
            json.loads(project.text("app.json"))
        except (ValueError, RecursionError) as error:
            line = getattr(error, "lineno", 0)
            yield "app.json", line, {"error": str(error)}, of_app_json(project)


@check("H702", step=7)
def app_json_shape(project):
    wrong = {
        key: right
        for kind, (shape, right) in SHAPES.items()
        for key in APP_JSON[kind]
        if key in project.json and not isinstance(project.json[key], shape)
    }
    for type, value in as_dict(project.json.get("formation")).items():
        if not isinstance(value, dict):
            wrong[f"formation.{type}"] = "{…}"
    for key, right in wrong.items():
        line = project.app_json_line(key.removeprefix("formation."))
        yield "app.json", line, {"key": key, "right": right}, of_app_json(project)


@check("H703", step=7)
def plan_that_is_gone(project):
    addons, stack = project.json.get("addons"), str(project.json.get("stack"))
    addons = addons if isinstance(addons, list) else []
    plans = [str(as_dict(addon).get("plan", addon)) for addon in addons]
    types = as_dict(project.json.get("formation")).values()
    sizes = [str(as_dict(value).get("size")) for value in types]
    gone = [plan for plan in plans if re.match(APP_JSON["gone"], plan)]
    gone += {stack}.intersection(APP_JSON["stacks"])
    gone += [size for size in sizes if size.lower() in APP_JSON["sizes"]]
    for name in gone:
        line = project.app_json_line(name)
        yield "app.json", line, {"name": name}, of_app_json(project)


@check("H704", step=4)
def name_too_long(project):
    name = project.json.get("name")
    if isinstance(name, str) and len(name) > 30:
        details = {"name": name, "length": len(name)}
        line = project.app_json_line("name")
        yield "app.json", line, details, of_app_json(project)


@check("H705", step=9, level="warning")
def variable_without_value(project):
    found = []
    for name, entry in project.app_env.items():
        required = isinstance(entry, dict) and entry.get("required", True)
        explained = required and entry.keys() & {"value", "generator", "description"}
        if required and not explained:
            found.append(name)
    if found:
        yield "app.json", project.app_json_line(found[0]), {"name": several(found)}


@check("H707", step=9, level="warning")
def tests_without_their_program(project):
    """Heroku CI runs what app.json says, with the packages of requirements-test.txt as well.

    https://github.com/heroku/heroku-buildpack-python, bin/test-compile
    """
    environments = as_dict(project.json.get("environments"))
    scripts = as_dict(as_dict(environments.get("test")).get("scripts"))
    started = re.match(r"\s*(python3? -m )?pytest\b", str(scripts.get("test")))
    have, complete, _ = project.available
    lists = "requirements.txt" in project and "requirements-test.txt" not in project
    if started and lists and complete and "pytest" not in have:
        yield "app.json", project.app_json_line("test"), {}


def needed(project):
    """Return the pushed files that the platform reads or the web process cannot do without."""
    files = {"Procfile"} | ({".python-version"} if "uv.lock" in project else set())
    named = "FLASK_APP" in project.text(".flaskenv")
    flask = [c for c in project.commands if c.program == "flask" and named]
    if any(not c.option("--app", "-A") for c in flask):
        files |= {".flaskenv"}
    lists = {name for name in FACTS["packages"]["lists"] if name in project}
    files |= {*(lists - project.slugignored or lists), *project.app_trees}
    folders = re.compile(rf"(.*/)?({'|'.join(FACTS['layout']['folders'])})/")
    found = {path for path in project.sizes if path in files or folders.match(path)}
    # From script.py.mako new migrations are written, which nobody does on a dyno; a page
    # without its picture still works.
    unread = re.compile(r".*\.(mako|md|psd|scss|map)|(.*/)?README[^/]*")
    static = re.compile(r"(.*/)?static/(?!.*\.(css|js)$)")
    found -= {path for path in found if static.match(path)}
    found = {path for path in found if not unread.fullmatch(path)}
    return found | {name for _, name in read_by_the_build(project) if name in project}


@check("H801", step=13)
def slugignore_removes_what_runs(project):
    """One reading takes a line for a pattern, the other every word of it."""
    paths = needed(project)
    for number, line in project.lines(".slugignore"):
        patterns = [line.strip(), *line.split()] if line[:1] not in "#!" else []
        removed = [path for pattern in patterns for path in hits(pattern, paths)]
        if removed:
            yield ".slugignore", number, {"pattern": line.strip(), "file": removed[0]}
        elif read := [path for p in patterns for path in hits(p, read_later(project))]:
            details = {"pattern": line.strip(), "file": read[0]}
            yield ".slugignore", number, details, "warning"


@once
def read_later(project):
    """Return the files of folders that code names, where it also names their kind: content/*.md."""
    own = [path for path in project.app_trees if not path.startswith("deploy/")]
    texts = {text for path in own for text in project.strings_of(path)}
    kinds = {text[text.rindex(".") :] for text in texts if re.search(r"\.\w+$", text)}
    folders = {text.strip("/") for text in texts}
    return {
        path
        for path in project.sizes
        if posixpath.splitext(path)[1] in kinds - {".py", ".html", ""}
        and posixpath.dirname(path) in folders - {""}
    }


@check("H802", step=13, level="warning")
def slugignore_exceptions(project):
    for number, line in project.lines(".slugignore"):
        if line.startswith("!"):
            yield ".slugignore", number, {"line": line}


@check("H803", step=13, level="warning")
def slugignore_prose(project):
    """The one published compiler takes every word of a comment for a pattern."""
    paths = needed(project)
    for number, line in project.lines(".slugignore"):
        comment = line[1:].split() if line.startswith("#") else []
        removing = [word for word in comment if hits(word.strip(",.;:"), paths)]
        if removing:
            yield ".slugignore", number, {"word": removing[0].strip(",.;:")}
