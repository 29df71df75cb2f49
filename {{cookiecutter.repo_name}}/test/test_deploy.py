"""Would a push deploy? The doctor's checks, so that CI stops a push that would not."""

from doctor.__main__ import find
from doctor.project import Project
from doctor.report import errors, place


def test_a_push_would_deploy(root):
    found = errors(find(Project(root)))
    assert [f"{finding.id} {place(finding)}" for finding in found] == []
