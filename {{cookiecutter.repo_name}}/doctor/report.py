"""What the doctor says: on a terminal, in lines of their own, worst first; or as JSON."""

import json
import os
import tomllib
from pathlib import Path

LEVELS = ("error", "warning")
COLOURS = {"error": "31", "warning": "33", "good": "32"}  # red, yellow, green
MARKS = {"error": "✗", "warning": "!", "good": "✓"}

with Path(__file__).with_name("words.toml").open("rb") as file:
    WORDS = tomllib.load(file)


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


def text(findings, project, stream):
    """Return the report for people."""
    lines = []
    for finding in worst_first(findings):
        words = WORDS[finding.id]
        mark = paint(f"{MARKS[finding.level]} {finding.id}", finding.level, stream)
        where = f"{place(finding)}: " if finding.file else ""
        title = words["title"].format(**finding.details)
        fix = words["fix"].format(**finding.details)
        lines.append(f"{mark}  {printable(f'{where}{title}')}")
        if words.get("prints"):
            lines.append(f"    {say('prints')} {words['prints']}")
        lines.append(f"    {say('fix')} {printable(fix)}")
        lines.append(f"    {say('step', step=finding.step, id=finding.id)}")
        lines.append("")
    if project.unpushed is None:
        lines += [say("unpushed_unknown"), ""]
    elif project.unpushed:
        more = " …" if len(project.unpushed) > 5 else ""
        names = printable(", ".join(project.unpushed[:5])) + more
        lines += [say("unpushed", names=names), ""]
    lines.append(verdict(findings, stream))
    return "\n".join(lines)


def verdict(findings, stream):
    """Return the last line: would this push deploy?"""
    wrong, unsure = len(errors(findings)), len(findings) - len(errors(findings))
    if wrong:
        return paint(say("no", errors=wrong, warnings=unsure), "error", stream)
    if unsure:
        return paint(say("maybe", warnings=unsure), "warning", stream)
    return paint(say("yes"), "good", stream)


def as_json(findings, project, figures):
    """Return the report for programs; the ids stay the same from version to version."""
    return json.dumps(
        {
            "deploys": not errors(findings),
            "unpushed": project.unpushed,
            "dyno": figures,
            "findings": [
                {
                    "id": finding.id,
                    "level": finding.level,
                    "step": finding.step,
                    "file": finding.file,
                    "line": finding.line,
                    "title": WORDS[finding.id]["title"].format(**finding.details),
                    "fix": WORDS[finding.id]["fix"].format(**finding.details),
                }
                for finding in worst_first(findings)
            ],
        },
        indent=2,
    )
