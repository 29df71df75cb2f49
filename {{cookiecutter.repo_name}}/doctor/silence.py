"""What the project's pyproject.toml wants the doctor to be silent about, each with a reason.

[[tool.doctor.silence]]
id = "H205"
file = "requirements.txt"
reason = "a plugin loads it by its name"
"""

import tomllib

from doctor import CHECKS, FACTS, check
from doctor.project import as_dict


def settings(project):
    """Return (the entries, each a dict, and what is wrong with the file)."""
    try:
        whole = tomllib.loads(project.text("pyproject.toml"))
    except (ValueError, RecursionError) as error:
        return [], str(error)
    entries = as_dict(as_dict(whole.get("tool")).get("doctor")).get("silence", [])
    if not isinstance(entries, list) or any(not isinstance(e, dict) for e in entries):
        return [], "[[tool.doctor.silence]]"
    return entries, ""


@check("H706", step=13, level="warning")
def silence_that_does_not_hold(project):
    """An entry of another id, without a reason, or a file that is no TOML."""
    entries, wrong = settings(project)
    if wrong:
        yield "pyproject.toml", 0, {"what": wrong}
    for entry in entries:
        if not holds(entry):
            yield (
                "pyproject.toml",
                0,
                {"what": ", ".join(f"{k} = {v}" for k, v in entry.items())},
            )


def holds(entry):
    """Tell whether an entry names a check and a reason, and nothing unknown."""
    known = set(CHECKS) | set(FACTS["dyno"])
    texts = all(isinstance(value, str) and value.strip() for value in entry.values())
    right = {"id", "reason"} <= set(entry) <= {"id", "reason", "file"}
    return texts and right and entry["id"] in known


def apart(findings, project):
    """Return (the findings that count, [(finding, reason)] of the silenced ones)."""
    entries = [entry for entry in settings(project)[0] if holds(entry)]
    counting, silenced = [], []
    for finding in findings:
        reason = next((e["reason"] for e in entries if fits(e, finding)), None)
        if reason is None:
            counting.append(finding)
        else:
            silenced.append((finding, reason))
    return counting, silenced


def fits(entry, finding):
    return entry["id"] == finding.id and entry.get("file", finding.file) == finding.file
