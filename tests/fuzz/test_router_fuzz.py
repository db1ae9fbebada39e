"""Damaged and invented words of routers: nothing is raised, little is sent because of them, and the truth still gets
through.
"""

from __future__ import annotations

import random

import pytest
from effort import times
from mutations import mutant

from p2psip.base.address import Address
from p2psip.portmap.mapper import AGAIN_S, LIFETIME_S, PortMapper
from p2psip.portmap.values import AskRouter, HomeRouter, PortKind, WantedPort, is_of_a_host
from p2psip.sim.ip.port_server import PortServer

ROUTER = HomeRouter("192.168.1.1", "192.168.1.2")
WISHES = (WantedPort(PortKind.UDP, 6084), WantedPort(PortKind.TCP, 6084), WantedPort(PortKind.UDP, 5062))
HOURS_S = 6 * 3600.0
COPIES_MAX = 3


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
            if (answer := server.answer(Address(ROUTER.local, 40000), each.data, now)) is None:
                continue
            heard = [*heard[-20:], answer]
            said = [mutant(heard, rng) for _ in range(rng.randrange(COPIES_MAX))] if is_damaged else [answer]
            for data in said:
                mapper.handle_datagram(ROUTER.address, data, now)
        assert all(is_of_a_host(at.host) and at.port for at in mapper.given.values())
        if asked:
            continue
        deadline = mapper.next_deadline()
        assert deadline is not None, "it has stopped to ask"
        now = max(now, deadline.at)
        mapper.handle_timeout(now)
    assert sent < HOURS_S / 4
    assert mapper.given == {wish: Address("203.0.113.7", wish.port) for wish in WISHES}
