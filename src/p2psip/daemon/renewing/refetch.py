"""`python -m p2psip.daemon.renewing.refetch STATE_DIR`: prints the configuration document as its servers have it now.

A running peer asks for it in a process of its own, as for a renewal: HTTPS and DNS would stay in memory for a year.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

import structlog

from p2psip.base.errors import P2psipError
from p2psip.daemon.child import run_module

MAX_S = 120.0
CHECK_S = 60.0
"""How often the date is looked at: it jumps."""

EARLIEST, LATEST = 0.5, 0.9
"""11.1: "The node SHOULD retrieve a new copy of the configuration at a randomly selected time that is before the
expiration time": between these parts of the time that is left."""

RETRY_S = 300.0
OUTDATED_S = 30.0
"""Who hears that its configuration is old gets the new one from who said so; if not after this time, from a server."""


class Subject(Protocol):
    """Whose configuration is to be kept fresh."""

    def expiration(self) -> float | None:
        """The date when it ends; None if it does not."""

    def date(self) -> float | None:
        """Seconds since 1970-01-01 UTC; None if nobody knows."""

    async def refetch(self) -> bool:
        """Fetch it and follow it; False if the servers have no newer one. Raises P2psipError."""


class Refresher:
    """Fetches a new configuration before the present one ends, and when others say that it is old."""

    def __init__(self, of: Subject, rng: random.Random) -> None:
        self._of = of
        self._rng = rng
        self._planned: tuple[float, float] | None = None
        self._outdated = asyncio.Event()
        self._log = structlog.get_logger()

    def outdated(self) -> None:
        """Another member has a newer configuration."""
        self._outdated.set()

    def followed(self) -> None:
        """A newer configuration has come: no server need be asked for it."""
        self._outdated.clear()

    async def run(self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """For ever."""
        while True:
            if self._outdated.is_set():
                await sleep(OUTDATED_S)
                if self._outdated.is_set():
                    self._outdated.clear()
                    await self.fetch()
            await self.check()
            try:
                async with asyncio.timeout(CHECK_S):
                    await self._outdated.wait()
            except TimeoutError:
                continue

    async def check(self) -> None:
        """Fetch it if its time has come."""
        date, ends = self._of.date(), self._of.expiration()
        if date is None or ends is None:
            return
        if self._planned is None or self._planned[0] != ends:
            self._planned = (ends, date + (ends - date) * self._rng.uniform(EARLIEST, LATEST))
        if date >= self._planned[1] and not await self.fetch():
            self._planned = (ends, date + RETRY_S)

    async def fetch(self) -> bool:
        """Fetch it now; True if there was a newer one."""
        try:
            is_new = await self._of.refetch()
        except P2psipError as error:
            self._log.warning("configuration not fetched", reason=str(error), again_in_s=RETRY_S)
            return False
        if not is_new:
            self._log.info("configuration fetched", means="the servers have no newer one")
        return is_new


async def refetch_in_process(directory: Path) -> bytes:
    """The document as the servers have it. Raises RequestFailed in the words of the process."""
    return await run_module(__name__, directory, limit_s=MAX_S)


def main(arguments: list[str]) -> int:
    """The exit status."""
    from p2psip.daemon.state.settings import load_settings
    from p2psip.daemon.state.state import load_document
    from p2psip.net.https.client import refetch_configuration

    directory = Path(arguments[0])
    try:
        document = load_document(directory, load_settings(directory).fingerprint)
        raw = asyncio.run(refetch_configuration(document.configuration))
    except P2psipError as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return 1
    sys.stdout.buffer.write(raw)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
