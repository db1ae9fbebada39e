"""Flow tokens: the way to a phone, in the user part of our own Record-Route (RFC 5626 section 5.2).

A later request of the dialog brings the token back in its Route, so that it reaches the phone by the way the phone
came, whatever its Contact says; and a valid token proves that the dialog was set up through this server. Tokens are
good for the life of the process.
"""

from __future__ import annotations

import hmac
import random
from typing import NamedTuple

from p2psip.base.address import Address
from p2psip.sip.message.uri import escape_user
from p2psip.sip.transports.hops import BoundHop, FlowHop, LocalHop, Source, UdpHop

_MAC_DIGITS = 16

_ESCAPES = (("~", "~t"), (":", "~c"))
"""What stands in a token for characters of a host, in this order: a colon would have to be escaped in a URI. The zone
of an IPv6 address, the name of an interface, may have either."""


class Token(NamedTuple):
    """What a token says: the hop, and the host at its other end."""

    hop: BoundHop
    host: str


class Tokens:
    """Makes and reads tokens."""

    def __init__(self, rng: random.Random) -> None:
        self._secret = rng.randbytes(32)

    def make(self, side: Source) -> str:
        """The token for what is at the other side, as the user part of a URI."""
        text = self._text(side)
        return f"{self._mac(text)}.{escape_user(text)}"

    def read(self, user_name: str) -> Token | None:
        """What a token says; None if it is none of ours."""
        mac, _, text = user_name.partition(".")
        if not user_name.isascii() or not hmac.compare_digest(mac, self._mac(text)):
            return None
        kind, host, *rest = _unescaped(text).split("/")
        if kind == "f":
            return Token(FlowHop(int(rest[0])), host)
        if kind == "l":
            return Token(LocalHop(rest[0]), host)
        port, local_host, local_port = rest
        return Token(UdpHop(Address(host, int(port)), Address(local_host, int(local_port))), host)

    def _text(self, side: Source) -> str:
        """A slash is in no address, no zone of one (the name of an interface) and no name of an agent."""
        match side.hop:
            case FlowHop(flow):
                text = f"f/{side.remote.host}/{flow}"
            case LocalHop(name):
                text = f"l/{side.remote.host}/{name}"
            case UdpHop(remote, local):
                assert local is not None
                text = f"u/{side.remote.host}/{remote.port}/{local.host}/{local.port}"
        return _escaped(text)

    def _mac(self, text: str) -> str:
        return hmac.digest(self._secret, text.encode(), "sha256").hex()[:_MAC_DIGITS]


def _escaped(text: str) -> str:
    for character, escape in _ESCAPES:
        text = text.replace(character, escape)
    return text


def _unescaped(text: str) -> str:
    for character, escape in reversed(_ESCAPES):
        text = text.replace(escape, character)
    return text
