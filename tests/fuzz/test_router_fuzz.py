"""Damaged and invented words of routers: nothing is raised, little is sent because of them, and the truth still gets
through.
"""

from __future__ import annotations

import random
import re

import pytest
from effort import times
from gateway_device import ADDED, ADDRESS, FOUND, described, error
from mutations import mutant

from p2psip.base.address import Address
from p2psip.portmap.mapper import AGAIN_S, LIFETIME_S, PortMapper
from p2psip.portmap.values import ROUTER_PORT, AskRouter, HomeRouter, PortKind, WantedPort, is_of_a_host
from p2psip.sim.ip.port_server import PortServer

ROUTER = HomeRouter("192.168.1.1", "192.168.1.2")
ROUTER_AT = Address(ROUTER.host, ROUTER_PORT)
WISHES = (WantedPort(PortKind.UDP, 6084), WantedPort(PortKind.TCP, 6084), WantedPort(PortKind.UDP, 5062))
HOURS_S = 6 * 3600.0
COPIES_MAX = 3


@pytest.mark.long
@pytest.mark.parametrize("seed", range(times(30)))
def test_a_mapper_outlives_whatever_a_router_says(seed: int) -> None:
    """For hours each answer comes damaged, in several copies, mixed with those of before; then as it is. What is held
    meanwhile could be some machine's address; and the router is asked no more often than a broken one would be.
    """
    rng = random.Random(f"router {seed}")
    server = PortServer("203.0.113.7", rng.choice((("PCP",), ("NAT-PMP",), ("PCP", "NAT-PMP"))))
    mapper, now, sent = PortMapper(b"secret", rng), 100.0, 0
    heard: list[bytes] = [b"\0", b"\2", bytes(60)]
    mapper.use(ROUTER, WISHES, now)
    end = now + HOURS_S + AGAIN_S + LIFETIME_S
    while now < end:
        is_damaged = now < 100.0 + HOURS_S
        asked = [effect for effect in mapper.drain() if isinstance(effect, AskRouter)]
        sent += len(asked)
        for each in asked:
            data, is_heard = each.outgoing.data, each.outgoing.port == ROUTER_PORT
            answer = server.answer(Address(ROUTER.local, 40000), data, now) if is_heard else None
            if answer is None:
                continue
            heard = [*heard[-20:], answer]
            said = [mutant(heard, rng) for _ in range(rng.randrange(COPIES_MAX))] if is_damaged else [answer]
            for data in said:
                mapper.handle_datagram(ROUTER_AT, data, now)
        assert all(is_of_a_host(at.host) and at.port for at in mapper.given.values())
        if asked:
            continue
        deadline = mapper.next_deadline()
        assert deadline is not None, "it has stopped to ask"
        now = max(now, deadline.at)
        mapper.handle_timeout(now)
    assert sent < HOURS_S / 4
    assert mapper.given == {wish: Address("203.0.113.7", wish.port) for wish in WISHES}


LINES_MAX = 7


@pytest.mark.long
@pytest.mark.parametrize("seed", range(times(60)))
def test_a_gateway_device_leads_us_to_itself_alone_whatever_it_says(seed: int) -> None:
    """Nothing is raised, every request is one request, and it is asked no longer than it gives cause to."""
    rng = random.Random(f"device {seed}")
    specimens = [FOUND, described(), described("http://192.168.1.3/x"), error(718), error(725), ADDED, ADDRESS]
    mapper, now = PortMapper(b"secret", rng), 0.0
    mapper.use(ROUTER, WISHES, now)
    for _ in range(400):
        asked = [effect.outgoing for effect in mapper.drain() if isinstance(effect, AskRouter)]
        for outgoing in asked:
            if outgoing.port == ROUTER_PORT:
                continue
            right = FOUND if not outgoing.is_stream else described() if outgoing.data[:3] == b"GET" else ADDRESS
            said = right if rng.random() < 0.7 else mutant(specimens, rng)
            if outgoing.is_stream:
                lines = outgoing.data.partition(b"\r\n\r\n")[0].split(b"\r\n")
                assert re.fullmatch(rb"(GET|POST) /\S* HTTP/1\.1", lines[0])
                assert len(lines) <= LINES_MAX
                assert lines[1].startswith(b"Host: 192.168.1.1:")
                mapper.handle_stream(outgoing.data, said, now)
            else:
                mapper.handle_datagram(Address(ROUTER.host, rng.choice((1900, 40000))), said, now)
        assert all(is_of_a_host(at.host) and at.port for at in mapper.given.values())
        if not asked:
            deadline = mapper.next_deadline()
            assert deadline is not None, "it has stopped to ask"
            now = max(now, deadline.at)
            mapper.handle_timeout(now)
    assert now > 400.0, "it is asked all the time"
