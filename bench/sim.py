"""Idle peers in virtual time: what one costs the simulator, in processor and in memory.

Peers join a few at a time; each stores the registration of a line, and its certificates and the line's, and stores them
anew at half of their lifetimes, as in production. Nobody calls. Latencies, signatures and the seed are those of
`bench.virtual`. SIM_PEERS and SIM_SECONDS in the environment say how many, and how long they live after all have
joined: 100 and 1320 if they do not. The first minutes, in which they learn of each other, are not called idle.

Times are those of the processor, which others on the machine lengthen less than those of the clock; progress has both.
"""

from __future__ import annotations

import gc
import os
import random
import resource
import sys
import time
from collections.abc import Iterator

from bench.results import Result, result
from p2psip.base.ids import NodeId
from p2psip.reload.config.configuration import CERTIFICATE_KINDS, SIP_REGISTRATION_KIND
from p2psip.reload.usages.sip_registration import REFRESH_S, route_to, store_request
from p2psip.sim.signer import SimulatedIdentity
from p2psip.sim.simulated_overlay import SimulatedOverlay
from p2psip.sim.world import Host

AT_ONCE = 10
"""So many peers start in each second."""
JOIN_MAX_S = 300.0
STEP_S = 60.0
"""A reading is the mean over so long."""
WARM_UP_S = 720.0
"""Time to learn of everybody that matters: the interval of updates is ten minutes. Half of all, if that is short."""


def measure() -> Iterator[Result]:
    """Joins, then a time in which nobody wants anything."""
    peers, seconds = int(os.environ.get("SIM_PEERS", "100")), float(os.environ.get("SIM_SECONDS", "1320"))
    # Cores leave no cycles behind: the collector walks through all of them to find nothing. At the end it is asked.
    gc.collect()
    gc.disable()
    empty_kb = _resident_kb()
    began, began_at = time.process_time(), time.monotonic()
    overlay = SimulatedOverlay("bench", required_kinds=(SIP_REGISTRATION_KIND, *CERTIFICATE_KINDS), is_direct=True)
    said = _Progress(overlay, peers, empty_kb)
    joins_s = _join(overlay, peers)
    said.say("all have joined")
    yield result("sim.join", "s", joins_s)
    yield result("sim.join.processor", "ms", [(time.process_time() - began) / peers * 1000])
    ends_at, idle_at = overlay.world.now + seconds, overlay.world.now + min(WARM_UP_S, seconds / 2)
    early_ms = []
    while overlay.world.now < idle_at:
        before = time.process_time()
        overlay.world.run_for(STEP_S)
        early_ms.append((time.process_time() - before) * 1000 / STEP_S / peers)
        said.say("they learn of each other")
    assert overlay.is_ring()
    yield result("sim.early.processor", "ms/s", early_ms)
    costs_ms, rates = [], []
    while overlay.world.now < ends_at:
        before, events = time.process_time(), overlay.world.clock.events
        overlay.world.run_for(STEP_S)
        used_s = time.process_time() - before
        costs_ms.append(used_s * 1000 / STEP_S / peers)
        rates.append((overlay.world.clock.events - events) / used_s)
        said.say("idle")
    assert overlay.is_ring()
    yield result("sim.idle.processor", "ms/s", costs_ms)
    yield result("sim.events", "1/s", rates, more_is_better=True)
    yield result("sim.processor", "s", [time.process_time() - began])
    yield result("sim.clock", "s", [time.monotonic() - began_at])
    yield result("sim.cycles", "", [gc.collect()])
    gc.enable()
    yield result("sim.memory", "kB", [(_resident_kb() - empty_kb) / peers])
    yield result("sim.memory.most", "MB", [resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024])


class _Progress:
    """Lines for who watches a long run, on standard error."""

    def __init__(self, overlay: SimulatedOverlay, peers: int, empty_kb: float) -> None:
        self._overlay = overlay
        self._peers = peers
        self._empty_kb = empty_kb
        self._before = (time.process_time(), 0)
        self._began_at = time.monotonic()

    def say(self, what: str) -> None:
        """How far it is, and at what price since the last line."""
        used_s, events = time.process_time(), self._overlay.world.clock.events
        rate = (events - self._before[1]) / (used_s - self._before[0])
        self._before = (used_s, events)
        each_kb = (_resident_kb() - self._empty_kb) / self._peers
        clock_s = time.monotonic() - self._began_at
        at = f"{self._overlay.world.now:.0f} s of virtual time, {used_s:.0f} s of processor in {clock_s:.0f} s"
        print(f"{at}: {what}; {rate:.0f} events a second, {each_kb:.0f} kB a peer", file=sys.stderr, flush=True)


def _join(overlay: SimulatedOverlay, peers: int) -> list[float]:
    """Start them; how long each but the first took to be a member. Each then stores the record of a line."""
    began, took_s = overlay.world.now, []
    waiting: dict[int, float] = {}
    started = 0
    while started < peers or waiting:
        if started < peers and overlay.world.now >= began + started / AT_ONCE:
            overlay.add_peer(started)
            waiting[started] = overlay.world.now
            started += 1
        overlay.world.run_for(0.1)
        for number in [number for number in waiting if overlay.nodes[f"p{number}"].is_serving]:
            took_s.append(overlay.world.now - waiting.pop(number))
            _publish(overlay, overlay.world.hosts[f"p{number}"], number)
        assert overlay.world.now < began + peers / AT_ONCE + JOIN_MAX_S, f"{len(waiting)} are not in"
    return took_s[1:]


def _publish(overlay: SimulatedOverlay, host: Host, number: int) -> None:
    """A peer has a line, whose record is stored now and at half of each lifetime."""
    node, world = overlay.node(host), overlay.world
    line = SimulatedIdentity(f"user{number}@sim.example", NodeId(random.Random(number).randbytes(16)))

    def store(now: float) -> None:
        request = store_request(line, route_to(node.node_id), node.reader.wall.date_ms(now), node.hash_name)
        node.store(line, request, None, now)
        world.clock.at(now + REFRESH_S, lambda: world.call(host, store))

    world.call(host, lambda now: node.add_client(line, now))
    world.call(host, store)


def _resident_kb() -> float:
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize() / 1024
