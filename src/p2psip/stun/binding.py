"""The limited STUN server that stands on a SIP port for keep-alives (RFC 5626 section 8, RFC 8489 section 6.3).

It keeps no state and asks nobody who he is; an answer is at most some bytes longer than the question, so that nothing
is gained by asking in another's name.
"""

from __future__ import annotations

from p2psip.base.address import Address
from p2psip.stun.attributes import ERROR_CODE, UNKNOWN_ATTRIBUTES, XOR_MAPPED_ADDRESS, StunErrorCode
from p2psip.stun.message import BINDING, AttributeType, MessageClass, NotStun, StunMessage, decode

KNOWN = frozenset(
    (
        AttributeType.MAPPED_ADDRESS,
        AttributeType.USERNAME,
        AttributeType.MESSAGE_INTEGRITY,
        AttributeType.ERROR_CODE,
        AttributeType.UNKNOWN_ATTRIBUTES,
        AttributeType.REALM,
        AttributeType.NONCE,
        AttributeType.MESSAGE_INTEGRITY_SHA256,
        AttributeType.PASSWORD_ALGORITHM,
        AttributeType.USERHASH,
        AttributeType.XOR_MAPPED_ADDRESS,
    )
)
"""Those of RFC 8489. Whoever asks for more, for another address to answer (RFC 5780) or a relay, is told that it is not
here."""

UNKNOWN_NAMED_MAX = 4
"""How many unknown attributes an answer names."""


def answer_binding(data: bytes, remote: Address, known: frozenset[int] = KNOWN) -> bytes | None:
    """The answer to a Binding request that came from `remote`, of whose attributes these are `known`; None for whatever
    else it is.
    """
    try:
        request = decode(data)
    except NotStun:
        return None
    if (request.message_class, request.method) != (MessageClass.REQUEST, BINDING):
        return None
    if unknown := request.unknown(known):
        # 6.3.1: "If the request contains one or more unknown comprehension-required attributes, the server replies
        # with an error response with an error code of 420 (Unknown Attribute), and includes an UNKNOWN-ATTRIBUTES".
        refusal = (
            ERROR_CODE.of(StunErrorCode(420, "Unknown Attribute")),
            UNKNOWN_ATTRIBUTES.of(unknown[:UNKNOWN_NAMED_MAX]),
        )
        return _answer(request, MessageClass.ERROR, refusal)
    # RFC 5626 section 8: "a Binding Response that MUST include the XOR-MAPPED-ADDRESS attribute".
    return _answer(request, MessageClass.SUCCESS, (XOR_MAPPED_ADDRESS.of(remote, request.transaction),))


def _answer(request: StunMessage, message_class: MessageClass, attributes: tuple[tuple[int, bytes], ...]) -> bytes:
    return StunMessage(message_class, BINDING, request.transaction, attributes, request.has_fingerprint).encode()
