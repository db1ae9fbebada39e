"""The checks of a Store (RFC 6940 section 7.4.1.1), and what becomes of each value that passes them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from p2psip.base.ids import ResourceId
from p2psip.base.wallclock import WallClock
from p2psip.reload.config.configuration import Kind
from p2psip.reload.security.errors import SecurityError
from p2psip.reload.security.roles import Signer, Verifier
from p2psip.reload.storage.access import Hash, UsageRule, WantedWrite, is_permitted
from p2psip.reload.storage.store.records import Place, Record
from p2psip.reload.storage.store.view import Draft
from p2psip.reload.storage.stored_values import MODEL_OF, chain_hash, chain_of, key_of, verify_value
from p2psip.reload.wire.rejections import (
    DataTooLarge,
    DataTooOld,
    Forbidden,
    GenerationCounterTooLow,
    InvalidMessage,
    UnknownKind,
)
from p2psip.reload.wire.security_block import GenericCertificate
from p2psip.reload.wire.storage_messages import (
    APPEND_INDEX,
    ArrayEntry,
    StoreAns,
    StoredData,
    StoreKindData,
    StoreKindResponse,
    StoreReq,
)

GENERATION_MAX = 2**62
"""No counter that began at 1 comes near this; one beyond is somebody's attempt to end further stores."""

CLOCK_SKEW_S = 300
"""How far two set clocks may differ."""

DATE_MAX_MS = 253_402_300_799_999
"""The end of the year 9999, after which there are no words for dates here."""


@dataclass(frozen=True, slots=True)
class Offer:
    """Values of one Kind to be stored, each with its signer, whose right to it has been checked."""

    kind: Kind
    generation: int
    values: tuple[tuple[StoredData, Signer], ...]


@dataclass(frozen=True, slots=True)
class Rules:
    """By what rules an overlay accepts values: its Kinds, its members, its hash function, its usages' demands."""

    kinds: Mapping[int, Kind]
    verifier: Verifier
    hash_name: Hash
    usage_rules: Mapping[int, UsageRule] = field(default_factory=dict)

    def examine(
        self, request: StoreReq, certificates: Sequence[GenericCertificate], wall: WallClock, now: float
    ) -> list[Offer]:
        """The values of a request with their signers; raises Forbidden unless each may be where it is to be."""
        return [
            Offer(
                self.kinds[data.kind],
                data.generation_counter,
                tuple(self._acceptable(request, data, certificates, wall, now)),
            )
            for data in self._known(request)
        ]

    def _acceptable(
        self,
        request: StoreReq,
        data: StoreKindData,
        certificates: Sequence[GenericCertificate],
        wall: WallClock,
        now: float,
    ) -> Iterator[tuple[StoredData, Signer]]:
        for stored in data.values:
            signer = self.signer(request.resource, data.kind, stored, certificates, wall, now)
            try:
                yield self.bounded(data.kind, stored, signer, wall, now), signer
            except DataTooOld:
                # A copy comes from a peer whose clock may not be set; its other values are as good as before.
                if request.replica_number == 0:
                    raise

    def signer(
        self,
        resource: ResourceId,
        kind_id: int,
        stored: StoredData,
        certificates: Sequence[GenericCertificate],
        wall: WallClock,
        now: float,
    ) -> Signer:
        """Who signed a value of a known Kind; raises Forbidden if nobody did who may write it."""
        kind = self.kinds[kind_id]
        if MODEL_OF[type(stored.value)] is not kind.data_model:
            raise InvalidMessage(f"Kind {kind_id:#x} has the data model {kind.data_model.value}")
        try:
            signer = verify_value(self.verifier, resource, kind_id, stored, certificates, wall, now)
        except SecurityError as error:
            raise Forbidden(f"a value of Kind {kind_id:#x}: {error}") from None
        self.permit(WantedWrite(kind, resource, key_of(stored.value), stored.data_value), signer)
        return signer

    def believe(
        self,
        resource: ResourceId,
        kind_id: int,
        stored: StoredData,
        certificates: Sequence[GenericCertificate],
        wall: WallClock,
        now: float,
    ) -> tuple[StoredData, Signer]:
        """A value in an answer, with what is left of its lifetime at the most, and its signer. Raises a Rejection."""
        # 7.4.1.1: "The resulting StoredData has the correct index value when it is subsequently fetched."
        if isinstance(stored.value, ArrayEntry) and stored.value.index == APPEND_INDEX:
            raise InvalidMessage(f"a value of Kind {kind_id:#x} at index {APPEND_INDEX:#x}, where none can be")
        signer = self.signer(resource, kind_id, stored, certificates, wall, now)
        return self.bounded(kind_id, stored, signer, wall, now), signer

    def bounded(self, kind_id: int, stored: StoredData, signer: Signer, wall: WallClock, now: float) -> StoredData:
        """A value whose lifetime does not go beyond its age; raises DataTooOld for one that is too old by our date."""
        rule = self.usage_rules.get(kind_id)
        if rule is None or not wall.is_trusted:
            return stored
        left_s = (rule.ends_ms(stored, signer) - wall.date_ms(now)) // 1000 + CLOCK_SKEW_S
        if left_s <= 0:
            dates = _minute(stored.storage_time), _minute(wall.date_ms(now))
            raise DataTooOld(f"a value that was signed at {dates[0]}; the clock here says {dates[1]}")
        return replace(stored, lifetime=min(stored.lifetime, left_s))

    def permit(self, write: WantedWrite, signer: Signer) -> None:
        """Raise Forbidden unless this signer may make this write."""
        kind = write.kind
        if not is_permitted(write, signer, self.hash_name):
            policy = kind.access_control.value
            raise Forbidden(f"{policy} keeps {signer.user} from writing Kind {kind.kind_id:#x} at {write.resource}")
        rule = self.usage_rules.get(kind.kind_id)
        if rule is not None and not rule.permits(write, signer):
            raise Forbidden(f"this overlay takes no values of Kind {kind.kind_id:#x} for {signer.user}")

    def check_requester(self, resource: ResourceId, offers: Iterable[Offer], requester: Signer) -> None:
        """7.3: "both the signer of the StoredValue and the signer of the StoreReq MUST conform to the policy"."""
        for offer in offers:
            for stored, _ in offer.values:
                self.permit(WantedWrite(offer.kind, resource, key_of(stored.value), stored.data_value), requester)

    def _known(self, request: StoreReq) -> list[StoreKindData]:
        kinds = [data.kind for data in request.kind_data]
        # "The same Kind-ID MUST NOT be used twice in a given store request."
        if len(set(kinds)) != len(kinds):
            raise InvalidMessage("the request names a Kind twice")
        known = [data for data in request.kind_data if isinstance(data, StoreKindData) and data.kind in self.kinds]
        if len(known) < len(kinds):
            raise UnknownKind(kind for kind in kinds if kind not in {data.kind for data in known})
        return known


def check_generations(draft: Draft, offers: Sequence[Offer], is_original: bool) -> None:
    """Compare the generation counters of the request with the current ones."""
    if not is_original:
        _check_replica_generations(offers)
        return
    # "if the generation counter is nonzero, it equals the current value of the generation counter for this Kind."
    if any(offer.generation not in (0, draft.generation(offer.kind.kind_id)) for offer in offers):
        current = [(offer.kind.kind_id, draft.generation(offer.kind.kind_id)) for offer in offers]
        raise GenerationCounterTooLow(StoreAns(tuple(StoreKindResponse(*entry, ()) for entry in current)))


def _check_replica_generations(offers: Iterable[Offer]) -> None:
    # "Replica Stores MUST NOT use a generation counter of 0."
    if any(not 0 < offer.generation <= GENERATION_MAX for offer in offers):
        raise InvalidMessage(f"the generation counter of a replica is from 1 to {GENERATION_MAX}")


def store_kind(draft: Draft, offer: Offer, is_original: bool, *, is_from_holder: bool = True) -> None:
    """Store the values of one Kind, and move its generation counter.

    What has values has a counter in the same commit, be it the current one: an earlier commit may yet fail. A replica
    that is not from a holder of the values moves the counter as an original does: on, and only for what is new.
    """
    kind = offer.kind
    is_merge = not is_original
    may_displace = is_merge and is_from_holder
    changed = [
        stored
        for stored, signer in offer.values
        if store_value(draft, kind, stored, signer, is_merge=is_merge, may_displace=may_displace)
    ]
    current = draft.generation(kind.kind_id)
    if is_original and changed:
        # "if the store succeeds and the data is changed, then the peer MUST increase the generation counter".
        draft.set_generation(kind.kind_id, current + 1)
    elif not is_original and not is_from_holder:
        if changed:
            draft.set_generation(kind.kind_id, 1 + max(current, offer.generation))
    elif not is_original and offer.values and (changed or offer.generation != current):
        # "the peer MUST set the generation counter to match the generation counter in the message".
        draft.set_generation(kind.kind_id, offer.generation)


def store_value(
    draft: Draft, kind: Kind, stored: StoredData, signer: Signer, *, is_merge: bool, may_displace: bool
) -> bool:
    """Store one value, for its writer or in a merge with what another peer has; False if it is there already.

    Where there are too many, those that are older make way for it if it `may_displace` them.

    A value that is there already, as it comes again in hand-overs and repeated requests, replaces nothing. Its
    lifetime stays what it was: that is not signed, so anybody could lengthen it.
    """
    if len(stored.data_value.value) > kind.max_size:
        raise DataTooLarge(f"a value of Kind {kind.kind_id:#x} has at most {kind.max_size} bytes")
    values = draft.values(kind.kind_id)
    stored = _positioned(kind, stored, draft)
    place = Place(draft.resource, kind.kind_id, key_of(stored.value))
    old = values.get(place.key)
    if old is None and len(values) >= kind.max_count:
        if not may_displace:
            raise DataTooLarge(f"Kind {kind.kind_id:#x} has at most {kind.max_count} values at one resource")
        _make_room(draft, kind, stored)
    elif old is not None and not _is_news(kind, old, stored, is_merge=is_merge) and not draft.is_withheld(old):
        return False
    certificates = chain_of(signer).encode()
    expires_at = draft.at + stored.lifetime
    chain = chain_hash(certificates)
    draft.put(Record(place, stored.encode(), signer.user, signer.node_id, chain, draft.at, expires_at), certificates)
    return True


def _is_news(kind: Kind, old: Record, stored: StoredData, *, is_merge: bool) -> bool:
    """False if the value is the one that is there; raises DataTooOld if that is newer."""
    present = StoredData.decode(old.data, model=kind.data_model)
    if (present.storage_time, present.value) == (stored.storage_time, stored.value):
        return False
    # "The storage time values are greater than that of any values which would be replaced by this Store."
    if stored.storage_time <= present.storage_time and not (is_merge and _turn(stored) > _turn(present)):
        raise DataTooOld(f"there is a value with storage_time {present.storage_time}")
    return True


def _turn(stored: StoredData) -> tuple[int, bool, bytes]:
    """Where a value comes in the order in which all peers merge.

    "as if the order they were stored in corresponds to the stored time values"; where two have the same, whatever else
    is signed decides, so that it is the same at all peers. A removal comes after a value.
    """
    return stored.storage_time, not stored.data_value.exists, stored.value.encode()


def _make_room(draft: Draft, kind: Kind, stored: StoredData) -> None:
    """Of more values than there may be, the last ones stay: what all peers come to, whoever gives to whom first.

    Raises DataTooOld if all that is there is newer: then who offers it fetches that, and comes to the same.
    """
    turns = {
        key: _turn(StoredData.decode(record.data, model=kind.data_model))
        for key, record in draft.values(kind.kind_id).items()
    }
    by_turn = sorted(turns, key=lambda key: turns[key])
    outdone = by_turn[: 1 + len(turns) - kind.max_count]
    if turns[outdone[-1]] > _turn(stored):
        raise DataTooOld(f"there are {kind.max_count} newer values of Kind {kind.kind_id:#x}")
    for key in outdone:
        draft.remove(kind.kind_id, key)


def _positioned(kind: Kind, stored: StoredData, draft: Draft) -> StoredData:
    """The value with its place in the array, if it is for one.

    "A store at index 0xffffffff places the new value at the end of the array [...]. The resulting StoredData has
    the correct index value when it is subsequently fetched."
    """
    entry = stored.value
    if not isinstance(entry, ArrayEntry):
        return stored
    index: int | None = entry.index
    if index == APPEND_INDEX:
        index = _appended_at(stored, draft.values_before(kind.kind_id))
    if index is None:
        values = draft.values(kind.kind_id)
        index = 1 + int.from_bytes(max(values), "big") if values else 0
    if index >= kind.max_count:
        raise DataTooLarge(f"Kind {kind.kind_id:#x} has at most {kind.max_count} elements")
    return replace(stored, value=replace(entry, index=index))


def _appended_at(stored: StoredData, values: Mapping[bytes, Record]) -> int | None:
    """Where in the array an earlier request has put the very same value, by its signature; None if none has.

    A request that comes again after its answer was forgotten, or that somebody on its way has kept, appends nothing.
    """
    # What is signed has no index, so the signature of an element is the one that it was appended with.
    signature = stored.signature.encode()
    found = (key for key, record in values.items() if record.data.endswith(signature))
    return next((int.from_bytes(key, "big") for key in found), None)


def _minute(date_ms: int) -> str:
    """A date for people."""
    return f"{datetime.fromtimestamp(min(date_ms, DATE_MAX_MS) / 1000, UTC):%Y-%m-%d %H:%M}"
