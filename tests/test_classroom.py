"""A class from a roster: what is baked, what is said of the repositories that come back, and what Classroom 50 reads."""

import csv
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import jsonschema
import pytest
from classroom import WORDS, Refused, autograder, bake, check, roster
from classroom.__main__ import main
from justhtml import JustHTML
from markdown_it import MarkdownIt

import browser
from lab import CHOICES, GIT, LANGUAGES, ROOT, call, memory

EN = WORDS["en"]
CLASSROOM_50 = "username,first_name,last_name,email,section,github_id,role\n"
# Texts that a tool on the way would read as something else.
AWKWARD = [
    *("Ann O'Hara", 'Bob "the builder" Jones', "Ёлкина Анна-Мария", "Đặng Thị Ánh", "李小龍", "{{ 7*7 }}", "{% x %}"),
    *("{# gone #}", "{{ cookiecutter.update(x=1) }}", "a\\nb", "$HOME `id`", "=1+1", "<b>&amp;", "x" * 200, "'", "-"),
]


def command(*words, **environ):
    """Run `python -m classroom` as a person does; return its CompletedProcess."""
    environ = os.environ | {"PYTHONIOENCODING": "utf-8"} | environ
    return call(sys.executable, "-m", "classroom", *words, cwd=ROOT, env=environ, check=False)


def commit(project, message="x"):
    call(*GIT, "add", "--all", cwd=project)
    call(*GIT, "commit", "--quiet", "--message", message, cwd=project)


def write(project, name, text):
    file = project / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text if isinstance(text, bytes) else text.encode())


def texts(project):
    """Yield (name, text) of all files but git's."""
    for path in project.rglob("*"):
        if path.is_file() and ".git" not in path.parts:
            yield path.name, path.read_text(encoding="utf-8")


def is_complete(project):
    """Tell whether a project has all its files, committed."""
    return (
        call("git", "status", "--porcelain", cwd=project).stdout == "" and (project / "doctor" / "words.toml").exists()
    )


@pytest.fixture
def file(tmp_path):
    """A function that writes a roster and returns its path."""

    def file(text, encoding="utf-8"):
        path = tmp_path / "students.csv"
        path.write_bytes(text.encode(encoding))
        return path

    return file


@pytest.fixture(scope="module")
def baked_class(tmp_path_factory):
    """A folder with the projects of four students, to be read only."""
    folder = tmp_path_factory.mktemp("class")
    text = CLASSROOM_50 + "".join(f"{name},{name.title()},,,,,\n" for name in ("ann", "bob", "eve", "zoe"))
    (folder / "students.csv").write_text(text, encoding="utf-8")
    before = dict(os.environ)
    assert main(["bake", str(folder / "students.csv"), str(folder / "out"), "example=none"]) == 0
    assert dict(os.environ) == before
    for project in (folder / "out").iterdir():  # it is copied for every test: one file for all objects
        call("git", "repack", "-a", "-d", "-q", cwd=project)
    return folder / "out"


@pytest.fixture
def students(baked_class, tmp_path):
    """The same, to be changed."""
    return Path(shutil.copytree(baked_class, tmp_path / "class", symlinks=True))


@pytest.fixture(scope="module")
def doctors(tmp_path_factory):
    """The doctors that are trusted."""
    folder = tmp_path_factory.mktemp("doctors")
    check.make_doctors(folder)
    return folder


def seen(doctors, project):
    """Return the line of the table for one repository."""
    return check.row(project.name, check.look(doctors, EN, project), EN)


# --- the roster ---


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1251"])
def test_a_roster_is_read_however_a_spreadsheet_wrote_it(file, encoding, separator, end):
    rows = [["username", "Project_Name", "author_name"], ["ann", '"Цветы, ""лес""; сад"', " Анна "], ["bob", "", ""]]
    path = file(end.join(separator.join(row) for row in rows) + end, encoding)
    lines, remarks, doubts = roster.read(path, bake.QUESTIONS, EN)
    assert [line.values for line in lines] == [
        {"username": "ann", "project_name": 'Цветы, "лес"; сад', "author_name": "Анна"},
        {"username": "bob"},
    ]
    assert [line.number for line in lines] == [2, 3]
    assert doubts == []
    assert len(remarks) == (encoding == "cp1251")


def answers_of(path, *pairs):
    return bake.all_answers(path, bake.from_command_line(pairs, EN), EN)[0]


def test_the_file_of_classroom_50_is_taken_as_it_is(file):
    path = file(CLASSROOM_50 + "ann-lee,Ann,Lee,ann@school.example,Lab 1,583231,student\nbob,,,,,,\n")
    ann, bob = answers_of(path, "language=ru")
    assert (ann["repo_name"], ann["github_owner"], ann["author_name"]) == ("ann-lee", "ann-lee", "Ann Lee")
    assert (bob["repo_name"], bob["author_name"], bob["language"]) == ("bob", "bob", "ru")


def test_who_a_student_is(file):
    (one,) = answers_of(file("github_id\nann\n"))
    assert (one["repo_name"], one["github_owner"]) == ("ann", "ann")
    (one,) = answers_of(file("repo_name,username\nweather,ann\n"))
    assert (one["repo_name"], one["github_owner"]) == ("weather", "ann")
    (one,) = answers_of(file("repo_name\nweather\n"))
    assert (one["repo_name"], one["github_owner"]) == ("weather", "your-github-name")
    (one,) = answers_of(file("repo_name,first_name,last_name\nweather,Ann,Lee\n"))
    assert (one["author_name"], one["github_owner"]) == ("Ann Lee", "your-github-name")
    # For all where the line says nothing itself.
    one, other = answers_of(file("username,license\nann,none\nbob,\n"), "github_owner=school", "license=BSD-3-Clause")
    assert (one["github_owner"], one["license"], other["license"]) == ("school", "none", "BSD-3-Clause")


def test_who_was_invited_by_email_only_is_left_out_and_named(file):
    path = file(CLASSROOM_50 + ",Ann,Lee,ann@school.example,,,\nbob,,,,,,\n")
    lines, remarks, doubts = roster.read(path, bake.QUESTIONS, EN)
    assert ([line.number for line in lines], doubts) == ([3], [])
    assert EN["pending"].format(lines="2") in remarks
    assert not any("ann@" in remark for remark in remarks)


def test_where_nobody_has_come_yet_nothing_is_baked_and_nothing_is_wrong(file, tmp_path, capsys):
    path = file(CLASSROOM_50 + ",Ann,Lee,ann@school.example,,,\n")
    assert main(["bake", str(path), str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert EN["pending"].format(lines="2") in printed
    assert "Baked 0 projects" in printed


def test_the_first_line_that_is_for_excel_names_the_separator(file):
    path = file('sep=;\r\n"username";"a,b,c,d"\r\nann;1\r\n')
    (line,), _, doubts = roster.read(path, bake.QUESTIONS, EN)
    assert (line.values["username"], line.number, doubts) == ("ann", 3, [])


def test_any_question_can_be_a_column(file):
    given = {"repo_name": "app", "project_name": "P", "author_name": "A", "github_owner": "o"}
    given |= {question: choices[-1] for question, choices in CHOICES.items()}
    assert set(given) == set(bake.QUESTIONS)
    (one,) = answers_of(file(",".join(given) + "\n" + ",".join(given.values()) + "\n"))
    assert {question: one[question] for question in given} == given


@pytest.mark.parametrize("text", AWKWARD)
def test_text_of_a_roster_stays_text(file, text):
    quoted = '"' + text.replace('"', '""') + '"'
    (one,) = answers_of(file(f"username,project_name,author_name\nann,{quoted},{quoted}\n"))
    assert (one["project_name"], one["author_name"]) == (text, text)
    (one,) = answers_of(file("username\nann\n"), f"project_name={text}")
    assert one["project_name"] == text


DOUBTFUL = """username,repo_name,language,license,author_name
3d,,,,
test,,,,
ann,ok-name,fr,,
,,,,Nobody
bob,,,,"two
lines"
eve,x
Zoe,,,,
zoe,,,,
anna_b,,,,
"""


def test_all_doubtful_lines_are_named_before_anything_is_written(file, tmp_path):
    path = file(DOUBTFUL)
    result = command("bake", path, tmp_path / "out")
    assert result.returncode == 2
    *sentences, last = result.stderr.splitlines()
    places = [
        re.match(rf"{re.escape(str(path))}, line (\d+)(?:, column (\w+))?: (.+)\. ([A-Z].+)\.$", s) for s in sentences
    ]
    assert all(places), result.stderr
    assert sorted((int(match[1]), match[2]) for match in places) == [
        *((2, "username"), (3, "username"), (4, "language"), (5, "repo_name"), (6, "author_name")),
        *((8, "None")[:1] + (None,), (10, "username"), (11, "username"), (11, "username")),
    ]
    assert last == EN["nothing_written"]
    assert not (tmp_path / "out").exists()
    assert "'zoe' is already the project of line 9" in result.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no student is in it"),
        ("username\n", "no student is in it"),
        ("name,mail\nann,x\n", "line 1: no column says who the students are"),
        ("username,autor_name\nann,x\n", "line 1, column autor_name: there is no such question. Call it 'author_name'"),
        ("username,license,license\nann,MIT,MIT\n", "line 1, column license: two columns have this name"),
        ('username,author_name\nann,"a"b\n', "line 2: the quotation marks do not fit"),
        ("username,github_id\n,583231\n", "line 2, column username: nobody is named here"),
        (f"username,author_name\nann,{'x' * 131_073}\n", "line 2: a value has more than 131072 characters"),
        (
            "username,first_name,last_name\nann,A\0n,Lee\n",
            "column first_name: it has a line break or another invisible control character. Correct the column first_name",
        ),
        ("username\nanо-lеe\n", "'anо-lеe' has Cyrillic letters; these, counted from its beginning: 3 о, 6 е"),
    ],
)
def test_what_is_no_roster_gets_its_sentence(file, text, said):
    with pytest.raises(Refused) as refused:
        answers_of(file(text))
    assert said in "\n".join(refused.value.lines)


def test_no_other_name_is_suggested_for_one_with_cyrillic_letters(file):
    with pytest.raises(Refused) as refused:
        answers_of(file("username\nanо-lеe\n"))
    doubt, _ = refused.value.lines
    assert doubt.endswith("Correct the column username.")


def test_the_disk_needs_room_for_what_all_projects_take(file, tmp_path, baked_class, capsys, monkeypatch):
    taken = sum(-(-path.lstat().st_size // 4096) * 4096 for path in (baked_class / "ann").rglob("*"))
    assert taken < 1.05 * bake.MEGABYTES_EACH * 10**6
    usage = bake.shutil.disk_usage(tmp_path)._replace(free=200 * 10**6)
    monkeypatch.setattr(bake.shutil, "disk_usage", lambda _: usage)
    path = file("username\n" + "".join(f"s{number}\n" for number in range(150)))
    assert main(["bake", str(path), str(tmp_path / "out")]) == 2
    assert "room for 200 MB only, the project needs 455" in capsys.readouterr().err


def test_what_is_no_text_gets_its_sentence(tmp_path):
    path = tmp_path / "students.csv"
    path.write_bytes("username\nann\n".encode("utf-16"))
    with pytest.raises(Refused, match="neither UTF-8 nor cp1251"):
        answers_of(path)


def test_latin_letters_read_as_cyrillic_ones_are_doubtful(file):
    with pytest.raises(Refused, match="mixes Latin and Cyrillic"):
        answers_of(file("username,author_name\nann,José Müller\n", "latin-1"))


def test_wrong_words_of_the_command_get_one_sentence(file, tmp_path, capsys):
    path = file("username\nann\n")
    for pair in ("projct_name=x", "x", "_version=1"):
        assert main(["bake", str(path), str(tmp_path / "out"), pair]) == 2
        assert capsys.readouterr().err.startswith(f"{pair!r} answers no question. Nothing was written.")
    assert main(["bake", str(tmp_path / "none.csv"), str(tmp_path / "out")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert main(["check", str(tmp_path / "out")]) == 2
    assert "there is no such folder" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


# --- baking ---


def test_projects_are_those_of_cookiecutter_and_hold_only_what_the_roster_holds(file, tmp_path, baked, monkeypatch):
    settings = tmp_path / "gitconfig"
    settings.write_text("[user]\n\tname = Teacher\n\temail = teacher@school.example\n", encoding="utf-8")
    home = tmp_path / "home"
    home.mkdir()
    variables = {"GIT_CONFIG_GLOBAL": str(settings), "GIT_AUTHOR_NAME": "Teacher", "HOME": str(home)}
    variables |= {"USERPROFILE": str(home)}
    path = file(CLASSROOM_50 + "app,Ann,Lee,ann@school.example,Lab 7,583231,student\n")
    result = command("bake", path, tmp_path / "out", **variables)
    assert result.returncode == 0, result.stderr
    assert "Baking" in result.stderr  # the progress bar
    project = tmp_path / "out" / "app"
    same = baked(repo_name="app", author_name="Ann Lee", github_owner="app")
    assert dict(texts(project)) == dict(texts(same.path))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["app"]
    log = call("git", "log", "--format=%an %ae %cn %ce %s", cwd=project).stdout
    assert log.startswith("Ann Lee app@users.noreply.github.com Ann Lee app@users.noreply.github.com Start from")
    assert is_complete(project)
    for name, text in [*texts(project), ("log", log), ("said", result.stdout)]:
        assert not re.search(r"Teacher|school\.example|Lab 7|583231", text), name
    assert list(home.iterdir()) == []  # no replay file, which would keep the answers


def test_existing_projects_stay_untouched(file, tmp_path, capsys):
    (tmp_path / "out" / "ann").mkdir(parents=True)
    (tmp_path / "out" / "ann" / "mine.txt").write_text("mine", encoding="utf-8")
    assert main(["bake", str(file("username\nann\nbob\n")), str(tmp_path / "out")]) == 0
    assert [path.name for path in (tmp_path / "out" / "ann").iterdir()] == ["mine.txt"]
    assert is_complete(tmp_path / "out" / "bob")
    assert "1 were there already" in capsys.readouterr().out


@pytest.mark.parametrize("how", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_a_run_that_was_stopped_goes_on_where_it_was(file, tmp_path, how):
    path = file("username\n" + "".join(f"s{number}\n" for number in range(8)))
    out = tmp_path / "out"
    words = [sys.executable, "-m", "classroom", "bake", str(path), str(out)]
    process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    while len(list(out.glob("s*"))) < 2:
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.01)
    process.send_signal(getattr(signal, how))
    process.communicate(timeout=20)
    done = {project.name: project.stat().st_ino for project in out.glob("s*")}
    assert 2 <= len(done) < 8
    assert all(is_complete(out / name) for name in done)
    assert how == "SIGKILL" or set(done) == {path.name for path in out.iterdir()}
    assert main(["bake", str(path), str(out)]) == 0
    assert {path.name for path in out.iterdir()} == {f"s{number}" for number in range(8)}
    assert all(is_complete(project) for project in out.iterdir())
    assert done.items() <= {project.name: project.stat().st_ino for project in out.iterdir()}.items()


def test_a_full_disk_leaves_no_half_project(file, tmp_path, capsys, monkeypatch):
    def full(answers, project, words, finish=bake.finish):
        if project.name == "bob":
            raise OSError(28, "No space left on device", str(project))
        finish(answers, project, words)

    path, out = file("username\nann\nbob\neve\n"), tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(bake, "finish", full)
        assert main(["bake", str(path), str(out)]) == 2
    assert "No space left on device. Correct that and run the same command again." in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == ["ann"]
    assert main(["bake", str(path), str(out)]) == 0
    assert all(is_complete(out / name) for name in ("ann", "bob", "eve"))


def test_without_cookiecutter_it_says_what_to_install(file, tmp_path):
    words = ["bake", file("username\nann\n"), tmp_path / "out"]
    done = call(sys.executable, "-S", "-m", "classroom", *words, cwd=ROOT, check=False)
    assert (done.returncode, done.stderr.strip()) == (2, EN["no_module"].format(name="cookiecutter"))


def test_without_git_nothing_is_written(file, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["bake", str(file("username\nann\n")), str(tmp_path / "out")]) == 2
    assert "git is not there" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


# --- checking ---


def no_procfile(project):
    (project / "Procfile").unlink()


def development_server(project):
    write(project, "Procfile", "web: flask run\nrelease: flask db upgrade\n")


def conflict(project):
    text = (project / "config.py").read_text(encoding="utf-8")
    write(project, "config.py", f"<<<<<<< HEAD\n{text}=======\n>>>>>>> other\n")


def no_driver(project):
    text = (project / "requirements.txt").read_text(encoding="utf-8")
    write(project, "requirements.txt", re.sub(r"(?im)^psycopg.*\n", "", text))


def old_python(project):
    write(project, ".python-version", "3.5\n")


def old_encoding(project):
    text = (project / "requirements.txt").read_text(encoding="utf-8")
    write(project, "requirements.txt", (text + "# пакеты\n").encode("cp1251"))


def broken_app_json(project):
    write(project, "app.json", "{")


def sub_folder(project):
    (project / "app").mkdir()
    for path in list(project.iterdir()):
        if path.name not in (".git", "app"):
            path.rename(project / "app" / path.name)


def silenced(project):
    no_procfile(project)
    entry = '\n[[tool.doctor.silence]]\nid = "H401"\nreason = "=1+1 we do not need it"\n'
    write(project, "pyproject.toml", (project / "pyproject.toml").read_text(encoding="utf-8") + entry)


def edited_doctor(project):
    write(project, "doctor/report.py", 'print("all is well")\n')
    development_server(project)


def no_repository(project):
    bake.cookiecutter.utils.rmtree(project / ".git")


def warned(project):
    text = (project / "templates" / "base.html").read_text(encoding="utf-8")
    write(project, "templates/base.html", text.replace("style.css", "Style.css"))


# way: (verdict, first cure, {step: errors}, {step: warnings}, silenced, doctor)
WAYS = {
    no_procfile: ("wrong", "H401", {10: 1}, {}, "", "own"),
    development_server: ("wrong", "H407", {10: 1}, {10: 1}, "", "own"),
    conflict: ("wrong", "H116", {1: 1}, {}, "", "own"),
    no_driver: ("wrong", "H204", {13: 1}, {}, "", "own"),
    old_python: ("wrong", "H303", {1: 1}, {}, "", "own"),
    old_encoding: ("wrong", "H203", {13: 1}, {}, "", "own"),
    broken_app_json: ("wrong", "H701", {7: 1}, {}, "", "own"),
    sub_folder: ("wrong", "H102", {1: 1, 13: 1}, {}, "", "missing"),
    silenced: ("wrong", "H401", {10: 1}, {}, "H401", "own"),
    edited_doctor: ("wrong", "H407", {10: 1}, {10: 1}, "", "edited"),
    no_repository: ("could_not_look", "", {}, {}, "", ""),
    warned: ("fine", "H104", {}, {1: 1}, "", "own"),
}
RIGHT = ("fine", "", {}, {}, "", "own")


def told(line):
    """Return what a line of the table says, in the form of WAYS."""
    steps = ({step: number for step, number in line[level].items() if number} for level in ("errors", "warnings"))
    cure = line["cure"].partition(" ")[0] if line["cure"].startswith("H") else ""
    return (line["verdict"], cure, *steps, line["silenced"], line["doctor"])


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_what_is_broken_is_told(students, doctors, way):
    way(students / "ann")
    if way is not no_repository:
        commit(students / "ann")
    assert told(seen(doctors, students / "ann")) == WAYS[way]


def test_what_is_right_is_told(baked_class, doctors):
    line = seen(doctors, baked_class / "bob")
    assert told(line) == RIGHT
    head = call(
        "git",
        "log",
        "-1",
        "--format=%h %cd",
        "--date=format-local:%Y-%m-%d %H:%M",
        cwd=baked_class / "bob",
        env=os.environ | {"TZ": "UTC"},
    )
    assert f"{line['commit'][:7]} {line['date']}" == head.stdout.strip()
    assert line["version"] == json.loads((ROOT / "cookiecutter.json").read_text(encoding="utf-8"))["_version"]


# --- repositories that mean harm ---


def marker(project):
    return project.parent / f"{project.name}-ran"


def program(project):
    path = project.parent / f"{project.name}-program"
    path.write_text(f"#!/bin/sh\ntouch '{marker(project)}'\ncat\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def configured(project):
    text = '[core]\n\tfsmonitor = {0}\n\thooksPath = {0}\n[filter "x"]\n\tclean = {0}\n\tprocess = {0}\n'
    with (project / ".git" / "config").open("a", encoding="utf-8") as file:
        file.write(text.format(program(project)))
    write(project, ".gitattributes", "* filter=x\n")


def shadowing(project):
    """Modules of Python's and of the doctor's names, which leave a mark where they are imported."""
    code = f"open({str(marker(project))!r}, 'w').close()\n"
    for name in ("json.py", "random.py", "sitecustomize.py", "doctor/report.py", "doctor/__init__.py", "look.py"):
        write(project, name, code)
    commit(project)


def endless(project):
    """A line that some patterns never come to an end of, and a file that no parser likes."""
    write(project, "Procfile", "web: " + "python -m " * 50_000 + "\n")
    write(project, "deep.py", "x = " + "(" * 90 + ")" * 90 + "\n" + "-" * 100_000 + "1\n")
    commit(project)


def many_files(project):
    for number in range(3000):
        write(project, f"many/{number}.py", f"import os\n\n\ndef f{number}():\n    return os\n")
    commit(project)


@pytest.mark.parametrize("harm", [configured, shadowing, endless, many_files], ids=lambda harm: harm.__name__)
def test_nothing_of_a_repository_runs_and_nothing_stops_the_others(students, capsys, harm):
    harm(students / "ann")
    no_procfile(students / "bob")
    commit(students / "bob")
    started = time.monotonic()
    assert main(["check", str(students), "--csv", str(students.parent / "t.csv")]) == 0
    assert time.monotonic() - started < 15
    assert not marker(students / "ann").exists()
    lines = {line["Student"]: line["Result"] for line in as_read(students.parent / "t.csv")}
    assert {lines[name] for name in ("eve", "zoe")} == {"no mistake found"}
    assert lines["bob"] == "would not deploy"


def pointing_elsewhere(project):
    bake.cookiecutter.utils.rmtree(project / ".git")
    write(project, ".git", f"gitdir: {project.parent / 'zoe' / '.git'}\n")


def linked(project):
    bake.cookiecutter.utils.rmtree(project / ".git")
    (project / ".git").symlink_to(project.parent / "zoe" / ".git")


def of_another(project):
    write(project, ".git/commondir", str(project.parent / "zoe" / ".git"))


def borrowing(project):
    """Its commit is in the other one only."""
    write(project, ".git/objects/info/alternates", str(project.parent / "zoe" / ".git" / "objects"))
    head = (project.parent / "zoe" / ".git" / "refs" / "heads" / "main").read_bytes()
    write(project, ".git/refs/heads/main", head)


def linked_deep(project):
    """Each folder of objects, and the branches, lead to the other one's."""
    for name in ("objects", "refs"):
        other = project.parent / "zoe" / ".git" / name
        shutil.rmtree(project / ".git" / name)
        (project / ".git" / name).mkdir()
        for path in other.glob("[!i]*"):
            (project / ".git" / name / path.name).symlink_to(path)


def beheaded(project):
    """Without it, git would look for a repository in the folders above."""
    (project / ".git" / "HEAD").unlink()
    call("git", "init", "--quiet", cwd=project.parent)


TRICKS = [pointing_elsewhere, linked, of_another, borrowing, linked_deep, beheaded]


@pytest.mark.parametrize("trick", TRICKS, ids=lambda trick: trick.__name__)
def test_a_door_to_another_repository_is_none(students, doctors, trick):
    trick(students / "ann")
    line = seen(doctors, students / "ann")
    assert (line["verdict"], line["cure"]) == ("could_not_look", EN["no_repository"])


def test_who_takes_too_long_is_told_so(baked_class, doctors, monkeypatch):
    monkeypatch.setattr(check, "SECONDS", 0.01)
    line = seen(doctors, baked_class / "ann")
    assert line["verdict"] == "could_not_look"
    assert "more than 0.01 seconds" in line["cure"]


def test_a_claimed_installation_is_no_evidence(students, doctors):
    """What lies in env/ says nothing of what the platform will install."""
    project = students / "ann"
    text = (project / "views.py").read_text(encoding="utf-8")
    write(project, "views.py", "import strangeness\n" + text)
    commit(project)
    honest = told(seen(doctors, project))
    metadata = "env/lib/python3.13/site-packages/flask-9.dist-info"
    write(project, f"{metadata}/top_level.txt", "flask\nstrangeness\n")
    assert told(seen(doctors, project)) == honest != RIGHT


def earlier(name):
    """Return an earlier form of one of the doctor's files; this one where the checkout has no history."""
    path = f"{{{{cookiecutter.repo_name}}}}/doctor/{name}"
    commits = call("git", "log", "--format=%h", "--max-count=2", "--", path, cwd=ROOT).stdout.split()
    return call("git", "show", f"{commits[-1]}:{path}", cwd=ROOT).stdout


@pytest.mark.parametrize(
    ("change", "doctor"),
    [
        (
            lambda p: write(p, "doctor/facts.toml", (p / "doctor/facts.toml").read_bytes().replace(b"\n", b"\r\n")),
            "own",
        ),
        (lambda p: write(p, "doctor/more.py", "x = 1\n"), "edited"),
        (lambda p: (p / "doctor" / "pages.py").unlink(), "edited"),
        (lambda p: write(p, "doctor/words.toml", "template = 0\n"), "edited"),
        (lambda p: write(p, "doctor/words.toml", 'template = "0.8.1"\n'), "other"),
        (
            lambda p: write(
                p, "doctor/words.toml", (p / "doctor/words.toml").read_bytes().replace(b"Rename", b"Delete")
            ),
            "edited",
        ),
        # The same words with another address above them, or of an earlier version.
        (
            lambda p: write(
                p,
                "doctor/words.toml",
                re.sub(rb'address = ""', b'address = "https://x"', (p / "doctor/words.toml").read_bytes()),
            ),
            "own",
        ),
        (
            lambda p: write(
                p,
                "doctor/words.toml",
                re.sub(rb'"[0-9.]+"', b'"0.1.0"', (p / "doctor/words.toml").read_bytes(), count=1),
            ),
            "own",
        ),
        (lambda p: write(p, "doctor/report.py", earlier("report.py")), "own"),
        (lambda p: shutil.rmtree(p / "doctor"), "missing"),
        # One of its own files in the place of another.
        (lambda p: write(p, "doctor/report.py", (p / "doctor/__init__.py").read_bytes()), "edited"),
        (lambda p: write(p, "doctor/words.toml", f"template = {'9' * 5000}\n"), "edited"),
        # So much beside it that not everything is read.
        (lambda p: [write(p, f"a{n}.bin", b"\0" * 999_999) for n in range(51)], "own"),
    ],
)
def test_an_edited_doctor_is_flagged(students, doctors, change, doctor):
    change(students / "ann")
    write(students / "ann", ".gitattributes", "* -text\n")
    commit(students / "ann")
    line = seen(doctors, students / "ann")
    assert line["doctor"] == doctor
    # An edit that hides behind an invented version is named all the same.
    assert doctor != "other" or line["files"] == "doctor/words.toml"


def test_what_became_of_the_doctors_is_said(students, capsys):
    write(students / "ann", "doctor/words.toml", 'template = "9.9.9"\n')
    commit(students / "ann")
    shutil.rmtree(students / "bob" / "doctor")
    commit(students / "bob")
    assert main(["check", str(students)]) == 0
    ann, bob, _ = capsys.readouterr().out.splitlines()
    assert ann.endswith(EN["doctor_other"]) and "was edited, or" in ann
    assert bob.endswith(EN["doctor_missing"])


# --- the table ---


def as_read(file, separator=","):
    """Return the lines of a CSV file as a spreadsheet shows them: {heading: text}."""
    return list(csv.DictReader(io.StringIO(file.read_text(encoding="utf-8-sig")), delimiter=separator))


def hostile_row(**changes):
    seen = {
        "errors": {"1": 2, "9": 1},
        "first": {"id": "H1", "place": "a", "title": "=1+1 \x1b[2J", "fix": "</td><script>"},
    }
    return check.row("=cmd|' /C calc'!A0", seen | {"doctor": "own", "date": "", "silenced": []} | changes, EN)


def test_cells_are_no_formulas_and_no_markup(tmp_path):
    rows = [hostile_row(), hostile_row(commit="@SUM(1)", version="+1", files=["doctor/\u202egnp.py", "doctor/<img>"])]
    check.write(tmp_path / "t.csv", check.as_csv(rows, EN))
    for line in as_read(tmp_path / "t.csv"):
        assert not any(value.lstrip().startswith(tuple("=+-@")) for value in line.values())
        assert not re.search(r"[\x00-\x1f\u202e]", "".join(line.values()))
        assert (line["Errors"], line["Errors 1"], line["Errors 9"], line["Errors 2"]) == ("3", "2", "1", "0")
    page = check.as_html(rows, EN)
    assert "<img>" not in page and "&lt;/td&gt;&lt;script&gt;" in page
    assert page.count("<script>") == 1


def test_csv_is_for_the_spreadsheet_of_the_language(students, tmp_path):
    assert main(["check", str(students), "--csv", str(tmp_path / "t.csv"), "--language", "ru"]) == 0
    content = (tmp_path / "t.csv").read_bytes()
    assert content.startswith(b"\xef\xbb\xbf")  # or Excel takes it for cp1251
    lines = as_read(tmp_path / "t.csv", ";")
    assert [line["Студент"] for line in lines] == ["ann", "bob", "eve", "zoe"]
    assert {line["Результат"] for line in lines} == {"ошибок не найдено"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_needs_nothing_but_itself(language):
    words = WORDS[language]
    page = check.as_html(
        [hostile_row(), check.row("ann", {"doctor": "own"}, words), check.row("b", {"cannot": ""}, words)], words
    )
    document = JustHTML(page, strict=True, sanitize=False)
    assert document.query("html")[0].attrs["lang"] == language
    assert not re.search(r"""(src|href|action)=|url\(|@import|https?:""", page)
    table = document.query("table")[0]
    assert table.query("caption")
    assert len(table.query("th[scope=col]")) == 10
    # Of what nobody could look at no number is known.
    numbers = [[cell.to_text().strip() for cell in row.query("td.number")] for row in table.query("tbody tr")]
    assert numbers[1:] == [["0", "0"], ["", ""]]
    # All is there without the script, and in words, not in colours.
    for row in table.query("tbody tr"):
        assert row.query("th[scope=row]")
        assert row.query("td")[0].to_text().strip() in {
            words[verdict] for verdict in ("fine", "wrong", "could_not_look")
        }


@pytest.mark.slow
@pytest.mark.skipif(browser.chromium() is None, reason="no Chromium is installed")
@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_sorts_and_is_accessible(tmp_path, language):
    names = ["s10", "s9", "ann"]
    rows = [
        hostile_row() | {"student": name, "errors": {step: number for step in check.STEPS}}
        for number, name in enumerate(names)
    ]
    file = tmp_path / "table.html"
    check.write(file, check.as_html(rows, WORDS[language]))
    with browser.browser() as driver:
        for width in browser.WIDTHS:
            page = driver.new_page(viewport={"width": width, "height": 800}, bypass_csp=True)
            page.goto(file.as_uri())
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            page.evaluate(browser.axe())
            violations = page.evaluate("axe.run().then(result => result.violations)")
            assert violations == [], [violation["id"] for violation in violations]

        def order():
            return page.locator("#table tbody th").all_inner_texts()

        assert order() == names
        heads = page.locator("#table thead button")
        heads.nth(0).press("Enter")
        assert order() == ["ann", "s9", "s10"]  # numbers by their value
        assert page.locator("#table thead th").nth(0).get_attribute("aria-sort") == "ascending"
        heads.nth(3).click()
        heads.nth(3).click()
        assert order() == ["ann", "s9", "s10"]  # 26, 13 and 0 errors
        assert page.locator("[aria-sort]").count() == 1
        page.emulate_media(media="print")
        page.set_viewport_size({"width": 1000, "height": 700})  # A4 in landscape
        assert page.evaluate("document.querySelector('.scroll').scrollWidth") <= 1000
        page = driver.new_page(java_script_enabled=False)
        page.goto(file.as_uri())
        assert page.locator("#table tbody tr").count() == 3
        assert page.locator("button").count() == 0


def test_no_table_is_half_written(students, tmp_path, capsys):
    assert main(["check", str(students), "--csv", str(tmp_path / "none" / "t.csv")]) == 2
    assert "its folder is not there" in capsys.readouterr().err
    (tmp_path / "t.csv").mkdir()
    assert main(["check", str(students), "--csv", str(tmp_path / "t.csv")]) == 2
    assert EN["system"].partition("{")[0] in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["class", "t.csv"]


# --- the words ---


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_the_same_words(language):
    assert set(WORDS) == set(LANGUAGES)
    assert WORDS[language].keys() == EN.keys()
    for key, text in EN.items():
        assert sorted(re.findall(r"\{.*?\}", WORDS[language][key])) == sorted(re.findall(r"\{.*?\}", text)), key


def test_every_word_is_used():
    code = "".join(
        path.read_text(encoding="utf-8")
        for path in (ROOT / "classroom").glob("*")
        if path.is_file() and path.suffix in (".py", ".html")
    )
    unused = {key for key in EN if f'"{key}"' not in code and f"words.{key}" not in code}
    assert {key for key in unused if not key.startswith("doctor_")} == set()


# --- the autograder ---

# As published on 2026-08-16, with the conditions that Classroom 50 checks in code.
RESULT = {
    "type": "object",
    "additionalProperties": False,
    "required": [
        *("schema", "classroom", "assignment", "assignment_type", "owner", "submission", "commit", "release", "review"),
        *("datetime", "score", "max-score", "tests"),
    ],
    "properties": {
        "schema": {"const": "classroom50/result/v1"},
        **{name: {"type": "string", "minLength": 1} for name in ("classroom", "assignment", "owner")},
        "assignment_type": {"enum": ["individual", "group", "team"]},
        "submission": {"type": "string", "pattern": "^submit/"},
        **{name: {"type": "string", "minLength": 1} for name in ("commit", "release", "review")},
        "datetime": {"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z$"},
        **{name: {"type": "integer", "minimum": 0} for name in ("score", "max-score")},
        "tests": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["test-name", "passed", "score", "max-score"],
                "properties": {
                    "test-name": {"type": "string", "minLength": 1},
                    "passed": {"type": "boolean"},
                    **{name: {"type": "integer", "minimum": 0} for name in ("score", "max-score")},
                },
            },
        },
    },
}
RUNNER = {
    "CLASSROOM": "web",
    "ASSIGNMENT": "deploy",
    "ASSIGNMENT_TYPE": "individual",
    "USERNAME": "ann",
    "OWNER": "ann",
    "SUBMISSION_TAG": "submit/2026-11-26T01-02-03Z-a1b2c3d",
    "COMMIT_URL": "https://github.example/web/commit/a1",
    "RELEASE_URL": "https://github.example/web/releases/1",
    "REVIEW_URL": "https://github.example/web/compare/0...a1",
}


@pytest.fixture
def grade(students, tmp_path):
    """A function that grades a submission as Classroom 50 does; returns (exit status, result.json, standard error)."""
    bundle = tmp_path / "bundle"
    shutil.copytree(students / "zoe" / "doctor", bundle / "doctor")
    shutil.copy(ROOT / "classroom" / "autograder.py", bundle)

    def grade(project, **environ):
        environ = {k: v for k, v in (os.environ | RUNNER | environ).items() if v}
        done = call(sys.executable, bundle / "autograder.py", cwd=project, env=environ, check=False)
        file = project / "result.json"
        return (
            done.returncode,
            json.loads(file.read_text(encoding="utf-8")) if done.returncode == 0 else None,
            done.stderr,
        )

    return grade


def test_the_autograder_writes_what_classroom_50_reads(students, grade):
    # What Classroom 50 itself adds to a student's repository costs nothing.
    write(students / "ann", ".classroom50.yaml", "classroom: web\n")
    write(students / "ann", ".github/workflows/autograde.yaml", "on: push\njobs: {}\n")
    commit(students / "ann")
    silenced(students / "bob")
    write(students / "bob", "app.json", "{")
    shadowing(students / "bob")
    for name, points in (("ann", 8), ("bob", 5)):
        status, result, errors = grade(students / name)
        assert status == 0, errors
        jsonschema.validate(result, RESULT)
        assert (result["score"], result["max-score"]) == (points, 8)
        assert result["score"] == sum(test["score"] for test in result["tests"])
        assert all(test["score"] <= test["max-score"] for test in result["tests"])
    failed = {test["test-name"]: test["output"].partition(" ")[0] for test in result["tests"] if not test["passed"]}
    assert failed == {"Step 1 of DEPLOY.md": "H117", "Step 7 of DEPLOY.md": "H701", "Step 10 of DEPLOY.md": "H401"}
    assert not marker(students / "bob").exists()


def test_the_autograder_writes_into_no_link(students, grade):
    other = students / "other.json"
    other.write_text("mine", encoding="utf-8")
    (students / "ann" / "result.json").symlink_to(other)
    assert grade(students / "ann")[0] == 0
    assert other.read_text(encoding="utf-8") == "mine"


def test_the_autograder_takes_the_place_of_a_folder(students, grade):
    write(students / "ann", "result.json/kept.txt", "x")
    assert grade(students / "ann")[0] == 0


def test_the_autograder_believes_no_installation_that_was_committed(students, grade):
    text = (students / "ann" / "views.py").read_text(encoding="utf-8")
    write(students / "ann", "views.py", "import requests\n" + text)
    commit(students / "ann")
    _, honest, _ = grade(students / "ann")
    metadata = ".venv/lib/python3.13/site-packages/flask-9.dist-info"
    write(students / "ann", f"{metadata}/RECORD", "requests/__init__.py,,\n")
    call(*GIT, "add", "--force", ".venv", cwd=students / "ann")
    commit(students / "ann")
    _, forged, _ = grade(students / "ann")
    assert forged["score"] <= honest["score"] < 8


def test_an_autograder_without_a_report_says_so_and_writes_nothing(students, grade):
    status, _, errors = grade(students / "ann", SUBMISSION_TAG="")
    assert status == 1
    assert errors.startswith("The doctor has no report: ")
    shutil.rmtree(students / "bob" / ".git")
    (students / "bob" / ".git").write_text("gitdir:\n", encoding="utf-8")
    assert grade(students / "bob")[0] == 1
    assert not (students / "ann" / "result.json").exists()


def test_the_graded_steps_are_those_with_checks(doctor):
    steps = {check.step for check in doctor.CHECKS.values()}
    assert steps == set(autograder.STEPS)


# --- the documents ---


def blocks(name, kind=""):
    """Return the code blocks of a kind in a document."""
    tokens = MarkdownIt().parse((ROOT / name).read_text(encoding="utf-8"))
    return [token.content for token in tokens if token.type == "fence" and token.info == kind]


@pytest.mark.parametrize("name", ["README.md", "README.ru.md"])
def test_the_readme_names_the_commands(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    assert "docs/classroom.md" in text
    assert "python -m classroom bake students.csv class" in text
    assert "python -m classroom check class --csv class.csv --html class.html" in text


def test_the_page_can_be_followed_word_for_word(tmp_path):
    (table,) = blocks("docs/classroom.md", "csv")
    (tmp_path / "students.csv").write_text(table, encoding="utf-8")
    commands = [line for block in blocks("docs/classroom.md") for line in block.splitlines()]
    commands = [line for line in commands if line.startswith("python -m classroom ")]
    assert len(commands) >= 4
    for line in commands:
        words = line.split()[1:]
        done = call(sys.executable, *words, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=False)
        assert done.returncode == 0, done.stderr
    students = [row["username"] for row in csv.DictReader(io.StringIO(table))]
    assert sorted(path.name for path in (tmp_path / "class").iterdir()) == sorted(students)
    assert (tmp_path / "class.csv").exists() and (tmp_path / "class.html").exists()


# --- a class of 200 ---


def awkward_rows(count):
    """Yield (repo name, project name, author) of so many students."""
    for number in range(count):
        text = AWKWARD[number % len(AWKWARD)]
        yield f"s{number}" if number % 2 else f"Student-{number}", f"{text} {number}", f"{number} {text}"


def check_a_class(tmp_path, count, broken):
    """Bake a class, break the first projects of it in all known ways by turns; check every line of the table."""
    rows = list(awkward_rows(count))
    buffer = io.StringIO()
    csv.writer(buffer, delimiter=";").writerows([("repo_name", "project_name", "author_name"), *rows])
    (tmp_path / "students.csv").write_text(buffer.getvalue(), encoding="utf-8")
    out, seconds, peak = tmp_path / "out", {}, 0
    started = time.monotonic()
    words = [sys.executable, "-m", "classroom", "bake", tmp_path / "students.csv", out, "example=none"]
    process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None:
        with suppress(OSError, IndexError):  # one of its processes ends while it is looked at
            peak = max(peak, memory(process.pid))
        time.sleep(0.05)
    seconds["bake"] = time.monotonic() - started
    assert process.returncode == 0
    for name, _, author in rows:
        assert f" {author}\n" in (out / name / "LICENSE").read_text(encoding="utf-8")
        assert json.loads((out / name / "app.json").read_text(encoding="utf-8"))["name"] == name
    ways = list(WAYS)
    expected = {}
    for number, (name, _, _) in enumerate(rows):
        expected[name] = RIGHT
        if number < broken:
            way = ways[number % len(ways)]
            way(out / name)
            if way is not no_repository:
                commit(out / name)
            expected[name] = WAYS[way]
    started = time.monotonic()
    result = command("check", out, "--csv", tmp_path / "t.csv", "--html", tmp_path / "t.html")
    seconds["check"] = time.monotonic() - started
    assert result.returncode == 0, result.stderr
    lines = as_read(tmp_path / "t.csv")
    assert len(lines) == count
    for line in lines:
        verdict, cure, errors, warnings, silenced, doctor = expected[line["Student"]]
        assert line["Result"] == EN[verdict], line
        assert line["First cure"].startswith(cure) and bool(line["First cure"]) == bool(
            cure or verdict == "could_not_look"
        )
        for step in check.STEPS:
            none = "" if verdict == "could_not_look" else "0"
            assert line[f"Errors {step}"] == str(errors.get(step, none)), line
            assert line[f"Warnings {step}"] == str(warnings.get(step, none)), line
        assert line["Silenced"] == silenced
        assert line["Doctor"] == EN.get(f"doctor_{doctor}", "")
        assert bool(line["Commit"]) == bool(line["Last commit"]) == (verdict != "could_not_look")
    page = JustHTML((tmp_path / "t.html").read_text(encoding="utf-8"))
    shown = [[cell.to_text().strip() for cell in row.query("th, td")[:2]] for row in page.query("#table tbody tr")]
    assert shown == [[line["Student"], line["Result"]] for line in lines]
    return seconds, peak


def test_a_class_from_the_roster_to_the_table(tmp_path):
    check_a_class(tmp_path, 16, 13)


@pytest.mark.slow
def test_a_class_of_which_a_third_is_broken(tmp_path):
    """`make class` does it with 200 students, 60 of whom have broken their projects, and shows what it took."""
    students = int(os.environ.get("STUDENTS", "40"))
    seconds, megabytes = check_a_class(tmp_path, students, students * 3 // 10)
    print(
        f"{students} students: baked in {seconds['bake']:.0f} s, checked in {seconds['check']:.0f} s, {megabytes:.0f} MB"
    )
    assert megabytes < 100
