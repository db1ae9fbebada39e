"""The NAT Port Mapping Protocol (RFC 6886 section 3): questions of 2 or 12 bytes, answers of 8, 12 or 16."""

from __future__ import annotations

import ipaddress
import struct
from typing import Final

from p2psip.base.address import Address
from p2psip.portmap.values import NOWHERE, ROUTER_PORT, Outgoing, PortKind, RouterAnswer, WantedPort

VERSION: Final = 0
OUTSIDE_ADDRESS: Final = 0
OPCODES: Final = {PortKind.UDP: 1, PortKind.TCP: 2}
ANSWER: Final = 128
"""3: the opcode of an answer is that of the question and 128."""

FOREIGN: Final = (1, 5)
REFUSALS: Final = {
    1: "it does not speak NAT-PMP",
    2: "it does not allow that: NAT-PMP is switched off in its settings",
    3: "it has no public address: it is not connected, or is itself behind a router",
    4: "it has no room for more ports",
    5: "it does not speak NAT-PMP",
}
"""3.5, by result code; `FOREIGN` are those of a router that does not understand."""

_HEAD: Final = struct.Struct("!BBHI")
_QUESTION: Final = struct.Struct("!BBHHHI")
_MAPPED: Final = struct.Struct("!HHI")
_HOST_BYTES: Final = 4


class NatPmp:
    """See above."""

    name: str = "NAT-PMP"
    # 3.1: 250 ms, doubled each time. It gives up who is silent after two minutes; we sooner, as we come again.
    waits_s: Final = (0.25, 0.5, 1.0, 2.0, 4.0, 4.0)
    answers_from: int | None = ROUTER_PORT
    is_greeted: bool = True

    def ask(self, wish: WantedPort, lifetime_s: int, outside: Address) -> Outgoing:
        """3.3; 3.4, of what is given up: "The suggested external port MUST be set to zero by the client on sending"."""
        port = outside.port if lifetime_s else 0
        data = _QUESTION.pack(VERSION, OPCODES[wish.kind], 0, wish.port, port, lifetime_s)
        return Outgoing(ROUTER_PORT, data, self.waits_s)

    def greet(self) -> Outgoing:
        """3.2: what is the router's outside address?"""
        return Outgoing(ROUTER_PORT, bytes((VERSION, OUTSIDE_ADDRESS)), self.waits_s)

    def read(self, data: bytes) -> RouterAnswer | None:
        """What the router says; None for what is no answer of NAT-PMP."""
        if len(data) < _HEAD.size:
            return None
        version, opcode, result, epoch_s = _HEAD.unpack_from(data)
        body = data[_HEAD.size :]
        if version != VERSION or opcode < ANSWER:
            return None
        refusal = REFUSALS.get(result, f"result {result}") if result else ""
        wish, outside, lifetime_s = None, NOWHERE, 0
        kind = next((each for each, number in OPCODES.items() if opcode == ANSWER + number), None)
        if kind is not None and len(body) == _MAPPED.size:
            inside_port, outside_port, lifetime_s = _MAPPED.unpack(body)
            wish, outside = WantedPort(kind, inside_port), Address("", outside_port)
        elif opcode == ANSWER + OUTSIDE_ADDRESS and len(body) == _HOST_BYTES:
            outside = Address(str(ipaddress.IPv4Address(body)), 0)
        elif not refusal:
            return None
        return RouterAnswer(wish, epoch_s, outside, lifetime_s, refusal, is_foreign=result in FOREIGN)
