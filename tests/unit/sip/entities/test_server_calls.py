"""Calls through two servers joined back to back: phone - server - server - phone."""

from __future__ import annotations

import pytest

ALICE_AT = ("10.1.0.11", 5060)
BOB_AT = ("10.2.0.12", 5070)


@pytest.fixture
def two(world):
    """Alice at one, bob at two, both registered."""
    from p2psip.sip.transports.address import Address

    one, other = world.server("one", "10.1.0.1"), world.server("two", "10.2.0.1")
    world.link(one, other)
    alice = world.phone("alice", one, Address(*ALICE_AT))
    bob = world.phone("bob", other, Address(*BOB_AT))
    assert alice.register().status == 200
    assert bob.register().status == 200
    return world, one, other, alice, bob


def test_call_and_hang_up_by_the_caller(two):
    world, one, other, alice, bob = two
    call = alice.invite("bob")
    world.run(3.0)
    assert call.statuses == [100, 180, 200]
    assert bob.calls[0].is_up
    assert bob.acks == 1
    alice.hang_up(call)
    world.run(1.0)
    assert alice.finals[-1].status == 200
    assert bob.calls[0].is_over
    [report] = [report for report in one.reports if report.method == "INVITE"]
    assert (report.who, report.status, report.target) == ("alice", 200, "peer two")
    assert report.rang_s is not None
    assert report.rang_s < 0.3
    world.run(100.0)
    for server in (one, other):
        assert server.core.counts["transactions"] == 0
        assert server.core.counts["requests under way"] == 0
