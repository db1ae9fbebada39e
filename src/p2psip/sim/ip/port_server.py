"""A router that maps ports when it is asked, in PCP (RFC 6887) or NAT-PMP (RFC 6886): its own reading of both.

Nothing here is the asking side's (`p2psip.portmap`): what the two understand of the RFCs is held against each other.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final

from p2psip.base.address import Address
from p2psip.sim.ip.boxes import Nat, NatBehaviour
from p2psip.sim.ip.machine import Interface
from p2psip.sim.ip.network import Internet
from p2psip.sim.ip.packet import Packet, Protocol, version_of

PORT: Final = 5351
UDP, TCP = 17, 6
_PROTOCOLS: Final = {UDP: Protocol.UDP, TCP: Protocol.TCP}
_PCP_HEAD: Final = struct.Struct("!BBHI16s")
_PCP_ANSWER: Final = struct.Struct("!BBBBII12x")
_PCP_MAP: Final = struct.Struct("!12sB3xHH16s")
NOT_AUTHORIZED, UNSUPPORTED_VERSION, UNSUPPORTED_OPCODE, UNSUPPORTED_PROTOCOL, ADDRESS_MISMATCH = 2, 1, 4, 9, 12


@dataclass(slots=True)
class PortGiven:
    """One mapping: for whom, until when, and with PCP its nonce."""

    inside: Address
    until: float
    nonce: bytes = b""


@dataclass
class PortServer:
    """What such a router knows, and what it answers. `result`, if it is not 0, is its answer to all that is asked."""

    outside: str
    languages: Collection[str] = ("PCP", "NAT-PMP")
    began_at: float = 0.0
    lifetime_max_s: int = 7200
    result: int = 0
    taken: set[int] = field(default_factory=set)
    """Outside ports that it keeps for others."""
    given: dict[tuple[int, int], PortGiven] = field(default_factory=dict)
    """By protocol and outside port."""
    asked: list[bytes] = field(default_factory=list)

    def restart(self, now: float, outside: str = "") -> None:
        """It forgets everything, and may have another address."""
        self.given.clear()
        self.began_at = now
        self.outside = outside or self.outside

    def living(self, now: float) -> dict[tuple[int, int], Address]:
        """Where what comes to an outside port goes."""
        self.given = {key: each for key, each in self.given.items() if each.until > now}
        return {key: each.inside for key, each in self.given.items()}

    def answer(self, source: Address, data: bytes, now: float) -> bytes | None:
        """What it says; None for nothing."""
        self.asked.append(data)
        self.living(now)
        if data[:1] == b"\2" and "PCP" in self.languages:
            return self._pcp(source, data, now)
        if "NAT-PMP" not in self.languages:
            return None
        if data[:1] != b"\0":
            # RFC 6886 section 3.5: an answer of version 0, which says that it knows no other.
            return struct.pack("!BBHI", 0, 128 | data[1], UNSUPPORTED_VERSION, int(now - self.began_at))
        return self._nat_pmp(source, data, now)

    def _pcp(self, source: Address, data: bytes, now: float) -> bytes:
        _, opcode, _, lifetime_s, local = _PCP_HEAD.unpack_from(data)
        result, body = self.result, data[_PCP_HEAD.size :]
        if ipaddress.IPv6Address(local).ipv4_mapped != ipaddress.IPv4Address(source.host):
            result = ADDRESS_MISMATCH
        elif opcode > 1:
            result = UNSUPPORTED_OPCODE
        elif opcode == 1 and not result:
            nonce, protocol, inside, wanted, _ = _PCP_MAP.unpack(body)
            outside = self._map(protocol, Address(source.host, inside), wanted, lifetime_s, nonce, now)
            if protocol not in _PROTOCOLS or outside is None:
                result = UNSUPPORTED_PROTOCOL if protocol not in _PROTOCOLS else NOT_AUTHORIZED
            else:
                host = ipaddress.IPv6Address(f"::ffff:{self.outside}").packed
                body = _PCP_MAP.pack(nonce, protocol, inside, outside, host)
        lifetime_s = min(lifetime_s, self.lifetime_max_s)
        return _PCP_ANSWER.pack(2, 128 | opcode, 0, result, lifetime_s, int(now - self.began_at)) + body

    def _nat_pmp(self, source: Address, data: bytes, now: float) -> bytes:
        opcode, epoch_s = data[1], int(now - self.began_at)
        head = struct.pack("!BBHI", 0, 128 | opcode, self.result, epoch_s)
        if opcode == 0:
            return head + ipaddress.IPv4Address(self.outside).packed
        inside, wanted, lifetime_s = struct.unpack_from("!HHI", data, 4)
        if self.result:
            return head + struct.pack("!HHI", inside, 0, 0)
        protocol = UDP if opcode == 1 else TCP
        outside = self._map(protocol, Address(source.host, inside), wanted, lifetime_s, b"", now)
        return head + struct.pack("!HHI", inside, outside or 0, min(lifetime_s, self.lifetime_max_s))

    def _map(
        self, protocol: int, inside: Address, wanted: int, lifetime_s: int, nonce: bytes, now: float
    ) -> int | None:
        """The outside port, or 0 for one that is given up; None if it is somebody else's."""
        known = next((port for (of, port), each in self.given.items() if (of, each.inside) == (protocol, inside)), None)
        if known is not None and self.given[protocol, known].nonce != nonce:
            return None
        if not lifetime_s:
            self.given.pop((protocol, known or 0), None)
            return 0
        port = known or wanted or inside.port
        while known is None and (port in self.taken or (protocol, port) in self.given):
            port += 1
        until = now + min(lifetime_s, self.lifetime_max_s)
        self.given[protocol, port] = PortGiven(inside, until, nonce)
        return port


class MappingNat(Nat):
    """A NAT whose machines inside may have ports of it."""

    def __init__(
        self,
        internet: Internet,
        name: str,
        behaviour: NatBehaviour | None = None,
        *,
        languages: Collection[str] = ("PCP", "NAT-PMP"),
        blocks: frozenset[Protocol] = frozenset(),
    ) -> None:
        """`blocks` as of a router."""
        super().__init__(internet, name, behaviour, blocks=blocks)
        self.server = PortServer("", languages, internet.now)

    def reboot(self, *hosts: str, off_s: float = 20.0) -> None:
        """It has given no ports to anybody afterwards."""
        super().reboot(*hosts, off_s=off_s)
        self.server.restart(self.internet.now + off_s)

    def receive(self, interface: Interface, packet: Packet) -> None:
        """What is for itself it answers."""
        self.server.outside = next((host for host in self.outside.hosts if version_of(host) == 4), "0.0.0.0")
        is_asked = packet.destination.host in interface.hosts and packet.destination.port == PORT
        if not (self.is_on and interface is self.inside and is_asked and isinstance(packet.payload, bytes)):
            self._forward_given()
            super().receive(interface, packet)
        elif (answer := self.server.answer(packet.source, packet.payload, self.internet.now)) is not None:
            self.internet.carry(
                interface, Packet(Protocol.UDP, packet.destination, packet.source, answer), packet.source.host
            )

    def _outward(self, packet: Packet) -> None:
        """As Linux does: a mapped port is of what comes in; what goes out has another one, if that is its kind."""
        given, self._forwarded = self._forwarded, {}
        super()._outward(packet)
        self._forwarded = given

    def _forward_given(self) -> None:
        given = self.server.living(self.internet.now)
        self._forwarded = {(_PROTOCOLS[of], port): inside for (of, port), inside in given.items()}
