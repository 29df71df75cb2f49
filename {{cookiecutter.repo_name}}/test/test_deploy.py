"""Would a push deploy? The doctor's checks, so that CI stops a push that would not."""

from pathlib import Path

import pytest

from doctor.__main__ import find
from doctor.project import Project
from doctor.report import errors, place

ROOT = Path(__file__).resolve().parent.parent


def test_a_push_would_deploy():
    found = errors(find(Project(ROOT)))
    if [finding.id for finding in found] == ["H101"]:
        pytest.skip("there is no commit yet, so nothing that could be pushed")
    assert [f"{finding.id} {place(finding)}" for finding in found] == []
