"""DTLS over UDP (p2psip.net.sockets.dtls) on loopback sockets, with and without a network that loses."""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import cache

import pytest
from dtls_client import connect_dtls, only_one_more
from OpenSSL import SSL
from udp_relay import UdpRelay

from p2psip.base.address import Address
from p2psip.net.sockets import dtls
from p2psip.net.sockets.datagrams import DatagramSocket
from p2psip.net.sockets.dtls import DtlsAssociation, require_cookies
from p2psip.net.sockets.dtls_ports import DtlsPorts
from p2psip.net.sockets.tls import SocketStream, make_context
from p2psip.reload.link.datagram import DatagramLink
from p2psip.reload.wire.common import SignatureAlgorithm
from p2psip.sim.membership import OVERLAY, Club, key, node_id
from p2psip.sim.path import Path

HERE = "127.0.0.1"
DATAGRAM_BYTES = 1232


@dataclass
class End:
    """The user of associations at one end."""

    ups: list[tuple[SocketStream, tuple[bytes, ...]]] = field(default_factory=list)
    data: list[bytes] = field(default_factory=list)
    downs: list[tuple[SocketStream, str]] = field(default_factory=list)
    accepted: list[DtlsAssociation] = field(default_factory=list)
    reply: Callable[[SocketStream, bytes], None] = lambda stream, data: None

    def stream_accepted(self, stream: SocketStream) -> None:
        pass

    def stream_up(self, stream: SocketStream, certificates: tuple[bytes, ...]) -> None:
        self.ups.append((stream, certificates))

    def stream_data(self, stream: SocketStream, data: bytes) -> None:
        self.data.append(data)
        self.reply(stream, data)

    def stream_down(self, stream: SocketStream, reason: str) -> None:
        self.downs.append((stream, reason))


async def until(condition: Callable[[], object], limit_s: float = 60.0) -> None:
    """Wait until something is so."""
    deadline = asyncio.get_running_loop().time() + limit_s
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, "it is not so"
        await asyncio.sleep(0.002)


@cache
def certificate(number: int) -> bytes:
    """The client's is number 1, the server's number 2."""
    return Club.of().certificate(f"user{number}@{OVERLAY}", [node_id(number)], number=number)


@cache
def context(number: int = 1) -> SSL.Context:
    made = make_context((certificate(number),), key(number=number), is_datagram=True)
    require_cookies(made)
    return made


@dataclass
class Server:
    """A listener and what its associations say."""

    end: End
    listener: DtlsPorts
    address: Address


def run(test: Callable[[Server], Awaitable[None]]) -> None:
    """Run a test against a DTLS server on loopback."""

    async def main() -> None:
        end = End()
        listener = DtlsPorts(
            lambda: context(2), end, lambda each, _: end.accepted.append(each), lambda *_: None, DATAGRAM_BYTES
        )
        try:
            async with asyncio.timeout(120):
                await test(Server(end, listener, await listener.bind(Address(HERE, 0))))
        finally:
            for association in [*end.accepted, *clients]:
                association.abort("the test is over")
            clients.clear()
            listener.close()
            await asyncio.sleep(0.02)

    asyncio.run(main())


clients: list[DtlsAssociation] = []
"""Those of the running test."""


async def connect(address: Address, datagram_bytes: int = DATAGRAM_BYTES) -> tuple[DtlsAssociation, End]:
    """A client that goes through with its handshake."""
    end = End()
    association = await connect_dtls(context(), end, address, datagram_bytes)
    clients.append(association)
    association.begin()
    return association, end


async def linked(server: Server) -> tuple[DtlsAssociation, End, SocketStream]:
    """Both ends of an association that is up."""
    association, client = await connect(server.address)
    await until(lambda: client.ups and server.end.ups)
    return association, client, server.end.ups[-1][0]


def test_both_ends_show_their_certificates_and_talk() -> None:
    async def test(server: Server) -> None:
        association, client, accepted = await linked(server)
        assert client.ups == [(association, (certificate(2),))]
        assert server.end.ups == [(accepted, (certificate(1),))]
        association.write(b"ping")
        association.write(b"ping again")
        await until(lambda: len(server.end.data) == 2)
        assert server.end.data == [b"ping", b"ping again"], "each datagram by itself"
        accepted.write(b"pong")
        await until(lambda: client.data == [b"pong"])
        assert (association.remote, association.is_server, accepted.is_server) == (server.address, False, True)
        association.close("enough")
        await until(lambda: client.downs and server.end.downs)
        assert (client.downs[0][1], server.end.downs[0][1]) == ("enough", "closed by the other end")

    run(test)


def test_a_datagram_with_all_that_dtls_adds_fits_the_path() -> None:
    """A record of `datagram_bytes` is a datagram of at most what was asked for."""

    async def test(server: Server) -> None:
        relay = UdpRelay(server.address, Path(delay_s=0.0))
        association, client = await connect(await relay.open())
        await until(lambda: client.ups)
        assert association.datagram_bytes is not None
        association.write(bytes(association.datagram_bytes))
        await until(lambda: server.end.data)
        assert len(server.end.data[0]) == association.datagram_bytes > DATAGRAM_BYTES - 80
        assert max(map(len, relay.seen)) <= DATAGRAM_BYTES
        relay.close()

    run(test)


class Forgetful(UdpRelay):
    """Of what is sent to the server, and of ServerHellos, the first copy is lost."""

    def __init__(self, target: Address) -> None:
        super().__init__(target, Path(delay_s=0.0))
        self.lost: list[bytes] = []

    def _pass(self, socket: DatagramSocket, to: Address, data: bytes) -> None:
        is_server_hello = data[:1] == b"\x16" and data[13:14] == b"\x02"
        if (to == self.target or is_server_hello) and data not in self.lost:
            self.lost.append(data)
        else:
            super()._pass(socket, to, data)


def test_each_flight_goes_twice_before_openssl_repeats_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Byte for byte, so that the other end drops what it has already."""
    monkeypatch.setattr(DtlsAssociation, "_repeat_flight", lambda _: None)

    async def test(server: Server) -> None:
        relay = Forgetful(server.address)
        _, client = await connect(await relay.open())
        await until(lambda: client.ups and server.end.ups)
        assert len(relay.lost) >= 4, "two ClientHellos, what the server says to it, and what the client says to that"
        assert all(relay.seen.count(data) == 1 for data in relay.lost if data in relay.seen)
        relay.close()

    run(test)


def test_nobody_there_is_said_at_once() -> None:
    """The network refuses: no timeout is waited for."""

    async def test(server: Server) -> None:
        server.listener.close()
        await asyncio.sleep(0.01)
        with pytest.raises(ConnectionError, match="Connection refused"):
            await connect_dtls(context(), End(), server.address, DATAGRAM_BYTES)

    run(test)


def test_a_client_without_a_certificate_does_not_get_in() -> None:
    """6.5.1.13: "The server MUST request TLS client authentication."."""

    async def test(server: Server) -> None:
        bare = SSL.Context(SSL.DTLS_METHOD)
        association = await connect_dtls(bare, end := End(), server.address, DATAGRAM_BYTES)
        clients.append(association)
        association.begin()
        await until(lambda: server.end.downs)
        assert server.end.ups == []
        assert "peer did not return a certificate" in server.end.downs[0][1]
        await until(lambda: end.downs)

    run(test)


def client_hello() -> bytes:
    """The first datagram of a client."""
    tls = SSL.Connection(context())
    tls.set_ciphertext_mtu(DATAGRAM_BYTES)
    tls.set_connect_state()
    with pytest.raises(SSL.WantReadError):
        tls.do_handshake()
    return tls.bio_read(65536)


def test_who_only_says_hello_costs_nothing() -> None:
    """Source addresses can be made up: each gets a cookie, none is remembered, and others still get in."""

    async def test(server: Server) -> None:
        hello = client_hello()
        answers: list[bytes] = []
        liars = [await DatagramSocket.bind(HERE, 0, lambda _, __, data: answers.append(data)) for _ in range(50)]
        for liar in liars:
            liar.send(server.address, hello)
        await until(lambda: len(answers) == 50)
        assert max(map(len, answers)) < len(hello), "no more is sent to an address than came from it"
        assert server.end.accepted == []
        await linked(server)
        assert len(server.end.accepted) == 1
        for liar in liars:
            liar.close()

    run(test)


def test_garbage_is_dropped_whoever_it_comes_from() -> None:
    """Also from the very address of an association; the others are served on."""

    async def test(server: Server) -> None:
        association, client, _ = await linked(server)
        hello = client_hello()
        pieces = [b"", b"\x16", os.urandom(100), hello[:40], b"\x16\xfe\xfd" + bytes(60), hello[:13] + b"\x01" * 300]
        stranger = await DatagramSocket.bind(HERE, 0, lambda *_: None)
        for piece in pieces * 20:
            stranger.send(server.address, piece)
            association._port.send(association, piece)
        association.write(b"still here")
        await until(lambda: server.end.data == [b"still here"])
        assert (client.downs, server.end.downs) == ([], [])
        await linked(server)
        stranger.close()

    run(test)


@pytest.mark.must("6.4.2.1/3", "6.6.1/4")
def test_6_4_2_1_what_is_replayed_is_dropped() -> None:
    """ "Implementations MUST use DTLS anti-replay mechanisms, thus preventing replay attacks."."""

    async def test(server: Server) -> None:
        relay = UdpRelay(server.address, Path(delay_s=0.0))
        association, client = await connect(await relay.open())
        await until(lambda: client.ups)
        association.write(b"once")
        await until(lambda: server.end.data == [b"once"])
        (onward,) = relay._onward.values()
        for _ in range(5):
            onward.send(server.address, relay.seen[-1])
        association.write(b"after")
        await until(lambda: b"after" in server.end.data)
        assert server.end.data == [b"once", b"after"]
        relay.close()

    run(test)


@pytest.mark.must("6.6.1/3", "6.6.1/5")
def test_6_6_1_nobody_on_the_way_reads_or_changes_it() -> None:
    """Confidentiality and integrity: a changed datagram is lost, none shows what it carries."""

    async def test(server: Server) -> None:
        relay = UdpRelay(server.address, Path(delay_s=0.0))
        association, client = await connect(await relay.open())
        await until(lambda: client.ups)
        association.write(b"a secret of some length")
        await until(lambda: server.end.data)
        assert not any(b"secret" in datagram for datagram in relay.seen)
        # The next one is changed on its way.
        relay.path = Path(loss=1.0)
        association.write(b"harmless")
        await until(lambda: len(relay.seen[-1]) == len(b"harmless") + 37)
        (onward,) = relay._onward.values()
        onward.send(server.address, relay.seen[-1][:-1] + bytes([relay.seen[-1][-1] ^ 1]))
        relay.path = Path(delay_s=0.0)
        association.write(b"end")
        await until(lambda: b"end" in server.end.data)
        assert server.end.data == [b"a secret of some length", b"end"]
        relay.close()

    run(test)


def test_who_begins_anew_from_the_same_port_replaces_what_was() -> None:
    """Killed and started again: the old association goes when the new one is up, and not before."""

    async def test(server: Server) -> None:
        ports = itertools.repeat(free_udp_port())
        first, _ = await connect_from(server.address, next(ports))
        await until(lambda: len(server.end.ups) == 1)
        first._port.send(first, client_hello())
        await asyncio.sleep(0.05)
        assert server.end.downs == [], "a ClientHello alone ends nothing"
        first._port.forget(first)
        await asyncio.sleep(0.02)
        second, _ = await connect_from(server.address, next(ports))
        await until(lambda: len(server.end.ups) == 2 and server.end.downs)
        assert server.end.downs == [(server.end.accepted[0], "the other end has begun anew")]
        second.write(b"hello again")
        await until(lambda: server.end.data == [b"hello again"])

    run(test)


def free_udp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((HERE, 0))
        return int(probe.getsockname()[1])


async def connect_from(address: Address, port: int) -> tuple[DtlsAssociation, End]:
    """A client at a port of its choice."""
    association = await connect_dtls(context(), end := End(), address, DATAGRAM_BYTES, Address(HERE, port))
    clients.append(association)
    association.begin()
    await until(lambda: end.ups)
    return association, end


def test_a_handshake_that_does_not_go_on_is_over_after_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half open: somebody comes back with the cookie and then says nothing more."""
    monkeypatch.setattr(dtls, "HANDSHAKE_MAX_S", 0.1)

    async def test(server: Server) -> None:
        association = await connect_dtls(context(), End(), server.address, DATAGRAM_BYTES)
        clients.append(association)
        # The ClientHello with the cookie, and then not one word more.
        only_one_more(association)
        association.begin()
        await until(lambda: server.end.downs)
        assert server.end.ups == []
        assert server.end.downs[0][1] == "DTLS handshake timed out"
        assert len(server.listener._associations) == 0

    run(test)


@pytest.mark.long
def test_a_handshake_gets_through_a_path_on_which_long_datagrams_vanish(monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 6347 4.1.1.1: "subsequent retransmissions SHOULD back off to a smaller record size"."""
    monkeypatch.setattr(dtls, "HANDSHAKE_MAX_S", 40.0)

    async def test(server: Server) -> None:
        relay = UdpRelay(server.address, Path(delay_s=0.002, jitter_s=0.0))
        relay.hole_bytes = 600
        association, client = await connect(await relay.open())
        await until(lambda: client.ups and server.end.ups, limit_s=40.0)
        # Who had to make its flight smaller makes its messages smaller as well.
        assert server.end.ups[0][0].datagram_bytes is not None
        assert server.end.ups[0][0].datagram_bytes < 600
        association.write(bytes(500))
        await until(lambda: server.end.data)
        relay.close()

    run(test)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(3))
def test_a_handshake_gets_through_a_network_that_loses_one_in_ten(seed: int) -> None:
    """Flights are repeated after a second, by OpenSSL's clock; the last one too."""

    async def test(server: Server) -> None:
        relay = UdpRelay(server.address, Path(delay_s=0.002, jitter_s=0.002, loss=0.1), seed)
        _, client = await connect(await relay.open())
        await until(lambda: client.ups and server.end.ups)
        relay.close()

    run(test)


@pytest.mark.long
def test_messages_over_real_dtls_and_a_network_that_loses_arrive_once_each() -> None:
    """Two ends of Simple Reliability on top; one datagram in ten is lost, one in fifty doubled, all are reordered."""
    wanted = [b"message %d" % number for number in range(400)]

    async def test(server: Server) -> None:
        loop = asyncio.get_running_loop()
        relay = UdpRelay(server.address, Path(delay_s=0.001, jitter_s=0.002, loss=0.1, duplication=0.02), 7)
        association, client = await connect(await relay.open())
        await until(lambda: client.ups and server.end.ups)
        heard: list[bytes] = []
        here, there = (DatagramLink(5000, 1100, 60.0, loop.time()) for _ in range(2))

        def flush(link: DatagramLink, stream: SocketStream) -> None:
            for output in link.drain():
                if isinstance(output, bytes):
                    stream.write(output)

        def at_there(stream: SocketStream, data: bytes) -> None:
            heard.extend(there.receive(data, loop.time()))
            flush(there, stream)

        def at_here(stream: SocketStream, data: bytes) -> None:
            here.receive(data, loop.time())
            flush(here, stream)

        server.end.reply, client.reply = at_there, at_here
        for message in wanted:
            here.send(message, loop.time())
        flush(here, association)
        while len(heard) < len(wanted):
            await asyncio.sleep(0.01)
            here.handle_timeout(loop.time())
            flush(here, association)
        assert sorted(heard) == sorted(wanted)
        relay.close()

    run(test)


@cache
def secret_context(number: int, secret: str) -> SSL.Context:
    """Of a member of an overlay with a shared secret."""
    own = Club.of(SignatureAlgorithm.RSA).certificate(f"user{number}@{OVERLAY}", [node_id(number)], number=number)
    made = make_context((own,), key(SignatureAlgorithm.RSA, number), is_datagram=True, shared_secret=secret)
    require_cookies(made)
    return made


def test_13_4_a_shared_secret_is_needed_over_dtls_as_well() -> None:
    """Certificates on both sides, and the secret: without it neither end is ever up."""

    async def test(server: Server) -> None:
        server.listener._context = lambda: secret_context(2, "s" * 43)
        for secret, is_up in (("t" * 43, False), ("s" * 43, True)):
            association = await connect_dtls(secret_context(1, secret), end := End(), server.address, DATAGRAM_BYTES)
            clients.append(association)
            association.begin()
            await (until(lambda end=end: end.ups and server.end.ups) if is_up else asyncio.sleep(0.2))  # type: ignore[misc]
            assert (len(end.ups), len(server.end.ups)) == (is_up, is_up)

    run(test)


@pytest.mark.parametrize("who", ["client", "server"])
def test_what_one_end_knows_of_the_way_the_other_end_heeds_as_well(who: str) -> None:
    """By the size of the datagrams with its certificate, as by the maximum segment size of TCP."""

    async def test(server: Server) -> None:
        narrow, wide = dtls.NARROW_DATAGRAM_BYTES, DATAGRAM_BYTES
        if who == "server":
            server.listener.limit_packets(narrow)
        here, client = await connect(server.address, narrow if who == "client" else wide)
        await until(lambda: client.ups and server.end.ups)
        there = server.end.ups[0][0]
        assert here.datagram_bytes is not None
        assert here.datagram_bytes < narrow
        assert there.datagram_bytes == here.datagram_bytes

    run(test)


def test_where_neither_end_knows_anything_of_the_way_large_datagrams_go() -> None:
    async def test(server: Server) -> None:
        here, client = await connect(server.address, DATAGRAM_BYTES)
        await until(lambda: client.ups and server.end.ups)
        for end in (here, server.end.ups[0][0]):
            assert end.datagram_bytes is not None
            assert end.datagram_bytes > DATAGRAM_BYTES - 64

    run(test)
