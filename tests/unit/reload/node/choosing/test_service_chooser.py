"""Who offers a service, how far away that is, and what has become of what was sent there."""

from __future__ import annotations

import random
from collections.abc import Sequence

from choice_bench import SERVICE, ChoosingPeer, Clock, node_of, provider

from p2psip.base.ids import NodeId
from p2psip.reload.node.choosing.service_chooser import FAILED_S, FRESH_S, PINGS_S
from p2psip.reload.usages.redir import Provider

ME = 99


class Overlay:
    """What one peer finds in it."""

    def __init__(self, *offered: Provider, rtts: dict[int, float] | None = None) -> None:
        self.offered: Sequence[Provider] | None = offered
        self.rtts = {node_of(number): rtt_s for number, rtt_s in (rtts or {}).items()}
        self.clock = Clock(1000.0)
        self.peer = ChoosingPeer(self.clock, ME, lambda: self.offered, self.rtts.get, random.Random(1))

    def order(self, *numbers: int) -> list[NodeId]:
        """In which order these are tried now."""
        return self.peer.chooser.order_for_one(SERVICE, map(node_of, numbers), self.clock.now)

    def seek(self, **how: object) -> float:
        """How long it takes until the providers are known."""
        began, known = self.clock.now, []
        self.peer.when_known(lambda: known.append(self.clock.now), **how)
        self.clock.run_until(began + 30.0)
        assert len(known) == 1
        return known[0] - began


def test_the_nearest_is_chosen_once_all_have_answered() -> None:
    overlay = Overlay(provider(1), provider(2), rtts={1: 0.3, 2: 0.02})
    assert abs(overlay.seek() - (0.2 + 0.3)) < 0.01
    assert [overlay.peer.chooser.rtt_s(SERVICE, node_of(number)) for number in (1, 2, 3)] == [0.3, 0.02, None]
    assert overlay.order(1, 2) == [node_of(2), node_of(1)]


def test_who_does_not_answer_a_ping_is_not_waited_for_and_comes_last() -> None:
    overlay = Overlay(provider(1), provider(2), rtts={1: 0.3})
    assert abs(overlay.seek() - (0.2 + PINGS_S)) < 0.01
    assert overlay.order(2, 1) == [node_of(1), node_of(2)]


def test_who_answers_a_ping_no_more_is_as_far_as_can_be() -> None:
    overlay = Overlay(provider(1), provider(2), rtts={1: 0.02, 2: 0.3})
    overlay.seek()
    del overlay.rtts[node_of(1)]
    overlay.clock.run_until(overlay.clock.now + FRESH_S)
    # At once, and not only when the request has failed.
    for wait_s in (0.0, 20.0):
        overlay.seek()
        overlay.clock.run_until(overlay.clock.now + wait_s)
        assert overlay.peer.chooser.rtt_s(SERVICE, node_of(1)) is None
        assert overlay.order(1, 2) == [node_of(2), node_of(1)]


def test_what_was_found_is_good_for_a_minute() -> None:
    overlay = Overlay(provider(1), rtts={1: 0.02})
    overlay.seek()
    assert overlay.peer.searches == 1
    assert overlay.seek() == 0.0
    overlay.clock.run_until(overlay.clock.now + FRESH_S)
    overlay.offered = (provider(2),)
    assert overlay.seek() > 0.0
    assert (overlay.peer.searches, list(overlay.peer.chooser.providers(SERVICE))) == (2, [node_of(2)])


def test_who_wants_it_fresher_has_it_sought_anew_and_nobody_is_pinged_where_the_way_does_not_count() -> None:
    overlay = Overlay(provider(1), rtts={})
    overlay.seek(counts_way=False)
    assert overlay.seek(fresh_s=2.0, counts_way=False) < 0.3
    assert (overlay.peer.searches, overlay.peer.pings) == (2, 0)


def test_many_who_wait_are_served_by_one_search() -> None:
    overlay = Overlay(provider(1), rtts={1: 0.02})
    known: list[float] = []
    for _ in range(20):
        overlay.peer.when_known(lambda: known.append(overlay.clock.now))
    overlay.clock.run_until(overlay.clock.now + 5.0)
    assert (len(known), overlay.peer.searches, overlay.peer.pings) == (20, 1, 1)


def test_a_search_that_fails_leaves_what_was_known_and_is_tried_again() -> None:
    overlay = Overlay(provider(1), rtts={1: 0.02})
    overlay.seek()
    overlay.clock.run_until(overlay.clock.now + FRESH_S)
    overlay.offered = None
    overlay.seek()
    overlay.seek()
    assert (overlay.peer.searches, list(overlay.peer.chooser.providers(SERVICE))) == (3, [node_of(1)])


def test_outside_of_the_overlay_nobody_is_waited_for() -> None:
    overlay = Overlay()
    overlay.peer.node.is_connected = False
    assert (overlay.seek(), overlay.peer.searches) == (0.0, 0)


def test_who_has_failed_comes_last_for_a_minute() -> None:
    overlay = Overlay(provider(1), provider(2), rtts={1: 0.01, 2: 0.3})
    overlay.seek()
    overlay.peer.chooser.failed(SERVICE, node_of(1), overlay.clock.now)
    assert overlay.order(1, 2) == [node_of(2), node_of(1)]
    assert overlay.peer.chooser.order_for_all(SERVICE, b"x", overlay.clock.now) == [node_of(2), node_of(1)]
    overlay.clock.run_until(overlay.clock.now + FAILED_S)
    assert overlay.order(1, 2) == [node_of(1), node_of(2)]


def test_what_was_placed_counts_until_the_provider_says_anew_how_busy_it_is() -> None:
    overlay = Overlay(provider(1, capacity=4), provider(2, capacity=4), rtts={1: 0.05, 2: 0.05})
    overlay.seek()
    for _ in range(4):
        overlay.peer.chooser.placed(SERVICE, node_of(1))
    assert all(overlay.order(1, 2)[0] == node_of(2) for _ in range(50))
    overlay.clock.run_until(overlay.clock.now + FRESH_S)
    overlay.offered = (provider(1, capacity=4, load=0), provider(2, capacity=4, load=50))
    overlay.seek()
    # The first has said nothing new: ours are still there.
    assert all(overlay.order(1, 2)[0] == node_of(2) for _ in range(50))
    overlay.clock.run_until(overlay.clock.now + FRESH_S)
    overlay.offered = (provider(1, capacity=4, load=25), provider(2, capacity=4, load=50))
    overlay.seek()
    assert any(overlay.order(1, 2)[0] == node_of(1) for _ in range(50))


def test_we_ourselves_are_near() -> None:
    overlay = Overlay(provider(ME), provider(1), rtts={1: 0.3})
    overlay.seek()
    assert overlay.peer.pings == 1
    assert overlay.order(1, ME) == [node_of(ME), node_of(1)]
