"""Requests that come more than once (RFC 3261 section 8.2.2.2)."""

from __future__ import annotations

from p2psip.sip.message.message import Request
from p2psip.sip.message.uri import SipUri


def is_merged(request: Request, known: Request) -> bool:
    """True for what is `known` already, and has come again by another path, after somebody has forked it.

    8.2.2.2 looks at "the From tag, Call-ID, and CSeq". They are the same as well where somebody calls two of our
    numbers at once, or forwards to one of them a call that another one has refused: there the Request-URI differs, and
    that is another request. Section 6: such a spiral "is not an error condition, unlike a loop".
    """
    marks, others = ((each.call_id, each.from_.tag, each.cseq) for each in (request, known))
    return marks == others and _is_same(request, known)


def _is_same(request: Request, known: Request) -> bool:
    uri = request.uri
    return uri.matches(known.uri) if isinstance(uri, SipUri) else uri == known.uri
