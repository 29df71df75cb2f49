"""The helpers of the other tests, where a mistake of theirs would make a test say less than it seems to."""

import os
import subprocess
import sys

import pytest

from lab import CHOICES, EXAMPLES, LANGUAGES, SAMPLES, Project, memory, set_constant, with_part


@pytest.fixture
def project(tmp_path):
    project = Project(tmp_path, os.environ)
    project.write("settings.py", "LIMIT = 4  # seconds\nOTHER = 1\nOTHER = 2\n\n\ndef late():\n    INNER = 1\n")
    return project


def test_a_constant_gets_another_value(project):
    set_constant(project, "settings.py", LIMIT=60)
    assert project.read("settings.py").startswith("LIMIT = 60\nOTHER = 1\n")


@pytest.mark.parametrize("name", ["MISSING", "OTHER", "INNER", "LIMI"])
def test_a_constant_that_is_not_there_once_is_an_error(project, name):
    with pytest.raises(AssertionError, match=name):
        set_constant(project, "settings.py", **{name: 60})


def test_the_samples_hold_every_choice_and_every_example_in_every_language():
    for name, values in CHOICES.items():
        assert {sample[name] for sample in SAMPLES} == set(values)
    pairs = {(sample["language"], sample["example"]) for sample in SAMPLES}
    assert len(pairs) == len(LANGUAGES) * len(EXAMPLES)


def test_memory_is_that_of_all_processes_below():
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}])"
    inner = "ballast = b'x' * 50_000_000; print('ready', flush=True); input()"
    command = [sys.executable, "-c", code.format(inner=inner)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8") as process:
        assert process.stdout.readline() == "ready\n"
        assert 50 < memory(process.pid) < 90
        process.stdin.close()


def test_a_part_of_the_readme_is_replaced_and_nothing_else():
    readme = "a\n<!-- bench: written by `make bench` -->\nold\n<!-- end of bench -->\nb\n"
    assert with_part(readme, "bench", r"new \1" + "\n") == readme.replace("old", r"new \1")
    with pytest.raises(AssertionError):
        with_part(readme, "faults", "new")
