"""Who is in a room, as a mixer tells it to the peers whose phones are in: the body of an INFO within each call.

A line for each, in the order in which they came; between our own agents alone.
"""

from __future__ import annotations

from collections.abc import Iterable

ROSTER = "text/plain"
METHOD = "INFO"

NAMES_MAX = 128
NAME_MAX = 64


def shown_name(name: str) -> str:
    """A name as the others are shown it."""
    return "".join(each for each in name if each.isprintable())[:NAME_MAX] or "somebody"


def write_roster(names: Iterable[str]) -> bytes:
    """In a body; of very many the first."""
    return "\n".join(list(names)[:NAMES_MAX]).encode()


def read_roster(body: bytes) -> tuple[str, ...]:
    """Whatever of it are names."""
    lines = body[: NAMES_MAX * (4 * NAME_MAX + 1)].decode(errors="replace").split("\n", NAMES_MAX)[:NAMES_MAX]
    return tuple(line[:NAME_MAX] for line in lines if line and line.isprintable())
