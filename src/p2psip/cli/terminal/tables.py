"""How commands print what has rows (this module imports nothing large)."""

from __future__ import annotations

from collections.abc import Sequence


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """A line for each row, with its cells under those of the row before; all have as many."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def node_name(user: str, node_id: str) -> str:
    """A node as people know it: its name in the overlay, if that is known, and the beginning of its Node-ID."""
    return f"{user.partition('@')[0]} ({node_id[:8]})" if user else node_id[:8]
