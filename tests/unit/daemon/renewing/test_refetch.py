"""When a running peer fetches its configuration."""

from __future__ import annotations

import asyncio
import random

import pytest

from p2psip.base.errors import RequestFailed
from p2psip.daemon.renewing.refetch import OUTDATED_S, RETRY_S, Refresher

DAY_S = 86400.0


class Subject:
    """A peer whose configuration ends after 100 days; `answers` says what each fetch brings."""

    def __init__(self, *answers: bool | RequestFailed) -> None:
        self.now: float | None = 0.0
        self.ends: float | None = 100 * DAY_S
        self.fetched: list[float | None] = []
        self._answers = list(answers)

    def expiration(self) -> float | None:
        return self.ends

    def date(self) -> float | None:
        return self.now

    async def refetch(self) -> bool:
        self.fetched.append(self.now)
        answer = self._answers.pop(0)
        if isinstance(answer, RequestFailed):
            raise answer
        return answer


def days_until_fetched(seed: int) -> float:
    """After how many days it fetches a new one."""
    subject = Subject(True)
    refresher = Refresher(subject, random.Random(seed))
    for day in range(100):
        subject.now = day * DAY_S
        asyncio.run(refresher.check())
        if subject.fetched:
            return day
    raise AssertionError("not before it ended")


def test_11_1_at_a_random_time_before_it_ends() -> None:
    """ "The node SHOULD retrieve a new copy of the configuration at a randomly selected time that is before the
    expiration time."
    """
    days = [days_until_fetched(seed) for seed in range(40)]
    assert min(days) >= 50
    assert max(days) <= 91
    assert len(set(days)) > 15


def test_a_failure_is_told_and_tried_again(capsys: pytest.CaptureFixture[str]) -> None:
    subject = Subject(RequestFailed("no configuration server"), False, True)
    refresher = Refresher(subject, random.Random(1))
    asyncio.run(refresher.check())
    for seconds in (95 * DAY_S, 95 * DAY_S + 1, 95 * DAY_S + RETRY_S, 95 * DAY_S + 2 * RETRY_S):
        subject.now = seconds
        asyncio.run(refresher.check())
    assert subject.fetched == [95 * DAY_S, 95 * DAY_S + RETRY_S, 95 * DAY_S + 2 * RETRY_S]
    assert "no configuration server" in capsys.readouterr().out


def test_not_without_a_date_nor_an_end() -> None:
    subject = Subject()
    refresher = Refresher(subject, random.Random(1))
    subject.now = None
    asyncio.run(refresher.check())
    subject.now, subject.ends = 1e12, None
    asyncio.run(refresher.check())
    assert subject.fetched == []


def waits_once_outdated(subject: Subject, *, follows: bool) -> list[float]:
    """How long it waits when it has heard that its configuration is old; meanwhile a newer one comes, or not."""
    slept: list[float] = []
    refresher = Refresher(subject, random.Random(1))

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if follows:
            refresher.followed()

    async def work() -> None:
        running = asyncio.create_task(refresher.run(sleep))
        await asyncio.sleep(0)
        refresher.outdated()
        for _ in range(10):
            await asyncio.sleep(0)
        running.cancel()

    asyncio.run(work())
    return slept


def test_6_5_4_2_who_hears_that_its_configuration_is_old_looks_for_a_newer_one() -> None:
    subject = Subject(True)
    assert waits_once_outdated(subject, follows=False) == [OUTDATED_S]
    assert len(subject.fetched) == 1


def test_no_server_is_asked_for_what_has_come_over_the_overlay() -> None:
    subject = Subject()
    assert waits_once_outdated(subject, follows=True) == [OUTDATED_S]
    assert subject.fetched == []
