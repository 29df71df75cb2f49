"""The doctor before repositories that mean harm: it runs nothing of them, and ends soon, in little memory."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Timer

import pytest

from lab import bake_into

# What any look at a repository may take: the doctor's own 30 seconds, and Python's start and end on a busy machine.
SECONDS, MEMORY = 30 + 2, 300  # MB
# Linux counts what a process's parent had in memory as its own, so the parent is a small one.
MEASURE = """
import resource, subprocess, sys
status = subprocess.call(sys.argv[2:])
open(sys.argv[1], "w").write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
sys.exit(status)
"""
GIT = ["git", "-c", "user.name=T", "-c", "user.email=t@example.com", "-c", "init.defaultBranch=main"]
FILES = {
    "app.py": "from flask import Flask\n\napp = Flask(__name__)\n",
    "Procfile": "web: gunicorn app:app\n",
    "requirements.txt": "flask\ngunicorn\n",
    ".python-version": "3.13\n",
}


@dataclass
class Answer:
    """What the doctor has said of a repository, and what that took."""

    status: int
    output: str
    errors: str
    seconds: float
    megabytes: float

    @property
    def ids(self):
        return {finding["id"] for finding in json.loads(self.output)["findings"]}


@pytest.fixture(scope="module")
def doctor(tmp_path_factory, environ):
    """A function that asks the doctor of a baked project about a folder, as a teacher does."""
    project = bake_into(tmp_path_factory.mktemp("doctor"), environ, "app")

    memory = tmp_path_factory.mktemp("memory") / "kilobytes"

    def ask(root, *arguments, encoding="utf-8", **variables):
        command = [sys.executable, "-m", "doctor", "--root", str(root), *(arguments or ["--json"])]
        started = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-c", MEASURE, memory, *command],
            cwd=project.path,
            env=os.environ | {"PYTHONIOENCODING": encoding} | variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        end = Timer(3 * SECONDS, os.killpg, (process.pid, signal.SIGKILL))
        end.start()
        with ThreadPoolExecutor() as pool:  # both at once, or a full pipe would hold it up
            output, errors = pool.map(lambda stream: stream.read(), (process.stdout, process.stderr))
        process.wait()
        end.cancel()
        seconds = time.monotonic() - started
        words = [text.decode(encoding, "strict") for text in (output, errors)]
        return Answer(process.returncode, *words, seconds, int(memory.read_text()) / 1000)

    ask.project = project
    return ask


class Hostile:
    """A repository with an app in it. marker: exists once something of the repository has run."""

    def __init__(self, path):
        self.path, self.marker = path, path.parent / "it-ran"
        self.program = path.parent / "program"
        self.program.write_text(f"#!/bin/sh\ntouch '{self.marker}'\ncat\n", encoding="utf-8")
        self.program.chmod(0o755)
        path.mkdir()
        for name, text in FILES.items():
            self.write(name, text)
        self.git("init", "-q", "--template=")
        self.commit()

    def write(self, name, text):
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text if isinstance(text, bytes) else text.encode())

    def git(self, *arguments, given=b"", cwd=None):
        result = subprocess.run([*GIT, *arguments], cwd=cwd or self.path, input=given, capture_output=True, check=False)
        assert result.returncode == 0, result.stderr
        return result.stdout.strip().decode()

    def commit(self):
        self.git("add", "--all", "--force")
        self.git("commit", "-q", "-m", "x")

    def config(self, text):
        with (self.path / ".git" / "config").open("a", encoding="utf-8") as file:
            file.write(text.format(program=self.program, folder=self.path.parent))


@pytest.fixture
def hostile(tmp_path):
    return Hostile(tmp_path / "project")


# --- programs that git would run ---


def fsmonitor(repository):
    repository.config("[core]\n\tfsmonitor = {program}\n")


def included(repository):
    (repository.path.parent / "more").write_text(f"[core]\n\tfsmonitor = {repository.program}\n", encoding="utf-8")
    repository.config("[include]\n\tpath = {folder}/more\n")


def included_if(repository):
    (repository.path.parent / "more").write_text(f"[core]\n\tfsmonitor = {repository.program}\n", encoding="utf-8")
    repository.config('[includeIf "gitdir:**"]\n\tpath = {folder}/more\n')


def filters(repository):
    repository.write(".gitattributes", "* filter=evil\n")
    repository.commit()
    repository.config('[filter "evil"]\n\tclean = {program}\n\tsmudge = {program}\n\tprocess = {program}\n')
    repository.write("app.py", FILES["app.py"] + "# changed\n")


def hooks_path(repository):
    hooks = repository.path / "hooks"
    for name in ("post-index-change", "fsmonitor-watchman", "pre-auto-gc", "reference-transaction"):
        repository.write(f"hooks/{name}", repository.program.read_text(encoding="utf-8"))
        (hooks / name).chmod(0o755)
    repository.commit()
    repository.config("[core]\n\thooksPath = hooks\n")


def hooks(repository):
    folder = repository.path / ".git" / "hooks"
    folder.mkdir(exist_ok=True)
    shutil.copy(repository.program, folder / "post-index-change")
    (repository.path / "app.py").touch()


def external_diff(repository):
    repository.write(".gitattributes", "*.py diff=evil\n")
    repository.commit()
    repository.config('[diff]\n\texternal = {program}\n[diff "evil"]\n\ttextconv = {program}\n\tcommand = {program}\n')
    repository.write("app.py", "changed = True\n")


def pager_and_alias(repository):
    repository.config("[core]\n\tpager = {program}\n\tsshCommand = {program}\n[alias]\n\tstatus = !{program}\n")


def submodule(repository):
    inner = Hostile(repository.path.parent / "inner")
    inner.marker.unlink(missing_ok=True)
    repository.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", str(inner.path), "inner")
    repository.commit()
    settings = repository.path / ".git" / "modules" / "inner" / "config"
    with settings.open("a", encoding="utf-8") as file:
        file.write(f"[core]\n\tfsmonitor = {repository.program}\n")


def nested_repository(repository):
    inner = repository.path / "inner"
    inner.mkdir()
    repository.git("init", "-q", "--template=", cwd=inner)
    with (inner / ".git" / "config").open("a", encoding="utf-8") as file:
        file.write(f"[core]\n\tfsmonitor = {repository.program}\n")


def worktree_elsewhere(repository):
    fsmonitor(repository)
    repository.config("[core]\n\tworktree = {folder}\n")


def somebody_else_s(repository):
    """git itself would refuse here: dubious ownership."""
    fsmonitor(repository)
    for path in (repository.path, *repository.path.rglob("*")):
        shutil.chown(path, 65534, 65534)


def git_file(repository):
    """The folder's .git names another place, as in a worktree."""
    fsmonitor(repository)
    elsewhere = repository.path.parent / "elsewhere.git"
    (repository.path / ".git").rename(elsewhere)
    (repository.path / ".git").write_text(f"gitdir: {elsewhere}\n", encoding="utf-8")


def bare_in_the_root(repository):
    """Committed files that look like a bare repository, with settings of their own."""
    bare = repository.path.parent / "bare"
    repository.git("clone", "-q", "--bare", str(repository.path), str(bare))
    with (bare / "config").open("a", encoding="utf-8") as file:
        file.write(f"[core]\n\tfsmonitor = {repository.program}\n\tbare = false\n\tworktree = .\n")
    for path in bare.rglob("*"):
        if path.is_file():
            repository.write(path.relative_to(bare).as_posix(), path.read_bytes())
    repository.commit()


PROGRAMS = [
    *(fsmonitor, included, included_if, filters, hooks_path, hooks, external_diff, pager_and_alias, submodule),
    *(nested_repository, worktree_elsewhere, git_file, bare_in_the_root),
    pytest.param(
        somebody_else_s,
        marks=pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can give files away"),
    ),
]


@pytest.mark.parametrize("prepare", PROGRAMS, ids=lambda value: getattr(value, "__name__", ""))
def test_no_program_of_the_repository_runs(doctor, hostile, prepare):
    prepare(hostile)
    hostile.marker.unlink(missing_ok=True)  # from git's own work in this test
    answer = doctor(hostile.path)
    assert not hostile.marker.exists()
    assert answer.status == 0, answer
    # A submodule is told of; nothing of it is looked at.
    assert answer.ids == ({"H113"} if prepare is submodule else set())


def test_the_program_of_these_tests_would_run(hostile):
    """The same settings, handed to git as they are: what is tested here is not nothing."""
    fsmonitor(hostile)
    hostile.git("status")
    assert hostile.marker.exists()


def test_a_bare_repository_inside_of_a_clone_is_a_folder_like_any_other(doctor, hostile):
    bare_in_the_root(hostile)
    inner = hostile.path / "sub"
    inner.mkdir()
    for path in (hostile.path.parent / "bare").iterdir():
        target = inner / path.name
        shutil.copytree(path, target) if path.is_dir() else shutil.copy(path, target)
    hostile.marker.unlink(missing_ok=True)
    answer = doctor(inner)
    assert not hostile.marker.exists()
    assert answer.status == 1  # nothing of it is committed


def test_missing_objects_are_not_fetched_but_said(doctor, hostile):
    blob = hostile.git("rev-parse", "HEAD:app.py")
    (hostile.path / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    hostile.config(
        "[extensions]\n\tpartialClone = origin\n"
        '[remote "origin"]\n\turl = ext::{program}\n\tpromisor = true\n\tuploadpack = {program}\n'
        "[protocol]\n\tallow = always\n"
    )
    answer = doctor(hostile.path)
    assert not hostile.marker.exists()
    assert answer.status == 2
    assert "app.py is missing" in answer.errors
    assert len(answer.errors.strip().splitlines()) == 1


# --- kinds of repositories ---


def test_a_repository_with_other_hashes_is_read(doctor, tmp_path):
    project = tmp_path / "project"
    subprocess.run([*GIT, "init", "-q", "--object-format=sha256", project], check=True)
    for name, text in FILES.items():
        (project / name).write_text(text, encoding="utf-8")
    for arguments in (["add", "--all"], ["commit", "-q", "-m", "x"]):
        subprocess.run([*GIT, *arguments], cwd=project, check=True)
    assert doctor(project).status == 0


def test_worktrees_and_borrowed_objects_are_read(doctor, hostile):
    elsewhere = hostile.path.parent / "worktree"
    hostile.git("worktree", "add", "-q", str(elsewhere))
    assert doctor(elsewhere).ids == set()
    shared = hostile.path.parent / "shared"
    hostile.git("clone", "-q", "--shared", str(hostile.path), str(shared))
    assert doctor(shared).ids == set()
    packed = hostile.path.parent / "packed"
    hostile.git("clone", "-q", "--no-local", str(hostile.path), str(packed))
    subprocess.run([*GIT, "pack-refs", "--all"], cwd=packed, check=True)
    assert doctor(packed).ids == set()


@pytest.mark.parametrize("setting", ["refStorage = reftable", "invented = true"])
def test_a_kind_of_repository_that_is_not_known_is_said(doctor, hostile, setting):
    hostile.config(f"[core]\n\trepositoryFormatVersion = 1\n[extensions]\n\t{setting}\n")
    answer = doctor(hostile.path)
    assert answer.status == 2
    assert setting.lower() in answer.errors
    assert len(answer.errors.strip().splitlines()) == 1


@pytest.mark.parametrize("head", ["ref: HEAD", "ref: refs/heads/../../../secret", "ref: refs/heads/main\nx", "\0", ""])
def test_a_damaged_head_is_no_commit(doctor, hostile, head):
    (hostile.path / ".git" / "HEAD").write_text(head, encoding="utf-8")
    answer = doctor(hostile.path)
    assert answer.status in (1, 2)
    assert "Traceback" not in answer.errors


# --- what its words can do ---

ESCAPES = "\x1b]0;owned\x07\x1b[31m\x1b[2J\u202e"


def test_no_escape_sequence_reaches_a_terminal(doctor, hostile):
    hostile.write(f"a{ESCAPES}.py", "x = 1\n")
    hostile.write("Procfile", f"web:{ESCAPES}\nw{ESCAPES}: python {ESCAPES}.py\nrelease: python no{ESCAPES}.py\n")
    hostile.write("requirements.txt", f"-e ./{ESCAPES}\n")
    hostile.write("app.json", json.dumps({"name": ESCAPES * 9, "addons": [{"plan": "heroku-postgresql:dev"}]}))
    hostile.write(f".env{ESCAPES}", "x")
    hostile.write(".slugignore", f"!{ESCAPES}\n")
    hostile.write("app.py", f"import {'x' * 9}\nimport os\nos.environ['A']\nURL = 'sqlite:///{ESCAPES}'\n")
    hostile.commit()
    hostile.write(f"new{ESCAPES}", "not committed")
    hostile.write("This push would deploy\nfor certain", "not committed")
    answer = doctor(hostile.path, "--root", str(hostile.path))
    assert answer.status == 1
    assert not [c for c in answer.output + answer.errors if not c.isprintable() and c != "\n"]
    assert not any(line.startswith("for certain") for line in answer.output.splitlines())


@pytest.mark.parametrize("encoding", ["ascii", "cp1251", "utf-16", "latin-1"])
def test_json_is_ascii_and_valid_under_every_encoding(doctor, hostile, encoding):
    hostile.write("Procfile", "web: python сервер😀.py\n")
    (hostile.path / os.fsdecode(b"\xff\xfe.py")).write_text("x = 1\n", encoding="utf-8")
    hostile.commit()
    answer = doctor(hostile.path, "--root", str(hostile.path), "--json", encoding=encoding)
    assert answer.output.isascii()
    assert json.loads(answer.output)["findings"]


def test_a_reader_that_goes_away_is_no_traceback(doctor, hostile):
    hostile.write("requirements.txt", "".join(f"-e ./p{n}\n" for n in range(5000)))
    hostile.commit()
    project = doctor.project.path
    command = f"'{sys.executable}' -m doctor --root '{hostile.path}' | head -1"
    result = subprocess.run(["sh", "-c", command], cwd=project, capture_output=True, encoding="utf-8", check=False)
    assert result.stdout
    assert result.stderr == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_an_output_that_is_full_or_closed_is_no_traceback(doctor, hostile):
    project = doctor.project.path
    for redirect, status in ((">/dev/full", 2), (">&-", 0), (">&- 2>&-", 0)):
        command = f"'{sys.executable}' -m doctor --root '{hostile.path}' {redirect}"
        result = subprocess.run(["sh", "-c", command], cwd=project, capture_output=True, encoding="utf-8", check=False)
        assert result.returncode == status, (redirect, result.stderr)
        assert len(result.stderr.splitlines()) == (status == 2)


# --- odd, but true ---


def test_what_python_says_of_a_file_is_not_repeated(doctor, hostile):
    hostile.write("app.py", f'{FILES["app.py"]}PATTERN = "\\d"\nassert PATTERN is "x"\n')
    hostile.commit()
    assert doctor(hostile.path).errors == ""


def test_numbers_of_any_length_are_no_mistake_of_the_doctor(doctor, hostile):
    hostile.write(".python-version", "3." + "1" * 5000 + "\n")
    hostile.write("requirements.txt", "flask\ngunicorn\nflask-sqlalchemy\npsycopg\n")
    hostile.write("Procfile", "web: gunicorn app:app --workers " + "9" * 1500 + "\n")
    hostile.commit()
    answer = doctor(hostile.path)
    assert (answer.status, answer.errors) == (1, "")
    assert "H302" in answer.ids


@pytest.mark.parametrize("content", ["", "gitdir:", "gitdir: a\0b", "what is this", "\0" * 100])
def test_a_git_file_that_leads_nowhere_is_said(doctor, hostile, content):
    """Without a place in it, the folder itself would pass for a repository's insides."""
    shutil.rmtree(hostile.path / ".git")
    hostile.write(".git", content)
    answer = doctor(hostile.path)
    assert answer.status == 2
    assert len(answer.errors.splitlines()) == 1


def test_links_in_a_circle_are_no_mistake_of_the_doctor(doctor, hostile):
    circle = hostile.path / "circle"
    circle.symlink_to("circle")
    assert doctor(circle).status == 2
    (hostile.path / ".git" / "commondir").write_text("../circle", encoding="utf-8")
    answer = doctor(hostile.path)
    assert "Traceback" not in answer.errors


def test_settings_with_comments_and_those_that_mean_nothing_are_read(doctor, hostile):
    hostile.config('[core]\n\trepositoryFormatVersion = 1\n[extensions]\n\tnoop = x\n\tobjectFormat = "sha1" ; so\n')
    assert doctor(hostile.path).status == 0


def test_a_sparse_checkout_is_not_called_unpushed(doctor, hostile):
    hostile.write("docs/a.txt", "x")
    hostile.commit()
    hostile.git("sparse-checkout", "set", "src")
    assert not (hostile.path / "docs").exists()
    answer = doctor(hostile.path)
    assert json.loads(answer.output)["unpushed"] == []


@pytest.mark.parametrize(("first", "reason", "status"), [("", "", 2), ("H403", "", 1), ("H403", "a test", 2)])
def test_what_takes_too_long_is_ended_in_one_sentence_and_mistakes_found_so_far_are_told(
    doctor, hostile, first, reason, status
):
    project = doctor.project.path
    code = (
        "import sys, doctor, doctor.__main__ as m\n"
        "def endless(project):\n    while True: pass\n    yield\n"
        "checks = {id: doctor.CHECKS[id] for id in sys.argv[2:] if id} | {'X': endless}\n"
        "doctor.CHECKS.clear()\ndoctor.CHECKS.update(checks)\n"
        "m.DEADLINE = 1.5\nsys.argv = ['doctor', '--root', sys.argv[1]]\nsys.exit(m.run())\n"
    )
    hostile.write("Procfile", "web:python main.py\n")
    if reason:
        hostile.write("pyproject.toml", f'[[tool.doctor.silence]]\nid = "H403"\nreason = "{reason}"\n')
    hostile.commit()
    command = [sys.executable, "-c", code, str(hostile.path), first]
    result = subprocess.run(command, cwd=project, capture_output=True, encoding="utf-8", check=False, timeout=30)
    assert result.returncode == status
    assert ("✗ H403" in result.stdout) == (status == 1)
    assert result.stderr.strip().endswith("it took more than 1.5 seconds")
    assert len(result.stderr.splitlines()) == 1


# --- links, and paths that lead out ---


def test_no_link_is_followed_out_of_the_project(doctor, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    secret = outside / "secret.txt"
    secret.write_text("SECRET_KEY = 'b6f0c2a19d8e4f7a'\n", encoding="utf-8")
    project = tmp_path / "project"
    project.mkdir()
    for name in ("Procfile", "requirements.txt", "app.py", "config.py"):
        (project / name).symlink_to(secret)
    (project / "folder").symlink_to(outside, target_is_directory=True)
    for prepared in (False, True):
        if prepared:
            for arguments in (["init", "-q"], ["add", "--all"], ["commit", "-q", "-m", "x"]):
                subprocess.run([*GIT, *arguments], cwd=project, check=True)
        answer = doctor(project)
        assert answer.status == 1
        assert "H602" not in answer.ids
        assert "secret" not in answer.output


def test_a_dyno_writes_nothing_outside_of_its_folder(doctor, hostile):
    blob = hostile.git("hash-object", "-w", "--stdin", given=b"owned\n")
    inner = hostile.git("mktree", given=f"100644 blob {blob}\towned.txt\n".encode())
    entry = b"40000 ..\0" + bytes.fromhex(inner)
    tree = hostile.git("hash-object", "-w", "-t", "tree", "--literally", "--stdin", given=entry)
    head = hostile.git("commit-tree", tree, "-m", "x")
    hostile.git("update-ref", "HEAD", head)
    temporary = hostile.path.parent / "temporary"
    temporary.mkdir()
    answer = doctor(hostile.path, "--dyno", TMPDIR=str(temporary))
    assert answer.status == 2
    assert "../owned.txt" in answer.errors
    assert list(temporary.iterdir()) == []
    assert not list(hostile.path.parent.glob("owned.txt"))


# --- size ---


def tree_bomb(repository):
    """A few objects that stand for ten thousand million files."""
    blob = repository.git("hash-object", "-w", "--stdin", given=b"x")
    tree = repository.git("mktree", given="".join(f"100644 blob {blob}\tf{n}\n" for n in range(10)).encode())
    for _ in range(9):
        tree = repository.git("mktree", given="".join(f"040000 tree {tree}\td{n}\n" for n in range(10)).encode())
    repository.git("update-ref", "HEAD", repository.git("commit-tree", tree, "-m", "bomb"))


def giant_blob(repository):
    repository.write("big.py", b"x = 1\n" + b"\0" * 80_000_000)
    repository.commit()


def long_secret_lines(repository):
    repository.write("app.py", "# " + "postgres://a:" * 70_000 + "\n")
    repository.write("key.txt", "SECRET_KEY=" * 80_000 + "\n" + "-----BEGIN " + "A " * 400_000)
    repository.commit()


def many_ports(repository):
    repository.write("Procfile", "web: gunicorn app:app " + "-p " * 30_000 + "\n")
    repository.commit()


def stars(repository):
    repository.write(".slugignore", "".join("*a" * n + "\n" for n in range(1, 60)))
    for number in range(30):
        repository.write(f"static/{'a' * 200}{number}", "x")
    repository.commit()


def diamonds(repository):
    for n in range(30):
        repository.write(f"r{n}.txt", f"-r r{n + 1}.txt\n-r r{n + 1}.txt\n-r ./r{n + 1}.txt\n")
    repository.write("requirements.txt", "-r r0.txt\nflask\ngunicorn\n")
    repository.commit()


def chain(repository):
    for n in range(1500):
        repository.write(f"r/{n}.txt", f"-r {n + 1}.txt\n")
    repository.write("requirements.txt", "-r r/0.txt\nflask\ngunicorn\n")
    repository.commit()


def giant_lists(repository):
    for n in range(8):
        repository.write(f"data{n}.py", "X = [" + "0," * 490_000 + "]\n")
    for n in range(40):
        repository.write(f"more{n}.py", "X = [" + "0," * 95_000 + "]\n")
    repository.commit()


def deep(repository):
    repository.write("deep.py", "x = " + "(" * 150 + "1" + ")" * 150 + "\n")
    repository.write("sum.py", "x = " + "+".join(["1"] * 20_000) + "\n")
    repository.write("dots.py", "x = a" + ".b" * 20_000 + "\n")
    repository.write("calls.py", "file.save(" + "upload(" * 90 + ")" * 90 + ")\n")
    repository.write("app.json", "[" * 100_000)
    repository.write("uv.lock", "a = " + "[" * 100_000)
    repository.commit()


def many_files(repository):
    blob = repository.git("hash-object", "-w", "--stdin", given=b"x = 1\n")
    files = "".join(f"100644 blob {blob}\tf{n}.py\n" for n in range(100_000)).encode()
    own = "".join(
        f"100644 blob {repository.git('rev-parse', f'HEAD:{name}')}\t{name}\n" for name in FILES if name != "app.py"
    ).encode()
    app = f"100644 blob {repository.git('rev-parse', 'HEAD:app.py')}\tapp.py\n".encode()
    tree = repository.git("mktree", given=files + own + app)
    repository.git("update-ref", "HEAD", repository.git("commit-tree", tree, "-m", "many"))


def long_refs(repository):
    refs = repository.path / ".git" / "packed-refs"
    line = "0" * 40 + " refs/heads/x\n"
    refs.write_text(line * 400_000, encoding="ascii")


def endless_tags(repository):
    texts = ["<form " + "{{a}}" * 20_000, "<script" * 50_000, "<form>" * 20_000]
    texts += ["{% set " + " " * 100_000, "{{ " + "a." * 50_000, "{% url '" * 20_000]
    code = "from flask import render_template\n"
    for number, text in enumerate(texts):
        repository.write(f"templates/{number}.html", text)
        code += f"@app.route('/{number}', methods=['POST'])\ndef f{number}():\n"
        code += f"    return render_template('{number}.html')\n"
    repository.write("app.py", (repository.path / "app.py").read_text(encoding="utf-8") + code)
    repository.commit()


SIZES = [tree_bomb, giant_blob, long_secret_lines, many_ports, stars, diamonds, chain, giant_lists, deep, many_files]
SIZES += [endless_tags]


@pytest.mark.parametrize("prepare", [*SIZES, long_refs], ids=lambda value: value.__name__)
def test_any_repository_is_looked_at_in_bounded_time_and_memory(doctor, hostile, prepare):
    prepare(hostile)
    answer = doctor(hostile.path)
    assert answer.seconds < SECONDS, answer.seconds
    assert answer.megabytes < MEMORY, answer.megabytes
    assert answer.status in (0, 1, 2)
    assert "Traceback" not in answer.errors
    if answer.status == 2:
        assert len(answer.errors.strip().splitlines()) == 1
    else:
        assert json.loads(answer.output)


def test_a_large_folder_without_git_is_looked_at_in_bounded_time(doctor, tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    for folder in (".heroku/python/lib", "env/lib", "node_modules/x", "my-environment/lib"):
        (tmp_path / folder).mkdir(parents=True)
        for number in range(500):
            (tmp_path / folder / f"m{number}.py").write_text("import nothing_known\nKEY = 1\n" * 50, encoding="utf-8")
    (tmp_path / "my-environment" / "pyvenv.cfg").write_text("home = x\n", encoding="utf-8")
    answer = doctor(tmp_path, CI="true")
    assert answer.status == 0, answer.output
    assert answer.ids == set()


def test_a_pipe_in_the_folder_does_not_hang_it(doctor, tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    os.mkfifo(tmp_path / "pipe.py")
    os.mkfifo(tmp_path / ".slugignore")
    assert doctor(tmp_path, CI="true").status == 0


def test_a_mistake_of_its_own_is_a_two(doctor, hostile, tmp_path):
    project = doctor.project.path
    code = (
        "import sys, doctor.__main__ as m\n"
        "def broken(project, found): raise ZeroDivisionError\n"
        "m.find = broken\nsys.argv = ['doctor']\nsys.exit(m.run())\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=project, capture_output=True, encoding="utf-8", check=False
    )
    assert result.returncode == 2
    assert re.search("ZeroDivisionError", result.stderr)
    assert "mistake in the doctor itself" in result.stderr
