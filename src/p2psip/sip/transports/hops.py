"""Where to send one request, and where a message came from."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

from p2psip.base.address import Address

Transport: TypeAlias = Literal["UDP", "TCP", "TLS", "DTLS-UDP"]
"""As a Via says it. The last is between peers alone, and none of RFC 3261's (docs/decisions/call-paths.md)."""

FlowTransport: TypeAlias = Literal["TCP", "TLS", "DTLS-UDP"]
StreamTransport: TypeAlias = Literal["TCP", "TLS"]

DEFAULT_PORTS: dict[Transport, int] = {"UDP": 5060, "TCP": 5060, "TLS": 5061, "DTLS-UDP": 5061}
"""RFC 3261 section 18.2.2: of a sent-by, and of a Contact, without a port."""


class UdpHop(NamedTuple):
    """A datagram to `remote`, from the listener at `local` (None: the first that fits)."""

    remote: Address
    local: Address | None = None

    def __str__(self) -> str:
        return f"udp {self.remote}"


class StreamHop(NamedTuple):
    """A connection to `remote`: one that is open, or a new one."""

    transport: StreamTransport
    remote: Address

    def __str__(self) -> str:
        return f"{self.transport.lower()} {self.remote}"


class FlowHop(NamedTuple):
    """An open connection."""

    flow: int

    def __str__(self) -> str:
        return f"connection {self.flow}"


class LocalHop(NamedTuple):
    """A user agent inside this process."""

    name: str

    def __str__(self) -> str:
        return f"local {self.name}"


Hop: TypeAlias = UdpHop | StreamHop | FlowHop | LocalHop
BoundHop: TypeAlias = UdpHop | FlowHop | LocalHop
"""A hop that can be sent to at once: see TransportLayer.bind."""


class Source(NamedTuple):
    """Where a message came from.

    `hop` leads back there. `peer` is the Node-ID in hex of the overlay peer at the other end of an
    authenticated connection, None for anybody else.
    """

    hop: BoundHop
    transport: Transport
    remote: Address
    peer: str | None = None

    @property
    def is_trusted(self) -> bool:
        """True for other peers and for agents inside this process."""
        return self.peer is not None or isinstance(self.hop, LocalHop)

    def __str__(self) -> str:
        return f"peer {self.peer}" if self.peer else f"{self.transport.lower()} {self.remote}"
