"""Finish the project: its Python version, its git repository, and the words about what to do next.

Nothing here may fail: cookiecutter deletes the whole project when a hook does. So every
step that did not work is said in one sentence, and the project can be used without it.
"""

import contextlib
import json
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

ANSWERS = json.loads(r"""
{{ cookiecutter | tojson }}
""")

# Of git's environment variables only these reach it: who commits, and where its settings are.
# The others (GIT_DIR, GIT_WORK_TREE, GIT_INDEX_FILE …) name another repository.
GIT_VARIABLES = {
    *("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL"),
    *("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM", "GIT_EXEC_PATH"),
}

COMMANDS_GIT = ["git init -b main", "git add .", 'git commit -m "Start"']  # under cruft
RUN, CHECK = ["make run"], ["make test", "python3 -m doctor"]
RUN_WINDOWS, CHECK_WINDOWS = ["py -m deploy run"], ["py -m deploy test", "py -m doctor"]
# What stands for an answer that was not given.
PLACEHOLDERS = ["your-github-name", "Your Name"]

MESSAGES = {
    "en": {
        "committed": "git: a repository with a first commit is made (branch main).",
        "nested": (
            "git: the project has a repository of its own, with a first commit; it lies inside"
            " another one, {detail}, which should ignore this folder."
        ),
        "no_git": "git: not installed, so there is no repository yet; Heroku needs one.",
        "exists": "git: the folder was a repository already; nothing was committed, see: git status",
        "tracked": "git: the folder belongs to the repository {detail}; nothing was committed, see: git status",
        "cruft": "git: cruft compares files, so the repository is yours to make, first of all.",
        "failed": "git: no repository was made ({detail}); later: git init, git add ., git commit",
        "next": "Ready. Now:",
        "page": "The page will be at {url}; Ctrl-C stops it. Then:",
        "read": (
            "The first runs its tests, the second tells whether a push would deploy.\n"
            "How to go on: README.md (an app of your own), DEPLOY.md (onto the internet)."
        ),
        "placeholder": "Still to fill in: {text}, in {files}",
        "unknown": "git does not know you yet. For commits of your own type these two lines, once:",
        "unexpected": "The project is there, but one step of its setup did not work: {error}",
    },
    "ru": {
        "committed": "git: создан репозиторий с первым коммитом (ветка main).",
        "nested": (
            "git: создан собственный репозиторий проекта с первым коммитом; он лежит внутри другого,"
            " {detail}: там эту папку стоит добавить в .gitignore."
        ),
        "no_git": "git не установлен, поэтому репозитория пока нет, а для Heroku он нужен.",
        "exists": "git: папка уже была репозиторием, поэтому коммит не сделан; что изменилось, покажет git status",
        "tracked": "git: папка принадлежит репозиторию {detail}, поэтому коммит не сделан; что изменилось, покажет git status",
        "cruft": "git: cruft сравнивает файлы, поэтому репозиторий нужно создать самому, прежде всего остального.",
        "failed": "git: репозиторий не создан ({detail}); сделайте это позже: git init, git add ., git commit",
        "next": "Готово. Теперь:",
        "page": "Страница откроется по адресу {url}; приложение останавливает Ctrl-C. Потом:",
        "read": (
            "Первая команда запускает тесты, вторая проверяет, опубликуется ли проект.\n"
            "Дальше: README.md (своё приложение), DEPLOY.md (публикация в интернете)."
        ),
        "placeholder": "Осталось заменить вашими данными: {text}, в файлах {files}",
        "unknown": "git вас ещё не знает. Чтобы делать свои коммиты, один раз введите эти две строки:",
        "unexpected": "Проект создан, но один из шагов настройки завершился с ошибкой: {error}",
    },
}
WORDS = MESSAGES.get(ANSWERS["language"], MESSAGES["en"])


def git(*arguments):
    """Run git on the project; return its CompletedProcess, never raise.

    A status other than 0 says that it failed, with the reason in stderr.
    """
    environ = {k: v for k, v in os.environ.items() if not k.startswith("GIT_") or k in GIT_VARIABLES}
    command = ["git", *arguments]
    try:
        return subprocess.run(
            command,
            env=environ,
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=60,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return subprocess.CompletedProcess(command, 1, "", str(error))


def author(answers):
    """Return git's settings that name the author of the answers."""
    owner = answers["github_owner"]
    # git drops these characters, and refuses a name that has no others.
    name = answers["author_name"].strip(" .,:;<>\"'\\\t")
    return {"user.name": name or owner, "user.email": f"{owner}@users.noreply.github.com"}


def is_update(answers, project):
    """Tell whether cruft only compares: then the project is made in a folder that nobody will see.

    Cruft's folder for that lies in the system's one for such files, has a name of Python's making, and is not where
    the command was typed.
    """
    folder = project.parent
    typed = os.environ.get("PWD") or os.devnull
    named = re.fullmatch("tmp[a-z0-9_]{8}", folder.name) and Path(typed).resolve() != folder
    return bool("_commit" in answers and named and folder.parent == Path(tempfile.gettempdir()).resolve())


def origin(answers):
    """Return the first commit's words: the template, its version, and where it was got from, as far as that is known."""
    words = f"Start from cookiecutter-flask-heroku {answers['_version']}"
    template, clone = answers.get("_template") or "", answers.get("_repo_dir") or ""
    # A folder of this computer, or a password, is nobody's business.
    if not template.startswith(("gh:", "https://")) or "@" in template:
        return words
    commit = git("-C", clone, "rev-parse", "HEAD").stdout.strip() if clone else ""
    return f"{words}\n\n{template} {commit}".rstrip()


def make_repository(answers, project):
    """Make a git repository with a first commit; return (id of a message, its detail, whether git knows the author)."""
    if "_commit" in answers:  # cruft compares files and stumbles over a .git of ours
        return "cruft", "", True
    if shutil.which("git") is None:
        return "no_git", "", True
    if (project / ".git").exists():
        return "exists", "", True
    inside = any((folder / ".git").exists() for folder in project.parents)
    outer = git("rev-parse", "--show-toplevel").stdout.strip() if inside else ""
    if outer and git("ls-files", ".").stdout:
        return "tracked", outer, True
    nested = outer and git("check-ignore", "--quiet", ".").returncode != 0

    with tempfile.TemporaryDirectory() as folder:
        # In place of the person's own rules, and also where an older .gitignore was kept.
        excludes = Path(folder) / "excludes"
        excludes.write_text(".env\n/instance/\n", encoding="utf-8")
        settings = [
            *("-c", f"core.excludesFile={excludes.as_posix()}"),
            *("-c", f"core.hooksPath={os.devnull}"),
            *("-c", "commit.gpgSign=false"),
            # Or git would make up an address from the computer's name.
            *("-c", "user.useConfigOnly=true"),
        ]
        commit = ["commit", "--quiet", "--message", origin(answers)]
        result, known = git(*settings, "init", "--quiet", "--template="), True
        if result.returncode == 0:
            # `git init --initial-branch` would need git 2.28.
            (project / ".git" / "HEAD").write_text("ref: refs/heads/main\n", encoding="utf-8", newline="\n")
            result = git(*settings, "add", "--all")
        if result.returncode == 0:
            result = git(*settings, *commit)
            known = result.returncode == 0
        if not known:
            settings += [word for name, value in author(answers).items() for word in ("-c", f"{name}={value}")]
            result = git(*settings, *commit)
    if result.returncode != 0:
        # A repository without a commit would stop `git add` in one around it.
        remove(project / ".git")
        return "failed", (result.stderr.strip().splitlines() or ["?"])[-1], True
    return ("nested", outer, known) if nested else ("committed", "", known)


def remove(folder):
    """Delete a folder; on Windows git's files are read-only, which has to go first."""

    def make_writable(function, path, _):
        os.chmod(path, stat.S_IWRITE)
        function(path)

    if folder.exists():
        shutil.rmtree(folder, onerror=make_writable)


def heroku_pythons(answers):
    """Return the Python versions that Heroku has: what cookiecutter.json offers, [] where it cannot be found.

    Under cruft it cannot: there `auto` is the same on every computer, as cruft compares the files.
    """
    # The template's folder may be relative to where the command was typed; hooks run elsewhere.
    starts = [os.environ.get("PWD"), answers.get("_output_dir")] if "_repo_dir" in answers else []
    for start in filter(None, starts):
        file = Path(start, answers["_repo_dir"], "cookiecutter.json")
        settings = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        if "__typed_repo_name" in settings:
            return [version for version in settings["python_version"] if version != "auto"]
    return []


def write_python_version(answers, project):
    """For `auto`: the Python running now, if Heroku has it. The template has written one that it has."""
    running = f"{sys.version_info.major}.{sys.version_info.minor}"
    if answers["python_version"] == "auto" and running in heroku_pythons(answers):
        (project / ".python-version").write_text(f"{running}\n", encoding="utf-8", newline="\n")


def write_env(answers, project):
    """Make .env, for settings and passwords, readable by its owner only; one that is there stays as it is."""
    file = project / ".env"
    if "_commit" in answers or file.exists():  # cruft would take it for a part of the template
        return
    file.touch(mode=0o600)
    file.write_bytes((project / ".env.example").read_bytes())


def quoted(text):
    """Return the text so that the person's shell takes it as it is."""
    if not set(text) & set('"\\$`!%'):
        return f'"{text}"'  # in every shell
    if sys.platform != "win32":
        return shlex.quote(text)
    # Programs on Windows take away a backslash before a quotation mark.
    return '"' + re.sub(r'(\\*)"', r"\1\1\"", text) + '"'


def indented(commands):
    """Return the lines of commands that are to be typed."""
    return [f"    {command}" for command in commands]


def files_with(text, project):
    """Return the names of the files in the project's root that hold a text."""
    files = sorted(file for file in project.iterdir() if file.is_file())
    return [file.name for file in files if text in file.read_text(encoding="utf-8")]


def say(stream, *lines):
    """Write lines to stdout or stderr. That nobody can read them changes nothing else."""
    if stream is None:  # closed from the start; a file opened since then may have its number
        return
    try:
        # A console that cannot show a letter gets a stand-in for it, not a traceback.
        stream.reconfigure(errors="backslashreplace")
        print(*lines, sep="\n", file=stream, flush=True)
    except OSError:
        # At exit Python would try the rest again, fail, and end with a status of its own.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


@contextlib.contextmanager
def survived():
    """A step that may fail: what went wrong is said in one line, and the next step is made."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 -- whatever it is, the project must stay
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        say(sys.stderr, WORDS["unexpected"].format(error=reason))


def main():
    """Make all steps, whatever happens to one of them."""
    project = Path.cwd()
    if is_update(ANSWERS, project):
        return
    with survived():
        write_python_version(ANSWERS, project)
    with survived():
        write_env(ANSWERS, project)
    windows = sys.platform == "win32"
    run, check = (RUN_WINDOWS, CHECK_WINDOWS) if windows else (RUN, CHECK)
    if "_commit" in ANSWERS:
        run = [*COMMANDS_GIT, *run]
    last = [WORDS["next"], "", *indented([f"cd {ANSWERS['repo_name']}", *run]), ""]
    last += [WORDS["page"].format(url="http://127.0.0.1:5000"), "", *indented(check), "", WORDS["read"]]
    with survived():
        last += [
            WORDS["placeholder"].format(text=text, files=", ".join(files))
            for text in PLACEHOLDERS
            if (files := files_with(text, project))
        ]
    last.append("")
    with survived():
        message, detail, known = make_repository(ANSWERS, project)
        say(sys.stdout, "", WORDS[message].format(detail=detail), "")
        if not known:
            lines = (f"git config --global {name} {quoted(value)}" for name, value in author(ANSWERS).items())
            last += [WORDS["unknown"], "", *indented(lines), ""]
    say(sys.stdout, *last)


if __name__ == "__main__":
    with survived():
        main()
