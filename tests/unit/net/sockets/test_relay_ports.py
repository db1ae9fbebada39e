"""A relay on real sockets of this machine."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Awaitable, Callable

import pytest

from p2psip.media.relay.description import read
from p2psip.media.relay.ports import ClosePorts, OpenPorts
from p2psip.media.relay.relay import CALLEE, CALLER, Relay
from p2psip.media.relay.sides import Phone, SendFrom
from p2psip.media.rtp import RtpPacket
from p2psip.net.sockets.relay_ports import RelayPorts

V4, V6 = "127.0.0.1", "::1"
PACKET = RtpPacket(0, 1, 160, 7, bytes(160)).encode()


class Carrier:
    """What the host of a peer does for its relay."""

    def __init__(self) -> None:
        self.relay = Relay(random.Random())
        self.ports = RelayPorts(self.take)
        self.relay.start()
        self.settle()

    def take(self, port: int, remote: tuple[str, int], data: bytes) -> None:
        self.relay.handle_datagram(port, remote, data, asyncio.get_running_loop().time())
        self.settle()

    def settle(self) -> None:
        while effects := self.relay.drain():
            for effect in effects:
                match effect:
                    case OpenPorts(_, port):
                        self.relay.handle_ports(port, self.ports.open(effect), 0.0)
                    case ClosePorts():
                        self.ports.close(effect)
                    case SendFrom():
                        self.ports.send(effect)


def run(test: Callable[[Carrier], Awaitable[None]]) -> None:
    async def main() -> None:
        carrier = Carrier()
        try:
            async with asyncio.timeout(60):
                await test(carrier)
        finally:
            carrier.ports.close_all()

    asyncio.run(main())


def phone(host: str) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((host, 0))
    sock.setblocking(False)
    return sock


def sdp(sock: socket.socket) -> bytes:
    host, port = sock.getsockname()[:2]
    version = f"IN IP{6 if ':' in host else 4} {host}"
    return "\r\n".join(["v=0", f"o=- 1 1 {version}", "s=-", f"c={version}", f"m=audio {port} RTP/AVP 0", ""]).encode()


@pytest.mark.parametrize(("one", "other"), [(V4, V4), (V4, V6), (V6, V6)])
def test_a_packet_passes_and_comes_from_the_port_that_the_other_phone_was_told(one: str, other: str) -> None:
    async def test(carrier: Carrier) -> None:
        loop = asyncio.get_running_loop()
        with phone(one) as alice, phone(other) as bob:
            call = carrier.relay.begin("call", Phone("alice", one, one), Phone("bob", other, other))
            (for_bob,) = read(carrier.relay.describe(call, CALLER, sdp(alice), 0.0))
            (for_alice,) = read(carrier.relay.describe(call, CALLEE, sdp(bob), 0.0))
            assert for_bob.rtp is not None
            assert for_alice.rtp is not None
            for sender, to, receiver, told in ((alice, for_alice, bob, for_bob), (bob, for_bob, alice, for_alice)):
                assert to.rtp is not None
                sender.sendto(PACKET, to.rtp)
                data, source = await loop.sock_recvfrom(receiver, 2048)
                assert data == PACKET
                assert source[:2] == told.rtp
            carrier.relay.end(call, "over", 0.0)
            carrier.settle()
            for told in (for_alice, for_bob):
                assert told.rtp is not None
                with socket.socket(alice.family if told is for_alice else bob.family, socket.SOCK_DGRAM) as again:
                    again.bind(told.rtp)  # it is nobody's any more

    run(test)


def test_a_pair_of_which_somebody_has_one_is_not_opened() -> None:
    async def test(carrier: Carrier) -> None:
        with phone("0.0.0.0") as taken:
            port = taken.getsockname()[1] & ~1
            assert not carrier.ports.open(OpenPorts(4, port))
            assert carrier.ports.open(OpenPorts(6, port))
            carrier.ports.close(ClosePorts(port))

    run(test)


def test_what_cannot_be_sent_is_lost_and_nothing_else() -> None:
    async def test(carrier: Carrier) -> None:
        carrier.ports.send(SendFrom(1, V4, (V4, 9), PACKET))  # there is no such port
        call = carrier.relay.begin("call", Phone("alice", V4, V4), Phone("bob", V4, V4))
        with phone(V4) as alice:
            (told,) = read(carrier.relay.describe(call, CALLER, sdp(alice), 0.0))
            assert told.rtp is not None
            port = told.rtp[1]
            carrier.ports.send(SendFrom(port, "192.0.2.1", (V4, 9), PACKET))  # no address of this machine
            carrier.ports.send(SendFrom(port, V4, (V4, 9), bytes(70_000)))
            carrier.ports.send(SendFrom(port, V4, alice.getsockname(), PACKET))
            data, _ = await asyncio.get_running_loop().sock_recvfrom(alice, 2048)
            assert data == PACKET

    run(test)
