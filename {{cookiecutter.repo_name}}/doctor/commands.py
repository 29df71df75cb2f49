"""What a dyno starts: the commands of the Procfile, and of the scripts that they run."""

import posixpath
import re
import shlex
from dataclasses import dataclass, field
from itertools import pairwise

from doctor import FACTS

PROGRAMS = FACTS["programs"]
SERVERS, WRAPPERS = FACTS["servers"], PROGRAMS["wrappers"]
SHELLS, PYTHONS = ("sh", "bash", "dash"), re.compile(r"python(3(\.\d+)?)?$")
ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
BETWEEN = re.compile(r"[;|&]+$")
IN_BETWEEN = ("{", "}", "then", "do")
MAX_WORDS, MAX_DEPTH = 2_000, 4


@dataclass
class Command:
    """One program that a process starts, and where it stands.

    folder: where it runs, "" for the root. variables: what is set for it.
    """

    type: str
    file: str
    line: int
    text: str
    words: list
    folder: str = ""
    variables: dict = field(default_factory=dict)

    @property
    def place(self):
        return self.file, self.line

    @property
    def program(self):
        return self.words[0]

    @property
    def arguments(self):
        return self.words[1:]

    def start(self, count):
        """Return the first words of it."""
        return " ".join(self.words[:count])

    def option(self, *names):
        """Return what an option was given last, None where it was not."""
        value = None
        for word, following in pairwise([*self.arguments, ""]):
            for name in names:
                if word == name:
                    value = following
                elif word.startswith(f"{name}="):
                    value = word[len(name) + 1 :]
                elif re.fullmatch(r"-\w", name) and re.match(rf"{name}[^-]", word):
                    value = word[2:]
        return value

    def positional(self, flags=()):
        """Return the arguments that are no options. flags: options that take no value."""
        found, skip = [], False
        for word in self.arguments:
            if skip:
                skip = False
            elif not word.startswith("-") or word == "-":
                found.append(word)
            else:
                alone = "=" in word or re.match(r"-\w.", word) or word in flags
                skip = not (alone or word.startswith("--no-"))
        return found

    def python_file(self):
        """Return the path of the Python file that it runs, None where it runs none."""
        if not PYTHONS.match(self.program):
            return None
        rest = [w for w in self.arguments if not re.match(r"-[uOBEsSIbqvP]+$", w)]
        while rest[:1] and rest[0] in ("-W", "-X"):
            rest = rest[2:]
        return rest[0] if rest and rest[0][0] not in "-<>" else None

    def module(self):
        """Return the module that `python -m` runs, None where it does not."""
        if PYTHONS.match(self.program) and "-m" in self.arguments[:-1]:
            return self.arguments[self.arguments.index("-m") + 1]
        return None

    def path(self, name):
        """Return a file's path from the root, as this command finds it."""
        path = posixpath.join(self.folder, name.removeprefix("/app/"))
        return posixpath.normpath(path)


def split(text):
    """Yield the words of each simple command of a line, as a shell would find them."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars=";|&")
    lexer.whitespace_split, lexer.commenters = True, "#"
    try:
        tokens = list(lexer)[:MAX_WORDS]
    except ValueError:  # quotation marks that do not end
        tokens = text.split()[:MAX_WORDS]
    found = []
    for token in tokens:
        if BETWEEN.match(token):
            yield found
            found = []
        else:
            found.append(token)
    yield found


def commands(project, type, file, line, text, folder="", variables=None, depth=0):
    """Yield the Commands of a line of a Procfile or of a script, and of what they run."""
    state = dict(variables or {})
    for words in split(text):
        own = dict(state)
        words = unwrapped([w for w in words if w not in IN_BETWEEN], own)
        if not words:
            state.update(own)  # `PORT=1;` and `export PORT=1`
            continue
        if words[0] == "cd":
            folder = posixpath.normpath(posixpath.join(folder, *words[1:2]))
            folder = folder.removeprefix("/app").strip("/")
            folder = "" if folder == "." else folder
            continue
        command = Command(type, file, line, text, words, folder, own)
        yield command
        script = shell_script(command)
        if script in project and depth < MAX_DEPTH:
            for number, inner, place in certain_lines(project.text(script), folder):
                yield from commands(
                    project, type, script, number, inner, place, own, depth + 1
                )


def certain_lines(text, folder):
    """Yield (number, line, folder) of a script's lines that run in any case, in a known folder."""
    inside, end = 0, None
    for number, line in enumerate(text.replace("\\\n", " ").splitlines(), start=1):
        words = line.split()[:MAX_WORDS]
        if end:  # a text up to its last word
            end = None if line.strip() == end else end
            continue
        if found := re.search(r"<<-?\s*['\"]?(\w+)", line[:MAX_WORDS]):
            end = found[1]
        inside += bool(words) and words[0] in ("if", "for", "while", "case", "until")
        if not inside and words and len(line) < MAX_WORDS:
            if words[0] == "cd" and re.search(r"[$`\"]", line):
                return  # nobody knows where
            if words[0] == "cd" and len(words) > 1:
                folder = posixpath.join(folder, words[1])
            yield number, line, folder
        inside -= bool({"fi", "done", "esac"} & set(re.split(r"[\s;]+", line)))


def unwrapped(words, variables):
    """Return the words from the program on; keep the variables set before it."""
    while words:
        word = words[0]
        if ASSIGNMENT.match(word):
            name, _, value = word.partition("=")
            variables[name], words = value, words[1:]
        elif word == "export":
            words = words[1:]
        elif word in WRAPPERS:
            words = words[1 + WRAPPERS[word] :]
            while words and words[0].startswith("-") and word not in ("exec", "env"):
                words = words[1:]
        else:
            break
    if words[:1] == ["flask"]:
        words = in_order(words)
    if len(words) > 2 and PYTHONS.match(words[0]) and words[1] == "-m":
        module = words[2].replace("waitress", "waitress-serve")
        if module in SERVERS or module in PROGRAMS["others"]:
            return [module, *words[3:]]
    return words


def in_order(words):
    """Return the words of a call of Flask with its command first: flask --app x db upgrade."""
    at = 1
    while words[at : at + 1] and words[at].startswith("-"):
        alone = "=" in words[at] or words[at] in ("--debug", "--no-debug")
        at += 1 if alone else 2
    return [words[0], *words[at:], *words[1:at]]


def shell_script(command):
    """Return the path of the shell script that a command runs, None where it runs none."""
    name = command.program
    if name in SHELLS:
        name = next((w for w in command.arguments if not w.startswith("-")), "")
        return command.path(name) if name and " " not in name else None
    is_path = "/" in name or name.endswith(".sh")
    return command.path(name) if is_path and not name.endswith(".py") else None


def packages_of_program(command, worker=""):
    """Yield (package, what names it) of what a command needs to be installed.

    worker: gunicorn's kind of worker where a file of its settings names it.
    """
    program = command.program
    if program in SERVERS or program in PROGRAMS["others"]:
        yield PROGRAMS["packages"].get(program, program), program
    worker = command.option("-k", "--worker-class") or worker
    package = PROGRAMS["workers"].get(worker.partition(".")[0])
    if program == "gunicorn" and package:
        yield package, f"-k {worker}"
