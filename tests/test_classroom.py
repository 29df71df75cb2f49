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
import tomllib
from pathlib import Path

import jsonschema
import pytest
from justhtml import JustHTML

from classroom import WORDS, Refused, autograder, bake, check, roster
from classroom.__main__ import main
from lab import CHOICES, GIT, LANGUAGES, ROOT, call

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
    call(*GIT, "add", "--all", "--force", cwd=project)
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
    assert main(["bake", str(folder / "students.csv"), str(folder / "out"), "example=none"]) == 0
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


@pytest.mark.parametrize("end", ["\n", "\r\n"])
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
    # For all where the line says nothing itself.
    one, other = answers_of(file("username,license\nann,none\nbob,\n"), "github_owner=school", "license=BSD-3-Clause")
    assert (one["github_owner"], one["license"], other["license"]) == ("school", "none", "BSD-3-Clause")


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
    ],
)
def test_what_is_no_roster_gets_its_sentence(file, text, said):
    with pytest.raises(Refused) as refused:
        answers_of(file(text))
    assert said in "\n".join(refused.value.lines)


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


def no_flask(project):
    text = (project / "requirements.txt").read_text(encoding="utf-8")
    write(project, "requirements.txt", re.sub(r"(?im)^flask==.*\n", "", text))


def old_python(project):
    write(project, ".python-version", "3.5\n")


def powershell(project):
    text = (project / "requirements.txt").read_text(encoding="utf-8")
    write(project, "requirements.txt", text.encode("utf-16"))


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
    with (project / "requirements.txt").open("a", encoding="utf-8") as file:
        file.write("torch==2.9.0\n")


# way: (verdict, first cure, {step: errors}, {step: warnings}, silenced, doctor)
WAYS = {
    no_procfile: ("wrong", "H401", {10: 1}, {}, "", "own"),
    development_server: ("wrong", "H406", {10: 1}, {}, "", "own"),
    conflict: ("wrong", "H116", {1: 1}, {}, "", "own"),
    no_flask: ("wrong", "H204", {13: 1}, {}, "", "own"),
    old_python: ("wrong", "H303", {1: 1}, {}, "", "own"),
    powershell: ("wrong", "H203", {13: 1}, {}, "", "own"),
    broken_app_json: ("wrong", "H701", {7: 1}, {}, "", "own"),
    sub_folder: ("wrong", "H102", {1: 1}, {}, "", "edited"),
    silenced: ("wrong", "H401", {10: 1}, {}, "H401", "own"),
    edited_doctor: ("wrong", "H406", {10: 1}, {}, "", "edited"),
    no_repository: ("could_not_look", "", {}, {}, "", ""),
    warned: ("fine", "H205", {}, {13: 1}, "", "own"),
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
