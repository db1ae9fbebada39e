"""Connections made and accepted, and what becomes of those that a machine refuses."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
from collections.abc import Iterator
from typing import cast

import pytest
from free_ports import free_port

from p2psip.base.address import Address
from p2psip.base.errors import LocalMisuse
from p2psip.net.sockets import tcp
from p2psip.net.sockets.tcp import StreamListener, connect_tcp

HERE = "127.0.0.1"


class Accepted(asyncio.Protocol):
    """What became of one connection."""

    def __init__(self) -> None:
        self.transport: asyncio.BaseTransport | None = None
        self.lost: list[Exception | None] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.append(exc)


class Bench:
    """A listener, and what it accepts and tells."""

    def __init__(self, path_mtu: int | None = None) -> None:
        self.accepted: list[Accepted] = []
        self.told: list[str] = []
        self.address = Address(HERE, free_port())
        self.listener = StreamListener.bind(self.address, self._make, self.told.append, path_mtu)

    def _make(self) -> Accepted:
        self.accepted.append(Accepted())
        return self.accepted[-1]

    async def has_accepted(self, count: int) -> None:
        deadline = asyncio.get_running_loop().time() + 10
        while sum(1 for each in self.accepted if each.transport is not None) < count:
            assert asyncio.get_running_loop().time() < deadline, self.told
            await asyncio.sleep(0.005)

    def close(self, *others: Accepted) -> None:
        self.listener.close()
        for each in (*self.accepted, *others):
            if each.transport is not None:
                cast(asyncio.Transport, each.transport).abort()


@pytest.fixture
def idle() -> Iterator[list[socket.socket]]:
    """Connections of others, closed at the end."""
    sockets: list[socket.socket] = []
    yield sockets
    for each in sockets:
        each.close()


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        (HERE, "Connection refused"),
        ("fe80::1%no-such-interface", "no interface with this name"),
        ("a..b", "label empty or too long"),
        ("2001:db8::1%1\u20ac", "."),
    ],
)
def test_whatever_is_wrong_with_an_address_it_is_said(host: str, reason: str) -> None:
    async def main() -> None:
        with pytest.raises(ConnectionError, match=reason):
            await connect_tcp(Accepted, Address(host, free_port()))

    asyncio.run(main())


def test_a_port_out_of_range() -> None:
    async def main() -> None:
        with pytest.raises(ConnectionError, match="port"):
            await connect_tcp(Accepted, Address(HERE, 70_000))
        with pytest.raises(LocalMisuse, match=r"cannot listen on tcp 127.0.0.1:70000: .*port"):
            StreamListener.bind(Address(HERE, 70_000), Accepted, print)

    asyncio.run(main())


@pytest.mark.parametrize("path_mtu", [576, 1280])
def test_neither_end_sends_longer_packets(path_mtu: int) -> None:
    """Whichever end says it, in its SYN; the other one here says nothing, and loopback takes 64 kB."""

    async def main() -> None:
        plain, limited = Bench(), Bench(path_mtu)
        dialled = [
            await connect_tcp(Accepted, plain.address, path_mtu),
            await connect_tcp(Accepted, limited.address),
        ]
        await plain.has_accepted(1)
        await limited.has_accepted(1)
        for each in (*dialled, *plain.accepted, *limited.accepted):
            assert each.transport is not None
            sock = each.transport.get_extra_info("socket")
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG) <= path_mtu - 40
        plain.close(*dialled)
        limited.close()
        await asyncio.sleep(0.01)

    asyncio.run(main())


def test_a_shortage_is_told_once_and_passes(monkeypatch: pytest.MonkeyPatch, idle: list[socket.socket]) -> None:
    monkeypatch.setattr(tcp, "ACCEPT_PAUSE_S", 0.02)

    async def main() -> None:
        bench = Bench()
        idle.extend(socket.socket() for _ in range(3))
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        probe = os.open("/", os.O_RDONLY)
        os.close(probe)
        resource.setrlimit(resource.RLIMIT_NOFILE, (probe, hard))
        try:
            for each in idle:
                each.connect(bench.address)
            await asyncio.sleep(0.1)
            assert (bench.accepted, bench.told) == ([], ["Too many open files"])
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        await bench.has_accepted(3)
        assert len(bench.told) == 1
        bench.close()
        await asyncio.sleep(0.01)

    asyncio.run(main())


def test_the_last_descriptors_are_not_for_whoever_connects(
    monkeypatch: pytest.MonkeyPatch, idle: list[socket.socket]
) -> None:
    async def main() -> None:
        bench = Bench()
        monkeypatch.setattr(tcp, "_descriptors_max", lambda: 0)
        idle.append(socket.create_connection(bench.address))
        idle[0].setblocking(False)
        assert await asyncio.wait_for(asyncio.get_running_loop().sock_recv(idle[0], 1), 10) == b""
        assert (bench.accepted, bench.told) == ([], ["descriptors are short"])
        bench.listener.close()

    asyncio.run(main())


def test_a_closed_listener_may_be_closed_again_and_its_port_is_free() -> None:
    async def main() -> None:
        bench = Bench()
        bench.listener.close()
        bench.listener.close()
        StreamListener.bind(bench.address, Accepted, print).close()

    asyncio.run(main())


def test_several_connections_from_one_port_at_which_nobody_listens() -> None:
    """As whom others see that port is the same for all of them; a port where somebody listens is another matter."""

    async def main() -> None:
        servers = Bench(), Bench()
        local = Address(HERE, free_port())
        dialled = [await connect_tcp(Accepted, each.address, local=local) for each in servers]
        for server, each in zip(servers, dialled, strict=True):
            await server.has_accepted(1)
            for end, name in ((each, "sockname"), (server.accepted[0], "peername")):
                assert end.transport is not None
                assert Address(*end.transport.get_extra_info(name)) == local
        with pytest.raises(ConnectionError, match="in use"):
            await connect_tcp(Accepted, servers[0].address, local=servers[1].address)
        for server, each in zip(servers, dialled, strict=True):
            server.close(each)
        await asyncio.sleep(0.01)

    asyncio.run(main())
