"""What git would push: the last commit, read as data. Nothing of the repository is trusted.

A repository's own settings can name programs (core.fsmonitor, filters, hooks, include.path),
and git runs them, also for `git status`. So git works here on a repository of the doctor's
own, which lends nothing from the real one but its objects:
https://git-scm.com/docs/git#Documentation/git.txt-codeGITOBJECTDIRECTORYcode
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

if sys.platform == "linux":
    import resource

SECONDS = 10  # for one question to git
OUTPUT = 100_000_000  # bytes of one answer
MEMORY = 250_000_000  # bytes that git may take
SMALL = 1_000_000  # bytes of a setting, a ref or a list of ignored files
# What the real repository may say of itself: where its branches are, how hashes are made.
KNOWN = {"objectformat": {"sha1", "sha256"}, "refstorage": {"files"}}
HARMLESS = {"noop", "partialclone", "preciousobjects"}
HARMLESS |= {"relativeworktrees", "worktreeconfig"}


class CannotCheck(Exception):
    """The project could not be read at all; reason: the name of the sentence that says why."""

    def __init__(self, reason, **details):
        super().__init__(reason)
        self.reason, self.details = reason, details


def find(folder):
    """Return (the top folder of a repository, its .git) around a folder, None without one.

    A bare repository, which a clone may contain as plain files, is none.
    """
    for top in (folder, *folder.parents):
        git = top / ".git"
        if git.is_dir() and (git / "HEAD").exists():
            return top, git
        if git.is_file():  # of a worktree or a submodule
            word, _, place = small_text(git).partition(":")
            if word != "gitdir" or not place.strip():
                raise CannotCheck("git_failed", cause=".git")
            return top, real(top / place.strip())
    return None


def real(path):
    """Return a path without links; Path.resolve() stumbles over those in a circle."""
    return Path(os.path.realpath(path))


def small_text(file):
    """Return the text of a small file, empty where there is none, or a link, or no text."""
    if file.is_symlink() or not file.is_file():
        return ""
    with file.open("rb") as opened:
        content = opened.read(SMALL)
    return "" if b"\0" in content else content.decode("utf-8", "replace")


class Repository:
    """One repository. head: the hash of its last commit, None where there is none."""

    def __init__(self, top, git):
        """Raises CannotCheck where the repository is of a kind that is not known here."""
        self.top = top
        common = small_text(git / "commondir").strip()
        self.common = real(git / common) if common else git
        self.sparse = False  # whether files may be missing from the folder on purpose
        self.object_format = self.read_settings(git)
        self.head = self.resolve("HEAD", [git, self.common])
        self.program = git_program(top)
        self.folder = None

    def read_settings(self, git):
        """Return how hashes are made; of the settings nothing else counts."""
        found = {"objectformat": "sha1"}
        section = ""
        files = (self.common / "config", git / "config.worktree")
        for line in "\n".join(map(small_text, files)).splitlines():
            line = re.split("[#;]", line)[0]
            parts = (part.strip(' \t"').lower() for part in line.partition("="))
            name, _, value = parts
            if match := re.match(r"\s*\[\s*([\w.-]+)", line):
                section = match[1].lower()
            elif (section, name) == ("core", "sparsecheckout"):
                self.sparse = value == "true"
            elif section == "extensions" and value:
                known = KNOWN.get(name)
                if value not in known if known else name not in HARMLESS:
                    raise CannotCheck("git_extension", name=f"{name} = {value}")
                found[name] = value
        return found["objectformat"]

    def resolve(self, name, places):
        """Return the hash that a ref stands for, None for a branch without a commit."""
        for _ in range(5):  # a ref may name another
            texts = [small_text(place / name).strip() for place in places]
            text = next(filter(None, texts), "") or self.packed(name)
            if re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", text):
                return text
            name = text.removeprefix("ref:").strip()
            if not re.fullmatch(r"refs/[^\s~^:?*\[\\]+", name) or ".." in name:
                return None
        return None

    def pushed(self):
        """Return the hash of what was pushed last, None where that is nothing or this commit."""
        for remote in ("heroku", "origin"):
            for branch in ("main", "master"):
                commit = self.resolve(f"refs/remotes/{remote}/{branch}", [self.common])
                if commit:
                    return commit if commit != self.head else None
        return None

    def packed(self, name):
        for line in small_text(self.common / "packed-refs").splitlines():
            hash, _, ref = line.partition(" ")
            if ref == name:
                return hash
        return ""

    def __enter__(self):
        """Lay out a repository of our own, with the settings that are safe."""
        self.folder = Path(tempfile.mkdtemp(prefix="doctor-git-"))
        (self.folder / "refs").mkdir()
        (self.folder / "info").mkdir()
        (self.folder / "HEAD").write_text(f"{self.head}\n", encoding="ascii")
        other_system = sys.platform in ("win32", "darwin")
        settings = {
            "core": {
                "repositoryFormatVersion": 1,
                "bare": "false",
                "fileMode": "false",
                # Line ends are compared as git stores them, whatever this computer has.
                "autocrlf": "input",
                "safecrlf": "false",
                "ignoreCase": str(other_system).lower(),
                "precomposeUnicode": str(sys.platform == "darwin").lower(),
                "symlinks": str(sys.platform != "win32").lower(),
            },
            "extensions": {"objectFormat": self.object_format},
        }
        lines = []
        for section, values in settings.items():
            lines.append(f"[{section}]")
            lines += [f"\t{name} = {value}" for name, value in values.items()]
        config = "\n".join([*lines, ""])
        (self.folder / "config").write_text(config, encoding="utf-8")
        excludes = small_text(self.common / "info" / "exclude")
        (self.folder / "info" / "exclude").write_text(excludes, encoding="utf-8")
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.folder, ignore_errors=True)

    def ask(self, *arguments, given=b"", fatal=True):
        """Return what git prints. Raises CannotCheck where it fails, unless not fatal: None."""
        environ = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
        environ |= {
            "GIT_DIR": str(self.folder),
            "GIT_WORK_TREE": str(self.top),
            "GIT_OBJECT_DIRECTORY": str(self.common / "objects"),
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_OPTIONAL_LOCKS": "0",
            "GIT_NO_LAZY_FETCH": "1",
            "GIT_NO_REPLACE_OBJECTS": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "HOME": str(self.folder),
            "LC_ALL": "C",
        }
        process = subprocess.Popen(
            [self.program, *arguments],
            cwd=self.folder,
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        if sys.platform == "linux":
            resource.prlimit(process.pid, resource.RLIMIT_DATA, (MEMORY, MEMORY))
        end = threading.Timer(SECONDS, process.kill)
        end.start()
        errors = []
        reader = in_background(lambda: errors.append(process.stderr.read(SMALL)))
        in_background(feed, process.stdin, given)
        try:
            output = process.stdout.read(OUTPUT + 1)
            if len(output) > OUTPUT:
                process.kill()
                raise CannotCheck("git_too_much")
            status = process.wait()
        finally:
            late = not end.is_alive()
            end.cancel()
            process.kill()
            process.wait()
            reader.join()
            process.stdout.close()
            process.stderr.close()
        if status == 0:
            return output
        if not fatal:
            return None
        if late:
            raise CannotCheck("git_too_long", seconds=SECONDS)
        cause = b"".join(errors).decode("utf-8", "replace").strip().splitlines()
        raise CannotCheck("git_failed", cause=(cause or [f"git {arguments[0]}"])[-1])

    def files(self, prefix):
        """Return {path: (mode, hash, bytes)} of the commit's files below a folder of it."""
        # A folder that the commit does not have holds nothing that could be pushed.
        tree = f"{self.head}:{prefix.rstrip('/')}" if prefix else self.head
        fatal = not prefix
        listing = self.ask("ls-tree", "-r", "-z", "--long", tree, fatal=fatal) or b""
        found = {}
        for entry in listing.split(b"\0")[:-1]:
            facts, _, path = entry.partition(b"\t")
            mode, kind, hash, size = facts.split()
            if not size.isdigit() and kind == b"blob":
                raise CannotCheck("git_missing", name=path.decode("utf-8", "replace"))
            size = int(size) if size.isdigit() else 0
            found[path.decode("utf-8", "replace")] = (mode.decode(), hash, size)
        return found

    def contents(self, hashes):
        """Yield the contents that belong to the hashes, in their order."""
        if not hashes:
            return
        # One git for all files: starting it 200 times would take seconds.
        answer = self.ask(
            "cat-file", "--batch", given=b"".join(h + b"\n" for h in hashes)
        )
        position = 0
        for _ in hashes:
            end = answer.index(b"\n", position)
            facts = answer[position:end].split()
            if len(facts) != 3:
                raise CannotCheck("git_missing", name=facts[0].decode())
            size = int(facts[2])
            yield answer[end + 1 : end + 1 + size]
            position = end + 1 + size + 1

    def unpushed(self, prefix):
        """Return the paths that differ from the commit or are new, None if that took too long."""
        self.ask("read-tree", self.head)
        options = ("--porcelain", "-z", "--no-renames", "--untracked-files=all")
        # A submodule is a repository with settings of its own.
        options += ("--ignore-submodules=all",)
        place = str(self.top / prefix) if prefix else str(self.top)
        status = self.ask("status", *options, "--", place, fatal=False)
        if status is None:
            return None
        entries = status.split(b"\0")
        if self.sparse:
            entries = [entry for entry in entries if entry[:2] != b" D"]
        paths = [e[3:].decode("utf-8", "replace") for e in entries if e[2:3] == b" "]
        return [path.removeprefix(prefix) for path in paths]


def in_background(function, *arguments):
    thread = threading.Thread(target=function, args=arguments, daemon=True)
    thread.start()
    return thread


def feed(stream, given):
    """Write to a program that may end before it has read all."""
    try:
        stream.write(given)
        stream.close()
    except OSError:
        pass  # its exit status says more


def git_program(top):
    """Return git's path; one that lies in the project is not taken. Raises CannotCheck."""
    # Windows would look into the current folder first.
    os.environ.setdefault("NoDefaultCurrentDirectoryInExePath", "1")
    program = shutil.which("git")
    if program is None or Path(program).resolve().is_relative_to(top.resolve()):
        raise CannotCheck("git_absent")
    return program
