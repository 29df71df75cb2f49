"""Checks of what a visitor's browser makes of the pages (step 12 of the guide)."""

import ast
import re

from doctor import FACTS, check
from doctor.pages import lines_of, templates

BROWSER = FACTS["browser"]
POLICY = "deploy/security.py"  # tells the browser where a page may take files from


@check("H124", step=12, level="warning")
def what_the_browser_refuses(project):
    """Files of other sites, and scripts and styles in a page itself, where the headers of deploy/ forbid them."""
    if POLICY not in project:
        return
    body = project.trees["config.py"].body if "config.py" in project.trees else ()
    code = (ast.unparse(s) for s in body if "EXTRA_SOURCES" in ast.unparse(s))
    allowed, told = " ".join(code) + project.text(POLICY), set()
    for path, text in templates(project):
        for pattern, kind in BROWSER["inline"].items() if "mail" not in path else ():
            match = re.search(pattern, text)
            open_to_all = re.search(rf"{kind}.*unsafe-inline", allowed)
            if match and not open_to_all and kind not in told:
                told.add(kind)
                yield path, line_of(text, match), {"what": shown(match), "kind": kind}
        for match in re.finditer(BROWSER["elsewhere"], text):
            kind = BROWSER["kinds"][match["tag"].lower()]
            if match["host"] not in allowed and (match["host"], kind) not in told:
                told.add((match["host"], kind))
                yield path, line_of(text, match), {"what": shown(match), "kind": kind}


def line_of(text, match):
    return text.count("\n", 0, match.start()) + 1


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
    for path, text in [*scripts, *templates(project)]:
        if re.search(BROWSER["tells_apart"], text):
            continue
        for number, line in lines_of(text):
            match = re.search(BROWSER["here"], line)
            if match and not re.match(r"\s*(//|\*|<!--|#)", line):
                yield path, number, {"what": match[0]}
                break
