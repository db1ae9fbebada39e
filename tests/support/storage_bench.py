"""A storage core with a store in memory beneath it, members to sign values, and a disk that answers when told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from p2psip.base.effects import Ask
from p2psip.base.ids import NodeId, ResourceId
from p2psip.base.wallclock import WallClock
from p2psip.reload.config.configuration import AccessControl, Kind
from p2psip.reload.security.roles import Signer
from p2psip.reload.storage.access import UsageRule
from p2psip.reload.storage.fetching import all_values
from p2psip.reload.storage.limits import Limits
from p2psip.reload.storage.reading import Fetched
from p2psip.reload.storage.storage import Storage, Stored
from p2psip.reload.storage.store.continuity import Continuity
from p2psip.reload.storage.store.memory import MemoryStore
from p2psip.reload.storage.store.records import Commit, CommitFailed
from p2psip.reload.storage.stored_values import sign_value
from p2psip.reload.storage.storing import Rules
from p2psip.reload.topology.chord.ring import hash_name
from p2psip.reload.wire.kinds import DataModel
from p2psip.reload.wire.security_block import GenericCertificate
from p2psip.reload.wire.storage_messages import (
    ArrayEntry,
    ArrayRange,
    ArraySpecifier,
    DataValue,
    DictionaryEntry,
    DictionarySpecifier,
    FetchReq,
    StoredData,
    StoredDataSpecifier,
    StoredDataValue,
    StoreKindData,
    StoreReq,
    UnknownKindData,
)
from p2psip.sim.signer import SimulatedIdentity, SimulatedVerifier

SINGLE = Kind(0xF0000001, DataModel.SINGLE, AccessControl.USER_MATCH, max_count=1, max_size=100)
ARRAY = Kind(0xF0000002, DataModel.ARRAY, AccessControl.USER_MATCH, max_count=8, max_size=100)
DICTIONARY = Kind(0xF0000003, DataModel.DICTIONARY, AccessControl.USER_NODE_MATCH, max_count=4, max_size=100)
BY_NODE = Kind(0xF0000004, DataModel.SINGLE, AccessControl.NODE_MATCH, max_count=1, max_size=100)
MULTIPLE = Kind(
    0xF0000005, DataModel.SINGLE, AccessControl.NODE_MULTIPLE, max_count=1, max_size=100, max_node_multiple=3
)
NOTES = Kind(0xF0000006, DataModel.DICTIONARY, AccessControl.USER_MATCH, max_count=4, max_size=100)
UNKNOWN = 0xF00000FF

KINDS = {kind.kind_id: kind for kind in (SINGLE, ARRAY, DICTIONARY, BY_NODE, MULTIPLE, NOTES)}
WALL = WallClock(1_700_000_000.0)
LIFETIME_S = 600
APPEND = 0xFFFFFFFF
"""The index that places a value at the end of an array (RFC 6940 section 7.4.1.1)."""


def member(user: str, number: int) -> SimulatedIdentity:
    """A member with this Node-ID."""
    return SimulatedIdentity(user, NodeId(number.to_bytes(16, "big")))


ALICE = member("alice@example.org", 0xA1)
ALICE_ELSEWHERE = member("alice@example.org", 0xA2)
BOB = member("bob@example.org", 0xB1)
PEER = member("peer@example.org", 0xEE)

ALICE_PLACE = hash_name(b"alice@example.org")
BOB_PLACE = hash_name(b"bob@example.org")


def signer(identity: SimulatedIdentity) -> Signer:
    """What a verifier says of a message that this member has signed."""
    return Signer(identity.node_id, SimulatedVerifier().check([identity.certificate], 0.0, True))


def value(data: bytes | None) -> DataValue:
    """A DataValue; None is nonexistent."""
    return DataValue.nonexistent() if data is None else DataValue(exists=True, value=data)


def single(data: bytes | None) -> StoredDataValue:
    return value(data)


def element(index: int, data: bytes | None) -> StoredDataValue:
    return ArrayEntry(index, value(data))


def entry(key: bytes, data: bytes | None) -> StoredDataValue:
    return DictionaryEntry(key, value(data))


def everything(kind: Kind, generation: int = 0) -> StoredDataSpecifier:
    """The specifier for all values of a Kind."""
    return replace(all_values(kind), generation=generation)


def contents(fetched: Fetched) -> list[bytes | None]:
    """The values of the first Kind of an answer; None for one that does not exist."""
    found = fetched.answer.kind_responses[0].values
    return [stored.data_value.value if stored.data_value.exists else None for stored in found]


@dataclass
class Bench:
    """One storage core under test. The disk answers at once unless `is_slow`."""

    store: MemoryStore = field(default_factory=MemoryStore)
    kinds: Mapping[int, Kind] = field(default_factory=lambda: KINDS)
    limits: Limits = field(default_factory=Limits)
    wall: WallClock = WALL
    continuity: Continuity | None = None
    usage_rules: Mapping[int, UsageRule] = field(default_factory=dict)
    now: float = 0.0
    is_slow: bool = False
    asked: list[Ask] = field(default_factory=list)
    clock_ms: int = 1_000

    def __post_init__(self) -> None:
        self.rules = Rules(self.kinds, SimulatedVerifier(), hash_name, self.usage_rules)
        self.storage = Storage(
            self.store, self.rules, self.wall, self.now, limits=self.limits, continuity=self.continuity
        )
        self.settle()

    def signed(
        self,
        identity: SimulatedIdentity,
        resource: ResourceId,
        kind: Kind,
        what: StoredDataValue,
        *,
        storage_time_ms: int | None = None,
        lifetime_s: int = LIFETIME_S,
    ) -> StoredData:
        """A value with the next storage_time, if none is given."""
        self.clock_ms += 1
        time_ms = self.clock_ms if storage_time_ms is None else storage_time_ms
        return sign_value(identity, resource, kind.kind_id, what, time_ms, lifetime_s)

    def send(
        self,
        request: StoreReq,
        *,
        requester: SimulatedIdentity = ALICE,
        certificates: Sequence[GenericCertificate] | None = None,
        replicas: Iterable[NodeId] = (),
    ) -> Stored:
        """Serve a Store request."""
        bucket = certificates
        if bucket is None:
            bucket = [c for who in (ALICE, ALICE_ELSEWHERE, BOB, PEER, requester) for c in who.certificates]
        stored = self.storage.store(request, signer(requester), bucket, replicas, self.now)
        self.settle()
        return stored

    def put(
        self,
        kind: Kind,
        *values: StoredDataValue,
        identity: SimulatedIdentity = ALICE,
        resource: ResourceId = ALICE_PLACE,
        replica_number: int = 0,
        generation: int = 0,
        storage_time_ms: int | None = None,
        lifetime_s: int = LIFETIME_S,
        requester: SimulatedIdentity | None = None,
    ) -> Stored:
        """Sign values and store them."""
        signed = tuple(
            self.signed(identity, resource, kind, what, storage_time_ms=storage_time_ms, lifetime_s=lifetime_s)
            for what in values
        )
        request = StoreReq(resource, replica_number, (StoreKindData(kind.kind_id, generation, signed),))
        return self.send(request, requester=requester or identity)

    def fetch(
        self, *specifiers: StoredDataSpecifier, resource: ResourceId = ALICE_PLACE, size_max: int | None = None
    ) -> Fetched:
        """Serve a Fetch request."""
        return self.storage.fetch(FetchReq(resource, specifiers), self.now, size_max=size_max)

    def read(self, kind: Kind, resource: ResourceId = ALICE_PLACE) -> list[bytes | None]:
        """All values of a Kind at a resource."""
        return contents(self.fetch(everything(kind), resource=resource))

    def settle(self) -> None:
        """Let the disk do what it was asked to."""
        while effects := self.storage.drain():
            for ask in effects:
                assert isinstance(ask, Ask)
                self.asked.append(ask)
                if not self.is_slow:
                    self.answer(ask)

    def answer(self, ask: Ask) -> None:
        """The disk has done this."""
        assert isinstance(ask.question, Commit)
        self.asked.remove(ask)
        self.storage.handle_answer(ask.token, self.store.commit(ask.question), self.now)

    def fail(self, ask: Ask) -> None:
        """The disk could not do this."""
        self.asked.remove(ask)
        self.storage.handle_answer(ask.token, CommitFailed("disk full"), self.now)

    def advance(self, now: float) -> None:
        """Let time pass, and the core's deadlines with it."""
        while (deadline := self.storage.next_deadline()) is not None and deadline.at <= now:
            self.now = max(self.now, deadline.at)
            self.storage.handle_timeout(self.now)
            self.settle()
        self.now = now


def request(*data: StoreKindData | UnknownKindData, replica_number: int = 0) -> StoreReq:
    return StoreReq(ALICE_PLACE, replica_number, data)


def kinds_of(*values: StoredData, kind: int = SINGLE.kind_id, generation: int = 0) -> StoreKindData:
    return StoreKindData(kind, generation, values)


def fetch_some(bench: Bench, *keys: bytes) -> list[bytes | None]:
    return contents(bench.fetch(StoredDataSpecifier(NOTES.kind_id, 0, DictionarySpecifier(keys))))


def fetch_ranges(bench: Bench, *ranges: tuple[int, int]) -> list[bytes | None]:
    specifier = ArraySpecifier(tuple(ArrayRange(*ends) for ends in ranges))
    return contents(bench.fetch(StoredDataSpecifier(ARRAY.kind_id, 0, specifier)))


def place_of(number: int) -> ResourceId:
    return ResourceId(number.to_bytes(16, "big"))


def anywhere(bench: Bench, *resources: ResourceId) -> None:
    """Store a value of alice's at each resource, wherever that is: nobody's hash function stands in the way."""
    for resource in resources:
        bench.storage.use_rules(replace(bench.rules, hash_name=lambda name, resource=resource: resource), bench.now)
        bench.put(SINGLE, single(b"x"), resource=resource)
