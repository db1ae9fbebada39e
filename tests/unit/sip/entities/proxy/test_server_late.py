"""A server whose machine slept: all that waits is due at once, and comes in any order with what has arrived."""

from __future__ import annotations

import random

import pytest
from effort import times

from p2psip.base.address import Address
from p2psip.sip.entities.questions import FindCredential, LocateUser, ResolveUri

HOUR_S = 3600.0
SLEEPS_S = (32.0, 181.0, 601.0, HOUR_S)


def scene(world):
    """Two peers; at each a phone over UDP and one over TCP, which ring for long."""
    servers = [world.server("garden", "10.1.0.1"), world.server("cellar", "10.2.0.1")]
    world.link(*servers)
    phones = [
        world.phone(user, server, Address(f"{server.address.host[:-1]}{number}", 5060), transport, answers_after_s=None)
        for number, (user, server, transport) in enumerate(
            [
                ("alice", servers[0], "UDP"),
                ("anna", servers[0], "TCP"),
                ("bob", servers[1], "UDP"),
                ("berta", servers[1], "TCP"),
            ],
            start=10,
        )
    ]
    for phone in phones:
        assert phone.register().status == 200
    return servers, phones


def sleep(world, seconds: float, order: random.Random) -> None:
    """The machine of every server slept; it finds timers due and packets arrived, in one order or another."""
    world.now += seconds
    servers = list(world.servers.values())
    if order.random() < 0.5:
        for server in order.sample(servers, len(servers)):
            server.core.handle_timeout(world.now)
    for phone in world.phones:
        if order.random() < 0.5:
            phone.core.handle_timeout(world.now)
    if order.random() < 0.5:
        order.shuffle(world._events)
        world._events = [(world.now, number, action) for number, (_, _, action) in enumerate(world._events)]
    world.settle()


def test_timer_c_and_the_end_of_a_flow_in_one_wake(world) -> None:
    """Ten minutes of sleep while it rings at a phone over TCP, which has long been silent when the machine wakes."""
    servers, phones = scene(world)
    call = phones[0].invite("anna")
    world.run(2.0)
    assert call.statuses[-1] == 180
    world.now += 600.0
    # What is due of flows and of timer C is due together.
    for server in servers:
        server.core.handle_timeout(world.now)
    world.settle()
    assert world.forgets_all()
    assert call.is_over or call.failures


@pytest.mark.long
@pytest.mark.parametrize("seed", range(times(40)))
def test_everything_pending_and_an_hour_late(world, seed: int) -> None:
    """Whatever was going on; nothing raises, and nothing is left of it in the end."""
    rng = random.Random(seed)
    servers, phones = scene(world)
    for _ in range(3):
        for server in servers:
            server.unanswered = tuple(kind for kind in (FindCredential, LocateUser, ResolveUri) if rng.random() < 0.2)
        for _ in range(rng.randrange(1, 12)):
            _act(world, servers, phones, rng)
            world.run(rng.choice((0.0, 0.005, 0.02, 0.3, 5.0)))
        sleep(world, rng.choice(SLEEPS_S), rng)
        world.run(rng.choice((0.0, 1.0, 40.0)))
    assert world.forgets_all()


def _act(world, servers, phones, rng: random.Random) -> None:
    phone, other = rng.sample(phones, 2)
    dialled = [(each, call) for each in phones for call in each.calls if call.transaction in each.pending]
    ringing = [(each, call) for each in phones for call in each.calls if call.transaction not in each.pending]
    flows = [flow for server in servers for flow in server.flows.values() if flow.number not in server.links.values()]
    match rng.choice(("invite", "invite", "message", "pick up", "cancel", "hang up", "cut", "deaf")):
        case "invite":
            phone.invite(other.user)
        case "message":
            phone.send(phone.message(other.user))
        case "pick up" if waiting := [(each, call) for each, call in ringing if not (call.is_up or call.is_over)]:
            each, call = rng.choice(waiting)
            each._pick_up(call)
        case "cancel" if dialled:
            each, call = rng.choice(dialled)
            each.cancel(call)
        case "hang up" if up := [(each, call) for each, call in dialled if call.is_up and not call.is_over]:
            each, call = rng.choice(up)
            each.hang_up(call)
        case "cut" if flows:
            world.cut(rng.choice(flows))
        case "deaf":
            phone.is_alive = not phone.is_alive
    world.settle()
