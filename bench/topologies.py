"""Each topology in virtual time, as one of its peers sees it: what idleness, a lookup, a join and a death cost.

One way between two peers takes 5 to 50 ms, by chance. Peers join one after another, each when all know the one before;
then nobody wants anything, then lines store their records and peers look them up, then one peer is killed. How many
there are, TOPOLOGY_PEERS in the environment says, a list with commas: 10,50 if it does not.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

from bench.results import Result, result
from p2psip.reload.transport.outcome import Answer
from p2psip.sim.registrations import fetch, fill, wait_until, wait_whole
from p2psip.sim.simulated_overlay import SimulatedOverlay
from p2psip.sim.topologies import CASES, Case, is_member

IDLE_S = 120.0
SETTLE_S = 60.0
"""What a change of the overlay sets off is over after that."""
LOOKUPS = 200
KNOWN_MAX_S = 120.0
STEP_S = 0.05


def measure() -> Iterator[Result]:
    """All topologies, each with so many peers."""
    for case in CASES.values():
        for peers in map(int, os.environ.get("TOPOLOGY_PEERS", "10,50").split(",")):
            yield from _measure(case, peers)


def _measure(case: Case, peers: int) -> Iterator[Result]:
    name = f"topology.{case.name}.{peers}"
    overlay = SimulatedOverlay("bench", **case.settings)
    joins = [_join_s(overlay, number) for number in range(peers)][1:]
    yield result(f"{name}.join", "s", [member_s for member_s, _ in joins])
    yield result(f"{name}.join.known", "s", [known_s for _, known_s in joins])
    overlay.world.run_for(SETTLE_S)
    hosts = overlay.alive()
    yield result(f"{name}.links", "links", [len(overlay.node(host).links()) for host in hosts])
    before = [host.bytes_sent for host in hosts]
    overlay.world.run_for(IDLE_S)
    rates = [(host.bytes_sent - sent) / IDLE_S for host, sent in zip(hosts, before, strict=True)]
    yield result(f"{name}.idle.sent", "B/s", rates)
    fill(overlay, peers)
    answers = list(_looked_up(overlay, random.Random("lookups")))
    yield result(f"{name}.lookup.hops", "hops", [answer.hops for answer in answers])
    yield result(f"{name}.lookup.hops.mean", "hops", [sum(answer.hops for answer in answers) / len(answers)])
    yield result(f"{name}.lookup.time", "ms", [answer.rtt_s * 1000 for answer in answers])
    overlay.world.crash(hosts[-1])
    yield result(f"{name}.death.known", "s", [wait_whole(overlay, KNOWN_MAX_S, STEP_S)])


def _join_s(overlay: SimulatedOverlay, number: int) -> tuple[float, float]:
    """From the start of a peer until it is a member, and until the overlay is whole with it."""
    host = overlay.add_peer(number)
    node = overlay.node(host)
    member_s = wait_until(overlay, KNOWN_MAX_S, lambda: number == 0 or is_member(node), STEP_S)
    return member_s, member_s + wait_whole(overlay, KNOWN_MAX_S, STEP_S)


def _looked_up(overlay: SimulatedOverlay, rng: random.Random) -> Iterator[Answer]:
    """Records at places that chance chooses, by peers that chance chooses."""
    for _ in range(LOOKUPS):
        host = rng.choice(overlay.alive())
        place = overlay.node(host).hash_name(f"user{rng.randrange(1000)}@sim.example".encode())
        answer = overlay.wait_done(host, fetch(overlay, host, place)).result
        assert isinstance(answer, Answer), answer
        yield answer
