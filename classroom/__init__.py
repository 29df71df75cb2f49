"""One template, thirty projects: `python -m classroom` bakes a class from a roster and checks what comes back."""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 -- cookiecutter itself also runs on older ones
    sys.exit("Python 3.11 or newer is needed: start this command with one, as in python3.13 -m classroom")

import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent  # the checkout of the template

with (HERE / "words.toml").open("rb") as file:
    WORDS = tomllib.load(file)


class Refused(Exception):
    """Input that cannot be used. lines: sentences that say what is wrong, where, and what to do."""

    def __init__(self, *lines):
        super().__init__(*lines)
        self.lines = lines
