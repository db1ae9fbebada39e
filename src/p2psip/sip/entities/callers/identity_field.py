"""The Identity header field, and what in a request its token is about (RFC 8224 sections 4 and 8)."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from email.utils import mktime_tz, parsedate_tz
from urllib.parse import quote

from p2psip.sip.entities.bodies import descriptions
from p2psip.sip.entities.callers import passport
from p2psip.sip.entities.callers.passport import Claims, Party, Passport
from p2psip.sip.message import grammar
from p2psip.sip.message.errors import BadMessage
from p2psip.sip.message.message import STANDALONE, Message, Request
from p2psip.sip.message.uri import SipUri, TelUri, Uri, escape_user

CERTIFICATE_MAX = 4096
"""Of the certificate that may come along, in base64url."""

VALUE_MAX = passport.TOKEN_BYTES_MAX + CERTIFICATE_MAX + 1024

CERTIFICATE = "certificate"
"""A parameter of ours (section 4: `ident-info-extension`): the certificate itself, for who does not know it yet."""

DEFAULT_ALGORITHM = "ES256"

_VALUE = re.compile(r"([A-Za-z0-9_.+/-]+)[ \t]*(?=;)(.*)", re.DOTALL)
_INFO = re.compile(r"[ \t]*;[ \t]*info[ \t]*=[ \t]*<([^<>\s]{1,512})>", re.IGNORECASE)
_SEPARATORS = re.compile(r"[-.() ]")
_GLOBAL = re.compile(r"\+[0-9]{1,15}")
_FINGERPRINT = re.compile(rb"^a=fingerprint:([A-Za-z0-9-]{1,32})[ \t]+([0-9A-Fa-f:]{2,400})[ \t]*\r?$", re.MULTILINE)
_ESCAPED = re.compile(r"%([0-9A-Fa-f]{2})")
_UNRESERVED = "-._~"


@dataclass(frozen=True, slots=True)
class IdentityField:
    """One Identity header field: its token, where the certificate is, and by what it is signed.

    `passport` is None for one in compact form, whose claims stand in the request alone. `certificate` is what has come
    along (DER), and says nothing by itself; empty where nothing has.
    """

    info: str
    alg: str
    ppt: str
    signature: bytes
    passport: Passport | None = None
    certificate: bytes = b""

    @classmethod
    def parse(cls, value: str) -> IdentityField:
        """Raises BadMessage."""
        match = _VALUE.fullmatch(value) if len(value) <= VALUE_MAX else None
        info = _INFO.search(match[2]) if match is not None else None
        if match is None or info is None or len(match[1]) > passport.TOKEN_BYTES_MAX:
            raise BadMessage(f"malformed Identity {value[:40]!r}")
        params = grammar.parse_params(match[2][: info.start()] + match[2][info.end() :], "Identity")
        # Section 4.1: "if the "alg" parameter is absent from the Identity header, the default value is "ES256"."
        alg = grammar.unquote(grammar.param(params, "alg") or DEFAULT_ALGORITHM)
        ppt = grammar.unquote(grammar.param(params, "ppt") or "")
        shown = grammar.param(params, CERTIFICATE) or ""
        if len(shown) > CERTIFICATE_MAX:
            raise BadMessage(f"a certificate of {len(shown)} characters, {CERTIFICATE_MAX} at most")
        certificate = passport.from_base64(shown) if shown else b""
        if match[1].startswith(".."):
            return cls(info[1], alg, ppt, passport.from_base64(match[1][2:]), None, certificate)
        token = passport.read(match[1])
        if (token.alg, token.x5u, token.ppt) != (alg, info[1], ppt):
            # 4.1: "alg" "MUST mirror", "x5u" "MUST have a value equivalent to", "ppt" as well.
            raise BadMessage("Identity and its PASSporT do not agree on the certificate")
        return cls(info[1], alg, ppt, token.signature, token, certificate)

    def __str__(self) -> str:
        token = f"..{passport.to_base64(self.signature)}"
        if self.passport is not None:
            token = f"{self.passport.signing_input.decode()}.{passport.to_base64(self.signature)}"
        alg = "" if self.alg == DEFAULT_ALGORITHM else f";alg={self.alg}"
        ppt = f";ppt={self.ppt}" if self.ppt else ""
        shown = f";{CERTIFICATE}={passport.to_base64(self.certificate)}" if self.certificate else ""
        return f"{token};info=<{self.info}>{alg}{ppt}{shown}"

    def signing_input(self, claims: Claims) -> bytes:
        """What the signature is over: of one in compact form with what `claims` say."""
        if self.passport is not None:
            return self.passport.signing_input
        return passport.signing_input(passport.header(self.alg, self.info, self.ppt), claims.encode())


def party_of(uri: Uri) -> Party:
    """Who is meant by a URI, in the one spelling for it (section 8). Raises BadMessage if it names nobody."""
    if isinstance(uri, TelUri):
        number = _SEPARATORS.sub("", uri.number)
        # 8.3: "MUST drop any "+"s, internal dashes, parentheses, or other non-numeric characters, except for the "#" or
        # "*" keys".
        return Party("tn", re.sub(r"[^0-9#*]", "", number))
    if not isinstance(uri, SipUri) or not uri.user:
        raise BadMessage(f"{str(uri)[:80]!r} names nobody")
    number = _SEPARATORS.sub("", uri.user_name.partition(";")[0])
    if _GLOBAL.fullmatch(number):
        # 8.1: "implementations could infer that the user part is a telephone number due to the presence of the "+"
        # indicator at the start of the user portion"; any other number is a name of the overlay like others.
        return Party("tn", number[1:])
    # 8.5: only "sip:user@host" stays, with "the scheme, user, and host all lowercase", and "decoding any
    # percent-encoded octet that corresponds to an unreserved character".
    user, at, domain = uri.user_name.rpartition("@")
    if at:
        # Of a further domain of the overlay (domains/hosted.py): the AoR is what others have.
        return Party("uri", f"{uri.scheme}:{_normalised(escape_user(user))}@{domain.lower()}")
    return Party("uri", f"{uri.scheme}:{_normalised(uri.user)}@{uri.host}")


def _normalised(user: str) -> str:
    """The user part of a URI in the one spelling for it (RFC 3986 section 6.2.2): what is escaped stays so."""
    parts = _ESCAPED.split(user)
    return "".join(_escaped(part) if at % 2 else _literal(part) for at, part in enumerate(parts))


def _literal(part: str) -> str:
    return quote(part.lower(), safe=_UNRESERVED + "!*'()&=+$,;?/", errors="surrogateescape")


def _escaped(digits: str) -> str:
    meant = chr(int(digits, 16))
    is_unreserved = meant.isascii() and (meant.isalnum() or meant in _UNRESERVED)
    return meant.lower() if is_unreserved else f"%{digits.upper()}"


def media_keys(message: Message) -> tuple[tuple[str, str], ...]:
    """The fingerprints in a description (section 4.1, "mky"; RFC 8225 section 5.2.2), in order, each once."""
    lines = [line for description in descriptions(message) for line in _FINGERPRINT.findall(description)]
    found = {(alg.decode(), dig.decode().replace(":", "")) for alg, dig in lines}
    return tuple(sorted(found, key=lambda pair: pair[0] + pair[1]))


def type_of(request: Request) -> str:
    """Of which type the token is by which a request says whose it is: of a call none, and "msg" of a message, so that
    what proves one proves no other.
    """
    return passport.MSG if request.method in STANDALONE else ""


def integrity(request: Request) -> str:
    """What the token of a request says of its body (RFC 9475, "msgi"; as RFC 8224 has "mky" for a call)."""
    if not type_of(request):
        return ""
    return f"sha256-{base64.b64encode(hashlib.sha256(request.body).digest()).decode()}"


def date_of(request: Request) -> int | None:
    """The Date of a request in seconds since 1970-01-01 UTC; None if there is none that can be read."""
    value = request.fields.first("date") or ""
    # RFC 3261 section 20.17: "restricts the time zone in SIP-date to "GMT"".
    if len(value) > 64 or not value.endswith("GMT"):
        return None
    try:
        parsed = parsedate_tz(value)
        return None if parsed is None else int(mktime_tz(parsed))
    except (ValueError, OverflowError):
        return None
