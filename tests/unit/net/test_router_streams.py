"""p2psip.net.router_streams: a whole answer, or nothing."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from p2psip.base.address import Address
from p2psip.net import router_streams
from p2psip.net.router_streams import ANSWER_MAX_BYTES, answer_on_stream

REQUEST = b"hello"


def answer_of(said: bytes, *, closes: bool = True) -> bytes:
    """What comes of a server that hears the request, says this, and closes or does not."""

    async def ask() -> bytes:
        is_served = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            assert await reader.readexactly(len(REQUEST)) == REQUEST
            with contextlib.suppress(OSError):
                writer.write(said)
                if not closes:
                    await reader.read()
                writer.close()
                await writer.wait_closed()
            is_served.set()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            answer = await answer_on_stream(Address(*server.sockets[0].getsockname()), REQUEST)
            await is_served.wait()
            return answer

    return asyncio.run(ask())


def test_all_that_comes_until_the_end() -> None:
    assert answer_of(b"x" * 100_000) == b"x" * 100_000


def test_too_much_is_nothing() -> None:
    assert answer_of(b"x" * (ANSWER_MAX_BYTES + 1)) == b""


def test_who_never_ends_has_said_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(router_streams, "ANSWER_MAX_S", 0.05)
    assert answer_of(b"x", closes=False) == b""


def test_where_nobody_is_nothing_comes() -> None:
    assert asyncio.run(answer_on_stream(Address("127.0.0.1", 1), REQUEST)) == b""
