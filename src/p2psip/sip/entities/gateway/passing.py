"""What of a message passes from one side of a call to the other.

A back-to-back user agent is two user agents: whatever names a dialog, a way or a person is each side's own. What the
two ends say to each other about their session passes as it is: descriptions (RFC 3264), reliable provisional responses
(RFC 3262), session timers (RFC 4028), digits (INFO, RFC 6086), and why something ended (RFC 3326).
"""

from __future__ import annotations

from collections.abc import Sequence

from p2psip.sip.message import build
from p2psip.sip.message.limits import MAX_FORWARDS
from p2psip.sip.message.message import Message, Request, Response

EXTENSIONS = frozenset({"100rel", "timer"})
"""What the two ends may agree on with each other; for all others the ends would have to be one."""

METHODS = frozenset({"INVITE", "UPDATE", "INFO", "PRACK", "OPTIONS"})
"""What passes within a dialog, beside ACK, BYE and CANCEL. REFER does not: it names what this side alone knows, and is
for the gateway itself (transferring.py)."""

REPLACES = "replaces"
"""The option of RFC 3891, for who may transfer calls."""

_ALLOWED = ("INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "INFO", "PRACK", "UPDATE")

_OF_THE_BODY = {
    "content-type": "Content-Type",
    "content-disposition": "Content-Disposition",
    "content-language": "Content-Language",
    "content-encoding": "Content-Encoding",
}

_FIELDS = {
    **_OF_THE_BODY,
    "accept": "Accept",
    "reason": "Reason",
    "rseq": "RSeq",
    "session-expires": "Session-Expires",
    "min-se": "Min-SE",
    "info-package": "Info-Package",
    "recv-info": "Recv-Info",
    "p-early-media": "P-Early-Media",
    "retry-after": "Retry-After",
    "unsupported": "Unsupported",
    "warning": "Warning",
}
"""By their keys, those that say nothing of where somebody is, and who."""

_OPTIONS = {"supported": "Supported", "require": "Require"}


def allow(*, may_transfer: bool) -> str:
    """What is said where no other side has a say; who `may_transfer` is told that it may."""
    return ", ".join(_allowed_to(_ALLOWED, may_transfer=may_transfer))


def passed(message: Message, *, may_transfer: bool) -> list[tuple[str, object]]:
    """The fields that go on to a side that may transfer the call, or may not."""
    fields: list[tuple[str, object]] = []
    for key, name in _FIELDS.items():
        fields += [(name, line) for line in message.fields.lines(key)]
    for key, name in _OPTIONS.items():
        tokens = [token for token in message.fields.tokens(key) if token.lower() in EXTENSIONS]
        tokens += [REPLACES] if may_transfer and key == "supported" else []
        fields += [(name, ", ".join(tokens))] if tokens else []
    said = message.fields.tokens("allow")
    # RFC 3261 20.5: "All methods, including ACK and CANCEL, understood by the UA MUST be included"; of the one that is
    # asked that is what it understands and what gets there. Who does not say "is not providing any information".
    allowed = _allowed_to([method for method in _ALLOWED if method in said], may_transfer=may_transfer)
    return [*fields, ("Allow", ", ".join(allowed))] if said and allowed else fields


def describing(message: Message) -> list[tuple[str, object]]:
    """The fields that say what the body is."""
    return [(name, line) for key, name in _OF_THE_BODY.items() for line in message.fields.lines(key)]


def unsupported(request: Request, *, may_transfer: bool) -> list[str]:
    """What a request requires that does not pass (RFC 3261 section 8.2.2.3), of a side that may transfer or not."""
    known = EXTENSIONS | {REPLACES} if may_transfer else EXTENSIONS
    return [option for option in request.fields.tokens("require") if option.lower() not in known]


def hops_left(request: Request) -> int:
    """The Max-Forwards that is left: a call that goes round through gateways is to end."""
    return MAX_FORWARDS if request.max_forwards is None else max(0, request.max_forwards - 1)


def acknowledging(request: Request, cseq: int) -> str:
    """The RAck of a PRACK, for an INVITE that has the number `cseq` on the other side (RFC 3262 section 7.2)."""
    number, _, _ = (request.fields.first("rack") or "").partition(" ")
    return f"{number} {cseq} INVITE"


def acknowledged(request: Request) -> int | None:
    """The number of the INVITE whose response a PRACK acknowledges; None if it does not say."""
    parts = (request.fields.first("rack") or "").split()
    is_one = len(parts) == 3 and all(part.isascii() and part.isdigit() and len(part) <= 10 for part in parts[:2])
    return int(parts[1]) if is_one else None


def refusal(response: Response) -> tuple[int, str]:
    """Status and phrase of a refusal, for the other side: what only this side could act upon says something else."""
    if response.status < 400:
        return 480, build.phrase_of(480)
    if response.status in (401, 407):
        return 502, build.phrase_of(502)
    return response.status, response.phrase


def _allowed_to(methods: Sequence[str], *, may_transfer: bool) -> tuple[str, ...]:
    return (*methods, "REFER") if may_transfer else tuple(methods)
