"""An app of one's own, as the project's README leads to it: its steps are taken from its text and followed."""

import re

import pytest
from markdown_it import MarkdownIt

from lab import CSRF_TOKEN, LANGUAGES, SERVER, Postgres, Project, dyno_environ

# Each serves a project.
pytestmark = pytest.mark.slow

TITLES = {"en": "Dune", "ru": "Пикник на обочине"}


class Guide:
    """What a project's README has one write and type: a list of (what it is, where, the text), in its order."""

    def __init__(self, readme):
        self.steps = {}
        heading, name = "", ""
        for token in MarkdownIt("commonmark").parse(readme):
            if token.type == "inline":
                strong = re.match(r"\*\*(.*?)\*\*", token.content)
                heading = strong[1] if strong else heading
                files = [c.content for c in token.children if c.type == "code_inline" and "." in c.content[1:]]
                name = files[0] if files else name
            elif token.type == "heading_open":
                heading = ""
            elif token.type == "fence":
                self.steps.setdefault(heading, []).append((token.info, name, token.content))

    def numbered(self):
        """Return the steps that begin with a number, in their order."""
        return {heading: step for heading, step in self.steps.items() if re.match(r"\d+\. ", heading)}

    def follow(self, project, heading):
        """Do what a step says: write its files, type its commands."""
        for kind, name, text in self.steps[heading]:
            if not kind:
                for line in text.splitlines():
                    project.run("sh", "-c", line, timeout=300)
            elif text.startswith('"""') or kind == "html":
                (project.path / name).write_text(text, encoding="utf-8")
            else:  # a piece of a file goes at its end
                with (project.path / name).open("a", encoding="utf-8") as file:
                    file.write(f"\n\n{text}")


@pytest.fixture(params=LANGUAGES)
def language(request):
    return request.param


@pytest.fixture(params=["notes", "none"])
def project(bake, language, request, tmp_path):
    project = bake(language=language, example=request.param, repo_name="own-app")
    settings = tmp_path / "gitconfig"
    settings.write_text("[user]\nname = A Student\nemail = student@example.org\n", encoding="utf-8")
    project.environ = project.environ | {"GIT_CONFIG_GLOBAL": str(settings)}
    yield project
    project.run("python", "-m", "deploy.postgres", "delete")


def release(project, environ):
    """Do what the platform does at every release."""
    return Project(project.path, environ).run("sh", "-c", project.commands()["release"])


TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"


# The code is the same in both languages (test_files.py compares it), so each is followed once for each part.
@pytest.mark.parametrize(("language", "project"), [("en", "notes"), ("ru", "none")], indirect=True)
def test_the_readme_leads_to_an_app_of_one_s_own(project, serve, language, capsys):
    guide = Guide(project.read("README.md"))
    steps = guide.numbered()
    had_notes = (project.path / "templates" / "notes.html").exists()
    assert len(steps) == (5 if had_notes else 4)

    # A database of the platform that has had the first version, with its data.
    postgres = Postgres(project)
    postgres.sql("CREATE ROLE me LOGIN PASSWORD 'secret'", "CREATE DATABASE platform OWNER me")
    environ = dyno_environ(project, postgres.url("me", "secret", "platform"))
    release(project, environ)
    if had_notes:
        postgres.sql("INSERT INTO notes (body) VALUES ('from before')", database="platform")

    # And the laptop's, which the first version has used.
    first = serve(project, "python", "main.py")
    assert first.get("/").status == 200
    first.stop()

    for heading in steps:
        guide.follow(project, heading)
    touched = project.run("git", "-c", "core.quotePath=false", "diff", "--name-status", "HEAD~1").stdout.splitlines()
    with capsys.disabled():
        print(f"\nan app of one's own ({language}, {'notes' if had_notes else 'none'}): {len(touched)} files touched")
    theirs = re.compile(
        r"\w\d*\t(models|forms|views|config)\.py|\w\d*\t(templates|static|test|migrations/versions)/\S+"
    )
    assert [line for line in touched if not theirs.fullmatch(line)] == []
    if had_notes:
        dump = next((project.path / "instance").glob("dump-*.sql"))
        assert "CREATE TABLE public.notes" in dump.read_text(encoding="utf-8")

    # The suite was one of the steps; here once more, strictly.
    assert " passed" in project.run("python", "-W", "error", "-m", "pytest", "-q").stdout
    report = project.run("python", "-m", "doctor", "--json").stdout
    assert '"findings": []' in report

    # Over the database that the first version had migrated, as at the next release.
    release(project, environ)
    assert postgres.sql(TABLES, database="platform") == [["alembic_version"], ["authors"], ["books"]]

    web = serve(project, *SERVER, environ=environ)
    page = web.get("/")
    assert page.status == 200
    fields = {"title": TITLES[language], "author": "A. Writer"}
    assert web.get("/", data=fields).status == 400  # CSRF
    token = CSRF_TOKEN.search(page.text)[1]
    assert f"{TITLES[language]} (A. Writer)" in web.get("/", data=fields | {"csrf_token": token}).text
    missing = web.get("/nothing/here")
    assert missing.status == 404
    assert 'id="reason"' in missing.text
    assert "stylesheet" in missing.text
    assert "Content-Security-Policy" in missing.headers
    assert web.get("/healthz", headers={"X-Request-Id": "my-id"}).text.strip() == '{"database":"ok"}'
    assert re.search(r"INFO \[my-id\] request: GET /healthz 200 \d+ ms", web.log())
    postgres.stop()
    away = web.get("/")
    assert away.status == 503
    assert 'id="reason"' in away.text
    assert web.get("/healthz").status == 503
    postgres.start()
    assert web.get("/").status == 200


@pytest.mark.parametrize(("language", "project"), [("ru", "notes")], indirect=True)
def test_another_package_and_another_table(project, serve, language):
    names = {
        "en": ("Another package:", "Another table:", "A migration to take back:"),
        "ru": ("Новый пакет:", "Новая таблица:", "Миграция, которая не нужна:"),
    }[language]
    guide = Guide(project.read("README.md"))
    project.environ = project.environ | {"PATH": f"{project.path / '.venv' / 'bin'}:{project.environ['PATH']}"}
    project.run("make", "stop", timeout=300)  # makes .venv
    before = project.read("requirements.txt")
    with (project.path / "requirements.in").open("a", encoding="utf-8") as file:
        file.write("humanize\n")
    with (project.path / "views.py").open("a", encoding="utf-8") as file:
        file.write('\n\n@bp.get("/big")\ndef big():\n    import humanize\n\n    return humanize.intcomma(10**6)\n')
    guide.follow(project, names[0])
    added = set(project.read("requirements.txt").splitlines()) - set(before.splitlines())
    assert [line.partition("==")[0] for line in added if line.startswith("humanize==")] == ["humanize"]
    server = serve(project, "flask", "run", "--port", "{port}")
    assert server.get("/big").text == "1,000,000"
    server.stop()

    guide.follow(project, names[1])
    assert ["tags"] in Postgres(project).sql(TABLES)
    project.run("git", "add", "--all")
    project.run("git", "commit", "-q", "-m", "tags")
    assert " passed" in project.run("python", "-m", "pytest", "-q").stdout
    assert '"findings": []' in project.run("python", "-m", "doctor", "--json").stdout

    before = set(project.path.glob("migrations/versions/*.py"))
    assert "models.py" in project.run("flask", "db", "migrate", "-m", "nothing").stdout
    assert set(project.path.glob("migrations/versions/*.py")) == before

    (newest,) = project.path.glob("migrations/versions/*tags*.py")
    guide.follow(project, names[2])
    newest.unlink()
    project.run("flask", "db", "upgrade")
    assert ["tags"] not in Postgres(project).sql(TABLES)


SHELVES = """

class Shelf(db.Model):
    __tablename__ = "shelves"

    id: Mapped[int] = mapped_column(primary_key=True)
"""
MORE = """    note_id: Mapped[int | None] = mapped_column(ForeignKey("notes.id"), unique=True)


class Color(enum.Enum):
    red = "red"


class Book(db.Model):
    __tablename__ = "books"

    id: Mapped[int] = mapped_column(primary_key=True)
    color: Mapped[Color]
"""


@pytest.mark.parametrize(("language", "project"), [("en", "notes")], indirect=True)
def test_what_a_migration_adds_to_a_table_can_be_taken_back(project):
    """A key, a unique column, and as the README says the type of an Enum; the models fit the tables all the while."""
    project.run("flask", "db", "upgrade")
    for code, line in (SHELVES, "shelves"), (MORE, "more"):
        project.append("models.py", code)
        if line == "more":
            project.replace("models.py", "\nfrom ", "\nimport enum\nfrom sqlalchemy import ForeignKey\nfrom ")
        project.run("flask", "db", "migrate", "-m", line)
        project.run("flask", "db", "upgrade")
    (newest,) = project.path.glob("migrations/versions/*more*.py")
    (line,) = re.findall(r"`(op\.execute\(.DROP TYPE color.\))`", project.read("README.md"))
    newest.write_text(f"{newest.read_text(encoding='utf-8').rstrip()}\n    {line}\n", encoding="utf-8")
    project.run("flask", "db", "downgrade")
    assert ["books"] not in Postgres(project).sql(TABLES)
    project.run("flask", "db", "upgrade")
    assert ["books"] in Postgres(project).sql(TABLES)
    # A new value of the Enum, which the next migration adds, also a second time.
    project.replace("models.py", '    red = "red"\n', '    red = "red"\n    sky_blue = "sky blue"\n')
    project.run("flask", "db", "migrate", "-m", "blue")
    for command in ("upgrade", "downgrade", "upgrade"):
        project.run("flask", "db", command)
    values = "SELECT unnest(enum_range(NULL::color))::text"
    assert Postgres(project).sql(values) == [["red"], ["sky_blue"]]
    before = set(project.path.glob("migrations/versions/*.py"))
    project.run("flask", "db", "migrate", "-m", "nothing")
    assert set(project.path.glob("migrations/versions/*.py")) == before


@pytest.mark.parametrize(("language", "project"), [("en", "notes")], indirect=True)
def test_a_login_before_every_page_leaves_the_machinery_s_tests_green(project, serve):
    """Nor does it stand before /healthz, which monitoring asks."""
    login = '\n\n@bp.before_app_request\ndef login():\n    return "Who are you?", 401\n'
    project.append("views.py", login)
    tests = [f"test/{path.name}" for path in project.path.glob("test/test_deploy*.py")]
    project.run("git", "add", "--all")
    project.run("git", "commit", "-q", "-m", "login")
    assert " passed" in project.run("python", "-m", "pytest", "-q", *tests).stdout
    server = serve(project, "flask", "run", "--port", "{port}")
    assert [server.get(page).status for page in ("/", "/healthz", "/no/such")] == [401, 200, 401]
    assert server.get("/", headers={"Host": "evil.example"}).status == 400
