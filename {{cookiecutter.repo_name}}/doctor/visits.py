"""Checks of what a first visit asks for and is not there, and of templates that Jinja cannot read (step 12)."""

import ast
import re

from doctor import FACTS, check
from doctor.files import line_at, once
from doctor.forms import endpoint, views
from doctor.models import class_definitions, is_model, members, named_behind
from doctor.pages import (
    LINK,
    in_views,
    is_on_start_page,
    is_seen,
    on_start_page,
    parts_of,
    rendered,
    shown,
    start_pages,
    templates,
    words_of,
)
from doctor.trees import last_name, unparse, walk

PAGES = FACTS["pages"]
# "x = 1" where a test wants "x == 1".
ONE_SIGN = re.compile(r"(?<![=!<>])=(?!=)")
TEXTS = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'", re.DOTALL)


@check("H148", step=12, level="warning")
def template_that_jinja_cannot_read(project):
    """{% if x = 1 %}, {% extends base.html %}, {{ url_for('index' }}."""
    if not project.is_flask or project.running.settings:
        return
    seen = {path for path, _, tag, _ in shown(project) if tag == "file"}
    for path, text in templates(project):
        for line, tag, rest, _ in parts_of(text):
            plain = TEXTS.sub("''", rest)
            test = tag in ("if", "elif") and "(" not in plain and ONE_SIGN.search(plain)
            named = tag in ("extends", "include") and re.match(r"\w+\.html?\b", plain)
            counts = [plain.count(sign) for sign in "()[]"]
            uneven = counts[0] != counts[1] or counts[2] != counts[3]
            if (test or named or uneven) and not re.search(
                "['\"]", plain.replace("''", "")
            ):
                level = "error" if path in seen else "warning"
                yield path, line, {"what": f"{tag} {rest.strip()}".strip()[:60]}, level
                break


@check("H155", step=12)
def template_in_other_letters(project):
    """Jinja reads templates as UTF-8. An error where the start page surely shows it."""
    seen = {path for path, _, tag, _ in shown(project) if tag == "file"}
    used = rendered(project)
    own = project.has_text("FileSystemLoader")  # which may be told an encoding
    for path, _ in () if own else templates(project):
        content = project.contents[path]
        if used is not None and path not in used:
            continue
        try:
            content.decode("utf-8")
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            yield path, line, {"name": path}, "error" if path in seen else "warning"


@check("H149", step=12, level="warning")
def link_to_a_view_for_post(project):
    """<a href="{{ url_for('borrow') }}">, where the view takes POST only: 405."""
    only = {
        endpoint(function, owner)
        for _, function, addresses, owner in views(project)
        if not any("GET" in methods for _, methods in addresses)
    }
    for path, text in templates(project) if only else ():
        for match in re.finditer(
            r"<a\b[^>]{0,200}?\bhref\s*=\s*[\"']\s*\{\{(.{0,200}?)\}\}", text
        ):
            link = LINK.search(match[1])
            by_script = re.search(
                r"(?i)hx-|onclick|data-method|data-\w*remote", match[0]
            )
            if link and link[1] in only and not by_script:
                yield path, line_at(text, match.start()), {"name": link[1]}
                break


@check("H150", step=12)
def nobody_is_logged_in_yet(project):
    """{{ current_user.username[0] }} on the start page: who comes first has no name."""
    if "flask_login" not in project.imported or re.search(
        "(?i)anonymous_?user", "".join(map(project.text, project.app_trees))
    ):
        return
    for path, line, tag, rest in shown(project):
        plain = TEXTS.sub("''", rest)
        found = re.search(r"\bcurrent_user\.(?!is_|get_id)\w+\s*[.\[(]", plain)
        if found and not tag and not re.search(r"\b(if|or|and|default)\b", plain):
            yield path, line, {"what": rest.strip()[:60]}
            return


@check("H538", step=12)
def asked_of_a_first_visit(project):
    """request.args["page"] and session["name"] on the start page: who comes first has neither."""
    for path, node in project.nodes(ast.Subscript):
        owner = last_name(node.value)
        asks = owner in ("args", "session") and isinstance(node.ctx, ast.Load)
        asks = asks and unparse(node.value) in ("request.args", "session")
        if (
            not asks
            or path.startswith("deploy/")
            or not is_on_start_page(project, node)
        ):
            continue
        if unparse(node.slice) not in stored_before(project):
            yield path, node.lineno, {"what": unparse(node)[:60]}
            return
    for path, call in project.calls("int", "float"):
        inner = call.args[0] if len(call.args) == 1 else None
        code = unparse(inner) if isinstance(inner, ast.Call) else ""
        asks = re.fullmatch(r"request\.args\.get\('\w+'\)", code)
        if asks and is_on_start_page(project, call):
            yield path, call.lineno, {"what": unparse(call)[:60]}
            return


@once
def stored_before(project):
    """Return the keys, as code, that a first visit may find: stored by no other view than the start page's."""
    own = {id(n) for _, page in start_pages(project) for n in walk(page)}
    others = in_views(project) - own
    return {
        unparse(node.slice)
        for _, node in project.nodes(ast.Subscript)
        if isinstance(node.ctx, ast.Store) and id(node) not in others
    } | {unparse(c.args[0]) for _, c in project.calls("setdefault") if c.args}


@check("H539", step=12, level="warning")
def name_that_a_model_has_not(project):
    """Loan(until=…), where the column is called due: TypeError."""
    classes, bases = class_definitions(project), {"Model", "DeclarativeBase", "Base"}
    if not {"sqlalchemy", "flask_sqlalchemy"} & project.imported:
        return
    behind = named_behind(project, "backref", "back_populates") | {None}
    for path, call in project.nodes(ast.Call):
        name = last_name(call.func)
        nodes = classes.get(name, ())
        if len(nodes) != 1 or not is_model(nodes[0], classes, bases):
            continue
        known = members(project, name)
        if known is None or "__init__" in known:
            continue
        if isinstance(call.func, ast.Name) and name in from_packages(project, path):
            continue
        if lost := sorted({word.arg for word in call.keywords} - known - behind):
            sure = on_start_page(project, lambda other, call=call: other is call)
            details = {"what": f"{name}({lost[0]}=…)", "model": name}
            yield path, call.lineno, details, "error" if sure else "warning"


def from_packages(project, path):
    """Return the names that a file gets from packages."""
    nodes = [n for n in project.imports_in(path) if isinstance(n, ast.ImportFrom)]
    foreign = [
        node
        for node in nodes
        if not node.level and (node.module or "").partition(".")[0] in project.imported
    ]
    return {alias.asname or alias.name for node in foreign for alias in node.names}


@check("H540", step=12, level="warning")
def nothing_at_the_root(project):
    """The list is at /home, or below a blueprint's url_prefix, and nothing answers to "/": 404."""
    loading, seen = project.running.loading, []
    otherwise = project.calls_any(*PAGES["routes_otherwise"], "errorhandler", "mount")
    unseen = otherwise or project.unread or project.broken
    if unseen or not project.calls_any("render_template"):
        return
    for module, function, addresses, owner in views(project):
        words = [w for w in words_of(loading, owner) if w.arg in (None, "url_prefix")]
        prefixes = [getattr(word.value, "value", None) for word in words]
        for address, _ in addresses:
            if address is None or None in prefixes or not is_seen(loading, owner):
                return
            whole = "/".join([*prefixes[-1:], address]).replace("//", "/")
            seen.append((whole.rstrip("/") or "/", module.path, function.lineno))
    own = [row for row in seen if not row[1].startswith("deploy/")]
    if own and all(whole != "/" for whole, *_ in seen):
        whole, path, line = own[0]
        yield path, line, {"address": whole}


@check("H928", step=7, level="warning")
def time_of_the_start(project):
    """default=datetime.now(): called once, as the class is made; all rows get that time."""
    calls = ("Column", "mapped_column", "Field", "DateTimeField", "DateField")
    for path, call in project.calls(*calls):
        for word in call.keywords:
            code = unparse(word.value)
            now = re.fullmatch(
                r"([\w.]*\bdate(time)?\.(now|utcnow|today)|timezone\.now)\(.*\)", code
            )
            if word.arg in ("default", "onupdate") and now:
                plain = code.endswith("()")
                right = code.removesuffix("()") if plain else f"lambda: {code}"
                details = {"what": f"{word.arg}={code}"[:60]}
                yield path, call.lineno, details | {"right": f"{word.arg}={right}"}
