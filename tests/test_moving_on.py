"""MOVING-ON.md of a baked project: every block is taken from its text, put into a fresh project, and does what it says."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from functools import partial
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
import trustme
from markdown_it import MarkdownIt

from lab import (
    CSRF_TOKEN,
    LANGUAGES,
    ROOT,
    SERVER,
    Postgres,
    Project,
    Visitor,
    at_once,
    call,
    dyno_environ,
    free_port,
    memory,
    set_constant,
    wait_until,
)
from test_own_app import Guide

pytestmark = pytest.mark.slow

EXTRA = ROOT / "tests" / "moving_on.txt"
PLAN = 20  # connections of the smallest plan
# The parts of the page in its order: the headings, and in "A bot" its two kinds.
PARTS = ("", "enough", "more", "pooling", "cache", "queue", "bot", "asked", "asks", "elsewhere")
WEBHOOK = {"en": "A webhook", "ru": "Вебхук"}
SAID = {"en": "You said: ", "ru": "Вы написали: "}
FILE = re.compile(r"[\w/]+\.(py|json)|Procfile|\.env\.example")


class Page:
    """MOVING-ON.md. parts: {part: a list of (what it is, the words in `…` before it, the text)}, in its order."""

    def __init__(self, text):
        self.parts, names, part = {"": []}, [], ""
        for token in MarkdownIt("commonmark").parse(text):
            is_bot = part in ("bot", "asked", "asks") and token.content.startswith("**")
            if (token.type == "heading_open" and token.tag == "h2") or is_bot:
                part = PARTS[len(self.parts)]
                self.parts[part], names = [], []
            if token.type == "inline":
                names += [child.content for child in token.children if child.type == "code_inline"]
            elif token.type == "fence":
                self.parts[part].append((token.info, names, token.content))
                names = []

    def blocks(self):
        return [block for part in self.parts.values() for block in part]

    def commands(self, part):
        """Return the lines of a part that are typed."""
        texts = [text for info, names, text in self.parts[part] if not info and "Procfile" not in names]
        return [line for text in texts for line in text.splitlines()]

    def constant(self, part, name):
        """Return the value that a part gives to a setting."""
        return next(int(m[1]) for _, _, text in self.parts[part] if (m := re.match(rf"{name} = (\d+)", text)))

    def follow(self, project, part):
        for info, names, text in self.parts[part]:
            file = next((name for name in reversed(names) if FILE.fullmatch(name)), "")
            if not info and file != "Procfile":
                for line in text.splitlines():
                    if line.startswith(("flask ", 'python -c "')):
                        project.run("sh", "-c", line)
            elif file == "Procfile":
                before = project.read(file) if "web" not in names else ""
                project.write(file, before + text)
            elif file == "app.json":
                written = re.sub(r'(?m)^  "formation": .*\n', lambda _, text=text: text, project.read(file))
                assert text in written
                project.write(file, written)
            elif file == "main.py":
                line = next(name for name in names if "import " in name)
                project.replace(file, "import config\n", f"{line}\nimport config\n")
                project.replace(file, "    return app\n", f"{text}    return app\n")
            elif text.startswith("    message"):  # the webhook's last line
                project.replace("views.py", "    return {}\n", text)
            elif text.startswith("def upgrade"):
                (newest,) = project.path.glob("migrations/versions/*_queue.py")
                name = newest.relative_to(project.path).as_posix()
                project.replace(name, "def upgrade():\n    pass\n", text)
                project.run("flask", "db", "upgrade")
            elif constant := re.match(r"MAX_CONNECTIONS = (\d+)", text):
                set_constant(project, file, MAX_CONNECTIONS=int(constant[1]))
            elif text.startswith('"""'):
                project.write(file, text)
            else:
                assert file, text
                project.append(file, text if file.startswith(".") else f"\n\n{text}")


def extra_packages():
    """Return the folder of what the page has one add; it is kept between runs."""
    key = sha256(EXTRA.read_bytes() + sys.version.encode()).hexdigest()[:12]
    folder = ROOT / ".cache" / f"moving-on-{key}"
    if not (folder / "ready").exists():
        pip = (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps")
        call(*pip, "--upgrade", "--target", folder, "--requirement", EXTRA, timeout=300)
        (folder / "ready").touch()
    return folder


class Database:
    """A database of its own on the plan of 20 connections, and how many of them are in use."""

    def __init__(self, postgres, name):
        self.postgres, self.name = postgres, name
        postgres.sql(f"CREATE ROLE {name} LOGIN PASSWORD 'pw' CONNECTION LIMIT {PLAN}")
        postgres.sql(f"CREATE DATABASE {name} OWNER {name}")
        self.url = postgres.url(name, "pw", name)

    def sql(self, *statements):
        return self.postgres.sql(*statements, database=self.name)

    @contextmanager
    def counted(self):
        """Yield a function that returns the most connections that were open at once so far, asked 50 times a second."""
        code = (
            "import psycopg, sys, time\n"
            "url, role = sys.argv[1:]\n"
            "query = 'SELECT count(*) FROM pg_stat_activity WHERE usename = %s'\n"
            "with psycopg.connect(url, autocommit=True) as connection:\n"
            "    while True:\n"
            "        print(connection.execute(query, [role]).fetchone()[0], flush=True)\n"
            "        time.sleep(0.02)\n"
        )
        counts = []
        command = ["python", "-c", code, self.postgres.admin_url, self.name]
        environ = self.postgres.project.environ
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environ, encoding="ascii") as process:
            reader = threading.Thread(target=lambda: counts.extend(map(int, process.stdout)), daemon=True)
            reader.start()
            try:
                wait_until(lambda: counts, seconds=10)
                yield lambda: max(counts)
            finally:
                process.kill()
                reader.join()

    @contextmanager
    def locked(self, table, seconds):
        """Let nobody read a table for so long: whoever wants to keeps a connection meanwhile."""
        statements = ("BEGIN", f"LOCK TABLE {table}", f"SELECT pg_sleep({seconds})", "COMMIT")
        thread = threading.Thread(target=self.sql, args=statements)
        thread.start()
        is_locked = f"SELECT 1 FROM pg_locks WHERE relation = '{table}'::regclass AND mode = 'AccessExclusiveLock'"
        wait_until(lambda: self.sql(is_locked), seconds=10)
        yield
        thread.join()


class Place:
    """A fresh project in which the whole page was followed, from its top to its end."""

    def __init__(self, project, language, postgres):
        self.project, self.language = project, language
        self.page = Page(project.read("MOVING-ON.md"))
        assert tuple(self.page.parts) == PARTS
        self.database = Database(postgres, f"place_{language}")
        project.environ = project.environ | {"PYTHONPATH": str(extra_packages()), "DATABASE_URL": self.database.url}
        settings = project.path.parent / f"{language}.gitconfig"
        settings.write_text("[user]\nname = A Student\nemail = student@example.org\n", encoding="utf-8")
        project.environ["GIT_CONFIG_GLOBAL"] = str(settings)
        pins = [line for line in EXTRA.read_text(encoding="utf-8").splitlines() if "==" in line]
        for name in ("requirements.txt", "requirements-test.txt"):
            project.append(name, "".join(f"{pin}\n" for pin in pins))
        project.append("requirements.in", "flask-caching\nprocrastinate\nredis\n")
        for part in ("more", "cache", "queue", "bot", "asked"):
            if part == "asked":
                webhook(project, language)
            self.page.follow(project, part)
        project.commit()

    @property
    def environ(self):
        extra = {"PYTHONPATH": self.project.environ["PYTHONPATH"]}
        return dyno_environ(self.project, self.database.url, **extra)


def webhook(project, language):
    """Follow the recipe of README.md that the page begins from."""
    guide = Guide(project.read("README.md"))
    for _, name, text in guide.steps[WEBHOOK[language]]:
        project.append(name, f"\n\n{text}")


@pytest.fixture(scope="module")
def places(cookies_session, environ):
    """A function: the Place of a language, the same one for all tests here; one PostgreSQL for all of them."""
    found, postgres = {}, []

    def place(language):
        if language not in found:
            result = cookies_session.bake(extra_context={"language": language, "repo_name": f"moving-{language}"})
            project = Project(result.project_path, environ)
            postgres.append(postgres[0] if postgres else Postgres(project))
            found[language] = Place(project, language, postgres[0])
        return found[language]

    yield place
    for server in postgres[:1]:
        server.delete()


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_is_followed_from_its_top_to_its_end(places, language):
    place = places(language)
    project = place.project
    assert "No new upgrade" in project.run("flask", "db", "check").stdout
    test = project.run("python", "-W", "error", "-m", "pytest", "-q", "test/test_jobs.py")
    assert "1 passed" in test.stdout
    report = json.loads(project.run("python", "-m", "doctor", "--json").stdout)
    assert report["findings"] == []
