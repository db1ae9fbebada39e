"""People in a directory, for tests of what phones read."""

from __future__ import annotations

from p2psip.directory.listing import Card, Listed, ReachState, in_order

OVERLAY = "club.example"


def person(user: str, card: Card | None = None, *, dial: str = "", is_there: bool = True) -> Listed:
    """One of them."""
    reach = ReachState.PHONE if is_there else ReachState.UNKNOWN
    line = user.encode().hex().ljust(32, "0")
    heard_s = 12.0 if is_there else None
    return Listed(f"{user}@{OVERLAY}", card or Card(), line, "07" * 16, reach, heard_s, dial or user)


PEOPLE = in_order(
    [
        person("alice", Card("Alice Hill", "200", "Hill", "DL1ABC"), dial="200"),
        person("bob", Card("Bob <Valley> & Sons", "", "Valley"), is_there=False),
        person("carol"),
        person("jose", Card("José Müller", "0049 (30) 1-2", "Berlin, Süd"), dial="0049301-2"),
        person("mallory", Card("Alice Hill", "200", "Elsewhere", "DL1ABC")),
    ]
)
