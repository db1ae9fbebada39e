"""Flow tokens: the way to a phone, in the user part of our own Record-Route (RFC 5626 section 5.2).

A later request of the dialog brings the token back in its Route, so that it reaches the phone by the way the phone
came, whatever its Contact says; and a valid token proves that the dialog was set up through this server. Tokens are
good for the life of the process.
"""

from __future__ import annotations

import hmac
import random

from p2psip.sip.message.uri import escape_user
from p2psip.sip.transports.address import Address
from p2psip.sip.transports.hops import BoundHop, FlowHop, LocalHop, UdpHop

_MAC_DIGITS = 16


class Tokens:
    """Makes and reads tokens."""

    def __init__(self, rng: random.Random, locals_: tuple[Address, ...]) -> None:
        self._secret = rng.randbytes(32)
        self._locals = locals_

    def make(self, hop: BoundHop) -> str:
        """The token for a hop, as the user part of a URI."""
        text = self._text(hop)
        return f"{self._mac(text)}.{escape_user(text)}"

    def read(self, user_name: str) -> BoundHop | None:
        """The hop of a token; None if it is none of ours."""
        mac, _, text = user_name.partition(".")
        if not user_name.isascii() or not hmac.compare_digest(mac, self._mac(text)):
            return None
        kind, rest = text[0], text[1:]
        if kind == "f":
            return FlowHop(int(rest))
        if kind == "l":
            return LocalHop(rest)
        index, host, port = rest.split("_")
        return UdpHop(Address(host.replace("~", ":"), int(port)), self._locals[int(index)])

    def _text(self, hop: BoundHop) -> str:
        if isinstance(hop, FlowHop):
            return f"f{hop.flow}"
        if isinstance(hop, LocalHop):
            return f"l{hop.name}"
        assert hop.local is not None
        return f"u{self._locals.index(hop.local)}_{hop.remote.host.replace(':', '~')}_{hop.remote.port}"

    def _mac(self, text: str) -> str:
        return hmac.digest(self._secret, text.encode(), "sha256").hex()[:_MAC_DIGITS]
