"""Two ends of a link in one process, over TLS and over DTLS on loopback: handshakes a second, messages a second.

Both ends' work counts, with certificates on both sides, framing, acknowledgements and, over DTLS, the window.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator

from bench.results import Result, result
from p2psip.base.address import Address
from p2psip.net.sockets.dtls import require_cookies
from p2psip.net.sockets.dtls_ports import DtlsPorts
from p2psip.net.sockets.tls import SocketStream, TlsStream, make_context
from p2psip.reload.link.datagram import DatagramLink
from p2psip.reload.link.link import Link
from p2psip.reload.link.stream import StreamLink
from p2psip.sim.membership import OVERLAY, Club, key, node_id

HERE = "127.0.0.1"
MESSAGE = bytes(1000)
MESSAGES = 4000
HANDSHAKES = 100
READINGS = 5
DATAGRAM_BYTES = 1232
LIMIT_S = 60.0


class End:
    """One end of the links of a reading: it says when they are up, and counts what arrives."""

    def __init__(self) -> None:
        self.ups: list[SocketStream] = []
        self.changed = asyncio.Event()
        self.heard = 0
        self.links: dict[SocketStream, Link] = {}

    def stream_accepted(self, stream: SocketStream) -> None:
        """net.tls: somebody has connected."""

    def stream_up(self, stream: SocketStream, certificates: tuple[bytes, ...]) -> None:
        """net.tls: the handshake is done."""
        now, room = time.monotonic(), stream.datagram_bytes
        self.links[stream] = StreamLink(1 << 16, now) if room is None else DatagramLink(1 << 16, room, 3.0, now)
        self.ups.append(stream)
        self.changed.set()

    def stream_data(self, stream: SocketStream, data: bytes) -> None:
        """net.tls: bytes came."""
        self.heard += len(self.links[stream].receive(data, time.monotonic()))
        self.flush(stream)
        self.changed.set()

    def stream_down(self, stream: SocketStream, reason: str) -> None:
        """net.tls: it is over."""

    def flush(self, stream: SocketStream) -> None:
        """Write what the link wants written; what it shows of itself is nobody's concern here."""
        for shown in self.links[stream].drain():
            if isinstance(shown, bytes):
                stream.write(shown)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something is so."""
        async with asyncio.timeout(LIMIT_S):
            while not condition():
                self.changed.clear()
                await self.changed.wait()


Connect = Callable[[End], Awaitable[SocketStream]]
OpenServer = Callable[[End], Awaitable[tuple[Connect, Callable[[], None]]]]


def measure() -> Iterator[Result]:
    """TLS beside DTLS."""
    for name, open_server in (("tls", _tls), ("dtls", _dtls)):
        handshakes, messages = asyncio.run(_measure(open_server))
        yield result(f"links.{name}.handshakes", "1/s", handshakes, more_is_better=True)
        yield result(f"links.{name}.messages", "1/s", messages, more_is_better=True)


async def _measure(open_server: OpenServer) -> tuple[list[float], list[float]]:
    readings = [await _read(open_server) for _ in range(READINGS)]
    return [handshakes for handshakes, _ in readings], [messages for _, messages in readings]


async def _read(open_server: OpenServer) -> tuple[float, float]:
    server, client = End(), End()
    connect, close = await open_server(server)
    began = time.monotonic()
    for count in range(1, HANDSHAKES + 1):
        (await connect(client)).begin()
        await client.until(lambda count=count: len(client.ups) == count)  # type: ignore[misc]
    await server.until(lambda: len(server.ups) == HANDSHAKES)
    handshakes = HANDSHAKES / (time.monotonic() - began)
    messages = await _messages(server, client)
    for stream in client.ups:
        stream.close("measured")
    await asyncio.sleep(0.1)
    close()
    return handshakes, messages


async def _messages(server: End, client: End) -> float:
    """What one link carries in one direction, as fast as it takes it."""
    stream = client.ups[-1]
    link = client.links[stream]
    began = time.monotonic()
    for number in range(MESSAGES):
        link.send(number.to_bytes(4, "big") + MESSAGE, time.monotonic())
        client.flush(stream)
        if number % 32 == 31:
            await server.until(lambda number=number: server.heard > number - 256)  # type: ignore[misc]
    while server.heard < MESSAGES:
        link.handle_timeout(time.monotonic())
        client.flush(stream)
        await asyncio.sleep(0.001)
    return MESSAGES / (time.monotonic() - began)


async def _tls(user: End) -> tuple[Connect, Callable[[], None]]:
    loop = asyncio.get_running_loop()
    own, other = (make_context((_certificate(number),), key(number=number)) for number in (1, 2))
    server = await loop.create_server(lambda: TlsStream(own, user, is_server=True), HERE, 0)
    port = server.sockets[0].getsockname()[1]

    async def connect(client: End) -> SocketStream:
        _, stream = await loop.create_connection(lambda: TlsStream(other, client, is_server=False), HERE, port)
        return stream

    return connect, server.close


async def _dtls(user: End) -> tuple[Connect, Callable[[], None]]:
    own, other = (make_context((_certificate(number),), key(number=number), is_datagram=True) for number in (1, 2))
    require_cookies(own)
    server = DtlsPorts(lambda: own, user, lambda *_: None, lambda *_: None, DATAGRAM_BYTES)
    address = await server.bind(Address(HERE, 0))
    ports: list[DtlsPorts] = [server]

    async def connect(client: End) -> SocketStream:
        # One for each, as each is another node.
        ports.append(DtlsPorts(lambda: other, client, lambda *_: None, lambda *_: None, DATAGRAM_BYTES))
        association = await ports[-1].connect(address, DATAGRAM_BYTES)
        await association.answered
        return association

    def close() -> None:
        for port in ports:
            port.close()

    return connect, close


def _certificate(number: int) -> bytes:
    return Club.of().certificate(f"user{number}@{OVERLAY}", [node_id(number)], number=number)
