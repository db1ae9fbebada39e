"""A hundred peers in virtual time: how long a join takes, how far the next record is.

One way between two peers takes 5 to 50 ms, by chance; a link's handshake takes three ways. Peers join one after
another, in an overlay that holds a record for each; then peers chosen by chance look records up. Signatures are
cheap ones, so that the figures are those of the protocol. A seed decides all of it.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

from bench.results import Result, result
from p2psip.base.ids import NodeId
from p2psip.reload.transport.outcome import Answer
from p2psip.reload.usages.sip_registration import fetch_request, route_to, store_request
from p2psip.sim.signer import SimulatedIdentity
from p2psip.sim.simulated_overlay import SimulatedOverlay
from p2psip.sim.world import Host

PEERS = 100
LOOKUPS = 500
WARM_UP_S = 720.0
"""Time to learn of everybody that matters: the interval of updates is ten minutes."""
IDLE_S = 300.0


def measure() -> Iterator[Result]:
    """Joins, then lookups, then what the overlay costs when nobody wants anything."""
    began = time.process_time()
    overlay = SimulatedOverlay("bench")
    joins = [_join_s(overlay, number) for number in range(PEERS)]
    yield result("virtual.join", "s", joins[1:])
    yield result("virtual.joins.processor", "s", [time.process_time() - began])
    overlay.world.run_for(WARM_UP_S)
    assert overlay.is_ring()
    rng = random.Random("bench lookups")
    answers = [_look_up(overlay, rng) for _ in range(LOOKUPS)]
    yield result("virtual.lookup.hops", "hops", [answer.hops for answer in answers])
    yield result("virtual.lookup.hops.mean", "hops", [sum(answer.hops for answer in answers) / LOOKUPS])
    yield result("virtual.lookup.time", "ms", [answer.rtt_s * 1000 for answer in answers])
    yield result("virtual.idle.sent", "B/s", _idle_bytes(overlay))
    yield result("virtual.processor", "s", [time.process_time() - began])


def _join_s(overlay: SimulatedOverlay, number: int) -> float:
    """From the start of a peer until it is a member of the ring; then it stores the record of a line."""
    began = overlay.world.now
    host = overlay.add_peer(number)
    node = overlay.node(host)
    assert overlay.world.run_for(120.0, stop=lambda: node.is_serving), f"{host.name} is not in"
    took_s = overlay.world.now - began
    _publish(overlay, host, number)
    return took_s


def _publish(overlay: SimulatedOverlay, host: Host, number: int) -> None:
    node = overlay.node(host)
    line = SimulatedIdentity(f"user{number}@sim.example", NodeId(random.Random(number).randbytes(16)))

    def store(context: object, now: float) -> None:
        node.add_client(line, now)
        request = store_request(line, route_to(node.node_id), node.reader.wall.date_ms(now), node.hash_name)
        node.store(line, request, context, now)

    assert isinstance(overlay.wait_done(host, overlay.command(host, store)).result, Answer)


def _look_up(overlay: SimulatedOverlay, rng: random.Random) -> Answer:
    host = rng.choice(overlay.alive())
    node = overlay.node(host)
    request = fetch_request(f"user{rng.randrange(PEERS)}@sim.example", node.hash_name)
    done = overlay.wait_done(host, overlay.command(host, lambda context, now: node.fetch(request, context, now)))
    assert isinstance(done.result, Answer), done
    host.events.clear()
    return done.result


def _idle_bytes(overlay: SimulatedOverlay) -> list[float]:
    """What each peer sends while nobody calls, per second, without TLS and TCP."""
    before = {host.name: host.bytes_sent for host in overlay.alive()}
    overlay.world.run_for(IDLE_S)
    return [(host.bytes_sent - before[host.name]) / IDLE_S for host in overlay.alive()]
