"""When lost neighbours are looked for, and which of them (RFC 6940 section 10.7.4.4)."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence

import pytest

from p2psip.base.address import Address
from p2psip.reload.node.connecting.coming_in.lost_neighbors import (
    LOOK_FIRST_S,
    LOOK_LATER_S,
    LOOK_MAX_S,
    LOOK_SHARE,
    LOST_LONG_S,
    LostNeighbors,
)
from p2psip.reload.node.limits import CONTACTS_KEPT
from p2psip.reload.paths.dialling import DIAL_MAX_S

WEEK_S = 7 * 24 * 3600.0


def at(number: int) -> Address:
    return Address(f"192.0.2.{number}", 6084)


def everybody(addresses: Sequence[Address]) -> Sequence[Address]:
    return addresses


def looks(lost: LostNeighbors) -> Iterator[tuple[float, Address | None]]:
    """When somebody is looked for, and where."""
    while (deadline := lost.next_deadline()) is not None:
        if lost.take_due(deadline.at):
            yield deadline.at, lost.next_of(everybody, deadline.at)


def of(*numbers: int, seed: int = 1, now: float = 0.0) -> LostNeighbors:
    lost = LostNeighbors(random.Random(seed))
    for number in numbers:
        lost.lost(at(number), now)
    return lost


def pauses(lost: LostNeighbors, until_s: float) -> list[tuple[float, float]]:
    """When each pause began, and how long it was."""
    times = [0.0, *(when for when, _ in itertools.takewhile(lambda look: look[0] < until_s, looks(lost)))]
    return [(earlier, later - earlier) for earlier, later in itertools.pairwise(times)]


@pytest.mark.parametrize("seed", range(5))
def test_pauses_grow_with_the_time_since_the_loss_and_looking_never_ends(seed: int) -> None:
    for began, pause in pauses(of(1, seed=seed), WEEK_S):
        longest = LOOK_MAX_S if began < LOST_LONG_S else LOOK_LATER_S
        expected = min(longest, max(LOOK_FIRST_S, LOOK_SHARE * began))
        assert 0.5 * expected <= pause + 1e-6 <= 1.5 * expected + 1e-5


def test_pauses_are_by_chance() -> None:
    """A site whose peers lost the others at one moment does not look with all at one moment."""
    firsts = [pauses(of(1, seed=seed), 60.0)[0][1] for seed in range(100)]
    assert min(firsts) < 0.6 * LOOK_FIRST_S
    assert max(firsts) > 1.4 * LOOK_FIRST_S


def test_each_look_is_for_one_in_turn_and_who_was_lost_last_comes_first() -> None:
    """What looking costs does not grow with the number of those who are gone."""
    lost = of(1, 2, 3)
    found = [where for _, where in itertools.islice(looks(lost), 6)]
    assert found == [at(3), at(2), at(1)] * 2
    lost.lost(at(2), 1000.0)
    assert next(looks(lost))[1] == at(2)


def test_a_further_loss_makes_pauses_short_again() -> None:
    lost = of(1)
    (last, _) = next(look for look in looks(lost) if look[0] > 10 * LOOK_MAX_S)
    lost.lost(at(2), last)
    when, where = next(looks(lost))
    assert when <= last + 1.5 * LOOK_FIRST_S
    assert where == at(2)


def test_so_many_are_remembered_the_last_ones() -> None:
    lost = of(*range(2 * CONTACTS_KEPT))
    assert lost.addresses == tuple(at(number) for number in range(CONTACTS_KEPT, 2 * CONTACTS_KEPT))


def test_who_is_found_is_looked_for_no_more_and_without_anybody_there_is_no_deadline() -> None:
    lost = of(1, 2)
    lost.found(at(1))
    found = [where for _, where in itertools.islice(looks(lost), 5)]
    assert found.count(at(2)) >= 2
    assert at(1) not in found
    lost.found(at(2))
    assert list(looks(lost)) == []
    assert lost.next_deadline() is None


def test_nobody_is_dialled_who_is_being_dialled_or_is_linked() -> None:
    lost = of(1)
    assert lost.next_of(everybody, 100.0) == at(1)
    assert lost.next_of(everybody, 99.9 + DIAL_MAX_S) is None
    assert lost.next_of(lambda _: (), 100.0 + DIAL_MAX_S) is None
    assert lost.next_of(everybody, 100.0 + DIAL_MAX_S) == at(1)
