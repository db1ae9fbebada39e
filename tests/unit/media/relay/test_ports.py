"""Pairs of ports: opened beforehand, drawn, given back."""

import random

from p2psip.media.relay.limits import RelayLimits
from p2psip.media.relay.ports import ClosePorts, OpenPorts, Ports

LIMITS = RelayLimits(first_port=20000, last_port=20031, spare_pairs=3)


def serve(ports: Ports, taken: frozenset[int] = frozenset(), versions: frozenset[int] = frozenset({4, 6})) -> list[int]:
    """A machine on which others have some; the ports that are closed."""
    closed = []
    while effects := ports.drain():
        for effect in effects:
            match effect:
                case OpenPorts(version, port):
                    ports.opened(port, port not in taken and version in versions)
                case ClosePorts(port):
                    closed.append(port)
    return closed


def test_pairs_are_even_distinct_and_within_the_range() -> None:
    ports = Ports(LIMITS, random.Random(1))
    ports.fill()
    serve(ports)
    taken = []
    for _ in range(6):
        taken += [ports.take(4), ports.take(6)]
        serve(ports)
    assert len(set(taken)) == len(taken)
    assert all(port is not None and port % 2 == 0 and 20000 <= port <= 20030 for port in taken)
    assert all(port in ports and port + 1 in ports for port in taken if port is not None)


def test_when_all_are_used_there_is_none_and_one_that_is_given_back_is_closed_and_may_come_again() -> None:
    ports = Ports(RelayLimits(first_port=20000, last_port=20003, spare_pairs=2), random.Random(1))
    ports.fill()
    serve(ports)
    first, second = ports.take(4), ports.take(4)
    assert {first, second} == {20000, 20002}
    assert ports.take(4) is None
    assert first is not None
    ports.give_back(first)
    assert serve(ports) == [first]
    assert ports.take(4) == first


def test_ports_that_somebody_else_has_are_passed_over() -> None:
    ports = Ports(LIMITS, random.Random(1))
    others = frozenset(range(20000, 20016))
    ports.fill()
    serve(ports, others)
    got = [ports.take(4) for _ in range(2)]
    assert all(port is not None and port >= 20016 for port in got)


def test_a_machine_without_ipv6_is_not_asked_for_ever() -> None:
    ports = Ports(LIMITS, random.Random(1))
    ports.fill()
    serve(ports, versions=frozenset({4}))
    assert ports.take(6) is None
    serve(ports, versions=frozenset({4}))
    assert ports.take(4) is not None


def test_who_does_not_know_the_seed_does_not_know_the_ports() -> None:
    drawn = []
    for seed in (1, 2):
        ports = Ports(RelayLimits(spare_pairs=1), random.Random(seed))
        ports.fill()
        serve(ports)
        drawn.append(ports.take(4))
    assert drawn[0] != drawn[1]
