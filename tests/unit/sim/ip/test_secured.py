"""p2psip.sim.ip.handshake and .secured: the stand-in for TLS and DTLS has their messages and their round trips."""

from __future__ import annotations

import random

import pytest

from p2psip.base.address import Address
from p2psip.reload.paths.demux import DatagramKind, Pair, hello_random, kind_of
from p2psip.sim.ip.handshake import Handshake, HandshakeFailed
from p2psip.sim.ip.machine import Machine
from p2psip.sim.ip.network import Internet, Way
from p2psip.sim.ip.secured import (
    Association,
    Credentials,
    DatagramPort,
    SecuredConnection,
    SecuredStream,
    dial_stream,
)
from p2psip.sim.ip.virtual_streams import VirtualStream

WAY = Way(delay_s=0.1)
THERE = Address("198.51.100.2", 6084)
HERE = Address("198.51.100.1", 6084)
CLIENT, SERVER = (b"client's certificate", b"its authority's"), (b"server's certificate",)


class User:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[object] = []
        self.data: list[bytes] = []
        self.connections: list[SecuredConnection] = []

    def connection_answered(self, connection: SecuredConnection) -> None:
        connection.secure()

    def connection_up(self, connection: SecuredConnection, certificates: tuple[bytes, ...]) -> None:
        self.events.append(certificates)
        self.connections.append(connection)

    def connection_data(self, connection: SecuredConnection, data: bytes) -> None:
        self.data.append(data)

    def connection_down(self, connection: SecuredConnection, reason: str) -> None:
        self.events.append(reason)


class Bench:
    """A client and a server, for streams and for datagrams at the same port."""

    def __init__(self, way: Way = WAY, seed: int = 1, *, datagram_bytes: int = 1232) -> None:
        self.internet = Internet(seed)
        network = self.internet.network("n", "198.51.100.0/24", way=way)
        self.here, self.there = Machine(self.internet, "here"), Machine(self.internet, "there")
        self.here.plug(network, "198.51.100.1")
        self.there.plug(network, THERE.host)
        self.client, self.server = User(), User()
        self.datagram_bytes = datagram_bytes
        own = Credentials(SERVER, random.Random(2))
        self.own = Credentials(CLIENT, random.Random(3))

        def accept(stream: VirtualStream) -> None:
            SecuredStream(self.there, stream, own, self.server, is_server=True)

        self.there.listen(THERE, accept)
        self.taken_over: list[Association] = []

        def begun(association: Association, ours: Association | None) -> None:
            if ours is not None:
                self.taken_over.append(association)

        def size() -> int:
            return datagram_bytes

        self.stun: list[tuple[Address, Address, bytes]] = []

        def stun(local: Address, remote: Address, data: bytes) -> None:
            self.stun.append((local, remote, data))

        self.here_port = DatagramPort(self.here, HERE, self.own, self.client, begun, stun, size)
        self.there_port = DatagramPort(self.there, THERE, own, self.server, begun, stun, size)

    def dial(self, *, is_datagram: bool) -> SecuredConnection:
        """Begin to connect."""
        if is_datagram:
            return self.here_port.dial(THERE, self.datagram_bytes)
        return dial_stream(self.here, THERE, self.own, self.client, 1280)

    def up(self, limit_s: float = 10.0) -> float:
        """When both ends are up."""
        assert self.internet.run_for(limit_s, stop=lambda: bool(self.client.connections and self.server.connections))
        return self.internet.now


@pytest.mark.parametrize(("is_datagram", "round_trips"), [(False, 2.5), (True, 2.5)], ids=["TLS", "DTLS"])
def test_round_trips_and_certificates(is_datagram: bool, round_trips: float) -> None:
    """TLS 1.3: one for TCP, one for the handshake, then the client's last flight; DTLS 1.2: the cookie, and two."""
    bench = Bench()
    bench.dial(is_datagram=is_datagram)
    took = bench.up()
    assert took == pytest.approx(0.2 * (3 if is_datagram else round_trips), abs=0.01)
    assert bench.client.events == [SERVER]
    assert bench.server.events == [CLIENT]


@pytest.mark.parametrize("is_datagram", [False, True], ids=["TLS", "DTLS"])
def test_data_both_ways_and_goodbye(is_datagram: bool) -> None:
    """A stream is one of bytes; datagrams keep their bounds."""
    bench = Bench()
    connection = bench.dial(is_datagram=is_datagram)
    bench.up()
    connection.write(b"from here")
    connection.write(b"and more")
    bench.server.connections[0].write(b"from there")
    bench.internet.run_for(1.0)
    assert b"".join(bench.server.data) == b"from hereand more"
    assert not is_datagram or bench.server.data == [b"from here", b"and more"]
    assert bench.client.data == [b"from there"]
    connection.close("enough")
    bench.internet.run_for(1.0)
    assert bench.client.events[-1] == "enough"
    assert bench.server.events[-1] == "closed by the other end"


@pytest.mark.parametrize("seed", range(10))
def test_lost_flights_are_repeated(seed: int) -> None:
    """RFC 6347 section 4.2.4: over a network that loses one of six both are up all the same."""
    bench = Bench(Way(delay_s=0.05, jitter_s=0.02, loss=0.16, duplication=0.1), seed, datagram_bytes=128)
    bench.dial(is_datagram=True)
    bench.up(60.0)
    assert bench.client.events[0] == SERVER
    assert bench.server.events[0] == CLIENT


def test_a_hello_without_its_cookie_costs_the_server_nothing() -> None:
    """RFC 6347 section 4.2.1: who is not where it says it is gets one small datagram, and is forgotten."""
    bench = Bench()
    socket = bench.here.udp(Address("0.0.0.0", 0), lambda *_: None)
    for _ in range(50):
        session = Handshake(CLIENT, random.Random(), is_server=False, datagram_bytes=1232)
        session.begin()
        for datagram in session.drain():
            assert kind_of(datagram) is DatagramKind.DTLS
            assert hello_random(datagram) == session.client_random
            socket.send(THERE, datagram)
    bench.internet.run_for(20.0)
    assert not bench.server.events


@pytest.mark.parametrize("is_datagram", [False, True], ids=["TLS", "DTLS"])
def test_who_falls_silent_in_the_handshake_is_given_up(is_datagram: bool) -> None:
    """Ten seconds."""
    bench = Bench()
    bench.dial(is_datagram=is_datagram)
    bench.internet.run_for(0.35)
    bench.here.cut_power()
    bench.internet.run_for(11.0)
    assert bench.server.events == ["DTLS handshake timed out" if is_datagram else "TLS handshake stalled"]


def test_what_is_no_record_ends_a_stream_and_costs_datagrams_nothing() -> None:
    """A stranger who speaks something else."""
    session = Handshake(SERVER, random.Random(1), is_server=True)
    with pytest.raises(HandshakeFailed, match="wrong version"):
        session.receive(b"GET / HTTP/1.1\r\n\r\n")
    bench = Bench()
    bench.dial(is_datagram=True)
    bench.up()
    socket = bench.here._udp[bench.client.connections[0].local]
    # A record of another association: its tag does not fit.
    other = Handshake(CLIENT, random.Random(9), is_server=False, datagram_bytes=1232)
    other._derive(b"1", b"2")
    other.is_up = True
    other.write(b"forged")
    for datagram in other.drain():
        socket.send(THERE, datagram)
    bench.internet.run_for(1.0)
    assert not bench.server.data
    assert bench.server.events == [CLIENT]


def test_a_client_that_was_started_anew_replaces_what_was_there() -> None:
    """From the same port; a hello that was only doubled on its way does not."""
    bench = Bench(Way(delay_s=0.1, duplication=1.0))
    bench.dial(is_datagram=True)
    bench.up()
    bench.internet.run_for(1.0)
    assert bench.server.events == [CLIENT]
    bench.here.kill()
    again = DatagramPort(bench.here, HERE, bench.own, bench.client, lambda *_: None, lambda *_: None, lambda: 1232)
    again.dial(THERE, 1232)
    bench.internet.run_for(2.0)
    assert bench.server.events == [CLIENT, CLIENT, "the other end has begun anew"]


def test_both_ends_dial_at_once_and_have_one_association() -> None:
    """The ClientHello with the larger random goes first; who sent the other serves it."""
    bench = Bench()
    bench.here_port.dial(THERE, 1232)
    bench.there_port.dial(Address("198.51.100.1", 6084), 1232)
    bench.up()
    bench.internet.run_for(15.0)
    assert bench.client.events == [SERVER]
    assert bench.server.events == [CLIENT]
    (here,), (there,) = bench.client.connections, bench.server.connections
    assert here.is_server is not there.is_server
    assert len(bench.taken_over) == 1
    here.write(b"one")
    there.write(b"other")
    bench.internet.run_for(1.0)
    assert (bench.server.data, bench.client.data) == ([b"one"], [b"other"])


def test_nobody_at_the_port() -> None:
    """ICMP says so after one round trip."""
    bench = Bench()
    bench.here_port.dial(THERE._replace(port=9), 1232)
    bench.internet.run_for(0.21)
    assert bench.client.events == ["connection refused"]


def test_all_associations_of_a_machine_share_one_port() -> None:
    """Those that it dials and those that it accepts."""
    bench = Bench()
    others = [Machine(bench.internet, f"m{number}") for number in range(5)]
    for number, machine in enumerate(others):
        machine.plug(bench.here.interfaces[0].network, f"198.51.100.{10 + number}")
        local = Address(f"198.51.100.{10 + number}", 6084)
        own = Credentials(CLIENT, random.Random(number))
        port = DatagramPort(machine, local, own, bench.client, lambda *_: None, lambda *_: None, lambda: 1232)
        port.dial(THERE, 1232) if number % 2 else bench.there_port.dial(local, 1232)
    bench.internet.run_for(2.0)
    assert len(bench.server.connections) == 5
    assert {connection.local for connection in bench.server.connections} == {THERE}
    assert list(bench.there._udp) == [THERE]


def test_stun_that_comes_to_a_port_is_somebody_elses() -> None:
    """RFC 7983: by its first byte; what is neither that nor DTLS is dropped."""
    bench = Bench()
    for data in (b"\1 stun", b"\x80 rtp", b""):
        bench.here_port.send(THERE, data)
    bench.internet.run_for(1.0)
    assert bench.stun == [(THERE, HERE, b"\1 stun")]


def test_an_association_moves_to_another_pair_of_addresses() -> None:
    """What ICE has found better: both ends move, and the data goes on."""
    bench = Bench()
    bench.here.interfaces[0].add("198.51.100.9")
    link = bench.dial(is_datagram=True)
    bench.up()
    bench.internet.run_for(1.0)
    moved = Address("198.51.100.9", 6084)
    port = DatagramPort(bench.here, moved, bench.own, bench.client, lambda *_: None, lambda *_: None, lambda: 1232)
    assert isinstance(link, Association)
    port.move(link, Pair(moved, THERE))
    (served,) = bench.server.connections
    assert isinstance(served, Association)
    bench.there_port.move(served, Pair(THERE, moved))
    link.write(b"from elsewhere")
    served.write(b"to elsewhere")
    bench.internet.run_for(1.0)
    assert (bench.server.data, bench.client.data) == ([b"from elsewhere"], [b"to elsewhere"])
    assert link.local == moved
