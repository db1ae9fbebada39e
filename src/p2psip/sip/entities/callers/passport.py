"""PASSporT: who calls whom and when, to be signed (RFC 8225; "div" is that of RFC 8946).

A token is a JWS (RFC 7515) of a header, which says by whose certificate, and the claims. All functions are pure; who
signs and verifies is asked elsewhere.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated

import msgspec

from p2psip.sip.message.errors import BadMessage

MSG = "msg"
"""RFC 9475, from memory: the type of a token that is about what a request says as well, by the claim "msgi"."""

DIV = "div"
"""RFC 8946: the type of a token by which who forwards a call says so. Its text is not at hand; section 3 is quoted from
memory."""

TOKEN_BYTES_MAX = 4096
IAT_MAX = 2**40
"""Seconds since 1970: beyond that no date can be reckoned with."""

DEST_MAX = 16
"""Parties in one claim."""

_BASE64URL = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True, order=True)
class Party:
    """Who calls or is called: `kind` is "tn" for a telephone number, "uri" for anybody else (5.2.1)."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class Claims:
    """The payload (section 5). `mky` are the fingerprints of media keys, algorithm and digest of each."""

    orig: Party
    dest: frozenset[Party]
    iat: int
    mky: tuple[tuple[str, str], ...] = ()
    div: Party | None = None
    """Whom it was for, in the token of who has forwarded it."""
    msgi: str = ""
    """What its body is, by a digest, in the token of a message."""

    def encode(self) -> bytes:
        """The claims as they are signed."""
        claims: dict[str, object] = {
            "dest": _several(self.dest),
            "iat": self.iat,
            "orig": {self.orig.kind: self.orig.name},
        }
        if self.mky:
            claims["mky"] = [{"alg": alg, "dig": dig} for alg, dig in self.mky]
        if self.msgi:
            claims["msgi"] = self.msgi
        if self.div is not None:
            claims[DIV] = {self.div.kind: self.div.name}
        return _serialised(claims)


@dataclass(frozen=True, slots=True)
class Passport:
    """A token in full form, read and not yet believed."""

    alg: str
    x5u: str
    ppt: str
    claims: Claims
    signing_input: bytes
    signature: bytes


def header(alg: str, x5u: str, ppt: str = "") -> bytes:
    """The header as it is signed (section 4, 8.1)."""
    fields = {"alg": alg, "typ": "passport", "x5u": x5u}
    return _serialised(fields | {"ppt": ppt} if ppt else fields)


def signing_input(head: bytes, payload: bytes) -> bytes:
    """What the signature is over (RFC 7515 section 5.1, step 5)."""
    return f"{to_base64(head)}.{to_base64(payload)}".encode()


def read(token: str) -> Passport:
    """A token in full form. Raises BadMessage for anything else."""
    if len(token) > TOKEN_BYTES_MAX:
        raise BadMessage(f"a PASSporT of {len(token)} characters, {TOKEN_BYTES_MAX} at most")
    parts = token.split(".")
    if len(parts) != 3:
        raise BadMessage("a PASSporT has three parts")
    head, payload, signature = map(from_base64, parts)
    try:
        named = msgspec.json.decode(head, type=_Header)
        claimed = msgspec.json.decode(payload, type=_Payload)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise BadMessage(f"a PASSporT that is no such JSON: {str(error)[:80]}") from None
    if named.typ != "passport":
        # 4.1: "The "typ" header parameter MUST be set to "passport"", as this is what tells it from other tokens.
        raise BadMessage(f"a token of type {named.typ[:40]!r}")
    claims = Claims(
        _one(claimed.orig, "orig"),
        _many(claimed.dest),
        claimed.iat,
        tuple((key.alg, key.dig) for key in claimed.mky),
        None if claimed.div is None else _one(claimed.div, DIV),
        claimed.msgi,
    )
    return Passport(named.alg, named.x5u, named.ppt, claims, token.rpartition(".")[0].encode(), signature)


def to_base64(data: bytes) -> str:
    """Base64url without padding (RFC 7515 section 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def from_base64(text: str) -> bytes:
    """What base64url means. Raises BadMessage."""
    if not _BASE64URL.fullmatch(text):
        raise BadMessage("a part of a PASSporT is no base64url")
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error:
        raise BadMessage("a part of a PASSporT is no base64url") from None


class _Header(msgspec.Struct):
    alg: str
    typ: str
    x5u: str
    ppt: str = ""


class _Key(msgspec.Struct):
    alg: str
    dig: str


class _Payload(msgspec.Struct):
    orig: dict[str, str]
    dest: dict[str, list[str]]
    iat: Annotated[int, msgspec.Meta(ge=0, le=IAT_MAX)]
    mky: list[_Key] = []
    div: dict[str, str] | None = None
    msgi: str = ""


def _one(claim: Mapping[str, str], what: str) -> Party:
    # 5.2.1: "There MUST be exactly one "orig" claim with exactly one identity claim object in a PASSporT object."
    if len(claim) != 1 or not claim.keys() <= {"tn", "uri"}:
        raise BadMessage(f"a PASSporT whose {what} is not one number or URI")
    ((kind, name),) = claim.items()
    return _party(kind, name)


def _many(claim: Mapping[str, Iterable[str]]) -> frozenset[Party]:
    parties = frozenset(_party(kind, name) for kind in ("tn", "uri") for name in claim.get(kind, ()))
    # 5.2.1: "The "dest" claim [...] MUST have at least one identity claim object."
    if not 1 <= len(parties) <= DEST_MAX:
        raise BadMessage(f"a PASSporT for {len(parties)} parties")
    return parties


def _party(kind: str, name: str) -> Party:
    # RFC 3986 section 2: no URI has others in it; in a reason phrase a line break would begin another message.
    if not (name.isascii() and name.isprintable()):
        raise BadMessage(f"a PASSporT that names {name[:40]!r}")
    return Party(kind, name)


def _several(parties: Iterable[Party]) -> dict[str, list[str]]:
    # 5.2.1: "Within the "tn" and "uri" arrays, the identity strings should be put in lexicographical order".
    found: dict[str, list[str]] = {}
    for party in sorted(parties):
        found.setdefault(party.kind, []).append(party.name)
    return found


def _serialised(value: Mapping[str, object]) -> bytes:
    """Section 9: "no whitespace or line breaks", "the keys ordered lexicographically"; the JSON is UTF-8."""
    return json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode("utf-8", "replace")
