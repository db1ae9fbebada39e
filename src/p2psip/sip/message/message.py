"""Requests and responses (RFC 3261 section 7)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Generic, Self, TypeVar, overload

from p2psip.sip.message import grammar
from p2psip.sip.message.errors import BadMessage
from p2psip.sip.message.fields import Fields
from p2psip.sip.message.headers import CSeq, Event, NameAddr, Reason, Via
from p2psip.sip.message.uri import SipUri, Uri, parse_uri

T = TypeVar("T")

_RETRY_AFTER = re.compile(r"([0-9]{1,10})\s*(?=[(;]|$)")


class lazy(Generic[T]):  # noqa: N801 - reads as a decorator
    """A value read from the fields when it is first asked for, then kept."""

    def __init__(self, compute: Callable[..., T]) -> None:
        self._compute = compute
        self.__doc__ = compute.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> lazy[T]: ...
    @overload
    def __get__(self, instance: object, owner: type) -> T: ...
    def __get__(self, instance: object | None, owner: type) -> T | lazy[T]:
        if instance is None:
            return self
        value = instance.__dict__[self._name] = self._compute(instance)
        return value


class Message:
    """What requests and responses share. Not changed after it is made; `replace` makes another."""

    def __init__(self, fields: Fields, body: bytes = b"") -> None:
        self.fields = fields
        self.body = body

    @lazy
    def vias(self) -> tuple[Via, ...]:
        """All Via values, the latest hop first."""
        first, *rest = self.fields.values("via") or [""]
        return (self.via, *[Via.parse(value) for value in rest]) if first else ()

    @lazy
    def via(self) -> Via:
        """The topmost Via: the hop that the message came from."""
        line = self.fields.first("via")
        if line is None:
            raise BadMessage("no Via")
        return Via.parse(grammar.split_list(line)[0])

    @lazy
    def from_(self) -> NameAddr:
        """The logical sender (section 20.20)."""
        return NameAddr.parse(self._required("from"), "From")

    @lazy
    def to(self) -> NameAddr:
        """The logical recipient (section 20.39)."""
        return NameAddr.parse(self._required("to"), "To")

    @lazy
    def call_id(self) -> str:
        """The Call-ID (section 20.8)."""
        return self._required("call-id")

    @lazy
    def cseq(self) -> CSeq:
        """The CSeq (section 20.16)."""
        return CSeq.parse(self._required("cseq"))

    @lazy
    def contacts(self) -> tuple[NameAddr, ...]:
        """The Contact values; `*` is not among them, see `has_star_contact`."""
        return self._addresses("contact", "Contact")

    @lazy
    def has_star_contact(self) -> bool:
        """True if Contact is `*` (section 10.2.2)."""
        return "*" in self.fields.lines("contact")

    @lazy
    def routes(self) -> tuple[NameAddr, ...]:
        """The Route values (section 20.34)."""
        return self._addresses("route", "Route")

    @lazy
    def record_routes(self) -> tuple[NameAddr, ...]:
        """The Record-Route values (section 20.30)."""
        return self._addresses("record-route", "Record-Route")

    @lazy
    def path(self) -> tuple[NameAddr, ...]:
        """The Path values: the proxies on the way to a phone, the one that is nearest to us first (RFC 3327)."""
        return self._addresses("path", "Path")

    @lazy
    def max_forwards(self) -> int | None:
        """Max-Forwards (section 20.22), None if it is absent."""
        return self.integer("max-forwards")

    @lazy
    def expires(self) -> int | None:
        """Expires in seconds; None if it is absent or malformed, which 10.2.1.1 treats alike."""
        value = self.fields.first("expires")
        try:
            return None if value is None else grammar.parse_integer(value, "expires")
        except BadMessage:
            return None

    @lazy
    def retry_after(self) -> int | None:
        """Retry-After in seconds (section 20.33), without what may follow them; None if it is absent or malformed."""
        found = _RETRY_AFTER.match(self.fields.first("retry-after") or "")
        return None if found is None else int(found[1])

    @lazy
    def reasons(self) -> tuple[Reason, ...]:
        """The Reason values (RFC 3326)."""
        return tuple([Reason.parse(value) for value in self.fields.values("reason")])

    @lazy
    def event(self) -> Event | None:
        """The Event (RFC 6665 section 8.2.1), None if it is absent."""
        value = self.fields.only("event")
        return None if value is None else Event.parse(value)

    @property
    def content_type(self) -> str:
        """The media type of the body in lower case, without parameters."""
        return (self.fields.first("content-type") or "").partition(";")[0].strip().lower()

    def integer(self, key: str) -> int | None:
        """A field that is one number."""
        value = self.fields.only(key)
        return None if value is None else grammar.parse_integer(value, key)

    def start_line(self) -> str:
        """The first line, without its end."""
        raise NotImplementedError

    def with_top_via(self, via: Via) -> Self:
        """A copy with another topmost Via; what was read from the other fields is kept."""
        return self._with_via(via, self.fields.with_first_replaced("Via", via))

    def with_new_via(self, via: Via) -> Self:
        """A copy with one more Via on top; what was read from the other fields is kept."""
        return self._with_via(via, self.fields.with_first("Via", via))

    def encode(self) -> bytes:
        """The message as it goes over the wire, with the Content-Length of its body."""
        lines = [self.start_line()]
        length: str | None = str(len(self.body))
        for key, name, value in self.fields:
            if key != "content-length":
                lines.append(f"{name}: {value}")
            elif length is not None:
                lines.append(f"{name}: {length}")
                length = None
        lines.append("\r\n" if length is None else f"Content-Length: {length}\r\n\r\n")
        return "\r\n".join(lines).encode("utf-8", "surrogateescape") + self.body

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Message) and self.encode() == other.encode()

    def __hash__(self) -> int:
        return hash((self.fields, self.body))

    def __repr__(self) -> str:
        return f"<{self.start_line()}>"

    def _with_via(self, via: Via, fields: Fields) -> Self:
        copy = object.__new__(type(self))
        copy.__dict__.update(self.__dict__)
        copy.__dict__.pop("vias", None)
        copy.__dict__["via"] = via
        copy.fields = fields
        return copy

    def _required(self, key: str) -> str:
        value = self.fields.only(key)
        if not value:
            raise BadMessage(f"no {key}")
        return value

    def _addresses(self, key: str, what: str) -> tuple[NameAddr, ...]:
        return tuple([NameAddr.parse(value, what) for value in self.fields.values(key) if value != "*"])


STANDALONE = frozenset({"MESSAGE", "PUBLISH"})
"""Requests that are taken for what they say."""


class Request(Message):
    """A request; `uri_text` is the Request-URI as it came (section 7.1)."""

    def __init__(self, method: str, uri: str | Uri, fields: Fields, body: bytes = b"") -> None:
        super().__init__(fields, body)
        self.method = method
        self.uri_text = str(uri)

    @lazy
    def uri(self) -> Uri:
        """The Request-URI."""
        return parse_uri(self.uri_text)

    @property
    def sip_uri(self) -> SipUri:
        """The Request-URI, which must be a SIP URI here; 416 otherwise (section 8.2.2.1)."""
        uri = self.uri
        if not isinstance(uri, SipUri):
            raise BadMessage(f"Request-URI {self.uri_text[:80]!r} is not a SIP URI", status=416, request=self)
        return uri

    @property
    def begins(self) -> bool:
        """True for what is no part of a dialog that has been set up, whatever tag it has.

        RFC 3428, abstract: "under normal usage each Instant Message stands alone, much like pager messages"; phones
        show one whose dialog they do not know. A PUBLISH is about no dialog either (RFC 3903).
        """
        return not self.to.tag or self.method in STANDALONE

    def start_line(self) -> str:
        """The Request-Line."""
        return f"{self.method} {self.uri_text} SIP/2.0"

    def replace(
        self, *, uri: str | Uri | None = None, fields: Fields | None = None, body: bytes | None = None
    ) -> Request:
        """A copy with another Request-URI, other fields or another body; itself, with what it has read of its fields,
        if it is given nothing but those that it has.
        """
        if uri is None and body is None and (fields is None or fields is self.fields):
            return self
        return Request(
            self.method,
            self.uri_text if uri is None else uri,
            self.fields if fields is None else fields,
            self.body if body is None else body,
        )


class Response(Message):
    """A response (section 7.2)."""

    def __init__(self, status: int, phrase: str, fields: Fields, body: bytes = b"") -> None:
        super().__init__(fields, body)
        self.status = status
        self.phrase = phrase

    @property
    def is_provisional(self) -> bool:
        """1xx."""
        return self.status < 200

    @property
    def is_success(self) -> bool:
        """2xx."""
        return 200 <= self.status < 300

    def start_line(self) -> str:
        """The Status-Line."""
        return f"SIP/2.0 {self.status} {self.phrase}"

    def replace(
        self,
        *,
        status: int | None = None,
        phrase: str | None = None,
        fields: Fields | None = None,
        body: bytes | None = None,
    ) -> Response:
        """A copy with another status, other fields or another body; itself, if it is given nothing but its fields."""
        if status is None and phrase is None and body is None and (fields is None or fields is self.fields):
            return self
        return Response(
            self.status if status is None else status,
            self.phrase if phrase is None else phrase,
            self.fields if fields is None else fields,
            self.body if body is None else body,
        )
