"""How messages find their transaction (RFC 3261 sections 17.1.3 and 17.2.3)."""

from __future__ import annotations

from typing import TypeAlias

from p2psip.sip.message.message import Request
from p2psip.sip.transports.hops import Source

Key: TypeAlias = tuple[str | int | None, ...]


def server_key(request: Request, source: Source, method: str | None = None) -> Key:
    """The server transaction that a request belongs to; `method` instead of the request's for CANCEL.

    The sender's address is part of it, so that nobody who learns a branch can cancel from elsewhere.
    """
    via = request.via
    wanted = method or ("INVITE" if request.method == "ACK" else request.method)
    sender = source.peer or source.remote.host
    if via.has_magic_cookie:
        # 17.2.3: branch, sent-by and method, "except for ACK, where the method of the request that created the
        # transaction is INVITE".
        return (via.branch, via.host, via.port, wanted, sender)
    # RFC 2543: Request-URI, From tag, Call-ID, CSeq number and topmost Via. The To tag is left out, since the ACK
    # and a retransmitted INVITE differ in it.
    return (request.uri_text, request.from_.tag, request.call_id, request.cseq.number, str(via), wanted, sender)


def client_key(branch: str, method: str) -> Key:
    """The client transaction of a request of ours, found by a response's topmost Via and CSeq (section 17.1.3)."""
    return (branch, method)
