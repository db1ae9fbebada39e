"""Groups: one number that rings several lines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

GROUPS_MAX = 64
MEMBERS_MAX = 16
"""Of a group that rings all at once: each is looked up in the overlay, and is a branch of the call or several."""

IN_ORDER_MAX = 6
"""Of one that rings them in order: each is one of the turns that a call may take (ServerLimits.turns)."""

Ringing: TypeAlias = Literal["all", "in-order"]


@dataclass(frozen=True, slots=True)
class Group:
    """Who is called, at once or one after the other, for so long (each, if in order), and who if nobody answers."""

    members: tuple[str, ...]
    ring: Ringing = "all"
    ring_s: int = 20
    otherwise: str = ""
