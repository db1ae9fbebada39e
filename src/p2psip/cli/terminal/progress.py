"""That something is going on, for whoever sits at a terminal."""

from __future__ import annotations

import sys


def busy(what: str) -> None:
    """Say on stderr what takes a while now; nothing where nobody looks."""
    if sys.stderr.isatty():
        print(f"{what} ...", file=sys.stderr, flush=True)
