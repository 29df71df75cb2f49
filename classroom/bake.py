"""Bake a project for every line of a roster: python -m classroom bake ROSTER.csv OUT [key=value …].

A project is made in a folder of its own below OUT and gets its name when it is complete. So a run
that was stopped leaves no half project, and the next one goes on where it was.
"""

import contextlib
import difflib
import io
import json
import os
import shutil
import sys
import tempfile
import unicodedata
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import ClassVar

import cookiecutter
import cookiecutter.utils
from cookiecutter.environment import StrictEnvironment
from cookiecutter.generate import generate_context, generate_files
from cookiecutter.prompt import prompt_for_config
from rich.console import Console
from rich.progress import track

from classroom import ROOT, Refused, roster

SETTINGS = json.loads((ROOT / "cookiecutter.json").read_text(encoding="utf-8"))
QUESTIONS = [name for name in SETTINGS if not name.startswith("_")]
MEGABYTES_EACH = 3  # of a project and its repository, in whole blocks of a disk
UNFINISHED = ".unfinished-"  # what the folders are called that projects are made in


class CachingEnvironment(StrictEnvironment):
    """Compiles each text once: all projects come from the same ones."""

    compiled: ClassVar = {}

    def compile(self, source, name=None, filename=None, *options):
        key = source, name, filename, *options
        if key not in self.compiled:
            self.compiled[key] = super().compile(source, name, filename, *options)
        return self.compiled[key]


cookiecutter.utils.StrictEnvironment = CachingEnvironment


def hook(name, answers):
    """Return a hook of the template as a module, with the answers rendered into it as cookiecutter does."""
    source = (ROOT / "hooks" / f"{name}.py").read_text(encoding="utf-8")
    context = {"cookiecutter": answers}
    source = CachingEnvironment(context=context).from_string(source).render(context)
    module = ModuleType(name)
    exec(compile(source, name, "exec"), vars(module))  # noqa: S102 -- the template's own code
    return module


@cache
def rules():
    """Return the hook that judges answers, as a module."""
    return hook("pre_gen_project", complete({}))


def complete(given):
    """Return all answers; given: {question: a default, which cookiecutter renders}."""
    # Not the person's own defaults, and no replay file: what is written comes from the roster.
    context = generate_context(str(ROOT / "cookiecutter.json"), extra_context=given)
    surroundings = {"_template": str(ROOT), "_output_dir": str(ROOT), "_repo_dir": str(ROOT), "_checkout": None}
    return {**prompt_for_config(context, no_input=True), **surroundings}


def complete_texts(texts):
    """Return all answers; texts: {question: text}, which stays what it is, whatever braces it has."""
    return complete({question: rules().as_default(text) for question, text in texts.items()})


def from_command_line(pairs, words):
    """Return {question: text} of key=value. Raises Refused."""
    given = {}
    for pair in pairs:
        name, equals, given[name] = pair.partition("=")
        if not equals or name not in QUESTIONS:
            near = difflib.get_close_matches(name, QUESTIONS, n=1)
            raise Refused(words["no_question"].format(pair=pair, questions=", ".join(near or QUESTIONS)))
    return given


def all_answers(file, given, words):
    """Return [answers of each project] and remarks. Raises Refused with a sentence for each doubtful place."""
    lines, remarks, doubts = roster.read(file, QUESTIONS, words)
    choices, found, seen = rules().all_choices(SETTINGS), [], {}
    for line in lines:
        said, follows = line.answers(QUESTIONS)
        if "repo_name" not in {**said, **follows}:
            continue  # that nobody is named there is said already
        texts = follows | given | said
        # cookiecutter itself ends at a choice that there is not.
        wrong = {question: rules().fault(question, texts, choices) for question in texts if question in choices}
        answers = texts
        if not any(wrong.values()):
            answers = complete_texts(texts)
            wrong = rules().faults(answers, choices)
        for question in filter(wrong.get, wrong):
            value = texts.get(question, answers[question])
            facts = {"value": value, "other": value, "json": value, "length": len(value)}
            facts["choices"] = ", ".join(choices.get(question, []))
            reason = rules().MESSAGES[words["language"]][wrong[question]].format(**facts)
            near = rules().suggestion(question, value, choices)
            column = question
            if question in follows and question not in {**said, **given}:
                column = source(line, question)
                near = None if column in roster.NAME else near
            letters = cyrillic(value) if question in ("repo_name", "github_owner") else ""
            if letters:  # without them it would be somebody else's name
                reason, near = words["cyrillic"].format(value=value, letters=letters), None
            cure = words["write"].format(value=near, question=question) if near else ""
            cure = cure or words["correct"].format(question=column)
            doubt = roster.doubt(words, file, line.number, column, reason, cure)
            doubts += [doubt] if doubt not in doubts else []
        name = texts["repo_name"].casefold()  # Windows and macOS have one folder for both
        if name in seen:
            what = words["duplicate"].format(name=texts["repo_name"], line=seen[name])
            column = "repo_name" if "repo_name" in {**said, **given} else line.login
            doubts.append(roster.doubt(words, file, line.number, column, what, words["duplicate_cure"]))
        seen.setdefault(name, line.number)
        found.append(answers)
    if doubts:
        raise Refused(*doubts, words["nothing_written"])
    return found, remarks


def source(line, question):
    """Return the column that a faulty answer follows from."""
    names = roster.NAME if question == "author_name" else ()
    faulty = (name for name in names if rules().has_control_character(line.values.get(name, "")))
    return next(faulty, line.login)


def cyrillic(text):
    """Return the Cyrillic letters of a text with their places: many look like Latin ones."""
    letters = enumerate(text, start=1)
    return ", ".join(f"{n} {c}" for n, c in letters if "CYRILLIC" in unicodedata.name(c, ""))


def render(answers, folder):
    """Write a project's files into a folder; return the project's own."""
    context = {"cookiecutter": dict(answers)}
    return Path(generate_files(str(ROOT), context, str(folder), accept_hooks=False))


@contextlib.contextmanager
def environment(variables):
    """Have these variables for a while."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def finish(answers, project, words):
    """Do what the template's hook does after rendering. Raises Refused where there is no first commit."""
    post = hook("post_gen_project", answers)
    name, email = post.author(answers).values()
    # Whoever runs this is not the author, and their settings are nobody else's.
    variables = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    for role in ("AUTHOR", "COMMITTER"):
        variables |= {f"GIT_{role}_NAME": name, f"GIT_{role}_EMAIL": email}
    said = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    quiet = contextlib.redirect_stdout(said), contextlib.redirect_stderr(said)
    with quiet[0], quiet[1], environment(variables), contextlib.chdir(project):
        post.main()
    if not (project / ".git" / "refs" / "heads" / "main").is_file():
        said.seek(0)
        raise Refused(words["no_commit"].format(name=project.name, reason=" ".join(said.read().split())))


def run(words, roster, out, answers):
    """Bake what is not there yet; say how many. Raises Refused, OSError."""
    needed = rules().NEEDED
    if [int(part) for part in cookiecutter.__version__.split(".")[:2]] < [int(part) for part in needed.split(".")]:
        raise Refused(rules().MESSAGES[words["language"]]["too_old"].format(needed=needed))
    if shutil.which("git") is None:
        raise Refused(words["no_git"])
    projects, remarks = all_answers(roster, from_command_line(answers, words), words)
    out.mkdir(parents=True, exist_ok=True)
    out = out.resolve()
    for leftover in out.glob(f"{UNFINISHED}*"):
        cookiecutter.utils.rmtree(leftover)
    missing = [project for project in projects if not (out / project["repo_name"]).exists()]
    free = shutil.disk_usage(out).free // 10**6
    if free < (size := rules().MEGABYTES + MEGABYTES_EACH * len(missing)):
        raise Refused(rules().MESSAGES[words["language"]]["disk"].format(free=free, needed=size))
    unfinished = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=out))
    try:
        for project in track(missing, words["baking"], console=Console(stderr=True)):
            path = render(project, unfinished)
            finish(project, path, words)
            path.rename(out / path.name)
    finally:
        cookiecutter.utils.rmtree(unfinished)
    kept = len(projects) - len(missing)
    print(*remarks, words["baked"].format(count=len(missing), out=out, kept=kept), sep="\n", file=sys.stdout)
