"""`python -m p2psip.daemon.renewing.renew STATE_DIR [LINE]`: renew one certificate, and end.

A running peer does it in a process of its own, because what it takes (HTTPS, its libraries) would stay in memory for
a year until it is wanted again.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from p2psip.base.errors import P2psipError
from p2psip.daemon.child import run_module

MAX_S = 300.0


async def renew_in_process(directory: Path, name: str | None) -> None:
    """Renew the peer's certificate, or that of its line `name`. Raises RequestFailed in the words of the process."""
    await run_module(__name__, directory, *([name] if name is not None else []), limit_s=MAX_S)


async def _renew(directory: Path, name: str | None) -> None:
    from p2psip.daemon.init import renew_peer
    from p2psip.daemon.lines.line_setup import renew_line
    from p2psip.daemon.state.state import load_state

    state = load_state(directory)
    if name is None:
        await renew_peer(state)
    else:
        await renew_line(state, name)


def main(arguments: list[str]) -> int:
    """The exit status."""
    directory, *names = arguments
    try:
        asyncio.run(_renew(Path(directory), names[0] if names else None))
    except P2psipError as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
