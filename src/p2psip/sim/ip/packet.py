"""What travels: IP packets of UDP, of streams as TCP has them, and ICMP's words about them."""

from __future__ import annotations

import enum
import ipaddress
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from p2psip.base.address import Address

IP_BYTES = {4: 20, 6: 40}
UDP_BYTES = 8
TCP_BYTES = 20
HOPS_MAX = 16
"""Boxes that a packet passes: two that route to each other do not keep it for ever."""


ANY_HOSTS = frozenset({"0.0.0.0", "::"})
"""What a socket is bound to that takes whatever comes to its port."""


class SocketRefused(Exception):
    """What a machine refuses: an address that it does not have, a port that is taken, no way to go."""


class Protocol(enum.Enum):
    """What is in a packet."""

    UDP = "udp"
    TCP = "tcp"
    ICMP = "icmp"


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment of a stream, as far as TCP's is modelled (RFC 9293 section 3.1)."""

    sequence: int
    acknowledged: int
    data: bytes = b""
    syn: bool = False
    fin: bool = False
    rst: bool = False
    ack: bool = False
    mss_bytes: int = 0
    """The longest data that the sender takes in one segment: said with `syn`."""

    @property
    def length(self) -> int:
        """How far it moves the sequence on."""
        return len(self.data) + self.syn + self.fin

    @property
    def end(self) -> int:
        """The number of what comes after it."""
        return self.sequence + self.length


class Unreachable(enum.Enum):
    """Why ICMP says that a packet did not arrive (RFC 792)."""

    PORT = "connection refused"
    HOST = "no route to host"
    TOO_BIG = "message too long"


@dataclass(frozen=True, slots=True)
class IcmpError:
    """What became of `original`; with TOO_BIG, how long a packet may be there."""

    what: Unreachable
    original: Packet
    mtu_bytes: int = 0


class Packet(NamedTuple):
    """An IP packet. The port of `source` and `destination` is that of what is in it."""

    protocol: Protocol
    source: Address
    destination: Address
    payload: bytes | Segment | IcmpError
    may_fragment: bool = False
    """False where IPv4's "don't fragment" is set; routers never fragment IPv6."""
    fragments: int = 1
    """In how many pieces it travels by now; all must arrive."""
    hops: int = HOPS_MAX

    @property
    def size_bytes(self) -> int:
        """Its length with all headers."""
        ip = IP_BYTES[version_of(self.destination.host)]
        if isinstance(self.payload, bytes):
            return ip + UDP_BYTES + len(self.payload)
        return ip + TCP_BYTES + len(self.payload.data) if isinstance(self.payload, Segment) else ip + UDP_BYTES + 28

    def from_(self, source: Address) -> Packet:
        """The same from another address."""
        return self._replace(source=source)

    def to(self, destination: Address) -> Packet:
        """The same to another address."""
        return self._replace(destination=destination)

    def in_pieces(self, mtu_bytes: int) -> Packet:
        """The same in fragments of which none is longer (RFC 791 section 3.2: in units of eight bytes)."""
        header = IP_BYTES[version_of(self.destination.host)]
        return self._replace(fragments=-(-(self.size_bytes - header) // ((mtu_bytes - header) // 8 * 8)))

    def __str__(self) -> str:
        return f"{self.protocol.value} {self.source}>{self.destination} {self.size_bytes}"


@lru_cache(maxsize=65536)
def version_of(host: str) -> int:
    """4 or 6, of a numeric address."""
    return ipaddress.ip_address(host).version
