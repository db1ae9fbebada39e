"""What is dialled, in few words."""

from __future__ import annotations

from typing import NamedTuple

from p2psip.base.address import Address
from p2psip.reload.paths.dialling import Dialling
from p2psip.reload.paths.values import Candidate, Purpose
from p2psip.reload.wire.common import IpAddressPort
from p2psip.reload.wire.link_messages import CandType, IceCandidate, OverlayLinkType


class Dial(NamedTuple):
    """An attempt to connect, by the number of its first connection."""

    link: int
    purpose: Purpose
    candidates: tuple[Candidate, ...]


def under_way(dialling: Dialling) -> list[Dial]:
    """What a core tries now."""
    attempts = dialling._attempts.values()
    return [Dial(attempt.number, attempt.session.purpose, attempt.session.candidates) for attempt in attempts]


def paths_of(dialling: Dialling, link: int) -> list[int]:
    """The numbers of the connections of an attempt that have not failed."""
    attempt = dialling._attempts.get(link)
    return [] if attempt is None else list(attempt.candidates)


def host_candidate(host: str, port: int, **fields: object) -> IceCandidate:
    """One of an Attach without ICE."""
    usual: dict[str, object] = {
        "overlay_link": OverlayLinkType.TLS_TCP_FH_NO_ICE,
        "foundation": b"1",
        "priority": 1,
        "type": CandType.HOST,
    }
    return IceCandidate(IpAddressPort.of(host, port), **(usual | fields))  # type: ignore[arg-type]


def tls(*addresses: Address) -> tuple[Candidate, ...]:
    """Candidates of TLS over TCP."""
    return tuple(Candidate(address) for address in addresses)


def dtls(*addresses: Address) -> tuple[Candidate, ...]:
    """Candidates of DTLS over UDP."""
    return tuple(Candidate(address, OverlayLinkType.DTLS_UDP_SR_NO_ICE) for address in addresses)


def addresses_of(dial: Dial) -> tuple[Address, ...]:
    """Where a node wants to connect, with whatever."""
    return tuple(dict.fromkeys(candidate.address for candidate in dial.candidates))
