"""What a driver gives to a SIP element: each a value, which every layer passes on whole.

The numbers of connections that were accepted are odd and chosen by the driver; see `effects.OpenFlow` for the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from p2psip.base.address import Address
from p2psip.base.frozen import frozen
from p2psip.sip.transports.hops import FlowTransport


@frozen
class Datagram:
    """A datagram came in at `local`, an own address."""

    local: Address
    remote: Address
    data: bytes


@dataclass(frozen=True, slots=True)
class FromAgent:
    """The user agent `name` inside this process sends a message."""

    name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class FlowUp:
    """A connection is open: one that was asked for, or somebody else's that was accepted.

    `peer` is the Node-ID in hex of the overlay peer that has proved to be at its other end. It comes again when the
    connection with a peer goes by another way; over a relay (`is_relayed`) the addresses say nothing of the two ends.
    """

    flow: int
    transport: FlowTransport
    local: Address
    remote: Address
    peer: str | None = None
    is_relayed: bool = False
    lacks: str = ""
    """What other than SIP does not go to that peer, in words; empty if nothing."""


@dataclass(frozen=True, slots=True)
class FlowData:
    """Bytes came in on a connection."""

    flow: int
    data: bytes


@dataclass(frozen=True, slots=True)
class FlowDown:
    """A connection is gone, or did not come about; goes up through all layers."""

    flow: int
    reason: str


FlowArrival: TypeAlias = FlowUp | FlowData | FlowDown
Arrival: TypeAlias = Datagram | FromAgent | FlowArrival
