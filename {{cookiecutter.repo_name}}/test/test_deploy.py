"""Would a push deploy? The doctor's checks, so that CI stops a push that would not."""

import pytest

from doctor.__main__ import find
from doctor.project import Project
from doctor.report import errors, place


def test_a_push_would_deploy(root):
    found = errors(find(Project(root)))
    if [finding.id for finding in found] == ["H101"]:
        pytest.skip("there is no commit yet, so nothing that could be pushed")
    assert [f"{finding.id} {place(finding)}" for finding in found] == []
