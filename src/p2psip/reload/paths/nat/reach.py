"""What is known of the boxes between a node and the others, in the words of RFC 4787, and whether it can be reached."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

from p2psip.base.address import Address
from p2psip.base.ids import NodeId

CONFIRMATIONS: Final = 2
"""So many other members must have reached a node that nobody asked for, before it takes itself for reachable."""


class EndpointDependence(enum.Enum):
    """On how much of the remote a mapping, or a filter, depends (RFC 4787 sections 4.1 and 5)."""

    NONE = "endpoint-independent"
    ADDRESS = "address-dependent"
    ADDRESS_AND_PORT = "address-and-port-dependent"
    SOME = "address-dependent, and perhaps port-dependent"
    """Where no member could tell which of the two."""


@dataclass(frozen=True, slots=True)
class Reach:
    """What a survey has found, as far as it has come: what is None is not known.

    `local` is the port of links as this machine has it, `address` as others see it.
    """

    at: float
    helpers: int = 0
    """How many members were asked as whom they see us."""
    local: Address | None = None
    address: Address | None = None
    is_udp_blocked: bool = False
    """True if none of them answered over UDP."""
    mapping: EndpointDependence | None = None
    filtering: EndpointDependence | None = None
    hairpins: bool | None = None
    """True if what is sent to the outside address of a port inside comes to that port (RFC 4787 section 6)."""
    keeps_s: float | None = None
    """A mapping was still there after so long a silence."""
    forgets_s: float | None = None
    """And was not after so long a one."""
    opened_by: tuple[NodeId, ...] = ()
    """Members that reached a port of ours from which nothing was ever sent to them."""
    reached_by: tuple[NodeId, ...] = ()
    """The same of the port of links."""
    is_cut_short: bool = False
    """True if members were asked too often to tell all."""

    @property
    def has_nat(self) -> bool | None:
        """True if others see another address than this machine has."""
        return None if self.address is None or self.local is None else self.address.host != self.local.host

    @property
    def is_open(self) -> bool:
        """True if any port of ours can be reached by anybody, at the address that this machine has."""
        return (
            self.has_nat is False
            and self.filtering is EndpointDependence.NONE
            and len(set(self.opened_by)) >= CONFIRMATIONS
        )

    @property
    def is_dialable(self) -> bool:
        """True if the port of links can be reached by who was never sent anything from it."""
        if len(set(self.reached_by)) >= CONFIRMATIONS:
            return True
        is_any_port = self.mapping is EndpointDependence.NONE and self.filtering is EndpointDependence.NONE
        return is_any_port and len(set(self.opened_by)) >= CONFIRMATIONS

    @property
    def is_sure(self) -> bool:
        """False if something is not known that a member more could tell, or the same ones later."""
        confirmed = {len(set(self.opened_by)), len(set(self.reached_by))}
        is_all_known = None not in (self.mapping, self.filtering) and not self.is_cut_short
        return self.is_udp_blocked or (is_all_known and not confirmed & {1})

    @property
    def can_punch(self) -> bool | None:
        """True if it is reached by whoever it sends to at the same time, whatever that one is behind, symmetric NATs
        excepted; False for one that needs a relay, or a peer that is dialable, wherever the other end filters by port.
        """
        return None if self.mapping is None else self.mapping is EndpointDependence.NONE
