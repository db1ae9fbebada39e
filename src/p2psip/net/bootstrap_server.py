"""A bootstrap server: no peer, knows some, and passes on what who joins and one of them say to each other.

It holds no key and reads nothing: the handshake is between the two ends, each of which sees the other's certificate.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable

from p2psip.base.address import Address
from p2psip.net.node_host import boot_time
from p2psip.net.sockets.addresses import address_of, sockaddr_of, taken, words
from p2psip.net.sockets.tcp import REFUSALS, family_of
from p2psip.reload.paths.introduction import Introductions

ANSWER_MAX_S = 2.0
"""How long a peer has to answer; who joins waits 8 s for all of them."""

IDLE_MAX_S = 300.0
"""A connection over which nothing goes for so long is cut; links say something every 15 s."""

PIECE_BYTES = 1 << 14

Tell = Callable[[str, dict[str, object]], None]
"""Called with an event for the log, and its facts."""


class BootstrapServer:
    """One that runs, from `listen` to `close`."""

    def __init__(self, introductions: Introductions, tell: Tell) -> None:
        self._introductions = introductions
        self._tell = tell
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def listen(self, local: Address) -> Address:
        """Take connections there; where that is. Raises LocalMisuse."""
        sock = socket.socket(family_of(local.host), socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(sockaddr_of(local))
        except REFUSALS as error:
            sock.close()
            raise taken("tcp", local, error) from None
        self._server = await asyncio.start_server(self._accepted, sock=sock)
        return address_of(sock.getsockname())

    async def close(self) -> None:
        """Take no more, and cut those that there are."""
        if self._server is not None:
            self._server.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        remote = writer.get_extra_info(name="peername")
        if task is None or remote is None:
            # Gone before it was looked at.
            writer.close()
            return
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        source = address_of(remote)
        ways = self._introductions.accept(source, boot_time())
        try:
            if ways:
                await self._introduce(source, ways, reader, writer)
            else:
                self._tell("introduction refused", {"source": str(source), "reason": "too many connections"})
        except asyncio.CancelledError:
            # `close` wants that; the library would write of it to the log.
            return
        finally:
            if ways:
                self._introductions.over(source)
            writer.close()

    async def _introduce(
        self, source: Address, ways: list[Address], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        reasons = []
        for peer in ways:
            try:
                async with asyncio.timeout(ANSWER_MAX_S):
                    there = await asyncio.open_connection(*peer)
            except (*REFUSALS, TimeoutError) as error:
                self._introductions.failed(peer, boot_time())
                reasons.append(f"{peer}: {words(error)}")
                continue
            self._introductions.answered(peer)
            self._tell("introduced", {"source": str(source), "peer": str(peer)})
            await _pass_on(reader, writer, *there)
            return
        self._tell("no peer answers", {"source": str(source), "reason": "; ".join(reasons)})


async def _pass_on(
    here_in: asyncio.StreamReader,
    here_out: asyncio.StreamWriter,
    there_in: asyncio.StreamReader,
    there_out: asyncio.StreamWriter,
) -> None:
    """Both ways, until either end has closed, or nothing has gone for a while."""
    ways = {asyncio.create_task(_pump(here_in, there_out)), asyncio.create_task(_pump(there_in, here_out))}
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        there_out.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, TimeoutError):
        while True:
            async with asyncio.timeout(IDLE_MAX_S):
                piece = await reader.read(PIECE_BYTES)
            if not piece:
                return
            writer.write(piece)
            # Who does not read is not read from either.
            async with asyncio.timeout(IDLE_MAX_S):
                await writer.drain()
