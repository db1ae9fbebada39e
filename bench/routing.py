"""Ways of responses in virtual time: back by the way of the request, directly (RFC 7263), by a relay peer (RFC 7264).

One overlay, CHORD-RELOAD; one way over a link takes 50 to 150 ms, by chance. In each mode peers that chance chooses
fetch registrations, one after another: what a Fetch takes, how many messages it and its response are, hop by hop, and
how many connections are dialled for responses, of which TCP and TLS make eight packets each. ROUTING_PEERS and
ROUTING_FETCHES in the environment say how many: 100 and 200 if they do not.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass

from bench.results import Result, result
from p2psip.base.address import Address
from p2psip.reload.node.effects import Done
from p2psip.reload.paths.values import Candidate, Purpose
from p2psip.reload.transport.outcome import Answer
from p2psip.reload.wire.contents import MessageCode
from p2psip.reload.wire.extensions.routing_mode import RouteMode
from p2psip.reload.wire.message import parts_of
from p2psip.sim.registrations import StoredEntry, fetch, fill, grow
from p2psip.sim.simulated_overlay import PORT, SimulatedOverlay
from p2psip.sim.world import Host

SETTLE_S = 20.0
APART_S = 0.7
COUNTED = frozenset({MessageCode.FETCH_REQ, MessageCode.FETCH_ANS})
NOWHERE = Address("192.0.2.1", PORT)


@dataclass
class Tally:
    """What goes over links for Fetches, and what is dialled for responses."""

    messages: int = 0
    dials: int = 0

    def watch(self, overlay: SimulatedOverlay) -> None:
        """Count from now on."""
        world = overlay.world
        write, dial = world._write, world._open

        def counting_write(host: Host, number: int, data: bytes) -> None:
            _, payload = parts_of(data)
            self.messages += int.from_bytes(payload[:2], "big") in COUNTED
            write(host, number, data)

        def counting_open(host: Host, path: int, candidate: Candidate) -> None:
            self.dials += 1
            dial(host, path, candidate)

        world._write, world._open = counting_write, counting_open  # type: ignore[method-assign]


def measure() -> Iterator[Result]:
    """Each mode, and the two others where nobody can be dialled."""
    peers, fetches = int(os.environ.get("ROUTING_PEERS", "100")), int(os.environ.get("ROUTING_FETCHES", "200"))
    overlay = grow("routing", peers, at_once=3, is_direct=True, latency_s=lambda rng: rng.uniform(0.05, 0.15))
    overlay.world.run_for(SETTLE_S)
    records = fill(overlay, peers)
    tally = Tally()
    tally.watch(overlay)
    for name, mode in (("back", None), ("direct", RouteMode.DRR), ("relay", RouteMode.RPR)):
        _use(overlay, mode)
        yield from _measured(f"routing.{peers}.{name}", overlay, records, fetches, tally)
    for host in overlay.alive():
        node = overlay.node(host)
        overlay.world.call(host, lambda now, node=node: node.use_addresses({Purpose.RELOAD: (NOWHERE,)}, now))  # type: ignore[misc]
    _use(overlay, RouteMode.DRR)
    yield from _measured(f"routing.{peers}.direct.undialled", overlay, records, fetches, tally)


def _use(overlay: SimulatedOverlay, mode: RouteMode | None) -> None:
    """The administrator has another mode preferred; all peers know."""
    document = overlay.revise(route_mode=mode)
    for host in overlay.alive():
        node = overlay.node(host)
        overlay.world.call(host, lambda now, node=node: node.accept_configuration(document.raw, now))  # type: ignore[misc]
    overlay.world.run_for(SETTLE_S)


def _measured(
    name: str, overlay: SimulatedOverlay, records: list[StoredEntry], fetches: int, tally: Tally
) -> Iterator[Result]:
    rng = random.Random("routing")
    messages, dials = tally.messages, tally.dials
    times_ms = []
    for _ in range(fetches):
        host, record = rng.choice(overlay.alive()), rng.choice(records)
        command = fetch(overlay, host, record.resource)
        overlay.world.run_for(APART_S)
        done = overlay.done(host, command) or overlay.wait_done(host, command)
        times_ms.append(_answer_of(done).rtt_s * 1000)
    yield result(f"{name}.time", "ms", times_ms)
    yield result(f"{name}.time.mean", "ms", [sum(times_ms) / len(times_ms)])
    yield result(f"{name}.messages", "", [(tally.messages - messages) / fetches])
    yield result(f"{name}.dials", "", [(tally.dials - dials) / fetches])


def _answer_of(done: Done) -> Answer:
    assert isinstance(done.result, Answer), done.result
    return done.result
