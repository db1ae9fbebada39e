"""A store of 100,000 records on disk: filling it, opening it, and asking it what moves when a peer joins.

"Opened" is when the storage core above it can serve its first request. The questions that a peer asks for each Store
(what is there, whose quota) are measured in the full store, the disk's own cache warm.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from bench.results import Result, processor_us, result
from p2psip.base.ids import NodeId, ResourceId
from p2psip.base.wallclock import WallClock
from p2psip.net.disk.record_file import DiskStore
from p2psip.reload.config.configuration import AccessControl, Kind
from p2psip.reload.storage.storage import Storage
from p2psip.reload.storage.store.records import Change, Commit, Moment, Place, Put, Record, SetGeneration
from p2psip.reload.storage.stored_values import Certificates, chain_hash, sign_value
from p2psip.reload.storage.storing import Rules
from p2psip.reload.topology.chord.ring import advance, hash_name
from p2psip.reload.wire.kinds import DataModel
from p2psip.reload.wire.storage_messages import DataValue, DictionaryEntry
from p2psip.sim.signer import SimulatedIdentity, SimulatedVerifier

RECORDS = 100_000
PER_COMMIT = 200
OPENINGS = 7
KIND = Kind(0xF0000001, DataModel.DICTIONARY, AccessControl.USER_NODE_MATCH, max_count=8, max_size=1000)
RULES = Rules({KIND.kind_id: KIND}, SimulatedVerifier(), hash_name)
DATE = 1_800_000_000.0


def measure() -> Iterator[Result]:
    """Fill, open, ask."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "records"
        began = time.monotonic()
        _fill(path)
        yield result("disk.fill", "1/s", [RECORDS / (time.monotonic() - began)], more_is_better=True)
        yield result("disk.open", "s", [_open_s(path) for _ in range(OPENINGS)])
        store = DiskStore(path, 0.0)
        storage = Storage(store, RULES, WallClock(DATE), 0.0)
        rng = random.Random("disk")

        def joins(share: int) -> int:
            """A peer joins whose range is a `share`th of the ring: what becomes its own."""
            low = ResourceId(rng.randbytes(16))
            return sum(1 for _ in storage.resources_in(low, advance(low, (1 << 128) // share), 0.0))

        for name, ask in (
            ("range.100", partial(joins, 1000)),
            ("usage", partial(store.usage, "user7@bench.example")),
            ("records", partial(store.records, hash_name(b"user7@bench.example"), KIND.kind_id)),
        ):
            yield result(f"disk.{name}", "us", processor_us(ask))
        store.close()


def _fill(path: Path) -> None:
    store = DiskStore(path, 0.0)
    commits = [
        store.commit(Commit(tuple(_changes(first, first + PER_COMMIT)), Moment(0.0, DATE)))
        for first in range(0, RECORDS, PER_COMMIT)
    ]
    for commit in commits:
        commit.result()
    store.close()


def _changes(first: int, end: int) -> Iterator[Change]:
    for number in range(first, end):
        identity = SimulatedIdentity(f"user{number}@bench.example", NodeId((1 << 64 | number).to_bytes(16, "big")))
        resource = hash_name(identity.user.encode())
        certificates = Certificates(identity.certificates).encode()
        value = DictionaryEntry(identity.node_id, DataValue(True, bytes(100)))
        data = sign_value(identity, resource, KIND.kind_id, value, 1, 1800).encode()
        place = Place(resource, KIND.kind_id, identity.node_id)
        record = Record(place, data, identity.user, identity.node_id, chain_hash(certificates), 0.0, 1e9 + number)
        yield from (Put(record, certificates), SetGeneration(resource, KIND.kind_id, 1))


def _open_s(path: Path) -> float:
    began = time.monotonic()
    store = DiskStore(path, 0.0)
    storage = Storage(store, RULES, WallClock(DATE), 0.0)
    assert storage.value_count == RECORDS
    taken_s = time.monotonic() - began
    store.close()
    return taken_s
