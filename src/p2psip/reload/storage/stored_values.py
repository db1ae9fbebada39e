"""One stored value: its place, its signature (RFC 6940 section 7.1), the certificates that verify it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

from p2psip.base.ids import ResourceId
from p2psip.base.wallclock import WallClock
from p2psip.reload.security.errors import BadSignature
from p2psip.reload.security.roles import Identity, Signer, Verifier
from p2psip.reload.storage.store.records import Record
from p2psip.reload.wire.kinds import DataModel
from p2psip.reload.wire.language.codec import Struct, Vector, structure
from p2psip.reload.wire.language.primitives import DecodeError
from p2psip.reload.wire.security_block import (
    CertificateType,
    GenericCertificate,
    NoIdentity,
    Signature,
)
from p2psip.reload.wire.storage_messages import (
    ArrayEntry,
    DataValue,
    DictionaryEntry,
    StoredData,
    StoredDataValue,
)

MODEL_OF: dict[type[Struct], DataModel] = {
    DataValue: DataModel.SINGLE,
    ArrayEntry: DataModel.ARRAY,
    DictionaryEntry: DataModel.DICTIONARY,
}


@structure
class Certificates(Struct):
    """Certificates that are kept with a value: those of its signer's chain."""

    certificates: Annotated[tuple[GenericCertificate, ...], Vector(4)]


def key_of(value: StoredDataValue) -> bytes:
    """Where a value is in its Kind's data model, as in `Place.key`."""
    match value:
        case ArrayEntry(index, _):
            return index.to_bytes(4, "big")
        case DictionaryEntry(key, _):
            return key
    return b""


def is_of_model(record: Record, model: DataModel) -> bool:
    """True if a record was stored as a value of this data model."""
    try:
        return key_of(StoredData.decode(record.data, model=model).value) == record.place.key
    except DecodeError:
        return False


def sign_value(
    identity: Identity, resource: ResourceId, kind: int, value: StoredDataValue, storage_time_ms: int, lifetime_s: int
) -> StoredData:
    """A value ready to be stored, signed by one of our own."""
    signature = identity.sign(_signed(resource, kind, storage_time_ms, _as_signed(value)))
    return StoredData(storage_time_ms, lifetime_s, value, signature)


def verify_value(
    verifier: Verifier,
    resource: ResourceId,
    kind: int,
    stored: StoredData,
    certificates: Sequence[GenericCertificate],
    wall: WallClock,
    now: float,
) -> Signer:
    """Who signed a value. Raises SecurityError if nobody whom we know did."""
    if not is_signed(stored):
        raise BadSignature("the value is not signed")
    prefix = _signed(resource, kind, stored.storage_time, _as_signed(stored.value))
    return verifier.verify(prefix, stored.signature, certificates, wall.date(now), wall.is_trusted)


def is_signed(stored: StoredData) -> bool:
    """False for a value with identity_type "none", or {0, 0} for its SignatureAndHashAlgorithm (7.4.1.1)."""
    signature = stored.signature
    return not isinstance(signature.identity.identity, NoIdentity) and signature.algorithm != Signature.none().algorithm


def nonexistent(value: StoredDataValue) -> StoredData:
    """What stands in an answer for a value "which the node has no knowledge of" (7.4.2.2)."""
    return StoredData(0, 0, value, Signature.none())


def chain_of(signer: Signer) -> Certificates:
    """What others need to verify this signer's values, without trust anchors."""
    chain = (signer.member.certificate, *signer.member.issuers)
    return Certificates(tuple(GenericCertificate(CertificateType.X509, der) for der in chain))


def chain_hash(encoded: bytes) -> bytes:
    """By what a chain is known in the store."""
    return hashlib.sha256(encoded).digest()


def _as_signed(value: StoredDataValue) -> StoredDataValue:
    """7.4.2.2: "the index value in the array is set to zero before the signature is computed"."""
    return replace(value, index=0) if isinstance(value, ArrayEntry) else value


def _signed(resource: ResourceId, kind: int, storage_time_ms: int, value: StoredDataValue) -> bytes:
    """7.1: "resource_id || kind || storage_time || StoredDataValue"; the signer adds its SignerIdentity."""
    return resource + kind.to_bytes(4, "big") + storage_time_ms.to_bytes(8, "big") + value.encode()
