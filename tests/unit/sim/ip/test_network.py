"""p2psip.sim.ip.network: what happens to packets on their way, as often as it should."""

from __future__ import annotations

import itertools

import pytest

from p2psip.base.address import Address
from p2psip.sim.ip.machine import Machine
from p2psip.sim.ip.network import Internet, Network, Way
from p2psip.sim.ip.packet import SocketRefused

COUNT = 4000


class Bench:
    """A sends numbered datagrams to B; `arrived` has when and which."""

    def __init__(self, way: Way, *, back: Way | None = None) -> None:
        self.internet = Internet(1)
        self.a, self.b = (self.internet.network(f"n{n}", f"198.51.{n}.0/24", f"2001:db8:{n}::/64") for n in (1, 2))
        self.internet.join(self.a, self.b, way, back)
        self.here, self.there = (self._machine(network, n) for n, network in ((1, self.a), (2, self.b)))
        self.arrived: list[tuple[float, bytes]] = []
        self.socket = self.here.udp(Address("0.0.0.0", 5000), lambda *_: None)
        self.there.udp(Address("0.0.0.0", 5000), lambda _, remote, data: self.arrived.append((self.internet.now, data)))

    def _machine(self, network: Network, number: int) -> Machine:
        machine = Machine(self.internet, f"m{number}")
        machine.plug(network, f"198.51.{number}.1", f"2001:db8:{number}::1")
        return machine

    def send(self, count: int = COUNT, *, every_s: float = 0.01, size: int = 100) -> list[bytes]:
        """All that were sent, in order."""
        sent = [number.to_bytes(4) + bytes(size - 4) for number in range(count)]
        for data in sent:
            self.socket.send(Address("198.51.2.1", 5000), data)
            self.internet.run_for(every_s)
        self.internet.run_for(5.0)
        return sent


def test_latency_and_jitter() -> None:
    """Never earlier than the delay, never later than delay and jitter."""
    bench = Bench(Way(delay_s=0.1, jitter_s=0.02))
    bench.send(500)
    took = [at - int.from_bytes(data[:4]) * 0.01 for at, data in bench.arrived]
    assert 0.1 <= min(took) < 0.102
    assert 0.118 < max(took) <= 0.1201


@pytest.mark.parametrize("loss", [0.0, 0.05, 0.5, 1.0])
def test_loss(loss: float) -> None:
    """As much as it says."""
    bench = Bench(Way(loss=loss))
    bench.send()
    assert len(bench.arrived) == pytest.approx((1 - loss) * COUNT, abs=0.03 * COUNT if 0 < loss < 1 else 0)


def test_duplication() -> None:
    """A tenth comes twice."""
    bench = Bench(Way(duplication=0.1))
    bench.send()
    assert len(bench.arrived) == pytest.approx(1.1 * COUNT, abs=0.02 * COUNT)
    assert len({data for _, data in bench.arrived}) == COUNT


def test_reordering() -> None:
    """A tenth is overtaken; without it, and without jitter, none is."""
    for reordering, overtaken in ((0.0, 0.0), (0.1, 0.1)):
        bench = Bench(Way(reordering=reordering, held_s=0.05))
        sent = bench.send()
        order = [data for _, data in bench.arrived]
        assert sorted(order) == sent
        earlier = sum(1 for before, after in itertools.pairwise(order) if after < before)
        assert earlier == pytest.approx(overtaken * COUNT, abs=0.03 * COUNT if overtaken else 0)


def test_asymmetry() -> None:
    """Each direction has a way of its own."""
    bench = Bench(Way(delay_s=0.1), back=Way(delay_s=0.3))
    heard: list[float] = []
    bench.there.udp(Address("0.0.0.0", 7), lambda socket, remote, data: socket.send(remote, data))
    socket = bench.here.udp(Address("0.0.0.0", 8), lambda *_: heard.append(bench.internet.now))
    socket.send(Address("198.51.2.1", 7), b"echo")
    bench.internet.run_for(1.0)
    assert heard == [pytest.approx(0.4)]


def test_each_fragment_can_be_lost() -> None:
    """Three pieces, of which each is lost with one in ten: three in four arrive (0.9 to the third)."""
    bench = Bench(Way(loss=0.1, mtu_bytes=576))
    bench.send(size=1500 - 28)
    whole = len(bench.arrived)
    assert whole == pytest.approx(0.9**3 * COUNT, abs=0.03 * COUNT)


def test_ipv6_is_never_fragmented_on_the_way_but_at_its_source() -> None:
    """RFC 8200 section 5: the first is too long and lost, ICMPv6 tells, the second leaves in pieces."""
    bench = Bench(Way(mtu_bytes=1280))
    heard: list[bytes] = []
    bench.there.udp(Address("::", 5000), lambda _, remote, data: heard.append(data))
    socket = bench.here.udp(Address("::", 5000), _ignored)
    for number in (1, 2):
        socket.send(Address("2001:db8:2::1", 5000), bytes([number]) * 1400)
        bench.internet.run_for(1.0)
    assert heard == [b"\2" * 1400]


def test_who_has_no_way_is_refused() -> None:
    """By the machine itself, at once."""
    internet = Internet(1)
    lan = internet.lan("lan", "192.168.1.0/24")
    machine = Machine(internet, "m")
    machine.plug(lan, "192.168.1.2")
    with pytest.raises(SocketRefused, match="network is unreachable"):
        machine.udp(Address("0.0.0.0", 5000), _ignored).send(Address("198.51.100.1", 5000), b"?")
    with pytest.raises(SocketRefused, match="cannot assign"):
        machine.udp(Address("192.168.1.3", 5001), _ignored)
    with pytest.raises(SocketRefused, match="in use"):
        machine.udp(Address("0.0.0.0", 5000), _ignored)


def _ignored(*_: object) -> None:
    """Whatever comes."""
