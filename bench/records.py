"""32 members in one process with real certificates: processor time of a signed Store and of a signed, verified Fetch.

All of the cluster is counted: every hop, every signature made and checked, the two copies of a stored value, and that
the reader checks the value as well. The network is virtual and the disk is memory. What one signature costs, and its
check, is measured beside it: no member can do with less. So is OpenDHT (Debian: python3-opendht), in C++,
which neither signs nor verifies here, with as many nodes in a process.
"""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from bench.certified import CertifiedOverlay
from bench.results import Result, processor_us, result
from p2psip.reload.node.effects import Done
from p2psip.reload.security.identity import CertifiedIdentity
from p2psip.reload.security.keys import generate_key, is_signature, sign
from p2psip.reload.storage.storing import Rules
from p2psip.reload.storage.verified import Believer
from p2psip.reload.topology.chord.ring import hash_name
from p2psip.reload.transport.outcome import Answer
from p2psip.reload.usages.sip_registration import fetch_request, read_registrations, route_to, store_request
from p2psip.reload.wire.common import SignatureAlgorithm
from p2psip.reload.wire.storage_messages import FetchAns, StoreAns
from p2psip.sim.world import Host

MEMBERS = 32
USERS = 16
ROUNDS = 20
PER_ROUND = 10
SYSTEM_PYTHON = "/usr/bin/python3"
"""Debian's, for which its modules are made."""


def measure() -> Iterator[Result]:
    """A signature and its check; Stores; Fetches of what was stored."""
    key = generate_key(SignatureAlgorithm.ECDSA)
    signed = sign(key, b"value")
    yield result("records.signature.make", "us", processor_us(partial(sign, key, b"value")))
    yield result(
        "records.signature.check", "us", processor_us(partial(is_signature, key.public_key(), signed, b"value"))
    )
    overlay = CertifiedOverlay("records", MEMBERS)
    lines = [(host, overlay.line(host)) for host, _ in zip(_in_turn(overlay), range(USERS), strict=False)]
    rng = random.Random("records")

    def store() -> None:
        _store(overlay, *rng.choice(lines))

    def fetch() -> None:
        _fetch(overlay, rng.choice(overlay.alive()), rng.choice(lines)[1].user)

    for host, line in lines:
        _store(overlay, host, line)
    for host in overlay.alive():
        # Everybody has seen everybody's certificate: what its check costs is paid once in its lifetime.
        for _, line in lines:
            _fetch(overlay, host, line.user)
    theirs = _opendht()
    for name, work, their_name in (("store", store, "put"), ("fetch", fetch, "get")):
        readings = _readings_ms(work)
        if their_name in theirs:
            yield result(f"records.opendht.{their_name}.processor", "ms", theirs[their_name])
            ratio = statistics.median(readings) / statistics.median(theirs[their_name])
            yield result(f"records.{name}.of_opendht_{their_name}", "x", [ratio])
        yield result(f"records.{name}.processor", "ms", readings)
        yield result(f"records.{name}.rate", "1/s", [1000 / reading for reading in readings], more_is_better=True)


def _opendht() -> dict[str, list[float]]:
    """Its readings in milliseconds, put and get; nothing where its module is missing."""
    if (
        not Path(SYSTEM_PYTHON).exists()
        or subprocess.run([SYSTEM_PYTHON, "-c", "import opendht"], capture_output=True, check=False).returncode
    ):
        print("bench: no comparison with OpenDHT: Debian's python3-opendht is not installed", file=sys.stderr)
        return {}
    script = Path(__file__).with_name("opendht_cluster.py")
    arguments = map(str, (SYSTEM_PYTHON, script, MEMBERS, ROUNDS, PER_ROUND))
    done = subprocess.run([*arguments], capture_output=True, text=True, check=True, timeout=300)
    readings: dict[str, list[float]] = json.loads(done.stdout)
    return readings


def _in_turn(overlay: CertifiedOverlay) -> Iterator[Host]:
    while True:
        yield from overlay.alive()


def _readings_ms(work: Callable[[], None]) -> Sequence[float]:
    readings = []
    for _ in range(ROUNDS):
        began = time.process_time()
        for _ in range(PER_ROUND):
            work()
        readings.append((time.process_time() - began) / PER_ROUND * 1000)
    return readings


def _store(overlay: CertifiedOverlay, host: Host, line: CertifiedIdentity) -> None:
    node = overlay.node(host)

    def ask(context: object, now: float) -> None:
        issued = node.issue_storage_time(line.node_id, now)
        request = store_request(line, route_to(node.node_id), issued.storage_time_ms, hash_name)
        node.store(line, request, context, now, after=issued.after)

    done = _ask(overlay, host, ask)
    assert isinstance(done.result, Answer), done
    assert isinstance(done.result.body, StoreAns)


def _fetch(overlay: CertifiedOverlay, host: Host, aor: str) -> None:
    node = overlay.node(host)
    done = _ask(overlay, host, lambda context, now: node.fetch(fetch_request(aor, hash_name), context, now))
    assert isinstance(done.result, Answer), done
    assert isinstance(done.result.body, FetchAns)
    rules = Rules(overlay.configuration.kinds, overlay.verifiers[host.name], hash_name)
    reader = Believer(rules, node.reader.wall)
    found = read_registrations(aor, done.result.body, done.result.certificates, reader, overlay.world.now)
    assert found.entries, found


def _ask(overlay: CertifiedOverlay, host: Host, ask: Callable[[object, float], None]) -> Done:
    done = overlay.wait_done(host, overlay.command(host, ask))
    host.events.clear()
    return done
