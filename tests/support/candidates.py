"""What is dialled, in few words."""

from __future__ import annotations

from p2psip.base.address import Address
from p2psip.reload.node.effects import Dial
from p2psip.reload.paths.values import Candidate
from p2psip.reload.wire.link_messages import OverlayLinkType


def tls(*addresses: Address) -> tuple[Candidate, ...]:
    """Candidates of TLS over TCP."""
    return tuple(Candidate(address) for address in addresses)


def dtls(*addresses: Address) -> tuple[Candidate, ...]:
    """Candidates of DTLS over UDP."""
    return tuple(Candidate(address, OverlayLinkType.DTLS_UDP_SR_NO_ICE) for address in addresses)


def addresses_of(dial: Dial) -> tuple[Address, ...]:
    """Where a node wants to connect, with whatever."""
    return tuple(dict.fromkeys(candidate.address for candidate in dial.candidates))
