"""Asks the package index which modules a package has and what it brings along; writes doctor/packages.toml: make facts.

The packages are those of tests/packages.txt and all that they need. A wheel is not downloaded: its list of files is.
"""

import io
import json
import re
import sys
import urllib.request
import zipfile
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from urllib.parse import urljoin

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from pip._internal.models.index import PyPI

from lab import NEWEST_PYTHON, TEMPLATE

INDEX = PyPI.pypi_url + "/{name}/json"
NAMES = Path(__file__).with_name("packages.txt")
FACTS = TEMPLATE / "doctor" / "packages.toml"
# What a dyno is: requirements with other marks are not for it.
DYNO = {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix", "python_version": NEWEST_PYTHON}
DYNO |= {"python_full_version": f"{NEWEST_PYTHON}.0", "platform_machine": "x86_64", "implementation_name": "cpython"}
DYNO |= {"platform_python_implementation": "CPython", "extra": ""}
MOST = 12  # modules of one package; more are a shared folder's
# Folders in a wheel that are no modules anybody means.
ASIDE = re.compile(r"(tests?|docs?|examples?|benchmarks?|scripts|tools|samples)$")


class Remote(io.RawIOBase):
    """A file on a server, read in pieces."""

    def __init__(self, url):
        self.url, self.place = url, 0
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=60) as answer:
            self.size = int(answer.headers["Content-Length"])

    def seekable(self):
        return True

    def readable(self):
        return True

    def seek(self, offset, whence=io.SEEK_SET):
        self.place = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self.place, io.SEEK_END: self.size}[whence]
        return self.place

    def tell(self):
        return self.place

    def readinto(self, buffer):
        end = min(self.place + len(buffer), self.size)
        if self.place >= end:
            return 0
        head = {"Range": f"bytes={self.place}-{end - 1}"}
        with urllib.request.urlopen(urllib.request.Request(self.url, headers=head), timeout=60) as answer:
            data = answer.read()
        buffer[: len(data)] = data
        self.place += len(data)
        return len(data)


def ask(name):
    """Return (name, its modules, the names of what it needs, as {extra or "": names})."""
    base, _, extra = name.partition("[")
    with urllib.request.urlopen(INDEX.format(name=base), timeout=60) as answer:
        known = json.load(answer)
    needs = []
    for text in known["info"]["requires_dist"] or ():
        requirement = Requirement(text)
        marks = DYNO | {"extra": extra.rstrip("]")}
        if requirement.marker is None or requirement.marker.evaluate(marks):
            needs.append(canonicalize_name(requirement.name))
    wheels = [file for file in known["urls"] if file["packagetype"] == "bdist_wheel"]
    wheels.sort(key=lambda file: ("manylinux" not in file["filename"], "any" not in file["filename"], file["size"]))
    found = modules(urljoin(INDEX.format(name=base), wheels[0]["url"])) if wheels else []
    # A package without a wheel may tell what it needs at its installation only.
    return name, found[:MOST], sorted(set(needs)) if wheels or needs else None


def modules(url):
    """Return the names that a wheel can be imported by; "google.auth" for one inside of a shared folder."""
    with zipfile.ZipFile(io.BufferedReader(Remote(url), 1 << 16)) as wheel:
        names = wheel.namelist()
    names = [re.sub(r"^[^/]+\.data/(purelib|platlib)/", "", name) for name in names]
    found = set()
    for name in names:
        first, _, rest = name.partition("/")
        if rest and f"{first}/__init__.py" in names and not first.endswith((".dist-info", ".libs", ".data")):
            found.add(first)
        elif rest and first.isidentifier() and name.endswith("/__init__.py"):
            found.add(".".join(name.split("/")[:2]))
        elif not rest and (match := re.fullmatch(r"(\w+)(\.cpython\S*|\.abi3)?\.(py|so)", first)):
            found.add(match[1])
    return sorted(name for name in found if not ASIDE.search(name))


def main():
    waiting = {
        line.strip() for line in NAMES.read_text(encoding="utf-8").splitlines() if line.strip() and line[0] != "#"
    }
    known, failed = {}, []
    with ThreadPoolExecutor(8) as pool:
        while waiting:
            futures = {name: pool.submit(ask, name) for name in sorted(waiting)}
            for name, future in futures.items():
                try:
                    known[name] = future.result()[1:]
                except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
                    failed.append(f"{name}: {error}")
            waiting = (
                {need for _, needs in known.values() for need in needs or ()}
                - set(known)
                - {f.partition(":")[0] for f in failed}
            )
            print(f"{len(known)} packages, {len(waiting)} more", file=sys.stderr, flush=True)
    write(known)
    print("\n".join(failed), file=sys.stderr)


def write(known):
    lines = [
        "# Which modules a package has, and what it brings along; as the package index had it on this day.",
        "# Written by the template's `make facts`.",
        "",
        f'date = "{date.today():%Y-%m}"',
        "",
        "# Left out: a module called like its package.",
        "[modules]",
    ]
    for name, (found, _) in sorted(known.items()):
        same = name.partition("[")[0].replace("-", "_")
        if found and found != [same] and "[" not in name:
            lines.append(f"{json.dumps(name)} = {json.dumps(found)}")
    lines += ["", "[brings]"]
    lines += [
        f"{json.dumps(name)} = {json.dumps(needs)}" for name, (_, needs) in sorted(known.items()) if needs is not None
    ]
    FACTS.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
