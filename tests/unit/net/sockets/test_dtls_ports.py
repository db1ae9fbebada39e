"""One UDP socket an address: many associations, both ends dialling at once, refusals, garbage."""

from __future__ import annotations

import asyncio
import os
import random
import resource
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest
from driver_bench import HERE, datagram_context
from dtls_client import connect_dtls

from p2psip.base.address import Address
from p2psip.net.sockets.datagrams import DatagramSocket
from p2psip.net.sockets.dtls import DtlsAssociation
from p2psip.net.sockets.dtls_ports import DtlsPorts
from p2psip.net.sockets.tls import SocketStream
from p2psip.reload.paths.demux import Pair

DATAGRAM_BYTES = 1232


@dataclass
class Node:
    """A node's DTLS, and what it hears."""

    ports: DtlsPorts = field(init=False)
    address: Address = field(init=False)
    accepted: list[DtlsAssociation] = field(default_factory=list)
    replaced: list[DtlsAssociation] = field(default_factory=list)
    ups: list[SocketStream] = field(default_factory=list)
    downs: list[tuple[SocketStream, str]] = field(default_factory=list)
    data: list[tuple[SocketStream, bytes]] = field(default_factory=list)
    stun: list[tuple[Address, Address, bytes]] = field(default_factory=list)

    @classmethod
    async def start(cls, number: int, host: str = HERE) -> Node:
        node = cls()
        node.ports = DtlsPorts(lambda: datagram_context(number), node, node.accept, node.stun_arrived, DATAGRAM_BYTES)
        bound = await node.ports.bind(Address(host, 0))
        node.address = Address(HERE, bound.port)
        return node

    def accept(self, association: DtlsAssociation, ours: DtlsAssociation | None) -> None:
        self.accepted.append(association)
        if ours is not None:
            self.replaced.append(ours)

    def stun_arrived(self, local: Address, remote: Address, data: bytes) -> None:
        self.stun.append((local, remote, data))

    def stream_accepted(self, stream: SocketStream) -> None:
        pass

    def stream_up(self, stream: SocketStream, certificates: tuple[bytes, ...]) -> None:
        self.ups.append(stream)

    def stream_data(self, stream: SocketStream, data: bytes) -> None:
        self.data.append((stream, data))

    def stream_down(self, stream: SocketStream, reason: str) -> None:
        self.downs.append((stream, reason))

    async def dial(self, other: Node) -> DtlsAssociation:
        association = await self.ports.connect(other.address, DATAGRAM_BYTES)
        await association.answered
        association.begin()
        return association

    def close(self) -> None:
        for association in [*self.ports._associations._up.values()]:
            association.abort("the test is over")
        for newcomer in [*self.ports._associations._newcomers.values()]:
            newcomer.association.abort("the test is over")
        self.ports.close()


async def until(condition: Callable[[], object], limit_s: float = 60.0) -> None:
    deadline = asyncio.get_running_loop().time() + limit_s
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, condition
        await asyncio.sleep(0.002)


def run(test: Callable[[list[Node]], Awaitable[None]], count: int = 2, host: str = HERE) -> None:
    async def main() -> None:
        nodes = [await Node.start(1 + number % 2, host) for number in range(count)]
        try:
            async with asyncio.timeout(120):
                await test(nodes)
        finally:
            for node in nodes:
                node.close()
            await asyncio.sleep(0.02)

    asyncio.run(main())


def udp_sockets() -> int:
    """Of this process, by the kernel's word."""
    count = 0
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            with socket.socket(fileno=os.dup(int(descriptor))) as found:
                count += found.type == socket.SOCK_DGRAM and found.family in (socket.AF_INET, socket.AF_INET6)
        except OSError:
            continue
    return count


def peak_memory() -> int:
    """Of this process, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.mark.parametrize("host", [HERE, "0.0.0.0"])
def test_a_node_with_many_links_dialled_and_accepted_has_one_socket(host: str) -> None:
    async def test(nodes: list[Node]) -> None:
        here, *others = nodes
        assert udp_sockets() == len(nodes)
        for number, other in enumerate(others):
            await (here.dial(other) if number % 2 else other.dial(here))
        await until(lambda: len(here.ups) == len(others) == sum(len(other.ups) for other in others))
        assert udp_sockets() == len(nodes), "one of each node, whoever dialled"
        for association in here.ups:
            association.write(str(association.remote[1]).encode())
        for other in others:
            await until(lambda other=other: other.data)  # type: ignore[misc]
            assert [data for _, data in other.data] == [str(other.address.port).encode()]
        assert {association.local[1] for association in here.ups} == {here.address.port}

    run(test, 21, host)


@pytest.mark.parametrize("seed", range(8))
def test_two_that_dial_each_other_at_once_have_one_association_and_both_dials_are_answered(seed: int) -> None:
    """Whichever goes first, and whenever: the larger random of the two ClientHellos decides."""
    rng = random.Random(seed)

    async def test(nodes: list[Node]) -> None:
        one, other = nodes
        first = await one.ports.connect(other.address, DATAGRAM_BYTES)
        for _ in range(rng.randrange(6)):
            await asyncio.sleep(0)
        second = await other.ports.connect(one.address, DATAGRAM_BYTES)
        # As the core of paths does.
        for association in (first, second):
            association.answered.add_done_callback(lambda _, association=association: association.begin())
        await until(lambda: one.ups and other.ups)
        assert (len(one.ups), len(other.ups)) == (1, 1)
        assert {one.ups[0].is_server, other.ups[0].is_server} == {True, False}
        for node, dialled in ((one, first), (other, second)):
            # The one that was dialled, or what took its place.
            assert node.ups == [dialled] or (node.replaced == [dialled] and node.ups == [node.accepted[-1]])
        one.ups[0].write(b"ping")
        other.ups[0].write(b"pong")
        await until(lambda: one.data and other.data)
        await asyncio.sleep(0.05)
        assert (one.downs, other.downs) == ([], [])

    run(test)


def test_who_is_dialling_us_just_now_is_not_dialled_as_well() -> None:
    async def test(nodes: list[Node]) -> None:
        one, other = nodes
        first = await one.ports.connect(other.address, DATAGRAM_BYTES)
        await first.answered
        # It has the cookie, and comes back with it.
        first.begin()
        await until(lambda: other.accepted)
        if not other.ups:
            assert await other.ports.connect(one.address, DATAGRAM_BYTES) is other.accepted[0]
        await until(lambda: one.ups and other.ups)
        assert (one.ups, other.ups) == ([first], [other.accepted[0]])

    run(test)


def test_who_gives_up_its_handshake_says_so_and_can_be_dialled_at_once() -> None:
    """Else its other end would wait for a handshake that goes on no more, and take it for the way to us."""

    async def test(nodes: list[Node]) -> None:
        one, other = nodes
        first = await one.ports.connect(other.address, DATAGRAM_BYTES)
        await first.answered
        accept = other.accept

        def accept_in_vain(association: DtlsAssociation, ours: DtlsAssociation | None) -> None:
            accept(association, ours)
            first.close("given up")

        other.ports._accept = accept_in_vain
        first.begin()
        await until(lambda: other.accepted and other.downs)
        assert other.downs == [(other.accepted[0], "closed by the other end")]
        second = await other.dial(one)
        await until(lambda: one.ups and other.ups)
        assert (one.ups, other.ups) == ([one.accepted[0]], [second])
        assert one.downs == [(first, "given up")]

    run(test)


def test_dialled_again_the_new_association_takes_the_place_of_the_old_at_both_ends() -> None:
    async def test(nodes: list[Node]) -> None:
        one, other = nodes
        first = await one.dial(other)
        await until(lambda: one.ups and other.ups)
        second = await one.dial(other)
        await until(lambda: len(one.ups) == len(other.ups) == 2)
        await until(lambda: one.downs and other.downs)
        assert one.downs == [(first, "the other end has begun anew")]
        assert other.downs == [(other.accepted[0], "the other end has begun anew")]
        second.write(b"hello")
        await until(lambda: other.data == [(other.accepted[1], b"hello")])

    run(test)


def test_a_killed_peer_is_noticed_by_whoever_dialled_and_by_who_was_dialled() -> None:
    """The machine where it ran refuses; the other links at the same socket do not notice."""

    async def test(nodes: list[Node]) -> None:
        here, killed, other = nodes
        for is_dialled in (True, False):
            await (here.dial(killed) if is_dialled else killed.dial(here))
            await here.dial(other)
            await until(lambda: len(here.ups) > 1 and killed.ups)
            here.ups.clear()
            killed.ups.clear()
        victims = [pair for pair in here.ports._associations._up if pair.remote == killed.address]
        (pair,) = victims
        killed.ports.close()
        here.ports._associations._up[pair].write(b"anybody?")
        await until(lambda: any(reason == "Connection refused" for _, reason in here.downs))
        here.downs.clear()
        here.ports._associations._up[Pair(here.address, other.address)].write(b"you?")
        await until(lambda: other.data)
        assert here.downs == []

    run(test, 3)


def test_a_refusal_that_shows_nothing_that_we_sent_is_made_up() -> None:
    async def test(nodes: list[Node]) -> None:
        here, other = nodes
        association = await here.dial(other)
        await until(lambda: here.ups and other.ups)
        refused = OSError(111, "Connection refused")
        header = here.ups[0]._sent[-1][:13]  # type: ignore[attr-defined]
        for shown in (b"", bytes(13), b"\x17\xfe\xfd" + bytes(60), header):
            here.ports._refused(other.address, refused, shown)
        # One that is true, and passes: a link that is up outlives a way that is gone for a moment.
        association.write(b"hello")
        here.ports._refused(other.address, OSError(113, "No route to host"), association._sent[-1])
        await asyncio.sleep(0.01)
        assert here.downs == []
        here.ports._refused(other.address, refused, association._sent[-1])
        await until(lambda: here.downs == [(association, "Connection refused")])

    run(test)


def test_what_is_not_dtls_is_dropped_and_a_flood_of_it_keeps_nobody_out() -> None:
    """RTP, ZRTP and TURN channels (RFC 7983) have no user here; made-up ClientHellos cost nothing either."""
    rng = random.Random(1)

    async def test(nodes: list[Node]) -> None:
        here, other = nodes
        answers: list[bytes] = []
        stranger = await DatagramSocket.bind(HERE, 0, lambda _, __, data: answers.append(data))
        await other.dial(here)
        await until(lambda: here.ups and other.ups)
        for round_ in range(40):
            for _ in range(50):
                first = rng.choice((0, 1, 3, 16, 19, 22, 22, 23, 64, 79, 128, 191, 255))
                stranger.send(here.address, bytes([first]) + rng.randbytes(rng.randrange(100)))
            other.ups[0].write(b"%d" % round_)
            await asyncio.sleep(0)
        await until(lambda: (here.ups[0], b"39") in here.data)
        assert answers == []
        assert len(here.ports._associations) == 1
        assert (here.downs, len(here.accepted)) == ([], 1)
        association = await connect_dtls(datagram_context(1), other, here.address, DATAGRAM_BYTES)
        association.begin()
        await until(lambda: len(here.ups) == 2)
        association.close("enough")
        stranger.close()

    run(test)


def test_stun_that_comes_to_a_port_is_the_cores() -> None:
    """RFC 7983: by its first byte; and what the core says goes out from the same port."""

    async def test(nodes: list[Node]) -> None:
        here, other = nodes
        here.ports.send_datagram(None, other.address, b"\1 as the routes say")
        here.ports.send_datagram(here.address, other.address, b"\2 from there")
        await until(lambda: len(other.stun) == 2)
        assert {each[:2] for each in other.stun} == {(other.address, here.address)}
        assert {each[2][:1] for each in other.stun} == {b"\1", b"\2"}

    run(test)


def test_an_association_moves_to_another_pair_of_addresses() -> None:
    """What ICE has found better: both ends move, and the data goes on."""

    async def test(nodes: list[Node]) -> None:
        here, other = nodes
        association = await here.dial(other)
        await until(lambda: here.ups and other.ups)
        moved = await here.ports.bind(Address("127.0.0.2", 0))
        here.ports.move(association, Pair(moved, other.address))
        (served,) = other.accepted
        other.ports.move(served, Pair(other.address, moved))
        association.write(b"from elsewhere")
        served.write(b"to elsewhere")
        await until(lambda: other.data == [(served, b"from elsewhere")])
        await until(lambda: here.data == [(association, b"to elsewhere")])
        assert (here.downs, other.downs) == ([], [])

    run(test)


def test_hellos_as_long_as_a_datagram_can_be_keep_nobody_out_and_cost_no_memory() -> None:
    """OpenSSL reads 16397 bytes at once: the rest would wait, and stand before what the next one says."""

    async def test(nodes: list[Node]) -> None:
        here, other = nodes
        heard: list[bytes] = []
        stranger = await DatagramSocket.bind(HERE, 0, lambda _, __, data: heard.append(data))
        await other.ports.connect(stranger.local, DATAGRAM_BYTES)
        await until(lambda: heard)
        before = peak_memory()
        for _ in range(1000):
            stranger.send(here.address, heard[0] + bytes(60000))
            await asyncio.sleep(0)
        await other.dial(here)
        await until(lambda: here.ups and other.ups)
        assert peak_memory() < before + (16 << 20)
        stranger.close()

    run(test)


def test_who_listens_nowhere_dials_from_one_socket_for_all() -> None:
    async def test(nodes: list[Node]) -> None:
        client = Node()
        client.ports = DtlsPorts(
            lambda: datagram_context(1), client, client.accept, client.stun_arrived, DATAGRAM_BYTES
        )
        before = udp_sockets()
        for other in nodes:
            await client.dial(other)
        await until(lambda: len(client.ups) == len(nodes))
        assert udp_sockets() == before + 1
        client.close()
        await asyncio.sleep(0.02)

    run(test, 5)


def test_what_is_refused_by_one_is_not_lost_for_the_next() -> None:
    """The machine tells of a refusal at the next send, whomever that is for, and sends nothing."""

    async def test(nodes: list[Node]) -> None:
        heard: list[bytes] = []
        refused: list[Address] = []
        there = await DatagramSocket.bind(HERE, 0, lambda _, __, data: heard.append(data))
        here = await DatagramSocket.bind(
            HERE, 0, lambda *_: None, refused=lambda remote, error, shown: refused.append(remote)
        )
        gone = nodes[0].address
        nodes[0].ports.close()
        for number in range(20):
            here.send(gone, b"anybody?")
            # On loopback the refusal is here before the loop looks.
            here.send(there.local, b"%d" % number)
        await until(lambda: len(heard) == 20)
        await until(lambda: set(refused) == {gone})
        here.close()
        there.close()

    run(test)
