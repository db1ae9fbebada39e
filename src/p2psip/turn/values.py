"""What goes in and out of the cores of TURN."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from p2psip.base.address import Address
from p2psip.base.effects import Effect
from p2psip.base.frozen import frozen

STUN_TURN: Final = b"stun.turn"
"""What a TLS client says in the handshake that it has come for (ALPN, RFC 7443)."""


class Flow(NamedTuple):
    """What RFC 8656 section 2 calls a 5-tuple, as this end sees it."""

    local: Address
    remote: Address
    is_stream: bool = False


@frozen
class Transmit(Effect):
    """Send these bytes on a flow."""

    flow: Flow
    data: bytes


@dataclass(frozen=True, slots=True)
class CloseStream(Effect):
    """Close a stream of a client; `handle_flow_down` need not follow."""

    flow: Flow
    reason: str


@frozen
class TurnRelay(Effect):
    """Send a datagram from a relayed address to a peer."""

    relayed: Address
    peer: Address
    data: bytes


@dataclass(frozen=True, slots=True)
class CloseRelay(Effect):
    """Nobody has this relayed address any more."""

    relayed: Address


@dataclass(frozen=True, slots=True)
class OpenRelay:
    """A question (`Ask`): is this UDP port open now, for a client? The answer is True or False.

    Whoever opens it after the deadline of the question closes it again.
    """

    relayed: Address


@dataclass(frozen=True, slots=True)
class RelaySettings:
    """Where a relay stands.

    `relays` are the hosts on which ports are opened, at most one of IPv4 and one of IPv6. `own_hosts` are all addresses
    of this machine, `listening` the ports on which it answers anything. `open_to_clients` are those of these that a
    client reaches through the relay as well, as everybody does without it; questions to the relay are none that way.
    """

    realm: str
    relays: tuple[str, ...]
    own_hosts: frozenset[str]
    listening: frozenset[Address]
    open_to_clients: frozenset[Address] = frozenset()
