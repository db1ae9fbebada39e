"""p2psip.sim.ip.machine: several interfaces, routes, clocks that are wrong, sleep and power."""

from __future__ import annotations

import ipaddress

import pytest

from p2psip.base.address import Address
from p2psip.sim.ip.boxes import Router
from p2psip.sim.ip.machine import EPOCH_S, Machine, NetworkRoute
from p2psip.sim.ip.network import Internet
from p2psip.sim.ip.packet import Protocol


def test_the_source_is_the_address_of_the_interface_that_a_packet_leaves_by() -> None:
    """A peer with a LAN for its phones beside the world."""
    internet = Internet(1)
    public, lan = internet.network("public", "198.51.100.0/24", "2001:db8::/64"), internet.lan("lan", "192.168.1.0/24")
    machine = Machine(internet, "m")
    machine.plug(public, "198.51.100.1", "2001:db8::1")
    wire = machine.plug(lan, "192.168.1.1")
    assert machine.local_towards("192.168.1.50") == "192.168.1.1"
    assert machine.local_towards("203.0.113.9") == "198.51.100.1"
    assert machine.local_towards("2001:db8:9::9") == "2001:db8::1"
    assert machine.local_towards("192.168.1.1") == "192.168.1.1"
    wire.is_up = False
    assert machine.hosts == ["198.51.100.1", "2001:db8::1"]


def test_the_longest_prefix_of_the_routes_is_taken() -> None:
    """A VPN's box beside the usual one."""
    internet = Internet(1)
    public, lan = internet.network("public", "198.51.100.0/24"), internet.lan("lan", "192.168.1.0/24")
    far = internet.lan("far", "10.0.0.0/8")
    usual, vpn = Router(internet, "usual"), Router(internet, "vpn")
    usual.plug(lan, "192.168.1.1")
    usual.plug(public, "198.51.100.9")
    vpn.plug(lan, "192.168.1.2")
    vpn.plug(far, "10.0.0.1")
    here, there = Machine(internet, "here"), Machine(internet, "there")
    wire = here.plug(lan, "192.168.1.50", gateways=("192.168.1.1",))
    here.routes += [
        NetworkRoute(ipaddress.ip_network("10.0.0.0/8"), wire, "192.168.1.2"),
        NetworkRoute(ipaddress.ip_network("0.0.0.0/0"), wire, "192.168.1.1"),
    ]
    there.plug(far, "10.1.2.3", gateways=("10.0.0.1",))
    heard: list[Address] = []
    there.udp(Address("0.0.0.0", 7), lambda _, remote, data: heard.append(remote))
    here.udp(Address("0.0.0.0", 8), _ignored).send(Address("10.1.2.3", 7), b"?")
    internet.run_for(1.0)
    assert heard == [Address("192.168.1.50", 8)]


def test_a_firewall_lets_in_what_was_asked_for_and_blocks_what_it_is_told_to() -> None:
    """RFC 6092, for both IP versions; and an office that blocks UDP."""
    internet = Internet(1)
    public, lan = internet.network("public", "2001:db8:1::/64"), internet.lan("lan", "2001:db8:2::/64")
    box = Router(internet, "box", is_open=False, timeout_s=60.0)
    box.plug(public, "2001:db8:1::1")
    box.plug(lan, "2001:db8:2::1", is_inside=True)
    inside, outside = Machine(internet, "inside"), Machine(internet, "outside")
    inside.plug(lan, "2001:db8:2::50", gateways=("2001:db8:2::1",))
    outside.plug(public, "2001:db8:1::50", gateways=("2001:db8:1::1",))
    heard: list[str] = []
    here = inside.udp(Address("::", 5000), lambda _, remote, data: heard.append("inside"))
    there = outside.udp(Address("::", 5000), lambda _, remote, data: heard.append("outside"))
    _route_to(outside, "2001:db8:2::/64", "2001:db8:1::1")
    there.send(Address("2001:db8:2::50", 5000), b"unasked")
    internet.run_for(1.0)
    assert heard == []
    here.send(Address("2001:db8:1::50", 5000), b"?")
    internet.run_for(1.0)
    there.send(Address("2001:db8:2::50", 5000), b"!")
    internet.run_for(1.0)
    assert heard == ["outside", "inside"]
    internet.run_for(61.0)
    there.send(Address("2001:db8:2::50", 5000), b"late")
    internet.run_for(1.0)
    assert heard == ["outside", "inside"]
    box.blocks = frozenset({Protocol.UDP})
    here.send(Address("2001:db8:1::50", 5000), b"?")
    internet.run_for(1.0)
    assert heard == ["outside", "inside"]


def _route_to(machine: Machine, prefix: str, gateway: str) -> None:
    machine.routes.append(NetworkRoute(ipaddress.ip_network(prefix), machine.interfaces[0], gateway))


def test_a_clock_that_is_fast() -> None:
    """By one in a thousand: what was to be done in 1000 s is done after 999 s of the world."""
    internet = Internet(1)
    internet.run_for(50.0)
    machine = Machine(internet, "m", clock_rate=1.001)
    done: list[float] = []
    machine.at(1001.0, lambda: done.append(internet.now))
    internet.run_for(2000.0)
    assert done == [pytest.approx(1050.0)]
    assert machine.now == pytest.approx(2002.0)


def test_a_date_that_is_wrong_and_is_set_right() -> None:
    """A Pi that starts in 1970; its clock since boot knows nothing of it."""
    internet = Internet(1)
    machine = Machine(internet, "pi", date_error_s=-EPOCH_S)
    internet.run_for(100.0)
    assert machine.clock.wall(internet.now).date(machine.now) == pytest.approx(100.0)
    machine.clock.date_error_s = 0.0
    assert machine.clock.wall(internet.now).date(machine.now) == pytest.approx(EPOCH_S + 100.0)
    assert machine.now == pytest.approx(100.0)


def test_what_was_due_while_it_slept_is_done_late_and_in_its_order() -> None:
    """And what came meanwhile is lost."""
    internet = Internet(1)
    network = internet.network("n", "198.51.100.0/24")
    machine, other = Machine(internet, "m"), Machine(internet, "other")
    machine.plug(network, "198.51.100.1")
    other.plug(network, "198.51.100.2")
    done: list[object] = []
    machine.udp(Address("0.0.0.0", 7), lambda _, remote, data: done.append(data))
    for at in (30.0, 10.0, 700.0):
        machine.at(at, lambda at=at: done.append((at, machine.now)))  # type: ignore[misc]
    internet.run_for(5.0)
    machine.sleep()
    other.udp(Address("0.0.0.0", 8), _ignored).send(Address("198.51.100.1", 7), b"lost")
    internet.run_for(600.0)
    assert done == []
    machine.wake()
    assert done == [(10.0, 605.0), (30.0, 605.0)]
    internet.run_for(200.0)
    assert done[-1] == (700.0, 700.0)


def test_a_power_cut_ends_everything_that_was_to_be_done() -> None:
    """After the boot the clock begins at zero; the date goes on."""
    internet = Internet(1)
    machine = Machine(internet, "m")
    done: list[str] = []
    machine.at(50.0, lambda: done.append("before"))
    internet.run_for(20.0)
    machine.cut_power()
    internet.run_for(10.0)
    machine.boot()
    assert machine.now == 0.0
    assert machine.boots == 2
    machine.at(5.0, lambda: done.append("after"))
    internet.run_for(100.0)
    assert done == ["after"]
    assert machine.clock.wall(internet.now).date(machine.now) == pytest.approx(EPOCH_S + 130.0)


def _ignored(*_: object) -> None:
    """Whatever comes."""
