"""Who waits to be approved, or to be signed, asks again, and goes on from there after a restart."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from p2psip.base.errors import Cause, LocalMisuse, RequestFailed
from p2psip.daemon.joining.waiting_members import (
    ASK_AGAIN_S,
    PendingJoin,
    forget_pending,
    load_pending,
    save_pending,
    until_enrolled,
)
from p2psip.enrollment.client import EnrollmentRefused, read_answer

PENDING = PendingJoin("club.example/xyz", "valley", {"listen": ["192.0.2.1"]})


def pending(approver: str = "admin@club.example") -> EnrollmentRefused:
    """What comes of the answer of a server whose operator has not approved it yet."""
    with pytest.raises(EnrollmentRefused) as raised:
        read_answer("https://x", 403, "text/plain", f"approval_pending\n{approver}".encode(), 0.0)
    return raised.value


def unsigned() -> EnrollmentRefused:
    """The same of one that has granted it, and cannot sign."""
    with pytest.raises(EnrollmentRefused) as raised:
        read_answer("https://x", 503, "text/plain", b"waiting_for_signature", 0.0)
    return raised.value


def refused(token: str = "membership_revoked") -> EnrollmentRefused:
    """The same of one that says no."""
    return EnrollmentRefused("not enrolled", (Cause("https://x", "no", 0.0),), token)


def run(outcomes: list[Exception | str]) -> tuple[str, list[str], list[float]]:
    """What attempts with these outcomes lead to: the result, who was said to be waited for, and the pauses."""
    left: Iterator[Exception | str] = iter(outcomes)
    told: list[str] = []
    pauses: list[float] = []

    async def attempt() -> str:
        outcome = next(left)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    result = asyncio.run(until_enrolled(attempt, lambda refusal: told.append(refusal.approver), sleep))
    return result, told, pauses


def test_it_asks_until_it_is_in_and_says_once_for_whom_it_waits() -> None:
    unreachable = RequestFailed("no answer")
    outcomes: list[Exception | str] = [pending(), pending(), unreachable, pending(), "in"]
    assert run(outcomes) == ("in", ["admin@club.example"], [ASK_AGAIN_S] * 4)
    assert run([pending(), pending("bob@club.example"), "in"])[1] == ["admin@club.example", "bob@club.example"]
    assert run(["in"]) == ("in", [], [])


def test_who_is_approved_goes_on_to_wait_for_being_signed() -> None:
    outcomes: list[Exception | str] = [pending(), pending(), unsigned(), RequestFailed("no answer"), unsigned(), "in"]
    assert run(outcomes) == ("in", ["admin@club.example", ""], [ASK_AGAIN_S] * 5)
    assert run([unsigned(), "in"]) == ("in", [""], [ASK_AGAIN_S])


@pytest.mark.parametrize("outcomes", [[RequestFailed("no answer")], [refused()], [pending(), refused()]])
def test_it_ends_where_nobody_waits_or_the_answer_is_no(outcomes: list[Exception | str]) -> None:
    with pytest.raises(RequestFailed):
        run([*outcomes, "in"])


def test_what_a_server_says_is_for_a_terminal() -> None:
    assert pending("\x1b[2Jx").approver == "[2Jx"
    assert pending("").approver == "the operator"
    assert len(pending("x" * 5000).approver) < 512


def test_a_restart_knows_what_was_typed(tmp_path: Path) -> None:
    assert load_pending(tmp_path) is None
    save_pending(tmp_path, PENDING)
    assert load_pending(tmp_path) == PENDING
    assert stat.S_IMODE((tmp_path / "joining.json").stat().st_mode) == 0o600
    (tmp_path / "joining.json").write_text("{")
    with pytest.raises(LocalMisuse, match="type `p2psip join` with the code once more"):
        load_pending(tmp_path)
    for _ in range(2):
        forget_pending(tmp_path)
    assert load_pending(tmp_path) is None
