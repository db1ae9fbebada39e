"""Tokens: the way to a phone, in URIs of our own that others give back to us (RFC 5626 section 5.2, RFC 5627).

A token stands in the user part of our Record-Route towards a phone, and in the GRUU that is a phone's Contact
everywhere else. A later request brings it back, so that it reaches the phone by the way the phone came; and a valid
token proves that the dialog was set up through this server. Dialogs outlive a restart of the server; so do tokens, as
long as the secret is the same. What they say of a connection is good for one run. They are encrypted: who gets one from
a caller who wants to stay unknown does not learn who that is.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import random
from functools import lru_cache
from typing import NamedTuple

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from p2psip.base.address import Address
from p2psip.sip.entities.own import ServerName
from p2psip.sip.message.errors import BadMessage
from p2psip.sip.message.uri import SipUri, parse_sip_uri
from p2psip.sip.transports.hops import BoundHop, FlowHop, LocalHop, UdpHop

_REMEMBERED_CHARACTERS = 512
"""Longer tokens, and what they say, are not remembered, so that nobody fills the memory."""


class TokenPlace(NamedTuple):
    """A phone, or an agent inside this process, at the edge of the overlay.

    `hop` leads there, None if it was a connection of an earlier run; `host` is the address at its other end. `user` is
    its line, "" if nobody knows. `server` is what it calls us. `contact` is the URI by which it wants requests. It
    `is_private` if it began the dialog without wishing to be named: what it sends in it does not name it either. It
    `is_outside` if it has no line here: the server of another domain, or a guest.
    """

    hop: BoundHop | None
    host: str
    user: str
    server: ServerName
    contact: SipUri | None = None
    is_private: bool = False
    is_outside: bool = False

    @property
    def is_agent(self) -> bool:
        """True for what is inside this process, and speaks in the overlay's terms."""
        return isinstance(self.hop, LocalHop)


def is_phone(place: TokenPlace | None) -> bool:
    """True for a place of this peer that is no agent; without a place it is another peer's."""
    return place is not None and not place.is_agent


class _Written(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """A place in a token. `number` and `detail` are: of a datagram, the port there and the listener here; of a
    connection, its number and the run; of an agent, nothing and its name.
    """

    kind: str
    number: int
    detail: str
    host: str
    user: bytes
    server: ServerName
    contact: bytes
    is_private: bool = False
    is_outside: bool = False


class Tokens:
    """Makes and reads tokens. Those of an earlier run can be read if it had the same secret; None: one for this run."""

    def __init__(self, rng: random.Random, secret: bytes | None = None) -> None:
        drawn = rng.randbytes(32)
        # Deterministic: a phone has the same Contact throughout a dialog (RFC 5297: no nonce to be used twice).
        self._cipher = AESSIV(hashlib.sha256(secret or drawn).digest())
        # The same few tokens come in every message of a dialog, several times each.
        self._read_short = lru_cache(maxsize=1024)(self._read)
        self._make_short = lru_cache(maxsize=1024)(self._make)
        self._run = hmac.digest(drawn, b"this run", "sha256")[:4].hex()

    def make(self, place: TokenPlace) -> str:
        """The token for a place: letters, digits, `-` and `_`."""
        contact = "" if place.contact is None else str(place.contact)
        is_short = len(contact) + len(place.user) <= _REMEMBERED_CHARACTERS
        return self._make_short(place, contact) if is_short else self._make(place, contact)

    def _make(self, place: TokenPlace, contact: str) -> str:
        kind, number, detail = self._way(place.hop)
        user = place.user.encode("utf-8", "surrogateescape")
        packed_contact = contact.encode("utf-8", "surrogateescape")
        flags = place.is_private, place.is_outside
        written = _Written(kind, number, detail, place.host, user, place.server, packed_contact, *flags)
        packed = msgspec.msgpack.encode(written)
        return base64.urlsafe_b64encode(self._cipher.encrypt(packed, None)).decode().rstrip("=")

    def read(self, token: str) -> TokenPlace | None:
        """What a token says; None if it is none of ours."""
        return self._read_short(token) if len(token) <= _REMEMBERED_CHARACTERS else self._read(token)

    def _read(self, token: str) -> TokenPlace | None:
        try:
            data = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
            packed = self._cipher.decrypt(data, None)
        except (binascii.Error, ValueError, InvalidTag):
            return None
        try:
            written = msgspec.msgpack.decode(packed, type=_Written)
            contact = written.contact.decode("utf-8", "surrogateescape")
            uri = parse_sip_uri(contact) if contact else None
        except (msgspec.DecodeError, BadMessage):
            # Ours, of a release that wrote them otherwise.
            return None
        user = written.user.decode("utf-8", "surrogateescape")
        flags = written.is_private, written.is_outside
        return TokenPlace(self._hop(written), written.host, user, written.server, uri, *flags)

    def _way(self, hop: BoundHop | None) -> tuple[str, int, str]:
        match hop:
            case UdpHop(remote, local):
                assert local is not None, "a bound hop names its listener"
                return "u", remote.port, f"{local.host} {local.port}"
            case FlowHop(flow):
                return "f", flow, self._run
            case LocalHop(name):
                return "l", 0, name
        raise AssertionError("there is no way back to where a token came from before")

    def _hop(self, written: _Written) -> BoundHop | None:
        if written.kind == "u":
            host, _, port = written.detail.rpartition(" ")
            return UdpHop(Address(written.host, written.number), Address(host, int(port)))
        if written.kind == "l":
            return LocalHop(written.detail)
        # Numbers of connections begin anew with each run: this one may be somebody else's by now.
        return FlowHop(written.number) if written.detail == self._run else None
