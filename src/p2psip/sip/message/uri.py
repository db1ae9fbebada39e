"""SIP, SIPS and tel URIs (RFC 3261 section 19.1, RFC 3966)."""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from typing import TypeAlias
from urllib.parse import unquote

import msgspec

from p2psip.sip.message import limits
from p2psip.sip.message.errors import BadMessage
from p2psip.sip.message.field_names import COMPACT
from p2psip.sip.message.grammar import HOST, Params, format_params, param

_sip = re.compile(
    rf"(sips?):(?:([^@:<>\"\s]++)(?::([^@<>\"\s]*+))?@)?({HOST})(?::([0-9]{{1,5}}))?((?:;[^?<>\"\s]*+)?)(?:\?([^<>\"\s]++))?",
    re.IGNORECASE,
)
_scheme = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*):([^<>\"\s]+)")
_user_unsafe = re.compile(r"[^A-Za-z0-9\-_.!~*'()&=+$,;?/]")
_uri_parameter = re.compile(r"([^;=?]+)(?:=([^;?]*))?")
_escaped_or_not = re.compile(rb"%([0-9A-Fa-f]{2})|[\s\S]")
_STAYS_ESCAPED = frozenset(b";/?:@&=+$,%")
"""The "reserved" characters of RFC 2396, which mean something else when escaped; and the escape itself."""

_COMPARED_ALWAYS = ("transport", "user", "ttl", "method", "maddr")
"""19.1.4: what "appearing in only one URI never matches, even if it contains the default value"."""

_DEFAULT_PORTS = {"sip": 5060, "sips": 5061}
_WEB_PORTS = {"sip": 80, "sips": 443}


class SipUri(msgspec.Struct, frozen=True, gc=False):
    """A `sip:` or `sips:` URI (RFC 3261 section 19.1.1).

    `user` is kept as escaped on the wire, `user_name` is its meaning. `host` is in lower case, an
    IPv6 address keeps its brackets. `dot` is what may stand after a whole name, whose meaning it does not change
    (section 25.1: `hostname = *( domainlabel "." ) toplabel [ "." ]`): it goes on as it came.
    """

    host: str
    user: str | None = None
    port: int | None = None
    params: Params = ()
    password: str | None = None
    headers: str = ""
    scheme: str = "sip"
    dot: str = ""

    @property
    def user_name(self) -> str:
        """The user part with its escapes resolved; "" if there is none."""
        user = self.user or ""
        return unquote(user, errors="surrogateescape") if "%" in user else user

    @property
    def subscriber(self) -> TelUri:
        """The user part, read as a telephone number and its parameters (19.1.6), whether it is one or not."""
        number, *params = [unquote(part) for part in (self.user or "").split(";")]
        pairs = [param.partition("=") for param in params]
        return TelUri(number, tuple([(name.lower(), value) for name, _, value in pairs]))

    @property
    def transport(self) -> str | None:
        """The transport parameter in upper case."""
        value = param(self.params, "transport")
        return value.upper() if value else None

    @property
    def is_loose(self) -> bool:
        """True for the URI of a loose router (section 19.1.1, `lr`)."""
        return param(self.params, "lr") is not None

    @property
    def address_of_record(self) -> str:
        """`sip:user@host`, without what an AoR does not have (section 10.3, step 5)."""
        return f"sip:{escape_user(self.user_name)}@{self.host}" if self.user else f"sip:{self.host}"

    @property
    def named(self) -> SipUri:
        """Its user and host alone: who is meant, and not where he is."""
        return SipUri(self.host, self.user, scheme=self.scheme)

    @property
    def as_request_uri(self) -> SipUri:
        """This URI, of a Contact or a Route, without what a Request-URI does not have (section 19.1.1, table 1)."""
        if not self.headers and self.param("method") is None:
            return self
        return self.replace(headers="", params=tuple([pair for pair in self.params if pair[0] != "method"]))

    def param(self, name: str) -> str | None:
        """A URI parameter; "" if it has no value, None if it is absent."""
        return param(self.params, name)

    def replace(self, **changes: object) -> SipUri:
        """A copy with other fields; another host has no dot of this one's."""
        if "host" in changes:
            changes = {"dot": "", **changes}
        return msgspec.structs.replace(self, **changes)

    def matches(self, other: object) -> bool:
        """The comparison of section 19.1.4, in which unknown parameters on one side alone do not matter."""
        if not isinstance(other, SipUri):
            return False
        return self == other or (self._compared() == other._compared() and self._params_match(other))

    def _compared(self) -> tuple[object, ...]:
        """All but the parameters, with one spelling for each meaning."""
        # 19.1.4: "Comparison of the userinfo of SIP and SIPS URIs is case-sensitive. [...] Comparison of all other
        # components of the URI is case-insensitive unless explicitly defined otherwise."
        user = None if self.user is None else _one_spelling(self.user)
        password = None if self.password is None else _one_spelling(self.password)
        return (self.scheme, _one_host(self.host), self.port, user, password, _header_values(self.headers))

    def _params_match(self, other: SipUri) -> bool:
        mine, theirs = _param_values(self.params), _param_values(other.params)
        # 19.1.4: "Any uri-parameter appearing in both URIs must match."
        return all(mine.get(name) == theirs.get(name) for name in _COMPARED_ALWAYS) and all(
            theirs[name] == value for name, value in mine.items() if name in theirs
        )

    def __str__(self) -> str:
        user = "" if self.user is None else self.user
        secret = "" if self.password is None else f":{self.password}"
        at = "" if self.user is None else "@"
        port = "" if self.port is None else f":{self.port}"
        headers = f"?{self.headers}" if self.headers else ""
        return f"{self.scheme}:{user}{secret}{at}{self.host}{self.dot}{port}{format_params(self.params)}{headers}"


class TelUri(msgspec.Struct, frozen=True, gc=False):
    """A `tel:` URI (RFC 3966)."""

    number: str
    params: Params = ()

    @property
    def digits(self) -> str:
        """The number without visual separators."""
        return re.sub(r"[-.()]", "", self.number)

    def __str__(self) -> str:
        return f"tel:{self.number}{format_params(self.params)}"


class OtherUri(msgspec.Struct, frozen=True, gc=False):
    """A URI of another scheme, which SIP carries but does not route."""

    scheme: str
    rest: str

    def __str__(self) -> str:
        return f"{self.scheme}:{self.rest}"


Uri: TypeAlias = SipUri | TelUri | OtherUri


def parse_uri(text: str) -> Uri:
    """A URI without angle brackets."""
    return _parse_short(text) if len(text) <= REMEMBERED_CHARACTERS else _parse(text)


def _parse(text: str) -> Uri:
    match = _sip.fullmatch(text)
    if match is not None:
        scheme, user, password, host, port, params, headers = match.groups()
        number = int(port) if port else None
        if number is not None and number > 65_535:
            raise BadMessage(f"port {number} in a URI")
        parsed = _parse_uri_params(params) if params else ()
        host, dot = _without_dot(host.lower())
        return SipUri(host, user, number, parsed, password, headers or "", scheme.lower(), dot)
    return _parse_other(text)


# The same few URIs come in every message of a phone. Long ones are not kept, so that nobody fills the memory.
REMEMBERED_CHARACTERS = 384
_parse_short = lru_cache(maxsize=4096)(_parse)


def parse_sip_uri(text: str) -> SipUri:
    """A `sip:` or `sips:` URI."""
    uri = parse_uri(text)
    if not isinstance(uri, SipUri):
        raise BadMessage(f"{text[:80]!r} is not a SIP URI", status=416)
    return uri


def escape_user(name: str) -> str:
    """The user part of a URI that means `name`."""
    return _user_unsafe.sub(lambda match: "".join(f"%{byte:02X}" for byte in _bytes(match.group())), name)


def default_port(uri: SipUri) -> int:
    """The port that a URI without one means (RFC 3261 section 19.1.2, RFC 7118 section 5.5)."""
    if uri.port is not None:
        return uri.port
    if uri.transport == "WS":
        return _WEB_PORTS[uri.scheme]
    return 5061 if uri.transport == "TLS" else _DEFAULT_PORTS[uri.scheme]


def _parse_other(text: str) -> Uri:
    match = _scheme.fullmatch(text)
    if match is None:
        raise BadMessage(f"malformed URI {text[:80]!r}")
    scheme, rest = match.group(1).lower(), match.group(2)
    if scheme in _DEFAULT_PORTS:
        raise BadMessage(f"malformed SIP URI {text[:80]!r}")
    if scheme == "tel":
        number, semicolon, params = rest.partition(";")
        return TelUri(number, _parse_uri_params(semicolon + params))
    return OtherUri(scheme, rest)


def _parse_uri_params(text: str) -> Params:
    if not text:
        return ()
    params: list[tuple[str, str | None]] = []
    for part in text[1:].split(";"):
        match = _uri_parameter.fullmatch(part)
        if match is None:
            raise BadMessage(f"malformed URI parameter {part[:40]!r}")
        params.append((match.group(1).lower(), match.group(2)))
    if len(params) > limits.PARAMETERS:
        raise BadMessage("too many URI parameters")
    return tuple(params)


def _one_spelling(text: str) -> str:
    """The same for all texts that mean the same."""
    if "%" not in text and text.isascii():
        return text
    return _escaped_or_not.sub(_respelled, _bytes(text)).decode()


def _respelled(match: re.Match[bytes]) -> bytes:
    # 19.1.4: "Characters other than those in the "reserved" set are equivalent to their ""%" HEX HEX" encoding."
    digits = match.group(1)
    byte = int(digits, 16) if digits else match.group()[0]
    is_escaped = byte >= 0x80 or byte == ord("%") or (digits is not None and byte in _STAYS_ESCAPED)
    return b"%%%02X" % byte if is_escaped else bytes((byte,))


def _without_dot(host: str) -> tuple[str, str]:
    """A name, and the dot after it; what ends in a number is none: `toplabel = ALPHA / ALPHA ...`."""
    if host.endswith(".") and not host[:-1].rpartition(".")[2][:1].isdigit():
        return host[:-1], "."
    return host, ""


def _one_host(host: str) -> str:
    """A host, with one spelling for an IPv6 address (RFC 5954 section 4.2)."""
    if not host.startswith("["):
        return host
    try:
        return str(ipaddress.ip_address(host[1:-1]))
    except ValueError:
        return host


def _param_values(params: Params) -> dict[str, str]:
    return {_one_spelling(name).lower(): _one_spelling(value or "").lower() for name, value in params}


def _header_values(headers: str) -> tuple[tuple[str, str], ...]:
    """19.1.4: "URI header components are never ignored"; their order does not matter."""
    pairs = [header.partition("=") for header in headers.split("&")] if headers else []
    named = [(_one_spelling(name).lower(), _one_spelling(value).lower()) for name, _, value in pairs]
    return tuple(sorted((COMPACT.get(name, name), value) for name, value in named))


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
