"""Records as the core sees them: what is committed, and over it what it has asked to be committed."""

from __future__ import annotations

from p2psip.base.ids import ResourceId
from p2psip.reload.storage.store.continuity import Continuity
from p2psip.reload.storage.store.records import Change, Place, Put, Record, RecordReader, Remove, SetGeneration

Location = tuple[bytes, int]
"""A Kind at a resource."""


class View:
    """A RecordReader's records with uncommitted changes laid over them, each under the token of its commit.

    Once a commit is answered its changes are taken off again: the reader shows them then, or, if it failed,
    rightly does not.
    """

    def __init__(self, reader: RecordReader) -> None:
        self._reader = reader
        self._changes: dict[int, tuple[Change, ...]] = {}
        self._puts: dict[Place, tuple[int, Put | None]] = {}
        self._keys: dict[Location, set[bytes]] = {}
        self._generations: dict[Location, tuple[int, int]] = {}

    def lay(self, token: int, changes: tuple[Change, ...]) -> None:
        """Show these changes from now on."""
        self._changes[token] = changes
        for change in changes:
            match change:
                case Put(record, _):
                    self._lay(token, record.place, change)
                case Remove(place):
                    self._lay(token, place, None)
                case SetGeneration(resource, kind, counter):
                    self._generations[resource, kind] = (token, counter)

    def settle(self, token: int) -> None:
        """The commit has been answered, or given up."""
        for change in self._changes.pop(token, ()):
            match change:
                case Put(record, _):
                    self._lift(token, record.place)
                case Remove(place):
                    self._lift(token, place)
                case SetGeneration(resource, kind, _) if self._generations.get((resource, kind), (0,))[0] == token:
                    del self._generations[resource, kind]

    def token(self, resource: bytes, kind: int) -> int | None:
        """The commit on which the last change of a Kind at a resource depends; None if all of it is committed."""
        keys = self._keys.get((resource, kind), ())
        tokens = [self._puts[Place(ResourceId(resource), kind, key)][0] for key in keys]
        if (resource, kind) in self._generations:
            tokens.append(self._generations[resource, kind][0])
        return max(tokens, default=None)

    def is_laid(self, place: Place) -> bool:
        """True if a change of this place is not committed yet."""
        return place in self._puts

    def records(self, resource: ResourceId, kind: int) -> dict[bytes, Record]:
        """The records of a Kind at a resource, by key."""
        records = {record.place.key: record for record in self._reader.records(resource, kind)}
        for key in self._keys.get((resource, kind), ()):
            _, put = self._puts[Place(resource, kind, key)]
            records.pop(key, None)
            if put is not None:
                records[key] = put.record
        return dict(sorted(records.items()))

    def certificates(self, record: Record) -> bytes:
        """The certificates that verify a record of this view."""
        _, put = self._puts.get(record.place, (0, None))
        found = self._reader.certificates(record.chain) if put is None else put.certificates
        assert found is not None, "a store keeps the certificates of each record that it keeps"
        return found

    def generation(self, resource: bytes, kind: int) -> int:
        """The generation counter of a Kind at a resource; zero where nothing is stored."""
        laid = self._generations.get((resource, kind))
        return self._reader.generation(resource, kind) if laid is None else laid[1]

    def kinds(self, resource: bytes) -> list[int]:
        """The Kinds that may have a record at a resource, ascending."""
        laid = {kind for at, kind in self._keys if at == resource}
        return sorted(laid.union(self._reader.kinds(resource)))

    def stored_kinds(self) -> list[int]:
        """The Kinds that may have a record at any resource, ascending."""
        laid = {kind for _, kind in self._keys}
        return sorted(laid.union(self._reader.stored_kinds()))

    def resources(self, after: bytes, until: bytes, limit: int, kind: int | None = None) -> list[ResourceId]:
        """Resources that may have a record (of a Kind), after < resource <= until, ascending; empty at the end."""
        committed = self._reader.resources(after, until, limit, kind)
        last = committed[-1] if len(committed) == limit else until
        laid = {ResourceId(at) for at, of in self._keys if after < at <= last and kind in (None, of)}
        return sorted(laid.union(committed))

    def replacements(self) -> list[tuple[int, list[tuple[Record | None, Record | None]]]]:
        """What goes and what comes with each commit under way, place by place."""
        present: dict[Place, Record | None] = {}
        found = []
        for token, changes in self._changes.items():
            replaced: list[tuple[Record | None, Record | None]] = []
            for change in changes:
                if isinstance(change, Put | Remove):
                    place = change.place
                    old = present[place] if place in present else self._committed(place)
                    present[place] = change.record if isinstance(change, Put) else None
                    replaced.append((old, present[place]))
            found.append((token, replaced))
        return found

    def _committed(self, place: Place) -> Record | None:
        records = self._reader.records(place.resource, place.kind)
        return next((record for record in records if record.place == place), None)

    def _lay(self, token: int, place: Place, put: Put | None) -> None:
        self._puts[place] = (token, put)
        self._keys.setdefault((place.resource, place.kind), set()).add(place.key)

    def _lift(self, token: int, place: Place) -> None:
        if self._puts.get(place, (0, None))[0] != token:
            return
        del self._puts[place]
        location = (place.resource, place.kind)
        self._keys[location].discard(place.key)
        if not self._keys[location]:
            del self._keys[location]


class Draft:
    """One resource as it would be after a request; nothing changes until its changes are committed."""

    def __init__(self, view: View, resource: ResourceId, clock: Continuity, now: float) -> None:
        self.resource = resource
        self.at = clock.at(now)
        self._clock = clock
        self._view = view
        self._before: dict[int, dict[bytes, Record]] = {}
        self._after: dict[int, dict[bytes, Record]] = {}
        self._certificates: dict[Place, bytes] = {}
        self._removed: dict[Place, None] = {}
        self._generations: dict[int, int] = {}

    def values(self, kind: int) -> dict[bytes, Record]:
        """The values of a Kind that have not expired, by key."""
        if kind not in self._after:
            self._before[kind] = self._view.records(self.resource, kind)
            self._after[kind] = {
                key: record for key, record in self._before[kind].items() if record.expires_at > self.at
            }
        return self._after[kind]

    def values_before(self, kind: int) -> dict[bytes, Record]:
        """Those of them that were there before the request, by key."""
        live = self.values(kind)
        return {key: record for key, record in self._before[kind].items() if live.get(key) is record}

    def is_withheld(self, record: Record) -> bool:
        """True for a record of unknown age."""
        return self._clock.withholds(record.stored_at)

    def generation(self, kind: int) -> int:
        """The generation counter of a Kind, zero where nothing is stored."""
        return self._generations.get(kind, self._view.generation(self.resource, kind))

    def put(self, record: Record, certificates: bytes) -> None:
        """Have this record at its place."""
        self.values(record.place.kind)[record.place.key] = record
        self._certificates[record.place] = certificates
        self._removed.pop(record.place, None)

    def remove(self, kind: int, key: bytes) -> None:
        """Have nothing at this place."""
        place = self.values(kind).pop(key).place
        self._certificates.pop(place, None)
        if key in self._before[kind]:
            self._removed[place] = None

    def set_generation(self, kind: int, counter: int) -> None:
        """Have this generation counter."""
        self._generations[kind] = counter

    @property
    def puts(self) -> list[Put]:
        """The records that are new."""
        return [
            Put(self._after[place.kind][place.key], certificates) for place, certificates in self._certificates.items()
        ]

    @property
    def changes(self) -> tuple[Change, ...]:
        """What to commit."""
        removals = map(Remove, self._removed)
        counters = self._generations.items()
        return (*removals, *self.puts, *(SetGeneration(self.resource, kind, counter) for kind, counter in counters))

    @property
    def replacements(self) -> list[tuple[Record | None, Record | None]]:
        """What goes and what comes, place by place."""
        removed = [(self._before[place.kind][place.key], None) for place in self._removed]
        return [
            *removed,
            *((self._before[put.record.place.kind].get(put.record.place.key), put.record) for put in self.puts),
        ]
