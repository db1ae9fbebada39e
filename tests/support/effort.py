"""How hard tests of chance try: `make soak` sets EFFORT, and they try so many times as often."""

from __future__ import annotations

import os

EFFORT = int(os.environ.get("EFFORT", "1"))


def times(count: int) -> int:
    """What is tried `count` times on an ordinary day."""
    return EFFORT * count
