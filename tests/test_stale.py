"""`make stale` knows what is older than half a year, and finds all that has a date."""

from datetime import date, timedelta

import stale


def test_what_is_older_than_half_a_year_is_told():
    today = date(2026, 11, 26)
    young, late = today - timedelta(days=183), today - timedelta(days=184)
    assert stale.old([("a", "x", young), ("b", "y", late)], today) == [("b", "y", late)]


def test_every_kind_of_fact_is_found():
    found = list(stale.facts())
    assert {what for what, _, _ in found} >= {*stale.FACTS, *stale.RENEWED}
    assert any(where.startswith("templates/en/DEPLOY.md:") for _, where, _ in found)
    assert any("/deploy/platforms.py:" in where for _, where, _ in found)
    assert all(date(2020, 1, 1) < since < date(2100, 1, 1) for _, _, since in found)


def test_a_date_is_known_by_how_it_is_written():
    assert stale.LOOKED.findall("as documented (November 2026), and (in three tries, August 2026)") == [
        ("November", "2026"),
        ("August", "2026"),
    ]
    assert stale.LOOKED.findall("GitHub Classroom ended in August 2026") == []
