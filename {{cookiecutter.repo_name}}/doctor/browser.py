"""Checks of what a visitor's browser makes of the pages (step 12 of the guide)."""

import re

from doctor import FACTS, check
from doctor.data import inside_conditions, named_values
from doctor.files import line_at
from doctor.pages import lines_of, rendered, templates

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
            match = re.search(pattern, text)
            open_to_all = re.search(rf"{kind}.*unsafe-inline", allowed)
            if match and not open_to_all and kind not in told:
                told.add(kind)
                yield (
                    path,
                    line_at(text, match.start()),
                    {"what": shown(match), "kind": kind},
                )
        picture = re.search(r"<img\b[^>]{0,500}src\s*=\s*[\"']data:", whole)
        if picture and not mail and "data:" not in allowed and "data:" not in told:
            told.add("data:")
            details = {"what": shown(picture), "kind": "img-src"}
            yield path, line_at(whole, picture.start()), details
        for match in re.finditer(BROWSER["elsewhere"], text if not mail else ""):
            if everywhere or wide and wide.fullmatch(match["host"]):
                continue
            kind = BROWSER["kinds"][match["tag"].lower()]
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
    allowed = project.text(POLICY) + " ".join(project.strings_of("config.py"))
    for path, node in project.texts():
        match = re.search(BROWSER["pictures"], node.value)
        if match and match[1] not in allowed and not path.startswith("deploy/"):
            yield path, node.lineno, {"what": match[0], "host": match[1]}
            return


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
        for number, line in lines_of(text):
            match = re.search(BROWSER["here"], line)
            if match and not re.match(r"\s*(//|\*|<!--|#)", line):
                yield path, number, {"what": match[0]}
                break
