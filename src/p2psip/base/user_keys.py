"""By what a user is known inside a peer: `alice` in the overlay's own domain, `alice@club-b.example` in another one
that the overlay hosts (RFC 7904 section 3.4). So all that keeps something for a user keeps it for one AoR.
"""

from __future__ import annotations


def key_of(aor: str, overlay: str) -> str:
    """The key of a canonical AoR."""
    user, _, domain = aor.rpartition("@")
    return user if domain == overlay else aor


def aor_of(key: str, overlay: str) -> str:
    """The other way round."""
    return key if "@" in key else f"{key}@{overlay}"
