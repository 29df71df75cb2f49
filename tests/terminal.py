"""The first three minutes in a terminal, as pictures for docs/start.md: part of `make pictures`.

What is seen was typed and printed: the questions, the first start, and the doctor before and after a mistake.
"""

import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.text import Text

from lab import LANGUAGES, ROOT

WIDTH = 96  # columns
QUIET = 1.0  # seconds without a word: it waits for an answer
ADDRESS = "gh:OWNER/cookiecutter-flask-heroku"
CHOICE = {"en": "1", "ru": "2"}


class Terminal:
    """A terminal, and all that it has shown."""

    def __init__(self, folder, environ):
        self.folder, self.environ, self.shown = folder, environ, ""

    def type(self, command, instead=None, answers=(), until=None):
        """Run a command as a person would: instead is what runs in its place; answers are typed where it waits.

        until: a pattern of its output after which it is stopped with Ctrl-C.
        """
        self.shown += f"$ {command}\n"
        ours, its = pty.openpty()
        process = subprocess.Popen(
            ["sh", "-c", f"stty cols {WIDTH}; exec {instead or command}"],
            cwd=self.folder,
            env=self.environ,
            stdin=its,
            stdout=its,
            stderr=its,
            start_new_session=True,
        )
        os.close(its)
        answers, since, printed = list(answers), time.monotonic(), ""
        while process.poll() is None or select.select([ours], [], [], 0)[0]:
            if select.select([ours], [], [], 0.1)[0]:
                try:
                    printed += os.read(ours, 65536).decode("utf-8", "replace")
                except OSError:  # closed on the other side
                    break
                since = time.monotonic()
            elif answers and time.monotonic() - since > QUIET:
                os.write(ours, f"{answers.pop(0)}\n".encode())
                since = time.monotonic()
            if until and re.search(until, printed):
                time.sleep(QUIET)
                os.killpg(process.pid, signal.SIGINT)
                until = None
        assert process.wait() in (0, 1, 130, -signal.SIGINT), printed
        os.close(ours)
        printed = printed.replace("\r\n", "\n").rstrip()
        self.shown += f"{printed}\n\n" if printed else ""

    def picture(self, file, title):
        """Write what was shown since the last picture into an SVG that loads nothing from elsewhere."""
        console = Console(record=True, width=WIDTH, file=StringIO())
        console.print(Text.from_ansi(self.shown.rstrip()))
        svg = re.sub(r"@font-face {.*?}", "", console.export_svg(title=title), flags=re.DOTALL)
        svg = "\n".join(line.rstrip() for line in svg.splitlines() if line.strip()) + "\n"
        file.write_text(svg, encoding="utf-8", newline="\n")
        print(file.relative_to(ROOT))
        self.shown = ""


def take(language, folder):
    environ = os.environ | {"TERM": "xterm-256color", "COLUMNS": str(WIDTH), "HOME": str(folder), "LC_ALL": "C.UTF-8"}
    environ |= {"GIT_CONFIG_GLOBAL": str(folder / "gitconfig"), "XDG_DATA_HOME": str(folder / "data")}
    environ |= {"GIT_AUTHOR_DATE": "2026-11-22T12:00:00", "GIT_COMMITTER_DATE": "2026-11-22T12:00:00"}
    (folder / "gitconfig").write_text("[user]\n\tname = Ann\n\temail = ann@example.com\n", encoding="utf-8")
    picture = f"start-{language}-{{}}.svg".format
    terminal = Terminal(folder, environ)
    cookiecutter = Path(sys.executable).with_name("cookiecutter")
    answers = [CHOICE[language], "1", "", "", "Ann", "ann", "1", "1"]
    terminal.type(f"cookiecutter {ADDRESS}", f"{cookiecutter} {ROOT}", answers)
    terminal.picture(ROOT / "docs" / picture(1), "1 / 3")
    project = next(path.parent for path in folder.glob("*/main.py"))
    terminal.type(f"cd {project.name}", "true")
    terminal.folder = project
    terminal.type("make run", f"make run PYTHON={sys.executable}", until="Debugger PIN: .*\n")
    terminal.picture(ROOT / "docs" / picture(2), "2 / 3")
    terminal.type("python3 -m doctor", f"{sys.executable} -m doctor")
    terminal.type("git mv Procfile Procfile.txt")
    terminal.type('git commit --quiet -am "Oops"')
    terminal.type("python3 -m doctor", f"{sys.executable} -m doctor")
    terminal.picture(ROOT / "docs" / picture(3), "3 / 3")
    subprocess.run(
        [project / ".venv/bin/python", "-m", "deploy.postgres", "delete"], cwd=project, env=environ, check=True
    )


def main():
    for language in LANGUAGES:
        with TemporaryDirectory(prefix="first-minutes-") as folder:
            take(language, Path(folder))


if __name__ == "__main__":
    if shutil.which("make") is None:
        sys.exit("make is needed (Debian: apt install make).")
    main()
