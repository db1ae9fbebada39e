"""What a node has of the values that every peer has, as it is kept over a restart."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from p2psip.base.errors import LocalMisuse
from p2psip.base.ids import NodeId, ResourceId
from p2psip.reload.node.spreading.spread_set import SpreadCopy
from p2psip.reload.wire.common import KindId
from p2psip.reload.wire.kinds import Models
from p2psip.reload.wire.language.codec import Struct, Vector, structure
from p2psip.reload.wire.language.primitives import DecodeError, Opaque16, Opaque32
from p2psip.reload.wire.security_block import GenericCertificate
from p2psip.reload.wire.storage_messages import StoredData


@structure
class KeptCopy(Struct):
    """One value, with what was left of its lifetime, and what was found out about its signer."""

    kind: KindId
    resource: ResourceId
    stored: Opaque32
    user: Opaque16
    signer: NodeId
    certificates: Annotated[tuple[GenericCertificate, ...], Vector(2)]


@structure
class KeptCopies(Struct):
    """All of them."""

    copies: Annotated[tuple[KeptCopy, ...], Vector(4)]


def write_copies(copies: Iterable[SpreadCopy], now: float) -> bytes:
    """What `read_copies` reads."""
    kept = (
        KeptCopy(
            copy.kind,
            copy.resource,
            copy.given(now).encode(),
            copy.user.encode(),
            copy.signer,
            copy.certificates,
        )
        for copy in copies
    )
    return KeptCopies(tuple(kept)).encode()


def read_copies(data: bytes, models: Models, node_id_length: int, elapsed_s: float, now: float) -> list[SpreadCopy]:
    """Those that still count, written `elapsed_s` ago. Raises LocalMisuse for what nobody wrote like this."""
    try:
        kept = KeptCopies.decode(data, node_id_length=node_id_length).copies
        return [_copy(each, models, now - elapsed_s) for each in kept if each.kind in models]
    except (DecodeError, UnicodeDecodeError) as error:
        raise LocalMisuse(f"the directory that was kept cannot be read: {error}") from None


def _copy(kept: KeptCopy, models: Models, written_at: float) -> SpreadCopy:
    stored = StoredData.decode(kept.stored, model=models[kept.kind])
    ends_at = written_at + stored.lifetime
    return SpreadCopy(kept.resource, kept.kind, stored, kept.user.decode(), kept.signer, kept.certificates, ends_at)
