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
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from copy import copy
from dataclasses import dataclass
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.request import Request, urlopen

import pytest
import trustme
from markdown_it import MarkdownIt

from lab import (
    CSRF_TOKEN,
    ROOT,
    SERVER,
    Postgres,
    Project,
    Server,
    Visitor,
    at_once,
    call,
    dyno_environ,
    free_port,
    memory,
    set_constant,
    start_server,
    stop_server,
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
        """Yield a function that returns the most connections that were open at once so far, asked 20 times a second."""
        code = (
            "import psycopg, sys, time\n"
            "url, role = sys.argv[1:]\n"
            "query = 'SELECT count(*) FROM pg_stat_activity WHERE usename = %s'\n"
            "with psycopg.connect(url, autocommit=True) as connection:\n"
            "    while True:\n"
            "        print(connection.execute(query, [role]).fetchone()[0], flush=True)\n"
            "        time.sleep(0.05)\n"
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
        code = (
            "import psycopg, sys, time\n"
            "url, table, seconds = sys.argv[1:]\n"
            "with psycopg.connect(url) as connection:\n"
            "    connection.execute(f'LOCK TABLE {table}')\n"
            "    print('locked', flush=True)\n"
            "    time.sleep(int(seconds))\n"
        )
        url = self.postgres.admin_url.rpartition("/")[0] + f"/{self.name}"
        command = ["python", "-c", code, url, table, str(seconds)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=self.postgres.project.environ) as process:
            assert process.stdout.readline().strip() == b"locked"
            yield


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

    def as_dyno(self, *command, **environ):
        """Run a command as on a dyno; return its CompletedProcess."""
        return Project(self.project.path, self.environ | environ).run(*command)

    def running(self, type, log, **environ):
        """Run a process of the Procfile as on a dyno, beside the test."""
        command = self.project.commands()[type].split()
        return running(command, log, cwd=self.project.path, env=self.environ | environ)


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

    return place


@contextmanager
def running(command, log, **options):
    """Run a program beside the test; yield its process."""
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output, **options) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("language", ["ru"])  # the code is the same in both: test_files.py
def test_the_page_is_followed_from_its_top_to_its_end(places, language):
    project = places(language).project
    test = project.run("python", "-W", "error", "-m", "pytest", "-q", "test/test_jobs.py")
    assert "1 passed" in test.stdout
    report = json.loads(project.run("python", "-m", "doctor", "--json").stdout)
    assert report["findings"] == []


# --- more dynos ---


@pytest.fixture
def start(serve):
    """A function that starts what a place's Procfile calls web, as a dyno with one process."""

    def start(place, **environ):
        return serve(place.project, *SERVER, environ=place.environ | {"WEB_CONCURRENCY": "1"} | environ)

    return start


def fill(place, *servers, visitors, seconds=2):
    """Have all servers use as many connections as they may: more visitors of each wait for a table."""
    ports, answers = iter([server.port for server in servers] * visitors), []
    with place.database.locked("notes", seconds):
        at_once(lambda: answers.append(Visitor(next(ports)).get().status), visitors * len(servers))
    assert set(answers) == {200}


def test_two_dynos_a_release_and_a_deploy_stay_within_the_plan(places, start, capsys):
    place = places("ru")
    limit = place.page.constant("more", "MAX_CONNECTIONS")
    set_constant(place.project, "config.py", MAX_CONNECTIONS=limit)
    three = re.search(r"heroku config:set WEB_CONCURRENCY=(\d)", place.project.read("MOVING-ON.md"))[1]
    with place.database.counted() as most:
        old = [start(place), start(place)]
        fill(place, *old, visitors=2 * limit)
        pages = most()
        assert pages == 2 * limit
        release = threading.Thread(target=place.as_dyno, args=("flask", "db", "upgrade"))
        release.start()
        fill(place, *old, visitors=2 * limit)
        release.join()
        assert most() == 2 * limit + 1
        for server in old:
            os.killpg(server.process.pid, signal.SIGTERM)
        new = [start(place, WEB_CONCURRENCY=three), start(place)]
        fill(place, *new, visitors=2 * limit)
        assert most() <= PLAN
        used = round(memory(new[0].process.pid))
    assert used < 512
    with capsys.disabled():
        print(
            f"\ntwo dynos: {pages} connections, {most()} with a release and a deploy; {used} MB for {three} processes"
        )


# --- a pooler ---


@contextmanager
def run_pgbouncer(database, folder, size):
    """Run PgBouncer in front of a database, in transaction mode; yield the address that the app gets."""
    if not (program := shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")):
        pytest.skip("no pgbouncer on this machine")
    host, _, port = database.postgres.address.partition(":")
    own = free_port()
    users, settings = folder / "users.txt", folder / "pgbouncer.ini"
    users.write_text(f'"{database.name}" "pw"\n', encoding="utf-8")
    lines = ["[databases]", f"{database.name} = host={host} port={port}", "[pgbouncer]", "unix_socket_dir ="]
    lines += ["listen_addr = 127.0.0.1", f"listen_port = {own}", "auth_type = plain", f"auth_file = {users}"]
    lines += ["pool_mode = transaction", f"default_pool_size = {size}"]
    if os.getuid() == 0:  # root may not run it
        lines.append("user = nobody")
        for parent in (folder, *folder.parents):
            parent.chmod(parent.stat().st_mode | 0o111)
    settings.write_text("\n".join(lines), encoding="utf-8")
    with running([program, settings], folder / "pgbouncer.log"):
        yield f"postgres://{database.name}:pw@127.0.0.1:{own}/{database.name}?sslmode=disable"


def test_behind_a_pooler_few_connections_serve_many_and_queries_keep_their_limit(places, start, tmp_path, capsys):
    place = places("ru")
    limit, attach = map(shlex.split, place.page.commands("pooling"))
    connect = f"psycopg.connect({place.database.url!r}, autocommit=True)"
    place.project.python(f"import psycopg; {connect}.execute({limit[-1]!r})")
    set_constant(place.project, "config.py", MAX_CONNECTIONS=30)
    with run_pgbouncer(place.database, tmp_path, size=5) as url, place.database.counted() as most:
        pooled = {f"{attach[-1]}_URL": url}
        place.as_dyno("flask", "db", "upgrade", **pooled)
        server = start(place, **pooled)
        fill(place, server, visitors=30)
        assert 2 <= most() <= 5
        with place.database.locked("notes", 8):
            began = time.monotonic()
            assert server.get().status == 503
            waited = time.monotonic() - began
        assert 3.5 < waited < 8
        assert "statement timeout" in server.log()
        # The worker as well, as the end of its section says.
        place.project.replace("jobs.py", "wait=not once,\n", "wait=not once,\n                listen_notify=False,\n")
        token = CSRF_TOKEN.search(server.get().text)[1]
        assert server.get("/reports", {"name": "Ada", "csrf_token": token}).status == 202
        assert "отчёт для Ada" in place.as_dyno("flask", "worker", "--once", **pooled).stdout
        server.stop()
    with capsys.disabled():
        print(f"\npooler: {most()} connections for 30 visitors at once; a query was stopped after {waited:.1f} s")


# --- a cache, a queue, a webhook: one web process has them all ---


@contextmanager
def run_redis(folder):
    """Run Redis as Heroku does, with TLS and a certificate that nobody vouches for; yield its address."""
    if not (program := shutil.which("redis-server")):
        pytest.skip("no redis-server on this machine")
    port, authority = free_port(), trustme.CA()
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(folder / "redis.pem")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    options = {"bind": "127.0.0.1", "port": 0, "tls-port": port, "requirepass": "pw", "save": "", "dir": folder}
    options |= {"tls-cert-file": "redis.pem", "tls-key-file": "redis.pem", "tls-ca-cert-file": "ca.pem"}
    options["tls-auth-clients"] = "no"
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    log = folder / "redis.log"
    with running([program, *words], log, cwd=folder):
        wait_until(lambda: b"Ready to accept" in log.read_bytes(), seconds=10)
        yield f"rediss://:pw@127.0.0.1:{port}"


class Telegram:
    """A stand-in for the service, as https://core.telegram.org/bots/api (November 2026) describes what the bots ask."""

    TOKEN = "123:a-token"
    METHODS = ("setWebhook", "deleteWebhook", "sendMessage", "getUpdates")

    def __init__(self):
        self.waiting, self.said, self.hook = [], [], None
        self.lock, self.asked, self.next_id = threading.Condition(), 0, 1000
        telegram = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                values = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                _, token, method = self.path.split("/")
                known = token == f"bot{telegram.TOKEN}" and method in telegram.METHODS
                status, result = getattr(telegram, method)(**values) if known else (404, "Not Found")
                body = json.dumps({"ok": status == 200, "result": result}).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.environ = {"TELEGRAM_API": f"http://127.0.0.1:{self.server.server_port}", "TELEGRAM_TOKEN": self.TOKEN}

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()

    # What a bot asks.

    def setWebhook(self, url, secret_token):
        self.hook = url, secret_token
        return 200, True

    def deleteWebhook(self):
        self.hook = None
        return 200, True

    def sendMessage(self, chat_id, text):
        self.said.append((chat_id, text))
        return 200, {}

    def getUpdates(self, offset=0, limit=100, timeout=0):
        with self.lock:
            if self.hook:
                return 409, "Conflict: can't use getUpdates method while webhook is active"
            self.asked = mine = self.asked + 1
            self.lock.notify_all()
            self.waiting = [update for update in self.waiting if update["update_id"] >= offset]
            # Two seconds stand for the twenty that a test has no time for.
            self.lock.wait_for(lambda: self.waiting or self.asked != mine, timeout=min(timeout, 2))
            if self.asked != mine:
                return 409, "Conflict: terminated by other getUpdates request"
            return 200, self.waiting[:limit]

    # What a person does.

    def write(self, **message):
        """Send a message to the bot."""
        with self.lock:
            self.next_id += 1
            chat = {"id": 7, "type": "private"}
            update = {"update_id": self.next_id, "message": {"message_id": 1, "date": 1, "chat": chat} | message}
            if not self.hook:
                self.waiting.append(update)
                self.lock.notify_all()
                return
        url, secret = self.hook
        headers = {"Content-Type": "application/json", "X-Telegram-Bot-Api-Secret-Token": secret}
        headers["X-Forwarded-Proto"] = "https"  # what the platform's router adds
        with urlopen(Request(url, json.dumps(update).encode(), headers), timeout=10) as answer:
            values = json.load(answer)
        if values:
            getattr(self, values.pop("method"))(**values)


@dataclass
class Together:
    """A place whose web process runs, with the Redis and the Telegram that it knows."""

    place: Place
    server: Server
    telegram: Telegram
    redis: str
    stop_redis: Callable


@pytest.fixture(scope="module")
def together(places, tmp_path_factory):
    place, folder = places("en"), tmp_path_factory.mktemp("together")
    set_constant(place.project, "config.py", MAX_CONNECTIONS=place.page.constant("queue", "MAX_CONNECTIONS"))
    with ExitStack() as stack, Telegram() as telegram:
        redis = stack.enter_context(run_redis(folder))
        environ = place.environ | telegram.environ | {"REDIS_URL": redis, "TELEGRAM_SECRET": "a_secret"}
        server = start_server(place.project, SERVER, folder / "web.log", environ)
        yield Together(place, server, telegram, redis, stack.close)
        stop_server(server)


def test_a_worker_does_the_jobs_while_pages_are_asked_for(together, tmp_path, capsys):
    place, server, statuses = together.place, together.server, []

    def visit():
        visitor = Visitor(server.port)
        token = CSRF_TOKEN.search(visitor.get().text)[1]
        for number in range(20):
            data = {"name": f"visitor {number}", "csrf_token": token} if number % 2 else None
            statuses.append(visitor.get("/reports" if data else "/", data).status)

    log, waiting = tmp_path / "worker.log", "SELECT count(*) FROM procrastinate_jobs"
    with place.database.counted() as most, place.running("worker", log) as worker:
        at_once(visit, 14)
        fill(place, server, visitors=20)
        assert sorted(statuses) == [200] * 140 + [202] * 140
        wait_until(lambda: place.database.sql(waiting) == [[0]], seconds=30)
        place.as_dyno("flask", "db", "upgrade")
        worker.terminate()
        assert worker.wait(timeout=30) == 0
    assert len(re.findall(r"a report for visitor \d+\n", log.read_text(encoding="utf-8"))) == 140
    assert most() <= 10 + 3 + 1
    with capsys.disabled():
        print(f"\nqueue: {len(statuses)} requests answered, 140 jobs done, {most()} connections")


def test_a_bot_that_is_asked_answers_through_its_webhook(together):
    place, telegram = together.place, together.telegram
    address = f"http://127.0.0.1:{together.server.port}"
    (line,) = place.page.commands("asked")
    line = line.replace("https://ADDRESS", address).replace("SECRET", "a_secret")
    place.project.run("sh", "-c", line, **telegram.environ)
    assert telegram.hook == (f"{address}/telegram", "a_secret")
    telegram.write(text="привет")
    telegram.write(photo=[])
    assert telegram.said == [(7, SAID[place.language] + "привет")]
    place.project.run("python", "bot_api.py", "deleteWebhook", **telegram.environ)
    assert telegram.hook is None


def test_a_result_is_kept_for_all_processes_and_for_the_browser_and_no_form_is(together):
    place, server = together.place, together.server

    def size():
        answer = server.get("/size")
        assert answer.status == 200
        assert answer.headers["Cache-Control"] == "public, max-age=60"
        assert {"Set-Cookie", "Vary"}.isdisjoint(answer.headers)
        return json.loads(answer.text)["size"]

    form = Visitor(server.port).get()
    assert CSRF_TOKEN.search(form.text)
    assert "Set-Cookie" in form.headers
    assert "Cache-Control" not in form.headers
    before = size()
    place.database.sql("CREATE TABLE large AS SELECT generate_series(1, 50000)")
    assert [size() for _ in range(20)] == [before] * 20  # two processes
    place.project.python(f"import redis; redis.from_url({together.redis!r}, ssl_cert_reqs=None).flushall()")
    after = size()
    assert after != before
    together.stop_redis()
    place.database.sql("DROP TABLE large", "CREATE TABLE larger AS SELECT generate_series(1, 100000)")
    assert size() not in (before, after)
    assert "cache backend" in server.log()
    place.database.sql("DROP TABLE larger")


def test_a_deleted_model_s_table_is_dropped_and_the_queue_s_tables_stay(places):
    project = places("en").project
    checked = project.python(
        "import flask_migrate, main\n"
        "from database import db\n"
        "from deploy.database import add_migrations\n"
        "app = main.init_app()\n"
        "add_migrations(app)\n"
        "with app.app_context():\n"
        "    flask_migrate.check()\n"
        "    db.metadata.remove(db.metadata.tables['notes'])  # as if models.py had it no more\n"
        "    flask_migrate.migrate(message='without notes')\n"
    )
    (newest,) = project.path.glob("migrations/versions/*without_notes.py")
    steps = newest.read_text(encoding="utf-8").partition("def downgrade")[0]
    newest.unlink()
    assert "No new upgrade operations" in checked
    assert "op.drop_table('notes')" in steps
    assert "procrastinate" not in steps


def test_a_bot_that_asks_gets_over_a_deploy_and_ends_at_sigterm_with_nothing_left(places, tmp_path, capsys):
    place = copy(places("ru"))
    place.project = Project(tmp_path / "asks", place.project.environ)
    shutil.copytree(places("ru").project.path, place.project.path)
    place.page.follow(place.project, "asks")
    place.project.commit()
    report = json.loads(place.project.run("python", "-m", "doctor", "--json").stdout)
    assert report["findings"] == []
    assert set(place.project.commands()) == {"worker", "release"}

    with Telegram() as telegram, place.running("worker", tmp_path / "old.log", **telegram.environ) as old:
        telegram.write(text="раз")
        wait_until(lambda: telegram.said, seconds=20)
        # A deploy: the new one begins while the old one still asks.
        with place.running("worker", tmp_path / "new.log", **telegram.environ) as new:
            began = telegram.asked
            wait_until(lambda: telegram.asked > began + 2, seconds=20)
            old.terminate()
            assert old.wait(timeout=20) == 0
            telegram.write(sticker={})
            for word in ("два", "три"):
                telegram.write(text=word)
            wait_until(lambda: len(telegram.said) == 3, seconds=30)
            began = time.monotonic()
            new.terminate()
            assert new.wait(timeout=20) == 0
            seconds = time.monotonic() - began
    assert telegram.said == [(7, f"{SAID[place.language]}{word}") for word in ("раз", "два", "три")]
    assert telegram.waiting == []  # the next start does not get them again
    with capsys.disabled():
        print(f"\nbot: ended {seconds:.1f} s after SIGTERM; each of its questions is held for 2 s here, for 20 there")
