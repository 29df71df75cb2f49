"""Checks of what a visitor's browser makes of the pages (step 12 of the guide)."""

import ast
import posixpath
import re

from doctor import FACTS, check
from doctor.data import inside_conditions, named_values, only_value
from doctor.files import line_at
from doctor.pages import CSS_URL, is_on_start_page, lines_of, rendered, templates
from doctor.project import several
from doctor.trees import first_value, texts_of, unparse, walk

BROWSER = FACTS["browser"]
POLICY = "deploy/security.py"  # tells the browser where a page may take files from


@check("H124", step=12, level="warning")
def what_the_browser_refuses(project):
    """Files of other sites, and scripts and styles in a page itself, where the headers of deploy/ forbid them."""
    if POLICY not in project:
        return
    # As constants of config.py may stand in EXTRA_SOURCES, all its texts count.
    extra = "EXTRA_SOURCES" in project.text("config.py")
    texts = project.strings_of("config.py") if extra else []
    allowed, told = project.text(POLICY) + " ".join(texts), set()
    wide = "|".join(re.escape(t.partition("*.")[2]) for t in texts if "*." in t)
    wide = re.compile(rf"(.*\.)?({wide})") if wide else None
    everywhere = "https:" in allowed.split()
    used = rendered(project)
    for path, whole in templates(project):
        # What is written as a text, or left out, or no page of a browser.
        text = re.sub(r"(?s)<!--.*?-->|\{\{.*?\}\}", blank, whole)
        mail = (
            re.search(r"mail|pdf|letter", path) or used is not None and path not in used
        )
        for pattern, kind in BROWSER["inline"].items() if not mail else ():
            found = list(re.finditer(pattern, text))
            open_to_all = re.search(rf"{kind}.*unsafe-inline", allowed)
            if found and not open_to_all and kind not in told:
                told.add(kind)
                what = several([shown(match) for match in found], 3)
                line = line_at(text, found[0].start())
                yield path, line, {"what": what, "kind": kind}
        picture = re.search(r"<img\b[^>]{0,500}src\s*=\s*[\"']data:", whole)
        if picture and not mail and "data:" not in allowed and "data:" not in told:
            told.add("data:")
            details = {"what": shown(picture), "kind": "img-src"}
            yield path, line_at(whole, picture.start()), details
        for match in re.finditer(BROWSER["elsewhere"], text if not mail else ""):
            if everywhere or wide and wide.fullmatch(match["host"]):
                continue
            kind = BROWSER["kinds"][match["tag"].lower()]
            brought = BROWSER["brings"].get(match["host"], "")
            lacks = match["host"] in allowed and brought not in allowed
            if lacks and brought not in told:
                told.add(brought)
                details = {"what": f"https://{brought}", "kind": "font-src"}
                yield path, line_at(text, match.start()), details
            if match["host"] not in allowed and (match["host"], kind) not in told:
                told.add((match["host"], kind))
                yield (
                    path,
                    line_at(text, match.start()),
                    {"what": shown(match), "kind": kind},
                )


@check("H142", step=12, level="warning")
def pictures_of_elsewhere(project):
    """Avatars of gravatar.com and the like, whose addresses code makes."""
    if POLICY not in project:
        return
    allowed = allowed_sources(project)
    for path, node in project.texts():
        match = re.search(BROWSER["pictures"], node.value)
        if match and match[1] not in allowed and not path.startswith("deploy/"):
            yield path, node.lineno, {"what": match[0], "host": match[1]}
            return


def allowed_sources(project):
    """Return the texts of the policy, and those of config.py that may stand in EXTRA_SOURCES."""
    return " ".join([project.text(POLICY), *project.strings_of("config.py")])


def blank(match):
    """Return the line ends of a match alone."""
    return "\n" * match[0].count("\n")


def shown(match):
    return " ".join(match[0].split())[:80]


@check("H126", step=12, level="warning")
def address_of_this_computer(project):
    """A script or a form that asks localhost: the visitor's own computer."""
    scripts = [
        (path, project.text(path))
        for path in sorted(project.contents)
        if re.fullmatch(BROWSER["scripts"], path)
    ]
    for path, node, name, value in named_values(project):
        text = getattr(value, "value", "")
        back = isinstance(name, str) and re.search(BROWSER["comes_back"], name)
        here = back and isinstance(text, str) and re.match(BROWSER["here_whole"], text)
        if (
            here
            and project.is_sure(path)
            and id(node) not in inside_conditions(project)
        ):
            yield path, node.lineno, {"what": text}
    for path, text in [*scripts, *templates(project)]:
        if re.search(BROWSER["tells_apart"], text):
            continue
        text = re.sub(r"(?s)<!--.*?-->", blank, text)
        for number, line in lines_of(text):
            match = re.search(BROWSER["here"], line)
            match = match or re.search(BROWSER["here_on_disk"], line)
            if match and not re.match(r"\s*(//|\*|<!--|#)", line):
                yield path, number, {"what": match[0]}
                break


@check("H144", step=12, level="warning")
def this_computer_in_code(project):
    """requests.get("http://localhost:8000/…"), and links to this computer in a mail."""
    told, found = set(), []
    for path, call in project.calls(*BROWSER["asks"]):
        owner = unparse(getattr(call.func, "value", call.func))
        if not re.match(r"(requests|httpx|urllib|session|client)\b", owner):
            continue
        text = beginning(project, path, call.args[0] if call.args else None)
        here = re.match(BROWSER["here_whole"], text)
        if here and here[0] not in told and project.is_sure(path):
            told.add(here[0])
            level = "error" if is_on_start_page(project, call) else "warning"
            yield path, call.lineno, {"what": text}, level
    for path, call in project.calls("SMTP", "SMTP_SSL"):
        if first_value(call) in ("localhost", "127.0.0.1"):
            found.append((path, call, unparse(call)[:60]))
    for path, call in project.calls("redirect", "RedirectResponse"):
        text = beginning(project, path, call.args[0] if call.args else None)
        apart = re.search(r"environ|getenv|debug", project.text(path))
        if re.match(BROWSER["here_whole"], text) and not apart:
            found.append((path, call, text))
    for path, node in project.nodes(ast.JoinedStr):
        text = " ".join(texts_of(node.values))
        match = re.search(rf"(^|\s){BROWSER['here_whole']}\w\S*", text)
        if match and project.is_sure(path):
            found.append((path, node, match[0].strip()))
    aside = told_apart(project) if found else ()
    for path, node, what in found:
        if id(node) not in aside:
            yield path, node.lineno, {"what": what}


def told_apart(project):
    """Return the ids of the nodes where the code itself tells a computer of one's own apart."""
    tests = r"(?i)debug|env|config|local|prod|testing"
    return {
        id(inner)
        for _, node in project.nodes(ast.If, ast.IfExp)
        if re.search(tests, unparse(node.test))
        for inner in walk(node)
    }


def beginning(project, path, node):
    """Return the text that an expression begins with, "" where nobody knows."""
    if isinstance(node, ast.JoinedStr):
        first = node.values[0] if node.values else None
        return beginning(project, path, getattr(first, "value", first))
    if isinstance(node, ast.BinOp):
        return beginning(project, path, node.left)
    if isinstance(node, ast.Name):
        made = only_value(project, path, node.id)
        plain = isinstance(made, (ast.Constant, ast.JoinedStr))
        return beginning(project, path, made) if plain else ""
    text = node if isinstance(node, str) else getattr(node, "value", "")
    return text if isinstance(text, str) else ""


@check("H146", step=12, level="warning")
def asked_of_another_site(project):
    """fetch("https://api.…") in a script, where the headers of deploy/ forbid it."""
    allowed = allowed_sources(project)
    wide = any("*" in text for text in project.strings_of("config.py"))
    if POLICY not in project or wide or "https:" in allowed.split():
        return
    for path in sorted(project.contents):
        text = project.text(path) if re.fullmatch(BROWSER["scripts"], path) else ""
        for match in re.finditer(BROWSER["fetched"], text):
            name, host = match["name"], match["host"]
            called = rf"(fetch|axios\.\w+|\$\.\w+|EventSource|open)\([^)]*\b{name}\b"
            asked = name is None or re.search(called, text)
            if host not in allowed and asked:
                line = line_at(text, match.start())
                yield path, line, {"what": shown(match), "host": host}
                break


@check("H147", step=12, level="warning")
def picture_of_a_style_sheet(project):
    """url(images/hero.png) in static/style.css, where no such file is pushed; told once."""
    built = "package.json" in project or "django" in project.imported
    for path in sorted(project.contents) if not built else ():
        if not re.fullmatch(BROWSER["styles"], path):
            continue
        text = re.sub(r"(?s)/\*.*?\*/", blank, project.text(path))
        for match in CSS_URL.finditer(text):
            name = match[1].strip()
            if re.search(r"^%23|[\s{}]", name):
                continue
            place = posixpath.normpath(posixpath.join(posixpath.dirname(path), name))
            inside = "static" in posixpath.dirname(place).split("/")
            if inside and place not in project:
                yield path, line_at(text, match.start()), {"name": name}
                return
