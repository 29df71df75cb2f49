"""What a line of the platform's log means, and which checks watch over it."""

import re

from doctor import CHECKS, FACTS
from doctor.files import MAX_LINE
from doctor.report import WORDS, say


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


def log_line(line):
    """Return what a line of the log means, None where that is not known."""
    for key, known in FACTS["log"].items():
        if re.search(known["line"], line[:MAX_LINE]):
            words = WORDS["log"][key]
            parts = [words["means"], f"{say('fix')} {words['fix']}"]
            if known["checks"]:
                parts.append(say("covered", checks=", ".join(known["checks"])))
            return "\n".join(parts)
    return None
