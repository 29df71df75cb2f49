"""Writes what the pages say of the doctor, from the doctor itself: make readme."""

import html
import json
import re
import sys
import textwrap

from lab import LANGUAGES, bake_into, workplace, write_part

READMES = {"en": "README.md", "ru": "README.ru.md"}
ALT = {"en": "The page of a baked project: notes", "ru": "Страница готового проекта: заметки"}
COLUMNS = 80  # of the terminal
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


def opinion(project, language):
    """Return what the doctor says of a mistake that many make, with the page beside it, as HTML for a README."""
    project.write("views.py", project.read("views.py").replace("\nfrom flask", "\nimport requests\nfrom flask", 1))
    project.commit()
    printed = project.run(sys.executable, "-m", "doctor", check=False).stdout.splitlines()
    lines = [part for line in printed for part in textwrap.wrap(line, COLUMNS, subsequent_indent=" " * 4) or [""]]
    # Within a table of HTML, Markdown takes an empty line for its end.
    said = "\n".join(html.escape(line) or "&nbsp;" for line in ["$ python3 -m doctor", *lines])
    return (
        "<table><tr>\n"
        f'<td width="42%"><img src="docs/notes-{language}.png" alt="{ALT[language]}"></td>\n'
        f"<td><pre>{said}</pre></td>\n"
        "</tr></table>\n"
    )


def main():
    with workplace() as (folder, environ):
        write_part("checks", table(bake_into(folder, environ, "app")), "docs/doctor.md")
        for language in LANGUAGES:
            answers = {"language": language, "github_owner": "me", "author_name": "Ann"}
            project = bake_into(folder, environ, f"app-{language}", **answers)
            write_part("doctor", opinion(project, language), READMES[language])


if __name__ == "__main__":
    main()
