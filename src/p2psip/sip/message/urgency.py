"""Which requests are of an emergency (RFC 4412, RFC 5031, RFC 7135): those for which there is room when there is none.

A request says so by whom it is for, or by the mark of a peer that has looked at that. What a phone marks itself counts
for nothing, since anybody could do that.
"""

from __future__ import annotations

from p2psip.sip.message.errors import BadMessage
from p2psip.sip.message.message import Request
from p2psip.sip.message.uri import OtherUri, SipUri, TelUri

SOS = "urn:service:sos"
"""RFC 5031 section 4.2: emergency services; `.police`, `.fire` and others may stand behind it."""

RESOURCE_PRIORITY = "Resource-Priority"
MARK = "esnet.0"
"""What peers write (RFC 7135); they take any value of that namespace."""

_NAMESPACE = "esnet."


def is_sos(service: str) -> bool:
    """True for the URN of an emergency service, in lower case."""
    return service == SOS or service.startswith(f"{SOS}.")


def is_marked(request: Request) -> bool:
    """True if a peer says so: the one that has it from its sender, or this one."""
    return any(value.lower().startswith(_NAMESPACE) for value in request.fields.tokens(RESOURCE_PRIORITY.lower()))


def is_urgent(request: Request, numbers: frozenset[str]) -> bool:
    """True for a request that there must be room for; `numbers` are emergency numbers as they are dialled."""
    try:
        uri = request.uri
    except BadMessage:
        return False
    match uri:
        case SipUri():
            is_meant = uri.subscriber.digits in numbers or is_sos(uri.user_name.lower())
        case TelUri():
            is_meant = uri.digits in numbers
        case OtherUri(scheme, rest):
            is_meant = is_sos(f"{scheme}:{rest}".lower())
    return is_meant or is_marked(request)
