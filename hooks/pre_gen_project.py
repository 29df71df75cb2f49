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

# In pairs, because in an object tojson would sort them: the order of the questions stays.
ANSWERS = dict(
    json.loads(r"""
{{ cookiecutter.items() | list | tojson }}
""")
)

# A folder of one of these names would be imported in place of the module. Names with an
# underscore cannot be repo names and are left out.
PROJECT_MODULES = "config database deploy doctor forms main models migrations static templates test views instance"
PACKAGES = """
alembic blinker click colorama dotenv fasteners flask granian iniconfig itsdangerous jinja2 mako
markupsafe packaging pip platformdirs pluggy psutil psycopg py pygments pytest setuptools sqlalchemy
tzdata werkzeug wtforms
"""
MODULES = {name.lower() for name in (*PROJECT_MODULES.split(), *PACKAGES.split(), *sys.stdlib_module_names)}
COOKIECUTTER_S = {"_template", "_output_dir", "_repo_dir", "_checkout", "_commit"}  # what it adds to the answers
MEGABYTES = 5  # that the project and its repository take, with room to spare
NEEDED = "2.2"  # the first cookiecutter that finds templates/
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
        "not_text": "{json} is not a text",
        "two_names": "the replay file has two different names, {value!r} and {other!r}",
        "altered": (
            "Nothing was written: the replay file has other values than the template for {names}."
            " Run cookiecutter without the replay file."
        ),
        "too_old": (
            "Nothing was written, because this cookiecutter is too old; the template needs version {needed} or newer:"
            " `pipx install cookiecutter` or `python3 -m pip install --upgrade cookiecutter`."
        ),
        "disk": "The disk has room for {free} MB only, the project needs {needed}. Nothing was written.",
        "refused": "{question}: {reason}.",
        "again": "Nothing was written. Run this to try again with your other answers kept:",
    },
    "ru": {
        "repo_empty": "ответ пустой",
        "repo_characters": "в {value!r} есть что-то кроме латинских букв, цифр и дефисов",
        "repo_long": "в {value!r} символов {length}, а Heroku допускает 30",
        "repo_start": "{value!r} начинается не с буквы",
        "repo_end": "{value!r} заканчивается дефисом",
        "repo_device": "{value!r} — имя устройства в Windows",
        "repo_module": "{value!r} — имя модуля Python, и проект перестал бы его находить",
        "line_break": "в ответе есть перенос строки или другой невидимый управляющий символ",
        "owner": "{value!r} — не имя пользователя GitHub (буквы, цифры и одиночные дефисы, не больше 39)",
        "choice": "{value!r} — нет такого варианта; есть {choices}",
        "not_text": "{json} — не текст",
        "two_names": "в файле для повтора два разных имени, {value!r} и {other!r}",
        "altered": (
            "Ничего не записано: в файле для повтора значения {names} не те, что в шаблоне."
            " Запустите cookiecutter без этого файла."
        ),
        "too_old": (
            "Ничего не записано: эта версия cookiecutter слишком старая, шаблону нужна версия {needed} или новее:"
            " `pipx install cookiecutter` или `python3 -m pip install --upgrade cookiecutter`."
        ),
        "disk": "На диске осталось {free} МБ, а проекту нужно {needed}. Ничего не записано.",
        "refused": "{question}: {reason}.",
        "again": "Ничего не записано. Чтобы попробовать снова, сохранив остальные ответы, выполните:",
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


def questions(answers):
    """Return the names of the questions, without what cookiecutter and the template add to them."""
    return [name for name in answers if not name.startswith("_")]


def template_settings(answers):
    """Return what stands in the template's cookiecutter.json, {} where it cannot be found.

    Under cruft it cannot; there the answers come from cookiecutter's own prompt, which takes no others.
    """
    # The template's folder may be relative to where the command was typed; hooks run elsewhere.
    starts = [os.environ.get("PWD"), answers.get("_output_dir")] if "_repo_dir" in answers else []
    for start in filter(None, starts):
        file = Path(start, answers["_repo_dir"], "cookiecutter.json")
        settings = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        if "__typed_repo_name" in settings:
            return settings
    return {}


def all_choices(settings):
    """Return {question: its choices}."""
    return {name: settings[name] for name in questions(settings) if isinstance(settings[name], list)}


def altered(answers, settings):
    """Return the names of the template's own settings that a replay file has other values for."""
    if not settings:
        return []
    names = {name for name in {*answers, *settings} if re.match("_[^_]", name)} - COOKIECUTTER_S
    return sorted(name for name in names if answers.get(name) != settings.get(name))


def too_old(answers):
    """Tell whether this cookiecutter cannot make the project."""
    if "_commit" in answers:  # cruft's context says nothing of the version, but before 2.0 this is not rendered
        return answers["__safe"] not in ("True", "False")
    return "_repo_dir" not in answers  # new in 2.2


def typed(answers, question):
    """Return the answer as it was given: cookiecutter.json replaces an unsafe repo name and keeps what was typed."""
    value = answers[question]
    return answers["__typed_repo_name"] if question == "repo_name" and isinstance(value, str) else value


def fault(question, answers, choices):
    """Return the id of what is wrong with the answer to a question, None if nothing is."""
    value = answers[question]
    if not isinstance(value, str):
        return "not_text"
    if question == "repo_name":
        name = answers["__typed_repo_name"]
        # What becomes the folder is repo_name, and a replay file may hold any.
        return repo_name_fault(str(name)) or ("two_names" if name != value else None)
    if question == "github_owner":
        return None if re.fullmatch(r"(?=.{1,39}$)[A-Za-z0-9]+(-[A-Za-z0-9]+)*", value) else "owner"
    if value not in choices.get(question, [value]):
        return "choice"
    return "line_break" if has_control_character(value) else None


def faults(answers, choices):
    """Return {question: id of what is wrong}; empty where all answers can be used."""
    found = {question: fault(question, answers, choices) for question in questions(answers)}
    return {question: wrong for question, wrong in found.items() if wrong}


def suggestion(question, value, choices):
    """Return an answer near the refused one that would be taken, None where there is none."""
    if isinstance(value, (int, float)):
        value = str(value)
    if not isinstance(value, str):
        return None
    if question in choices:
        return next((choice for choice in choices[question] if choice.lower() == value.strip().lower()), None)
    if question == "repo_name":
        if not repo_name_fault(value):
            return value
        name = re.sub(r"[^A-Za-z0-9]+", "-", value).lstrip("0123456789-")[:26].strip("-").lower()
        return name if name and not repo_name_fault(name) else f"{name or 'my'}-app"
    if question == "github_owner":
        return re.sub(r"[^A-Za-z0-9]+", "-", value).strip("-")[:39].strip("-") or None
    visible = (" " if has_control_character(c) else c for c in value)
    return " ".join("".join(visible).split())


def command_again(answers, refused, choices):
    """Return the shell command that asks again: the answers are its defaults, for a refused one the nearest."""
    given = {name: answers[name] for name in questions(answers)}
    given |= {name: suggestion(name, typed(answers, name), choices) for name in refused}
    given = {name: as_default(value) for name, value in given.items() if value is not None}
    # cruft says which commit it has read, and not which folder the project was to be in.
    checkout = answers.get("_commit") or answers.get("_checkout")
    folder = answers.get("_output_dir") or str(Path.cwd().parent)
    words = ["cruft", "create"] if "_commit" in answers else ["cookiecutter"]
    # Run by one of these two, the program is in a place of theirs only.
    place = set(Path(sys.prefix).parts)
    words = ["uvx"] * ("uv" in place) + ["pipx", "run"] * ("pipx" in place) + words
    words += [answers["_template"]]
    words += ["--checkout", checkout] if checkout else []
    words += ["--output-dir", folder] if folder != os.environ.get("PWD") else []
    if "_commit" in answers:
        words += ["--extra-context", json.dumps(given, ensure_ascii=False)]
    else:
        words += [f"{name}={value}" for name, value in given.items()]
    return subprocess.list2cmdline(words) if sys.platform == "win32" else shlex.join(words)


def as_default(value):
    """Return the value so that cookiecutter, which renders defaults, gives it back unchanged."""
    braces = "{" * 2, "{" + "%", "{" + "#"  # written apart, because this file is rendered too
    if not any(brace in value for brace in braces):
        return value
    return "{" * 2 + " " + json.dumps(value, ensure_ascii=False) + " }" + "}"


def refusal(answers):
    """Return the lines that say why there will be no project, none where all is well."""
    words = MESSAGES.get(str(answers.get("language")), MESSAGES["en"])
    if too_old(answers):
        return [words["too_old"].format(needed=NEEDED)]
    free = shutil.disk_usage(Path.cwd()).free // 10**6
    if free < MEGABYTES:
        # cookiecutter itself would stop in the middle and leave what is there by then.
        return [words["disk"].format(free=free, needed=MEGABYTES)]
    settings = template_settings(answers)
    if names := altered(answers, settings):
        return [words["altered"].format(names=", ".join(name[:30] for name in names))]
    choices = all_choices(settings)
    refused = faults(answers, choices)
    if not refused:
        return []
    lines = []
    for question, wrong in refused.items():
        value = typed(answers, question)
        reason = words[wrong].format(
            value=value,
            other=answers[question],
            json=json.dumps(value, ensure_ascii=False),
            length=len(str(value)),
            choices=", ".join(choices.get(question, [])),
        )
        lines.append(words["refused"].format(question=question, reason=reason))
    return [*lines, words["again"], "", "    " + command_again(answers, refused, choices)]


def say(stream, *lines):
    """Write lines to stdout or stderr. That nobody can read them changes nothing else."""
    if stream is None:  # closed from the start; a file opened since then may have its number
        return
    try:
        # A console that cannot show a letter gets a stand-in for it, not a traceback.
        stream.reconfigure(errors="backslashreplace")
        print(*lines, sep="\n", file=stream, flush=True)
    except OSError:
        # At exit Python would try the rest again, fail, and end with a status of its own.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def main():
    """Return the exit status: any but 0 stops cookiecutter.

    By now cookiecutter has made the project's folder. It deletes it again, unless it was there before. Of a
    replayed name with slashes the empty folders above it stay: nothing says whether they were there before.
    """
    lines = refusal(ANSWERS)
    if lines:
        say(sys.stderr, "", *lines, "")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
