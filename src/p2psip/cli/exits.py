"""How commands end (this module imports nothing large)."""

from __future__ import annotations

import sys
from typing import NoReturn

EXIT_FAILED = 1
EXIT_MISUSE = 2
EXIT_INTERRUPTED = 130


def fail(message: str, status: int) -> NoReturn:
    """Say in one line on stderr what is wrong, and end."""
    print(f"p2psip: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(status)
