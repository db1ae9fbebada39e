"""The Port Control Protocol (RFC 6887), as much of it as a machine needs behind its own router: MAP and ANNOUNCE."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import struct
from typing import Final

from p2psip.base.address import Address
from p2psip.portmap.values import NOWHERE, ROUTER_PORT, HomeRouter, Outgoing, PortKind, RouterAnswer, WantedPort

VERSION: Final = 2
ANNOUNCE, MAP = 0, 1
ANSWER: Final = 128
"""7: the R bit, in the byte of the opcode."""

FOREIGN: Final = (1, 4)
REFUSALS: Final = {
    1: "it does not speak PCP",
    2: "it does not allow that: PCP is switched off in its settings, or another program has the port",
    3: "it says that the question is malformed",
    4: "it maps no ports by PCP",
    5: "it does not know an option",
    6: "it says that an option is malformed",
    7: "it has no public address: it is not connected, or is itself behind a router",
    8: "it has no room for more ports",
    9: "it does not map ports of this kind",
    10: "it maps no more ports for this machine",
    11: "it cannot give that address or port",
    12: "between it and this machine is one more router",
    13: "it has been asked for too many other ends",
}
"""7.4, by result code; `FOREIGN` are those of a router that does not understand."""

LENGTH_MAX: Final = 1100
"""7: no message of PCP is longer."""

_QUESTION: Final = struct.Struct("!BBHI16s")
_ANSWER: Final = struct.Struct("!BBxBII12x")
_MAP: Final = struct.Struct("!12sB3xHH16s")
_NONCE_BYTES: Final = 12


class Pcp:
    """See above. With `secret` its nonces are known to nobody else, and are the same after a restart.

    11.3: to whom asks with another nonce for a port that is mapped, a router says NOT_AUTHORIZED for as long as the
    mapping lives.
    """

    name: str = "PCP"
    # 8.1.1: the first wait (IRT) is 3 s, doubled each time. A router on the same wire has heard one of two.
    waits_s: Final = (3.0, 6.0)
    answers_from: int | None = ROUTER_PORT
    is_greeted: bool = False

    def __init__(self, router: HomeRouter, secret: bytes) -> None:
        self._local = router.local
        self._key = hmac.digest(secret, f"{router.host} {router.local}".encode(), hashlib.sha256)

    def ask(self, wish: WantedPort, lifetime_s: int, outside: Address) -> Outgoing:
        """11.1; by 15 nothing is suggested of what is given up."""
        suggested = outside if lifetime_s else NOWHERE
        body = _MAP.pack(self._nonce(wish), wish.kind, wish.port, suggested.port, _packed(suggested.host))
        return Outgoing(ROUTER_PORT, self._head(MAP, lifetime_s) + body, self.waits_s)

    def greet(self) -> Outgoing:
        """14.1: are you there, and since when?"""
        return Outgoing(ROUTER_PORT, self._head(ANNOUNCE, 0), self.waits_s)

    def read(self, data: bytes) -> RouterAnswer | None:
        """What the router says; None for what is no answer of PCP, or to another's question."""
        if data[:1] == b"\0" and len(data) >= 2 and data[1] >= ANSWER:
            # Appendix A: a router that knows NAT-PMP alone answers so.
            return RouterAnswer(None, None, refusal=REFUSALS[1], is_foreign=True)
        # 8.3: shorter ones, longer ones, and what is no multiple of four, are dropped.
        if len(data) < _ANSWER.size or len(data) > LENGTH_MAX or len(data) % 4:
            return None
        version, opcode, result, lifetime_s, epoch_s = _ANSWER.unpack_from(data)
        if opcode < ANSWER or (version != VERSION and result != 1):
            return None
        refusal = REFUSALS.get(result, f"result {result}") if result else ""
        if result in FOREIGN:
            return RouterAnswer(None, epoch_s, refusal=refusal, is_foreign=True)
        if opcode == ANSWER + ANNOUNCE:
            return RouterAnswer(None, epoch_s, refusal=refusal)
        if opcode != ANSWER + MAP or len(data) < _ANSWER.size + _MAP.size:
            return None
        nonce, protocol, inside_port, outside_port, host = _MAP.unpack_from(data, _ANSWER.size)
        if protocol not in set(PortKind):
            return None
        wish = WantedPort(PortKind(protocol), inside_port)
        # 11.4: what does not match in protocol, internal port and nonce is none of ours.
        if not hmac.compare_digest(nonce, self._nonce(wish)):
            return None
        outside = Address(_unpacked(host), outside_port)
        return RouterAnswer(wish, epoch_s, outside, lifetime_s, refusal, is_proven=True)

    def _head(self, opcode: int, lifetime_s: int) -> bytes:
        return _QUESTION.pack(VERSION, opcode, 0, lifetime_s, _packed(self._local))

    def _nonce(self, wish: WantedPort) -> bytes:
        return hmac.digest(self._key, str(wish).encode(), hashlib.sha256)[:_NONCE_BYTES]


def _packed(host: str) -> bytes:
    """5: an address of IPv4 stands there as an IPv4-mapped one of IPv6; the one that is none is ::ffff:0.0.0.0."""
    return b"\0" * 10 + b"\xff\xff" + ipaddress.IPv4Address(host or "0.0.0.0").packed


def _unpacked(packed: bytes) -> str:
    ip = ipaddress.IPv6Address(packed)
    return str(ip.ipv4_mapped or ip)
