"""Checks of the pages: templates, static files and the names that link them (steps 1 and 12)."""

import ast
import difflib
import posixpath
import re
from collections import Counter
from functools import lru_cache

from doctor import FACTS, check
from doctor.files import line_at, once
from doctor.loading import LOOPS, ROUTES, Function, Scope
from doctor.trees import (
    bound,
    children,
    first_value,
    inner_nodes,
    last_name,
    strings,
    unparse,
    visible,
    walk,
)

PAGES = FACTS["pages"]
TEMPLATE = re.compile(r".*\.(html?|jinja2?|j2|xml|txt)$")
NAMED = re.compile(
    r"""\{%-?\s*(?:extends|include|import|from)\s+["']([^"']+)["'](.*)"""
)
STATIC = re.compile(
    r"""url_for\(\s*['"]static['"]\s*,\s*filename\s*=\s*['"]([\w./\\-]+)['"](?!\s*[~+%])"""
)
STATIC_TAG = re.compile(r"""\{%-?\s*static\s+['"]([\w./-]+)['"]""")
LINK = re.compile(r"""url_for\(\s*['"]([\w.]+)['"]""")
LINK_WITH = re.compile(r"""url_for\(\s*['"]([\w.]+)['"]([^()]*)\)""")
BLOCK = re.compile(
    r"\{%[-+]?\s*(end)?(for|if|block|macro|call|filter|with|autoescape)\b"
)
FIELD = re.compile(r"(?<![\w.])(?:form|\w+_form|form_\w+)\.([a-z]\w*)(?=\.|\()")
COMPUTED = re.compile(r"\{%-?\s*(extends|include|import|from)\s+[^\"'\s]")
ONE_BLOCK = re.compile(r"\{%[-+]?\s*block\s+(\w+)")
# What a style sheet names beside itself.
CSS_URL = re.compile(r"""url\(\s*['"]?((?!data:|https?:|/|#|\{)[^'")?#]+)""")
OPENS = re.compile(r"\{[{%#]")
RAW = re.compile(r"[-+]?\s*raw\s*[-+]?")
ENDRAW = re.compile(r"\{%[-+]?\s*endraw\b")
CLOSES = {"{{": "}}", "{%": "%}", "{#": "#}"}
QUOTED = re.compile(r"""["']([^"']+)["']""")
LOGGED_IN = re.compile(
    r"(not )?(current_user(\.is_authenticated)?|g\.user|session\.(get\([^()]*\)|\w+)|session\[[^]]*\])"
)
CONDITIONS = {"if", "for", "macro", "call", "set"}
# What is false when a page is asked for, and handlers that a fault of a page may end in.
POSTED = re.compile(
    r"\w+\.(validate_on_submit|is_submitted)\(\)|request\.method == 'POST'"
)
SURVIVES = re.compile(
    r"except:|\b(Base|HTTP)?Exception\b|NotFound|Template|BuildError|SQLAlchemy|RuntimeError"
    r"|\b(Key|Type|Value|Lookup|Attribute)Error|BadRequest"
)


# --- the start page ---


@once
def start_pages(project):
    """Return [(Module, function)] of the view at "/", none where another may come before it."""
    found, loading = [], project.running.loading
    for module, function, route, owner in loading.views:
        given = {word.arg: word.value for word in route.keywords}
        methods = given.pop("methods", None)
        gets = "'GET'" in unparse(methods) if methods else route.func.attr != "post"
        at_root = first_value(route) == "/" and route.func.attr in (
            "route",
            "get",
            "post",
        )
        plain = not given.keys() - {"endpoint", "strict_slashes"}
        if at_root and gets and plain and not is_elsewhere(loading, owner):
            found.append((module, function) if mounted(loading, owner) else None)
    routed = [
        isinstance(node, ast.Call) and last_name(node.func) in ROUTES
        for pair in filter(None, found)
        for node in pair[1].decorator_list
    ]
    first = {"before_request", "before_app_request"}
    harmless = {
        id(node)
        for _, function in project.nodes(ast.FunctionDef)
        for node in function.decorator_list
        if last_name(node) in first
        and not leaves([s for s in function.body if not ends_it(s)])
    }
    before = any(
        node.attr in first
        and id(node) not in harmless
        and not path.startswith("deploy/")
        for path, node in project.nodes(ast.Attribute)
    )
    return found if len(found) == 1 and all([*found, *routed]) and not before else []


def ends_it(statement):
    """Tell whether a statement is a return of nothing."""
    return isinstance(statement, ast.Return) and statement.value is None


def mounted(loading, owner):
    """Tell whether what belongs to an app or a blueprint is at the root of the addresses."""
    if owner.of == "flask.Flask":
        return True
    over = loading.mounted.get(owner.node, [])
    words = words_of(loading, owner)
    prefixes = [w.value for w in words if w.arg in (None, "url_prefix", "subdomain")]
    inner = any(getattr(app, "of", "") == "flask.Blueprint" for _, app in over)
    at_root = all(getattr(value, "value", 0) in ("/", "", None) for value in prefixes)
    return bool(over) and at_root and not inner


def is_elsewhere(loading, blueprint):
    """Tell whether a blueprint's addresses begin with a prefix, wherever it is registered."""
    calls = [call for call, _ in loading.mounted.get(blueprint.node, ())]
    prefixes = []
    for call in calls:
        words = [*blueprint.node.keywords, *call.keywords]  # the last one counts
        given = {w.arg: getattr(w.value, "value", None) for w in words}
        prefixes.append(given.get("url_prefix") if None not in given else None)
    return bool(calls) and all(isinstance(p, str) and p.strip("/") for p in prefixes)


@once
def in_views(project):
    """Return the ids of the nodes that stand in views."""
    return {id(n) for _, f, *_ in project.running.loading.views for n in walk(f)}


def is_seen(loading, owner):
    """Tell whether all is known of where an app's or a blueprint's addresses begin."""
    over = [getattr(app, "of", "") for _, app in loading.mounted.get(owner.node, ())]
    return owner.of == "flask.Flask" or over == ["flask.Flask"]


def words_of(loading, blueprint):
    """Return the keywords that a blueprint is made and registered with."""
    calls = [call for call, _ in loading.mounted.get(blueprint.node, ())]
    return [word for call in (blueprint.node, *calls) for word in call.keywords]


def on_start_page(project, hit, of=ast.Call):
    """Tell whether the start page surely comes to a call, or another node, for which hit(node) is true."""

    def is_hit(node):
        return isinstance(node, of) and hit(node)

    pages = start_pages(project)
    return any(surely(project, m, f.body, is_hit) for m, f in pages)


def is_on_start_page(project, node):
    """Tell whether the start page surely comes to this very node."""
    return on_start_page(project, lambda other: other is node, type(node))


def surely(project, module, statements, hit, depth=0):
    """Tell whether such a node is come to on every way through these statements, by a GET."""

    def within(statements):
        return surely(project, module, statements, hit, depth)

    def hits(node):
        if not isinstance(node, ast.Call):
            return hit(node)
        known = project.running.loading.meaning(node.func, Scope(module.names))
        follow = isinstance(known, Function) and known.is_plain and depth < 5
        return hit(node) or (
            follow and surely(project, known.module, known.node.body, hit, depth + 1)
        )

    for statement in statements:
        kind, branches = type(statement), []
        parts = [n for n in children(statement) if isinstance(n, ast.expr)]
        if kind is ast.If:
            branches = [statement.body, statement.orelse]
            if POSTED.fullmatch(unparse(statement.test)):
                branches = branches[1:]
        elif kind in (ast.With, ast.AsyncWith):
            parts = [item.context_expr for item in statement.items]
            branches = [statement.body]
        elif kind in (ast.Try, ast.TryStar):
            caught = map(unparse, statement.handlers)
            heads = " ".join(text.partition("\n")[0] for text in caught)
            if not SURVIVES.search(heads):
                branches = [statement.body]
        elif kind in LOOPS:
            parts = parts[-1:] if kind is ast.While else []
        elif not isinstance(statement, ast.stmt) or hasattr(
            statement, "decorator_list"
        ):
            continue
        if any(hits(node) for part in parts for node in visible(part)):
            return True
        sure = [within(branch) for branch in branches]
        if sure and all(sure):
            return True
        open_ends = [b for b, s in zip(branches, sure, strict=True) if not s]
        if any(map(leaves, open_ends if branches else [[statement]])):
            return False
    return False


def leaves(statements):
    """Tell whether statements may end a function."""
    nodes = (node for s in statements for node in inner_nodes(s))
    stops = {"abort", "redirect"}
    return any(
        isinstance(n, (ast.Return, ast.Raise))
        or isinstance(n, ast.Call)
        and last_name(n.func) in stops
        for n in nodes
    )


def hands_out(function):
    """Tell whether a function may return something, or end in an error."""
    nodes = [node for part in function.body for node in inner_nodes(part)]
    ends = (ast.Raise, ast.Yield, ast.YieldFrom, ast.Await)
    return any(
        isinstance(node, ends)
        or isinstance(node, ast.Return)
        and node.value
        or isinstance(node, ast.Call)
        and last_name(node.func) in ("abort", "exit")
        for node in nodes
    )


def tags_of(text):
    """Yield (place, sign, what stands inside, end) of the tags of a template; what is not closed is none."""
    place, never = 0, set()
    while match := OPENS.search(text, place):
        sign, place = match[0], match.end()
        end = -1 if sign in never else text.find(CLOSES[sign], place)
        if end < 0:  # nor is any behind it, which keeps this short
            never.add(sign)
            continue
        inside = text[place:end]
        yield match.start(), sign, inside, end + 2
        place = end + 2
        if (
            sign == "{%"
            and RAW.fullmatch(inside)
            and (ends := ENDRAW.search(text, place))
        ):
            place = ends.start()


def uncommented(text):
    """Return a template without its comments and what it wants as it is; lines stay where they are."""
    pieces, place, raw = [], 0, None
    for start, sign, inside, end in tags_of(text):
        word = re.match(r"[-+]?\s*(raw|endraw)\b", inside)
        if raw is None and sign == "{%" and word and word[1] == "raw":
            raw = start
        elif raw is not None and sign == "{%" and word and word[1] == "endraw":
            pieces += [text[place:raw], "\n" * text.count("\n", raw, end)]
            place, raw = end, None
        elif raw is None and sign == "{#":
            pieces += [text[place:start], "\n" * text.count("\n", start, end)]
            place = end
    return "".join([*pieces, text[place:]])


@lru_cache(maxsize=2_000)  # a template is asked for by many checks
def parts_of(text):
    """Return [(line, tag or "", what follows, blocks around it)] of a template.

    blocks: their names, None where a condition or a loop stands around.
    """
    return list(read_parts(text))


def read_parts(text):
    stack, line, place = [], 1, 0
    for start, sign, inside, end in tags_of(text):
        line, place = line + text.count("\n", place, start), start
        tag, rest = "", inside
        if sign == "{%":
            word = re.match(r"[-+]?\s*(\w*)", inside)
            tag, rest = word[1], inside[word.end() :].strip().rstrip("-+").rstrip()
        if sign == "{#" or sign == "{%" and not tag:
            continue
        if tag.startswith("end"):
            del stack[-1:]
        elif tag in ("else", "elif") and stack:
            others = stack[-1][1] == "visitors who are logged in" and tag == "else"
            stack[-1] = ("else", "") if others else ("if", "")
        blocks = [name for kind, name in stack if kind == "block"]
        if CONDITIONS & {kind for kind, _ in stack}:
            blocks = None
        yield line, tag, rest, blocks
        if (
            BLOCK.match(text[start:end])
            and not tag.startswith("end")
            or (tag == "set" and "=" not in rest)
        ):
            name = rest.partition(" ")[0]
            if tag == "if" and LOGGED_IN.fullmatch(rest):
                # Who comes for the first time is shown the other half.
                known = not rest.startswith("not ")
                name = "visitors who are logged in" if known else ""
                tag = "if" if known else "else"
            stack.append((tag, name))


@once
def shown(project):
    """Yield (path, line, tag, what follows) of what the start page shows in any case."""
    texts, done = dict(templates(project)), set()
    named = {first_value(node) for _, node in project.calls("render_template")}
    waiting = [
        (name, frozenset())
        for name in sorted(n for n in named if isinstance(n, str))
        if on_start_page(project, lambda call, name=name: renders(call, name))
    ]
    while waiting:  # grows on the way
        name, overridden = waiting.pop()
        paths = [
            p for f in template_folders(project) or () if (p := f"{f}/{name}") in texts
        ]
        if len(paths) != 1 or paths[0] in done:
            continue
        path, parts = paths[0], parts_of(texts[paths[0]])
        done.add(path)
        yield path, 0, "file", name
        parents = [rest for _, tag, rest, _ in parts if tag == "extends"]
        own = {rest.partition(" ")[0] for _, tag, rest, _ in parts if tag == "block"}
        parent = QUOTED.fullmatch(parents[0]) if parents else None
        above = blocks_above(project, texts, parent[1]) if parent else set()
        for line, tag, rest, blocks in parts:
            if blocks is None or overridden & set(blocks):
                continue
            late = tag in ("extends", "import", "from")
            if parents and not (blocks[:1] and blocks[0] in above or late):
                continue
            yield path, line, tag, rest
            if tag == "include" and QUOTED.match(rest) and "missing" not in rest:
                waiting.append((QUOTED.match(rest)[1], frozenset()))
        if parent:
            waiting.append((parent[1], overridden | own))


def blocks_above(project, texts, name, depth=0):
    """Return the blocks that a template and what it extends show in any case."""
    found = set()
    for folder in (template_folders(project) or ()) if depth < 9 else ():
        for _, tag, rest, blocks in parts_of(texts.get(f"{folder}/{name}", "")):
            if tag == "block" and blocks is not None:
                found.add(rest.partition(" ")[0])
            elif tag == "extends" and (match := QUOTED.fullmatch(rest)):
                found |= blocks_above(project, texts, match[1], depth + 1)
    return found


def renders(call, name):
    return last_name(call.func) == "render_template" and first_value(call) == name


# --- templates ---


@once
def template_folders(project):
    """Return the folders of templates, None where the code has its own way to find them."""
    folders = {f for f in project.folders if f.rpartition("/")[2] == "templates"}
    if project.calls_any(
        "FileSystemLoader", "PackageLoader", "Jinja2Templates", "lookup"
    ):
        return None
    told = set()
    for path, word in project.nodes(ast.keyword):
        if word.arg == "template_folder":
            name = getattr(word.value, "value", None)
            if not isinstance(name, str):
                return None
            base = posixpath.dirname(path)
            told |= {posixpath.normpath(posixpath.join(base, name)), name}
    # A folder beside a module is one of templates where an app is made there, or told so.
    makes = list(project.calls("Flask"))
    makers = {posixpath.dirname(path) for path, _ in makes}
    if makes and all(c.args and last_name(c.args[0]) == "__name__" for _, c in makes):
        folders = {
            folder
            for folder in folders
            if (above := posixpath.dirname(folder)) in makers
            or "template_folder"
            in "".join(
                project.text(p) for p in project.trees if p.startswith(f"{above}/")
            )
        }
    root = {"templates"}
    plain = all(c.args and last_name(c.args[0]) == "__name__" for _, c in makes)
    elsewhere = {"root_path", "instance_path", None} & {
        word.arg for _, call in makes for word in call.keywords
    }
    if makes and plain and "" not in makers and not elsewhere:
        root = set()  # Flask looks for it beside the module that makes the app
    # What no code that runs lies beside is another app's.
    reached = [path for path in project.running.reached if path.endswith(".py")]
    aside = {
        folder
        for folder in folders
        if (above := posixpath.dirname(folder))
        and not any(path.startswith(f"{above}/") for path in reached)
    }
    return sorted({*root, *told, *(folders - aside)})


@once
def templates(project):
    """Yield (path, text) of what Jinja reads, without its comments."""
    folders = template_folders(project) or ["templates"]
    for path in sorted(project.contents):
        inside = any(path.startswith(f"{folder}/") for folder in folders)
        if inside and TEMPLATE.fullmatch(path):
            text = project.text(path)
            yield path, uncommented(text)


def lines_of(text):
    return enumerate((line[:2_000] for line in text.splitlines()), start=1)


@once
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


def static_tags(project):
    """Yield (file, line, name) of the static files that templates of Django name."""
    if project.running.settings:
        for path in sorted(p for p in project.contents if p.endswith(".html")):
            for number, line in lines_of(project.text(path)):
                for match in STATIC_TAG.finditer(line):
                    yield path, number, match[1]


def static_stores(project):
    """Return the texts of Django's settings that say who keeps its static files."""
    return stores_of(project.running.settings)


def stores_of(values):
    """Return the same of settings as Running.values() returns them."""
    stores = [*values.get("STORAGES", []), *values.get("STATICFILES_STORAGE", [])]
    return [text for _, value in stores for text in strings(value)]


@once
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
        own = project.times(name) - project.times_below("deploy/", name)
        if own > calls[name] or first in listed:
            continue  # the code itself asks whether it is there, or a package brings it
        if not any(project.is_nearly_there(f"{folder}/{name}") for folder in folders):
            sure = template_is_needed(project, path, name)
            yield path, line, {"name": name}, "error" if sure else "warning"


def template_is_needed(project, path, name):
    """Tell whether a file that names a template surely asks for it on the start page."""
    if path in project.trees:
        return on_start_page(project, lambda call: renders(call, name))
    named = (rest for p, _, tag, rest in shown(project) if p == path and tag)
    return any(m[1] == name for m in map(QUOTED.match, named) if m)


@check("H130", step=12, level="warning")
def name_that_no_package_gives(project):
    """{{ current_user }} without Flask-Login, which would put it into all templates."""
    given = {"flask_login", "flask_security", "flask_user", "flask_jwt_extended"}
    text = "current_user"
    code = (p for p in project.app_trees if not p.startswith("deploy/"))
    known = any(text in project.text(path) for path in code)
    if given & project.imported or known or not project.is_flask:
        return
    for path, code in templates(project):
        for number, line in lines_of(code):
            if re.search(rf"\b{text}\.\w", line):
                sure = any(
                    p == path and text in rest for p, _, _, rest in shown(project)
                )
                yield path, number, {"name": text}, "error" if sure else "warning"
                return


@check("H109", step=1, level="warning")
def static_file_that_is_not_there(project):
    made = project.calls_any("Bundle", "Environment") or "package.json" in project
    if made or not project.is_flask or project.has_keyword("static_folder"):
        return
    unseen = {
        (path, line_at(text, match.start() + found.start()))
        for path, text in templates(project)
        for match in re.finditer(r"(?s)<!--.*?-->", text)
        for found in re.finditer("url_for", match[0])
    }
    for path, line, name in static_named(project):
        places = (f"{f}/{name.lstrip('/')}" for f in static_folders(project))
        if (path, line) not in unseen and not any(map(project.is_nearly_there, places)):
            yield path, line, {"name": f"static/{name}"}


@check("H121", step=12, level="warning")
def template_that_jinja_cannot_read(project):
    signs = {"variable_start_string", "block_start_string"}
    own = project.constants & signs or any(map(project.has_keyword, signs))
    extended = project.calls_any("add_extension") or "extensions" in project.constants
    extended = extended or project.has_keyword("extensions")
    for path, text in templates(project) if project.is_flask and not own else ():
        if what := fault_of(text, extended):
            sure = any(p == path for p, _, _, _ in shown(project))
            level = "error" if sure else "warning"
            yield path, 0, {"name": path, "missing": what}, level


def fault_of(text, extended):
    """Return a block without its other half, an unknown tag, or a sign that is not closed."""
    starts = Counter()
    for end, name in BLOCK.findall(text):
        starts[name] += -1 if end else 1
    for name, count in starts.items():
        if count:
            return f"{name} … end{name}"
    for name, count in Counter(ONE_BLOCK.findall(text)).items():
        if count > 1:
            return f"{count} × block {name}"
    for match in re.finditer(r"\{%[-+]?\s*(\w+)\s*(\w*)", text):
        if not extended and is_misspelt(match[1]):
            return match[1]
        if match.groups() == ("else", "if"):
            return "elif"
    for match in re.finditer(r"\{\{|\{%", text):
        closing = {"{{": "}}", "{%": "%}"}[match[0]]
        after = re.search(r"""\}\}|%\}|\{\{|\{%|["']|\Z""", text[match.end() :])[0]
        if after not in (closing, '"', "'") and (after or match[0] == "{%"):
            return closing
    return ""


@lru_cache
def is_misspelt(tag):
    """Tell whether no extension of Jinja may have a tag, which is one of Django's or nearly Jinja's."""
    known, others = PAGES["tags"], PAGES["tags_of_others"]
    if tag in known or tag in others or tag in PAGES["tags_of_extensions"]:
        return tag in others
    return bool(difflib.get_close_matches(tag, known, 1, 0.8))


@check("H125", step=12, level="warning")
def filter_that_jinja_does_not_have(project):
    """{{ text|linebreaks }}: a filter of Django's, or a misspelt one."""
    known, others = PAGES["filters"], PAGES["filters_of_others"]
    named = project.constants | {getattr(n, "name", "") for n in project.definitions}
    extended = project.calls_any("add_extension") or any(
        module.startswith(("flask_", "jinja2_")) and module not in PAGES["no_filters"]
        for module in project.imported
    )
    own_signs = project.has_keyword("variable_start_string")
    if not project.is_flask or extended or own_signs:
        return
    # Many at once: jinja_env.filters.update(…)
    many = any(
        node.attr == "filters" and not path.startswith("deploy/")
        for path, node in project.nodes(ast.Attribute)
    )
    told, seen = set(), {path for path, _, tag, _ in shown(project) if tag == "file"}
    for path, text in templates(project):
        depth = 0  # of conditions: Jinja looks for a filter in them later
        for line, tag, rest, _ in parts_of(text):
            depth += (tag == "if") - (tag == "endif")
            plain = re.sub(r"\"[^\"]*\"|'[^']*'", "''", rest)
            for name in re.findall(r"\|\s*([A-Za-z_]\w*)", plain):
                if name in known or name in named or name in told:
                    continue
                near = difflib.get_close_matches(name, known, 1, 0.8)
                if near or name in others or not many:
                    told.add(name)
                    choices = re.search(r"\b(if|or|and)\b", plain) or tag == "set"
                    sure = path in seen and not depth and not choices
                    details = {"name": name, "right": near[0] if near else "…"}
                    yield path, line, details, "error" if sure else "warning"


@check("H158", step=12, level="warning")
def translation_that_is_not_compiled(project):
    """Babel, Django and gettext read .mo files, which are made of the .po files."""
    made = [*project.build_hooks, *(command.text for command in project.commands)]
    made = any("compile" in text for text in made)
    reads = project.imported & {*PAGES["translators"]} and not made
    for path in sorted(project.sizes) if reads else ():
        compiled = f"{path.removesuffix('.po')}.mo"
        is_source = re.search(r"/LC_MESSAGES/\w+\.po$", path)
        says = re.search(r'(?m)^msgid ".+"\nmsgstr ".+"', project.text(path))
        if is_source and says and compiled not in project:
            yield path, 0, {"name": compiled, "folder": path.partition("/")[0]}
            return


@check("H128", step=12, level="warning")
def field_that_no_form_has(project):
    """{{ form.title.label }}, where no form has a title: only printed it would be nothing."""
    classes = {n.name: n for n in project.definitions if isinstance(n, ast.ClassDef)}
    forms, unseen = {}, project.calls_any("setattr", "FormField", "FieldList", "Form")
    for name, node in classes.items():
        bases = {last_name(base) for base in node.bases}
        if bases & {*PAGES["forms"]} or bases & forms.keys():
            forms[name] = bound(node.body)
            unseen = unseen or bool(bases - {*PAGES["forms"]} - forms.keys())
    fields = set().union(*forms.values()) | {*PAGES["of_forms"]}
    seen, told = set(shown(project)), set()
    usable = project.is_flask and forms and not unseen
    for path, text in templates(project) if usable else ():
        if re.search(r"\{%-?\s*(for|set)\s+(form|\w+_form|form_\w+)\b", text):
            continue  # something else is called so
        for line, tag, rest, _ in parts_of(text):
            for name in FIELD.findall(rest) if not tag else ():
                if name not in fields and name not in told:
                    told.add(name)
                    plain = not re.search(r"\b(if|or|and)\b", rest)
                    sure = (path, line, tag, rest) in seen and plain
                    yield path, line, {"name": name}, "error" if sure else "warning"


@check("H127", step=12, level="warning")
def page_that_takes_too_long(project):
    """The router gives up after 30 s: https://devcenter.heroku.com/articles/request-timeout"""
    views = in_views(project)

    def waits(call):
        seconds = first_value(call)
        long = isinstance(seconds, (int, float)) and seconds >= PAGES["longest"]
        return last_name(call.func) == "sleep" and long

    long = [(path, call) for path, call in project.calls("sleep") if waits(call)]
    start = bool(long) and on_start_page(project, waits)
    for path, call in long:
        if id(call) in views or start:
            level = "error" if start else "warning"
            yield path, call.lineno, {"what": unparse(call)}, level


@check("H518", step=9, level="warning")
def session_without_a_key(project):
    """Flask signs cookies with SECRET_KEY: without one a page that writes a session, or a message, fails."""
    loads = (
        "from_prefixed_env",
        "from_envvar",
        "from_pyfile",
        "from_file",
        "from_json",
    )
    has_key = re.search(r"secret_key", project.code, re.IGNORECASE)
    if not project.is_flask or has_key:
        return
    named = [first_value(call) for _, call in project.calls("from_object")]
    elsewhere = "flask_session" in project.imported or None in named
    filled = [
        last_name(c.func.value) for _, c in project.calls("from_mapping", "update")
    ]
    if (
        elsewhere
        or "config" in filled
        or project.calls_any(*loads)
        or project.running.flexible
    ):
        return
    uses = [
        (path, node)
        for path, node in project.nodes(ast.Subscript, ast.Call)
        if writes_session(node)
    ]
    if uses and re.search(r"\b(session|flash)\b", project.code):
        sure = on_start_page(project, writes_session, (ast.Subscript, ast.Call))
        path, node = uses[0]
        what = unparse(node).partition("\n")[0][:60]
        yield path, node.lineno, {"what": what}, "error" if sure else "warning"


def writes_session(node):
    """Tell whether a node is flash(…) or session["…"] = …"""
    if isinstance(node, ast.Call):
        return getattr(node.func, "id", "") == "flash"
    of_session = getattr(node.value, "id", "") == "session"
    return of_session and isinstance(node.ctx, ast.Store)


@check("H123", step=12)
def view_without_an_answer(project):
    """The start page's view returns nothing, which Flask answers with a 500."""
    for module, function in start_pages(project):
        if not hands_out(function):
            yield module.path, function.lineno, {"name": f"{function.name}()"}


@check("H129", step=12, level="warning")
def link_without_its_argument(project):
    """url_for("shop.item", id=1), where the address has <int:item_id>."""
    wanted = {}  # what the addresses of a view want, each
    for module, function, route, owner in project.running.loading.views:
        variables = variables_of(project, module.path, route)
        given = [
            word.arg for word in route.keywords if word.arg in ("defaults", "endpoint")
        ]
        name = function.name
        if owner.of == "flask.Blueprint":
            name = f"{first_value(owner.node)}.{name}"
        wanted.setdefault(name, []).append(None if given else variables)
    if project.calls_any(
        "url_defaults", "app_url_defaults", *PAGES["routes_otherwise"]
    ):
        return
    seen, told = set(shown(project)), set()
    for path, text in templates(project) if project.is_flask else ():
        for line, tag, rest, _ in parts_of(text):
            for view, words in LINK_WITH.findall(rest):
                ways = wanted.get(view, [None])
                names = set(re.findall(r"(\w+)\s*=(?!=)", words))
                lacks = [way - names for way in ways if way is not None]
                open_ended = "**" in words or None in ways or not all(lacks)
                if open_ended or (path, view) in told:
                    continue
                told.add((path, view))
                plain = not tag and not re.search(r"\b(if|or|and)\b", rest)
                sure = plain and (path, line, tag, rest) in seen
                details = {"name": view, "missing": ", ".join(sorted(lacks[0]))}
                yield path, line, details, "error" if sure else "warning"


def variables_of(project, path, route):
    """Return the names in an address such as /items/<int:item_id>, None where it is not known."""
    from doctor.data import only_value  # which needs this file

    node = route.args[0] if route.args else None
    if isinstance(node, ast.Name):
        node = only_value(project, path, node.id)
    if isinstance(node, ast.JoinedStr) or isinstance(getattr(node, "value", None), str):
        return set(re.findall(r"<(?:[^<>]*:)?(\w+)>", unparse(node)))
    return None


@once
def rendered(project):
    """Return the templates that code renders, with what they extend and include; None for all."""
    calls = [call for _, call in project.calls("render_template")]
    names = {first_value(call) for call in calls}
    if not names or not all(isinstance(name, str) for name in names):
        return None
    texts, found, waiting = dict(templates(project)), set(), list(names)
    while waiting:
        name = waiting.pop()
        for path in (p for p in texts if p.endswith(f"/{name}") and p not in found):
            found.add(path)
            waiting += [match[1] for match in NAMED.finditer(texts[path])]
            if COMPUTED.search(texts[path]):
                return None
    return found


def names_of_blueprint(mounts, made, depth=0):
    """Return the names of a blueprint for url_for(), with those of the blueprints that it is registered on."""
    found = set()
    for call, over in mounts.get(made, ()) if depth < 9 else ():
        given = [w.value for w in call.keywords if w.arg == "name"]
        own = getattr((given or [*made.args, None])[0], "value", None)
        inner = getattr(over, "of", "") == "flask.Blueprint"
        above = names_of_blueprint(mounts, over.node, depth + 1) if inner else ()
        found |= {f"{name}.{own}" for name in above} if inner else {own}
    return {name for name in found if isinstance(name, str)}


@check("H122", step=12, level="warning")
def link_to_no_view(project):
    """url_for() of a view that no code has: the page that shows the link fails."""
    names = {getattr(node, "name", "") for node in project.definitions}
    if not project.is_flask or project.calls_any(*PAGES["routes_otherwise"]):
        return
    computed = project.calls_any("iter_modules", "walk_packages")
    if project.unread or computed:  # a view may be in what was not read
        return
    used = rendered(project)
    given = [w.value for _, w in project.nodes(ast.keyword) if w.arg == "endpoint"]
    given += [node.args[0] for _, node in project.calls("endpoint") if node.args]
    told = names | {"static"} | {getattr(value, "value", None) for value in given}
    views = [(f.name, owner.of) for _, f, _, owner in project.running.loading.views]
    # The view of a blueprint has the blueprint's name before its own.
    of_blueprints = {name for name, of in views if of == "flask.Blueprint"}
    told -= of_blueprints - {name for name, of in views if of != "flask.Blueprint"}
    # Below another blueprint its views have the names of both.
    mounts = project.running.loading.mounted
    full = {n for made in mounts for n in names_of_blueprint(mounts, made)}
    nested = {n.rpartition(".")[2] for n in full if "." in n} - full
    owners = project.blueprints - nested | full
    there = {f"{owner}.{name}" for owner in owners for name in names}
    logins = [
        (path, node.lineno, node.value.value)
        for path, node in project.nodes(ast.Assign)
        if last_name(node.targets[0]) == "login_view"
        and isinstance(getattr(node.value, "value", None), str)
    ]
    named = [*named_by(project, LINK), *logins]
    uses = Counter(view for path, _, view in named if path in project.trees)
    for path, line, view in named:
        owner, _, name = view.rpartition(".")
        # A blueprint that has got another name since.
        renamed = name in of_blueprints and not any(
            owner in package for package in project.available[0]
        )
        own = not owner or owner in project.blueprints or renamed
        own = own and (path in project.trees or used is None or path in used)
        if not own or view[0] == "." or {name, view} & told or view in there:
            continue
        told.add(view)
        if path in project.trees:
            sure = on_start_page(project, lambda call, v=view: links(call, v))
        else:
            sure = any(
                p == path and view in links_of(*part) for p, _, *part in shown(project)
            )
        once = path in project.trees and project.times(view) == uses[view]
        if sure or once or not {name, view} & project.constants:
            near = difflib.get_close_matches(view, own_views(project), 1, 0)
            details = {"name": view, "right": near[0] if near else "index"}
            yield path, line, details, "error" if sure else "warning"


def own_views(project):
    """Return the names by which url_for() finds the project's own views."""
    return [
        f"{first_value(owner.node)}.{function.name}"
        if owner.of == "flask.Blueprint"
        else function.name
        for module, function, _, owner in project.running.loading.views
        if not module.path.startswith("deploy/")
    ]


def links(call, view):
    return last_name(call.func) == "url_for" and first_value(call) == view


def links_of(tag, text):
    """Return the views that a tag and what follows link to in any case."""
    plain = not tag and not re.search(r"\b(if|or|and)\b", text)
    return set(LINK.findall(text)) if plain else set()
