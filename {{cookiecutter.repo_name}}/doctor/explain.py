"""What lines of the platform's log mean, which of them is the cause, and which checks watch over it."""

import re
from string import Formatter

from doctor import CHECKS, FACTS
from doctor.files import MAX_LINE
from doctor.report import WORDS, printable, say

MAX_CAUSES = 3  # that are told of one log
MAX_LINES = 200_000
PYTHON = FACTS["python"]
# What a log or a terminal puts before and into its lines.
COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
ROWS = [(key, re.compile(row["line"]), row) for key, row in FACTS["log"].items()]


def steps():
    """Return {id: step of the guide} of all checks, also of those that --dyno makes."""
    return {id: run.step for id, run in CHECKS.items()} | FACTS["dyno"]


def check_words(id):
    """Return all that is known of a check, None where there is none of that id."""
    if id not in steps():
        return None
    words = WORDS[id]
    parts = [f"{id}  {words['title']}", "", words["why"]]
    if words.get("prints"):
        parts.append(f"{say('prints')} {words['prints']}")
    parts += [f"{say('fix')} {words['fix']}", say("guide", step=steps()[id])]
    return re.sub(r"\{(\w+)\}", r"<\1>", "\n".join(parts))


def log(lines):
    """Return what a log says: its causes first; None where no line of it is known."""
    found, known = {}, []
    for line in lines[:MAX_LINES]:
        if row := meaning(line):
            found.setdefault(row[0], row)
    for key, row, details in found.values():
        if not row.get("kind"):
            known.append((key, row, details))
    rest = [entry for entry in found.values() if entry[1].get("kind") == "end"]
    calm = [entry for entry in found.values() if entry[1].get("kind") == "calm"]
    told = known[:MAX_CAUSES] or rest[:1] or calm[:1]
    texts = [paragraph(*entry) for entry in told]
    if known and rest:
        seen = ", ".join(details["text"] for _, _, details in rest)
        texts.append(printable(say("follows", what=seen)))
    return "\n\n".join(texts) or None


def meaning(line):
    """Return (key, row, what its groups have found) of one line, None where it is not known."""
    line = COLOURS.sub("", line[:MAX_LINE])
    for key, pattern, row in ROWS:
        if match := pattern.search(line):
            details = {k: v for k, v in match.groupdict().items() if v}
            return key, row, details | {"text": match[0][:60]}
    return None


def paragraph(key, row, details):
    """Return the words about one line."""
    words = WORDS["log"][key]
    details = more_details(details)
    parts = [
        fill(words["means"], details),
        f"{say('fix')} {fill(words['fix'], details)}",
    ]
    if row["checks"]:
        parts.append(say("covered", checks=", ".join(row["checks"])))
    return "\n".join(map(printable, parts))


def more_details(details):
    """Add what the line does not say: the Pythons that are offered, the package of a module."""
    found = {"newest": PYTHON["offered"][-1], "offered": ", ".join(PYTHON["offered"])}
    module = details.get("module", "")
    first = module.partition(".")[0]
    owners = [
        p for p, modules in FACTS["modules"].items() if {module, first} & set(modules)
    ]
    owners = FACTS["packages"]["of_module"].get(first, sorted(owners, key=len))
    same = first.lower().replace("_", "-")
    known = owners[0] if owners else same if same in FACTS["brings"] else ""
    return found | {"package": known or say("its_package")} | details


def fill(text, details):
    """Fill in what is known; a name that is not gets dots."""
    names = {name for _, name, _, _ in Formatter().parse(text) if name}
    return text.format(**{name: details.get(name, "…") for name in names})
