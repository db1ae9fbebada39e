"""docs/conformance.md says what is true."""

from __future__ import annotations

from conformance import PAGE, catalogue, held, page


def test_every_mark_names_a_must_that_stands_in_the_document() -> None:
    assert set(held()) <= {must.number for must in catalogue()}


def test_no_must_has_a_test_and_a_reason_for_having_none() -> None:
    tests = held()
    assert [must.number for must in catalogue() if (must.untested or must.absent) and must.number in tests] == []


def test_at_most_one_must_in_ten_goes_untested() -> None:
    musts = [must for must in catalogue() if must.document == "6940"]
    assert sum(1 for must in musts if must.untested) <= len(musts) / 10


def test_no_must_waits_for_its_test() -> None:
    tests = held()
    left = [must.number for must in catalogue() if not (must.untested or must.absent or must.number in tests)]
    assert left == []


def test_the_page_is_what_the_marks_say() -> None:
    assert PAGE.read_text() == page(), "run `make conformance`"
