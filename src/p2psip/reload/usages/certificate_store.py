"""The Certificate Store usage (RFC 6940 section 8): each member's certificate, under its Node-ID and its user name.

Theory of operation. Both Kinds are arrays to which certificates are appended, so that an old one and its renewal are
there together. A certificate that is there already is stored anew at its index before its lifetime ends; one that is
stored no more dies by itself; those of a member who goes for good are removed.
An entry proves itself: it is signed with the key that it certifies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from p2psip.base.ids import NodeId, ResourceId
from p2psip.reload.security.roles import Identity
from p2psip.reload.storage.access import Hash
from p2psip.reload.storage.stored_values import sign_value
from p2psip.reload.storage.verified import Believer, Value, Verified, read_answer
from p2psip.reload.wire.kinds import CERTIFICATE_BY_NODE, CERTIFICATE_BY_USER
from p2psip.reload.wire.security_block import CertificateType, GenericCertificate
from p2psip.reload.wire.storage_messages import (
    APPEND_INDEX,
    ArrayEntry,
    ArrayRange,
    ArraySpecifier,
    DataValue,
    FetchAns,
    FetchKindResponse,
    FetchReq,
    StoredDataSpecifier,
    StoreKindData,
    StoreReq,
)

KINDS = (CERTIFICATE_BY_NODE, CERTIFICATE_BY_USER)

LIFETIME_S = 24 * 3600
REFRESH_S = LIFETIME_S // 2


def resource_id(kind: int, user: str, node_id: NodeId, hash_name: Hash) -> ResourceId:
    """Where a member's certificate is.

    "A user/node MUST store its certificate at Resource-IDs derived from two Resource Names: o The user name in the
    certificate. o The Node-ID in the certificate." And that "is not stored at its Node-ID but rather at a hash of" it.
    """
    return hash_name(node_id if kind == CERTIFICATE_BY_NODE else user.encode())


def fetch_request(kind: int, resource: ResourceId) -> FetchReq:
    """The Fetch of all certificates of one Kind there."""
    return FetchReq(resource, (StoredDataSpecifier(kind, 0, ArraySpecifier((ArrayRange(0, APPEND_INDEX),))),))


def store_request(
    identity: Identity, kind: int, index: int, storage_time_ms: int, hash_name: Hash, lifetime_s: int = LIFETIME_S
) -> StoreReq:
    """The Store of a member's own certificate at an index of the array. It is to be signed by the member as well."""
    resource = resource_id(kind, identity.user, identity.node_id, hash_name)
    entry = ArrayEntry(index, DataValue(exists=True, value=identity.certificates[0].certificate))
    stored = sign_value(identity, resource, kind, entry, storage_time_ms, lifetime_s)
    return StoreReq(resource, 0, (StoreKindData(kind, 0, (stored,)),))


def remove_request(
    identity: Identity, kind: int, slots: Sequence[Slot], storage_time_ms: int, hash_name: Hash
) -> StoreReq:
    """The Store that takes a member's certificates out of the array."""
    resource = resource_id(kind, identity.user, identity.node_id, hash_name)
    # 7.4.1.3: "The owner SHOULD use a lifetime for the nonexistent value that is at least as long as the remainder of
    # the lifetime of the value it is replacing".
    removed = tuple(
        sign_value(
            identity, resource, kind, ArrayEntry(slot.index, DataValue.nonexistent()), storage_time_ms, LIFETIME_S
        )
        for slot in slots
    )
    return StoreReq(resource, 0, (StoreKindData(kind, 0, removed),))


def read_certificates(
    resource: ResourceId, answer: FetchAns, certificates: Sequence[GenericCertificate], reader: Believer, now: float
) -> Verified:
    """The certificates of an answer that are valid and were stored by whom they certify; `data` of each is its DER."""
    return read_answer(resource, answer, (*certificates, *certificates_in(answer)), reader, now)


def certificates_in(answer: FetchAns) -> tuple[GenericCertificate, ...]:
    """What an answer says to be certificates: no proof of anything, but what signatures can be verified with."""
    return tuple(
        GenericCertificate(CertificateType.X509, stored.data_value.value)
        for response in answer.kind_responses
        if isinstance(response, FetchKindResponse) and response.kind in KINDS
        for stored in response.values
        if stored.data_value.exists and len(stored.data_value.value) <= 0xFFFF
    )


@dataclass(frozen=True, slots=True)
class Slot:
    """Where in the array to store, and a storage_time that what is there has already."""

    index: int
    above_ms: int


def choose_slot(identity: Identity, present: Verified, kind: int, max_count: int) -> Slot:
    """Where a member's certificate goes: where it is, or else to the end; where that is too far, instead of another."""
    entries = {value.key: value for value in (*present.values, *present.removed) if value.kind == kind}
    der = identity.certificates[0].certificate
    for value in entries.values():
        if value.data == der:
            return _instead_of(value)
    indices = [index for index in entries if isinstance(index, int)]
    # "New certificates are stored at the end of the list."
    if max(indices, default=-1) + 1 < max_count:
        return Slot(APPEND_INDEX, 0)
    gap = next((index for index in range(max_count) if index not in entries), None)
    if gap is not None:
        return Slot(gap, 0)

    def worth(value: Value) -> tuple[bool, bool, int]:
        return value.data is not None, value.signer.node_id != identity.node_id, value.storage_time_ms

    return _instead_of(min(entries.values(), key=worth))


def own_slots(identity: Identity, present: Verified, kind: int) -> list[Slot]:
    """Where a member's certificates are: the present one, and those that it has renewed."""
    return [_instead_of(value) for value in present.of(kind) if value.signer.node_id == identity.node_id]


def _instead_of(value: Value) -> Slot:
    assert isinstance(value.key, int), "both Kinds are arrays"
    return Slot(value.key, value.storage_time_ms)
