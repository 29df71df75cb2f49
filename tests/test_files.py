"""The files of a baked project: complete, well-formed, free of what does not belong there."""

import ast
import importlib
import json
import re
import subprocess
import sys
import tomllib
from pathlib import PurePosixPath

import pytest
import yaml
from binaryornot.check import is_binary
from markdown_it import MarkdownIt

from conftest import ROOT, TEMPLATE

RUNS = {
    *("main.py", "__init__.py", "config.py", "database.py", "local_postgres.py", "logs.py", "models.py"),
    *("views.py", "forms.py", "serve.py", "status.py", "security.py", "templates/base.html", "templates/notes.html"),
    *("templates/error.html", "templates/status.html"),
    *("static/simple.css", "static/style.css", "static/icon.svg", "migrations/env.py"),
    *("migrations/versions/0001_notes.py", "test/conftest.py", "Procfile", "app.json", "pyproject.toml"),
    *("requirements.txt", "requirements-test.txt", ".python-version", ".flaskenv"),
}
FOR_PEOPLE = {
    *("static/simple.LICENSE.txt", ".slugignore", ".env.example", ".gitignore", ".gitattributes", "requirements.in"),
    *("requirements-test.in", "README.md", "DEPLOY.md", "MOVING-ON.md", "LICENSE", "Makefile"),
    *(".github/workflows/test.yml", ".github/workflows/audit.yml", ".github/dependabot.yml"),
}


@pytest.fixture(params=["en", "ru"])
def project(bake, request):
    return bake(language=request.param)


def test_all_files_are_there(project):
    names = {path.relative_to(project.path).as_posix() for path in project.files()}
    assert names >= RUNS | FOR_PEOPLE


def test_no_template_text_is_left(project):
    jinja = re.compile(r"cookiecutter\.|\{%-? ?(raw|endraw)|\{%-? set ru")
    for path in project.files():
        assert not jinja.search(path.read_text(encoding="utf-8")), path.name


def test_every_file_parses_as_what_it_is(project):
    parsers = {
        ".py": ast.parse,
        ".json": json.loads,
        ".toml": tomllib.loads,
        ".yml": yaml.safe_load,
        ".md": MarkdownIt("commonmark").parse,
    }
    for path in project.files():
        text = path.read_bytes().decode("utf-8")
        assert "\r" not in text, path.name
        assert not text.startswith("\ufeff"), path.name
        assert text.endswith("\n"), path.name
        assert not text.endswith("\n\n"), path.name
        if parser := parsers.get(path.suffix):
            parser(text)


def test_procfile_is_what_the_platform_reads(project):
    # The pattern is the platform's own (Heroku's slug compiler).
    pattern = re.compile(r"^[ \t]*([a-zA-Z0-9_-]+):?\s+(.*)[ \t]*$")
    lines = project.read("Procfile").splitlines()
    assert dict(pattern.match(line).groups() for line in lines) == {
        "web": "python serve.py",
        "release": "flask db upgrade",
    }


def test_app_json_names_what_the_app_needs(project):
    app = json.loads(project.read("app.json"))
    assert app["addons"] == [{"plan": "heroku-postgresql:essential-0"}]
    assert app["env"]["FLASK_APP"]["value"] == "main.py:init_app()"
    assert app["env"]["SECRET_KEY"]["generator"] == "secret"
    assert app["formation"]["web"]["quantity"] == 1
    assert app["environments"]["test"]["scripts"]["test"] == "pytest"
    assert len(app["name"]) <= 30


@pytest.mark.parametrize("command", [["check"], ["format", "--check"]])
def test_ruff_is_content(project, command):
    subprocess.run([sys.executable, "-m", "ruff", *command, "."], cwd=project.path, check=True)


def test_slug_keeps_what_runs_under_either_reading_of_slugignore(project):
    """One reading takes a line for a pattern, the other every word of it."""
    words = project.read(".slugignore").split()
    assert words
    assert words == project.read(".slugignore").splitlines()  # no comments, no spaces
    names = {path.relative_to(project.path).as_posix() for path in project.files()}
    for word in words:
        assert re.fullmatch(r"/[\w.-]+/?", word)  # anchored, so that it hits one thing only
        hit = {name for name in names if name == word.strip("/") or name.startswith(word[1:])}
        assert hit
        assert not hit & RUNS


def test_slug_holds_no_leftovers(project):
    for name in (".env", "instance/secret_key", "__pycache__/main.pyc", ".pytest_cache/x", ".venv/x"):
        path = project.path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("leftover", encoding="utf-8")
    project.run("git", "add", "--all")
    assert project.run("git", "status", "--porcelain").stdout == ""


def test_what_the_bench_changes_is_there_once(project, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "bench")
    choices = importlib.import_module("choices")
    changes = [value for value in vars(choices).values() if isinstance(value, tuple) and len(value) == 3]
    assert changes
    for file, pattern, _ in changes:
        assert len(re.findall(pattern, project.read(file), re.MULTILINE)) == 1, (file, pattern)


def test_no_file_names_an_index_or_a_machine(project):
    for path in project.files():
        text = path.read_text(encoding="utf-8")
        assert str(ROOT) not in text, path.name
        if path.name.startswith("requirements"):
            assert "://" not in text, path.name
            assert not re.search(r"^\s*(-i|-f|--(extra-)?index-url|--find-links)\b", text, re.MULTILINE), path.name


def test_names_can_be_written_on_windows():
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, encoding="utf-8", check=True)
    for name in filter(None, files.stdout.split("\0")):
        for part in PurePosixPath(name).parts:
            assert not set(part) & set('|"<>:?*\\'), name
            assert not part.endswith((".", " ")), name


def test_repository_stays_small():
    """Whoever bakes from GitHub downloads all of it: no packages, and only the pictures that README.md shows."""
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, encoding="utf-8", check=True)
    readmes = "".join((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.ru.md"))
    for name in filter(None, files.stdout.split("\0")):
        assert (ROOT / name).stat().st_size < 200_000, name
        assert not name.endswith((".whl", ".gz", ".zip")), name
        assert not name.endswith(".png") or name in readmes, name


def test_template_folder_holds_no_stray_files():
    """cookiecutter bakes whatever lies there, also caches that git does not know."""
    command = ["git", "ls-files", "--others", "--ignored", "--exclude-standard", str(TEMPLATE)]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout == b""


def test_cookiecutter_takes_every_file_for_text():
    """It judges by the first 512 bytes (1024 in older versions): a letter cut in half there means binary."""
    for path in TEMPLATE.rglob("*"):
        if path.is_file():
            assert not is_binary(str(path)), path.name
            content = path.read_bytes()
            content[:512].decode("utf-8")
            content[:1024].decode("utf-8")


def test_both_languages_have_the_same_structure(bake):
    english, russian = bake(language="en", repo_name="app"), bake(language="ru", repo_name="app")
    for name in ("README.md", "DEPLOY.md", "MOVING-ON.md"):
        assert outline(english.read(name)) == outline(russian.read(name)), name
    for name in ("templates/base.html", "templates/notes.html", "templates/error.html", "templates/status.html"):
        assert skeleton(english.read(name)) == skeleton(russian.read(name)), name
    for path in english.files():
        if path.suffix == ".py":
            name = path.relative_to(english.path).as_posix()
            assert shape(english.read(name)) == shape(russian.read(name)), name


def test_russian_project_speaks_russian(bake):
    project = bake(language="ru")
    for name in (
        "README.md",
        "DEPLOY.md",
        "MOVING-ON.md",
        "Makefile",
        ".env.example",
        "app.json",
        "templates/notes.html",
        "forms.py",
    ):
        assert re.search("[а-я]{3}", project.read(name)), name


def test_english_project_has_no_russian(bake):
    project = bake(language="en")
    for path in project.files():
        if path.parent.name != "test":  # the tests store Cyrillic text on purpose
            assert not re.search("[а-яА-Я]", path.read_text(encoding="utf-8")), path.name


def outline(markdown):
    """Return the levels of the headings, the commands and the code words, in order."""
    tokens = MarkdownIt("commonmark").enable("table").parse(markdown)
    found = []
    for token in tokens:
        if token.type == "heading_open":
            found.append(token.tag)
        if token.type == "fence":
            # Comments, and what a person types in place of an example, are in their language.
            found.append(re.sub(r'#.*|"""[^"]*"""|"[^"=]*"', "…", token.content))
        if token.type == "inline":
            words = [child.content for child in token.children if child.type == "code_inline"]
            found.extend(sorted(re.sub(r'"[^"]*"', "…", word) for word in words))
    return found


def skeleton(html):
    """Return the tags, attributes and Jinja expressions of a page, without its words."""
    html = re.sub(r'(aria-label|placeholder|lang)="[^"{]*', r'\1="', html)
    return re.findall(r"<[^>]*>|\{[{%].*?[%}]\}", html)


def shape(source):
    """Return a module's syntax tree with all texts left out: the logic must be one."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            node.value = ""
        if isinstance(node, ast.JoinedStr):
            node.values = [value for value in node.values if isinstance(value, ast.FormattedValue)]
            node.values.sort(key=ast.dump)
    return ast.dump(tree)
