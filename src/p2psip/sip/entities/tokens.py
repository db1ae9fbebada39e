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

_ESCAPES = (("~", "~t"), ("_", "~u"), (":", "~c"))
"""What stands in a token for characters of a host, in this order. The scope of an IPv6 address, the name of an
interface, may have any of them."""


class Token(NamedTuple):
    """What a token says: the hop, and the host at its other end."""

    hop: BoundHop
    host: str


class Tokens:
    """Makes and reads tokens."""

    def __init__(self, rng: random.Random, locals_: tuple[Address, ...]) -> None:
        self._secret = rng.randbytes(32)
        self._locals = locals_

    def make(self, side: Source) -> str:
        """The token for what is at the other side, as the user part of a URI."""
        text = self._text(side)
        return f"{self._mac(text)}.{escape_user(text)}"

    def read(self, user_name: str) -> Token | None:
        """What a token says; None if it is none of ours."""
        mac, _, text = user_name.partition(".")
        if not user_name.isascii() or not hmac.compare_digest(mac, self._mac(text)):
            return None
        kind, number, host, rest = text.split("_", 3)
        host = _unescaped(host)
        if kind == "f":
            return Token(FlowHop(int(number)), host)
        if kind == "l":
            return Token(LocalHop(rest), host)
        return Token(UdpHop(Address(host, int(rest)), self._locals[int(number)]), host)

    def _text(self, side: Source) -> str:
        host = _escaped(side.remote.host)
        match side.hop:
            case FlowHop(flow):
                return f"f_{flow}_{host}_"
            case LocalHop(name):
                return f"l_0_{host}_{name}"
            case UdpHop(remote, local):
                assert local is not None
                return f"u_{self._locals.index(local)}_{host}_{remote.port}"

    def _mac(self, text: str) -> str:
        return hmac.digest(self._secret, text.encode(), "sha256").hex()[:_MAC_DIGITS]


def _escaped(host: str) -> str:
    for character, escape in _ESCAPES:
        host = host.replace(character, escape)
    return host


def _unescaped(text: str) -> str:
    for character, escape in reversed(_ESCAPES):
        text = text.replace(escape, character)
    return text
