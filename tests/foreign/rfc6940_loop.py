"""An event loop in a thread, for a peer that goes on while a test goes step by step."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class LoopThread:
    """An event loop of its own, so that a test can go step by step while the peer goes on."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def do(self, work: Coroutine[Any, Any, T], limit_s: float = 180.0) -> T:
        """Run it there, wait for it here."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(limit_s)

    def later(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Begin it there, and go on here."""
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def call(self, run: Callable[..., object], *arguments: object) -> None:
        """Call it there."""

        async def once() -> None:
            run(*arguments)

        self.do(once())

    def close(self) -> None:
        self.do(self._end_tasks())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()

    async def _end_tasks(self) -> None:
        """Those that asyncio has of its own as well: handshakes of whoever is still dialling us."""
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
