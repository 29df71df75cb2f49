"""Later versions of the template in projects that people have made their own: cruft create, check, diff, update, link."""

import json
import os
import shutil
import sys

import pytest

from lab import CONTEXT, GIT, ROOT, TEMPLATE, Project, bake_into, call
from test_git import committed_copy

pytestmark = pytest.mark.slow

QUESTION = "class_name"


@pytest.fixture(scope="module")
def versions(tmp_path_factory):
    """A repository of the template with two versions: (its folder, the first commit, the second)."""
    folder = committed_copy(tmp_path_factory.mktemp("template") / "template")
    template = Project(folder, dict(os.environ))
    first = head(template)
    template.run("git", "tag", f"v{CONTEXT['_version']}")
    inside = TEMPLATE.name
    settings = json.loads(template.read("cookiecutter.json"))
    settings |= {"_version": "9.9.9", QUESTION: "1a", "_rows": ["one", "two"]}
    template.write("cookiecutter.json", json.dumps(settings, ensure_ascii=False, indent=2))
    # Changed, near what students edit and far from it; added, deleted, renamed; what is theirs as well.
    template.replace(f"{inside}/deploy/server.py", "LINGER = 1  # seconds", "LINGER = 2  # seconds")
    template.replace(f"{inside}/Procfile", "release: flask db upgrade", "release: flask db upgrade --sql")
    template.append(f"{inside}/views.py", "\n# new in views.py\n")
    template.append("templates/en/README.md", "\nnew in README.md\n")
    template.write(f"{inside}/migrations/added.py", "# {{ cookiecutter.class_name }} {{ cookiecutter._rows[1] }}\n")
    template.remove(f"{inside}/static/icon.svg")
    template.rename(f"{inside}/deploy/dates.py", f"{inside}/deploy/times.py")
    template.replace(f"{inside}/deploy/__init__.py", "dates", "times")
    template.commit()
    return folder, first, head(template)


@pytest.fixture
def person(environ, tmp_path):
    """The environment of a person who types in tmp_path; cruft keeps its clones at home."""
    return environ | {"HOME": str(tmp_path), "PWD": str(tmp_path)}


def head(project):
    return project.run("git", "rev-parse", "HEAD").stdout.strip()


def cruft(folder, environ, *arguments, check=True, text=None):
    command = [sys.executable, "-m", "cruft", *map(str, arguments)]
    return call(*command, cwd=folder, env=environ | {"PWD": str(folder)}, check=check, input=text or "")


@pytest.fixture
def project(versions, person, tmp_path):
    """A project that cruft has made of the first version, committed by its owner."""
    template, first, _ = versions
    made = cruft(tmp_path, person, "create", template, "--checkout", first, "--no-input")
    assert "git init -b main" in made.stdout
    project = Project(tmp_path / "my-notes", person)
    for line in ("git init -b main", "git add .", 'git commit -m "Start"'):
        assert f"    {line}\n" in made.stdout
    project.run("git", "init", "--quiet", "-b", "main")
    project.commit()
    return project


def update(project, versions):
    cruft_file = json.loads(project.read(".cruft.json"))
    project.write(".cruft.json", json.dumps(cruft_file | {"checkout": None}, indent=2) + "\n")
    project.commit()
    return cruft(project.path, project.environ, "update", "--skip-apply-ask", "--checkout", versions[2], check=False)


def doctor(project):
    result = project.run("python", "-m", "doctor", "--json", check=False)
    return result.returncode, json.loads(result.stdout)


def test_nothing_differs_at_first(project, versions):
    """Also on a computer whose Python is another one: `auto` means the same under cruft everywhere."""
    assert project.read(".python-version").strip() == CONTEXT["_newest_python"]
    assert cruft(project.path, project.environ, "check", "--checkout", versions[1]).returncode == 0
    # Typed above the folder that cruft makes its own copy in.
    words = ("diff", "--checkout", versions[1], "--project-dir", project.path)
    assert cruft("/", project.environ, *words).stdout == ""


def test_a_newer_version_is_noticed_and_comes(project, versions):
    assert cruft(project.path, project.environ, "check", "--checkout", versions[2], check=False).returncode == 1
    result = update(project, versions)
    assert result.returncode == 0, result.stderr
    assert "make run" not in result.stdout  # the hooks' words are for a project that somebody begins
    assert "LINGER = 2" in project.read("deploy/server.py")
    assert project.read("migrations/added.py") == "# 1a two\n"
    assert not (project.path / "deploy/dates.py").exists()
    assert (project.path / "deploy/times.py").exists()
    # What is the student's was not touched, though the template's own has changed.
    assert "new in views.py" not in project.read("views.py")
    assert "new in README.md" not in project.read("README.md")
    assert (project.path / "static/icon.svg").exists()
    project.commit()
    status, report = doctor(project)
    assert status == 0
    assert (report["template"], report["template_commit"]) == ("9.9.9", versions[2])
    project.run("python", "-c", "import main; main.init_app()", DATABASE_URL="postgres://u:p@h/d", SECRET_KEY="k")


def test_what_a_student_has_edited_stays(project, versions):
    """Near the template's own changes and far from them."""
    project.append("views.py", "\n# mine in views.py\n")
    project.append("README.md", "\nmine in README.md\n")
    project.replace("deploy/server.py", "THREADS = 128", "THREADS = 64")
    project.append("requirements.in", "requests\n")
    project.write("books.py", "# mine\n")
    result = update(project, versions)
    assert result.returncode == 0, result.stderr
    for name in ("views.py", "README.md"):
        assert f"mine in {name}" in project.read(name)
    server = project.read("deploy/server.py")
    assert "THREADS = 64" in server
    assert "LINGER = 2" in server
    assert project.read("requirements.in").endswith("requests\n")
    assert project.read("books.py") == "# mine\n"


def test_the_same_line_changed_twice_is_said(project, versions):
    """cruft itself ends with 0; the doctor names the place, and ends with 1."""
    project.replace("Procfile", "release: flask db upgrade", "release: flask db upgrade --tag mine")
    update(project, versions)
    left = project.read("Procfile") + "".join(file.read_text("utf-8") for file in project.path.glob("Procfile.rej"))
    assert "--tag mine" in left
    assert "--sql" in left
    project.commit()
    status, report = doctor(project)
    assert status == 1
    assert "Procfile" in {finding["file"].removesuffix(".rej") for finding in report["findings"]}


def test_an_app_of_one_s_own_in_place_of_the_notes_stays(project, versions):
    gone = ["templates/notes.html", "templates/delete.html", "test/test_notes.py", "test/test_notes_limits.py"]
    for name in gone:
        project.remove(name)
    project.write("views.py", 'from flask import Blueprint\n\nbp = Blueprint("mine", __name__)\n')
    project.write("models.py", "# mine\n")
    project.write("forms.py", "# mine\n")
    result = update(project, versions)
    assert result.returncode == 0, result.stderr
    assert not any((project.path / name).exists() for name in gone)
    assert project.read("models.py") == project.read("forms.py") == "# mine\n"
    assert "LINGER = 2" in project.read("deploy/server.py")
    assert not list(project.path.rglob("*.rej"))


@pytest.mark.parametrize("origin", ["a clone", "a folder", "before versions"])
def test_a_project_of_plain_cookiecutter_finds_its_way_in(versions, person, tmp_path, origin):
    """In the three lines of README.md: link, commit, update."""
    template, first, second = versions
    source = tmp_path / "template.git"
    call("git", "clone", "--quiet", template, source)
    call("git", "checkout", "--quiet", first, cwd=source)
    if origin == "a folder":
        shutil.rmtree(source / ".git")
    address = f"file://{source}" if origin == "a clone" else source
    project = bake_into(tmp_path, person, "mine", address, project_name="Mine")
    if origin == "before versions":
        words = project.read("doctor/words.toml").splitlines(keepends=True)
        project.write("doctor/words.toml", "".join(line for line in words if not line.startswith("template")))
    project.append("views.py", "\n# mine\n")
    project.commit()
    lines = project.read("README.md").partition("cruft link ")[2].partition("\n```")[0].splitlines()
    assert lines == [
        f"https://github.com/OWNER/cookiecutter-flask-heroku -c v{CONTEXT['_version']}",
        "git add .cruft.json",
        'git commit -m "Link to the template"',
    ]
    # Every question with the answer of then; what is not changed is confirmed with Enter.
    answers = {"project_name": "Mine", "repo_name": "mine"}
    asked = "".join(f"{answers.get(name, '')}\n" for name in CONTEXT if not name.startswith("_"))
    cruft(project.path, person, "link", template, "-c", f"v{CONTEXT['_version']}", text=f"{asked}\n")
    project.run("git", "add", ".cruft.json")
    project.run(*GIT, "commit", "--quiet", "-m", "Link to the template")
    result = cruft(project.path, person, "update", "--skip-apply-ask", "--checkout", second, check=False)
    assert result.returncode == 0, result.stderr
    assert "LINGER = 2" in project.read("deploy/server.py")
    assert project.read("views.py").endswith("# mine\n")


def test_the_doctor_names_no_password_of_the_template_s_address(bake):
    project = bake()
    project.write(".cruft.json", json.dumps({"template": "https://ann:secret@git.example/t", "commit": "x"}))
    project.commit()
    _, report = doctor(project)
    assert (report["template_address"], report["template_commit"]) == (None, None)


def test_the_version_stands_in_one_place(baked):
    version = CONTEXT["_version"]
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    sections = changes.split("\n## ")[1:]
    assert sections[0].startswith(version)
    assert all("\n### To do for owners of older projects\n" in section for section in sections)
    for language, made in (("en", "Made with"), ("ru", "Создано шаблоном")):
        project = baked(language=language)
        last = project.read("README.md").splitlines()[-1]
        assert last == f"{made} cookiecutter-flask-heroku {version}"
        message = project.run("git", "log", "--format=%B").stdout.strip()
        assert message == f"Start from cookiecutter-flask-heroku {version}"
        _, report = doctor(project)
        assert (report["template"], report["template_address"], report["template_commit"]) == (version, None, None)


@pytest.mark.parametrize(
    ("template", "address"),
    [
        ("gh:ann/cookiecutter-flask-heroku", "https://github.com/ann/cookiecutter-flask-heroku"),
        ("https://git.example/ann/template.git", "https://git.example/ann/template"),
        ("https://ann:secret@git.example/template", ""),
        ("/home/ann/template", ""),
        (r"C:\Users\ann\template", ""),
    ],
)
def test_the_address_is_public_or_not_there(template, address):
    from jinja2 import Environment, FileSystemLoader

    environment = Environment(loader=FileSystemLoader(ROOT / "templates"), keep_trailing_newline=True)
    told = environment.get_template("version.jinja").module.address(template)
    assert told == address


# The template as it was first committed: 31 files, no doctor, its machinery between the student's files.
FIRST = "76845d71831104bc4e5f2924bbb110557a9a00a1"


def test_a_project_of_the_first_commit_s_template_becomes_one_of_today_s(person, tmp_path):
    if call("git", "cat-file", "-e", FIRST, cwd=ROOT, check=False).returncode:
        pytest.skip("a shallow clone has no first commit")
    template, first = tmp_path / "template", tmp_path / "first"
    call("git", "clone", "--quiet", ROOT, template)
    call("git", "archive", "--output", tmp_path / "first.tar", FIRST, cwd=template)
    shutil.unpack_archive(tmp_path / "first.tar", first)
    project = bake_into(tmp_path, person, "my-notes", first)
    assert (project.path / "local_postgres.py").exists()
    cruft(project.path, person, "link", template, "-c", FIRST, "--no-input")
    project.commit()
    result = cruft(project.path, person, "update", "--skip-apply-ask", check=False)
    assert result.returncode == 0, result.stderr
    project.commit()
    assert not (project.path / "local_postgres.py").exists()
    assert doctor(project)[0] == 0
    project.run("python", "-m", "pytest", "-q", "-x", timeout=300)
