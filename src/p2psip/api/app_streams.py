"""Connections made by AppAttach, as streams of bytes (RFC 6940 section 6.5.2)."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self, cast

from p2psip.base.ids import NodeId
from p2psip.net.node_host import NodeHost
from p2psip.net.sockets.tls import TlsStream
from p2psip.reload.node.application import ApplicationNode

CHUNK_BYTES = 1 << 16


class Stream:
    """A connection with another node, TLS from end to end: bytes both ways, in order.

    `node` has proved to be who it is; `user` is the name in its certificate.
    """

    def __init__(self, core: ApplicationNode, host: NodeHost, link: int, node: NodeId, application: int) -> None:
        self.node = node
        self.user = core.node.name_of(node)
        self.application = application
        self._core = core
        self._host = host
        self._link = link
        self._tls = host.stream(link)
        self._reader = asyncio.StreamReader()
        if self._tls is not None:
            # Whoever sends more than is read is made to wait, by TCP.
            self._reader.set_transport(cast("asyncio.Transport", _Brake(self._tls)))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def read(self, count: int = -1) -> bytes:
        """Up to so many bytes, or all until the other end closes; empty at the end."""
        return await self._reader.read(count)

    async def readexactly(self, count: int) -> bytes:
        """So many bytes; asyncio.IncompleteReadError if the stream ends before."""
        return await self._reader.readexactly(count)

    async def readline(self) -> bytes:
        """A line with its end; what is left, at the end of the stream."""
        return await self._reader.readline()

    async def write(self, data: bytes) -> None:
        """Send bytes, as fast as the other end takes them. Raises ConnectionError if the stream is down."""
        for start in range(0, len(data), CHUNK_BYTES):
            if self._tls is None or not self._tls.is_connected:
                raise ConnectionError(f"the connection with {self.user or self.node.short} is down")
            self._host.call(lambda _, start=start: self._core.write(self._link, data[start : start + CHUNK_BYTES]))  # type: ignore[misc]
            await self._tls.drain()

    def close(self) -> None:
        """End the stream; what was written still goes out."""
        self._host.call(lambda _: self._core.hang_up(self._link, "closed by the application"))

    # For the overlay

    def feed(self, data: bytes) -> None:
        """Bytes came."""
        self._reader.feed_data(data)

    def ended(self) -> None:
        """No more will come."""
        self._reader.feed_eof()


class _Brake:
    """What a StreamReader asks of a transport: to hold its breath."""

    def __init__(self, tls: TlsStream) -> None:
        self._tls = tls

    def pause_reading(self) -> None:
        self._tls.pause_reading()

    def resume_reading(self) -> None:
        self._tls.resume_reading()
