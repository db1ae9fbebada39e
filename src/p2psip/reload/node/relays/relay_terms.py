"""What an operator says of the relay that a node may be."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from p2psip.turn.limits import TurnLimits


class RelayWish(enum.Enum):
    """Whether a node is to relay for other members."""

    YES = "yes"
    NO = "no"
    AUTO = "auto"
    """If others confirm that any port of this machine can be reached."""


@dataclass(frozen=True, slots=True)
class RelayTerms:
    """That, and within what limits."""

    wish: RelayWish = RelayWish.NO
    limits: TurnLimits = field(default_factory=TurnLimits)


class RelayContext:
    """Why a node makes a request that has to do with relays."""

    __slots__ = ()
