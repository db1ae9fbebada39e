"""Bodies that a user agent server cannot read (RFC 3261 sections 8.2.3, 20.11 and 20.12).

Session descriptions are the only bodies that anybody here reads; they are in no language, and not encoded. What has
several parts is read by nobody: it is looked at for the media keys that a caller signs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from p2psip.sip.message import grammar
from p2psip.sip.message.errors import readable
from p2psip.sip.message.headers import Disposition
from p2psip.sip.message.message import Message, Request

SDP = "application/sdp"
_DISPOSITIONS = frozenset({"session", "early-session"})
_NOT_ENCODED = "identity"

PARTS_MAX = 16
"""Parts of a multipart body that are looked at."""

DEPTH_MAX = 3
"""So many such bodies may be inside each other."""

_FOLDED = re.compile(rb"\r\n[ \t]+")
_PART_TYPE = re.compile(rb"^content-type[ \t]*:[ \t]*([^\r\n]{1,200})", re.IGNORECASE | re.MULTILINE)


def unreadable(request: Request) -> tuple[tuple[str, object], ...]:
    """The fields of the 415 that answers a body which nobody here can read; empty if it can be read, or left out."""
    # 8.2.3: "If there are any bodies whose type [...], language [...] or encoding [...] are not understood, and that
    # body part is not optional (as indicated by the Content-Disposition header field), the UAS MUST reject the request
    # with a 415 (Unsupported Media Type) response."
    if is_readable(request) or not request.body or _is_optional(request):
        return ()
    fields: list[tuple[str, object]] = []
    if not _is_understood(request):
        # "The response MUST contain an Accept header field listing the types of all bodies it understands".
        fields.append(("Accept", SDP))
    if _is_encoded(request):
        # "the response MUST contain an Accept-Encoding header field listing the encodings understood by the UAS".
        fields.append(("Accept-Encoding", _NOT_ENCODED))
    return tuple(fields)


def may_answer(request: Request) -> bool:
    """False if the sender takes no session description in the answer (sections 20.1 and 21.4.7)."""
    # 20.1: "If no Accept header field is present, the server SHOULD assume a default value of application/sdp."
    lines = request.fields.lines("accept")
    ranges = {part.partition(";")[0].strip().lower() for line in lines for part in line.split(",")}
    return not lines or not ranges.isdisjoint((SDP, "application/*", "*/*"))


def is_readable(message: Message) -> bool:
    """True if the body is a session description that can be read as it is."""
    return bool(message.body) and _is_understood(message) and not _is_encoded(message)


def _is_understood(message: Message) -> bool:
    disposition = _disposition(message)
    # 20.11: without the field "bodies of Content-Type application/sdp imply the disposition "session"".
    return message.content_type == SDP and (disposition is None or disposition.type in _DISPOSITIONS)


def _is_encoded(message: Message) -> bool:
    return any(coding.lower() != _NOT_ENCODED for coding in message.fields.tokens("content-encoding"))


def _is_optional(request: Request) -> bool:
    # 20.11: "If the handling parameter is missing, the value "required" SHOULD be assumed."
    disposition = _disposition(request)
    return disposition is not None and disposition.handling == "optional"


def _disposition(message: Message) -> Disposition | None:
    text = message.fields.first("content-disposition")
    return None if text is None else Disposition.parse(text)


def descriptions(message: Message) -> list[bytes]:
    """The session descriptions that a message has, also among the parts of its body (RFC 2046 section 5.1)."""
    return list(_descriptions(message.fields.first("content-type") or "", message.body, DEPTH_MAX))


def _descriptions(content_type: str, body: bytes, depth: int) -> Iterator[bytes]:
    kind, _, params = content_type.partition(";")
    if kind.strip().lower() == SDP:
        yield body
    elif kind.strip().lower().startswith("multipart/") and depth:
        named = readable(lambda: grammar.parse_params(f";{params}", "Content-Type"), ())
        boundary = grammar.unquote(grammar.param(named, "boundary") or "")
        for head, part in _parts(boundary, body):
            if (said := _PART_TYPE.search(_FOLDED.sub(b" ", head))) is not None:
                yield from _descriptions(said[1].decode(errors="replace"), part, depth - 1)


def _parts(boundary: str, body: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The heads and the contents of a multipart body; what comes before the first and after the last is none."""
    if not boundary:
        return
    _, *parts = (b"\r\n" + body).split(b"\r\n--" + boundary.encode(errors="surrogateescape"), PARTS_MAX + 1)
    for part in parts[:PARTS_MAX]:
        if part.startswith(b"--"):
            return
        # Without a head of its own a part begins with the empty line.
        head, _, content = part.partition(b"\r\n\r\n")
        yield head, content
