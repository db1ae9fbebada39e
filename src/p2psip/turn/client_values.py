"""What a TURN client tells of its relay."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from p2psip.base.address import Address
from p2psip.base.effects import Effect
from p2psip.base.frozen import frozen
from p2psip.stun.attributes import Icmp


class Loss(enum.Enum):
    """Why there is no allocation, or no more."""

    ENDED = "we have ended it"
    SILENT = "the relay does not answer"
    UNREACHABLE = "the relay cannot be reached"
    RESTARTED = "the relay knows nothing of us: it has begun anew, or our address has changed"
    CREDENTIAL = "the relay does not take our credential"
    FULL = "the relay has no more room"
    REFUSED = "the relay does not do what we ask for"
    FORGED = "the answers are not those of the relay"


@dataclass(frozen=True, slots=True)
class Allocated(Effect):
    """There is an allocation. `mapped` is our own address as the relay sees it."""

    relayed: tuple[Address, ...]
    mapped: Address


@dataclass(frozen=True, slots=True)
class Permitted(Effect):
    """What is sent to this host arrives there, and what it sends comes here."""

    host: str


@dataclass(frozen=True, slots=True)
class NotPermitted(Effect):
    """The relay does not relay to this host: the code, and its words."""

    host: str
    code: int
    reason: str


@frozen
class RelayedData(Effect):
    """Data of a peer."""

    peer: Address
    data: bytes


@dataclass(frozen=True, slots=True)
class NotArrived(Effect):
    """What went to a peer did not arrive there."""

    peer: Address
    icmp: Icmp


@dataclass(frozen=True, slots=True)
class RelayLost(Effect):
    """There is no allocation, or no more; the client is at its end.

    `retry_after_s` is how long to leave this relay alone; 0 if it may be asked again at once.
    """

    loss: Loss
    reason: str
    retry_after_s: float
