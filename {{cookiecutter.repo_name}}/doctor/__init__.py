"""Would a push deploy? `python -m doctor` tells before the push.

A check is a function that looks at the Project and yields where something is wrong.
Its words, in the project's language, are in words.toml under its id; the names and
patterns that it looks for are in facts.toml and the JSON files. This package needs nothing but Python, and
imports nothing of the app: it also works on a broken one.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036
    with open(__path__[0] + "/words.toml", encoding="utf-8") as file:
        sys.exit(next(x for x in file if x.startswith("old_python")).split('"')[1])
if sys.argv[:1] == ["-m"]:
    # `python -m doctor` looks for modules in the project first. A file of the project's own,
    # as random.py, is not to be run in place of Python's.
    sys.path[:] = [p for p in sys.path if p not in ("", __path__[0][: -len("/doctor")])]

import json
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

CHECKS = {}

FACTS = tomllib.loads(
    Path(__file__).with_name("facts.toml").read_text(encoding="utf-8")
)
# JSON, which is read in a tenth of the time.
for _name in "packages.json", "versions.json":
    FACTS |= json.loads(Path(__file__).with_name(_name).read_text(encoding="utf-8"))
FACTS["packages"] |= json.loads(
    Path(__file__).with_name("pins.json").read_text(encoding="utf-8")
)


@dataclass(frozen=True)
class Finding:
    """One place where a check has found something.

    level: "error" (would not deploy, or gives a secret away) or "warning".
    details: what the words of the check have placeholders for.
    """

    id: str
    level: str
    step: int
    file: str = ""
    line: int = 0
    details: dict = field(default_factory=dict)


def check(id, step, level="error"):
    """Register a check. step: the step of the deployment guide that it protects, 1 to 13.

    The function yields (file, line, details) for each place; line 0 is the whole file.
    Where it is not as sure as its level, a level of its own stands behind them.
    """

    def register(function):
        def run(project):
            for file, line, details, *own in function(project):
                yield Finding(id, own[0] if own else level, step, file, line, details)

        CHECKS[id] = run
        run.step, run.level = step, level
        return run

    return register
