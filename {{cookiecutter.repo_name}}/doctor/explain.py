"""What a log means: which of its lines is the cause, what to do, and which checks watch over it."""

import difflib
import re
import sys
import tomllib
from functools import cache
from pathlib import Path
from string import Formatter

from doctor import CHECKS, FACTS
from doctor.files import MAX_LINE
from doctor.report import WORDS, printable, say, shown

MAX_TOLD = 3  # causes that are told of one log
OVERLAP = 200  # characters that the pieces of a long line have in common
PYTHON = FACTS["python"]
HERE = Path(__file__).parent
LINES = tomllib.loads((HERE / "log.toml").read_text(encoding="utf-8"))
LOG, ADVISED = LINES["log"], LINES["advised"]
LOG_WORDS = tomllib.loads((HERE / "log_words.toml").read_text(encoding="utf-8"))
KINDS = ("cause", "likely", "end", "calm")  # what is told first

# What logs and terminals put between, into and before their lines.
BREAK = re.compile(r"\r?\n|\r|[ \t](?=\d{4}-\d\d-\d\dT\d\d:\d\d)|[ \t](?=remote: {2})")
COLOURS = re.compile(r"\x1b\[[0-9;]{0,20}[A-Za-z]|\0")
BEFORE = re.compile(
    r"(?:\d{4}-\d\d-\d\dT\S{1,30} )?(?:\w{1,20}\[[\w.-]{1,40}\]:? ?)?(?:remote: {0,9})?"
)
# Numbers and addresses in which lines differ that say the same.
VARYING = re.compile(r"(?<=[=.:/(\[-])(?!H\d\d\b)\w{0,40}\d\w{0,40}")
# A traceback: its lines that name a place, places that are not the app's own, its last line.
PLACE = re.compile(r'File "(?P<file>[^"]{1,300})", line (?P<line>\d{1,7})')
FOREIGN = re.compile(r"site-packages|[/\\]lib[/\\]python|[/\\]Lib[/\\]|\.heroku|^<")
ERROR = re.compile(r"\b[\w.]{0,60}(?:Error|Exception): .{1,300}$")
RAISED = re.compile(r"(?P<name>[A-Za-z_][\w.]{0,100})(?:: (?P<text>.{0,200}))?$")

CODE = re.compile(r"(?:\bcode=|\bError:? |\(|^\W{0,9})(?P<name>[HRL]\d\d)\b")


@cache
def rows():
    """Return [(key, pattern)]; made when a line is looked at, not at every start."""
    return [(key, re.compile(row["line"])) for key, row in LOG.items() if "line" in row]


@cache
def modules():
    """Return what is known of modules and names, {table: {module: details}}."""
    brings = {name.replace("-", "_"): name for name in FACTS["brings"]}
    for package, names in FACTS["modules"].items():
        brings |= {name: package for name in names if name not in ADVISED}
    brings |= {k: names[0] for k, names in FACTS["packages"]["of_module"].items()}
    moved = {}
    for module, row in FACTS["packages"]["removed"].items():
        for name in row["names"]:
            above = module.rpartition(".")[0]
            whole = name == "*" and [module, above if "." in above else module]
            moved |= dict.fromkeys(whole or [f"{module}.{name}"], row)
    absent = [*FACTS["packages"]["not_on_index"], *FACTS["packages"]["windows_only"]]
    return {
        "absent": {name: {} for name in [*absent, "pkg_resources"]},
        "lost": {name: {"since": since} for name, since in PYTHON["removed"].items()},
        "moved": moved,
        "stdlib": {name: {} for name in sys.stdlib_module_names},
        "near": {module: names[1:] for module, names in FACTS["names"].items()},
        "packages": {k: {"package": v} for k, v in (brings | ADVISED).items()},
    }


def steps():
    """Return {id: step of the guide} of all checks, also of those that --dyno makes."""
    return {id: run.step for id, run in CHECKS.items()} | FACTS["dyno"]


def check_words(id):
    """Return all that is known of a check, None where there is none of that id."""
    if id not in steps():
        return None
    words = WORDS[id]
    parts = [f"{id}  {words['title']}", "", words["why"]]
    parts += shown(words)
    parts += [f"{say('fix')} {words['fix']}", say("guide", step=steps()[id])]
    return re.sub(r"\{(\w+)\}", r"<\1>", "\n".join(parts))


def log(text):
    """Return what a log says, its causes first; None where no line of it is known."""
    found, seen = {kind: {} for kind in KINDS}, {}
    for key, details in meanings(text):
        seen.setdefault(key, details)
    for key, details in seen.items():
        if not {*LOG[key].get("unless", ())} & seen.keys():
            found[LOG[key].get("kind", "cause")][key] = details
    kind = next((kind for kind in KINDS if found[kind]), None)
    if kind is None:
        return None
    told = list(found[kind])[:MAX_TOLD]
    if kind == "end":  # the most telling of them
        told = [key for key in LOG if key in found[kind]][:1]
    texts = [paragraph(key, found[kind][key]) for key in told]
    ends = [seen["seen"] for key, seen in found["end"].items() if key not in told]
    if ends and kind != "calm":
        texts.append(printable(say("follows", what=", ".join(dict.fromkeys(ends)))))
    return "\n\n".join(texts)


def meanings(text):
    """Yield (key, details) of each line that is known, and of what ends a traceback."""
    seen, inside, place = set(), False, {}
    for line in lines(text):
        if match := PLACE.search(line):
            inside = True
            if not FOREIGN.search(match["file"]):
                place = match.groupdict()
            # A log whose line breaks are lost has the error behind it.
            if not (error := ERROR.search(line, match.end())):
                continue
            line = error[0]
        raised = RAISED.match(line) if inside else None
        same = VARYING.sub("", line)
        if same not in seen or raised:
            seen.add(same)
            key, details = meaning(line) or (raised and "exception", {})
            if raised:
                details = raised.groupdict("") | details | place
            if key:
                yield key, details
        if raised:
            inside, place = False, {}


def lines(text):
    """Yield the lines without what a log puts before them; a long one in pieces."""
    for line in BREAK.split(COLOURS.sub("", text)):
        line = line[BEFORE.match(line).end() :]
        for start in range(0, len(line), MAX_LINE - OVERLAP):
            yield line[start : start + MAX_LINE]


def meaning(line):
    """Return (key, what its groups have found) of one line, None where it is not known."""
    if code := CODE.search(line):
        key = code["name"] if code["name"] in LOG else "other_code"
        return key, {"name": code["name"], "seen": code["name"]}
    for key, pattern in rows():
        if match := pattern.search(line):
            details = {k: v for k, v in match.groupdict().items() if v}
            known = in_table(LOG[key].get("of"), details)
            if known is not None:
                details.setdefault("name", next(iter(details.values()), ""))
                return key, details | known | {"seen": match[0].strip()[:60]}
    return None


def in_table(table, details):
    """Return what a table has on a name; {} without a table, None where it has nothing."""
    if table is None:
        return {}
    if table == "near":
        known = modules()["near"].get(details["module"], [])
        near = difflib.get_close_matches(details["name"], known, 1, 0.8)
        return {"right": near[0]} if near and details["name"] not in known else None
    name = ".".join(details[group] for group in ("module", "name") if group in details)
    names = (name, name.partition(".")[0])
    known = modules()[table]
    return next((known[name] for name in names if name in known), None)


def paragraph(key, details):
    """Return the words about one line."""
    words, offered = LOG_WORDS[key], PYTHON["offered"]
    details = details | {"newest": offered[-1], "oldest": offered[0]}
    details["offered"] = ", ".join(offered)
    parts = [fill(words["means"], details)]
    parts.append(f"{say('fix')} {fill(words['fix'], details)}")
    if details.get("file"):
        file = details["file"].removeprefix("/app/")
        parts.append(say("where", file=file, line=details["line"]))
    if LOG[key]["checks"]:
        parts.append(say("covered", checks=", ".join(LOG[key]["checks"])))
    return "\n".join(map(printable, parts))


def fill(text, details):
    """Fill in what is known, and leave out what is not."""
    names = {name for _, name, _, _ in Formatter().parse(text) if name}
    text = text.format(**{name: details.get(name) or "…" for name in names})
    return text.replace(" (…)", "").replace(": …", "")
