"""In which order providers of a service are tried, by one caller and by all who want to meet."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest
from choice_bench import node_of

from p2psip.reload.node.choosing.service_choice import Offerer, in_order_for_all, in_order_for_one

DRAWS = 2000


def first_of(*offerers: Offerer) -> Counter[int]:
    """How often each comes first, of DRAWS times."""
    rng = random.Random("draws")
    firsts = (in_order_for_one(offerers, rng)[0].node for _ in range(DRAWS))
    return Counter(int.from_bytes(node, "big") for node in firsts)


def offerer(number: int, **facts: object) -> Offerer:
    return Offerer(node_of(number), **{"rtt_s": 0.03, "capacity": 10, **facts})  # type: ignore[arg-type]


def test_who_has_more_free_places_is_chosen_more_often() -> None:
    chosen = first_of(offerer(1, capacity=30), offerer(2, capacity=10))
    assert 2.5 < chosen[1] / chosen[2] < 3.5
    chosen = first_of(offerer(1, load=70), offerer(2))
    assert chosen[2] > 3 * chosen[1] > 0


def test_who_is_near_is_chosen_before_who_is_far() -> None:
    chosen = first_of(offerer(1, rtt_s=0.01), offerer(2, rtt_s=0.2))
    assert chosen[1] > 0.95 * DRAWS
    # Within the ground noise of a LAN nobody is nearer than another.
    alike = first_of(offerer(1, rtt_s=0.0005), offerer(2, rtt_s=0.001))
    assert 0.8 < alike[1] / alike[2] < 1.25


def test_what_we_have_placed_there_ourselves_counts_as_taken() -> None:
    chosen = first_of(offerer(1, placed=8), offerer(2))
    assert chosen[2] > 0.9 * DRAWS


def test_who_is_full_comes_late_and_who_has_failed_last() -> None:
    full, failed, far = offerer(1, load=100), offerer(2, has_failed=True), offerer(3, rtt_s=None)
    for seed in range(50):
        order = in_order_for_one([full, failed, far], random.Random(seed))
        assert [each.node for each in order] == [far.node, full.node, failed.node]


def test_nobody_is_never_tried() -> None:
    """A caller goes on to the next where one fails, down to the last."""
    offerers = [offerer(n, load=20 * n, rtt_s=None if n % 2 else 0.1, has_failed=n == 3) for n in range(6)]
    assert set(in_order_for_one(offerers, random.Random(1))) == set(offerers)
    assert in_order_for_one([], random.Random(1)) == []


@pytest.mark.parametrize(
    "facts", [{"load": 255}, {"capacity": 2**32 - 1}, {"rtt_s": 0.0, "load": 100}, {"placed": 10**6, "capacity": 1}]
)
def test_whatever_a_member_says_of_itself_can_be_reckoned_with(facts: dict[str, object]) -> None:
    odd, usual = offerer(1, **facts), offerer(2)
    assert {each.node for each in in_order_for_one([odd, usual], random.Random(1))} == {odd.node, usual.node}
    assert {each.node for each in in_order_for_all([odd, usual], b"place")} == {odd.node, usual.node}


# Where all are to come to the same


def test_all_who_want_to_meet_choose_the_same() -> None:
    offerers = [offerer(n) for n in range(8)]
    wanted = [each.node for each in in_order_for_all(offerers, b"3001")]
    for seed in range(5):
        # How far away they are is another for each.
        rng = random.Random(seed)
        seen = [replace(each, rtt_s=rng.random()) for each in rng.sample(offerers, len(offerers))]
        assert [each.node for each in in_order_for_all(seen, b"3001")] == wanted


def test_places_spread_as_there_is_room() -> None:
    offerers = [offerer(1, capacity=30), offerer(2, capacity=10)]
    chosen = Counter(in_order_for_all(offerers, b"%d" % room)[0].node for room in range(DRAWS))
    assert 2.4 < chosen[node_of(1)] / chosen[node_of(2)] < 3.6


def test_if_one_goes_nobody_moves_who_was_not_there() -> None:
    offerers = [offerer(n) for n in range(6)]
    for room in range(100):
        place = b"%d" % room
        first, *rest = in_order_for_all(offerers, place)
        assert in_order_for_all(rest, place) == rest
        assert in_order_for_all([each for each in offerers if each is not rest[-1]], place)[0] == first


def test_a_full_one_is_nobodys_place() -> None:
    offerers = [offerer(1, capacity=1000, load=100), offerer(2, capacity=1)]
    assert in_order_for_all(offerers, b"3001")[0].node == node_of(2)
