"""Whatever a person types: at the questions, and into the files that the doctor reads."""

import ast
import io
import json
import re
import shutil
import sys
import tomllib
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from cookiecutter.exceptions import FailedHookException
from cookiecutter.main import cookiecutter
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from packaging.markers import Marker

from lab import LANGUAGES, ROOT, Project

QUIET = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
# What people are called, in any script; and what means something to a program that reads it.
WORDS = st.text(st.characters(exclude_categories=("Cs", "Cc", "Co", "Cn")), min_size=1, max_size=30)
TEXT = WORDS | st.sampled_from(
    [
        "{{ 7 * 7 }}",
        "{% raw %}",
        "</title><script>",
        '"""',
        "'''",
        "\\",
        "\\N{x}",
        "a\nb",
        "#",
        "`x`",
        "$(x)",
        "=1+1",
        "%s",
    ]
)
ANSWERS = {
    "project_name": TEXT,
    "repo_name": st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,30}", fullmatch=True) | TEXT,
    "author_name": TEXT,
}

# The page is made from the answers, without a database.
BOOT = """
import main
app = main.init_app({"DATABASE_URL": "postgres://u:p@127.0.0.1:1/d", "SECRET_KEY": "k"})
page = app.test_client().get("/nope", headers={"X-Request-Id": "x"})  # else a random number is on it
assert page.status_code == 404
assert "49" not in page.text
"""


@settings(max_examples=3, deadline=None, suppress_health_check=QUIET)
@given(
    language=st.sampled_from(LANGUAGES),
    answers=st.sampled_from(list(ANSWERS)).flatmap(lambda name: st.fixed_dictionaries({name: ANSWERS[name]})),
)
@pytest.mark.slow
def test_an_answer_gives_a_project_that_works_or_nothing(environ, language, answers):
    with TemporaryDirectory() as folder:
        # As when typed: cookiecutter does not render what a person answers.
        try:
            cookiecutter(
                str(ROOT),
                no_input=True,
                default_config=True,
                output_dir=folder,
                extra_context=escaped(answers) | {"language": language},
            )
        except FailedHookException:
            assert list(Path(folder).iterdir()) == []
            return
        (path,) = Path(folder).iterdir()
        project = Project(path, environ)
        for file in project.files():
            if file.suffix == ".py":
                ast.parse(file.read_text(encoding="utf-8"))
            elif file.suffix == ".json":
                json.loads(file.read_text(encoding="utf-8"))
            elif file.suffix == ".toml":
                tomllib.loads(file.read_text(encoding="utf-8"))
        project.run("python", "-c", BOOT)
        project.run("pytest", "-q")
        project.run("python", "-m", "deploy.postgres", "delete")


def escaped(answers):
    """Return the answers as a template that stands for just these texts."""
    return {name: "{{ " + ascii(value) + " }}" for name, value in answers.items()}


PIECES = {
    "Procfile": [
        "web:",
        "web: ",
        "release: ",
        "python -m deploy.server",
        "gunicorn main:app",
        "'",
        '"',
        "$PORT",
        "\r\n",
        "\ufeff",
        "\0",
    ],
    "app.json": ["{", "}", "[", "]", '"env"', ":", "null", '"addons"', '"formation"', "1e999", '"name"', ",", "\ud7ff"],
    ".slugignore": ["/", "*", "!", "#", "static", " ", "\\", "**", "[", "\n"],
    "requirements.txt": ["flask", "==", "-e .", "-r x", ";", "[", "]", "@", " git+https://", "\n", "==1.0", "\\"],
}


@pytest.fixture(scope="module")
def project(baked, tmp_path_factory):
    """A project without a repository: the doctor reads what lies in its folder, not what was once committed."""
    folder = tmp_path_factory.mktemp("fuzz") / "app"
    shutil.copytree(baked(language="en").path, folder, ignore=shutil.ignore_patterns(".git"))
    return Project(folder, baked(language="en").environ)


def mangled(pieces):
    """Files made of the words that mean something in them, and of bytes that mean nothing."""
    words = st.lists(st.sampled_from(pieces) | st.text(max_size=6), max_size=12).map("".join)
    return st.binary(max_size=40) | words.map(lambda text: text.encode("utf-8", "surrogatepass"))


@settings(max_examples=25, deadline=None, suppress_health_check=QUIET)
@given(files=st.fixed_dictionaries({name: mangled(pieces) for name, pieces in PIECES.items()}))
def test_the_doctor_never_stumbles_over_a_file(project, doctor, files):
    for name, content in files.items():
        project.write(name, content)
    read = doctor.Project(project.path)
    assert read.contents["Procfile"] == files["Procfile"]
    result = doctor.look(project.path)
    assert "H101" in {finding.id for finding in result.findings}
    json.loads(doctor.report.as_json(result))
    doctor.report.text(result, io.StringIO(), with_silenced=True)


@settings(max_examples=200, deadline=None, suppress_health_check=QUIET)
@given(line=st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=80).filter(str.strip))
def test_the_doctor_never_stumbles_over_a_log_line(doctor, capsys, line):
    status = doctor.main(["explain", f"at=error {line}"])
    assert status in (0, 2)
    assert bool(capsys.readouterr().out) == (status == 0)


VERSIONS = ["3.8", "3.11", "3.13", "3.13.2", "4.0"]
ATOMS = [
    *(
        f"{name} {sign} '{version}'"
        for name in ("python_version", "python_full_version")
        for version in VERSIONS
        for sign in ("<", "<=", ">", ">=", "==", "!=")
    ),
    *(f"'{version}' {sign} python_version" for version in VERSIONS for sign in ("<", ">=")),
    *(
        f"{name} {sign} {value!r}"
        for name in ("sys_platform", "platform_system", "os_name", "platform_machine")
        for sign in ("==", "!=", "in", "not in")
        for value in ("linux", "Linux", "win32", "nt, posix", "x86_64")
    ),
    "python_version in '3.12 3.13'",
    "'linux' in sys_platform",
    "platform_python_implementation == 'CPython'",
    "implementation_name != 'cpython'",
    "extra == 'dev'",
]
MARKERS = st.recursive(
    st.sampled_from(ATOMS),
    lambda parts: st.builds("({} {} {})".format, parts, st.sampled_from(["and", "or"]), parts),
    max_leaves=4,
)


@settings(max_examples=200, deadline=None, suppress_health_check=QUIET)
@given(text=MARKERS)
def test_a_marker_means_what_it_means_to_pip(doctor, text):
    platform = {
        "os_name": "posix",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "platform_python_implementation": "CPython",
        "implementation_name": "cpython",
        "python_version": "3.13",
        "extra": "",
    }
    # What the doctor cannot know: the patch that the platform takes, and its processor.
    found = {
        Marker(text).evaluate(platform | {"python_full_version": patch, "platform_machine": machine})
        for patch in ("3.13.0", "3.13.2", "3.13.20")
        for machine in ("x86_64", "aarch64")
    }
    told = sys.modules["doctor.versions"].holds(text, (3, 13))
    assert told is None or found == {told}
    if not {"full", "machine"} & set(re.split(r"[_ ]", text)):
        assert told is not None
