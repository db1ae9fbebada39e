"""The limited STUN server that stands on a SIP port for keep-alives (RFC 5626 section 8, RFC 8489 section 6.3).

It keeps no state and asks nobody who he is; an answer is at most some bytes longer than the question, so that nothing
is gained by asking in another's name.
"""

from __future__ import annotations

from p2psip.base.address import Address
from p2psip.stun.message import (
    BINDING,
    AttributeType,
    MessageClass,
    NotStun,
    StunMessage,
    decode,
    error_code,
    xor_address,
)

_KNOWN = frozenset(int(kind) for kind in AttributeType)
_OPTIONAL = 0x8000
"""Section 14: attributes from here on may be ignored by who does not know them."""

_REFUSED_MAX = 4
"""How many unknown attributes an answer names."""


def answer_binding(data: bytes, remote: Address) -> bytes | None:
    """The answer to a Binding request that came from `remote`; None for whatever else it is."""
    try:
        request = decode(data)
    except NotStun:
        return None
    if (request.message_class, request.method) != (MessageClass.REQUEST, BINDING):
        return None
    unknown = [kind for kind, _ in request.attributes if kind < _OPTIONAL and kind not in _KNOWN]
    if unknown:
        # 6.3.1: "If the request contains one or more unknown comprehension-required attributes, the server replies
        # with an error response with an error code of 420 (Unknown Attribute), and includes an UNKNOWN-ATTRIBUTES".
        named = b"".join(kind.to_bytes(2, "big") for kind in unknown[:_REFUSED_MAX])
        refusal = (
            (AttributeType.ERROR_CODE, error_code(420, "Unknown Attribute")),
            (AttributeType.UNKNOWN_ATTRIBUTES, named),
        )
        return _answer(request, MessageClass.ERROR, refusal)
    # RFC 5626 section 8: "a Binding Response that MUST include the XOR-MAPPED-ADDRESS attribute".
    mapped = (AttributeType.XOR_MAPPED_ADDRESS, xor_address(remote, request.transaction))
    return _answer(request, MessageClass.SUCCESS, (mapped,))


def _answer(request: StunMessage, message_class: MessageClass, attributes: tuple[tuple[int, bytes], ...]) -> bytes:
    return StunMessage(message_class, BINDING, request.transaction, attributes, request.has_fingerprint).encode()
