"""Reading what is kept: Fetch, Stat and Find (RFC 6940 section 7.4.2 to 7.4.4), and what is passed on to other peers.

Nothing here changes anything. Shown is what has neither expired nor is of unknown age, committed or not; an answer
that was read from uncommitted state names in `after` the commit that it waits for.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from p2psip.base.ids import ResourceId
from p2psip.base.wallclock import WallClock
from p2psip.reload.storage.fetching import Selected, select, size_of, to_stored_data
from p2psip.reload.storage.metadata import describe
from p2psip.reload.storage.outline import GivenBack, Outline, answer_from, outlined
from p2psip.reload.storage.store.continuity import Continuity
from p2psip.reload.storage.store.records import Place, Record
from p2psip.reload.storage.store.view import View
from p2psip.reload.storage.stored_values import Certificates, is_of_model
from p2psip.reload.storage.storing import GENERATION_MAX, Rules
from p2psip.reload.storage.transfer import Parcel, Transfer, pack
from p2psip.reload.wire.rejections import InvalidMessage, ResponseTooLarge, UnknownKind
from p2psip.reload.wire.security_block import GenericCertificate
from p2psip.reload.wire.storage_messages import (
    FetchAns,
    FetchKindResponse,
    FetchReq,
    FindAns,
    FindKindData,
    FindReq,
    StatAns,
    StatKindResponse,
    StatReq,
    StoredData,
    StoredDataSpecifier,
)

RING_END = b"\xff" * 255
"""After every Resource-ID."""

PAGE = 100
"""Resources that are looked up at once."""

FIND_MAX = 1000
"""Resources that a Find looks at on either side of the end of the ring. Only after a reboot, or where nothing has been
swept for long, are there more that may not be shown."""

KIND_OVERHEAD = 16
"""What a FetchKindResponse takes besides its values, in bytes."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What to answer to a Fetch once `after` is committed, and the certificates that its values need."""

    answer: FetchAns
    certificates: tuple[GenericCertificate, ...]
    after: int | None


@dataclass(frozen=True, slots=True)
class Described:
    """What to answer to a Stat once `after` is committed."""

    answer: StatAns
    after: int | None


@dataclass(frozen=True, slots=True)
class Found:
    """What to answer to a Find once `after` is committed."""

    answer: FindAns
    after: int | None


class Reading:
    """The records as others may see them, under `rules`, by the store's clock."""

    def __init__(self, view: View, rules: Rules, clock: Continuity) -> None:
        self.rules = rules
        self.clock = clock
        self._view = view

    # --- Requests. Each raises a Rejection.

    def fetch(self, request: FetchReq, now: float, size_max: int | None) -> Fetched:
        """Serve a Fetch. ResponseTooLarge if answer and certificates exceed `size_max` bytes."""
        selected = self._selected(request.resource, request.specifiers, now)
        records = [record for values in selected.values() for record in values if isinstance(record, Record)]
        certificates = self._certificates(records)
        values = [entry for entries in selected.values() for entry in entries]
        size = KIND_OVERHEAD * len(selected) + sum(map(size_of, values)) + sum(len(c.encode()) for c in certificates)
        _check_size(size, size_max)
        # 7.4.2.2: "There MUST be one FetchKindResponse element for each Kind-ID in the request."
        responses = (
            FetchKindResponse(
                kind,
                self._view.generation(request.resource, kind),
                tuple(to_stored_data(self.rules.kinds[kind], entry, self.clock.at(now)) for entry in entries),
            )
            for kind, entries in selected.items()
        )
        return Fetched(FetchAns(tuple(responses)), certificates, self.after(request.resource, selected))

    def stat(self, request: StatReq, now: float, size_max: int | None) -> Described:
        """Serve a Stat: the same sort of entries that a Fetch would have got."""
        selected = self._selected(request.resource, request.specifiers, now)
        responses = (
            StatKindResponse(
                kind,
                self._view.generation(request.resource, kind),
                tuple(describe(to_stored_data(self.rules.kinds[kind], entry, self.clock.at(now))) for entry in entries),
            )
            for kind, entries in selected.items()
        )
        answer = StatAns(tuple(responses))
        _check_size(len(answer.encode()), size_max)
        return Described(answer, self.after(request.resource, selected))

    def find(self, request: FindReq, now: float) -> Found:
        """Serve a Find: of each Kind the closest resource that is kept here."""
        # 7.4.4.1: "Each value MUST appear only once. Otherwise, the request MUST be rejected with an error."
        if len(set(request.kinds)) != len(request.kinds):
            raise InvalidMessage("the request names a Kind twice")
        # 7.4.4.2: "If a Kind-ID is not known, then the corresponding Resource-ID MUST be 0."
        none = ResourceId(bytes(len(self.rules.hash_name(b""))))
        closest = {kind: self.closest(request.resource, kind, now) for kind in request.kinds}
        after = [self._view.token(found, kind) for kind, found in closest.items() if found is not None]
        answer = FindAns(tuple(FindKindData(kind, none if found is None else found) for kind, found in closest.items()))
        return Found(answer, max((token for token in after if token is not None), default=None))

    def closest(self, resource: ResourceId, kind: int, now: float) -> ResourceId | None:
        """The resource with a value of this Kind that comes first, clockwise from `resource`, itself included.

        7.4.4: "This method can be used to walk the Overlay Instance by iteratively fetching R_n+1=nearest(1 + R_n)":
        that only moves on if "closest" is measured in the direction of the ring.
        """
        if kind not in self.rules.kinds:
            return None
        if self.live(resource, kind, now):
            return resource
        for after, until in ((resource, RING_END), (b"", resource)):
            for candidate in islice(self._resources(after, until, kind), FIND_MAX):
                if self.live(candidate, kind, now):
                    return candidate
        return None

    # --- What is there.

    def understands(self, kind: int) -> bool:
        """True if values of this Kind that are kept are such as the overlay knows it: the model may be another now."""
        if kind not in self.rules.kinds:
            return False
        for resource in self._view.resources(b"", RING_END, 1, kind):
            for record in self._view.records(resource, kind).values():
                return is_of_model(record, self.rules.kinds[kind].data_model)
        return True

    def kinds(self, resource: ResourceId) -> list[int]:
        """The Kinds at a resource that the overlay knows (still)."""
        return [kind for kind in self._view.kinds(resource) if kind in self.rules.kinds]

    def live(self, resource: ResourceId, kind: int, now: float) -> dict[bytes, Record]:
        """The values that may be shown to others, by key."""
        at = self.clock.at(now)
        return {
            key: record
            for key, record in self._view.records(resource, kind).items()
            if record.expires_at > at and not self.clock.withholds(record.stored_at) and not self._is_revoked(record)
        }

    def _is_revoked(self, record: Record) -> bool:
        """True if the value's signer is no member any more, as the configuration says by now."""
        if not self.rules.verifier.revokes_some:
            return False
        signer, *_ = Certificates.decode(self._view.certificates(record)).certificates
        return self.rules.verifier.revokes(signer.certificate)

    def resources_in(self, low: bytes, high: bytes, now: float) -> Iterator[ResourceId]:
        """The resources in (low, high] that have a value, clockwise from `low`; (x, x] is the whole ring."""
        for after, until in [(low, high)] if low < high else [(low, RING_END), (b"", high)]:
            for resource in self._resources(after, until):
                if any(self.live(resource, kind, now) for kind in self.kinds(resource)):
                    yield resource

    def transfers(
        self, resource: ResourceId, replica_number: int, now: float, size_max: int, places: Collection[Place] | None
    ) -> list[Transfer]:
        """Requests that give another peer all values at a resource, or those at `places`.

        Their generation counters are such as it takes, whatever somebody has made of ours.
        """
        parcels = (
            Parcel(kind, min(self._view.generation(resource, kind), GENERATION_MAX), *self._packed(record, now))
            for kind in self.kinds(resource)
            for record in self.live(resource, kind, now).values()
            if places is None or record.place in places
        )
        return list(pack(resource, replica_number, parcels, size_max))

    # --- Values that somebody else keeps as well.

    def outline(self, resource: ResourceId, kind: int, now: float) -> Outline | None:
        """The values of a Kind at a resource, without what is in them.

        None where there are none, and while some are not committed, or not such as others may see.
        """
        values = self._view.records(resource, kind)
        if not values or kind not in self.rules.kinds or self.after(resource, [kind]) is not None:
            return None
        if len(self.live(resource, kind, now)) < len(values):
            return None
        model = self.rules.kinds[kind]
        generation = self._view.generation(resource, kind)
        return Outline(resource, kind, generation, {key: outlined(model, each) for key, each in values.items()})

    def is_current(self, outline: Outline, now: float) -> bool:
        """True if the values of an outline are those that a Fetch would be answered with; nothing of them is read.

        A value that replaces one at a replica may leave the counter as it is (7.4.1.2): whoever stores that knows it.
        """
        at, records = self.clock.at(now), [value.record for value in outline.values.values()]
        return (
            outline.kind in self.rules.kinds
            and self._view.generation(outline.resource, outline.kind) == outline.generation
            and self.after(outline.resource, [outline.kind]) is None
            and all(record.expires_at > at for record in records)
            and not any(self._is_revoked(record) for record in records)
        )

    def fetch_from(
        self,
        request: FetchReq,
        outlines: Mapping[int, Outline],
        given: GivenBack,
        wall: WallClock,
        now: float,
        size_max: int | None,
    ) -> Fetched:
        """Serve a Fetch from what was given back. Raises LentValueMissing, LentValueChanged, ResponseTooLarge."""
        answer, certificates = answer_from(request, outlines, given, self.rules, wall, self.clock.at(now), now)
        _check_size(len(answer.encode()) + sum(len(each.encode()) for each in certificates), size_max)
        return Fetched(answer, certificates, None)

    def after(self, resource: ResourceId, kinds: Iterable[int]) -> int | None:
        """The commit that an answer about these Kinds waits for."""
        tokens = [self._view.token(resource, kind) for kind in kinds]
        return max((token for token in tokens if token is not None), default=None)

    # --- Inside.

    def _selected(
        self, resource: ResourceId, specifiers: Sequence[StoredDataSpecifier], now: float
    ) -> dict[int, list[Selected]]:
        """What the specifiers ask for, Kind by Kind."""
        kinds = [specifier.kind for specifier in specifiers]
        # 7.4.1.2: "the peer MUST fail the request and generate an Error_Unknown_Kind error."
        if unknown := [kind for kind in kinds if kind not in self.rules.kinds]:
            raise UnknownKind(unknown)
        if len(set(kinds)) != len(kinds):
            raise InvalidMessage("the request names a Kind twice")
        return {specifier.kind: self._select(resource, specifier, now) for specifier in specifiers}

    def _select(self, resource: ResourceId, specifier: StoredDataSpecifier, now: float) -> list[Selected]:
        # 7.4.2.2: "If the generation counter in the request matches the generation counter in the stored data, then no
        # StoredData values are returned."
        if specifier.generation and specifier.generation == self._view.generation(resource, specifier.kind):
            return []
        return select(self.rules.kinds[specifier.kind], specifier, self.live(resource, specifier.kind, now))

    def _certificates(self, records: Iterable[Record]) -> tuple[GenericCertificate, ...]:
        """What it takes to verify these records, each certificate once."""
        chains = {record.chain: record for record in records}
        encoded = [self._view.certificates(record) for record in chains.values()]
        return tuple(dict.fromkeys(entry for chain in encoded for entry in Certificates.decode(chain).certificates))

    def _packed(self, record: Record, now: float) -> tuple[StoredData, tuple[GenericCertificate, ...]]:
        kind = self.rules.kinds[record.place.kind]
        return to_stored_data(kind, record, self.clock.at(now)), self._certificates([record])

    def _resources(self, after: bytes, until: bytes, kind: int | None = None) -> Iterator[ResourceId]:
        """Resources that may have a value (of a Kind), after < resource <= until, ascending."""
        while page := self._view.resources(after, until, PAGE, kind):
            yield from page
            after = page[-1]


def _check_size(size: int, size_max: int | None) -> None:
    if size_max is not None and size > size_max:
        raise ResponseTooLarge(f"{size} bytes of values and certificates, at most {size_max} are wanted")
