"""Simulated overlays whose peers keep registrations: grown, filled, and read."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from p2psip.base.ids import NodeId, ResourceId
from p2psip.reload.node.effects import Done
from p2psip.reload.storage.stored_values import sign_value
from p2psip.reload.transport.outcome import Answer
from p2psip.reload.transport.request import OverlayRequest
from p2psip.reload.wire.header import Destination
from p2psip.reload.wire.storage_messages import (
    DataValue,
    DictionaryEntry,
    DictionarySpecifier,
    FetchAns,
    FetchKindResponse,
    FetchReq,
    StoredDataSpecifier,
    StoreKindData,
    StoreReq,
)
from p2psip.reload.wire.usages.sip_registration import SipRegistration
from p2psip.sim.signer import SimulatedIdentity
from p2psip.sim.simulated_overlay import Command, SimulatedOverlay
from p2psip.sim.topologies import is_whole
from p2psip.sim.world import Host

KIND = 1
LIFETIME_S = 1800


@dataclass(frozen=True)
class StoredEntry:
    """A registration that a line of `host` has stored."""

    line: SimulatedIdentity
    host: Host
    resource: ResourceId


def record_of(overlay: SimulatedOverlay, line: SimulatedIdentity, host: Host) -> StoredEntry:
    """The one of this line, when it is stored."""
    return StoredEntry(line, host, overlay.node(host).hash_name(line.user.encode()))


def wait_until(overlay: SimulatedOverlay, limit_s: float, condition: Callable[[], bool], step_s: float = 0.25) -> float:
    """Let time go on until something is so; after how many seconds it was. Looked at every `step_s`."""
    began = overlay.world.now
    while not condition():
        assert overlay.world.now - began < limit_s, f"not after {limit_s} s"
        overlay.world.run_for(step_s)
    return overlay.world.now - began


def wait_whole(overlay: SimulatedOverlay, limit_s: float, step_s: float = 0.25) -> float:
    """Let time go on until all who live are one overlay; after how many seconds it was."""
    return wait_until(overlay, limit_s, lambda: is_whole(overlay), step_s)


def grow(seed: int | str, peers: int, *, at_once: int = 5, **settings: Any) -> SimulatedOverlay:
    """An overlay of so many peers that have joined, some at the same time."""
    overlay = SimulatedOverlay(seed, **settings)
    for number in range(peers):
        overlay.add_peer(number)
        if number % at_once == 0:
            overlay.world.run_for(1.0)
    wait_whole(overlay, 60.0)
    return overlay


def restart(overlay: SimulatedOverlay, host: Host) -> Host:
    """The machine loses its power for a moment; its peer remembers nothing but what its configuration says."""
    overlay.world.crash(host, is_silent=True)
    return overlay.add_peer(int(host.name.removeprefix("p")))


def ask(overlay: SimulatedOverlay, host: Host, asked: OverlayRequest) -> Command:
    """The node of a host makes a request."""
    return overlay.command(host, lambda context, now: overlay.node(host).request(asked, context, now))


def store(overlay: SimulatedOverlay, host: Host, line: SimulatedIdentity) -> Command:
    """A line of a host stores its registration."""
    return _put(overlay, host, line, DataValue(True, route_to(overlay, host)))


def remove(overlay: SimulatedOverlay, host: Host, line: SimulatedIdentity) -> Command:
    """A line of a host removes its registration."""
    return _put(overlay, host, line, DataValue.nonexistent())


def route_to(overlay: SimulatedOverlay, host: Host) -> bytes:
    """What the registration of a line of this host says."""
    return SipRegistration.route((Destination.node(overlay.node(host).node_id),)).encode()


def _put(overlay: SimulatedOverlay, host: Host, line: SimulatedIdentity, value: DataValue) -> Command:
    node = overlay.node(host)
    resource = node.hash_name(line.user.encode())
    entry = DictionaryEntry(bytes(line.node_id), value)

    def run(context: object, now: float) -> None:
        node.add_client(line, now)
        issued = node.issue_storage_time(line.node_id, now)
        signed = sign_value(line, resource, KIND, entry, issued.storage_time_ms, LIFETIME_S)
        request = StoreReq(resource, 0, (StoreKindData(KIND, 0, (signed,)),))
        node.store(line, request, context, now, after=issued.after)

    return overlay.command(host, run)


def fetch(overlay: SimulatedOverlay, host: Host, resource: ResourceId) -> Command:
    """A peer asks for all registrations at a resource."""
    request = FetchReq(resource, (StoredDataSpecifier(KIND, 0, DictionarySpecifier(())),))
    return overlay.command(host, lambda context, now: overlay.node(host).fetch(request, context, now))


def line(number: int | str) -> SimulatedIdentity:
    """Somebody with a phone."""
    return SimulatedIdentity(f"user{number}@sim.example", NodeId(random.Random(f"line {number}").randbytes(16)))


def fill(overlay: SimulatedOverlay, count: int, *, first: int = 0, seed: int = 1) -> list[StoredEntry]:
    """So many lines, at peers that chance chooses, store their registrations; all are acknowledged."""
    rng = random.Random(f"fill {seed}")
    records = [record_of(overlay, line(number), rng.choice(overlay.alive())) for number in range(first, first + count)]
    commands = [store(overlay, record.host, record.line) for record in records]
    for record, command in zip(records, commands, strict=True):
        result = overlay.wait_done(record.host, command).result
        assert isinstance(result, Answer), f"{record.line.user}: {result}"
    return records


def is_found(done: Done | None) -> bool:
    """True if a Fetch brought exactly one registration."""
    result = None if done is None else done.result
    if not isinstance(result, Answer) or not isinstance(result.body, FetchAns):
        return False
    (kind,) = result.body.kind_responses
    return isinstance(kind, FetchKindResponse) and len(kind.values) == 1


def missing(
    overlay: SimulatedOverlay, records: Iterable[StoredEntry], *, seed: int = 1, limit_s: float = 16.0
) -> list[str]:
    """Whose registrations peers that chance chooses do not find."""
    rng = random.Random(f"fetch {seed}")
    asked = [(record, host := rng.choice(overlay.alive()), fetch(overlay, host, record.resource)) for record in records]
    ends_at = overlay.world.now + limit_s
    while overlay.world.now < ends_at and any(overlay.done(host, command) is None for _, host, command in asked):
        overlay.world.run_for(0.25)
    return [record.line.user for record, host, command in asked if not is_found(overlay.done(host, command))]


def responsible(overlay: SimulatedOverlay, record: StoredEntry) -> Host:
    """The one peer that is responsible for a registration."""
    (host,) = overlay.responsible_for(record.resource)
    return host


def host_of(overlay: SimulatedOverlay, node: NodeId) -> Host:
    """The host on which a living node runs."""
    return next(host for host in overlay.alive() if overlay.node(host).node_id == node)
