"""What git would push, read as data: the files of the last commit, or of the folder."""

import contextlib
import copy
import os
import posixpath
from collections import Counter
from fnmatch import fnmatchcase
from functools import cache, cached_property, wraps
from inspect import isgenerator
from pathlib import Path

from doctor import FACTS, repository
from doctor.repository import CannotCheck

MAX_BYTES = 1_000_000  # larger files are listed, but not read
MAX_TOTAL = 50_000_000  # bytes of all files that are read
MAX_LINE = 2_000  # characters of a line that are looked at
MAX_FILES = 10_000  # that are read, what may run first
MAX_OF_FOLDER = 200  # files of one folder that come before the other folders' rest
LAYOUT = FACTS["layout"]
NOT_PUSHED = LAYOUT["not_pushed"]
ENVIRONMENT_MARKS = {"pyvenv.cfg", "conda-meta"}


class Files:
    """The files of the last commit. Without a commit: the files of the folder."""

    def __init__(self, root, commit=None):
        """root: the project's folder; commit: its hash, the last one if None. Raises CannotCheck."""
        # Path.resolve() stumbles over links in a circle.
        self.root = Path(os.path.realpath(root))
        if not self.root.is_dir():
            raise CannotCheck("no_folder", folder=root)
        self.sizes = {}  # path from the root, with slashes: bytes
        self.contents = {}  # the same: what is in it
        self.decoded = {}  # the same, read as text
        self.modes = {}  # the same: git's mode, such as "100755"
        self.hashes = {}
        self.dangling = set()  # links that lead nowhere
        self.above = ""  # how deep the project lies in its repository
        self.unpushed = []  # what differs from the last commit, None if nobody can tell
        self.repository, self._listed, self.memory = None, {}, {}
        self._find_repository(commit)
        self.in_git = self.repository is not None and self.repository.head is not None
        if self.in_git:
            self._read_commit()
        else:
            self._read_folder()

    def _find_repository(self, commit):
        found = repository.find(self.root)
        if found:
            self.repository = repository.Repository(*found)
            self.repository.head = commit or self.repository.head
            self.above = self.root.relative_to(found[0]).as_posix() + "/"
            self.above = "" if self.above == "./" else self.above

    def _read_commit(self):
        with self.repository as git:
            files = git.files(self.above)
            self.sizes = {path: size for path, (_, _, size) in files.items()}
            self.modes = {path: mode for path, (mode, _, _) in files.items()}
            self.hashes = {path: hash for path, (_, hash, _) in files.items()}
            small, total, aside = [], 0, set(installed(self.sizes))
            for path in in_order(self.sizes.keys() - aside):
                size = self.sizes[path]
                if size > MAX_BYTES or not self.is_file(path):
                    continue
                total += size
                if total <= MAX_TOTAL and len(small) < MAX_FILES:
                    small.append(path)
            contents = git.contents([self.hashes[path] for path in small])
            read = dict(zip(small, contents, strict=True))
            self.contents = {path: read[path] for path in self.sizes if path in read}
            self._follow_links(git)
            self.unpushed = git.unpushed(self.above)

    def _follow_links(self, git):
        """A link to a file is that file; one that leads nowhere is not there."""
        links = [path for path, mode in self.modes.items() if mode == "120000"]
        links = [path for path in links if self.sizes[path] <= MAX_LINE]
        places = {
            *self.sizes,
            *(folder for path in self.sizes for folder in above(path)),
        }
        targets = git.contents([self.hashes[path] for path in links])
        for path, text in zip(links, targets, strict=True):
            text = text.decode("utf-8", "replace")
            target = posixpath.normpath(posixpath.join(posixpath.dirname(path), text))
            if target in self.contents:
                self.contents[path] = self.contents[target]
            elif target not in places and not self.leads_out(target):
                self.dangling.add(path)
                for known in (self.sizes, self.modes, self.hashes):
                    del known[path]

    def leads_out(self, target):
        """Tell whether a link's target lies where only the dyno, or the repository, knows."""
        return target.startswith("/app/") or self.above and target.startswith("../")

    def pushed(self):
        """Return the same as the last push has left it, None where there was none or nothing is new."""
        commit = self.repository.pushed() if self.in_git else None
        return type(self)(self.root, commit) if commit else None

    def is_file(self, path):
        """Tell whether a path is a file, not a link or another repository."""
        return self.modes.get(path, "100644").startswith("100")

    def _read_folder(self):
        total = 0
        for folder, folders, files in os.walk(self.root):
            inner = folder != str(self.root)
            if inner and ENVIRONMENT_MARKS & {*folders, *files}:
                folders.clear()
                continue
            folders[:] = sorted(name for name in folders if name not in NOT_PUSHED)
            for name in sorted(files):
                path = Path(folder, name)
                relative = path.relative_to(self.root).as_posix()
                inside = Path(os.path.realpath(path)).is_relative_to(self.root)
                if not inside or not path.is_file() or relative == ".env":
                    continue
                self.sizes[relative] = path.stat().st_size
                total += self.sizes[relative]
                if self.sizes[relative] <= MAX_BYTES and total <= MAX_TOTAL:
                    self.contents[relative] = path.read_bytes()
            if len(self.sizes) > MAX_FILES:
                raise CannotCheck("too_many_files", most=MAX_FILES)

    def files(self):
        """Yield (path, content) of everything that is pushed, large files too, no links."""
        with self.repository or contextlib.nullcontext() as git:
            for path in filter(self.is_file, self.sizes):
                content = self.contents.get(path)
                if content is None and self.in_git:
                    content = next(git.contents([self.hashes[path]]))
                elif content is None:
                    content = (self.root / path).read_bytes()
                yield path, content

    def __contains__(self, path):
        return path in self.sizes

    def in_root(self):
        """Return the names of what lies in the root: files, and folders without a slash."""
        return {path.partition("/")[0] for path in self.sizes}

    def in_folder(self, path):
        """Tell whether this path, to the letter, is in the folder, pushed or not."""
        folder = str(self.root)
        for name in path.split("/"):
            if name in ("", ".", "..") or name not in self._names_in(folder):
                return False
            folder = os.path.join(folder, name)
        return True

    def _names_in(self, folder):
        """Return what lies in a folder of the disk, to the letter."""
        if folder not in self._listed:
            is_folder = os.path.isdir(folder)
            self._listed[folder] = set(os.listdir(folder)) if is_folder else set()
        return self._listed[folder]

    def is_nearly_there(self, path):
        """Tell whether a path lies in the folder, pushed or not, or has other letters."""
        return path.lower() in self.lower_paths or self.in_folder(path)

    def text(self, path):
        """Return a file's text, empty where there is none."""
        if path not in self.decoded:
            content, encoding = self.contents.get(path, b""), "utf-8-sig"
            if utf16(content):
                marked = content[:2] in (b"\xff\xfe", b"\xfe\xff")
                encoding = "utf-16" if marked else "utf-16-le"
            self.decoded[path] = content.decode(encoding, "replace")
        return self.decoded[path]

    def lines(self, path):
        """Yield (number, line without its end), numbers from 1."""
        for number, line in enumerate(self.text(path).splitlines(), start=1):
            yield number, line[:MAX_LINE]

    @cached_property
    def slugignored(self):
        """Return the paths that .slugignore takes away before the build."""
        lines = [line.strip() for _, line in self.lines(".slugignore")]
        patterns = [line for line in lines if line and line[0] not in "#!"]
        return {path for pattern in patterns for path in hits(pattern, self.sizes)}

    def with_folder(self):
        """Return the same as it would be after `git add` and `git commit` of all changes."""
        after = copy.copy(self)
        known = [
            n
            for n in vars(self)
            if isinstance(getattr(type(self), n, 0), cached_property)
        ]
        for name in known:  # worked out from the commit
            del after.__dict__[name]
        after.sizes, after.contents = dict(self.sizes), dict(self.contents)
        after.modes, after.unpushed = dict(self.modes), []
        after.memory, after.decoded = {}, {}
        for path in self.unpushed or ():
            file = self.root / path
            if file.is_file() and not file.is_symlink():
                after.sizes[path] = file.stat().st_size
                if after.sizes[path] <= MAX_BYTES:
                    after.contents[path] = file.read_bytes()
            else:
                for known in (after.sizes, after.contents, after.modes):
                    known.pop(path, None)
        return after


INSTALLED = ("site-packages", "node_modules")
BINARY = (
    *(".png", ".jpg", ".jpeg", ".gif", ".webp", ".ico", ".pdf", ".zip", ".gz", ".mp4"),
    *(".mp3", ".woff", ".woff2", ".ttf", ".pkl", ".pt", ".h5", ".npy", ".db", ".bin"),
)


def above(path):
    """Yield the folders that a path lies in; "." is the root, as of a link to "..".

    Of "a/b/c": "a/b", "a" and ".".
    """
    while path := posixpath.dirname(path):
        yield path
    yield "."


def installed(paths):
    """Yield the paths of packages that an installer has put there: H107 needs no look into them."""
    mark = "/pyvenv.cfg"
    tops = {path.removesuffix(mark) for path in paths if path.endswith(mark)}
    for path in paths:
        folders = set(above(path))
        if folders & tops or any(f.endswith(INSTALLED) for f in folders):
            yield path


def in_order(paths):
    """Return the paths so that what may run, and each folder's first files, come first."""
    seen, ranks = Counter(), {}
    for path in sorted(paths):
        folder = posixpath.dirname(path)
        seen[folder] += 1
        late = seen[folder] // MAX_OF_FOLDER
        ranks[path] = (path.lower().endswith(BINARY), late, path.count("/"))
    return sorted(ranks, key=ranks.get)


def once(function):
    """Let a function of a project do its work once for each. What it yields becomes a list."""

    @wraps(function)
    def remembered(project):
        if function not in project.memory:
            found = function(project)
            project.memory[function] = list(found) if isgenerator(found) else found
        return project.memory[function]

    return remembered


def line_at(text, place):
    """Return the number of the line that a place in a text, counted in letters, is in."""
    return text.count("\n", 0, place) + 1


def plain_utf8(content):
    """Tell whether a file has neither UTF-16 nor a byte-order mark."""
    return not utf16(content) and not content.startswith(b"\xef\xbb\xbf")


def utf16(content):
    """Tell whether a file looks like what PowerShell's `>` writes."""
    return content[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in content[:200]


def hits(pattern, paths):
    """Return the paths that a .slugignore pattern removes."""
    anchored = pattern.startswith("/") or "/" in pattern.rstrip("/")
    pattern, paths = pattern.strip("/"), sorted(paths)
    if not {*"*?"} & {*pattern} and anchored:
        return [p for p in paths if f"{p}/".startswith(f"{pattern}/")]
    if not {*"*?"} & {*pattern}:
        return [p for p in paths if f"/{pattern}/" in f"/{p}/"]
    # Part by part, as many stars in one expression would take for ever.
    parts = [part.replace("[", "[[]") for part in pattern.split("/")]
    fits = cache(fnmatchcase)  # a folder's name stands in many paths
    if not anchored:
        return [p for p in paths if any(fits(name, *parts) for name in p.split("/"))]

    def hit(path):
        names = path.split("/")
        return len(names) >= len(parts) and all(map(fits, names, parts))

    return [path for path in paths if hit(path)]
