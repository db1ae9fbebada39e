"""p2psip.net.sockets.turn_ports: the ports of a relay, on real sockets."""

from __future__ import annotations

import asyncio
import socket

from free_ports import free_port

from p2psip.base.address import Address
from p2psip.net.sockets.turn_ports import TurnPorts


def test_what_comes_is_told_and_what_goes_leaves_from_there() -> None:
    async def run() -> None:
        came: asyncio.Queue[tuple[Address, Address, bytes]] = asyncio.Queue()
        ports = TurnPorts(lambda *datagram: came.put_nowait(datagram))
        port = Address("127.0.0.1", free_port())
        assert ports.open(port)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.bind(("127.0.0.1", 0))
            peer.settimeout(20)
            here = Address(*peer.getsockname())
            peer.sendto(b"in", port)
            assert await asyncio.wait_for(came.get(), 20) == (port, here, b"in")
            ports.send(port, here, b"out")
            assert await asyncio.to_thread(peer.recvfrom, 100) == (b"out", port)
        assert len(ports) == 1
        assert not ports.open(port), "it is taken, at every address"
        ports.close(port)
        ports.send(port, here, b"nobody has it any more")
        assert len(ports) == 0
        assert ports.open(port)
        ports.close_all()

    asyncio.run(run())


def test_an_address_that_a_router_has_for_this_machine_is_opened_everywhere() -> None:
    """192.0.2.1 is nobody's: a relay behind a router that passes all on to it stands there to others."""

    async def run() -> None:
        came: asyncio.Queue[tuple[Address, Address, bytes]] = asyncio.Queue()
        ports = TurnPorts(lambda *datagram: came.put_nowait(datagram))
        port = Address("192.0.2.1", free_port())
        assert ports.open(port)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.sendto(b"in", ("127.0.0.1", port.port))
            assert (await asyncio.wait_for(came.get(), 20))[::2] == (port, b"in")
        ports.close_all()

    asyncio.run(run())
