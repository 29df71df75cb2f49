"""Checks of the pages: templates, static files and the names that link them (steps 1 and 12)."""

import ast
import posixpath
import re
from collections import Counter

from doctor import check
from doctor.files import once
from doctor.project import first_value

TEMPLATE = re.compile(r".*\.(html?|jinja2?|j2|xml|txt)$")
NAMED = re.compile(
    r"""\{%-?\s*(?:extends|include|import|from)\s+["']([^"']+)["'](.*)"""
)
STATIC = re.compile(
    r"""url_for\(\s*['"]static['"]\s*,\s*filename\s*=\s*['"]([\w./-]+)['"](?!\s*[~+%])"""
)
LINK = re.compile(r"""url_for\(\s*['"]([\w.]+)['"]""")
COMMENT = re.compile(r"(?s)\{#.*?#\}|\{%-?\s*raw.*?endraw\s*-?%\}")
BLOCK = re.compile(
    r"\{%[-+]?\s*(end)?(for|if|block|macro|call|filter|with|autoescape)\b"
)


@once
def template_folders(project):
    """Return the folders of templates, None where the code has its own way to find them."""
    folders = {f for f in project.folders if f.rpartition("/")[2] == "templates"}
    if project.calls_any(
        "FileSystemLoader", "PackageLoader", "Jinja2Templates", "lookup"
    ):
        return None
    for path, word in project.nodes(ast.keyword):
        if word.arg == "template_folder":
            name = getattr(word.value, "value", None)
            if not isinstance(name, str):
                return None
            base = posixpath.dirname(path)
            folders |= {posixpath.normpath(posixpath.join(base, name)), name}
    return sorted({"templates", *folders})


@once
def templates(project):
    """Yield (path, text) of what Jinja reads, without its comments."""
    folders = template_folders(project) or ["templates"]
    for path in sorted(project.contents):
        inside = any(path.startswith(f"{folder}/") for folder in folders)
        if inside and TEMPLATE.fullmatch(path):
            text = project.text(path)
            yield path, COMMENT.sub(lambda m: "\n" * m[0].count("\n"), text)


def lines_of(text):
    return enumerate((line[:2_000] for line in text.splitlines()), start=1)


def templates_named(project):
    """Yield (file, line, name) of the templates that code renders and templates include."""
    for path, node in project.calls("render_template"):
        name = first_value(node)
        if isinstance(name, str):
            yield path, node.lineno, name
    for path, text in templates(project):
        for number, line in lines_of(text):
            match = NAMED.search(line)
            if match and "ignore missing" not in match[2]:
                yield path, number, match[1]


def static_named(project):
    """Yield (file, line, name) of the static files that templates and code name."""
    return named_by(project, STATIC)


def named_by(project, pattern):
    """Yield (file, line, what the pattern's first group finds) of templates and code."""
    code = ((path, project.text(path)) for path in project.app_trees)
    for path, text in [*templates(project), *code]:
        for number, line in lines_of(text):
            for match in pattern.finditer(line):
                yield path, number, match[1]


@once
def static_folders(project):
    named = {f for f in project.folders if f.rpartition("/")[2] == "static"}
    return sorted({"static", *named})


@check("H108", step=1, level="warning")
def template_that_is_not_there(project):
    folders = template_folders(project)
    if folders is None or not project.is_flask:
        return
    listed = " ".join(project.list.packages)
    named = list(templates_named(project))
    calls = Counter(name for path, _, name in named if path in project.trees)
    for path, line, name in named:
        first = name.partition("/")[0].rstrip("0123456789") if "/" in name else "/"
        if project.times(name) > calls[name] or first in listed:
            continue  # the code itself asks whether it is there, or a package brings it
        if not any(project.is_nearly_there(f"{folder}/{name}") for folder in folders):
            yield path, line, {"name": name}


@check("H109", step=1, level="warning")
def static_file_that_is_not_there(project):
    made = project.calls_any("Bundle", "Environment") or "package.json" in project
    if made or not project.is_flask or project.has_keyword("static_folder"):
        return
    for path, line, name in static_named(project):
        if not any(
            project.is_nearly_there(f"{f}/{name}") for f in static_folders(project)
        ):
            yield path, line, {"name": f"static/{name}"}


@check("H121", step=12, level="warning")
def block_without_its_end(project):
    for path, text in templates(project):
        starts = Counter()
        for end, name in BLOCK.findall(text):
            starts[name] += -1 if end else 1
        for name, count in starts.items():
            if count and project.is_flask:
                missing = f"end{name}" if count > 0 else name
                yield path, 0, {"name": path, "missing": missing}


@check("H122", step=12, level="warning")
def link_to_no_view(project):
    """url_for() of a view that no code has: the page that shows the link fails."""
    names = {getattr(node, "name", "") for node in project.definitions}
    names |= project.constants
    if not project.is_flask or project.calls_any("add_url_rule", "add_view", "as_view"):
        return
    told = names | {"static"}
    for path, line, view in named_by(project, LINK):
        owner, _, name = view.rpartition(".")
        own = not owner or owner in project.blueprints
        if own and not {name, view} & told:
            told.add(view)
            yield path, line, {"name": view}
