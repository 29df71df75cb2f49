"""The questions: which answers are taken, which are refused, and what they become in the project."""

import itertools
import json
import shlex
import subprocess
import sys
import tomllib

import pytest
from justhtml import JustHTML
from markdown_it import MarkdownIt

from conftest import ROOT, Project

CONTEXT = json.loads((ROOT / "cookiecutter.json").read_text(encoding="utf-8"))
QUESTIONS = [name for name in CONTEXT if not name.startswith("_")]
CHOICES = {name: CONTEXT[name] for name in QUESTIONS if isinstance(CONTEXT[name], list)}

REFUSED_NAMES = [
    *("", "has.dot", "has space", "has/slash", "..", ".", "../up", "back\\slash", "under_score", "имя", "a" * 31),
    *("1abc", "-abc", "abc-", "con", "Nul", "COM1", "lpt9", "com10"),
    *("flask", "Flask", "json", "main", "config", "templates", "sqlalchemy", "psycopg"),
]
ACCEPTED_NAMES = ["a", "notes", "My-Notes", "a--b", "x2", "a" * 30, "console", "flask-app", "Comet"]

# The other free texts must survive as well: quotes, backslashes, markup, other scripts.
TEXTS = {
    "quotes": """It's "quoted" and '''tripled''' and \"\"\"more\"\"\"""",
    "apostrophes": "it's 'so'",
    "backslashes": r"C:\new\table \ ends with \\",
    "jinja": "{{ 7 * 7 }} {% if %} {# no #} }}",
    "markup": "</script><b>&amp; <!-- --> ]]>",
    "signs": "# 100 % & * _ ` ~ | $HOME !important @me [a](b) - + =",
    "yaml": "- a: b, {c: [d]} # e",
    "emoji": "Notes 📝👩‍💻",
    "cyrillic": "Мои заметки «ёлка»",
    "right-to-left": "\u200fשלום\u200f عربي",
    "long": "word " * 100,
    "starts-with-sign": "+ plus",
    "numbered": "2048: the game",
}


@pytest.mark.parametrize("name", ACCEPTED_NAMES)
def test_repo_name_is_taken(bake, name):
    assert bake(repo_name=name).path.name == name


@pytest.mark.parametrize("name", REFUSED_NAMES)
def test_repo_name_is_refused_before_anything_is_written(cookiecutter, name):
    result = cookiecutter("--no-input", f"repo_name={name}")
    assert result.returncode == 1
    first, again, command = [line for line in result.stderr.splitlines() if line][:3]
    assert first.startswith("repo_name: ")
    assert repr(name) in first or name == ""
    assert "Nothing was written" in again
    assert command.strip().startswith("cookiecutter ")
    assert list(cookiecutter.work.iterdir()) == []
    assert list(cookiecutter.work.parent.glob("up*")) == []


def test_a_refused_absolute_path_is_not_written_to(cookiecutter, tmp_path):
    outside = tmp_path / "outside"
    assert cookiecutter("--no-input", f"repo_name={outside}").returncode == 1
    assert not outside.exists()


def test_refusal_leaves_an_existing_folder_alone(cookiecutter):
    existing = cookiecutter.work / "flask"
    existing.mkdir()
    (existing / "mine.txt").write_text("mine", encoding="utf-8")
    result = cookiecutter("--no-input", "--overwrite-if-exists", "repo_name=flask")
    assert result.returncode == 1
    assert [path.name for path in existing.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        *(("project_name", f"two{end}lines") for end in ("\n", "\r", "\x0b", "\x0c", "\x85", "\u2028", "\u2029")),
        ("description", "two\nlines"),
        ("author_name", "two\nlines"),
        ("author_name", "\x1b[31mred"),
        *(("github_owner", name) for name in ("", "a b", "a/b", "-a", "a" * 40)),
    ],
)
def test_text_that_fits_in_no_line_is_refused(cookiecutter, question, answer):
    result = cookiecutter("--no-input", f"{question}={answer}", "repo_name=app")
    assert result.returncode == 1
    assert result.stderr.lstrip().startswith(f"{question}: ")
    assert list(cookiecutter.work.iterdir()) == []


def test_the_words_of_a_refusal_are_in_the_chosen_language(cookiecutter):
    result = cookiecutter("--no-input", "language=ru", "repo_name=два слова")
    assert "Ничего не записано" in result.stderr


@pytest.mark.parametrize("question", CHOICES)
def test_an_unsupported_choice_is_refused(cookiecutter, question):
    result = cookiecutter("--no-input", f"{question}=other")
    assert result.returncode == 1
    # cookiecutter itself refuses these, before it asks anything.
    last = result.stderr.strip().splitlines()[-1]
    assert question in last
    assert "other" in last
    assert CHOICES[question][-1] in last
    assert list(cookiecutter.work.iterdir()) == []


@pytest.mark.parametrize("question", CHOICES)
def test_an_unsupported_choice_in_a_replayed_answer_is_refused(cookiecutter, question, tmp_path):
    assert cookiecutter("--no-input", "repo_name=first").returncode == 0
    file = next((tmp_path / "replay_dir").glob("*.json"))
    answers = json.loads(file.read_text(encoding="utf-8"))
    answers["cookiecutter"] |= {question: "other", "repo_name": "second", "__typed_repo_name": "second"}
    file.write_text(json.dumps(answers), encoding="utf-8")
    result = cookiecutter("--replay")
    assert result.returncode == 1
    assert f"{question}: 'other'" in result.stderr
    assert not (cookiecutter.work / "second").exists()


def test_the_command_of_a_refusal_keeps_the_other_answers(cookiecutter):
    texts = {"project_name": TEXTS["quotes"], "description": TEXTS["jinja"], "author_name": TEXTS["backslashes"]}
    typed = ["ru", texts["project_name"], "a/b", texts["description"], texts["author_name"], "me", "3.12", "eu", "none"]
    refusal = cookiecutter(answers=as_typed(typed))
    assert refusal.returncode == 1, refusal.stderr
    command = next(line for line in refusal.stderr.splitlines() if line.startswith("    cookiecutter "))
    program, template, *arguments = shlex.split(command)
    assert (program, template) == ("cookiecutter", str(ROOT))
    result = cookiecutter(*arguments, "--no-input")
    assert result.returncode == 0, result.stderr
    project = Project(cookiecutter.work / "a-b", {})
    assert settings(project)[:2] == (texts["project_name"], texts["description"])
    assert project.read(".python-version") == "3.12\n"
    assert "--region eu" in project.read("DEPLOY.md")
    assert texts["author_name"] in markdown_text(project.read("README.md"))


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_any_text_is_readable_wherever_it_lands(cookiecutter, environ, text):
    typed = ["en", text, "app", text, text, "me", "auto", "us", "MIT"]
    result = cookiecutter(answers=as_typed(typed))
    assert result.returncode == 0, result.stderr
    text = text.strip()
    project = Project(cookiecutter.work / "app", environ)
    assert settings(project) == (text, text)
    assert json.loads(project.read("app.json"))["description"] == text
    assert f" {text}\n" in project.read("LICENSE")
    tomllib.loads(project.read("pyproject.toml"))
    readme = markdown_text(project.read("README.md"))
    assert readme.count(squeezed(text)) >= 3  # title, description, author
    page = JustHTML(render_page(project), sanitize=False, strict=True)
    assert squeezed(page.query_one("header .name").to_text()) == squeezed(text)
    assert page.query_one("meta[name=description]").attrs["content"] == text
    for command in (["check", "."], ["format", "--check", "."]):
        subprocess.run([sys.executable, "-m", "ruff", *command], cwd=project.path, check=True)


def test_every_pair_of_choices_bakes(bake):
    for first, second in itertools.combinations(CHOICES, 2):
        for one, two in itertools.product(CHOICES[first], CHOICES[second]):
            assert (bake(**{first: one, second: two}).path / "main.py").exists()


@pytest.mark.parametrize("version", [v for v in CHOICES["python_version"] if v != "auto"])
def test_python_version_is_written(bake, version):
    assert bake(python_version=version).read(".python-version") == f"{version}\n"


def test_python_version_is_the_running_one_by_default(bake):
    running = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert bake().read(".python-version") == f"{running}\n"


def test_license_is_the_chosen_one(bake):
    assert "MIT License" in bake(license="MIT", author_name="Ann").read("LICENSE")
    assert "BSD 3-Clause" in bake(license="BSD-3-Clause").read("LICENSE")
    assert not (bake(license="none").path / "LICENSE").exists()


def test_region_is_the_chosen_one(bake):
    assert "--region us" in bake(heroku_region="us").read("DEPLOY.md")
    assert "--region eu" in bake(heroku_region="eu").read("DEPLOY.md")


def test_owner_is_in_the_addresses(bake):
    project = bake(github_owner="octocat", repo_name="cat-notes")
    assert json.loads(project.read("app.json"))["repository"] == "https://github.com/octocat/cat-notes"
    assert "https://github.com/octocat/cat-notes.git" in project.read("DEPLOY.md")


@pytest.mark.parametrize(
    ("project_name", "repo_name"),
    [
        ("My Notes", "my-notes"),
        ("Мои заметки", "moi-zametki"),
        ("2048 Game!", "game"),
        ("📝", "my-app"),
        ("A very long name indeed, longer than Heroku allows", "a-very-long-name-indeed-longer"),
    ],
)
def test_repo_name_comes_from_the_project_name(bake, project_name, repo_name):
    assert bake(project_name=project_name).path.name == repo_name


def test_every_question_has_words_a_person_understands():
    prompts = CONTEXT["__prompts__"]
    assert list(prompts) == QUESTIONS
    for question, choices in CHOICES.items():
        assert list(prompts[question]) == ["__prompt__", *choices]


def as_typed(answers):
    """Return what a person types: text as it is, a choice as the number before it in the menu."""
    lines = []
    for question, answer in zip(QUESTIONS, answers, strict=True):
        lines.append(str(CHOICES[question].index(answer) + 1) if question in CHOICES else answer)
    return "\n".join(lines) + "\n"


def settings(project):
    """Return (name, description) as the project's own Python reads them."""
    names = {}
    source = project.read("config.py").split("ROOT = ")[1].splitlines()[1:3]
    exec("\n".join(source), names)
    return names["PROJECT_NAME"], names["DESCRIPTION"]


def render_page(project):
    """Return a page that needs no database, as the app renders it."""
    code = (
        "from flask import render_template, request\n"
        "from main import init_app\n"
        "app = init_app({'DATABASE_URL': 'postgres://u:p@127.0.0.1:1/d', 'SECRET_KEY': 'k'})\n"
        "with app.test_request_context('/'):\n"
        "    import sys; sys.stdout.reconfigure(encoding='utf-8')\n"
        "    print(render_template('error.html', reason=404))\n"
    )
    return project.run("python", "-c", code).stdout


def markdown_text(source):
    """Return what a reader of the rendered Markdown sees."""
    html = MarkdownIt("commonmark").enable("table").render(source)
    return squeezed(JustHTML(html, sanitize=False).to_text())


def squeezed(text):
    return " ".join(text.split())
