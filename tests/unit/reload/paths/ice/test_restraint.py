"""p2psip.reload.paths.ice.restraint: what all agents of a node together send."""

from __future__ import annotations

import pytest

from p2psip.base.address import Address
from p2psip.reload.paths.ice.restraint import UNANSWERED_S, Restraint
from p2psip.reload.paths.limits import ICE_HOSTS_MAX, ICE_UNANSWERED_MAX

VICTIM = "203.0.113.66"


def test_14_2_one_check_in_five_milliseconds() -> None:
    """Each who asks has a turn of its own."""
    restraint = Restraint()
    assert [restraint.turn(1.0) for _ in range(3)] == pytest.approx([1.0, 1.005, 1.01])
    assert restraint.turn(2.0) == 2.0


def test_so_many_checks_for_one_host_in_a_minute() -> None:
    """Whatever the port; then no more, until the minute is over."""
    restraint = Restraint()
    sent = [restraint.may_check(Address(VICTIM, 1 + number % 9), number * 0.1) for number in range(300)]
    assert sent == [True] * ICE_UNANSWERED_MAX + [False] * (300 - ICE_UNANSWERED_MAX)
    assert restraint.may_check(Address("203.0.113.67", 1), 30.0)
    assert not restraint.may_check(Address(VICTIM, 1), UNANSWERED_S - 0.1)
    assert restraint.may_check(Address(VICTIM, 1), UNANSWERED_S)


def test_an_answer_makes_it_forgotten() -> None:
    """Many members may be behind one address."""
    restraint = Restraint()
    for _ in range(3 * ICE_UNANSWERED_MAX):
        assert restraint.may_check(Address(VICTIM, 1), 0.0)
        restraint.answered(Address(VICTIM, 1))


def test_as_many_hosts_as_can_be_counted() -> None:
    """Nobody is forgotten before the time to make room for another victim."""
    restraint = Restraint()
    hosts = [Address(f"10.0.{number // 256}.{number % 256}", 1) for number in range(ICE_HOSTS_MAX + 1)]
    assert [restraint.may_check(host, 0.0) for host in hosts] == [True] * ICE_HOSTS_MAX + [False]
    assert restraint.may_check(hosts[-1], UNANSWERED_S)
