"""When certificates are renewed, and what happens where that fails."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from itertools import pairwise

import pytest

from p2psip.base.errors import Cause, RequestFailed
from p2psip.daemon.renewing import renewal
from p2psip.daemon.renewing.renewal import RETRY_FIRST_S, RETRY_MAX_S, Renewer, renewal_date
from p2psip.reload.security.authority import DAY_S, NO_END
from p2psip.reload.security.identity import CertifiedIdentity
from p2psip.sim.membership import DATE, OVERLAY, Club, key, node_id

PEER, ALICE = f"peer-garden@{OVERLAY}", f"alice@{OVERLAY}"


def identity(
    user: str, number: int, begins: float = DATE - DAY_S, ends: float = DATE + 365 * DAY_S
) -> CertifiedIdentity:
    certificate = Club.of().certificate(user, [node_id(number)], number=number, begins=begins, ends=ends)
    return CertifiedIdentity(key(number=number), [certificate])


class Held:
    """A peer's certificates, a date, and an enrollment server that may fail."""

    def __init__(self) -> None:
        self.now: float | None = DATE
        self.identities = {PEER: identity(PEER, 1), ALICE: identity(ALICE, 2)}
        self.asked: list[str] = []
        self.refusal: RequestFailed | None = None

    def certificates(self) -> Mapping[str, CertifiedIdentity]:
        return dict(self.identities)

    async def renew(self, user: str) -> None:
        self.asked.append(user)
        if self.refusal is not None:
            raise self.refusal
        assert self.now is not None
        number = {PEER: 1, ALICE: 2}[user]
        self.identities[user] = identity(user, number, self.now - DAY_S, self.now + 365 * DAY_S)

    def date(self) -> float | None:
        return self.now


Line = tuple[str, str, dict[str, object]]


class Log:
    """renewal.Log, to be looked at."""

    def __init__(self) -> None:
        self.lines: list[Line] = []

    def info(self, event: str, **facts: object) -> None:
        self.lines.append(("info", event, facts))

    def warning(self, event: str, **facts: object) -> None:
        self.lines.append(("warning", event, facts))


def test_at_two_thirds_of_the_lifetime_and_not_all_on_one_day() -> None:
    dates = [renewal_date(identity(ALICE, number)) for number in range(1, 20)]
    lifetime_s = 366 * DAY_S
    begins = DATE - DAY_S
    assert all(begins + lifetime_s * 2 / 3 <= date < begins + lifetime_s * 0.71 for date in dates)
    assert max(dates) - min(dates) > 5 * DAY_S


def test_what_is_due_is_renewed_once() -> None:
    held, log = Held(), Log()
    renewer = Renewer(held, log, lambda: 0.0)
    asyncio.run(renewer.check())
    assert held.asked == []
    held.now = DATE + 300 * DAY_S
    asyncio.run(renewer.check())
    asyncio.run(renewer.check())
    assert held.asked == [PEER, ALICE]
    assert [(event, facts["user"]) for _, event, facts in log.lines] == [
        ("certificate renewed", PEER),
        ("certificate renewed", ALICE),
    ]
    assert log.lines[0][2]["until"] == renewal.day(held.now + 365 * DAY_S)


def test_without_a_date_nothing_is_due() -> None:
    """A Pi that believes in 1970, or one that nobody has told the date."""
    held = Held()
    held.now = None
    asyncio.run(Renewer(held, Log(), lambda: 0.0).check())
    assert held.asked == []


def test_what_does_not_end_is_not_renewed() -> None:
    held = Held()
    held.identities = {ALICE: identity(ALICE, 2, 0.0, NO_END)}
    held.now = DATE + 3650 * DAY_S
    asyncio.run(Renewer(held, Log(), lambda: 0.0).check())
    assert held.asked == []


def test_a_server_that_is_away_is_asked_again_with_growing_patience() -> None:
    held, log = Held(), Log()
    del held.identities[PEER]
    held.now = DATE + 300 * DAY_S
    held.refusal = RequestFailed("not enrolled", (Cause("https://192.0.2.1:8443", "cannot connect", 0.0),))
    clock = [0.0]
    renewer = Renewer(held, log, lambda: clock[0])
    asked_at = []
    for step in range(4 * 24 * 12):
        clock[0] = step * 300.0
        before = len(held.asked)
        asyncio.run(renewer.check())
        if len(held.asked) > before:
            asked_at.append(clock[0])
    pauses = [later - earlier for earlier, later in pairwise(asked_at)]
    assert pauses[:3] == [RETRY_FIRST_S, 2 * RETRY_FIRST_S, 4 * RETRY_FIRST_S]
    assert max(pauses) == RETRY_MAX_S
    level, event, facts = log.lines[0]
    assert (level, event) == ("warning", "certificate not renewed")
    assert facts["reason"] == "not enrolled; https://192.0.2.1:8443: cannot connect"
    assert facts["means"] == "it is valid until then"
    # It is back; the next failure is the first again.
    held.refusal = None
    clock[0] += RETRY_MAX_S
    asyncio.run(renewer.check())
    assert log.lines[-1][1] == "certificate renewed"


def test_a_certificate_that_has_run_out_is_called_so() -> None:
    held, log = Held(), Log()
    held.now = DATE + 366 * DAY_S
    held.refusal = RequestFailed("not enrolled")
    asyncio.run(Renewer(held, log, lambda: 0.0).check())
    assert log.lines[0][2]["means"] == "others refuse it"


def test_one_failure_does_not_keep_the_others_from_it() -> None:
    held = Held()
    held.now = DATE + 300 * DAY_S
    held.refusal = RequestFailed("the account was removed")
    asyncio.run(Renewer(held, Log(), lambda: 0.0).check())
    assert held.asked == [PEER, ALICE]


def test_it_goes_on_for_ever() -> None:
    held = Held()
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        held.now = DATE + 300 * DAY_S
        if len(slept) == 3:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(Renewer(held, Log(), lambda: 0.0).run(sleep))
    assert held.asked == [PEER, ALICE]
    assert slept == [renewal.CHECK_S] * 3
