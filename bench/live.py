"""Five peers as processes on loopback, as `p2psip peer run` starts them: joins, lookups, calls, memory.

Calls go from SIPp to SIPp through two peers; a call between the same two without a peer is the phones' own time. The
callee rings and answers at once.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from live_overlay import HOST, OVERLAY, LiveOverlay, LivePeer, phone_password
from sipp import Account, answering, calling, registering

from bench.results import Result, result
from p2psip.daemon.control_client import ask_peer

PEERS = 5
REJOINS = 3
LOOKUPS = 40
CALLS = 50
CALLS_A_SECOND = 10


def measure() -> Iterator[Result]:
    """One overlay for all."""
    with (
        tempfile.TemporaryDirectory(prefix="p2psip-bench-") as directory,
        LiveOverlay(Path(directory), peers=PEERS, users=("alice", "bob")) as overlay,
    ):
        yield from _joins(overlay)
        yield result("live.memory.idle", "MB", [_memory_mb(peer) for peer in overlay.peers])
        yield from _lookups(overlay)
        if shutil.which("sipp"):
            yield from _calls(overlay, Path(directory))
        else:
            print("bench: no calls: SIPp (Debian: sip-tester) is not installed", file=sys.stderr)


def _joins(overlay: LiveOverlay) -> Iterator[Result]:
    """Each peer but the first leaves and comes back, one at a time."""
    starts_s, joins_ms, leaves_s = [], [], []
    for peer in overlay.peers[1:] * REJOINS:
        began = time.monotonic()
        peer.stop()
        leaves_s.append(time.monotonic() - began)
        began = time.monotonic()
        peer.run()
        starts_s.append(time.monotonic() - began)
        peer.wait_joined()
        joins_ms.append(peer.status()["joined_after_ms"])
    overlay.wait_whole()
    yield result("live.join", "ms", joins_ms)
    yield result("live.start", "s", starts_s)
    yield result("live.leave", "s", leaves_s)


def _lookups(overlay: LiveOverlay) -> Iterator[Result]:
    """From each peer, of users all around the ring; that nobody has these names makes no difference to the way."""
    found = [
        ask_peer(peer.directory, "lookup", uri=f"sip:user{number}@{OVERLAY}")
        for number in range(LOOKUPS)
        for peer in overlay.peers
    ]
    facts = [each for each in found if isinstance(each, dict)]
    assert all(each["error"] is None for each in facts)
    yield result("live.lookup.time", "ms", [each["fetch_ms"] for each in facts])
    yield result("live.lookup.hops", "hops", [each["fetch_hops"] for each in facts])
    yield result("live.lookup.hops.mean", "hops", [sum(each["fetch_hops"] for each in facts) / len(facts)])


def _calls(overlay: LiveOverlay, directory: Path) -> Iterator[Result]:
    """`setup` is what the two peers add: the time with them less the median without."""
    at_alice, at_bob = overlay.peers[1:3]
    overlay.add_lines([(at_alice, "alice"), (at_bob, "bob")])
    for until, name in ((180, "ringing"), (200, "answer")):
        alone = _timed_calls(directory, Account(f"{HOST}:0", "alice"), None, until)
        used_s = at_alice.cpu_s() + at_bob.cpu_s()
        through = _timed_calls(directory, Account(at_alice.server, "alice", phone_password("alice")), at_bob, until)
        used_s = at_alice.cpu_s() + at_bob.cpu_s() - used_s
        own = result(f"live.call.{name}.phones_alone", "ms", alone)
        yield own
        yield result(f"live.call.{name}.through_two_peers", "ms", through)
        yield result(f"live.call.{name}.setup", "ms", [each - own.median for each in through])
        yield result(f"live.call.{name}.processor", "ms", [used_s / CALLS * 1000])
    yield result("live.memory.after_calls", "MB", [_memory_mb(peer) for peer in (at_alice, at_bob)])


def _timed_calls(directory: Path, alice: Account, at_bob: LivePeer | None, until: int) -> list[float]:
    """50 calls to bob: straight to his phone, or through the peers."""
    with answering(directory, "bob", calls=CALLS, ring_ms=0) as bob:
        if at_bob is None:
            alice = Account(bob.address, alice.user)
            time.sleep(0.5)
        else:
            registering(directory, Account(at_bob.server, "bob", phone_password("bob")), bob.address).run()
        target = f"sip:bob@{alice.server}"
        caller = calling(directory, alice, target, until=until, calls=CALLS, rate=CALLS_A_SECOND, talk_ms=200).run()
        bob.wait(30)
        setup_ms = caller.setup_ms()
        assert len(setup_ms) == CALLS
        return setup_ms


def _memory_mb(peer: LivePeer) -> float:
    return float(peer.status()["memory_kb"]) / 1024
