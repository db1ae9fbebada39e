"""What an operator grants, and bounds on what others can make a relay hold, in one table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

DEFAULT_LIFETIME_S: Final = 600
"""RFC 8656 section 3.2: what an allocation lives for if nobody asks for more."""

PERMISSION_S: Final = 300.0
"""Section 9: "The Permission Lifetime MUST be 300 seconds"."""

CHANNEL_S: Final = 600.0
"""Section 12: "A channel binding lasts for 10 minutes unless refreshed"."""

MESSAGE_BYTES_MAX: Final = 65_556
"""The largest message of a client: a datagram of the largest size in a Send indication or on a channel."""

CLIENT_SILENT_S: Final = 40.0
"""An allocation whose client has said nothing for so long gives way to a new one of a user who may have no more. Our
clients speak every 25 s: one that is silent has another address by now, or is gone.
"""

OPENING_TRIES_MAX: Final = 8
"""Ports that are tried for one allocation."""

OPENING_S: Final = 5.0
"""How long the driver may take to open one."""


@dataclass(frozen=True, slots=True)
class TurnLimits:
    """What the operator of a relay sets."""

    allocations: int = 64
    """In all, those whose ports are being opened with them."""
    allocations_per_user: int = 4
    lifetime_max_s: int = 3600
    """Section 7.2: "no more than 3600 seconds (1 hour)" is recommended."""
    permissions: int = 64
    """Of one allocation."""
    channels: int = 64
    """Of one allocation."""
    bytes_per_s: int = 1_250_000
    """Relayed in all, both ways together."""
    bytes_per_s_per_user: int = 64_000
    """Relayed for one user: three calls with G.711."""
    streams: int = 256
    """Streams of clients of which a piece of a message is kept."""
    surplus_bytes_per_s: int = 1_000
    """By how much answers to strangers may be longer than their requests, of all strangers together."""


def lifetime_s(wanted_s: int | None, lifetime_max_s: int) -> int:
    """7.2 and 8.2: what a client asks for, not more than the operator grants and not less than the default."""
    return max(DEFAULT_LIFETIME_S, min(wanted_s or 0, lifetime_max_s))
