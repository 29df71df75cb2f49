"""The files of a baked project: complete, well-formed, free of what does not belong there."""

import ast
import importlib
import json
import re
import shutil
import subprocess
import sys
import tomllib
from contextlib import suppress
from pathlib import Path, PurePosixPath

import jsonschema
import pytest
import yaml
from binaryornot.check import is_binary
from cookiecutter.main import cookiecutter
from jinja2 import Environment, nodes
from markdown_it import MarkdownIt

from lab import CONTEXT, EXAMPLES, LANGUAGES, NEWEST_PYTHON, ROOT, SAMPLES, TEMPLATE, Project, call

TEMPLATES = ROOT / "templates"
# Those of the project itself: whoever learns reads them first.
STUDENT = {"main.py", "__init__.py", "config.py", "database.py", "models.py", "views.py", "forms.py"}
RUNS = {
    *STUDENT,
    *(f"deploy/{name}.py" for name in ("__init__", "database", "environment", "errors", "health", "logs", "postgres")),
    *(
        f"deploy/{name}.py"
        for name in (
            "__main__",
            "dates",
            "memory",
            "packages",
            "platforms",
            "security",
            "server",
            "streaming",
            "visitors",
        )
    ),
    *(f"deploy/templates/{name}.html" for name in ("deploy/error", "deploy/plain", "deploy/reason")),
    *("deploy/words.toml", "templates/base.html", "static/style.css", "static/icon.svg"),
    *("migrations/env.py", "migrations/script.py.mako", "test/conftest.py", "Procfile", "app.json", "pyproject.toml"),
    *("requirements.txt", "requirements-test.txt", ".python-version", ".flaskenv"),
}
FOR_PEOPLE = {
    *(".devcontainer/devcontainer.json", ".slugignore", ".env.example", ".gitignore", ".gitattributes"),
    *("requirements.in", "requirements-test.in", "README.md", "DEPLOY.md", "MOVING-ON.md", "ELSEWHERE.md", "Makefile"),
    *(".github/workflows/test.yml", ".github/workflows/audit.yml", ".github/dependabot.yml"),
    *(f"test/test_deploy{name}.py" for name in ("", "_environment", "_internet", "_pages")),
}
OF_THE_EXAMPLE = {
    "notes": {
        *("templates/notes.html", "migrations/versions/0001_notes.py", "test/test_notes.py"),
        "test/test_notes_limits.py",
    },
    "none": {"templates/index.html"},
}


@pytest.fixture(params=SAMPLES, ids=lambda answers: "-".join(answers.values()))
def answers(request):
    return request.param


@pytest.fixture
def project(baked, answers):
    """A baked project, to be read only."""
    return baked(**answers)


def tracked():
    """Return the names of the template's own files."""
    return [name for name in call("git", "ls-files", "-z", cwd=ROOT).stdout.split("\0") if name]


def lines(project, *names):
    return sum(len(project.read(name).splitlines()) for name in names)


def test_all_files_are_there(project, answers):
    names = project.names()
    assert names >= RUNS | FOR_PEOPLE | OF_THE_EXAMPLE[answers["example"]]
    assert ("LICENSE" in names) == (answers["license"] != "none")
    others = set().union(*(files for example, files in OF_THE_EXAMPLE.items() if example != answers["example"]))
    assert not names & others
    assert all(name.isascii() and "{" not in name and Path(name).name for name in names)


def test_what_a_student_reads_first_is_little(baked):
    most = {"notes": 450, "none": 250}
    for example in EXAMPLES:
        project = baked(example=example)
        root = {name for name in project.names() if name.endswith(".py") and "/" not in name}
        assert root == STUDENT
        assert len(root) <= 8
        assert lines(project, *root) <= most[example]


def test_statistics_show_the_student_s_own_code(project):
    names = sorted(project.names())
    told = project.run("git", "check-attr", "linguist-vendored", "--", *names).stdout.splitlines()
    vendored = {line.partition(": ")[0] for line in told if line.endswith(": set")}
    assert {name for name in names if name.startswith(("doctor/", "deploy/"))} <= vendored
    assert not vendored & {*STUDENT, "templates/base.html", *OF_THE_EXAMPLE["notes"], *OF_THE_EXAMPLE["none"]}


# The licences are law, and the style sheet somebody else's.
NOT_OURS = {"static/simple.LICENSE.txt", "LICENSE"}
OF_NOTES = {"en": r"(?i)\bnotes?\b", "ru": "(?i)замет|\\bnotes?\\b"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_without_an_example_no_word_of_notes_is_left(baked, language):
    project = baked(language=language, example="none")
    found = [
        f"{name}:{number}: {line.strip()}"
        for name in sorted(project.names() - NOT_OURS)
        for number, line in enumerate(project.read(name).splitlines(), start=1)
        if re.search(OF_NOTES[language], f"{name} {line}")
    ]
    assert found == []


def test_no_template_text_is_left(project):
    jinja = re.compile(r"cookiecutter\.|\{%-? ?(raw|endraw)|\{%-? (import|include) cookie|\bt\.[a-z]+_[a-z]")
    for path in project.files():
        assert not jinja.search(path.read_text(encoding="utf-8")), path.name


def test_every_file_parses_as_what_it_is(project):
    parsers = {
        ".py": ast.parse,
        ".json": json.loads,
        ".toml": tomllib.loads,
        ".yml": yaml.safe_load,
        ".md": MarkdownIt("commonmark").parse,
        ".html": Environment().parse,
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
        "web": "python -m deploy.server",
        "release": "flask db upgrade",
    }


def test_app_json_names_what_the_app_needs(project):
    app = json.loads(project.read("app.json"))
    assert app["addons"] == [{"plan": "heroku-postgresql:essential-0"}]
    assert set(app["env"]) == {"SECRET_KEY"}  # FLASK_APP stands in .flaskenv
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
    names = project.names()
    for word in words:
        assert re.fullmatch(r"/[\w.-]+/?", word)  # anchored, so that it hits one thing only
        hit = {name for name in names if name == word.strip("/") or name.startswith(word[1:])}
        assert hit or word == "/LICENSE"  # none was wanted so far
        assert not hit & (RUNS | OF_THE_EXAMPLE["notes"] | OF_THE_EXAMPLE["none"])


def test_slug_holds_no_leftovers(bake):
    project = bake()
    for name in (".env", "instance/secret_key", "__pycache__/main.pyc", ".pytest_cache/x", ".venv/x"):
        path = project.path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("leftover", encoding="utf-8")
    project.run("git", "add", "--all")
    assert project.run("git", "status", "--porcelain").stdout == ""


def test_what_the_bench_changes_is_there(baked, tmp_path, monkeypatch):
    """All variants of a project at once: whatever one needs is where it looks for it."""
    monkeypatch.syspath_prepend(ROOT / "bench")
    choices = importlib.import_module("choices")
    pristine = baked(example="notes")
    project = Project(shutil.copytree(pristine.path, tmp_path / "app"), pristine.environ)
    for change, *words in (
        *((choices.threads, 8), (choices.connections, 5), (choices.ping,), (choices.always_a_transaction,)),
        *((choices.eager,), (choices.slow_page,), (choices.gzip,), (choices.fixed_notes,)),
    ):
        change(project, *words)
    environ = {"DATABASE_URL": "postgres://u:p@127.0.0.1:1/d", "SECRET_KEY": "k"}
    code = (
        "import main, sys\n"
        "from deploy import server, transactions\n"
        "app = main.init_app()\n"
        "options = app.config['SQLALCHEMY_ENGINE_OPTIONS']\n"
        "print(server.THREADS, options['pool_size'], options['pool_pre_ping'], transactions.READING,"
        " 'flask_migrate' in sys.modules, app.url_map.bind('').match('/slow')[0],"
        " app.test_client().get('/').headers['Content-Encoding'])\n"
    )
    printed = project.python(code, **environ).splitlines()[-1]
    assert printed == "8 5 True () True notes.slow gzip"
    # The server that starts otherwise gets as far as the port.
    refused = project.run("python", "-c", choices.COPY, check=False, PORT="none", **environ)
    assert "PORT must be a number" in refused.stderr, refused.stderr


def test_no_file_names_an_index_or_a_machine(project):
    for path in project.files():
        text = path.read_text(encoding="utf-8")
        assert str(ROOT) not in text, path.name
        if path.name.startswith("requirements"):
            assert "://" not in text, path.name
            assert not re.search(r"^\s*(-i|-f|--(extra-)?index-url|--find-links)\b", text, re.MULTILINE), path.name


def test_names_can_be_written_on_windows():
    for name in tracked():
        for part in PurePosixPath(name).parts:
            assert not set(part) & set('|"<>:?*\\'), name
            assert not part.endswith((".", " ")), name


def test_repository_stays_small():
    """Whoever bakes from GitHub downloads all of it: no packages, and only the pictures that its pages show."""
    pages = "".join(path.read_text(encoding="utf-8") for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")))
    for name in tracked():
        assert (ROOT / name).stat().st_size < 200_000, name
        assert not name.endswith((".whl", ".gz", ".zip")), name
        assert not name.endswith((".png", ".svg")) or name.startswith("{{") or PurePosixPath(name).name in pages, name


def test_template_folder_holds_no_stray_files():
    """cookiecutter bakes whatever lies there, also caches that git does not know."""
    for folder in (TEMPLATE, TEMPLATES):
        assert call("git", "ls-files", "--others", "--ignored", "--exclude-standard", folder, cwd=ROOT).stdout == ""


def test_cookiecutter_takes_every_file_for_text():
    """It judges by the first 512 bytes (1024 in older versions): a letter cut in half there means binary."""
    for path in TEMPLATE.rglob("*"):
        if path.is_file():
            assert not is_binary(str(path)), path.name
            content = path.read_bytes()
            content[:512].decode("utf-8")
            content[:1024].decode("utf-8")


# --- languages ---


def defined(language):
    """Return the names of the words of a language, in their order."""
    tree = Environment().parse((TEMPLATES / language / "words.jinja").read_text(encoding="utf-8"))
    return [node.target.name for node in tree.body if isinstance(node, (nodes.Assign, nodes.AssignBlock))]


def sentences(file):
    """Return {key: text} of a TOML file; a key within a table is a tuple."""

    def flat(table, above=()):
        for key, value in table.items():
            yield from flat(value, (*above, key)) if isinstance(value, dict) else [((*above, key), value)]

    return dict(flat(tomllib.loads(file.read_text(encoding="utf-8"))))


def test_every_language_has_a_folder_of_the_same_files():
    folders = [path for path in TEMPLATES.iterdir() if path.is_dir()]
    assert {path.name for path in folders} == set(LANGUAGES)
    for folder in folders:
        assert {path.name for path in folder.iterdir()} == {path.name for path in (TEMPLATES / "en").iterdir()}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_defines_the_same_words(language):
    assert defined(language) == defined("en")
    assert len(set(defined(language))) == len(defined(language))


def test_every_word_is_used_and_none_is_missing():
    texts = [path.read_text(encoding="utf-8") for path in TEMPLATE.rglob("*") if path.is_file()]
    used = {word for text in texts if "words.jinja" in text for word in re.findall(r"\bt\.(\w+)", text)}
    assert used == set(defined("en"))


@pytest.mark.parametrize("name", ["deploy.toml", "doctor.toml", "log_words.toml"])
@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_says_the_same_sentences(language, name):
    english, own = sentences(TEMPLATES / "en" / name), sentences(TEMPLATES / language / name)
    assert own.keys() == english.keys()
    for key, text in english.items():
        assert sorted(re.findall(r"\{.*?\}", own[key])) == sorted(re.findall(r"\{.*?\}", text)), key
        if key[-1] in ("prints", "browser") and key[0] != "say":  # the platform speaks English
            assert own[key] == text, key


def test_every_sentence_is_said_and_none_is_missing():
    code = "".join(path.read_text(encoding="utf-8") for path in TEMPLATE.rglob("*.py") if path.parent.name != "doctor")
    said = set(re.findall(r"(?:ConfigError\(|WORDS\[)\s*\"(\w+)\"", code))
    keys = sentences(TEMPLATES / "en" / "deploy.toml").keys()
    assert said == {key[0] for key in keys}
    homes = set(re.findall(r'Platform\("(\w+)"', code))
    assert {key[1] for key in keys if key[0] == "where"} == homes | {"laptop"}
    assert {key[1] for key in keys if key[0] == "database"} <= homes | {"other"}
    for table, word in (key for key in keys if key[0] in ("server", "laptop", "status")):
        assert re.search(f"[\"']{word}[\"']", code), (table, word)


def test_russian_sentences_are_russian():
    for name in ("deploy.toml", "doctor.toml", "log_words.toml"):
        for key, text in sentences(TEMPLATES / "ru" / name).items():
            if key[-1] not in ("prints", "browser", "yes") and key[0] != "say":
                words = re.sub(r"{.*?}", "", text).split()
                assert re.search("[а-яё]", text) or len(words) < 5, key


def test_no_language_stands_outside_its_folder():
    """Neither a choice between two of them, nor words that are not English."""
    choice = re.compile(r"cookiecutter\.language\s*[!=]=|\b(if|set) ru\b|\bcookiecutter\.language in\b")
    for name in tracked():
        if name.startswith(("{{cookiecutter", "hooks/", "cookiecutter.json")):
            text = (ROOT / name).read_text(encoding="utf-8")
            assert not choice.search(text), name
            # The questions are asked before a language is known, and tests store Cyrillic text on purpose.
            if name.startswith("{{cookiecutter") and "/test/" not in name:
                assert not re.search("[а-яА-ЯёЁ]", text), name


@pytest.mark.parametrize("example", EXAMPLES)
def test_all_languages_have_the_same_structure(baked, example):
    english = baked(language="en", example=example)
    for language in LANGUAGES:
        other = baked(language=language, example=example)
        assert english.names() == other.names()
        for name in english.names():
            structure = {".md": outline, ".html": skeleton, ".py": shape}.get(Path(name).suffix)
            texts = (english.read(name), other.read(name)) if structure else ()
            # The same text has the same structure.
            assert len(set(texts)) < 2 or structure(texts[0]) == structure(texts[1]), name


def test_russian_project_speaks_russian(baked):
    project = baked(language="ru", example="notes")
    for name in (
        *("README.md", "DEPLOY.md", "MOVING-ON.md", "ELSEWHERE.md", "Makefile", ".env.example", "app.json"),
        *("templates/notes.html", "forms.py", "views.py", "deploy/words.toml", "doctor/words.toml"),
        "deploy/templates/deploy/error.html",
    ):
        assert re.search("[а-я]{3}", project.read(name)), name


@pytest.mark.parametrize("example", EXAMPLES)
def test_english_project_has_no_russian(baked, example):
    for path in baked(language="en", example=example).files():
        if path.parent.name != "test":  # the tests store Cyrillic text on purpose
            assert not re.search("[а-яА-Я]", path.read_text(encoding="utf-8")), path.name


@pytest.mark.parametrize("example", EXAMPLES)
def test_another_language_is_a_folder_and_a_word(tmp_path, environ, diagnose, example):
    """A copy of the English words under another name, added to the question: nothing else."""
    template = tmp_path / "template"
    template.mkdir()
    for name in (TEMPLATE.name, "templates", "hooks"):
        shutil.copytree(ROOT / name, template / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(template / "templates" / "en", template / "templates" / "xx")
    context = CONTEXT | {"language": [*LANGUAGES, "xx"]}
    (template / "cookiecutter.json").write_text(json.dumps(context), encoding="utf-8")
    answers = {"language": "xx", "example": example, "repo_name": "app"}
    path = cookiecutter(
        str(template), no_input=True, default_config=True, output_dir=str(tmp_path), extra_context=answers
    )
    project = Project(Path(path), environ)
    assert '<html lang="xx">' in project.read("templates/base.html")
    status, report = diagnose(project.path)
    assert (status, report["findings"]) == (0, [])


# --- the template itself ---


def test_the_questions_need_no_long_expressions():
    def texts(value):
        if isinstance(value, str):
            yield value
        for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            yield from texts(part)

    for text in texts(CONTEXT):
        for expression in re.findall(r"\{\{.*?\}\}|\{%.*?%\}", text):
            assert len(expression) <= 130, expression


def test_a_new_python_is_named_in_three_places():
    """The tests take it from there; made-up answers, cases of the doctor and facts about packages are of any version."""
    version = re.compile(rf"(?<![\d.=]){re.escape(NEWEST_PYTHON)}(?![\d.])")
    aside = (
        ".md",
        ".png",
        ".svg",
        ".css",
        "/test_hooks.py",
        "/packages.json",
        "/versions.json",
        "/pins.json",
        "situations/projects.toml",
        "situations/projects-2.toml",
    )
    code = [name for name in tracked() if not name.endswith(aside)]
    found = {name for name in code if version.search((ROOT / name).read_text(encoding="utf-8"))}
    assert found == {
        "cookiecutter.json",
        f"{TEMPLATE.name}/doctor/facts.toml",
        ".github/workflows/test.yml",
    }


def test_the_three_places_name_the_same_pythons():
    offered = [version for version in CONTEXT["python_version"] if version != "auto"]
    facts = tomllib.loads((TEMPLATE / "doctor" / "facts.toml").read_text(encoding="utf-8"))
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "test.yml").read_text(encoding="utf-8"))
    assert facts["python"]["offered"] == offered[::-1]
    assert workflow["jobs"]["test"]["strategy"]["matrix"]["python-version"] == offered[::-1]


# --- what is compared ---


def outline(markdown):
    """Return the levels of the headings, the commands and the code words, in order."""
    tokens = MarkdownIt("commonmark").enable("table").parse(markdown)
    found = []
    for token in tokens:
        if token.type == "heading_open":
            found.append(token.tag)
        if token.type == "fence":
            found.append(code_of(token))
        if token.type == "inline":
            words = [child.content for child in token.children if child.type == "code_inline"]
            found.extend(sorted(re.sub(r'"[^"]*"', "…", word) for word in words))
    return found


def code_of(fence):
    """Return a block of code without the words of its language."""
    if fence.info == "html":
        return skeleton(fence.content)
    if fence.info == "python":
        with suppress(SyntaxError):  # a line or two of a longer piece
            return shape(fence.content)
    # Comments, and what a person types in place of an example, are in their language.
    return re.sub(r'#.*|"[^"=]*"', "…", fence.content)


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


# What a devcontainer.json may say, as far as this one does: https://containers.dev/implementors/json_reference/
DEVCONTAINER = {
    "type": "object",
    "additionalProperties": False,
    "required": ["image"],
    "properties": {
        "name": {"type": "string"},
        "image": {"type": "string", "pattern": r"^mcr\.microsoft\.com/devcontainers/python:3\.1[1-4]$"},
        "onCreateCommand": {"type": "string"},
        "postAttachCommand": {"type": "string"},
        "forwardPorts": {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 65535}},
        "portsAttributes": {
            "additionalProperties": {
                "properties": {
                    "onAutoForward": {
                        "enum": ["notify", "openBrowser", "openBrowserOnce", "openPreview", "silent", "ignore"]
                    }
                },
                "additionalProperties": False,
            },
        },
        "customizations": {"type": "object"},
    },
}


@pytest.mark.parametrize("answers", [*SAMPLES, {"project_name": 'Ann\'s "книга" \\ {x}'}], ids=str)
def test_a_dev_container_has_the_project_s_python_and_commands(baked, answers):
    """Checked once (November 2026) with the dev containers' own schema as well."""
    project = baked(**answers)
    settings = json.loads(project.read(".devcontainer/devcontainer.json"))
    jsonschema.validate(settings, DEVCONTAINER)
    assert settings["name"] == answers.get("project_name", settings["name"])
    if answers.get("python_version", "auto") != "auto":
        assert settings["image"].endswith(f":{answers['python_version']}")
    for name, last in (("onCreateCommand", "install"), ("postAttachCommand", "run")):
        assert settings[name] == f"python -m deploy {last}"
    names = {path.name for path in project.path.rglob("*")}
    assert not names & {"Dockerfile", "docker-compose.yml", "compose.yaml"}
    assert ".vscode/" not in project.read(".gitignore")
