"""Checks of what deploy/ reads and refuses: config.py, and words behind its commands (steps 9 and 10)."""

import ast
import re

from doctor import FACTS, check
from doctor.data import inside_conditions
from doctor.models import in_migrations
from doctor.procfile import hides_https, in_code
from doctor.project import as_dict
from doctor.settings import is_text_of_environment
from doctor.trees import last_name, unparse

BAKED = FACTS["baked"]
CONFIG = "config.py"
# Settings that are no numbers.
NO_NUMBERS = ("TIME_ZONE", "EXTRA_SOURCES")


@check("H614", step=9)
def setting_that_deploy_refuses(project):
    """The server command says it in one sentence, and does not start."""
    if "deploy/environment.py" not in project or CONFIG not in project.trees:
        return
    for statement in project.trees[CONFIG].body:
        target = statement.targets[0] if isinstance(statement, ast.Assign) else None
        name, value = getattr(target, "id", ""), getattr(statement, "value", None)
        try:
            wrong = name in BAKED["settings"] and wrong_value(
                name, ast.literal_eval(value)
            )
        except (ValueError, TypeError):  # computed
            number = name in BAKED["settings"] and name not in NO_NUMBERS
            wrong = number and is_text_of_environment(value)
        if wrong:
            right = BAKED["settings"][name]
            details = {"what": f"{name} = {unparse(value)[:60]}", "right": right}
            yield CONFIG, statement.lineno, details


def wrong_value(name, value):
    """Tell whether a setting's value is refused."""
    if name == "TIME_ZONE":
        known = value == "UTC" or isinstance(value, str) and is_zone(value)
        return not known and (not isinstance(value, str) or is_zone("Europe/London"))
    if name == "EXTRA_SOURCES":
        return not isinstance(value, dict) or not all(
            kind in BAKED["sources"]
            and isinstance(more, str)
            and re.fullmatch(BAKED["source"], more)
            for kind, more in value.items()
        )
    return not isinstance(value, int) or value < 2  # a number; two processes share it


@check("H932", step=7, level="warning")
def more_connections_than_the_plan(project):
    """MAX_CONNECTIONS = 60 in config.py, and app.json asks for a plan that allows 20.

    Up to twice as many may be right: MOVING-ON.md puts a pooler between, which nothing here tells.
    """
    addons = project.json.get("addons")
    addons = addons if isinstance(addons, list) else []
    plans = [str(as_dict(addon).get("plan", addon)) for addon in addons]
    allowed = [BAKED["plans"][plan] for plan in plans if plan in BAKED["plans"]]
    config = project.trees.get(CONFIG) if "deploy/environment.py" in project else None
    for node in config.body if config and allowed else ():
        value = getattr(getattr(node, "value", None), "value", None)
        named = isinstance(node, ast.Assign) and last_name(node.targets[0])
        if (
            named == "MAX_CONNECTIONS"
            and isinstance(value, int)
            and value > 2 * allowed[0]
        ):
            details = {"value": value, "plan": plans[0], "allowed": allowed[0]}
            yield CONFIG, node.lineno, details


def is_zone(name):
    """Tell whether a time zone is known here; on Windows none may be."""
    from zoneinfo import ZoneInfo  # only some calls need it

    try:
        return bool(ZoneInfo(name))
    except (KeyError, OSError, ValueError):  # not found is a KeyError
        return False


@check("H931", step=7)
def pool_without_a_size(project):
    """A pool that takes no size beside one: create_engine() refuses the two together.

    https://docs.sqlalchemy.org/en/20/core/pooling.html; what deploy/ sets comes to engine_options.
    """
    times = project.times("poolclass")
    if times > 1 or not times and not project.has_keyword("poolclass"):
        return  # none, or one that may be taken out again
    sizes = {"pool_size", "max_overflow", "pool_timeout", "pool_use_lifo"}
    of_deploy = "pool_size" in project.text("deploy/environment.py")
    given = {
        id(word.value)
        for _, word in project.nodes(ast.keyword)
        if word.arg == "engine_options" and of_deploy
    }
    for path, node in project.nodes(ast.Dict, ast.Call):
        if isinstance(node, ast.Dict):
            pairs = zip(node.keys, node.values, strict=True)
            words = {getattr(key, "value", ""): value for key, value in pairs}
        else:
            words = {word.arg: word.value for word in node.keywords}
        pool = last_name(words.get("poolclass"))
        both = words.keys() & sizes or id(node) in given
        both = both and id(node) not in inside_conditions(project)
        if pool in BAKED["pools_without_a_size"] and both and project.is_sure(path):
            yield path, node.lineno, {"pool": pool}


@check("H929", step=7, level="warning")
def language_without_migration(project):
    """SEARCH_LANGUAGE of models.py is part of a column, which a migration has made in another language."""
    named = [
        node
        for path, node in project.nodes(ast.Assign)
        if path == "models.py" and unparse(node.targets[0]) == "SEARCH_LANGUAGE"
    ]
    language = getattr(named[0].value, "value", "") if named else ""
    texts = in_migrations(project) if language else ()
    searched = any("to_tsvector(" in text for text in texts)
    if searched and language not in " ".join(texts):
        yield "models.py", named[0].lineno, {"language": language}


@check("H930", step=12, level="warning")
def files_larger_than_a_request(project):
    """A form takes files, and MAX_CONTENT_LENGTH of config.py is left at what a form of words needs."""
    limits = [
        n
        for n in getattr(project.trees.get(CONFIG), "body", ())
        if isinstance(n, ast.Assign)
    ]
    limits = [n for n in limits if unparse(n.targets[0]) == "MAX_CONTENT_LENGTH"]
    if (
        not limits
        or project.has_text("max_content_length")
        or project.has_text("FileSize")
        or "deploy/environment.py" not in project
    ):
        return
    files = list(project.calls("FileField", "MultipleFileField"))
    files += [
        (path, node)
        for path, node in project.nodes(ast.Attribute)
        if node.attr == "files" and unparse(node) == "request.files"
        if not path.startswith("deploy/")
    ]
    if files and unparse(limits[-1].value) in ("64 * 1024", "65536"):
        yield CONFIG, limits[-1].lineno, {"file": files[0][0]}


@check("H424", step=10)
def waitress_in_front_of_deploy(project):
    """It takes away the header that says https, and deploy/ sends a visitor of http to https, without end."""
    baked = "deploy/environment.py" in project
    for command in in_code(project, "web") if baked else ():
        if hides_https(command):
            yield *command.place, {}


@check("H419", step=10)
def words_behind_the_server_command(project):
    """python -m deploy.server --bind …: it takes none, $PORT tells where to listen."""
    takes_none = "sys.argv[1:]" in project.text("deploy/server.py")
    for command in in_code(project) if takes_none else ():
        _, _, words = command.text.partition("-m deploy.server")
        if command.module() == "deploy.server" and re.match(r"\s+[-\w]", words):
            yield *command.place, {"words": words.strip()}
