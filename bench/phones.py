"""One peer as a process with its sockets, and many phones: registrations and calls by SIPp, which a Kamailio serves as
well, in the same run and by the same scenarios.

Every request proves its sender by digest, once challenged. Each figure of processor time is that of the whole process
(of all of Kamailio's), whatever else it does meanwhile. LOAD_S, LOAD_CALLS: for how long the peer is to bear the
load of a large site, a minute at most, and how many calls a second; besides a thousand phones register every minute.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from kamailio_process import IS_INSTALLED
from live_overlay import LiveOverlay, LivePeer, phone_password
from sipp import Account, Crowd, Sipp, answering, calling, registering, registering_crowd

from bench import kamailio
from bench.kamailio import Kamailio
from bench.results import Result, result

LINES = 100
PHONES_OF_A_LINE = 10
USERS = tuple(f"line{number}" for number in range(LINES))
PORTS = tuple(range(6001, 6001 + PHONES_OF_A_LINE))
"""At which nobody is: these phones are never called."""

READINGS = 5
REGISTRATIONS, REGISTRATIONS_A_SECOND = 500, 100.0
CALLS, CALLS_A_SECOND = 200, 25.0

LOAD_REGISTRATIONS_A_SECOND = LINES * PHONES_OF_A_LINE / 60
AT_ONCE = 3000


class Served(Protocol):
    """What phones register with."""

    @property
    def server(self) -> str:
        """What one sets as server in a phone."""

    def cpu_s(self) -> float:
        """How much processor time it has used."""


def measure() -> Iterator[Result]:
    """A registration, a call; then how many at once."""
    if shutil.which("sipp") is None:
        print("bench: no phones: SIPp (Debian: sip-tester) is not installed", file=sys.stderr)
        return
    with tempfile.TemporaryDirectory(prefix="p2psip-bench-") as name:
        directory = Path(name)
        with LiveOverlay(directory, peers=1, users=("alice", "bob", *USERS)) as overlay:
            (peer,) = overlay.peers
            overlay.add_lines([(peer, user) for user in ("alice", "bob", *USERS)])
            phones = _Phones(directory, peer, {user: phone_password(user) for user in ("alice", "bob", *USERS)})
            ours = {one.name: one for one in phones.readings("phones.peer")}
            yield from ours.values()
            yield from _load(phones, peer)
        if not IS_INSTALLED:
            print("bench: no comparison: Kamailio (Debian: kamailio) is not installed", file=sys.stderr)
            return
        with Kamailio(directory) as neighbour:
            theirs = _Phones(directory, neighbour, dict.fromkeys(("alice", "bob", *USERS), kamailio.PASSWORD))
            for one in theirs.readings("phones.kamailio"):
                yield one
                what = one.name.removeprefix("phones.kamailio.")
                yield result(f"phones.ratio.{what}", "x", [ours[f"phones.peer.{what}"].median / one.median])


class _Phones:
    """All phones of one server."""

    def __init__(self, directory: Path, served: Served, passwords: dict[str, str]) -> None:
        self.directory = directory
        self._served = served
        self._accounts = {user: Account(served.server, user, password) for user, password in passwords.items()}
        self.crowd = Crowd(tuple(self._accounts[user] for user in USERS), PORTS)

    def readings(self, name: str) -> Iterator[Result]:
        """Microseconds of processor time for a registration, and for a call."""
        register_us, call_us = [], []
        # Once, so that no phone is new: what is stored in the overlay when one comes is another figure.
        registering_crowd(self.directory, self.crowd, times=LINES * len(PORTS), rate=REGISTRATIONS_A_SECOND).run(240)
        for _ in range(READINGS):
            before = self._served.cpu_s()
            registering_crowd(self.directory, self.crowd, times=REGISTRATIONS, rate=REGISTRATIONS_A_SECOND).run(120)
            between = self._served.cpu_s()
            assert self.call(CALLS, CALLS_A_SECOND).failed() == 0, "every call is answered"
            register_us.append((between - before) / REGISTRATIONS * 1e6)
            call_us.append((self._served.cpu_s() - between) / CALLS * 1e6)
        yield result(f"{name}.register", "us", register_us)
        yield result(f"{name}.call", "us", call_us)

    def call(self, calls: int, rate: float) -> Sipp:
        """alice calls bob, so many times, and is awaited: what came of it."""
        alice, bob = self._accounts["alice"], self._accounts["bob"]
        with answering(self.directory, "bob", calls=calls, ring_ms=0) as phone:
            registering(self.directory, bob, phone.address).run()
            target, at_once = f"sip:bob@{alice.server}", AT_ONCE
            caller = calling(self.directory, alice, target, calls=calls, rate=rate, talk_ms=200, at_once=at_once)
            with caller:
                caller.end(120 + calls / rate)
            return caller


def _load(phones: _Phones, peer: LivePeer) -> Iterator[Result]:
    """What is asked of one core."""
    load_s = float(os.environ.get("LOAD_S", "60"))
    calls_a_second = float(os.environ.get("LOAD_CALLS", "200"))
    before, memory_mb = peer.cpu_s(), _memory_mb(peer)
    times = min(LINES * PHONES_OF_A_LINE, max(1, round(LOAD_REGISTRATIONS_A_SECOND * load_s)))
    crowd = registering_crowd(phones.directory, phones.crowd, times=times, rate=LOAD_REGISTRATIONS_A_SECOND)
    with crowd:
        caller = phones.call(round(calls_a_second * load_s), calls_a_second)
        crowd.end(120)
    yield result("phones.load.calls_a_second", "1/s", [calls_a_second])
    yield result("phones.load.processor", "s", [peer.cpu_s() - before])
    yield result("phones.load.failed", "", [caller.failed() + crowd.failed()])
    yield result("phones.load.repeated", "", [caller.retransmissions() + crowd.retransmissions()])
    yield result("phones.load.memory", "MB", [_memory_mb(peer) - memory_mb])


def _memory_mb(peer: LivePeer) -> float:
    return float(peer.status()["memory_kb"]) / 1024
