"""The doctor of a baked project: each check on a project that it fails, and quiet on all that deploy."""

import json
import re
import shutil
import subprocess
import sys
import tomllib

import pytest

from conftest import ROOT, TEMPLATE, Project

DOCTOR = TEMPLATE / "doctor"


def words(language):
    name = "{% if cookiecutter.language == 'LANGUAGE' %}words.toml{% endif %}".replace("LANGUAGE", language)
    return tomllib.loads((DOCTOR / name).read_text(encoding="utf-8"))


WEB = "web: python serve.py\n"
NOTES = "migrations/versions/0001_notes.py"


class Broken:
    """A copy of a baked project that a test changes; each method is one kind of change."""

    def __init__(self, path):
        self.path = path

    def write(self, name, content):
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str):
            content = content.encode("utf-8")
        file.write_bytes(content)

    def append(self, name, text):
        self.write(name, (self.path / name).read_text(encoding="utf-8") + text)

    def replace(self, name, old, new):
        text = (self.path / name).read_text(encoding="utf-8")
        assert old in text
        self.write(name, text.replace(old, new))

    def without(self, name, start):
        lines = (self.path / name).read_text(encoding="utf-8").splitlines(keepends=True)
        self.write(name, "".join(line for line in lines if not line.startswith(start)))

    def rename(self, old, new):
        (self.path / new).parent.mkdir(parents=True, exist_ok=True)
        (self.path / old).rename(self.path / new)

    def remove(self, name):
        (self.path / name).unlink()

    def recode(self, name, encoding):
        self.write(name, (self.path / name).read_text(encoding="utf-8").encode(encoding))

    def app_json(self, **changes):
        app = json.loads((self.path / "app.json").read_text(encoding="utf-8"))
        self.write("app.json", json.dumps(app | changes, indent=2))

    def procfile(self, web):
        self.write("Procfile", f"web: {web}\n")


# For every check one or more changes after which exactly this check finds something.
BREAK = {
    "H103": [lambda p: p.append(".gitignore", "models.py\n"), lambda p: p.append(".gitignore", "Procfile\n")],
    "H104": [lambda p: p.rename("templates", "Templates")],
    "H105": [lambda p: p.write("package.json", "{}"), lambda p: p.write("Gemfile", "")],
    "H106": [lambda p: p.write("Dockerfile", "FROM python\n")],
    "H107": [lambda p: p.write("env/pyvenv.cfg", "home = /usr\n"), lambda p: p.write("venv/bin/python", "x")],
    "H201": [lambda p: p.write("uv.lock", ""), lambda p: p.remove("requirements.txt")],
    "H202": [
        lambda p: p.rename("requirements.txt", "Requirements.txt"),
        lambda p: p.rename("requirements.txt", "requirement.txt"),
    ],
    "H203": [lambda p: p.recode("requirements.txt", "utf-16"), lambda p: p.recode("requirements.txt", "utf-16-le")],
    "H204": [
        lambda p: p.replace("main.py", "import os\n", "import os\nimport requests\n"),
        lambda p: p.replace("requirements.txt", "granian==", "# granian=="),
    ],
    "H205": [lambda p: (p.append("requirements.in", "pandas\n"), p.append("requirements.txt", "pandas==2.3.0\n"))],
    "H206": [lambda p: p.procfile('gunicorn "main:init_app()"')],
    "H207": [
        lambda p: p.append("requirements.txt", "-e .\n"),
        lambda p: p.append("requirements.txt", "pywin32==311\n"),
        lambda p: p.append("requirements.txt", "mine @ file:///C:/mine\n"),
    ],
    "H208": [
        lambda p: (
            p.without("requirements.txt", "psycopg"),
            p.append("requirements.txt", "typing-extensions==4.16.0\n"),
            p.without("views.py", "from psycopg"),
        )
    ],
    "H301": [lambda p: p.remove(".python-version")],
    "H302": [
        lambda p: p.write(".python-version", "python-3.14\n"),
        lambda p: p.write(".python-version", b"\xef\xbb\xbf3.14\n"),
        lambda p: p.write(".python-version", "3.14\n".encode("utf-16")),
        lambda p: p.rename(".python-version", ".python-version.txt"),
    ],
    "H303": [lambda p: p.write(".python-version", "3.9\n"), lambda p: p.write(".python-version", "3.15\n")],
    "H304": [lambda p: p.write("runtime.txt", "python-3.13\n")],
    "H305": [lambda p: p.write(".python-version", "3.10\n")],
    "H401": [
        lambda p: p.rename("Procfile", "procfile"),
        lambda p: p.rename("Procfile", "Procfile.txt"),
        lambda p: p.remove("Procfile"),
    ],
    "H402": [
        lambda p: p.write("Procfile", b"\xef\xbb\xbf" + WEB.encode()),
        lambda p: p.write("Procfile", WEB.encode("utf-16")),
    ],
    "H403": [lambda p: p.write("Procfile", "web:python serve.py\n")],
    "H404": [lambda p: p.write("Procfile", "worker: python serve.py\n")],
    "H405": [lambda p: (p.append("requirements.txt", "gunicorn==27.0.1\n"), p.procfile("gunicorn main:init_app()"))],
    "H406": [lambda p: p.procfile("env FLASK_ENV=development flask run -h 0.0.0.0 -p $PORT")],
    "H407": [
        lambda p: p.replace(
            "Procfile", "python serve.py", "granian --interface wsgi --host 127.0.0.1 --port $PORT main:init_app"
        ),
        lambda p: p.procfile("granian --interface wsgi --host 0.0.0.0 --port 8000 main:init_app"),
    ],
    "H408": [lambda p: p.append("Procfile", "worker: celery worker\n")],
    "H409": [
        lambda p: p.append("Procfile", "clock: python clock.py\n"),
        lambda p: p.replace("Procfile", "flask db upgrade", "alembic upgrade head"),
    ],
    "H501": [
        lambda p: p.write(".flaskenv", "FLASK_APP=app.py:init_app()\n"),
        lambda p: p.app_json(
            env={"FLASK_APP": {"value": "main.py:create_app()"}, "SECRET_KEY": {"generator": "secret"}}
        ),
        lambda p: (p.append("requirements.txt", "gunicorn==27.0.1\n"), p.procfile("gunicorn wsgi:app")),
    ],
    "H601": [lambda p: p.write(".env", "A=1\n")],
    "H602": [
        lambda p: p.append("config.py", '\nURL = "postgres://me:s3cr3tpw@ec2-1-2-3-4.compute.amazonaws.com:5432/d1"\n'),
        lambda p: p.append("config.py", '\nSECRET_KEY = "b6f0c2a19d8e4f7a"\n'),
        lambda p: p.append("README.md", "\nghp_" + "a1B2" * 9 + "\n"),
    ],
    "H603": [lambda p: p.append(".env.example", "\nMAIL_SERVER=\n")],
    "H604": [
        lambda p: p.write(
            "config.py",
            re.sub(r'"postgres\w*(\+psycopg)?"', '"x"', (p.path / "config.py").read_text(encoding="utf-8")).replace(
                'f"postgresql+psycopg://', 'f"x'
            ),
        )
    ],
    "H605": [lambda p: p.append("config.py", '\nMAIL = os.environ["MAIL_SERVER"]\n')],
    "H701": [lambda p: p.write("app.json", '{"name": "x",}')],
    "H702": [
        lambda p: p.app_json(formation=[{"process": "web", "quantity": 1}]),
        lambda p: p.app_json(addons={"plan": "x"}),
    ],
    "H703": [
        lambda p: p.app_json(addons=[{"plan": "heroku-postgresql:hobby-dev"}]),
        lambda p: p.app_json(stack="heroku-20"),
        lambda p: p.app_json(formation={"web": {"quantity": 1, "size": "free"}}),
    ],
    "H704": [lambda p: p.app_json(name="a" * 31)],
    "H705": [
        lambda p: (
            p.app_json(env={"MAIL": {"description": "x"}}),
            p.append("config.py", '\nMAIL = os.environ["MAIL"]\n'),
        )
    ],
    "H801": [
        lambda p: p.append(".slugignore", "static\n"),
        lambda p: p.append(".slugignore", "/requirements.txt\n"),
        lambda p: p.append(".slugignore", "*.py\n"),
    ],
    "H802": [lambda p: p.append(".slugignore", "!keep\n")],
    "H803": [lambda p: p.append(".slugignore", "# drop docs, keep static\n")],
    "H901": [
        lambda p: p.append("views.py", '\n\ndef keep(file):\n    file.save(current_app.config["UPLOAD_FOLDER"])\n')
    ],
    "H902": [
        lambda p: (
            p.append("requirements.txt", "gunicorn==27.0.1\n"),
            p.procfile('gunicorn --workers 5 --threads 8 "main:init_app()"'),
        ),
    ],
    "H903": [
        lambda p: p.append(
            "models.py",
            '\n\nclass Tag(db.Model):\n    __tablename__ = "tags"\n    id: Mapped[int] = mapped_column(primary_key=True)\n',
        )
    ],
    "H904": [
        lambda p: (
            p.write("migrations/versions/0002_a.py", 'revision = "0002"\ndown_revision = "0001"\n')
            or p.write("migrations/versions/0003_b.py", 'revision = "0003"\ndown_revision = "0001"\n')
        )
    ],
    "H951": [lambda p: (p.remove(".gitattributes"), p.write("Procfile", WEB.replace("\n", "\r\n")))],
    "H952": [lambda p: p.write("other.py", "# привет\n".encode("cp1251"))],
}


@pytest.fixture(scope="module")
def baked(tmp_path_factory, environ):
    """{language: a baked project}, to be copied and changed."""
    projects = {}
    for language in ("en", "ru"):
        output = tmp_path_factory.mktemp(language)
        command = [sys.executable, "-m", "cookiecutter", str(ROOT), "--no-input", "--default-config", "-o", str(output)]
        subprocess.run([*command, f"language={language}", "repo_name=app"], check=True, capture_output=True)
        projects[language] = Project(output / "app", environ)
    return projects


@pytest.fixture
def copy(baked, tmp_path):
    shutil.copytree(baked["en"].path, tmp_path / "app")
    return Project(tmp_path / "app", baked["en"].environ)


def commit(project, folder=None):
    """Commit everything, as git's owner and with the line ends as they are."""
    git = ["git", "-c", "user.name=T", "-c", "user.email=t@example.com", "-c", "core.autocrlf=false"]
    # What a new .gitignore names goes, as it would be missing in a fresh commit.
    project.run(*git, "rm", "-r", "-q", "--cached", ".", cwd=folder)
    project.run(*git, "add", "--all", cwd=folder)
    if {path.name for path in project.path.iterdir()} & {".env"}:
        project.run(*git, "add", "--force", ".env", cwd=folder)
    for ignored in ("venv",):
        if (project.path / ignored).exists():
            project.run(*git, "add", "--force", ignored, cwd=folder)
    project.run(*git, "commit", "-q", "-m", "change", cwd=folder)


def diagnose(project, *arguments, **options):
    """Return (exit status, the findings) of a run of the doctor."""
    result = project.run(sys.executable, "-I", "-c", RUN, *arguments, "--json", check=False, **options)
    assert result.stderr == ""
    return result.returncode, json.loads(result.stdout)


# Isolated from all installed packages, as on a machine with nothing but Python.
RUN = "import sys; sys.path.insert(0, '.'); sys.argv[0] = 'doctor'; from doctor.__main__ import main; sys.exit(main())"


@pytest.mark.parametrize("language", ["en", "ru"])
def test_an_untouched_project_has_no_finding(baked, language):
    status, report = diagnose(baked[language])
    assert (status, report["findings"], report["deploys"]) == (0, [], True)


@pytest.mark.parametrize(
    ("id", "change"),
    [(id, change) for id, changes in BREAK.items() for change in changes],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_exactly_the_right_check_fires(copy, id, change):
    change(Broken(copy.path))
    commit(copy)
    status, report = diagnose(copy)
    assert {finding["id"] for finding in report["findings"]} == {id}, report["findings"]
    levels = {finding["level"] for finding in report["findings"]}
    assert status == (1 if "error" in levels else 0)
    for finding in report["findings"]:
        assert "{" not in finding["title"].replace("{…}", ""), finding
        assert finding["fix"]
        assert 1 <= finding["step"] <= 13
