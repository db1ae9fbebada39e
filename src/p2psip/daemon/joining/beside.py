"""An enrollment server beside a peer, in one process: `p2psip up`.

It has a thread and an event loop of its own. What it waits for (its database, scrypt, a signature) keeps no call
waiting, and what goes wrong in a connection of its clients is not taken for a bug of the peer.
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
EXIT_BUG = 70

log = structlog.get_logger("p2psip.enrollment")


class EnrollmentBeside:
    """A context: inside it the server runs. Raises on entry what keeps it from beginning."""

    def __init__(self, directory: Path, listen: str | None, ready: Callable[[str], None]) -> None:
        self._daemon = EnrollmentDaemon(directory, listen)
        self._ready = ready
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._begun: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, name="enrollment", daemon=True)

    def __enter__(self) -> EnrollmentBeside:
        """Returns when requests are taken."""
        self._thread.start()
        self._begun.result()
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
        except P2psipError as error:
            if self._begun.done():
                log.error("enrollment has ended", reason=str(error))
                os._exit(EXIT_BUG)
            self._begun.set_exception(error)
        except BaseException:
            # A bug ends the whole process, loudly, as one of the peer does; a supervisor starts it again.
            log.exception("enrollment has failed")
            os._exit(EXIT_BUG)

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        await self._daemon.serve(self._stop, self._is_ready)

    def _is_ready(self, url: str) -> None:
        self._ready(url)
        self._begun.set_result(None)
