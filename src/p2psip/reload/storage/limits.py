"""The table of limits of a peer's storage."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """What one peer keeps for others, and how fast. A Kind's own limits (max-count, max-size) come before these."""

    records_max: int = 100_000
    bytes_max: int = 256 << 20
    records_per_user_max: int = 1_000
    bytes_per_user_max: int = 4 << 20
    records_per_node_max: int = 1_000
    bytes_per_node_max: int = 4 << 20
    """What is signed as one Node-ID, under whatever user names."""
    commits_max: int = 1_000
    """Commits that wait for the disk; a Store that would need one more is refused."""
    commit_patience_s: float = 60.0
    """After this a commit counts as failed."""
    sweep_max: int = 200
    """Expired records that are removed at once."""
    sweep_spacing_s: float = 1.0


SEEN_MAX = 4096
"""Places of which a reader remembers the newest storage_time."""
