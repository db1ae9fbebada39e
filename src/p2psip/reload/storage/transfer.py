"""Records on their way to another peer: replicas and hand-overs (RFC 6940 section 7.4.1.1, 10.4, 10.7.3)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from p2psip.base.ids import ResourceId
from p2psip.reload.storage.store.records import Place
from p2psip.reload.storage.stored_values import key_of
from p2psip.reload.wire.security_block import GenericCertificate
from p2psip.reload.wire.storage_messages import StoredData, StoreKindData, StoreReq

KIND_OVERHEAD = 16
"""What a StoreKindData takes besides its values, in bytes."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """A Store request for another peer, and the certificates that its values need."""

    request: StoreReq
    certificates: tuple[GenericCertificate, ...]

    @property
    def places(self) -> tuple[Place, ...]:
        """Where its values are."""
        return tuple(
            Place(self.request.resource, data.kind, key_of(stored.value))
            for data in self.request.kind_data
            if isinstance(data, StoreKindData)
            for stored in data.values
        )


@dataclass(frozen=True, slots=True)
class Parcel:
    """One value to be sent, with all that goes with it."""

    kind: int
    generation: int
    stored: StoredData
    certificates: tuple[GenericCertificate, ...]


@dataclass(slots=True)
class _Piece:
    """A request in the making."""

    size: int = 0
    kinds: dict[int, tuple[int, list[StoredData]]] = field(default_factory=dict)
    certificates: dict[GenericCertificate, None] = field(default_factory=dict)

    def cost(self, parcel: Parcel) -> int:
        """By how many bytes the request grows with this parcel."""
        new = [certificate for certificate in parcel.certificates if certificate not in self.certificates]
        overhead = 0 if parcel.kind in self.kinds else KIND_OVERHEAD
        return overhead + len(parcel.stored.encode()) + sum(len(certificate.encode()) for certificate in new)

    def add(self, parcel: Parcel) -> None:
        """Put the parcel in."""
        self.size += self.cost(parcel)
        self.kinds.setdefault(parcel.kind, (parcel.generation, []))[1].append(parcel.stored)
        self.certificates.update(dict.fromkeys(parcel.certificates))

    def transfer(self, resource: ResourceId, replica_number: int) -> Transfer:
        """The request."""
        kind_data = tuple(
            StoreKindData(kind, generation, tuple(values)) for kind, (generation, values) in self.kinds.items()
        )
        return Transfer(StoreReq(resource, replica_number, kind_data), tuple(self.certificates))


def pack(resource: ResourceId, replica_number: int, parcels: Iterable[Parcel], size_max: int) -> Iterator[Transfer]:
    """As few requests of at most `size_max` bytes as hold the parcels in this order; a large parcel goes alone."""
    piece = _Piece()
    for parcel in parcels:
        if piece.kinds and piece.size + piece.cost(parcel) > size_max:
            yield piece.transfer(resource, replica_number)
            piece = _Piece()
        piece.add(parcel)
    if piece.kinds:
        yield piece.transfer(resource, replica_number)
