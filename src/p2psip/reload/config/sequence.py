"""Sequence numbers of configurations (RFC 6940 section 6.3.2.1)."""

from __future__ import annotations

from typing import Final

SEQUENCES: Final = 65535
""" "monotonically increasing mod 65535": 0 to 65534, and 0 follows 65534."""


def is_newer(sequence: int, than: int) -> bool:
    """True if one sequence number is greater than another.

    "Because the sequence number may, in principle, wrap, greater than or less than are interpreted by modulo
    arithmetic as in TCP."
    """
    return 0 < (sequence - than) % SEQUENCES <= SEQUENCES // 2


def next_sequence(sequence: int) -> int:
    """ "peers sending a new configuration when the configuration sequence is currently 65534 MUST set the
    configuration sequence number to 0 when they send a new configuration."
    """
    return (sequence + 1) % SEQUENCES
