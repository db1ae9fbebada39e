"""A Contact where nobody is any more: tried last, and forgotten."""

from __future__ import annotations

import pytest

from p2psip.base.address import Address

TIMER_B_S = 32.0


@pytest.fixture
def gone(world, other, bob):
    """Bob's other phone, which has lost its power without a word."""
    phone = world.phone("bob", other, Address("10.2.0.99", 5060))
    assert phone.register().status == 200
    phone.is_alive = False
    return phone


def contacts(server, world) -> list[str]:
    return [binding.contact.host for binding in server.core.bindings("bob", world.now)]


def test_it_is_tried_last_once_it_has_said_nothing(world, other, alice, bob, gone):
    assert contacts(other, world) == ["10.2.0.99", "10.2.0.12"], "the newest first"
    bob.refuses_with = 486
    first = alice.invite("bob")
    world.run(TIMER_B_S + 2.0)
    assert first.statuses[-1] == 486
    assert contacts(other, world) == ["10.2.0.12", "10.2.0.99"]
    sent = len([data for _, to, data in world.datagrams if to == gone.address and data.startswith(b"INVITE")])
    bob.refuses_with, bob.answers_after_s = None, 5.0
    call = alice.invite("bob")
    world.run(9.0)
    assert call.is_up
    assert len([data for _, to, data in world.datagrams if to == gone.address and data.startswith(b"INVITE")]) == sent


def test_it_is_forgotten_the_second_time(world, other, alice, bob, gone):
    """And who calls is not kept waiting for it."""
    bob.refuses_with = 486
    alice.invite("bob")
    world.run(TIMER_B_S + 2.0)
    call = alice.invite("bob")
    world.run(6.0)
    assert call.statuses[-1] == 486
    assert contacts(other, world) == ["10.2.0.12"]


def test_one_that_answers_is_as_good_as_before(world, other, alice, bob, gone):
    bob.refuses_with = 486
    alice.invite("bob")
    world.run(TIMER_B_S + 2.0)
    gone.is_alive = True
    gone.refuses_with = 486
    alice.invite("bob")
    world.run(15.0)
    assert contacts(other, world) == ["10.2.0.99", "10.2.0.12"]


def test_the_only_one_is_tried_again(world, other, alice, bob):
    """It may have been asleep."""
    bob.is_alive = False
    for _ in range(3):
        alice.invite("bob")
        world.run(TIMER_B_S + 8.0)
    assert contacts(other, world) == ["10.2.0.12"]
    bob.is_alive = True
    call = alice.invite("bob")
    world.run(3.0)
    assert call.is_up


def test_a_phone_that_registers_again_is_there(world, other, alice, bob, gone):
    bob.refuses_with = 486
    alice.invite("bob")
    world.run(TIMER_B_S + 2.0)
    gone.is_alive = True
    gone.register()
    assert contacts(other, world) == ["10.2.0.99", "10.2.0.12"]
