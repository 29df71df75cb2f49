"""Writes the README's table of what the doctor checks, from the checks themselves: make readme."""

import json
import re
import sys

from lab import bake_into, workplace, write_part

# Run in a baked project, where the words are: prints [[id, step, title], …].
LIST = """
import json
from doctor.__main__ import report
from doctor import explain
print(json.dumps([[id, step, report.WORDS[id]["title"]] for id, step in sorted(explain.steps().items())]))
"""


def table(project):
    """Return the table of a baked project's checks as Markdown."""
    checks = json.loads(project.run(sys.executable, "-c", LIST).stdout)
    rows = [f"| `{id}` | {step} | {re.sub('{(.*?)}', '…', title)} |" for id, step, title in checks]
    return "\n".join(["| Check | Step | What it finds |", "| --- | --- | --- |", *rows]) + "\n"


if __name__ == "__main__":
    with workplace() as (folder, environ):
        write_part("checks", table(bake_into(folder, environ, "app")))
