"""Refuse answers that give a project which cannot run or deploy, before any file is written.

cookiecutter renders this file like a template. The answers enter it as JSON inside a raw
string, so whatever a person typed stays data.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import unicodedata
from pathlib import Path

ANSWERS = json.loads(r"""
{{ cookiecutter | tojson }}
""")

CHOICES = {
    "language": ["en", "ru"],
    "python_version": ["auto", "3.14", "3.13", "3.12", "3.11"],
    "example": ["notes", "none"],
    "license": ["MIT", "BSD-3-Clause", "none"],
}
FREE_TEXT = ["project_name", "author_name"]
QUESTIONS = [*FREE_TEXT, "repo_name", "github_owner", *CHOICES]

# A folder of one of these names would be imported in place of the module. Names with an
# underscore cannot be repo names and are left out.
PROJECT_MODULES = "config database deploy doctor forms main models migrations static templates test views instance"
PACKAGES = """
alembic blinker click colorama dotenv fasteners flask granian iniconfig itsdangerous jinja2 mako
markupsafe packaging pip platformdirs pluggy psutil psycopg py pygments pytest setuptools sqlalchemy
tzdata werkzeug wtforms
"""
MODULES = {name.lower() for name in (*PROJECT_MODULES.split(), *PACKAGES.split(), *sys.stdlib_module_names)}
MEGABYTES = 5  # that the project and its repository take, with room to spare
DEVICES = {"con", "prn", "aux", "nul", "com", "lpt"}  # also with a number behind

MESSAGES = {
    "en": {
        "repo_empty": "it is empty",
        "repo_characters": "{value!r} has other characters than Latin letters, digits and dashes",
        "repo_long": "{value!r} has {length} characters, Heroku allows 30",
        "repo_start": "{value!r} does not begin with a letter",
        "repo_end": "{value!r} ends with a dash",
        "repo_device": "{value!r} is a device name on Windows",
        "repo_module": "{value!r} is the name of a Python module that the project would no longer find",
        "line_break": "it has a line break or another invisible control character",
        "owner": "{value!r} is not a GitHub user name (letters, digits and single dashes, 39 at most)",
        "choice": "{value!r} is not one of {choices}",
        "disk": "The disk has room for {free} MB only, the project needs {needed}. Nothing was written.",
        "refused": "{question}: {reason}.",
        "again": "Nothing was written. Run this to try again with your other answers kept:",
    },
    "ru": {
        "repo_empty": "ответ пустой",
        "repo_characters": "в {value!r} есть что-то кроме латинских букв, цифр и дефисов",
        "repo_long": "в {value!r} {length} символов, Heroku допускает 30",
        "repo_start": "{value!r} начинается не с буквы",
        "repo_end": "{value!r} заканчивается дефисом",
        "repo_device": "{value!r} в Windows – имя устройства",
        "repo_module": "{value!r} – имя модуля Python, и проект перестал бы его находить",
        "line_break": "в ответе есть перенос строки или другой невидимый управляющий символ",
        "owner": "{value!r} – не имя пользователя GitHub (буквы, цифры и одиночные дефисы, не больше 39)",
        "choice": "{value!r} – не один из вариантов {choices}",
        "disk": "На диске осталось {free} МБ, а проекту нужно {needed}. Ничего не записано.",
        "refused": "{question}: {reason}.",
        "again": "Ничего не записано. Эта команда повторит вопросы и сохранит остальные ответы:",
    },
}


def repo_name_fault(name):
    """Return the id of what is wrong with the repo name, None if nothing is."""
    rules = [
        ("repo_empty", name == ""),
        ("repo_characters", not re.fullmatch(r"[A-Za-z0-9-]*", name)),
        ("repo_long", len(name) > 30),
        ("repo_start", not re.match(r"[A-Za-z]", name)),
        ("repo_end", name.endswith("-")),
        ("repo_device", name.lower().rstrip("0123456789") in DEVICES),
        ("repo_module", name.lower() in MODULES),
    ]
    return next((fault for fault, broken in rules if broken), None)


def has_control_character(text):
    """Tell whether the text holds a line break or what no file could hold (NUL, half a character)."""
    return any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in text)


def faults(answers):
    """Return {question: id of what is wrong}; empty where all answers can be used."""
    found = {}
    for question in FREE_TEXT:
        if has_control_character(answers[question]):
            found[question] = "line_break"
    # cookiecutter.json replaces an unsafe repo name by a safe one and keeps what was typed.
    if fault := repo_name_fault(answers["__typed_repo_name"]):
        found["repo_name"] = fault
    if not re.fullmatch(r"(?=.{1,39}$)[A-Za-z0-9]+(-[A-Za-z0-9]+)*", answers["github_owner"]):
        found["github_owner"] = "owner"
    for question, choices in CHOICES.items():
        if answers[question] not in choices:
            found[question] = "choice"
    return found


def suggestion(question, typed):
    """Return an answer near the refused one that would be taken, None where there is none."""
    if question in FREE_TEXT:
        visible = (" " if has_control_character(c) else c for c in typed)
        return " ".join("".join(visible).split())
    if question == "repo_name":
        name = re.sub(r"[^A-Za-z0-9]+", "-", typed).lstrip("0123456789-")[:26].strip("-").lower()
        return name if name and not repo_name_fault(name) else f"{name or 'my'}-app"
    return None


def command_again(answers, refused):
    """Return the shell command that runs cookiecutter again with all answers but the refused."""
    words = ["cookiecutter", answers["_template"]]
    if answers.get("_checkout"):
        words += ["--checkout", answers["_checkout"]]
    if answers["_output_dir"] != os.environ.get("PWD"):
        words += ["--output-dir", answers["_output_dir"]]
    for question in QUESTIONS:
        value = suggestion(question, typed(answers, question)) if question in refused else answers[question]
        if value is not None:
            words.append(f"{question}={as_default(value)}")
    return subprocess.list2cmdline(words) if sys.platform == "win32" else shlex.join(words)


def as_default(value):
    """Return the value so that cookiecutter, which renders defaults, gives it back unchanged."""
    braces = "{" * 2, "{" + "%", "{" + "#"  # written apart, because this file is rendered too
    if not any(brace in value for brace in braces):
        return value
    return "{" * 2 + " " + json.dumps(value, ensure_ascii=False) + " }" + "}"


def typed(answers, question):
    return answers["__typed_repo_name"] if question == "repo_name" else answers[question]


def main():
    refused = faults(ANSWERS)
    words = MESSAGES.get(ANSWERS["language"], MESSAGES["en"])
    # A console that cannot show a letter gets a stand-in for it, not a traceback.
    sys.stderr.reconfigure(errors="backslashreplace")
    free = shutil.disk_usage(Path.cwd()).free // 10**6
    if free < MEGABYTES:
        # cookiecutter itself would stop in the middle and leave what is there by then.
        print("", words["disk"].format(free=free, needed=MEGABYTES), "", sep="\n", file=sys.stderr)
        return 1
    if not refused:
        return 0
    lines = []
    for question, fault in refused.items():
        value = typed(ANSWERS, question)
        choices = ", ".join(CHOICES.get(question, []))
        reason = words[fault].format(value=value, length=len(value), choices=choices)
        lines.append(words["refused"].format(question=question, reason=reason))
    lines += [words["again"], "", "    " + command_again(ANSWERS, refused), ""]
    print("", *lines, sep="\n", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
