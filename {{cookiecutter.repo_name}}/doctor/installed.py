"""The packages installed in the project's environment: their own metadata, read as data."""

import re
import sys
from functools import cache, cached_property
from pathlib import Path

from doctor.lists import NAME, normal

ENVIRONMENTS = (".venv", "venv", "env")
MAX_BYTES = 2_000_000


class Installed:
    """What lies in the environments of a project, and of the Python that runs this."""

    def __init__(self, root):
        folders = [Path(path) for path in sys.path if path.endswith("site-packages")]
        for name in ENVIRONMENTS:
            folders += [root / name / "Lib" / "site-packages"]
            folders += sorted((root / name / "lib").glob("python3.*/site-packages"))[:3]
        self.folders = folders

    @cached_property
    def found(self):
        """Return {package: folder of its metadata}."""
        found = {}
        for folder in self.folders:
            for path in folder.glob("*.dist-info") if folder.is_dir() else ():
                found.setdefault(normal(path.name.partition("-")[0]), path)
        return found

    def text(self, package, file):
        path = self.found[package] / file if package in self.found else None
        if path is None or not path.is_file() or path.stat().st_size > MAX_BYTES:
            return ""
        return path.read_text(encoding="utf-8", errors="replace")

    @cache  # noqa: B019 - one project is looked at
    def modules(self, package):
        """Return the names that a package can be imported by, none where it is not installed."""
        names = self.text(package, "top_level.txt").split()
        paths = [
            line.partition(",")[0] for line in self.text(package, "RECORD").splitlines()
        ]
        for path in paths if not names else ():
            if match := re.match(
                r"(\w+)(/__init__\.py|\.py|\.abi3\.so|\.cpython[^/]*\.so)$", path
            ):
                names.append(match[1])
        return sorted({name for name in names if name.isidentifier()})

    def needs(self, package):
        """Return the names of what a package needs, None where it is not installed."""
        if package not in self.found:
            return None
        found = re.findall(
            rf"(?m)^Requires-Dist: ({NAME})(\[[\w,. -]+\])?(?!.*extra ==)",
            self.text(package, "METADATA"),
        )
        # What another one's extra brings, kombu[redis], is not looked up here: it counts as unknown.
        return [
            normal(n) + extra
            for name, given in found
            for n, extra in {(name, ""), (name, given)}
        ]
