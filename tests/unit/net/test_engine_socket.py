"""The socket to a media engine, on real sockets of this machine."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest
from free_ports import free_port

from p2psip.base.address import Address
from p2psip.media.relay.rtpengine.engine_control import SendToEngine
from p2psip.net.engine_socket import EngineSocket

Commander = tuple[EngineSocket, "asyncio.Queue[bytes]"]


def run(test: Callable[[Commander], Awaitable[None]]) -> None:
    async def main() -> None:
        said: asyncio.Queue[bytes] = asyncio.Queue()
        engine = EngineSocket(said.put_nowait)
        try:
            async with asyncio.timeout(60):
                await test((engine, said))
        finally:
            engine.close()

    asyncio.run(main())


def bound(host: str, port: int = 0) -> socket.socket:
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    made.bind((host, port))
    made.settimeout(60)
    return made


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_what_the_engine_says_is_heard_and_what_others_say_is_not(host: str) -> None:
    async def test(commander: Commander) -> None:
        engine, said = commander
        with bound(host) as theirs, bound(host) as stranger:
            engine.send(SendToEngine(Address(host, theirs.getsockname()[1]), b"1 ping"))
            data, source = theirs.recvfrom(100)
            assert data == b"1 ping"
            stranger.sendto(b"1 nonsense", source)
            theirs.sendto(b"1 pong", source)
            assert await said.get() == b"1 pong"
            assert said.empty()

    run(test)


def test_an_engine_that_comes_later_is_reached() -> None:
    async def test(commander: Commander) -> None:
        engine, said = commander
        at = Address("127.0.0.1", free_port())
        for _ in range(5):
            engine.send(SendToEngine(at, b"into the void"))
            await asyncio.sleep(0.01)
        with bound(*at) as theirs:
            theirs.settimeout(0.1)
            source = None
            # The machine tells of an earlier one in the place of sending one: the core repeats what has no answer.
            while source is None:
                engine.send(SendToEngine(at, b"1 ping"))
                try:
                    _, source = theirs.recvfrom(100)
                except TimeoutError:
                    continue
            theirs.sendto(b"1 pong", source)
            assert await said.get() == b"1 pong"

    run(test)


def test_where_there_is_no_way_nothing_is_sent_and_nothing_breaks() -> None:
    async def test(commander: Commander) -> None:
        engine, said = commander
        engine.send(SendToEngine(Address("fe80::1%no-such-link", 2223), b"1 ping"))
        engine.send(SendToEngine(Address("255.255.255.255", 2223), b"1 ping"))
        assert said.empty()

    run(test)
