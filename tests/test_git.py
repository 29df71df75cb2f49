"""The repository that a generation makes: on every kind of machine, and without losing anything."""

import os
import shutil
import subprocess
import sys

import pytest

from conftest import ROOT, merged
from test_hooks import CHOICES

GIT = shutil.which("git")
NO_IDENTITY = {"HOME": "/nonexistent", "XDG_CONFIG_HOME": "/nonexistent"}


@pytest.fixture
def generate(cookiecutter):
    """A function that generates a project; returns (its folder, what was printed)."""

    def generate(*arguments, environ=None, folder="my-notes"):
        result = cookiecutter("--no-input", "author_name=Ann Lee", "github_owner=ann", *arguments, environ=environ)
        assert result.returncode == 0, result.stderr
        project = cookiecutter.work / folder
        assert (project / "main.py").exists()
        return project, result.stdout

    generate.work = cookiecutter.work
    return generate


def git(*arguments, cwd):
    result = subprocess.run([GIT, *arguments], cwd=cwd, capture_output=True, encoding="utf-8", check=True)
    return result.stdout.strip()


def files(folder):
    return sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())


def test_everything_is_committed_on_main(generate):
    project, words = generate()
    assert git("symbolic-ref", "HEAD", cwd=project) == "refs/heads/main"
    assert git("status", "--porcelain", "--ignored", cwd=project) == "!! .env"
    assert git("rev-list", "--count", "HEAD", cwd=project) == "1"
    assert "git: a repository with a first commit is made" in words


def test_without_an_identity_the_author_of_the_answers_commits(generate):
    project, _ = generate(environ=NO_IDENTITY)
    assert git("log", "-1", "--format=%an <%ae>", cwd=project) == "Ann Lee <ann@users.noreply.github.com>"
    assert "user" not in git("config", "--local", "--list", cwd=project)


def test_a_known_identity_is_used(generate, tmp_path):
    settings = tmp_path / "gitconfig"
    settings.write_text("[user]\nname = Known\nemail = known@example.com\n", encoding="utf-8")
    project, _ = generate(environ={"GIT_CONFIG_GLOBAL": str(settings)})
    assert git("log", "-1", "--format=%an <%ae>", cwd=project) == "Known <known@example.com>"
    assert settings.read_text(encoding="utf-8") == "[user]\nname = Known\nemail = known@example.com\n"


@pytest.mark.parametrize("name", ["Ann Lee", "O'Brien", 'Ann "The Cat" $HOME `id` \\ Lee!', "", "Анна 😀"])
def test_after_the_two_lines_that_are_shown_a_person_can_commit(generate, tmp_path, name):
    """With no settings of git at all, and without git making up an address from the computer's name."""
    home = tmp_path / "home"
    home.mkdir()
    nothing = {"HOME": str(home), "XDG_CONFIG_HOME": None, "GIT_CONFIG_GLOBAL": None}
    project, words = generate(f"author_name={name}", environ=nothing)
    why, *lines = [line for line in words.splitlines() if line][-3:]
    assert why.startswith("git does not know you yet")
    assert [line.split()[:4] for line in lines] == [
        ["git", "config", "--global", "user.name"],
        ["git", "config", "--global", "user.email"],
    ]
    (project / "mine.txt").write_text("mine", encoding="utf-8")
    own = "git add mine.txt && git -c user.useConfigOnly=true commit --quiet --message mine"
    script = "\n".join(["set -e", *lines, own])
    subprocess.run(["sh", "-c", script], cwd=project, env=merged(os.environ, nothing), check=True)
    written = git("log", "-1", "--format=%an <%ae> %s", cwd=project)
    assert written == f"{name or 'ann'} <ann@users.noreply.github.com> mine"


def test_a_person_whom_git_knows_is_shown_no_such_lines(generate, tmp_path):
    settings = tmp_path / "gitconfig"
    settings.write_text("[user]\nname = Known\nemail = known@example.com\n", encoding="utf-8")
    _, words = generate(environ={"GIT_CONFIG_GLOBAL": str(settings)})
    assert "git config" not in words


def test_without_a_repository_of_its_own_no_such_lines_are_shown(generate, tmp_path):
    _, words = generate(environ={"PATH": str(tmp_path)})
    assert "git config" not in words


@pytest.mark.parametrize("name", ["<>", "...", '"', "", "Анна"])
def test_any_author_can_commit(generate, name):
    project, words = generate(f"author_name={name}", environ=NO_IDENTITY)
    assert "first commit" in words
    assert git("log", "-1", "--format=%an", cwd=project) == (name if name == "Анна" else "ann")


def test_without_git_there_is_a_project_and_a_sentence(generate, tmp_path):
    project, words = generate(environ={"PATH": str(tmp_path)})
    assert "git: not installed" in words
    assert not (project / ".git").exists()


def test_a_git_that_fails_leaves_a_project_and_a_sentence(generate, tmp_path):
    fake = tmp_path / "programs" / "git"
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\necho 'fatal: broken' >&2\nexit 128\n", encoding="utf-8")
    fake.chmod(0o755)
    project, words = generate(environ={"PATH": str(fake.parent)})
    assert "git: no repository was made (fatal: broken)" in words
    assert not (project / ".git").exists()


def test_an_old_git_is_enough(generate, tmp_path):
    """git before 2.28 has no --initial-branch: this one refuses it."""
    old = tmp_path / "programs" / "git"
    old.parent.mkdir()
    refuse = 'for word in "$@"; do case "$word" in -b|--initial-branch*) echo unknown option >&2; exit 129;; esac; done'
    old.write_text(f'#!/bin/sh\n{refuse}\nexec {GIT} "$@"\n', encoding="utf-8")
    old.chmod(0o755)
    project, words = generate(environ={"PATH": str(old.parent)})
    assert "first commit" in words
    assert git("symbolic-ref", "HEAD", cwd=project) == "refs/heads/main"


def test_inside_another_repository_both_stay_usable(generate):
    git("init", "--quiet", cwd=generate.work)
    project, words = generate()
    assert str(generate.work) in words
    assert git("rev-parse", "--show-toplevel", cwd=project) == str(project)
    git("add", "--all", cwd=generate.work)  # would die on a repository without a commit


def test_inside_another_repository_that_ignores_it_all_is_well(generate):
    git("init", "--quiet", cwd=generate.work)
    (generate.work / ".gitignore").write_text("my-notes/\n", encoding="utf-8")
    _, words = generate()
    assert "git: a repository with a first commit is made" in words


def test_git_variables_of_another_repository_are_ignored(generate, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    git("init", "--quiet", cwd=other)
    before = files(other)
    variables = {
        "GIT_DIR": str(other / ".git"),
        "GIT_WORK_TREE": str(other),
        "GIT_INDEX_FILE": str(other / "index"),
        "GIT_LITERAL_PATHSPECS": "1",
    }
    project, words = generate(environ=variables)
    assert "first commit" in words
    assert git("rev-list", "--count", "HEAD", cwd=project) == "1"
    assert files(other) == before


@pytest.mark.parametrize("kind", ["hooks", "template", "signing", "excludes"])
def test_global_settings_do_not_get_in_the_way(generate, tmp_path, kind):
    hook = tmp_path / "hooks" / "pre-commit"
    hook.parent.mkdir()
    hook.write_text("#!/bin/sh\necho refused by a hook >&2\nexit 1\n", encoding="utf-8")
    hook.chmod(0o755)
    excludes = tmp_path / "excludes"
    excludes.write_text("Procfile\n*.py\n", encoding="utf-8")
    text = {
        "hooks": f"[core]\nhooksPath = {hook.parent}\n",
        "template": f"[init]\ntemplateDir = {tmp_path}\n",
        "signing": "[commit]\ngpgSign = true\n[gpg]\nprogram = /nonexistent\n",
        "excludes": f"[core]\nexcludesFile = {excludes}\n",
    }[kind]
    settings = tmp_path / "gitconfig"
    settings.write_text(text, encoding="utf-8")
    project, words = generate(environ={"GIT_CONFIG_GLOBAL": str(settings)})
    assert "first commit" in words
    assert {"Procfile", "main.py"} <= set(git("ls-files", cwd=project).splitlines())


def test_a_folder_that_is_a_repository_keeps_its_history(generate):
    project, _ = generate()
    (project / "mine.txt").write_text("mine", encoding="utf-8")
    first = git("rev-parse", "HEAD", cwd=project)
    _, words = generate("--overwrite-if-exists")
    assert "was a repository already" in words
    assert git("rev-parse", "HEAD", cwd=project) == first
    assert (project / "mine.txt").read_text(encoding="utf-8") == "mine"


def test_a_folder_tracked_by_an_outer_repository_gets_none_of_its_own(generate):
    git("init", "--quiet", cwd=generate.work)
    project = generate.work / "my-notes"
    project.mkdir()
    (project / "mine.txt").write_text("mine", encoding="utf-8")
    git("add", "--all", cwd=generate.work)
    _, words = generate("--overwrite-if-exists")
    assert "belongs to the repository" in words
    assert not (project / ".git").exists()


@pytest.mark.parametrize("option", ["--overwrite-if-exists", "--skip-if-file-exists"])
def test_secrets_never_get_into_the_commit(generate, option):
    project = generate.work / "my-notes"
    (project / "instance").mkdir(parents=True)
    (project / "instance" / "secret_key").write_text("secret", encoding="utf-8")
    (project / ".env").write_text("SECRET_KEY=secret", encoding="utf-8")
    (project / ".gitignore").write_text("# nothing\n", encoding="utf-8")
    generate("--overwrite-if-exists", option)
    committed = git("ls-files", cwd=project).splitlines()
    assert "main.py" in committed
    assert not [name for name in committed if name.startswith((".env", "instance")) and name != ".env.example"]


def test_without_hooks_there_is_a_whole_project(generate):
    project, _ = generate("--accept-hooks", "no")
    assert (project / ".python-version").read_text(encoding="utf-8").strip() in CHOICES["python_version"]
    assert not (project / ".git").exists()


def test_replay_makes_the_same_project(generate, cookiecutter):
    project, _ = generate("project_name=It's {# no #} 100 %", "language=ru", "repo_name=app", folder="app")
    first = project.rename(generate.work / "first")
    result = cookiecutter("--replay")
    assert result.returncode == 0, result.stderr
    difference = ["diff", "--recursive", "--exclude=.git", str(first), str(project)]
    assert subprocess.run(difference, capture_output=True, check=False).stdout == b""


def test_a_git_url_is_a_template_too(cookiecutter, tmp_path):
    copy = committed_copy(tmp_path / "template")
    result = cookiecutter("--no-input", template=f"file://{copy}")
    assert result.returncode == 0, result.stderr
    assert (cookiecutter.work / "my-notes" / "main.py").exists()


def cruft(*arguments, cwd, status=0):
    command = [sys.executable, "-m", "cruft", *map(str, arguments)]
    result = subprocess.run(command, cwd=cwd, capture_output=True, encoding="utf-8", check=False)
    assert result.returncode == status, result.stdout + result.stderr
    return result


def commit(folder):
    if not (folder / ".git").exists():
        git("init", "--quiet", cwd=folder)
    git("add", "--all", cwd=folder)
    git("-c", "user.name=T", "-c", "user.email=t@example.com", "commit", "--quiet", "--message", "all", cwd=folder)


def committed_copy(folder):
    """Return a repository with the template as it lies here, uncommitted changes included."""
    names = git("ls-files", "--cached", "--others", "--exclude-standard", "-z", cwd=ROOT).split("\0")
    for name in filter(None, names):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target)
    commit(folder)
    return folder
