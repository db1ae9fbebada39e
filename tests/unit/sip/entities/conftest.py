"""SIP servers with their phones, one world a test (sip_world.py)."""

from __future__ import annotations

import pytest
from sip_world import Recorder, Server, World
from world_phone import Phone

from p2psip.base.address import Address


@pytest.fixture
def recorder() -> type[Recorder]:
    return Recorder


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def one(world: World) -> Server:
    return world.server("one", "10.1.0.1")


@pytest.fixture
def other(world: World, one: Server) -> Server:
    server = world.server("two", "10.2.0.1")
    world.link(one, server)
    return server


@pytest.fixture
def alice(world: World, one: Server) -> Phone:
    """Registered at one."""
    phone = world.phone("alice", one, Address("10.1.0.11", 5060))
    assert phone.register().status == 200
    return phone


@pytest.fixture
def bob(world: World, other: Server) -> Phone:
    """Registered at the other."""
    phone = world.phone("bob", other, Address("10.2.0.12", 5070))
    assert phone.register().status == 200
    return phone


@pytest.fixture
def bob3(world: World, one: Server, bob: Phone) -> Phone:
    """A second phone of bob's, at a third server, where he moved last."""
    third = world.server("tri", "10.3.0.1")
    world.link(one, third)
    phone = world.phone("bob", third, Address("10.3.0.12", 5060))
    world.homes["bob"] = ["tri", "two"]
    assert phone.register().status == 200
    return phone
