"""How long the proxy waits to be told the way to a target, the first time and after a connection has died."""

from __future__ import annotations

import pytest

from p2psip.base.address import Address
from p2psip.sip.entities.questions import Located, ResolveUri, Target
from p2psip.sip.message.uri import SipUri


@pytest.fixture
def sites(world):
    """Two peers that are linked, the connection between them, and alice's phone at the first."""
    one, two = world.server("one", "10.1.0.1"), world.server("two", "10.2.0.1")
    link, _ = world.link(one, two)
    alice = world.phone("alice", one, Address("10.1.0.11", 5060))
    assert alice.register().status == 200
    return one, two, link, alice


def at_peer(server, **more):
    """A target there, the way to which has to be asked."""
    return Target(
        SipUri("overlay.example", "bob", None, (("gr", server.node_id),)), None, f"peer {server.name}", **more
    )


def test_a_connection_that_dies_in_silence_leaves_the_whole_time_to_find_another(world, sites):
    """The patience with the way that is gone is over with it."""
    one, two, link, alice = sites
    one.locate = lambda question: Located((at_peer(two, is_doubtful=True),))
    two.core.handle = lambda arrival, now: None
    began = world.now
    call = alice.invite("bob")
    world.run(0.5)
    assert [question for question in one.asked if isinstance(question, ResolveUri)]
    one.unanswered = (ResolveUri,)
    world.cut(link)
    world.run(6.0)
    assert call.statuses == [100]
    world.run(began + 9.0 - world.now)
    assert call.statuses == [100, 480]
    assert world.forgets_all()


def test_whose_turn_comes_late_has_some_time_all_the_same(world, sites):
    """8 s after the call nobody waits any longer for the first; the second has only been asked for since 7.5 s."""
    one, two, _, alice = sites
    one.locate = lambda question: Located((at_peer(two), at_peer(one)), 7.5)
    one.unanswered = (ResolveUri,)
    call = alice.invite("bob")
    world.run(9.0)
    assert call.statuses == [100]
    world.run(1.0)
    assert call.statuses == [100, 480]
    assert world.forgets_all()
