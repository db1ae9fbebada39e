"""What is kept of a stored value, and the two sides of a store for it: reading, and changes to make durable.

Reading is synchronous and shows committed state only. Writing is asked for: a core emits
`Ask(token, Commit(...), deadline)`, and `Committed` or `CommitFailed` comes back as the answer. A commit is
atomic, and commits take effect in the order in which they were asked. `MemoryStore` and
`p2psip.net.disk.record_file.DiskStore` are the two stores.

Times here are in seconds of the store's clock, which goes on over restarts; see `continuity`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from p2psip.base.ids import NodeId, ResourceId


class Place(NamedTuple):
    """Where one value is: its Resource-ID, its Kind and its key in the Kind's data model (RFC 6940 section 7.2).

    `key` is empty for a single value, four bytes of index for an array, the DictionaryKey for a dictionary.
    """

    resource: ResourceId
    kind: int
    key: bytes


Holder = str | NodeId | None
"""Whose records are counted: those of a user name, those signed as a Node-ID, or all."""


@dataclass(frozen=True, slots=True)
class Record:
    """One stored value.

    `data` is its StoredData structure as it was signed; `user` and `node` are the user name and the Node-ID of its
    signer, on whose accounts it counts; `chain` is the hash of the certificates that verify it.
    """

    place: Place
    data: bytes
    user: str
    node: NodeId
    chain: bytes
    stored_at: float
    expires_at: float

    @property
    def size(self) -> int:
        """What it counts for against a quota, in bytes."""
        return len(self.data)

    @property
    def holders(self) -> tuple[Holder, ...]:
        """On whose accounts it counts."""
        return (None, self.user, self.node)


@dataclass(frozen=True, slots=True)
class Put:
    """Keep this record instead of what is at its place. `certificates` are what its `chain` is the hash of."""

    record: Record
    certificates: bytes

    @property
    def place(self) -> Place:
        """Where it is kept."""
        return self.record.place


@dataclass(frozen=True, slots=True)
class Remove:
    """Forget the record at this place, and its certificates if no other record needs them."""

    place: Place


@dataclass(frozen=True, slots=True)
class SetGeneration:
    """The generation counter of a Kind at a resource is now this; zero forgets it."""

    resource: ResourceId
    kind: int
    counter: int


@dataclass(frozen=True, slots=True)
class SetStorageTime:
    """A signer of ours has issued this storage_time."""

    signer: NodeId
    storage_time_ms: int


@dataclass(frozen=True, slots=True)
class Age:
    """Records stored up to `stored_until` are older than they seem, by `by_s`; none is withheld any more."""

    stored_until: float
    by_s: float


Change = Put | Remove | SetGeneration | SetStorageTime | Age


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment on the store's clock, and its date (seconds since 1970) where somebody vouches for that."""

    at: float
    date: float | None


@dataclass(frozen=True, slots=True)
class Commit:
    """The question to the outside: make these changes durable, all or none."""

    changes: tuple[Change, ...]
    moment: Moment


@dataclass(frozen=True, slots=True)
class Committed:
    """The answer: the changes survive whatever happens to this machine, short of losing its disk."""


@dataclass(frozen=True, slots=True)
class CommitFailed:
    """The answer: nothing of it was kept."""

    reason: str


CommitAnswer = Committed | CommitFailed


@dataclass(frozen=True, slots=True)
class Usage:
    """What a holder's records take: how many they are, and how many bytes."""

    records: int
    size: int


@dataclass(frozen=True, slots=True)
class Census:
    """How many resources have a record, and how many records there are of each Kind, by Kind-ID."""

    resources: int
    kinds: tuple[tuple[int, int], ...]


class RecordReader(Protocol):
    """Committed state, readable at once."""

    def records(self, resource: bytes, kind: int) -> Sequence[Record]:
        """The records of a Kind at a resource, by key."""

    def kinds(self, resource: bytes) -> Sequence[int]:
        """The Kinds that have a record at a resource, ascending."""

    def generation(self, resource: bytes, kind: int) -> int:
        """The generation counter of a Kind at a resource; zero where nothing is stored."""

    def certificates(self, chain: bytes) -> bytes | None:
        """The certificates with this hash."""

    def resources(self, after: bytes, until: bytes, limit: int, kind: int | None = None) -> Sequence[ResourceId]:
        """The resources that have a record (of a Kind), after < resource <= until, ascending, the first `limit`."""

    def census(self) -> Census:
        """How much there is of what."""

    def expired(self, at: float, limit: int) -> Sequence[Place]:
        """The places of records that expire at or before `at`, the first `limit` of them, earliest first."""

    def earliest_expiry(self) -> float | None:
        """When the next record expires."""

    def storage_time_ms(self, signer: NodeId) -> int:
        """The last storage_time that a signer of ours issued; zero if none."""

    def usage(self, holder: Holder) -> Usage:
        """What a holder's records take."""

    def stored_kinds(self) -> Sequence[int]:
        """The Kinds that have a record at any resource, ascending."""
