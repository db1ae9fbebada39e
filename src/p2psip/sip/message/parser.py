"""From bytes to a message (RFC 3261 sections 7 and 18.3)."""

from __future__ import annotations

import re

from p2psip.sip.message import limits
from p2psip.sip.message.errors import BadMessage
from p2psip.sip.message.field_names import KEYS, LISTS, key_of
from p2psip.sip.message.fields import Field, Fields
from p2psip.sip.message.grammar import TOKEN, parse_integer
from p2psip.sip.message.message import Message, Request, Response

# 7.1: "The SIP-Version string is case-insensitive, but implementations MUST send upper-case."; a method is as it is.
_request_line = re.compile(rf"({TOKEN}) ([^\s<>]++) (?i:SIP)/([0-9]+\.[0-9]+)")
_status_line = re.compile(r"SIP/([0-9]+\.[0-9]+) ([1-6][0-9]{2})(?: ([^\r\n]*))?", re.IGNORECASE)
_folding = re.compile(r"[ \t]*\r\n[ \t]+")
_bare_lf = re.compile(r"(?<!\r)\n")
_ANSWERABLE = ("via", "from", "to", "call-id", "cseq")


def parse(data: bytes) -> Message:
    """The message in a datagram, or one that a stream's framing has cut out.

    What a transaction needs (Via, From, To, Call-ID, CSeq, lengths) is checked here; other fields are
    checked when they are read.
    """
    head, body = _cut(data)
    lines = _lines(head)
    try:
        if len(data) > limits.MESSAGE_BYTES:
            raise BadMessage("message too long", 513)
        message = _start(lines[0], Fields(_fields(lines)))
        message.body = _body(message.fields, body)
        _check(message)
    except BadMessage as error:
        raise BadMessage(error.what, error.status, _answerable(lines)) from None
    return message


def content_length_on_stream(head: bytes) -> int:
    """The Content-Length in the head of a message, for a stream's framing. What else is wrong with it is for `parse`.

    Raises BadMessage, with the request if that can be answered, where nobody can say how long the message is.
    """
    lines = _lines(head)
    named = [line.partition(":") for line in lines[1:]]
    values = [value.strip(" \t") for name, _, value in named if _known_key(name) == "content-length"]
    try:
        length = _content_length(values)
        if length is None:
            # 18.3: "The Content-Length header field MUST be used with stream oriented transports."
            raise BadMessage("no Content-Length on a stream")
    except BadMessage as error:
        raise BadMessage(error.what, error.status, _answerable(lines)) from None
    return length


def _cut(data: bytes) -> tuple[str, bytes]:
    """Head as text and the rest. Bytes that are not UTF-8 survive the way through a `str`."""
    # 7.5: "Implementations processing SIP messages over stream-oriented transports MUST ignore any CRLF
    # appearing before the start-line"; phones send them in datagrams as well.
    data = data.lstrip(b"\r\n")
    head, blank, body = data.partition(b"\r\n\r\n")
    if not blank:
        head, blank, body = data.partition(b"\n\n")
        if not blank:
            raise BadMessage("no empty line ends the head")
    if len(head) > limits.HEAD_BYTES:
        raise BadMessage("head too long", 513)
    return head.decode("utf-8", "surrogateescape"), body


def _lines(head: str | bytes) -> list[str]:
    """Start line and header fields, each on one line."""
    text = head.decode("utf-8", "surrogateescape") if isinstance(head, bytes) else head
    if "\r\n " in text or "\r\n\t" in text or text.count("\n") != text.count("\r\n"):
        # A line that ends in a bare LF would be two lines to the next hop: make it two here already.
        text = _folding.sub(" ", _bare_lf.sub("\r\n", text))
    lines = text.split("\r\n")
    if text.count("\r") != len(lines) - 1:
        raise BadMessage("a bare CR in the head")
    return lines


def _fields(lines: list[str]) -> list[Field]:
    if len(lines) > limits.FIELDS:
        raise BadMessage(f"more than {limits.FIELDS} header fields", 513)
    fields: list[Field] = []
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon:
            raise BadMessage(f"no colon in {line[:40]!r}")
        key = KEYS.get(name)
        if key is None:
            key, name = key_of(name), name.rstrip(" \t")
        fields.append((key, name, value.strip(" \t")))
    return fields


def _start(line: str, fields: Fields) -> Message:
    match = _request_line.fullmatch(line)
    if match is not None:
        method, uri, version = match.groups()
        if version != "2.0":
            raise BadMessage(f"SIP version {version}", 505)
        return Request(method, uri, fields)
    match = _status_line.fullmatch(line)
    if match is not None and match.group(1) == "2.0":
        return Response(int(match.group(2)), match.group(3) or "", fields)
    raise BadMessage(f"malformed start line {line[:80]!r}")


def _body(fields: Fields, body: bytes) -> bytes:
    length = _content_length(fields.lines("content-length"))
    if length is None:
        # 20.14 wants it, but many phones leave it out on UDP: the datagram's end is the body's.
        return body
    # 18.3: "If the transport packet ends before the end of the message body, this is considered an error. If the
    # message is a response, it MUST be discarded. If the message is a request, the element SHOULD generate a 400".
    if length > len(body):
        raise BadMessage(f"Content-Length {length}, but only {len(body)} bytes follow")
    return body[:length] if length < len(body) else body


def _content_length(lines: list[str]) -> int | None:
    if not lines:
        return None
    if len(set(lines)) > 1:
        raise BadMessage("several Content-Lengths")
    length = parse_integer(lines[0], "Content-Length")
    if length > limits.MESSAGE_BYTES:
        raise BadMessage(f"a body of {length} bytes, the most is {limits.MESSAGE_BYTES}", 413)
    return length


def _check(message: Message) -> None:
    """What every message must have (section 8.1.1), since transactions are matched by it."""
    _ = message.via.rport, message.from_, message.to, message.call_id, message.cseq
    if isinstance(message, Request) and message.cseq.method != message.method:
        raise BadMessage(f"CSeq is for {message.cseq.method}, the request is {message.method}")


def _answerable(lines: list[str]) -> Request | None:
    """The request in `lines` as far as it can be read, if that is enough to answer it."""
    fields: list[Field] = []
    for line in lines[1:]:
        name, _, value = line.partition(":")
        key = _known_key(name)
        if key in _ANSWERABLE and (key in LISTS or all(field[0] != key for field in fields)):
            fields.append((key, name, value.strip(" \t")))
    method = lines[0].partition(" ")[0]
    # 17.1.1.3: nothing answers an ACK, and a response is not answered at all.
    if not method or method == "ACK" or method.upper().startswith("SIP/"):
        return None
    request = Request(method, "sip:invalid.invalid", Fields(fields))
    return request if _is_answerable(request) else None


def _known_key(name: str) -> str:
    """The key of a header field that we know, also where the line is none; "" for any other."""
    return KEYS.get(name.rstrip(" \t").lower(), "")


def _is_answerable(request: Request) -> bool:
    """True if an answer would find its way, and have what a response must have."""
    try:
        _ = request.vias, request.via.rport
    except BadMessage:
        return False
    return all(request.fields.first(key) for key in _ANSWERABLE)
