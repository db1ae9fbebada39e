"""To whom a bootstrap server leads (p2psip.reload.paths.introduction)."""

from __future__ import annotations

import random

from p2psip.base.address import Address
from p2psip.reload.paths.introduction import (
    CONNECTIONS_MAX,
    CONNECTIONS_PER_SOURCE_MAX,
    FAILED_S,
    TRIES,
    Introductions,
)

PEERS = [Address("192.0.2.1", port) for port in range(6084, 6090)]


def source(number: int) -> Address:
    return Address(f"198.51.{number // 256}.{number % 256}", 40000)


def test_the_load_is_shared_and_who_did_not_answer_comes_last_for_a_while() -> None:
    introductions = Introductions(PEERS, random.Random(1))
    first = {introductions.accept(source(number), 0.0)[0] for number in range(60)}
    assert first == set(PEERS)
    for peer in PEERS[1:]:
        introductions.failed(peer, 10.0)
    ways = [introductions.accept(source(number), 11.0) for number in range(60, 90)]
    assert {each[0] for each in ways} == {PEERS[0]}
    assert {len(each) for each in ways} == {TRIES}
    introductions.answered(PEERS[1])
    assert {introductions.accept(source(number), 11.0)[0] for number in range(90, 120)} == set(PEERS[:2])
    assert len({introductions.accept(source(number), 10.0 + FAILED_S)[0] for number in range(120, 180)}) == len(PEERS)


def test_there_are_so_many_and_so_many_of_one_address() -> None:
    introductions = Introductions(PEERS, random.Random(1))
    for _ in range(CONNECTIONS_PER_SOURCE_MAX):
        assert introductions.accept(source(0), 0.0)
    assert introductions.accept(source(0)._replace(port=1), 0.0) == []
    number = 1
    while len(introductions) < CONNECTIONS_MAX:
        assert introductions.accept(source(number), 0.0)
        number += 1
    assert introductions.accept(source(number), 0.0) == []
    introductions.over(source(0))
    assert introductions.accept(source(number), 0.0)
