"""Who is asked as whom it sees the port of calls (p2psip.reload.paths.ice.call_servers)."""

from __future__ import annotations

import random

from p2psip.base.address import Address
from p2psip.reload.paths.ice.call_servers import PATIENCE_S, CallServers
from p2psip.reload.paths.limits import CALL_SERVERS_MAX
from p2psip.reload.paths.values import SendStun
from p2psip.stun.binding import answer_binding

HERE = Address("10.0.0.2", 5062)
OUTSIDE = Address("198.51.100.9", 40001)


def server(number: int) -> Address:
    return Address(f"192.0.2.{number}", 6084)


def asked(servers: CallServers) -> list[Address]:
    """Who is asked now; all of it goes from the port of calls."""
    questions = [effect for effect in servers.drain() if isinstance(effect, SendStun)]
    assert all(question.local == HERE for question in questions)
    return [question.remote for question in questions]


def answer(servers: CallServers) -> None:
    """Whoever is asked answers."""
    for effect in servers.drain():
        assert isinstance(effect, SendStun)
        said = answer_binding(effect.data, OUTSIDE)
        assert said is not None
        servers.handle_answer(HERE, effect.remote, said)


def test_the_first_few_with_whom_we_are_linked_are_asked_from_the_port_of_calls() -> None:
    servers = CallServers(random.Random(1))
    for number in range(1, 6):
        servers.linked(number, HERE, server(number), 0.0)
    assert asked(servers) == [server(number) for number in range(1, CALL_SERVERS_MAX + 1)]


def test_what_they_say_is_as_whom_we_are_seen_there() -> None:
    servers = CallServers(random.Random(1))
    servers.linked(1, HERE, server(1), 0.0)
    answer(servers)
    assert servers.mapped() == [(OUTSIDE, HERE, server(1))]


def test_who_does_not_answer_soon_gives_way() -> None:
    servers = CallServers(random.Random(1))
    for number in range(1, 5):
        servers.linked(number, HERE, server(number), 0.0)
    asked(servers)
    servers.handle_timeout(PATIENCE_S)
    assert server(4) in asked(servers)


def test_it_is_asked_as_long_as_there_is_any_link_with_it() -> None:
    """Two links with one node, of which one takes the place of the other."""
    servers = CallServers(random.Random(1))
    servers.linked(1, HERE, server(1), 0.0)
    answer(servers)
    servers.linked(2, HERE, server(1), 1.0)
    assert asked(servers) == []
    servers.down(1)
    assert servers.mapped()
    servers.down(2)
    assert servers.mapped() == []


def test_the_next_takes_the_place_of_one_that_is_gone() -> None:
    servers = CallServers(random.Random(1))
    for number in range(1, 5):
        servers.linked(number, HERE, server(number), 0.0)
    asked(servers)
    servers.down(2)
    deadline = servers.next_deadline()
    assert deadline is not None
    assert deadline.at <= 0.0
    servers.handle_timeout(1.0)
    assert server(4) in asked(servers)


def test_the_mapping_is_kept() -> None:
    """RFC 4787 REQ-5: a NAT may forget after two minutes, and some do after half a one."""
    servers = CallServers(random.Random(1))
    servers.linked(1, HERE, server(1), 0.0)
    answer(servers)
    assert asked(servers) == []
    servers.handle_timeout(24.0)
    assert asked(servers) == [server(1)]
