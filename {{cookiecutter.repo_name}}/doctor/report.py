"""What the doctor says: on a terminal, in lines of their own, worst first; or as JSON."""

import json
import os
import re
import tomllib
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from doctor import FACTS

MOST_OF_A_KIND = 10  # findings of one check that are shown; --json has all
LEVELS = ("error", "warning")
COLOURS = {"error": "31", "warning": "33", "good": "32"}  # red, yellow, green
MARKS = {"error": "✗", "warning": "!", "good": "✓"}


class Words(dict):
    """The tables of a TOML file, each read when it is asked for: most runs need few of them."""

    def __init__(self, text):
        head, *parts = re.split(r"(?m)^(?=\[)", text)
        super().__init__(tomllib.loads(head))
        self.unread = defaultdict(str)
        for part in parts:
            self.unread[re.match(r"\[(\w+)", part)[1]] += part

    def __missing__(self, name):
        read = tomllib.loads(self.unread[name])
        self[name] = read[name]
        return self[name]


WORDS = Words(Path(__file__).with_name("words.toml").read_text(encoding="utf-8"))


def say(sentence, **details):
    """Return one of the doctor's own sentences, filled in."""
    return WORDS["say"][sentence].format(**details)


def printable(text):
    """Return one line that does nothing to a terminal: names come from the repository."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


def paint(text, colour, stream):
    """Return the text in colour where the stream is a terminal that wants colours."""
    if stream.isatty() and "NO_COLOR" not in os.environ:
        return f"\033[{COLOURS[colour]}m{text}\033[0m"
    return text


def worst_first(findings):
    return sorted(findings, key=lambda f: (LEVELS.index(f.level), f.id, f.file, f.line))


def place(finding):
    return f"{finding.file}:{finding.line}" if finding.line else finding.file


def errors(findings):
    return [finding for finding in findings if finding.level == "error"]


@dataclass
class Report:
    """All that is told of a project.

    findings: those that count; silenced: [(finding, reason)]; remarks:
    sentences of --dyno; uncommitted: what a commit of
    the folder would add; mended: what it would put right; figures: those of --dyno.
    """

    project: object
    findings: list
    silenced: list = field(default_factory=list)
    uncommitted: list = field(default_factory=list)
    mended: list = field(default_factory=list)
    figures: dict = field(default_factory=dict)
    remarks: list = field(default_factory=list)
    is_dyno: bool = False

    @property
    def is_unfinished(self):
        """Tell whether a merge or an update waits for somebody to choose."""
        return any(finding.id == "H116" for finding in self.uncommitted)

    @property
    def deploys(self):
        """Return whether a push would deploy, None where only --dyno could say so."""
        if errors(self.findings):
            return False
        return True if self.is_dyno else None


def text(report, stream, with_silenced=False):
    """Return the report for people."""
    lines = []
    told = Counter()
    for finding in worst_first(report.findings):
        told[finding.id] += 1
        if told[finding.id] > MOST_OF_A_KIND:
            continue
        lines += paragraph(finding, stream)
        if finding in report.mended:
            lines.append(f"    {say('mended')}")
        lines.append("")
    for id, count in told.items():
        if count > MOST_OF_A_KIND:
            lines += [say("more", id=id, count=count - MOST_OF_A_KIND), ""]
    if report.uncommitted:
        lines += [say("uncommitted"), ""]
        for finding in worst_first(report.uncommitted):
            lines += [*paragraph(finding, stream), ""]
    for finding, reason in report.silenced if with_silenced else ():
        title = WORDS[finding.id]["title"].format(**finding.details)
        where = f"{place(finding)}: " if finding.file else ""
        lines += [
            printable(f"- {finding.id}  {where}{title}"),
            f"    {printable(reason)}",
            "",
        ]
    lines += reminders(report.project)
    lines += [line for remark in report.remarks for line in (remark, "")]
    lines += [verdict(report, stream), looked_at(report)]
    return "\n".join(lines)


def paragraph(finding, stream):
    """Return the lines about one finding."""
    words = WORDS[finding.id]
    mark = paint(f"{MARKS[finding.level]} {finding.id}", finding.level, stream)
    where = f"{place(finding)}: " if finding.file else ""
    title = words["title"].format(**finding.details)
    lines = [f"{mark}  {printable(f'{where}{title}')}"]
    lines += [f"    {line}" for line in shown(words)]
    lines.append(
        f"    {say('fix')} {printable(words['fix'].format(**finding.details))}"
    )
    lines.append(f"    {say('step', step=finding.step, id=finding.id)}")
    return lines


def shown(words):
    """Return the line about what a check's mistake would look like, if it is known where."""
    return [f"{say(key)} {words[key]}" for key in ("prints", "browser") if key in words]


def reminders(project):
    """Return what is no mistake, but good to know before a push."""
    lines = []
    if project.unpushed is None:
        lines += [say("unpushed_unknown"), ""]
    elif project.unpushed:
        more = " …" if len(project.unpushed) > 5 else ""
        names = printable(", ".join(project.unpushed[:5])) + more
        lines += [say("unpushed", names=names), ""]
    found = [f"{text} ({', '.join(f)})" for text, f in project.placeholders.items()]
    return lines + ([say("placeholder", found="; ".join(found)), ""] if found else [])


def verdict(report, stream):
    """Return what comes of it; that a push would deploy is for --dyno to say."""
    wrong = len(errors(report.findings))
    unsure = len(report.findings) - wrong
    if wrong:
        return paint(say("no", errors=wrong, warnings=unsure), "error", stream)
    if report.is_unfinished:
        return paint(say("unfinished"), "error", stream)
    if later := len(errors(report.uncommitted)):
        return paint(say("yes_but", count=later), "warning", stream)
    sentence = "deploys" if report.is_dyno else "yes"
    if unsure:
        sentence = "deploys_maybe" if report.is_dyno else "maybe"
        return paint(say(sentence, warnings=unsure), "warning", stream)
    return paint(say(sentence), "good", stream)


def looked_at(report):
    """Return the last line: what was looked at, and what only --dyno can show."""
    project = report.project
    commit = project.repository.head[:7] if project.in_git else say("the_folder")
    count = len(project.running.reached)
    how = "along" if project.running.starts else "all_code"
    parts = [say("looked_at", commit=commit, files=len(project.sizes))]
    parts.append(say(how, count=count))
    if report.silenced:
        parts.append(say("silenced", count=len(report.silenced)))
    if not report.is_dyno and not report.figures:
        parts.append(say("only_dyno"))
    return " ".join(parts)


def as_json(report):
    """Return the report for programs; docs/doctor.schema.json of the template describes it."""
    project = report.project
    return json.dumps(
        {
            "schema": 2,
            "template": WORDS["template"],
            **made_from(project),
            "facts": FACTS["date"],
            "commit": project.repository.head if project.in_git else None,
            "deploys": report.deploys,
            "files": len(project.sizes),
            "running": sorted(project.running.reached),
            "unpushed": project.unpushed,
            "placeholders": project.placeholders,
            "dyno": report.figures,
            "remarks": report.remarks,
            "findings": [as_dict(finding) for finding in worst_first(report.findings)],
            "uncommitted": [as_dict(f) for f in worst_first(report.uncommitted)],
            "silenced": [as_dict(f) | {"reason": why} for f, why in report.silenced],
        },
        indent=2,
    )


def made_from(project):
    """Return where the template is and which commit of it the project has, as far as known."""
    try:
        cruft = json.loads(project.text(".cruft.json") or "{}")
        address, commit = cruft.get("template"), cruft.get("commit")
    except (ValueError, AttributeError, RecursionError):
        address = commit = None
    # A folder of somebody's computer, or a password, is nobody's business.
    named = isinstance(address, str) and address.startswith(("https://", "gh:"))
    public = named and "@" not in address
    known = isinstance(commit, str) and re.fullmatch("[0-9a-f]{40}", commit)
    return {
        "template_address": (address if public else WORDS["template_address"]) or None,
        "template_commit": commit if known else None,
    }


def as_dict(finding):
    words = WORDS[finding.id]
    return {
        "id": finding.id,
        "level": finding.level,
        "step": finding.step,
        "file": finding.file,
        "line": finding.line,
        "title": words["title"].format(**finding.details),
        "fix": words["fix"].format(**finding.details),
    }
