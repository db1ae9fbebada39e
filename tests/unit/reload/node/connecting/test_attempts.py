"""p2psip.reload.node.connecting.attempts: why there is no connection with whom."""

from __future__ import annotations

from dataclasses import replace

from node_bench import nid

from p2psip.base.address import Address
from p2psip.base.errors import Cause
from p2psip.reload.node.connecting.attempts import SAME_TIME_S, FailedAttempt, FailedAttempts, in_words
from p2psip.reload.node.limits import FAILED_ATTEMPTS_MAX
from p2psip.reload.paths.ice.values import PairReport
from p2psip.reload.paths.values import Purpose

PAIR = PairReport(Address("10.0.0.2", 6084), Address("198.51.100.7", 6084), "host to host", "no answer to 7 checks")
FAILED = FailedAttempt(nid(1), Purpose.RELOAD, 5.0, "no pair of addresses works", (PAIR,))


def test_the_last_one_with_each_node_counts_and_not_more_than_so_many() -> None:
    attempts = FailedAttempts()
    for number in range(1, FAILED_ATTEMPTS_MAX + 5):
        attempts.failed(replace(FAILED, node=nid(number)))
    assert [each.node for each in attempts] == [nid(number) for number in range(5, FAILED_ATTEMPTS_MAX + 5)]
    attempts.failed(replace(FAILED, node=nid(7), at=9.0))
    assert list(attempts)[-1].at == 9.0
    assert len(list(attempts)) == FAILED_ATTEMPTS_MAX


def test_of_theirs_and_ours_at_the_same_time_the_one_counts_that_knows_more() -> None:
    """Both ends ask each other; one of the two gives way, and only sees that no connection comes."""
    attempts = FailedAttempts()
    attempts.failed(FAILED)
    plain = replace(FAILED, reason="the connection did not come", tried=(), at=15.0)
    attempts.failed(plain)
    assert list(attempts) == [replace(FAILED, at=15.0)]
    attempts.failed(replace(plain, at=15.0 + SAME_TIME_S))
    assert list(attempts) == [replace(plain, at=15.0 + SAME_TIME_S)]


def test_what_has_come_about_is_forgotten_and_each_purpose_is_another_matter() -> None:
    attempts = FailedAttempts()
    attempts.failed(FAILED)
    attempts.failed(replace(FAILED, purpose=Purpose.SIP))
    assert attempts.since(5.0) == (FAILED,)
    assert attempts.since(5.1) == ()
    attempts.succeeded(nid(1), Purpose.RELOAD)
    assert [each.purpose for each in attempts] == [Purpose.SIP]


def test_it_is_told_as_causes_and_in_words() -> None:
    pair = "10.0.0.2:6084 to 198.51.100.7:6084 (host to host)"
    assert FAILED.causes == (
        Cause("this peer", "no pair of addresses works", 5.0),
        Cause(pair, "no answer to 7 checks", 5.0),
    )
    assert str(FAILED) == f"{nid(1).short}: no pair of addresses works; {pair}: no answer to 7 checks"
    assert in_words((PAIR,)) == {"tried": [f"{pair}: no answer to 7 checks"]}
    assert in_words(()) == {}
