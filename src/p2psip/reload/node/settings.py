"""What is set at one node, and not by the configuration of its overlay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from p2psip.base.address import Address
from p2psip.reload.config.document import Document
from p2psip.reload.forwarding.return_path import ReturnPath
from p2psip.reload.node.connecting.attach import SIP_APPLICATIONS
from p2psip.reload.node.relays.relay_terms import RelayTerms
from p2psip.reload.paths.values import Purpose
from p2psip.reload.wire.link_messages import OverlayLinkType


@dataclass(frozen=True, slots=True)
class LentTerms:
    """Storage that clients lend their peer (docs/decisions/lending.md)."""

    lend_bytes: int = 0
    """So many bytes of values a client keeps for its peer; 0 for none."""
    borrow_bytes: int = 64 << 20
    """So many bytes a peer has its clients keep at the most, all together; 0 for none."""


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """What one node is to be."""

    is_client: bool = False
    """True for a client of its peers (section 4.2)."""
    is_router: bool = False
    """True for a client that passes messages on for others: "a peer with bad memory"."""
    may_start_alone: bool = False
    """True for one that begins the overlay where it finds nobody."""
    contacts: Sequence[Address] = ()
    """Where peers could be dialled before a restart (section 11.4)."""
    addresses: Mapping[Purpose, tuple[Address, ...]] = field(default_factory=dict)
    """Where its listeners can be dialled, as far as that is known before it starts."""
    hosts: tuple[str, ...] = ()
    """The addresses of its machine, if not all of `addresses` are."""
    link_types: Sequence[OverlayLinkType] = (OverlayLinkType.TLS_TCP_FH_NO_ICE,)
    """The links that its sockets can make."""
    applications: frozenset[int] = SIP_APPLICATIONS
    """The Application-IDs (section 14.5) of which others may ask it for a connection."""
    return_path: ReturnPath = ReturnPath.VIA_LIST
    lent: LentTerms = LentTerms()
    """What it lends its peer, or takes of its clients."""
    relay: RelayTerms = field(default_factory=RelayTerms)
    """Whether it is a relay for others, and within what limits."""
    asks_dns: bool = False
    """True for one that asks DNS where the overlay is, when it is not found otherwise."""
    lan_port: int = 0
    """The port of its links, to be found there by multicast, and find others; 0 for one that does not."""
    mdns_port: int = 0
    """The same by DNS-SD over mDNS."""
    port_mapping_secret: bytes = b""
    """With one the router is asked to map our ports; it is ours, and the same after a restart."""
    document: Document | None = None
    """What the configuration was read from: without it nobody can be told of it (section 6.3.2.1)."""
    kind_blocks: Sequence[bytes] = ()
    """Those that came beside it, as ConfigurationChanged gave them."""

    @property
    def lend_bytes(self) -> int:
        """So many bytes it lends: a peer keeps what is its own, and a router nothing."""
        return self.lent.lend_bytes if self.is_client and not self.is_router else 0
