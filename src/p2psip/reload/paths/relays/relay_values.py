"""What the core that makes paths, and its driver, say to each other of relays.

A relayed address is one of our own addresses, though it is at another machine: whatever goes between it and a remote is
wrapped by the core, and sent from the port of ours that the relay knows (its base).
"""

from __future__ import annotations

from dataclasses import dataclass

from p2psip.base.address import Address
from p2psip.base.effects import Effect
from p2psip.base.frozen import frozen
from p2psip.turn.client_values import Loss

# Of an address that a relay lends us


@dataclass(frozen=True, slots=True)
class UseRelayed(Effect):
    """`relayed` is one of our addresses now. What an association wants sent from there comes here, as `RelayedGoes`."""

    relayed: Address
    base: Address


@dataclass(frozen=True, slots=True)
class DropRelayed(Effect):
    """It is ours no more."""

    relayed: Address


@frozen
class RelayedCame(Effect):
    """This has come to a relayed address, as if to the port that is its base."""

    relayed: Address
    remote: Address
    data: bytes


@frozen
class RelayedGoes:
    """A datagram is to go from a relayed address."""

    relayed: Address
    remote: Address
    data: bytes


@dataclass(frozen=True, slots=True)
class DialRelay(Effect):
    """A relay is to be asked for something for a port of ours, over a stream; or how far away it is."""

    base: Address
    relay: Address
    is_ping: bool = False


@dataclass(frozen=True, slots=True)
class RelayTaken(Effect):
    """A relay lends us these addresses, for a port of ours."""

    base: Address
    relay: Address
    relayed: tuple[Address, ...]
    over_stream: bool = False


@dataclass(frozen=True, slots=True)
class RelayGone(Effect):
    """A relay lends a port of ours nothing, or nothing more. `retry_after_s` is how long to leave it alone."""

    base: Address
    relay: Address
    relayed: tuple[Address, ...]
    loss: Loss
    reason: str
    retry_after_s: float
    over_stream: bool = False


# Of streams with a relay, which others have with ours or we with another's


@dataclass(frozen=True, slots=True)
class RelayStreamUp:
    """A connection that was dialled or accepted is up, and carries TURN, over TLS or not."""

    path: int
    local: Address
    remote: Address


@dataclass(frozen=True, slots=True)
class RelayStreamCame:
    """Bytes have come over it."""

    path: int
    data: bytes


@dataclass(frozen=True, slots=True)
class WriteStream(Effect):
    """Send a message over it. One that carries a datagram is lost where the other end reads slowly: late is no use."""

    path: int
    data: bytes


# Of the relay that we are


@dataclass(frozen=True, slots=True)
class OpenRelayPort(Effect):
    """Open this UDP port, for a client of our relay: `RelayPortOpened` follows."""

    token: int
    port: Address


@dataclass(frozen=True, slots=True)
class RelayPortOpened:
    """Whether a port is open that was asked for."""

    token: int
    is_open: bool


@frozen
class AtRelayPort:
    """A datagram has come to a port of our relay."""

    port: Address
    remote: Address
    data: bytes


RelayEvent = RelayedGoes | RelayPortOpened | AtRelayPort | RelayStreamUp | RelayStreamCame
