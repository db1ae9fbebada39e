"""Values of which somebody else keeps the bytes as well: enough to know them by when they come back.

An outline has of each value everything but what is in it, and a digest of that. So an answer can be made of the bytes
that another node gives back, and of no others: neither of older ones, nor of some of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from p2psip.base.errors import RemoteProtocolError
from p2psip.base.ids import ResourceId
from p2psip.base.wallclock import WallClock
from p2psip.reload.config.configuration import Kind
from p2psip.reload.storage.fetching import remaining_s, select
from p2psip.reload.storage.store.records import Place, Record
from p2psip.reload.storage.stored_values import chain_of, key_of, nonexistent
from p2psip.reload.storage.storing import Rules
from p2psip.reload.wire.rejections import Rejection
from p2psip.reload.wire.security_block import GenericCertificate
from p2psip.reload.wire.storage_messages import (
    FetchAns,
    FetchKindResponse,
    FetchReq,
    StoredData,
    StoredDataSpecifier,
)


class LentValueMissing(RemoteProtocolError):
    """A value that somebody kept for us is not in their answer, or nothing there shows whose it is."""


class LentValueChanged(RemoteProtocolError):
    """A value came back as another than the one that was placed there."""


@dataclass(frozen=True, slots=True)
class Outlined:
    """One value: its record without its data, a digest of that, and how many bytes it has."""

    record: Record
    digest: bytes
    size: int


@dataclass(frozen=True, slots=True)
class Outline:
    """All values of one Kind at a resource, by key, under this generation counter."""

    resource: ResourceId
    kind: int
    generation: int
    values: Mapping[bytes, Outlined]

    def selected(self, kind: Kind, specifier: StoredDataSpecifier) -> list[Outlined]:
        """Those that a specifier asks for. Raises InvalidMessage if it does not fit the Kind."""
        found = select(kind, specifier, {key: value.record for key, value in self.values.items()})
        return [self.values[each.place.key] for each in found if isinstance(each, Record)]


def outlined(kind: Kind, record: Record) -> Outlined:
    """The outline of a record."""
    return Outlined(
        replace(record, data=b""), digest_of(StoredData.decode(record.data, model=kind.data_model)), record.size
    )


def digest_of(stored: StoredData) -> bytes:
    """Of all of a value, its signature included, but for what is left of its lifetime."""
    return hashlib.sha256(replace(stored, lifetime=0).encode()).digest()


@dataclass(frozen=True, slots=True)
class GivenBack:
    """The answer of who keeps values for us, and the certificates that came with it."""

    answer: FetchAns
    certificates: Sequence[GenericCertificate]


def answer_from(
    request: FetchReq,
    outlines: Mapping[int, Outline],
    given: GivenBack,
    rules: Rules,
    wall: WallClock,
    at: float,
    now: float,
) -> tuple[FetchAns, tuple[GenericCertificate, ...]]:
    """The answer to a Fetch, of what was given back: each value is the one that was placed, and its signature is good.

    `outlines` are those of the Kinds that are asked for; `at` is `now` by the store's clock. Raises LentValueMissing,
    LentValueChanged.
    """
    values = dict(_by_place(request.resource, given.answer))
    certificates: dict[GenericCertificate, None] = {}
    responses = []
    for specifier in request.specifiers:
        outline, kind = outlines[specifier.kind], rules.kinds[specifier.kind]
        chosen: list[StoredData] = []
        for each in select(kind, specifier, {key: value.record for key, value in outline.values.items()}):
            if not isinstance(each, Record):
                chosen.append(nonexistent(each))
                continue
            stored = _checked(outline.values[each.place.key], values.get(each.place))
            chosen.append(replace(stored, lifetime=remaining_s(each, at)))
            certificates.update(_proofs(each.place, stored, given.certificates, rules, wall, now))
        responses.append(FetchKindResponse(specifier.kind, outline.generation, tuple(chosen)))
    return FetchAns(tuple(responses)), tuple(certificates)


def _by_place(resource: ResourceId, answer: FetchAns) -> Iterable[tuple[Place, StoredData]]:
    for response in answer.kind_responses:
        if isinstance(response, FetchKindResponse):
            for stored in response.values:
                yield Place(resource, response.kind, key_of(stored.value)), stored


def _checked(expected: Outlined, stored: StoredData | None) -> StoredData:
    where = f"at {expected.record.place.resource}"
    # What is not there any more stands in an answer as a value that does not exist (7.4.2.2).
    if stored is None or not stored.storage_time:
        raise LentValueMissing(f"a value {where} is not there any more")
    if digest_of(stored) != expected.digest:
        raise LentValueChanged(f"a value {where} is not the one that was placed there")
    return stored


def _proofs(
    place: Place,
    stored: StoredData,
    certificates: Sequence[GenericCertificate],
    rules: Rules,
    wall: WallClock,
    now: float,
) -> dict[GenericCertificate, None]:
    """What readers need to verify a value: "nodes MUST verify the signatures on all the received values" (7.4.2.2)."""
    try:
        signer = rules.signer(place.resource, place.kind, stored, certificates, wall, now)
    except Rejection as error:
        raise LentValueMissing(f"what shows whose a value at {place.resource} is: {error}") from None
    return dict.fromkeys(chain_of(signer).certificates)
