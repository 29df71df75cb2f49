"""The hooks' own functions, rendered as cookiecutter renders them and then called."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from cookiecutter.environment import StrictEnvironment
from cookiecutter.generate import generate_context
from cookiecutter.prompt import prompt_for_config

from conftest import ROOT, TEMPLATE

CONTEXT = json.loads((ROOT / "cookiecutter.json").read_text(encoding="utf-8"))
QUESTIONS = [name for name in CONTEXT if not name.startswith("_")]
CHOICES = {name: CONTEXT[name] for name in QUESTIONS if isinstance(CONTEXT[name], list)}

# Texts that one of the tools on the way to a file would read as something else.
AWKWARD = [
    *("", " padded ", "'", '"', '"""', "'''", "\\", '\\"', "$HOME `id` %PATH% !x", "-x", "a=b", "😀 ёлка", "}} {{ '"),
    *("{{ 7 * 7 }}", "{% if %}", "{# x #}", '{{ "\\" }}', "{{😀}}", "{% endraw %}", '""")\nraise SystemExit(1)\n#'),
]
ONE_LINE = [text for text in AWKWARD if "\n" not in text]


def answered(**given):
    """Return what cookiecutter hands to the hooks when these answers are given, the others being the defaults."""
    context = generate_context(str(ROOT / "cookiecutter.json"), extra_context=given)
    surroundings = {"_template": "gh:ann/template", "_output_dir": "/somewhere", "_repo_dir": str(ROOT)}
    return {**prompt_for_config(context, no_input=True), **surroundings, "_checkout": None}


def under_cruft(answers):
    """Return the answers as cruft hands them to the hooks."""
    names = ("_output_dir", "_repo_dir", "_checkout")
    return {name: value for name, value in answers.items() if name not in names} | {"_commit": "c0ffee"}


def rendered(name, answers):
    """Return the source of the hook with these answers in it."""
    source = (ROOT / "hooks" / f"{name}.py").read_text(encoding="utf-8")
    context = {"cookiecutter": answers}
    return StrictEnvironment(context=context).from_string(source).render(**context)


def load(name, answers):
    """Return the hook as a module, with these answers rendered into it."""
    module = ModuleType(name)
    exec(compile(rendered(name, answers), name, "exec"), module.__dict__)
    return module


ANSWERS = answered(author_name="Ann", github_owner="ann")
PRE = load("pre_gen_project", ANSWERS)
POST = load("post_gen_project", ANSWERS)


def faults(**changes):
    return PRE.faults(ANSWERS | changes, CHOICES)


def command_again(answers):
    """Return the words of the command that a refusal ends with."""
    return shlex.split(PRE.refusal(answers)[-1])


@pytest.mark.parametrize("text", [*AWKWARD, "\0"])
@pytest.mark.parametrize("hook", ["pre_gen_project", "post_gen_project"])
def test_answers_reach_the_hook_as_data(hook, text):
    answers = ANSWERS | {"author_name": text}
    assert load(hook, answers).ANSWERS == answers


def test_the_order_of_the_questions_is_kept():
    assert PRE.questions(PRE.ANSWERS) == QUESTIONS


def test_good_answers_have_no_fault():
    assert faults() == {}
    assert PRE.refusal(ANSWERS) == []


def test_all_faults_are_named_at_once():
    assert faults(project_name="a\nb", __typed_repo_name="..", license="GPL", github_owner="a b") == {
        "project_name": "line_break",
        "repo_name": "repo_characters",
        "license": "choice",
        "github_owner": "owner",
    }


@pytest.mark.parametrize("value", [None, 5, 3.14, True, [], ["en"], {"a": "b"}])
@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("handed_over", [dict, under_cruft], ids=["cookiecutter", "cruft"])
def test_an_answer_that_is_no_text_is_refused_in_one_sentence(handed_over, question, value):
    lines = PRE.refusal(handed_over(ANSWERS | {question: value}))
    assert lines[0] == f"{question}: {json.dumps(value)} is not a text."
    assert len(lines) == 4  # and the command


@pytest.mark.parametrize("question", CHOICES)
def test_a_choice_that_is_not_offered_is_refused(question):
    first, *_ = PRE.refusal(ANSWERS | {question: "other"})
    assert first == f"{question}: 'other' is not one of {', '.join(CHOICES[question])}."


@pytest.mark.parametrize("question", CHOICES)
def test_where_the_template_cannot_be_found_choices_need_no_check(question):
    assert PRE.refusal(under_cruft(ANSWERS | {question: "other"})) == []


@pytest.mark.parametrize("place", ["PWD", "_output_dir"])
def test_a_template_given_by_a_relative_path_is_found(monkeypatch, tmp_path, place):
    """It is relative to where the command was typed, and a hook runs in the project."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PWD", str(ROOT) if place == "PWD" else str(tmp_path))
    output_dir = str(ROOT) if place == "_output_dir" else str(tmp_path)
    answers = ANSWERS | {"_repo_dir": ".", "_output_dir": output_dir}
    (tmp_path / "cookiecutter.json").write_text('{"license": ["another template"]}', encoding="utf-8")
    assert PRE.all_choices(PRE.template_settings(answers)) == CHOICES


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("_copy_without_render", ["*"]),
        ("_new_lines", "\r\n"),
        ("_newest_python", "9.9"),
        ("_jinja2_env_vars", {"variable_start_string": "<<"}),
        ("_extensions", ["another.module"]),
    ],
)
def test_a_replay_file_changes_answers_only(name, value):
    (line,) = PRE.refusal(ANSWERS | {name: value})
    assert line.startswith("Nothing was written: the replay file has other values than the template for")
    assert name in line
    less = {key: value for key, value in ANSWERS.items() if key != "_new_lines"}
    assert "_new_lines" in PRE.refusal(less)[0]


@pytest.mark.parametrize("name", ["../../evil", "/evil", "", "flask", "other", "refused-abcdefghi"])
def test_a_repo_name_other_than_the_typed_one_is_refused(name):
    """As a replay file may have it: repo_name is what becomes the folder."""
    first, _, _, command = PRE.refusal(ANSWERS | {"repo_name": name})
    assert first == f"repo_name: the replay file has two different names, 'my-notes' and {name!r}."
    assert "repo_name=my-notes" in shlex.split(command)


def test_a_typed_name_that_is_wrong_is_the_one_to_be_named():
    first, *_ = PRE.refusal(ANSWERS | {"repo_name": "refused-abcdefghi", "__typed_repo_name": "a b"})
    assert first.startswith("repo_name: 'a b' has other characters")
    first, *_ = PRE.refusal(ANSWERS | {"repo_name": "../evil", "__typed_repo_name": "../evil"})
    assert first.startswith("repo_name: '../evil' has other characters")


def test_no_name_that_the_project_imports_is_taken(packages):
    """All modules of the project and of the installed packages that could be a repo name at all."""
    own = [path.stem for path in TEMPLATE.iterdir() if path.suffix == ".py" or path.is_dir()]
    code = (
        "import sys; sys.path[:] = [p for p in sys.path if not p.endswith('dist-packages')]\n"  # Debian's own
        "import importlib.metadata as m, json; print(json.dumps(sorted(m.packages_distributions())))"
    )
    output = subprocess.run([packages / "python", "-c", code], capture_output=True, encoding="utf-8", check=True)
    installed = json.loads(output.stdout)
    assert "flask" in installed
    names = [name for name in [*own, *installed, *sys.stdlib_module_names] if re.fullmatch("[A-Za-z0-9-]+", name)]
    assert "views" in names
    assert [name for name in names if not PRE.repo_name_fault(name)] == []


@pytest.mark.parametrize("hook", [PRE, POST], ids=["pre", "post"])
def test_messages_are_the_same_in_both_languages(hook):
    english, russian = hook.MESSAGES["en"], hook.MESSAGES["ru"]
    assert list(english) == list(russian)
    for key, words in english.items():
        assert placeholders(words) == placeholders(russian[key]), key


def test_a_refusal_is_in_the_chosen_language():
    assert "Ничего не записано" in PRE.refusal(ANSWERS | {"language": "ru", "author_name": None})[1]


@pytest.mark.parametrize("language", ["de", None, ["en"]])
def test_a_language_without_words_of_its_own_gets_english(language):
    assert "Nothing was written" in PRE.refusal(ANSWERS | {"language": language, "author_name": None})[-3]


def test_a_new_language_needs_no_change_of_the_hooks(tmp_path):
    settings = CONTEXT | {"language": [*CHOICES["language"], "de"]}
    (tmp_path / "cookiecutter.json").write_text(json.dumps(settings), encoding="utf-8")
    answers = ANSWERS | {"language": "de", "_repo_dir": str(tmp_path)}
    assert PRE.refusal(answers) == []
    assert load("post_gen_project", answers).WORDS == POST.MESSAGES["en"]


@pytest.mark.parametrize("typed", ["", "..", "1abc", "two words", "Flask", "имя", "x" * 40, "con", "a-", "-", "8"])
def test_the_suggested_repo_name_would_be_taken(typed):
    assert PRE.repo_name_fault(PRE.suggestion("repo_name", typed, CHOICES)) is None


@pytest.mark.parametrize(
    ("question", "refused", "nearest"),
    [
        ("repo_name", "a b", "a-b"),
        ("repo_name", None, None),
        ("github_owner", "a b", "a-b"),
        ("github_owner", "-a--b_", "a-b"),
        ("github_owner", "a" * 38 + "-b", "a" * 38),
        ("github_owner", "имя", None),
        ("github_owner", 5, "5"),
        ("license", "mit", "MIT"),
        ("license", "GPL", None),
        ("author_name", "two\nlines", "two lines"),
        ("author_name", None, None),
        ("project_name", 2048, "2048"),
    ],
)
def test_for_a_refused_answer_the_nearest_is_suggested(question, refused, nearest):
    assert PRE.suggestion(question, refused, CHOICES) == nearest


def test_a_version_that_a_replay_file_has_as_a_number_is_suggested_as_a_text():
    assert PRE.suggestion("python_version", 3.14, {"python_version": ["auto", "3.14"]}) == "3.14"


def test_the_command_names_template_checkout_and_folder():
    words = command_again(ANSWERS | {"_checkout": "v1", "author_name": None})
    assert words[:6] == ["cookiecutter", "gh:ann/template", "--checkout", "v1", "--output-dir", "/somewhere"]


def test_the_command_under_cruft_names_template_commit_and_folder(monkeypatch, tmp_path):
    project = tmp_path / "my-notes"
    project.mkdir()
    monkeypatch.chdir(project)
    monkeypatch.setenv("PWD", str(tmp_path))
    answers = under_cruft(ANSWERS | {"author_name": None})
    start = ["cruft", "create", "gh:ann/template", "--checkout", "c0ffee"]
    assert command_again(answers)[:-1] == [*start, "--extra-context"]
    monkeypatch.setenv("PWD", "/elsewhere")
    assert command_again(answers)[:-1] == [*start, "--output-dir", str(tmp_path), "--extra-context"]


@pytest.mark.parametrize("text", ONE_LINE)
@pytest.mark.parametrize("handed_over", [dict, under_cruft], ids=["cookiecutter", "cruft"])
def test_the_command_gives_every_answer_but_the_refused_as_it_was(handed_over, text):
    answers = ANSWERS | {"project_name": text, "author_name": text, "license": "none", "github_owner": "a b"}
    words = command_again(handed_over(answers))
    given = json.loads(words[-1]) if handed_over is under_cruft else dict(word.split("=", 1) for word in words[4:])
    again = answered(**given)
    expected = answers | {"github_owner": "a-b"}
    assert {name: again[name] for name in QUESTIONS} == {name: expected[name] for name in QUESTIONS}


def test_the_command_for_windows_is_quoted_for_windows(monkeypatch):
    monkeypatch.setattr(PRE.sys, "platform", "win32")
    command = PRE.refusal(ANSWERS | {"project_name": 'Ann\'s "x"', "license": "GPL"})[-1]
    assert r'''"project_name=Ann's \"x\""''' in command


@pytest.mark.parametrize("streams", ["", ">&-", "2>&-", ">&- 2>&-", "2> /dev/full", "2>&1 | true"])
def test_a_refusal_that_nobody_can_read_has_its_status_too(tmp_path, streams):
    if "/dev/full" in streams and not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    (tmp_path / "hook.py").write_text(rendered("pre_gen_project", ANSWERS | {"license": "GPL"}), encoding="utf-8")
    command = f"(sleep 0.1; {shlex.quote(sys.executable)} hook.py; echo $? > status) {streams}"
    environ = os.environ | {"PYTHONUNBUFFERED": ""}
    subprocess.run(["sh", "-c", command], cwd=tmp_path, env=environ, capture_output=True, check=False)
    assert (tmp_path / "status").read_text(encoding="utf-8") == "1\n"


@pytest.mark.parametrize("language", ["en", "ru"])
@pytest.mark.parametrize("missing", ["_repo_dir", "rendering"])
def test_an_old_cookiecutter_is_told_in_one_sentence(capsys, language, missing):
    """1.7.3 says neither the folders nor the checkout, and hands private variables over as they are."""
    answers = CONTEXT | {"language": language, "example": "notes", "project_name": "My Notes", "repo_name": "a b"}
    answers |= {"author_name": "Ann", "github_owner": "ann", "python_version": "auto", "license": "MIT"}
    answers |= {"_template": "gh:ann/template"} | ({"_commit": "c0ffee"} if missing == "rendering" else {})
    assert load("pre_gen_project", answers).main() == 1
    sentence = PRE.MESSAGES[language]["too_old"].format(needed="2.2")
    assert capsys.readouterr().err == f"\n{sentence}\n\n"
    assert "`pipx install cookiecutter`" in sentence
    assert "`python3 -m pip install --upgrade cookiecutter`" in sentence


def test_an_old_cookiecutter_that_asks_about_objects_shows_what_to_do():
    """1.7.3 asks for every object in cookiecutter.json, by its name, and takes no Enter for an answer."""
    first = next(name for name, value in CONTEXT.items() if isinstance(value, dict))
    assert "too old" in first
    assert "pipx install cookiecutter" in first


@pytest.mark.parametrize(
    ("chosen", "running", "written"),
    [
        ("auto", (3, 12), "3.12\n"),
        ("auto", (3, 10), "template"),
        ("auto", (3, 14), "template"),
        ("3.11", (3, 13), "template"),
    ],
)
def test_python_version_follows_the_running_one(monkeypatch, tmp_path, chosen, running, written):
    class Version:
        major, minor = running

    monkeypatch.setattr(POST.sys, "version_info", Version)
    settings = CONTEXT | {"python_version": ["auto", "3.13", "3.12", "3.11"]}
    (tmp_path / "cookiecutter.json").write_text(json.dumps(settings), encoding="utf-8")
    file = tmp_path / ".python-version"
    file.write_text("template", encoding="utf-8")
    POST.write_python_version(ANSWERS | {"python_version": chosen, "_repo_dir": str(tmp_path)}, tmp_path)
    assert file.read_text(encoding="utf-8") == written


def test_pythons_offered_are_those_of_heroku():
    assert ["auto", *POST.heroku_pythons(ANSWERS)] == CHOICES["python_version"]


def test_under_cruft_the_python_version_is_the_same_on_every_computer():
    assert POST.heroku_pythons(under_cruft(ANSWERS)) == []


@pytest.mark.parametrize(
    ("typed", "folder", "update"),
    [
        ("home/app", "tmp/tmpabcd_123/app", True),
        ("", "tmp/tmpabcd_123/app", True),  # above the folder for what is temporary
        ("tmp", "tmp/tmpabcd_123/app", True),
        (None, "tmp/tmpabcd_123/app", True),  # on Windows
        ("tmp", "tmp/app", False),
        ("home", "tmp/app", False),
        ("tmp/mine", "tmp/mine/app", False),
        ("tmp/tmpabcd_123", "tmp/tmpabcd_123/app", False),
        ("home", "home/app", False),
        ("home", "home/tmpabcd_123/app", False),
    ],
)
def test_where_cruft_only_compares_is_told_from_where_somebody_begins(monkeypatch, tmp_path, typed, folder, update):
    monkeypatch.setattr(POST.tempfile, "tempdir", str(tmp_path / "tmp"))
    if typed is None:
        monkeypatch.delenv("PWD", raising=False)
    else:
        monkeypatch.setenv("PWD", str(tmp_path / typed))
    assert POST.is_update(under_cruft(ANSWERS), tmp_path / folder) is update
    assert POST.is_update(ANSWERS, tmp_path / folder) is False


def test_a_folder_for_what_is_temporary_may_lie_in_the_project(monkeypatch, tmp_path):
    monkeypatch.setattr(POST.tempfile, "tempdir", str(tmp_path / "app" / "tmp"))
    monkeypatch.setenv("PWD", str(tmp_path / "app"))
    assert POST.is_update(under_cruft(ANSWERS), tmp_path / "app/tmp/tmpabcd_123/app")


@pytest.mark.parametrize("step", ["write_python_version", "write_env", "make_repository"])
def test_a_step_that_fails_is_said_in_one_line_and_stops_no_other(monkeypatch, tmp_path, capsys, step):
    def fail(*_):
        raise RuntimeError("two\nlines")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PWD", str(tmp_path))
    (tmp_path / ".env.example").touch()
    post = load("post_gen_project", under_cruft(ANSWERS))
    setattr(post, step, fail)
    post.main()
    words = capsys.readouterr()
    assert words.err == post.WORDS["unexpected"].format(error="RuntimeError: two lines") + "\n"
    assert "cd my-notes\n" in words.out


@pytest.mark.parametrize(
    "text", ["Ann Lee", "O'Brien", 'Ann "X" Lee', "a\\b", "$HOME `id` %PATH% !x", "ёлка 😀", "&|<>;"]
)
def test_a_quoted_text_is_what_the_shell_takes(text):
    assert shlex.split(POST.quoted(text)) == [text]


@pytest.mark.parametrize(
    ("text", "word"), [("Ann", '"Ann"'), ("A&B", '"A&B"'), ('A "X" B', r'"A \"X\" B"'), (r"a\"b", r'"a\\\"b"')]
)
def test_a_text_is_quoted_for_windows_on_windows(monkeypatch, text, word):
    monkeypatch.setattr(POST.sys, "platform", "win32")
    assert POST.quoted(text) == word


def placeholders(text):
    return sorted(re.findall(r"\{[^}]*\}", text))


@pytest.mark.parametrize(
    ("prefix", "first"),
    [("/a/.cache/uv/x", "uvx cookiecutter "), ("/a/.cache/pipx/x", "pipx run cookiecutter "), ("/a", "cookiecutter ")],
)
def test_the_line_that_asks_again_works_for_those_who_have_no_cookiecutter(monkeypatch, prefix, first):
    """pipx and uvx run it out of a place of their own."""
    monkeypatch.setattr(PRE.sys, "prefix", prefix)
    assert PRE.command_again(ANSWERS | {"_template": "gh:a/b"}, [], {}).startswith(first)
