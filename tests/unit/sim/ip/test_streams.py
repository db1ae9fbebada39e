"""Streams of the virtual world: in order, once, whatever the network does; refused, reset, timed out, black holes."""

from __future__ import annotations

import pytest

from p2psip.base.address import Address
from p2psip.sim.ip.machine import Machine
from p2psip.sim.ip.network import Internet, Way
from p2psip.sim.ip.packet import IP_BYTES, TCP_BYTES, SocketRefused
from p2psip.sim.ip.virtual_streams import VirtualStream

PORT = 6084
HERE, THERE = "198.51.100.1", "203.0.113.1"


class User:
    """Keeps what it is told; `answers` sends everything back."""

    def __init__(self, *, answers: bool = False) -> None:
        self.data = b""
        self.events: list[str] = []
        self._answers = answers

    def stream_connected(self, stream: VirtualStream) -> None:
        self.events.append("connected")

    def stream_data(self, stream: VirtualStream, data: bytes) -> None:
        self.data += data
        if self._answers:
            stream.write(data)

    def stream_ended(self, stream: VirtualStream) -> None:
        self.events.append("ended")
        stream.close()

    def stream_lost(self, stream: VirtualStream, reason: str) -> None:
        self.events.append(reason)


class Bench:
    """Two machines; the second listens."""

    def __init__(self, way: Way | None = None, back: Way | None = None, seed: int = 1, *, ip: int = 4) -> None:
        self.internet = Internet(seed)
        hosts = (HERE, THERE) if ip == 4 else ("2001:db8:1::1", "2001:db8:2::1")
        prefixes = ("198.51.100.0/24", "203.0.113.0/24") if ip == 4 else ("2001:db8:1::/64", "2001:db8:2::/64")
        networks = [self.internet.network(name, prefix) for name, prefix in zip("ab", prefixes, strict=True)]
        self.internet.join(*networks, way or Way(delay_s=0.02), back)
        self.networks = networks
        self.here, self.there = (Machine(self.internet, name) for name in ("here", "there"))
        self.here.plug(networks[0], hosts[0])
        self.there.plug(networks[1], hosts[1])
        self.remote = Address(hosts[1], PORT)
        self.accepted: list[VirtualStream] = []
        self.server = User()
        self.there.listen(self.remote, self._accept)

    def _accept(self, stream: VirtualStream) -> None:
        stream.user = self.server
        self.accepted.append(stream)

    def connect(self) -> tuple[VirtualStream, User]:
        """From here to there."""
        stream, user = self.here.connect(self.remote), User()
        stream.user = user
        return stream, user


TERRIBLE = Way(delay_s=0.02, jitter_s=0.03, loss=0.1, duplication=0.1, reordering=0.1)


@pytest.mark.parametrize("ip", [4, 6])
@pytest.mark.parametrize("seed", range(5))
def test_every_byte_arrives_once_and_in_order(seed: int, ip: int) -> None:
    """Both ways, over a network that loses, doubles and reorders a tenth."""
    bench = Bench(TERRIBLE, seed=seed, ip=ip)
    bench.server = User(answers=True)
    stream, user = bench.connect()
    sent = bytes(range(256)) * 200
    bench.internet.run_for(30.0, stop=lambda: stream.is_open)
    stream.write(sent)
    bench.internet.run_for(120.0, stop=lambda: len(user.data) == len(sent))
    assert bench.server.data == sent
    assert user.data == sent
    stream.close()
    bench.internet.run_for(120.0)
    assert user.events == ["connected", "ended", "closed"]
    assert bench.server.events == ["connected", "ended", "closed"]


def test_nobody_listens() -> None:
    """Refused after one round trip."""
    bench = Bench()
    stream, user = bench.here.connect(Address(THERE, 9)), User()
    stream.user = user
    assert bench.internet.run_for(1.0, stop=lambda: bool(user.events))
    assert user.events == ["connection refused"]
    assert bench.internet.now == pytest.approx(0.04)


def test_nobody_is_there() -> None:
    """Seven SYNs, and given up after 127 s, as Linux does."""
    bench = Bench()
    bench.there.cut_power()
    _, user = bench.connect()
    bench.internet.run_for(126.0)
    assert not user.events
    bench.internet.run_for(2.0)
    assert user.events == ["timed out"]
    assert bench.internet.counts["sent"] == 7


def test_a_program_that_is_killed_resets_its_streams() -> None:
    """The system says so for it."""
    bench = Bench()
    _, user = bench.connect()
    bench.internet.run_for(1.0)
    bench.there.kill()
    bench.internet.run_for(1.0)
    assert user.events == ["connected", "connection reset"]


def test_a_machine_that_has_rebooted_knows_nothing_of_its_streams() -> None:
    """Nothing is heard at the power cut; what is sent afterwards is answered by a reset."""
    bench = Bench()
    stream, user = bench.connect()
    bench.internet.run_for(1.0)
    bench.there.cut_power()
    bench.internet.run_for(10.0)
    assert user.events == ["connected"]
    bench.there.boot()
    stream.write(b"still there?")
    bench.internet.run_for(1.0)
    assert user.events == ["connected", "connection reset"]


def test_a_cut_network_is_waited_out_and_given_up_in_the_end() -> None:
    """What was sent arrives when the network is whole again; after a quarter of an hour nobody waits any more."""
    bench = Bench()
    stream, user = bench.connect()
    bench.internet.run_for(1.0)
    bench.internet.part([bench.networks[0]], [bench.networks[1]])
    stream.write(b"late")
    bench.internet.run_for(60.0)
    bench.internet.heal()
    bench.internet.run_for(70.0)
    assert bench.server.data == b"late"
    bench.internet.part([bench.networks[0]], [bench.networks[1]])
    stream.write(b"never")
    bench.internet.run_for(600.0)
    assert user.events == ["connected"]
    bench.internet.run_for(600.0)
    assert user.events == ["connected", "timed out"]


@pytest.mark.parametrize("mtu", [576, 1000, 1500])
def test_segments_become_as_long_as_the_path_takes(mtu: int) -> None:
    """ICMP tells; what was too long is sent again in pieces (RFC 1191)."""
    bench = Bench(Way(delay_s=0.02, mtu_bytes=mtu))
    stream, _ = bench.connect()
    bench.internet.run_for(1.0)
    stream.write(bytes(20_000))
    bench.internet.run_for(10.0)
    assert bench.server.data == bytes(20_000)


def test_a_black_hole_swallows_long_segments_and_nobody_hears() -> None:
    """RFC 4821: the handshake passes, a small message passes, a long one never does; nor does what comes after."""
    bench = Bench(Way(delay_s=0.02, mtu_bytes=1000, tells_too_big=False))
    stream, user = bench.connect()
    bench.internet.run_for(1.0)
    stream.write(b"small")
    bench.internet.run_for(1.0)
    stream.write(bytes(3000))
    bench.internet.run_for(300.0)
    assert bench.server.data[:5] == b"small"
    assert len(bench.server.data) == 5
    assert user.events == ["connected"]


def test_what_either_end_says_in_its_syn_bounds_both() -> None:
    """RFC 9293 section 3.7.1: with a small MSS said at accept a black hole hurts nobody."""
    bench = Bench(Way(delay_s=0.02, mtu_bytes=600, tells_too_big=False))
    bench.there._listeners[bench.remote].mss_bytes = 576 - IP_BYTES[4] - TCP_BYTES
    stream, _ = bench.connect()
    bench.internet.run_for(1.0)
    stream.write(bytes(5000))
    bench.internet.run_for(5.0)
    assert len(bench.server.data) == 5000


def test_one_direction_alone_may_be_cut() -> None:
    """Asymmetry: what is sent arrives, and is never acknowledged."""
    bench = Bench()
    stream, user = bench.connect()
    bench.internet.run_for(1.0)
    bench.internet.cut(bench.networks[1], bench.networks[0])
    stream.write(b"heard")
    bench.internet.run_for(1200.0)
    assert bench.server.data == b"heard"
    assert user.events == ["connected", "timed out"]


def crossing(here_s: float, there_s: float, way: Way | None = None) -> tuple[list[VirtualStream], list[User], Bench]:
    """Two streams that are opened to each other's port, at which nobody listens, at these times."""
    bench = Bench(way)
    ends = Address(HERE, 50001), Address(THERE, 50002)
    made: list[VirtualStream] = []
    users = [User(), User()]

    def open_stream(machine: Machine, local: Address, remote: Address, user: User) -> None:
        stream = machine.connect(remote, local=local)
        stream.user = user
        made.append(stream)

    bench.here.at(here_s, lambda: open_stream(bench.here, *ends, users[0]))
    bench.there.at(there_s, lambda: open_stream(bench.there, *ends[::-1], users[1]))
    bench.internet.run_for(1.0)
    return made, users, bench


@pytest.mark.parametrize("later_s", [0.0, 0.005, 0.019])
def test_9293_3_5_both_may_open_it_at_once(later_s: float) -> None:
    """RFC 9293 section 3.5: two SYNs that cross on their way are one connection, and no third end is needed."""
    made, users, bench = crossing(0.0, later_s)
    assert [user.events for user in users] == [["connected"], ["connected"]]
    for number, stream in enumerate(made):
        stream.write(b"%d" % number * 5000)
    bench.internet.run_for(5.0)
    assert [user.data for user in users] == [b"1" * 5000, b"0" * 5000]
    for stream in made:
        stream.close()
    bench.internet.run_for(5.0)
    assert [user.events for user in users] == 2 * [["connected", "ended", "closed"]]


def test_a_syn_that_comes_before_the_other_end_has_opened_is_refused() -> None:
    _, users, _ = crossing(0.0, 0.5)
    assert [user.events for user in users] == [["connection refused"], ["connection refused"]]


@pytest.mark.parametrize("seed", range(5))
def test_both_open_it_over_a_network_that_loses_packets(seed: int) -> None:
    bench = Bench(TERRIBLE, seed=seed)
    ends = Address(HERE, 50001), Address(THERE, 50002)
    users = [User(), User()]
    for machine, (local, remote), user in zip((bench.here, bench.there), (ends, ends[::-1]), users, strict=True):
        stream = machine.connect(remote, local=local)
        stream.user = user
        stream.write(bytes(20000))
    bench.internet.run_for(120.0)
    assert [(user.events, len(user.data)) for user in users] == 2 * [(["connected"], 20000)]


def test_a_port_at_which_somebody_listens_is_not_to_be_had() -> None:
    bench = Bench()
    with pytest.raises(SocketRefused):
        bench.there.connect(Address(HERE, 1), local=bench.remote)
    with pytest.raises(SocketRefused):
        bench.here.connect(bench.remote, local=Address("192.0.2.1", 1))
    bench.here.connect(bench.remote, local=Address(HERE, 50001))
    with pytest.raises(SocketRefused):
        bench.here.connect(bench.remote, local=Address(HERE, 50001))
