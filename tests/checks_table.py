"""Writes the README's table of what the doctor checks, from the checks themselves: make readme."""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
START, END = "<!-- checks: written by `make readme` -->\n", "<!-- end of checks -->"
# Run in a baked project, where the words are: prints [[id, step, title], …].
LIST = """
import json
from doctor.__main__ import explain, report
print(json.dumps([[id, step, report.WORDS[id]["title"]] for id, step in sorted(explain.steps().items())]))
"""


def table():
    """Return the table as Markdown; bakes a project for it."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "cookiecutter", ROOT, "--no-input", "--default-config", "-o", folder]
        subprocess.run([*command, "repo_name=app"], check=True, capture_output=True)
        output = subprocess.run(
            [sys.executable, "-c", LIST], cwd=Path(folder, "app"), check=True, capture_output=True, encoding="utf-8"
        )
    rows = [f"| `{id}` | {step} | {re.sub('{(.*?)}', '…', title)} |" for id, step, title in json.loads(output.stdout)]
    return "\n".join(["| Check | Step | What it finds |", "| --- | --- | --- |", *rows]) + "\n"


def with_table(readme):
    """Return the README's text with a table that is up to date."""
    before, rest = readme.split(START)
    return before + START + table() + END + rest.split(END)[1]


if __name__ == "__main__":
    README.write_text(with_table(README.read_text(encoding="utf-8")), encoding="utf-8", newline="\n")
