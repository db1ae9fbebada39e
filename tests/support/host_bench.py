"""The driver of a peer on loopback sockets, with a core that only takes notes; and others, to dial and be dialled."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import cast

from candidates import dtls
from driver_bench import HERE, Disk, Notes, context, datagram_context
from free_ports import free_port
from OpenSSL import SSL

from p2psip.base.address import Address
from p2psip.base.effects import Effect
from p2psip.coupling.peer import Peer
from p2psip.net.node_host import HostSettings, LinkContexts
from p2psip.net.peer_host import Endpoints, PeerHost
from p2psip.net.sockets.tls import SocketStream, TlsStream
from p2psip.reload.paths.values import Candidate
from p2psip.sim.membership import DATE


async def until(condition: Callable[[], object]) -> None:
    """Wait until something holds."""
    deadline = asyncio.get_running_loop().time() + 60
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, condition
        await asyncio.sleep(0.005)


@dataclass
class Bench:
    """A host with its core and its disk, and what went wrong in the event loop."""

    host: PeerHost
    core: Notes
    disk: Disk
    overlay: Address
    others: list[Effect]
    faults: list[dict[str, object]]

    def dial(self, number: int, candidates: tuple[Candidate, ...]) -> None:
        """Have the core connect."""
        self.host.call(lambda now: self.core.dial(number, candidates, now))

    def do(self, *effects: Effect) -> None:
        """Have the core want something."""
        self.host.call(lambda now: self.core.wanted.extend(effects))


def run(test: Callable[[Bench], Awaitable[None]], **endpoints: object) -> None:
    async def main() -> None:
        core, disk, others = Notes(), Disk(), list[Effect]()
        faults: list[dict[str, object]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, fault: faults.append(fault))
        settings = HostSettings(LinkContexts(context(), datagram_context(1)), disk, DATE, path_mtu=1400)
        host = PeerHost(cast(Peer, core), settings, others.append)
        overlay = next(iter(endpoints.get("overlay", ())), Address(HERE, free_port()))  # type: ignore[call-overload]
        fields = {
            "overlay": (overlay,),
            "overlay_udp": (),
            "sip": (),
            "phone_udp": (),
            "phone_tcp": (),
        }
        try:
            await host.listen(Endpoints(**(fields | endpoints)))  # type: ignore[arg-type]
            async with asyncio.timeout(120):
                await test(Bench(host, core, disk, overlay, others, faults))
        finally:
            host.close()
            await asyncio.sleep(0.05)

    asyncio.run(main())


class Other:
    """Another peer's TLS server."""

    def __init__(self) -> None:
        self.streams: list[TlsStream] = []
        self.data = bytearray()
        self.up, self.down = asyncio.Event(), asyncio.Event()

    async def listen(self, host: str = HERE, port: int = 0) -> Address:
        def accept() -> TlsStream:
            self.streams.append(TlsStream(context(2), self, is_server=True))
            return self.streams[-1]

        self.server = await asyncio.get_running_loop().create_server(accept, host, port)
        return Address(*self.server.sockets[0].getsockname())

    def stream_accepted(self, stream: TlsStream) -> None:
        pass

    def stream_up(self, stream: TlsStream, certificates: tuple[bytes, ...]) -> None:
        self.up.set()

    def stream_data(self, stream: TlsStream, data: bytes) -> None:
        self.data += data

    def stream_down(self, stream: TlsStream, reason: str) -> None:
        self.down.set()

    def pause(self) -> None:
        """Read nothing more."""
        for stream in self.streams:
            assert stream._transport is not None
            stream._transport.pause_reading()

    def close(self) -> None:
        self.server.close()
        for stream in self.streams:
            stream.abort("the test is over")


@dataclass
class End:
    """The user of an association that is none of the host's."""

    data: list[bytes] = field(default_factory=list)
    is_up: bool = False
    is_down: bool = False

    def stream_accepted(self, stream: SocketStream) -> None:
        pass

    def stream_up(self, stream: SocketStream, certificates: tuple[bytes, ...]) -> None:
        self.is_up = True

    def stream_data(self, stream: SocketStream, data: bytes) -> None:
        self.data.append(data)

    def stream_down(self, stream: SocketStream, reason: str) -> None:
        self.is_down = True

    async def has_heard(self, count: int) -> None:
        await until(lambda: len(self.data) >= count)

    async def has_ended(self) -> None:
        await until(lambda: self.is_down)


def nobody() -> Address:
    """An address where nobody listens."""
    return Address(HERE, free_port())


class Pair:
    """Two drivers beside each other, each at a UDP port of its own."""

    def __init__(self) -> None:
        self.cores = Notes(), Notes()
        self.addresses = [Address(HERE, free_port()) for _ in self.cores]
        self.hosts = [
            PeerHost(
                cast(Peer, core),
                HostSettings(LinkContexts(context(number), datagram_context(number)), Disk(), DATE),
                list[Effect]().append,
            )
            for number, core in enumerate(self.cores, 1)
        ]

    async def listen(self) -> None:
        for host, address in zip(self.hosts, self.addresses, strict=True):
            await host.listen_datagram_links([address])

    def dial(self, which: int) -> None:
        """One dials the other; the dial is called number 2."""
        other = dtls(self.addresses[1 - which])
        self.hosts[which].call(lambda now: self.cores[which].dial(2, other, now))

    def close(self) -> None:
        for host in self.hosts:
            host.close()


async def shake(client: SSL.Connection, other: socket.socket) -> None:
    """A TLS handshake by hand, after which the connection is left as it is."""
    loop = asyncio.get_running_loop()
    while True:
        try:
            client.do_handshake()
        except SSL.WantReadError:
            await loop.sock_sendall(other, client.bio_read(1 << 16))
            client.bio_write(await loop.sock_recv(other, 1 << 16))
            continue
        break
    await loop.sock_sendall(other, client.bio_read(1 << 16))
