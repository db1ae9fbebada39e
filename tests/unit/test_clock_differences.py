"""No decision hangs on how the difference of two readings of a clock was rounded.

`(now + 60) - now` may be less than 60. Where something is to last 60 s, `now` is compared with the sum.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from p2psip.base.allowance import Allowance, Attempts
from p2psip.base.ids import NodeId, ResourceId
from p2psip.reload.storage.fetching import remaining_s
from p2psip.reload.storage.store.records import Place, Record

SOURCE = Path(__file__).parents[2] / "src" / "p2psip"


def differences(tree: ast.AST) -> list[int]:
    """The lines on which a difference with `now` in it is compared with something."""
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Compare)
        for side in (node.left, *node.comparators)
        for part in ast.walk(side)
        if isinstance(part, ast.BinOp) and isinstance(part.op, ast.Sub)
        if any(isinstance(end, ast.Name) and end.id == "now" for end in ast.walk(part))
    ]


@pytest.mark.long
def test_nothing_compares_a_difference_of_readings() -> None:
    found = {
        f"{path.relative_to(SOURCE)}:{line}"
        for path in SOURCE.rglob("*.py")
        for line in differences(ast.parse(path.read_text()))
    }
    assert found == set(), "compare `now` with a sum: now >= began + limit"


@pytest.mark.parametrize("text", ["now - began < 60", "0 < one.expires_at - now < 60", "60 <= 1000 * (now - began)"])
def test_such_lines_are_found(text: str) -> None:
    assert differences(ast.parse(text)) == [1]


@given(st.floats(1e5, 1e9), st.integers(1, 30), st.sampled_from([10.0, 30.0, 0.1]))
@example(123_456.7, 10, 0.1)
def test_an_allowance_is_what_it_says_at_any_moment(now: float, burst: int, refill_s: float) -> None:
    """So many attempts at once, not one fewer; and the next one when it has been said."""
    attempts: Attempts[str] = Attempts(Allowance(burst, refill_s))
    for _ in range(burst):
        assert attempts.wait_s("alice", now) == 0.0
        attempts.charge("alice", now)
    assert attempts.wait_s("alice", now) == pytest.approx(refill_s, abs=1e-3)
    assert attempts.wait_s("alice", now + refill_s + 0.001) == 0.0


@given(st.floats(0, 1e9), st.integers(0, 1 << 31), st.floats(0, 1e6))
@example(1e9 + 1 / 3, 600, 0.0)
@example(100_000.1, 60, 0.0)
def test_no_lifetime_loses_a_second_to_rounding(now: float, lifetime_s: int, later_s: float) -> None:
    """7.4.1.1 of RFC 6940: what goes on is less by the time that the value was stored, not by more."""
    place = Place(ResourceId(bytes(16)), 1, b"")
    record = Record(place, b"", "alice@overlay", NodeId(bytes(16)), b"", now, now + lifetime_s)
    assert remaining_s(record, now) == lifetime_s
    assert lifetime_s - later_s - 1.001 <= remaining_s(record, now + later_s) <= max(0.0, lifetime_s - later_s + 0.002)
