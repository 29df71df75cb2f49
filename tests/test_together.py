"""Two people, one project: what README.md says of a second computer, of conflicts and of two migrations, followed."""

import re
import shutil
import sys

import pytest

from lab import GIT, Project, call
from test_guide import commands

pytestmark = pytest.mark.slow

TABLE = """

class {name}(db.Model):
    __tablename__ = "{table}"

    id: Mapped[int] = mapped_column(primary_key=True)
"""


def part(project, heading):
    """Return the commands of a part of README.md, block by block."""
    text = project.read("README.md").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"\n```\n(.*?)```", text, re.DOTALL)
    assert [line for block in blocks for line in block.splitlines()] == list(commands(text))
    return [block.splitlines() for block in blocks]


def git(project, *words, check=True):
    return project.run(*GIT, *words, check=check)


def typed(project, lines):
    """Type lines as they stand; git knows nobody here, and pip's packages are there."""
    for line in lines:
        words = re.findall(r'"[^"]*"|\S+', line)
        words = [word.strip('"') for word in words]
        if words[0] == "pip":
            words = [sys.executable, "-m", "pip", "--version"]
        project.run(*(GIT if words[0] == "git" else words[:1]), *words[1:])


@pytest.fixture
def two(bake, tmp_path, database_folder):
    """The same project on two computers, of Ann and of Bob, and the text of README.md's part about them."""

    def two(language, heading):
        ann = bake(language=language)
        shared = tmp_path / "shared.git"
        call("git", "clone", "--quiet", "--bare", ann.path, shared)
        ann.run("git", "remote", "add", "origin", shared)
        ann.run("git", "push", "--quiet", "--set-upstream", "origin", "main")
        first, *rest = part(ann, heading)
        assert first[0].startswith("git clone https://github.com/")
        call("git", "clone", "--quiet", shared, tmp_path / first[1].removeprefix("cd "))
        bob = Project(tmp_path / first[1].removeprefix("cd "), ann.environ)
        assert first[2] == "cp .env.example .env"
        shutil.copy(bob.path / ".env.example", bob.path / ".env")
        return ann, bob, rest

    return two


# The commands are the same in both languages, which test_files.py compares.
@pytest.mark.parametrize(("language", "heading"), [("ru", "Вместе или на втором компьютере")])
def test_two_people_make_a_table_each(two, language, heading):
    ann, bob, (before_work, after_a_conflict, join) = two(language, heading)
    before = ann.read("models.py")
    for project, name in ((ann, "Author"), (bob, "Reader")):
        project.run("flask", "db", "upgrade")
        project.append("models.py", TABLE.format(name=name, table=f"{name.lower()}s"))
        project.run("flask", "db", "migrate", "-m", name)
        git(project, "add", "--all")
        git(project, "commit", "--quiet", "-m", name)
    ann.run("git", "push", "--quiet")

    pulled = git(bob, *before_work[0].split()[1:], check=False)
    assert pulled.returncode != 0
    assert "CONFLICT" in pulled.stdout
    lines = bob.read("models.py").splitlines(keepends=True)
    marks = [line for line in lines if line.startswith(("<<<<<<<", "=======", ">>>>>>>"))]
    assert len(marks) == 3
    assert "".join(lines).count("primary_key=True)") == before.count("primary_key=True)") + 1  # once for both
    bob.write(
        "models.py",
        before + TABLE.format(name="Author", table="authors") + TABLE.format(name="Reader", table="readers"),
    )
    typed(bob, after_a_conflict)

    refused = bob.run("flask", "db", "upgrade", check=False)
    assert refused.returncode != 0
    report = bob.run("python", "-m", "doctor", check=False)
    assert report.returncode == 1
    assert "flask db merge heads" in report.stdout
    typed(bob, join)
    assert bob.run("python", "-m", "doctor").returncode == 0

    typed(ann, before_work)
    tables = ann.python(
        "import main; from database import db; from sqlalchemy import inspect\n"
        "app = main.init_app()\nwith app.app_context(): print(inspect(db.engine).get_table_names())"
    ).splitlines()[-1]
    assert "authors" in tables
    assert "readers" in tables
    assert ann.run("flask", "db", "check").returncode == 0
