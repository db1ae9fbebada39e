"""Where to send one request, and where a message came from."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

from p2psip.base.address import Address

Transport: TypeAlias = Literal["UDP", "TCP", "TLS", "WS", "WSS", "DTLS-UDP"]
"""As a Via says it: RFC 3261, RFC 7118. The last is between peers alone (docs/decisions/call-paths.md)."""

FlowTransport: TypeAlias = Literal["TCP", "TLS", "WS", "WSS", "DTLS-UDP"]
AcceptedTransport: TypeAlias = Literal["TCP", "TLS", "WS", "WSS"]
"""What phones connect by."""

StreamTransport: TypeAlias = Literal["TCP", "TLS"]
"""What we connect by: nobody can connect to a WebSocket client (RFC 7118 section 5.3)."""

DEFAULT_PORTS: dict[Transport, int] = {"UDP": 5060, "TCP": 5060, "TLS": 5061, "WS": 80, "WSS": 443, "DTLS-UDP": 5061}
"""RFC 3261 section 18.2.2, RFC 7118 section 5.5: of a sent-by, and of a Contact, without a port."""

_DIALLED: dict[Transport, StreamTransport] = {"TCP": "TCP", "TLS": "TLS"}


class UdpHop(NamedTuple):
    """A datagram to `remote`, from the listener at `local` (None: the first that fits)."""

    remote: Address
    local: Address | None = None

    def __str__(self) -> str:
        return f"udp {self.remote}"


class StreamHop(NamedTuple):
    """A connection to `remote`: one that is open, or a new one.

    `name` is the domain that the other end must prove over TLS to be (RFC 5922); "" for a phone.
    """

    transport: StreamTransport
    remote: Address
    name: str = ""

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


def hop_back(transport: Transport, remote: Address) -> StreamHop | None:
    """A new connection to where one of this transport came from; None if there can be none."""
    dialled = _DIALLED.get(transport)
    return None if dialled is None else StreamHop(dialled, remote)


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
