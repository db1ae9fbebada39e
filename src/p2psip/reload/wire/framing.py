"""The framing header (RFC 6940 section 6.6.2), around each message on each link."""

from __future__ import annotations

from typing import Annotated

from p2psip.reload.wire.language.codec import Struct, When, structure
from p2psip.reload.wire.language.primitives import DecodeError, Opaque24, Uint, Uint32, WireEnum

DATA_HEADER_LENGTH = 8
ACK_LENGTH = 9


class FramedMessageType(WireEnum, width=1):
    """Types of FramedMessage."""

    DATA = 128
    ACK = 129


@structure
class FramedMessage(Struct):
    """What travels on a link: a message with a sequence number, or the acknowledgement of one."""

    type: FramedMessageType
    sequence: Annotated[Uint32, When("type", FramedMessageType.DATA)] = 0
    message: Annotated[Opaque24, When("type", FramedMessageType.DATA)] = b""
    ack_sequence: Annotated[Uint32, When("type", FramedMessageType.ACK)] = 0
    received: Annotated[int, Uint(4, is_hex=True), When("type", FramedMessageType.ACK)] = 0

    @classmethod
    def data(cls, sequence: int, message: bytes) -> FramedMessage:
        """A message."""
        return cls(FramedMessageType.DATA, sequence=sequence, message=message)

    @classmethod
    def ack(cls, ack_sequence: int, received: int) -> FramedMessage:
        """An acknowledgement, with the bits of those before it."""
        return cls(FramedMessageType.ACK, ack_sequence=ack_sequence, received=received)


def frame_length(stream: bytes, offset: int = 0) -> int | None:
    """How many bytes the frame at `offset` takes; None while too few of them are there to tell."""
    if len(stream) <= offset:
        return None
    if stream[offset] == FramedMessageType.ACK:
        return ACK_LENGTH
    if stream[offset] != FramedMessageType.DATA:
        raise DecodeError(f"{stream[offset]} is no FramedMessageType", offset).inside("FramedMessage.type")
    if len(stream) < offset + DATA_HEADER_LENGTH:
        return None
    return DATA_HEADER_LENGTH + int.from_bytes(stream[offset + 5 : offset + 8], "big")
