"""A member that lies, in whole overlays of one-hop in virtual time (docs/decisions/one-hop.md)."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from p2psip.base.ids import NodeId
from p2psip.reload.node.message_passing import Messages
from p2psip.reload.node.node import Node
from p2psip.reload.topology.actions import Tell
from p2psip.reload.topology.one_hop.enquiries import OPEN_MAX, REMEMBERED_MAX, WAITING_MAX
from p2psip.reload.topology.one_hop.messages import NAMES_MAX, OneHopUpdate, Standing, UpdateType
from p2psip.reload.wire.contents import MessageCode
from p2psip.reload.wire.language.codec import Struct
from p2psip.reload.wire.topology_messages import JoinReq, LeaveReq
from p2psip.sim.invariants import one_hop_of
from p2psip.sim.registrations import fill, grow, missing, wait_until, wait_whole
from p2psip.sim.simulated_overlay import SimulatedOverlay
from p2psip.sim.topologies import ONE_HOP
from p2psip.sim.world import Host

PEERS = 16
"""More than have links with all."""

LIES_S = 20.0
STEP_S = 0.25
RESET_EVERY_S = 1.0
"""So often a link between two others fails, whose ends have lost sight of each other."""

OUT_OF_SIGHT_MAX_S = 2.0
"""So long at most a living member is missing from a table."""

QUERY = int(MessageCode.ROUTE_QUERY_REQ).to_bytes(2, "big")

BURIED_AFTER_S = 30.0
"""So long at most after its death a member is in a table, whoever says that it lives."""


Lie = Callable[[], Sequence[Struct]]


class Liar:
    """A member that says what it likes; all that it says is signed, and comes over its own links."""

    def __init__(self, overlay: SimulatedOverlay, host: Host) -> None:
        self.overlay, self.host = overlay, host
        self.node: Node = overlay.node(host)
        self.topology = one_hop_of(self.node)
        self._rng = random.Random("lies")
        self.invented: set[NodeId] = set()

    def tell_all(self, code: MessageCode, bodies: Lie) -> None:
        """Say the same to all that it is linked with, new ones for each."""

        def tell(now: float) -> None:
            for node in sorted(self.node.linked):
                self.topology._actions += [Tell(node, code, body) for body in bodies()]
            self.node._settle(now)

        self.overlay.world.call(self.host, tell)

    def invents(self, count: int = NAMES_MAX) -> tuple[NodeId, ...]:
        """Names of nobody."""
        names = tuple(NodeId(self._rng.randbytes(16)) for _ in range(count))
        self.invented.update(names)
        return names

    def update(self, kind: UpdateType, **names: tuple[NodeId, ...]) -> OneHopUpdate:
        """One of its Updates, with another digest than anybody has."""
        return OneHopUpdate(1, self._rng.randbytes(8), kind, **names)

    def bears_false_witness(self, dead: Sequence[NodeId] = ()) -> None:
        """Whoever asks it hears that the living are gone, and the dead there."""
        own = self.node.node_id

        def standing(target: bytes, now: float) -> Standing:
            return Standing.MEMBER if target == own or target in dead else Standing.GONE

        self.topology._standing = standing  # type: ignore[method-assign]


def grown(seed: object) -> tuple[SimulatedOverlay, Liar]:
    overlay = grow(f"lies {seed}", PEERS, **ONE_HOP.settings)
    overlay.world.run_for(40.0)
    return overlay, Liar(overlay, overlay.world.hosts["p7"])


def honest(overlay: SimulatedOverlay, liar: Liar) -> list[Node]:
    return [overlay.node(host) for host in overlay.alive() if host is not liar.host]


def longest_out_of_sight_s(overlay: SimulatedOverlay, liar: Liar, lie: Callable[[], None]) -> float:
    """How long at most one honest member was missing from the table of another, while somebody lies all the time."""
    members = [node.node_id for node in honest(overlay, liar)]
    since: dict[tuple[NodeId, NodeId], float] = {}
    longest_s, ends_at = 0.0, overlay.world.now + LIES_S
    while overlay.world.now < ends_at:
        lie()
        overlay.world.run_for(STEP_S)
        now = overlay.world.now
        for node in honest(overlay, liar):
            table = set(one_hop_of(node).members)
            assert not table & liar.invented, "nobody is believed to be there who is not"
            for member in members:
                if member in table:
                    since.pop((node.node_id, member), None)
                else:
                    longest_s = max(longest_s, now - since.setdefault((node.node_id, member), now - STEP_S))
    return longest_s


def reset_a_link(overlay: SimulatedOverlay, liar: Liar, rng: random.Random) -> None:
    """One between two honest members, as it happens."""
    hosts = [host for host in overlay.alive() if host is not liar.host]
    ends = [end for host in hosts for end in host.links.values() if end.host in hosts and end.number in end.host.links]
    there = rng.choice(ends)
    here = there.host.links[there.number]
    for end in (here, there):
        overlay.world._down(end, "connection reset")


def all_that_it_can_say(liar: Liar, others: Sequence[NodeId]) -> list[tuple[MessageCode, Lie]]:
    own, gone = liar.node.node_id, tuple(others)
    return [
        (MessageCode.UPDATE_REQ, lambda: [liar.update(UpdateType.NEWS, gone=gone)]),
        (MessageCode.UPDATE_REQ, lambda: [liar.update(UpdateType.NEWS, came=liar.invents())]),
        (MessageCode.UPDATE_REQ, lambda: [liar.update(UpdateType.PAGE, members=(own,), next=(own,))]),
        (MessageCode.UPDATE_REQ, lambda: [liar.update(UpdateType.PAGE, members=(own, *liar.invents(20)), next=(own,))]),
        (MessageCode.UPDATE_REQ, lambda: [liar.update(UpdateType.SYNC)] * 5),
        (MessageCode.LEAVE_REQ, lambda: [LeaveReq(other, b"") for other in others[:3]]),
        (MessageCode.JOIN_REQ, lambda: [JoinReq(other) for other in others[:3]]),
        (MessageCode.JOIN_REQ, lambda: [JoinReq(own)]),
        (MessageCode.UPDATE_REQ, lambda: [liar.update(UpdateType.NEWS)]),
    ]


@pytest.mark.long
@pytest.mark.parametrize("seed", range(2))
def test_whatever_a_member_says_nobody_is_out_of_sight_and_nobody_is_invented(seed: int) -> None:
    """Four times a second, over each of its links, for a while; and what others remember of it is bounded."""
    overlay, liar = grown(seed)
    records = fill(overlay, 20)
    others = [node.node_id for node in honest(overlay, liar)]
    liar.bears_false_witness()
    lies = all_that_it_can_say(liar, others)
    rng = random.Random(seed)

    def lie() -> None:
        for code, bodies in rng.sample(lies, 3):
            liar.tell_all(code, bodies)
        if rng.random() < STEP_S / RESET_EVERY_S:
            reset_a_link(overlay, liar, rng)

    longest_s = longest_out_of_sight_s(overlay, liar, lie)
    assert longest_s <= OUT_OF_SIGHT_MAX_S
    for node in honest(overlay, liar):
        topology = one_hop_of(node)
        enquiries = topology.enquiries
        assert len(enquiries._comings) <= OPEN_MAX + WAITING_MAX
        assert len(enquiries._doubts) <= PEERS
        for remembered in (enquiries._paused, enquiries._mistaken, enquiries._buried):
            assert len(remembered) <= REMEMBERED_MAX
        of_links = (topology._sought, topology._awaited, topology._shunned, topology._left, topology._paged)
        of_names = (topology._told_by, topology._news, topology._named, topology._admitting)
        assert sum(map(len, (*of_links, *of_names))) < 10 * PEERS
        assert len(node._exchange.transport._open) < 4 * OPEN_MAX
    assert missing(overlay, records) == []
    overlay.world.crash(liar.host)
    wait_whole(overlay, 60.0)
    wait_until(overlay, 60.0, lambda: all(ONE_HOP.is_at_rest(node) for node in honest(overlay, liar)))


@pytest.mark.long
@pytest.mark.parametrize("seed", range(2))
def test_who_has_died_stays_dead_though_a_member_says_that_it_lives_and_repeats_what_it_has_said(seed: int) -> None:
    """Each question that the dead one put by way of the liar is put again, signed as it is."""
    overlay = SimulatedOverlay(f"repeats {seed}", **ONE_HOP.settings)
    kept: list[Any] = []
    last = PEERS - 1
    node_id = overlay.identity(last).node_id
    for number in range(PEERS):
        host = overlay.add_peer(number)
        if number == 0:
            listen(overlay.node(host), node_id, kept)
        overlay.world.run_for(2.0)
    wait_whole(overlay, 60.0)
    liar = Liar(overlay, overlay.world.hosts["p0"])
    assert kept, "it has put questions by way of the liar"
    overlay.world.crash(overlay.world.hosts[f"p{last}"])
    liar.bears_false_witness([node_id])
    began = overlay.world.now
    while overlay.world.now < began + BURIED_AFTER_S + LIES_S:
        liar.tell_all(MessageCode.UPDATE_REQ, lambda: [liar.update(UpdateType.NEWS, came=(node_id,))])
        overlay.world.call(liar.host, lambda now: repeat(liar.node, kept, now))
        overlay.world.run_for(1.0)
        if overlay.world.now > began + BURIED_AFTER_S:
            assert not any(node_id in one_hop_of(node).members for node in honest(overlay, liar))


def listen(node: Node, sender: NodeId, kept: list[Any]) -> None:
    """Keep what `sender` asks others by way of this node."""
    messages = node._messages
    route = messages._route

    def listens(transit: Any, now: float) -> Any:
        is_for_us = transit.header.destination_list[-1].node_id == node.node_id
        if transit.is_request and transit.previous_hop == sender and transit.payload[:2] == QUERY and not is_for_us:
            kept.append(transit)
        return route(transit, now)

    messages._route = listens  # type: ignore[method-assign]


def repeat(node: Node, kept: Sequence[Any], now: float) -> None:
    """Pass them on once more."""
    for transit in kept:
        Messages._route(node._messages, transit, now)
    node._settle(now)
