"""How messages find their transaction (RFC 3261 sections 17.1.3 and 17.2.3)."""

from __future__ import annotations

import hashlib
from typing import TypeAlias

from p2psip.sip.message.headers import MAGIC_COOKIE, Via
from p2psip.sip.message.message import Request
from p2psip.sip.transports.hops import Source

Key: TypeAlias = tuple[str | int | None, ...]


def server_key(request: Request, source: Source) -> Key:
    """The server transaction that a request belongs to.

    The sender's address is part of it, so that nobody who learns a branch can take part from elsewhere.
    """
    via = request.via
    method = "INVITE" if request.method == "ACK" else request.method
    if via.has_magic_cookie:
        # 17.2.3: branch, sent-by and method, "except for ACK, where the method of the request that created the
        # transaction is INVITE".
        return (via.branch, via.host, via.port, method, _sender(source))
    # RFC 2543: Request-URI, From tag, Call-ID, CSeq number and topmost Via. The To tag is left out, since the ACK
    # and a retransmitted INVITE differ in it.
    return (request.uri_text, *_call(request), str(via), method, _sender(source))


def invite_key(request: Request, source: Source) -> Key:
    """The INVITE that a CANCEL means, for both.

    Without sent-by: a phone that learns from a response how it looks from outside may write that into its CANCEL
    already, and the other side would ring on. What else section 9.1 has both have in common makes up for it.
    """
    return (request.via.branch, *_call(request), _sender(source))


def client_key(branch: str, method: str) -> Key:
    """The client transaction of a request of ours, found by a response's topmost Via and CSeq (section 17.1.3)."""
    return (branch, method)


def is_from(via: Via, ours: Via) -> bool:
    """True if a response that has our branch answers what we have sent with the Via `ours`."""
    # 18.1.2: "If the value of the "sent-by" parameter in that header field value does not correspond to a value that
    # the client transport is configured to insert into requests, the response MUST be silently discarded."
    return (via.host, via.port or ours.port) == (ours.host, ours.port)


def branch_of(request: Request) -> str:
    """The branch with which a request is passed on without a transaction."""
    # 16.11: "the branch parameter MUST be computed as a combinatoric function of message parameters which are
    # invariant on retransmission."
    parts = (request.via.branch, request.via.sent_by, request.uri_text, *map(str, _call(request)), request.to.tag)
    text = "|".join(parts).encode("utf-8", "surrogateescape")
    return f"{MAGIC_COOKIE}{hashlib.blake2b(text, digest_size=8).hexdigest()}"


def _call(request: Request) -> Key:
    return (request.from_.tag, request.call_id, request.cseq.number)


def _sender(source: Source) -> str:
    return source.peer or source.remote.host
