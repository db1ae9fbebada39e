"""Making messages of one's own (RFC 3261 sections 8.1.1, 8.2.6 and 9.1, 17.1.1.3)."""

from __future__ import annotations

from collections.abc import Iterable

from p2psip.sip.message import limits
from p2psip.sip.message.errors import BadMessage
from p2psip.sip.message.field_names import key_of
from p2psip.sip.message.fields import Field, Fields
from p2psip.sip.message.headers import CSeq, NameAddr
from p2psip.sip.message.message import Request, Response
from p2psip.sip.message.uri import Uri

PHRASES = {
    100: "Trying", 180: "Ringing", 181: "Call Is Being Forwarded", 182: "Queued", 183: "Session Progress",
    200: "OK", 202: "Accepted", 300: "Multiple Choices", 301: "Moved Permanently", 302: "Moved Temporarily",
    305: "Use Proxy", 380: "Alternative Service", 400: "Bad Request", 401: "Unauthorized", 402: "Payment Required",
    403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed", 406: "Not Acceptable",
    407: "Proxy Authentication Required", 408: "Request Timeout", 410: "Gone", 412: "Conditional Request Failed",
    413: "Request Entity Too Large", 414: "Request-URI Too Long", 415: "Unsupported Media Type",
    416: "Unsupported URI Scheme", 420: "Bad Extension",
    421: "Extension Required", 422: "Session Interval Too Small", 423: "Interval Too Brief", 430: "Flow Failed",
    439: "First Hop Lacks Outbound Support", 440: "Max-Breadth Exceeded",
    480: "Temporarily Unavailable", 481: "Call/Transaction Does Not Exist",
    482: "Loop Detected", 483: "Too Many Hops", 484: "Address Incomplete", 485: "Ambiguous", 486: "Busy Here",
    487: "Request Terminated", 488: "Not Acceptable Here", 489: "Bad Event", 491: "Request Pending",
    493: "Undecipherable", 500: "Server Internal Error", 501: "Not Implemented", 502: "Bad Gateway",
    503: "Service Unavailable", 504: "Server Time-out", 505: "Version Not Supported", 513: "Message Too Large",
    600: "Busy Everywhere", 603: "Decline", 604: "Does Not Exist Anywhere", 606: "Not Acceptable",
}  # fmt: skip
"""The reason phrases of section 21 and of the extensions that this stack knows."""

METHODS = frozenset(
    {"INVITE", "ACK", "BYE", "CANCEL", "REGISTER", "OPTIONS", "INFO", "PRACK", "UPDATE"}
    | {"SUBSCRIBE", "NOTIFY", "PUBLISH", "REFER", "MESSAGE"}
)
"""The methods that are registered; of others one can only say that one does not know them (21.5.2)."""

_COPIED = ("via", "from", "to", "call-id", "cseq")
_COPIED_TO_100 = (*_COPIED, "timestamp")
_COPIED_TO_DIALOG = (*_COPIED, "record-route")


def phrase_of(status: int) -> str:
    """The reason phrase for a status code."""
    return PHRASES.get(status, "Unknown")


def make_request(
    method: str,
    uri: str | Uri,
    *,
    from_: NameAddr,
    to: NameAddr,
    call_id: str,
    cseq: int,
    routes: Iterable[NameAddr] = (),
    extra: Iterable[tuple[str, object]] = (),
    body: bytes = b"",
) -> Request:
    """A request as section 8.1.1 wants it, all but the Via, which the transaction layer puts on top."""
    fields = Fields.of(
        *(("Route", route) for route in routes),
        ("Max-Forwards", limits.MAX_FORWARDS),
        ("From", from_),
        ("To", to),
        ("Call-ID", call_id),
        ("CSeq", CSeq(cseq, method)),
        *extra,
    )
    return Request(method, uri, fields, body)


def make_response(
    request: Request,
    status: int,
    phrase: str | None = None,
    *,
    to_tag: str,
    extra: Iterable[tuple[str, object]] = (),
    body: bytes = b"",
) -> Response:
    """The response to a request (section 8.2.6.2). `to_tag` is for where the request has none."""
    # 8.2.6.2: "the UAS MUST add a tag to the To header field in the response (with the exception of the 100 (Trying)
    # response, in which a tag MAY be present)": who makes a response cannot leave it out.
    assert to_tag, "a response has a tag in To"
    # 12.1.1: "the UAS MUST copy all Record-Route header field values from the request into the response"; 10.3:
    # "Registrars MUST NOT include a Record-Route header field in any response to a REGISTER request."
    makes_dialog = status < 300 and request.method != "REGISTER"
    copied = _copied(request, _COPIED_TO_DIALOG if makes_dialog else _COPIED)
    copied = [_with_tag(field, to_tag) if field[0] == "to" else field for field in copied]
    copied += [(key_of(name), name, str(value)) for name, value in extra]
    return Response(status, phrase_of(status) if phrase is None else phrase, Fields(copied), body)


def make_trying(request: Request, delay_s: float = 0.0) -> Response:
    """The 100 to a request that came `delay_s` ago (section 8.2.6.1)."""
    # 8.2.6.1: "Any Timestamp header field present in the request MUST be copied into this 100 (Trying) response. If
    # there is a delay in generating the response, the UAS SHOULD add a delay value into the Timestamp value".
    fields = Fields(_copied(request, _COPIED_TO_100))
    sent_at = (fields.first("timestamp") or "").split()
    if delay_s and sent_at:
        fields = fields.with_only("Timestamp", f"{sent_at[0]} {delay_s:g}")
    return Response(100, phrase_of(100), fields)


def make_cancel(invite: Request, extra: Iterable[tuple[str, object]] = ()) -> Request:
    """The CANCEL for a request as it was sent, its Via included (section 9.1)."""
    return _companion("CANCEL", invite, invite.fields.first("to") or "", extra)


def make_ack(invite: Request, response: Response) -> Request:
    """The ACK for a final response other than 2xx, from the client transaction (section 17.1.1.3)."""
    return _companion("ACK", invite, response.fields.first("to") or "", ())


def _companion(method: str, invite: Request, to: str, extra: Iterable[tuple[str, object]]) -> Request:
    # 17.1.1.3: "The ACK MUST contain a single Via header field, and this MUST be equal to the top Via header field of
    # the original request", and its Route header fields.
    fields = Fields.of(
        ("Via", invite.via),
        *(("Route", line) for line in invite.fields.lines("route")),
        ("Max-Forwards", limits.MAX_FORWARDS),
        ("From", invite.fields.first("from") or ""),
        ("To", to),
        ("Call-ID", invite.call_id),
        ("CSeq", CSeq(invite.cseq.number, method)),
        *extra,
    )
    return Request(method, invite.uri_text, fields)


def _copied(request: Request, keys: tuple[str, ...]) -> list[Field]:
    return [field for field in request.fields if field[0] in keys]


def _with_tag(field: Field, tag: str) -> Field:
    key, name, value = field
    # The text is kept as it came: some phones compare it byte by byte. Without <> a parameter is the header's too.
    return field if _has_tag(value) else (key, name, f"{value};tag={tag}")


def _has_tag(to: str) -> bool:
    """False also for what cannot be read: it goes back as it came, our tag after it."""
    try:
        return bool(NameAddr.parse(to, "To").tag)
    except BadMessage:
        return False
