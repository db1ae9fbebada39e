"""An enrollment server beside a peer, in one process: `p2psip up`.

It has a thread and an event loop of its own. What it waits for (its database, scrypt, a signature) keeps no call
waiting, and what goes wrong in a connection of its clients is not taken for a bug of the peer. Calls do not need it:
while it cannot run (the clock of this machine is not set yet, another program has its port) the peer does without.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType

import structlog

from p2psip.base.errors import P2psipError
from p2psip.daemon.enrollment import EnrollmentDaemon

STOP_MAX_S = 5.0
RETRY_S = 10.0
EXIT_BUG = 70

log = structlog.get_logger("p2psip.enrollment")


class EnrollmentBeside:
    """A context: inside it the server runs, or is tried again. Raises LocalMisuse if the directory is none."""

    def __init__(self, directory: Path, listen: str | None, ready: Callable[[str], None]) -> None:
        self._daemon = EnrollmentDaemon(directory, listen)
        self._ready = ready
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._tried: Future[None] = Future()
        """Done when it runs, or it is clear that it cannot now."""
        self._thread = threading.Thread(target=self._run, name="enrollment", daemon=True)

    def __enter__(self) -> EnrollmentBeside:
        """Returns when requests are taken, or cannot be taken now."""
        self._thread.start()
        self._tried.result()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends it, but does not wait for it for ever."""
        if self._loop is not None and self._stop is not None:
            # It may have ended by itself.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(STOP_MAX_S)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException:
            # A bug ends the whole process, loudly, as one of the peer does; a supervisor starts it again.
            log.exception("enrollment has failed")
            os._exit(EXIT_BUG)

    async def _serve(self) -> None:
        self._loop, self._stop, said = asyncio.get_running_loop(), asyncio.Event(), ""
        while not self._stop.is_set():
            try:
                await self._daemon.serve(self._stop, self._is_ready)
            except P2psipError as error:
                if str(error) != said:
                    log.warning("nobody can be enrolled now", reason=str(error), means="calls go on; it is tried again")
                said = str(error)
                self._has_tried()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), RETRY_S)

    def _is_ready(self, url: str) -> None:
        self._ready(url)
        self._has_tried()

    def _has_tried(self) -> None:
        if not self._tried.done():
            self._tried.set_result(None)
