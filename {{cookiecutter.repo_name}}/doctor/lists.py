"""The lists of packages, read as pip and the other tools read them."""

import json
import posixpath
import re
import tomllib
from dataclasses import dataclass
from functools import cached_property

from doctor import FACTS
from doctor.versions import holds, numbers

NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
# https://packaging.python.org/en/latest/specifications/version-specifiers/
NUMBER = (
    r"v?(?:\d+!)?\d+(?:\.\d+)*(?:[-_.]?(?:alpha|beta|preview|pre|rc|a|b|c)[-_.]?\d*)?"
    r"(?:-\d+|[-_.]?(?:post|rev|r)[-_.]?\d*)?(?:[-_.]?dev[-_.]?\d*)?"
    r"(?:\+[a-z0-9]+(?:[-_.][a-z0-9]+)*)?"
)
CLAUSE = (
    rf"(?:===\s*[^\s;,]+|(?:==|!=)\s*{NUMBER}(?:\.\*)?|(?:~=|<=|>=|<|>)\s*{NUMBER})"
)
CLAUSES = rf"(?:{CLAUSE}\s*(?:,\s*|(?=[;)]|$)))+"
MARK = (
    r"(?:python_version|python_full_version|os_name|sys_platform|platform_\w+|extra"
    r"|implementation_\w+|sys\.platform|os\.name|[\"'][^\"']*[\"'])"
)
MARKER = rf"\(*\s*{MARK}\s*(?:[<>=!~]+|not\s+in|in)\s*{MARK}.*"
# https://packaging.python.org/en/latest/specifications/dependency-specifiers/
REQUIREMENT = re.compile(
    rf"(?P<name>{NAME})\s*(?P<extras>\[[\w\s,.-]*\])?\s*"
    rf"(?:@\s*(?P<url>[^\s;]\S*)(?:\s+(?=;)|\s*$)|(?P<spec>(\()?\s*{CLAUSES}(?(5)\)))?\s*)"
    rf"(?:;\s*(?P<marker>{MARKER}))?",
    re.IGNORECASE,
)
# https://pip.pypa.io/en/stable/reference/requirements-file-format/
OPTION = re.compile(
    r"-[ifcre](?!-)|--(index-url|extra-index-url|no-index|find-links|no-binary|only-binary"
    r"|pypi-url|prefer-binary|require-hashes|pre|trusted-host|use-feature|constraint"
    r"|requirement|editable)(?=[\s=]|$)"
)
# Behind a requirement pip takes these, and any option that it knows; https://github.com/pypa/pip
# (req_file.py) leaves out those that mean nothing there.
OF_LINE = re.compile(r"--(hash|global-option|config-settings?)\b")
BEHIND = re.compile(r"\s+(--?[A-Za-z][\w-]*([ =].*)?)$")
MAX_LISTS = 50  # that include each other
ADDRESS = re.compile(r"(?:git|hg|svn|bzr)\+|(?:https?|ftp|file):")
ARCHIVE = re.compile(r"\S+\.(whl|zip|tar\.gz|tgz|tar\.bz2)$", re.IGNORECASE)


@dataclass
class Line:
    """One line of a requirements file, as pip reads it.

    kind: "package", "address", "path", "option", or "" for what pip refuses.
    """

    file: str
    number: int
    text: str
    kind: str = ""
    name: str = ""
    extras: str = ""
    spec: str = ""
    marker: str = ""
    url: str = ""
    hashed: bool = False
    editable: bool = False

    @property
    def pin(self):
        """Return the version that it pins, "" where it leaves a choice."""
        found = re.fullmatch(r"\(?\s*={2,3}\s*([^\s,*]+?)\s*\)?", self.spec)
        return found[1] if found else ""


class PackageList:
    """What the platform installs."""

    def __init__(self, project):
        self.project = project
        self.missing = []  # (file, line, name) of files that -r and -c name in vain
        self.constraints = []  # Lines of files that -c names

    @cached_property
    def lines(self):
        """Return the Lines of requirements.txt and of all that it includes."""
        return list(self.read("requirements.txt"))

    def read(self, file, seen=None):
        """Yield the Lines of a file. What -r includes is installed, what -c names is not."""
        seen = {file} if seen is None else seen
        for number, text in logical_lines(self.project.text(file)):
            line = parse(file, number, text)
            yield line
            match = re.match(r"(-r|--requirement|-c|--constraint)[ =]?\s*(\S+)", text)
            if line.kind != "option" or not match:
                continue
            other = posixpath.normpath(
                posixpath.join(posixpath.dirname(file), match[2])
            )
            if ADDRESS.match(match[2]) or other in seen or len(seen) > MAX_LISTS:
                continue
            seen.add(other)
            if other not in self.project:
                self.missing.append((file, number, other))
            elif match[1] in ("-r", "--requirement"):
                yield from self.read(other, seen)
            else:
                self.constraints += self.read(other, seen)

    @cached_property
    def held(self):
        """Return {package: the version that a file of constraints pins it to}."""
        self.lines  # noqa: B018, reads the constraints
        return {normal(line.name): line.pin for line in self.constraints if line.pin}

    @cached_property
    def python(self):
        """Return the Python that installs it, as numbers."""
        from doctor.packages import newest_python  # which needs this file

        return numbers(newest_python(self.project))

    def holds(self, line):
        """Tell whether a Line is for the platform; None where its marker does not tell."""
        return holds(line.marker, self.python)

    @property
    def files(self):
        """Return the names of the files that lines are read from."""
        return {line.file for line in self.lines}

    @cached_property
    def packages(self):
        """Return {name as the index writes it: Line} of all that is installed."""
        found = {}
        for line in self.lines:
            if line.name and self.holds(line) is not False:
                found.setdefault(normal(line.name), line)
        for file in FACTS["packages"]["lists"][1:]:
            for name, version in locked(self.project, file).items():
                line = Line(file, 0, name, "package", name, spec=f"=={version}")
                found.setdefault(normal(name), line)
        return found

    @property
    def is_known(self):
        """Tell whether it is known what is installed: also where an empty file says nothing is."""
        return (
            bool(self.packages)
            or not self.lines
            and ("requirements.txt" in self.project)
        )

    @property
    def is_locked(self):
        """Tell whether a tool has made the list, with all that is needed in it."""
        return "requirements.txt" not in self.project or self.is_whole

    @cached_property
    def is_whole(self):
        """Tell whether what the listed packages need is listed as well, as `pip freeze` does."""
        needs = [FACTS["brings"].get(name) for name in self.packages]
        lists = [names for names in needs if names]
        return bool(lists) and all(
            set(names) & set(self.packages) == set(names) for names in lists
        )

    @cached_property
    def asked_for(self):
        """Return the same of requirements.in, if there is one: what a person has asked for."""
        found = {}
        for line in self.read("requirements.in"):
            if line.name:
                found.setdefault(normal(line.name), line)
        direct = asked(self.project) | pipfile(self.project)
        locked_only = "requirements.txt" not in self.project
        named = {n: line for n, line in self.packages.items() if n in direct}
        return found or locked_only and named or self.packages

    @cached_property
    def own(self):
        """Return the first Line that installs the project itself, None without one."""
        for line in self.lines:
            if line.kind == "path" and posixpath.normpath(line.url) == ".":
                return line
        return None

    @cached_property
    def folders(self):
        """Return the names of the folders that are installed: -e ./shop."""
        paths = [line.url for line in self.lines if line.kind == "path"]
        return {posixpath.basename(posixpath.normpath(path)) for path in paths}

    @cached_property
    def pinned(self):
        """Return {name: Line} of the final versions that pip is told to install, whatever else."""
        plain = re.compile(r"v?\d+(\.\d+)*(\.?post\d+)?")
        return {
            normal(line.name): line
            for line in self.lines
            if plain.fullmatch(line.pin) and self.holds(line)
        }

    def version(self, name):
        """Return the pinned version of a package as numbers, () where it is not pinned."""
        line = self.packages.get(name)
        return numbers(line.pin) if line else ()


def logical_lines(text):
    """Yield (number, line) as pip joins and cuts them: no comments, nothing empty."""
    joined, first = "", 0
    for number, line in enumerate(text.splitlines(), start=1):
        first = first or number
        if line.lstrip().startswith("#"):
            line = "" if not joined else " #"
        if line.endswith("\\"):
            joined += line[:-1]
            continue
        whole = re.sub(r"(^|\s+)#.*$", "", joined + line).strip()
        if whole:
            yield first, whole
        joined, first = "", 0
    if whole := re.sub(r"(^|\s+)#.*$", "", joined).strip():
        yield first, whole


def parse(file, number, text):
    """Return a Line; its kind is "" where pip refuses it."""
    line = Line(file, number, text[:2_000])
    text = line.text
    if text.startswith("-"):
        if not OPTION.match(text):
            return line
        line.kind = "option"
        match = re.match(r"(?:-e|--editable)[ =]?\s*(\S+)", text)
        if not match:
            return line
        line.editable, text = True, text[match.start(1) :]
    line.hashed = "--hash" in text
    if behind := BEHIND.search(text):
        if not (OF_LINE.match(behind[1]) or OPTION.match(behind[1])):
            return line
        text = text[: behind.start()]
    if ADDRESS.match(text):
        line.kind, line.url = "address", text.split(" ")[0]
        line.marker = text.partition("; ")[2]
        egg = re.search(r"#egg=([\w.-]+)", text)
        wheel = re.search(r"/([\w.]+?)-\d[^/]*\.whl", text)
        line.name = egg[1] if egg else wheel[1] if wheel else ""
    elif (
        (match := REQUIREMENT.fullmatch(text))
        and not line.editable
        and not is_path(text)
    ):
        line.kind = "address" if match["url"] else "package"
        for key, value in match.groupdict().items():
            setattr(line, key, (value or "").strip())
    elif is_path(text) or line.editable or ARCHIVE.match(text):
        line.kind, line.url = "path", re.sub(r"\[.*\]$|\s*;.*", "", text)
        line.marker = text.partition(";")[2]
    return line


def is_path(text):
    return bool(
        re.match(r"\.{1,2}(/|\\|\[|$)|/|[A-Za-z]:[\\/]|[\w.-]+[/\\][\w./\\-]+$", text)
    )


def locked(project, file):
    """Return {package: version} of what a lock file would install on the platform."""
    try:
        if file == "Pipfile.lock":
            packages = json.loads(project.text(file) or "{}").get("default", {})
            return {name: as_version(entry) for name, entry in packages.items()}
        packages = tomllib.loads(project.text(file)).get("package", [])
        versions = {package["name"]: package.get("version", "") for package in packages}
        python = project.list.python
        needs = {
            normal(p["name"]): needed(p.get("dependencies", []), python)
            for p in packages
        }
        for name, extra in extras_of(packages):
            for package in packages:
                more = package.get("optional-dependencies", {}).get(extra, [])
                if package["name"] == name:
                    needs[normal(name)] += needed(more, python)
        own = asked(project)
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError):
        return {}  # what is wrong with such a file is for its own tool to say
    wanted, waiting = set(), list(own)
    while waiting:
        name = waiting.pop()
        if name not in wanted:
            wanted.add(name)
            waiting += needs.get(name, ())
    return {n: v for n, v in versions.items() if not own or normal(n) in wanted}


def as_version(entry):
    version = entry.get("version", "") if isinstance(entry, dict) else ""
    return version.lstrip("=")


def extras_of(packages):
    """Return {(package, extra)} of what the packages of a uv.lock want of each other."""
    wanted = [d for package in packages for d in package.get("dependencies", [])]
    wanted = [need for need in wanted if isinstance(need, dict)]
    return {(need["name"], extra) for need in wanted for extra in need.get("extra", ())}


def needed(dependencies, python):
    """Return the names in a lock file's list or table of what a package needs on the platform."""
    found = [d if isinstance(d, dict) else {"name": str(d)} for d in dependencies]
    return [
        normal(need.get("name", ""))
        for need in found
        if holds(need.get("marker", ""), python) is not False
    ]


def asked(project):
    """Return the names of what pyproject.toml asks for, without groups for development."""
    try:
        whole = tomllib.loads(project.text("pyproject.toml"))
        texts = whole.get("project", {}).get("dependencies", [])
        poetry = whole.get("tool", {}).get("poetry", {}).get("dependencies", {})
        # A lock file may leave out what is for other Pythons than it is for, or for Windows.
        python = project.list.python
        always = [text for text in texts if holds(text.partition(";")[2], python)]
        names = [re.match(NAME, text.strip()) for text in always]
        found = {normal(match[0]) for match in names if match}
        return found | {normal(name) for name in poetry if name != "python"}
    except (ValueError, AttributeError, TypeError, RecursionError):
        return set()


def pipfile(project):
    """Return the names of what a Pipfile asks for, without those for development."""
    try:
        packages = tomllib.loads(project.text("Pipfile")).get("packages", {})
        return {normal(name) for name in packages}
    except (ValueError, AttributeError, TypeError, RecursionError):
        return set()


def normal(name):
    """Return a package's name as the index writes it."""
    return re.sub(r"[-_.]+", "-", name).lower()
