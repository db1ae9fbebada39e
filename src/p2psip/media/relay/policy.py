"""When the peers carry a call's media: never, if the phones reach each other (docs/decisions/media.md)."""

from __future__ import annotations

import enum
import ipaddress
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from p2psip.base.address import without_zone

MediaSetting: TypeAlias = Literal["direct", "anchor", "auto"]

SITE_PREFIX = {4: 24, 6: 64}
"""What two addresses behind one NAT have in common if they are on one network, where nobody knows its mask."""


class MediaWay(enum.Enum):
    """How the packets of two phones go."""

    DIRECT = "from phone to phone"
    HERE = "through this peer"
    PATH = "through both peers"


class MediaVerdict(NamedTuple):
    """The way, and why, in words."""

    way: MediaWay
    reason: str


@dataclass(frozen=True, slots=True)
class CallEnd:
    """What a peer knows of one end of a call.

    `named` is the address that its SDP names, None where that is not known yet; `seen` the one that its signalling
    comes from, as the peer beside it sees that. `peer` is that peer, and `site` that peer's own network: the address by
    which the world sees it, None where that is not known. `is_agent` is an end inside the peer itself.
    """

    named: str | None
    seen: str
    peer: str
    site: str | None = None
    is_agent: bool = False

    @property
    def is_behind_nat(self) -> bool:
        """True if something between the phone and its peer gives it another address."""
        return self.named is not None and self.named != without_zone(self.seen)

    @property
    def host(self) -> str:
        """By which others are to send to it, if they can."""
        return without_zone(self.seen) if self.named is None else self.named


def network_of(host: str) -> str:
    """The network that a host is in, as far as one can tell where nobody knows its mask."""
    version = ipaddress.ip_address(host).version
    return str(ipaddress.ip_network((host, SITE_PREFIX[version]), strict=False))


def way_of(setting: MediaSetting, one: CallEnd, other: CallEnd) -> MediaVerdict:
    """How the media of a call between these two is to go."""
    if one.is_agent or other.is_agent:
        return MediaVerdict(MediaWay.DIRECT, "the peer itself is one end of it")
    if setting == "direct":
        return MediaVerdict(MediaWay.DIRECT, 'media is "direct"')
    anchored = MediaWay.HERE if one.peer == other.peer else MediaWay.PATH
    if setting == "anchor":
        return MediaVerdict(anchored, 'media is "anchor"')
    if (reason := _obstacle(one, other)) is not None:
        return MediaVerdict(anchored, reason)
    return MediaVerdict(MediaWay.DIRECT, "the phones reach each other")


def _obstacle(one: CallEnd, other: CallEnd) -> str | None:
    """Why two phones do not reach each other, as far as one can tell; None if they do."""
    first, second = ipaddress.ip_address(one.host), ipaddress.ip_address(other.host)
    if first.version != second.version:
        return f"one has IPv{first.version}, the other IPv{second.version}"
    if first.is_unspecified or second.is_unspecified:
        return "one of them has no address"
    if _is_one_network(one, other, first.version):
        return None
    for end, address in ((one, first), (other, second)):
        if not address.is_global:
            return f"{end.host} means nothing in another network"
        if end.is_behind_nat:
            return f"{end.host} is behind a NAT, and comes from {end.seen}"
    return None


def _is_one_network(one: CallEnd, other: CallEnd, version: int) -> bool:
    """True for two phones on one network: side by side, both behind the same NAT, or at two peers of one site."""
    prefix = SITE_PREFIX[version]
    network = ipaddress.ip_network((one.host, prefix), strict=False)
    if ipaddress.ip_address(other.host) not in network:
        return False
    if one.is_behind_nat or other.is_behind_nat:
        # The same private addresses are behind every other NAT, too.
        return one.is_behind_nat and other.is_behind_nat and one.seen == other.seen and one.peer == other.peer
    return one.peer == other.peer or (one.site is not None and one.site == other.site)
