"""What the SIP core wants its driver to do.

Flow numbers of connections that the core opens are even and chosen by it; those of accepted ones are odd
and chosen by the driver.
"""

from __future__ import annotations

from dataclasses import dataclass

from p2psip.base.address import Address
from p2psip.base.effects import Effect
from p2psip.base.frozen import frozen
from p2psip.sip.transports.hops import StreamTransport


@frozen
class SendUdp(Effect):
    """Send a UDP datagram from the listener at `local`."""

    local: Address
    remote: Address
    data: bytes


@dataclass(frozen=True, slots=True)
class OpenFlow(Effect):
    """Connect over this transport and no other; then FlowUp, or FlowDown with the reason why not.

    `name` is the domain that the other end must prove over TLS to be; "" for a phone.
    """

    flow: int
    transport: StreamTransport
    remote: Address
    name: str = ""


@dataclass(frozen=True, slots=True)
class SendFlow(Effect):
    """Send on an open connection."""

    flow: int
    data: bytes


@dataclass(frozen=True, slots=True)
class CloseFlow(Effect):
    """Close a connection once what was sent is out; the core has forgotten it already."""

    flow: int


@dataclass(frozen=True, slots=True)
class ToAgent(Effect):
    """Hand a message to a user agent inside this process, as a datagram."""

    name: str
    data: bytes
