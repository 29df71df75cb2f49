"""The hooks' own functions, rendered as cookiecutter renders them and then called."""

import json
import re
import shlex
import subprocess
import sys
from types import ModuleType

import pytest
from cookiecutter.environment import StrictEnvironment

from conftest import ROOT, TEMPLATE

ANSWERS = {
    "language": "en",
    "project_name": "My Notes",
    "repo_name": "my-notes",
    "__typed_repo_name": "my-notes",
    "description": "Notes.",
    "author_name": "Ann",
    "github_owner": "ann",
    "python_version": "auto",
    "heroku_region": "us",
    "license": "MIT",
    "_template": "gh:ann/template",
    "_output_dir": "/somewhere",
    "_checkout": None,
}
CONTEXT = json.loads((ROOT / "cookiecutter.json").read_text(encoding="utf-8"))


def load(name, **answers):
    """Return the hook as a module, with these answers rendered into it."""
    source = (ROOT / "hooks" / f"{name}.py").read_text(encoding="utf-8")
    context = {"cookiecutter": ANSWERS | answers}
    rendered = StrictEnvironment(context=context).from_string(source).render(**context)
    module = ModuleType(name)
    exec(compile(rendered, name, "exec"), module.__dict__)
    return module


@pytest.fixture(scope="module")
def pre():
    return load("pre_gen_project")


@pytest.fixture(scope="module")
def post():
    return load("post_gen_project")


@pytest.mark.parametrize(
    "text",
    ['"', "'", '"""', "'''", "\\", '\\"', "{{ 1 }}", "{% x %}", '""")\nraise SystemExit("executed")\n#', "\0", "😀"],
)
@pytest.mark.parametrize("hook", ["pre_gen_project", "post_gen_project"])
def test_answers_reach_the_hook_as_data(hook, text):
    assert load(hook, description=text).ANSWERS["description"] == text


def test_good_answers_have_no_fault(pre):
    assert pre.faults(ANSWERS) == {}


def test_all_faults_are_named_at_once(pre):
    answers = ANSWERS | {"project_name": "a\nb", "__typed_repo_name": "..", "license": "GPL", "github_owner": "a b"}
    assert pre.faults(answers) == {
        "project_name": "line_break",
        "repo_name": "repo_characters",
        "license": "choice",
        "github_owner": "owner",
    }


def test_the_choices_are_those_of_the_questions(pre):
    assert {name: CONTEXT[name] for name in pre.CHOICES} == pre.CHOICES
    assert sorted(pre.QUESTIONS) == sorted(name for name in CONTEXT if not name.startswith("_"))


def test_no_name_that_the_project_imports_is_taken(pre, packages):
    """All modules of the project and of the installed packages that could be a repo name at all."""
    own = [path.stem for path in TEMPLATE.iterdir() if path.suffix == ".py" or path.is_dir()]
    code = "import importlib.metadata as m, json, pip;print(json.dumps(sorted(m.packages_distributions())))"
    output = subprocess.run([packages / "python", "-c", code], capture_output=True, encoding="utf-8", check=True)
    installed = json.loads(output.stdout)
    assert "flask" in installed
    names = [name for name in [*own, *installed, *sys.stdlib_module_names] if re.fullmatch("[A-Za-z0-9-]+", name)]
    assert "views" in names
    assert [name for name in names if not pre.repo_name_fault(name)] == []


def test_messages_are_the_same_in_both_languages(pre, post):
    for hook in (pre, post):
        english, russian = hook.MESSAGES["en"], hook.MESSAGES["ru"]
        assert list(english) == list(russian)
        for key, words in english.items():
            assert placeholders(words) == placeholders(russian[key]), key


@pytest.mark.parametrize("typed", ["", "..", "1abc", "two words", "Flask", "имя", "x" * 40, "con", "a-", "-", "8"])
def test_the_suggested_repo_name_would_be_taken(pre, typed):
    assert pre.repo_name_fault(pre.suggestion("repo_name", typed)) is None


def test_the_command_holds_every_answer_but_the_refused(pre):
    answers = ANSWERS | {"author_name": "Ann 'A' \"B\" $C", "_checkout": "v1"}
    words = shlex.split(pre.command_again(answers, {"license": "choice"}))
    assert words[:6] == ["cookiecutter", "gh:ann/template", "--checkout", "v1", "--output-dir", "/somewhere"]
    given = dict(word.split("=", 1) for word in words[6:])
    assert given == {name: answers[name] for name in pre.QUESTIONS if name != "license"}


@pytest.mark.parametrize("text", ["plain", "{{ 7 * 7 }}", "{% if %}", "{# x #}", '{{ "\\" }}', "{{😀}}", "}} {{ '"])
def test_a_text_in_the_command_is_not_rendered_again(pre, text):
    rendered = StrictEnvironment(context={"cookiecutter": {}}).from_string(pre.as_default(text)).render()
    assert rendered == text


@pytest.mark.parametrize(
    ("chosen", "running", "written"),
    [
        ("auto", (3, 12), "3.12\n"),
        ("auto", (3, 10), "template"),
        ("auto", (3, 15), "template"),
        ("3.11", (3, 13), "template"),
    ],
)
def test_python_version_follows_the_running_one(post, monkeypatch, tmp_path, chosen, running, written):
    class Version:
        major, minor = running

    monkeypatch.setattr(post.sys, "version_info", Version)
    file = tmp_path / ".python-version"
    file.write_text("template", encoding="utf-8")
    post.write_python_version(ANSWERS | {"python_version": chosen}, tmp_path)
    assert file.read_text(encoding="utf-8") == written


def test_pythons_offered_are_those_of_heroku(post):
    assert sorted(post.HEROKU_PYTHONS) == sorted(set(CONTEXT["python_version"]) - {"auto"})


def placeholders(text):
    return sorted(re.findall(r"\{[^}]*\}", text))
