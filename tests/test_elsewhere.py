"""ELSEWHERE.md: its files and commands are taken from its text and used, with the real nginx and PostgreSQL.

Followed word for word, with systemd, on Debian 12 in November 2026. Here the files lie below a folder of the test's, and
what needs a machine of its own (packages, users, systemd, certificate, firewall) is left out.
"""

import contextlib
import getpass
import http.client
import os
import re
import secrets
import shlex
import shutil
import signal
import socket
import ssl
import subprocess
import time
from base64 import b64encode
from pathlib import Path

import jsonschema
import pytest
import trustme
import yaml
from markdown_it import MarkdownIt

from lab import CSRF_TOKEN, GIT, LANGUAGES, bake_into, call, free_port, merged, start_server, wait_until

pytestmark = pytest.mark.slow

SERVERS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))  # Debian's and Ubuntu's
NGINX = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
on_a_server = pytest.mark.skipif(not (SERVERS and NGINX), reason="nginx and the system's PostgreSQL are not installed")
ON_THE_MACHINE = {"apt", "adduser", "systemctl", "certbot", "ufw", "python3", "venv/bin/pip"}
SEEN = """

@bp.get("/seen")
def seen():
    return f"{request.remote_addr} {request.url}"
"""


class Page:
    """What ELSEWHERE.md has one write and type: (number of the step, kind, file, text), in its order."""

    def __init__(self, text):
        self.blocks = []
        step, file = 0, ""
        for token in MarkdownIt("commonmark").parse(text):
            if token.type == "heading_open":
                step = 0
            elif token.type == "inline":
                number = re.match(r"\*\*(\d+)\. ", token.content)
                step = int(number[1]) if number else step
                codes = [child.content for child in token.children if child.type == "code_inline"]
                found = [name[1] for code in codes if (name := re.search(r"(/etc/\S+|^\w+\.yaml)$", code))]
                file = found[-1] if found else file
            elif token.type == "fence":
                self.blocks.append((step, token.info, file, token.content))

    def file(self, name):
        """Return what is written into a file first."""
        return next(text for _, kind, file, text in self.blocks if kind and file == name)


def without_comments(blocks):
    return [(step, kind, file, re.sub(r"(?m)^\s*#.*\n", "", text)) for step, kind, file, text in blocks]


def test_both_languages_have_one_write_and_type_the_same(baked):
    pages = [Page(baked(language=language).read("ELSEWHERE.md")) for language in LANGUAGES]
    assert len(pages[0].blocks) > 20
    for page in pages[1:]:
        assert without_comments(page.blocks) == without_comments(pages[0].blocks)


class Machine:
    """A folder in place of /, in which the page is followed, and Debian's PostgreSQL in it."""

    def __init__(self, root, project, packages):
        self.root, self.name = root, project.path.name
        self.github, self.page = project, Page(project.read("ELSEWHERE.md"))
        self.ports = {"80": free_port(), "443": free_port(), "5000": free_port()}
        for folder in ("srv", "etc/systemd/system", "etc/nginx/sites-available", "etc/nginx/sites-enabled"):
            (root / folder).mkdir(parents=True)
        (root / f"srv/{self.name}").mkdir()
        (root / f"srv/{self.name}/venv").symlink_to(packages.parent)
        settings = root / "gitconfig"
        address = re.search(r"https://github.com/\S+", self.text())[0]
        settings.write_text(f'[url "{project.path}"]\n\tinsteadOf = {address}\n', encoding="utf-8")
        self.environ = {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": str(settings), "PGPORT": str(free_port())}
        self.start_postgres()

    def text(self):
        return "".join(text for *_, text in self.page.blocks)

    def start_postgres(self):
        """As the package sets it up: who comes by the socket is asked by the system who they are."""
        data, sockets = self.root / "data", self.root / "var/run/postgresql"
        sockets.mkdir(parents=True)
        data.mkdir()
        as_postgres = []
        if os.getuid() == 0:
            as_postgres = [shutil.which("runuser") or "/usr/sbin/runuser", "-u", "postgres", "--"]
            for folder in (data, sockets):
                shutil.chown(folder, "postgres")
        call(*as_postgres, SERVERS[-1] / "initdb", "-D", data, "-U", "postgres", "--no-sync", cwd="/")
        me = getpass.getuser()
        hba = "local all all peer map=test\nhost all all 127.0.0.1/32 scram-sha-256\n"
        for name, text in (
            ("pg_hba.conf", hba),
            ("pg_ident.conf", f"test {me} postgres\ntest {me} {self.name}\n"),
            ("postgresql.auto.conf", f"unix_socket_directories = '{sockets}'\nfsync = off\n"),
        ):
            (data / name).write_text(text, encoding="utf-8")
        options = f"-p {self.environ['PGPORT']} -c listen_addresses=127.0.0.1"
        control = [*as_postgres, SERVERS[-1] / "pg_ctl", "-D", data, "-w"]
        call(*control, "-l", sockets / "log", "-o", options, "start", cwd="/")
        self.stop = lambda: call(*control, "-m", "immediate", "stop", cwd="/")
        self.environ["PGHOST"] = str(sockets)

    def here(self, text):
        """Return a text of the page with the paths and ports of this folder."""
        text = re.sub(r"(?<![\w.])/(srv|etc|var)/", rf"{self.root}/\1/", text)
        return re.sub(r"(?<=listen )80|(?<=\[::\]:)80|443|\b5000\b", lambda port: str(self.ports[port[0]]), text)

    def write(self, file, text):
        """Write a file, or what goes below its lines."""
        with (self.root / file.lstrip("/")).open("a", encoding="utf-8") as target:
            target.write(self.here(text))

    def type(self, line, check=True):
        """Type a line of the page as it stands, but for what needs a machine of its own."""
        line = self.here(line)
        user = re.search(r"sudo -u (\S+)", line)
        line = re.sub(r"\bsudo (-u \S+ )?", "", line)
        program = line.split()[0].replace(f"{self.root}/srv/{self.name}/", "")
        if program in ON_THE_MACHINE and "SECRET_KEY" not in line:
            return None
        line = line.replace("nginx -t", f"{NGINX} -t -q -c {self.nginx_conf()} -e {self.root}/error.log")
        return call("sh", "-c", line, check=check, cwd=self.root, env=self.user(user and user[1]))

    def user(self, name):
        return merged(self.environ, {"PGUSER": name or "postgres"})

    def follow(self, step):
        for number, kind, file, text in self.page.blocks:
            if number == step and kind:
                self.write(file, text)
            elif number == step:
                for line in text.splitlines():
                    self.type(line)

    def unit(self, file):
        """Return {key: [values]} of a file of systemd."""
        found = {}
        for line in (self.root / "etc/systemd/system" / file).read_text(encoding="utf-8").splitlines():
            key, sign, value = line.partition("=")
            if sign and not line.startswith("#"):
                found.setdefault(key, []).append(value.replace("%%", "%"))
        return found

    def settings(self, unit):
        """Return the environment that systemd gives a service: its file, and a PATH of its own."""
        (file,) = unit["EnvironmentFile"]
        lines = Path(file).read_text(encoding="utf-8").splitlines()
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        return {"PATH": path, "PGPORT": self.environ["PGPORT"]} | dict(line.split("=", 1) for line in lines)

    def nginx_conf(self):
        """Return the file of nginx's own settings: as Debian's it compresses pages, and reads the sites."""
        folders = {
            f"{name}_temp_path": f"{self.root}/{name}" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        }
        lines = [f"{name} {folder};" for name, folder in folders.items()]
        lines += ["gzip on;", f"access_log {self.root}/access.log;", f"include {self.root}/etc/nginx/sites-enabled/*;"]
        user = "user root;" if os.getuid() == 0 else ""
        text = f"{user} pid {self.root}/nginx.pid; error_log {self.root}/error.log;\n"
        text += "events {}\nhttp {\n" + "\n".join(lines) + "\n}\n"
        file = self.root / "nginx.conf"
        file.write_text(text, encoding="utf-8")
        return file

    def database(self, name):
        """Make a database with a user of its own, as a platform does; return its address."""
        password = secrets.token_hex(8)
        for statement in (f"CREATE ROLE {name} LOGIN PASSWORD '{password}'", f"CREATE DATABASE {name} OWNER {name}"):
            call("psql", "-qc", statement, env=self.user("postgres"))
        return f"postgresql://{name}:{password}@127.0.0.1:{self.environ['PGPORT']}/{name}"


@pytest.fixture(scope="module")
def machine(tmp_path_factory, environ, packages, database_folder):
    project = bake_into(tmp_path_factory.mktemp("github"), environ, "my-notes", language="en")
    project.append("views.py", SEEN)
    project.commit()
    machine = Machine(database_folder / "elsewhere", project, packages)
    yield machine
    machine.stop()


@contextlib.contextmanager
def running(command, environ, folder, log, port):
    """Run a web process as its platform starts it; all its processes are stopped as systemd and Docker do it."""
    project = type("Folder", (), {"path": folder, "environ": environ})
    server = start_server(project, command, log, port=port)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.stop()


@pytest.fixture(scope="module")
def site(machine, tmp_path_factory):
    """The server of one's own, with steps 1 to 7 behind it; its certificate is the test's."""
    for step in range(1, 8):
        if step == 7:
            domain = f"{machine.name}.example.org"
            authority = trustme.CA()
            certificate = authority.issue_cert(domain)
            folder = machine.root / f"etc/letsencrypt/live/{domain}"
            folder.mkdir(parents=True)
            certificate.private_key_pem.write_to_path(folder / "privkey.pem")
            certificate.cert_chain_pems[0].write_to_path(folder / "fullchain.pem")
        machine.follow(step)
    machine.domain, machine.trusted = domain, ssl.create_default_context()
    authority.configure_trust(machine.trusted)
    unit = machine.unit(f"{machine.name}.service")
    environ, (folder,) = machine.settings(unit), unit["WorkingDirectory"]
    for line in unit["ExecStartPre"]:
        call(*shlex.split(line), cwd=folder, env=environ)
    (command,) = unit["ExecStart"]
    log = tmp_path_factory.mktemp("site") / "log"
    with running(shlex.split(command), environ, folder, log, machine.ports["5000"]) as machine.server:
        nginx = subprocess.Popen(
            [NGINX, "-c", machine.nginx_conf(), "-e", machine.root / "error.log", "-g", "daemon off;"]
        )
        yield machine
        nginx.terminate()
        nginx.wait(timeout=30)


def visit(site, path="/", data=None, secure=True, **headers):
    """Come from 127.0.0.2 through nginx; return the answer, read."""
    port = site.ports["443" if secure else "80"]

    def connected():
        with contextlib.suppress(ConnectionRefusedError):  # nginx has just been started
            return socket.create_connection(("127.0.0.1", port), timeout=10, source_address=("127.0.0.2", 0))

    connection = http.client.HTTPConnection(site.domain)
    connection.sock = wait_until(connected, seconds=10)
    if secure:
        connection.sock = site.trusted.wrap_socket(connection.sock, server_hostname=site.domain)
    connection.request("POST" if data else "GET", path, body=data, headers=headers)
    answer = connection.getresponse()
    answer.text = answer.read().decode()
    connection.close()
    return answer


@on_a_server
def test_nginx_hands_on_who_comes_and_how(site):
    plain = visit(site, "/?q=a", secure=False)
    assert (plain.status, plain.headers["Location"]) == (308, f"https://{site.domain}/?q=a")
    forged = {"X-Real-IP": "6.6.6.6", "X-Forwarded-For": "6.6.6.6", "X-Forwarded-Proto": "http"}
    assert visit(site, "/seen", **forged).text == f"127.0.0.2 https://{site.domain}/seen"
    page = visit(site, **{"Accept-Encoding": "gzip"})
    assert page.status == 200
    assert page.headers["Content-Encoding"] is None
    assert "Secure" in page.headers["Set-Cookie"]
    assert f"[{page.headers['X-Request-Id']}] request: GET / 200" in site.server.log()
    with pytest.raises(ConnectionRefusedError):  # nobody comes in beside nginx
        socket.create_connection(("127.0.0.2", site.ports["5000"]), timeout=5)


def add(site, note):
    """Add a note as a browser does; return the answer to it."""
    page = visit(site)
    cookie, token = page.headers["Set-Cookie"].partition(";")[0], CSRF_TOKEN.search(page.text)[1]
    form = {"Content-Type": "application/x-www-form-urlencoded", "Origin": f"https://{site.domain}", "Cookie": cookie}
    return visit(site, data=f"body={note}&csrf_token={token}", **form)


@on_a_server
def test_forms_come_through_and_nothing_too_long(site):
    assert add(site, "hello").status in (302, 303)
    assert "hello" in visit(site).text
    assert 'id="reason"' in add(site, "a" * 100_000).text  # the app's own page, not nginx's
    assert add(site, "a" * 2_000_000).status == 413
    in_bytes = int(re.search(r"client_max_body_size (\d)m;", site.text())[1]) * 1024**2
    most = re.search(r"MAX_CONTENT_LENGTH = (\d+) \* 1024", site.github.read("config.py"))[1]
    assert int(most) * 1024 <= in_bytes


@on_a_server
def test_the_settings_are_root_s_alone(site):
    file = site.root / f"etc/{site.name}.env"
    assert file.stat().st_mode & 0o777 == 0o600
    assert re.search(r"^SECRET_KEY=[0-9a-f]{64}$", file.read_text(encoding="utf-8"), re.MULTILINE)


@on_a_server
def test_a_backup_brings_back_what_was_there(site):
    commands = [text for step, kind, _, text in site.page.blocks if step == 9 and not kind]
    for step, kind, file, text in site.page.blocks:
        if step == 9 and kind:
            site.write(file, text)
    unit = site.unit(f"{site.name}-backup.service")
    (folder,), (state,) = unit["WorkingDirectory"], unit["StateDirectory"]
    assert folder == f"{site.root}/var/lib/{state}"
    Path(folder).mkdir(parents=True)
    old = Path(folder) / "2020-01-01.dump"
    old.touch()
    os.utime(old, (0, time.time() - 16 * 86400))
    for line in unit["ExecStart"] + unit["ExecStartPost"]:
        call(*shlex.split(line), cwd=folder, env=site.user(site.name))
    (dump,) = Path(folder).iterdir()
    begin, restore = commands
    assert dump.name in [site.type(line) for line in begin.splitlines()][-1].stdout

    call("psql", "-qc", "TRUNCATE notes", site.name, env=site.user("postgres"))
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
    call("psql", "-qc", f"{end} AND pid <> pg_backend_pid()", site.name, env=site.user("postgres"))  # as the stop does
    for line in restore.replace("DATE.dump", dump.name).splitlines():
        site.type(line)
    assert "hello" in visit(site).text
    (drop,) = re.findall(r"`(sudo -u postgres dropdb .+)`", site.github.read("ELSEWHERE.md"))
    site.type(drop)  # fails where it is not there


@on_a_server
def test_a_new_version_comes_and_the_one_before_comes_back(site):
    code = site.root / f"srv/{site.name}/app"
    before = call("git", "rev-parse", "HEAD", cwd=code).stdout
    site.github.append("views.py", "\n# newer\n")
    site.github.run(*GIT, "commit", "--quiet", "--all", "--message", "newer")
    update, back = [text for step, _, _, text in site.page.blocks if step == 10]
    for line in update.splitlines():
        site.type(line)
    assert "# newer" in (code / "views.py").read_text(encoding="utf-8")
    site.type(back)
    assert call("git", "rev-parse", "HEAD", cwd=code).stdout == before


@on_a_server
@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
def test_systemd_finds_no_fault(site, tmp_path):
    for _, kind, file, text in site.page.blocks:
        if kind and file.startswith("/etc/systemd"):
            (tmp_path / Path(file).name).write_text(site.here(text), encoding="utf-8")
    units = sorted(tmp_path.iterdir())
    assert [unit.suffix for unit in units] == [".service", ".timer", ".service"]
    result = call("systemd-analyze", "verify", "--man=no", *units, check=False)
    ours = [line for line in result.stderr.splitlines() if site.name in line]
    assert (result.returncode, ours) == (0, [])


@on_a_server
def test_it_stops_before_systemd_loses_patience(site):
    (patience,) = site.unit(f"{site.name}.service")["TimeoutStopSec"]
    server = site.github.read("deploy/server.py")
    kill, linger = (int(re.search(rf"{name} ?= ?(\d+)", server)[1]) for name in ("workers_kill_timeout", "LINGER"))
    assert kill + linger < int(patience)
    assert site.server.stop() == 0


# The fields that we use, as the platforms document them: render.com/docs/blueprint-spec and
# docs.amvera.ru/applications/configuration (November 2026).
TEXT = {"type": "string", "minLength": 1}


def only(required, optional=()):
    """Return the schema of a mapping with these keys and no others."""
    properties = dict(required) | dict(optional)
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


FROM_DATABASE = only({"name": TEXT, "property": {"enum": ["connectionString", "host", "port", "user", "password"]}})
VARIABLE = {
    "oneOf": [
        only({"key": TEXT, "value": TEXT}),
        only({"key": TEXT, "generateValue": {"const": True}}),
        only({"key": TEXT, "fromDatabase": FROM_DATABASE}),
    ]
}
REGION = {"enum": ["oregon", "ohio", "virginia", "frankfurt", "singapore"]}
SERVICE = only(
    {
        "type": {"enum": ["web", "pserv", "worker", "cron"]},
        "name": TEXT,
        "runtime": {"enum": ["python", "docker"]},
        "plan": {"enum": ["free", "starter", "standard"]},
        "buildCommand": TEXT,
        "startCommand": TEXT,
    },
    {
        "region": REGION,
        "autoDeployTrigger": {"enum": ["commit", "checksPass", "off"]},
        "preDeployCommand": TEXT,
        "healthCheckPath": {"type": "string", "pattern": "^/"},
        "envVars": {"type": "array", "items": VARIABLE},
    },
)
DATABASE = only(
    {"name": TEXT, "plan": {"enum": ["free", "basic-256mb"]}}, {"region": REGION, "ipAllowList": {"type": "array"}}
)
RENDER = only({"services": {"type": "array", "items": SERVICE}, "databases": {"type": "array", "items": DATABASE}})
PORT = {"type": "integer", "minimum": 1, "maximum": 65535}
AMVERA = only(
    {
        "meta": only(
            {"environment": {"const": "python"}, "toolchain": only({"name": {"const": "pip"}}, {"version": {}})}
        ),
        "run": only({"command": TEXT}, {"containerPort": PORT, "persistenceMount": TEXT}),
    },
    {"build": only({"requirementsPath": TEXT})},
)


@pytest.fixture
def on_a_platform(machine, tmp_path):
    """A function: run commands of a platform in the project as it has it, the last one being the web process."""

    def on_a_platform(name, *commands, **marks):
        port = free_port()
        environ = {"PATH": f"{machine.github.environ['PATH']}", "PYTHONDONTWRITEBYTECODE": "1", "PORT": str(port)}
        environ |= {"SECRET_KEY": b64encode(secrets.token_bytes(32)).decode(), "DATABASE_URL": machine.database(name)}
        folder = tmp_path / "app"
        call("git", "clone", "--quiet", machine.github.path, folder)
        for command in commands[:-1]:
            call("sh", "-c", command, cwd=folder, env=environ | marks)
        return running(shlex.split(commands[-1]), environ | marks, folder, tmp_path / "log", port)

    return on_a_platform


def works(server, path="/healthz"):
    """Its pages are there, for https, and one signal to the first process ends it with all others."""
    assert server.get(path).text.strip() == '{"database":"ok"}'
    page = server.get("/")
    assert page.status == 200
    assert "Secure" in page.headers["Set-Cookie"]
    os.kill(server.process.pid, signal.SIGTERM)
    assert server.process.wait(timeout=30) in (0, -signal.SIGTERM)


@on_a_server
def test_render_reads_its_file(machine, on_a_platform):
    blueprint = yaml.safe_load(machine.page.file("render.yaml"))
    jsonschema.validate(blueprint, RENDER)
    (service,), (database,) = blueprint["services"], blueprint["databases"]
    variables = {variable.pop("key"): variable for variable in service["envVars"]}
    assert variables["SECRET_KEY"] == {"generateValue": True}
    assert variables["DATABASE_URL"]["fromDatabase"]["name"] == database["name"]
    assert service["region"] == database["region"]  # or the inner address does not lead there

    paid = [text for _, kind, file, text in machine.page.blocks if kind == "yaml" and file == "render.yaml"][1]
    jsonschema.validate(service | {"envVars": [], "plan": "starter"} | yaml.safe_load(paid), SERVICE)
    migration = machine.github.commands()["release"]
    assert yaml.safe_load(paid)["preDeployCommand"] == migration
    assert service["buildCommand"] == f"{yaml.safe_load(paid)['buildCommand']} && {migration}"

    marks = {"RENDER": "true", "RENDER_SERVICE_TYPE": "web", "WEB_CONCURRENCY": "1", "PYTHON_VERSION": "3.14.3"}
    with on_a_platform("render", service["buildCommand"], service["startCommand"], **marks) as server:
        works(server, service["healthCheckPath"])


@on_a_server
def test_amvera_reads_its_file(machine, on_a_platform):
    settings = yaml.safe_load(machine.page.file("amvera.yaml"))
    jsonschema.validate(settings, AMVERA)
    assert (machine.github.path / settings["build"]["requirementsPath"]).exists()
    # A shell runs it: docs.amvera.ru/applications/configuration/heroku-migration.html joins two commands with &&.
    command = shlex.join(["sh", "-c", settings["run"]["command"]])
    with on_a_platform("amvera", command, AMVERA="1") as server:
        works(server)


@on_a_server
def test_timeweb_starts_it(machine, on_a_platform):
    (command,) = (text for _, kind, _, text in machine.page.blocks if kind == "sh")
    with on_a_platform("timeweb", command) as server:
        works(server)


def test_the_doctor_has_nothing_against_the_files_of_other_platforms(bake, diagnose):
    project = bake(language="en")
    for name in ("render.yaml", "amvera.yaml"):
        project.write(name, Page(project.read("ELSEWHERE.md")).file(name))
    project.commit()
    assert diagnose(project.path) == (0, diagnose(project.path)[1] | {"findings": []})
