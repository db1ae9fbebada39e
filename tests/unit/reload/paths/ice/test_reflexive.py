"""p2psip.reload.paths.ice.reflexive: who sees us as whom."""

from __future__ import annotations

import random

import pytest

from p2psip.base.address import Address
from p2psip.reload.paths.ice.candidate_addresses import Mapped
from p2psip.reload.paths.ice.checks import TRANSMISSIONS_MAX
from p2psip.reload.paths.ice.reflexive import Reflexive
from p2psip.reload.paths.values import SendStun
from p2psip.stun.binding import answer_binding

HERE, SEEN, SERVER = (Address(host, 6084) for host in ("192.168.1.2", "203.0.113.7", "198.51.100.1"))
LINK = 2


def asked(reflexive: Reflexive) -> list[bytes]:
    """The questions that go out, as the routes say."""
    effects = reflexive.drain()
    assert all(isinstance(effect, SendStun) and effect.local is None for effect in effects)
    return [effect.data for effect in effects if isinstance(effect, SendStun)]


def answer(reflexive: Reflexive, question: bytes, seen: Address = SEEN) -> None:
    """The server says as whom it sees us."""
    said = answer_binding(question, seen)
    assert said is not None
    assert said in reflexive
    reflexive.handle_answer(HERE, SERVER, said)


def until(reflexive: Reflexive, end: float) -> list[tuple[float, bytes]]:
    """What is asked up to then, and when."""
    found: list[tuple[float, bytes]] = []
    while (deadline := reflexive.next_deadline()) is not None and deadline.at <= end:
        reflexive.handle_timeout(deadline.at)
        found += [(deadline.at, data) for data in asked(reflexive)]
    return found


def test_an_answer_is_a_candidate() -> None:
    """And a second one of the same is not for anybody any more."""
    reflexive = Reflexive(random.Random(1))
    reflexive.ask(SERVER, 0.0)
    (question,) = asked(reflexive)
    answer(reflexive, question)
    assert reflexive.mapped() == [Mapped(SEEN, HERE, SERVER)]
    assert answer_binding(question, SEEN) not in reflexive
    assert reflexive.next_deadline() is None


def test_rfc_8489_6_2_1_who_does_not_answer_is_asked_seven_times() -> None:
    """Then what was known of it is forgotten, as nobody is linked with it."""
    reflexive = Reflexive(random.Random(1))
    reflexive.ask(SERVER, 0.0)
    (question,) = asked(reflexive)
    answer(reflexive, question)
    reflexive.ask(SERVER, 100.0)
    first = asked(reflexive)
    again = until(reflexive, 1000.0)
    assert [at - 100.0 for at, _ in again] == [0.5, 1.5, 3.5, 7.5, 15.5, 31.5]
    assert {data for _, data in again} == set(first)
    assert len(first) + len(again) == TRANSMISSIONS_MAX
    assert reflexive.mapped() == []


@pytest.mark.must("8445 5.1.1.4/1", "8445 5.1.1.4/2")
def test_as_long_as_there_is_a_link_it_is_asked_again() -> None:
    """That keeps the path open through a NAT; a new address is taken, and with the link all is forgotten."""
    reflexive = Reflexive(random.Random(1))
    reflexive.keep(LINK, SERVER, 0.0)
    times: list[float] = []
    now, number = 0.0, 0
    while now < 200.0:
        deadline = reflexive.next_deadline()
        assert deadline is not None
        now = deadline.at
        reflexive.handle_timeout(now)
        for question in asked(reflexive):
            number += 1
            times.append(now)
            answer(reflexive, question, Address(SEEN.host, number))
    assert 8 <= len(times) <= 13
    assert reflexive.mapped() == [Mapped(Address(SEEN.host, number), HERE, SERVER)]
    reflexive.forget(LINK)
    assert (reflexive.mapped(), reflexive.next_deadline()) == ([], None)
