"""Which facts are older than half a year: what the platform and the index are like, pins, actions, dates in the pages.

`make stale` tells, and ends with 1 where there are any; a workflow asks every week.
"""

import json
import re
import subprocess
import sys
import tomllib
from datetime import UTC, date, datetime

from lab import ROOT, TEMPLATE, call

MOST = 183  # days
MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
# As in "(November 2026)": that is when somebody has looked.
LOOKED = re.compile(rf"\((?:[^()]*[\s(])?({'|'.join(MONTHS)}) (20\d\d)\)")
FACTS = {
    "Pythons, plans, stacks and limits of the platform": "doctor/facts.toml",
    "packages, their modules and what they bring": "doctor/packages.json",
    "versions that break": "doctor/pins.json",
}
PAGES = ("templates/en/*.md", "docs/*.md", f"{TEMPLATE.name}/deploy/*.py", f"{TEMPLATE.name}/.github/**/*.yml")
# What git knows the date of: files that one change renews as a whole.
RENEWED = {
    "pins of a project": [f"{TEMPLATE.name}/requirements.txt", f"{TEMPLATE.name}/requirements-test.txt"],
    "pins of the template": ["requirements-dev.txt", "requirements-bench.txt"],
    "actions": [".github/workflows", f"{TEMPLATE.name}/.github/workflows"],
}


def facts():
    """Yield (what, where, the date when it was true); a month counts from its first day."""
    for what, name in FACTS.items():
        text = (TEMPLATE / name).read_text(encoding="utf-8")
        read = json.loads if name.endswith(".json") else tomllib.loads
        yield what, name, date.fromisoformat(f"{read(text)['date']}-01")
    for pattern in PAGES:
        for file in sorted(ROOT.glob(pattern)):
            for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
                for month, year in LOOKED.findall(line):
                    place = f"{file.relative_to(ROOT).as_posix()}:{number}"
                    yield f"looked at in {month} {year}", place, date(int(year), MONTHS.index(month) + 1, 1)
    for what, names in RENEWED.items():
        for name in names:
            told = call("git", "log", "-1", "--format=%cI", "--", name, cwd=ROOT).stdout.strip()
            yield what, name, datetime.fromisoformat(told).date()


def old(found, today):
    """Return those facts that are older than MOST days."""
    return [(what, where, since) for what, where, since in found if (today - since).days > MOST]


def main():
    shallow = call("git", "rev-parse", "--is-shallow-repository", cwd=ROOT).stdout.strip()
    if shallow == "true":
        sys.exit("The dates of pins and actions are git's: fetch the whole history first (git fetch --unshallow).")
    found = list(facts())
    late = old(found, datetime.now(UTC).date())
    for what, where, since in late:
        print(f"{where}: {what}, {since}")
    print(f"{len(found)} dated facts, {len(late)} older than half a year.")
    return 1 if late else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (AssertionError, OSError, subprocess.SubprocessError) as error:
        sys.exit(f"git could not be asked: {error}")
