"""What a line of the platform's log means, and which checks watch over it."""

import re

from doctor import CHECKS, dyno
from doctor.report import WORDS, say

# The first pattern that matches is taken, so the more telling ones come first.
LINES = {
    "no_language": (
        r"No default language could be detected|couldn't find any supported Python",
        ("H102", "H201", "H202"),
    ),
    "procfile_types": (
        r"Procfile declares types\W+\(none\)",
        ("H401", "H402", "H403", "H404"),
    ),
    "invalid_requirement": (r"Invalid requirement", ("H203",)),
    "no_distribution": (
        r"No matching distribution|Could not find a version",
        ("H207", "H303"),
    ),
    "slug_size": (r"Compiled slug size.*too large", ("H975", "H205", "H107")),
    "dialect": (r"sqlalchemy\.dialects:postgres\b", ("H604",)),
    "no_module": (r"ModuleNotFoundError|No module named", ("H204", "H103")),
    "template": (r"TemplateNotFound", ("H104",)),
    "no_factory": (
        r"Failed to find (attribute|application)|Could not (locate a Flask|import)",
        ("H501",),
    ),
    "shell_syntax": (r"[Ss]yntax error.*(unexpected|\()", ("H405",)),
    "no_program": (r"command not found|exited with status 127", ("H206", "H408")),
    "exit_3": (r"exited with status 3\b", ("H501", "H204")),
    "exit_4": (r"exited with status 4\b", ("H501",)),
    "heads": (r"[Mm]ultiple head revisions", ("H904",)),
    "no_table": (r"UndefinedTable|relation \"\w+\" does not exist", ("H903", "H409")),
    "connections": (r"too many connections|remaining connection slots", ("H902",)),
    "no_tls": (r"server does not support SSL", ()),
    "hobby_dev": (r"plan is no longer available|hobby-dev", ("H703",)),
    "H10": (r"\bH10\b", ("H204", "H405", "H501", "H206")),
    "H12": (r"\bH12\b", ()),
    "H13": (r"\bH13\b", ("H978",)),
    "H14": (r"\bH14\b", ("H401", "H402", "H403", "H404")),
    "H15": (r"\bH15\b", ()),
    "R10": (r"\bR10\b", ("H973", "H407")),
    "R12": (r"\bR12\b", ("H977", "H406")),
    "R14": (r"\bR14\b", ("H976", "H205")),
    "R15": (r"\bR15\b", ("H976", "H205")),
}


def steps():
    """Return {id: step of the guide} of all checks, also of those that --dyno makes."""
    return {id: run.step for id, run in CHECKS.items()} | dyno.STEPS


def check_words(id):
    """Return all that is known of a check, None where there is none of that id."""
    if id not in steps():
        return None
    words = WORDS[id]
    title = re.sub(r"\{(\w+)\}", r"<\1>", words["title"])
    parts = [f"{id}  {title}", "", words["why"]]
    if words.get("prints"):
        parts.append(f"{say('prints')} {words['prints']}")
    parts.append(f"{say('fix')} " + re.sub(r"\{(\w+)\}", r"<\1>", words["fix"]))
    parts.append(say("guide", step=steps()[id]))
    return "\n".join(parts)


def log_line(line):
    """Return what a line of the log means, None where that is not known."""
    for key, (pattern, checks) in LINES.items():
        if re.search(pattern, line):
            words = WORDS["log"][key]
            parts = [words["means"], f"{say('fix')} {words['fix']}"]
            if checks:
                parts.append(say("covered", checks=", ".join(checks)))
            return "\n".join(parts)
    return None
