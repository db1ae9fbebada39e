"""A question to a router on a connection of its own: what comes until it is closed."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from p2psip.base.address import Address

ANSWER_MAX_S: Final = 6.0
ANSWER_MAX_BYTES: Final = 1 << 18


async def answer_on_stream(remote: Address, request: bytes) -> bytes:
    """The answer; nothing where nobody is there, or it takes too long, or is too much."""
    answer = b""
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(ANSWER_MAX_S):
            reader, writer = await asyncio.open_connection(*remote)
            try:
                writer.write(request)
                while len(answer) <= ANSWER_MAX_BYTES and (data := await reader.read(1 << 16)):
                    answer += data
            finally:
                writer.transport.abort()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
            return answer if len(answer) <= ANSWER_MAX_BYTES else b""
    return b""
