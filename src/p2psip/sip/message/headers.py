"""Parsed header field values, one small frozen class each (RFC 3261 section 20)."""

from __future__ import annotations

import re
from functools import lru_cache

import msgspec

from p2psip.sip.message import grammar
from p2psip.sip.message.errors import BadMessage
from p2psip.sip.message.grammar import HOST, QUOTED, TOKEN, Params, format_params, param, parse_params
from p2psip.sip.message.uri import REMEMBERED_CHARACTERS, SipUri, Uri, parse_uri

MAGIC_COOKIE = "z9hG4bK"
"""What the branch of a transaction identifier of RFC 3261 starts with (section 8.1.1.7)."""

_via = re.compile(
    rf"SIP[ \t]*/[ \t]*([0-9.]+)[ \t]*/[ \t]*({TOKEN})[ \t]+({HOST})"
    r"(?:[ \t]*:[ \t]*([0-9]{1,5}))?[ \t]*((?:;[\s\S]*)?)",
    re.IGNORECASE,
)
_cseq = re.compile(rf"([0-9]+)[ \t]+({TOKEN})")
# Display names in the wild hold more than tokens (dots, umlauts); only what would confuse the rest is refused.
_name_addr = re.compile(rf"({QUOTED}|[^\"<>,;]*+)[ \t]*<[ \t]*([^<>]+?)[ \t]*>[ \t]*((?:;[\s\S]*)?)")
_addr_spec = re.compile(r"([^<>\",;?\s]++)[ \t]*((?:;[\s\S]*)?)")
_auth_scheme = re.compile(rf"({TOKEN})[ \t]+")
_auth_param = re.compile(rf"[ \t,]*({TOKEN})[ \t]*=[ \t]*({QUOTED}|[^\",\s]*+)[ \t]*(?:,|$)")
_token_params = re.compile(rf"({TOKEN})[ \t]*((?:;[\s\S]*)?)")


class Via(msgspec.Struct, frozen=True, gc=False):
    """A hop that a request took (section 20.42, and RFC 3581)."""

    transport: str
    host: str
    port: int | None = None
    params: Params = ()
    version: str = "2.0"

    @classmethod
    def parse(cls, text: str) -> Via:
        """One Via value."""
        match = _via.fullmatch(text)
        if match is None:
            raise BadMessage(f"malformed Via {text[:80]!r}")
        version, transport, host, port, params = match.groups()
        number = int(port) if port else None
        if number is not None and number > 65_535:
            raise BadMessage(f"port {number} in a Via")
        return cls(transport.upper(), host.lower(), number, parse_params(params, "Via"), version)

    @property
    def branch(self) -> str:
        """The branch; "" if there is none (RFC 2543)."""
        return param(self.params, "branch") or ""

    @property
    def has_magic_cookie(self) -> bool:
        """True if the branch is a transaction identifier (section 8.1.1.7)."""
        # 3.2.1 of RFC 4475: the bare cookie identifies nothing.
        branch = self.branch
        return branch.startswith(MAGIC_COOKIE) and len(branch) > len(MAGIC_COOKIE)

    @property
    def received(self) -> str | None:
        """The address that the request came from, if the receiver noted one."""
        return param(self.params, "received") or None

    @property
    def rport(self) -> int | None:
        """The port that the request came from (RFC 3581); 0 if it was asked for and not yet filled in."""
        value = param(self.params, "rport")
        if value is None:
            return None
        return grammar.parse_integer(value, "rport", 65_535) if value else 0

    @property
    def sent_by(self) -> str:
        """`host[:port]`, for matching (section 17.2.3)."""
        return self.host if self.port is None else f"{self.host}:{self.port}"

    def with_param(self, name: str, value: str | None) -> Via:
        """A copy with a parameter set."""
        return Via(self.transport, self.host, self.port, grammar.with_param(self.params, name, value), self.version)

    def __str__(self) -> str:
        return f"SIP/{self.version}/{self.transport} {self.sent_by}{format_params(self.params)}"


class CSeq(msgspec.Struct, frozen=True, gc=False):
    """The order of a request in its dialog (section 20.16)."""

    number: int
    method: str

    @classmethod
    def parse(cls, text: str) -> CSeq:
        """`314159 INVITE`."""
        match = _cseq.fullmatch(text)
        if match is None:
            raise BadMessage(f"malformed CSeq {text[:40]!r}")
        return cls(grammar.parse_integer(match.group(1), "CSeq"), match.group(2))

    def __str__(self) -> str:
        return f"{self.number} {self.method}"


class NameAddr(msgspec.Struct, frozen=True, gc=False):
    """A URI with a display name and header parameters: From, To, Contact, Route, Record-Route ..."""

    uri: Uri
    display_name: str = ""
    params: Params = ()

    @classmethod
    def parse(cls, text: str, what: str = "address") -> NameAddr:
        """`"Name" <sip:user@host>;tag=x`, or a bare URI whose parameters are then the header's (section 20)."""
        return _parse_short_address(text, what) if len(text) <= REMEMBERED_CHARACTERS else cls._parse(text, what)

    @classmethod
    def _parse(cls, text: str, what: str) -> NameAddr:
        match = _name_addr.fullmatch(text)
        if match is not None:
            name, uri, params = match.groups()
            return cls(parse_uri(uri), grammar.unquote(name.strip()), parse_params(params, what))
        match = _addr_spec.fullmatch(text)
        if match is None:
            raise BadMessage(f"malformed {what} {text[:80]!r}")
        return cls(parse_uri(match.group(1)), "", parse_params(match.group(2), what))

    @property
    def tag(self) -> str:
        """The tag; "" if there is none."""
        return param(self.params, "tag") or ""

    @property
    def sip_uri(self) -> SipUri:
        """The URI, which must be a SIP URI here."""
        if not isinstance(self.uri, SipUri):
            raise BadMessage(f"{str(self.uri)[:80]!r} is not a SIP URI")
        return self.uri

    def param(self, name: str) -> str | None:
        """A header parameter; "" if it has no value, None if it is absent."""
        return param(self.params, name)

    def with_param(self, name: str, value: str | None) -> NameAddr:
        """A copy with a header parameter set."""
        return NameAddr(self.uri, self.display_name, grammar.with_param(self.params, name, value))

    def with_tag(self, tag: str) -> NameAddr:
        """A copy with that tag."""
        return self.with_param("tag", tag)

    def __str__(self) -> str:
        name = f"{grammar.quote(self.display_name)} " if self.display_name else ""
        return f"{name}<{self.uri}>{format_params(self.params)}"


_parse_short_address = lru_cache(maxsize=4096)(NameAddr._parse)


class AuthParams(msgspec.Struct, frozen=True, gc=False):
    """A challenge or credentials: WWW-Authenticate, Authorization and their Proxy- siblings (RFC 7616 section 3.3 f.).

    Parameter values keep their quotes, so that what must not be quoted is not.
    """

    scheme: str
    params: dict[str, str] = {}

    @classmethod
    def parse(cls, text: str) -> AuthParams:
        """`Digest realm="atlanta", nonce=...`."""
        match = _auth_scheme.match(text)
        if match is None:
            raise BadMessage("malformed authentication field")
        params: dict[str, str] = {}
        at = match.end()
        while at < len(text):
            pair = _auth_param.match(text, at)
            if pair is None:
                # 22.4 knows Digest only; RFC 4475 section 3.3.7: another scheme is not an error, it is just not ours.
                if match.group(1).lower() == "digest":
                    raise BadMessage(f"malformed Digest parameter at {text[at:][:40]!r}")
                return cls(match.group(1))
            params.setdefault(pair.group(1).lower(), pair.group(2))
            at = pair.end()
        return cls(match.group(1), params)

    @property
    def is_digest(self) -> bool:
        """True for the one scheme that SIP has left (section 22)."""
        return self.scheme.lower() == "digest"

    def get(self, name: str) -> str:
        """A parameter without its quotes; "" if it is absent."""
        return grammar.unquote(self.params.get(name, ""))

    def __str__(self) -> str:
        return f"{self.scheme} " + ", ".join([f"{name}={value}" for name, value in self.params.items()])


class Disposition(msgspec.Struct, frozen=True, gc=False):
    """What a body is for, and what to do if that is not understood (section 20.11); both in lower case."""

    type: str
    handling: str = ""

    @classmethod
    def parse(cls, text: str) -> Disposition:
        """`session;handling=optional`."""
        match = _token_params.fullmatch(text)
        if match is None:
            raise BadMessage(f"malformed Content-Disposition {text[:40]!r}")
        params = parse_params(match.group(2), "Content-Disposition")
        return cls(match.group(1).lower(), grammar.unquote(param(params, "handling") or "").lower())


class Reason(msgspec.Struct, frozen=True, gc=False):
    """Why a request was sent or refused (RFC 3326)."""

    protocol: str
    cause: int | None = None
    text: str = ""

    @classmethod
    def parse(cls, text: str) -> Reason:
        """`SIP ;cause=480 ;text="..."`."""
        match = _token_params.fullmatch(text)
        if match is None:
            raise BadMessage(f"malformed Reason {text[:40]!r}")
        params = parse_params(match.group(2), "Reason")
        cause = param(params, "cause")
        number = grammar.parse_integer(cause, "cause") if cause else None
        return cls(match.group(1), number, grammar.unquote(param(params, "text") or ""))

    def __str__(self) -> str:
        cause = "" if self.cause is None else f";cause={self.cause}"
        text = f";text={grammar.quote(self.text)}" if self.text else ""
        return f"{self.protocol}{cause}{text}"


class Event(msgspec.Struct, frozen=True, gc=False):
    """What is subscribed to, or published: a package, and which of several subscriptions (RFC 6665 section 8.2.1).

    Two are equal if they match there: "compared byte by byte", "no other parameters are considered"; one with an `id`
    "never matches" one without.
    """

    package: str
    id: str | None = None

    @classmethod
    def parse(cls, text: str) -> Event:
        """`presence;id=1`, or with a template, `presence.winfo`."""
        match = _token_params.fullmatch(text)
        if match is None:
            raise BadMessage(f"malformed Event {text[:40]!r}")
        return cls(match.group(1), param(parse_params(match.group(2), "Event"), "id"))

    def __str__(self) -> str:
        return self.package + format_params(() if self.id is None else (("id", self.id or None),))
