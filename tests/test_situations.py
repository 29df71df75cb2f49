"""The doctor on what people do to their projects: each case of situations/*.toml is judged rightly."""

import pytest

import situations
from lab import ROOT

CASES = situations.cases()


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=[f"{case['kind']} {case['name']}" for case in CASES])
def test_a_situation_is_judged_rightly(baked, tmp_path, diagnose, case):
    folder = situations.build(case, baked().path, tmp_path / "project")
    assert not situations.judged(case, diagnose(folder)[1]["findings"])


def test_many_edits_are_harmless():
    edits = [case for case in CASES if case["kind"] == "edits"]
    harmless = [case for case in edits if case["right"] != "error"]
    assert len(edits) >= 120
    assert len(harmless) >= 60


def test_situations_name_checks_that_there_are(doctor):
    known = set(doctor.CHECKS)
    assert {id for case in CASES for id in case.get("finds", ())} <= known


def test_the_table_is_of_these_cases():
    text = (ROOT / "docs" / "doctor.md").read_text(encoding="utf-8")
    scores = text.partition("<!-- scores: ")[2].partition("<!-- end of scores")[0]
    rows = [line.split("|")[2:4] for line in scores.splitlines() if " of " in line and line.startswith("| ")]
    deploys = [cell.strip() for cell in rows[-1]]
    for cell, kind in zip(deploys, ("edits", "projects"), strict=True):
        quiet = [case for case in CASES if case["kind"] == kind and not case.get("finds")]
        assert cell == f"{len(quiet)} of {len(quiet)}"
