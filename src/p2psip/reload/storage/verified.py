"""The reader's side of Fetch, Stat and Find: what to believe of an answer (RFC 6940 section 7.4.2.2, 7.4.4.2, 13.5.3).

Whoever stores values for others can withhold them, reorder an array and show what was valid once; it can make
up nothing. So of each value the signature is verified and the signer's right to write it there, and what fails is
dropped and told about.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from p2psip.base.ids import ResourceId
from p2psip.base.wallclock import WallClock
from p2psip.reload.security.roles import Signer
from p2psip.reload.storage.limits import SEEN_MAX
from p2psip.reload.storage.store.records import Place
from p2psip.reload.storage.stored_values import is_signed, key_of
from p2psip.reload.storage.storing import Rules
from p2psip.reload.wire.rejections import Rejection
from p2psip.reload.wire.security_block import GenericCertificate
from p2psip.reload.wire.storage_messages import (
    ArrayEntry,
    DictionaryEntry,
    FetchAns,
    FetchKindResponse,
    FindAns,
    FindReq,
    StoredData,
    StoredDataValue,
)

Key = int | bytes | None
"""Where a value is in its Kind's data model: an index, a dictionary key, or nothing for a single value."""


@dataclass(frozen=True, slots=True)
class Value:
    """One value, by whom it is signed, when it was stored and for how long it is good."""

    kind: int
    key: Key
    data: bytes | None
    """None for a value that its owner has removed."""
    storage_time_ms: int
    lifetime_s: int
    signer: Signer


@dataclass(frozen=True, slots=True)
class Verified:
    """What an answer says that can be believed.

    `values` exist, by Kind and key; `removed` are there no more, as their owners say. `dropped` says why other values
    do not count: 7.4.2.2 wants the application to know "that a partial response was received".
    """

    values: tuple[Value, ...] = ()
    removed: tuple[Value, ...] = ()
    generations: Mapping[int, int] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()

    def of(self, kind: int) -> tuple[Value, ...]:
        """The values of one Kind."""
        return tuple(value for value in self.values if value.kind == kind)

    @property
    def is_partial(self) -> bool:
        """True if there were values that do not count."""
        return bool(self.dropped)


class Seen:
    """The newest storage_time that was seen at each place, and of what, as far back as memory allows.

    13.5.3: "a fetching node which receives a data value with a storage time older than the result of the previous
    fetch knows that a rollback has occurred." One that says the same as the newest rolls nothing back: a record that is
    refreshed has many storage_times, and a replica may have missed the last of them.
    """

    def __init__(self, places_max: int = SEEN_MAX) -> None:
        self._places_max = places_max
        self._newest: OrderedDict[Place, tuple[int, bytes]] = OrderedDict()

    def is_rollback(self, place: Place, stored: StoredData) -> bool:
        """True if something newer was there before, and it was something else."""
        time_ms, digest = stored.storage_time, hashlib.sha256(stored.value.encode()).digest()
        newest_ms, newest = self._newest.pop(place, (0, b""))
        self._newest[place] = (time_ms, digest) if time_ms >= newest_ms else (newest_ms, newest)
        if len(self._newest) > self._places_max:
            self._newest.popitem(last=False)
        return time_ms < newest_ms and digest != newest


@dataclass(frozen=True, slots=True)
class Believer:
    """By what a node believes what it reads: the rules of the overlay, the date, and what it has read before."""

    rules: Rules
    wall: WallClock
    seen: Seen | None = None
    """None where a value counts that is older than one read before."""


def read_answer(
    resource: ResourceId, answer: FetchAns, certificates: Sequence[GenericCertificate], reader: Believer, now: float
) -> Verified:
    """The values of an answer to a Fetch at `resource` that are what they claim to be, whatever their data model."""
    rules, seen = reader.rules, reader.seen
    found: dict[tuple[int, bytes], Value] = {}
    generations: dict[int, int] = {}
    dropped: list[str] = []
    for response in answer.kind_responses:
        if not isinstance(response, FetchKindResponse) or response.kind not in rules.kinds:
            dropped.append(f"values of Kind {response.kind:#x}, which this overlay does not have")
            continue
        generations[response.kind] = response.generation
        for stored in response.values:
            if not is_signed(stored) and not stored.data_value.exists:
                continue  # "a synthetic value with "exists" set to False": nothing is there
            try:
                # "nodes MUST verify the signatures on all the received values. Any values with invalid signatures
                # (including expired certificates) MUST be discarded."
                believed, signer = rules.believe(resource, response.kind, stored, certificates, reader.wall, now)
            except Rejection as error:
                dropped.append(str(error))
                continue
            value = _value(response.kind, believed, signer)
            place = Place(resource, response.kind, key_of(stored.value))
            if seen is not None and seen.is_rollback(place, stored):
                dropped.append(f"a value of Kind {response.kind:#x} that is older than what was there before")
            elif place[1:] in found:
                dropped.append(f"a second value of Kind {response.kind:#x} at one place")
            else:
                found[place[1:]] = value
    values = [value for _, value in sorted(found.items())]
    existing = tuple(value for value in values if value.data is not None)
    removed = tuple(value for value in values if value.data is None)
    return Verified(existing, removed, generations, tuple(dropped))


def lacks_certificates(answer: FetchAns, certificates: Sequence[GenericCertificate], rules: Rules) -> bool:
    """True if a signature in an answer names a certificate that did not come along.

    6.3.4: "In systems that have an alternative certificate distribution mechanism, some certificates MAY be omitted."
    """
    return any(
        rules.verifier.lacks(stored.signature, certificates)
        for response in answer.kind_responses
        if isinstance(response, FetchKindResponse) and response.kind in rules.kinds
        for stored in response.values
        if is_signed(stored)
    )


def read_find(request: FindReq, answer: FindAns) -> dict[int, ResourceId | None]:
    """The closest resource of each Kind that was asked for; None where there is none.

    7.4.4.2: "It is 0 if no Resource-ID is known". A Kind that Find is not allowed for is missing.
    """
    asked = set(request.kinds)
    return {
        result.kind: result.closest if any(result.closest) else None
        for result in answer.results
        if result.kind in asked
    }


def _value(kind: int, stored: StoredData, signer: Signer) -> Value:
    data = stored.data_value
    content = data.value if data.exists else None
    return Value(kind, _key(stored.value), content, stored.storage_time, stored.lifetime, signer)


def _key(value: StoredDataValue) -> Key:
    match value:
        case ArrayEntry(index, _):
            return index
        case DictionaryEntry(key, _):
            return key
    return None
