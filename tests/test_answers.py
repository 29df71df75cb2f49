"""The questions: which answers are taken, which are refused, and what they become in the project."""

import ast
import json
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from cookiecutter.main import cookiecutter as generate
from justhtml import JustHTML
from markdown_it import MarkdownIt

from conftest import ROOT, Project
from test_git import committed_copy, cruft
from test_hooks import CHOICES, CONTEXT, PRE, QUESTIONS, answered

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
def test_repo_name_is_taken(name):
    answers = answered(repo_name=name)
    assert answers["repo_name"] == name
    assert PRE.refusal(answers) == []


def test_the_folder_has_the_name_that_was_taken(bake):
    for name in ("My-Notes", "a" * 30):
        assert bake(repo_name=name).path.name == name


@pytest.mark.parametrize("name", REFUSED_NAMES)
def test_repo_name_is_refused(name):
    answers = answered(repo_name=name)
    # cookiecutter makes this folder before it asks the hook.
    assert re.fullmatch("[A-Za-z0-9-]+", answers["repo_name"])
    first, again, _, command = PRE.refusal(answers)
    assert first.startswith("repo_name: ")
    assert repr(name) in first or name == ""
    assert "Nothing was written" in again
    assert command.startswith("    cookiecutter ")


@pytest.mark.parametrize("name", ["", "../up", "flask"])
def test_a_refusal_comes_before_anything_is_written(cookiecutter, name):
    result = cookiecutter("--no-input", f"repo_name={name}")
    assert result.returncode == 1
    first, again, command = [line for line in result.stderr.splitlines() if line][:3]
    assert first.startswith("repo_name: ")
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
        ("author_name", "two\nlines"),
        ("author_name", "\x1b[31mred"),
        *(("github_owner", name) for name in ("", "a b", "a/b", "-a", "a" * 40)),
    ],
)
def test_text_that_fits_in_no_line_is_refused(question, answer):
    first, *_ = PRE.refusal(answered(repo_name="app", **{question: answer}))
    assert first.startswith(f"{question}: ")


@pytest.mark.parametrize("question", CHOICES)
def test_an_unsupported_choice_is_refused(cookies, question):
    """By cookiecutter itself, before it asks anything."""
    words = str(cookies.bake(extra_context={question: "other"}).exception)
    assert question in words
    assert "other" in words
    assert CHOICES[question][-1] in words


@pytest.fixture
def replay(cookiecutter, tmp_path):
    """A function that generates from a replay file with the default answers, but for the given ones."""

    def replay(*options, **changes):
        file = tmp_path / "answers.json"
        file.write_text(json.dumps({"cookiecutter": answered() | changes}), encoding="utf-8")
        return cookiecutter("--replay-file", str(file), *options)

    return replay


def test_a_replay_file_makes_the_project_of_its_answers(cookiecutter, replay):
    result = replay(project_name="Replayed")
    assert result.returncode == 0, result.stderr
    assert settings(Project(cookiecutter.work / "my-notes", {})) == "Replayed"


@pytest.mark.parametrize(
    ("question", "answer", "words"),
    [("license", "other", "license: 'other' is not one of"), ("author_name", None, "author_name: null is not a text")],
)
def test_a_replayed_answer_that_cannot_be_used_is_refused(cookiecutter, replay, question, answer, words):
    result = replay(**{question: answer})
    assert result.returncode == 1
    assert words in result.stderr
    assert list(cookiecutter.work.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "typed"), [("../outside", False), ("../new/outside", True), ("ABSOLUTE", False), (".", True)]
)
def test_a_replayed_name_leads_no_file_out_of_the_folder(cookiecutter, replay, tmp_path, name, typed):
    name = name.replace("ABSOLUTE", str(tmp_path / "outside"))
    result = replay("--overwrite-if-exists", repo_name=name, **({"__typed_repo_name": name} if typed else {}))
    assert result.returncode == 1
    assert "repo_name: " in result.stderr
    assert own_files(tmp_path) == {}
    assert not (tmp_path / "outside").exists()


def test_a_replayed_name_of_a_folder_that_is_there_leaves_it_alone(cookiecutter, replay, tmp_path):
    for folder in ("mine", "empty"):
        (tmp_path / folder).mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("a year's work\n", encoding="utf-8")
    before = own_files(tmp_path)
    for name in ("../mine", "../empty"):
        assert replay("--overwrite-if-exists", repo_name=name).returncode == 1
    assert own_files(tmp_path) == before
    assert (tmp_path / "empty").is_dir()


def own_files(folder):
    """Return the files in the folder with their contents, without what the test's cookiecutter keeps there."""
    kept = {folder / "cookiecutter.yaml", folder / "answers.json", *folder.glob("replay_dir/*")}
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path not in kept}


def test_the_command_of_a_refusal_keeps_the_other_answers(cookiecutter, tmp_path):
    """As typed at the prompts; every question has an answer that is not its default."""
    answers = {name: choices[-1] for name, choices in CHOICES.items()}
    answers |= {"project_name": TEXTS["quotes"], "repo_name": "a/b", "github_owner": "my self"}
    answers |= {"author_name": TEXTS["jinja"]}
    refusal = cookiecutter(answers=as_typed(answers))
    assert refusal.returncode == 1, refusal.stderr
    command = next(line for line in refusal.stderr.splitlines() if line.startswith("    cookiecutter "))
    program, template, *arguments = shlex.split(command)
    assert (program, template) == ("cookiecutter", str(ROOT))
    result = cookiecutter(*arguments, "--no-input")
    assert result.returncode == 0, result.stderr
    file = next((tmp_path / "replay_dir").glob("*.json"))
    again = json.loads(file.read_text(encoding="utf-8"))["cookiecutter"]
    expected = answers | {"repo_name": "a-b", "github_owner": "my-self"}
    assert {name: again[name] for name in QUESTIONS} == expected
    project = Project(cookiecutter.work / "a-b", {})
    assert settings(project) == TEXTS["quotes"]
    assert project.read(".python-version") == f"{answers['python_version']}\n"
    assert TEXTS["jinja"] in markdown_text(project.read("README.md"))


@pytest.mark.parametrize(
    ("project_name", "author_name"),
    [(TEXTS["quotes"], TEXTS["jinja"]), (" padded 😀 ", ""), ("%PATH% $HOME", "{{😀}}")],
)
def test_the_command_of_a_refusal_under_cruft_keeps_the_other_answers(tmp_path, monkeypatch, project_name, author_name):
    monkeypatch.setenv("HOME", str(tmp_path))  # cruft keeps its clones there
    monkeypatch.setenv("PWD", str(tmp_path))
    template = committed_copy(tmp_path / "template")
    answers = {name: choices[-1] for name, choices in CHOICES.items()}
    answers |= {"project_name": project_name, "repo_name": "a b", "github_owner": "ann", "author_name": author_name}
    given = {name: PRE.as_default(answer) for name, answer in answers.items()}
    refusal = cruft("create", template, "--no-input", "--extra-context", json.dumps(given), cwd=tmp_path, status=1)
    assert refusal.stderr.startswith("\nrepo_name: ")
    command = next(line for line in refusal.stderr.splitlines() if line.startswith("    cruft create "))
    program, *arguments, again = shlex.split(command)
    assert (program, arguments[0], arguments[1]) == ("cruft", "create", str(template))
    corrected = json.loads(again) | {"repo_name": "corrected"}
    cruft(*arguments, json.dumps(corrected), "--no-input", cwd=tmp_path)
    made = json.loads((tmp_path / "corrected" / ".cruft.json").read_text(encoding="utf-8"))
    expected = answers | {"repo_name": "corrected"}
    assert {name: made["context"]["cookiecutter"][name] for name in QUESTIONS} == expected
    assert settings(Project(tmp_path / "corrected", {})) == project_name


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_any_text_is_readable_wherever_it_lands(tmp_path, environ, text):
    text = text.strip()  # as cookiecutter's prompts do
    answers = {"repo_name": "app", "project_name": PRE.as_default(text), "author_name": PRE.as_default(text)}
    assert PRE.refusal(answered(**answers)) == []
    options = {"no_input": True, "default_config": True, "accept_hooks": False, "output_dir": str(tmp_path)}
    project = Project(Path(generate(str(ROOT), extra_context=answers, **options)), environ)
    assert settings(project) == text
    assert f" {text}\n" in project.read("LICENSE")
    json.loads(project.read("app.json"))
    tomllib.loads(project.read("pyproject.toml"))
    readme = markdown_text(project.read("README.md"))
    assert readme.count(squeezed(text)) >= 2  # title, author
    page = JustHTML(render_page(project), sanitize=False, strict=True)
    assert squeezed(page.query_one("header .name").to_text()) == squeezed(text)
    for command in (["check", "."], ["format", "--check", "."]):
        subprocess.run([sys.executable, "-m", "ruff", *command], cwd=project.path, check=True)


def test_every_choice_bakes(bake):
    """The first choices of all questions together, then the second ones, and so on."""
    licenses = {"MIT": "MIT License", "BSD-3-Clause": "BSD 3-Clause"}
    for number in range(max(len(choices) for choices in CHOICES.values())):
        answers = {question: choices[number % len(choices)] for question, choices in CHOICES.items()}
        project = bake(**answers)
        assert (project.path / "main.py").exists()
        if answers["license"] == "none":
            assert not (project.path / "LICENSE").exists()
        else:
            assert licenses[answers["license"]] in project.read("LICENSE")
        if answers["python_version"] != "auto":
            assert project.read(".python-version") == f"{answers['python_version']}\n"


RUNNING = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.mark.skipif(RUNNING not in CHOICES["python_version"], reason="Heroku has not the Python running now")
def test_python_version_is_the_running_one_by_default(bake):
    assert bake().read(".python-version") == f"{RUNNING}\n"


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
def test_repo_name_comes_from_the_project_name(project_name, repo_name):
    assert answered(project_name=project_name)["repo_name"] == repo_name


def test_every_question_has_words_a_person_understands():
    """A choice without words is shown as it is, which is enough for the number of a version."""
    prompts = CONTEXT["__prompts__"]
    assert list(prompts) == QUESTIONS
    for question, choices in CHOICES.items():
        unexplained = [choice for choice in choices if not re.fullmatch(r"[\d.]+", choice)]
        assert list(prompts[question]) == ["__prompt__", *unexplained]


def as_typed(answers):
    """Return what a person types: text as it is, a choice as the number before it in the menu."""
    lines = []
    for question in QUESTIONS:
        answer = answers[question]
        lines.append(str(CHOICES[question].index(answer) + 1) if question in CHOICES else answer)
    return "\n".join(lines) + "\n"


def settings(project):
    """Return the name of the project as its own Python reads it."""
    start = "PROJECT_NAME = "
    line = next(line for line in project.read("config.py").splitlines() if line.startswith(start))
    return ast.literal_eval(line.removeprefix(start))


def render_page(project):
    """Return a page that needs no database, as the app renders it."""
    code = (
        "from flask import render_template, request\n"
        "from main import init_app\n"
        "app = init_app({'DATABASE_URL': 'postgres://u:p@127.0.0.1:1/d', 'SECRET_KEY': 'k'})\n"
        "with app.test_request_context('/'):\n"
        "    import sys; sys.stdout.reconfigure(encoding='utf-8')\n"
        "    print(render_template('deploy/error.html', layout='base.html', reason=404))\n"
    )
    return project.run("python", "-c", code).stdout


def markdown_text(source):
    """Return what a reader of the rendered Markdown sees."""
    html = MarkdownIt("commonmark").enable("table").render(source)
    return squeezed(JustHTML(html, sanitize=False).to_text())


def squeezed(text):
    return " ".join(text.split())
