"""A whole message (RFC 6940 section 6.3): forwarding header, message contents, security block."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from p2psip.base.frozen import frozen
from p2psip.reload.wire.contents import ErrorResponse, MessageCode, MessageContents, UnknownBody
from p2psip.reload.wire.diagnostics import PathTrackAns, PathTrackReq
from p2psip.reload.wire.header import ForwardingHeader
from p2psip.reload.wire.kinds import REGISTERED_MODELS, Models
from p2psip.reload.wire.language.codec import Struct
from p2psip.reload.wire.language.primitives import DecodeError
from p2psip.reload.wire.link_messages import (
    AppAttachAns,
    AppAttachReq,
    AttachReqAns,
    ConfigUpdateAns,
    ConfigUpdateReq,
    PingAns,
    PingReq,
    ProbeAns,
    ProbeReq,
)
from p2psip.reload.wire.private_messages import PrivateAns, PrivateReq
from p2psip.reload.wire.security_block import GenericCertificate, SecurityBlock, Signature
from p2psip.reload.wire.storage_messages import (
    FetchAns,
    FetchReq,
    FindAns,
    FindReq,
    StatAns,
    StatReq,
    StoreAns,
    StoreReq,
)

BODIES: Mapping[MessageCode, type[Struct]] = MappingProxyType(
    {
        MessageCode.PROBE_REQ: ProbeReq,
        MessageCode.PROBE_ANS: ProbeAns,
        MessageCode.ATTACH_REQ: AttachReqAns,
        MessageCode.ATTACH_ANS: AttachReqAns,
        MessageCode.STORE_REQ: StoreReq,
        MessageCode.STORE_ANS: StoreAns,
        MessageCode.FETCH_REQ: FetchReq,
        MessageCode.FETCH_ANS: FetchAns,
        MessageCode.FIND_REQ: FindReq,
        MessageCode.FIND_ANS: FindAns,
        MessageCode.PING_REQ: PingReq,
        MessageCode.PING_ANS: PingAns,
        MessageCode.STAT_REQ: StatReq,
        MessageCode.STAT_ANS: StatAns,
        MessageCode.APP_ATTACH_REQ: AppAttachReq,
        MessageCode.APP_ATTACH_ANS: AppAttachAns,
        MessageCode.CONFIG_UPDATE_REQ: ConfigUpdateReq,
        MessageCode.CONFIG_UPDATE_ANS: ConfigUpdateAns,
        MessageCode.PATH_TRACK_REQ: PathTrackReq,
        MessageCode.PATH_TRACK_ANS: PathTrackAns,
        MessageCode.PRIVATE_REQ: PrivateReq,
        MessageCode.PRIVATE_ANS: PrivateAns,
        MessageCode.ERROR: ErrorResponse,
    }
)
"""Which structure is inserted in message_body, whatever the topology; of its own messages it has those itself."""

TOPOLOGY_REQUESTS = frozenset(
    {MessageCode.JOIN_REQ, MessageCode.LEAVE_REQ, MessageCode.UPDATE_REQ, MessageCode.ROUTE_QUERY_REQ}
)
"""6.4.2: the methods of topology plug-ins."""


def body_of(
    contents: MessageContents,
    *,
    node_id_length: int = 16,
    models: Models = REGISTERED_MODELS,
    topology: Mapping[MessageCode, type[Struct]] = MappingProxyType({}),
) -> Struct:
    """The decoded body; UnknownBody for a message code without a structure. `topology` are the bodies of a topology's
    messages. Raises DecodeError.
    """
    structure = BODIES.get(contents.message_code) or topology.get(contents.message_code, UnknownBody)
    return structure.decode(contents.message_body, node_id_length=node_id_length, models=models)


def signature_input(overlay: int, transaction_id: int, contents_bytes: bytes) -> bytes:
    """What a message's signature covers, but for the SignerIdentity that is appended to it (section 6.3.4).

    "overlay || transaction_id || MessageContents || SignerIdentity"
    """
    return overlay.to_bytes(4, "big") + transaction_id.to_bytes(8, "big") + contents_bytes


class Assembled(bytes):
    """A message that was put together in this process: who gets it over a direct link need not take it apart."""

    header: ForwardingHeader
    payload: bytes


class SignedPayload(bytes):
    """Contents and security block as they were signed in this process: who gets the very same need not decode them."""

    contents_bytes: bytes
    contents: MessageContents
    certificates: tuple[GenericCertificate, ...]
    signature: Signature

    @classmethod
    def of(
        cls,
        contents: MessageContents,
        contents_bytes: bytes,
        bucket: tuple[GenericCertificate, ...],
        by: Signature,
        block: bytes,
    ) -> SignedPayload:
        """The payload whose contents `by` is the signature of; `block` is the SecurityBlock of the two."""
        made = cls(contents_bytes + block)
        made.contents, made.contents_bytes = contents, contents_bytes
        made.certificates, made.signature = bucket, by
        return made


def split(data: bytes, *, node_id_length: int = 16) -> tuple[ForwardingHeader, bytes]:
    """The forwarding header and the payload behind it, which a forwarding peer does not look into."""
    header, end = ForwardingHeader.decode_prefix(data, node_id_length=node_id_length)
    if header.length != len(data):
        error = DecodeError(f"the message has {len(data)} bytes, its header says {header.length}", 0)
        raise error.inside("ForwardingHeader.length")
    return header, data[end:]


def parts_of(data: bytes, *, node_id_length: int = 16) -> tuple[ForwardingHeader, bytes]:
    """The same of what came over a link: if it was put together here, it is at hand."""
    if isinstance(data, Assembled):
        return data.header, data.payload
    return split(data, node_id_length=node_id_length)


def join(header: ForwardingHeader, payload: bytes) -> bytes:
    """The message or fragment, with its length filled in."""
    head = bytearray()
    header.encode_to(head)
    size = len(head) + len(payload)
    head[LENGTH_FIELD] = size.to_bytes(4, "big")
    head += payload
    joined = Assembled(head)
    joined.header, joined.payload = header.altered(length=size), payload
    return joined


LENGTH_FIELD = slice(16, 20)
"""Where the forwarding header has the length of the message."""


@frozen
class Message:
    """A whole message. The contents stay the bytes that the signature covers."""

    header: ForwardingHeader
    contents_bytes: bytes
    contents: MessageContents
    security_block: SecurityBlock

    @classmethod
    def decode(cls, data: bytes, *, node_id_length: int = 16) -> Message:
        """All of `data` is one unfragmented message, or DecodeError."""
        header, payload = split(data, node_id_length=node_id_length)
        if not header.is_unfragmented:
            raise DecodeError("a fragment, not a whole message", 0).inside("ForwardingHeader.fragment")
        return cls._of_parts(header, data, len(data) - len(payload))

    @classmethod
    def of_payload(cls, header: ForwardingHeader, payload: bytes) -> Message:
        """The message whose payload, reassembled from fragments, belongs to `header`."""
        if isinstance(payload, SignedPayload):
            block = SecurityBlock.known(certificates=payload.certificates, signature=payload.signature)
            return cls(header, payload.contents_bytes, payload.contents, block)
        return cls._of_parts(header, payload, 0)

    @classmethod
    def _of_parts(cls, header: ForwardingHeader, data: bytes, start: int) -> Message:
        contents, middle = MessageContents.decode_prefix(data, start)
        security_block, end = SecurityBlock.decode_prefix(data, middle)
        if end != len(data):
            raise DecodeError(f"{len(data) - end} bytes left over", end).inside("SecurityBlock")
        return cls(header, data[start:middle], contents, security_block)

    def encode(self) -> bytes:
        """The bytes on the wire, with the header's length filled in."""
        return join(self.header, self.contents_bytes + self.security_block.encode())

    def with_header(self, header: ForwardingHeader) -> Message:
        """The same message under another header."""
        return replace(self, header=header)
